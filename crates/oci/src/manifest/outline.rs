//! The members of a manifest that matter to a registry, as they are written.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ManifestError;
use super::text::{number, text};
use crate::media_type;

/// The members that matter to a registry, as they are written. A manifest is as long as its sender likes, and JSON values take many times the room of
/// their text, so nothing is built of a value before it is known to be of use.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outline<'a> {
    #[serde(borrow)]
    pub(super) schema_version: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) media_type: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) artifact_type: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) config: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) layers: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) blobs: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) manifests: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) subject: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) annotations: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) fs_layers: Option<&'a RawValue>,
}

impl Outline<'_> {
    pub(super) fn media_type(&self, declared: &str) -> Result<String, ManifestError> {
        let malformed = || ManifestError::Form { member: "mediaType", form: "a media type of at most 255 bytes" };
        let field = self.media_type.map(|value| text(value).ok_or_else(malformed)).transpose()?.filter(|text| !text.is_empty());
        if field.as_ref().is_some_and(|field| !media_type::is_valid(field)) {
            return Err(malformed());
        }
        let unspecific = matches!(declared, "" | "application/json" | "application/octet-stream");
        let media_type = match field {
            Some(field) if declared.is_empty() || field == declared => field,
            Some(field) => return Err(ManifestError::MediaTypeDiffers { field, declared: declared.to_owned() }),
            None if unspecific && !self.is_schema_1() => self.guess()?.to_owned(),
            None => declared.to_owned(),
        };
        // The layers of schema 1 hide from this parser. What an unknown type calls its version is its own affair.
        let may_be_schema_1 = unspecific || media_type::is_manifest(&media_type);
        if media_type::DOCKER_SCHEMA_1.contains(&media_type.as_str()) || (may_be_schema_1 && self.is_schema_1()) {
            return Err(ManifestError::Schema1);
        }
        Ok(media_type)
    }

    fn is_schema_1(&self) -> bool {
        self.schema_version.and_then(number) == Some(1) || self.fs_layers.is_some()
    }

    /// The type of a manifest that does not say it (image-spec: `mediaType` is recommended, not required).
    fn guess(&self) -> Result<&'static str, ManifestError> {
        match (self.manifests, self.config) {
            (Some(_), None) => Ok(media_type::OCI_INDEX),
            (None, Some(_)) => Ok(media_type::OCI_MANIFEST),
            _ => Err(ManifestError::NoMediaType),
        }
    }
}
