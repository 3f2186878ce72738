//! Manifests, their tags and what they name.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};
use wharf_oci::{Algorithm, Digest, Manifest, Need, Reference, RepositoryName, Tag};

use super::{
    Entry, blobs, cached, collection, digest as digest_column, ensure_repository, log, make_collectable, repository_id, signed,
};
use crate::Timestamp;
use crate::index::{ManifestDeletion, ManifestRecord, NewManifest, PutOutcome};

/// The row of a manifest in a repository.
fn id_by_digest(connection: &Connection, repository: i64, digest: &Digest) -> rusqlite::Result<Option<i64>> {
    let sql = match digest.algorithm() {
        Algorithm::Sha256 => "SELECT id FROM manifests WHERE repository_id = ?1 AND sha256 = ?2",
        Algorithm::Sha512 => "SELECT id FROM manifests WHERE repository_id = ?1 AND sha512 = ?2",
    };
    connection.prepare_cached(sql)?.query_row((repository, digest.hash()), |row| row.get(0)).optional()
}

fn id_by_tag(connection: &Connection, repository: i64, tag: &Tag) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT manifest_id FROM tags WHERE repository_id = ?1 AND name = ?2")?
        .query_row((repository, tag.as_str()), |row| row.get(0))
        .optional()
}

/// Both digests of a manifest.
fn digests(connection: &Connection, id: i64) -> rusqlite::Result<[Digest; 2]> {
    connection
        .prepare_cached("SELECT sha256, sha512 FROM manifests WHERE id = ?1")?
        .query_row([id], |row| Ok([digest_column(row, 0)?, digest_column(row, 1)?]))
}

pub(super) fn find(
    connection: &Connection,
    repository: &RepositoryName,
    reference: &Reference,
) -> rusqlite::Result<Option<ManifestRecord>> {
    let Some(repository) = repository_id(connection, repository)? else { return Ok(None) };
    let id = match reference {
        Reference::Tag(tag) => id_by_tag(connection, repository, tag)?,
        Reference::Digest(digest) => id_by_digest(connection, repository, digest)?,
    };
    let Some(id) = id else { return Ok(None) };
    let cached = match reference {
        Reference::Tag(tag) => cached::of_tag(connection, repository, tag)?,
        Reference::Digest(_) => cached::of_manifest(connection, id)?,
    };
    connection
        .prepare_cached("SELECT sha256, media_type, bytes FROM manifests WHERE id = ?1")?
        .query_row([id], |row| {
            let digest = match reference {
                Reference::Digest(digest) => *digest,
                Reference::Tag(_) => digest_column(row, 0)?,
            };
            Ok(ManifestRecord { digest, media_type: row.get(1)?, bytes: Bytes::from(row.get::<_, Vec<u8>>(2)?), cached })
        })
        .optional()
}

pub(super) fn put(connection: &Connection, new: &NewManifest) -> rusqlite::Result<PutOutcome> {
    let now = Timestamp::now();
    // A push that is refused leaves nothing behind, not even the repository's name. No row has the id 0.
    let known = repository_id(connection, &new.repository)?.unwrap_or(0);
    if let Some(current) = failed_condition(connection, known, new)? {
        return Ok(PutOutcome::ConditionFailed(current));
    }
    let stored = stored(connection, known, &new.sha256)?;
    if let Some((_, media_type)) = &stored
        && *media_type != new.manifest.media_type
    {
        // A client's mistake, then or now, and answers under other tags must not change.
        return Ok(PutOutcome::OtherMediaType(media_type.clone()));
    }
    let missing = if new.origin.is_none() { missing(connection, known, new)? } else { Vec::new() };
    if !missing.is_empty() {
        return Ok(PutOutcome::Missing(missing));
    }
    let repository = ensure_repository(connection, &new.repository, now)?;
    let id = match stored {
        // Taken as pushed again now.
        Some((id, _)) if new.origin.is_some() => id,
        Some((id, _)) => {
            connection.prepare_cached("UPDATE manifests SET pushed_at = ?2 WHERE id = ?1")?.execute((id, now.0))?;
            id
        }
        None => store(connection, repository, new, now)?,
    };
    for tag in &new.tags {
        let action = match &new.origin {
            None => {
                point(connection, repository, tag, id, now)?;
                cached::unmark_tag(connection, repository, tag)?;
                "tag.put"
            }
            // What was pushed is never replaced by what somebody else has under the name.
            Some(_)
                if id_by_tag(connection, repository, tag)?.is_some() && !cached::is_cached_tag(connection, repository, tag)? =>
            {
                continue;
            }
            Some(origin) => {
                point(connection, repository, tag, id, now)?;
                cached::mark_tag(connection, repository, tag, origin, now)?;
                "cache.tag"
            }
        };
        let entry = Entry { action, repository: new.repository.as_str(), tag: Some(tag.as_str()), digest: Some(&new.sha256) };
        log(connection, &new.actor, now, &entry)?;
    }
    if new.origin.is_none() {
        cached::adopt(connection, repository, id)?;
    }
    collection::hold(connection, repository, id)?;
    if new.tags.is_empty() {
        collection::let_go(connection, id, now)?;
    }
    make_collectable(connection, repository, now)?;
    Ok(PutOutcome::Stored)
}

