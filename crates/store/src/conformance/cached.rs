//! Duties of an index towards what came from an upstream: it gives way to newer content and to what is pushed, and to nothing else.

use wharf_oci::{Digest, Reference, media_type};

use super::content::{actor, at, image, list, manifest, name, push, put, put_if, tag};
use crate::{
    BlobRecord, CachedContent, CachedKind, Condition, Index, Location, ManifestDeletion, NewBlob, NewManifest, Origin, Place,
    PutOutcome, Use,
};

fn origin(repository: &str) -> Origin {
    Origin { upstream: "upstream.example".to_owned(), repository: name(repository) }
}

/// Links a blob with this content as one that was fetched.
async fn fetch(index: &dyn Index, repository: &str, content: &[u8]) -> BlobRecord {
    let blob = NewBlob {
        repository: name(repository),
        sha256: Digest::sha256(content),
        alias: None,
        size: content.len() as u64,
        place: Place::Store(Location(uuid::Uuid::new_v4().to_string())),
        upload: None,
        actor: actor(),
        origin: Some(origin("theirs")),
    };
    index.commit_blob(blob).await.unwrap()
}

/// Stores a manifest as one that was fetched.
async fn keep(index: &dyn Index, repository: &str, json: &str, tags: &[&str]) -> Digest {
    let new = NewManifest { origin: Some(origin("theirs")), ..manifest(repository, json, tags) };
    let digest = new.sha256;
    assert_eq!(index.put_manifest(new).await.unwrap(), PutOutcome::Stored);
    digest
}

async fn is_there(index: &dyn Index, repository: &str, digest: &Digest) -> bool {
    index.blob(&name(repository), digest).await.unwrap().is_some()
}

/// What a repository has that may be evicted, the longest unused first.
async fn cached(index: &dyn Index, repository: &str) -> Vec<CachedContent> {
    let all = index.least_used(10_000).await.unwrap();
    all.into_iter().filter(|content| content.repository == name(repository)).collect()
}

async fn clear(index: &dyn Index, repository: &str) {
    let all = cached(index, repository).await;
    let places = index.evict(all.clone()).await.unwrap();
    assert_eq!(places.count, all.len() as u64);
    assert_eq!(cached(index, repository).await, []);
    let doomed = index.doomed(None, 1_000).await.unwrap();
    index.buried(doomed.into_iter().map(|(location, _)| location).collect()).await.unwrap();
}

/// A fetched manifest may name what is not there (yet); the tag, the manifest and the blob say where they came from.
pub(super) async fn what_was_fetched_says_where_from(index: &dyn Index) {
    let repository = "cached/marked";
    let text = image(&["a layer that nobody has pulled"], None);
    let digest = keep(index, repository, &text, &["x"]).await;
    for reference in [tag("x"), Reference::Digest(digest)] {
        let found = index.manifest(&name(repository), &reference).await.unwrap().unwrap();
        assert_eq!(found.cached.unwrap().origin.to_string(), "upstream.example/theirs");
    }
    let blob = fetch(index, repository, b"fetched").await;
    assert!(index.blob(&name(repository), &blob.sha256).await.unwrap().unwrap().cached);
    let pushed = push(index, repository, b"pushed").await;
    assert!(!index.blob(&name(repository), &pushed.sha256).await.unwrap().unwrap().cached);
    let (mine, size) = (cached(index, repository).await, text.len() as u64);
    let mut kinds: Vec<_> =
        mine.iter().map(|content| (content.kind == CachedKind::Blob, content.digests[0], content.size)).collect();
    kinds.sort();
    assert_eq!(kinds, [(false, digest, size), (true, blob.sha256, 7)]);
    assert_eq!(index.cached_bytes().await.unwrap(), size + 7);
    // Its time is noted anew, and it can be dropped as nothing that was pushed can.
    let before = index.manifest(&name(repository), &tag("x")).await.unwrap().unwrap().cached.unwrap().checked;
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    let x = "x".parse().unwrap();
    index.tag_checked(&name(repository), &x).await.unwrap();
    assert!(index.manifest(&name(repository), &tag("x")).await.unwrap().unwrap().cached.unwrap().checked > before);
    assert!(index.drop_cached_tag(&name(repository), &x).await.unwrap());
    assert_eq!(index.manifest(&name(repository), &tag("x")).await.unwrap(), None);
    put(index, repository, &image(&["pushed"], None), &["x"]).await;
    assert!(!index.drop_cached_tag(&name(repository), &x).await.unwrap());
    clear(index, repository).await;
}

/// The collector leaves it alone, tagged or not, named or not.
pub(super) async fn the_collector_leaves_it_alone(index: &dyn Index) {
    let repository = "cached/kept";
    let child = image(&["kept layer"], None);
    let digest = keep(index, repository, &child, &[]).await;
    let blob = fetch(index, repository, b"named by nobody").await;
    assert_eq!(index.unheld_manifests(&name(repository), false).await.unwrap(), []);
    assert_eq!(index.unnamed_blobs(&name(repository), vec![], 0, 10).await.unwrap(), []);
    // What a pull fetched goes with the deletes that all know.
    let deleted = index.delete_manifest(&name(repository), &Reference::Digest(digest), &actor()).await.unwrap();
    assert!(matches!(deleted, ManifestDeletion::Deleted { .. }));
    index.delete_blob(&name(repository), &blob.sha256, &actor()).await.unwrap();
    assert_eq!(cached(index, repository).await, []);
    index.buried(vec![at(&blob)]).await.unwrap();
}

