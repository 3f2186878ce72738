//! Anonymous memory: what a server takes from the others on the machine. Pages of files are the kernel's to reclaim, so they
//! do not count.

use std::fs;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::bench::{Bench, settle};
use crate::failure::{Context, Failure, Result};
use crate::peer::{Peer, Server};
use crate::registry;
use crate::report::{Report, Target};
use crate::stats::median;

const REPOSITORY: &str = "bench/memory";
const UPLOADS: usize = 100;
const PIECE: usize = 1 << 20;
const SAMPLE: Duration = Duration::from_millis(20);

/// After the start and a first request.
pub fn idle(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("MB");
    let peers = [Peer::Wharf, Peer::DockerRegistry];
    let entrants = bench.entrants("memory-idle", &peers, &bench.folder("memory-idle")?, &mut report);
    std::thread::sleep(Duration::from_secs(2));
    let mut ours = f64::NAN;
    for entrant in &entrants {
        let value = anonymous(entrant.server()?.pid())?;
        if entrant.peer == Peer::Wharf {
            ours = value;
        }
        report.series(entrant.peer.label(), vec![value]);
    }
    report.check("wharf", ours, " MB", Target::AtMost(15.0));
    Ok(report)
}

/// The highest of many samples while 100 clients upload at once.
pub fn uploads(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("MB");
    let pieces = bench.size(100, 20);
    let rounds = bench.options.rounds.min(bench.size(2, 1));
    let mut ours = Vec::new();
    for peer in [Peer::Wharf, Peer::DockerRegistry] {
        if !bench.options.takes_part(peer) {
            continue;
        }
        let mut peaks = Vec::new();
        // Ten gigabytes each time, so few rounds; a fresh server for each, because a peak leaves its mark on the next.
        for round in 0..rounds {
            match peak(bench, peer, round, pieces) {
                Ok(peak) => peaks.push(peak),
                Err(failure) => report.failure(peer.label(), &failure),
            }
        }
        if peer == Peer::Wharf {
            ours.clone_from(&peaks);
        }
        if !peaks.is_empty() {
            report.series(peer.label(), peaks);
        }
    }
    report.check("wharf", median(&ours), " MB", Target::AtMost(96.0));
    if pieces != 100 {
        report.note(format!("--quick: {pieces} MiB each"));
    }
    Ok(report)
}

fn peak(bench: &Bench, peer: Peer, round: usize, pieces: usize) -> Result<f64> {
    let folder = bench.folder("memory-uploads")?;
    bench.progress(&format!("{UPLOADS} uploads of {pieces} MiB to {}", peer.label()));
    let server = Server::start(peer, &folder, &bench.settings("memory-uploads"))?;
    let result = upload(&server, round, pieces);
    drop(server);
    fs::remove_dir_all(&folder)?;
    settle(bench.folder("")?.as_path())?;
    result
}

/// Uploads at once, none of which the client holds: all repeat one random piece and differ in the last.
fn upload(server: &Server, round: usize, pieces: usize) -> Result<f64> {
    let piece = registry::random_bytes(&mut fastrand::Rng::with_seed(round as u64), PIECE);
    let mut common = Sha256::new();
    for _ in 1..pieces {
        common.update(&piece);
    }
    let ended = AtomicBool::new(false);
    let opened = Barrier::new(UPLOADS);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(server.pid(), &ended));
        let uploads: Vec<_> = (0..UPLOADS)
            .map(|number| {
                let (piece, common, opened) = (&piece, &common, &opened);
                scope.spawn(move || {
                    let mut last = piece.clone();
                    last[..8].copy_from_slice(&(number as u64).to_le_bytes());
                    let digest = registry::named(&common.clone().chain_update(&last).finalize());
                    let session = server.connect().and_then(|mut connection| {
                        let path = registry::open_upload(&mut connection, REPOSITORY, &digest)?;
                        Ok((connection, path))
                    });
                    // Also one that failed must arrive, or the others wait for ever.
                    opened.wait();
                    let (mut connection, path) = session?;
                    let body = std::iter::repeat_n(piece.as_slice(), pieces - 1).chain(std::iter::once(last.as_slice()));
                    let length = (pieces * PIECE) as u64;
                    connection
                        .stream("PUT", &path, &[("Content-Type", "application/octet-stream")], length, body)?
                        .expecting(201, &path)
                })
            })
            .collect();
        let results: Vec<Result<_>> =
            uploads.into_iter().map(|upload| upload.join().unwrap_or_else(|_| Err(Failure::new("an upload panicked")))).collect();
        ended.store(true, Ordering::Relaxed);
        let peak = sampler.join().unwrap_or_else(|_| Err(Failure::new("the sampler panicked")));
        results.into_iter().collect::<Result<Vec<_>>>()?;
        peak
    })
}

/// The highest anonymous memory of a process, in megabytes, of many samples until `ended` says so.
pub(super) fn sample(pid: u32, ended: &AtomicBool) -> Result<f64> {
    let mut peak: f64 = 0.0;
    while !ended.load(Ordering::Relaxed) {
        peak = peak.max(anonymous(pid)?);
        std::thread::sleep(SAMPLE);
    }
    Ok(peak)
}

/// Megabytes of anonymous memory that a process has in RAM.
fn anonymous(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the server's memory")?;
    let kibibytes: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|line| line.split_whitespace().next())
        .ok_or_else(|| Failure::new("no RssAnon in the server's status"))?
        .parse()
        .context("RssAnon")?;
    Ok(kibibytes * 1024.0 / 1e6)
}