/// What is named now where a precondition does not hold.
fn failed_condition(connection: &Connection, repository: i64, new: &NewManifest) -> rusqlite::Result<Option<Option<Digest>>> {
    if new.conditions.is_empty() {
        return Ok(None);
    }
    let named = if new.tags.is_empty() {
        vec![(id_by_digest(connection, repository, &new.sha256)?, false)]
    } else {
        let named = |tag| Ok((id_by_tag(connection, repository, tag)?, cached::is_cached_tag(connection, repository, tag)?));
        new.tags.iter().map(named).collect::<rusqlite::Result<_>>()?
    };
    for (id, is_cached) in named {
        let current = id.map(|id| digests(connection, id)).transpose()?;
        let holds = |current: Option<&[Digest; 2]>| new.conditions.iter().all(|condition| condition.holds(current));
        let is_met = holds(current.as_ref()) || (is_cached && holds(None));
        if !is_met {
            return Ok(Some(current.map(|[sha256, _]| sha256)));
        }
    }
    Ok(None)
}

/// What the manifest names, needs, and the repository does not hold.
fn missing(connection: &Connection, repository: i64, new: &NewManifest) -> rusqlite::Result<Vec<Digest>> {
    let mut missing = Vec::new();
    for reference in &new.manifest.references {
        let digest = &reference.digest;
        let is_there = match reference.need {
            Need::Optional => true,
            Need::Child => new.sparse || id_by_digest(connection, repository, digest)?.is_some(),
            Need::Required => {
                blobs::in_repository(connection, repository, digest)?.is_some()
                    || id_by_digest(connection, repository, digest)?.is_some()
            }
        };
        if !is_there {
            missing.push(*digest);
        }
    }
    Ok(missing)
}

