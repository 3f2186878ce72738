//! What a member of a layer comes to: whiteouts of all kinds as one, and nothing that no file system takes.

use wharf_layers::tree::is_portable;
use wharf_layers::unpack::{Change as Named, change};
use wharf_layers::{Entry, EntryPath, Kind, LayersError, OPAQUE};

use super::record::{Attributes, Change, Record, What};

/// Bytes of a name at most, as Linux and EROFS have it.
const NAME_MAX: usize = 255;
/// Bytes that a symbolic link may say; Linux makes none that is longer.
const TARGET_MAX: usize = 4095;
/// Numbers that a device may have: twelve and twenty bits, as Linux keeps them.
const MAJOR_MAX: u32 = (1 << 12) - 1;
const MINOR_MAX: u32 = (1 << 20) - 1;
/// Bytes of an attribute's value that EROFS can tell.
const VALUE_MAX: usize = u16::MAX as usize;

/// Attributes by which the overlays of the kernel and of fuse-overlayfs say that nothing of lower layers is in a directory.
const OPAQUES: [&[u8]; 3] = [OPAQUE, b"user.overlay.opaque", b"user.fuseoverlayfs.opaque"];

/// What an entry does: mostly one record, none for what means nothing. The block of a regular file is left to the caller.
///
/// Whiteouts are told as image-spec's layer.md has them, or as overlays keep them: devices 0:0 and opaque attributes.
pub(super) fn records(entry: &Entry) -> Result<Vec<Record>, LayersError> {
    let path = match change(&entry.name)? {
        Named::Ignored => return Ok(Vec::new()),
        Named::Whiteout(path) => return Ok(vec![Record { path, change: Change::Whiteout }]),
        Named::Opaque(path) => return Ok(vec![Record { path, change: Change::Opaque }]),
        Named::Entry(path) => path,
    };
    if path.parts().any(|part| part.len() > NAME_MAX) {
        return Err(refused(entry, "a part of its name has more than 255 bytes"));
    }
    if path.is_root() && entry.kind != Kind::Directory {
        return Err(refused(entry, "the root is a directory"));
    }
    let one = |change| Ok(vec![Record { path: path.clone(), change }]);
    let what = match &entry.kind {
        Kind::Character { major: 0, minor: 0 } => return one(Change::Whiteout),
        Kind::Hardlink(target) => {
            let shown = String::from_utf8_lossy(target);
            let target = EntryPath::parse(target);
            let target = target.map_err(|why| refused(entry, &format!("its target `{shown}` is none: {why}")))?;
            return one(Change::Link(target));
        }
        Kind::Directory => What::Directory,
        Kind::Regular => What::Regular { size: entry.size, block: 0 },
        Kind::Symlink(target) if target.is_empty() => return Err(refused(entry, "it is a symbolic link to nothing")),
        Kind::Symlink(target) if target.len() > TARGET_MAX => {
            return Err(refused(entry, "it is a symbolic link of more than 4095 bytes"));
        }
        Kind::Symlink(target) if target.contains(&0) => return Err(refused(entry, "it is a symbolic link with a zero byte")),
        Kind::Symlink(target) => What::Symlink(target.clone()),
        Kind::Fifo => What::Fifo,
        Kind::Character { major, minor } | Kind::Block { major, minor } if *major > MAJOR_MAX || *minor > MINOR_MAX => {
            return Err(refused(entry, &format!("no system has a device {major}:{minor}")));
        }
        Kind::Character { major, minor } => What::Character { major: *major, minor: *minor },
        Kind::Block { major, minor } => What::Block { major: *major, minor: *minor },
    };
    let is_opaque = |name: &&[u8]| entry.xattrs.get(*name).is_some_and(|value| value == b"y");
    let opaque = what == What::Directory && OPAQUES.iter().any(is_opaque);
    let mut records = one(Change::File(attributes(entry)?, what))?;
    if opaque {
        records.push(Record { path, change: Change::Opaque });
    }
    Ok(records)
}

fn attributes(entry: &Entry) -> Result<Attributes, LayersError> {
    // The highest number says "as it is" to the system.
    let number = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    let (Some(uid), Some(gid)) = (number(entry.uid), number(entry.gid)) else {
        return Err(refused(entry, "no system has so high a number of an owner or group"));
    };
    let mut xattrs = Vec::new();
    for (name, value) in entry.xattrs.iter().filter(|(name, _)| is_kept(name)) {
        if value.len() > VALUE_MAX {
            let name = String::from_utf8_lossy(name);
            return Err(refused(entry, &format!("its attribute {name} has more than {VALUE_MAX} bytes")));
        }
        if name.len() > NAME_MAX {
            return Err(refused(entry, "an attribute's name has more than 255 bytes"));
        }
        xattrs.push((name.clone(), value.clone()));
    }
    // Linux has no other mode for them.
    let mode = if matches!(entry.kind, Kind::Symlink(_)) { 0o777 } else { entry.mode & 0o7777 };
    Ok(Attributes { mode: mode as u16, uid, gid, mtime: entry.mtime, xattrs })
}

/// Whether an attribute is one of the image: a file system of Linux could hold it, and it is not left over from an overlay.
fn is_kept(name: &[u8]) -> bool {
    let known = [b"user.".as_slice(), b"trusted.", b"security."]
        .iter()
        .any(|prefix| name.len() > prefix.len() && name.starts_with(prefix));
    let acl = matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default");
    (known || acl) && is_portable(name) && !name.starts_with(b"user.overlay.") && !name.starts_with(b"user.fuseoverlayfs.")
}

fn refused(entry: &Entry, why: &str) -> LayersError {
    LayersError::Refused { name: entry.name.clone(), why: why.to_owned() }
}