/// A pushed tag is never moved by what an upstream has; a fetched one becomes a pushed one by a push.
pub(super) async fn pushed_names_win(index: &dyn Index) {
    let repository = "cached/names";
    push(index, repository, b"ours").await;
    let (ours, theirs, newer) = (image(&["ours"], None), image(&["theirs"], None), image(&["theirs, newer"], None));
    let mine = put(index, repository, &ours, &["pushed"]).await;
    let fetched = keep(index, repository, &theirs, &["pushed", "pulled"]).await;
    let leads = async |text: &str| index.manifest(&name(repository), &tag(text)).await.unwrap().map(|found| found.digest);
    assert_eq!((leads("pushed").await, leads("pulled").await), (Some(mine), Some(fetched)));
    let newest = keep(index, repository, &newer, &["pulled"]).await;
    assert_eq!(leads("pulled").await, Some(newest), "what was pulled follows its upstream");
    // To who pushes, the name is free, and it is also what it is.
    let refused = put_if(index, repository, &ours, &["pushed"], Condition::NoneMatch(None)).await;
    assert_eq!(refused, PutOutcome::ConditionFailed(Some(mine)));
    assert_eq!(put_if(index, repository, &ours, &["pulled"], Condition::NoneMatch(None)).await, PutOutcome::Stored);
    let found = index.manifest(&name(repository), &tag("pulled")).await.unwrap().unwrap();
    assert_eq!((found.digest, found.cached), (mine, None));
    keep(index, repository, &theirs, &["pulled"]).await;
    assert_eq!(leads("pulled").await, Some(mine));
    clear(index, repository).await;
    assert_eq!((leads("pushed").await, leads("pulled").await), (Some(mine), Some(mine)));
}

/// What a pushed manifest names is no longer there because it was pulled, however far below.
pub(super) async fn a_push_adopts_what_it_names(index: &dyn Index) {
    let repository = "cached/adopted";
    let named = fetch(index, repository, b"named by a push").await;
    let below = fetch(index, repository, b"named by a child").await;
    let other = fetch(index, repository, b"named by no push").await;
    let child = image(&["named by a child"], None);
    let child_digest = keep(index, repository, &child, &[]).await;
    keep(index, repository, &image(&["named by no push"], None), &["theirs"]).await;
    assert_eq!(cached(index, repository).await.len(), 5);
    put(index, repository, &image(&["named by a push"], None), &["own"]).await;
    put(index, repository, &list("application/vnd.test.image+json", &[&child]), &["list"]).await;
    let left: Vec<_> = cached(index, repository).await.iter().map(|content| content.digests[0]).collect();
    assert_eq!(left.len(), 2);
    assert!(left.contains(&other.sha256));
    clear(index, repository).await;
    assert!(is_there(index, repository, &named.sha256).await && is_there(index, repository, &below.sha256).await);
    assert!(index.manifest(&name(repository), &Reference::Digest(child_digest)).await.unwrap().is_some());
    assert!(!is_there(index, repository, &other.sha256).await);
    // What a pushed manifest names already is pushed content, whoever brings it.
    let late = image(&["brought late"], None);
    let optional = list(media_type::OCI_MANIFEST, &[&late]);
    let sparse = NewManifest { sparse: true, ..manifest(repository, &optional, &["sparse"]) };
    assert_eq!(index.put_manifest(sparse).await.unwrap(), PutOutcome::Stored);
    keep(index, repository, &late, &[]).await;
    assert_eq!(cached(index, repository).await, []);
}

/// The longest unused goes first; what was used or pushed since it was looked at stays.
pub(super) async fn the_least_used_goes_first(index: &dyn Index) {
    let repository = "cached/used";
    let pause = || tokio::time::sleep(std::time::Duration::from_millis(3));
    let mut blobs = Vec::new();
    for text in [&b"first"[..], b"second", b"third"] {
        blobs.push(fetch(index, repository, text).await);
        pause().await;
    }
    let order = async || cached(index, repository).await.iter().map(|content| content.digests[0]).collect::<Vec<_>>();
    assert_eq!(order().await, [blobs[0].sha256, blobs[1].sha256, blobs[2].sha256]);
    let seen = cached(index, repository).await;
    let used = Use { repository: name(repository), digest: blobs[0].sha256, kind: CachedKind::Blob, at: crate::Timestamp::now() };
    index.used(vec![used]).await.unwrap();
    assert_eq!(order().await, [blobs[1].sha256, blobs[2].sha256, blobs[0].sha256]);
    push(index, repository, b"second").await;
    assert_eq!(index.evict(seen).await.unwrap().count, 1, "neither the used one nor the pushed one");
    assert!(is_there(index, repository, &blobs[0].sha256).await && is_there(index, repository, &blobs[1].sha256).await);
    assert_eq!(index.doomed(None, 10).await.unwrap(), [(at(&blobs[2]), 5)]);
    index.buried(vec![at(&blobs[2])]).await.unwrap();
    clear(index, repository).await;
    assert!(is_there(index, repository, &blobs[1].sha256).await);
}

/// Content that some other repository was pushed takes no room of the cache, and its bytes stay when it is evicted.
pub(super) async fn content_pushed_elsewhere_stays(index: &dyn Index) {
    let before = index.cached_bytes().await.unwrap();
    let record = fetch(index, "cached/here", b"in both").await;
    assert_eq!(index.cached_bytes().await.unwrap(), before + 7);
    push(index, "cached/there", b"in both").await;
    assert_eq!(index.cached_bytes().await.unwrap(), before);
    clear(index, "cached/here").await;
    assert!(!is_there(index, "cached/here", &record.sha256).await);
    assert!(is_there(index, "cached/there", &record.sha256).await);
    assert_eq!(index.doomed(None, 10).await.unwrap(), []);
}
