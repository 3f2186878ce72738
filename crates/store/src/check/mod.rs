//! Everything that a storage folder holds, held against everything else: for `wharf check`.
//!
//! A check only reads, and beside a server it is no part of it: it has a reading connection of its own, and a database that is broken or a disk that
//! fails ends nobody but itself. What moves meanwhile is told from what is wrong by the order of looking. A row names its file from after the file is
//! durable until before the file is deleted, and no place is used twice; so a file that is missed, and whose row is there *afterwards*, was missed truly.
//! For a file that no row names it is the other way round: it was listed *before* the index, and those who are writing, were asked. All that the index
//! says of itself is read in one transaction.
//!
//! What is found may come with a [`Repair`], which [`Store::repair`](crate::Store::repair) carries out after another look of its own.

mod concerns;
mod content;
mod database;
mod files;
mod manifests;
mod reading;
mod strays;

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::Connection;
use serde::Serialize;
use wharf_oci::{Digest, RepositoryName};

use crate::Location;
use crate::repair::Repair;

pub(crate) use content::is_whole;
pub(crate) use database::{COUNTS, NAMELESS, ORPHANS};
pub(crate) use manifests::{Noted, references};
pub(crate) use reading::{is_corrupt, open};

/// Why a folder could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is no index.
    #[error("no storage at {0}")]
    Nothing(PathBuf),
    /// A newer program's index.
    #[error("the index has schema version {found}; this program knows version {known}")]
    Newer {
        /// The index's.
        found: i64,
        /// The newest that is known here.
        known: usize,
    },
    /// Somebody else's database.
    #[error("{0} is another program's database")]
    Foreign(PathBuf),
    /// The files of the blobs are out of reach: to say that all of them are missing would be no help.
    #[error("the index knows blobs, but {0} is not their folder")]
    Unmounted(PathBuf),
    /// Something cannot be read for a reason that says nothing of its content.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The index cannot be read, for another reason than damage.
    #[error("cannot read the index")]
    Index(#[source] rusqlite::Error),
    /// Who watches could not answer.
    #[error("cannot ask the server what it is writing")]
    Watcher(#[source] Box<dyn Error + Send + Sync>),
}

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The database itself is damaged.
    Index,
    /// A row names one that is not there.
    Orphans,
    /// A count that listings go by is wrong.
    Count,
    /// A manifest's bytes have another digest.
    ManifestAltered,
    /// What the index notes of a manifest is not what its bytes say.
    ManifestNotes,
    /// A tag leads to no manifest.
    Tag,
    /// A manifest names what is not here.
    Missing,
    /// A manifest names what is here, but not in its repository.
    Unlinked,
    /// A blob's file, or its bytes in the index, are gone.
    BlobMissing,
    /// A blob's file has another length.
    BlobLength,
    /// A blob's bytes have another digest.
    BlobAltered,
    /// A blob's file cannot be read: the disk fails.
    BlobUnreadable,
    /// A file that nothing names.
    Stray,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its kind.
    pub kind: Kind,
    /// What is wrong, in words, without a final dot.
    pub what: String,
    /// Tags, `repository:tag`, or where there are none manifests, `repository@digest`, or repositories that suffer from it; the first few of them.
    pub concerns: Vec<String>,
    /// How many there are beyond these.
    pub more: u64,
    /// The way out.
    pub mend: String,
    /// What `--repair` does about it; `None` when it can do nothing.
    pub repair: Option<Repair>,
    /// Whether something has to be pushed, restored or deleted by somebody, also after a repair.
    pub remains: bool,
}

impl Finding {
    /// Whether it is no more than a file that a crash has left: it takes room, and nothing else is wrong with it.
    pub fn is_leftover(&self) -> bool {
        matches!(self.repair, Some(Repair::MoveAway { .. }))
    }
}

/// What a check saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Repositories.
    pub repositories: u64,
    /// Tags.
    pub tags: u64,
    /// Manifests whose bytes were compared with their digests.
    pub manifests: u64,
    /// Blobs whose bytes were compared with their digests.
    pub blobs: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Unfinished uploads that the index knows.
    pub uploads: u64,
    /// Files that wait to be deleted.
    pub doomed: u64,
    /// Files in quarantine.
    pub quarantined: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What is unusual and may be meant.
    pub notes: Vec<String>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// How far a check is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Blobs read.
    pub blobs: u64,
    /// Of so many.
    pub of_blobs: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Of so many.
    pub of_bytes: u64,
}

/// Who a check works for.
pub trait Watcher {
    /// Told now and then how far it is.
    fn seen(&mut self, seen: Seen);

    /// Places that a server is writing to now, of which the index may not know; `None` when there is no server, and so nothing in motion.
    fn writing(&mut self) -> Result<Option<HashSet<Location>>, Box<dyn Error + Send + Sync>>;
}

/// What manifests miss: by digest, the repositories whose manifests name it.
type Missing = HashMap<Digest, Vec<RepositoryName>>;

/// A check under way.
pub(crate) struct Run<'a> {
    root: &'a Path,
    connection: Connection,
    watcher: &'a mut dyn Watcher,
    report: Report,
    seen: Seen,
    missing: Missing,
}

/// Checks the storage folder `root`, of a server that runs or not, or of a backup, where nothing moves and nothing may be left behind (`is_backup`).
///
/// It changes nothing. It reads every blob once, with memory that does not grow with them; what it finds is kept in memory.
pub fn check(root: &Path, is_backup: bool, watcher: &mut dyn Watcher) -> Result<Report, CheckError> {
    let began = Instant::now();
    let connection = match open(root, is_backup) {
        Ok(connection) => connection,
        Err(CheckError::Index(error)) if is_corrupt(&error) => return Ok(unreadable(root, &error)),
        Err(error) => return Err(error),
    };
    let mut run =
        Run { root, connection, watcher, report: Report::default(), seen: Seen::default(), missing: Missing::default() };
    run.all(is_backup)?;
    let mut report = run.report;
    report.milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

/// The report on an index of which nothing can be read.
fn unreadable(root: &Path, error: &rusqlite::Error) -> Report {
    let finding = database::damaged(format!("{} cannot be read: {error}", root.join("index.sqlite").display()), None);
    Report { findings: vec![finding], ..Report::default() }
}

impl Run<'_> {
    fn all(&mut self, is_backup: bool) -> Result<(), CheckError> {
        self.database()?;
        let readable = self.tolerating(Self::sums)? && self.tolerating(Self::manifests)?;
        let readable = self.tolerating(Self::blobs)? && readable;
        // Whether a file is nobody's is for a whole index to say.
        if readable && !self.report.findings.iter().any(|finding| finding.kind == Kind::Index) {
            self.tolerating(Self::strays)?;
        }
        self.missing_content(is_backup)
    }

    /// Runs a part of the check. Damage of the database that it meets is a finding, and then the answer is false.
    fn tolerating(&mut self, part: fn(&mut Self) -> Result<(), CheckError>) -> Result<bool, CheckError> {
        match part(self) {
            Ok(()) => Ok(true),
            Err(CheckError::Index(error)) if is_corrupt(&error) => {
                if !self.report.findings.iter().any(|finding| finding.kind == Kind::Index) {
                    self.report.findings.push(database::damaged(format!("the index is damaged: {error}"), None));
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
