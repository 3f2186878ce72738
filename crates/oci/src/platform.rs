//! The platform that an image runs on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::descriptor::null_as_default;

/// A platform (image-spec, "OCI Image Index Specification", `platform`; the same members are in an image configuration), as it is
/// written. Compare with [`Platform::same_as`]: some platforms have several spellings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Architecture, by the names of Go: `amd64`, `arm64`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub architecture: String,
    /// Operating system, by the names of Go: `linux`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub os: String,
    /// Version of the operating system, which images of Windows have.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features of the operating system that the image needs.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub os_features: Vec<String>,
    /// Variant of the processor: `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// All other members.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The text is no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a platform is `os/architecture` or `os/architecture/variant`, like linux/arm64")]
pub struct PlatformError;

/// Operating systems that someone may give alone, by mistake: no architecture has such a name.
const SYSTEMS: [&str; 4] = ["linux", "windows", "darwin", "freebsd"];

impl Platform {
    /// A platform of an operating system and an architecture.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self {
            architecture: architecture.into(),
            os: os.into(),
            os_version: None,
            os_features: Vec::new(),
            variant: None,
            rest: Map::new(),
        }
    }

    /// Whether an image of either serves the same machines: operating system, architecture, variant and version of the operating
    /// system are the same, in whatever spelling.
    pub fn same_as(&self, other: &Self) -> bool {
        self.normal() == other.normal() && self.os_version() == other.os_version()
    }

    /// Whether this is the platform of what runs nowhere: `unknown/unknown`, which attestations have.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    /// Whether an image of this platform will do for who asks for `wanted`. What `wanted` does not say (variant, version of the
    /// operating system) may be anything.
    pub fn matches(&self, wanted: &Self) -> bool {
        let ((os, architecture, variant), wants) = (self.normal(), wanted.normal());
        os == wants.0
            && architecture == wants.1
            && (wanted.variant().is_empty() || variant == wants.2)
            && (wanted.os_version().is_empty() || self.os_version() == wanted.os_version())
    }

    /// Whether it names an operating system and an architecture; what does not is no platform at all.
    pub(crate) fn is_named(&self) -> bool {
        !self.os.is_empty() && !self.architecture.is_empty()
    }

    fn variant(&self) -> &str {
        self.variant.as_deref().unwrap_or_default()
    }

    fn os_version(&self) -> &str {
        self.os_version.as_deref().unwrap_or_default()
    }

    /// Operating system, architecture and variant, each in its one spelling.
    fn normal(&self) -> (String, String, String) {
        let (architecture, implied) = architecture(&self.architecture);
        let variant = match (self.variant(), implied) {
            ("", Some(implied)) => implied.to_owned(),
            (variant, _) if variant.starts_with(|first: char| first.is_ascii_digit()) => format!("v{variant}"),
            (variant, _) => variant.to_ascii_lowercase(),
        };
        // What every processor of the architecture has says nothing.
        let variant = match (architecture.as_str(), variant.as_str()) {
            ("arm64", "v8") | ("amd64", "v1") => String::new(),
            ("arm", "") => "v7".to_owned(),
            _ => variant,
        };
        (self.os.to_ascii_lowercase(), architecture, variant)
    }
}

/// An architecture by the name that Go has for it, and the variant that lies in its other name.
fn architecture(name: &str) -> (String, Option<&'static str>) {
    let name = name.to_ascii_lowercase();
    let (known, variant) = match name.as_str() {
        "x86_64" | "x86-64" => ("amd64", None),
        "aarch64" => ("arm64", None),
        "i386" => ("386", None),
        "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        _ => return (name, None),
    };
    (known.to_owned(), variant)
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Reads `os/architecture`, `os/architecture/variant`, or an architecture alone, which is one of Linux. Other names of an
    /// architecture (`x86_64`, `aarch64`) become Go's.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let parts: Vec<_> = text.splitn(4, '/').collect();
        if parts.iter().any(|part| part.is_empty() || !part.bytes().all(is_word)) {
            return Err(PlatformError);
        }
        let (os, name, variant) = match parts[..] {
            [alone] if !SYSTEMS.contains(&alone) => ("linux", alone, None),
            [os, name] => (os, name, None),
            [os, name, variant] => (os, name, Some(variant)),
            _ => return Err(PlatformError),
        };
        let (name, implied) = architecture(name);
        Ok(Self { variant: variant.or(implied).map(str::to_ascii_lowercase), ..Self::new(os.to_ascii_lowercase(), name) })
    }
}

