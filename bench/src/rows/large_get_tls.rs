//! Large blobs over TLS 1.3, by HTTP/1.1: what encryption leaves of the speed, with curl as everybody's client.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bench::{Bench, at_once, settle};
use crate::failure::{Context, Failure, Result};
use crate::peer::{Peer, Server, Settings};
use crate::registry;
use crate::report::{Report, Target};
use crate::stats::ratio;

const REPOSITORY: &str = "bench/large";
const CONNECTIONS: usize = 4;
const SIZE: usize = 256 << 20;

/// Measures the row.
pub fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("GB/s");
    let folder = bench.folder("large-get-tls")?;
    let blob = registry::random_bytes(&mut fastrand::Rng::with_seed(3), SIZE);
    let (digest, path) = (registry::digest(&blob), registry::blob_path(REPOSITORY, &registry::digest(&blob)));
    let plain = bench.settings("large-get-tls");
    let wharf = folder.join("wharf");
    let pushing = Server::start(Peer::Wharf, &wharf, &plain)?;
    registry::push_blob(&mut pushing.connect()?, REPOSITORY, &digest, &blob)?;
    drop(pushing);
    let file = folder.join("nginx/data").join(&path[1..]);
    std::fs::create_dir_all(file.with_file_name(""))?;
    std::fs::write(file, &blob)?;
    drop(blob);
    settle(&folder)?;
    let settings = Settings { tls: Some(certificate(&folder)?), ..plain };
    let wharf = Server::start(Peer::Wharf, &wharf, &settings)?;
    let nginx = Server::start(Peer::NginxCopying, &folder.join("nginx"), &settings)?;
    let repeats = bench.size(3, 1);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for server in [&wharf, &nginx] {
        fetch(server, &path, 1)?;
    }
    for round in 0..bench.options.rounds {
        // In an order that turns, so that a slow moment of the machine hits none of them always.
        for place in [round, round + 1] {
            let (server, values) = if place % 2 == 0 { (&wharf, &mut ours) } else { (&nginx, &mut theirs) };
            values.push(fetch(server, &path, repeats)?);
        }
    }
    report.check("wharf / nginx", ratio(&ours, &theirs), "", Target::AtLeast(0.9));
    report.series("wharf", ours);
    report.series("nginx", theirs);
    drop((wharf, nginx));
    std::fs::remove_dir_all(folder)?;
    Ok(report)
}

/// Gigabytes a second, for several clients that each fetch the blob so many times on one connection.
fn fetch(server: &Server, path: &str, repeats: usize) -> Result<f64> {
    let url = format!("https://{}{path}", server.address);
    let (_, seconds) = at_once(CONNECTIONS, |_| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--insecure", "--http1.1", "--write-out", "%{size_download} "]);
        for _ in 0..repeats {
            curl.args(["--output", "/dev/null", &url]);
        }
        let output = curl.stdin(Stdio::null()).output().context("running curl")?;
        let sizes = String::from_utf8_lossy(&output.stdout).into_owned();
        let whole = sizes.split_whitespace().filter(|size| *size == SIZE.to_string()).count() == repeats;
        if output.status.success() && whole { Ok(()) } else { Err(Failure::new(format!("curl: {} {sizes}", output.status))) }
    })?;
    Ok((SIZE * CONNECTIONS * repeats) as f64 / seconds / 1e9)
}

/// A certificate that signs itself, and its key.
fn certificate(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    let made = openssl.stdin(Stdio::null()).output().context("running openssl")?;
    if made.status.success() {
        Ok((certificate, key))
    } else {
        Err(Failure::new(String::from_utf8_lossy(&made.stderr).into_owned()))
    }
}
