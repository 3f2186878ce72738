//! Layouts that are written to.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{Layout, LayoutError, NamedImage, REF_NAME};
use crate::{Algorithm, Descriptor, Digest, Document, Found, ImageIndex, look};

/// Where content lies that is not yet part of the layout.
const STAGING: &str = ".wharf-partial";
/// What `oci-layout` says (image-spec, "oci-layout file").
const VERSION: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// Indexes inside indexes that are followed when content that nothing names any more is looked for.
const MAX_DEPTH: usize = 8;

/// A layout in a folder, being written to.
///
/// What is added becomes part of the layout with [`commit`](Self::commit), all at once: readers see the images of before or those of after. A
/// writer that is dropped without it takes away what it added, and a folder that it made. One writer at a time has a layout; others wait.
#[derive(Debug)]
pub struct LayoutWriter {
    path: PathBuf,
    index: ImageIndex,
    /// Images that gave way to others.
    replaced: Vec<Descriptor>,
    /// Files that were not there before.
    added: Vec<PathBuf>,
    /// Folders that were not there before, the outermost first.
    made: Vec<PathBuf>,
    /// Folders that blobs may have been put into.
    filled: BTreeSet<PathBuf>,
    /// A loss of power must not take what is listed.
    is_durable: bool,
    /// What other writers wait for.
    _lock: File,
}

/// Content of a layout on its way to its place: a file that vanishes unless it is [adopted](LayoutWriter::adopt).
#[derive(Debug)]
pub struct Staged(NamedTempFile);

