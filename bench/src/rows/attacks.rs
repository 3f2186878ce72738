//! What somebody who may do nothing can do to those who may: guesses of passwords, clients that drip, heads without end.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::memory::sample;
use crate::bench::Bench;
use crate::failure::{Context, Failure, Result};
use crate::http::{Connection, Sink};
use crate::peer::{Peer, Server, Settings};
use crate::registry::{ACCEPT, Image};
use crate::report::{Report, Target};
use crate::stats::{highest, median, percentile, readable};

const REPOSITORY: &str = "bench/attacked";
/// `secret` in bcrypt at the cost that `wharf user add` uses.
const HASH: &str = "$2y$10$dSYI/JRQRc4Gc30OLNhblekjg8zTjwHE3fRdhNZISsv2fynNPpUt2";
/// `user:secret` as the `Authorization` header has it.
const AUTHORIZATION: (&str, &str) = ("Authorization", "Basic dXNlcjpzZWNyZXQ=");
/// Between two requests of the client that is let in.
const PACE: Duration = Duration::from_millis(2);
/// How long a head may take, where that can be set.
const HEAD_WITHIN: Duration = Duration::from_secs(3);
/// How long a slow client may live where a head may take three seconds, and what follows a refusal is read for five.
const CLOSED_WITHIN: f64 = 6.0;

/// How long an attacker waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is done to a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attack {
    Nothing,
    /// One address that guesses passwords.
    Guesses,
    /// As many addresses as it likes.
    ManyGuessers,
    /// So many connections of each attacker that send a byte of a head now and then.
    SlowHeads(usize),
    /// Heads of a mebibyte.
    LargeHeads,
    /// So many uploads of each attacker, by nobody, which never come to their end.
    SlowBodies(usize),
}

const ATTACKS: [(Attack, &str, usize); 6] = [
    (Attack::Nothing, "nobody attacks", 0),
    (Attack::Guesses, "guesses from one address", 16),
    (Attack::ManyGuessers, "guesses from many addresses", 16),
    (Attack::SlowHeads(125), "1,000 slow heads", 8),
    (Attack::LargeHeads, "heads of 1 MiB", 8),
    (Attack::SlowBodies(25), "100 slow uploads by nobody", 4),
];

/// What was seen while an attack lasted.
struct Seen {
    /// Milliseconds of each request of the client that is let in.
    latencies: Vec<f64>,
    /// Megabytes of anonymous memory, at most.
    memory: f64,
    /// Connections, guesses or heads of the attackers.
    tries: u64,
    /// Those that were answered or cut off.
    ended: u64,
    /// Seconds that the longest of the slow ones lived.
    longest: f64,
}

/// Measures the row.
pub fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("ms, 99th percentile of a manifest GET by who is let in");
    for peer in [Peer::Wharf, Peer::DockerRegistry] {
        if !bench.options.takes_part(peer) {
            continue;
        }
        if let Err(failure) = against(bench, peer, &mut report) {
            report.failure(peer.label(), &failure);
        }
    }
    Ok(report)
}

fn against(bench: &Bench, peer: Peer, report: &mut Report) -> Result<()> {
    let folder = bench.folder(&format!("attacks-{}", peer.family()))?;
    let users = folder.join("htpasswd");
    fs::write(&users, format!("user:{HASH}\n"))?;
    let wharf_configuration = format!("wharf:\n  timeouts:\n    header: {}s\n    body: 3s\n", HEAD_WITHIN.as_secs());
    let image = Image::random(&mut fastrand::Rng::with_seed(7), "v1".to_owned(), 1_000);
    image.push(&mut Server::start(peer, &folder, &bench.settings("attacks"))?.connect()?, REPOSITORY)?;
    let settings = Settings { users: Some(users), wharf_configuration, ..bench.settings("attacks") };
    let server = Server::start(peer, &folder, &settings)?;
    let manifest = format!("/v2/{REPOSITORY}/manifests/v1");
    let mut memory = Vec::new();
    let mut longest = Vec::new();
    for (attack, name, attackers) in ATTACKS {
        let mut p99 = Vec::new();
        let (mut tries, mut ended) = (0, 0);
        for round in 0..bench.options.rounds {
            bench.progress(&format!("{}: {name}, round {round}", peer.label()));
            let seen = under(&server, &manifest, attack, attackers, Duration::from_secs(bench.size(6, 5)))?;
            p99.push(percentile(&seen.latencies, 99.0));
            memory.push(seen.memory);
            if matches!(attack, Attack::SlowHeads(_) | Attack::SlowBodies(_)) {
                longest.push(seen.longest);
            }
            (tries, ended) = (tries + seen.tries, ended + seen.ended);
        }
        if attack != Attack::Nothing {
            report.note(format!("{}, {name}: {tries} tries, {ended} of them answered or cut off", peer.label()));
        }
        report.series(format!("{}, {name}", peer.label()), p99);
    }
    let targets =
        if peer == Peer::Wharf { (Target::AtMost(96.0), Target::AtMost(CLOSED_WITHIN)) } else { (Target::None, Target::None) };
    report.check(format!("{}: memory at most", peer.label()), highest(&memory), " MB", targets.0);
    if longest.iter().all(|seconds| seconds.is_finite()) {
        report.check(format!("{}: a slow one lives", peer.label()), highest(&longest), " s", targets.1);
    } else {
        report.note(format!("{}: no slow one was cut off while it was looked at", peer.label()));
    }
    report.note(format!("{}: memory, median of all: {} MB", peer.label(), readable(median(&memory))));
    Ok(())
}

