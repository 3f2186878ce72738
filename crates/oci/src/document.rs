//! What a client reads of a manifest: enough to copy an image, and to say what it is.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::descriptor::null_as_default;
use crate::{Descriptor, Digest, Platform, media_type};

/// Bytes of a manifest or of an image configuration at most: what every registry takes (distribution-spec, "Pushing Manifests").
pub const MAX_MANIFEST: usize = 4 * 1024 * 1024;

/// A manifest of either sort.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
pub enum Document {
    /// One image, or one artifact.
    Image(ImageManifest),
    /// A list of manifests.
    Index(ImageIndex),
}

/// Why bytes are not a manifest or an image configuration that a client can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Longer than [`MAX_MANIFEST`].
    #[error("it has {0} bytes, and a manifest or image configuration at most {MAX_MANIFEST}")]
    TooLarge(usize),
    /// Not JSON, or a member of another form than it has.
    #[error("{0}")]
    Json(String),
    /// The media type that it was given with and the one that it claims are of different sorts.
    #[error("it was given as {given}, and says that it is {field}")]
    MediaTypeDiffers {
        /// The caller's word.
        given: String,
        /// Its own.
        field: String,
    },
    /// Neither told by a media type nor by what it holds.
    #[error("it is neither an image manifest nor an index")]
    NoMediaType,
    /// A media type that no image and no index has.
    #[error("{0} is neither an image manifest nor an index")]
    MediaType(String),
    /// Docker's schema 1.
    #[error("Docker's schema 1 manifests are not supported")]
    Schema1,
}

impl From<serde_json::Error> for DocumentError {
    fn from(error: serde_json::Error) -> Self {
        // Some of serde's messages repeat what was sent.
        Self::Json(short(&error.to_string()))
    }
}

/// A text for a message, cut where it would be a nuisance.
pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// An image manifest (image-spec, "OCI Image Manifest Specification"; Docker's schema 2 has the same form).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Media type.
    #[serde(default)]
    pub media_type: String,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image configuration, or whatever an artifact has in its place.
    pub config: Descriptor,
    /// The layers, the lowest first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// An index (image-spec, "OCI Image Index Specification"; Docker's manifest list has the same form). Written again, it has every
/// member that it was read with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// Media type.
    #[serde(default)]
    pub media_type: String,
    /// The manifests, in order of preference.
    #[serde(default, deserialize_with = "null_as_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// All other members but `schemaVersion`.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What an image configuration (image-spec, "OCI Image Configuration") says about its image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// What the image runs on; `None` when it does not say both operating system and architecture.
    pub platform: Option<Platform>,
    /// When it was made (RFC 3339), as it is written.
    pub created: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Digests of the layers as plain tar archives, the lowest first.
    pub diff_ids: Vec<Digest>,
}

/// The members that tell what a manifest is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline<'a> {
    schema_version: Option<u64>,
    #[serde(borrow)]
    media_type: Option<Cow<'a, str>>,
    config: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

impl Outline<'_> {
    /// The media type: what the caller was told, else what the manifest says, else what it looks like.
    fn media_type(&self, given: &str) -> Result<String, DocumentError> {
        // A header may add a character set.
        let given = given.split(';').next().unwrap_or_default().trim();
        let field = self.media_type.as_deref().unwrap_or_default();
        for schema_1 in media_type::DOCKER_SCHEMA_1 {
            if given == schema_1 || field == schema_1 {
                return Err(DocumentError::Schema1);
            }
        }
        if self.schema_version == Some(1) || self.fs_layers.is_some() {
            return Err(DocumentError::Schema1);
        }
        // An index that passes for an image, or the reverse, would be different things to different readers.
        if media_type::is_manifest(given) {
            if media_type::is_manifest(field) && media_type::is_index(field) != media_type::is_index(given) {
                return Err(DocumentError::MediaTypeDiffers { given: given.to_owned(), field: field.to_owned() });
            }
            return Ok(given.to_owned());
        }
        match (field, self.manifests.is_some(), self.config.is_some()) {
            ("", true, false) => Ok(media_type::OCI_INDEX.to_owned()),
            ("", false, true) => Ok(media_type::OCI_MANIFEST.to_owned()),
            ("", _, _) => Err(DocumentError::NoMediaType),
            _ if media_type::is_manifest(field) => Ok(field.to_owned()),
            _ => Err(DocumentError::MediaType(short(field))),
        }
    }
}

impl Document {
    /// Reads a manifest. `media_type` is what a descriptor or a `Content-Type` header says it is; one that is not a manifest's, or
    /// empty, leaves the decision to the manifest's own `mediaType`, and then to what it holds.
    pub fn parse(bytes: &[u8], media_type: &str) -> Result<Self, DocumentError> {
        let outline: Outline = read(bytes)?;
        let media_type = outline.media_type(media_type)?;
        if media_type::is_index(&media_type) {
            let mut index = ImageIndex { media_type, ..read(bytes)? };
            index.rest.remove("schemaVersion");
            Ok(Self::Index(index))
        } else {
            Ok(Self::Image(ImageManifest { media_type, ..read(bytes)? }))
        }
    }

