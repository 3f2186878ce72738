//! Many clients at once, each with repositories of its own, over the same blobs, while somebody collects without a pause.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use wharf_tests::{Config, Launch, Server};

use super::case::Played;
use super::content::Content;
use super::op::Choice;
use super::player::Player;
use crate::failure::{Context, Failure, Result};

/// Clients.
const CLIENTS: usize = 6;
/// Repositories of each.
const NAMES: [&str; 2] = ["one", "two/three"];
/// How long leases last.
const LEASE: Duration = Duration::from_secs(2);
/// How long one crowd goes on.
const TIME: Duration = Duration::from_secs(5);

/// Plays a crowd on a fresh server until its time or `stop` says that it is over, and compares all content at the end.
///
/// # Errors
/// The first answer that is another than it must be, of whatever client.
pub fn play(seed: u64, content: &Content, launch: &Launch, is_over: &(dyn Fn(u64) -> bool + Sync)) -> Result<Played> {
    let mut random = fastrand::Rng::with_seed(seed);
    let config = Config::default()
        .set("wharf.collection.interval", "never")
        .set("wharf.collection.grace", "1ms")
        .set("wharf.collection.lease", format!("{}s", LEASE.as_secs()));
    let config = if random.bool() { config } else { config.with_files() };
    let server = Server::launched(launch.clone(), config);
    let (stop, requests) = (AtomicBool::new(false), AtomicU64::new(0));
    let seeds: Vec<u64> = (0..CLIENTS).map(|_| random.u64(..)).collect();
    let mut collections = 0;
    let players = std::thread::scope(|scope| {
        let work = |(number, seed): (usize, &u64)| {
            let (server, stop, requests, seed) = (&server, &stop, &requests, *seed);
            scope.spawn(move || {
                let player = Player::beside(content, server.address(), &NAMES, &format!("k{number}/"), LEASE);
                work(player, Choice::new(seed, content, (0..NAMES.len()).collect(), false), stop, requests)
            })
        };
        let threads: Vec<_> = seeds.iter().enumerate().map(work).collect();
        let began = std::time::Instant::now();
        while began.elapsed() < TIME && !is_over(requests.load(Ordering::Relaxed)) && !stop.load(Ordering::Relaxed) {
            server.collect("now=1");
            collections += 1;
        }
        stop.store(true, Ordering::Relaxed);
        let ended = |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().map_err(|panic| Failure::of_panic(&*panic));
        threads.into_iter().map(|thread| ended(thread)?).collect::<Result<Vec<_>>>()
    })?;
    settle(&server, content, players, collections)
}

/// What one client does until it is told to stop. When it fails, all stop.
fn work<'a>(mut player: Player<'a>, mut choice: Choice<'a>, stop: &AtomicBool, requests: &AtomicU64) -> Result<Player<'a>> {
    let mut last = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let (op, before) = (choice.next_op(), player.sums().0);
        let done = player.play(&op);
        requests.fetch_add(player.sums().0 - before, Ordering::Relaxed);
        last.push(op);
        if done.is_err() {
            stop.store(true, Ordering::Relaxed);
            let trail = last.iter().rev().take(40).rev().map(|op| format!("\n  {op:?}")).collect::<String>();
            return done.map(|()| player).context(format!("{} after{trail}\n", player_name(&last)));
        }
    }
    player.cancel_all()?;
    Ok(player)
}

fn player_name(last: &[super::op::Op]) -> String {
    format!("one of {CLIENTS} clients beside a collector, in its operation {}", last.len())
}

/// Everything that is held is there when all is quiet, nothing else after a collection, and nothing at all once everything is deleted.
fn settle(server: &Server, content: &Content, mut players: Vec<Player<'_>>, collections: u64) -> Result<Played> {
    let mut played = Played { collections: collections + 2, ..Played::default() };
    for player in &mut players {
        player.age();
        player.whole().context("when the crowd has gone")?;
    }
    sleep(LEASE + Duration::from_millis(300));
    server.collect("now=1");
    for player in &mut players {
        player.is_alone_now();
        for repo in &mut player.repos {
            repo.collect(content);
        }
        player.whole().context("after the last collection")?;
        player.delete_all().context("when everything is deleted")?;
        played.add_player(player);
    }
    server.collect("now=1");
    match server.blob_files().len() {
        0 => Ok(played),
        count => Err(Failure::new(format!("{count} files are left when everything is deleted and collected"))),
    }
}
