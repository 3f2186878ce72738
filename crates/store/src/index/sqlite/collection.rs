//! The index's side of collection: what is held, what is not, and since when.
//!
//! A manifest is held by a tag, by a held manifest that names it, or by its subject when that is held. What came from an upstream holds itself: it goes by
//! eviction alone. `unheld_since` is set at once on what a change lets go directly; what hangs below that is found by [`mark`].

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension};
use wharf_oci::RepositoryName;

use super::{Entry, blobs, cached, digest as digest_column, log, manifests, repository_id, signed, size};
use crate::index::{UnheldManifest, UnnamedBlob};
use crate::{Location, Timestamp};

/// A manifest may have lost what held it.
pub(super) fn let_go(connection: &Connection, manifest: i64, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE manifests SET unheld_since = ?2
             WHERE id = ?1 AND unheld_since IS NULL AND NOT EXISTS (SELECT 1 FROM tags WHERE manifest_id = ?1)
               AND NOT EXISTS (SELECT 1 FROM cached_manifests WHERE manifest_id = ?1)",
        )?
        .execute((manifest, now.0))
        .map(drop)
}

/// What a manifest `?2` of the repository `?1` holds directly: what it names by either digest, and what is about it. Each arm has an index of its own to go by,
/// and `CROSS JOIN` keeps SQLite to that order.
const BELOW: &str = "
    SELECT m.id FROM manifest_references r CROSS JOIN manifests m ON m.repository_id = ?1 AND m.sha256 = r.digest WHERE r.manifest_id = ?2
    UNION ALL
    SELECT m.id FROM manifest_references r CROSS JOIN manifests m ON m.repository_id = ?1 AND m.sha512 = r.digest WHERE r.manifest_id = ?2
    UNION ALL
    SELECT m.id FROM manifests s CROSS JOIN manifests m ON m.repository_id = ?1 AND m.subject IN (s.sha256, s.sha512) WHERE s.id = ?2";

/// Of these what it names alone.
const NAMED: &str = "
    SELECT m.id FROM manifest_references r CROSS JOIN manifests m ON m.repository_id = ?1 AND m.sha256 = r.digest WHERE r.manifest_id = ?2
    UNION ALL
    SELECT m.id FROM manifest_references r CROSS JOIN manifests m ON m.repository_id = ?1 AND m.sha512 = r.digest WHERE r.manifest_id = ?2";

/// What holds a manifest `?2` of the repository `?1` directly, if it is held itself: whatever names it by either digest, and its subject.
const ABOVE: &str = "
    SELECT r.manifest_id FROM manifests m CROSS JOIN manifest_references r ON r.repository_id = ?1 AND r.digest = m.sha256 WHERE m.id = ?2
    UNION ALL
    SELECT r.manifest_id FROM manifests m CROSS JOIN manifest_references r ON r.repository_id = ?1 AND r.digest = m.sha512 WHERE m.id = ?2
    UNION ALL
    SELECT s.id FROM manifests m CROSS JOIN manifests s ON s.repository_id = ?1 AND s.sha256 = m.subject WHERE m.id = ?2
    UNION ALL
    SELECT s.id FROM manifests m CROSS JOIN manifests s ON s.repository_id = ?1 AND s.sha512 = m.subject WHERE m.id = ?2";

fn related(connection: &Connection, sql: &'static str, repository: i64, manifest: i64) -> rusqlite::Result<Vec<i64>> {
    connection.prepare_cached(sql)?.query_map((repository, manifest), |row| row.get(0))?.collect()
}

/// A manifest and all that can be reached from it by one of the statements above, until `each` answers false. Step by step: a recursive statement makes two
/// temporary tables, which cost more than the push of an image.
fn walk(
    connection: &Connection,
    sql: &'static str,
    repository: i64,
    manifest: i64,
    mut each: impl FnMut(i64) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    let (mut seen, mut ahead) = (HashSet::from([manifest]), vec![manifest]);
    while let Some(id) = ahead.pop() {
        if !each(id)? {
            return Ok(());
        }
        ahead.extend(related(connection, sql, repository, id)?.into_iter().filter(|id| seen.insert(*id)));
    }
    Ok(())
}

