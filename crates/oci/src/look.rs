//! What lies at a path.

use std::io;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

/// What lies at a path, links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A folder.
    Folder,
    /// A regular file of so many bytes.
    File(u64),
    /// Anything else.
    Other,
}

/// Looks what lies at a path where there may be nothing.
///
/// Not with the standard library: the first time that its question for a file fails, it asks once more without any name, to learn whether
/// the system knows the question. Under `pseudo` that shows as an error of the program.
///
/// # Errors
///
/// What the system says, but that there is nothing.
pub fn look(path: &Path) -> io::Result<Found> {
    let stat = match rustix::fs::stat(path) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        Err(error) => return Err(error.into()),
    };
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Found::Folder,
        FileType::RegularFile => Found::File(u64::try_from(stat.st_size).unwrap_or(0)),
        _ => Found::Other,
    })
}

/// Whether something lies at a path. What cannot be looked at counts as nothing.
pub fn is_there(path: &Path) -> bool {
    look(path).is_ok_and(|found| found != Found::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_folders_and_others_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "four").unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
        let found = |name: &str| look(&folder.path().join(name));
        assert_eq!(found("").unwrap(), Found::Folder);
        assert_eq!(found("file").unwrap(), Found::File(4));
        assert_eq!(found("link").unwrap(), Found::File(4));
        assert_eq!(found("dangling").unwrap(), Found::Nothing);
        assert_eq!(look(Path::new("/dev/null")).unwrap(), Found::Other);
        assert!(is_there(&file) && is_there(folder.path()));
        assert!(!is_there(&folder.path().join("dangling")) && !is_there(&folder.path().join("file/below")));
        assert_eq!(found("file/below").unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
