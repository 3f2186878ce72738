//! The database as a database: its pages, its keys, its counts.

use super::{CheckError, Finding, Kind, Run};
use crate::repair::Repair;

/// Problems that the engine is asked for at most; one is enough to know what to do.
const PROBLEMS: u32 = 20;

/// Tables whose rows name others by their ids, and the condition for a row that names one that is not there.
pub(crate) const ORPHANS: [(&str, &str); 9] = [
    ("tags", "manifest_id NOT IN (SELECT id FROM manifests)"),
    ("manifest_references", "manifest_id NOT IN (SELECT id FROM manifests)"),
    ("cached_manifests", "manifest_id NOT IN (SELECT id FROM manifests) OR origin_id NOT IN (SELECT id FROM origins)"),
    ("repository_blobs", "blob_id NOT IN (SELECT id FROM blobs)"),
    ("blob_contents", "blob_id NOT IN (SELECT id FROM blobs)"),
    ("blob_aliases", "blob_id NOT IN (SELECT id FROM blobs)"),
    (
        "cached_blobs",
        "NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.repository_id = cached_blobs.repository_id AND l.blob_id = cached_blobs.blob_id)
         OR blob_id NOT IN (SELECT id FROM blobs) OR origin_id NOT IN (SELECT id FROM origins)",
    ),
    (
        "cached_tags",
        "NOT EXISTS (SELECT 1 FROM tags t WHERE t.repository_id = cached_tags.repository_id AND t.name = cached_tags.name)
         OR origin_id NOT IN (SELECT id FROM origins)",
    ),
    ("manifests", "repository_id NOT IN (SELECT id FROM repositories)"),
];

/// Repositories that rows name and that are not there. What they hold is whole, and has only lost its name.
pub(crate) const NAMELESS: &str = "SELECT repository_id FROM manifests UNION SELECT repository_id FROM repository_blobs
     UNION SELECT repository_id FROM tags EXCEPT SELECT id FROM repositories";

/// Repositories whose counts are wrong, with what they should be.
pub(crate) const COUNTS: &str = "SELECT * FROM (
     SELECT r.id, r.name, r.manifests, r.bytes, (SELECT count(*) FROM manifests m WHERE m.repository_id = r.id) AS manifests_now,
         (SELECT coalesce(sum(length(m.bytes)), 0) FROM manifests m WHERE m.repository_id = r.id)
         + (SELECT coalesce(sum(b.size), 0) FROM repository_blobs l JOIN blobs b ON b.id = l.blob_id WHERE l.repository_id = r.id) AS bytes_now
     FROM repositories r) WHERE manifests <> manifests_now OR bytes <> bytes_now";

/// A finding on the database itself.
pub(super) fn damaged(what: String, repair: Option<Repair>) -> Finding {
    let mend = match repair {
        Some(_) => "--repair builds the lookup tables of the index anew; the rows themselves are whole",
        None => {
            "stop the registry, move the storage folder aside, and `wharf restore` a backup; without one, `sqlite3 index.sqlite .recover` \
             may save a part. --repair does nothing else while the index is damaged"
        }
    };
    let remains = repair.is_none();
    Finding { kind: Kind::Index, what, concerns: Vec::new(), more: 0, mend: mend.to_owned(), repair, remains }
}

/// Whether the engine's word is about an index of the database, which can be made anew from its table.
fn is_about_a_lookup(problem: &str) -> bool {
    let known =
        ["missing from index ", "wrong # of entries in index ", "non-unique entry in index ", "in wrong order from index "];
    known.iter().any(|known| problem.contains(known))
}

impl Run<'_> {
    /// What SQLite says of its file.
    pub(super) fn database(&mut self) -> Result<(), CheckError> {
        let problems = self.integrity();
        let problems = match problems {
            Ok(problems) => problems,
            Err(error) if super::is_corrupt(&error) => vec![error.to_string()],
            Err(error) => return Err(CheckError::Index(error)),
        };
        if problems.is_empty() {
            return Ok(());
        }
        let repair = problems.iter().all(|problem| is_about_a_lookup(problem)).then_some(Repair::Reindex);
        let shown = problems.first().map_or("", |problem| problem.lines().next().unwrap_or_default());
        let more = if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
        self.report.findings.push(damaged(format!("the index is damaged: {shown}{more}"), repair));
        Ok(())
    }

    fn integrity(&self) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.connection.prepare(&format!("PRAGMA integrity_check({PROBLEMS})"))?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut problems = Vec::new();
        for line in lines {
            problems
                .extend(line?.lines().filter(|line| *line != "ok" && !line.starts_with("*** in database")).map(str::to_owned));
        }
        Ok(problems)
    }

    /// What there is, and what of it the keys and counts say wrongly.
    pub(super) fn sums(&mut self) -> Result<(), CheckError> {
        let mut findings = Vec::new();
        let view = self.connection.unchecked_transaction().map_err(CheckError::Index)?;
        let count = |sql: &str| view.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
        let mut sums = || -> rusqlite::Result<()> {
            self.report.repositories = count("SELECT count(*) FROM repositories")?;
            self.report.tags = count("SELECT count(*) FROM tags")?;
            self.report.uploads = count("SELECT count(*) FROM uploads")?;
            self.report.doomed = count("SELECT count(*) FROM doomed")?;
            self.seen.of_blobs = count("SELECT count(*) FROM blobs WHERE NOT damaged")?;
            self.seen.of_bytes = count("SELECT coalesce(sum(size), 0) FROM blobs WHERE NOT damaged")?;
            let nameless = count(&format!("SELECT count(*) FROM ({NAMELESS})"))?;
            if nameless > 0 {
                findings.push(orphans(
                    format!("{nameless} repositories have lost their names; what they hold is still there"),
                    "--repair gives them the names that the change log has for them, or lost/NUMBER",
                ));
            }
            // Tags are told one by one, with their names.
            let of_known = |(table, _): &&(&str, &str)| !matches!(*table, "tags" | "manifests");
            for (table, condition) in ORPHANS.iter().filter(of_known) {
                // A part of the schema that an older program has not made yet.
                let exists = view.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = ?1")?.exists([table])?;
                let rows = if exists { count(&format!("SELECT count(*) FROM {table} WHERE {condition}"))? } else { 0 };
                if rows > 0 {
                    let what = format!("{rows} rows of the index's {table} belong to rows that are gone");
                    findings.push(orphans(what, "--repair removes them; they stand for nothing any more"));
                }
            }
            let mut wrong = view.prepare(COUNTS)?;
            let names = wrong.query_map([], |row| row.get::<_, String>(1))?.collect::<rusqlite::Result<Vec<_>>>()?;
            for name in names {
                findings.push(Finding {
                    kind: Kind::Count,
                    what: format!("the counts of {name} are not those of its content"),
                    concerns: vec![name],
                    more: 0,
                    mend: "--repair counts again".to_owned(),
                    repair: Some(Repair::Recount),
                    remains: false,
                });
            }
            Ok(())
        };
        sums().map_err(CheckError::Index)?;
        drop(view);
        self.report.quarantined = super::files::count(&self.root.join("quarantine"));
        self.report.findings.append(&mut findings);
        Ok(())
    }
}

fn orphans(what: String, mend: &str) -> Finding {
    let repair = Some(Repair::RemoveOrphans);
    Finding { kind: Kind::Orphans, what, concerns: Vec::new(), more: 0, mend: mend.to_owned(), repair, remains: false }
}
