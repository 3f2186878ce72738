//! A reading connection to an index that somebody else may be using.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::CheckError;
use crate::index::{APPLICATION_ID, SCHEMA_VERSION};

/// How long a server that checkpoints or starts is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// Opens `root/index.sqlite` for reading. `alone`: nobody writes to it and it has no log, so that no file beside it is looked for, made or left.
pub(crate) fn open(root: &Path, alone: bool) -> Result<Connection, CheckError> {
    let path = root.join("index.sqlite");
    match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(CheckError::Nothing(root.to_owned())),
        Err(source) => return Err(CheckError::Unreadable { path, source }),
        // Or SQLite would say no more than that it cannot.
        Ok(_) => drop(std::fs::File::open(&path).map_err(|source| CheckError::Unreadable { path: path.clone(), source })?),
    }
    let connect = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = if alone {
            Connection::open_with_flags(immutable(&path), flags | OpenFlags::SQLITE_OPEN_URI)?
        } else {
            Connection::open_with_flags(&path, flags)?
        };
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    };
    let connection = connect().map_err(CheckError::Index)?;
    let (application, found) = version(&connection).map_err(CheckError::Index)?;
    if application != i64::from(APPLICATION_ID) {
        return Err(CheckError::Foreign(path));
    }
    if usize::try_from(found).is_ok_and(|found| found <= SCHEMA_VERSION) {
        Ok(connection)
    } else {
        Err(CheckError::Newer { found, known: SCHEMA_VERSION })
    }
}

/// Whose database it is, and its schema's version.
fn version(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let number = |name| connection.query_row(name, [], |row| row.get(0));
    Ok((number("PRAGMA application_id")?, number("PRAGMA user_version")?))
}

/// The address of a file that does not change (sqlite.org/uri.html).
fn immutable(path: &Path) -> String {
    let text = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{text}?immutable=1")
}

/// Whether the engine says that the file is damaged, or none of its own.
pub(crate) fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}
