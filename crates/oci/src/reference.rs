//! Where an image lies: host, repository, and tag or digest, as people write it.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::document::short;
use crate::{Digest, DigestError, NameError, Reference, RepositoryName, Tag};

/// The registry that names without a host mean.
const DOCKER_HUB: &str = "docker.io";
/// Another name of it, out of old configurations.
const DOCKER_HUB_INDEX: &str = "index.docker.io";
/// Bytes of a reference at most: more than host, name, tag and digest can have together.
const LONGEST: usize = 1_024;
/// Bytes of a host's name at most (RFC 1035, section 2.3.4).
const LONGEST_HOST: usize = 253;

/// An image on some registry, by the rules that Docker and Podman have for it: `alpine` is `docker.io/library/alpine`, `user/app` is
/// `docker.io/user/app`, and a first part with a dot, with a colon, or that is `localhost`, is the host. It has a tag, a digest, both or neither.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageReference {
    host: Box<str>,
    repository: RepositoryName,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

/// A text is no image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid image reference {text:?}: {fault}")]
pub struct ImageReferenceError {
    /// The text, cut if it is long.
    pub text: String,
    /// What is wrong with it.
    pub fault: ReferenceFault,
}

/// What is wrong with an image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceFault {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// More than anything needs.
    #[error("it is longer than {LONGEST} characters")]
    TooLong,
    /// An address of the web; images have none.
    #[error("an image has no `{0}://`; write host/name:tag")]
    Scheme(String),
    /// The part before the first slash is a host, and not one that exists.
    #[error("`{0}` is not a host, or a host and a port")]
    Host(String),
    /// Nothing where the repository's name belongs.
    #[error("there is no repository name")]
    NoName,
    /// A capital letter in the repository's name.
    #[error("a repository name with `{0}`; it must be lower case")]
    UpperCase(char),
    /// A character that no repository's name has.
    #[error("a repository name with `{0}`")]
    NameCharacter(char),
    /// The repository's name is wrong in another way.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The hash of an image, which does not say where the image is.
    #[error("it is the ID of an image, not a name")]
    Identifier,
    /// Nothing where the tag belongs.
    #[error("an empty tag")]
    EmptyTag,
    /// A tag that begins with what it may only go on with.
    #[error("a tag that begins with `{0}`")]
    TagStart(char),
    /// A character that no tag has.
    #[error("a tag with `{0}`")]
    TagCharacter(char),
    /// A tag of more than 128 characters.
    #[error("a tag of more than 128 characters")]
    LongTag,
    /// What follows the `@` is no digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl ImageReference {
    /// The registry: a name or an address, and a port if there is one; `docker.io` when none was written.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository on that registry.
    pub fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// The tag, if one was written.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest, if one was written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What to ask the registry for: the digest, else the tag, else `latest`.
    pub fn reference(&self) -> Reference {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Reference::Digest(*digest),
            (None, Some(tag)) => Reference::Tag(tag.clone()),
            (None, None) => Reference::Tag(Tag::latest()),
        }
    }

    /// The last part of the repository's name: `app` of `docker.io/user/app`.
    pub fn last_component(&self) -> &str {
        self.repository.as_str().rsplit('/').next().unwrap_or_default()
    }
}

impl FromStr for ImageReference {
    type Err = ImageReferenceError;

    /// Reads a reference. A `docker://` before it says nothing.
    fn from_str(text: &str) -> Result<Self, ImageReferenceError> {
        read(text).map_err(|fault| ImageReferenceError { text: short(text), fault })
    }
}