impl Staged {
    /// The file, open for reading and writing.
    pub fn file(&mut self) -> &mut File {
        self.0.as_file_mut()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl LayoutWriter {
    /// Opens a layout for writing, or makes an empty one where there is nothing or an empty folder.
    ///
    /// # Errors
    ///
    /// [`LayoutError::NotALayout`] for a file, and for a folder that holds something else; those of [`Layout::open`].
    pub fn open(path: &Path) -> Result<Self, LayoutError> {
        let mut made = Vec::new();
        let absolute = std::path::absolute(path).map_err(LayoutError::io(path))?;
        let is_new = match look(path).map_err(LayoutError::io(path))? {
            Found::Nothing => true,
            Found::Folder => {
                let mut files = fs::read_dir(path).map_err(LayoutError::io(path))?;
                // What a writer leaves behind that was killed before its first commit.
                let own = [STAGING, "oci-layout", "blobs"];
                files.all(|file| file.is_ok_and(|file| own.iter().any(|own| file.file_name() == *own)))
            }
            Found::File(_) | Found::Other => return Err(LayoutError::not_a_layout(path, "it is not a folder")),
        };
        if !is_new {
            // What is no layout is refused before anything is written into it.
            Layout::open(path)?;
        }
        for folder in [absolute.clone(), absolute.join("blobs"), absolute.join("blobs/sha256")] {
            make(&folder, &mut made)?;
        }
        let marker = absolute.join("oci-layout");
        let opened = File::options().create(true).truncate(false).read(true).append(true).open(&marker);
        let mut lock = opened.map_err(LayoutError::write(&marker))?;
        lock.lock().map_err(LayoutError::write(&marker))?;
        let mut added = Vec::new();
        if lock.metadata().map_err(LayoutError::io(&marker))?.len() == 0 {
            added.push(marker.clone());
            lock.write_all(VERSION.as_bytes()).map_err(LayoutError::write(&marker))?;
        }
        // Another writer may have made it while this one waited.
        let index = match look(&absolute.join("index.json")) {
            Ok(Found::Nothing) => ImageIndex::new(Vec::new()),
            _ => super::folder_index(&absolute)?,
        };
        let filled = BTreeSet::from([absolute.join("blobs/sha256")]);
        Ok(Self { path: absolute, index, replaced: Vec::new(), added, made, filled, is_durable: false, _lock: lock })
    }

    /// Makes the commit outlast a loss of power: what the layout lists is on disk before it is listed, and what gives way goes only after that.
    /// This takes a few syncs. Content is synced where it is [adopted](Self::adopt), but for that of [`adopt_file`](Self::adopt_file).
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.is_durable = true;
        self
    }

    /// The folder, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The images that the layout will list.
    pub fn images(&self) -> Vec<NamedImage> {
        self.index.manifests.iter().cloned().map(NamedImage::of).collect()
    }

    /// Where a blob's file is, or will be.
    pub fn place(&self, digest: &Digest) -> PathBuf {
        Layout::blob_path(&self.path, digest)
    }

    /// Whether a file of this digest and length is there. Its content is not looked at.
    pub fn has(&self, digest: &Digest, size: u64) -> bool {
        look(&self.place(digest)).is_ok_and(|found| found == Found::File(size))
    }

    /// The folder for content that is not yet part of the layout. Files in it survive the writer, so that a transfer can be taken up again.
    pub fn staging(&mut self) -> Result<PathBuf, LayoutError> {
        let folder = self.path.join(STAGING);
        make(&folder, &mut self.made)?;
        Ok(folder)
    }

    /// A file for content whose digest is not known yet.
    pub fn stage(&mut self) -> Result<Staged, LayoutError> {
        let folder = self.staging()?;
        NamedTempFile::new_in(&folder).map(Staged).map_err(LayoutError::write(&folder))
    }

    /// Makes a staged file the blob of this digest, which the caller vouches for.
    pub fn adopt(&mut self, mut staged: Staged, digest: &Digest) -> Result<(), LayoutError> {
        let place = self.ready(digest)?;
        if self.is_durable {
            staged.file().sync_data().map_err(LayoutError::write(&place))?;
        }
        staged.0.persist(&place).map_err(|error| LayoutError::write(&place)(error.error))?;
        readable(&place)
    }

    /// The same for a file in the [staging folder](Self::staging). For a [durable](Self::durable) commit the caller has synced it: who writes
    /// several at once need not wait for each.
    pub fn adopt_file(&mut self, file: &Path, digest: &Digest) -> Result<(), LayoutError> {
        let place = self.ready(digest)?;
        fs::rename(file, &place).map_err(LayoutError::write(&place))?;
        readable(&place)
    }

    /// Adds a blob of another layout, as it is there.
    pub fn copy(&mut self, from: &Layout, blob: &Descriptor) -> Result<(), LayoutError> {
        let mut reader = from.place(blob)?.reader()?;
        let mut staged = self.stage()?;
        let path = staged.path().to_owned();
        io::copy(&mut reader, staged.file()).map_err(LayoutError::write(&path))?;
        self.adopt(staged, &blob.digest)
    }

    /// Adds a manifest, a configuration or whatever else is in memory. Returns its SHA-256 digest; its length is that of `bytes`.
    pub fn add(&mut self, bytes: &[u8]) -> Result<Digest, LayoutError> {
        let digest = Digest::sha256(bytes);
        self.add_as(bytes, &digest)?;
        Ok(digest)
    }

    /// The same under a digest of another algorithm, which the caller vouches for.
    pub fn add_as(&mut self, bytes: &[u8], digest: &Digest) -> Result<(), LayoutError> {
        if self.has(digest, bytes.len() as u64) && fs::read(self.place(digest)).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        let mut staged = self.stage()?;
        let path = staged.path().to_owned();
        staged.file().write_all(bytes).map_err(LayoutError::write(&path))?;
        self.adopt(staged, digest)
    }

    /// Lists an image, with the annotation that names it, instead of all that the layout lists under that name; without a name, instead of
    /// the entry of the same digest that has none.
    pub fn list(&mut self, mut image: Descriptor, name: Option<&str>) {
        let mut annotations = image.annotations.take().unwrap_or_default();
        annotations.remove(REF_NAME);
        annotations.extend(name.map(|name| (REF_NAME.to_owned(), name.to_owned())));
        image.annotations = (!annotations.is_empty()).then_some(annotations);
        let gives_way = |known: &Descriptor| match name {
            Some(_) => known.annotation(REF_NAME) == name,
            None => known.annotation(REF_NAME).is_none() && known.digest == image.digest,
        };
        match self.index.manifests.iter().position(gives_way) {
            Some(place) => {
                self.replaced.extend(self.index.manifests.iter().filter(|known| gives_way(known)).cloned());
                let mut first = true;
                self.index.manifests.retain(|known| !gives_way(known) || std::mem::take(&mut first));
                self.index.manifests[place] = image;
            }
            None => self.index.manifests.push(image),
        }
    }

    /// Lists an image after all others, as its descriptor is.
    pub fn append(&mut self, image: Descriptor) {
        self.index.manifests.push(image);
    }

    /// Puts another descriptor in the place of the `position`th of [`images`](Self::images); its annotations are the caller's.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    pub fn replace(&mut self, position: usize, image: Descriptor) {
        let old = std::mem::replace(&mut self.index.manifests[position], image);
        self.replaced.push(old);
    }

