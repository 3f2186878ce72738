//! When all is quiet: everything that a tag leads to is there and whole, before and after one more collection, and nothing else is.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use wharf_tests::{Repo, Server, sha256};

use super::LEASE;
use crate::client::expect;
use crate::failure::{Context, Failure, Result};

/// Reads everything, collects what has no lease any more, reads everything again, and looks at the files.
pub(super) fn quiet(server: &Server, files: bool) -> Result<()> {
    let before = pull_all(server).context("when all is quiet")?;
    sleep(LEASE + Duration::from_millis(300));
    server.collect("now=1");
    let after = pull_all(server).context("after the last collection")?;
    if before != after {
        return Err(Failure::new(format!(
            "the last collection changed what is there: {:?}",
            before.symmetric_difference(&after)
        )));
    }
    let found = server.blob_files();
    let digests = found.iter().map(|path| Ok(sha256(&fs::read(path)?))).collect::<std::io::Result<BTreeSet<_>>>()?;
    if found.len() != digests.len() {
        return Err(Failure::new(format!("{} files for {} blobs", found.len(), digests.len())));
    }
    if let Some(garbage) = digests.difference(&after).next() {
        return Err(Failure::new(format!("a file that nothing names: {garbage}")));
    }
    match after.difference(&digests).next().filter(|_| files) {
        Some(missing) => Err(Failure::new(format!("no file for the blob {missing}"))),
        None => Ok(()),
    }
}

/// Every image of every repository, with all that is below it; answers the digests of the blobs.
fn pull_all(server: &Server) -> Result<BTreeSet<String>> {
    let answer = server.get("/v2/_catalog?n=10000").send();
    expect(&answer, &[(200, "")])?;
    let names = answer.json()["repositories"].as_array().cloned().unwrap_or_default();
    let mut blobs = BTreeSet::new();
    for name in names.iter().filter_map(|name| name.as_str()) {
        let repo = server.repo(name);
        for tag in repo.tag_list("") {
            pull(&repo, &tag, &mut blobs).context(format!("{name}:{tag}"))?;
        }
    }
    Ok(blobs)
}

/// Everything below a manifest is there and whole.
fn pull(repo: &Repo<'_>, reference: &str, blobs: &mut BTreeSet<String>) -> Result<()> {
    let manifest = repo.manifest(reference);
    expect(&manifest, &[(200, "")])?;
    let manifest = manifest.json();
    for child in manifest["manifests"].as_array().into_iter().flatten() {
        pull(repo, child["digest"].as_str().unwrap_or_default(), blobs)?;
    }
    let layers = manifest["layers"].as_array().into_iter().flatten();
    for blob in layers.chain(manifest.get("config")) {
        let digest = blob["digest"].as_str().unwrap_or_default();
        let body = repo.blob(digest);
        expect(&body, &[(200, "")])?;
        if sha256(&body.body) != digest {
            return Err(Failure::new(format!("an altered blob: {digest}")));
        }
        blobs.insert(digest.to_owned());
    }
    Ok(())
}
