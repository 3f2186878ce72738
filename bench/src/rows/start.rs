//! Start: how long a restart keeps clients waiting, with nothing stored and with much.

use std::path::{Path, PathBuf};

use crate::bench::Bench;
use crate::failure::{Failure, Result};
use crate::peer::{Peer, Server};
use crate::report::{Report, Target};
use crate::stats::median;

use super::seed;

/// Measures the row.
pub fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("ms until GET /v2/ answers");
    let mut starts: Vec<(Peer, String, PathBuf)> = Vec::new();
    let stored = format!("wharf, {} tags", seed::count(bench));
    if bench.options.takes_part(Peer::Wharf) {
        match seed::wharf(bench) {
            Ok(folder) => starts.push((Peer::Wharf, stored.clone(), folder.to_owned())),
            Err(failure) => report.failure(&stored, &failure),
        }
        starts.push((Peer::Wharf, "wharf, empty".to_owned(), bench.folder("start-wharf")?));
    }
    if bench.options.takes_part(Peer::DockerRegistry) {
        starts.push((Peer::DockerRegistry, "docker-registry, empty".to_owned(), bench.folder("start-docker-registry")?));
    }
    let mut found: Vec<Result<Vec<f64>>> = starts.iter().map(|_| Ok(Vec::new())).collect();
    // The first round fills caches and makes empty storages; it is not counted. A start is short, so there are more rounds.
    for round in 0..=bench.options.rounds * 2 {
        for ((peer, _, folder), values) in starts.iter().zip(&mut found) {
            if let Ok(list) = values {
                match start(bench, *peer, folder) {
                    Ok(_) if round == 0 => {}
                    Ok(time) => list.push(time),
                    Err(failure) => *values = Err(failure),
                }
            }
        }
    }
    let mut full = f64::NAN;
    for ((_, label, _), values) in starts.into_iter().zip(found) {
        match values {
            Ok(values) => {
                if label == stored {
                    full = median(&values);
                }
                report.series(label, values);
            }
            Err(failure) => report.failure(&label, &failure),
        }
    }
    report.check(stored, full, " ms", Target::AtMost(30.0));
    Ok(report)
}

fn start(bench: &Bench, peer: Peer, folder: &Path) -> Result<f64> {
    let mut settings = bench.settings("start");
    settings.profile = None;
    let server = Server::start(peer, folder, &settings)?;
    if server.ready_after.is_zero() {
        return Err(Failure::new("the start was not timed"));
    }
    Ok(server.ready_after.as_secs_f64() * 1e3)
}
