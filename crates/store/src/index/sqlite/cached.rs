//! Content of upstream registries: marked by where it came from, and evicted by least use.

use rusqlite::{Connection, OptionalExtension};
use wharf_oci::{Algorithm, Digest, RepositoryName, Tag};

use super::{Entry, blobs, collection, digest as digest_column, log, make_collectable, manifests, repository_id, size};
use crate::Timestamp;
use crate::index::{Cached, CachedContent, CachedKind, Evicted, Origin, Use};

/// The row of an origin, which is made if need be.
fn origin_id(connection: &Connection, origin: &Origin) -> rusqlite::Result<i64> {
    let named = (&origin.upstream, origin.repository.as_str());
    let known = connection
        .prepare_cached("SELECT id FROM origins WHERE upstream = ?1 AND repository = ?2")?
        .query_row(named, |row| row.get(0))
        .optional()?;
    match known {
        Some(id) => Ok(id),
        None => connection.prepare_cached("INSERT INTO origins (upstream, repository) VALUES (?1, ?2)")?.insert(named),
    }
}

/// Marks a manifest that was just stored, unless a pushed one names it: then it belongs to that.
pub(super) fn mark_manifest(
    connection: &Connection,
    repository: i64,
    manifest: i64,
    digests: &[Digest],
    origin: &Origin,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let insert =
        "INSERT INTO cached_manifests (manifest_id, repository_id, origin_id, fetched_at, used_at) VALUES (?1, ?2, ?3, ?4, ?4)";
    mark(connection, insert, (manifest, repository), digests, origin, now)
}

/// Marks a blob that was just linked, unless a pushed manifest names it.
pub(super) fn mark_blob(
    connection: &Connection,
    repository: i64,
    blob: i64,
    digests: &[Digest],
    origin: &Origin,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let insert =
        "INSERT OR IGNORE INTO cached_blobs (blob_id, repository_id, origin_id, fetched_at, used_at) VALUES (?1, ?2, ?3, ?4, ?4)";
    mark(connection, insert, (blob, repository), digests, origin, now)
}

/// Marks a row of a repository by an insertion, unless a pushed manifest names one of its digests.
fn mark(
    connection: &Connection,
    insert: &str,
    (row, repository): (i64, i64),
    digests: &[Digest],
    origin: &Origin,
    now: Timestamp,
) -> rusqlite::Result<()> {
    if is_named_by_pushed(connection, repository, digests)? {
        return Ok(());
    }
    let origin = origin_id(connection, origin)?;
    connection.prepare_cached(insert)?.execute((row, repository, origin, now.0)).map(drop)
}

/// Marks a tag as one that an upstream has just named.
pub(super) fn mark_tag(
    connection: &Connection,
    repository: i64,
    tag: &Tag,
    origin: &Origin,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let origin = origin_id(connection, origin)?;
    connection
        .prepare_cached(
            "INSERT INTO cached_tags (repository_id, name, origin_id, checked_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (repository_id, name) DO UPDATE SET origin_id = excluded.origin_id, checked_at = excluded.checked_at",
        )?
        .execute((repository, tag.as_str(), origin, now.0))
        .map(drop)
}

/// A tag was pushed: it is nobody else's any more.
pub(super) fn unmark_tag(connection: &Connection, repository: i64, tag: &Tag) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM cached_tags WHERE repository_id = ?1 AND name = ?2")?
        .execute((repository, tag.as_str()))
        .map(drop)
}

/// Whether a tag is there because it was pulled.
pub(super) fn is_cached_tag(connection: &Connection, repository: i64, tag: &Tag) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM cached_tags WHERE repository_id = ?1 AND name = ?2")?
        .exists((repository, tag.as_str()))
}

/// A blob was pushed.
pub(super) fn unmark_blob(connection: &Connection, repository: i64, blob: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM cached_blobs WHERE repository_id = ?1 AND blob_id = ?2")?
        .execute((repository, blob))
        .map(drop)
}

/// Whether a blob is in a repository because it was pulled.
pub(super) fn is_cached_blob(connection: &Connection, repository: i64, blob: i64) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM cached_blobs WHERE repository_id = ?1 AND blob_id = ?2")?.exists((repository, blob))
}

/// Where a tag came from; `None` when it was pushed.
pub(super) fn of_tag(connection: &Connection, repository: i64, tag: &Tag) -> rusqlite::Result<Option<Cached>> {
    connection
        .prepare_cached(
            "SELECT o.upstream, o.repository, t.checked_at FROM cached_tags t JOIN origins o ON o.id = t.origin_id
             WHERE t.repository_id = ?1 AND t.name = ?2",
        )?
        .query_row((repository, tag.as_str()), cached)
        .optional()
        .map(Option::flatten)
}