/// A manifest and all manifests that it leads to by what they name, whatever is about them, until `each` answers false.
pub(super) fn walk_named(
    connection: &Connection,
    repository: i64,
    manifest: i64,
    each: impl FnMut(i64) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    walk(connection, NAMED, repository, manifest, each)
}

/// A manifest goes: what it names and what is about it may have lost what held it.
pub(super) fn let_go_held_by(connection: &Connection, repository: i64, manifest: i64, now: Timestamp) -> rusqlite::Result<()> {
    related(connection, BELOW, repository, manifest)?.into_iter().try_for_each(|id| let_go(connection, id, now))
}

/// What follows in a recursive `held (id)` after its roots, with the repository as `?1`: what a held manifest names by either digest, and what is about it. Each
/// arm has an index of its own to go by, and `CROSS JOIN` keeps SQLite to that order: with the two digests in one `OR` it looks at every manifest of the
/// repository for each held one.
const BELOW_HELD: &str = "
    UNION SELECT m.id FROM held h CROSS JOIN manifest_references r ON r.manifest_id = h.id
          CROSS JOIN manifests m ON m.repository_id = ?1 AND m.sha256 = r.digest
    UNION SELECT m.id FROM held h CROSS JOIN manifest_references r ON r.manifest_id = h.id
          CROSS JOIN manifests m ON m.repository_id = ?1 AND m.sha512 = r.digest
    UNION SELECT m.id FROM held h CROSS JOIN manifests s ON s.id = h.id
          CROSS JOIN manifests m ON m.repository_id = ?1 AND m.subject IN (s.sha256, s.sha512)";

/// A manifest was pushed: the time of everything below it begins anew, and stands still while a tag holds it.
pub(super) fn hold(connection: &Connection, repository: i64, manifest: i64) -> rusqlite::Result<()> {
    let mut clear =
        connection.prepare_cached("UPDATE manifests SET unheld_since = NULL WHERE id = ?1 AND unheld_since IS NOT NULL")?;
    walk(connection, BELOW, repository, manifest, |id| clear.execute([id]).map(|_| true))
}

/// Whether a tag, or its being cached, holds a manifest, by itself or through whatever holds it.
fn is_held(connection: &Connection, repository: i64, manifest: i64) -> rusqlite::Result<bool> {
    let mut tagged = connection.prepare_cached(
        "SELECT 1 FROM tags WHERE manifest_id = ?1 UNION ALL SELECT 1 FROM cached_manifests WHERE manifest_id = ?1",
    )?;
    let mut held = false;
    walk(connection, ABOVE, repository, manifest, |id| {
        held = tagged.exists([id])?;
        Ok(!held)
    })?;
    Ok(held)
}

pub(super) fn repositories(
    connection: &Connection,
    due: Option<Timestamp>,
    after: Option<&RepositoryName>,
    limit: usize,
) -> rusqlite::Result<Vec<RepositoryName>> {
    let mut statement = connection.prepare_cached(
        "SELECT name FROM repositories
         WHERE collect_after IS NOT NULL AND (?1 IS NULL OR collect_after <= ?1) AND name > ?2 ORDER BY name LIMIT ?3",
    )?;
    let after = after.map_or("", RepositoryName::as_str);
    let names = statement.query_map((due.map(|due| due.0), after, limit as i64), |row| row.get::<_, String>(0))?;
    names.filter_map(|name| name.map(|name| name.parse().ok()).transpose()).collect()
}

/// What [`mark`] found.
pub(super) struct Marks {
    pub(super) unheld: Vec<UnheldManifest>,
    /// Rows whose `unheld_since` must be changed from the first to the second.
    pub(super) changed: Vec<(i64, Option<i64>, Option<i64>)>,
}