    /// The media type.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Image(image) => &image.media_type,
            Self::Index(index) => &index.media_type,
        }
    }
}

impl ImageManifest {
    /// Whether it is an image that can be run; all else is an artifact.
    pub fn is_image(&self) -> bool {
        [media_type::OCI_CONFIG, media_type::DOCKER_CONFIG].contains(&self.config.media_type.as_str())
    }

    /// The manifest as JSON, always the same for the same members. Members that this type does not have were left behind when it was read.
    pub fn to_bytes(&self) -> Vec<u8> {
        write(self)
    }
}

impl ImageIndex {
    /// An OCI index of these manifests.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self { media_type: media_type::OCI_INDEX.to_owned(), manifests, subject: None, annotations: None, rest: Map::new() }
    }

    /// The index as JSON, always the same for the same members.
    pub fn to_bytes(&self) -> Vec<u8> {
        write(self)
    }
}

impl ImageConfig {
    /// Reads an image configuration, OCI's or Docker's.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(flatten)]
            platform: Platform,
            created: Option<String>,
            config: Option<Execution>,
            rootfs: Option<RootFs>,
        }

        #[derive(Deserialize)]
        struct Execution {
            #[serde(rename = "Labels")]
            labels: Option<BTreeMap<String, String>>,
        }

        #[derive(Deserialize)]
        struct RootFs {
            diff_ids: Option<Vec<Digest>>,
        }

        let config: Config = read(bytes)?;
        // The configuration has many members of its own beside those of the platform.
        let platform = Platform { rest: Map::new(), ..config.platform };
        Ok(Self {
            platform: Some(platform).filter(Platform::is_named),
            created: config.created,
            labels: config.config.and_then(|config| config.labels).unwrap_or_default(),
            diff_ids: config.rootfs.and_then(|rootfs| rootfs.diff_ids).unwrap_or_default(),
        })
    }
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DocumentError> {
    if bytes.len() > MAX_MANIFEST {
        return Err(DocumentError::TooLarge(bytes.len()));
    }
    // serde would also take a list for the members in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(DocumentError::Json("it is no JSON object".to_owned()));
    }
    Ok(serde_json::from_slice(bytes)?)
}

