//! Images in files: OCI layouts, as folders and in archives, and Docker's archives.

mod archive;
mod content;
mod docker;
mod error;
mod members;
mod writer;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::document::short;
use crate::{Descriptor, Digest, Document, DocumentError, Found, ImageIndex, MAX_MANIFEST, look, media_type};
pub use archive::write_archive;
pub use error::LayoutError;
use members::{Members, Span};
pub use writer::{LayoutWriter, Staged};

/// The annotation that holds an image's name in a layout (image-spec, "Annotations").
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What a compressed file begins with, the format, and the program that undoes it.
const COMPRESSIONS: [(&[u8], &str, &str); 4] = [
    (&[0x1f, 0x8b], "gzip", "gunzip"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz", "unxz"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "unzstd"),
    (b"BZh", "bzip2", "bunzip2"),
];

/// Images in a folder or an archive. Opening one reads what names them, and nothing of the content but layers that a Docker archive holds compressed.
///
/// The files are not locked: what changes under a layout shows as an error of the operation that meets it.
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
    kind: LayoutKind,
    images: Vec<NamedImage>,
    /// What an archive holds; `None` for a folder.
    archived: Option<Archived>,
}

/// The form of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutKind {
    /// An OCI layout as a folder (image-spec, "OCI Image Layout Specification").
    Folder,
    /// An OCI layout in a tar archive.
    Archive,
    /// An archive in Docker's own form. Its manifests are made here, the same ones every time.
    DockerArchive,
}

/// An image of a layout, in the place where the layout lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedImage {
    /// The annotation `org.opencontainers.image.ref.name`, or a name and tag that Docker knew it by: any text.
    pub name: Option<String>,
    /// Descriptor of its manifest, or of an index.
    pub descriptor: Descriptor,
}

/// Where a blob lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file: the blob's own, or the archive.
    pub path: PathBuf,
    /// Where the blob begins in the file, in bytes.
    pub offset: u64,
    /// Length of the blob in bytes.
    pub length: u64,
}

/// The content of an archive.
#[derive(Debug)]
struct Archived {
    spans: HashMap<Digest, Span>,
    /// Manifests that are in no file.
    made: HashMap<Digest, Vec<u8>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    image_layout_version: String,
}

impl Layout {
    /// Opens a folder or an archive, whatever it is called. An archive that is both an OCI layout and one of Docker's is the former. An
    /// archive may also hold the layout's folder.
    ///
    /// # Errors
    ///
    /// [`LayoutError::NotALayout`] when it is no image, [`LayoutError::Compressed`] when it may be one after decompression; all others when
    /// it is one that cannot be used.
    pub fn open(path: &Path) -> Result<Self, LayoutError> {
        match look(path).map_err(LayoutError::io(path))? {
            Found::Folder => Self::open_folder(path),
            Found::File(_) => Self::open_archive(path),
            Found::Nothing => Err(LayoutError::io(path)(rustix::io::Errno::NOENT.into())),
            Found::Other => Err(LayoutError::not_a_layout(path, "it is neither a folder nor a file")),
        }
    }

    fn open_folder(path: &Path) -> Result<Self, LayoutError> {
        if let Some(version) = member(path, "oci-layout")? {
            check_version(&version, path)?;
        }
        Ok(Self { images: named(folder_index(path)?), ..Self::of_folder(path) })
    }

    /// A folder that is a layout, for reading what its blobs are called by; it lists nothing.
    fn of_folder(path: &Path) -> Self {
        Self { path: path.to_owned(), kind: LayoutKind::Folder, images: Vec::new(), archived: None }
    }

