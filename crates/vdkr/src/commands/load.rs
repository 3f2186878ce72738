//! `load`: images out of an archive, Docker's or OCI's.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tempfile::NamedTempFile;
use wharf_layers::{Compression, Decoded};
use wharf_oci::{Descriptor, Document, ImageReference, Layout, LayoutError, LayoutKind, NamedImage, Platform};
use wharf_terminal::ui::{self, Failure, Output};

use super::{check_platform, make_ready, of_index};
use crate::cli::images::Load;
use crate::settings::Settings;
use crate::store::{self, Listing, Store, familiar};

/// Reads the archive.
pub fn run(settings: &Settings, options: &Load) -> Result<ExitCode, Failure> {
    ui::Manner { quiet: options.quiet, ..ui::Manner::now() }.set();
    let store = Store::of(settings);
    let mut kept = None;
    let path = match &options.input {
        Some(path) => path.clone(),
        None if io::stdin().is_terminal() => {
            return Err(
                Failure::new("an archive is nothing to be typed").hint("-i FILE names a file, or redirect standard input")
            );
        }
        None => spooled(io::stdin().lock(), &store, &mut kept)?,
    };
    let archive = open(&path, &store, &mut kept)?;
    if archive.kind() == LayoutKind::Folder {
        return Err(Failure::new(format!("{} is a folder", path.display())).hint("`vdkr vimport` takes in folders"));
    }
    let mut output = Output::default();
    for loaded in take_all(settings, &store, &archive, None)? {
        output.print(format_args!("Loaded image{loaded}\n"));
    }
    output.end().map(|()| ExitCode::SUCCESS)
}

/// Opens an archive, decompressed first where it is compressed.
pub fn open(path: &Path, store: &Store, kept: &mut Option<NamedTempFile>) -> Result<Layout, Failure> {
    let failure = |error: &LayoutError| Failure::of(error).about(&format!("{} cannot be loaded", path.display()));
    match Layout::open(path) {
        Err(LayoutError::Compressed { format: "gzip" | "zstd", .. }) => {
            let file =
                File::open(path).map_err(|error| Failure::new(format!("cannot read {}", path.display())).because(&error))?;
            let decoded = Decoded::new(file).map_err(|error| Failure::of(&error))?;
            debug_assert!(decoded.compression() != Compression::None);
            let plain = spooled(decoded, store, kept)?;
            Layout::open(&plain).map_err(|error| failure(&error))
        }
        opened => opened.map_err(|error| failure(&error)),
    }
}

/// A stream as a file, for archives are not read from front to back.
fn spooled(mut stream: impl Read, store: &Store, kept: &mut Option<NamedTempFile>) -> Result<PathBuf, Failure> {
    let failed = |error: io::Error| Failure::new("the archive cannot be read").because(&error);
    let mut file = NamedTempFile::new_in(store.downloads()?).map_err(failed)?;
    io::copy(&mut stream, file.as_file_mut()).map_err(failed)?;
    file.as_file_mut().seek(SeekFrom::Start(0)).map_err(failed)?;
    let path = file.path().to_owned();
    *kept = Some(file);
    Ok(path)
}

/// Takes all images of a layout or archive in, and returns for each what is said of it. With `name`, the one image gets that name instead of its own.
pub fn take_all(settings: &Settings, store: &Store, from: &Layout, name: Option<&str>) -> Result<Vec<String>, Failure> {
    let mut by_image: Vec<(Descriptor, Vec<String>)> = Vec::new();
    for entry in from.images() {
        let descriptor = chosen(settings, from, entry)?;
        let own = own_name(entry);
        match by_image.iter_mut().find(|(known, _)| known.digest == descriptor.digest) {
            Some((_, names)) => names.extend(own),
            None => by_image.push((descriptor, own.into_iter().collect())),
        }
    }
    match (by_image.len(), name) {
        (0, _) => return Err(Failure::new(format!("{} holds no image", from.path().display()))),
        (1, Some(name)) => by_image[0].1 = vec![name.to_owned()],
        (several, Some(_)) => {
            return Err(Failure::new(format!("{} holds {several} images, and one name was given", from.path().display())));
        }
        _ => {}
    }
    let mut writer = store.writer()?;
    let mut said = Vec::new();
    for (descriptor, names) in &by_image {
        copy(settings, from, descriptor, &mut writer)?;
        Store::list(&mut writer, descriptor, &Listing { names: names.clone(), repository_digest: None });
    }
    Store::commit(writer)?;
    for (descriptor, names) in &by_image {
        make_ready(settings, store, descriptor)?;
        said.extend(names.iter().map(|name| format!(": {}", familiar(name))));
        if names.is_empty() {
            let images = store.images()?;
            let id = images.iter().find(|image| image.has(&descriptor.digest)).map(|image| image.full_id());
            said.push(format!(" ID: {}", id.unwrap_or_else(|| descriptor.digest.to_string())));
        }
    }
    Ok(said)
}

/// The manifest that an entry of a layout means for this architecture.
fn chosen(settings: &Settings, from: &Layout, entry: &NamedImage) -> Result<Descriptor, Failure> {
    let shown = entry.name.clone().unwrap_or_else(|| from.path().display().to_string());
    let bytes = from.read(&entry.descriptor).map_err(|error| Failure::of(&error))?;
    let document = Document::parse(&bytes, &entry.descriptor.media_type);
    let mut descriptor = match document.map_err(|error| Failure::new(format!("{shown} cannot be used")).because(&error))? {
        Document::Index(index) => of_index(settings.arch, &index, None, &shown)?,
        Document::Image(_) => entry.descriptor.clone(),
    };
    // What other programs noted on the entry is theirs.
    descriptor.annotations = None;
    Ok(descriptor)
}

/// The name of an entry, in full: what containerd and Docker note, else the annotation of OCI where it is more than a tag.
fn own_name(entry: &NamedImage) -> Option<String> {
    let noted = entry.descriptor.annotation("io.containerd.image.name");
    let own = entry.name.as_deref().filter(|name| name.contains([':', '/']));
    let name: ImageReference = noted.or(own)?.parse().ok()?;
    Some(store::full(&name))
}

/// Copies an image, every blob compared with its digest on the way.
fn copy(
    settings: &Settings,
    from: &Layout,
    descriptor: &Descriptor,
    writer: &mut wharf_oci::LayoutWriter,
) -> Result<(), Failure> {
    let failed = |error: LayoutError| Failure::of(&error);
    let bytes = from.read(descriptor).map_err(failed)?;
    let document = Document::parse(&bytes, &descriptor.media_type);
    let Ok(Document::Image(manifest)) = document else {
        return Err(Failure::new(format!("{} is no image that can be run", descriptor.digest)));
    };
    if !manifest.is_image() {
        return Err(Failure::new(format!("{} is an artifact, no image", descriptor.digest)));
    }
    let config = from.read(&manifest.config).map_err(failed)?;
    let own: Option<Platform> = wharf_oci::ImageConfig::parse(&config).ok().and_then(|config| config.platform);
    check_platform(settings.arch, descriptor.platform.as_ref().or(own.as_ref()), None, &from.path().display().to_string())?;
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        if !writer.has(&blob.digest, blob.size) {
            from.verify(blob).map_err(failed)?;
            writer.copy(from, blob).map_err(failed)?;
        }
    }
    writer.add_as(&bytes, &descriptor.digest).map_err(failed)
}