fn under(server: &Server, manifest: &str, attack: Attack, attackers: usize, time: Duration) -> Result<Seen> {
    let ended = AtomicBool::new(false);
    let counts = Counts::default();
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(server.pid(), &ended));
        for number in 0..attackers {
            let (counts, ended) = (&counts, &ended);
            scope.spawn(move || counts.attack(server.address, attack, number, ended));
        }
        let latencies = ask(server, manifest, time);
        ended.store(true, Ordering::Relaxed);
        let memory = sampler.join().unwrap_or_else(|_| Err(Failure::new("the sampler panicked")));
        let longest = counts.longest.load(Ordering::Relaxed);
        Ok(Seen {
            latencies: latencies?,
            memory: memory?,
            tries: counts.tries.load(Ordering::Relaxed),
            ended: counts.ended.load(Ordering::Relaxed),
            longest: if longest == 0 { f64::INFINITY } else { longest as f64 / 1e3 },
        })
    })
}

/// The client that is let in: one request after the other, in its own pace.
fn ask(server: &Server, manifest: &str, time: Duration) -> Result<Vec<f64>> {
    let mut connection = server.connect()?;
    // The first has its password checked.
    connection.get(manifest, &[AUTHORIZATION, ACCEPT])?;
    let begun = Instant::now();
    let mut latencies = Vec::new();
    while begun.elapsed() < time {
        let before = Instant::now();
        connection.get(manifest, &[AUTHORIZATION, ACCEPT])?;
        latencies.push(before.elapsed().as_secs_f64() * 1e3);
        sleep(PACE);
    }
    Ok(latencies)
}

#[derive(Default)]
struct Counts {
    tries: AtomicU64,
    ended: AtomicU64,
    /// Milliseconds that a slow one lived, at most.
    longest: AtomicU64,
}

impl Counts {
    fn attack(&self, address: SocketAddr, attack: Attack, number: usize, ended: &AtomicBool) {
        let mut random = fastrand::Rng::with_seed(number as u64);
        while !ended.load(Ordering::Relaxed) {
            // What becomes of an attacker's connection is the server's affair; it begins again.
            let _ = match attack {
                Attack::Nothing => return,
                Attack::Guesses => self.guess(address, Ipv4Addr::new(127, 1, 0, 1), &mut random, ended),
                Attack::ManyGuessers => {
                    let from = Ipv4Addr::from_bits(0x7f02_0000 | random.u32(1..0xffff));
                    self.guess(address, from, &mut random, ended)
                }
                Attack::SlowHeads(count) => self.drip(address, b"GET /v2/ HTTP/1.1\r\nX-Slow: ", count, ended),
                Attack::LargeHeads => self.flood(address),
                Attack::SlowBodies(count) => {
                    let head = b"POST /v2/bench/attacked/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
                    self.drip(address, head, count, ended)
                }
            };
        }
    }

    /// As many guesses as one address is allowed before it has to wait.
    fn guess(&self, server: SocketAddr, from: Ipv4Addr, random: &mut fastrand::Rng, ended: &AtomicBool) -> Result<()> {
        let mut connection = Connection::over(open_from(from, server)?, server.to_string());
        for _ in 0..20 {
            if ended.load(Ordering::Relaxed) {
                break;
            }
            self.tries.fetch_add(1, Ordering::Relaxed);
            let guess: String = std::iter::repeat_with(|| random.alphanumeric()).take(16).collect();
            let header = format!("Basic {}", STANDARD.encode(format!("user:{guess}")));
            let answer = connection.exchange("GET", "/v2/", &[("Authorization", &header)], &[], Sink::Discard)?;
            if answer.status == 200 {
                return Err(Failure::new("a guess was right"));
            }
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Connections that send a beginning, and then a byte each tenth of a second.
    fn drip(&self, server: SocketAddr, beginning: &[u8], count: usize, ended: &AtomicBool) -> Result<()> {
        let mut open = Vec::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(server).context("a slow client")?;
            stream.write_all(beginning)?;
            stream.set_nonblocking(true)?;
            self.tries.fetch_add(1, Ordering::Relaxed);
            open.push((stream, Instant::now()));
        }
        while !ended.load(Ordering::Relaxed) && !open.is_empty() {
            sleep(Duration::from_millis(100));
            open.retain_mut(|(stream, since)| {
                let mut buffer = [0; 4_096];
                // An answer alone is no end: the connection may be kept.
                let closed = match stream.read(&mut buffer) {
                    Ok(0) => true,
                    Ok(_) => false,
                    Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
                };
                let gone = closed || stream.write_all(b"x").is_err();
                if gone {
                    self.ended.fetch_add(1, Ordering::Relaxed);
                    self.longest.fetch_max(since.elapsed().as_millis() as u64, Ordering::Relaxed);
                }
                !gone
            });
        }
        Ok(())
    }

    fn flood(&self, server: SocketAddr) -> Result<()> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        self.tries.fetch_add(1, Ordering::Relaxed);
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")?;
        let line = format!("X-Large: {}\r\n", "x".repeat(8_000));
        for _ in 0..128 {
            if stream.write_all(line.as_bytes()).is_err() {
                break;
            }
        }
        // Where so much is allowed, it is a request.
        let _ = stream.write_all(b"Connection: close\r\n\r\n");
        let mut answer = Vec::new();
        let _ = stream.take(4_096).read_to_end(&mut answer);
        self.ended.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A connection from an address of the loopback's own choosing.
fn open_from(from: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddrV4::new(from, 0))?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}
