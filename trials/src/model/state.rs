//! What is known of a server without asking it: each repository's content, and of each piece whether it is there for sure.
//!
//! Where nobody collects, or the model knows when, all of it is sure. Where collection runs beside, what nothing holds and no lease protects any more may be
//! there or not, and only that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::content::Content;

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Is {
    /// It is not.
    No,
    /// It may be.
    Maybe,
    /// It is.
    Yes,
}

/// Something that was there when it was last seen.
#[derive(Clone, Copy, Debug)]
struct Kept {
    sure: bool,
    /// Until when a lease protects it, at least.
    until: Instant,
}

/// A repository.
#[derive(Clone, Debug)]
pub struct Repo {
    /// Its name.
    pub name: String,
    /// Whether the server knows its name.
    pub known: Is,
    blobs: BTreeMap<usize, Kept>,
    manifests: BTreeMap<usize, Kept>,
    /// What each tag points at.
    pub tags: BTreeMap<usize, usize>,
}

impl Repo {
    /// An empty one, which the server does not know.
    pub fn new(name: &str) -> Self {
        let (blobs, manifests, tags) = Default::default();
        Self { name: name.to_owned(), known: Is::No, blobs, manifests, tags }
    }

    fn is(found: Option<&Kept>) -> Is {
        found.map_or(Is::No, |kept| if kept.sure { Is::Yes } else { Is::Maybe })
    }

    /// Whether it holds a blob.
    pub fn blob(&self, blob: usize) -> Is {
        Self::is(self.blobs.get(&blob))
    }

    /// Whether it holds a manifest.
    pub fn manifest(&self, manifest: usize) -> Is {
        Self::is(self.manifests.get(&manifest))
    }

    /// Whether it holds any manifest, which the catalog goes by.
    pub fn any_manifest(&self) -> Is {
        self.manifests.values().map(|kept| Self::is(Some(kept))).max().unwrap_or(Is::No)
    }

    /// Whether a manifest names a blob, which then cannot be deleted.
    pub fn is_named(&self, content: &Content, blob: usize) -> Is {
        let naming = self.manifests.iter().filter(|(manifest, _)| content.manifests[**manifest].blobs.contains(&blob));
        naming.map(|(_, kept)| Self::is(Some(kept))).max().unwrap_or(Is::No)
    }

    /// A blob was pushed, mounted or told to be there, with a lease for so long.
    pub fn keep_blob(&mut self, blob: usize, until: Instant) {
        self.known = Is::Yes;
        let before = self.blobs.get(&blob).map_or(until, |kept| kept.until.max(until));
        self.blobs.insert(blob, Kept { sure: true, until: before });
    }

    /// A blob was read, without a lease: it is sure for as long as something names it.
    pub fn see_blob(&mut self, blob: usize) {
        self.blobs.entry(blob).and_modify(|kept| kept.sure = true);
    }

    /// A manifest was read, without a lease: it is sure for as long as something holds it.
    pub fn see_manifest(&mut self, manifest: usize) {
        self.manifests.entry(manifest).and_modify(|kept| kept.sure = true);
    }

    /// A blob is not there. So nothing that names it is.
    pub fn lose_blob(&mut self, content: &Content, blob: usize) {
        self.blobs.remove(&blob);
        self.manifests.retain(|manifest, _| !content.manifests[*manifest].blobs.contains(&blob));
    }

    /// A manifest was told to be there, with a lease for so long.
    pub fn keep_manifest(&mut self, manifest: usize, until: Instant) {
        self.known = Is::Yes;
        let before = self.manifests.get(&manifest).map_or(until, |kept| kept.until.max(until));
        self.manifests.insert(manifest, Kept { sure: true, until: before });
    }

    /// A manifest was pushed. What it names was there then, and has stayed, for it is named now.
    pub fn put_manifest(&mut self, content: &Content, manifest: usize, tags: &[usize], until: Instant) {
        self.keep_manifest(manifest, until);
        self.tags.extend(tags.iter().map(|tag| (*tag, manifest)));
        for blob in &content.manifests[manifest].blobs {
            self.blobs.entry(*blob).and_modify(|kept| kept.sure = true).or_insert(Kept { sure: true, until });
        }
        for child in &content.manifests[manifest].children {
            if let Some(kept) = self.manifests.get_mut(child) {
                kept.sure = true;
            }
        }
    }

    /// A manifest is not there, and no tag points at it.
    pub fn lose_manifest(&mut self, manifest: usize) {
        self.manifests.remove(&manifest);
        self.tags.retain(|_, named| *named != manifest);
    }

    /// The server does not know its name: nothing is in it.
    pub fn lose_all(&mut self) {
        *self = Self::new(&self.name);
    }

    /// Manifests that are held by a tag, by one that is held and names them, or by their subject.
    fn held(&self, content: &Content) -> BTreeSet<usize> {
        let mut held = BTreeSet::new();
        let mut ahead: Vec<usize> = self.tags.values().copied().collect();
        while let Some(manifest) = ahead.pop() {
            if self.manifest(manifest) != Is::Yes || !held.insert(manifest) {
                continue;
            }
            ahead.extend(&content.manifests[manifest].children);
            ahead.extend(self.manifests.keys().filter(|other| content.manifests[**other].about == Some(manifest)));
        }
        held
    }

    /// Whether what is held and what is named is all that stays: everything else goes. Answers how many manifests and blobs went.
    pub fn collect(&mut self, content: &Content) -> (u64, u64) {
        let held = self.held(content);
        let before = (self.manifests.len(), self.blobs.len());
        self.manifests.retain(|manifest, _| held.contains(manifest));
        let named: BTreeSet<usize> = held.iter().flat_map(|manifest| content.manifests[*manifest].blobs.clone()).collect();
        self.blobs.retain(|blob, _| named.contains(blob));
        self.forget_empty();
        ((before.0 - self.manifests.len()) as u64, (before.1 - self.blobs.len()) as u64)
    }

    /// A collection under leases takes nothing but the name of what is empty.
    pub fn forget_empty(&mut self) {
        self.known = if self.blobs.is_empty() && self.manifests.is_empty() { Is::No } else { Is::Yes };
    }

    /// Somebody may have collected until now: what nothing holds and no lease protects is not sure any more.
    pub fn age(&mut self, content: &Content, now: Instant) {
        let held = self.held(content);
        for (manifest, kept) in &mut self.manifests {
            kept.sure &= held.contains(manifest) || kept.until > now;
        }
        let sure = self.manifests.iter().filter(|(_, kept)| kept.sure);
        let named: BTreeSet<usize> = sure.flat_map(|(manifest, _)| content.manifests[*manifest].blobs.clone()).collect();
        for (blob, kept) in &mut self.blobs {
            kept.sure &= named.contains(blob) || kept.until > now;
        }
        if self.known == Is::Yes && !self.manifests.values().chain(self.blobs.values()).any(|kept| kept.sure) {
            self.known = Is::Maybe;
        }
    }
}
