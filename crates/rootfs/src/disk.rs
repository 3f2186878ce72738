//! Empty disks for containers to write to: made once per size, and copied.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::ioctl_ficlone;

use crate::RootfsError;

/// Where it is for those whose PATH has no programs of the administrator.
const FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// What all disks have, whatever the configuration of the machine that they are made on says: features that Linux has had since 4.0; a journal
/// of 16 MiB, for what is lost without one is all of it; one inode for 16 KiB, with room for attributes; nothing kept back for root; all
/// tables beside each other at the beginning, so that a copy has few pieces; and what is zero is not written, here or in the guest.
const OPTIONS: [&str; 20] = [
    "-q",
    "-F",
    "-t",
    "ext4",
    "-b",
    "4096",
    "-I",
    "256",
    "-i",
    "16384",
    "-m",
    "0",
    "-G",
    "4096",
    "-J",
    "size=16",
    "-O",
    "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum",
    "-E",
    "root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1",
];
/// Bytes of the smallest disk. Where there is no room for it, there would be no journal.
const MIN: u64 = 64 << 20;
/// What the templates' names depend on besides their size. It goes up with each change of the options.
const VERSION: u32 = 1;

/// Makes an empty disk at `path`, where nothing is yet, of a template in `templates`.
pub(crate) fn empty(templates: &Path, path: &Path, bytes: u64) -> Result<(), RootfsError> {
    if bytes < MIN {
        return Err(RootfsError::Disk { bytes, message: format!("the least is {} MiB", MIN >> 20) });
    }
    let bytes = bytes.checked_next_multiple_of(4096).unwrap_or(u64::MAX);
    let template = templates.join(format!("ext4-{VERSION}-{bytes}"));
    let mut from = match File::open(&template) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make(&template, bytes)?;
            File::open(&template)
        }
        from => from,
    }
    .map_err(RootfsError::file("read", &template))?;
    let to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut to = to.map_err(RootfsError::file("make", path))?;
    copy(&mut from, &mut to, bytes).map_err(|source| {
        // A part of a disk is none.
        let _ = std::fs::remove_file(path);
        RootfsError::file("write", path)(source)
    })
}

/// Makes a template.
fn make(template: &Path, bytes: u64) -> Result<(), RootfsError> {
    let failed = || RootfsError::file("write", template);
    let folder = template.parent().unwrap_or(template);
    let file = tempfile::Builder::new().suffix(".tmp").tempfile_in(folder).map_err(failed())?;
    file.as_file().set_len(bytes).map_err(failed())?;
    let output = mke2fs(&candidates(env::var_os("PATH").as_deref()), |program| {
        let mut command = Command::new(program);
        // Its messages are passed on, and the machine's own defaults are no concern.
        command.env("LC_ALL", "C").env("MKE2FS_CONFIG", "/dev/null").args(OPTIONS).arg(file.path());
        command.output()
    })?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let message = message.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("mke2fs was killed");
        return Err(RootfsError::Disk { bytes, message: message.trim().to_owned() });
    }
    // A template that lost something is copied for ever.
    file.as_file().sync_all().map_err(failed())?;
    file.persist(template).map_err(|error| failed()(error.error))?;
    Ok(())
}

/// Where the program may be.
fn candidates(path: Option<&std::ffi::OsStr>) -> Vec<PathBuf> {
    let folders = path.into_iter().flat_map(env::split_paths).chain(FOLDERS.map(PathBuf::from));
    // An empty part of PATH means the current folder, which is no place for programs.
    folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join("mke2fs")).collect()
}

/// Runs the first of these programs that is there.
fn mke2fs<T>(candidates: &[PathBuf], run: impl Fn(&Path) -> io::Result<T>) -> Result<T, RootfsError> {
    for program in candidates {
        match run(program) {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied) => {}
            ran => return ran.map_err(RootfsError::file("run", program)),
        }
    }
    Err(RootfsError::NoMke2fs)
}

/// Copies a file without its holes; at once, where the file system lets two files share what they have in common.
fn copy(from: &mut File, to: &mut File, length: u64) -> io::Result<()> {
    if ioctl_ficlone(&*to, &*from).is_ok() {
        return Ok(());
    }
    to.set_len(length)?;
    let mut at = 0;
    while let Some(start) = seek(from, rustix::fs::SeekFrom::Data(at))? {
        let end = seek(from, rustix::fs::SeekFrom::Hole(start))?.unwrap_or(length);
        from.seek(SeekFrom::Start(start))?;
        to.seek(SeekFrom::Start(start))?;
        copy_run(from, to, end - start)?;
        at = end;
    }
    Ok(())
}

/// Where the next data or hole is; none behind the last data.
fn seek(file: &File, to: rustix::fs::SeekFrom) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, to) {
        Ok(at) => Ok(Some(at)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Copies bytes, but those that are zero, since not all file systems know where their holes are.
fn copy_run(from: &mut File, to: &mut File, mut length: u64) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    while length > 0 {
        let most = buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        let piece = &mut buffer[..most];
        from.read_exact(piece)?;
        if piece.iter().all(|byte| *byte == 0) {
            to.seek(SeekFrom::Current(most as i64))?;
        } else {
            to.write_all(piece)?;
        }
        length -= most as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_told_with_the_way_out() {
        let empty = tempfile::tempdir().unwrap();
        let error = mke2fs(&[empty.path().join("mke2fs")], |program| Command::new(program).output()).unwrap_err();
        assert!(matches!(error, RootfsError::NoMke2fs));
        assert_eq!(error.hint(), Some("install e2fsprogs"));
    }

    #[test]
    fn the_program_is_found_without_a_path() {
        let all = candidates(Some("/opt/bin::relative:/usr/bin".as_ref()));
        let all: Vec<_> = all.iter().filter_map(|path| path.to_str()).collect();
        assert_eq!(all, ["/opt/bin/mke2fs", "/usr/bin/mke2fs", "/usr/sbin/mke2fs", "/sbin/mke2fs"]);
    }
}
