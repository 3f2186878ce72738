//! Bringing a tree into a repository, and setting tags to it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use wharf_oci::{Descriptor, Digest, Document, ImageConfig, Reference, RepositoryName, Tag};

use crate::merge::{Decision, Existing, Offer, decide};
use crate::observer::How;
use crate::registry::{Fetched, Precondition, Put};
use crate::source::Source;
use crate::tree::{Manifest, Tree};
use crate::{ClientError, Registry};

/// Blobs that are sent at once. More do not make one disk or one line faster.
const AT_ONCE: usize = 4;
/// Tags that are set at once.
const TAGS_AT_ONCE: usize = 4;
/// Attempts at a tag that others set at the same moment.
const CONTENTION: u32 = 40;
/// How long after setting a tag it is read again, at least, where the registry knows no preconditions: another pusher that had read before
/// has written by then, unless it is slower than that.
const SETTLE: Duration = Duration::from_millis(500);
/// How many times as long as our own way from reading a tag to setting it that is: where we are slow, others are too.
const SLOWER: u32 = 8;
/// But no longer than this.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// What became of a tree's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Blobs and bytes that went over the network.
    pub sent: (usize, u64),
    /// Blobs and bytes that were there.
    pub present: (usize, u64),
    /// Blobs and bytes that were in another repository of the registry.
    pub mounted: (usize, u64),
}

impl Sent {
    /// Adds another's.
    pub fn add(&mut self, other: Self) {
        let add = |a: &mut (usize, u64), b: (usize, u64)| *a = (a.0 + b.0, a.1 + b.1);
        add(&mut self.sent, other.sent);
        add(&mut self.present, other.present);
        add(&mut self.mounted, other.mounted);
    }

    fn count(&mut self, how: How, size: u64) {
        let counted = match how {
            How::Sent => &mut self.sent,
            How::Present => &mut self.present,
            How::Mounted => &mut self.mounted,
        };
        *counted = (counted.0 + 1, counted.1 + size);
    }
}

/// What became of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The tag.
    pub tag: Tag,
    /// The manifest it leads to now.
    pub digest: Digest,
    /// What that is.
    pub media_type: String,
    /// It led there before.
    pub unchanged: bool,
    /// What it led to before is of no platform, and gone from the tag.
    pub replaced: bool,
}

/// A registry that several images are brought to.
pub struct Pusher<'a> {
    registry: &'a Registry,
    /// In which repository a blob was last seen in this run: it can be mounted from there.
    seen: Mutex<BTreeMap<Digest, RepositoryName>>,
    /// What tags were found to lead to, for the first attempt at setting them.
    foreseen: Mutex<BTreeMap<(RepositoryName, Tag), State>>,
}

/// What a tag leads to, and what that means.
#[derive(Clone, Debug)]
struct State {
    fetched: Option<Fetched>,
    existing: Existing,
}

impl<'a> Pusher<'a> {
    /// Pushes to a registry that was [asked](Registry::ping) what it can do; of one that was not, nothing beyond the specification is expected.
    pub fn new(registry: &'a Registry) -> Self {
        Self { registry, seen: Mutex::default(), foreseen: Mutex::default() }
    }

    /// Brings everything that is below the root of a tree into a repository. Nothing is tagged, and the root itself is not sent:
    /// [`tag`](Self::tag) does both.
    pub async fn send(&self, source: &dyn Source, tree: &Tree, repository: &RepositoryName) -> Result<Sent, ClientError> {
        // What cannot succeed is not begun.
        for blob in &tree.blobs {
            source.check(blob)?;
        }
        let mut sent = Sent::default();
        let mut blobs =
            futures_util::stream::iter(&tree.blobs).map(|blob| self.blob(source, blob, repository)).buffer_unordered(AT_ONCE);
        while let Some((how, size)) = blobs.try_next().await? {
            sent.count(how, size);
        }
        for manifest in &tree.manifests {
            self.put(repository, manifest).await?;
        }
        Ok(sent)
    }

    /// Looks where tags lead while something else is waited for, so that [`tag`](Self::tag) need not. Only for a registry that then says when this has
    /// changed. What goes wrong here goes wrong there, too, and is told there.
    pub async fn look_ahead(&self, repository: &RepositoryName, tags: &[Tag]) {
        if !self.registry.features().conditional_push {
            return;
        }
        let look = |tag: &Tag| {
            let key = (repository.clone(), tag.clone());
            async move {
                if let Ok(state) = self.state(repository, &Reference::Tag(key.1.clone())).await {
                    self.foreseen.lock().unwrap_or_else(PoisonError::into_inner).insert(key, state);
                }
            }
        };
        futures_util::stream::iter(tags).map(look).buffer_unordered(TAGS_AT_ONCE).collect::<()>().await;
    }

