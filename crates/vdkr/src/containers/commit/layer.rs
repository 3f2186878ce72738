//! What overlayfs keeps of a container's changes, as a layer (image-spec, "Image Layer Filesystem Changeset").

use std::fs::File;
use std::io::{self, Read};

use wharf_guest_protocol::{Mount, Text};
use wharf_layers::tar::{END, TarReader, encode, padding};
use wharf_layers::{Entry, EntryPath, Form, Kind, Layer, LayerWriter, LayersError, OPAQUE};

use crate::containers::record::Record;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";

/// Bytes that are read at once.
const BUFFER: usize = 128 << 10;

/// Empty files and folders on which something is mounted while a container runs. They were made for that, and nobody has changed them.
pub struct Stubs(Vec<EntryPath>);

impl Stubs {
    /// Those of a container.
    pub fn of(record: &Record) -> Self {
        let own = ["/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].map(Text::from);
        let volumes = record.volumes.iter().map(|volume| volume.target.clone());
        let mounts = record.container.mounts.iter().map(|mount| match mount {
            Mount::Tmpfs { target, .. } | Mount::Volume { target, .. } => target.clone(),
        });
        Self(own.into_iter().chain(volumes).chain(mounts).filter_map(|path| EntryPath::parse(path.as_bytes()).ok()).collect())
    }

    /// Whether this is one of them: a folder is, for what is mounted on it hides all that is in it, and so is an empty file.
    fn has(&self, path: &EntryPath, entry: &Entry) -> bool {
        let is_hidden = self.0.iter().any(|stub| path.is_within(stub) && (path != stub || entry.kind == Kind::Directory));
        is_hidden || (entry.kind == Kind::Regular && entry.size == 0 && self.0.contains(path))
    }
}

/// Write the changes, as they come from the guest, as a compressed layer; `None` when there are none. The same changes make the same layer.
///
/// # Errors
/// A name that means something else in a layer, an archive that is none, and what the streams fail with.
pub fn write(changes: impl Read, stubs: &Stubs, file: &mut File) -> Result<Option<Layer>, LayersError> {
    let mut out = Writer { layer: LayerWriter::new(file, Form::GZIP, Form::GZIP.cut(), 0)?, raw: Vec::new(), has_any: false };
    let mut archive = TarReader::new(changes);
    let mut buffer = vec![0; BUFFER];
    while let Some(member) = archive.next()? {
        let entry = member.entry;
        let path = EntryPath::parse(&entry.name).map_err(|why| LayersError::Name { name: entry.name.clone(), why })?;
        let Some((parent, name)) = path.parent().zip(path.file_name()) else { continue };
        if stubs.has(&path, &entry) {
            continue;
        }
        if name.starts_with(WHITEOUT) {
            let why = "in a layer, a name that begins with `.wh.` removes a file".to_owned();
            return Err(LayersError::Refused { name: path.to_string().into_bytes(), why });
        }
        if entry.kind == (Kind::Character { major: 0, minor: 0 }) {
            out.member(&whiteout(&parent.join(&[WHITEOUT, name].concat()), &entry))?;
            continue;
        }
        let is_opaque = entry.kind == Kind::Directory && entry.xattrs.get(OPAQUE).is_some_and(|value| value == b"y");
        let mut entry = entry;
        entry.xattrs.remove(OPAQUE);
        out.member(&entry)?;
        if is_opaque {
            out.member(&whiteout(&path.join(OPAQUE_WHITEOUT), &entry))?;
        }
        if entry.kind == Kind::Regular {
            loop {
                match archive.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => out.layer.content(&buffer[..read])?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(source) => return Err(LayersError::Stream { what: "reading the changes", source }),
                }
            }
            out.raw.resize(padding(entry.size), 0);
        }
    }
    io::copy(&mut archive.trailer(), &mut io::sink())
        .map_err(|source| LayersError::Stream { what: "reading the changes", source })?;
    out.finish()
}

