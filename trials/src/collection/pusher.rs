//! Those who push: some without rest, all at once into the same repositories; some who come back when the leases of their last push are over.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;
use wharf_tests::{Image, OCI_INDEX, OCI_MANIFEST, Response, index, path_of, sha256, with_query};

use super::{LEASE, SHARED, Scene, Slowest, count};
use crate::client::{Client, expect};
use crate::failure::{Context, Result};

/// Repositories that one who comes back has.
const OWN: usize = 16;

/// One who pushes.
pub(super) struct Pusher<'a> {
    scene: &'a Scene<'a>,
    client: Client,
    random: Rng,
    number: usize,
    slowest: Slowest,
}

impl<'a> Pusher<'a> {
    pub(super) fn new(scene: &'a Scene<'a>, number: usize, seed: u64) -> Self {
        let (client, slowest) = (Client::new(scene.server.address()), Slowest::default());
        Self { scene, client, random: Rng::with_seed(seed), number, slowest }
    }

    /// Hands in what it has seen.
    pub(super) fn rest(&mut self) {
        let mut longest = self.scene.longest.lock().unwrap_or_else(PoisonError::into_inner);
        *longest = std::mem::take(&mut *longest).max(std::mem::take(&mut self.slowest));
    }

    fn ask(&mut self, method: &str, target: &str, kind: Option<&str>, body: Option<&[u8]>) -> Result<Response> {
        let request = self.client.request(method, target);
        let request = kind.map_or_else(|| request.clone(), |kind| request.clone().header("Content-Type", kind));
        let request = body.map_or_else(|| request.clone(), |body| request.clone().body(body));
        count(&self.scene.counts.requests);
        let answer = self.client.send(&request).context(format!("{method} {target}"))?;
        if self.client.longest > self.slowest.0 {
            self.slowest = (self.client.longest, format!("{method} {target} {}", answer.status));
        }
        Ok(answer)
    }

    fn any(&mut self) -> &'a Image {
        &self.scene.images[self.random.usize(..self.scene.images.len())]
    }

    fn shared(&mut self) -> &'static str {
        SHARED[self.random.usize(..SHARED.len())]
    }

    /// Asks for the blob, and brings it when it is not there: mounted from where it may be, or uploaded.
    fn bring(&mut self, repo: &str, blob: &[u8]) -> Result<()> {
        let (digest, counts) = (sha256(blob), &self.scene.counts);
        let there = self.ask("HEAD", &format!("/v2/{repo}/blobs/{digest}"), None, None)?;
        expect(&there, &[(200, ""), (404, "")]).context("HEAD of a blob")?;
        if there.status == 200 {
            count(&counts.skipped);
            return Ok(());
        }
        let query = match self.random.u8(..3) {
            0 => format!("?mount={digest}&from={}", self.shared()),
            1 => format!("?mount={digest}"),
            _ => String::new(),
        };
        let begun = self.ask("POST", &format!("/v2/{repo}/blobs/uploads/{query}"), None, None)?;
        expect(&begun, if query.is_empty() { &[(202, "")] } else { &[(201, ""), (202, "")] }).context("beginning an upload")?;
        if begun.status == 201 {
            count(&counts.mounted);
            return Ok(());
        }
        let target = with_query(&path_of(begun.header("Location")), &format!("digest={digest}"));
        let ended = self.ask("PUT", &target, None, Some(blob))?;
        expect(&ended, &[(201, "")]).context("an upload")?;
        count(&counts.uploaded);
        Ok(())
    }

    /// The manifest, after all that it names was found or brought since `begun`.
    fn name(&mut self, repo: &str, reference: &str, kind: &str, manifest: &[u8], begun: Instant) -> Result<()> {
        let answer = self.ask("PUT", &format!("/v2/{repo}/manifests/{reference}"), Some(kind), Some(manifest))?;
        // A lease is renewed once less than half of it is left, so half of it is what a push can count on.
        if begun.elapsed() >= LEASE / 2 {
            count(&self.scene.counts.slow);
            return Ok(());
        }
        let told = || format!("a push to {repo} of what was there {:?} ago", begun.elapsed());
        expect(&answer, &[(201, "")]).context(told())?;
        count(&self.scene.counts.pushes);
        Ok(())
    }

    fn push(&mut self, repo: &str, image: &Image, reference: &str) -> Result<()> {
        let begun = Instant::now();
        image.blobs().try_for_each(|blob| self.bring(repo, blob))?;
        self.name(repo, reference, OCI_MANIFEST, &image.manifest, begun)
    }

    /// An index over two images, whose children this pusher alone deletes: asked for, pushed where missing, then named.
    fn push_index(&mut self, repo: &str, tag: &str) -> Result<()> {
        let (begun, images) = (Instant::now(), [self.any(), self.any()]);
        for image in images {
            let there = self.ask("HEAD", &format!("/v2/{repo}/manifests/{}", image.digest), None, None)?;
            if there.status != 200 {
                self.push(repo, image, &image.digest)?;
            }
        }
        let manifest = index(&images.map(|image| image.descriptor("amd64")));
        self.name(repo, tag, OCI_INDEX, &manifest, begun)
    }

    fn delete(&mut self, repo: &str, reference: &str) -> Result<()> {
        let answer = self.ask("DELETE", &format!("/v2/{repo}/manifests/{reference}"), None, None)?;
        expect(&answer, &[(202, ""), (404, "MANIFEST_UNKNOWN"), (404, "NAME_UNKNOWN")]).context("a delete")
    }

    /// Pushes, and drops what was pushed, without a pause.
    pub(super) fn work(&mut self) -> Result<()> {
        let own = format!("own-{}", self.number);
        while !self.scene.is_over() {
            let (repo, tag) = (self.shared(), format!("t{}", self.random.u8(..5)));
            let image = self.any();
            match self.random.u8(..12) {
                0..6 => self.push(repo, image, &tag)?,
                6 => self.push(repo, image, &image.digest)?,
                7 | 8 => self.push_index(&own, &tag)?,
                9 => self.delete(&own, &tag)?,
                10 => self.delete(repo, &tag)?,
                _ => self.delete(repo, &image.digest)?,
            }
        }
        Ok(())
    }

    /// Pushes to many repositories of its own, waits until the leases of that are over, drops each image and pushes it again a moment later: just when it is
    /// about to be collected.
    pub(super) fn return_often(&mut self) -> Result<()> {
        let repos: Vec<_> = (0..OWN).map(|number| format!("returning-{}/{number}", self.number)).collect();
        while !self.scene.is_over() {
            let images: Vec<_> = repos.iter().map(|_| &self.scene.rare[self.random.usize(..self.scene.rare.len())]).collect();
            for (repo, image) in repos.iter().zip(&images) {
                self.push(repo, image, "t0")?;
            }
            let since = Instant::now();
            while since.elapsed() < LEASE + Duration::from_millis(100) {
                if self.scene.is_over() {
                    return Ok(());
                }
                sleep(Duration::from_millis(20));
            }
            for (repo, image) in repos.iter().zip(&images) {
                self.delete(repo, "t0")?;
                sleep(Duration::from_millis(self.random.u64(..40)));
                self.push(repo, image, "t0")?;
                self.scene.counts.returned.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}
