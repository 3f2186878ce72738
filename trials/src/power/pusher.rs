//! Somebody who pushes, and keeps in mind what the registry has acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use fastrand::Rng;
use wharf_tests::{Image, OCI_MANIFEST, Repo, Response, Server, path_of, sha256, with_query};

const TAGS: usize = 4;
const IMAGES: usize = 24;
const LAYERS: usize = 14;
/// Blobs up to this size may be in the index (`wharf.storage.inline`).
pub const INLINE: usize = 4_096;

/// Images that share layers.
pub struct Images(Vec<Image>);

impl Images {
    pub fn new(random: &mut Rng) -> Self {
        let sizes = [10, 3_000, 5_000, 70_000, 400_000];
        let layers: Vec<Vec<u8>> = (0..LAYERS)
            .map(|number| std::iter::repeat_with(|| random.u8(..)).take(sizes[number % sizes.len()] + number).collect())
            .collect();
        let image = |number: usize| {
            let config = format!(r#"{{"architecture":"arm64","os":"linux","number":{number}}}"#);
            Image::of_config(config.into(), vec![layers[number % LAYERS].clone(), layers[(number * 5 + 1) % LAYERS].clone()])
        };
        Self((0..IMAGES).map(image).collect())
    }

    /// Digests of the blobs of these images that have so many bytes or more.
    pub fn blobs(&self, images: &[usize], at_least: usize) -> BTreeSet<String> {
        let blobs = images.iter().flat_map(|number| self.0[*number].blobs()).filter(|blob| blob.len() >= at_least);
        blobs.map(|blob| sha256(blob)).collect()
    }
}

/// What a tag leads to: an image, or nothing.
type Target = Option<usize>;

pub struct Pusher {
    repository: String,
    random: Rng,
    /// Whatever a tag may lead to: what was acknowledged last, and what was asked for since.
    tags: BTreeMap<usize, BTreeSet<Target>>,
    /// Images whose manifests were acknowledged.
    kept: BTreeSet<usize>,
    /// Those whose manifests were sent, and not acknowledged.
    tried: BTreeSet<usize>,
}

impl Pusher {
    pub fn new(number: usize, random: Rng) -> Self {
        let tags = (0..TAGS).map(|tag| (tag, BTreeSet::from([None]))).collect();
        Self { repository: format!("app-{number}"), random, tags, kept: BTreeSet::new(), tried: BTreeSet::new() }
    }

    /// The images that are there.
    pub fn images(&self) -> impl Iterator<Item = usize> {
        self.kept.iter().copied()
    }

    /// Works until the registry is gone; how many requests it has acknowledged.
    pub fn work(&mut self, server: &Server, images: &Images, stop: &AtomicBool) -> u64 {
        let mut acknowledged = 0;
        while !stop.load(Ordering::Relaxed) {
            let tag = self.random.usize(..TAGS);
            let done = match self.random.u8(0..10) {
                0 => self.untag(server, tag, &mut acknowledged),
                _ => self.push(server, images, tag, &mut acknowledged),
            };
            if done.is_none() {
                break;
            }
        }
        acknowledged
    }

    /// `None` when the registry is gone, or its disk is.
    fn push(&mut self, server: &Server, images: &Images, tag: usize, acknowledged: &mut u64) -> Option<()> {
        let repo = server.repo(&self.repository);
        let number = self.random.usize(..images.0.len());
        let image = &images.0[number];
        for blob in image.blobs() {
            if self.random.u8(0..3) > 0 {
                let there = server.head(&repo.blob_path(&sha256(blob))).try_send().ok()?;
                match there.status {
                    200 => continue,
                    404 => {}
                    _ => return None,
                }
            }
            push_blob(server, &repo, blob, self.random.u8(..))?;
            *acknowledged += 1;
        }
        self.tried.insert(number);
        self.tags.get_mut(&tag)?.insert(Some(number));
        answered(repo.put_request(&format!("t{tag}"), OCI_MANIFEST, &image.manifest).try_send(), &[201])?;
        *acknowledged += 1;
        self.tags.insert(tag, BTreeSet::from([Some(number)]));
        self.kept.insert(number);
        Some(())
    }

    fn untag(&mut self, server: &Server, tag: usize, acknowledged: &mut u64) -> Option<()> {
        let repo = server.repo(&self.repository);
        self.tags.get_mut(&tag)?.insert(None);
        answered(server.delete(&repo.manifest_path(&format!("t{tag}"))).try_send(), &[202, 404])?;
        *acknowledged += 1;
        self.tags.insert(tag, BTreeSet::from([None]));
        Some(())
    }

    /// Looks for everything that was acknowledged, and takes what is there for what is known from now on. Answers how many images were looked at.
    pub fn check(&mut self, server: &Server, images: &Images, told: &str) -> u64 {
        let repo = server.repo(&self.repository);
        for (tag, possible) in &mut self.tags {
            let found = repo.manifest(&format!("t{tag}"));
            let found = match found.status {
                404 => None,
                200 => images.0.iter().position(|image| image.manifest == found.body),
                _ => panic!("{told}: {}", found.describe()),
            };
            assert!(possible.contains(&found), "{told}: {}:t{tag} is {found:?} and may be {possible:?}", self.repository);
            *possible = BTreeSet::from([found]);
        }
        for number in std::mem::take(&mut self.tried) {
            if repo.manifest(&images.0[number].digest).status == 200 {
                self.kept.insert(number);
            }
        }
        for number in &self.kept {
            let image = &images.0[*number];
            let manifest = repo.manifest(&image.digest);
            assert!(manifest.status == 200 && manifest.body == image.manifest, "{told}: image {number}: {}", manifest.describe());
            for blob in image.blobs() {
                let found = repo.blob(&sha256(blob));
                assert!(
                    found.status == 200 && found.body == *blob,
                    "{told}: {} bytes of image {number} in {}: {}, {} bytes",
                    blob.len(),
                    self.repository,
                    found.status,
                    found.body.len()
                );
            }
        }
        // What was not acknowledged may be there or not, and is not something else.
        for image in &images.0 {
            for blob in image.blobs() {
                let found = repo.blob(&sha256(blob));
                assert!(found.status == 404 || found.body == *blob, "{told}: {} bytes are others: {}", blob.len(), found.status);
            }
        }
        self.kept.len() as u64
    }
}

/// An answer with one of these statuses; `None` when the registry is gone, or could not do it.
fn answered(answer: std::io::Result<Response>, statuses: &[u16]) -> Option<Response> {
    let answer = answer.ok()?;
    if answer.status >= 500 {
        return None;
    }
    assert!(statuses.contains(&answer.status), "{}", answer.describe());
    Some(answer)
}

/// Uploads a blob in one of the ways that there are.
fn push_blob(server: &Server, repo: &Repo<'_>, blob: &[u8], way: u8) -> Option<()> {
    let digest = sha256(blob);
    if way.is_multiple_of(4) {
        answered(server.post(&repo.uploads_path(&format!("digest={digest}"))).body(blob).try_send(), &[201])?;
        return Some(());
    }
    let mut location = path_of(answered(server.post(&repo.uploads_path("")).try_send(), &[202])?.header("Location"));
    let (first, last) = blob.split_at(if way.is_multiple_of(2) { blob.len() / 3 } else { 0 });
    if !first.is_empty() {
        location = path_of(answered(repo.patch_request(&location, first).try_send(), &[202])?.header("Location"));
    }
    answered(server.put(&with_query(&location, &format!("digest={digest}"))).body(last).try_send(), &[201])?;
    Some(())
}
