//! The index in one SQLite file.
//!
//! One thread writes, so that transactions never wait for each other's locks and many share one commit; any number read beside it, which the write-ahead log
//! allows. Readers see a transaction once it is committed, and those that must be durable once they are synced.

mod blobs;
mod cached;
mod collection;
mod facts;
mod listings;
mod manifests;
mod mend;
mod readers;
mod uploads;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use wharf_oci::{Digest, Reference, RepositoryName, Tag};

use super::{
    BlobDeletion, BlobRecord, CachedContent, Change, Evicted, Index, ManifestDeletion, ManifestRecord, Mend, NewBlob,
    NewManifest, Page, PutOutcome, Referrer, Totals, UnheldManifest, UnnamedBlob, UploadRow, Use,
};
use crate::{Location, Result, StoreError, Timestamp, UploadId};

use facts::Fact;
use readers::Readers;
use writer::{Kind, Writer};

/// Written into the file's header, so that `file` and we know whose it is: "Whrf".
pub(crate) const APPLICATION_ID: i32 = 0x5768_7266;
/// The schema, step by step. A file notes in `user_version` how many of them it has; those that it lacks are taken when it is opened.
const SCHEMA: [&str; 2] = [include_str!("schema/1.sql"), include_str!("schema/2.sql")];
/// How many there are: what a file that is up to date says.
pub(crate) const SCHEMA_VERSION: usize = SCHEMA.len();

/// Marks of the collector noted in one transaction.
const MARKS: usize = 512;

/// How long another connection's lock is waited for. Only checkpoints and the opening of the index take one that matters.
const BUSY: Duration = Duration::from_secs(5);

/// An index in a SQLite file.
pub struct Sqlite {
    writer: Writer,
    readers: Arc<Readers>,
}

impl Sqlite {
    /// Opens, or creates, `root/index.sqlite`.
    pub fn open(root: &Path) -> Result<Self> {
        let path = root.join("index.sqlite");
        let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
            .map_err(failed("opening the index"))?;
        prepare(&connection)?;
        // For the whole process. Its usual place may be small, or closed to a server that keeps to its folders.
        let folder = root.to_string_lossy().replace('\'', "''");
        let own = connection.execute_batch(&format!("PRAGMA temp_store_directory = '{folder}'"));
        own.map_err(failed("opening the index"))?;
        Ok(Self { writer: Writer::start(connection, root)?, readers: Arc::new(Readers::new(path)) })
    }

    /// Whether there is any blob. To be asked before anything else runs: it blocks.
    pub fn knows_blobs(&self) -> Result<bool> {
        let known = |connection: &Connection| connection.prepare_cached("SELECT 1 FROM blobs")?.exists([]);
        self.readers.with("looking for blobs", known)
    }

    async fn read<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.readers.read(context, work).await
    }
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    // A plan that may depend on a parameter's value is made anew for each value; none here gains by it.
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<()> {
    let refuse = |what: String| StoreError::Backend { context: "opening the index", source: what.into() };
    let set_up = || -> rusqlite::Result<(String, i32, i32, bool)> {
        let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        // The commit decides about each sync (`Writer`); checkpoints are made beside it, never inside a commit.
        connection.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -2000; PRAGMA wal_autocheckpoint = 0;",
        )?;
        let number = |name| connection.query_row(name, [], |row| row.get(0));
        let is_empty = !connection.prepare("SELECT 1 FROM sqlite_schema")?.exists([])?;
        Ok((mode, number("PRAGMA application_id")?, number("PRAGMA user_version")?, is_empty))
    };
    let (mode, application, version, is_empty) = set_up().map_err(failed("opening the index"))?;
    // Everything that is said of durability here is said of the write-ahead log.
    if mode != "wal" {
        return Err(refuse(format!("the file system does not allow a write-ahead log; SQLite offers {mode:?} instead")));
    }
    match (application, version) {
        (0, 0) if is_empty => take(connection, &SCHEMA).map_err(failed("creating the index")),
        (APPLICATION_ID, version) => match usize::try_from(version).ok().and_then(|taken| SCHEMA.get(taken..)) {
            Some([]) => Ok(()),
            Some(steps) if version > 0 => {
                tracing::info!(from = version, to = SCHEMA.len(), "bringing the index to the newer schema");
                take(connection, steps).map_err(failed("bringing the index to the newer schema"))
            }
            _ => Err(refuse(format!("the index has schema version {version}; this program knows version {}", SCHEMA.len()))),
        },
        _ => Err(refuse("index.sqlite is another program's database".to_owned())),
    }
}