impl fmt::Display for ImageReference {
    /// Writes the reference in full: `docker.io/library/alpine:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

fn read(text: &str) -> Result<ImageReference, ReferenceFault> {
    if text.len() > LONGEST {
        return Err(ReferenceFault::TooLong);
    }
    let text = text.strip_prefix("docker://").unwrap_or(text);
    if text.is_empty() {
        return Err(ReferenceFault::Empty);
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(ReferenceFault::Scheme(short(scheme)));
    }
    let (text, digest) = match text.split_once('@') {
        Some((text, digest)) => (text, Some(digest.parse::<Digest>()?)),
        None => (text, None),
    };
    let (host, path) = match text.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => (host(first)?, path),
        _ => (DOCKER_HUB.to_owned(), text),
    };
    // The host is gone, so that a colon can only be before a tag.
    let (name, tag) = match path.split_once(':') {
        Some((name, tag)) => (name, Some(self::tag(tag)?)),
        None => (path, None),
    };
    let repository = repository(name, host == DOCKER_HUB)?;
    Ok(ImageReference { host: host.into(), repository, tag, digest })
}

/// A host, in lower case, with its port.
fn host(text: &str) -> Result<String, ReferenceFault> {
    let wrong = || ReferenceFault::Host(short(text));
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
            address.parse::<Ipv6Addr>().map_err(|_| wrong())?;
            (None, port.strip_prefix(':').or(port.is_empty().then_some("80")).ok_or_else(wrong)?)
        }
        None => text.split_once(':').map_or((Some(text), "80"), |(name, port)| (Some(name), port)),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_name = |name: &str| name.len() <= LONGEST_HOST && name.split('.').all(is_label);
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0);
    if !name.is_none_or(is_name) || !is_port(port) {
        return Err(wrong());
    }
    let host = text.to_ascii_lowercase();
    Ok(if host == DOCKER_HUB_INDEX { DOCKER_HUB.to_owned() } else { host })
}

fn repository(name: &str, on_docker_hub: bool) -> Result<RepositoryName, ReferenceFault> {
    if name.is_empty() {
        return Err(ReferenceFault::NoName);
    }
    if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return Err(ReferenceFault::Identifier);
    }
    let is_known = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "._-/".contains(letter);
    match name.chars().find(|letter| !is_known(*letter)) {
        Some(letter) if letter.is_uppercase() => return Err(ReferenceFault::UpperCase(letter)),
        Some(letter) => return Err(ReferenceFault::NameCharacter(letter)),
        None => {}
    }
    let is_official = on_docker_hub && !name.contains('/');
    Ok(if is_official { format!("library/{name}").parse()? } else { name.parse()? })
}

