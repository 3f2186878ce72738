//! Objects as files under one folder.
//!
//! An object is written where it stays. There is no rename: an object counts from the moment the index names it, and not before, so a finished
//! name would only cost another folder sync. Places are given out folder by folder, about a thousand each, so that uploads at the same time share
//! a folder and thereby its sync.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::folder_sync::FolderSync;
use super::{BlobStore, Content, Feed, Location, Staging};
use crate::{Result, StoreError, Timestamp};

/// An empty file that says that this is the folder of blobs, and not the empty place where it is mounted.
pub(crate) const MARK: &str = ".wharf";
/// Files in one folder before the next is begun. Folders of this size stay quick on every file system.
const FOLDER_SIZE: u32 = 1_000;
/// Folders; with a thousand files a turn, sixteen million objects have four turns each.
const FOLDERS: u32 = 4_096;
/// Folders whose syncs are shared.
const FOLDERS_KNOWN: usize = 64;
/// Bytes after which the kernel is asked to start writing back, so that the final sync finds little left to do.
const WRITE_BACK: u64 = 8 << 20;

/// Objects as files under a folder.
#[derive(Debug)]
pub struct Files {
    blobs: Arc<PathBuf>,
    quarantine: PathBuf,
    current: Mutex<Folder>,
    /// The folders that were written to lately.
    syncs: Mutex<HashMap<PathBuf, Arc<FolderSync>>>,
}

#[derive(Debug)]
struct Folder {
    number: u32,
    left: u32,
}

impl Files {
    /// Objects live in `root/blobs`, damaged ones in `root/quarantine`. Both are created, unless there must be objects already: then the folder of blobs is refused
    /// when it is another one, as it is when a disk was not mounted.
    pub fn open(root: &Path, must_hold_objects: bool) -> Result<Self> {
        let (blobs, quarantine) = (root.join("blobs"), root.join("quarantine"));
        let mark = blobs.join(MARK);
        if must_hold_objects && !mark.exists() {
            let what = format!(
                "the index knows blobs, but {} is not their folder: is its disk mounted? If it is the right one, create {}",
                blobs.display(),
                mark.display()
            );
            return Err(StoreError::Backend { context: "opening the blob folders", source: what.into() });
        }
        let make = || {
            fs::create_dir_all(&blobs)?;
            fs::create_dir_all(&quarantine)?;
            OpenOptions::new().append(true).create(true).open(&mark)?;
            sync_folder(&blobs)?;
            sync_folder(root)
        };
        make().map_err(|error| StoreError::io("creating the blob folders", error))?;
        Ok(Self {
            blobs: Arc::new(blobs),
            quarantine,
            current: Mutex::new(Folder { number: 0, left: 0 }),
            syncs: Mutex::default(),
        })
    }

    fn path(&self, location: &Location) -> PathBuf {
        self.blobs.join(&location.0)
    }

    /// The shared sync of a file's folder.
    fn folder_sync(&self, path: &Path) -> Arc<FolderSync> {
        let folder = path.parent().unwrap_or(&self.blobs);
        let mut syncs = self.syncs.lock();
        if let Some(sync) = syncs.get(folder) {
            return sync.clone();
        }
        // New files go into one folder for a long time; others are those of resumed uploads. Who still holds an old one goes on with it.
        if syncs.len() >= FOLDERS_KNOWN {
            syncs.clear();
        }
        let sync = Arc::new(FolderSync::new(folder.to_owned()));
        syncs.insert(folder.to_owned(), sync.clone());
        sync
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Runs blocking file work off the async threads.
async fn blocking<T: Send + 'static>(context: &'static str, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| StoreError::io(context, error)),
        Err(_) => Err(StoreError::Stopped),
    }
}

#[async_trait]
impl BlobStore for Files {
    fn allocate(&self) -> Location {
        let id = uuid::Uuid::new_v4();
        let mut folder = self.current.lock();
        if folder.left == 0 {
            // Any folder will do; a random one spreads the turns of many restarts.
            *folder = Folder { number: id.as_fields().0 % FOLDERS, left: FOLDER_SIZE };
        }
        folder.left -= 1;
        Location(format!("{:03x}/{}", folder.number, id.simple()))
    }

