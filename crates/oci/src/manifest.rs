//! What a registry has to understand of a manifest: what it is, what it names, and what it refers to.

mod names;
mod outline;
mod text;

use serde_json::value::RawValue;

use crate::{Digest, media_type};
use names::{Entry, Names};
use outline::Outline;
use text::{text, texts};

/// How much the repository must hold of what a manifest names; the greatest need is the least.
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
    /// The artifact type that a referrers list shows (distribution-spec, "Listing Referrers"): `artifactType`, else the media
    /// type of the config; an index has no type but its own.
    pub artifact_type: Option<String>,
    /// Annotations, as they are written in the manifest; `None` when there are none.
    pub annotations: Option<String>,
}

/// Why bytes are not a manifest that this registry takes.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or with a known member twice.
    #[error("not a manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// Not UTF-8, or not a JSON object.
    #[error("not a manifest: it is no JSON object")]
    NotAnObject,
    /// A known member of another form than it has.
    #[error("not a manifest: `{member}` must be {form}")]
    Form {
        /// The member's name.
        member: &'static str,
        /// What it should hold.
        form: &'static str,
    },
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

/// An image has at most a few hundred layers and an index a few dozen platforms; 4 MiB of JSON could hold 40,000 descriptors.
const MAX_REFERENCES: usize = 16_384;

impl Manifest {
    /// Reads a manifest. `declared` is the `Content-Type` of the push, without parameters; empty when there was none.
    ///
    /// The members of every known kind are read whatever the media type is: an index that names layers, and a kind of manifest
    /// that nobody has thought of yet, keep what they name from being collected. In the known kinds they must have their form; in
    /// others they may mean anything, and count where they have it.
    pub fn parse(bytes: &[u8], declared: &str) -> Result<Self, ManifestError> {
        // Text that nobody looks at must be text all the same, and a list is no object, whatever it holds.
        let text = std::str::from_utf8(bytes).map_err(|_| ManifestError::NotAnObject)?;
        if !text.trim_start().starts_with('{') {
            return Err(ManifestError::NotAnObject);
        }
        let outline: Outline = serde_json::from_str(text)?;
        let media_type = outline.media_type(declared)?;
        let is_known = media_type::is_manifest(&media_type);
        if media_type == media_type::OCI_MANIFEST || media_type == media_type::DOCKER_MANIFEST {
            outline.config.ok_or(ManifestError::NoConfig)?;
        }

        let mut names = Names::default();
        let config = understood(is_known, outline.config, |value| Entry::read("config", value))?;
        config.iter().try_for_each(|config| names.add(config.as_blob()))?;
        for (member, value, named) in [
            ("layers", outline.layers, Entry::as_blob as fn(&Entry) -> Referenced),
            ("blobs", outline.blobs, Entry::as_blob),
            ("manifests", outline.manifests, Entry::as_child),
        ] {
            let before = names.0.len();
            if understood(is_known, value, |value| names.add_list(member, value, named))?.is_none() {
                names.0.truncate(before);
            }
        }

        let subject = understood(is_known, outline.subject, |value| Entry::read("subject", value))?.map(|entry| entry.digest);
        let mut kind = understood(is_known, outline.artifact_type, |value| artifact_type("artifactType", value))?.flatten();
        let is_index = media_type == media_type::OCI_INDEX || media_type == media_type::DOCKER_LIST;
        if let (None, false, Some(config)) = (&kind, is_index, config) {
            if config.media_type.len() <= media_type::MAX_LENGTH {
                kind = Some(config.media_type).filter(|text| !text.is_empty());
            } else if is_known {
                return Err(ManifestError::Form { member: "config", form: "of a media type of at most 255 bytes" });
            }
        }
        let annotations = understood(is_known, outline.annotations, |value| {
            let any = texts('{', value).ok_or(ManifestError::Form { member: "annotations", form: "an object of texts" })?;
            Ok(any.then(|| value.get().to_owned()))
        })?;
        Ok(Self { media_type, references: names.once(), subject, artifact_type: kind, annotations: annotations.flatten() })
    }
}

/// A member, if there is one. Where nothing says what form it has, it counts only if it has the usual one.
fn understood<'a, T>(
    is_known: bool,
    value: Option<&'a RawValue>,
    read: impl FnOnce(&'a RawValue) -> Result<T, ManifestError>,
) -> Result<Option<T>, ManifestError> {
    match value.map(read).transpose() {
        Err(error) if is_known || matches!(error, ManifestError::TooMany) => Err(error),
        read => Ok(read.unwrap_or_default()),
    }
}

