//! Blobs and their links into repositories.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use wharf_oci::{Algorithm, Digest, RepositoryName};

use super::{Entry, cached, digest as digest_column, ensure_repository, log, make_collectable, repository_id, signed, size};
use crate::index::{BlobDeletion, BlobRecord, NewBlob, Place};
use crate::{Location, Timestamp};

/// A blob with its row id.
pub(super) struct Row {
    pub(super) id: i64,
    sha256: Digest,
    size: u64,
    location: Option<Location>,
    damaged: bool,
}

impl Row {
    /// All that there is to know of it, its bytes included where they are here.
    fn record(self, connection: &Connection) -> rusqlite::Result<BlobRecord> {
        let place = match self.location {
            Some(location) => Place::Store(location),
            None => {
                let mut content = connection.prepare_cached("SELECT content FROM blob_contents WHERE blob_id = ?1")?;
                Place::Index(content.query_row([self.id], |row| row.get::<_, Vec<u8>>(0))?.into())
            }
        };
        Ok(BlobRecord { sha256: self.sha256, size: self.size, place, cached: false })
    }
}

/// A location for a column.
fn column(place: &Place) -> Option<&str> {
    place.location().map(|location| &*location.0)
}

/// The blob with this digest, in whatever repository.
pub(super) fn by_digest(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<Row>> {
    let sql = match digest.algorithm() {
        Algorithm::Sha256 => "SELECT id, sha256, size, location, damaged FROM blobs WHERE sha256 = ?1",
        Algorithm::Sha512 => {
            "SELECT id, sha256, size, location, damaged FROM blobs WHERE id = (SELECT blob_id FROM blob_aliases WHERE digest = ?1)"
        }
    };
    connection.prepare_cached(sql)?.query_row([digest.hash()], read).optional()
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let location = row.get::<_, Option<String>>(3)?.map(Location);
    Ok(Row { id: row.get(0)?, sha256: digest_column(row, 1)?, size: size(row, 2)?, location, damaged: row.get(4)? })
}

/// The sound blob with this digest, if the repository holds it.
pub(super) fn in_repository(connection: &Connection, repository: i64, digest: &Digest) -> rusqlite::Result<Option<Row>> {
    let Some(row) = by_digest(connection, digest)?.filter(|row| !row.damaged) else { return Ok(None) };
    let linked = connection
        .prepare_cached("SELECT 1 FROM repository_blobs WHERE repository_id = ?1 AND blob_id = ?2")?
        .exists((repository, row.id))?;
    Ok(linked.then_some(row))
}

pub(super) fn find(
    connection: &Connection,
    repository: &RepositoryName,
    digest: &Digest,
) -> rusqlite::Result<Option<BlobRecord>> {
    let Some(repository) = repository_id(connection, repository)? else { return Ok(None) };
    let Some(row) = in_repository(connection, repository, digest)? else { return Ok(None) };
    let cached = cached::is_cached_blob(connection, repository, row.id)?;
    Ok(Some(BlobRecord { cached, ..row.record(connection)? }))
}

/// The sound blob with this digest that `from`, or anybody, holds.
pub(super) fn find_source(
    connection: &Connection,
    digest: &Digest,
    from: Option<&RepositoryName>,
) -> rusqlite::Result<Option<i64>> {
    if let Some(from) = from {
        let Some(from) = repository_id(connection, from)? else { return Ok(None) };
        return Ok(in_repository(connection, from, digest)?.map(|row| row.id));
    }
    let Some(row) = by_digest(connection, digest)?.filter(|row| !row.damaged) else { return Ok(None) };
    let held = connection.prepare_cached("SELECT 1 FROM repository_blobs WHERE blob_id = ?1")?.exists([row.id])?;
    Ok(held.then_some(row.id))
}

/// Repositories that hold the sound blob with this digest.
pub(super) fn holders(connection: &Connection, digest: &Digest, limit: usize) -> rusqlite::Result<Vec<RepositoryName>> {
    let Some(row) = by_digest(connection, digest)?.filter(|row| !row.damaged) else { return Ok(Vec::new()) };
    let mut statement = connection.prepare_cached(
        "SELECT name FROM repository_blobs JOIN repositories ON repositories.id = repository_id
         WHERE blob_id = ?1 ORDER BY name LIMIT ?2",
    )?;
    let names = statement.query_map((row.id, i64::try_from(limit).unwrap_or(i64::MAX)), |row| row.get::<_, String>(0))?;
    names.filter_map(|name| name.map(|name| name.parse().ok()).transpose()).collect()
}

pub(super) fn commit(connection: &Connection, blob: &NewBlob) -> rusqlite::Result<BlobRecord> {
    let now = Timestamp::now();
    let new = BlobRecord { sha256: blob.sha256, size: blob.size, place: blob.place.clone(), cached: false };
    let (id, record) = match by_digest(connection, &blob.sha256)? {
        Some(row) if !row.damaged => (row.id, row.record(connection)?),
        Some(row) => {
            connection
                .prepare_cached("UPDATE blobs SET location = ?2, size = ?3, verified_at = ?4, damaged = 0 WHERE id = ?1")?
                .execute((row.id, column(&new.place), signed(new.size), now.0))?;
            connection.prepare_cached("DELETE FROM blob_contents WHERE blob_id = ?1")?.execute([row.id])?;
            keep(connection, row.id, &new.place)?;
            (row.id, new)
        }
        None => {
            let id = connection
                .prepare_cached(
                    "INSERT INTO blobs (sha256, size, location, created_at, verified_at) VALUES (?1, ?2, ?3, ?4, ?4)",
                )?
                .insert((new.sha256.hash(), signed(new.size), column(&new.place), now.0))?;
            keep(connection, id, &new.place)?;
            (id, new)
        }
    };
    if let Some(alias) = &blob.alias {
        connection
            .prepare_cached("INSERT OR IGNORE INTO blob_aliases (digest, blob_id) VALUES (?1, ?2)")?
            .execute((alias.hash(), id))?;
    }
    let action = if blob.origin.is_some() { "cache.blob" } else { "blob.link" };
    let (repository, is_new) = link(connection, &blob.repository, id, &record, &blob.actor, action, now)?;
    match &blob.origin {
        // What was there before was pushed, or is marked already.
        Some(origin) if is_new => {
            let digests = digests(connection, id, record.sha256)?;
            cached::mark_blob(connection, repository, id, &digests, origin, now)?;
        }
        Some(_) => {}
        None => cached::unmark_blob(connection, repository, id)?,
    }
    if let Some(upload) = blob.upload {
        super::uploads::delete(connection, upload)?;
    }
    Ok(record)
}

/// Keeps the bytes of a blob, if they are to be kept here.
fn keep(connection: &Connection, id: i64, place: &Place) -> rusqlite::Result<()> {
    match place {
        Place::Store(_) => Ok(()),
        Place::Index(content) => connection
            .prepare_cached("INSERT INTO blob_contents (blob_id, content) VALUES (?1, ?2)")?
            .execute((id, &content[..]))
            .map(drop),
    }
}

/// Lets a repository hold a blob that is here and sound. Answers whether it did not before.
pub(super) fn hold(connection: &Connection, repository: &RepositoryName, digest: &Digest) -> rusqlite::Result<bool> {
    let Some(row) = by_digest(connection, digest)?.filter(|row| !row.damaged) else { return Ok(false) };
    let (id, record) = (row.id, row.record(connection)?);
    Ok(link(connection, repository, id, &record, "", "blob.link", Timestamp::now())?.1)
}

/// Links a blob into a repository. Answers the repository's row, and whether the link is new.
fn link(
    connection: &Connection,
    repository: &RepositoryName,
    blob: i64,
    record: &BlobRecord,
    actor: &str,
    action: &'static str,
    now: Timestamp,
) -> rusqlite::Result<(i64, bool)> {
    let id = ensure_repository(connection, repository, now)?;
    let linked = connection
        .prepare_cached("INSERT OR IGNORE INTO repository_blobs (repository_id, blob_id, linked_at) VALUES (?1, ?2, ?3)")?
        .execute((id, blob, now.0))?;
    if linked == 0 {
        return Ok((id, false));
    }
    connection.prepare_cached("UPDATE repositories SET bytes = bytes + ?2 WHERE id = ?1")?.execute((id, signed(record.size)))?;
    make_collectable(connection, id, now)?;
    log(connection, actor, now, &Entry { action, repository: repository.as_str(), tag: None, digest: Some(&record.sha256) })?;
    Ok((id, true))
}

pub(super) fn mount(
    connection: &Connection,
    repository: &RepositoryName,
    digest: &Digest,
    from: Option<&RepositoryName>,
    actor: &Arc<str>,
) -> rusqlite::Result<Option<BlobRecord>> {
    let Some(source) = find_source(connection, digest, from)? else { return Ok(None) };
    let Some(row) = by_digest(connection, digest)?.filter(|row| row.id == source) else { return Ok(None) };
    let (id, record) = (row.id, row.record(connection)?);
    let (repository, _) = link(connection, repository, id, &record, actor, "blob.link", Timestamp::now())?;
    cached::unmark_blob(connection, repository, id)?;
    Ok(Some(record))
}

/// Every digest a blob is known by, SHA-256 first.
pub(super) fn digests(connection: &Connection, id: i64, sha256: Digest) -> rusqlite::Result<Vec<Digest>> {
    let mut all = vec![sha256];
    let mut aliases = connection.prepare_cached("SELECT digest FROM blob_aliases WHERE blob_id = ?1")?;
    for alias in aliases.query_map([id], |row| digest_column(row, 0))? {
        all.push(alias?);
    }
    Ok(all)
}

/// Whether a manifest of the repository names one of these digests.
pub(super) fn is_named(connection: &Connection, repository: i64, digests: &[Digest]) -> rusqlite::Result<bool> {
    let mut named = connection.prepare_cached("SELECT 1 FROM manifest_references WHERE repository_id = ?1 AND digest = ?2")?;
    for digest in digests {
        if named.exists((repository, digest.hash()))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Unlinks a blob; where no other repository holds it, forgets it and dooms its bytes.
pub(super) fn unlink(connection: &Connection, repository: i64, blob: i64) -> rusqlite::Result<bool> {
    let unlinked = connection
        .prepare_cached("DELETE FROM repository_blobs WHERE repository_id = ?1 AND blob_id = ?2")?
        .execute((repository, blob))?;
    if unlinked == 0 {
        return Ok(false);
    }
    connection
        .prepare_cached("UPDATE repositories SET bytes = bytes - (SELECT size FROM blobs WHERE id = ?2) WHERE id = ?1")?
        .execute((repository, blob))?;
    if !connection.prepare_cached("SELECT 1 FROM repository_blobs WHERE blob_id = ?1")?.exists([blob])? {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO doomed (location, size) SELECT location, size FROM blobs
                 WHERE id = ?1 AND location IS NOT NULL AND NOT damaged",
            )?
            .execute([blob])?;
        connection.prepare_cached("DELETE FROM blobs WHERE id = ?1")?.execute([blob])?;
    }
    Ok(true)
}

pub(super) fn delete(
    connection: &Connection,
    repository: &RepositoryName,
    digest: &Digest,
    actor: &str,
) -> rusqlite::Result<BlobDeletion> {
    let Some(id) = repository_id(connection, repository)? else { return Ok(BlobDeletion::Unknown) };
    let Some(row) = by_digest(connection, digest)? else { return Ok(BlobDeletion::Unknown) };
    let digests = digests(connection, row.id, row.sha256)?;
    if is_named(connection, id, &digests)? {
        return Ok(BlobDeletion::InUse);
    }
    if !unlink(connection, id, row.id)? {
        return Ok(BlobDeletion::Unknown);
    }
    let now = Timestamp::now();
    make_collectable(connection, id, now)?;
    let sha256 = Some(&row.sha256);
    log(connection, actor, now, &Entry { action: "blob.delete", repository: repository.as_str(), tag: None, digest: sha256 })?;
    Ok(BlobDeletion::Deleted { digests })
}

pub(super) fn unverified(connection: &Connection, before: Timestamp, limit: usize) -> rusqlite::Result<Vec<BlobRecord>> {
    connection
        .prepare_cached(
            "SELECT id, sha256, size, location, damaged FROM blobs WHERE verified_at < ?1 AND NOT damaged ORDER BY verified_at LIMIT ?2",
        )?
        .query_map((before.0, limit as i64), read)?
        .map(|row| row?.record(connection))
        .collect()
}

pub(super) fn verified(connection: &Connection, record: &BlobRecord) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE blobs SET verified_at = ?3 WHERE sha256 = ?1 AND location IS ?2")?
        .execute((record.sha256.hash(), column(&record.place), Timestamp::now().0))
        .map(drop)
}

pub(super) fn damaged(connection: &Connection, record: &BlobRecord) -> rusqlite::Result<()> {
    mark_damaged(connection, &record.sha256, column(&record.place))
}

/// As [`damaged`], for a blob whose bytes are, or were, in the index.
pub(super) fn damaged_here(connection: &Connection, sha256: &Digest) -> rusqlite::Result<()> {
    mark_damaged(connection, sha256, None)
}

fn mark_damaged(connection: &Connection, sha256: &Digest, location: Option<&str>) -> rusqlite::Result<()> {
    let marked = connection
        .prepare_cached("UPDATE blobs SET damaged = 1 WHERE sha256 = ?1 AND location IS ?2")?
        .execute((sha256.hash(), location))?;
    if marked > 0 {
        let entry = Entry { action: "blob.damaged", repository: "", tag: None, digest: Some(sha256) };
        log(connection, "", Timestamp::now(), &entry)?;
    }
    Ok(())
}
