//! `wharf pack` of a root file system beside what others make layers with.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::bench::{Bench, settle};
use crate::failure::Result;
use crate::layer::{self, Form, Layer};
use crate::peer::{Peer, Server};
use crate::podman::Podman;
use crate::program::{self, Took};
use crate::report::{Report, Target};
use crate::rootfs::RootFs;
use crate::stats::{highest, ratio};

/// Bytes of the root file system.
const SIZE: u64 = 500_000_000;
/// Megabytes that a command may take.
pub const MEMORY: f64 = 128.0;

/// A gzip layer, beside `umoci insert`.
pub fn gzip(bench: &Bench) -> Result<Report> {
    let folder = bench.folder("pack-gzip")?;
    let root = RootFs::sample(&bench.options.rootfs, &folder.join("root"), bench.size(SIZE, SIZE / 10))?;
    beside_umoci(bench, &folder, &root, None)
}

/// The same of the next version, where the one before is at hand. `umoci` has no use for that.
pub fn next(bench: &Bench) -> Result<Report> {
    let folder = bench.folder("pack-next")?;
    let mut root = RootFs::sample(&bench.options.rootfs, &folder.join("root"), bench.size(SIZE, SIZE / 10))?;
    let older = folder.join("older-oci");
    layer::pack(bench, &root.folder, &older, Form::Gzip, None)?;
    root.rebuild()?;
    beside_umoci(bench, &folder, &root, Some(&older))
}

fn beside_umoci(bench: &Bench, folder: &Path, root: &RootFs, older: Option<&Path>) -> Result<Report> {
    let mut report = Report::new("MB of files a second, the whole command");
    let (mut ours, mut theirs, mut peaks, mut sizes) = (Vec::new(), Vec::new(), Vec::new(), (0, 0));
    for round in 0..bench.options.rounds {
        for turn in 0..2 {
            let layout = folder.join("layout-oci");
            settle(folder)?;
            if (round + turn) % 2 == 0 {
                let took = layer::pack(bench, &root.folder, &layout, Form::Gzip, older)?;
                sizes.0 = Layer::of(&layout)?.size();
                ours.push(speed(root, took.seconds));
                peaks.push(took.peak);
            } else {
                let took = umoci(&root.folder, &layout)?;
                sizes.1 = Layer::of(&layout)?.size();
                theirs.push(speed(root, took.seconds));
            }
            fs::remove_dir_all(&layout)?;
        }
    }
    report.check("wharf pack / umoci insert", ratio(&ours, &theirs), "", Target::AtLeast(3.0));
    report.check("layer by wharf / by umoci", sizes.0 as f64 / sizes.1 as f64, "", Target::AtMost(1.0));
    report.check("highest memory (VmHWM)", highest(&peaks), " MB", Target::AtMost(MEMORY));
    report.note(format!("the layer by wharf has {} bytes, that by umoci {}", sizes.0, sizes.1));
    report.series("wharf pack", ours);
    report.series("umoci insert", theirs);
    fs::remove_dir_all(folder)?;
    Ok(report)
}

/// A layer in zstd:chunked, packed and pushed, beside a push by podman, which encodes while it pushes.
pub fn chunked(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("MB of files a second, packed and pushed");
    let folder = bench.folder("pack-chunked")?;
    let root = RootFs::sample(&bench.options.rootfs, &folder.join("root"), bench.size(SIZE, SIZE / 10))?;
    let plain = folder.join("plain-oci");
    layer::pack(bench, &root.folder, &plain, Form::Gzip, None)?;
    let podman = Podman::new(&folder.join("podman"))?;
    let source = Server::start(Peer::Wharf, &folder.join("source"), &bench.settings("pack-chunked"))?;
    layer::push(bench, &plain, source.address, "app", "1")?;
    podman.pull(&format!("{}/yocto/app:1", source.address))?;
    drop(source);
    let image = layer::id(&plain)?;
    let (mut ours, mut theirs, mut packs, mut peaks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.options.rounds {
        // Each time another address: podman would remember what is there.
        let server = Server::start(Peer::Wharf, &folder.join("server"), &bench.settings("pack-chunked"))?;
        for turn in 0..2 {
            settle(&folder)?;
            if (round + turn) % 2 == 0 {
                let layout = folder.join("layout-oci");
                let packed = layer::pack(bench, &root.folder, &layout, Form::Chunked, None)?;
                let pushed = layer::push(bench, &layout, server.address, "app", "1")?;
                ours.push(speed(&root, packed.seconds + pushed.seconds));
                packs.push(speed(&root, packed.seconds));
                peaks.push(packed.peak);
                fs::remove_dir_all(&layout)?;
            } else {
                theirs.push(speed(&root, podman.push_chunked(&image, server.address, "podman:1")?.seconds));
            }
        }
        drop(server);
        fs::remove_dir_all(folder.join("server"))?;
    }
    report.check("wharf pack and push / podman push", ratio(&ours, &theirs), "", Target::AtLeast(10.0));
    report.check("highest memory (VmHWM)", highest(&peaks), " MB", Target::AtMost(MEMORY));
    report.series("wharf pack and push", ours);
    report.series("wharf pack alone", packs);
    report.series("podman push", theirs);
    fs::remove_dir_all(folder)?;
    Ok(report)
}

fn umoci(root: &Path, layout: &Path) -> Result<Took> {
    let image = format!("{}:1", layout.display());
    program::run(Command::new("umoci").arg("init").arg("--layout").arg(layout))?;
    program::run(Command::new("umoci").args(["new", "--image", &image]))?;
    program::run(Command::new("umoci").args(["insert", "--image", &image]).arg(root).arg("/"))
}

/// Megabytes of files a second.
fn speed(root: &RootFs, seconds: f64) -> f64 {
    root.size() as f64 / 1e6 / seconds
}
