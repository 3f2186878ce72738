//! Power cuts: the registry over a disk that forgets what was not synced, cut at random moments in the middle of its work.
//!
//! After each cut the power comes back, the registry starts over what is left, and everything that it had acknowledged is looked for: every image whole, every tag
//! where its last acknowledged push or deletion has left it, or where the one under way would have.

pub(crate) mod disk;
pub(crate) mod mount;
pub(crate) mod pusher;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;
use wharf_tests::{Config, Launch, Server, sha256};

use crate::failure::{Context, Failure, Result};
use crate::plan::{Clock, Plan, Report};

use disk::Disk;
use mount::Mounted;
use pusher::{INLINE, Images, Pusher};

const PUSHERS: usize = 4;
/// Cuts of one disk, before an empty one takes its place: a longer history finds nothing that a new one does not.
const CUTS: u64 = 12;

/// What a trial came to.
#[derive(Default)]
struct Sums {
    cuts: u64,
    acknowledged: u64,
    /// Changes of the disk that a cut could undo.
    unsynced: u64,
    syncs: u64,
    /// Images that were looked at after a cut.
    checked: u64,
    /// From the start of the process to its first answer, at most.
    slowest_start: Duration,
}

/// Runs the trial. An event is an acknowledged request, a fault a power cut.
///
/// # Errors
/// None: whatever goes wrong is found.
pub fn run(plan: &Plan) -> Result<Report> {
    let (mut report, mut sums) = (Report::default(), Sums::default());
    report.failures = plan.rounds(|seed, clock| {
        one_history(seed, &plan.launch, clock, &mut sums)?;
        let Sums { cuts, acknowledged, .. } = sums;
        if acknowledged < 5 * cuts {
            return Err(Failure::new(format!(
                "that tried nothing: {acknowledged} requests were acknowledged before {cuts} cuts"
            )));
        }
        Ok(acknowledged)
    });
    report.events = sums.acknowledged;
    report.faults = sums.cuts;
    report.figure("syncs", sums.syncs);
    report.figure("changes at risk", sums.unsynced);
    report.figure("images looked at", sums.checked);
    report.figure("slowest start", format!("{:.3} s", sums.slowest_start.as_secs_f64()));
    Ok(report)
}

fn config() -> Config {
    Config::default()
        .set("wharf.collection.interval", "1s")
        .set("wharf.collection.lease", "2s")
        .set("wharf.uploads.expire", "2s")
        .set("wharf.sandbox", "off")
}

/// A disk from its first start on, until it was cut off so many times.
fn one_history(seed: u64, launch: &Launch, clock: &Clock, sums: &mut Sums) -> Result<()> {
    let mut random = Rng::with_seed(seed);
    let images = Images::new(&mut random);
    let mut pushers: Vec<Pusher> = (0..PUSHERS).map(|number| Pusher::new(number, random.fork())).collect();
    let folder = tempfile::tempdir().expect("a folder to mount on");
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mut disk = Disk::new(uid, gid);
    for cut in 0..CUTS {
        if cut > 0 && clock.is_over(sums.acknowledged) {
            return Ok(());
        }
        let told = format!("seed {seed}, cut {cut}");
        let (mounted, server) = power_on(disk, folder.path(), launch, sums);
        for pusher in &mut pushers {
            sums.checked += pusher.check(&server, &images, &told);
        }
        let stop = AtomicBool::new(false);
        let lived = Duration::from_millis(random.u64(20..900));
        let acknowledged: Result<u64> = std::thread::scope(|scope| {
            let working: Vec<_> = pushers
                .iter_mut()
                .map(|pusher| {
                    let (server, images, stop) = (&server, &images, &stop);
                    scope.spawn(move || pusher.work(server, images, stop))
                })
                .collect();
            sleep(lived);
            mounted.cut();
            stop.store(true, Ordering::Relaxed);
            // Until then it may answer from memory, and complain of its disk.
            server.kill_now();
            working.into_iter().map(|pusher| pusher.join().map_err(|panic| Failure::of_panic(&*panic))).sum()
        });
        sums.cuts += 1;
        sums.acknowledged += acknowledged.context(&told)?;
        sums.unsynced += mounted.look(Disk::unsynced) as u64;
        sums.syncs += mounted.look(Disk::syncs);
        drop(server);
        let left = mounted.unmount().expect("unmount");
        disk = left.lock().after_cut(&mut random);
    }
    let (mounted, server) = power_on(disk, folder.path(), launch, sums);
    let told = format!("seed {seed}, at the end");
    for pusher in &mut pushers {
        sums.checked += pusher.check(&server, &images, &told);
    }
    nothing_is_left_over(&server, &pushers, &images, &told);
    drop(server);
    drop(mounted);
    Ok(())
}

fn power_on(disk: Disk, folder: &Path, launch: &Launch, sums: &mut Sums) -> (Mounted, Server) {
    let mounted = Mounted::new(disk, folder).expect("mount the disk; this takes root, or fusermount3");
    let begun = Instant::now();
    let server = Server::launched_at(launch.clone(), &folder.join("data"), config());
    sums.slowest_start = sums.slowest_start.max(begun.elapsed());
    (mounted, server)
}

/// What no image names is collected in the end, whatever the cuts have left lying about.
fn nothing_is_left_over(server: &Server, pushers: &[Pusher], images: &Images, told: &str) {
    let kept: Vec<usize> = pushers.iter().flat_map(Pusher::images).collect();
    let (named, large) = (images.blobs(&kept, 0), images.blobs(&kept, INLINE + 1));
    let begun = Instant::now();
    loop {
        // Uploads have to expire and leases to end first.
        sleep(Duration::from_millis(500));
        server.collect("now=1");
        let read = |path| sha256(&std::fs::read(path).expect("a blob's file"));
        let files: BTreeSet<String> = server.blob_files().into_iter().map(read).collect();
        // Small ones may have files or not.
        if large.is_subset(&files) && files.is_subset(&named) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{told}: named are {named:#?}, and on the disk are {files:#?}");
    }
}