/// An artifact type; `None` when it is empty, which means the same as none. A media type by the specification, which tools do not take to the letter, so
/// only the length of one is asked for.
fn artifact_type(member: &'static str, value: &RawValue) -> Result<Option<String>, ManifestError> {
    let malformed = || ManifestError::Form { member, form: "a media type of at most 255 bytes" };
    let text = text(value).filter(|text| text.len() <= media_type::MAX_LENGTH).ok_or_else(malformed)?;
    Ok((!text.is_empty()).then_some(text))
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
        let entries =
            [format!(r#"{{"digest":"{layer}","urls":["https://example.org/l"]}}"#), format!(r#"{{"digest":"{layer}"}}"#)];
        let manifest = Manifest::parse(format!(r#"{{"layers":[{}]}}"#, entries.join(",")).as_bytes(), "x/y").unwrap();
        assert_eq!(manifest.references, [Referenced { digest: layer, need: Need::Required }], "the second place is the registry");
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let parse = |json: &str, declared: &str| Manifest::parse(json.as_bytes(), declared);
        assert!(matches!(parse("{", "x/y"), Err(ManifestError::Json(_))));
        assert!(matches!(parse(r#"{"layers":[],"layers":[]}"#, "x/y"), Err(ManifestError::Json(_))));
        assert!(matches!(parse("[null,null,null,null,null,null,null,null,null,null]", "x/y"), Err(ManifestError::NotAnObject)));
        assert!(matches!(Manifest::parse(b"{\"a\":\"\xff\"}", "x/y"), Err(ManifestError::NotAnObject)));
        assert!(matches!(parse("{}", ""), Err(ManifestError::NoMediaType)));
        assert!(matches!(parse(r#"{"mediaType":"a/b"}"#, "c/d"), Err(ManifestError::MediaTypeDiffers { .. })));
        for media_type in ["17", "[]", r#""a""#, r#""a/b;c=d""#, &format!("\"a/{}\"", "b".repeat(254))] {
            let json = format!(r#"{{"mediaType":{media_type}}}"#);
            assert!(matches!(parse(&json, ""), Err(ManifestError::Form { member: "mediaType", .. })), "{media_type}");
        }
        for media_type in [media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST] {
            assert!(matches!(parse("{}", media_type), Err(ManifestError::NoConfig)));
        }
        assert_eq!(parse(r#"{"mediaType":"","manifests":[]}"#, "").unwrap().media_type, media_type::OCI_INDEX);
    }

    #[test]
    fn schema_1_is_refused_unless_the_type_is_another() {
        for json in [r#"{"schemaVersion":1}"#, r#"{"fsLayers":[0]}"#] {
            let parse = |declared: &str| Manifest::parse(json.as_bytes(), declared);
            for declared in
                ["", "application/json", media_type::OCI_INDEX, media_type::DOCKER_LIST, media_type::DOCKER_SCHEMA_1[0]]
            {
                assert!(matches!(parse(declared), Err(ManifestError::Schema1)), "{json} as {declared}");
            }
            assert!(parse("application/vnd.example.thing.v1+json").is_ok());
        }
    }

    #[test]
    fn members_have_their_form_in_known_kinds_and_any_form_in_others() {
        let long = "x".repeat(256);
        for (member, value) in [
            ("config", r#"{"a":1}"#),
            ("config", r#""text""#),
            ("config", r#"{"digest":"x","size":1}"#),
            ("layers", r#""x""#),
            ("layers", r#"{"a":1}"#),
            ("layers", "[0,1]"),
            ("layers", r#"[{"digest":"md5:00"}]"#),
            ("manifests", r#"{"a":1}"#),
            ("blobs", "true"),
            ("subject", r#"{"digest":""}"#),
            ("subject", "7"),
            ("artifactType", "7"),
            ("artifactType", &format!("\"{long}\"")),
            ("annotations", r#"{"a":1}"#),
            ("annotations", r#"["a"]"#),
        ] {
            let json = format!(r#"{{"schemaVersion":2,"{member}":{value}}}"#);
            let index = Manifest::parse(json.as_bytes(), media_type::OCI_INDEX);
            assert!(matches!(index, Err(ManifestError::Form { .. } | ManifestError::Digest { .. })), "{json}: {index:?}");
            let other = Manifest::parse(json.as_bytes(), "application/vnd.x+json").unwrap();
            assert!(other.references.is_empty() && other.subject.is_none() && other.artifact_type.is_none(), "{json}");
            assert_eq!(other.annotations, None);
        }
        let config = format!(r#"{{"config":{{"mediaType":"{long}","digest":"{}"}}}}"#, digest(b"c"));
        assert!(matches!(Manifest::parse(config.as_bytes(), ""), Err(ManifestError::Form { member: "config", .. })));
        assert_eq!(Manifest::parse(config.as_bytes(), "x/y").unwrap().references.len(), 1);
    }

    #[test]
    fn members_may_be_empty_or_null() {
        for json in [r#"{"layers":[]}"#, r#"{"layers":null,"config":null,"subject":null,"annotations":null,"artifactType":null}"#]
        {
            for declared in ["x/y", media_type::OCI_INDEX] {
                assert!(Manifest::parse(json.as_bytes(), declared).is_ok(), "{json} as {declared}");
            }
        }
    }

    #[test]
    fn descriptors_are_read_strictly() {
        let digest = digest(b"l");
        let layer = |rest: &str| {
            let json = format!(r#"{{"layers":[{{"digest":"{digest}"{rest}}}]}}"#);
            Manifest::parse(json.as_bytes(), media_type::OCI_INDEX)
        };
        for fine in
            ["", r#","size":1"#, r#","size":null,"urls":null,"mediaType":null"#, r#","urls":[]"#, r#","platform":{"os":[1]}"#]
        {
            assert_eq!(layer(fine).unwrap().references, [Referenced { digest, need: Need::Required }], "{fine}");
        }
        for wrong in
            [r#","size":"1""#, r#","size":-1"#, r#","size":1.5"#, r#","urls":"x""#, r#","urls":[1]"#, r#","mediaType":1"#]
        {
            assert!(matches!(layer(wrong), Err(ManifestError::Form { member: "layers", .. })), "{wrong}");
        }
    }

    #[test]
    fn a_manifest_names_a_bounded_number_of_things() {
        let json = |count: usize| {
            let entries: Vec<_> = (0..count).map(|n| format!(r#"{{"digest":"{}"}}"#, digest(&n.to_le_bytes()))).collect();
            format!(r#"{{"layers":[{}]}}"#, entries.join(","))
        };
        for declared in ["x/y", media_type::OCI_INDEX] {
            assert_eq!(Manifest::parse(json(MAX_REFERENCES).as_bytes(), declared).unwrap().references.len(), MAX_REFERENCES);
            let parsed = Manifest::parse(json(MAX_REFERENCES + 1).as_bytes(), declared);
            assert!(matches!(parsed, Err(ManifestError::TooMany)));
        }
    }

    #[test]
    fn errors_do_not_repeat_what_was_sent_at_length() {
        let long = "x".repeat(100_000);
        for json in [
            format!(r#"{{"config":"{long}"}}"#),
            format!(r#"{{"config":{{"digest":"{long}"}}}}"#),
            format!(r#"{{"config":{{"digest":7,"size":"{long}"}}}}"#),
            format!(r#"{{"manifests":["{long}"]}}"#),
            format!(r#"{{"mediaType":"{long}"}}"#),
            format!(r#"{{"annotations":"{long}"}}"#),
            format!(r#"{{"{long}"}}"#),
        ] {
            let error = Manifest::parse(json.as_bytes(), media_type::OCI_INDEX).unwrap_err();
            assert!(error.to_string().len() < 400, "{error}");
        }
    }

    #[test]
    fn an_index_has_no_artifact_type_but_its_own() {
        let config = format!(r#""config":{{"mediaType":"x/config","digest":"{}"}}"#, digest(b"c"));
        let kind = |json: String, declared: &str| Manifest::parse(json.as_bytes(), declared).unwrap().artifact_type;
        for index in [media_type::OCI_INDEX, media_type::DOCKER_LIST] {
            assert_eq!(kind(format!(r#"{{"manifests":[],{config}}}"#), index), None);
            assert_eq!(kind(format!(r#"{{"artifactType":"a/b",{config}}}"#), index).as_deref(), Some("a/b"));
        }
        for other in [media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST, "application/vnd.x+json"] {
            assert_eq!(kind(format!(r#"{{"artifactType":"",{config}}}"#), other).as_deref(), Some("x/config"));
        }
    }

    #[test]
    fn annotations_are_kept_for_the_referrers_list() {
        let annotations = |json: &str| Manifest::parse(json.as_bytes(), "x/y").unwrap().annotations;
        assert_eq!(annotations(r#"{"annotations": {"b":"2", "a":"\u00e9"} }"#).as_deref(), Some(r#"{"b":"2", "a":"\u00e9"}"#));
        assert_eq!(annotations(r#"{"annotations":{ }}"#), None);
    }
}