    fn open_archive(path: &Path) -> Result<Self, LayoutError> {
        let file = File::open(path).map_err(LayoutError::io(path))?;
        let mut start = Vec::new();
        (&file).take(8).read_to_end(&mut start).map_err(LayoutError::io(path))?;
        if let Some((_, format, command)) = COMPRESSIONS.iter().find(|(magic, ..)| start.starts_with(magic)) {
            return Err(LayoutError::Compressed { path: path.to_owned(), format, command });
        }
        let mut members = Members::scan(&file, path)?;
        if members.get("index.json").or(members.get("manifest.json")).is_none() {
            // A folder was packed, and not what is in it.
            members.enter_folder_with("index.json");
        }
        if let Some(index) = members.get("index.json") {
            if let Some(version) = members.get("oci-layout") {
                check_version(&content::read(&file, version, "oci-layout", path)?, path)?;
            }
            let images = named(parse_index(&content::read(&file, index, "index.json", path)?, path)?);
            let blobs = members.names().filter_map(|name| Some((blob(name)?, members.get(name)?))).collect();
            let archived = Archived { spans: blobs, made: HashMap::new() };
            return Ok(Self { path: path.to_owned(), kind: LayoutKind::Archive, images, archived: Some(archived) });
        }
        if let Some(manifest) = members.get("manifest.json") {
            let (images, archived) = docker::read(&file, path, &members, manifest)?;
            return Ok(Self { path: path.to_owned(), kind: LayoutKind::DockerArchive, images, archived: Some(archived) });
        }
        let why = match members.get("repositories") {
            Some(_) => "it has no manifest.json; a Docker older than 1.10 saved it",
            None => "it has neither index.json nor manifest.json",
        };
        Err(LayoutError::not_a_layout(path, why))
    }

    /// Where the folder of a layout keeps the blob of this digest, whether it is there or not.
    pub fn blob_path(folder: &Path, digest: &Digest) -> PathBuf {
        folder.join("blobs").join(digest.algorithm().as_str()).join(hex::encode(digest.hash()))
    }

    /// The form.
    pub fn kind(&self) -> LayoutKind {
        self.kind
    }

    /// The folder or archive, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The images, in the layout's order; one that has several names is there several times.
    pub fn images(&self) -> &[NamedImage] {
        &self.images
    }

    /// A manifest or configuration, with the length and the digest that its descriptor has.
    ///
    /// # Errors
    ///
    /// [`LayoutError::TooLarge`] for more than [`MAX_MANIFEST`], [`LayoutError::MissingBlob`], [`LayoutError::WrongLength`],
    /// [`LayoutError::Altered`].
    pub fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>, LayoutError> {
        if let Some(made) = self.made(descriptor)? {
            return Ok(made.to_vec());
        }
        if descriptor.size > MAX_MANIFEST as u64 {
            let (what, path) = (descriptor.digest.to_string(), self.path.clone());
            return Err(LayoutError::TooLarge { what, path, size: descriptor.size });
        }
        let place = self.place(descriptor)?;
        let bytes = content::read(&place.open()?, place.span(), &descriptor.digest.text(), &place.path)?;
        match Digest::of(descriptor.digest.algorithm(), &bytes) == descriptor.digest {
            true => Ok(bytes),
            false => Err(LayoutError::Altered { digest: descriptor.digest, path: place.path }),
        }
    }

    /// Where a blob lies. It is there and has its descriptor's length; its content is not looked at. The manifests of a Docker archive lie
    /// nowhere, and are to be had from [`Layout::read`] alone.
    ///
    /// # Errors
    ///
    /// [`LayoutError::MissingBlob`], [`LayoutError::WrongLength`].
    pub fn place(&self, descriptor: &Descriptor) -> Result<Place, LayoutError> {
        let digest = &descriptor.digest;
        let missing = || LayoutError::MissingBlob { digest: *digest, path: self.path.clone() };
        let place = match &self.archived {
            Some(archived) => {
                let Span { offset, length } = *archived.spans.get(digest).ok_or_else(missing)?;
                Place { path: self.path.clone(), offset, length }
            }
            None => {
                let path = Self::blob_path(&self.path, digest);
                match look(&path).map_err(LayoutError::io(&path))? {
                    Found::File(length) => Place { path, offset: 0, length },
                    _ => return Err(missing()),
                }
            }
        };
        self.check_length(descriptor, place.length, &place.path)?;
        Ok(place)
    }

