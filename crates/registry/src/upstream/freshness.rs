//! What a tag or digest leads to upstream, and bringing what is here in line with it.

use std::sync::Arc;

use wharf_client::Fetched;
use wharf_oci::{Algorithm, Digest, Manifest as Parsed, Reference, Tag};
use wharf_store::{Manifest, NewManifest, PutOutcome};

use super::Key;
use super::Shared;
use super::failure::Failure;
use super::source::Place;

impl Shared {
    /// Brings a manifest here in line with the upstreams: fetches it when it is not here, asks about its tag when it is. After success the store has the answer.
    pub(super) async fn freshen(&self, key: &Key) -> Result<(), Failure> {
        let (repository, reference) = key;
        let here = self.store.manifest(repository, reference).await?;
        // It may have been pushed, or brought by the last who asked, since it was looked for.
        if !self.is_due(key, here.as_ref()) {
            return Ok(());
        }
        let mut refused = None;
        for place in self.places(repository) {
            match self.freshen_from(&place, key, here.as_ref()).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // Who has a digest has the same; but what stands under a tag further down is not what the first meant by it.
                Err(failure) if failure.is_refusal() || matches!(reference, Reference::Digest(_)) => {
                    refused = refused.or(Some(failure));
                }
                Err(failure) => return Err(failure),
            }
        }
        if let Some(failure) = refused {
            return Err(failure);
        }
        match (reference, here) {
            (Reference::Tag(tag), Some(_)) => drop(self.store.drop_cached_tag(repository, tag).await?),
            _ => self.missing.note(key.clone()),
        }
        Ok(())
    }

    /// The same from one upstream; whether it has it.
    async fn freshen_from(&self, place: &Place, key: &Key, here: Option<&Manifest>) -> Result<bool, Failure> {
        let (repository, reference) = key;
        let tags = match reference {
            Reference::Tag(tag) => vec![tag.clone()],
            Reference::Digest(_) => Vec::new(),
        };
        let (Some(here), [tag]) = (here, &tags[..]) else {
            // One request, for an upstream may count them.
            let Some(fetched) = place.manifest(reference).await? else { return Ok(false) };
            return self.keep(place, key, &fetched, tags).await.map(|()| true);
        };
        let Some(digest) = place.resolve(reference).await? else { return Ok(false) };
        if digest == here.record.digest {
            self.store.tag_checked(repository, tag).await?;
            return Ok(true);
        }
        let by_digest = Reference::Digest(digest);
        let fetched = match self.store.manifest(repository, &by_digest).await? {
            Some(known) => {
                let (media_type, bytes) = (known.record.media_type.clone(), known.record.bytes.clone());
                Fetched { media_type, digest, bytes, origin: None }
            }
            None => match place.manifest(&by_digest).await? {
                Some(fetched) => fetched,
                None => return Ok(false),
            },
        };
        self.keep(place, key, &fetched, tags).await.map(|()| true)
    }

    /// Stores what an upstream has sent.
    async fn keep(&self, place: &Place, key: &Key, fetched: &Fetched, tags: Vec<Tag>) -> Result<(), Failure> {
        let wrong = |why: String| Failure::Wrong { upstream: place.source.name.clone(), why: why.into() };
        let manifest = Parsed::parse(&fetched.bytes, &fetched.media_type).map_err(|error| wrong(error.to_string()))?;
        let origin = place.origin();
        let new = NewManifest {
            repository: key.0.clone(),
            bytes: fetched.bytes.clone(),
            manifest: Arc::new(manifest),
            sha256: Digest::sha256(&fetched.bytes),
            sha512: Digest::of(Algorithm::Sha512, &fetched.bytes),
            tags,
            conditions: Vec::new(),
            sparse: true,
            actor: origin.to_string().into(),
            origin: Some(origin),
        };
        match self.store.put_manifest(new).await? {
            PutOutcome::Stored => Ok(()),
            PutOutcome::OtherMediaType(stored) => Err(wrong(format!("the same bytes are stored here as {stored}"))),
            // Neither is said of what has no conditions and may name what is not there.
            PutOutcome::Missing(_) | PutOutcome::ConditionFailed(_) => Err(Failure::Storage("its log says more".into())),
        }
    }
}
