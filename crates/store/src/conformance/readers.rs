//! Duties of an index towards those who read while others write: a push is seen whole or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wharf_oci::{Digest, Reference};

use super::content::{has, image, name, push, put, tag};
use crate::Index;

/// Pushes after one another, each seen by all readers while it is made.
const PUSHES: usize = 40;
const TAGS: [&str; 3] = ["a", "b", "c"];

/// What the `number`th push stores: about one subject, over one blob.
fn text(number: usize) -> String {
    image(&["read", &format!("read {number}")], Some("read"))
}

/// The number of the push that a tag shows.
async fn shown(index: &dyn Index, repository: &str, name_of_tag: &str, digests: &[Digest]) -> Option<usize> {
    let record = index.manifest(&name(repository), &tag(name_of_tag)).await.unwrap()?;
    let number = digests.iter().position(|digest| *digest == record.digest);
    let number = number.expect("a manifest that was pushed");
    assert_eq!(record.bytes, text(number), "its own bytes");
    Some(number)
}

/// One look at everything that a push changes.
async fn look(index: &dyn Index, repository: &str, digests: &[Digest]) {
    let Some(first) = shown(index, repository, TAGS[0], digests).await else { return };
    let page = index.tags(&name(repository), None, 10).await.unwrap().expect("the repository of a tag that was seen");
    assert_eq!(page.items, TAGS, "all of its tags");
    let mut latest = first;
    for name_of_tag in TAGS.iter().rev().chain(&TAGS) {
        let number = shown(index, repository, name_of_tag, digests).await.expect("a tag that was seen before");
        assert!(number >= latest, "{name_of_tag} shows push {number} after another tag showed push {latest}");
        latest = number;
    }
    // Of the latest that was seen everything else is there as well.
    let digest = digests[latest];
    assert!(has(index, repository, digest).await);
    let sha512 = Digest::of(wharf_oci::Algorithm::Sha512, text(latest).as_bytes());
    assert!(index.manifest(&name(repository), &Reference::Digest(sha512)).await.unwrap().is_some());
    let about = index.referrers(&name(repository), &Digest::sha256(b"read"), None, None, 1_000, 1 << 20).await.unwrap().items;
    assert!(about.iter().any(|referrer| referrer.digest == digest), "it is a referrer");
    assert!(about.len() > latest, "and so are those before it");
    let listed = index.repositories(Some("read"), 1_000).await.unwrap().items;
    assert!(listed.iter().any(|listed| listed == repository), "its repository holds a manifest");
    let totals = index.totals().await.unwrap();
    assert!(totals.tags >= TAGS.len() as u64 && totals.manifests as usize > latest);
    let unnamed = index.unnamed_blobs(&name(repository), vec![], 0, 1_000).await.unwrap();
    let blob = Digest::sha256(format!("read {latest}").as_bytes());
    assert!(unnamed.iter().all(|unnamed| unnamed.digests[0] != blob), "it names its blob");
    let held = index.unheld_manifests(&name(repository), true).await.unwrap();
    // Somebody may have moved the tags on meanwhile.
    let now = shown(index, repository, TAGS[0], digests).await.expect("a tag that was seen before");
    assert!(now > latest || held.iter().all(|unheld| unheld.sha256 != digest), "its tags hold it");
}

pub(super) async fn a_push_is_never_seen_by_half(index: &Arc<dyn Index>) {
    let repository = "reading/tags";
    let digests: Arc<Vec<Digest>> = Arc::new((0..PUSHES).map(|number| Digest::sha256(text(number).as_bytes())).collect());
    push(&**index, repository, b"read").await;
    for number in 0..PUSHES {
        push(&**index, repository, format!("read {number}").as_bytes()).await;
    }
    let ended = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (index, digests, ended) = (index.clone(), digests.clone(), ended.clone());
            tokio::spawn(async move {
                let mut looks = 0;
                while !ended.load(Ordering::Relaxed) {
                    look(&*index, repository, &digests).await;
                    looks += 1;
                }
                looks
            })
        })
        .collect();
    for number in 0..PUSHES {
        put(&**index, repository, &text(number), &TAGS).await;
    }
    ended.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.expect("a reader that saw no half") > 0);
    }
    look(&**index, repository, &digests).await;
    assert_eq!(shown(&**index, repository, TAGS[2], &digests).await, Some(PUSHES - 1));
}
