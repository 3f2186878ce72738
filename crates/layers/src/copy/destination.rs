//! Where a copy goes: Docker's rules (docker docs, "docker container cp").

use std::io;
use std::os::fd::OwnedFd;

use super::place::{Place, asserts_folder};
use crate::EntryPath;
use crate::system::{self, Open};

/// What is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// A directory, with its name; `None` when not it but what is in it is copied.
    Folder(Option<&'a [u8]>),
    /// Anything else, with its name.
    File(&'a [u8]),
    /// An archive with names of its own, which are kept.
    Archive,
}

/// Where it goes.
#[derive(Debug)]
pub struct Destination {
    pub(super) directory: OwnedFd,
    /// What the root of the archive becomes in that directory; the directory itself where this is the root.
    pub(super) path: EntryPath,
}

/// Why it cannot go there.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// There is no such directory.
    #[error("there is no such folder")]
    NoFolder,
    /// A directory was to be copied over a file.
    #[error("a folder cannot be copied over a file")]
    FolderOverFile,
    /// A directory was asked for where a file is.
    #[error("it is no folder")]
    NotFolder,
    /// The name of what is copied cannot be one there.
    #[error("no file can be called that")]
    Name,
    /// What the system says.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl DestinationError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoFolder => Some("make the folder first: folders above a destination are not made"),
            Self::FolderOverFile | Self::NotFolder => Some("name a folder as the destination"),
            Self::Name | Self::System(_) => None,
        }
    }
}

impl Destination {
    /// Where `source` goes when it is copied to `path`. `open` opens a directory, as for [`Place::find`]; links to the destination are followed.
    ///
    /// An existing directory gets the source under its own name. A file gives way to a file. Where nothing is, the source gets this name, unless it
    /// is a file and the path says that it means a directory.
    ///
    /// # Errors
    /// As the rules have it, and what the system says.
    pub fn find(path: &[u8], source: Source<'_>, open: impl Fn(&[u8]) -> io::Result<OwnedFd>) -> Result<Self, DestinationError> {
        let bare = match path.iter().rposition(|byte| *byte != b'/') {
            Some(end) => &path[..=end],
            None => path,
        };
        // `new/.` may be made as `new` may.
        let bare = bare.strip_suffix(b"/.").filter(|bare| !bare.is_empty()).unwrap_or(bare);
        let missing = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => DestinationError::NoFolder,
            io::ErrorKind::NotADirectory => DestinationError::NotFolder,
            _ => DestinationError::System(error),
        };
        let place = Place::find(bare, true, open).map_err(missing)?;
        match (place.is_directory()?, source) {
            (Some(true), source) => {
                let directory = system::open_at(place.directory(), place.name(), Open::Directory)?;
                let (Source::Folder(Some(name)) | Source::File(name)) = source else {
                    return Ok(Self { directory, path: EntryPath::root() });
                };
                Ok(Self { directory, path: name_of(name)? })
            }
            (Some(false), Source::Folder(_)) => Err(DestinationError::FolderOverFile),
            (Some(false), Source::Archive) => Err(DestinationError::NotFolder),
            (Some(false), Source::File(_)) if asserts_folder(path) => Err(DestinationError::NotFolder),
            (None, Source::Archive) => Err(DestinationError::NoFolder),
            (None, Source::File(_)) if asserts_folder(path) => Err(DestinationError::NoFolder),
            _ => {
                let (directory, name) = place.into_parts();
                Ok(Self { directory, path: name_of(&name)? })
            }
        }
    }
}

/// A name as the path of what has it; it has one part.
fn name_of(name: &[u8]) -> Result<EntryPath, DestinationError> {
    let path = EntryPath::parse(name).map_err(|_| DestinationError::Name)?;
    if path.as_bytes() == name && path.parts().count() == 1 { Ok(path) } else { Err(DestinationError::Name) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn dockers_rules() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("there")).unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("there", folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("later", folder.path().join("dangling")).unwrap();
        let root = std::fs::File::open(folder.path()).unwrap();
        let to = |path: &str, source| {
            let open = |path: &[u8]| system::open_below(root.as_fd(), path, Open::Directory);
            match Destination::find(path.as_bytes(), source, open) {
                Ok(found) => String::from_utf8_lossy(found.path.as_bytes()).into_owned(),
                Err(error) => error.to_string(),
            }
        };
        let (file, dir, contents) = (Source::File(b"f"), Source::Folder(Some(b"d")), Source::Folder(None));
        for (path, source, expected) in [
            ("new", file, "new"),
            ("new/", file, "there is no such folder"),
            ("no/new", file, "there is no such folder"),
            ("file", file, "file"),
            ("file/", file, "it is no folder"),
            ("there", file, "f"),
            ("there/", file, "f"),
            ("link", file, "f"),
            ("dangling", file, "later"),
            ("new", dir, "new"),
            ("new/", dir, "new"),
            ("new/.", contents, "new"),
            ("file", dir, "a folder cannot be copied over a file"),
            ("file/x", dir, "it is no folder"),
            ("there", dir, "d"),
            ("there", contents, ""),
            ("there", Source::Archive, ""),
            (".", Source::Archive, ""),
            ("file", Source::Archive, "it is no folder"),
            ("new", Source::Archive, "there is no such folder"),
            ("there", Source::File(b".."), "no file can be called that"),
            ("there", Source::Folder(Some(b"a/../../b")), "no file can be called that"),
        ] {
            assert_eq!(to(path, source), expected, "{path} {source:?}");
        }
    }
}
