//! rpm: a SQLite database whose table `Packages` holds the header of each package (rpm, "Package format", Header).

use std::fs;
use std::path::PathBuf;

use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::{Content, MAX_FILE, Package, Role, add, package};
use crate::LayersError;

const FOLDERS: [&[u8]; 3] = [b"var/lib/rpm/", b"usr/lib/sysimage/rpm/", b"usr/share/rpm/"];
const DATABASE: &[u8] = b"rpmdb.sqlite";
/// What SQLite has not yet moved into the database.
pub(super) const LOG: &[u8] = b"rpmdb.sqlite-wal";

/// Tags of a header (rpm, "Tags").
mod tag {
    pub const NAME: u32 = 1000;
    pub const VERSION: u32 = 1001;
    pub const RELEASE: u32 = 1002;
    pub const EPOCH: u32 = 1003;
    pub const ARCH: u32 = 1022;
}
/// Types of a header's values.
const INT32: u32 = 4;
const STRING: u32 = 6;

/// Whether a file is of rpm's database.
pub(super) fn role(path: &[u8]) -> Option<Role> {
    match FOLDERS.iter().find_map(|folder| path.strip_prefix(*folder))? {
        DATABASE => Some(Role::RpmDatabase),
        LOG => Some(Role::RpmLog),
        b"Packages" => Some(Role::RpmOther("Berkeley DB")),
        b"Packages.db" => Some(Role::RpmOther("ndb")),
        _ => None,
    }
}

/// Databases in files of their own: SQLite reads files, and those of an image may be large.
#[derive(Default)]
pub(super) struct Databases {
    folder: Option<TempDir>,
}

impl Databases {
    pub(super) fn keep(&mut self, content: &Content, bytes: &[u8]) -> Result<(), LayersError> {
        let folder = match &mut self.folder {
            Some(folder) => folder,
            none => none.insert(tempfile::tempdir().map_err(LayersError::file("write into", std::env::temp_dir()))?),
        };
        let path = folder.path().join(hex::encode(content));
        fs::write(&path, bytes).map_err(LayersError::file("write", path))
    }

    fn path(&self, content: &Content) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.path().join(hex::encode(content)))
    }

    /// What a database lists, together with the log beside it.
    pub(super) fn packages(&self, database: &Content, log: Option<&Content>) -> Result<Vec<Package>, String> {
        let failed = |error: std::io::Error| format!("it cannot be read: {error}");
        // SQLite applies a log by writing, and what is kept must stay what its digest says.
        let folder = tempfile::tempdir().map_err(failed)?;
        let copy = |content: &Content, name: &[u8]| {
            let name = String::from_utf8_lossy(name).into_owned();
            let from = self.path(content).unwrap_or_default();
            fs::copy(from, folder.path().join(&name)).map(|_| folder.path().join(name)).map_err(failed)
        };
        let path = copy(database, DATABASE)?;
        if let Some(log) = log {
            copy(log, LOG)?;
        }
        read(&path)
    }
}

fn read(path: &std::path::Path) -> Result<Vec<Package>, String> {
    let wrong = |error: rusqlite::Error| format!("its database cannot be read: {error}");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(wrong)?;
    // A stranger's database may hold views and generated columns that compute without end.
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(MAX_FILE).unwrap_or(i32::MAX)).map_err(wrong)?;
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;").map_err(wrong)?;
    let is_table = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'Packages' AND rootpage > 0";
    let tables: i64 = connection.query_row(is_table, [], |row| row.get(0)).map_err(wrong)?;
    if tables == 0 {
        return Err("its database has no table of packages".to_owned());
    }
    let mut statement = connection.prepare("SELECT blob FROM Packages").map_err(wrong)?;
    let mut rows = statement.query([]).map_err(wrong)?;
    let mut packages = Vec::new();
    while let Some(row) = rows.next().map_err(wrong)? {
        let value = row.get_ref(0).map_err(wrong)?;
        let blob = value.as_blob().map_err(|_| "its database holds a package that is none".to_owned())?;
        add(&mut packages, header(blob)?)?;
    }
    Ok(packages)
}

