//! Digests and the hashers that make them.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use sha2::digest::Digest as _;
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Sha256, Sha512};

/// A registered digest algorithm (image-spec, "Descriptor", registered algorithms) that this registry computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, which every implementation must know.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name in front of the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the hash in bytes; its text has twice as many characters.
    pub fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(DigestError::Algorithm),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A content's digest: `sha256:` and 64, or `sha512:` and 128 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    /// The hash, zeros after the algorithm's length.
    bytes: [u8; 64],
}

/// Why a text is not a digest that can be computed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not `algorithm:hexadecimal` at all, or the wrong number of digits.
    #[error("a digest is `sha256:` and 64, or `sha512:` and 128 lower-case hexadecimal digits")]
    Form,
    /// Well-formed, but of an algorithm other than SHA-256 and SHA-512.
    #[error("unsupported digest algorithm; sha256 and sha512 are supported")]
    Algorithm,
}

impl Digest {
    /// The digest of `content`.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::from_bytes(algorithm, &Sha256::digest(content)),
            Algorithm::Sha512 => Self::from_bytes(algorithm, &Sha512::digest(content)),
        }
    }

    /// The SHA-256 digest of `content`.
    pub fn sha256(content: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, content)
    }

    fn from_bytes(algorithm: Algorithm, hash: &[u8]) -> Self {
        let mut bytes = [0; 64];
        bytes[..hash.len()].copy_from_slice(hash);
        Self { algorithm, bytes }
    }

    /// A digest from its stored form; `None` when the length is not the algorithm's.
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Option<Self> {
        (hash.len() == algorithm.length()).then(|| Self::from_bytes(algorithm, hash))
    }

    /// A digest from its hash alone, whose length tells the algorithm.
    pub fn from_hash_of_any_length(hash: &[u8]) -> Option<Self> {
        match hash.len() {
            32 => Some(Self::from_bytes(Algorithm::Sha256, hash)),
            64 => Some(Self::from_bytes(Algorithm::Sha512, hash)),
            _ => None,
        }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hash: 32 or 64 bytes.
    pub fn hash(&self) -> &[u8] {
        &self.bytes[..self.algorithm.length()]
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, encoded) = text.split_once(':').ok_or(DigestError::Form)?;
        let algorithm = match algorithm.parse() {
            Ok(algorithm) => algorithm,
            Err(error) if is_well_formed(algorithm, encoded) => return Err(error),
            Err(_) => return Err(DigestError::Form),
        };
        let length = Algorithm::length(algorithm);
        if encoded.len() != length * 2 || encoded.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(DigestError::Form);
        }
        let mut bytes = [0; 64];
        hex::decode_to_slice(encoded, &mut bytes[..length]).map_err(|_| DigestError::Form)?;
        Ok(Self { algorithm, bytes })
    }
}

/// The grammar of any digest (image-spec, "Descriptor", "Digests"), known algorithm or not.
fn is_well_formed(algorithm: &str, encoded: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separated = algorithm.split(['+', '.', '_', '-']).all(|part| !part.is_empty() && part.bytes().all(is_word));
    separated
        && !encoded.is_empty()
        && encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'_' | b'-'))
}

/// A digest's text, `sha256:…`, made without an allocation. It reads as a `str`.
#[derive(Clone, Copy)]
pub struct DigestText {
    bytes: [u8; 135],
    length: usize,
}

impl std::ops::Deref for DigestText {
    type Target = str;

