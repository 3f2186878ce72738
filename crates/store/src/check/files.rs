//! Blobs: every one of them is there, as long as it should be, and has its digest.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};
use wharf_oci::Digest;

use super::concerns::of_digests;
use super::content::{Looked, look};
use super::{CheckError, Finding, Kind, Run};
use crate::blobs::MARK;
use crate::repair::Repair;

/// Blobs looked up at a time. Between these nothing of the index is held, so that its log can be begun anew.
const PAGE: usize = 256;

struct Row {
    id: i64,
    sha256: Digest,
    size: u64,
    location: Option<String>,
    content: Option<Vec<u8>>,
}

/// A page of blobs that are not known to be damaged, after row `after`.
fn page(connection: &Connection, after: i64) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(
        "SELECT b.id, b.sha256, b.size, b.location, c.content FROM blobs b LEFT JOIN blob_contents c ON c.blob_id = b.id
         WHERE b.id > ?1 AND NOT b.damaged ORDER BY b.id LIMIT ?2",
    )?;
    let rows = statement.query_map((after, PAGE as i64), |row| {
        Ok(Row {
            id: row.get(0)?,
            sha256: crate::index::digest(row, 1)?,
            size: row.get::<_, i64>(2)?.unsigned_abs(),
            location: row.get(3)?,
            content: row.get(4)?,
        })
    })?;
    rows.collect()
}

/// Files in a folder, all levels of it.
pub(super) fn count(folder: &Path) -> u64 {
    std::fs::read_dir(folder).map_or(0, |entries| entries.flatten().count() as u64)
}

impl Run<'_> {
    /// Reads all blobs.
    pub(super) fn blobs(&mut self) -> Result<(), CheckError> {
        let folder = self.root.join("blobs");
        let has_files = "SELECT 1 FROM blobs WHERE location IS NOT NULL LIMIT 1";
        let has_files = self.connection.prepare(has_files).and_then(|mut any| any.exists([])).map_err(CheckError::Index)?;
        if has_files && !folder.join(MARK).exists() {
            return Err(CheckError::Unmounted(folder));
        }
        let mut after = 0;
        loop {
            let rows = page(&self.connection, after).map_err(CheckError::Index)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.id;
            for row in &rows {
                self.blob(&folder, row)?;
            }
        }
    }

    fn blob(&mut self, folder: &Path, row: &Row) -> Result<(), CheckError> {
        let before = self.seen;
        self.watcher.seen(before);
        let looked = match (&row.location, &row.content) {
            (Some(location), _) => {
                let (seen, watcher) = (&mut self.seen, &mut *self.watcher);
                let mut each = |count| {
                    seen.bytes += count;
                    watcher.seen(*seen);
                };
                look(&folder.join(location), row.size, &row.sha256, &mut each)?
            }
            (None, None) => Looked::Wrong(Kind::BlobMissing, "its bytes are gone from the index".to_owned()),
            (None, Some(content)) if Digest::sha256(content) == row.sha256 => Looked::Whole,
            (None, Some(_)) => Looked::Wrong(Kind::BlobAltered, "its bytes in the index have another digest".to_owned()),
        };
        self.seen.blobs = before.blobs + 1;
        self.seen.bytes = before.bytes + row.size;
        if let Looked::Wrong(kind, what) = looked {
            // Collected, or replaced, while it was looked at.
            if !self.is_still_there(row).map_err(CheckError::Index)? {
                return Ok(());
            }
            let finding = self.blob_finding(row, kind, &what).map_err(CheckError::Index)?;
            self.report.findings.push(finding);
        }
        self.report.blobs += 1;
        self.report.bytes += row.size;
        Ok(())
    }

    fn is_still_there(&self, row: &Row) -> rusqlite::Result<bool> {
        let sql = "SELECT 1 FROM blobs WHERE sha256 = ?1 AND location IS ?2 AND NOT damaged";
        let found = self.connection.prepare_cached(sql)?.query_row((row.sha256.hash(), &row.location), |_| Ok(())).optional()?;
        Ok(found.is_some())
    }

    fn blob_finding(&self, row: &Row, kind: Kind, what: &str) -> rusqlite::Result<Finding> {
        let mut digests = vec![row.sha256];
        let mut aliases = self.connection.prepare_cached("SELECT digest FROM blob_aliases WHERE blob_id = ?1")?;
        for alias in aliases.query_map([row.id], |row| crate::index::digest(row, 0))? {
            digests.push(alias?);
        }
        let concerns = of_digests(&self.connection, &digests)?;
        let at = row.location.as_deref().map(|location| format!(" (blobs/{location})")).unwrap_or_default();
        Ok(Finding {
            kind,
            what: format!("blob {}: {what}{at}", row.sha256),
            mend: format!(
                "--repair puts it aside, so that clients are told that it is not here; then push {} again",
                concerns.first()
            ),
            concerns: concerns.names,
            more: concerns.more,
            repair: Some(Repair::PutAside { digest: row.sha256, location: row.location.clone(), size: row.size }),
            remains: true,
        })
    }
}
