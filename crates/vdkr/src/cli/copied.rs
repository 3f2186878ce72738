//! Sides of a copy.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// One side of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// A path in a container.
    Container {
        /// The container, by name or ID.
        container: String,
        /// The path, from the container's root; bytes as they are.
        path: OsString,
    },
    /// A path of this machine.
    Here(PathBuf),
    /// Standard input or output.
    Stream,
}

impl Side {
    /// Reads `CONTAINER:PATH`, a path, or `-`. What begins with a slash or a dot is a path of this machine, whatever colons are in it.
    pub fn parse(text: &OsStr) -> Result<Self, String> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err("an empty text is no path".to_owned());
        }
        if bytes == b"-" {
            return Ok(Self::Stream);
        }
        let at = bytes.iter().position(|byte| *byte == b':').filter(|at| *at > 0);
        let (Some(at), false) = (at, bytes.starts_with(b"/") || bytes.starts_with(b".")) else {
            return Ok(Self::Here(PathBuf::from(text)));
        };
        let container =
            std::str::from_utf8(&bytes[..at]).map_err(|_| format!("`{}`: no container is called that", text.display()))?;
        let path = if at + 1 == bytes.len() { b"/" } else { &bytes[at + 1..] };
        Ok(Self::Container { container: container.to_owned(), path: OsString::from_vec(path.to_vec()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_tells_containers_from_paths() {
        let side = |text: &str| Side::parse(OsStr::new(text)).unwrap();
        let inside = |container: &str, path: &str| Side::Container { container: container.to_owned(), path: path.into() };
        assert_eq!(side("web:/etc/passwd"), inside("web", "/etc/passwd"));
        assert_eq!(side("web:a:b"), inside("web", "a:b"));
        assert_eq!(side("web:"), inside("web", "/"));
        assert_eq!(side("-"), Side::Stream);
        for path in ["./file:name", "/tmp/file:name", "../a:b", "file", ":x", "-x"] {
            assert_eq!(side(path), Side::Here(path.into()), "{path}");
        }
        let odd = Side::parse(OsStr::from_bytes(b"web:/\xff")).unwrap();
        assert_eq!(odd, Side::Container { container: "web".to_owned(), path: OsString::from_vec(b"/\xff".to_vec()) });
        assert!(Side::parse(OsStr::from_bytes(b"\xff:/x")).is_err() && Side::parse(OsStr::new("")).is_err());
    }
}