    fn deref(&self) -> &str {
        // Made of ASCII alone, so the fallback is never taken.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl Digest {
    /// The text, `sha256:…`.
    pub fn text(&self) -> DigestText {
        let name = self.algorithm.as_str();
        let mut text = DigestText { bytes: [b':'; 135], length: name.len() + 1 + self.algorithm.length() * 2 };
        text.bytes[..name.len()].copy_from_slice(name.as_bytes());
        // The room is that of the hash exactly, which is all that can be wrong.
        let _ = hex::encode_to_slice(self.hash(), &mut text.bytes[name.len() + 1..text.length]);
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a digest")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Hashes content as it streams by, with SHA-256 always and SHA-512 on request: content is stored under its SHA-256,
/// and any other digest is another name for it.
#[derive(Clone)]
pub struct Hasher {
    sha256: Sha256,
    sha512: Option<Sha512>,
}

/// A hasher's state half-way, to be stored beside an unfinished upload. Holds for every version of the `sha2` crate that reads it
/// back without an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedState {
    /// State of the SHA-256.
    pub sha256: Vec<u8>,
    /// State of the SHA-512, when that is computed as well.
    pub sha512: Option<Vec<u8>>,
}

impl Hasher {
    /// A hasher that can answer for SHA-256 and for `also`.
    pub fn new(also: Algorithm) -> Self {
        Self { sha256: Sha256::new(), sha512: (also == Algorithm::Sha512).then(Sha512::new) }
    }

    /// The algorithm it was made for.
    pub fn also(&self) -> Algorithm {
        if self.sha512.is_some() { Algorithm::Sha512 } else { Algorithm::Sha256 }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(bytes);
        }
    }

    /// The digest by `algorithm` of all bytes so far; `None` for SHA-512 when it was not asked for from the start.
    pub fn digest(&self, algorithm: Algorithm) -> Option<Digest> {
        match algorithm {
            Algorithm::Sha256 => Some(Digest::from_bytes(algorithm, &self.sha256.clone().finalize())),
            Algorithm::Sha512 => self.sha512.as_ref().map(|sha512| Digest::from_bytes(algorithm, &sha512.clone().finalize())),
        }
    }

    /// The state, to go on from later.
    pub fn save(&self) -> SavedState {
        SavedState {
            sha256: self.sha256.serialize().to_vec(),
            sha512: self.sha512.as_ref().map(|sha512| sha512.serialize().to_vec()),
        }
    }

    /// Goes on from a saved state; `None` when it is damaged or was written by an incompatible version.
    pub fn restore(state: &SavedState) -> Option<Self> {
        let sha256 = Sha256::deserialize(state.sha256.as_slice().try_into().ok()?).ok()?;
        let sha512 = match &state.sha512 {
            Some(bytes) => Some(Sha512::deserialize(bytes.as_slice().try_into().ok()?).ok()?),
            None => None,
        };
        Some(Self { sha256, sha512 })
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("sha512", &self.sha512.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digests_read_and_write_the_same() {
        assert_eq!(Digest::sha256(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(Digest::sha256(b"")));
        let long = Digest::of(Algorithm::Sha512, b"x");
        assert_eq!(long.to_string().parse(), Ok(long));
        assert_eq!(Digest::from_hash_of_any_length(long.hash()), Some(long));
        for digest in [long, Digest::sha256(b"")] {
            let json = serde_json::to_string(&digest).unwrap();
            assert_eq!(json, format!("\"{digest}\""));
            assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        }
        assert!(serde_json::from_str::<Digest>("\"sha256:00\"").is_err());
    }

    #[test]
    fn other_algorithms_are_told_from_nonsense() {
        assert_eq!("sha384:abcdef".parse::<Digest>(), Err(DigestError::Algorithm));
        assert_eq!("a+b.c:Abc=_-".parse::<Digest>(), Err(DigestError::Algorithm));
        let upper = EMPTY.to_uppercase().replace("SHA", "sha");
        for bad in [
            "",
            ":",
            "sha256",
            "sha256:",
            "sha256:00",
            "sha256:zz",
            "+:a",
            "a+:b",
            "sha384:!",
            upper.as_str(),
            &format!("{EMPTY}0"),
            &format!(" {EMPTY}"),
        ] {
            assert_eq!(bad.parse::<Digest>(), Err(DigestError::Form), "{bad}");
        }
    }

    #[test]
    fn a_saved_hasher_goes_on_where_it_was() {
        for cut in [0, 1, 63, 64, 65, 127, 128, 1000] {
            let content: Vec<u8> = (0..1500).map(|i| (i % 251) as u8).collect();
            let mut first = Hasher::new(Algorithm::Sha512);
            first.update(&content[..cut]);
            let mut second = Hasher::restore(&first.save()).unwrap();
            second.update(&content[cut..]);
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                assert_eq!(second.digest(algorithm), Some(Digest::of(algorithm, &content)), "{cut}");
            }
        }
        assert!(Hasher::restore(&SavedState { sha256: vec![1, 2, 3], sha512: None }).is_none());
        assert_eq!(Hasher::new(Algorithm::Sha256).digest(Algorithm::Sha512), None);
    }
}
