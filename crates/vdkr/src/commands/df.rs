//! `system df`: the space that is taken.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use wharf_terminal::ui::Failure;

use crate::cli::system::Df;
use crate::containers::{self, record::Containers};
use crate::format::{Format, ago, print_list, size};
use crate::settings::Settings;
use crate::store::{self, Store};

/// Bytes on disk below a folder; none where it is not.
pub fn bytes_of(folder: &Path) -> u64 {
    let mut open = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            bytes += metadata.blocks() * 512;
            if metadata.is_dir() {
                open.push(entry.path());
            }
        }
    }
    bytes
}

/// Shows what is taken, by images, containers and the rest.
pub fn run(settings: &Settings, options: &Df) -> Result<ExitCode, Failure> {
    let store = Store::of(settings);
    let images = store.images()?;
    let used = containers::images_in_use(settings)?;
    if options.verbose {
        let rows: Vec<_> = images
            .iter()
            .map(|image| {
                let (repository, tag) = image.names.first().map_or(("<none>", "<none>"), |name| store::parts(name));
                let containers = used.iter().filter(|id| **id == image.id).count();
                json!({"Repository": repository, "Tag": tag, "ID": image.short_id(), "CreatedSince": ago(&image.created), "Size": size(image.size), "Containers": containers.to_string()})
            })
            .collect();
        let columns = [
            ("Repository", "REPOSITORY"),
            ("Tag", "TAG"),
            ("ID", "IMAGE ID"),
            ("CreatedSince", "CREATED"),
            ("Size", "SIZE"),
            ("Containers", "CONTAINERS"),
        ];
        print_list(&Format::parse(options.format.as_deref()), &columns, &rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let state = settings.state();
    let unused: u64 = images.iter().filter(|image| !used.contains(&image.id)).map(|image| image.size).sum();
    let of_images = bytes_of(store.folder());
    let row = |kind: &str, total: usize, active: usize, bytes: u64, free: u64| json!({"Type": kind, "TotalCount": total.to_string(), "Active": active.to_string(), "Size": size(bytes), "Reclaimable": size(free.min(bytes))});
    let count = |folder: &str| fs::read_dir(state.join(folder)).into_iter().flatten().count();
    // Each has a folder; the files beside them are about all of them.
    let machines = fs::read_dir(state.join("machines")).into_iter().flatten().flatten();
    let machines = machines.filter(|entry| entry.path().is_dir()).count();
    let active = images.iter().filter(|image| used.contains(&image.id)).count();
    let folder = |name: &str| bytes_of(&state.join(name));
    let downloads = folder("downloads");
    let all = Containers::of(settings).all()?;
    let (running, others): (Vec<_>, Vec<_>) = all.iter().partition(|(.., state)| state.status.is_alive());
    let stopped = others.iter().map(|(folder, ..)| bytes_of(folder.path())).sum();
    let rows = [
        row("Images", images.len(), active, of_images, unused),
        row("File systems", count("rootfs/layers"), 0, folder("rootfs"), folder("rootfs")),
        row("Containers", all.len(), running.len(), folder("containers"), stopped),
        row("Machines", machines, 0, folder("machines"), folder("machines")),
        row("Downloads", count("downloads"), 0, downloads, downloads),
    ];
    let columns =
        [("Type", "TYPE"), ("TotalCount", "TOTAL"), ("Active", "ACTIVE"), ("Size", "SIZE"), ("Reclaimable", "RECLAIMABLE")];
    print_list(&Format::parse(options.format.as_deref()), &columns, &rows)?;
    Ok(ExitCode::SUCCESS)
}