fn tag(text: &str) -> Result<Tag, ReferenceFault> {
    text.parse().map_err(|_| {
        let is_known = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        match (text.chars().find(|letter| !is_known(*letter)), text.chars().next()) {
            (Some(letter), _) => ReferenceFault::TagCharacter(letter),
            (None, Some(first @ ('.' | '-'))) => ReferenceFault::TagStart(first),
            (None, Some(_)) => ReferenceFault::LongTag,
            (None, None) => ReferenceFault::EmptyTag,
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(text: &str) -> ReferenceFault {
        text.parse::<ImageReference>().unwrap_err().fault
    }

    #[test]
    fn references_are_read_as_docker_reads_them() {
        let digest = Digest::sha256(b"x");
        for (text, full) in [
            ("alpine", "docker.io/library/alpine"),
            ("alpine:3.19", "docker.io/library/alpine:3.19"),
            ("user/app", "docker.io/user/app"),
            ("docker.io/alpine", "docker.io/library/alpine"),
            ("index.docker.io/alpine:1", "docker.io/library/alpine:1"),
            ("docker://quay.io/a/b/c:X", "quay.io/a/b/c:X"),
            ("localhost/foo", "localhost/foo"),
            ("localhost:5000/foo", "localhost:5000/foo"),
            ("localhost:5000", "docker.io/library/localhost:5000"),
            ("build:5000/foo:latest", "build:5000/foo:latest"),
            ("[::1]:5000/x", "[::1]:5000/x"),
            ("[fe80::1]/x:y", "[fe80::1]/x:y"),
            ("Example.ORG/x", "example.org/x"),
            ("127.0.0.1:80/a_b/c__d", "127.0.0.1:80/a_b/c__d"),
            ("gcr.io/x/y", "gcr.io/x/y"),
        ] {
            assert_eq!(text.parse::<ImageReference>().unwrap().to_string(), full);
            let pinned = format!("{text}@{digest}").parse::<ImageReference>().unwrap();
            assert_eq!(pinned.to_string(), format!("{full}@{digest}"));
            assert_eq!((pinned.digest(), pinned.reference()), (Some(&digest), Reference::Digest(digest)));
        }
    }

    #[test]
    fn a_reference_is_taken_apart() {
        let read: ImageReference = "localhost:5000/user/app".parse().unwrap();
        assert_eq!((read.host(), read.repository().as_str(), read.last_component()), ("localhost:5000", "user/app", "app"));
        assert_eq!((read.tag(), read.digest(), read.reference().to_string()), (None, None, "latest".to_owned()));
        let tagged: ImageReference = "app:1".parse().unwrap();
        assert_eq!((tagged.reference().to_string(), tagged.last_component()), ("1".to_owned(), "app"));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let error = "alpine:a#b".parse::<ImageReference>().unwrap_err();
        assert_eq!(error.to_string(), "invalid image reference \"alpine:a#b\": a tag with `#`");
        for (text, expected) in [
            ("", ReferenceFault::Empty),
            ("docker://", ReferenceFault::Empty),
            ("https://example.org/x", ReferenceFault::Scheme("https".to_owned())),
            ("Foo/bar", ReferenceFault::UpperCase('F')),
            ("example.org/Foo", ReferenceFault::UpperCase('F')),
            ("a b", ReferenceFault::NameCharacter(' ')),
            ("alpine:", ReferenceFault::EmptyTag),
            ("alpine:-a", ReferenceFault::TagStart('-')),
            ("alpine:a/b", ReferenceFault::Host("alpine:a".to_owned())),
            ("x.y/alpine:a:b", ReferenceFault::TagCharacter(':')),
            ("example.org/", ReferenceFault::NoName),
            (":tag", ReferenceFault::NoName),
            ("a//b", ReferenceFault::Name(NameError::Grammar)),
            ("alpine@", ReferenceFault::Digest(DigestError::Form)),
            ("alpine@sha256:00", ReferenceFault::Digest(DigestError::Form)),
            ("alpine@sha384:00", ReferenceFault::Digest(DigestError::Algorithm)),
            ("-a.b/x", ReferenceFault::Host("-a.b".to_owned())),
            ("a..b/x", ReferenceFault::Host("a..b".to_owned())),
            ("a:0/x", ReferenceFault::Host("a:0".to_owned())),
            ("a:+1/x", ReferenceFault::Host("a:+1".to_owned())),
            ("a:65536/x", ReferenceFault::Host("a:65536".to_owned())),
            (":5000/x", ReferenceFault::Host(":5000".to_owned())),
            ("[::1/x", ReferenceFault::Host("[::1".to_owned())),
            ("[::g]:1/x", ReferenceFault::Host("[::g]:1".to_owned())),
            ("[::1]x:1/x", ReferenceFault::Host("[::1]x:1".to_owned())),
        ] {
            assert_eq!(fault(text), expected, "{text}");
        }
        assert_eq!(fault(&Digest::sha256(b"x").to_string()["sha256:".len()..]), ReferenceFault::Identifier);
        assert_eq!(fault(&"x".repeat(LONGEST + 1)), ReferenceFault::TooLong);
        assert_eq!(fault(&format!("a:{}", "x".repeat(129))), ReferenceFault::LongTag);
        assert_eq!(fault(&"x".repeat(256)), ReferenceFault::Name(NameError::TooLong));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(
            text in "(docker://)?([a-zA-Z0-9.\\[\\]:-]{0,9}/)?[a-z0-9._/-]{0,12}(:[a-zA-Z0-9._-]{0,5})?|.{0,40}"
        ) {
            if let Ok(read) = text.parse::<ImageReference>() {
                prop_assert_eq!(read.to_string().parse::<ImageReference>().unwrap(), read);
            }
        }
    }
}