/// Takes steps of the schema, all or none, up to the last there is.
fn take(connection: &Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let taken = connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {}; COMMIT;",
        steps.concat(),
        SCHEMA.len()
    ));
    if taken.is_err() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    taken
}

/// Maps an engine error, telling a full disk from all others.
fn failed(context: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode;
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Busy("another process keeps the index from being changed")
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::IndexDamaged { context, source: Box::new(error) }
        }
        _ => StoreError::Backend { context, source: Box::new(error) },
    }
}

/// The id of a repository, if it exists.
fn repository_id(connection: &Connection, name: &RepositoryName) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM repositories WHERE name = ?1")?
        .query_row([name.as_str()], |row| row.get(0))
        .optional()
}

/// The id of a repository, which is made if need be.
fn ensure_repository(connection: &Connection, name: &RepositoryName, now: Timestamp) -> rusqlite::Result<i64> {
    if let Some(id) = repository_id(connection, name)? {
        return Ok(id);
    }
    connection.prepare_cached("INSERT INTO repositories (name, created_at) VALUES (?1, ?2)")?.insert((name.as_str(), now.0))
}

/// Makes the collector look at a repository at its next turn.
fn make_collectable(connection: &Connection, repository: i64, now: Timestamp) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE repositories SET collect_after = ?2 WHERE id = ?1")?.execute((repository, now.0)).map(drop)
}

/// What an entry of the change log is about.
struct Entry<'a> {
    action: &'static str,
    repository: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a Digest>,
}

fn log(connection: &Connection, actor: &str, now: Timestamp, entry: &Entry<'_>) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO changes (at, actor, action, repository, tag, digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute((now.0, actor, entry.action, entry.repository, entry.tag, entry.digest.map(Digest::hash)))
        .map(drop)
}

/// A digest out of a column.
pub(crate) fn digest(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    let bytes = row.get_ref(column)?.as_blob()?;
    Digest::from_hash_of_any_length(bytes).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, bytes.len() as i64))
}