/// The row and the media type of the manifest with this digest, if it is stored.
fn stored(connection: &Connection, repository: i64, sha256: &Digest) -> rusqlite::Result<Option<(i64, String)>> {
    connection
        .prepare_cached("SELECT id, media_type FROM manifests WHERE repository_id = ?1 AND sha256 = ?2")?
        .query_row((repository, sha256.hash()), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// Stores the manifest itself and what it names.
fn store(connection: &Connection, repository: i64, new: &NewManifest, now: Timestamp) -> rusqlite::Result<i64> {
    let manifest = &new.manifest;
    let id = connection
        .prepare_cached(
            "INSERT INTO manifests
                 (repository_id, sha256, sha512, media_type, bytes, subject, artifact_type, annotations, pushed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .insert((
            repository,
            new.sha256.hash(),
            new.sha512.hash(),
            &manifest.media_type,
            &new.bytes[..],
            manifest.subject.as_ref().map(Digest::hash),
            &manifest.artifact_type,
            &manifest.annotations,
            now.0,
        ))?;
    note_names(connection, repository, id, manifest)?;
    connection
        .prepare_cached("UPDATE repositories SET manifests = manifests + 1, bytes = bytes + ?2 WHERE id = ?1")?
        .execute((repository, signed(new.bytes.len() as u64)))?;
    if let Some(origin) = &new.origin {
        cached::mark_manifest(connection, repository, id, &[new.sha256, new.sha512], origin, now)?;
    }
    let action = if new.origin.is_some() { "cache.manifest" } else { "manifest.put" };
    let entry = Entry { action, repository: new.repository.as_str(), tag: None, digest: Some(&new.sha256) };
    log(connection, &new.actor, now, &entry)?;
    Ok(id)
}

/// Notes what a manifest names.
pub(super) fn note_names(connection: &Connection, repository: i64, id: i64, manifest: &Manifest) -> rusqlite::Result<()> {
    let mut names = connection
        .prepare_cached("INSERT OR IGNORE INTO manifest_references (repository_id, digest, manifest_id) VALUES (?1, ?2, ?3)")?;
    manifest.references.iter().try_for_each(|reference| names.execute((repository, reference.digest.hash(), id)).map(drop))
}

/// Makes a tag point at a manifest. The one it pointed at before is let go.
fn point(connection: &Connection, repository: i64, tag: &Tag, manifest: i64, now: Timestamp) -> rusqlite::Result<()> {
    let before = id_by_tag(connection, repository, tag)?;
    connection
        .prepare_cached(
            "INSERT INTO tags (repository_id, name, manifest_id, updated_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (repository_id, name) DO UPDATE SET manifest_id = excluded.manifest_id, updated_at = excluded.updated_at",
        )?
        .execute((repository, tag.as_str(), manifest, now.0))?;
    match before {
        Some(before) if before != manifest => collection::let_go(connection, before, now),
        _ => Ok(()),
    }
}

fn remove_tag(connection: &Connection, repository: i64, tag: &Tag, manifest: i64, now: Timestamp) -> rusqlite::Result<()> {
    #[cfg(feature = "planted")]
    if crate::planted::Planted::Untag.is_on() {
        return Ok(());
    }
    connection.prepare_cached("DELETE FROM tags WHERE repository_id = ?1 AND name = ?2")?.execute((repository, tag.as_str()))?;
    collection::let_go(connection, manifest, now)
}

/// Removes a tag, if it is there.
pub(super) fn delete_tag(connection: &Connection, repository: i64, tag: &Tag, now: Timestamp) -> rusqlite::Result<()> {
    match id_by_tag(connection, repository, tag)? {
        Some(manifest) => remove_tag(connection, repository, tag, manifest, now),
        None => Ok(()),
    }
}

pub(super) fn delete(
    connection: &Connection,
    repository: &RepositoryName,
    reference: &Reference,
    actor: &str,
) -> rusqlite::Result<ManifestDeletion> {
    let now = Timestamp::now();
    let Some(id) = repository_id(connection, repository)? else { return Ok(ManifestDeletion::UnknownRepository) };
    let deletion = match reference {
        Reference::Tag(tag) => {
            let Some(manifest) = id_by_tag(connection, id, tag)? else { return Ok(ManifestDeletion::Unknown) };
            remove_tag(connection, id, tag, manifest, now)?;
            let entry = Entry { action: "tag.delete", repository: repository.as_str(), tag: Some(tag.as_str()), digest: None };
            log(connection, actor, now, &entry)?;
            ManifestDeletion::Deleted { digests: Vec::new(), tags: vec![tag.clone()] }
        }
        Reference::Digest(digest) => {
            let Some(manifest) = id_by_digest(connection, id, digest)? else { return Ok(ManifestDeletion::Unknown) };
            let digests = digests(connection, manifest)?;
            let tags = remove(connection, id, manifest, now)?;
            for tag in &tags {
                let entry = Entry {
                    action: "tag.delete",
                    repository: repository.as_str(),
                    tag: Some(tag.as_str()),
                    digest: Some(&digests[0]),
                };
                log(connection, actor, now, &entry)?;
            }
            let entry =
                Entry { action: "manifest.delete", repository: repository.as_str(), tag: None, digest: Some(&digests[0]) };
            log(connection, actor, now, &entry)?;
            ManifestDeletion::Deleted { digests: digests.to_vec(), tags }
        }
    };
    make_collectable(connection, id, now)?;
    Ok(deletion)
}

/// Removes a manifest and its tags, and lets go what it held.
pub(super) fn remove(connection: &Connection, repository: i64, manifest: i64, now: Timestamp) -> rusqlite::Result<Vec<Tag>> {
    collection::let_go_held_by(connection, repository, manifest, now)?;
    let mut tags = connection.prepare_cached("DELETE FROM tags WHERE manifest_id = ?1 RETURNING name")?;
    let tags = tags.query_map([manifest], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    connection.prepare_cached("DELETE FROM manifest_references WHERE manifest_id = ?1")?.execute([manifest])?;
    connection
        .prepare_cached(
            "UPDATE repositories SET manifests = manifests - 1, bytes = bytes - (SELECT length(bytes) FROM manifests WHERE id = ?2) WHERE id = ?1",
        )?
        .execute((repository, manifest))?;
    connection.prepare_cached("DELETE FROM manifests WHERE id = ?1")?.execute([manifest])?;
    // A tag was checked when it was put.
    Ok(tags.iter().filter_map(|tag| tag.parse().ok()).collect())
}