/// Where a manifest came from; `None` when it was pushed.
pub(super) fn of_manifest(connection: &Connection, manifest: i64) -> rusqlite::Result<Option<Cached>> {
    connection
        .prepare_cached(
            "SELECT o.upstream, o.repository, m.fetched_at FROM cached_manifests m JOIN origins o ON o.id = m.origin_id
             WHERE m.manifest_id = ?1",
        )?
        .query_row([manifest], cached)
        .optional()
        .map(Option::flatten)
}

fn cached(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Cached>> {
    // It was written from this type; a name that does not read back is none.
    let Ok(repository) = row.get::<_, String>(1)?.parse() else { return Ok(None) };
    Ok(Some(Cached { origin: Origin { upstream: row.get(0)?, repository }, checked: Timestamp(row.get(2)?) }))
}

/// Whether a manifest that was pushed names one of these.
fn is_named_by_pushed(connection: &Connection, repository: i64, digests: &[Digest]) -> rusqlite::Result<bool> {
    let mut named = connection.prepare_cached(
        "SELECT 1 FROM manifest_references r WHERE r.repository_id = ?1 AND r.digest = ?2
           AND NOT EXISTS (SELECT 1 FROM cached_manifests c WHERE c.manifest_id = r.manifest_id)",
    )?;
    for digest in digests {
        if named.exists((repository, digest.hash()))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A manifest was pushed: it, and all that it names, is no longer there because it was pulled.
pub(super) fn adopt(connection: &Connection, repository: i64, manifest: i64) -> rusqlite::Result<()> {
    // Most repositories hold nothing of the kind.
    let any =
        "SELECT 1 FROM cached_manifests WHERE repository_id = ?1 UNION ALL SELECT 1 FROM cached_blobs WHERE repository_id = ?1";
    if !connection.prepare_cached(any)?.exists([repository])? {
        return Ok(());
    }
    let mut manifests = connection.prepare_cached("DELETE FROM cached_manifests WHERE manifest_id = ?1")?;
    let mut blobs = connection.prepare_cached(
        "DELETE FROM cached_blobs WHERE repository_id = ?1 AND blob_id IN (
             SELECT b.id FROM manifest_references r CROSS JOIN blobs b ON b.sha256 = r.digest WHERE r.manifest_id = ?2
             UNION SELECT a.blob_id FROM manifest_references r CROSS JOIN blob_aliases a ON a.digest = r.digest WHERE r.manifest_id = ?2)",
    )?;
    collection::walk_named(connection, repository, manifest, |id| {
        manifests.execute([id])?;
        blobs.execute((repository, id))?;
        Ok(true)
    })
}

pub(super) fn tag_checked(connection: &Connection, repository: &RepositoryName, tag: &Tag) -> rusqlite::Result<()> {
    let Some(id) = repository_id(connection, repository)? else { return Ok(()) };
    connection
        .prepare_cached("UPDATE cached_tags SET checked_at = ?3 WHERE repository_id = ?1 AND name = ?2")?
        .execute((id, tag.as_str(), Timestamp::now().0))
        .map(drop)
}

pub(super) fn drop_tag(connection: &Connection, repository: &RepositoryName, tag: &Tag) -> rusqlite::Result<bool> {
    let Some(id) = repository_id(connection, repository)? else { return Ok(false) };
    if !is_cached_tag(connection, id, tag)? {
        return Ok(false);
    }
    let now = Timestamp::now();
    manifests::delete_tag(connection, id, tag, now)?;
    make_collectable(connection, id, now)?;
    log(
        connection,
        "",
        now,
        &Entry { action: "evict.tag", repository: repository.as_str(), tag: Some(tag.as_str()), digest: None },
    )?;
    Ok(true)
}

pub(super) fn note_uses(connection: &Connection, uses: &[Use]) -> rusqlite::Result<()> {
    for used in uses {
        let at = used.at.0;
        let Some(repository) = repository_id(connection, &used.repository)? else { continue };
        match used.kind {
            // Content is kept once, so a use in one repository is one in all.
            CachedKind::Blob => {
                let Some(blob) = blobs::in_repository(connection, repository, &used.digest)? else { continue };
                connection
                    .prepare_cached("UPDATE cached_blobs SET used_at = max(used_at, ?2) WHERE blob_id = ?1")?
                    .execute((blob.id, at))?;
            }
            CachedKind::Manifest => {
                let column = if used.digest.algorithm() == Algorithm::Sha512 { "sha512" } else { "sha256" };
                let sql = format!(
                    "UPDATE cached_manifests SET used_at = max(used_at, ?3)
                     WHERE manifest_id = (SELECT id FROM manifests WHERE repository_id = ?1 AND {column} = ?2)"
                );
                connection.prepare_cached(&sql)?.execute((repository, used.digest.hash(), at))?;
            }
        }
    }
    Ok(())
}

pub(super) fn bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let sum = |sql| connection.prepare_cached(sql)?.query_row([], |row| size(row, 0));
    // What was pushed to some other repository as well would stay in any case.
    let blobs: u64 = sum("SELECT coalesce(sum(b.size), 0) FROM blobs b WHERE b.id IN (SELECT blob_id FROM cached_blobs)
           AND NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.blob_id = b.id AND NOT EXISTS
                           (SELECT 1 FROM cached_blobs c WHERE c.repository_id = l.repository_id AND c.blob_id = l.blob_id))")?;
    Ok(blobs + sum("SELECT coalesce(sum(length(m.bytes)), 0) FROM cached_manifests c JOIN manifests m ON m.id = c.manifest_id")?)
}

pub(super) fn least_used(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<CachedContent>> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM (SELECT 0, c.blob_id, r.name, b.sha256, NULL, b.size, c.fetched_at, c.used_at
                        FROM cached_blobs c JOIN blobs b ON b.id = c.blob_id JOIN repositories r ON r.id = c.repository_id
                        ORDER BY c.used_at LIMIT ?1)
         UNION ALL
         SELECT * FROM (SELECT 1, c.manifest_id, r.name, m.sha256, m.sha512, length(m.bytes), c.fetched_at, c.used_at
                        FROM cached_manifests c JOIN manifests m ON m.id = c.manifest_id JOIN repositories r ON r.id = c.repository_id
                        ORDER BY c.used_at LIMIT ?1)
         ORDER BY 8 LIMIT ?1",
    )?;
    let mut rows = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let Ok(repository) = row.get::<_, String>(2)?.parse() else { continue };
        let (id, sha256) = (row.get(1)?, digest_column(row, 3)?);
        let (kind, digests) = match row.get::<_, i64>(0)? {
            0 => (CachedKind::Blob, blobs::digests(connection, id, sha256)?),
            _ => (CachedKind::Manifest, vec![sha256, digest_column(row, 4)?]),
        };
        let (fetched, used) = (Timestamp(row.get(6)?), Timestamp(row.get(7)?));
        found.push(CachedContent { repository, kind, id, digests, size: size(row, 5)?, fetched, used });
    }
    Ok(found)
}

