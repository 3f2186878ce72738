//! Small blobs: configs, and the small layers of layered builds.

use std::fs;

use crate::bench::{Bench, Entrant};
use crate::failure::Result;
use crate::peer::Peer;
use crate::registry;
use crate::report::{Report, Target};
use crate::wrk;

const REPOSITORY: &str = "bench/small";

/// Measures the row.
pub fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("requests per second");
    let peers = [Peer::Wharf, Peer::DockerRegistry, Peer::Nginx, Peer::NginxCopying];
    let mut entrants = bench.entrants("blob-get", &peers, &bench.folder("blob-get")?, &mut report);
    let blob = registry::random_bytes(&mut fastrand::Rng::with_seed(2), 4096);
    let path = registry::blob_path(REPOSITORY, &registry::digest(&blob));
    bench.prepare(&mut report, &mut entrants, |entrant| {
        store(entrant, REPOSITORY, &blob)?;
        wrk::requests_per_second(entrant.server()?, &path, None, 1).map(drop)
    });
    let seconds = bench.size(5, 2);
    bench.contest(
        &mut report,
        &entrants,
        |_| Ok(()),
        |entrant, ()| wrk::requests_per_second(entrant.server()?, &path, None, seconds),
    )?;
    report.ratio_to_best(Peer::Wharf, &[Peer::Nginx, Peer::NginxCopying], Target::AtLeast(0.9));
    report.ratio(Peer::Wharf, Peer::DockerRegistry, Target::None);
    Ok(report)
}

/// Puts a blob where the entrant serves it from: by a push into a registry, as a file for nginx.
pub fn store(entrant: &Entrant, repository: &str, blob: &[u8]) -> Result<()> {
    let server = entrant.server()?;
    let digest = registry::digest(blob);
    if entrant.peer == Peer::Wharf || entrant.peer == Peer::DockerRegistry {
        return registry::push_blob(&mut server.connect()?, repository, &digest, blob);
    }
    let path = server.data().join(&registry::blob_path(repository, &digest)[1..]);
    fs::create_dir_all(path.with_file_name(""))?;
    fs::write(path, blob)?;
    Ok(())
}
