//! Layers in another form on their way to the registry.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wharf_layers::annotation::{self, CHUNKED_PREFIXES, CUT, MANIFEST_CHECKSUM};
use wharf_layers::{Form, LayerWriter, convert};
use wharf_oci::{Descriptor, Digest, ImageConfig, ImageManifest, Layout, LayoutKind, LayoutWriter, media_type};

use crate::cli::Compression;
use crate::layout_path::Pick;
use crate::rewrite::{Edit, Members, Rewriter};
use crate::ui::{self, Failure};

/// Where large temporary files go, unless TMPDIR says otherwise: /tmp is often memory.
const TEMPORARY: &str = "/var/tmp";
/// What the names of folders there begin with.
const PREFIX: &str = "wharf-push-";
/// The layout in such a folder.
const LAYOUT: &str = "layout";

/// A layout's images with layers of another form, in a layout that goes with it.
pub struct Recompressed {
    /// The images.
    pub layout: Layout,
    /// What keeps them where they are.
    pub folder: Temporary,
}

/// A folder that goes when this does. Should the process be killed before, the next one takes it away.
pub struct Temporary {
    _folder: TempDir,
    /// Shows to others that this process still needs it.
    _lock: File,
}

/// Writes the images of a layout anew: those of this name, or all.
pub fn recompress(layout: &Layout, pick: Option<&Pick>, compression: Compression) -> Result<Recompressed, Failure> {
    let temporary = std::env::var_os("TMPDIR").map(PathBuf::from);
    let temporary =
        temporary.unwrap_or_else(|| if PathBuf::from(TEMPORARY).is_dir() { TEMPORARY.into() } else { std::env::temp_dir() });
    let cannot = |error: io::Error| Failure::new(format!("cannot write to {}", temporary.display())).because(&error);
    remove_abandoned(&temporary);
    let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&temporary).map_err(cannot)?;
    let lock = File::open(folder.path()).and_then(|lock| lock.lock().map(|()| lock)).map_err(cannot)?;
    let mut writer = LayoutWriter::open(&folder.path().join(LAYOUT)).map_err(|error| Failure::of(&error))?;
    let path = writer.path().to_owned();
    let form = match compression {
        Compression::Gzip => Form::GZIP,
        Compression::ZstdChunked => Form::ZSTD_CHUNKED,
    };
    let mut layers = Layers { form, known: BTreeMap::new() };
    let mut edited = Vec::new();
    let mut rewriter = Rewriter::new(layout, &mut writer, &mut layers);
    for image in layout.images().iter().filter(|image| pick.is_none_or(|pick| pick.is(image))) {
        let shown = image.name.clone().unwrap_or_else(|| image.descriptor.digest.to_string());
        edited.push(rewriter.descriptor(&image.descriptor, &shown)?);
    }
    for change in &rewriter.rewritten {
        ui::say(format_args!("  {} recompressed, which changes its digest: {} -> {}", change.shown, change.old, change.new));
    }
    for image in &edited {
        complete(layout, &mut writer, image)?;
    }
    for image in edited {
        writer.append(image);
    }
    writer.commit().map_err(|error| Failure::of(&error))?;
    let layout = Layout::open(&path).map_err(|error| Failure::of(&error))?;
    Ok(Recompressed { layout, folder: Temporary { _folder: folder, _lock: lock } })
}

