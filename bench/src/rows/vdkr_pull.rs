//! `vdkr pull` from a wharf on the loopback until the image could be run, beside podman, which unpacks as root.

use std::fs;

use crate::bench::{Bench, settle};
use crate::failure::Result;
use crate::layer::{self, Form, Layer};
use crate::peer::{Peer, Server};
use crate::podman::Podman;
use crate::report::{Report, Target};
use crate::rootfs::RootFs;
use crate::stats::{highest, median, ratio};
use crate::vdkr::Vdkr;

use super::vdkr_memory::MEMORY;

/// Bytes of files, of which gzip leaves some 100 MB.
const SIZE: u64 = 265_000_000;

/// Measures the row.
pub fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("ms for the whole command");
    let folder = bench.folder("vdkr-pull")?;
    let server = Server::start(Peer::Wharf, &folder.join("server"), &bench.settings("vdkr-pull"))?;
    let root = RootFs::sample(&bench.options.rootfs, &folder.join("root"), bench.size(SIZE, SIZE / 10))?;
    let layout = folder.join("layout-oci");
    layer::pack(bench, &root.folder, &layout, Form::Gzip, None)?;
    layer::push(bench, &layout, server.address, "app", "1")?;
    report.note(format!("one layer of {} bytes, {} in its files", Layer::of(&layout)?.size(), root.size()));
    let image = format!("{}/yocto/app:1", server.address);
    let (mut ours, mut theirs, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.options.rounds {
        for turn in 0..2 {
            settle(&folder)?;
            if (round + turn) % 2 == 0 {
                let store = folder.join("vdkr");
                let vdkr = Vdkr::new(bench, &store)?;
                let registry = server.address.to_string();
                let took = vdkr.run("x86_64", &["--registry", &registry, "--insecure-registry", &registry, "pull", &image])?;
                ours.push(took.seconds * 1e3);
                peaks.push(took.peak);
                fs::remove_dir_all(store)?;
            } else {
                let store = folder.join("podman");
                theirs.push(Podman::new(&store)?.pull(&image)?.seconds * 1e3);
                fs::remove_dir_all(store)?;
            }
        }
    }
    report.check("vdkr pull", median(&ours), " ms", Target::AtMost(2000.0));
    report.check("vdkr pull / podman pull", ratio(&ours, &theirs), "", Target::None);
    report.check("highest memory (VmHWM)", highest(&peaks), " MB", Target::AtMost(MEMORY));
    report.series("vdkr pull", ours);
    report.series("podman pull", theirs);
    drop(server);
    fs::remove_dir_all(folder)?;
    Ok(report)
}
