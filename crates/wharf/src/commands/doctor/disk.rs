//! Room on the disks that images go through.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::statvfs;

use super::machine::Machine;
use super::report::Check;
use super::storage::existing;
use crate::settings::Settings;
use crate::ui;

const SUBJECT: &str = "disk";
/// With less the registry refuses uploads (`wharf.storage.min_free`), and pulls of any size fail.
const REFUSES: u64 = 64 << 20;
/// An image of a build is often larger.
const LITTLE: u64 = 1 << 30;
/// Fewer files than that are soon used up.
const FEW: u64 = 1000;

/// Looks at each disk once, by the folders that are on it.
pub fn checks(settings: &Settings, machine: &Machine) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut folders = vec![settings.storage.clone()];
    match settings.environment.named("TMPDIR").map(PathBuf::from) {
        Some(folder) if !folder.is_dir() => {
            let what = format!("TMPDIR names {}, which is no folder", folder.display());
            checks.push(Check::problem(SUBJECT, what, "make the folder, or unset TMPDIR"));
        }
        Some(folder) => folders.push(folder),
        None => folders.push(PathBuf::from("/var/tmp")),
    }
    if machine.is_here() {
        let stores = ["/var/lib/docker", "/var/lib/containers/storage", "/var/lib/containerd"].map(PathBuf::from);
        let own = machine.in_home(".local/share/containers/storage");
        folders.extend(stores.into_iter().chain(own).filter(|folder| folder.is_dir()));
    }
    let mut disks: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    for folder in folders {
        if let Ok(metadata) = std::fs::metadata(existing(&folder)) {
            disks.entry(metadata.dev()).or_default().push(folder);
        }
    }
    checks.extend(disks.into_values().filter_map(|folders| of_disk(&folders)));
    checks
}

fn of_disk(folders: &[PathBuf]) -> Option<Check> {
    let room = statvfs(existing(folders.first()?)).ok()?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let shown: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let (shown, size) = (shown.join(", "), ui::size(free));
    let mend = format!(
        "make room; `{} gc` frees what no tag needs, `docker system prune` or `podman system prune` unused images",
        ui::program()
    );
    // Some file systems count no files, and say 0 of 0.
    if room.f_files > 0 && room.f_favail < FEW {
        let what = format!("only {} more files can be made where {shown} is", room.f_favail);
        return Some(Check::problem(SUBJECT, what, "remove small files: that disk has no more inodes"));
    }
    Some(match free {
        free if free < REFUSES => Check::problem(SUBJECT, format!("{size} are free for {shown}: uploads are refused"), mend),
        free if free < LITTLE => Check::warning(SUBJECT, format!("only {size} are free for {shown}"), mend),
        _ => Check::ok(SUBJECT, format!("{size} are free for {shown}")),
    })
}
