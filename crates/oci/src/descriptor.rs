//! Descriptors: what is named, by type, digest and length.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::{Digest, Platform};

/// A descriptor (image-spec, "OCI Content Descriptors"). Written again, it has every member that it was read with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the content.
    pub media_type: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Length of the content in bytes.
    pub size: u64,
    /// Where else the content is to be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub urls: Vec<String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// What kind of artifact the content is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What the content runs on. One that is read always names an operating system and an architecture.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "named_platform")]
    pub platform: Option<Platform>,
    /// All other members, `data` among them.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Descriptor {
    /// A descriptor of content of a type, with this digest and this many bytes.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: None,
            artifact_type: None,
            platform: None,
            rest: Map::new(),
        }
    }

    /// The annotation of this name.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(name).map(String::as_str)
    }
}

/// Reads `null`, which writers in Go leave for an empty list, as nothing.
pub(crate) fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a platform that says nothing, which some writers leave on artifacts, as none.
fn named_platform<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Platform>, D::Error> {
    Ok(Option::deserialize(deserializer)?.filter(Platform::is_named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_survives() {
        let digest = Digest::sha256(b"x");
        let json = format!(
            r#"{{"mediaType":"a/b","digest":"{digest}","size":1,"urls":["https://example.org/x"],"annotations":{{"k":"v"}},"artifactType":"c/d","platform":{{"architecture":"arm64","os":"linux"}},"data":"eA==","x-new":{{"a":[1,null]}}}}"#
        );
        let read: Descriptor = serde_json::from_str(&json).unwrap();
        assert_eq!((read.digest, read.size, read.annotation("k"), read.annotation("l")), (digest, 1, Some("v"), None));
        assert_eq!(read.platform.as_ref().unwrap().to_string(), "linux/arm64");
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
        let least = format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":1}}"#);
        assert_eq!(serde_json::to_string(&Descriptor::new("a/b", digest, 1)).unwrap(), least);
    }

    #[test]
    fn nothing_has_several_spellings() {
        let digest = Digest::sha256(b"x");
        for nothing in [
            r#""urls":null"#,
            r#""annotations":null"#,
            r#""platform":null"#,
            r#""platform":{}"#,
            r#""platform":{"os":"linux","architecture":""}"#,
        ] {
            let json = format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":1,{nothing}}}"#);
            assert_eq!(serde_json::from_str::<Descriptor>(&json).unwrap(), Descriptor::new("a/b", digest, 1), "{nothing}");
        }
    }

    #[test]
    fn what_is_no_descriptor_is_refused() {
        let digest = Digest::sha256(b"x");
        for wrong in [
            format!(r#"{{"digest":"{digest}","size":1}}"#),
            r#"{"mediaType":"a/b","size":1}"#.to_owned(),
            format!(r#"{{"mediaType":"a/b","digest":"{digest}"}}"#),
            format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":-1}}"#),
            r#"{"mediaType":"a/b","digest":"sha256:../../x","size":1}"#.to_owned(),
        ] {
            assert!(serde_json::from_str::<Descriptor>(&wrong).is_err(), "{wrong}");
        }
    }
}
