//! `commit`: an image of what a container has changed.

mod config;
mod instruction;
mod layer;

use std::io::BufReader;
use std::process::ExitCode;

use tempfile::NamedTempFile;
use wharf_layers::Layer;
use wharf_oci::{Descriptor, ImageManifest, LayoutError, media_type};
use wharf_terminal::ui::{self, Failure};

use self::config::Step;
use self::instruction::Instruction;
use super::files::{Download, Session, container};
use super::record::{Folder, Record, State, Status};
use crate::cli::containers::Commit;
use crate::commands::{make_ready, tag};
use crate::keeper::Role;
use crate::settings::Settings;
use crate::store::{Image, Listing, Store};
use wharf_guest_protocol::FileWork;

/// Makes an image of a container's changes, over the image that it was made of.
pub fn commit(settings: &Settings, options: &Commit) -> Result<ExitCode, Failure> {
    let name = options.name.as_deref().map(tag::name).transpose()?;
    let instructions = options.change.iter().map(|text| Instruction::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let (folder, record, state) = container(settings, &options.container)?;
    let store = Store::of(settings);
    // Told before a machine is started for it; looked for again once nobody else changes the store.
    base_of(&store, &record)?;
    let mut file =
        NamedTempFile::new_in(store.downloads()?).map_err(|error| Failure::new("cannot make a file").because(&error))?;
    let layer = changes(settings, options, &folder, &record, &state, &mut file)?;
    let mut writer = store.writer()?;
    let base = base_of(&store, &record)?;
    let failed = |error: LayoutError| Failure::of(&error);
    let is_docker = base.descriptor.media_type == media_type::DOCKER_MANIFEST;
    let mut layers = base.manifest.layers.clone();
    let step = Step {
        author: options.author.as_deref(),
        comment: options.message.as_deref(),
        diff_id: layer.as_ref().map(|layer| layer.diff_id),
    };
    if let Some(layer) = layer {
        file.as_file().sync_all().map_err(|error| Failure::new("cannot write the layer").because(&error))?;
        let (_, path) = file.keep().map_err(|error| Failure::new("cannot keep the layer").because(&error.error))?;
        writer.adopt_file(&path, &layer.descriptor.digest).map_err(|error| {
            let _ = std::fs::remove_file(&path);
            failed(error)
        })?;
        let mut descriptor = layer.descriptor;
        if is_docker {
            descriptor.media_type = DOCKER_LAYER.to_owned();
        }
        layers.push(descriptor);
    }
    let bytes = config::of(&base, &record, &instructions, &step)?.to_string().into_bytes();
    let digest = writer.add(&bytes).map_err(failed)?;
    let config = Descriptor::new(&base.manifest.config.media_type, digest, bytes.len() as u64);
    let manifest = ImageManifest { config, layers, subject: None, annotations: None, ..base.manifest.clone() }.to_bytes();
    let mut descriptor =
        Descriptor::new(&base.descriptor.media_type, writer.add(&manifest).map_err(failed)?, manifest.len() as u64);
    descriptor.platform.clone_from(&base.descriptor.platform);
    Store::list(&mut writer, &descriptor, &Listing { names: name.into_iter().collect(), repository_digest: None });
    Store::commit(writer)?;
    make_ready(settings, &store, &descriptor)?;
    ui::print(format_args!("{digest}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// A compressed layer, as Docker's manifests have it (distribution, "Image Manifest Version 2, Schema 2").
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// The image that a container was made of.
fn base_of(store: &Store, record: &Record) -> Result<Image, Failure> {
    let found = store.images()?.into_iter().find(|image| image.id == record.image_id);
    found.ok_or_else(|| {
        Failure::new(format!("the image of {} was removed", record.name))
            .hint(format!("fetch {} again: a new image builds on its layers", record.image))
    })
}

/// The container's changes as a layer in a file; `None` when there are none.
fn changes(
    settings: &Settings,
    options: &Commit,
    folder: &Folder,
    record: &Record,
    state: &State,
    file: &mut NamedTempFile,
) -> Result<Option<Layer>, Failure> {
    let session = Session::begin(settings, folder, record, state, Role::OwnFiles)?;
    session.ask(FileWork::Changes { pause: options.pause && state.status == Status::Running })?;
    let mut download = Download::of(&session);
    let stubs = layer::Stubs::of(record);
    let written = layer::write(BufReader::with_capacity(128 << 10, &mut download), &stubs, file.as_file_mut());
    let layer = match written {
        Ok(layer) => layer,
        Err(error) => return Err(download.failure().unwrap_or_else(|| Failure::of(&error).about("the changes make no layer"))),
    };
    download.finish()?;
    session.end()?;
    Ok(layer)
}