    /// Reads a blob of any length and compares its content with its digest: for telling what is wrong when someone refused it.
    ///
    /// # Errors
    ///
    /// [`LayoutError::Altered`], and those of [`Layout::place`].
    pub fn verify(&self, descriptor: &Descriptor) -> Result<(), LayoutError> {
        if self.made(descriptor)?.is_some() {
            return Ok(());
        }
        let place = self.place(descriptor)?;
        let digest = content::digest(&place.open()?, place.span(), descriptor.digest.algorithm(), &place.path)?;
        match digest == descriptor.digest {
            true => Ok(()),
            false => Err(LayoutError::Altered { digest: descriptor.digest, path: place.path }),
        }
    }

    /// A manifest that is in no file.
    fn made(&self, descriptor: &Descriptor) -> Result<Option<&[u8]>, LayoutError> {
        let made = self.archived.as_ref().and_then(|archived| archived.made.get(&descriptor.digest));
        made.iter().try_for_each(|made| self.check_length(descriptor, made.len() as u64, &self.path))?;
        Ok(made.map(Vec::as_slice))
    }

    fn check_length(&self, descriptor: &Descriptor, found: u64, path: &Path) -> Result<(), LayoutError> {
        if found == descriptor.size {
            return Ok(());
        }
        Err(LayoutError::WrongLength { digest: descriptor.digest, path: path.to_owned(), expected: descriptor.size, found })
    }
}

impl Place {
    /// The blob's bytes, from the first to the last.
    pub fn reader(&self) -> Result<io::Take<File>, LayoutError> {
        let mut file = self.open()?;
        file.seek(SeekFrom::Start(self.offset)).map_err(LayoutError::io(&self.path))?;
        Ok(file.take(self.length))
    }

    fn open(&self) -> Result<File, LayoutError> {
        File::open(&self.path).map_err(LayoutError::io(&self.path))
    }

    fn span(&self) -> Span {
        Span { offset: self.offset, length: self.length }
    }
}

/// A file of a layout's folder.
fn member(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, LayoutError> {
    let file = folder.join(name);
    match look(&file).map_err(LayoutError::io(&file))? {
        Found::File(length) => {
            let open = File::open(&file).map_err(LayoutError::io(&file))?;
            content::read(&open, Span { offset: 0, length }, name, folder).map(Some)
        }
        Found::Nothing => Ok(None),
        // To open a pipe would be to wait for somebody who writes to it.
        Found::Folder | Found::Other => Err(LayoutError::not_a_layout(folder, format!("its {name} is no file"))),
    }
}

/// The `index.json` of a folder.
fn folder_index(folder: &Path) -> Result<ImageIndex, LayoutError> {
    let bytes = member(folder, "index.json")?;
    parse_index(&bytes.ok_or_else(|| LayoutError::not_a_layout(folder, "it has no index.json"))?, folder)
}

fn parse_index(bytes: &[u8], path: &Path) -> Result<ImageIndex, LayoutError> {
    let index = match Document::parse(bytes, media_type::OCI_INDEX) {
        Ok(Document::Index(index)) => Ok(index),
        Ok(Document::Image(_)) => Err(DocumentError::NoMediaType),
        Err(error) => Err(error),
    };
    index.map_err(LayoutError::json("index.json", path))
}

/// The images that an index lists.
fn named(index: ImageIndex) -> Vec<NamedImage> {
    index.manifests.into_iter().map(NamedImage::of).collect()
}

impl NamedImage {
    fn of(descriptor: Descriptor) -> Self {
        Self { name: descriptor.annotation(REF_NAME).map(str::to_owned), descriptor }
    }
}

/// Whether an `oci-layout` is of a version with the form that is known here.
fn check_version(bytes: &[u8], path: &Path) -> Result<(), LayoutError> {
    let version: Version =
        serde_json::from_slice(bytes).map_err(DocumentError::from).map_err(LayoutError::json("oci-layout", path))?;
    let version = version.image_layout_version;
    match version.starts_with("1.") {
        true => Ok(()),
        false => Err(LayoutError::not_a_layout(path, format!("its layout version {:?} is not supported", short(&version)))),
    }
}

/// The digest of a blob by its name in an archive.
fn blob(name: &str) -> Option<Digest> {
    let (algorithm, hash) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hash}").parse().ok()
}

#[cfg(test)]
mod tests;