/// Works out what nothing holds. Read-only, so that a large repository does not keep the writer busy.
pub(super) fn mark(connection: &Connection, repository: &RepositoryName) -> rusqlite::Result<Marks> {
    let mut marks = Marks { unheld: Vec::new(), changed: Vec::new() };
    let Some(repository) = repository_id(connection, repository)? else { return Ok(marks) };
    let now = Timestamp::now();
    let sql = format!(
        "WITH RECURSIVE held (id) AS (
             SELECT manifest_id FROM tags WHERE repository_id = ?1
             UNION SELECT manifest_id FROM cached_manifests WHERE repository_id = ?1 {BELOW_HELD}) SELECT id FROM held"
    );
    let mut held = connection.prepare_cached(&sql)?;
    let held = held.query_map([repository], |row| row.get(0))?.collect::<rusqlite::Result<HashSet<i64>>>()?;
    // What hangs below something that was let go was let go with it: the latest of them counts.
    let mut all = connection.prepare_cached(
        "SELECT id, sha256, sha512, length(bytes), unheld_since,
                (SELECT max(p.unheld_since) FROM manifest_references r JOIN manifests p ON p.id = r.manifest_id
                 WHERE r.repository_id = ?1 AND r.digest IN (m.sha256, m.sha512)),
                (SELECT s.unheld_since FROM manifests s WHERE s.repository_id = ?1 AND s.sha256 = m.subject),
                (SELECT s.unheld_since FROM manifests s WHERE s.repository_id = ?1 AND s.sha512 = m.subject)
         FROM manifests m WHERE repository_id = ?1",
    )?;
    let mut rows = all.query([repository])?;
    while let Some(row) = rows.next()? {
        let (id, since): (i64, Option<i64>) = (row.get(0)?, row.get(4)?);
        if held.contains(&id) {
            if since.is_some() {
                marks.changed.push((id, since, None));
            }
            continue;
        }
        let above: Option<i64> = row.get::<_, Option<i64>>(5)?.max(row.get(6)?).max(row.get(7)?);
        let found = since.max(above).unwrap_or(now.0);
        if since != Some(found) {
            marks.changed.push((id, since, Some(found)));
        }
        marks.unheld.push(UnheldManifest {
            id,
            sha256: digest_column(row, 1)?,
            sha512: digest_column(row, 2)?,
            since: Timestamp(found),
            size: size(row, 3)?,
        });
    }
    Ok(marks)
}

pub(super) fn save_marks(connection: &Connection, changed: &[(i64, Option<i64>, Option<i64>)]) -> rusqlite::Result<()> {
    // Only where nothing happened since: a manifest that was tagged meanwhile stays held.
    let mut update = connection.prepare_cached("UPDATE manifests SET unheld_since = ?3 WHERE id = ?1 AND unheld_since IS ?2")?;
    for change in changed {
        update.execute(*change)?;
    }
    Ok(())
}

pub(super) fn delete_manifests(
    connection: &Connection,
    repository: &RepositoryName,
    found: &[UnheldManifest],
) -> rusqlite::Result<u64> {
    let now = Timestamp::now();
    let Some(id) = repository_id(connection, repository)? else { return Ok(0) };
    // An unchanged mark says that nothing pushed it, or what holds it, since it was found; and whatever the mark says, what a tag holds stays.
    let mut stands = connection
        .prepare_cached("SELECT 1 FROM manifests WHERE id = ?1 AND repository_id = ?2 AND sha256 = ?3 AND unheld_since = ?4")?;
    let mut count = 0;
    for manifest in found {
        if stands.exists((manifest.id, id, manifest.sha256.hash(), manifest.since.0))? && !is_held(connection, id, manifest.id)? {
            manifests::remove(connection, id, manifest.id, now)?;
            let entry =
                Entry { action: "collect.manifest", repository: repository.as_str(), tag: None, digest: Some(&manifest.sha256) };
            log(connection, "", now, &entry)?;
            count += 1;
        }
    }
    Ok(count)
}

