//! What a registry has to understand of a manifest: what it is, what it names, and what it refers to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, media_type};

/// A descriptor (image-spec, "OCI Content Descriptors"), as far as a registry reads or writes one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the content.
    pub media_type: String,
    /// Digest of the content, `sha256:…`.
    pub digest: String,
    /// Length of the content in bytes.
    pub size: u64,
    /// What kind of artifact the content is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// How much the repository must hold of what a manifest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Need {
    /// Must be there, as a blob or as a manifest: config, layers, blobs, and entries of an index that are no manifests by their type (build caches list layers).
    Required,
    /// Must be there as a manifest, unless sparse indexes are allowed: the manifests of an index.
    Child,
    /// Kept when it is there: content with a place elsewhere, and non-distributable layers.
    Optional,
}

/// One thing that a manifest names, other than its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Referenced {
    /// Digest of a blob or of a manifest. Which of the two is decided by what the repository holds, never by the media type.
    pub digest: Digest,
    /// Whether the push may succeed without it.
    pub need: Need,
}

/// A manifest, read. The bytes stay with the caller: they are what is stored and served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Media type: the `mediaType` field when there is one, else what the caller was told.
    pub media_type: String,
    /// What it names, in order, without repetitions.
    pub references: Vec<Referenced>,
    /// The manifest that this one is about.
    pub subject: Option<Digest>,
    /// The artifact type that a referrers list shows (distribution-spec, "Listing Referrers"): `artifactType`, else an image
    /// manifest's config media type.
    pub artifact_type: Option<String>,
    /// Annotations, as JSON text; `None` when there are none.
    pub annotations: Option<String>,
}

/// Why bytes are not a manifest that this registry takes.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or JSON in which a known field has another type.
    #[error("not a manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// Not UTF-8, or not a JSON object.
    #[error("not a manifest: it is no JSON object")]
    NotAnObject,
    /// The `mediaType` field and the declared type differ.
    #[error("the manifest says it is {field}, the Content-Type header {declared}")]
    MediaTypeDiffers {
        /// The manifest's own word.
        field: String,
        /// The header's.
        declared: String,
    },
    /// No media type, neither inside nor declared.
    #[error("the manifest has no media type; send a Content-Type header")]
    NoMediaType,
    /// An image manifest without the one thing that every image manifest has.
    #[error("an image manifest needs a config")]
    NoConfig,
    /// Docker's schema 1.
    #[error("Docker's schema 1 manifests are not supported; push the image with a current client")]
    Schema1,
    /// A descriptor whose digest cannot be computed here.
    #[error("descriptor with digest {digest:?}: {source}")]
    Digest {
        /// As written in the manifest.
        digest: String,
        /// What is wrong with it.
        source: crate::DigestError,
    },
    /// More descriptors than any image has.
    #[error("the manifest names more than {MAX_REFERENCES} things")]
    TooMany,
}

/// An image has at most a few hundred layers and an index a few dozen platforms; 4 MiB of JSON could hold 30,000 descriptors.
const MAX_REFERENCES: usize = 16_384;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    schema_version: Option<serde_json::Value>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Entry>,
    #[serde(default)]
    layers: Option<Vec<Entry>>,
    #[serde(default)]
    blobs: Option<Vec<Entry>>,
    #[serde(default)]
    manifests: Option<Vec<Entry>>,
    subject: Option<Entry>,
    annotations: Option<BTreeMap<String, String>>,
    fs_layers: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    media_type: Option<String>,
    digest: String,
    /// Only its form is checked.
    #[serde(default, rename = "size")]
    _size: Option<u64>,
    #[serde(default)]
    urls: Option<Vec<String>>,
}

impl Entry {
    fn digest(&self) -> Result<Digest, ManifestError> {
        self.digest.parse().map_err(|source| ManifestError::Digest { digest: self.digest.clone(), source })
    }

    fn media_type(&self) -> &str {
        self.media_type.as_deref().unwrap_or_default()
    }
}

