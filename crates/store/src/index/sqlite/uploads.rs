//! Upload sessions.

use rusqlite::{Connection, OptionalExtension};
use wharf_oci::{RepositoryName, SavedState};

use super::{signed, size};
use crate::index::UploadRow;
use crate::{Location, Timestamp, UploadId};

const COLUMNS: &str = "id, repository, owner, location, offset, sha256_state, sha512_state, created_at, progressed_at";

pub(super) fn open(connection: &Connection, upload: &UploadRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO uploads (id, repository, owner, location, offset, sha256_state, sha512_state, created_at, progressed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING",
        )?
        .execute((
            upload.id.to_string(),
            upload.repository.as_str(),
            &*upload.owner,
            &upload.location.0,
            signed(upload.offset),
            upload.state.as_ref().map(|state| &state.sha256),
            upload.state.as_ref().and_then(|state| state.sha512.as_ref()),
            upload.created.0,
            upload.progressed.0,
        ))
        .map(drop)
}

/// Never brings a row back: the session may have become a blob meanwhile.
pub(super) fn save(connection: &Connection, upload: &UploadRow) -> rusqlite::Result<()> {
    let state = upload.state.as_ref();
    connection
        .prepare_cached("UPDATE uploads SET offset = ?2, sha256_state = ?3, sha512_state = ?4, progressed_at = ?5 WHERE id = ?1")?
        .execute((
            upload.id.to_string(),
            signed(upload.offset),
            state.map(|state| &state.sha256),
            state.and_then(|state| state.sha512.as_ref()),
            upload.progressed.0,
        ))
        .map(drop)
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<UploadRow>> {
    let (id, repository): (String, String) = (row.get(0)?, row.get(1)?);
    // Both were written from these types; a row that does not read back is somebody else's and left alone.
    let (Ok(id), Ok(repository)) = (id.parse(), repository.parse()) else { return Ok(None) };
    let sha256: Option<Vec<u8>> = row.get(5)?;
    let sha512 = row.get(6)?;
    Ok(Some(UploadRow {
        id,
        repository,
        owner: row.get::<_, String>(2)?.into(),
        location: Location(row.get(3)?),
        offset: size(row, 4)?,
        state: sha256.map(|sha256| SavedState { sha256, sha512 }),
        created: Timestamp(row.get(7)?),
        progressed: Timestamp(row.get(8)?),
    }))
}

pub(super) fn find(connection: &Connection, id: UploadId) -> rusqlite::Result<Option<UploadRow>> {
    let sql = format!("SELECT {COLUMNS} FROM uploads WHERE id = ?1");
    Ok(connection.prepare_cached(&sql)?.query_row([id.to_string()], row).optional()?.flatten())
}

pub(super) fn delete(connection: &Connection, id: UploadId) -> rusqlite::Result<bool> {
    Ok(connection.prepare_cached("DELETE FROM uploads WHERE id = ?1")?.execute([id.to_string()])? > 0)
}

pub(super) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection.prepare_cached("SELECT count(*) FROM uploads")?.query_row([], |row| size(row, 0))
}

pub(super) fn idle(connection: &Connection, before: Timestamp, limit: usize) -> rusqlite::Result<Vec<UploadRow>> {
    let sql = format!("SELECT {COLUMNS} FROM uploads WHERE progressed_at < ?1 ORDER BY progressed_at LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((before.0, limit as i64), row)?;
    rows.filter_map(Result::transpose).collect()
}

pub(super) fn repositories(
    connection: &Connection,
    opened: Timestamp,
    progressed: Timestamp,
) -> rusqlite::Result<Vec<RepositoryName>> {
    let mut statement =
        connection.prepare_cached("SELECT DISTINCT repository FROM uploads WHERE created_at < ?1 AND progressed_at > ?2")?;
    let names = statement.query_map((opened.0, progressed.0), |row| row.get::<_, String>(0))?;
    names.filter_map(|name| name.map(|name| name.parse().ok()).transpose()).collect()
}