fn write(members: &impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned<'a, T> {
        schema_version: u8,
        #[serde(flatten)]
        members: &'a T,
    }

    // Maps with text keys, lists and text: nothing here that JSON could not hold.
    serde_json::to_vec(&Versioned { schema_version: 2, members }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn descriptor(media_type: &str, content: &[u8]) -> String {
        serde_json::to_string(&Descriptor::new(media_type, Digest::sha256(content), content.len() as u64)).unwrap()
    }

    fn image(media_type: &str, config: &str) -> String {
        let layer = descriptor(media_type::OCI_LAYER, b"layer");
        format!(r#"{{"schemaVersion":2{media_type},"config":{},"layers":[{layer}]}}"#, descriptor(config, b"config"))
    }

    fn field(media_type: &str) -> String {
        format!(r#","mediaType":"{media_type}""#)
    }

    #[test]
    fn the_media_type_is_the_given_one_or_its_own_or_guessed() {
        let index = |media_type: &str| format!(r#"{{"schemaVersion":2{media_type},"manifests":[]}}"#);
        let config = media_type::OCI_CONFIG;
        let kind = |json: &str, given: &str| Document::parse(json.as_bytes(), given).map(|read| read.media_type().to_owned());
        for given in [media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST] {
            assert_eq!(kind(&image("", config), given).as_deref(), Ok(given));
            assert_eq!(kind(&image("", config), &format!("{given}; charset=utf-8")).as_deref(), Ok(given));
            assert_eq!(kind(&image(&field(given), config), "application/json").as_deref(), Ok(given));
        }
        for given in [media_type::OCI_INDEX, media_type::DOCKER_LIST] {
            assert_eq!(kind(&index(""), given).as_deref(), Ok(given));
            assert_eq!(kind(&index(&field(given)), "").as_deref(), Ok(given));
            let differs = kind(&image(&field(media_type::OCI_MANIFEST), config), given);
            assert!(matches!(differs, Err(DocumentError::MediaTypeDiffers { .. })), "{differs:?}");
        }
        assert_eq!(kind(&index(""), "").as_deref(), Ok(media_type::OCI_INDEX));
        assert_eq!(kind(&image("", config), "text/plain").as_deref(), Ok(media_type::OCI_MANIFEST));
        assert_eq!(kind(r#"{"schemaVersion":2}"#, ""), Err(DocumentError::NoMediaType));
        assert_eq!(kind(&index(&field("a/b")), "").unwrap_err(), DocumentError::MediaType("a/b".to_owned()));
    }

    #[test]
    fn schema_1_is_named() {
        for json in [r#"{"schemaVersion":1,"fsLayers":[]}"#, r#"{"fsLayers":[]}"#, r#"{"schemaVersion":1}"#] {
            for given in ["", media_type::DOCKER_MANIFEST, media_type::DOCKER_SCHEMA_1[1]] {
                assert_eq!(Document::parse(json.as_bytes(), given), Err(DocumentError::Schema1), "{json} as {given}");
            }
        }
    }

    #[test]
    fn an_artifact_is_an_image_manifest_with_another_config() {
        for (config, is_image) in [(media_type::OCI_CONFIG, true), (media_type::DOCKER_CONFIG, true), ("a/b", false)] {
            let Ok(Document::Image(read)) = Document::parse(image("", config).as_bytes(), "") else { panic!("{config}") };
            assert_eq!(read.is_image(), is_image, "{config}");
            assert_eq!((read.layers.len(), read.config.size), (1, 6));
            assert_eq!(Document::parse(&read.to_bytes(), ""), Ok(Document::Image(read)));
        }
    }

    #[test]
    fn an_index_is_written_as_it_was_read() {
        let json = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}],"subject":{},"annotations":{{"a":"b"}},"artifactType":"x/y","new":[{{}}]}}"#,
            media_type::OCI_INDEX,
            descriptor(media_type::OCI_MANIFEST, b"m"),
            descriptor(media_type::OCI_MANIFEST, b"s"),
        );
        let Ok(Document::Index(read)) = Document::parse(json.as_bytes(), "") else { panic!("{json}") };
        assert_eq!(String::from_utf8(read.to_bytes()).unwrap(), json);
        let empty = ImageIndex::new(Vec::new());
        assert_eq!(Document::parse(&empty.to_bytes(), ""), Ok(Document::Index(empty)));
        let null = br#"{"schemaVersion":2,"manifests":null}"#;
        assert!(matches!(Document::parse(null, media_type::OCI_INDEX), Ok(Document::Index(read)) if read.manifests.is_empty()));
    }

    #[test]
    fn a_configuration_says_what_the_image_runs_on() {
        let diff = Digest::sha256(b"layer");
        let json = format!(
            r#"{{"created":"2026-01-12T14:30:22Z","architecture":"arm","os":"linux","variant":"v7","config":{{"Labels":{{"a":"b"}}}},
                "rootfs":{{"type":"layers","diff_ids":["{diff}"]}},"history":[]}}"#
        );
        let read = ImageConfig::parse(json.as_bytes()).unwrap();
        assert_eq!(read.platform, Some("linux/arm/v7".parse().unwrap()));
        assert_eq!((read.created.as_deref(), read.diff_ids), (Some("2026-01-12T14:30:22Z"), vec![diff]));
        assert_eq!(read.labels, BTreeMap::from([("a".to_owned(), "b".to_owned())]));
        for silent in ["{}", r#"{"os":"linux"}"#, r#"{"os":"","architecture":"","config":null,"rootfs":null}"#, r#"{"os":null}"#]
        {
            assert_eq!(ImageConfig::parse(silent.as_bytes()), Ok(ImageConfig::default()), "{silent}");
        }
    }

    #[test]
    fn what_is_read_and_what_is_said_is_bounded() {
        let long = vec![b' '; MAX_MANIFEST + 1];
        assert_eq!(Document::parse(&long, ""), Err(DocumentError::TooLarge(long.len())));
        assert_eq!(ImageConfig::parse(&long), Err(DocumentError::TooLarge(long.len())));
        let long = "x".repeat(100_000);
        for json in [
            format!(r#"{{"layers":"{long}","config":{{}}}}"#),
            format!(r#"{{"mediaType":"{long}"}}"#),
            format!("[\"{long}\"]"),
            format!("\"{long}\""),
        ] {
            let error = Document::parse(json.as_bytes(), "").unwrap_err();
            assert!(error.to_string().len() < 400, "{error}");
        }
        assert!(Document::parse(&b"[".repeat(100_000), "").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64), cut in 0usize..400, flip in any::<u8>()) {
            let _ = Document::parse(&bytes, "");
            let _ = ImageConfig::parse(&bytes);
            let mut json = image(&field(media_type::OCI_MANIFEST), media_type::OCI_CONFIG).into_bytes();
            let place = cut % json.len();
            json[place] = flip;
            let _ = Document::parse(&json, "");
            json.truncate(place);
            prop_assert!(Document::parse(&json, "").is_err());
        }
    }
}
