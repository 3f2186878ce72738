//! Manifests: their bytes, what the index notes of them, what they name; and the tags that lead to them.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension};
use wharf_oci::{Algorithm, Digest, Manifest, Need, RepositoryName};

use super::concerns::{Concerns, of_manifest};
use super::{CheckError, Finding, Kind, Missing, Report, Run};
use crate::repair::Repair;

struct Row {
    id: i64,
    repository: i64,
    name: String,
    sha256: Digest,
    sha512: Option<Digest>,
    media_type: String,
    subject: Option<Digest>,
    is_cached: bool,
    bytes: Vec<u8>,
}

/// What is noted of a manifest, as far as rules go by it.
#[derive(PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) sha512: Option<Digest>,
    pub(crate) subject: Option<Digest>,
    pub(crate) references: HashSet<Digest>,
}

impl Noted {
    /// What the bytes say.
    pub(crate) fn of(bytes: &[u8], manifest: &Manifest) -> Self {
        let references = manifest.references.iter().map(|reference| reference.digest).collect();
        Self { sha512: Some(Digest::of(Algorithm::Sha512, bytes)), subject: manifest.subject, references }
    }
}

impl Run<'_> {
    /// Looks at all manifests and tags, in one view of the index.
    pub(super) fn manifests(&mut self) -> Result<(), CheckError> {
        let view = self.connection.unchecked_transaction().map_err(CheckError::Index)?;
        let mut look = Look { view: &view, report: &mut self.report, missing: &mut self.missing, children: Vec::new() };
        look.all().and_then(|()| look.tags()).and_then(|()| look.absent_children()).map_err(CheckError::Index)
    }
}

struct Look<'a> {
    view: &'a Connection,
    report: &'a mut Report,
    missing: &'a mut Missing,
    /// Manifests that an index names and that are not there: which, and in what repository.
    children: Vec<(Digest, RepositoryName)>,
}

