//! Members of a layer that are no files: they remove what lower layers have (image-spec, "Whiteouts").

use super::Unpacker;
use crate::{EntryPath, LayersError};

const PREFIX: &[u8] = b".wh.";
/// What AUFS kept for itself. Layers that were made on it still have its folders.
const AUFS_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a member of a layer means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Member {
    /// A file at this path.
    Entry(EntryPath),
    /// Nothing of lower layers at this path.
    Whiteout(EntryPath),
    /// Nothing of lower layers in this directory.
    Opaque(EntryPath),
    /// Nothing.
    Ignored,
}

/// Reads the name of a member.
pub(super) fn member(name: &[u8]) -> Result<Member, LayersError> {
    let path = EntryPath::parse(name).map_err(|why| LayersError::Name { name: name.to_vec(), why })?;
    let Some((parent, last)) = path.parent().zip(path.file_name()) else { return Ok(Member::Entry(path)) };
    if parent.parts().any(|part| part.starts_with(AUFS_PREFIX)) {
        return Ok(Member::Ignored);
    }
    let refused = |why: &str| Err(LayersError::Refused { name: name.to_vec(), why: why.to_owned() });
    if parent.parts().any(|part| part.starts_with(PREFIX)) {
        return refused("a whiteout has nothing in it");
    }
    match last.strip_prefix(PREFIX) {
        None => Ok(Member::Entry(path)),
        _ if last == OPAQUE => Ok(Member::Opaque(parent)),
        _ if last.starts_with(AUFS_PREFIX) => Ok(Member::Ignored),
        Some(b"" | b"." | b"..") => refused("it is a whiteout of no file"),
        Some(removed) => Ok(Member::Whiteout(parent.join(removed))),
    }
}

impl Unpacker {
    /// Removes what lower layers have at this path. `name` is the member that says so.
    pub(super) fn whiteout(&mut self, name: &[u8], path: &EntryPath) -> Result<(), LayersError> {
        let Some((parent, removed)) = path.parent().zip(path.file_name()) else { return Ok(()) };
        match self.resolve(name, &parent, false)? {
            Ok(place) => self.remove(&place, removed, true),
            Err(_) => Ok(()),
        }
    }

    /// Removes what lower layers have in this directory. `name` is the member that says so.
    pub(super) fn opaque(&mut self, name: &[u8], path: &EntryPath) -> Result<(), LayersError> {
        match self.resolve(name, path, false)? {
            Ok(place) => self.remove_lower(&place),
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_files_or_take_them_away() {
        let path = |path: &str| EntryPath::parse(path.as_bytes()).unwrap();
        for (name, member) in [
            ("./a/b", Member::Entry(path("a/b"))),
            ("./", Member::Entry(path(""))),
            ("a/.wh.b", Member::Whiteout(path("a/b"))),
            (".wh..b", Member::Whiteout(path(".b"))),
            (".wh....", Member::Whiteout(path("..."))),
            ("a/.wh..wh..opq", Member::Opaque(path("a"))),
            (".wh..wh..opq", Member::Opaque(path(""))),
            (".wh..wh.aufs", Member::Ignored),
            (".wh..wh.plnk/12.34", Member::Ignored),
        ] {
            assert_eq!(super::member(name.as_bytes()).unwrap(), member, "{name}");
        }
        for name in [".wh.", "a/.wh..", ".wh...", ".wh.a/b"] {
            assert!(matches!(super::member(name.as_bytes()), Err(LayersError::Refused { .. })), "{name}");
        }
        assert!(matches!(super::member(b"../.wh.a"), Err(LayersError::Name { .. })));
    }
}
