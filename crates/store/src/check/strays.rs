//! Files that nothing names, and what manifests name and do not find: at times the one is the other.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use wharf_oci::Digest;

use super::concerns::of_digests;
use super::content::hash_file;
use super::{CheckError, Finding, Kind, Run};
use crate::Location;
use crate::blobs::MARK;
use crate::repair::Repair;

/// What a file system of its own keeps in its topmost folder.
const OF_THE_DISK: &str = "lost+found";
/// How long the file of an upload that has just ended, or has just been given up, may outlive its row.
const SETTLES: Duration = Duration::from_secs(2);

/// Every place below the folder of blobs at which something lies, with an answer for each folder.
fn places(blobs: &Path, each: &mut dyn FnMut(Vec<Location>) -> Result<(), CheckError>) -> Result<(), CheckError> {
    let list = |folder: &Path| -> Result<Vec<fs::DirEntry>, CheckError> {
        let read = fs::read_dir(folder).and_then(Iterator::collect);
        match read {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(|source| CheckError::Unreadable { path: folder.to_owned(), source }),
        }
    };
    let mut loose = Vec::new();
    for entry in list(blobs)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == MARK || name == OF_THE_DISK {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let inside = list(&entry.path())?;
            each(inside.iter().map(|inner| Location(format!("{name}/{}", inner.file_name().to_string_lossy()))).collect())?;
        } else {
            loose.push(Location(name));
        }
    }
    each(loose)
}

/// Those that neither a blob nor an upload nor the list of what is to be deleted names. A damaged blob's row does not name its file any more.
fn unknown(connection: &Connection, places: Vec<Location>) -> rusqlite::Result<Vec<Location>> {
    let view = connection.unchecked_transaction()?;
    let mut known = view.prepare_cached(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM blobs WHERE location = ?1) OR EXISTS (SELECT 1 FROM uploads WHERE location = ?1)
                     OR EXISTS (SELECT 1 FROM doomed WHERE location = ?1)",
    )?;
    let mut found = Vec::new();
    for place in places {
        if known.query_row([&place.0], |_| Ok(())).optional()?.is_none() {
            found.push(place);
        }
    }
    Ok(found)
}

impl Run<'_> {
    /// Looks for files that nothing names.
    pub(super) fn strays(&mut self) -> Result<(), CheckError> {
        let blobs = self.root.join("blobs");
        let mut found = Vec::new();
        places(&blobs, &mut |places| {
            found.extend(unknown(&self.connection, places).map_err(CheckError::Index)?);
            Ok(())
        })?;
        // Once more after a moment: the file of an upload that ends goes after its row.
        for wait in [Duration::ZERO, SETTLES] {
            if found.is_empty() {
                return Ok(());
            }
            std::thread::sleep(wait);
            // First who writes, then the index: what is in neither has not gone from the one to the other meanwhile.
            let Some(writing) = self.watcher.writing().map_err(CheckError::Watcher)? else {
                found = self.left(&blobs, found, &HashSet::new())?;
                break;
            };
            found = self.left(&blobs, found, &writing)?;
        }
        for place in found {
            self.stray(&blobs, place)?;
        }
        Ok(())
    }

    fn left(&self, blobs: &Path, found: Vec<Location>, writing: &HashSet<Location>) -> Result<Vec<Location>, CheckError> {
        let quiet = found.into_iter().filter(|place| !writing.contains(place)).collect();
        let mut left = unknown(&self.connection, quiet).map_err(CheckError::Index)?;
        left.retain(|place| blobs.join(&place.0).symlink_metadata().is_ok());
        Ok(left)
    }

    fn stray(&mut self, blobs: &Path, place: Location) -> Result<(), CheckError> {
        let path = blobs.join(&place.0);
        let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        if is_file && !self.missing.is_empty() {
            let unreadable = |source| CheckError::Unreadable { path: path.clone(), source };
            let file = File::open(&path).map_err(unreadable)?;
            let size = file.metadata().map_err(unreadable)?.len();
            // One that cannot be read is no help, and is put away like the others.
            if let Some((digest, repositories)) =
                hash_file(&file, &mut |_| {}).ok().and_then(|digest| self.missing.remove_entry(&digest))
            {
                let concerns = of_digests(&self.connection, &[digest]).map_err(CheckError::Index)?;
                self.report.findings.push(Finding {
                    kind: Kind::Stray,
                    what: format!("blob {digest}: the index has lost it, and its file is there (blobs/{})", place.0),
                    concerns: concerns.names,
                    more: concerns.more,
                    mend: "--repair puts it into the index again".to_owned(),
                    repair: Some(Repair::Adopt { digest, location: place.0, size, repositories }),
                    remains: false,
                });
                return Ok(());
            }
        }
        self.report.findings.push(Finding {
            kind: Kind::Stray,
            what: format!("file blobs/{}: nothing in the index names it", place.0),
            concerns: Vec::new(),
            more: 0,
            mend: "the first collection after a start deletes what a crash has left; --repair moves it to the quarantine"
                .to_owned(),
            repair: Some(Repair::MoveAway { location: place.0 }),
            remains: false,
        });
        Ok(())
    }

    /// Tells of what manifests name and what is nowhere, once for each digest.
    pub(super) fn missing_content(&mut self, is_backup: bool) -> Result<(), CheckError> {
        let mut missing: Vec<Digest> = std::mem::take(&mut self.missing).into_keys().collect();
        missing.sort_by_key(Digest::to_string);
        for digest in missing {
            let concerns = of_digests(&self.connection, &[digest]).map_err(CheckError::Index)?;
            let sql = "SELECT 1 FROM blobs WHERE sha256 = ?1 AND damaged";
            let aside = self.connection.prepare_cached(sql).and_then(|mut known| known.exists([digest.hash()]));
            let what = match aside.map_err(CheckError::Index)? {
                true if is_backup => "it was damaged when the backup was made, and is not in it",
                true => "it was found damaged before, and is refused until it is pushed again",
                false => "it is named, and not here",
            };
            self.report.findings.push(Finding {
                kind: Kind::Missing,
                what: format!("{digest}: {what}"),
                mend: format!("push {} again, or delete it", concerns.first()),
                concerns: concerns.names,
                more: concerns.more,
                repair: None,
                remains: true,
            });
        }
        Ok(())
    }
}
