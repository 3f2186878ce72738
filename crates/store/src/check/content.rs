//! Reading the bytes of a blob's file.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use wharf_oci::{Algorithm, Digest, Hasher};

use super::{CheckError, Kind};

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// What became of a look at a file.
pub(super) enum Looked {
    /// As it should be.
    Whole,
    /// Wrong, and how.
    Wrong(Kind, String),
}

/// Whether a file has a length and a digest.
pub(crate) fn is_whole(path: &Path, size: u64, sha256: &Digest) -> Result<bool, CheckError> {
    look(path, size, sha256, &mut |_| {}).map(|looked| matches!(looked, Looked::Whole))
}

/// Holds a file against a length and a digest. `each` is told of the bytes read. An error when it cannot be read for a reason that says nothing of its
/// content, such as permissions.
pub(super) fn look(path: &Path, size: u64, sha256: &Digest, each: &mut dyn FnMut(u64)) -> Result<Looked, CheckError> {
    let unreadable = |source| CheckError::Unreadable { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Looked::Wrong(Kind::BlobMissing, "its file is gone".into()));
        }
        Err(error) if is_of_the_disk(&error) => return Ok(failing(&error)),
        Err(error) => return Err(unreadable(error)),
    };
    let found = file.metadata().map_err(unreadable)?.len();
    if found != size {
        return Ok(Looked::Wrong(Kind::BlobLength, format!("its file has {found} bytes instead of {size}")));
    }
    match hash_file(&file, each) {
        Ok(digest) if digest == *sha256 => Ok(Looked::Whole),
        Ok(_) => Ok(Looked::Wrong(Kind::BlobAltered, "its bytes have another digest".into())),
        Err(error) if is_of_the_disk(&error) => Ok(failing(&error)),
        Err(error) => Err(unreadable(error)),
    }
}

fn failing(error: &io::Error) -> Looked {
    Looked::Wrong(Kind::BlobUnreadable, format!("its file cannot be read ({error})"))
}

/// Whether the disk, or the file system on it, is what failed.
fn is_of_the_disk(error: &io::Error) -> bool {
    const EUCLEAN: i32 = 117;
    matches!(error.raw_os_error(), Some(code) if code == rustix::io::Errno::IO.raw_os_error() || code == EUCLEAN)
}

/// The SHA-256 of a file from its current place on.
pub(super) fn hash_file(mut file: &File, each: &mut dyn FnMut(u64)) -> io::Result<Digest> {
    // Only a hint, so that what is asked for often stays in memory beside what is read once.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::NoReuse);
    let (mut hasher, mut buffer) = (Hasher::new(Algorithm::Sha256), vec![0; PIECE]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return hasher.digest(Algorithm::Sha256).ok_or_else(|| ErrorKind::Unsupported.into()),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                each(count as u64);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
