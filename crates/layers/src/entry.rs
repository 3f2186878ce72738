//! What a layer says about one file.

use std::collections::BTreeMap;

/// A file, directory, link or device, as a layer or a file system describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name as it stands in the archive, such as `./etc/passwd` or `etc/`; bytes, for that is what names are.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions with setuid, setgid and sticky: the lower twelve bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Time of the last change of the content.
    pub mtime: Time,
    /// Bytes of a regular file, holes included; 0 for all else.
    pub size: u64,
    /// Extended attributes, by name (`security.capability`).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Entry {
    /// User and group, where a system can have such numbers: its highest one says "as it is".
    pub(crate) fn owner(&self) -> Option<(u32, u32)> {
        let number = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        number(self.uid).zip(number(self.gid))
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link, with what it says.
    Symlink(Vec<u8>),
    /// Another name of a file that the archive holds, by the name that it has there.
    Hardlink(Vec<u8>),
    /// A character device.
    Character {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// A moment, in seconds and nanoseconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds after that second, less than a thousand million.
    pub nanoseconds: u32,
}

/// Where an entry belongs below the root of a file system: its parts, without `.`, `..` and empty ones; the root itself has none.
///
/// Whoever joins it to a folder stays inside that folder, as long as no part of it leads through a symbolic link.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPath(Vec<u8>);

/// Why a name is no place below a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryPathError {
    /// It climbs.
    #[error("it holds `..`")]
    Climbs,
    /// A byte that no name has.
    #[error("it holds a zero byte")]
    Zero,
}

/// By this attribute a directory of an overlay hides the one below it (the kernel's documentation, "Overlay Filesystem").
pub const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// Whether an extended attribute means the same on another machine.
///
/// `security.selinux` is given by the policy of the machine that a file is on, `system.nfs4_acl` by the server that it lies on, and
/// `trusted.overlay.*` belongs to the overlay of a running container, where it would hide files of whoever mounts this one.
pub fn is_portable(attribute: &[u8]) -> bool {
    attribute != b"security.selinux" && attribute != b"system.nfs4_acl" && !attribute.starts_with(b"trusted.overlay.")
}

impl EntryPath {
    /// Reads a name of an archive. A leading slash means the root, as it does to all who unpack layers.
    pub fn parse(name: &[u8]) -> Result<Self, EntryPathError> {
        let mut path = Vec::with_capacity(name.len());
        if name.contains(&0) {
            return Err(EntryPathError::Zero);
        }
        for part in name.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => continue,
                b".." => return Err(EntryPathError::Climbs),
                _ if !path.is_empty() => path.push(b'/'),
                _ => {}
            }
            path.extend_from_slice(part);
        }
        Ok(Self(path))
    }

    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The parts joined with slashes, without one in front: `etc/passwd`. Empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The parts, from the root down.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }

    /// The last part; none for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        self.parts().last()
    }

    /// The directory that it is in; none for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].to_vec()))
    }

    /// What a part of this name is called inside this directory. `part` has no slash and is neither `.` nor `..`.
    pub fn join(&self, part: &[u8]) -> Self {
        let mut path = self.0.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(part);
        Self(path)
    }

    /// Whether it is this directory, or below it.
    pub fn is_within(&self, directory: &Self) -> bool {
        match self.0.strip_prefix(directory.0.as_slice()) {
            Some(rest) => directory.is_root() || rest.is_empty() || rest[0] == b'/',
            None => false,
        }
    }
}

impl std::fmt::Display for EntryPath {
    /// With a slash in front; what is not UTF-8 is replaced.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_archives_are_places_below_the_root() {
        for (name, path) in
            [("./etc/passwd", "etc/passwd"), ("etc//x/", "etc/x"), ("/a/./b", "a/b"), (".", ""), ("/", ""), ("", "")]
        {
            let parsed = EntryPath::parse(name.as_bytes()).unwrap();
            assert_eq!(parsed.as_bytes(), path.as_bytes(), "{name}");
            assert_eq!(parsed.is_root(), path.is_empty());
        }
        for name in ["..", "a/../b", "/..", "a/.."] {
            assert_eq!(EntryPath::parse(name.as_bytes()), Err(EntryPathError::Climbs), "{name}");
        }
        assert_eq!(EntryPath::parse(b"a\0b"), Err(EntryPathError::Zero));
        assert_eq!(EntryPath::parse(b"..a/b..").unwrap().to_string(), "/..a/b..");
    }

    #[test]
    fn parents_and_parts() {
        let path = EntryPath::parse(b"usr/lib/x").unwrap();
        assert_eq!(path.file_name(), Some(b"x".as_slice()));
        let parent = path.parent().unwrap();
        assert_eq!(parent.join(b"x"), path);
        assert!(path.is_within(&parent) && path.is_within(&path) && path.is_within(&EntryPath::root()));
        assert!(!EntryPath::parse(b"usr/library").unwrap().is_within(&parent) && !parent.is_within(&path));
        assert_eq!(EntryPath::parse(b"a").unwrap().parent(), Some(EntryPath::root()));
        assert_eq!(EntryPath::root().parent(), None);
    }
}
