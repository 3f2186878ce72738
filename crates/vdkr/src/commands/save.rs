//! `save`: images in one archive that Docker, podman and skopeo take, and that is an OCI layout besides.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use wharf_layers::Decoded;
use wharf_oci::{Descriptor, Digest, Hasher, ImageIndex, ImageManifest, Layout, media_type};
use wharf_terminal::ui::Failure;

use crate::cli::images::Save;
use crate::settings::Settings;
use crate::store::{Image, Store, familiar};

/// Bytes that are copied at once.
const BUFFER: usize = 256 << 10;

/// Writes the archive. A file is there whole, or not at all.
pub fn run(settings: &Settings, options: &Save) -> Result<ExitCode, Failure> {
    let store = Store::of(settings);
    let mut images: Vec<(Image, Vec<String>)> = Vec::new();
    for text in &options.images {
        let found = store.find(settings, text)?;
        let names = found.name.into_iter().collect::<Vec<_>>();
        match images.iter_mut().find(|(known, _)| known.id == found.image.id) {
            Some((_, known)) => known.extend(names),
            None => images.push((found.image, names)),
        }
    }
    let layout = super::layout_of(&store)?;
    let scratch = store.downloads()?;
    match &options.output {
        Some(path) => {
            let cannot = |error: io::Error| Failure::new(format!("cannot write {}", path.display())).because(&error);
            if path.exists() && !path.is_file() {
                // A pipe or a device is written to as it is.
                let file = fs::OpenOptions::new().write(true).open(path).map_err(cannot)?;
                write(&layout, &images, &scratch, BufWriter::new(file))?;
                return Ok(ExitCode::SUCCESS);
            }
            let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut file = tempfile::Builder::new().prefix(".vdkr-save-").tempfile_in(beside).map_err(cannot)?;
            write(&layout, &images, &scratch, BufWriter::new(file.as_file_mut()))?;
            file.persist(path).map_err(|error| cannot(error.error))?;
        }
        None if io::stdout().is_terminal() => {
            return Err(
                Failure::new("an archive is nothing for a terminal").hint("-o FILE names a file, or redirect standard output")
            );
        }
        None => write(&layout, &images, &scratch, BufWriter::new(io::stdout().lock()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What went wrong in writing.
fn unwritten(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
        _ => Failure::new("cannot write the archive").because(error),
    }
}

fn write(layout: &Layout, images: &[(Image, Vec<String>)], scratch: &Path, out: impl Write) -> Result<(), Failure> {
    let mut archive = Archive { archive: tar::Builder::new(out), there: BTreeMap::new() };
    let (mut entries, mut listed) = (Vec::new(), Vec::new());
    for (image, names) in images {
        let config = layout.read(&image.manifest.config).map_err(|error| Failure::of(&error))?;
        archive.add(&path(&image.id), config.len() as u64, config.as_slice())?;
        let diff_ids = image.diff_ids();
        if diff_ids.len() != image.manifest.layers.len() {
            return Err(Failure::new(format!(
                "{} has {} layers, and its configuration tells of {}",
                image.short_id(),
                image.manifest.layers.len(),
                diff_ids.len()
            )));
        }
        let mut layers = Vec::new();
        for (layer, diff_id) in image.manifest.layers.iter().zip(&diff_ids) {
            let diff_id: Digest = diff_id.parse().map_err(|_| Failure::new(format!("{diff_id} is no digest")))?;
            let size = match archive.there.get(&diff_id) {
                Some(size) => *size,
                None => {
                    let (file, size) = plain(layout, layer, &diff_id, scratch)?;
                    archive.add(&path(&diff_id), size, file)?;
                    archive.there.insert(diff_id, size);
                    size
                }
            };
            layers.push(Descriptor::new(media_type::OCI_LAYER, diff_id, size));
        }
        let paths: Vec<_> = layers.iter().map(|layer| path(&layer.digest)).collect();
        let tags: Vec<_> = names.iter().map(|name| familiar(name)).collect();
        let tags = if tags.is_empty() { serde_json::Value::Null } else { json!(tags) };
        entries.push(json!({"Config": path(&image.id), "RepoTags": tags, "Layers": paths}));
        let config = Descriptor::new(media_type::OCI_CONFIG, image.id, config.len() as u64);
        let media_type = media_type::OCI_MANIFEST.to_owned();
        let manifest =
            ImageManifest { media_type, artifact_type: None, config, layers, subject: None, annotations: None }.to_bytes();
        let digest = Digest::sha256(&manifest);
        archive.add(&path(&digest), manifest.len() as u64, manifest.as_slice())?;
        let mut descriptor = Descriptor::new(media_type::OCI_MANIFEST, digest, manifest.len() as u64);
        descriptor.platform = image.descriptor.platform.clone();
        match names.as_slice() {
            [] => listed.push(descriptor),
            names => listed.extend(names.iter().map(|name| {
                let tag = name.rsplit_once(':').map_or("", |(_, tag)| tag).to_owned();
                let annotations = [("io.containerd.image.name", name.clone()), ("org.opencontainers.image.ref.name", tag)];
                let annotations = annotations.map(|(key, value)| (key.to_owned(), value)).into();
                Descriptor { annotations: Some(annotations), ..descriptor.clone() }
            })),
        }
    }
    let index = ImageIndex::new(listed).to_bytes();
    archive.add("index.json", index.len() as u64, index.as_slice())?;
    let manifest = serde_json::Value::Array(entries).to_string();
    archive.add("manifest.json", manifest.len() as u64, manifest.as_bytes())?;
    let version = br#"{"imageLayoutVersion":"1.0.0"}"#;
    archive.add("oci-layout", version.len() as u64, version.as_slice())?;
    let mut out = archive.archive.into_inner().map_err(|error| unwritten(&error))?;
    out.flush().map_err(|error| unwritten(&error))
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}", digest.to_string().replace(':', "/"))
}

struct Archive<W: Write> {
    archive: tar::Builder<W>,
    /// Layers that are in it, with their lengths.
    there: BTreeMap<Digest, u64>,
}

impl<W: Write> Archive<W> {
    fn add(&mut self, name: &str, size: u64, content: impl Read) -> Result<(), Failure> {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(size);
        self.archive.append_data(&mut header, name, content).map_err(|error| unwritten(&error))
    }
}

/// A layer uncompressed, compared with what the configuration says of it. An archive tells the length of a member before its content.
fn plain(layout: &Layout, layer: &Descriptor, diff_id: &Digest, scratch: &Path) -> Result<(File, u64), Failure> {
    let failed = |error: io::Error| Failure::new(format!("the layer {} cannot be read", layer.digest)).because(&error);
    let reader = layout.place(layer).and_then(|place| place.reader()).map_err(|error| Failure::of(&error))?;
    let mut decoded = Decoded::new(reader).map_err(|error| Failure::of(&error))?;
    let mut file = tempfile::tempfile_in(scratch).map_err(failed)?;
    let mut hasher = Hasher::new(diff_id.algorithm());
    let mut buffer = vec![0; BUFFER];
    let mut size = 0;
    loop {
        let read = decoded.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        file.write_all(&buffer[..read]).map_err(failed)?;
        size += read as u64;
    }
    if hasher.digest(diff_id.algorithm()).as_ref() != Some(diff_id) {
        return Err(Failure::new(format!("the layer {} is not what its image says", layer.digest)));
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok((file, size))
}
