//! The folder in which layers and images are kept.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use wharf_oci::Digest;

use crate::erofs::{self, Plan};
use crate::layer::{self, Footer, Records};
use crate::merge::Tree;
use crate::vmdk::{self, Extent, ZEROS_SECTORS};
use crate::{DISK_SECTORS, RootfsError, disk};

const LAYERS: &str = "layers";
const IMAGES: &str = "images";
const DISKS: &str = "disks";
const ZEROS: &str = "zeros";
const LOCK: &str = "lock";
/// What a file is called that is being written.
const PARTIAL: &str = "partial";
/// Of an image, its metadata and its descriptor.
const METADATA: &str = "erofs";
const DESCRIPTOR: &str = "vmdk";
/// What the names of images depend on besides their layers. It goes up whenever the metadata is written in another way.
const FORMAT: &str = "wharf image 1\n";

/// A folder of layers and images as file systems. Any number of processes may use it at once.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// A layer that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptLayer {
    /// Bytes of the contents of its regular files, each rounded up to 4096, holes included.
    pub contents: u64,
    /// Bytes that it takes on the disk of this machine.
    pub stored: u64,
}

/// The disk of an image.
///
/// As long as this is held, [`Cache::remove`] waits, in this and in other processes. So it should be held until a machine has opened the
/// disk, and not longer: what is open is safe.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    metadata: u64,
    contents: u64,
    _lock: File,
}

impl Image {
    /// The VMDK descriptor of the disk, absolute. It is to be attached as read-only, with the format `vmdk`. On the disk is EROFS, and the
    /// disk has [`DISK_SECTORS`] sectors.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file system besides contents of files.
    pub fn metadata(&self) -> u64 {
        self.metadata
    }

    /// Bytes of the contents of all layers' regular files, each rounded up to 4096, holes included.
    pub fn contents(&self) -> u64 {
        self.contents
    }
}

