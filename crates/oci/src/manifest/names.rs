//! What a manifest names: its descriptors, read one by one.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;

use super::text::{number, object, text, texts};
use super::{MAX_REFERENCES, ManifestError, Need, Referenced};
use crate::{Digest, media_type};

/// Bytes of a descriptor at least: `{"digest":"sha256:…"}` and a comma.
const SHORTEST: usize = 86;

/// The members of a descriptor that matter, as they are written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEntry<'a> {
    #[serde(borrow)]
    media_type: Option<&'a RawValue>,
    #[serde(borrow)]
    digest: Option<&'a RawValue>,
    #[serde(borrow)]
    size: Option<&'a RawValue>,
    #[serde(borrow)]
    urls: Option<&'a RawValue>,
}

/// What a descriptor says.
pub(super) struct Entry {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    /// It is to be had somewhere else, too.
    has_urls: bool,
}

impl Entry {
    pub(super) fn read(member: &'static str, value: &RawValue) -> Result<Self, ManifestError> {
        let malformed = || ManifestError::Form { member, form: "a descriptor" };
        let raw: RawEntry = object(value).ok_or_else(malformed)?;
        let media_type = match raw.media_type {
            Some(value) => text(value).ok_or_else(malformed)?,
            None => String::new(),
        };
        // Nobody relies on the size, but what is no number is no descriptor.
        if raw.size.is_some_and(|size| number(size).is_none()) {
            return Err(malformed());
        }
        let has_urls = match raw.urls {
            Some(urls) => texts('[', urls).ok_or_else(malformed)?,
            None => false,
        };
        let digest = raw.digest.and_then(text).ok_or_else(malformed)?;
        let digest = digest.parse().map_err(|source| ManifestError::Digest { digest: digest.clone(), source })?;
        Ok(Self { media_type, digest, has_urls })
    }

    /// As a thing that must be there, unless it may be had elsewhere.
    fn named(&self, need: Need) -> Referenced {
        let elsewhere = self.has_urls || media_type::may_be_elsewhere(&self.media_type);
        Referenced { digest: self.digest, need: if elsewhere { Need::Optional } else { need } }
    }

    pub(super) fn as_blob(&self) -> Referenced {
        self.named(Need::Required)
    }

    pub(super) fn as_child(&self) -> Referenced {
        let is_manifest = self.media_type.is_empty() || media_type::is_manifest(&self.media_type);
        self.named(if is_manifest { Need::Child } else { Need::Required })
    }
}

/// What a manifest names, in order.
#[derive(Default)]
pub(super) struct Names(pub(super) Vec<Referenced>);

impl Names {
    pub(super) fn add(&mut self, named: Referenced) -> Result<(), ManifestError> {
        if self.0.len() == MAX_REFERENCES {
            return Err(ManifestError::TooMany);
        }
        self.0.push(named);
        Ok(())
    }

    /// Each once, where it is named first, with the most that any place says of the need for it.
    pub(super) fn once(mut self) -> Vec<Referenced> {
        // Sorted places instead of a set of digests, which takes more room than the list.
        let mut places: Vec<_> = (0..self.0.len()).collect();
        places.sort_by_key(|place| (self.0[*place].digest, *place));
        let mut needs = vec![None; places.len()];
        for same in places.chunk_by(|a, b| self.0[*a].digest == self.0[*b].digest) {
            // Needs ascend from the greatest.
            needs[same[0]] = same.iter().map(|place| self.0[*place].need).min();
        }
        let mut needs = needs.into_iter();
        self.0.retain_mut(|named| match needs.next().flatten() {
            Some(need) => {
                named.need = need;
                true
            }
            None => false,
        });
        self.0
    }

    /// Adds what a list of descriptors names, one by one until something is wrong.
    pub(super) fn add_list(
        &mut self,
        member: &'static str,
        value: &RawValue,
        named: fn(&Entry) -> Referenced,
    ) -> Result<(), ManifestError> {
        // All the room at once: growing step by step takes twice as much.
        self.0.reserve_exact((value.get().len() / SHORTEST).min(MAX_REFERENCES - self.0.len()));
        let mut wrong = None;
        let reader = ListReader { add: |value: &RawValue| self.add(named(&Entry::read(member, value)?)), wrong: &mut wrong };
        let is_list = value.get().starts_with('[');
        let read = is_list.then(|| serde_json::Deserializer::from_str(value.get()).deserialize_seq(reader).ok()).flatten();
        read.ok_or_else(|| wrong.unwrap_or(ManifestError::Form { member, form: "a list of descriptors" }))
    }
}

struct ListReader<'a, F> {
    add: F,
    /// Why the list was not read to its end: serde has no place for it.
    wrong: &'a mut Option<ManifestError>,
}

impl<'de, F: FnMut(&'de RawValue) -> Result<(), ManifestError>> Visitor<'de> for ListReader<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(value) = list.next_element()? {
            if let Err(error) = (self.add)(value) {
                *self.wrong = Some(error);
                return Err(A::Error::custom("not as expected"));
            }
        }
        Ok(())
    }
}