impl Manifest {
    /// Reads a manifest. `declared` is the `Content-Type` of the push, without parameters; empty when there was none.
    ///
    /// The fields of every known kind are read whatever the media type is: an index that names layers, and a kind of manifest
    /// that nobody has thought of yet, keep what they name from being collected.
    pub fn parse(bytes: &[u8], declared: &str) -> Result<Self, ManifestError> {
        // Text that nobody looks at must be text all the same, and a list is no object, whatever it holds.
        let text = std::str::from_utf8(bytes).map_err(|_| ManifestError::NotAnObject)?;
        if !text.trim_start().starts_with('{') {
            return Err(ManifestError::NotAnObject);
        }
        let body: Body = serde_json::from_str(text)?;
        let media_type = match (&body.media_type, declared) {
            (Some(field), "") => field.clone(),
            (Some(field), declared) if field == declared => field.clone(),
            (Some(field), declared) => {
                return Err(ManifestError::MediaTypeDiffers { field: field.clone(), declared: declared.to_owned() });
            }
            (None, "" | "application/json" | "application/octet-stream") => guess(&body)?.to_owned(),
            (None, declared) => declared.to_owned(),
        };
        let first_schema = body.schema_version.as_ref().and_then(serde_json::Value::as_u64) == Some(1);
        if media_type::DOCKER_SCHEMA_1.contains(&media_type.as_str()) || first_schema || body.fs_layers.is_some() {
            return Err(ManifestError::Schema1);
        }

        if media_type == media_type::OCI_MANIFEST && body.config.is_none() {
            return Err(ManifestError::NoConfig);
        }
        let mut references: Vec<Referenced> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let blobs = body.config.iter().chain(body.layers.iter().flatten()).chain(body.blobs.iter().flatten());
        let children = body.manifests.iter().flatten().map(|entry| {
            let is_manifest = entry.media_type.is_none() || media_type::is_manifest(entry.media_type());
            (entry, if is_manifest { Need::Child } else { Need::Required })
        });
        let named = blobs.map(|entry| (entry, Need::Required)).chain(children);
        for (entry, need) in named {
            let elsewhere =
                entry.urls.as_ref().is_some_and(|urls| !urls.is_empty()) || media_type::may_be_elsewhere(entry.media_type());
            let need = if elsewhere { Need::Optional } else { need };
            let digest = entry.digest()?;
            if seen.insert(digest) {
                references.push(Referenced { digest, need });
            }
            if references.len() > MAX_REFERENCES {
                return Err(ManifestError::TooMany);
            }
        }

        let artifact_type = body.artifact_type.filter(|text| !text.is_empty()).or_else(|| {
            let config = body.config.as_ref()?.media_type();
            (!config.is_empty()).then(|| config.to_owned())
        });
        let annotations = match body.annotations {
            Some(annotations) if !annotations.is_empty() => Some(serde_json::to_string(&annotations)?),
            _ => None,
        };
        let subject = body.subject.as_ref().map(Entry::digest).transpose()?;
        Ok(Self { media_type, references, subject, artifact_type, annotations })
    }
}

