//! Large blobs: how fast bytes leave, once a layer is in the page cache.

use crate::bench::{Bench, at_once, settle};
use crate::failure::{Failure, Result};
use crate::peer::Peer;
use crate::registry;
use crate::report::{Report, Target};

use super::blob_get::store;

const REPOSITORY: &str = "bench/large";
const CONNECTIONS: usize = 4;
/// The most that one system call of the client takes. With 64 KiB the client, not the server, was what limited.
const READ: usize = 1 << 20;

/// Measures the row.
pub fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("GB/s");
    let peers = [Peer::Wharf, Peer::DockerRegistry, Peer::Nginx, Peer::NginxCopying];
    let folder = bench.folder("large-get")?;
    let mut entrants = bench.entrants("large-get", &peers, &folder, &mut report);
    let blob = registry::random_bytes(&mut fastrand::Rng::with_seed(3), 256 << 20);
    let path = registry::blob_path(REPOSITORY, &registry::digest(&blob));
    let size = blob.len() as u64;
    let repeats = bench.size(3, 1);
    let measure = |server: &crate::peer::Server, repeats: usize| {
        let (_, seconds) = at_once(CONNECTIONS, |_| {
            let mut connection = server.connect()?.with_buffer(READ);
            for _ in 0..repeats {
                let answer = connection.get(&path, &[])?;
                if answer.length != size {
                    return Err(Failure::new(format!("{} bytes came instead of {size}", answer.length)));
                }
            }
            Ok(())
        })?;
        Ok((size * (CONNECTIONS * repeats) as u64) as f64 / seconds / 1e9)
    };
    bench.prepare(&mut report, &mut entrants, |entrant| {
        store(entrant, REPOSITORY, &blob)?;
        measure(entrant.server()?, 1).map(drop)
    });
    drop(blob);
    settle(&folder)?;
    bench.contest(&mut report, &entrants, |_| Ok(()), |entrant, ()| measure(entrant.server()?, repeats))?;
    report.ratio(Peer::Wharf, Peer::DockerRegistry, Target::AtLeast(1.0));
    report.ratio_to_best(Peer::Wharf, &[Peer::Nginx, Peer::NginxCopying], Target::AtLeast(1.3));
    drop(entrants);
    std::fs::remove_dir_all(folder)?;
    Ok(report)
}
