//! Manifests by tag: the request that every pull and every deployment check begins with.

use std::fs;

use crate::bench::{Bench, Entrant};
use crate::failure::Result;
use crate::peer::Peer;
use crate::registry::{self, ACCEPT, MANIFEST_TYPE};
use crate::report::{Report, Target};
use crate::wrk;

const PATH: &str = "/v2/bench/image/manifests/latest";
const REPOSITORY: &str = "bench/image";
/// What the manifest of an ordinary image of a few layers weighs.
const SIZE: usize = 900;

/// Measures the row.
pub fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("requests per second");
    let peers = [Peer::Wharf, Peer::DockerRegistry, Peer::Nginx, Peer::NginxCopying];
    let mut entrants = bench.entrants("manifest-get", &peers, &bench.folder("manifest-get")?, &mut report);
    let (blobs, manifest) = image();
    bench.prepare(&mut report, &mut entrants, |entrant| {
        store(entrant, &blobs, &manifest)?;
        wrk::requests_per_second(entrant.server()?, PATH, Some(ACCEPT), 1).map(drop)
    });
    let seconds = bench.size(5, 2);
    bench.contest(
        &mut report,
        &entrants,
        |_| Ok(()),
        |entrant, ()| wrk::requests_per_second(entrant.server()?, PATH, Some(ACCEPT), seconds),
    )?;
    report.ratio_to_best(Peer::Wharf, &[Peer::Nginx, Peer::NginxCopying], Target::AtLeast(1.0));
    report.ratio(Peer::Wharf, Peer::DockerRegistry, Target::None);
    Ok(report)
}

/// A config, four small layers, and a manifest over them of exactly `SIZE` bytes.
fn image() -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut random = fastrand::Rng::with_seed(1);
    let blobs: Vec<Vec<u8>> = (0..5).map(|_| registry::random_bytes(&mut random, 1024)).collect();
    let digests: Vec<String> = blobs.iter().map(|blob| registry::digest(blob)).collect();
    let layers: Vec<(&str, usize)> = digests[1..].iter().map(|digest| (digest.as_str(), 1024)).collect();
    let build =
        |padding: usize| registry::manifest(&(&digests[0], 1024), &layers, &serde_json::json!({"p": "x".repeat(padding)}));
    let bare = build(0).len();
    (blobs, build(SIZE.saturating_sub(bare)))
}

fn store(entrant: &Entrant, blobs: &[Vec<u8>], manifest: &[u8]) -> Result<()> {
    let server = entrant.server()?;
    if entrant.peer != Peer::Wharf && entrant.peer != Peer::DockerRegistry {
        let path = server.data().join(&PATH[1..]);
        fs::create_dir_all(path.with_file_name(""))?;
        fs::write(path, manifest)?;
        return Ok(());
    }
    let mut connection = server.connect()?;
    for blob in blobs {
        registry::push_blob(&mut connection, REPOSITORY, &registry::digest(blob), blob)?;
    }
    registry::put_manifest(&mut connection, REPOSITORY, "latest", MANIFEST_TYPE, manifest)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_manifest_weighs_what_the_row_says() {
        let length = super::image().1.len();
        assert!((900..1000).contains(&length), "{length}");
    }
}
