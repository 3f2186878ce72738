//! JSON values that are looked at as they are written. Nothing is built of one before it is known to be of use.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Bytes of a media type or digest at most, as it is written, with quotes and a few escapes.
const LONGEST: usize = 1_024;

/// An object, read as `T`.
pub(super) fn object<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    // Asked first, because serde's error about a value of another type repeats that value.
    value.get().starts_with('{').then(|| serde_json::from_str(value.get()).ok()).flatten()
}

/// A text, unless it is longer than any that means something here.
pub(super) fn text(value: &RawValue) -> Option<String> {
    (value.get().starts_with('"') && value.get().len() <= LONGEST).then(|| serde_json::from_str(value.get()).ok()).flatten()
}

/// A whole number that is not negative.
pub(super) fn number(value: &RawValue) -> Option<u64> {
    value.get().parse().ok()
}

/// Whether a list (`[`) or an object (`{`) whose values are texts, and nothing else, has any.
pub(super) fn texts(bracket: char, value: &RawValue) -> Option<bool> {
    let found: Option<Texts> = value.get().starts_with(bracket).then(|| serde_json::from_str(value.get()).ok()).flatten();
    found.map(|Texts(any)| any)
}

/// Whether there is any text in a list or object of texts.
struct Texts(bool);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Container;

        impl<'de> Visitor<'de> for Container {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("texts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
                let mut any = false;
                while list.next_element::<Text>()?.is_some() {
                    any = true;
                }
                Ok(Texts(any))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut any = false;
                while map.next_entry::<Text, Text>()?.is_some() {
                    any = true;
                }
                Ok(Texts(any))
            }
        }

        deserializer.deserialize_any(Container)
    }
}

/// A text of which nothing is kept.
struct Text;

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;

        impl Visitor<'_> for Anything {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Text, E> {
                Ok(Text)
            }
        }

        deserializer.deserialize_str(Anything)
    }
}
