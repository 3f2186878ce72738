//! Faults: the registry over a disk that fails, with no descriptors left, or with an index that somebody else holds, for a moment each.
//!
//! While something is wrong, what does not need it goes on, what needs it is refused in words, and nothing is acknowledged that is not so. When it is over everything
//! works again, without a restart. In the end the power is cut, and everything that was acknowledged has to be there, and all that is there to be sound.

mod probe;
mod trouble;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;
use wharf_tests::{Config, Launch, Server};

use crate::client::Answers;
use crate::failure::{Context, Failure, Result};
use crate::plan::{Clock, Plan, Report};
use crate::power::disk::Disk;
use crate::power::mount::Mounted;
use crate::power::pusher::{Images, Pusher};

use probe::Probe;
use trouble::Trouble;

const PUSHERS: usize = 3;
/// Troubles that one server goes through before its power is cut.
const TROUBLES: usize = 10;
/// When a trouble is over, everything works again within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a trial came to.
#[derive(Default)]
struct Sums {
    acknowledged: u64,
    troubles: u64,
    /// What the probes were answered, by the trouble.
    answers: BTreeMap<&'static str, Answers>,
    slowest_recovery: Duration,
    slowest_answer: Duration,
}

/// Runs the trial. An event is a request that was acknowledged, a fault a time in which something is wrong.
///
/// # Errors
/// None: whatever goes wrong is found.
pub fn run(plan: &Plan) -> Result<Report> {
    let (mut report, mut sums) = (Report::default(), Sums::default());
    report.failures = plan.rounds(|seed, clock| {
        one_server(seed, &plan.launch, clock, &mut sums).context(format!("seed {seed}"))?;
        Ok(sums.acknowledged)
    });
    report.events = sums.acknowledged;
    report.faults = sums.troubles;
    for (trouble, answers) in &sums.answers {
        report.figure(trouble, answers);
    }
    report.figure("slowest recovery", format!("{:.3} s", sums.slowest_recovery.as_secs_f64()));
    report.figure("slowest answer", format!("{:.3} s", sums.slowest_answer.as_secs_f64()));
    Ok(report)
}

fn config() -> Config {
    Config::default()
        .set("wharf.collection.interval", "1s")
        // Longer than any push takes, those that wait for the index among them.
        .set("wharf.collection.lease", "30s")
        .set("wharf.uploads.expire", "10s")
        .set("wharf.storage.min_free", "1MiB")
        // A trouble that ended is noticed by those who try again.
        .set("wharf.scrub.interval", "1s")
}

fn one_server(seed: u64, launch: &Launch, clock: &Clock, sums: &mut Sums) -> Result<()> {
    let mut random = Rng::with_seed(seed);
    let images = Images::new(&mut random);
    let mut pushers: Vec<Pusher> = (0..PUSHERS).map(|number| Pusher::new(number, random.fork())).collect();
    let folder = tempfile::tempdir().expect("a folder to mount on");
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mounted = Mounted::new(Disk::new(uid, gid), folder.path()).expect("mount the disk; this takes root, or fusermount3");
    let root = folder.path().join("data");
    let server = Server::launched_at(launch.clone(), &root, config());
    let mut probe = Probe::new(&server, &mut random)?;
    let stop = AtomicBool::new(false);
    let (acknowledged, outcome) = std::thread::scope(|scope| {
        let working: Vec<_> = pushers
            .iter_mut()
            .map(|pusher| {
                let (server, images, stop) = (&server, &images, &stop);
                scope.spawn(move || {
                    let mut acknowledged = 0;
                    while !stop.load(Ordering::Relaxed) {
                        acknowledged += pusher.work(server, images, stop);
                        // It was told of an error, and tries something else.
                        sleep(Duration::from_millis(5));
                    }
                    acknowledged
                })
            })
            .collect();
        let outcome = crate::failure::caught(|| {
            for _ in 0..TROUBLES {
                if clock.is_over(sums.acknowledged) {
                    break;
                }
                let trouble = Trouble::any(&mut random);
                one_trouble(trouble, &server, &mounted, &mut probe, &mut random, sums).context(trouble)?;
            }
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        let acknowledged: Result<u64> =
            working.into_iter().map(|pusher| pusher.join().map_err(|panic| Failure::of_panic(&*panic))).sum();
        (acknowledged, outcome)
    });
    outcome.context(server.log())?;
    sums.acknowledged += acknowledged?;
    let told = "when all was over";
    pushers.iter_mut().for_each(|pusher| {
        pusher.check(&server, &images, told);
    });
    probe.everything_is_there(&server)?;
    mounted.cut();
    server.kill_now();
    drop(server);
    let left = mounted.unmount().expect("unmount");
    let disk = left.lock().after_cut(&mut random);
    let _mounted = Mounted::new(disk, folder.path()).expect("mount the disk");
    let server = Server::launched_at(launch.clone(), &root, config());
    let told = "after the power was cut";
    pushers.iter_mut().for_each(|pusher| {
        pusher.check(&server, &images, told);
    });
    probe.everything_is_there(&server).context(told)?;
    let checked = server.owner("check", &[]);
    if checked.code != 0 {
        return Err(Failure::new(format!("{told}: {checked}")));
    }
    Ok(())
}

/// Lets something be wrong for a moment, and waits until everything works again.
fn one_trouble(
    trouble: Trouble,
    server: &Server,
    mounted: &Mounted,
    probe: &mut Probe,
    random: &mut Rng,
    sums: &mut Sums,
) -> Result<()> {
    let time = trouble.time(random);
    let remedy = trouble.begin(server, mounted, time)?;
    let ends = Instant::now() + time;
    while Instant::now() < ends {
        probe.ask(server, trouble)?;
        probe.change(server, trouble)?;
    }
    drop(remedy);
    sums.troubles += 1;
    sums.answers.entry(trouble.name()).or_default().add(&std::mem::take(&mut probe.answers));
    let over = Instant::now();
    while !probe.everything_works(server)? {
        if over.elapsed() > PATIENCE {
            return Err(Failure::new(format!("it is over since {PATIENCE:?}, and nothing can be pushed: {}", probe.last)));
        }
        sleep(Duration::from_millis(10));
    }
    sums.slowest_recovery = sums.slowest_recovery.max(over.elapsed());
    sums.slowest_answer = sums.slowest_answer.max(probe.slowest);
    Ok(())
}
