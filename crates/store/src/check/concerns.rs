//! Who suffers from what is wrong.

use rusqlite::Connection;
use wharf_oci::Digest;

/// Names listed with one finding.
const LISTED: usize = 8;

/// Manifests that name a digest, and all that lead to these: each arm has an index to go by when the repository is given.
const ABOVE: &str = "WITH RECURSIVE up (id) AS (
     SELECT r.manifest_id FROM repositories p CROSS JOIN manifest_references r ON r.repository_id = p.id AND r.digest = ?1
     UNION
     SELECT r.manifest_id FROM up CROSS JOIN manifests m ON m.id = up.id
         CROSS JOIN manifest_references r ON r.repository_id = m.repository_id AND r.digest IN (m.sha256, m.sha512))";

/// Names, and how many there are beyond those.
pub(super) struct Concerns {
    pub(super) names: Vec<String>,
    pub(super) more: u64,
}

impl Concerns {
    pub(super) fn of(mut names: Vec<String>) -> Self {
        names.sort();
        names.dedup();
        let more = names.len().saturating_sub(LISTED) as u64;
        names.truncate(LISTED);
        Self { names, more }
    }

    /// The first few of them, for a sentence.
    pub(super) fn first(&self) -> &str {
        self.names.first().map_or("the image", String::as_str)
    }
}

/// Tags that lead to a blob or manifest by any of its digests; where there are none the manifests that name it, and else the repositories that hold it.
pub(super) fn of_digests(connection: &Connection, digests: &[Digest]) -> rusqlite::Result<Concerns> {
    let tags = format!(
        "{ABOVE} SELECT p.name || ':' || t.name FROM up CROSS JOIN tags t ON t.manifest_id = up.id JOIN repositories p ON p.id = t.repository_id"
    );
    let names = names(connection, &tags, digests)?;
    if !names.is_empty() {
        return Ok(Concerns::of(names));
    }
    let manifests = format!(
        "{ABOVE} SELECT p.name || '@sha256:' || lower(hex(m.sha256)) FROM up JOIN manifests m ON m.id = up.id
         JOIN repositories p ON p.id = m.repository_id"
    );
    let names = self::names(connection, &manifests, digests)?;
    if !names.is_empty() {
        return Ok(Concerns::of(names));
    }
    let holders =
        "SELECT p.name FROM blobs b JOIN repository_blobs l ON l.blob_id = b.id JOIN repositories p ON p.id = l.repository_id
                   WHERE b.sha256 = ?1";
    Ok(Concerns::of(self::names(connection, holders, digests)?))
}

/// Tags that lead to a manifest, directly or through others; where there are none the manifest itself.
pub(super) fn of_manifest(connection: &Connection, id: i64, repository: &str, sha256: &Digest) -> rusqlite::Result<Concerns> {
    let sql = "WITH RECURSIVE up (id) AS (SELECT ?1 UNION
         SELECT r.manifest_id FROM up CROSS JOIN manifests m ON m.id = up.id
             CROSS JOIN manifest_references r ON r.repository_id = m.repository_id AND r.digest IN (m.sha256, m.sha512))
         SELECT p.name || ':' || t.name FROM up CROSS JOIN tags t ON t.manifest_id = up.id JOIN repositories p ON p.id = t.repository_id";
    let tags = connection.prepare_cached(sql)?.query_map([id], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(Concerns::of(if tags.is_empty() { vec![format!("{repository}@{sha256}")] } else { tags }))
}

fn names(connection: &Connection, sql: &str, digests: &[Digest]) -> rusqlite::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut statement = connection.prepare_cached(sql)?;
    for digest in digests {
        for name in statement.query_map([digest.hash()], |row| row.get(0))? {
            names.push(name?);
        }
    }
    Ok(names)
}