    /// Lists no longer the `position`th of [`images`](Self::images). What only it needs goes with the commit.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    pub fn remove(&mut self, position: usize) {
        let old = self.index.manifests.remove(position);
        self.replaced.push(old);
    }

    /// Makes everything that was added part of the layout, and removes what only images needed that gave way.
    pub fn commit(mut self) -> Result<(), LayoutError> {
        let place = self.path.join("index.json");
        let mut staged = self.stage()?;
        let path = staged.path().to_owned();
        staged.file().write_all(&self.index.to_bytes()).map_err(LayoutError::write(&path))?;
        // Read before the layout changes: an error here leaves everything as it was.
        let superfluous = self.superfluous();
        let marker = self.path.join("oci-layout");
        if look(&marker).is_ok_and(|found| found == Found::Nothing) {
            // A writer that gave up while this one waited for it took it away.
            self.added.push(marker.clone());
            fs::write(&marker, VERSION).map_err(LayoutError::write(&marker))?;
        }
        if self.is_durable {
            staged.file().sync_data().map_err(LayoutError::write(&path))?;
            sync(&marker)?;
            self.folders().into_iter().try_for_each(sync)?;
        }
        staged.0.persist(&place).map_err(|error| LayoutError::write(&place)(error.error))?;
        readable(&place)?;
        self.added.clear();
        self.made.clear();
        if self.is_durable {
            sync(&self.path)?;
        }
        for digest in superfluous {
            // Nothing names it; what cannot be removed is only in the way.
            let _ = fs::remove_file(self.place(&digest));
        }
        let _ = fs::remove_dir(self.path.join(STAGING));
        Ok(())
    }

    /// The folders that keep the names of blobs, of their folders, and of the layout itself where that is new.
    fn folders(&self) -> BTreeSet<&Path> {
        let inside = self.filled.iter().flat_map(|folder| folder.ancestors().take_while(|path| path.starts_with(&self.path)));
        inside.chain(self.made.iter().filter_map(|folder| folder.parent())).collect()
    }

    /// What only replaced images name. Images that cannot be read hold what they may hold.
    fn superfluous(&self) -> BTreeSet<Digest> {
        if self.replaced.is_empty() {
            return BTreeSet::new();
        }
        let layout = Layout::of_folder(&self.path);
        let mut gone = BTreeSet::new();
        for image in &self.replaced {
            // What is missing below an image that goes is no reason to keep the rest.
            let _ = reach(&layout, image, 0, &mut gone);
        }
        let mut kept = BTreeSet::new();
        for image in &self.index.manifests {
            if reach(&layout, image, 0, &mut kept).is_err() {
                return BTreeSet::new();
            }
        }
        gone.difference(&kept).copied().collect()
    }

    /// The place for a blob that is about to come.
    fn ready(&mut self, digest: &Digest) -> Result<PathBuf, LayoutError> {
        let place = self.place(digest);
        if digest.algorithm() != Algorithm::Sha256 {
            make(&self.path.join("blobs").join(digest.algorithm().as_str()), &mut self.made)?;
        }
        self.filled.extend(place.parent().map(Path::to_owned));
        if look(&place).is_ok_and(|found| found == Found::Nothing) {
            self.added.push(place.clone());
        }
        Ok(place)
    }
}

