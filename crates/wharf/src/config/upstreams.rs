//! Upstreams as the configuration writes them: `wharf.upstreams`, a list of sections or of texts such as `yocto/* -> docker.io/library/*`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use wharf_registry::Mapping;

use super::units::parse_duration;
use crate::url::RegistryUrl;

/// All upstreams, in the order in which they are asked.
pub type Upstreams = Vec<Upstream>;

/// Stands between the names here and those there in the short form.
const ARROW: &str = "->";
/// How Docker Hub is called by people, and by its own answers.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// One upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Upstream {
    /// `HOST[:PORT]`, over TLS unless `http://` stands in front.
    pub url: String,
    /// What it is called here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Names here, and what they are called there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub repositories: BTreeMap<String, String>,
    /// Hosts that it stands for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Who we are to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// A file that a login has left, instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authfile: Option<PathBuf>,
    /// How long a tag counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// Whether its certificate is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_verify: Option<String>,
    /// An authority to believe beside those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

/// A password, which is written into files and shown nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The long form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    url: String,
    name: Option<String>,
    #[serde(default)]
    repositories: BTreeMap<String, String>,
    #[serde(default)]
    namespaces: Vec<String>,
    username: Option<String>,
    password: Option<Password>,
    authfile: Option<PathBuf>,
    ttl: Option<String>,
    tls_verify: Option<String>,
    ca: Option<PathBuf>,
}

impl<'de> Deserialize<'de> for Upstream {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Upstream;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a section with a `url`, or a text such as `yocto/* -> docker.io/library/*`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Upstream, E> {
                Upstream::of_text(text).and_then(Upstream::checked).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Upstream, A::Error> {
                let section = Section::deserialize(MapAccessDeserializer::new(map))?;
                Upstream::of_section(section).checked().map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Upstream {
    fn of_section(section: Section) -> Self {
        let Section { url, name, repositories, namespaces, username, password, authfile, ttl, tls_verify, ca } = section;
        // Absolute at once: the server in the background runs in another folder than its starter.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let (authfile, ca) = (authfile.map(absolute), ca.map(absolute));
        Self { url, name, repositories, namespaces, username, password, authfile, ttl, tls_verify, ca }
    }

    /// Reads `yocto/* -> docker.io/library/*`.
    fn of_text(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is none: write NAMES -> HOST/NAMES, as in `yocto/* -> docker.io/library/*`");
        let (here, there) = text.split_once(ARROW).ok_or_else(wrong)?;
        let (here, there) = (here.trim(), there.trim());
        let begin = there.find("://").map_or(0, |scheme| scheme + 3);
        let slash = there[begin..].find('/').ok_or_else(wrong)? + begin;
        let mut upstream = Self::at(&there[..slash]);
        upstream.repositories.insert(here.to_owned(), there[slash + 1..].to_owned());
        Ok(upstream)
    }

    /// One of which nothing but its address is known.
    pub fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            name: None,
            repositories: BTreeMap::new(),
            namespaces: Vec::new(),
            username: None,
            password: None,
            authfile: None,
            ttl: None,
            tls_verify: None,
            ca: None,
        }
    }

    fn checked(self) -> Result<Self, String> {
        self.address()?;
        self.mappings()?;
        self.ttl()?;
        self.tls_verify()?;
        match (&self.username, &self.password, &self.authfile) {
            (None, None, _) | (Some(_), Some(_), None) => Ok(self),
            (_, _, Some(_)) => Err(format!("`authfile` and `username` exclude each other for `{}`", self.url)),
            _ => Err(format!("`username` and `password` need each other for `{}`", self.url)),
        }
    }

    /// Whether it is reached over TLS, and its `HOST[:PORT]`.
    pub fn address(&self) -> Result<(bool, String), String> {
        let url = RegistryUrl::parse(&self.url).map_err(|error| error.to_string())?;
        let authority = if DOCKER_HUB.contains(&url.host.as_str()) { DOCKER_HUB[0].to_owned() } else { url.authority() };
        Ok((url.https.unwrap_or(true), authority))
    }

    /// The rules for its repositories.
    pub fn mappings(&self) -> Result<Vec<Mapping>, String> {
        let rules = self.repositories.iter();
        rules.map(|(here, there)| Mapping::new(here, there).map_err(|error| error.to_string())).collect()
    }

    /// How long a tag counts, when that is said.
    pub fn ttl(&self) -> Result<Option<Duration>, String> {
        let read = |text: &String| parse_duration(text).ok_or_else(|| format!("`ttl` is `{text}`, expected a time such as 60s"));
        self.ttl.as_ref().map(read).transpose()
    }

    /// Whether its certificate is checked.
    pub fn tls_verify(&self) -> Result<bool, String> {
        match self.tls_verify.as_deref() {
            None | Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(format!("`tls_verify` is `{other}`, expected true or false")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Result<Upstream, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn the_short_form_is_the_long_one() {
        let short = read(json!("yocto/* -> docker.io/library/*")).unwrap();
        assert_eq!(Ok(&short), read(json!({"url": "docker.io", "repositories": {"yocto/*": "library/*"}})).as_ref());
        assert_eq!(short.address(), Ok((true, "docker.io".to_owned())));
        let plain = read(json!("a->http://localhost:5000/team/a")).unwrap();
        assert_eq!(plain.address(), Ok((false, "localhost:5000".to_owned())));
        assert_eq!(plain.repositories, BTreeMap::from([("a".to_owned(), "team/a".to_owned())]));
        assert_eq!(read(json!({"url": "https://registry-1.docker.io"})).unwrap().address(), Ok((true, "docker.io".to_owned())));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_password_with_it() {
        let url = "docker.io";
        for (value, expected) in [
            (json!("yocto/*"), "write NAMES -> HOST/NAMES"),
            (json!("yocto/* -> docker.io"), "write NAMES -> HOST/NAMES"),
            (json!("yocto/* -> docker.io/library/alpine"), "both sides need the same wildcard"),
            (json!({"repositories": {}}), "missing field `url`"),
            (json!({"url": "ftp://x"}), "scheme"),
            (json!({"url": url, "tls": "false"}), "unknown field `tls`"),
            (json!({"url": url, "ttl": "soon"}), "`ttl` is `soon`, expected a time such as 60s"),
            (json!({"url": url, "tls_verify": "maybe"}), "`tls_verify` is `maybe`, expected true or false"),
            (json!({"url": url, "username": "u"}), "`username` and `password` need each other"),
            (json!({"url": url, "password": "hunter2"}), "`username` and `password` need each other"),
            (json!({"url": url, "username": "u", "password": "hunter2", "authfile": "/x"}), "exclude each other"),
            (json!({"url": url, "password": ["hunter2"]}), "invalid type: sequence, expected a string"),
        ] {
            let told = read(value.clone()).unwrap_err();
            assert!(told.contains(expected) && !told.contains("hunter2"), "{value}: {told}");
        }
    }

    #[test]
    fn it_is_written_as_it_is_read_and_shows_no_password() {
        let entry = json!({
            "url": "http://up.example", "name": "up", "repositories": {"a/*": "*"}, "namespaces": ["x.example"],
            "username": "u", "password": "hunter2", "ttl": "5m", "tls_verify": "false", "ca": "/ca.crt",
        });
        let read = read(entry.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), entry);
        assert!(!format!("{read:?}").contains("hunter2"));
    }
}
