//! Entries of a table of contents.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use wharf_oci::Digest;

use crate::{Entry, Kind, Time};

/// What an entry of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TocKind {
    /// A regular file; with `chunk_size`, its first chunk as well.
    Reg,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// Another name of a file.
    Hardlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A further chunk of the regular file before it.
    Chunk,
}

/// An entry of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TocEntry {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: TocKind,
    /// Its name as in the archive.
    pub name: String,
    /// What a link refers to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub link_name: String,
    /// Permissions, and whatever else the archive has in that field.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mode: u64,
    /// Bytes of a regular file.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    /// Owner.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u64,
    /// Group.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u64,
    /// Time of the last change (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rfc3339")]
    pub modtime: Option<Time>,
    /// Time of the last access.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rfc3339")]
    pub accesstime: Option<Time>,
    /// Time of the last change of what is said of the file.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rfc3339")]
    pub changetime: Option<Time>,
    /// Major number of a device.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dev_major: u64,
    /// Minor number of a device.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dev_minor: u64,
    /// Extended attributes, the values in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xattrs: Option<BTreeMap<String, String>>,
    /// Digest of a file's content; none of an empty file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Where the content begins in the layer, compressed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: u64,
    /// Where it ends.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub end_offset: u64,
    /// Bytes of this chunk.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub chunk_size: u64,
    /// Where in the file it begins.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub chunk_offset: u64,
    /// Digest of its content.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chunk_digest: String,
    /// `zeros` for a chunk of nothing else.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chunk_type: String,
}

/// An entry as it is written: with owner, group and time under the names as well by which podman 4.3 looks for them. It tells upper from lower
/// case and has these three wrong, so that without them all files come to belong to root and to be of now. Readers that do not tell the cases apart find
/// the same twice, others pass over names that they do not know.
#[derive(Debug, Serialize)]
pub(crate) struct Written<'a> {
    #[serde(flatten)]
    entry: &'a TocEntry,
    #[serde(rename = "UID", skip_serializing_if = "is_zero")]
    uid: u64,
    #[serde(rename = "GID", skip_serializing_if = "is_zero")]
    gid: u64,
    #[serde(rename = "ModTime", skip_serializing_if = "Option::is_none", with = "rfc3339")]
    modtime: Option<Time>,
}

/// What [`TocEntry::chunk_type`] says of a chunk of zeros.
pub(crate) const ZEROS: &str = "zeros";

// The form that serde wants.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A file that a table lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The file.
    pub entry: Entry,
    /// Digest of its content; none of an empty file, and of what has no content.
    pub digest: Option<Digest>,
}

/// Why an entry cannot be said in the other form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// JSON has only text.
    #[error("a name in it is not UTF-8")]
    Text,
    /// Beyond what RFC 3339 can write.
    #[error("its time is beyond the years 0 to 9999")]
    Time,
    /// Not base64, or a number beyond what a device has.
    #[error("an attribute or a device number of it is none")]
    Value,
    /// A chunk is no file.
    #[error("it is only a chunk")]
    Chunk,
}

impl TocEntry {
    /// A further chunk of a file of this name.
    pub(crate) fn chunk(name: &str) -> Self {
        Self::empty(TocKind::Chunk, name.to_owned())
    }

