//! Pushes while a collection runs: none may fail, and the slow ones may become only a little slower.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::bench::{Bench, at_once, settle};
use crate::control;
use crate::failure::{Failure, Result};
use crate::http::Sink;
use crate::peer::{Peer, Server};
use crate::registry::{self, Image};
use crate::report::{Report, Target};
use crate::stats::{percentile, readable};

const PUSHERS: usize = 4;
/// Small, so that syncs and the index, which a collection needs too, are most of a push.
const LAYER: usize = 64 << 10;
const GARBAGE: &str = "bench/garbage";
/// Enough connections to make garbage quickly.
const FILLERS: usize = 32;
/// Leases must end before a collection may free what was just pushed; this is still a hundred times what a push takes. And no
/// collection but the one that is timed.
const CONFIGURATION: &str = "wharf:\n  collection:\n    interval: never\n    lease: 3s\n";
/// How long after the last push of garbage its leases have surely ended.
const LEASES_ENDED: Duration = Duration::from_secs(4);
/// Fewer pushes than this have no 99th percentile worth the name.
const ENOUGH: usize = 200;

/// What pushers saw.
#[derive(Default)]
struct Seen {
    milliseconds: Vec<f64>,
    failures: Vec<Failure>,
}

impl Seen {
    fn extend(&mut self, other: Seen) {
        self.milliseconds.extend(other.milliseconds);
        self.failures.extend(other.failures);
    }

    fn p99(&self) -> f64 {
        percentile(&self.milliseconds, 99.0)
    }
}

/// Measures the row.
pub fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("ms");
    let mut quiet = Seen::default();
    let mut busy = Seen::default();
    if bench.options.takes_part(Peer::Wharf)
        && let Err(failure) = rounds(bench, &mut report, &mut quiet, &mut busy)
    {
        report.failure("wharf", &failure);
    }
    report.check("with collection / without", busy.p99() / quiet.p99(), "", Target::AtMost(1.5));
    let failures = quiet.failures.len() + busy.failures.len();
    let counted = if busy.milliseconds.is_empty() { f64::NAN } else { failures as f64 };
    report.check("failed pushes", counted, "", Target::AtMost(0.0));
    if let Some(first) = quiet.failures.iter().chain(&busy.failures).next() {
        report.note(format!("the first failure: {first}"));
    }
    let pushes = busy.milliseconds.len();
    report.note(format!("{} pushes without a collection, {pushes} during one", quiet.milliseconds.len()));
    if pushes < ENOUGH {
        report.note(format!("fewer than {ENOUGH} pushes met a collection: take more --rounds"));
    }
    Ok(report)
}

fn rounds(bench: &Bench, report: &mut Report, quiet: &mut Seen, busy: &mut Seen) -> Result<()> {
    let garbage = bench.size(10_000, 1_000);
    let folder = bench.folder("collection")?;
    let mut settings = bench.settings("collection");
    settings.wharf_configuration.push_str(CONFIGURATION);
    let server = Server::start(Peer::Wharf, &folder, &settings)?;
    let (mut without, mut with, mut collections) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.options.rounds {
        bench.progress(&format!("round {round}: pushing {garbage} blobs that nothing names"));
        let blobs = fill(&server, round, garbage)?;
        std::thread::sleep(LEASES_ENDED);
        settle(&folder)?;
        let time = Duration::from_secs(bench.size(3, 1));
        let before = Instant::now();
        let first = push_until(&server, round * 2, || before.elapsed() > time)?;
        let (second, collected) = push_during_collection(&server, round * 2 + 1)?;
        let (result, seconds) = collected?;
        let freed = missing(&server, &blobs)?;
        if freed < garbage {
            report.note(format!("round {round}: only {freed} of {garbage} blobs were freed: {result}"));
        }
        without.push(first.p99());
        with.push(second.p99());
        collections.push(seconds * 1e3);
        quiet.extend(first);
        busy.extend(second);
    }
    let what = readable(garbage as f64);
    report.series("wharf, p99 without a collection", without);
    report.series("wharf, p99 during a collection", with);
    report.series(format!("a collection of {what} blobs took"), collections);
    Ok(())
}

/// Pushes small images with several pushers until told to end.
fn push_until(server: &Server, phase: usize, ended: impl Fn() -> bool + Sync) -> Result<Seen> {
    let (all, _) = at_once(PUSHERS, |pusher| {
        let mut random = fastrand::Rng::new();
        let mut connection = server.connect()?;
        let repository = format!("bench/pusher-{pusher}");
        let mut seen = Seen::default();
        let mut number = 0;
        while !ended() {
            let image = Image::random(&mut random, format!("p{phase}-{number}"), LAYER);
            let before = Instant::now();
            match image.push(&mut connection, &repository) {
                Ok(()) => seen.milliseconds.push(before.elapsed().as_secs_f64() * 1e3),
                Err(failure) => {
                    seen.failures.push(failure);
                    connection = server.connect()?;
                }
            }
            number += 1;
        }
        Ok(seen)
    })?;
    let mut together = Seen::default();
    all.into_iter().for_each(|seen| together.extend(seen));
    Ok(together)
}

/// The pushes that met a collection, and its result with its seconds.
fn push_during_collection(server: &Server, phase: usize) -> Result<(Seen, Result<(serde_json::Value, f64)>)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let before = Instant::now();
            let result = control::collect(&server.data());
            let seconds = before.elapsed().as_secs_f64();
            over.store(true, Ordering::Release);
            result.map(|result| (result, seconds))
        });
        let seen = push_until(server, phase, || over.load(Ordering::Acquire))?;
        let collected = collector.join().unwrap_or_else(|_| Err(Failure::new("the collector's client panicked")));
        Ok((seen, collected))
    })
}

/// Pushes blobs that no manifest will name.
fn fill(server: &Server, round: usize, count: usize) -> Result<Vec<String>> {
    let (parts, _) = at_once(FILLERS, |filler| {
        let mut connection = server.connect()?;
        let mut digests = Vec::new();
        for number in (filler..count).step_by(FILLERS) {
            let blob = format!("garbage {round} {number}").into_bytes();
            let digest = registry::digest(&blob);
            registry::push_blob(&mut connection, GARBAGE, &digest, &blob)?;
            digests.push(digest);
        }
        Ok(digests)
    })?;
    Ok(parts.into_iter().flatten().collect())
}

/// How many of the blobs are gone.
fn missing(server: &Server, digests: &[String]) -> Result<usize> {
    let mut connection = server.connect()?;
    let mut gone = 0;
    for digest in digests {
        let path = registry::blob_path(GARBAGE, digest);
        if connection.exchange("HEAD", &path, &[], &[], Sink::Discard)?.status == 404 {
            gone += 1;
        }
    }
    Ok(gone)
}
