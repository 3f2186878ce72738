//! The collection trial: the same content is pushed, mounted, dropped and pushed again, while collection goes on without a pause.
//!
//! No push fails, nothing that a push was told is there is lost, and when all is quiet what nothing names is gone, from the disk as well. Pushes that take
//! longer than a lease is sure to last were promised nothing; there must be few of them.

mod check;
mod pusher;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use wharf_tests::{Config, Image, Server};

use crate::failure::{Failure, Result, caught};
use crate::plan::{Limit, Plan, Report};
use pusher::Pusher;

/// How long leases last.
const LEASE: Duration = Duration::from_secs(2);
/// Repositories that all pushers share.
const SHARED: [&str; 3] = ["one", "two", "three/of/them"];
/// Images, and the layers that they share, so that the same blobs are pushed, dropped and pushed again under many manifests.
const IMAGES: usize = 40;
const LAYERS: usize = 16;
/// The same of those who come back, who share them with few, so that a blob that is collected there leaves the disk.
const RARE_IMAGES: usize = 48;
const RARE_LAYERS: usize = 40;
/// Pushers that never rest, and those that come back to what was pushed long ago.
const BUSY: usize = 4;
const RETURNING: usize = 2;
/// The longest that one server is on trial before another form of it is.
const ROUND: Duration = Duration::from_secs(120);

/// What all pushers of one server share.
struct Scene<'a> {
    server: &'a Server,
    images: &'a [Image],
    rare: &'a [Image],
    stop: AtomicBool,
    counts: Counts,
    /// What went wrong first.
    failure: Mutex<Option<Failure>>,
    longest: Mutex<Slowest>,
}

/// The request that took longest: how long, and what it was.
type Slowest = (Duration, String);

/// What pushers did.
#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    pushes: AtomicU64,
    skipped: AtomicU64,
    mounted: AtomicU64,
    uploaded: AtomicU64,
    /// Pushes that took longer than a lease is sure to last, so that nothing was promised.
    slow: AtomicU64,
    /// Pushes of those that came back.
    returned: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Scene<'_> {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Something went wrong: all stop.
    fn fails(&self, failure: Failure) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Sums over the servers of a run.
#[derive(Default)]
struct Sums {
    collections: u64,
    manifests: u64,
    blobs: u64,
    bytes: u64,
    longest: Slowest,
    counts: [u64; 7],
}

/// Runs the trial: servers with a file for each blob, and such whose index keeps most of them, in turn.
///
/// # Errors
/// None: whatever goes wrong is found.
pub fn run(plan: &Plan) -> Result<Report> {
    let mut round = plan.clone();
    round.limit = match plan.limit {
        Limit::Time(time) => Limit::Time((time / 2).min(ROUND)),
        Limit::Events(events) => Limit::Events(events.div_ceil(2)),
    };
    let (mut report, mut sums) = (Report::default(), Sums::default());
    report.failures = plan.rounds(|seed, _| {
        round.seed = seed;
        play(&round, seed % 2 == 0, &mut sums)?;
        Ok(sums.counts[0])
    });
    let [requests, pushes, skipped, mounted, uploaded, slow, returned] = sums.counts;
    report.events = requests;
    report.figure("pushes", pushes);
    report.figure("pushes after a lease", returned);
    report.figure("pushes too slow", slow);
    report.figure("blobs skipped", skipped);
    report.figure("blobs mounted", mounted);
    report.figure("blobs uploaded", uploaded);
    report.figure("collections", sums.collections);
    report.figure("manifests collected", sums.manifests);
    report.figure("blobs collected", sums.blobs);
    report.figure("bytes collected", sums.bytes);
    let (longest, request) = sums.longest;
    report.figure("longest request", format!("{:.3} s: {request}", longest.as_secs_f64()));
    Ok(report)
}

/// So many images over so many layers.
fn images(random: &mut Rng, images: usize, layers: usize) -> Vec<Image> {
    let layers: Vec<_> = (0..layers)
        .map(|number| {
            let mut layer = vec![0; if number % 4 == 0 { 200_000 } else { 3_000 }];
            random.fill(&mut layer);
            layer
        })
        .collect();
    let image = |number: usize| {
        let layers = vec![layers[number % layers.len()].clone(), layers[(number * 5 + 1) % layers.len()].clone()];
        let config = format!(r#"{{"architecture":"amd64","os":"linux","number":{number},"random":"{}"}}"#, random.u64(..));
        Image::of_config(config.into_bytes(), layers)
    };
    (0..images).map(image).collect()
}

/// One server, and then whether all of what was pushed is there and nothing else.
fn play(plan: &Plan, files: bool, sums: &mut Sums) -> Result<()> {
    let config = if files { Config::default().with_files() } else { Config::default().set("wharf.storage.inline", "32KiB") };
    let config = config
        .set("wharf.collection.interval", "never")
        .set("wharf.collection.lease", format!("{}s", LEASE.as_secs()))
        .set("wharf.collection.grace", "1ms");
    let server = Server::launched(plan.launch.clone(), config);
    let mut random = Rng::with_seed(plan.seed);
    let (images, rare) = (images(&mut random, IMAGES, LAYERS), images(&mut random, RARE_IMAGES, RARE_LAYERS));
    let (stop, counts, failure, longest) = Default::default();
    let scene = Scene { server: &server, images: &images, rare: &rare, stop, counts, failure, longest };
    let seeds: Vec<u64> = (0..BUSY + RETURNING).map(|_| random.u64(..)).collect();
    let (clock, mut took_something) = (plan.clock(), 0);
    std::thread::scope(|scope| {
        for (number, seed) in seeds.into_iter().enumerate() {
            let scene = &scene;
            scope.spawn(move || {
                let mut pusher = Pusher::new(scene, number, seed);
                if let Err(failure) = caught(|| if number < BUSY { pusher.work() } else { pusher.return_often() }) {
                    scene.fails(failure);
                }
                pusher.rest();
            });
        }
        // A scope ends only when its threads have, so what goes wrong here must stop them.
        let collected = caught(|| {
            while !clock.is_over(scene.counts.requests.load(Ordering::Relaxed)) && !scene.is_over() {
                let report = server.collect("now=1");
                let number = |name: &str| report[name].as_u64().unwrap_or_default();
                sums.collections += 1;
                sums.manifests += number("manifests");
                sums.blobs += number("blobs");
                sums.bytes += number("bytes");
                took_something += u64::from(number("blobs") > 0);
            }
            Ok(())
        });
        scene.stop.store(true, Ordering::Relaxed);
        collected.unwrap_or_else(|failure| scene.fails(failure));
    });
    let c = &scene.counts;
    let counters = [&c.requests, &c.pushes, &c.skipped, &c.mounted, &c.uploaded, &c.slow, &c.returned];
    let counted = counters.map(|counter| counter.load(Ordering::Relaxed));
    sums.counts.iter_mut().zip(counted).for_each(|(sum, count)| *sum += count);
    let longest = scene.longest.into_inner().unwrap_or_else(PoisonError::into_inner);
    sums.longest = longest.max(std::mem::take(&mut sums.longest));
    if let Some(failure) = scene.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(failure);
    }
    let [_, pushes, skipped, mounted, _, slow, _] = counted;
    if took_something == 0 || pushes < 20 || skipped == 0 || mounted == 0 {
        return Err(Failure::new(format!("that tried nothing: {counted:?}, {took_something} collections took something")));
    }
    if slow * 10 > pushes {
        return Err(Failure::new(format!("too slow to say anything: {slow} of {pushes} pushes had no promise left")));
    }
    check::quiet(&server, files)
}
