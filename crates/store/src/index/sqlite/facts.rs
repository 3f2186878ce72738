//! Single values, sums and checks.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use crate::Timestamp;
use crate::index::Totals;

pub(super) fn totals(connection: &Connection) -> rusqlite::Result<Totals> {
    let count = |sql: &str| -> rusqlite::Result<u64> { connection.prepare_cached(sql)?.query_row([], |row| super::size(row, 0)) };
    Ok(Totals {
        repositories: count("SELECT count(*) FROM repositories WHERE manifests > 0")?,
        tags: count("SELECT count(*) FROM tags")?,
        manifests: count("SELECT coalesce(sum(manifests), 0) FROM repositories")?,
        blobs: count("SELECT count(*) FROM blobs")?,
        blob_bytes: count("SELECT coalesce(sum(size), 0) FROM blobs")?,
        uploads: count("SELECT count(*) FROM uploads")?,
        held_bytes: count("SELECT coalesce(sum(held_bytes), 0) FROM repositories")?,
    })
}

/// A point in time that is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fact {
    /// The server was alive.
    Alive,
    /// A collection ended.
    Collected,
}

impl Fact {
    fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive_at",
            Self::Collected => "collected_at",
        }
    }
}

/// Remembers that it is so now.
pub(super) fn note(connection: &Connection, fact: Fact) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute((fact.name(), Timestamp::now().0))
        .map(drop)
}

/// When it was so last.
pub(super) fn last(connection: &Connection, fact: Fact) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached("SELECT value FROM facts WHERE name = ?1")?
        .query_row([fact.name()], |row| Ok(Timestamp(row.get(0)?)))
        .optional()
}

pub(super) fn trim_changes(connection: &Connection, keep: Duration) -> rusqlite::Result<()> {
    // Sequence and time ascend together, so the oldest are found without reading the rest; a bounded number at a time keeps the writer free.
    connection
        .prepare_cached(
            "DELETE FROM changes WHERE sequence IN (SELECT sequence FROM changes ORDER BY sequence LIMIT 10000) AND at < ?1",
        )?
        .execute([Timestamp::now().before(keep).0])
        .map(drop)
}

pub(super) fn check(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("SELECT count(*) FROM facts", [], |_| Ok(()))
}
