//! Trees of tar archives.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Budget, Found, Node, Place, Run, Source, Tree, TreeOptions, entry_name, entry_time, is_portable, refuse_whiteout};
use crate::decode::{Compression, Decoded};
use crate::system;
use crate::tar::{Extent, Member, TarReader};
use crate::{Entry, EntryPath, Kind, LayersError};

/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;

impl Tree {
    /// The files of a tar archive, as they would be once it is unpacked: of several members with one name the last counts.
    ///
    /// What is compressed, or no regular file, is first written to a file in `folder`, which has no name and is gone with the tree.
    ///
    /// # Errors
    /// A damaged archive, such as one of no bytes; a name that climbs or begins with `.wh.`; a hard link to what the archive does not hold before it; a file in
    /// something that is no directory.
    pub fn of_archive(path: &Path, folder: &Path, options: TreeOptions) -> Result<Self, LayersError> {
        let mut open = File::open(path).map_err(LayersError::file("read", path))?;
        if !open.metadata().map_err(LayersError::file("read", path))?.is_file() {
            return Self::of_stream(open, path, folder, options);
        }
        let compression = Decoded::new(&open)?.compression();
        open.rewind().map_err(LayersError::file("read", path))?;
        match compression {
            Compression::None => Self::scan(open, path, options),
            Compression::Gzip | Compression::Zstd => Self::of_stream(open, path, folder, options),
        }
    }

    /// The same for an archive that is read once, such as standard input; `name` is what errors call it.
    ///
    /// # Errors
    /// As for [`Tree::of_archive`], and what cannot be written to `folder`.
    pub fn of_stream(reader: impl Read, name: &Path, folder: &Path, options: TreeOptions) -> Result<Self, LayersError> {
        let mut file = unnamed(folder)?;
        let mut archive = Decoded::new(reader)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            match archive.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => io::Write::write_all(&mut file, &buffer[..read]).map_err(LayersError::file("write to", folder))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LayersError::stream("reading the archive")(error)),
            }
        }
        file.rewind().map_err(LayersError::file("write to", folder))?;
        Self::scan(file, name, options)
    }

    /// Reads the members of an archive that lies in a file, from its beginning.
    fn scan(open: File, path: &Path, options: TreeOptions) -> Result<Self, LayersError> {
        let status = system::status(open.as_fd()).map_err(LayersError::file("read", path))?;
        if status.size == 0 {
            // What a program writes that was to make an archive, and failed.
            return Err(LayersError::Tar { what: "it ends".to_owned(), offset: 0 });
        }
        let mut archive = TarReader::new(BufReader::with_capacity(BUFFER, &open));
        let mut scan = Scan { options, files: Vec::new(), paths: HashMap::new(), budget: Budget::default() };
        while let Some(member) = archive.next()? {
            scan.add(member)?;
        }
        let found = scan.found()?;
        Ok(Self::new(found, Vec::new(), Source::Archive { path: path.to_path_buf(), open, status }))
    }
}

struct Scan {
    options: TreeOptions,
    /// All files that members brought.
    files: Vec<(Entry, Place)>,
    /// The name of each file, by index; a name goes over to the file that came last, and a file may have several.
    paths: HashMap<EntryPath, usize>,
    budget: Budget,
}

impl Scan {
    fn add(&mut self, member: Member) -> Result<(), LayersError> {
        let base = member.offset + member.raw.len() as u64;
        let Member { entry, sparse, .. } = member;
        let refused = |why: String| LayersError::Refused { name: entry.name.clone(), why };
        let path = EntryPath::parse(&entry.name).map_err(|why| LayersError::Name { name: entry.name.clone(), why })?;
        refuse_whiteout(&path)?;
        if path.is_root() && entry.kind != Kind::Directory {
            return Err(refused("the root is a directory".to_owned()));
        }
        if let Kind::Hardlink(target) = &entry.kind {
            let shown = String::from_utf8_lossy(target);
            let target = EntryPath::parse(target).map_err(|why| refused(format!("its target `{shown}` is none: {why}")))?;
            let file = self
                .paths
                .get(&target)
                .ok_or_else(|| refused(format!("its target `{shown}` is not in the archive before it")))?;
            if self.files[*file].0.kind == Kind::Directory {
                return Err(refused(format!("its target `{shown}` is a directory")));
            }
            self.budget.take(&entry, &Place::Nowhere)?;
            self.paths.insert(path, *file);
            return Ok(());
        }
        let place = match &entry.kind {
            Kind::Regular => Place::Archive(runs(sparse.as_deref(), entry.size, base)),
            _ => Place::Nowhere,
        };
        let Entry { name: _, kind, mode, uid, gid, mtime, size, xattrs } = entry;
        let xattrs = xattrs.into_iter().filter(|(name, _)| is_portable(name)).collect();
        let (name, mtime) = (entry_name(&path, &kind), entry_time(mtime, self.options));
        let entry = Entry { name, kind, mode, uid, gid, mtime, size, xattrs };
        self.budget.take(&entry, &place)?;
        self.paths.insert(path, self.files.len());
        self.files.push((entry, place));
        Ok(())
    }

    /// The nodes of what is left in the end.
    fn found(self) -> Result<Vec<Found>, LayersError> {
        let Self { files, paths, .. } = self;
        let mut names = vec![0_usize; files.len()];
        for (path, file) in &paths {
            names[*file] += 1;
            let above = std::iter::successors(path.parent(), EntryPath::parent);
            let above = above.filter_map(|path| paths.get(&path).map(|file| (path, *file))).next();
            if let Some((above, file)) = above.filter(|(_, file)| files[*file].0.kind != Kind::Directory) {
                let what = if matches!(files[file].0.kind, Kind::Symlink(_)) { "a symbolic link" } else { "no directory" };
                return Err(LayersError::Refused {
                    name: path.as_bytes().to_vec(),
                    why: format!("{above}, above it, is {what}"),
                });
            }
        }
        let found = paths.into_iter().map(|(path, file)| {
            let (mut entry, place) = files[file].clone();
            entry.name = entry_name(&path, &entry.kind);
            Found { node: Node { entry, place }, file: (names[file] > 1).then_some((0, file as u64)) }
        });
        Ok(found.collect())
    }
}

/// Where the content of a member lies, which begins at `base` in the archive.
fn runs(sparse: Option<&[Extent]>, size: u64, base: u64) -> Box<[Run]> {
    let whole = [Extent { offset: 0, length: size }];
    let mut stored = base;
    let mut runs = Vec::new();
    for extent in sparse.unwrap_or(&whole).iter().filter(|extent| extent.length > 0) {
        runs.push(Run { offset: extent.offset, stored, length: extent.length });
        stored += extent.length;
    }
    runs.into()
}

/// Makes a file without a name.
fn unnamed(folder: &Path) -> Result<File, LayersError> {
    for number in 0..1000 {
        let path: PathBuf = folder.join(format!(".wharf-archive-{}-{number}", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path).map_err(LayersError::file("remove", &path))?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(LayersError::File { what: "write to", path: folder.to_path_buf(), source }),
        }
    }
    Err(LayersError::File { what: "write to", path: folder.to_path_buf(), source: io::ErrorKind::AlreadyExists.into() })
}
