//! One large upload: what remains of the disk's own speed when the bytes come over HTTP, are hashed and synced.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::bench::{Bench, settle, temporary};
use crate::failure::{Failure, Result};
use crate::peer::Peer;
use crate::registry;
use crate::report::{Report, Target};

const REPOSITORY: &str = "bench/upload";
const SIZE: usize = 256 << 20;
const WRITE: usize = 1 << 20;

/// On the disk, beside a bare write and fsync.
pub fn on_disk(bench: &Bench) -> Result<Report> {
    let mut report = measure(bench, "upload", &bench.folder("upload")?)?;
    report.ratio(Peer::Wharf, Peer::BareFiles, Target::AtLeast(0.9));
    report.ratio(Peer::Wharf, Peer::DockerRegistry, Target::None);
    Ok(report)
}

/// On tmpfs, where the disk cannot hide what a server costs.
pub fn on_tmpfs(bench: &Bench) -> Result<Report> {
    let folder = temporary(Path::new("/dev/shm"))?;
    let mut report = measure(bench, "upload-tmpfs", folder.path())?;
    report.ratio(Peer::Wharf, Peer::DockerRegistry, Target::AtLeast(2.0));
    report.ratio(Peer::Wharf, Peer::BareFiles, Target::None);
    Ok(report)
}

fn measure(bench: &Bench, name: &str, folder: &Path) -> Result<Report> {
    let mut report = Report::new("MB/s");
    let entrants = bench.entrants(name, &[Peer::Wharf, Peer::DockerRegistry, Peer::BareFiles], folder, &mut report);
    let bytes = RefCell::new(registry::random_bytes(&mut fastrand::Rng::with_seed(4), SIZE));
    // Another digest in each round, so that no server finds the blob there already.
    let materials = |round: usize| {
        let mut bytes = bytes.borrow_mut();
        bytes[..8].copy_from_slice(&(round as u64).to_le_bytes());
        Ok(registry::digest(&bytes))
    };
    bench.contest(&mut report, &entrants, materials, |entrant, digest| {
        let bytes = bytes.borrow();
        settle(folder)?;
        let seconds = match &entrant.server {
            None => write(&entrant.folder, &bytes)?,
            Some(server) => {
                let mut connection = server.connect()?;
                let before = Instant::now();
                let path = registry::open_upload(&mut connection, REPOSITORY, digest)?;
                let headers = [("Content-Type", "application/octet-stream")];
                let answer = connection.stream("PUT", &path, &headers, SIZE as u64, bytes.chunks(WRITE))?;
                if answer.status != 201 {
                    return Err(Failure::new(format!("PUT {path}: status {}", answer.status)));
                }
                before.elapsed().as_secs_f64()
            }
        };
        Ok(SIZE as f64 / seconds / 1e6)
    })?;
    drop(entrants);
    fs::remove_dir_all(folder)?;
    fs::create_dir_all(folder)?;
    Ok(report)
}

/// Seconds to write one file and sync it and its folder.
fn write(folder: &Path, bytes: &[u8]) -> Result<f64> {
    fs::create_dir_all(folder)?;
    let path = folder.join("file");
    // Freeing the file of the round before is no part of what is timed.
    if path.exists() {
        fs::remove_file(&path)?;
        settle(folder)?;
    }
    let before = Instant::now();
    let mut file = fs::File::create(&path)?;
    for piece in bytes.chunks(WRITE) {
        file.write_all(piece)?;
    }
    file.sync_all()?;
    fs::File::open(folder)?.sync_all()?;
    Ok(before.elapsed().as_secs_f64())
}