impl Drop for LayoutWriter {
    fn drop(&mut self) {
        for file in self.added.drain(..) {
            let _ = fs::remove_file(file);
        }
        let _ = fs::remove_dir(self.path.join(STAGING));
        // A folder with something in it stays: it is not this writer's alone.
        for folder in self.made.drain(..).rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Everything below a descriptor, and itself.
fn reach(layout: &Layout, descriptor: &Descriptor, depth: usize, found: &mut BTreeSet<Digest>) -> Result<(), LayoutError> {
    if !found.insert(descriptor.digest) || !crate::media_type::is_manifest(&descriptor.media_type) {
        return Ok(());
    }
    let below = match Document::parse(&layout.read(descriptor)?, &descriptor.media_type) {
        Ok(Document::Image(image)) => [vec![image.config], image.layers].concat(),
        Ok(Document::Index(index)) if depth < MAX_DEPTH => index.manifests,
        Ok(Document::Index(_)) => {
            return Err(LayoutError::not_a_layout(layout.path(), format!("it holds indexes more than {MAX_DEPTH} deep")));
        }
        Err(error) => return Err(LayoutError::json(descriptor.digest, layout.path())(error)),
    };
    below.iter().try_for_each(|below| reach(layout, below, depth + 1, found))
}

/// Makes a folder and those above it, and notes which were not there.
fn make(folder: &Path, made: &mut Vec<PathBuf>) -> Result<(), LayoutError> {
    match fs::create_dir(folder) {
        Ok(()) => made.push(folder.to_owned()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
        Err(error) => match folder.parent() {
            Some(parent) if error.kind() == ErrorKind::NotFound => {
                make(parent, made)?;
                make(folder, made)?;
            }
            _ => return Err(LayoutError::write(folder)(error)),
        },
    }
    Ok(())
}

/// Waits until what is in a file, or which names are in a folder, is on disk.
fn sync(path: &Path) -> Result<(), LayoutError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(LayoutError::write(path))
}

/// Gives a staged file the permissions that files have here; temporary ones are their owner's alone.
fn readable(path: &Path) -> Result<(), LayoutError> {
    use std::os::unix::fs::PermissionsExt;

    let allow = || -> io::Result<()> {
        // A file made by the usual way shows what the umask leaves.
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mode = fs::metadata(folder)?.permissions().mode() & 0o666;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    allow().map_err(LayoutError::write(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media_type;

    fn config() -> Vec<u8> {
        br#"{"architecture":"arm64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec()
    }

    /// An image of one layer, which is its name.
    fn image(writer: &mut LayoutWriter, layer: &str) -> Descriptor {
        let config = config();
        let layer = (writer.add(layer.as_bytes()).unwrap(), layer.len() as u64);
        let manifest = crate::ImageManifest {
            media_type: media_type::OCI_MANIFEST.to_owned(),
            artifact_type: None,
            config: Descriptor::new(media_type::OCI_CONFIG, writer.add(&config).unwrap(), config.len() as u64),
            layers: vec![Descriptor::new(media_type::OCI_LAYER, layer.0, layer.1)],
            subject: None,
            annotations: None,
        };
        let bytes = manifest.to_bytes();
        Descriptor::new(media_type::OCI_MANIFEST, writer.add(&bytes).unwrap(), bytes.len() as u64)
    }

    fn files(path: &Path) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut open = vec![path.to_owned()];
        while let Some(folder) = open.pop() {
            for file in fs::read_dir(folder).into_iter().flatten().flatten() {
                match file.path().is_dir() {
                    true => open.push(file.path()),
                    false => drop(found.insert(file.path().strip_prefix(path).unwrap().to_owned())),
                }
            }
        }
        found
    }

    #[test]
    fn a_new_layout_is_one_after_the_commit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/app-oci");
        let mut writer = LayoutWriter::open(&path).unwrap();
        let first = image(&mut writer, "layer");
        writer.list(first.clone(), Some("latest"));
        writer.commit().unwrap();
        let layout = Layout::open(&path).unwrap();
        assert_eq!(layout.images().len(), 1);
        assert_eq!((layout.images()[0].name.as_deref(), layout.images()[0].descriptor.digest), (Some("latest"), first.digest));
        assert_eq!(files(&path).len(), 5, "{:?}", files(&path));
        layout.verify(&first).unwrap();
    }

    #[test]
    fn nothing_is_left_of_what_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/app-oci");
        let mut writer = LayoutWriter::open(&path).unwrap();
        image(&mut writer, "layer");
        let mut staged = writer.stage().unwrap();
        staged.file().write_all(b"half").unwrap();
        drop(staged);
        drop(writer);
        assert!(!folder.path().join("deep").exists());

        let mut writer = LayoutWriter::open(&path).unwrap();
        let first = image(&mut writer, "layer");
        writer.list(first, Some("latest"));
        writer.commit().unwrap();
        let before = files(&path);
        let mut writer = LayoutWriter::open(&path).unwrap();
        let second = image(&mut writer, "another");
        writer.list(second, Some("latest"));
        drop(writer);
        assert_eq!(files(&path), before);
    }

    #[test]
    fn what_gives_way_goes_and_what_others_need_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = LayoutWriter::open(folder.path()).unwrap();
        let first = image(&mut writer, "layer");
        writer.list(first.clone(), Some("latest"));
        writer.list(first.clone(), Some("1.0"));
        writer.commit().unwrap();
        let mut writer = LayoutWriter::open(folder.path()).unwrap();
        let second = image(&mut writer, "another");
        writer.list(second.clone(), Some("latest"));
        writer.commit().unwrap();
        let layout = Layout::open(folder.path()).unwrap();
        assert_eq!(layout.images().len(), 2);
        layout.read(&first).unwrap();
        // With its last name the first goes, all but the configuration that both have.
        let mut writer = LayoutWriter::open(folder.path()).unwrap();
        writer.list(second.clone(), Some("1.0"));
        writer.commit().unwrap();
        let layout = Layout::open(folder.path()).unwrap();
        assert!(matches!(layout.read(&first), Err(LayoutError::MissingBlob { .. })));
        layout.read(&second).unwrap();
        assert_eq!(files(folder.path()).len(), 5, "{:?}", files(folder.path()));
    }

    #[test]
    fn what_is_no_layout_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes"), "x").unwrap();
        assert!(matches!(LayoutWriter::open(folder.path()), Err(LayoutError::NotALayout { .. })));
        assert!(matches!(LayoutWriter::open(&folder.path().join("notes")), Err(LayoutError::NotALayout { .. })));
        assert_eq!(files(folder.path()), BTreeSet::from([PathBuf::from("notes")]));
    }
}
