//! Content in the midst of a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::LayoutError;
use super::members::Span;
use crate::{Algorithm, Digest, Hasher, MAX_MANIFEST};

/// Bytes hashed at a time.
const CHUNK: usize = 1024 * 1024;

/// A manifest, a configuration or the like; `what` names it in the error when it is too long.
pub(super) fn read(file: &File, span: Span, what: &str, path: &Path) -> Result<Vec<u8>, LayoutError> {
    let length = usize::try_from(span.length).ok().filter(|length| *length <= MAX_MANIFEST);
    let length =
        length.ok_or_else(|| LayoutError::TooLarge { what: what.to_owned(), path: path.to_owned(), size: span.length })?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, span.offset).map_err(LayoutError::io(path))?;
    Ok(bytes)
}

/// The digest of content of any length.
pub(super) fn digest(file: &File, span: Span, algorithm: Algorithm, path: &Path) -> Result<Digest, LayoutError> {
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; CHUNK];
    let (mut offset, mut left) = (span.offset, span.length);
    while left > 0 {
        let chunk = &mut buffer[..left.min(CHUNK as u64) as usize];
        file.read_exact_at(chunk, offset).map_err(LayoutError::io(path))?;
        hasher.update(chunk);
        offset += chunk.len() as u64;
        left -= chunk.len() as u64;
    }
    let other = || io::Error::other("the digest cannot be computed");
    hasher.digest(algorithm).ok_or_else(other).map_err(LayoutError::io(path))
}