    /// As it is written into a table.
    pub(crate) fn written(&self) -> Written<'_> {
        Written { entry: self, uid: self.uid, gid: self.gid, modtime: self.modtime }
    }

    fn empty(kind: TocKind, name: String) -> Self {
        Self {
            kind,
            name,
            link_name: String::new(),
            mode: 0,
            size: 0,
            uid: 0,
            gid: 0,
            modtime: None,
            accesstime: None,
            changetime: None,
            dev_major: 0,
            dev_minor: 0,
            xattrs: None,
            digest: String::new(),
            offset: 0,
            end_offset: 0,
            chunk_size: 0,
            chunk_offset: 0,
            chunk_digest: String::new(),
            chunk_type: String::new(),
        }
    }

    /// What the table says of a file, but for its content.
    pub fn of(entry: &Entry) -> Result<Self, EntryError> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| EntryError::Text);
        let (kind, link, device) = match &entry.kind {
            Kind::Regular => (TocKind::Reg, None, (0, 0)),
            Kind::Directory => (TocKind::Dir, None, (0, 0)),
            Kind::Symlink(target) => (TocKind::Symlink, Some(target), (0, 0)),
            Kind::Hardlink(target) => (TocKind::Hardlink, Some(target), (0, 0)),
            Kind::Character { major, minor } => (TocKind::Char, None, (*major, *minor)),
            Kind::Block { major, minor } => (TocKind::Block, None, (*major, *minor)),
            Kind::Fifo => (TocKind::Fifo, None, (0, 0)),
        };
        let mut xattrs = BTreeMap::new();
        for (name, value) in &entry.xattrs {
            xattrs.insert(text(name)?, STANDARD.encode(value));
        }
        Ok(Self {
            link_name: link.map(|link| text(link)).transpose()?.unwrap_or_default(),
            mode: entry.mode.into(),
            size: entry.size,
            uid: entry.uid,
            gid: entry.gid,
            modtime: Some(writable(entry.mtime)?),
            dev_major: device.0.into(),
            dev_minor: device.1.into(),
            xattrs: (!xattrs.is_empty()).then_some(xattrs),
            ..Self::empty(kind, text(&entry.name)?)
        })
    }

    /// The file that it is about.
    pub fn listed(self) -> Result<Listed, EntryError> {
        let number = |number: u64| u32::try_from(number).map_err(|_| EntryError::Value);
        let kind = match self.kind {
            TocKind::Reg => Kind::Regular,
            TocKind::Dir => Kind::Directory,
            TocKind::Symlink => Kind::Symlink(self.link_name.into_bytes()),
            TocKind::Hardlink => Kind::Hardlink(self.link_name.into_bytes()),
            TocKind::Char => Kind::Character { major: number(self.dev_major)?, minor: number(self.dev_minor)? },
            TocKind::Block => Kind::Block { major: number(self.dev_major)?, minor: number(self.dev_minor)? },
            TocKind::Fifo => Kind::Fifo,
            TocKind::Chunk => return Err(EntryError::Chunk),
        };
        let mut xattrs = BTreeMap::new();
        for (name, value) in self.xattrs.unwrap_or_default() {
            xattrs.insert(name.into_bytes(), STANDARD.decode(value).map_err(|_| EntryError::Value)?);
        }
        let entry = Entry {
            name: self.name.into_bytes(),
            size: if kind == Kind::Regular { self.size } else { 0 },
            kind,
            mode: (self.mode & 0o7777) as u32,
            uid: self.uid,
            gid: self.gid,
            mtime: self.modtime.unwrap_or_default(),
            xattrs,
        };
        let digest = match self.digest.as_str() {
            "" => None,
            digest => Some(digest.parse().map_err(|_| EntryError::Value)?),
        };
        Ok(Listed { entry, digest })
    }
}

/// A time, if RFC 3339 can write it.
pub(crate) fn writable(time: Time) -> Result<Time, EntryError> {
    // The year 0, before which RFC 3339 has no years.
    const FIRST: i64 = -62_167_219_200;
    match time.seconds >= FIRST && rfc3339::timestamp(time).is_some() {
        true => Ok(time),
        false => Err(EntryError::Time),
    }
}

/// Times as text.
mod rfc3339 {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    use crate::Time;

    const SECOND: i128 = 1_000_000_000;

    pub fn timestamp(time: Time) -> Option<Timestamp> {
        Timestamp::from_nanosecond(i128::from(time.seconds) * SECOND + i128::from(time.nanoseconds)).ok()
    }

    pub fn serialize<S: Serializer>(time: &Option<Time>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            None => serializer.serialize_none(),
            Some(time) => {
                let timestamp = timestamp(*time).ok_or_else(|| ser::Error::custom("a time is beyond the year 9999"))?;
                serializer.collect_str(&timestamp)
            }
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let timestamp: Timestamp = text.parse().map_err(de::Error::custom)?;
        let nanoseconds = timestamp.as_nanosecond();
        Ok(Some(Time { seconds: nanoseconds.div_euclid(SECOND) as i64, nanoseconds: nanoseconds.rem_euclid(SECOND) as u32 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_and_time_have_two_names_each() {
        let mut entry = Entry {
            name: b"a".to_vec(),
            kind: Kind::Regular,
            mode: 0o644,
            uid: 1,
            gid: 2,
            mtime: Time { seconds: 0, nanoseconds: 0 },
            size: 0,
            xattrs: Default::default(),
        };
        let written = |entry: &Entry| serde_json::to_value(TocEntry::of(entry).unwrap().written()).unwrap();
        let json = written(&entry);
        for (name, other, value) in [
            ("uid", "UID", 1.into()),
            ("gid", "GID", 2.into()),
            ("modtime", "ModTime", serde_json::json!("1970-01-01T00:00:00Z")),
        ] {
            assert_eq!((&json[name], &json[other]), (&value, &value), "{json}");
        }
        // The other names are for one client; here they are passed over.
        assert_eq!(serde_json::from_value::<TocEntry>(json).unwrap(), TocEntry::of(&entry).unwrap());
        (entry.uid, entry.gid) = (0, 0);
        let json = written(&entry);
        assert!(["uid", "UID", "gid", "GID"].iter().all(|name| json.get(name).is_none()), "{json}");
        let chunk = serde_json::to_value(TocEntry::chunk("a").written()).unwrap();
        assert_eq!(chunk, serde_json::json!({"type": "chunk", "name": "a"}));
    }
}
