//! Files and folders from one place to another.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use wharf_oci::{Algorithm, Digest, Hasher};

use super::BackupError;

/// What a file is called until all of it is there.
pub(super) const PART: &str = ".part";

/// How a file came to its new place.
pub(super) enum Came {
    /// As another name of the same file.
    Linked,
    /// As a copy, with this digest.
    Copied(Digest),
    /// It is not there any more.
    Gone,
}

/// Brings a file that never changes to another place, which must not exist.
pub(super) fn link_or_copy(from: &Path, to: &Path) -> Result<Came, BackupError> {
    match fs::hard_link(from, to) {
        Ok(()) => return Ok(Came::Linked),
        Err(error) if error.kind() == ErrorKind::NotFound && !from.exists() => return Ok(Came::Gone),
        // Another file system, one without links, a file that is somebody else's, or one with too many names: a copy is as good.
        Err(_) => {}
    }
    let file = match File::open(from) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Came::Gone),
        Err(error) => return Err(BackupError::io("read", from)(error)),
    };
    copy(&file, from, to).map(Came::Copied)
}

/// Copies an open file, with its mode, and for root its owner. It has its name only once it is whole. Answers the digest of what was copied.
pub(super) fn copy(mut file: &File, from: &Path, to: &Path) -> Result<Digest, BackupError> {
    let mut part = to.as_os_str().to_owned();
    part.push(PART);
    let part = Path::new(&part);
    let written = write(&mut file, part).map_err(|(reading, error)| match reading {
        true => BackupError::io("read", from)(error),
        false => BackupError::io("write", to)(error),
    });
    let moved = written.and_then(|digest| fs::rename(part, to).map(|()| digest).map_err(BackupError::io("write", to)));
    if moved.is_err() {
        // So that what does not fit does not keep the disk full.
        let _ = fs::remove_file(part);
    }
    moved
}

/// Answers with an error also whether it was one of reading.
fn write(file: &mut &File, part: &Path) -> Result<Digest, (bool, io::Error)> {
    let metadata = file.metadata().map_err(|error| (true, error))?;
    let _ = fs::remove_file(part);
    let mut options = OpenOptions::new();
    let mut target = options.write(true).create_new(true).open(part).map_err(|error| (false, error))?;
    let (mut hasher, mut buffer) = (Hasher::new(Algorithm::Sha256), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                target.write_all(&buffer[..count]).map_err(|error| (false, error))?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err((true, error)),
        }
    }
    like(&target, &metadata).map_err(|error| (false, error))?;
    hasher.digest(Algorithm::Sha256).ok_or_else(|| (true, ErrorKind::Unsupported.into()))
}

fn like(target: &File, metadata: &fs::Metadata) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::fchown(target, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    target.set_permissions(Permissions::from_mode(metadata.mode() & 0o7777))
}

/// Copies a folder of small files, each of which replaces what has its name; what is not in `from` goes from `to`. Modes are kept. Sockets and the like are passed
/// over.
pub(super) fn mirror(from: &Path, to: &Path) -> Result<(), BackupError> {
    let source = File::open(from).map_err(BackupError::io("read", from))?;
    let metadata = source.metadata().map_err(BackupError::io("read", from))?;
    match fs::create_dir(to) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(BackupError::io("create", to)(error)),
        _ => {}
    }
    // First the mode: what is written into it may be secret.
    File::open(to).and_then(|folder| like(&folder, &metadata)).map_err(BackupError::io("write", to))?;
    let mut names = std::collections::HashSet::new();
    for entry in fs::read_dir(from).map_err(BackupError::io("read", from))? {
        let entry = entry.map_err(BackupError::io("read", from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        // What a link leads to is what counts.
        let Ok(kind) = path.metadata() else { continue };
        if kind.is_dir() {
            mirror(&path, &target)?;
        } else if kind.is_file() {
            let file = File::open(&path).map_err(BackupError::io("read", &path))?;
            copy(&file, &path, &target)?;
        } else {
            continue;
        }
        names.insert(entry.file_name());
    }
    for entry in fs::read_dir(to).map_err(BackupError::io("read", to))?.flatten() {
        if !names.contains(&entry.file_name()) {
            let path = entry.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(BackupError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Makes a folder and all in it belong to somebody, where one is given.
pub(super) fn give(path: &Path, owner: Option<(u32, u32)>) -> Result<(), BackupError> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(BackupError::io("give away", path))?;
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(BackupError::io("read", path))? {
        give(&entry.map_err(BackupError::io("read", path))?.path(), owner)?;
    }
    Ok(())
}

/// Makes everything durable that was written on the file system of a folder.
pub(super) fn sync_all_of(folder: &Path) -> Result<(), BackupError> {
    let sync = || rustix::fs::syncfs(File::open(folder)?).map_err(io::Error::from);
    sync().map_err(BackupError::io("sync the disk of", folder))
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), BackupError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(BackupError::io("sync", folder))
}
