//! `vdkr images`: how long a list takes that no machine is needed for, beside podman's of one image.

use std::fs;

use crate::bench::Bench;
use crate::failure::Result;
use crate::podman::Podman;
use crate::report::{Report, Target};
use crate::stats::median;
use crate::vdkr::Vdkr;

/// Names of images.
const IMAGES: usize = 100;
/// The command is short, so it is measured more often.
const TIMES: usize = 5;

/// Measures the row.
pub fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("ms for the whole command");
    let folder = bench.folder("vdkr-images")?;
    let vdkr = Vdkr::new(bench, &folder)?;
    vdkr.import("x86_64", "amd64", "box")?;
    for number in 0..IMAGES {
        vdkr.run("x86_64", &["tag", "box", &format!("box-{number}:1")])?;
    }
    let archive = folder.join("box.tar");
    vdkr.run("x86_64", &["save", "-o", &archive.to_string_lossy(), "box"])?;
    let podman = Podman::new(&folder.join("podman"))?;
    let theirs = podman.load(&archive);
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for _ in 0..bench.options.rounds * TIMES {
        ours.push(vdkr.run("x86_64", &["images"])?.seconds * 1e3);
        if theirs.is_ok() {
            others.push(podman.images()?.seconds * 1e3);
        }
    }
    report.check("vdkr images", median(&ours), " ms", Target::AtMost(20.0));
    report.series(format!("vdkr images, {} of them", IMAGES + 1), ours);
    match theirs {
        Ok(_) => report.series("podman images, one", others),
        Err(failure) => report.failure("podman", &failure),
    }
    fs::remove_dir_all(folder)?;
    Ok(report)
}
