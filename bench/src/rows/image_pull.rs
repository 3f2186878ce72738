//! Many small pulls at once: manifest by tag, config, layer, each pull on a connection of its own as clients do.

use std::time::{Duration, Instant};

use crate::bench::{Bench, at_once, settle};
use crate::failure::Result;
use crate::peer::{Peer, Server};
use crate::registry::Image;
use crate::report::{Report, Target};

use super::image_push::LAYER;

const PULLERS: usize = 4;
const REPOSITORY: &str = "bench/pull";

/// Measures the row.
pub fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("pulls per second");
    let folder = bench.folder("image-pull")?;
    let mut entrants = bench.entrants("image-pull", &[Peer::Wharf, Peer::DockerRegistry], &folder, &mut report);
    let mut random = fastrand::Rng::with_seed(6);
    let images: Vec<Image> = (0..32).map(|number| Image::random(&mut random, format!("v{number}"), LAYER)).collect();
    bench.prepare(&mut report, &mut entrants, |entrant| {
        let server = entrant.server()?;
        let mut connection = server.connect()?;
        images.iter().try_for_each(|image| image.push(&mut connection, REPOSITORY))?;
        pull(server, &images, Duration::from_millis(500)).map(drop)
    });
    settle(&folder)?;
    let time = Duration::from_secs(bench.size(5, 2));
    bench.contest(&mut report, &entrants, |_| Ok(()), |entrant, ()| pull(entrant.server()?, &images, time))?;
    report.ratio(Peer::Wharf, Peer::DockerRegistry, Target::AtLeast(12.0));
    Ok(report)
}

/// Pulls per second, for about `time`.
fn pull(server: &Server, images: &[Image], time: Duration) -> Result<f64> {
    let before = Instant::now();
    let (counts, seconds) = at_once(PULLERS, |worker| {
        let mut count = 0;
        while before.elapsed() < time {
            let image = &images[(worker * images.len() / PULLERS + count) % images.len()];
            image.pull(&mut server.connect()?, REPOSITORY)?;
            count += 1;
        }
        Ok(count)
    })?;
    Ok(counts.iter().sum::<usize>() as f64 / seconds)
}
