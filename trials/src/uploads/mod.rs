//! The trial of uploads: as many small ones as are asked for, a fifth of them left lying or broken, into a registry that collects only in the end.
//!
//! Every upload is answered as it must be. Memory does not grow with what was uploaded or left lying, and the last uploads take about as long as
//! the first. In the end everything that no image names is gone, open files, files on the disk and what the index has, and the images that there were at the beginning are whole.

mod uploader;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;
use wharf_tests::{Config, Image, Server, path_of, sha256};

use crate::client::Answers;
use crate::failure::{Context, Failure, Result, caught};
use crate::plan::{Limit, Plan, Report};
use uploader::Uploader;

/// Those who upload at the same time.
const UPLOADERS: usize = 4;
/// How long a blob that nothing names is safe. It is long over when it comes to collecting.
const LEASE: Duration = Duration::from_secs(2);
/// How long an upload that nobody goes on with stays.
const EXPIRY: Duration = Duration::from_secs(5);
/// Images that are there from the beginning.
const IMAGES: usize = 20;
/// KiB of memory that a server may have more in the end than after a tenth of the uploads: its caches fill up to their bounds meanwhile.
const MORE_MEMORY: u64 = 64 << 10;
/// Files that a server without uploads may have open: its connections, the index, and what is mapped for answers.
const OPEN_FILES: usize = 100;
/// Uploads from which on it is held against the server that the last ones take longer than the first: fewer say little on a machine that has other work.
const ENOUGH: u64 = 100_000;
/// How many times as long as the first they may take then.
const SLOWER: f64 = 4.0;

/// Runs the trial. An event is an upload, a fault one that is left lying or has another digest than it says.
///
/// # Errors
/// None: whatever goes wrong is found.
pub fn run(plan: &Plan) -> Result<Report> {
    let mut report = Report::default();
    if let Err(failure) = caught(|| play(plan, &mut report)) {
        report.failures.push(crate::Found { what: failure.to_string(), seed: plan.seed });
    }
    Ok(report)
}

/// What a server's process has: KiB of memory that are its own, and open files.
fn resources(server: &Server) -> Result<(u64, usize)> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).context("the server's memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    let memory = line.trim().trim_end_matches(" kB").parse().context("RssAnon")?;
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).context("the server's files")?.count();
    Ok((memory, files))
}

