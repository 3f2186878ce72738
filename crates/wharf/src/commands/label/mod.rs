//! `label`: puts labels on the images of a layout, and takes them off.

mod rewrite;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use wharf_oci::{Layout, LayoutKind, LayoutWriter, NamedImage, is_there};
use wharf_yocto::words;

use super::usage_of;
use crate::automatic_labels;
use crate::cli::Label;
use crate::layout_path::{self, Pick};
use crate::rewrite::{Rewriter, Rewritten};
use crate::settings::Settings;
use crate::ui::{self, Failure, Output};
use rewrite::{Change, Labels};
use wharf_terminal::printable::printable;

/// Labels.
pub fn run(settings: &Settings, options: &Label) -> Result<ExitCode, Failure> {
    let Some(argument) = &options.layout else {
        return usage_of("label", "wharf label container-base-oci org.opencontainers.image.vendor=Example");
    };
    let (path, pick) = place(argument)?;
    let change = change(settings, options)?;
    check_form(&path)?;
    let mut writer = LayoutWriter::open(&path).map_err(|error| Failure::of(&error))?;
    // Read once nobody else writes.
    let layout = Layout::open(writer.path()).map_err(|error| Failure::of(&error))?;
    let meant = meant(layout.images(), &path, pick.as_ref())?;
    let mut labels = Labels::new(&change);
    let mut rewriter = Rewriter::new(&layout, &mut writer, &mut labels);
    let mut results = Vec::new();
    for position in meant {
        let shown = shown(&path, &layout.images()[position]);
        let digest = rewriter.image(position, &shown)?;
        results.push((shown, digest));
    }
    rewriter.lead_attestations();
    for artifact in &rewriter.artifacts {
        ui::say(format_args!("{} is no image, and was left as it is", artifact.digest));
        if let Some((subject, now)) = artifact.subject.and_then(|subject| Some((subject, rewriter.now(&subject.to_string())?))) {
            ui::warn(&format!("{} is about {subject}, which is {now} now", artifact.digest));
        }
    }
    let rewritten = rewriter.rewritten;
    if rewritten.is_empty() {
        ui::say(format_args!("Nothing to do: {argument} has these labels already"));
    } else {
        writer.commit().map_err(|error| Failure::of(&error))?;
        for Rewritten { shown, old, new } in rewritten {
            ui::say(format_args!("{shown}: {old} -> {new}"));
        }
    }
    let mut output = Output::default();
    for (shown, digest) in results {
        output.print(format_args!("{shown} {digest}\n"));
    }
    output.end().map(|()| ExitCode::SUCCESS)
}

/// The layout that is meant, and which of its images.
fn place(argument: &str) -> Result<(PathBuf, Option<Pick>), Failure> {
    let bare = layout_path::bare(argument);
    match layout_path::find(bare) {
        Some(found) => Ok(found),
        // What it lacks is told by who opens it.
        None if is_there(Path::new(bare)) => Ok((bare.into(), None)),
        None => Err(Failure::new(format!("{argument} not found"))
            .hint("labels are put on the images of a layout in a folder, and there is no such folder")),
    }
}

/// Refuses what is no layout in a folder.
fn check_form(path: &Path) -> Result<(), Failure> {
    let layout = Layout::open(path).map_err(|error| Failure::of(&error))?;
    let file = path.display();
    let way = match layout.kind() {
        LayoutKind::Folder => return Ok(()),
        LayoutKind::Archive => format!("unpack it first: `mkdir DIR && tar -xf {file} -C DIR`, then label DIR"),
        LayoutKind::DockerArchive => format!("make a layout of it first: `skopeo copy docker-archive:{file} oci:DIR:NAME`"),
    };
    Err(Failure::new(format!("{file} is an archive, and labels are put into layouts in folders")).hint(way))
}

/// Positions of the images that are meant.
fn meant(images: &[NamedImage], path: &Path, pick: Option<&Pick>) -> Result<Vec<usize>, Failure> {
    let is_meant = |image: &NamedImage| pick.is_none_or(|pick| pick.is(image));
    let meant: Vec<_> = (0..images.len()).filter(|position| is_meant(&images[*position])).collect();
    if meant.is_empty() { Err(layout_path::nothing(path, pick, images)) } else { Ok(meant) }
}

/// An image as it may be named to a command.
fn shown(path: &Path, image: &NamedImage) -> String {
    match &image.name {
        Some(name) => format!("{}:{}", path.display(), printable(name)),
        None => path.display().to_string(),
    }
}

/// What is to become of the labels.
fn change(settings: &Settings, options: &Label) -> Result<Change, Failure> {
    let refused = |error: words::WordsError| Failure::new(format!("a label {error}")).hint("write labels as KEY=VALUE");
    let mut given = Vec::new();
    for word in &options.labels {
        given.push(words::pair(word).map_err(refused)?);
    }
    let removed: BTreeSet<_> = options.remove.iter().cloned().collect();
    if removed.contains("") {
        return Err(Failure::new("--remove needs the key of a label"));
    }
    if let Some((key, _)) = given.iter().find(|(key, _)| removed.contains(key)) {
        return Err(Failure::new(format!("{key} is both put on and removed")));
    }
    if given.is_empty() && removed.is_empty() && !options.auto {
        return Err(Failure::new("no label is given")
            .hint("write labels as KEY=VALUE; --remove KEY takes one off, and --auto puts on those of a build"));
    }
    let mut put = if options.auto {
        automatic_labels::labels(settings, &options.automatic, automatic_labels::time(settings, &options.automatic)?)
    } else {
        BTreeMap::new()
    };
    put.extend(given);
    Ok(Change { put, removed })
}