pub(super) fn unnamed_blobs(
    connection: &Connection,
    repository: &RepositoryName,
    assumed_gone: &[i64],
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<UnnamedBlob>> {
    let Some(id) = repository_id(connection, repository)? else { return Ok(Vec::new()) };
    let gone = format!("[{}]", assumed_gone.iter().map(i64::to_string).collect::<Vec<_>>().join(","));
    let mut statement = connection.prepare_cached(
        "SELECT b.id, b.sha256, b.size, (SELECT count(*) FROM repository_blobs o WHERE o.blob_id = b.id)
         FROM repository_blobs l JOIN blobs b ON b.id = l.blob_id
         WHERE l.repository_id = ?1 AND l.blob_id > ?2
           AND NOT EXISTS (SELECT 1 FROM cached_blobs c WHERE c.repository_id = ?1 AND c.blob_id = b.id)
           AND NOT EXISTS (SELECT 1 FROM manifest_references r WHERE r.repository_id = ?1 AND r.digest = b.sha256
                           AND r.manifest_id NOT IN (SELECT value FROM json_each(?3)))
           AND NOT EXISTS (SELECT 1 FROM blob_aliases a CROSS JOIN manifest_references r ON r.repository_id = ?1 AND r.digest = a.digest
                           WHERE a.blob_id = b.id AND r.manifest_id NOT IN (SELECT value FROM json_each(?3)))
         ORDER BY l.blob_id LIMIT ?4",
    )?;
    let mut rows = statement.query((id, after, gone, limit as i64))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (blob, sha256) = (row.get(0)?, digest_column(row, 1)?);
        let digests = blobs::digests(connection, blob, sha256)?;
        found.push(UnnamedBlob { id: blob, digests, size: size(row, 2)?, held_by: size(row, 3)? });
    }
    Ok(found)
}

pub(super) fn unlink_blobs(connection: &Connection, repository: &RepositoryName, found: &[UnnamedBlob]) -> rusqlite::Result<u64> {
    let now = Timestamp::now();
    let Some(id) = repository_id(connection, repository)? else { return Ok(0) };
    let mut is_there = connection.prepare_cached("SELECT 1 FROM blobs WHERE id = ?1 AND sha256 = ?2")?;
    let mut count = 0;
    for blob in found {
        // Another name may have been given to the content since it was found.
        let Some(sha256) = blob.digests.first() else { continue };
        if !is_there.exists((blob.id, sha256.hash()))? {
            continue;
        }
        let digests = blobs::digests(connection, blob.id, *sha256)?;
        let is_named = blobs::is_named(connection, id, &digests)?;
        #[cfg(feature = "planted")]
        let is_named = is_named && !crate::planted::Planted::Unlink.is_on();
        if digests.iter().all(|digest| blob.digests.contains(digest))
            && !is_named
            && !cached::is_cached_blob(connection, id, blob.id)?
            && blobs::unlink(connection, id, blob.id)?
        {
            let entry =
                Entry { action: "collect.blob", repository: repository.as_str(), tag: None, digest: blob.digests.first() };
            log(connection, "", now, &entry)?;
            count += 1;
        }
    }
    Ok(count)
}

pub(super) fn finish(
    connection: &Connection,
    repository: &RepositoryName,
    started: Timestamp,
    again: Option<Timestamp>,
    held_bytes: u64,
) -> rusqlite::Result<()> {
    let Some(id) = repository_id(connection, repository)? else { return Ok(()) };
    let holds = |sql| -> rusqlite::Result<bool> { connection.prepare_cached(sql)?.exists([id]) };
    if !holds("SELECT 1 FROM repository_blobs WHERE repository_id = ?1")?
        && !holds("SELECT 1 FROM manifests WHERE repository_id = ?1")?
    {
        return connection.prepare_cached("DELETE FROM repositories WHERE id = ?1")?.execute([id]).map(drop);
    }
    connection.prepare_cached("UPDATE repositories SET held_bytes = ?2 WHERE id = ?1")?.execute((id, signed(held_bytes)))?;
    // A change during the run set a time not before its start: that one stays.
    connection
        .prepare_cached(
            "UPDATE repositories SET collect_after = ?3 WHERE id = ?1 AND (collect_after IS NULL OR collect_after < ?2)",
        )?
        .execute((id, started.0, again.map(|again| again.0)))
        .map(drop)
}

pub(super) fn doomed(connection: &Connection, after: Option<&Location>, limit: usize) -> rusqlite::Result<Vec<(Location, u64)>> {
    let after = after.map_or("", |location| &location.0);
    connection
        .prepare_cached("SELECT location, size FROM doomed WHERE location > ?1 ORDER BY location LIMIT ?2")?
        .query_map((after, limit as i64), |row| Ok((Location(row.get(0)?), size(row, 1)?)))?
        .collect()
}

pub(super) fn buried(connection: &Connection, locations: &[Location]) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM doomed WHERE location = ?1")?;
    locations.iter().try_for_each(|location| delete.execute([&location.0]).map(drop))
}

