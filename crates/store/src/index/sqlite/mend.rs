//! Putting right what a check has found wrong. Everything is looked at once more here, inside the transaction.

use rusqlite::{Connection, OptionalExtension};
use wharf_oci::{Digest, Manifest, RepositoryName, Tag};

use super::{Entry, blobs, log, make_collectable, manifests, repository_id};
use crate::Timestamp;
use crate::check::{COUNTS, NAMELESS, Noted, ORPHANS, references};
use crate::index::Mend;

/// Does it, if it is needed, and says what was done.
pub(super) fn mend(connection: &Connection, mend: &Mend) -> rusqlite::Result<Option<String>> {
    match mend {
        Mend::PutAside { digest } => put_aside(connection, digest),
        Mend::Link { repository, digest } => {
            let held = blobs::hold(connection, repository, digest)?;
            Ok(held.then(|| format!("{repository} holds blob {digest} again")))
        }
        Mend::RemoveManifest { repository, digest } => remove_manifest(connection, repository, digest),
        Mend::Derive { repository, digest } => derive(connection, repository, digest),
        Mend::RemoveTag { repository, tag } => remove_tag(connection, repository, tag),
        Mend::RemoveOrphans => remove_orphans(connection),
        Mend::Recount => {
            let counted = connection.execute(
                &format!(
                    "UPDATE repositories SET (manifests, bytes) = (SELECT manifests_now, bytes_now FROM ({COUNTS}) c WHERE c.id = repositories.id)
                     WHERE id IN (SELECT id FROM ({COUNTS}))"
                ),
                [],
            )?;
            Ok((counted > 0).then(|| format!("counted again what {counted} repositories hold")))
        }
        Mend::Reindex => {
            connection.execute_batch("REINDEX")?;
            Ok(Some("built the lookup tables of the index anew".to_owned()))
        }
    }
}

fn put_aside(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT c.content FROM blobs b LEFT JOIN blob_contents c ON c.blob_id = b.id
               WHERE b.sha256 = ?1 AND b.location IS NULL AND NOT b.damaged";
    let content: Option<Option<Vec<u8>>> = connection.query_row(sql, [digest.hash()], |row| row.get(0)).optional()?;
    match content {
        None => Ok(None),
        Some(Some(content)) if Digest::sha256(&content) == *digest => Ok(None),
        Some(_) => {
            blobs::damaged_here(connection, digest)?;
            Ok(Some(format!("put blob {digest} aside: it is not here until it is pushed again")))
        }
    }
}

/// A manifest's row with its bytes and media type.
type Found = (i64, i64, Vec<u8>, String);

fn manifest(connection: &Connection, repository: &RepositoryName, digest: &Digest) -> rusqlite::Result<Option<Found>> {
    let Some(repository) = repository_id(connection, repository)? else { return Ok(None) };
    let sql = "SELECT id, bytes, media_type FROM manifests WHERE repository_id = ?1 AND sha256 = ?2";
    let row =
        connection.query_row(sql, (repository, digest.hash()), |row| Ok((row.get(0)?, repository, row.get(1)?, row.get(2)?)));
    row.optional()
}

fn remove_manifest(connection: &Connection, repository: &RepositoryName, digest: &Digest) -> rusqlite::Result<Option<String>> {
    let Some((id, repository_id, bytes, _)) = manifest(connection, repository, digest)? else { return Ok(None) };
    if Digest::sha256(&bytes) == *digest {
        return Ok(None);
    }
    let now = Timestamp::now();
    let tags = manifests::remove(connection, repository_id, id, now)?;
    let entry = Entry { action: "manifest.delete", repository: repository.as_str(), tag: None, digest: Some(digest) };
    log(connection, "", now, &entry)?;
    make_collectable(connection, repository_id, now)?;
    let tags: Vec<_> = tags.iter().map(Tag::as_str).collect();
    let with = if tags.is_empty() { String::new() } else { format!(" with its tags {}", tags.join(", ")) };
    Ok(Some(format!("removed manifest {digest} of {repository}{with}")))
}

fn derive(connection: &Connection, repository: &RepositoryName, digest: &Digest) -> rusqlite::Result<Option<String>> {
    let Some((id, repository_id, bytes, media_type)) = manifest(connection, repository, digest)? else { return Ok(None) };
    let Ok(parsed) = Manifest::parse(&bytes, &media_type) else { return Ok(None) };
    if Digest::sha256(&bytes) != *digest {
        return Ok(None);
    }
    let right = Noted::of(&bytes, &parsed);
    connection
        .prepare("UPDATE manifests SET sha512 = ?2, subject = ?3, artifact_type = ?4, annotations = ?5 WHERE id = ?1")?
        .execute((
            id,
            right.sha512.as_ref().map(Digest::hash),
            right.subject.as_ref().map(Digest::hash),
            &parsed.artifact_type,
            &parsed.annotations,
        ))?;
    if references(connection, id)? != right.references {
        connection.execute("DELETE FROM manifest_references WHERE manifest_id = ?1", [id])?;
        manifests::note_names(connection, repository_id, id, &parsed)?;
    }
    make_collectable(connection, repository_id, Timestamp::now())?;
    Ok(Some(format!("noted anew what manifest {digest} of {repository} names")))
}

fn remove_tag(connection: &Connection, repository: &RepositoryName, tag: &Tag) -> rusqlite::Result<Option<String>> {
    let Some(id) = repository_id(connection, repository)? else { return Ok(None) };
    let removed = connection.execute(
        "DELETE FROM tags WHERE repository_id = ?1 AND name = ?2
         AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.id = manifest_id AND m.repository_id = ?1)",
        (id, tag.as_str()),
    )?;
    if removed == 0 {
        return Ok(None);
    }
    let now = Timestamp::now();
    let entry = Entry { action: "tag.delete", repository: repository.as_str(), tag: Some(tag.as_str()), digest: None };
    log(connection, "", now, &entry)?;
    make_collectable(connection, id, now)?;
    Ok(Some(format!("removed tag {repository}:{tag}, which led to no manifest")))
}

fn remove_orphans(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let mut done = Vec::new();
    let nameless =
        connection.prepare(NAMELESS)?.query_map([], |row| row.get::<_, i64>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    for id in nameless {
        let name = lost_name(connection, id)?;
        let sql = "INSERT INTO repositories (id, name, created_at, collect_after) VALUES (?1, ?2, ?3, ?3)";
        connection.execute(sql, (id, &name, Timestamp::now().0))?;
        done.push(format!("gave a repository without a name the name {name}"));
    }
    for (table, condition) in ORPHANS.iter().filter(|(table, _)| *table != "tags") {
        let removed = connection.execute(&format!("DELETE FROM {table} WHERE {condition}"), [])?;
        if removed > 0 {
            done.push(format!("removed {removed} rows of {table} that belonged to rows that are gone"));
        }
    }
    Ok((!done.is_empty()).then(|| done.join("; ")))
}

/// The name that a repository had, as the log of changes knows it from what it holds.
fn lost_name(connection: &Connection, id: i64) -> rusqlite::Result<String> {
    let sql = "SELECT c.repository FROM manifests m JOIN changes c ON c.digest = m.sha256 AND c.action IN ('manifest.put', 'cache.manifest')
               WHERE m.repository_id = ?1 AND c.repository NOT IN (SELECT name FROM repositories) ORDER BY c.sequence DESC LIMIT 1";
    let known = connection.query_row(sql, [id], |row| row.get(0)).optional()?;
    Ok(known.unwrap_or_else(|| format!("lost/{id}")))
}