    async fn blob(&self, source: &dyn Source, blob: &Descriptor, repository: &RepositoryName) -> Result<(How, u64), ClientError> {
        let known = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&blob.digest).cloned();
        let sibling = known.as_ref().or(source.repository()).filter(|sibling| *sibling != repository);
        let how = self.registry.push_blob(repository, blob, source, sibling).await?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.digest, repository.clone());
        Ok((how, blob.size))
    }

    /// Pushes a manifest by digest, and says so, unless it is there. One that is there holds everything it names.
    async fn put(&self, repository: &RepositoryName, manifest: &Manifest) -> Result<bool, ClientError> {
        let reference = Reference::Digest(manifest.descriptor.digest);
        if self.registry.resolve(repository, &reference).await?.is_some() {
            return Ok(false);
        }
        let (media_type, bytes) = (&manifest.descriptor.media_type, manifest.bytes.clone());
        self.registry.put_manifest(repository, &reference, media_type, bytes, Precondition::None).await.map(|_| true)
    }

    /// Sets tags to what is offered, merged with the platforms that others have there. The content must have been
    /// [sent](Self::send). Tags are independent: each has its own result, in the order of `tags`.
    pub async fn tag(
        &self,
        repository: &RepositoryName,
        offer: &Offer,
        roots: &[&Manifest],
        tags: &[Tag],
    ) -> Vec<Result<Tagged, ClientError>> {
        let set = |tag: &Tag| {
            let tag = tag.clone();
            async move { self.set(repository, offer, roots, tag).await }
        };
        futures_util::stream::iter(tags).map(set).buffered(TAGS_AT_ONCE).collect().await
    }

    async fn set(
        &self,
        repository: &RepositoryName,
        offer: &Offer,
        roots: &[&Manifest],
        tag: Tag,
    ) -> Result<Tagged, ClientError> {
        let reference = Reference::Tag(tag.clone());
        let mut written = None;
        // What was refused: it may be there all the same, when only the answer to an earlier attempt was lost.
        let mut refused = None;
        let mut placed = Vec::new();
        for attempt in 0..CONTENTION {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(1..10 + 5 * u64::from(attempt)))).await;
            }
            let read = Instant::now();
            let foreseen =
                self.foreseen.lock().unwrap_or_else(PoisonError::into_inner).remove(&(repository.clone(), tag.clone()));
            let State { fetched, existing } = match foreseen {
                Some(state) => state,
                None => self.state(repository, &reference).await?,
            };
            let (manifest, replaces) = match (decide(&existing, offer), &fetched) {
                (Decision::Set { manifest, replaces }, _) => (manifest, replaces),
                (Decision::Keep, fetched) => {
                    let whole = &offer.whole.descriptor;
                    let (digest, media_type) =
                        fetched.as_ref().map_or((whole.digest, &whole.media_type), |found| (found.digest, &found.media_type));
                    let own = written.or(refused.filter(|(refused, _)| *refused == digest).map(|(_, replaced)| replaced));
                    let (unchanged, replaced) = own.map_or((true, false), |replaced| (false, replaced));
                    return Ok(Tagged { tag, digest, media_type: media_type.clone(), unchanged, replaced });
                }
            };
            // An index needs what it names, which is elsewhere only pushed as what a tag leads to.
            let whole = manifest.descriptor.digest;
            let is_needed = |digest| digest != whole && !placed.contains(&digest);
            let needed: Vec<_> = roots.iter().filter(|root| is_needed(root.descriptor.digest)).collect();
            for root in &needed {
                self.put(repository, root).await?;
            }
            placed.extend(needed.iter().map(|root| root.descriptor.digest));
            if !needed.is_empty() && !self.registry.features().conditional_push {
                // What others set meanwhile would be lost: nothing may lie between reading the tag and setting it.
                continue;
            }
            let precondition = match &fetched {
                _ if !self.registry.features().conditional_push => Precondition::None,
                Some(found) => Precondition::Is(found.digest),
                None => Precondition::Absent,
            };
            let descriptor = &manifest.descriptor;
            let (media_type, bytes) = (descriptor.media_type.clone(), manifest.bytes.clone());
            let put = self.registry.put_manifest(repository, &reference, &media_type, bytes, precondition).await?;
            if put == Put::Refused {
                refused = Some((descriptor.digest, replaces));
                continue;
            }
            if self.registry.features().conditional_push {
                return Ok(Tagged { tag, digest: descriptor.digest, media_type, unchanged: false, replaced: replaces });
            }
            // The next turn looks whether it still is so; whoever wrote over it in between is merged with.
            written = Some(written.unwrap_or(false) || replaces);
            let settle = (read.elapsed() * SLOWER).clamp(SETTLE, SETTLE_MAX);
            tokio::time::sleep(settle.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        }
        Err(ClientError::Contended { tag: tag.to_string(), attempts: CONTENTION })
    }

    async fn state(&self, repository: &RepositoryName, reference: &Reference) -> Result<State, ClientError> {
        // What the registry only pulled through is nobody's work here: it is neither merged with nor kept.
        let fetched = self.registry.manifest(repository, reference).await?.filter(|found| found.origin.is_none());
        let existing = self.existing(repository, fetched.as_ref()).await?;
        Ok(State { fetched, existing })
    }

    /// What a manifest under a tag means for merging.
    async fn existing(&self, repository: &RepositoryName, fetched: Option<&Fetched>) -> Result<Existing, ClientError> {
        let Some(fetched) = fetched else { return Ok(Existing::Nothing) };
        match Document::parse(&fetched.bytes, &fetched.media_type) {
            Ok(Document::Index(index)) if index.manifests.iter().any(|child| child.platform.is_some()) => {
                Ok(Existing::Index(fetched.digest, index))
            }
            Ok(Document::Image(image)) if image.is_image() => {
                // Its own word counts: a header may be as unspecific as application/json.
                let mut descriptor = Descriptor::new(&image.media_type, fetched.digest, fetched.bytes.len() as u64);
                let config = self.registry.small_blob(repository, &image.config).await?;
                // A configuration that is gone or does not read leaves an image that says nothing of its platform.
                let config = config.and_then(|bytes| ImageConfig::parse(&bytes).ok());
                descriptor.platform = config.and_then(|config| config.platform).filter(|platform| !platform.is_unknown());
                let is_known = descriptor.platform.is_some();
                Ok(if is_known { Existing::Image(descriptor) } else { Existing::Other(fetched.digest) })
            }
            _ => Ok(Existing::Other(fetched.digest)),
        }
    }
}
