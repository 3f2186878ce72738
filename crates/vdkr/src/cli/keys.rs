//! Keys by which a terminal is left to itself.

use std::str::FromStr;

/// A sequence of keys, as Docker writes it: letters, or `ctrl-` with a letter or one of `@[\]^_`, separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

impl DetachKeys {
    /// What a terminal sends for them; at least one byte.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Default for DetachKeys {
    /// `ctrl-p,ctrl-q`.
    fn default() -> Self {
        Self(vec![16, 17])
    }
}

impl FromStr for DetachKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let key = |key: &str| match *key.as_bytes() {
            [byte] if byte.is_ascii_graphic() => Some(byte),
            [b'c', b't', b'r', b'l', b'-', letter @ (b'a'..=b'z')] => Some(letter - b'a' + 1),
            [b'c', b't', b'r', b'l', b'-', sign @ (b'@' | b'['..=b'_')] => Some(sign - b'@'),
            _ => None,
        };
        let keys: Option<_> = text.split(',').map(key).collect();
        keys.map(Self).ok_or_else(|| format!("`{text}` names no keys, as `ctrl-p,ctrl-q` or `x` does"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_a_terminal_sends() {
        for (text, bytes) in
            [("", &[16, 17][..]), ("ctrl-p,ctrl-q", &[16, 17]), ("ctrl-@,a,~", &[0, b'a', b'~']), ("ctrl-\\,ctrl-]", &[28, 29])]
        {
            assert_eq!(text.parse::<DetachKeys>().unwrap().bytes(), bytes, "{text}");
        }
        for wrong in ["ctrl-", "ctrl-A", "ab", "a,", "ü", "shift-a", "ctrl-1"] {
            assert!(wrong.parse::<DetachKeys>().is_err(), "{wrong}");
        }
    }
}
