//! Storages with 100,000 tags in one repository and 100,000 repositories.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::bench::{Bench, at_once};
use crate::failure::{Context, Result};
use crate::peer::{Peer, Server};
use crate::registry::{self, INDEX_TYPE};

/// The repository with many tags.
pub const TAGGED: &str = "bench/tags";
/// The most `tag` parameters of one push.
const TAGS_A_PUSH: usize = 64;
/// Enough pushes under way for the server to share its syncs among them.
const PUSHERS: usize = 64;

/// How many tags, and how many repositories.
pub fn count(bench: &Bench) -> usize {
    bench.size(100_000, 5_000)
}

/// The tag at a place in the order.
pub fn tag(number: usize) -> String {
    format!("tag-{number:06}")
}

/// The repository at a place in the order. All sort after the one with the tags.
pub fn repository(number: usize) -> String {
    format!("many/repository-{number:06}")
}

/// The folder of a wharf storage with everything in it, filled once for all rows that need one.
pub fn wharf(bench: &Bench) -> Result<&Path> {
    bench.seeded(|folder| {
        let server = Server::start(Peer::Wharf, folder, &bench.settings("seed"))?;
        let count = count(bench);
        bench.progress(&format!("seeding {count} tags and {count} repositories"));
        let pushes = count.div_ceil(TAGS_A_PUSH);
        share(&server, pushes, |connection, push| {
            let manifest = index(push);
            let mut reference = registry::digest(&manifest);
            for number in (push * TAGS_A_PUSH)..((push + 1) * TAGS_A_PUSH).min(count) {
                let joint = if number % TAGS_A_PUSH == 0 { '?' } else { '&' };
                // Writing to a String cannot fail.
                let _ = write!(reference, "{joint}tag={}", tag(number));
            }
            registry::put_manifest(connection, TAGGED, &reference, INDEX_TYPE, &manifest)
        })
        .context("seeding tags")?;
        let manifest = index(0);
        share(&server, count, |connection, number| {
            registry::put_manifest(connection, &repository(number), "latest", INDEX_TYPE, &manifest)
        })
        .context("seeding repositories")
    })
}

/// Deals `count` pieces of work to many connections.
fn share(server: &Server, count: usize, work: impl Fn(&mut crate::http::Connection, usize) -> Result<()> + Sync) -> Result<()> {
    at_once(PUSHERS, |worker| {
        let mut connection = server.connect()?;
        (worker..count).step_by(PUSHERS).try_for_each(|piece| work(&mut connection, piece))
    })
    .map(drop)
}

/// An index of nothing: a valid manifest that needs no blob, so that a repository costs one request.
fn index(number: usize) -> Vec<u8> {
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [], "annotations": {"n": number.to_string()}});
    index.to_string().into_bytes()
}

/// The folders that docker-registry's listings read. Pushing them would take it hours.
pub fn docker_registry(bench: &Bench, data: &Path) -> Result<()> {
    let repositories = data.join("docker/registry/v2/repositories");
    let tags = repositories.join(TAGGED).join("_manifests/tags");
    fs::create_dir_all(repositories.join(TAGGED).join("_layers"))?;
    fs::create_dir_all(&tags)?;
    for number in 0..count(bench) {
        fs::create_dir(tags.join(tag(number)))?;
        fs::create_dir_all(repositories.join(repository(number)).join("_layers"))?;
    }
    Ok(())
}