impl fmt::Display for Platform {
    /// Writes `os/architecture`, and `/variant` when there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant() {
            "" => Ok(()),
            variant => write!(f, "/{variant}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn texts_are_read_and_written() {
        for (text, written) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("arm64", "linux/arm64"),
            ("x86_64", "linux/amd64"),
            ("Linux/AARCH64", "linux/arm64"),
            ("armhf", "linux/arm/v7"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(platform(text).to_string(), written);
        }
        for wrong in ["", "/", "linux/", "/amd64", "linux", "a/b/c/d", "linux/amd 64", "linux//v7", "linux/ärm"] {
            assert_eq!(wrong.parse::<Platform>(), Err(PlatformError), "{wrong}");
        }
    }

    #[test]
    fn one_platform_has_several_spellings() {
        for (one, other) in [
            ("linux/arm64", "linux/arm64/v8"),
            ("linux/arm64", "linux/arm64/8"),
            ("linux/amd64", "linux/amd64/v1"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/v7", "linux/arm/7"),
        ] {
            assert!(platform(one).same_as(&platform(other)) && platform(other).same_as(&platform(one)), "{one} {other}");
        }
        assert!(Platform::new("linux", "x86_64").same_as(&platform("linux/amd64")));
        assert!(Platform::new("linux", "aarch64").same_as(&platform("linux/arm64")));
        for (one, other) in [
            ("linux/arm64", "linux/amd64"),
            ("linux/amd64", "windows/amd64"),
            ("linux/amd64", "linux/amd64/v3"),
            ("linux/arm/v6", "linux/arm"),
            ("linux/riscv64", "linux/riscv64/v1"),
        ] {
            assert!(!platform(one).same_as(&platform(other)), "{one} {other}");
        }
        let windows = |version: &str| Platform { os_version: Some(version.to_owned()), ..platform("windows/amd64") };
        assert!(windows("10.0.1").same_as(&windows("10.0.1")) && windows("").same_as(&platform("windows/amd64")));
        assert!(!windows("10.0.1").same_as(&windows("10.0.2")) && !windows("10.0.1").same_as(&platform("windows/amd64")));
    }

    #[test]
    fn who_asks_for_no_variant_takes_any() {
        assert!(platform("linux/arm/v6").matches(&platform("linux/arm")));
        assert!(platform("linux/arm64").matches(&platform("linux/arm64/v8")));
        assert!(platform("linux/arm").matches(&platform("linux/arm/v7")));
        assert!(!platform("linux/arm/v6").matches(&platform("linux/arm/v7")));
        assert!(!platform("linux/arm64").matches(&platform("linux/arm")));
        assert!(!platform("windows/amd64").matches(&platform("amd64")));
        let windows = Platform { os_version: Some("10".to_owned()), ..platform("windows/amd64") };
        assert!(windows.matches(&platform("windows/amd64")) && !platform("windows/amd64").matches(&windows));
    }

    #[test]
    fn json_is_that_of_the_specification() {
        let json = r#"{"architecture":"amd64","os":"windows","os.version":"10","os.features":["win32k"],"variant":"v1","features":["sse4"]}"#;
        let read: Platform = serde_json::from_str(json).unwrap();
        assert_eq!((read.os_version.as_deref(), read.os_features.as_slice()), (Some("10"), ["win32k".to_owned()].as_slice()));
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
        assert_eq!(serde_json::to_string(&platform("linux/amd64")).unwrap(), r#"{"architecture":"amd64","os":"linux"}"#);
        assert!(!read.is_unknown() && platform("unknown/unknown").is_unknown());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z0-9_/.-]{0,24}|.{0,12}") {
            if let Ok(read) = text.parse::<Platform>() {
                prop_assert_eq!(read.to_string().parse::<Platform>().unwrap(), read);
            }
        }
    }
}
