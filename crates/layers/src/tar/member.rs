//! What a header makes of a member.

use super::Damage;
use super::header::{self, Block, Format};
use super::pax::{Pax, Records};
use super::sparse::{self, Extent, Form};
use crate::{Entry, Kind, Time};

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it is, under its real name and with its real size.
    pub entry: Entry,
    /// All bytes of the archive between the stored content of the former member and the stored content of this one: padding, extended
    /// headers, the header, and the map of holes wherever it lies.
    pub raw: Vec<u8>,
    /// Bytes of content that are stored; the size of the entry, unless the file is sparse.
    pub stored: u64,
    /// Where the stored bytes lie in a sparse file: ascending, inside its size, as many bytes as are stored; all else is zeros.
    pub sparse: Option<Vec<Extent>>,
    /// Bytes of the archive before `raw`.
    pub offset: u64,
}

/// What stands in front of a member's header.
#[derive(Default)]
pub(super) struct Extensions {
    pub(super) own: Records,
    pub(super) name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
}

/// Where the map of a sparse file is.
pub(super) enum Map {
    Known(Vec<Extent>),
    Header,
    Content,
}

/// Why a header makes no member.
pub(super) enum Refusal {
    /// It is damaged.
    Damage(Damage),
    /// It is of a kind that is no file.
    Kind(Damage),
}

impl<D: Into<Damage>> From<D> for Refusal {
    fn from(what: D) -> Self {
        Self::Damage(what.into())
    }
}

/// What a header says, with what pax records and long names say instead: the entry, the bytes that follow, and where a map of holes is.
pub(super) fn describe(block: &Block, ext: &Extensions, global: &Records) -> Result<(Entry, u64, Option<Map>), Refusal> {
    let pax = Pax { own: &ext.own, global };
    let number = |field: header::Field, what: &'static str| {
        header::number(field.of(block)).ok_or_else(|| Damage::from(format!("a header with a malformed {what}")))
    };
    let natural = |field, what, key| match pax.number(key)? {
        Some(value) => Ok(value),
        None => u64::try_from(number(field, what)?).map_err(|_| Damage::from(format!("a header with a negative {what}"))),
    };
    let device =
        |field, what| u32::try_from(number(field, what)?).map_err(|_| Damage::from(format!("a header with an absurd {what}")));
    let name = ext.name.clone().or_else(|| pax.get("path").map(<[u8]>::to_vec)).unwrap_or_else(|| header::name(block));
    let link = || {
        let link = ext.link.as_deref().or_else(|| pax.get("linkpath"));
        link.unwrap_or_else(|| header::LINK.text(block)).to_vec()
    };
    let flag = block[header::KIND];
    let kind = match flag {
        // Before there was a kind for directories, the slash told them.
        0 | b'0' if name.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::Regular,
        b'1' => Kind::Hardlink(link()),
        b'2' => Kind::Symlink(link()),
        b'3' => {
            Kind::Character { major: device(header::MAJOR, "device number")?, minor: device(header::MINOR, "device number")? }
        }
        b'4' => Kind::Block { major: device(header::MAJOR, "device number")?, minor: device(header::MINOR, "device number")? },
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        b'M' => return Err(Refusal::Kind("it is a part of a file that begins in another volume".into())),
        other => return Err(Refusal::Kind(format!("members of the kind `{}` are not known", other.escape_ascii()).into())),
    };
    let mut size = natural(header::SIZE, "size", "size")?;
    if matches!(flag, 0 | b'0') && kind == Kind::Directory && size > 0 {
        // Readers disagree on whether content follows, and so on where the next header is.
        return Err("a directory with content".into());
    }
    // Whatever else has a size has no content: writers told the size of the file that a hard link means.
    let stored = if kind == Kind::Regular { size } else { 0 };
    let mut real_name = None;
    let map = match (flag, sparse::form(&pax)?) {
        (b'S', None) if header::format(block) == Format::Gnu => {
            size = sparse::real_size(block).ok_or("a sparse file with a malformed size")?;
            Some(Map::Header)
        }
        (b'S', _) => return Err("a sparse file of an unknown form".into()),
        (_, None) => None,
        (_, Some(_)) if kind != Kind::Regular => return Err("a sparse file that is no file".into()),
        (_, Some(form)) => {
            let real = pax.number("GNU.sparse.realsize")?.or(pax.number("GNU.sparse.size")?);
            size = real.ok_or("a sparse file without its size")?;
            real_name = pax.get("GNU.sparse.name").map(<[u8]>::to_vec);
            Some(match form {
                Form::Records(extents) => Map::Known(extents),
                Form::Content => Map::Content,
            })
        }
    };
    let seconds = number(header::MTIME, "time")?;
    let entry = Entry {
        name: real_name.unwrap_or(name),
        mode: (number(header::MODE, "mode")? & 0o7777) as u32,
        uid: natural(header::UID, "owner", "uid")?,
        gid: natural(header::GID, "group", "gid")?,
        mtime: pax.time("mtime")?.unwrap_or(Time { seconds, nanoseconds: 0 }),
        size: if kind == Kind::Regular { size } else { 0 },
        xattrs: pax.xattrs()?,
        kind,
    };
    Ok((entry, stored, map))
}
