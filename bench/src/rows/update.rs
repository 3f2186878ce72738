//! From one version of an image to the next: the bytes on the wire and the time, by podman and by `wharf pull`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::bench::{Bench, settle};
use crate::failure::Result;
use crate::layer::{self, Form, Layer};
use crate::link::Link;
use crate::peer::{Peer, Server};
use crate::podman::Podman;
use crate::program::{self, Took};
use crate::report::{Report, Target};
use crate::rootfs::RootFs;
use crate::stats::{highest, median, ratio};

use super::pack::MEMORY;

/// Bytes of the root file system.
const SIZE: u64 = 300_000_000;
/// Bytes a second of a link such as devices have: 100 Mbit/s.
const SLOW: f64 = 12.5e6;

/// By podman, of zstd:chunked.
pub fn by_podman(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("% of the layer on the wire, headers included");
    let folder = bench.folder("update-podman")?;
    let stage = Stage::new(bench, &folder, Form::Chunked)?;
    let link = Link::start(stage.server.address, None)?;
    let podman = Podman::new(&folder.join("podman"))?;
    let mut shares = Vec::new();
    for (version, size) in stage.sizes.iter().enumerate() {
        let before = link.answered();
        podman.pull(&format!("{}/yocto/app:{version}", link.address))?;
        shares.push((link.answered() - before) as f64 * 100.0 / *size as f64);
    }
    let first = shares.remove(0);
    report.check("an update", median(&shares), " %", Target::AtMost(3.0));
    report.series("the first pull", vec![first]);
    report.series("an update", shares);
    drop((podman, stage));
    fs::remove_dir_all(folder)?;
    Ok(report)
}

/// By `wharf pull`, of gzip, the default.
pub fn by_wharf(bench: &Bench) -> Result<Report> {
    pull(bench, Form::Gzip)
}

/// By `wharf pull`, of zstd:chunked.
pub fn by_wharf_chunked(bench: &Bench) -> Result<Report> {
    pull(bench, Form::Chunked)
}

fn pull(bench: &Bench, form: Form) -> Result<Report> {
    let mut report = Report::new("milliseconds for the whole command");
    let folder = bench.folder("update-pull")?;
    let stage = Stage::new(bench, &folder, form)?;
    let mut peaks = Vec::new();
    let mut shares = Vec::new();
    for (rate, where_from) in [(None, "loopback"), (Some(SLOW), "100 Mbit/s")] {
        let link = Link::start(stage.server.address, rate)?;
        let kept = folder.join("kept-oci");
        get(bench, link.address, 0, &kept)?;
        let (mut whole, mut update) = (Vec::new(), Vec::new());
        for (version, size) in stage.sizes.iter().enumerate().skip(1) {
            let fresh = folder.join("fresh-oci");
            settle(&folder)?;
            let took = get(bench, link.address, version, &fresh)?;
            whole.push(took.seconds * 1e3);
            peaks.push(took.peak);
            fs::remove_dir_all(&fresh)?;
            settle(&folder)?;
            let before = link.answered();
            let took = get(bench, link.address, version, &kept)?;
            update.push(took.seconds * 1e3);
            peaks.push(took.peak);
            shares.push((link.answered() - before) as f64 * 100.0 / *size as f64);
        }
        fs::remove_dir_all(&kept)?;
        report.check(format!("update / whole, {where_from}"), ratio(&update, &whole), "", Target::AtMost(0.1));
        report.series(format!("whole pull, {where_from}"), whole);
        report.series(format!("update, {where_from}"), update);
    }
    report.check("an update on the wire", median(&shares), " % of the layer", Target::AtMost(2.5));
    report.check("highest memory (VmHWM)", highest(&peaks), " MB", Target::AtMost(MEMORY));
    drop(stage);
    fs::remove_dir_all(folder)?;
    Ok(report)
}

/// Pulls a version into a layout, in the place of the one that is there.
fn get(bench: &Bench, address: SocketAddr, version: usize, layout: &Path) -> Result<Took> {
    let mut command = program::wharf(bench)?;
    command.args(["pull", &format!("app:{version}")]).arg(layout).args(["--quiet", "--name", "app"]);
    command.env("CONTAINER_REGISTRY_URL", address.to_string());
    program::run(&mut command)
}

/// A wharf with versions of an image, `app:0` and so on, one more than there are rounds.
struct Stage {
    server: Server,
    /// Bytes of each version's layer.
    sizes: Vec<u64>,
}

impl Stage {
    fn new(bench: &Bench, folder: &Path, form: Form) -> Result<Self> {
        let server = Server::start(Peer::Wharf, &folder.join("server"), &bench.settings("update"))?;
        let mut root = RootFs::sample(&bench.options.rootfs, &folder.join("root"), bench.size(SIZE, SIZE / 10))?;
        let layout = folder.join("layout-oci");
        let mut sizes = Vec::new();
        for version in 0..=bench.options.rounds {
            if version > 0 {
                root.rebuild()?;
            }
            layer::pack(bench, &root.folder, &layout, form, None)?;
            sizes.push(Layer::of(&layout)?.size());
            layer::push(bench, &layout, server.address, "app", &version.to_string())?;
            fs::remove_dir_all(&layout)?;
        }
        Ok(Self { server, sizes })
    }
}