/// The type of a manifest that does not say it (image-spec: `mediaType` is recommended, not required).
fn guess(body: &Body) -> Result<&'static str, ManifestError> {
    match (&body.manifests, &body.config) {
        (Some(_), None) => Ok(media_type::OCI_INDEX),
        (None, Some(_)) => Ok(media_type::OCI_MANIFEST),
        _ => Err(ManifestError::NoMediaType),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(content: &[u8]) -> Digest {
        Digest::sha256(content)
    }

    #[test]
    fn an_image_names_config_and_layers_once() {
        let (config, layer) = (digest(b"c"), digest(b"l"));
        let json = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"x/config","digest":"{config}","size":1}},
                "layers":[{{"mediaType":"l","digest":"{layer}","size":1}},{{"mediaType":"l","digest":"{layer}","size":1}}]}}"#
        );
        let manifest = Manifest::parse(json.as_bytes(), media_type::OCI_MANIFEST).unwrap();
        let required = |digest| Referenced { digest, need: Need::Required };
        assert_eq!(manifest.references, [required(config), required(layer)]);
        assert_eq!(manifest.artifact_type.as_deref(), Some("x/config"));
        assert_eq!(Manifest::parse(json.as_bytes(), "").unwrap().media_type, media_type::OCI_MANIFEST);
    }

    #[test]
    fn an_index_names_children_and_keeps_its_own_artifact_type() {
        let child = digest(b"m");
        let json = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{child}","size":1}}]}}"#,
            media_type::OCI_INDEX
        );
        let manifest = Manifest::parse(json.as_bytes(), "").unwrap();
        assert_eq!(manifest.references, [Referenced { digest: child, need: Need::Child }]);
        assert_eq!(manifest.artifact_type, None);
    }

    #[test]
    fn an_index_of_layers_names_blobs() {
        let layer = digest(b"l");
        let entry = format!(r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":1}}"#);
        let json = format!(r#"{{"mediaType":"{}","manifests":[{entry}]}}"#, media_type::OCI_INDEX);
        let manifest = Manifest::parse(json.as_bytes(), "").unwrap();
        assert_eq!(manifest.references, [Referenced { digest: layer, need: Need::Required }]);
    }

    #[test]
    fn layers_with_a_place_elsewhere_need_not_be_pushed() {
        let layer = digest(b"l");
        for entry in [
            format!(r#"{{"mediaType":"l","digest":"{layer}","urls":["https://example.org/l"]}}"#),
            format!(r#"{{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar","digest":"{layer}"}}"#),
        ] {
            let manifest = Manifest::parse(format!(r#"{{"layers":[{entry}]}}"#).as_bytes(), "x/y").unwrap();
            assert_eq!(manifest.references, [Referenced { digest: layer, need: Need::Optional }]);
        }
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let parse = |json: &str, declared: &str| Manifest::parse(json.as_bytes(), declared);
        assert!(matches!(parse("{", "x/y"), Err(ManifestError::Json(_))));
        assert!(matches!(parse("[null,null,null,null,null,null,null,null,null,null]", "x/y"), Err(ManifestError::NotAnObject)));
        assert!(matches!(Manifest::parse(b"{\"a\":\"\xff\"}", "x/y"), Err(ManifestError::NotAnObject)));
        assert!(matches!(parse(r#"{"config":{"digest":"x","size":"1"}}"#, "x/y"), Err(ManifestError::Json(_))));
        assert!(matches!(parse("{}", ""), Err(ManifestError::NoMediaType)));
        assert!(matches!(parse(r#"{"mediaType":"a/b"}"#, "c/d"), Err(ManifestError::MediaTypeDiffers { .. })));
        assert!(matches!(parse(r#"{"schemaVersion":1}"#, "x/y"), Err(ManifestError::Schema1)));
        assert!(matches!(parse(r#"{"layers":[{"digest":"md5:00"}]}"#, "x/y"), Err(ManifestError::Digest { .. })));
        assert!(matches!(parse(r#"{"subject":{"digest":""}}"#, "x/y"), Err(ManifestError::Digest { .. })));
        assert!(matches!(parse("{}", media_type::OCI_MANIFEST), Err(ManifestError::NoConfig)));
        assert!(parse(r#"{"layers":[]}"#, "x/y").is_ok());
        assert!(parse(r#"{"layers":null}"#, "x/y").is_ok());
    }

    #[test]
    fn annotations_are_kept_for_the_referrers_list() {
        let manifest = Manifest::parse(br#"{"annotations":{"b":"2","a":"1"}}"#, "x/y").unwrap();
        assert_eq!(manifest.annotations.as_deref(), Some(r#"{"a":"1","b":"2"}"#));
    }
}
