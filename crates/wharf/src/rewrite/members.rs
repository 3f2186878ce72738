//! JSON objects of which some members are written anew, and all others stay as they are written.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Error, to_vec};

/// An object's members, in their order. What is not touched keeps every character, numbers of any length among them.
#[derive(Clone, Debug, Default)]
pub struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    /// Reads an object.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes)
    }

    /// A member as `T`. One that is absent and one that is `null` are the same to every reader of images.
    pub fn get<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Error> {
        // Of several members of one name readers take the last.
        let value = self.0.iter().rev().find(|(known, _)| known == name);
        value.map_or(Ok(None), |(_, value)| serde_json::from_str(value.get()))
    }

    /// Writes a member in its place, or at the end.
    pub fn set(&mut self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        let value = serde_json::value::to_raw_value(value)?;
        let Some(place) = self.0.iter().rposition(|(known, _)| known == name) else {
            self.0.push((name.to_owned(), value));
            return Ok(());
        };
        self.0[place].1 = value;
        let mut at = 0..;
        self.0.retain(|(known, _)| at.next() == Some(place) || known != name);
        Ok(())
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// The object as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        to_vec(self)
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_touched_keeps_every_character() {
        let text = r#"{"z":1.50,"a":{"b" : [1e400, 12345678901234567890123 ]},"n":null,"\u00e4":"\u0041"}"#;
        let mut members = Members::parse(text.as_bytes()).unwrap();
        members.set("new", &"x").unwrap();
        members.set("n", &7).unwrap();
        let expected = r#"{"z":1.50,"a":{"b" : [1e400, 12345678901234567890123 ]},"n":7,"ä":"\u0041","new":"x"}"#;
        assert_eq!(String::from_utf8(members.to_bytes().unwrap()).unwrap(), expected);
        members.remove("a");
        members.remove("none");
        assert_eq!(String::from_utf8(members.to_bytes().unwrap()).unwrap(), r#"{"z":1.50,"n":7,"ä":"\u0041","new":"x"}"#);
    }

    #[test]
    fn null_is_nothing_and_the_last_of_two_counts() {
        let mut members = Members::parse(br#"{"a":1,"b":null,"a":2,"c":3}"#).unwrap();
        assert_eq!(members.get::<u32>("a").unwrap(), Some(2));
        assert_eq!(members.get::<u32>("b").unwrap(), None);
        assert_eq!(members.get::<u32>("d").unwrap(), None);
        assert!(members.get::<String>("c").is_err());
        members.set("a", &4).unwrap();
        assert_eq!(members.to_bytes().unwrap(), br#"{"b":null,"a":4,"c":3}"#);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for wrong in ["", "[]", "1", "{", r#"{"a":}"#, "null", r#"{"a":1}x"#] {
            assert!(Members::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
