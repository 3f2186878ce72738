//! What vdkr itself takes of the host's memory while a container runs: the command, and the process that keeps the machine.

use std::fs;

use crate::bench::Bench;
use crate::failure::Result;
use crate::report::{Report, Target};
use crate::stats::highest;
use crate::vdkr::Vdkr;

/// Megabytes that all of it may take beside QEMU.
pub const MEMORY: f64 = 64.0;
/// Much comes out of the container.
const LOAD: &str = "busybox dd if=/dev/zero bs=1M count=100";

/// Measures the row.
pub fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("MB at most (VmHWM), during 100 MB of standard output");
    let folder = bench.folder("vdkr-memory")?;
    let vdkr = Vdkr::new(bench, &folder)?;
    vdkr.setup("x86_64")?;
    vdkr.import("x86_64", "amd64", "box")?;
    vdkr.run("x86_64", &["run", "--rm", "box", "true"])?;
    let (mut commands, mut keepers, mut sums) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.options.rounds {
        let took = vdkr.run("x86_64", &["run", "--rm", "box", "sh", "-c", LOAD])?;
        sums.push(took.peak + took.children);
        commands.push(took.peak);
        keepers.push(took.children);
    }
    report.check("both together", highest(&sums), " MB", Target::AtMost(MEMORY));
    report.series("vdkr run", commands);
    report.series("the process that keeps the machine", keepers);
    fs::remove_dir_all(folder)?;
    Ok(report)
}
