//! Bringing a backup back.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::Connection;
use serde::Serialize;
use wharf_oci::Digest;

use super::copy::{copy, give, mirror, sync_all_of, sync_folder};
use super::{Backup, BackupError, Copied};
use crate::blobs::MARK as BLOBS_MARK;
use crate::check;

/// Lies in a storage folder from before the first file comes until after the last.
const UNFINISHED: &str = "restore.unfinished";
/// What a locked folder holds before anything was stored in it.
const EMPTY: [&str; 2] = ["wharf.lock", "lost+found"];

/// What became of a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// When the backup was made, in milliseconds since 1970.
    pub made_at: Option<i64>,
    /// Blobs in files.
    pub blobs: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Blobs, by digest, that are not what they should be in the backup: they answer 404 until they are pushed again.
    pub damaged: Vec<String>,
    /// Folders that came with it.
    pub beside: Vec<String>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// Whether a restore into this storage folder began and did not end.
pub fn is_unfinished(root: &Path) -> bool {
    root.join(UNFINISHED).exists()
}

/// Brings a backup back into the storage folder `root`, which must be locked and hold nothing, or what an interrupted restore has left. `beside` are the folders
/// that were saved with it and are wanted, with the places that they get, which must not hold anything either. Files are copied, never linked, and each is held
/// against its digest on the way; the index comes last. Everything belongs to `owner` (user and group) where one is given, which takes root. When it returns,
/// everything is durable.
pub fn restore(
    backup: &Backup,
    root: &Path,
    beside: &[(&str, PathBuf)],
    owner: Option<(u32, u32)>,
    seen: &mut dyn FnMut(Copied),
) -> Result<Restored, BackupError> {
    let began = Instant::now();
    let data = backup.data();
    let index = check::open(&data, true)?;
    let beside: Vec<_> = beside.iter().filter_map(|(name, to)| Some((*name, backup.beside(name)?, to))).collect();
    let again = is_unfinished(root);
    if !again {
        refuse_occupied(root, &EMPTY)?;
        for (_, _, to) in &beside {
            refuse_occupied(to, &[])?;
        }
    }
    let mark = root.join(UNFINISHED);
    let begin = || {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&mark)?
            .write_all(b"`wharf restore` was interrupted; run it again\n")?;
        File::open(root)?.sync_all()
    };
    begin().map_err(BackupError::io("write", &mark))?;
    let mut restored = Restored { made_at: made_at(&index).map_err(BackupError::Index)?, ..Restored::default() };
    let damaged = blobs(&index, &data, root, &mut restored, seen)?;
    for (name, from, to) in beside {
        if let Some(above) = to.parent() {
            fs::create_dir_all(above).map_err(BackupError::io("create", above))?;
        }
        mirror(&from, to)?;
        give(to, owner)?;
        sync_all_of(to)?;
        restored.beside.push(name.to_owned());
    }
    let (source, target) = (data.join("index.sqlite"), root.join("index.sqlite"));
    let file = File::open(&source).map_err(BackupError::io("read", &source))?;
    copy(&file, &source, &target)?;
    mark_damaged(&target, &damaged).map_err(BackupError::Index)?;
    give(root, owner)?;
    sync_all_of(root)?;
    fs::remove_file(&mark).map_err(BackupError::io("remove", &mark))?;
    sync_folder(root)?;
    restored.damaged = damaged.iter().map(Digest::to_string).collect();
    restored.milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(restored)
}

fn refuse_occupied(folder: &Path, but: &[&str]) -> Result<(), BackupError> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BackupError::io("read", folder)(error)),
        Ok(mut entries) => {
            match entries.any(|entry| entry.is_ok_and(|entry| but.iter().all(|name| entry.file_name() != *name))) {
                true => Err(BackupError::Occupied(folder.to_owned())),
                false => Ok(()),
            }
        }
    }
}

fn made_at(index: &Connection) -> rusqlite::Result<Option<i64>> {
    index.query_row("SELECT max(value) FROM facts WHERE name = 'backed_up_at'", [], |row| row.get(0))
}

/// Copies all blobs. Answers those that are not what they should be, and did not come along.
fn blobs(
    index: &Connection,
    data: &Path,
    root: &Path,
    restored: &mut Restored,
    seen: &mut dyn FnMut(Copied),
) -> Result<Vec<Digest>, BackupError> {
    let target = root.join("blobs");
    let make = |path: &Path| fs::create_dir_all(path).map_err(BackupError::io("create", path));
    make(&target)?;
    fs::write(target.join(BLOBS_MARK), "").map_err(BackupError::io("write", &target))?;
    let sql = "SELECT location, sha256 FROM blobs WHERE location IS NOT NULL AND NOT damaged ORDER BY location";
    let mut statement = index.prepare(sql).map_err(BackupError::Index)?;
    let mut rows = statement.query([]).map_err(BackupError::Index)?;
    let mut damaged = Vec::new();
    while let Some(row) = rows.next().map_err(BackupError::Index)? {
        let place: String = row.get(0).map_err(BackupError::Index)?;
        let digest = crate::index::digest(row, 1).map_err(BackupError::Index)?;
        let (from, to) = (data.join("blobs").join(&place), target.join(&place));
        if let Some(folder) = to.parent() {
            make(folder)?;
        }
        let found = match File::open(&from) {
            Ok(file) => Some(copy(&file, &from, &to)?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(BackupError::io("read", &from)(error)),
        };
        if found != Some(digest) {
            let _ = fs::remove_file(&to);
            damaged.push(digest);
            continue;
        }
        restored.blobs += 1;
        restored.bytes += to.metadata().map_err(BackupError::io("read", &to))?.len();
        seen(Copied { blobs: restored.blobs, bytes: restored.bytes });
    }
    Ok(damaged)
}

fn mark_damaged(index: &Path, damaged: &[Digest]) -> rusqlite::Result<()> {
    if damaged.is_empty() {
        return Ok(());
    }
    let connection = Connection::open(index)?;
    for digest in damaged {
        connection.execute("UPDATE blobs SET damaged = 1 WHERE sha256 = ?1", [digest.hash()])?;
    }
    connection.close().map_err(|(_, error)| error)
}