/// The package that a header is of: numbers of entries and of bytes of data, big-endian as all that follows; the entries, each of a tag, a type,
/// a place in the data and a count; the data.
fn header(blob: &[u8]) -> Result<Package, String> {
    let damaged = || "its database holds a damaged header".to_owned();
    let (entries, length) = (number(blob, 0).ok_or_else(damaged)?, number(blob, 4).ok_or_else(damaged)?);
    let begin = usize::try_from(u64::from(entries) * 16 + 8).map_err(|_| damaged())?;
    let index = blob.get(8..begin).ok_or_else(damaged)?;
    let data = blob.get(begin..).filter(|data| data.len() as u64 >= u64::from(length)).ok_or_else(damaged)?;
    let find = |wanted: u32, kind: u32| {
        let mut entries = index.chunks_exact(16);
        let entry = entries.find(|entry| number(entry, 0) == Some(wanted) && number(entry, 4) == Some(kind))?;
        usize::try_from(number(entry, 8)?).ok()
    };
    let text = |tag: u32| match find(tag, STRING) {
        None => Ok(None),
        Some(offset) => {
            let rest = data.get(offset..).ok_or_else(damaged)?;
            let end = rest.iter().position(|byte| *byte == 0).ok_or_else(damaged)?;
            std::str::from_utf8(&rest[..end]).map(Some).map_err(|_| damaged())
        }
    };
    let name = text(tag::NAME)?.ok_or_else(damaged)?;
    let version = text(tag::VERSION)?.unwrap_or_default();
    let release = text(tag::RELEASE)?.unwrap_or_default();
    let epoch = match find(tag::EPOCH, INT32) {
        None => String::new(),
        Some(offset) => format!("{}:", number(data, offset).ok_or_else(damaged)?),
    };
    package(name, text(tag::ARCH)?, &format!("{epoch}{version}-{release}"))
}

fn number(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with these entries.
    fn written(entries: &[(u32, u32, &[u8])]) -> Vec<u8> {
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for (tag, kind, value) in entries {
            for number in [*tag, *kind, u32::try_from(data.len()).unwrap(), 1] {
                index.extend(number.to_be_bytes());
            }
            data.extend(*value);
        }
        let counts = [entries.len(), data.len()].map(|count| u32::try_from(count).unwrap().to_be_bytes());
        [counts.concat(), index, data].concat()
    }

    #[test]
    fn a_header_names_its_package() {
        let whole: [(u32, u32, &[u8]); 5] = [
            (tag::EPOCH, INT32, &7u32.to_be_bytes()),
            (tag::NAME, STRING, b"bash\0"),
            (tag::VERSION, STRING, b"5.2\0"),
            (tag::RELEASE, STRING, b"r0\0"),
            (tag::ARCH, STRING, b"core2_64\0"),
        ];
        let shown = |blob: &[u8]| header(blob).map(|(name, version)| format!("{name} {version}"));
        assert_eq!(shown(&written(&whole)).unwrap(), "bash:core2_64 7:5.2-r0");
        assert_eq!(shown(&written(&whole[1..4])).unwrap(), "bash 5.2-r0");
        assert!(shown(&written(&whole[2..])).is_err(), "no name");
        let blob = written(&whole);
        for length in 0..blob.len() {
            assert!(header(&blob[..length]).is_err(), "{length} bytes");
        }
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read_or_refused(mut blob in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400), entries in 0u8..30) {
            if let Some(count) = blob.get_mut(..8) {
                count.copy_from_slice(&[0, 0, 0, entries, 0, 0, 0, 1]);
            }
            for (place, tag) in (8..).step_by(16).zip([tag::NAME, tag::VERSION, tag::EPOCH, tag::ARCH]) {
                if let Some(entry) = blob.get_mut(place..place + 11) {
                    entry[..4].copy_from_slice(&tag.to_be_bytes());
                    entry[4..8].copy_from_slice(&(if tag == tag::EPOCH { INT32 } else { STRING }).to_be_bytes());
                    entry[8..11].fill(0);
                }
            }
            let _ = header(&blob);
        }
    }
}