/// Bytes of the index, with its log.
fn index_size(server: &Server) -> u64 {
    let size = |name: &str| std::fs::metadata(server.root().join(name)).map_or(0, |status| status.len());
    size("index.sqlite") + size("index.sqlite-wal")
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn play(plan: &Plan, report: &mut Report) -> Result<()> {
    let config = Config::default()
        .set("wharf.collection.interval", "never")
        .set("wharf.collection.lease", format!("{}s", LEASE.as_secs()))
        .set("wharf.collection.grace", "1ms")
        .set("wharf.uploads.expire", format!("{}s", EXPIRY.as_secs()));
    let server = Server::launched(plan.launch.clone(), config);
    let mut random = Rng::with_seed(plan.seed);
    let images: Vec<_> = (0..IMAGES).map(|_| Image::with_layers(&[random.usize(1..9_000), 100])).collect();
    for (number, image) in images.iter().enumerate() {
        server.repo("kept").push(&format!("t{number}"), image);
    }
    let before = server.blob_files();
    let (uploads, clock) = (AtomicU64::new(0), plan.clock());
    let mut uploaders: Vec<_> = (0..UPLOADERS).map(|number| Uploader::new(&server, number, random.fork())).collect();
    let over = || clock.is_over(uploads.load(Ordering::Relaxed));
    let began = Instant::now();
    let early = std::thread::scope(|scope| {
        let working: Vec<_> = uploaders
            .iter_mut()
            .map(|uploader| {
                let (uploads, over) = (&uploads, &over);
                scope.spawn(move || {
                    caught(|| {
                        while !over() {
                            uploader.upload()?;
                            uploads.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(())
                    })
                })
            })
            .collect();
        let is_early = || match plan.limit {
            Limit::Time(time) => began.elapsed() < time / 10,
            Limit::Events(events) => uploads.load(Ordering::Relaxed) < events / 10,
        };
        while is_early() && working.iter().all(|uploader| !uploader.is_finished()) {
            sleep(Duration::from_millis(10));
        }
        let early = resources(&server);
        working.into_iter().try_for_each(|uploader| uploader.join().unwrap_or_else(|panic| Err(Failure::of_panic(&*panic))))?;
        early
    })?;
    let took = began.elapsed();
    let late = resources(&server)?;
    let (mut answers, mut stored, mut bytes) = (Answers::default(), 0, 0);
    for uploader in &uploaders {
        answers.add(&uploader.client.answers);
        stored += uploader.stored;
        bytes += uploader.bytes;
        report.faults += uploader.faults;
    }
    report.events = uploads.load(Ordering::Relaxed);
    report.figure("uploads a second", format!("{:.0}", report.events as f64 / took.as_secs_f64()));
    report.figure("answers", answers);
    report.figure("blobs, bytes", format!("{stored}, {bytes}"));
    let [first, last] = uploader::tenths(&uploaders);
    report.figure("an upload, early", format!("{:.2} ms on average in the first tenth", first * 1000.0));
    report.figure("an upload, late", format!("{:.2} ms in the last", last * 1000.0));
    report.figure("longest request", seconds(uploaders.iter().map(|uploader| uploader.client.longest).max().unwrap_or_default()));
    report.figure("memory", format!("{} KiB after a tenth, {} KiB in the end", early.0, late.0));
    report.figure("open files", format!("{}, {}", early.1, late.1));
    report.figure("index", format!("{} KiB", index_size(&server) >> 10));
    let files = server.blob_files().len();
    collected(&server, &before, stored, report).context("when all is over")?;
    report.figure("files", format!("{files} before, {} after", server.blob_files().len()));
    for uploader in &uploaders {
        for place in &uploader.left {
            let answer = server.get(place).send();
            if answer.status != 404 {
                return Err(Failure::new(format!("an upload that was left lying is still there: {}", answer.describe())));
            }
        }
    }
    for (number, image) in images.iter().enumerate() {
        let manifest = server.repo("kept").manifest(&format!("t{number}"));
        let whole = image.blobs().all(|blob| server.repo("kept").blob(&sha256(blob)).body == *blob);
        if manifest.body != image.manifest || !whole {
            return Err(Failure::new(format!("image {number} is not what it was: {}", manifest.describe())));
        }
    }
    if late.0 > early.0 + MORE_MEMORY {
        return Err(Failure::new(format!("from {} KiB of memory to {} KiB", early.0, late.0)));
    }
    if report.events >= ENOUGH && last > first * SLOWER {
        return Err(Failure::new(format!("an upload took {first:.5} s in the beginning, and {last:.5} s in the end")));
    }
    Ok(())
}

/// Waits for what was left lying to expire, collects, and looks at what is left.
fn collected(server: &Server, before: &[std::path::PathBuf], stored: u64, report: &mut Report) -> Result<()> {
    sleep(LEASE + Duration::from_millis(300));
    let began = Instant::now();
    let result = server.collect("now=1");
    report.figure("collected", format!("{} blobs in {}", result["blobs"], seconds(began.elapsed())));
    if result["blobs"].as_u64() != Some(stored) {
        return Err(Failure::new(format!("{stored} blobs were stored that nothing names, and this collected: {result}")));
    }
    let begun = Instant::now();
    while server.blob_files() != before {
        if begun.elapsed() > EXPIRY + Duration::from_secs(25) {
            let left = server.blob_files().len();
            return Err(Failure::new(format!("{left} files are left of {} that are named", before.len())));
        }
        sleep(Duration::from_millis(200));
    }
    let (memory, files) = resources(server)?;
    // An upload that is open may have a file open.
    if files > OPEN_FILES {
        return Err(Failure::new(format!("{files} files are open, and no upload is")));
    }
    report.figure("afterwards", format!("{memory} KiB of memory, {files} open files, index {} KiB", index_size(server) >> 10));
    Ok(())
}

/// Where an upload that was begun is.
fn place(answer: &wharf_tests::Response) -> String {
    path_of(answer.header("Location"))
}
