//! Pulls through an upstream: out of the cache beside pulls of what was pushed, and the first byte of a blob that is not here yet.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::bench::{Bench, at_once, settle};
use crate::failure::{Failure, Result};
use crate::peer::{Peer, Server, Settings};
use crate::registry::{self, Image};
use crate::report::{Report, Target};
use crate::stats::{median, ratio};

use super::image_push::LAYER;

const PULLERS: usize = 4;
/// Where the images are at the upstream, and where the registry has them from there.
const THERE: &str = "library/app";
const HERE: &str = "yocto/app";
/// Where the same images were pushed.
const OWN: &str = "bench/app";
/// Bytes of a blob whose first byte is waited for.
const COLD: usize = 32 << 20;

/// Two registries, one of which pulls from the other.
struct Stage {
    upstream: Server,
    wharf: Server,
}

impl Stage {
    fn new(bench: &Bench, folder: &Path, name: &str) -> Result<Self> {
        let upstream = Server::start(Peer::DockerRegistry, &folder.join("upstream"), &bench.settings(name))?;
        let rule = format!("wharf:\n  upstreams: [\"yocto/* -> http://{}/library/*\"]\n", upstream.address);
        let settings = Settings { wharf_configuration: rule, ..bench.settings(name) };
        let wharf = Server::start(Peer::Wharf, &folder.join("wharf"), &settings)?;
        Ok(Self { upstream, wharf })
    }
}

/// Many small pulls at once, of what was pulled through and of what was pushed, in turns.
pub fn cached(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("pulls per second");
    let folder = bench.folder("upstream-cached")?;
    let stage = Stage::new(bench, &folder, "upstream-cached")?;
    let mut random = fastrand::Rng::with_seed(11);
    let images: Vec<Image> = (0..32).map(|number| Image::random(&mut random, format!("v{number}"), LAYER)).collect();
    let (mut there, mut own) = (stage.upstream.connect()?, stage.wharf.connect()?);
    for image in &images {
        image.push(&mut there, THERE)?;
        image.push(&mut own, OWN)?;
        image.pull(&mut own, HERE)?;
    }
    settle(&folder)?;
    let time = Duration::from_secs(bench.size(5, 1));
    let (mut through, mut pushed) = (Vec::new(), Vec::new());
    for round in 0..bench.options.rounds {
        let mut measure = |cached: bool| -> Result<()> {
            let repository = if cached { HERE } else { OWN };
            let found = pull(&stage.wharf, repository, &images, time)?;
            if cached {
                through.push(found);
            } else {
                pushed.push(found);
            }
            Ok(())
        };
        measure(round % 2 == 0)?;
        measure(round % 2 != 0)?;
    }
    report.check("pulled through / pushed", ratio(&through, &pushed), "", Target::AtLeast(0.95));
    report.series("pulled through, from the cache", through);
    report.series("pushed", pushed);
    drop(stage);
    std::fs::remove_dir_all(folder)?;
    Ok(report)
}

/// Pulls per second, for about `time`.
fn pull(server: &Server, repository: &str, images: &[Image], time: Duration) -> Result<f64> {
    let before = Instant::now();
    let (counts, seconds) = at_once(PULLERS, |worker| {
        let mut count = 0;
        while before.elapsed() < time {
            images[(worker * images.len() / PULLERS + count) % images.len()].pull(&mut server.connect()?, repository)?;
            count += 1;
        }
        Ok(count)
    })?;
    Ok(counts.iter().sum::<usize>() as f64 / seconds)
}

/// The first byte of a blob that the registry does not have, beside the upstream's own.
pub fn cold(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("milliseconds to the first byte of a 32 MiB blob");
    let folder = bench.folder("upstream-cold")?;
    let stage = Stage::new(bench, &folder, "upstream-cold")?;
    let mut random = fastrand::Rng::with_seed(12);
    let (mut through, mut direct, mut later) = (Vec::new(), Vec::new(), Vec::new());
    // The first asks whether the upstream wants credentials, and opens a connection.
    for round in 0..=bench.options.rounds * 3 {
        let blob = registry::random_bytes(&mut random, COLD);
        let digest = registry::digest(&blob);
        registry::push_blob(&mut stage.upstream.connect()?, THERE, &digest, &blob)?;
        let theirs = first_byte(stage.upstream.address, &registry::blob_path(THERE, &digest))?;
        let ours = first_byte(stage.wharf.address, &registry::blob_path(HERE, &digest))?;
        if round > 0 {
            through.push(ours);
            direct.push(theirs);
            later.push(ours - theirs);
        }
    }
    report.check("later than the upstream's own", median(&later), " ms", Target::AtMost(50.0));
    report.series("pulled through, cold", through);
    report.series("the upstream's own", direct);
    drop(stage);
    std::fs::remove_dir_all(folder)?;
    Ok(report)
}

/// Milliseconds until the first byte of a body is there. The rest is read and forgotten.
fn first_byte(address: SocketAddr, path: &str) -> Result<f64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let before = Instant::now();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut seen = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let after = loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(Failure::new(format!("GET {path}: it ended before its body")));
        }
        seen.extend_from_slice(&buffer[..count]);
        let head = seen.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if head.is_some_and(|head| seen.len() > head + 4) {
            break before.elapsed();
        }
    };
    if !seen.starts_with(b"HTTP/1.1 200") {
        return Err(Failure::new(format!("GET {path}: {}", String::from_utf8_lossy(&seen[..seen.len().min(200)]))));
    }
    while stream.read(&mut buffer)? > 0 {}
    Ok(after.as_secs_f64() * 1e3)
}