    async fn stage(&self, location: &Location, length: u64) -> Result<Option<Box<dyn Staging>>> {
        let (path, blobs) = (self.path(location), self.blobs.clone());
        let file = blocking("opening a staged blob", move || {
            if length == 0 {
                return create(&path, &blobs).map(Some);
            }
            let file = match OpenOptions::new().read(true).write(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            if file.metadata()?.len() < length {
                return Ok(None);
            }
            file.set_len(length)?;
            (&file).seek(SeekFrom::Start(length))?;
            Ok(Some(file))
        })
        .await?;
        let path = self.path(location);
        let folder = self.folder_sync(&path);
        Ok(file.map(|file| {
            Box::new(StagedFile { file: Arc::new(file), path, folder, written: length, handed_to_disk: length })
                as Box<dyn Staging>
        }))
    }

    async fn open(&self, location: &Location, size: u64) -> Result<Option<Content>> {
        let (path, blobs) = (self.path(location), self.blobs.clone());
        blocking("opening a blob", move || {
            let file = match File::open(&path) {
                Ok(file) => file,
                // Without its folder a file is not damaged, only out of reach.
                Err(error) if error.kind() == io::ErrorKind::NotFound && blobs.join(MARK).exists() => return Ok(None),
                Err(error) => return Err(error),
            };
            Ok((file.metadata()?.len() == size).then(|| Content::File { file: Arc::new(file), size }))
        })
        .await
    }

    async fn delete(&self, locations: Vec<Location>) -> Result<Vec<Location>> {
        let blobs = self.blobs.clone();
        blocking("deleting blobs", move || {
            Ok(locations
                .into_iter()
                .filter(|location| match fs::remove_file(blobs.join(&location.0)) {
                    Ok(()) => false,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                    Err(error) => {
                        tracing::warn!(location = location.0, %error, "cannot delete a blob file; it is tried again");
                        true
                    }
                })
                .collect())
        })
        .await
    }

    async fn quarantine(&self, location: &Location) -> Result<()> {
        let (from, to) = (self.path(location), self.quarantine.join(location.0.replace('/', "-")));
        blocking("putting a damaged blob aside", move || match fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        })
        .await
    }

    async fn scan(&self, before: Timestamp, from: String) -> Result<(Vec<Location>, Option<String>)> {
        let blobs = self.blobs.clone();
        let first = from.parse().unwrap_or(0);
        blocking("listing blobs", move || {
            for number in first..FOLDERS {
                let found = list(&blobs, number, before)?;
                if !found.is_empty() {
                    return Ok((found, Some((number + 1).to_string())));
                }
            }
            Ok((Vec::new(), None))
        })
        .await
    }

    async fn free_space(&self) -> Result<Option<u64>> {
        let blobs = self.blobs.clone();
        blocking("asking for free space", move || {
            let stat = rustix::fs::statvfs(&*blobs)?;
            Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
        })
        .await
    }
}

/// The files of one folder that were last written before `before`.
fn list(blobs: &Path, number: u32, before: Timestamp) -> io::Result<Vec<Location>> {
    let folder = format!("{number:03x}");
    let entries = match fs::read_dir(blobs.join(&folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        // A file may be collected between the listing and this look at it.
        let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else { continue };
        let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
        if i64::try_from(modified).is_ok_and(|modified| modified < before.0)
            && let Some(name) = entry.file_name().to_str()
        {
            found.push(Location(format!("{folder}/{name}")));
        }
    }
    Ok(found)
}

/// Creates the file, and its folder the first time that is used.
fn create(path: &Path, blobs: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                match fs::create_dir(folder) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => sync_folder(blobs)?,
                }
            }
            open()
        }
        result => result,
    }
}

struct StagedFile {
    file: Arc<File>,
    path: PathBuf,
    folder: Arc<FolderSync>,
    written: u64,
    handed_to_disk: u64,
}

#[async_trait]
impl Staging for StagedFile {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let (file, length) = (self.file.clone(), bytes.len() as u64);
        let hand_over =
            (self.written + length - self.handed_to_disk >= WRITE_BACK).then_some((self.handed_to_disk, self.written));
        blocking("writing a blob", move || {
            (&*file).write_all(&bytes)?;
            if let Some((from, to)) = hand_over {
                start_write_back(&file, from, to - from);
            }
            Ok(())
        })
        .await?;
        if let Some((_, to)) = hand_over {
            self.handed_to_disk = to;
        }
        self.written += length;
        Ok(())
    }

    async fn sync(&mut self) -> Result<()> {
        #[cfg(feature = "planted")]
        if crate::planted::Planted::Fsync.is_on() {
            return Ok(());
        }
        let file = self.file.clone();
        // Each is durable by itself, so neither waits for the other. Times of the file do not matter, its length does, and is synced with its data.
        let data = blocking("syncing a blob", move || file.sync_data());
        let (data, name) = tokio::join!(data, self.folder.clone().sync());
        data.and(name.map_err(|error| StoreError::io("syncing the folder of a blob", error)))
    }

    fn file(&self) -> Option<Arc<File>> {
        Some(self.file.clone())
    }

    async fn read_back(&mut self, mut each: Feed) -> Result<()> {
        let (path, length) = (self.path.clone(), self.written);
        blocking("reading a blob back", move || {
            let mut file = File::open(path)?.take(length);
            let mut buffer = vec![0; 256 << 10];
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(()),
                    n => each(&buffer[..n]),
                }
            }
        })
        .await
    }
}

/// Asks the kernel to begin writing a range to disk without waiting for it. Only a hint: the sync at the end is what counts, so a failure is no error.
#[expect(unsafe_code, reason = "no safe wrapper of sync_file_range in the crates used here")]
fn start_write_back(file: &File, offset: u64, length: u64) {
    use std::os::fd::AsRawFd;
    let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) else { return };
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and the call touches no memory of this process.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
}