/// Removes what pushes left behind that were killed: folders that nobody has locked. A layout is in them only after the lock was taken.
fn remove_abandoned(temporary: &Path) {
    for entry in fs::read_dir(temporary).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
            && entry.metadata().is_ok_and(|metadata| metadata.uid() == rustix::process::geteuid().as_raw());
        if is_ours
            && let Ok(lock) = File::open(entry.path())
            && lock.try_lock().is_ok()
            && entry.path().join(LAYOUT).is_dir()
        {
            // What cannot be removed only takes room.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Brings what an image names, and what was not written anew, into the layout.
fn complete(layout: &Layout, writer: &mut LayoutWriter, image: &Descriptor) -> Result<(), Failure> {
    let mut open = vec![image.clone()];
    while let Some(descriptor) = open.pop() {
        if !media_type::is_manifest(&descriptor.media_type) {
            let elsewhere = media_type::may_be_elsewhere(&descriptor.media_type) && layout.place(&descriptor).is_err();
            if !elsewhere && !writer.has(&descriptor.digest, descriptor.size) {
                bring(layout, writer, &descriptor)?;
            }
            continue;
        }
        let bytes = match writer.has(&descriptor.digest, descriptor.size) {
            true => fs::read(writer.place(&descriptor.digest))
                .map_err(|error| Failure::new("cannot read what was written").because(&error))?,
            false => {
                let bytes = layout.read(&descriptor).map_err(|error| Failure::of(&error))?;
                writer.add_as(&bytes, &descriptor.digest).map_err(|error| Failure::of(&error))?;
                bytes
            }
        };
        match wharf_oci::Document::parse(&bytes, &descriptor.media_type) {
            Ok(wharf_oci::Document::Image(image)) => open.extend(image.layers.into_iter().chain([image.config])),
            Ok(wharf_oci::Document::Index(index)) => open.extend(index.manifests),
            Err(error) => return Err(Failure::new(format!("the manifest {} cannot be used", descriptor.digest)).because(&error)),
        }
    }
    Ok(())
}

/// Brings a blob as it is: as a link to the layout's own file, and out of an archive as a copy.
fn bring(layout: &Layout, writer: &mut LayoutWriter, blob: &Descriptor) -> Result<(), Failure> {
    let place = layout.place(blob).map_err(|error| Failure::of(&error))?;
    let cannot = |error: io::Error| Failure::new(format!("cannot read {}", place.path.display())).because(&error);
    if layout.kind() == LayoutKind::Folder {
        let path = std::path::absolute(&place.path).map_err(cannot)?;
        let link = writer.place(&blob.digest);
        let folder = link.parent().unwrap_or(&link);
        return fs::create_dir_all(folder).and_then(|()| symlink(path, &link)).map_err(cannot);
    }
    writer.copy(layout, blob).map_err(|error| Failure::of(&error))
}

/// Writes the layers of images anew.
struct Layers {
    form: Form,
    /// Layers that were written, by what they were: images share them.
    known: BTreeMap<Digest, Descriptor>,
}

impl Layers {
    /// Whether a layer is one that can be written anew, and is not of the form already.
    fn is_foreign(&self, layer: &Descriptor) -> bool {
        let kind = media_type::as_oci(&layer.media_type);
        let is_layer = [media_type::OCI_LAYER, media_type::OCI_LAYER_GZIP, media_type::OCI_LAYER_ZSTD].contains(&kind);
        let is_chunked =
            CHUNKED_PREFIXES.iter().any(|prefix| layer.annotation(&format!("{prefix}{MANIFEST_CHECKSUM}")).is_some());
        let has_form = match self.form {
            Form::ZstdChunked { .. } => is_chunked,
            _ => kind == self.form.media_type() && layer.annotation(CUT).is_some(),
        };
        is_layer && !has_form
    }

    fn layer(
        &mut self,
        layout: &Layout,
        writer: &mut LayoutWriter,
        layer: &Descriptor,
        diff_id: &Digest,
    ) -> Result<Descriptor, Failure> {
        if let Some(known) = self.known.get(&layer.digest) {
            return Ok(known.clone());
        }
        let about = |failure: Failure| failure.about(&format!("the layer {} cannot be recompressed", layer.digest));
        let place = layout.place(layer).map_err(|error| Failure::of(&error))?;
        let reader = place.reader().map_err(|error| about(Failure::of(&error)))?;
        let mut staged = writer.stage().map_err(|error| Failure::of(&error))?;
        let out = LayerWriter::new(staged.file(), self.form, self.form.cut(), 0).map_err(|error| about(Failure::of(&error)))?;
        let written = convert(reader, out).map_err(|error| about(Failure::of(&error)))?;
        if written.diff_id != *diff_id {
            return Err(about(Failure::new(format!("its content is {}, and should be {diff_id}", written.diff_id))));
        }
        if let Some(why) = &written.undescribed {
            ui::warn(&format!("the layer {} has no table of contents, and podman fetches it whole: {why}", layer.digest));
        }
        let mut new = written.descriptor;
        writer.adopt(staged, &new.digest).map_err(|error| Failure::of(&error))?;
        // What others noted about the layer stays, but for notes on how it was cut.
        let old = layer.annotations.clone().unwrap_or_default().into_iter().filter(|(key, _)| !annotation::is_of_form(key));
        let annotations: BTreeMap<_, _> = old.chain(new.annotations.take().unwrap_or_default()).collect();
        new.annotations = (!annotations.is_empty()).then_some(annotations);
        self.known.insert(layer.digest, new.clone());
        Ok(new)
    }
}

impl Edit for Layers {
    fn image(
        &mut self,
        layout: &Layout,
        writer: &mut LayoutWriter,
        bytes: &[u8],
        image: &ImageManifest,
    ) -> Result<Option<Members>, Failure> {
        if !image.layers.iter().any(|layer| self.is_foreign(layer)) {
            return Ok(None);
        }
        let config = layout.read(&image.config).map_err(|error| Failure::of(&error))?;
        let unusable = |error: &dyn std::error::Error| {
            Failure::new(format!("the configuration {} cannot be used", image.config.digest)).because(error)
        };
        let config = ImageConfig::parse(&config).map_err(|error| unusable(&error))?;
        if config.diff_ids.len() != image.layers.len() {
            let text =
                format!("an image has {} layers, and its configuration tells of {}", image.layers.len(), config.diff_ids.len());
            return Err(Failure::new(text));
        }
        let mut layers = Vec::new();
        for (layer, diff_id) in image.layers.iter().zip(&config.diff_ids) {
            layers.push(match self.is_foreign(layer) {
                true => self.layer(layout, writer, layer, diff_id)?,
                // Types of one vocabulary: Docker has none for some of the forms.
                false => Descriptor { media_type: media_type::as_oci(&layer.media_type).to_owned(), ..layer.clone() },
            });
        }
        let named = || -> Result<Members, serde_json::Error> {
            let mut manifest = Members::parse(bytes)?;
            manifest.set("mediaType", &media_type::OCI_MANIFEST)?;
            let mut config: Members = manifest.get("config")?.unwrap_or_default();
            config.set("mediaType", &media_type::OCI_CONFIG)?;
            manifest.set("config", &config)?;
            manifest.set("layers", &layers)?;
            Ok(manifest)
        };
        named().map(Some).map_err(|error| Failure::new("the manifest cannot be used").because(&error))
    }
}
