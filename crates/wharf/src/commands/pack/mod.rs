//! `pack`: makes an image of a root file system.

mod base;
mod config;
mod elf;
mod older;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use wharf_layers::tree::{Pattern, Tree, TreeOptions};
use wharf_layers::{Form, Kind, Layer, LayerWriter, LayersError, OlderPieces};
use wharf_oci::{Descriptor, Found, ImageManifest, LayoutError, LayoutWriter, Platform, look, media_type};
use wharf_yocto::architecture::image_name;
use wharf_yocto::labels::{BuildTime, is_time};

use super::usage_of;
use crate::automatic_labels;
use crate::cli::{Compression, Pack};
use crate::settings::Settings;
use crate::ui::{self, Failure};
use base::Base;
use config::Wanted;

/// What stands for standard input.
const STANDARD_INPUT: &str = "-";
/// What it is called in messages.
const STANDARD_INPUT_NAME: &str = "standard input";
/// Programs that are looked at to learn what they run on.
const PROGRAMS: usize = 200;

/// Packs.
pub fn run(settings: &Settings, options: &Pack) -> Result<ExitCode, Failure> {
    let (Some(rootfs), Some(layout)) = (&options.rootfs, &options.layout) else {
        return usage_of("pack", "wharf pack rootfs app-oci --entrypoint /usr/bin/app");
    };
    let begun = Instant::now();
    let wanted = Wanted::parse(&options.execution)?;
    let architecture = options.execution.arch.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let architecture = architecture.map(|name| image_name(name).unwrap_or(name));
    let base = options.base.as_deref().map(|base| Base::open(base, architecture)).transpose()?;
    let time = automatic_labels::time(settings, &options.automatic)?;
    let mtime_max = match options.mtime_max {
        Some(seconds) => Some(seconds),
        None => automatic_labels::epoch(settings)?.map(BuildTime::seconds),
    };
    let form = form(options)?;
    let patterns = patterns(&options.layers)?;
    let mut older = older::named(options, form)?;

    let target = Target::of(layout)?;
    let mut writer = LayoutWriter::open(&target.folder).map_err(|error| Failure::of(&error))?;
    let tree = tree(rootfs, TreeOptions { mtime_max }, &mut writer)?;
    for socket in tree.sockets() {
        ui::warn(&format!("{socket} is left out: a socket cannot be packed"));
    }
    let platform = platform(options, architecture, base.as_ref(), &tree)?;
    older::add_present(&mut older, writer.path(), &options.tag);
    let older = Arc::new(older);
    let mut labels = match options.auto {
        true => automatic_labels::labels(settings, &options.automatic, time),
        false => BTreeMap::new(),
    };
    labels.extend(wanted.labels().iter().cloned());
    let created = created(options, time);

    let mut layers = base.as_ref().map(|base| base.copy_into(&mut writer)).transpose()?.unwrap_or_default();
    let mut packed = Vec::new();
    for nodes in split(&tree, &patterns) {
        let layer = layer(&tree, &nodes, form, &older, options.threads.unwrap_or(0), &mut writer)
            .map_err(|failure| failure.about(&format!("{} was not packed", source_name(rootfs))))?;
        if let Some(why) = &layer.undescribed {
            ui::warn(&format!("a layer has no table of contents, and podman fetches it whole: {why}"));
        }
        layers.push(layer.descriptor.clone());
        packed.push(layer);
    }
    let diff_ids: Vec<_> = packed.iter().map(|layer| layer.diff_id).collect();
    let config = wanted.config(base.as_ref().map(|base| &base.config), &platform, &labels, &diff_ids, &created);
    let image = image(&mut writer, &config, layers, &platform).map_err(|error| Failure::of(&error))?;
    let digest = image.digest;
    writer.list(image, Some(&options.tag));
    writer.commit().map_err(|error| Failure::of(&error))?;
    target.finish()?;

    let shown = format!("{}:{}", layout.display(), options.tag);
    let (plain, compressed) =
        packed.iter().fold((0, 0), |(plain, compressed), layer| (plain + layer.size, compressed + layer.descriptor.size));
    let several = if packed.len() == 1 { "layer" } else { "layers" };
    ui::say(format_args!(
        "Packed {shown} for {platform}: {} files, {} as {} in {} {several}, in {:.1} s",
        tree.nodes().len(),
        ui::size(plain),
        ui::size(compressed),
        packed.len(),
        begun.elapsed().as_secs_f64()
    ));
    ui::say(format_args!("Push with: {} push {}", ui::program(), layout.display()));
    ui::print(format_args!("{shown} {digest}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// When the image is said to have been made.
fn created(options: &Pack, time: BuildTime) -> String {
    let given = options.automatic.created.as_deref().map(str::trim);
    given.filter(|given| is_time(given)).map_or_else(|| time.to_string(), str::to_owned)
}

fn is_folder(path: &Path) -> bool {
    look(path).is_ok_and(|found| found == Found::Folder)
}

/// Where the layout is written: the folder itself, or one that becomes an archive.
struct Target {
    folder: PathBuf,
    archive: Option<(tempfile::TempDir, PathBuf)>,
}

impl Target {
    fn of(layout: &Path) -> Result<Self, Failure> {
        if layout.extension().is_none_or(|extension| extension != "tar") || is_folder(layout) {
            return Ok(Self { folder: layout.to_owned(), archive: None });
        }
        let beside = layout.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let cannot = |error: std::io::Error| Failure::new(format!("cannot write {}", layout.display())).because(&error);
        let folder = tempfile::Builder::new().prefix(".wharf-pack-").tempdir_in(beside).map_err(cannot)?;
        Ok(Self { folder: folder.path().join("layout"), archive: Some((folder, layout.to_owned())) })
    }

    /// Puts the archive in its place, whole.
    fn finish(self) -> Result<(), Failure> {
        let Some((folder, path)) = self.archive else { return Ok(()) };
        let cannot = |error: std::io::Error| Failure::new(format!("cannot write {}", path.display())).because(&error);
        let written = folder.path().join("archive");
        let file = File::create(&written).map_err(cannot)?;
        wharf_oci::write_archive(&self.folder, BufWriter::new(file), &path).map_err(|error| Failure::of(&error))?;
        fs::rename(&written, &path).map_err(cannot)
    }
}

fn form(options: &Pack) -> Result<Form, Failure> {
    let (usual, most) = match options.compression {
        Compression::Gzip => (Form::GZIP, 12),
        Compression::ZstdChunked => (Form::ZSTD_CHUNKED, 22),
    };
    let Some(level) = options.level.map(i32::from) else { return Ok(usual) };
    if !(1..=most).contains(&level) {
        return Err(Failure::new(format!("--level {level} is not between 1 and {most}")));
    }
    Ok(match options.compression {
        Compression::Gzip => Form::Gzip { level },
        Compression::ZstdChunked => Form::ZstdChunked { level },
    })
}

/// The paths of each layer.
fn patterns(lists: &[String]) -> Result<Vec<Vec<Pattern>>, Failure> {
    let read = |list: &String| {
        let text = match list.strip_prefix('@') {
            Some(file) => {
                fs::read_to_string(file).map_err(|error| Failure::new(format!("cannot read {file}")).because(&error))?
            }
            None => list.clone(),
        };
        let patterns = text.split_whitespace().map(|pattern| pattern.parse().map_err(|error| Failure::of(&error)));
        let patterns = patterns.collect::<Result<Vec<Pattern>, _>>()?;
        if patterns.is_empty() { Err(Failure::new(format!("--layer `{list}` names no path"))) } else { Ok(patterns) }
    };
    lists.iter().map(read).collect()
}

fn source_name(rootfs: &Path) -> std::path::Display<'_> {
    if rootfs.as_os_str() == STANDARD_INPUT { Path::new(STANDARD_INPUT_NAME) } else { rootfs }.display()
}

fn tree(rootfs: &Path, options: TreeOptions, writer: &mut LayoutWriter) -> Result<Tree, Failure> {
    let cannot = |error: LayersError| Failure::of(&error).about(&format!("{} cannot be packed", source_name(rootfs)));
    if is_folder(rootfs) {
        return Tree::of_directory(rootfs, options).map_err(cannot);
    }
    let folder = writer.staging().map_err(|error| Failure::of(&error))?;
    if rootfs.as_os_str() == STANDARD_INPUT {
        return Tree::of_stream(std::io::stdin().lock(), Path::new(STANDARD_INPUT_NAME), &folder, options).map_err(cannot);
    }
    Tree::of_archive(rootfs, &folder, options).map_err(cannot)
}

/// The nodes of each layer that has any; at least one layer.
fn split(tree: &Tree, patterns: &[Vec<Pattern>]) -> Vec<Vec<usize>> {
    let split = tree.split(patterns);
    for pattern in &split.unmatched {
        ui::warn(&format!("no file is called {pattern}"));
    }
    let is_one = |nodes: &Vec<usize>| nodes.iter().any(|index| tree.nodes()[*index].entry().name != b"./");
    let mut layers: Vec<_> = split.layers.iter().filter(|nodes| is_one(nodes)).cloned().collect();
    if layers.is_empty() {
        layers.extend(split.layers.into_iter().last());
    }
    layers
}

fn layer(
    tree: &Tree,
    nodes: &[usize],
    form: Form,
    older: &Arc<OlderPieces>,
    threads: usize,
    writer: &mut LayoutWriter,
) -> Result<Layer, Failure> {
    let mut staged = writer.stage().map_err(|error| Failure::of(&error))?;
    let out = LayerWriter::after(older, staged.file(), form, form.cut(), threads).map_err(|error| Failure::of(&error))?;
    let layer = wharf_layers::pack(tree, nodes, out).map_err(|error| match &error {
        LayersError::Stream { .. } => Failure::of(&error).about(&format!("cannot write to {}", writer.path().display())),
        _ => Failure::of(&error),
    })?;
    writer.adopt(staged, &layer.descriptor.digest).map_err(|error| Failure::of(&error))?;
    Ok(layer)
}

/// What the image runs on: what the options say, else the base, else the programs in it, else this machine.
fn platform(options: &Pack, architecture: Option<&str>, base: Option<&Base>, tree: &Tree) -> Result<Platform, Failure> {
    let text = |value: &Option<String>| value.as_deref().map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned);
    let of_base = base.map(|base| &base.platform);
    let architecture = match (architecture, of_base) {
        (Some(named), Some(base)) if base.architecture != named => {
            return Err(Failure::new(format!("the base is for {base}, and --arch is {named}")));
        }
        (Some(named), _) => named.to_owned(),
        (None, Some(base)) => base.architecture.clone(),
        (None, None) => match of_programs(tree)? {
            Some(found) => found.to_owned(),
            None => {
                let own = image_name(std::env::consts::ARCH).unwrap_or(std::env::consts::ARCH);
                ui::warn(&format!(
                    "no program says which architecture the image is for; taken to be this machine's, {own} (--arch)"
                ));
                own.to_owned()
            }
        },
    };
    let os = text(&options.execution.os).or_else(|| of_base.map(|base| base.os.clone()));
    let variant = text(&options.execution.variant).or_else(|| of_base.and_then(|base| base.variant.clone()));
    Ok(Platform { variant, ..Platform::new(os.unwrap_or_else(|| "linux".to_owned()), architecture) })
}

/// The architecture of the first program in a tree that says it.
fn of_programs(tree: &Tree) -> Result<Option<&'static str>, Failure> {
    let is_program = |node: &&wharf_layers::tree::Node| {
        let entry = node.entry();
        entry.kind == Kind::Regular && entry.mode & 0o111 != 0 && entry.size >= elf::HEADER as u64
    };
    for node in tree.nodes().iter().filter(is_program).take(PROGRAMS) {
        let mut content = tree.content(node).map_err(|error| Failure::of(&error))?;
        let mut header = [0; elf::HEADER];
        let mut length = 0;
        while length < header.len() {
            match content.read(&mut header[length..]).map_err(|error| Failure::of(&error))? {
                0 => break,
                read => length += read,
            }
        }
        if let Some(found) = elf::architecture(&header[..length]) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Writes configuration and manifest, and returns the descriptor of the latter.
fn image(
    writer: &mut LayoutWriter,
    config: &serde_json::Value,
    layers: Vec<Descriptor>,
    platform: &Platform,
) -> Result<Descriptor, LayoutError> {
    let bytes = config.to_string().into_bytes();
    let config = Descriptor::new(media_type::OCI_CONFIG, writer.add(&bytes)?, bytes.len() as u64);
    let media_type = media_type::OCI_MANIFEST.to_owned();
    let manifest = ImageManifest { media_type, artifact_type: None, config, layers, subject: None, annotations: None };
    let bytes = manifest.to_bytes();
    let mut image = Descriptor::new(media_type::OCI_MANIFEST, writer.add(&bytes)?, bytes.len() as u64);
    image.platform = Some(platform.clone());
    Ok(image)
}
