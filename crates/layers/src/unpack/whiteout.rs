//! Members of a layer that are no files: they remove what lower layers have (image-spec, "Whiteouts").

use super::Unpacker;
use crate::{EntryPath, LayersError};

const PREFIX: &[u8] = b".wh.";
/// What AUFS kept for itself. Layers that were made on it still have its folders.
const AUFS_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a member of a layer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
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
///
/// # Errors
/// [`LayersError::Name`] for what is no place below the root, and [`LayersError::Refused`] for whiteouts of nothing, or with something in
/// them.
pub fn change(name: &[u8]) -> Result<Change, LayersError> {
    let path = EntryPath::parse(name).map_err(|why| LayersError::Name { name: name.to_vec(), why })?;
    let Some((parent, last)) = path.parent().zip(path.file_name()) else { return Ok(Change::Entry(path)) };
    if parent.parts().any(|part| part.starts_with(AUFS_PREFIX)) {
        return Ok(Change::Ignored);
    }
    let refused = |why: &str| Err(LayersError::Refused { name: name.to_vec(), why: why.to_owned() });
    if parent.parts().any(|part| part.starts_with(PREFIX)) {
        return refused("a whiteout has nothing in it");
    }
    match last.strip_prefix(PREFIX) {
        None => Ok(Change::Entry(path)),
        _ if last == OPAQUE => Ok(Change::Opaque(parent)),
        _ if last.starts_with(AUFS_PREFIX) => Ok(Change::Ignored),
        Some(b"" | b"." | b"..") => refused("it is a whiteout of no file"),
        Some(removed) => Ok(Change::Whiteout(parent.join(removed))),
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
        for (name, change) in [
            ("./a/b", Change::Entry(path("a/b"))),
            ("./", Change::Entry(path(""))),
            ("a/.wh.b", Change::Whiteout(path("a/b"))),
            (".wh..b", Change::Whiteout(path(".b"))),
            (".wh....", Change::Whiteout(path("..."))),
            ("a/.wh..wh..opq", Change::Opaque(path("a"))),
            (".wh..wh..opq", Change::Opaque(path(""))),
            (".wh..wh.aufs", Change::Ignored),
            (".wh..wh.plnk/12.34", Change::Ignored),
        ] {
            assert_eq!(super::change(name.as_bytes()).unwrap(), change, "{name}");
        }
        for name in [".wh.", "a/.wh..", ".wh...", ".wh.a/b"] {
            assert!(matches!(super::change(name.as_bytes()), Err(LayersError::Refused { .. })), "{name}");
        }
        assert!(matches!(super::change(b"../.wh.a"), Err(LayersError::Name { .. })));
    }
}
