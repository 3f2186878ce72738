//! Bytes that are text most of the time.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

/// A string of Linux: any bytes without a zero. JSON has strings of Unicode only, so what is none is written as its bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct Text(OsString);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Unicode(String),
    Bytes(Vec<u8>),
}

impl Text {
    /// The string as the system takes it.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The text, where it is Unicode.
    pub fn to_str(&self) -> Option<&str> {
        self.0.to_str()
    }

    /// The text to be shown: what is no Unicode is replaced.
    pub fn shown(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

impl From<Form> for Text {
    fn from(form: Form) -> Self {
        match form {
            Form::Unicode(text) => Self(text.into()),
            Form::Bytes(bytes) => Self(OsString::from_vec(bytes)),
        }
    }
}

impl From<Text> for Form {
    fn from(text: Text) -> Self {
        text.0.into_string().map_or_else(|other| Self::Bytes(other.into_vec()), Self::Unicode)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<OsString> for Text {
    fn from(text: OsString) -> Self {
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_json() {
        let all: Vec<u8> = (1..=255).collect();
        for text in [Text::from("grüße \"'$\n"), Text(OsString::from_vec(all))] {
            let json = serde_json::to_string(&text).expect("JSON");
            assert_eq!(serde_json::from_str::<Text>(&json).expect("a text"), text, "{json}");
        }
    }
}