/// A length out of a column. SQLite's integers are signed; a negative length cannot have been written here.
fn size(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// A length for a column.
fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[async_trait]
impl Index for Sqlite {
    async fn open_upload(&self, row: UploadRow) -> Result<()> {
        self.writer.call(Kind::Lazy, "opening an upload", move |connection| uploads::open(connection, &row)).await
    }
    async fn save_upload(&self, row: UploadRow) -> Result<()> {
        self.writer.call(Kind::Lazy, "saving an upload", move |connection| uploads::save(connection, &row)).await
    }
    async fn upload(&self, id: UploadId) -> Result<Option<UploadRow>> {
        self.read("looking for an upload", move |connection| uploads::find(connection, id)).await
    }
    async fn delete_upload(&self, id: UploadId) -> Result<bool> {
        self.writer.call(Kind::Freeing, "forgetting an upload", move |connection| uploads::delete(connection, id)).await
    }
    async fn open_uploads(&self) -> Result<u64> {
        self.read("counting uploads", uploads::count).await
    }
    async fn idle_uploads(&self, before: Timestamp, limit: usize) -> Result<Vec<UploadRow>> {
        self.read("listing uploads", move |connection| uploads::idle(connection, before, limit)).await
    }
    async fn uploading(&self, opened: Timestamp, progressed: Timestamp) -> Result<Vec<RepositoryName>> {
        self.read("listing uploads", move |connection| uploads::repositories(connection, opened, progressed)).await
    }

    async fn commit_blob(&self, blob: NewBlob) -> Result<BlobRecord> {
        self.writer.call(Kind::Durable, "storing a blob", move |connection| blobs::commit(connection, &blob)).await
    }
    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobRecord>> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read("looking for a blob", move |connection| blobs::find(connection, &repository, &digest)).await
    }
    async fn holders(&self, digest: &Digest, limit: usize) -> Result<Vec<RepositoryName>> {
        let digest = *digest;
        self.read("looking for a blob", move |connection| blobs::holders(connection, &digest, limit)).await
    }
    async fn mount(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
        actor: &Arc<str>,
    ) -> Result<Option<BlobRecord>> {
        let (repository, digest, from, actor) = (repository.clone(), *digest, from.cloned(), actor.clone());
        // Most mounts ask for what is not there; that needs no write.
        let (source, at) = (from.clone(), digest);
        if self
            .read("looking for a blob", move |connection| blobs::find_source(connection, &at, source.as_ref()))
            .await?
            .is_none()
        {
            return Ok(None);
        }
        self.writer
            .call(Kind::Durable, "mounting a blob", move |connection| {
                blobs::mount(connection, &repository, &digest, from.as_ref(), &actor)
            })
            .await
    }
    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest, actor: &Arc<str>) -> Result<BlobDeletion> {
        let (repository, digest, actor) = (repository.clone(), *digest, actor.clone());
        self.writer
            .call(Kind::Freeing, "deleting a blob", move |connection| blobs::delete(connection, &repository, &digest, &actor))
            .await
    }

    async fn put_manifest(&self, manifest: NewManifest) -> Result<PutOutcome> {
        self.writer.call(Kind::Durable, "storing a manifest", move |connection| manifests::put(connection, &manifest)).await
    }
    async fn manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<ManifestRecord>> {
        let (repository, reference) = (repository.clone(), reference.clone());
        self.read("looking for a manifest", move |connection| manifests::find(connection, &repository, &reference)).await
    }
    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        actor: &Arc<str>,
    ) -> Result<ManifestDeletion> {
        let (repository, reference, actor) = (repository.clone(), reference.clone(), actor.clone());
        self.writer
            .call(Kind::Freeing, "deleting a manifest", move |connection| {
                manifests::delete(connection, &repository, &reference, &actor)
            })
            .await
    }

    async fn repository_exists(&self, repository: &RepositoryName) -> Result<bool> {
        let repository = repository.clone();
        self.read("looking for a repository", move |connection| Ok(repository_id(connection, &repository)?.is_some())).await
    }
    async fn tags(&self, repository: &RepositoryName, after: Option<&str>, limit: usize) -> Result<Option<Page<String>>> {
        let (repository, after) = (repository.clone(), after.map(str::to_owned));
        self.read("listing tags", move |connection| listings::tags(connection, &repository, after.as_deref(), limit)).await
    }
    async fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Page<String>> {
        let after = after.map(str::to_owned);
        self.read("listing repositories", move |connection| listings::repositories(connection, after.as_deref(), limit)).await
    }
    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
        room: usize,
    ) -> Result<Page<Referrer>> {
        let (repository, subject, after) = (repository.clone(), *subject, after.copied());
        let artifact_type = artifact_type.map(str::to_owned);
        self.read("listing referrers", move |connection| {
            listings::referrers(connection, &repository, &subject, artifact_type.as_deref(), after.as_ref(), limit, room)
        })
        .await
    }
    async fn changes(&self, after: i64, limit: usize) -> Result<Vec<Change>> {
        self.read("reading the change log", move |connection| listings::changes(connection, after, limit)).await
    }
    async fn totals(&self) -> Result<Totals> {
        self.read("counting", facts::totals).await
    }

    async fn collectable_repositories(
        &self,
        due: Option<Timestamp>,
        after: Option<&RepositoryName>,
        limit: usize,
    ) -> Result<Vec<RepositoryName>> {
        let after = after.cloned();
        self.read("looking for what to collect", move |connection| {
            collection::repositories(connection, due, after.as_ref(), limit)
        })
        .await
    }
    async fn unheld_manifests(&self, repository: &RepositoryName, dry_run: bool) -> Result<Vec<UnheldManifest>> {
        let name = repository.clone();
        let marks = self.read("looking for manifests to collect", move |connection| collection::mark(connection, &name)).await?;
        // In pieces, so that pushes do not wait for all of a large repository; each mark stands for itself.
        for changed in marks.changed.chunks(MARKS).take_while(|_| !dry_run) {
            let changed = changed.to_vec();
            self.writer
                .call(Kind::Freeing, "marking manifests to collect", move |connection| {
                    collection::save_marks(connection, &changed)
                })
                .await?;
        }
        Ok(marks.unheld)
    }
    async fn collect_manifests(&self, repository: &RepositoryName, manifests: Vec<UnheldManifest>) -> Result<u64> {
        let repository = repository.clone();
        self.writer
            .call(Kind::Freeing, "collecting manifests", move |connection| {
                collection::delete_manifests(connection, &repository, &manifests)
            })
            .await
    }
    async fn unnamed_blobs(
        &self,
        repository: &RepositoryName,
        assumed_gone: Vec<i64>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<UnnamedBlob>> {
        let repository = repository.clone();
        self.read("looking for blobs to collect", move |connection| {
            collection::unnamed_blobs(connection, &repository, &assumed_gone, after, limit)
        })
        .await
    }
    async fn collect_blobs(&self, repository: &RepositoryName, blobs: Vec<UnnamedBlob>) -> Result<u64> {
        let repository = repository.clone();
        self.writer
            .call(Kind::Freeing, "collecting blobs", move |connection| collection::unlink_blobs(connection, &repository, &blobs))
            .await
    }
    async fn collected(
        &self,
        repository: &RepositoryName,
        started: Timestamp,
        again: Option<Timestamp>,
        held_bytes: u64,
    ) -> Result<()> {
        let repository = repository.clone();
        self.writer
            .call(Kind::Tidying, "finishing a collection", move |connection| {
                collection::finish(connection, &repository, started, again, held_bytes)
            })
            .await
    }
    async fn doomed(&self, after: Option<&Location>, limit: usize) -> Result<Vec<(Location, u64)>> {
        let after = after.cloned();
        self.read("looking for bytes to delete", move |connection| collection::doomed(connection, after.as_ref(), limit)).await
    }
    async fn buried(&self, locations: Vec<Location>) -> Result<()> {
        self.writer
            .call(Kind::Tidying, "noting deleted bytes", move |connection| collection::buried(connection, &locations))
            .await
    }
    async fn unknown_locations(&self, locations: Vec<Location>) -> Result<Vec<Location>> {
        self.read("looking for stray files", move |connection| collection::unknown_locations(connection, locations)).await
    }

    async fn tag_checked(&self, repository: &RepositoryName, tag: &Tag) -> Result<()> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.writer
            .call(Kind::Lazy, "noting a tag of an upstream", move |connection| cached::tag_checked(connection, &repository, &tag))
            .await
    }
    async fn drop_cached_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.writer
            .call(Kind::Freeing, "dropping a tag of an upstream", move |connection| {
                cached::drop_tag(connection, &repository, &tag)
            })
            .await
    }
    async fn used(&self, uses: Vec<Use>) -> Result<()> {
        self.writer.call(Kind::Lazy, "noting what was used", move |connection| cached::note_uses(connection, &uses)).await
    }
    async fn cached_bytes(&self) -> Result<u64> {
        self.read("counting what is cached", cached::bytes).await
    }
    async fn least_used(&self, limit: usize) -> Result<Vec<CachedContent>> {
        self.read("looking for what was not used", move |connection| cached::least_used(connection, limit)).await
    }
    async fn evict(&self, content: Vec<CachedContent>) -> Result<Evicted> {
        self.writer.call(Kind::Freeing, "evicting what was not used", move |connection| cached::evict(connection, &content)).await
    }

    async fn unverified(&self, before: Timestamp, limit: usize) -> Result<Vec<BlobRecord>> {
        self.read("looking for blobs to verify", move |connection| blobs::unverified(connection, before, limit)).await
    }
    async fn verified(&self, record: &BlobRecord) -> Result<()> {
        let record = record.clone();
        self.writer.call(Kind::Lazy, "noting a verified blob", move |connection| blobs::verified(connection, &record)).await
    }
    async fn damaged(&self, record: &BlobRecord) -> Result<()> {
        let record = record.clone();
        self.writer.call(Kind::Durable, "noting a damaged blob", move |connection| blobs::damaged(connection, &record)).await
    }

    async fn mend(&self, mend: Mend) -> Result<Option<String>> {
        self.writer.call(Kind::Freeing, "mending the index", move |connection| mend::mend(connection, &mend)).await
    }

    async fn beat(&self) -> Result<()> {
        let work = |connection: &Connection| facts::note(connection, Fact::Alive);
        self.writer.call(Kind::Durable, "noting that the server is alive", work).await
    }
    async fn last_beat(&self) -> Result<Option<Timestamp>> {
        self.read("reading when the server was alive", |connection| facts::last(connection, Fact::Alive)).await
    }
    async fn collection_ended(&self) -> Result<()> {
        let work = |connection: &Connection| facts::note(connection, Fact::Collected);
        self.writer.call(Kind::Tidying, "noting that a collection ended", work).await
    }
    async fn last_collection(&self) -> Result<Option<Timestamp>> {
        self.read("reading when a collection ended", |connection| facts::last(connection, Fact::Collected)).await
    }
    async fn trim_changes(&self, keep: Duration) -> Result<()> {
        self.writer.call(Kind::Lazy, "trimming the change log", move |connection| facts::trim_changes(connection, keep)).await
    }
    async fn check(&self) -> Result<()> {
        self.writer.call(Kind::Lazy, "checking the index", facts::check).await
    }
    async fn close(&self) {
        self.readers.close();
        self.writer.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_files_have_a_place_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let index = Sqlite::open(folder.path()).unwrap();
        // Other tests of this process may have set theirs since.
        let place =
            |connection: &Connection| connection.query_row("PRAGMA temp_store_directory", [], |row| row.get::<_, String>(0));
        let place = index.readers.with("looking for the place", place).unwrap();
        assert!(Path::new(&place).is_absolute(), "{place:?}");
    }
}