/// An empty file that takes something away, with the time of what it stands for.
fn whiteout(path: &EntryPath, of: &Entry) -> Entry {
    Entry {
        name: path.as_bytes().to_vec(),
        kind: Kind::Regular,
        mode: 0,
        uid: 0,
        gid: 0,
        mtime: of.mtime,
        size: 0,
        xattrs: Default::default(),
    }
}

/// A layer that is written.
struct Writer<'a> {
    layer: LayerWriter<&'a mut File>,
    /// What the archive has after the content of the last member.
    raw: Vec<u8>,
    has_any: bool,
}

impl Writer<'_> {
    fn member(&mut self, entry: &Entry) -> Result<(), LayersError> {
        self.raw.extend(encode(entry)?);
        self.layer.member(&self.raw, entry)?;
        self.raw.clear();
        self.has_any = true;
        Ok(())
    }

    fn finish(mut self) -> Result<Option<Layer>, LayersError> {
        self.raw.extend(END);
        self.layer.raw(&self.raw)?;
        let layer = self.layer.finish()?;
        Ok(self.has_any.then_some(layer))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Seek;

    use super::*;
    use wharf_layers::{Decoded, Time};

    fn entry(name: &str, kind: Kind, xattrs: &[(&[u8], &[u8])]) -> Entry {
        let xattrs: BTreeMap<_, _> = xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        let mtime = Time { seconds: 7, nanoseconds: 0 };
        Entry { name: name.as_bytes().to_vec(), kind, mode: 0o640, uid: 3, gid: 4, mtime, size: 0, xattrs }
    }

    fn layer(entries: &[Entry]) -> Result<Option<Vec<Entry>>, LayersError> {
        let mut changes = Vec::new();
        for entry in entries {
            changes.extend(encode(entry).unwrap());
        }
        changes.extend(END);
        let stubs = Stubs(vec![EntryPath::parse(b"/dev").unwrap(), EntryPath::parse(b"/etc/hosts").unwrap()]);
        let mut file = tempfile::tempfile().unwrap();
        let made = write(changes.as_slice(), &stubs, &mut file)?;
        file.rewind().unwrap();
        let mut archive = TarReader::new(Decoded::new(file).unwrap());
        let mut found = Vec::new();
        while let Some(member) = archive.next().unwrap() {
            found.push(member.entry);
        }
        Ok(made.map(|_| found))
    }

    #[test]
    fn overlay_marks_become_whiteouts() {
        let gone = Kind::Character { major: 0, minor: 0 };
        let found = layer(&[
            entry("./", Kind::Directory, &[]),
            entry("dev", Kind::Directory, &[]),
            entry("dev/pts", Kind::Directory, &[]),
            entry("etc", Kind::Directory, &[(b"user.kept", b"1")]),
            entry("etc/hosts", Kind::Regular, &[]),
            entry("etc/passwd", gone.clone(), &[]),
            entry("opaque", Kind::Directory, &[(OPAQUE, b"y")]),
            entry("opaque/new", Kind::Symlink(b"x".to_vec()), &[]),
            entry("real", Kind::Character { major: 1, minor: 3 }, &[]),
        ]);
        let found = found.unwrap().unwrap();
        let names: Vec<_> = found.iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect();
        assert_eq!(names, ["etc/", "etc/.wh.passwd", "opaque/", "opaque/.wh..wh..opq", "opaque/new", "real"]);
        assert!(found[0].xattrs.contains_key(b"user.kept".as_slice()) && found[2].xattrs.is_empty());
        assert_eq!((found[1].kind.clone(), found[1].mtime.seconds), (Kind::Regular, 7));
        assert!(layer(&[entry("./", Kind::Directory, &[]), entry("dev", Kind::Directory, &[])]).unwrap().is_none());
        assert!(layer(&[entry("a", gone, &[]), entry(".wh.b", Kind::Regular, &[])]).is_err());
    }
}
