//! Many small images at once: what a build farm does at the end of its jobs.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::bench::{Bench, Entrant, at_once, settle};
use crate::failure::Result;
use crate::peer::Peer;
use crate::registry::Image;
use crate::report::{Report, Target};

const PUSHERS: usize = 4;
/// The layer of each image.
pub const LAYER: usize = 1 << 20;

/// Measures the row.
pub fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("pushes per second");
    let folder = bench.folder("image-push")?;
    let mut entrants = bench.entrants("image-push", &[Peer::Wharf, Peer::DockerRegistry, Peer::BareFiles], &folder, &mut report);
    let mut random = fastrand::Rng::with_seed(5);
    let mut images = |label: usize, count: usize| -> Vec<Image> {
        (0..count).map(|number| Image::random(&mut random, format!("r{label}-{number}"), LAYER)).collect()
    };
    let warm = images(usize::MAX, PUSHERS);
    bench.prepare(&mut report, &mut entrants, |entrant| push(entrant, &warm).map(drop));
    let each = bench.size(30, 8);
    bench.contest(
        &mut report,
        &entrants,
        |round| Ok(images(round, each * PUSHERS)),
        |entrant, images| {
            settle(&folder)?;
            Ok(images.len() as f64 / push(entrant, images)?)
        },
    )?;
    report.ratio(Peer::Wharf, Peer::BareFiles, Target::AtLeast(0.6));
    report.ratio(Peer::Wharf, Peer::DockerRegistry, Target::AtLeast(3.0));
    drop(entrants);
    fs::remove_dir_all(folder)?;
    Ok(report)
}

/// Seconds to push all images, four at a time. For plain files: to write each layer, and sync it and its folder.
fn push(entrant: &Entrant, images: &[Image]) -> Result<f64> {
    let share = images.len().div_ceil(PUSHERS);
    let (_, seconds) = at_once(PUSHERS, |worker| {
        let mut mine = images.iter().skip(worker * share).take(share);
        match &entrant.server {
            None => mine.try_for_each(|image| write(&entrant.folder, image)),
            Some(server) => {
                let mut connection = server.connect()?;
                let repository = format!("bench/push-{worker}");
                mine.try_for_each(|image| image.push(&mut connection, &repository))
            }
        }
    })?;
    Ok(seconds)
}

fn write(folder: &Path, image: &Image) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut file = fs::File::create(folder.join(&image.tag))?;
    file.write_all(&image.layer)?;
    file.sync_all()?;
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}
