//! Making a backup.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::Connection;
use rustix::fs::FlockOperation;
use serde::Serialize;

use super::copy::{Came, link_or_copy, mirror, sync_all_of, sync_folder};
use super::{BackupError, Copied, DATA, FORM, MARK, Stored, files_of, hold};
use crate::blobs::MARK as BLOBS_MARK;
use crate::{Timestamp, check};

/// Times that the index is copied at most. A round has a fraction of the work of the one before it; so many are never seen.
const ROUNDS: usize = 20;

/// What became of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Blobs in files that the backup holds.
    pub blobs: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Files that are new in it, as copies.
    pub copied: u64,
    /// Bytes of these.
    pub copied_bytes: u64,
    /// Files that are new in it, as further names of the storage's own.
    pub linked: u64,
    /// Files of the backup before that nothing needs any more, and that were removed.
    pub removed: u64,
    /// Bytes of the index.
    pub index_bytes: u64,
    /// Blobs, by digest, whose files are missing in the storage or are not what they should be: they are not in the backup.
    pub damaged: Vec<String>,
    /// Folders that were saved with it.
    pub beside: Vec<String>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// Backs the storage folder `root` up into `folder`, which holds a backup already, or nothing, or is made. `beside` are further folders, with the names that they
/// get there. A server may use the storage meanwhile. When it returns, everything is durable.
pub fn make(root: &Path, folder: &Path, beside: &[(&str, PathBuf)], seen: &mut dyn FnMut(Copied)) -> Result<Made, BackupError> {
    let began = Instant::now();
    for storage in std::iter::once(root).chain(beside.iter().map(|(_, path)| &**path)) {
        refuse_inside(folder, storage)?;
    }
    let live = check::open(root, false)?;
    let _held = prepare(folder)?;
    let data = folder.join(DATA);
    let sure = if data.join("index.sqlite").exists() { places_of(&check::open(&data, true)?)? } else { HashSet::new() };
    let mut work = Work { root, data, sure, made: Made::default(), progress: Copied::default(), seen };
    let made = work.run(&live).and_then(|()| {
        for (name, path) in beside {
            mirror(path, &folder.join(name))?;
            work.made.beside.push((*name).to_owned());
        }
        work.settle(folder)
    });
    if made.is_err() {
        for draft in ["index.sqlite.new", "index.sqlite.new-journal"] {
            let _ = fs::remove_file(work.data.join(draft));
        }
    }
    made?;
    work.made.milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(work.made)
}

/// Refuses a backup in the storage, and the storage in a backup.
fn refuse_inside(folder: &Path, storage: &Path) -> Result<(), BackupError> {
    // The folder may be to be made.
    let real = |path: &Path| -> PathBuf {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let known =
            path.ancestors().find_map(|above| Some((above.canonicalize().ok()?, path.strip_prefix(above).ok()?.to_owned())));
        known.map_or_else(|| path.clone(), |(above, rest)| above.join(rest))
    };
    let (inner, outer) = (real(folder), real(storage));
    if inner.starts_with(&outer) || outer.starts_with(&inner) {
        return Err(BackupError::Inside { folder: folder.to_owned(), storage: storage.to_owned() });
    }
    Ok(())
}

/// Makes the folder a backup's, and takes it for this process.
fn prepare(folder: &Path) -> Result<fs::File, BackupError> {
    let make =
        |path: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(BackupError::io("create", path));
    make(folder)?;
    let held = hold(folder, FlockOperation::NonBlockingLockExclusive)?;
    let mark = folder.join(MARK);
    if !mark.exists() {
        let mut entries = fs::read_dir(folder).map_err(BackupError::io("read", folder))?;
        // What a file system of its own begins with is nothing.
        if entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "lost+found")) {
            return Err(BackupError::Foreign(folder.to_owned()));
        }
        let text = format!("{{\"form\":{FORM},\"version\":\"{}\"}}\n", env!("CARGO_PKG_VERSION"));
        fs::write(&mark, text).map_err(BackupError::io("write", &mark))?;
    } else if let Err(error @ BackupError::Form { .. }) = super::form(folder) {
        return Err(error);
    }
    let blobs = folder.join(DATA).join("blobs");
    make(&blobs)?;
    fs::write(blobs.join(BLOBS_MARK), "").map_err(BackupError::io("write", &blobs))?;
    Ok(held)
}

struct Work<'a> {
    root: &'a Path,
    data: PathBuf,
    /// Places whose files in the backup are known to be right as long as they have their length.
    sure: HashSet<String>,
    made: Made,
    progress: Copied,
    seen: &'a mut dyn FnMut(Copied),
}