pub(super) fn unknown_locations(connection: &Connection, locations: Vec<Location>) -> rusqlite::Result<Vec<Location>> {
    let mut known = connection.prepare_cached(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM blobs WHERE location = ?1) OR EXISTS (SELECT 1 FROM uploads WHERE location = ?1)
                     OR EXISTS (SELECT 1 FROM doomed WHERE location = ?1)",
    )?;
    let mut unknown = Vec::new();
    for location in locations {
        if known.query_row([&location.0], |_| Ok(())).optional()?.is_none() {
            unknown.push(location);
        }
    }
    Ok(unknown)
}

#[cfg(test)]
mod tests {
    use wharf_oci::{Algorithm, Digest, Manifest, Reference, media_type};

    use super::*;
    use crate::index::{NewManifest, PutOutcome};

    /// With 8,000 manifests the marking of a repository took minutes when SQLite looked at all of them for each held one.
    #[test]
    fn what_is_held_is_found_by_digest() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&super::super::SCHEMA.concat()).unwrap();
        let steps = |sql: &str| -> Vec<String> {
            let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            plan.query_map((1, 1), |row| row.get(3)).unwrap().map(Result::unwrap).collect()
        };
        let held = steps(&format!("WITH RECURSIVE held (id) AS (SELECT ?2 {BELOW_HELD}) SELECT id FROM held WHERE ?1 = ?1"));
        let (below, above) = (steps(BELOW), steps(ABOVE));
        let by_digest = |table: &str, steps: &[String]| {
            let lookups: Vec<_> = steps.iter().filter(|step| step.starts_with(&format!("SEARCH {table} "))).cloned().collect();
            for step in &lookups {
                let columns = ["sha256=?", "sha512=?", "subject=?", "digest=?"];
                assert!(columns.iter().any(|column| step.contains(&format!("repository_id=? AND {column}"))), "{step}");
            }
            lookups.len()
        };
        assert_eq!(by_digest("m", &held), 3, "{held:#?}");
        assert_eq!(by_digest("m", &below), 3, "{below:#?}");
        assert_eq!((by_digest("r", &above), by_digest("s", &above)), (2, 2), "{above:#?}");
    }

    /// A mark that was found before a tag held the manifest, and noted after, made the collector delete the child of a tagged index.
    #[test]
    fn what_was_tagged_between_the_look_and_the_note_stays() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&super::super::SCHEMA.concat()).unwrap();
        let repository: RepositoryName = "a".parse().unwrap();
        let put = |text: &str, tags: &[&str]| {
            let new = NewManifest {
                repository: repository.clone(),
                bytes: text.to_owned().into(),
                manifest: std::sync::Arc::new(Manifest::parse(text.as_bytes(), "").unwrap()),
                sha256: Digest::sha256(text.as_bytes()),
                sha512: Digest::of(Algorithm::Sha512, text.as_bytes()),
                tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
                conditions: Vec::new(),
                sparse: false,
                actor: "".into(),
                origin: None,
            };
            assert_eq!(manifests::put(&connection, &new).unwrap(), PutOutcome::Stored);
            new.sha256
        };
        let child = format!(r#"{{"mediaType":"{}","manifests":[]}}"#, media_type::OCI_INDEX);
        let digest = put(&child, &["x"]);
        let entry = format!(r#"{{"mediaType":"{}","digest":"{digest}","size":{}}}"#, media_type::OCI_INDEX, child.len());
        let parent = format!(r#"{{"mediaType":"{}","manifests":[{entry}]}}"#, media_type::OCI_INDEX);
        put(&parent, &["y"]);
        // The child never lost a tag while nothing else held it, so it has no mark of its own.
        for tag in ["x", "y"] {
            manifests::delete(&connection, &repository, &Reference::Tag(tag.parse().unwrap()), "").unwrap();
        }
        connection.execute("UPDATE manifests SET unheld_since = NULL WHERE sha256 = ?1", [digest.hash()]).unwrap();
        let marks = mark(&connection, &repository).unwrap();
        assert_eq!(marks.unheld.len(), 2);
        put(&parent, &["z"]);
        save_marks(&connection, &marks.changed).unwrap();
        assert_eq!(delete_manifests(&connection, &repository, &marks.unheld).unwrap(), 0);
    }
}