pub(super) fn evict(connection: &Connection, content: &[CachedContent]) -> rusqlite::Result<Evicted> {
    let now = Timestamp::now();
    let mut evicted = Evicted::default();
    // An unchanged time says that nobody used it, and a row at all that nobody pushed it, since it was found.
    let mut blob =
        connection.prepare_cached("SELECT 1 FROM cached_blobs WHERE repository_id = ?1 AND blob_id = ?2 AND used_at = ?3")?;
    let mut manifest = connection
        .prepare_cached("SELECT 1 FROM cached_manifests WHERE repository_id = ?1 AND manifest_id = ?2 AND used_at = ?3")?;
    for item in content {
        let Some(repository) = repository_id(connection, &item.repository)? else { continue };
        let stands = match item.kind {
            CachedKind::Blob => &mut blob,
            CachedKind::Manifest => &mut manifest,
        };
        if !stands.exists((repository, item.id, item.used.0))? {
            continue;
        }
        let action = match item.kind {
            CachedKind::Blob => {
                blobs::unlink(connection, repository, item.id)?;
                "evict.blob"
            }
            CachedKind::Manifest => {
                let tags = manifests::remove(connection, repository, item.id, now)?;
                evicted.tags.extend(tags.into_iter().map(|tag| (item.repository.clone(), tag)));
                "evict.manifest"
            }
        };
        make_collectable(connection, repository, now)?;
        log(
            connection,
            "",
            now,
            &Entry { action, repository: item.repository.as_str(), tag: None, digest: item.digests.first() },
        )?;
        evicted.count += 1;
    }
    Ok(evicted)
}