impl Work<'_> {
    /// Copies files and index until the one names nothing but the other.
    fn run(&mut self, live: &Connection) -> Result<(), BackupError> {
        let listed = files_of(live).map_err(BackupError::Index)?;
        let mut lost = self.bring(&listed)?;
        for _ in 0..ROUNDS {
            let draft = self.copy_index(live)?;
            let listed = files_of(&draft).map_err(BackupError::Index)?;
            let gone = self.bring(&listed)?;
            // Named by an index that is younger than the loss: nobody deleted these.
            let damaged = gone.intersection(&lost).cloned().collect::<Vec<_>>();
            if gone.len() == damaged.len() {
                self.mark_damaged(&draft, &damaged)?;
                return self.finish_index(draft, &listed, &gone);
            }
            lost.extend(gone);
        }
        Err(BackupError::Restless)
    }

    /// Brings those of these files that the backup does not have. Answers the places of those that are not there, or are not what they should be.
    fn bring(&mut self, files: &[Stored]) -> Result<HashSet<String>, BackupError> {
        let mut gone = HashSet::new();
        self.progress = Copied::default();
        for file in files {
            (self.seen)(self.progress);
            if !self.has(file)? && !self.fetch(file)? {
                gone.insert(file.place.clone());
                continue;
            }
            self.progress.blobs += 1;
            self.progress.bytes += file.size;
        }
        (self.seen)(self.progress);
        Ok(gone)
    }

    /// Whether the backup has a file. What its index does not name was left by one that was cut off, maybe by a power cut: length alone says nothing then.
    fn has(&mut self, file: &Stored) -> Result<bool, BackupError> {
        let path = self.data.join("blobs").join(&file.place);
        if !has_length(&path, file.size) {
            return Ok(false);
        }
        if !self.sure.contains(&file.place) {
            if !check::is_whole(&path, file.size, &file.sha256)? {
                return Ok(false);
            }
            self.sure.insert(file.place.clone());
        }
        Ok(true)
    }

    /// Brings a file. Answers whether it was there, and what it should be as far as is seen by bringing it.
    fn fetch(&mut self, file: &Stored) -> Result<bool, BackupError> {
        let (from, to) = (self.root.join("blobs").join(&file.place), self.data.join("blobs").join(&file.place));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(BackupError::io("create", parent))?;
        }
        remove(&to)?;
        match link_or_copy(&from, &to)? {
            Came::Gone => return Ok(false),
            // Cut short in the storage itself, or rotten there.
            Came::Linked if !has_length(&to, file.size) => return remove(&to).map(|()| false),
            Came::Copied(digest) if digest != file.sha256 => return remove(&to).map(|()| false),
            Came::Linked => self.made.linked += 1,
            Came::Copied(_) => {
                self.made.copied += 1;
                self.made.copied_bytes += file.size;
            }
        }
        self.sure.insert(file.place.clone());
        Ok(true)
    }

    fn draft(&self) -> PathBuf {
        self.data.join("index.sqlite.new")
    }

    /// Copies the index as of now, in one reading transaction, into one file without a log.
    fn copy_index(&self, live: &Connection) -> Result<Connection, BackupError> {
        let draft = self.draft();
        remove(&draft)?;
        let copy = || -> rusqlite::Result<Connection> {
            live.execute("VACUUM INTO ?1", [draft.to_string_lossy()])?;
            let copy = Connection::open(&draft)?;
            // Its files are not in the backup, and its place is taken by a rename, after a sync of all of it.
            copy.execute_batch("PRAGMA synchronous = OFF; DELETE FROM uploads; DELETE FROM doomed;")?;
            Ok(copy)
        };
        copy().map_err(BackupError::Index)
    }

    fn mark_damaged(&mut self, draft: &Connection, places: &[String]) -> Result<(), BackupError> {
        let mut mark = || -> rusqlite::Result<()> {
            let mut update = draft.prepare("UPDATE blobs SET damaged = 1 WHERE location = ?1 RETURNING sha256")?;
            for place in places {
                let digest = update.query_row([place], |row| crate::index::digest(row, 0))?;
                self.made.damaged.push(digest.to_string());
            }
            Ok(())
        };
        mark().map_err(BackupError::Index)
    }

    /// Holds the files against the index once more, and notes the time.
    fn finish_index(&mut self, draft: Connection, files: &[Stored], gone: &HashSet<String>) -> Result<(), BackupError> {
        for file in files.iter().filter(|file| !gone.contains(&file.place)) {
            let path = self.data.join("blobs").join(&file.place);
            if !has_length(&path, file.size) {
                let error = std::io::Error::new(ErrorKind::InvalidData, "it has another length than it was written with");
                return Err(BackupError::io("rely on", &path)(error));
            }
            self.made.blobs += 1;
            self.made.bytes += file.size;
        }
        let note = "INSERT OR REPLACE INTO facts (name, value) VALUES ('backed_up_at', ?1)";
        draft.execute(note, [Timestamp::now().0]).map_err(BackupError::Index)?;
        draft.close().map_err(|(_, error)| BackupError::Index(error))
    }

    /// Makes the new index the one that counts, and removes what it does not need.
    fn settle(&mut self, folder: &Path) -> Result<(), BackupError> {
        let (draft, index) = (self.draft(), self.data.join("index.sqlite"));
        self.made.index_bytes = draft.metadata().map_err(BackupError::io("read", &draft))?.len();
        sync_all_of(folder)?;
        fs::rename(&draft, &index).map_err(BackupError::io("write", &index))?;
        sync_folder(&self.data)?;
        let copy = check::open(&self.data, true)?;
        let needed = places_of(&copy)?;
        let blobs = self.data.join("blobs");
        for entry in fs::read_dir(&blobs).map_err(BackupError::io("read", &blobs))?.flatten() {
            let group = entry.path();
            let Ok(files) = fs::read_dir(&group) else { continue };
            for file in files.flatten() {
                let place = format!("{}/{}", entry.file_name().to_string_lossy(), file.file_name().to_string_lossy());
                if !needed.contains(&place) {
                    fs::remove_file(file.path()).map_err(BackupError::io("remove", &file.path()))?;
                    self.made.removed += 1;
                }
            }
            // One that still holds something stays.
            let _ = fs::remove_dir(&group);
        }
        Ok(())
    }
}

fn places_of(index: &Connection) -> Result<HashSet<String>, BackupError> {
    Ok(files_of(index).map_err(BackupError::Index)?.into_iter().map(|file| file.place).collect())
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(BackupError::io("replace", path)(error)),
        _ => Ok(()),
    }
}

fn has_length(path: &Path, size: u64) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}