impl Look<'_> {
    fn all(&mut self) -> rusqlite::Result<()> {
        let view = self.view;
        let mut statement = view.prepare(
            "SELECT m.id, m.repository_id, p.name, m.sha256, m.sha512, m.media_type, m.subject,
                    EXISTS (SELECT 1 FROM cached_manifests c WHERE c.manifest_id = m.id), m.bytes
             FROM manifests m JOIN repositories p ON p.id = m.repository_id ORDER BY m.id",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let optional = |column| -> rusqlite::Result<_> {
                Ok(row.get::<_, Option<Vec<u8>>>(column)?.and_then(|hash| Digest::from_hash_of_any_length(&hash)))
            };
            self.one(&Row {
                id: row.get(0)?,
                repository: row.get(1)?,
                name: row.get(2)?,
                sha256: crate::index::digest(row, 3)?,
                sha512: optional(4)?,
                media_type: row.get(5)?,
                subject: optional(6)?,
                is_cached: row.get(7)?,
                bytes: row.get(8)?,
            })?;
        }
        Ok(())
    }

    fn one(&mut self, row: &Row) -> rusqlite::Result<()> {
        self.report.manifests += 1;
        // A name that was stored was a name.
        let Ok(repository) = row.name.parse::<RepositoryName>() else { return Ok(()) };
        if Digest::sha256(&row.bytes) != row.sha256 {
            let concerns = of_manifest(self.view, row.id, &row.name, &row.sha256)?;
            let what = format!("manifest {}: its bytes have another digest", row.sha256);
            let mend = "--repair removes it with its tags; then push it again".to_owned();
            let repair = Some(Repair::RemoveManifest { repository, digest: row.sha256 });
            self.found(Kind::ManifestAltered, what, concerns, mend, repair, true);
            return Ok(());
        }
        // Bytes that an older program took, and this one does not understand, say nothing that could be compared.
        let Ok(manifest) = Manifest::parse(&row.bytes, &row.media_type) else { return Ok(()) };
        let noted = Noted { sha512: row.sha512, subject: row.subject, references: references(self.view, row.id)? };
        if noted != Noted::of(&row.bytes, &manifest) {
            let concerns = of_manifest(self.view, row.id, &row.name, &row.sha256)?;
            let what = format!("manifest {}: the index notes other things of it than its bytes say", row.sha256);
            let repair = Some(Repair::Derive { repository: repository.clone(), digest: row.sha256 });
            self.found(Kind::ManifestNotes, what, concerns, "--repair notes them anew".to_owned(), repair, false);
        }
        // What came from an upstream may name what nobody has asked for yet.
        if row.is_cached {
            return Ok(());
        }
        for reference in manifest.references.iter().filter(|reference| reference.need != Need::Optional) {
            self.named(row, &repository, &reference.digest, reference.need)?;
        }
        Ok(())
    }

    fn named(&mut self, row: &Row, repository: &RepositoryName, digest: &Digest, need: Need) -> rusqlite::Result<()> {
        if has_manifest(self.view, row.repository, digest)? {
            return Ok(());
        }
        if need == Need::Child {
            self.children.push((*digest, repository.clone()));
            return Ok(());
        }
        let sql = match digest.algorithm() {
            Algorithm::Sha256 => "SELECT id, damaged FROM blobs WHERE sha256 = ?1",
            Algorithm::Sha512 => "SELECT id, damaged FROM blobs WHERE id = (SELECT blob_id FROM blob_aliases WHERE digest = ?1)",
        };
        let blob = self.view.prepare_cached(sql)?.query_row([digest.hash()], |blob| Ok((blob.get::<_, i64>(0)?, blob.get(1)?)));
        match blob.optional()? {
            Some((id, false)) => {
                let sql = "SELECT 1 FROM repository_blobs WHERE repository_id = ?1 AND blob_id = ?2";
                if self.view.prepare_cached(sql)?.exists((row.repository, id))? {
                    return Ok(());
                }
                let concerns = of_manifest(self.view, row.id, &row.name, &row.sha256)?;
                let what = format!("blob {digest}: {} names it, and holds it no longer", row.name);
                let repair = Some(Repair::Link { repository: repository.clone(), digest: *digest });
                self.found(Kind::Unlinked, what, concerns, "--repair lets it hold the blob again".to_owned(), repair, false);
            }
            // It came with an index that was pulled through and then pushed: its content comes when it is asked for.
            None if came_from_upstream(self.view, &row.name, &row.sha256)? => {}
            _ => {
                let named_by = self.missing.entry(*digest).or_default();
                if !named_by.contains(repository) {
                    named_by.push(repository.clone());
                }
            }
        }
        Ok(())
    }

    /// An index's manifest may be deleted, or never have been pushed where that is allowed. One that was stored, and of whose end the log knows nothing, was lost.
    fn absent_children(&mut self) -> rusqlite::Result<()> {
        if self.children.is_empty() {
            return Ok(());
        }
        let mut last: HashMap<(Digest, RepositoryName), bool> =
            self.children.iter().map(|child| (child.clone(), false)).collect();
        let mut statement = self.view.prepare(
            "SELECT repository, digest, action FROM changes WHERE digest IS NOT NULL AND action IN
             ('manifest.put', 'manifest.delete', 'collect.manifest', 'cache.manifest', 'evict.manifest') ORDER BY sequence",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (repository, digest) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_blob()?);
            let (Ok(repository), Some(digest)) = (repository.parse(), Digest::from_hash_of_any_length(digest)) else { continue };
            if let Some(stored) = last.get_mut(&(digest, repository)) {
                *stored = row.get_ref(2)?.as_str()? == "manifest.put";
            }
        }
        let mut children: Vec<_> = last.into_iter().collect();
        children.sort_by_key(|((digest, repository), _)| (repository.to_string(), digest.to_string()));
        for ((digest, repository), was_stored) in children {
            if was_stored {
                let named_by = self.missing.entry(digest).or_default();
                named_by.push(repository);
            } else {
                self.report.notes.push(format!("{repository}@{digest} is named by an index and was deleted, or never pushed"));
            }
        }
        Ok(())
    }

    fn tags(&mut self) -> rusqlite::Result<()> {
        let view = self.view;
        let mut statement = view.prepare(
            "SELECT p.name, t.name, (SELECT c.digest FROM changes c WHERE c.repository = p.name AND c.tag = t.name AND c.action = 'tag.put'
                                     ORDER BY c.sequence DESC LIMIT 1)
             FROM tags t JOIN repositories p ON p.id = t.repository_id
             WHERE NOT EXISTS (SELECT 1 FROM manifests m WHERE m.id = t.manifest_id AND m.repository_id = t.repository_id)
             ORDER BY p.name, t.name",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (repository, tag): (String, String) = (row.get(0)?, row.get(1)?);
            let was = row.get::<_, Option<Vec<u8>>>(2)?.and_then(|hash| Digest::from_hash_of_any_length(&hash));
            let was = was.map(|digest| format!(" (it was {digest})")).unwrap_or_default();
            let name = format!("{repository}:{tag}");
            let what = format!("tag {name}: the manifest that it leads to is gone{was}");
            let (Ok(repository), Ok(tag)) = (repository.parse(), tag.parse()) else { continue };
            let mend = format!("--repair removes the tag; then push {name} again");
            let repair = Some(Repair::RemoveTag { repository, tag });
            self.found(Kind::Tag, what, Concerns::of(vec![name]), mend, repair, true);
        }
        Ok(())
    }

    fn found(&mut self, kind: Kind, what: String, concerns: Concerns, mend: String, repair: Option<Repair>, remains: bool) {
        let Concerns { names: concerns, more } = concerns;
        self.report.findings.push(Finding { kind, what, concerns, more, mend, repair, remains });
    }
}

/// What the index notes that a manifest names.
pub(crate) fn references(connection: &Connection, manifest: i64) -> rusqlite::Result<HashSet<Digest>> {
    let mut statement = connection.prepare_cached("SELECT digest FROM manifest_references WHERE manifest_id = ?1")?;
    statement.query_map([manifest], |row| crate::index::digest(row, 0))?.collect()
}

fn has_manifest(connection: &Connection, repository: i64, digest: &Digest) -> rusqlite::Result<bool> {
    let sql = match digest.algorithm() {
        Algorithm::Sha256 => "SELECT 1 FROM manifests WHERE repository_id = ?1 AND sha256 = ?2",
        Algorithm::Sha512 => "SELECT 1 FROM manifests WHERE repository_id = ?1 AND sha512 = ?2",
    };
    connection.prepare_cached(sql)?.exists((repository, digest.hash()))
}

/// Whether the log says that a manifest was pulled through, and nothing of a push; where it is too short to say, whether anything ever was.
fn came_from_upstream(connection: &Connection, repository: &str, digest: &Digest) -> rusqlite::Result<bool> {
    let sql = "SELECT action FROM changes WHERE digest = ?2 AND repository = ?1 AND action IN ('manifest.put', 'cache.manifest')
               ORDER BY sequence DESC LIMIT 1";
    let last =
        connection.prepare_cached(sql)?.query_row((repository, digest.hash()), |row| row.get::<_, String>(0)).optional()?;
    match last {
        Some(action) => Ok(action == "cache.manifest"),
        None => connection.prepare_cached("SELECT 1 FROM origins")?.exists([]),
    }
}