impl Cache {
    /// Opens the cache in this folder, which is made if it does not exist, and is then closed to all others.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, RootfsError> {
        let folder = folder.as_ref();
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        for name in [LAYERS, IMAGES, DISKS] {
            let path = folder.join(name);
            builder.create(&path).map_err(RootfsError::file("make", path))?;
        }
        // Descriptors say where files are relative to themselves, and QEMU looks at how its own path is written.
        let folder = folder.canonicalize().map_err(RootfsError::file("read", folder))?;
        Ok(Self { folder })
    }

    /// Whether a layer is kept.
    pub fn has(&self, diff_id: &Digest) -> bool {
        self.look(diff_id).is_ok_and(|found| found.is_some())
    }

    /// What is kept of a layer; none if it is not.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn layer(&self, diff_id: &Digest) -> Result<Option<KeptLayer>, RootfsError> {
        let Some((file, footer)) = self.look(diff_id)? else { return Ok(None) };
        kept(&file, &footer, &self.layer_path(diff_id)).map(Some)
    }

    /// Keeps a layer, which is read to its end: compressed with gzip or zstd, or not at all, as its first bytes tell. When it is kept
    /// already, or another process is about to do the same and succeeds, nothing is read.
    ///
    /// # Errors
    /// [`RootfsError::Digest`] when its decompressed bytes have another digest, [`RootfsError::Layer`] for what is damaged or refused, and
    /// [`RootfsError::TooMuch`]. Then nothing is left behind.
    pub fn add(&self, diff_id: &Digest, compressed: impl Read) -> Result<KeptLayer, RootfsError> {
        let path = self.layer_path(diff_id);
        let partial = path.with_extension(PARTIAL);
        loop {
            if let Some(kept) = self.layer(diff_id)? {
                return Ok(kept);
            }
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let mut file = options.open(&partial).map_err(RootfsError::file("write", &partial))?;
            file.lock().map_err(RootfsError::file("lock", &partial))?;
            // Whoever had the lock before has renamed the file, or removed it.
            if !is_at(&file, &partial) {
                continue;
            }
            let written = fill(diff_id, compressed, &mut file, &partial, &path);
            if written.is_err() {
                // The error that led here is the one to tell.
                let _ = fs::remove_file(&partial);
            }
            return written;
        }
    }

    /// The disk of an image of these layers, bottom first. It is made once, and made again when something of it is missing or damaged.
    ///
    /// # Errors
    /// [`RootfsError::Missing`] for a layer that is not kept, [`RootfsError::Damaged`] for one that is not what was kept: both can be added
    /// (again). [`RootfsError::Layer`] for entries that cannot be put where they say, [`RootfsError::TooMuch`] for too large an image.
    pub fn image(&self, diff_ids: &[Digest]) -> Result<Image, RootfsError> {
        let lock = self.lock_shared()?;
        let names: String = diff_ids.iter().map(|diff_id| format!("{diff_id}\n")).collect();
        let key = Digest::sha256(format!("{FORMAT}{names}").as_bytes());
        let stem = self.folder.join(IMAGES).join(file_name(&key));
        let mut layers = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids {
            layers.push((diff_id, self.look(diff_id)?.ok_or(RootfsError::Missing(*diff_id))?));
        }
        let contents = layers.iter().map(|(_, (_, footer))| footer.data).sum();
        let metadata_path = stem.with_extension(METADATA);
        let path = stem.with_extension(DESCRIPTOR);
        let known = fs::metadata(&metadata_path).ok().map(|status| status.len());
        let known = known.filter(|length| *length > 0 && length.is_multiple_of(layer::BLOCK));
        let text = |metadata| self.descriptor(&key, metadata, &layers);
        if let Some(metadata) = known
            && fs::read_to_string(&path).is_ok_and(|found| text(metadata).is_ok_and(|text| text == found))
            && self.has_zeros()
        {
            return Ok(Image { path, metadata, contents, _lock: lock });
        }
        let metadata = self.write_metadata(&key, &layers, contents, &metadata_path)?;
        self.make_zeros()?;
        let text = text(metadata)?;
        self.replace(&path, |file| file.write_all(text.as_bytes()))?;
        Ok(Image { path, metadata, contents, _lock: lock })
    }

    fn descriptor(&self, key: &Digest, metadata: u64, layers: &[(&Digest, (File, Footer))]) -> Result<String, RootfsError> {
        let own = Extent { name: format!("{}.{METADATA}", file_name(key)), sectors: metadata / 512 };
        let extent = |(diff_id, (_, footer)): &(&Digest, (File, Footer))| Extent {
            name: format!("../{LAYERS}/{}", file_name(diff_id)),
            sectors: footer.data / 512,
        };
        let extents: Vec<_> = std::iter::once(own).chain(layers.iter().map(extent)).collect();
        let id = key.hash().first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        vmdk::descriptor(&extents, &format!("../{ZEROS}"), id).ok_or_else(|| {
            RootfsError::TooMuch(format!("the image takes more than the {} GiB of a guest's disk", DISK_SECTORS >> 21))
        })
    }

    /// Merges the layers and writes the metadata; how many bytes it has.
    fn write_metadata(
        &self,
        key: &Digest,
        layers: &[(&Digest, (File, Footer))],
        contents: u64,
        path: &Path,
    ) -> Result<u64, RootfsError> {
        let mut tree = Tree::new();
        let mut base = 0;
        for (index, (diff_id, (file, footer))) in layers.iter().enumerate() {
            let layer = self.layer_path(diff_id);
            let damaged = |what| {
                // Whoever adds it again is to find that it is missing.
                let _ = fs::remove_file(&layer);
                RootfsError::Damaged { path: layer.clone(), what }
            };
            let bytes = layer::read_entries(file, footer).map_err(RootfsError::file("read", &layer))?;
            let bytes = bytes.ok_or_else(|| damaged("its records have another checksum"))?;
            tree.begin(index as u32, base);
            let mut records = Records::new(&bytes);
            for record in records.by_ref() {
                tree.apply(record)?;
            }
            if !records.is_whole() {
                return Err(damaged("its records cannot be read"));
            }
            base += footer.data / layer::BLOCK;
        }
        let plan = Plan::new(&tree)?;
        let uuid = key.hash().first_chunk().copied().unwrap_or_default();
        self.replace(path, |file| {
            let mut out = BufWriter::with_capacity(1 << 20, &mut *file);
            erofs::write(&tree, &plan, contents / layer::BLOCK, uuid, &mut out)?;
            out.flush()?;
            drop(out);
            // A descriptor without one is made again, so this one file has to be whole.
            file.sync_all()
        })?;
        Ok(plan.length())
    }

    /// Puts a file in the place of what is at this path, if anything.
    fn replace(&self, path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), RootfsError> {
        let failed = || RootfsError::file("write", path);
        let mut file = tempfile::Builder::new().suffix(".tmp").tempfile_in(self.folder.join(IMAGES)).map_err(failed())?;
        write(file.as_file_mut()).map_err(failed())?;
        file.persist(path).map_err(|error| failed()(error.error))?;
        Ok(())
    }

    fn has_zeros(&self) -> bool {
        fs::metadata(self.folder.join(ZEROS)).is_ok_and(|status| status.len() == ZEROS_SECTORS * 512)
    }

    /// Makes the file that disks are filled up with. It takes no room.
    fn make_zeros(&self) -> Result<(), RootfsError> {
        if self.has_zeros() {
            return Ok(());
        }
        self.replace(&self.folder.join(ZEROS), |file| file.set_len(ZEROS_SECTORS * 512))
    }

    /// Removes all layers but these, and all images that need one of the others; how many bytes that frees. Machines that have their disks
    /// open keep what they have, and the room is free once they have ended.
    ///
    /// # Errors
    /// When a file cannot be removed. What comes after it is still there then.
    pub fn remove(&self, keep: &BTreeSet<Digest>) -> Result<u64, RootfsError> {
        let lock = self.lock_file()?;
        lock.lock().map_err(RootfsError::file("lock", self.folder.join(LOCK)))?;
        let kept: BTreeSet<String> = keep.iter().map(file_name).collect();
        let mut freed = 0;
        for name in [IMAGES, LAYERS] {
            let folder = self.folder.join(name);
            for entry in fs::read_dir(&folder).map_err(RootfsError::file("read", &folder))? {
                let entry = entry.map_err(RootfsError::file("read", &folder))?;
                let is_kept = match name {
                    LAYERS => {
                        entry.file_name().to_str().is_some_and(|name| kept.contains(name)) || is_being_written(&entry.path())
                    }
                    _ => self.is_of(&entry.path(), &kept),
                };
                if !is_kept {
                    freed += entry.metadata().map_or(0, |status| status.blocks() * 512);
                    fs::remove_file(entry.path()).map_err(RootfsError::file("remove", entry.path()))?;
                }
            }
        }
        Ok(freed)
    }

    /// Whether a file is of an image that has only these layers.
    fn is_of(&self, path: &Path, layers: &BTreeSet<String>) -> bool {
        let Ok(text) = fs::read_to_string(path.with_extension(DESCRIPTOR)) else { return false };
        let prefix = format!("../{LAYERS}/");
        let mut named = text.lines().filter_map(|line| line.split('"').nth(1)?.strip_prefix(&prefix));
        named.all(|layer| layers.contains(layer))
    }

    /// Makes an empty disk for a container to write to, at a path where there is nothing yet: ext4, `bytes` rounded up to 4096 large, and of
    /// next to no room on this machine until something is written to it. Only its owner may open it.
    ///
    /// It has a journal, so that it is in order after a machine was killed. To the guest it is no news that its blocks are zeros, yet on
    /// file systems without holes it may want to write them: the mount option `noinit_itable` says no.
    ///
    /// # Errors
    /// [`RootfsError::NoMke2fs`], and [`RootfsError::Disk`] for less than 64 MiB and when that program fails.
    pub fn empty_disk(&self, path: &Path, bytes: u64) -> Result<(), RootfsError> {
        disk::empty(&self.folder.join(DISKS), path, bytes)
    }

    /// Bytes that all of it takes on the disk of this machine.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn usage(&self) -> Result<u64, RootfsError> {
        let mut sum = 0;
        for name in [IMAGES, LAYERS, DISKS] {
            let folder = self.folder.join(name);
            for entry in fs::read_dir(&folder).map_err(RootfsError::file("read", &folder))? {
                let entry = entry.map_err(RootfsError::file("read", &folder))?;
                // One that has gone meanwhile takes nothing.
                sum += entry.metadata().map_or(0, |status| status.blocks() * 512);
            }
        }
        Ok(sum)
    }

    /// Opens a layer; none if it is not kept.
    fn look(&self, diff_id: &Digest) -> Result<Option<(File, Footer)>, RootfsError> {
        let path = self.layer_path(diff_id);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(RootfsError::file("read", &path))?,
        };
        let footer = Footer::read(&file).map_err(RootfsError::file("read", &path))?;
        Ok(footer.map(|footer| (file, footer)))
    }

    fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.folder.join(LAYERS).join(file_name(diff_id))
    }

    fn lock_file(&self) -> Result<File, RootfsError> {
        let path = self.folder.join(LOCK);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        file.map_err(RootfsError::file("lock", path))
    }

    /// Keeps what there is from being removed.
    fn lock_shared(&self) -> Result<File, RootfsError> {
        let file = self.lock_file()?;
        file.lock_shared().map_err(RootfsError::file("lock", self.folder.join(LOCK)))?;
        Ok(file)
    }
}

/// What the file of a layer or an image is called: no name has a colon in it, which QEMU would take for the end of a protocol's name.
fn file_name(digest: &Digest) -> String {
    digest.to_string().replace(':', "-")
}

/// Whether the file that is open is the one at this path.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |status: fs::Metadata| (status.dev(), status.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => identity(open) == identity(there),
        _ => false,
    }
}

/// Writes a layer to the file at `partial`, and puts it in its place.
fn fill(diff_id: &Digest, compressed: impl Read, file: &mut File, partial: &Path, path: &Path) -> Result<KeptLayer, RootfsError> {
    // Whoever began it may have been killed.
    file.set_len(0).map_err(RootfsError::file("write", partial))?;
    let footer = layer::write(compressed, diff_id, file, partial)?;
    fs::rename(partial, path).map_err(RootfsError::file("write", path))?;
    kept(file, &footer, path)
}

fn kept(file: &File, footer: &Footer, path: &Path) -> Result<KeptLayer, RootfsError> {
    let status = file.metadata().map_err(RootfsError::file("read", path))?;
    Ok(KeptLayer { contents: footer.data, stored: status.blocks() * 512 })
}

/// Whether some process is about to write this file.
fn is_being_written(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == PARTIAL)
        && File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}
