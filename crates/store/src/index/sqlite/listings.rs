//! Listings, a page at a time.

use rusqlite::Connection;
use wharf_oci::{Digest, RepositoryName};

use super::{digest as digest_column, repository_id, size};
use crate::Timestamp;
use crate::index::{Change, Page, Referrer};

/// Takes the extra row off that tells whether there is more.
fn page<T>(mut items: Vec<T>, limit: usize) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}

fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

pub(super) fn tags(
    connection: &Connection,
    repository: &RepositoryName,
    after: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Option<Page<String>>> {
    let Some(repository) = repository_id(connection, repository)? else { return Ok(None) };
    let mut statement =
        connection.prepare_cached("SELECT name FROM tags WHERE repository_id = ?1 AND name > ?2 ORDER BY name LIMIT ?3")?;
    let rows = statement.query_map((repository, after.unwrap_or_default(), one_more(limit)), |row| row.get(0))?;
    Ok(Some(page(rows.collect::<rusqlite::Result<_>>()?, limit)))
}

pub(super) fn repositories(connection: &Connection, after: Option<&str>, limit: usize) -> rusqlite::Result<Page<String>> {
    let mut statement =
        connection.prepare_cached("SELECT name FROM repositories WHERE manifests > 0 AND name > ?1 ORDER BY name LIMIT ?2")?;
    let rows = statement.query_map((after.unwrap_or_default(), one_more(limit)), |row| row.get(0))?;
    Ok(page(rows.collect::<rusqlite::Result<_>>()?, limit))
}

pub(super) fn referrers(
    connection: &Connection,
    repository: &RepositoryName,
    subject: &Digest,
    artifact_type: Option<&str>,
    after: Option<&Digest>,
    limit: usize,
    room: usize,
) -> rusqlite::Result<Page<Referrer>> {
    let Some(repository) = repository_id(connection, repository)? else { return Ok(Page { items: Vec::new(), more: false }) };
    let mut statement = connection.prepare_cached(
        "SELECT sha256, media_type, length(bytes), artifact_type, annotations FROM manifests
         WHERE repository_id = ?1 AND subject = ?2 AND sha256 > ?3 AND (?4 IS NULL OR artifact_type = ?4)
         ORDER BY sha256 LIMIT ?5",
    )?;
    let after = after.map_or(&[][..], Digest::hash);
    let mut rows = statement.query((repository, subject.hash(), after, artifact_type, one_more(limit)))?;
    let (mut items, mut weight) = (Vec::new(), 0);
    // Annotations may be megabytes each: reading ends with the page, not with the limit.
    while let Some(row) = rows.next()? {
        if items.len() == limit {
            return Ok(Page { items, more: true });
        }
        let referrer = Referrer {
            digest: digest_column(row, 0)?,
            media_type: row.get(1)?,
            size: size(row, 2)?,
            artifact_type: row.get(3)?,
            annotations: row.get(4)?,
        };
        weight += referrer.weight();
        if weight > room && !items.is_empty() {
            return Ok(Page { items, more: true });
        }
        items.push(referrer);
    }
    Ok(Page { items, more: false })
}

pub(super) fn changes(connection: &Connection, after: i64, limit: usize) -> rusqlite::Result<Vec<Change>> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, at, actor, action, repository, tag, digest FROM changes WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
    )?;
    let rows = statement.query_map((after, limit as i64), |row| {
        Ok(Change {
            sequence: row.get(0)?,
            at: Timestamp(row.get(1)?),
            actor: row.get(2)?,
            action: row.get(3)?,
            repository: row.get(4)?,
            tag: row.get(5)?,
            digest: row.get::<_, Option<Vec<u8>>>(6)?.and_then(|bytes| Digest::from_hash_of_any_length(&bytes)),
        })
    })?;
    rows.collect()
}
