//! Duties of an index towards manifests, tags and listings.

use std::future::Future;
use std::sync::Arc;

use wharf_oci::{Digest, Reference};

use super::content::{actor, has, image, list, manifest, name, push, put, put_if, tag};
use crate::{Condition, Index, ManifestDeletion, PutOutcome, Referrer};

pub(super) async fn a_push_is_seen_whole(index: &dyn Index) {
    push(index, "whole", b"layer").await;
    let json = image(&["layer"], None);
    let digest = put(index, "whole", &json, &["a", "b"]).await;
    let sha512 = Digest::of(wharf_oci::Algorithm::Sha512, json.as_bytes());
    for reference in [tag("a"), tag("b"), Reference::Digest(digest), Reference::Digest(sha512)] {
        let record = index.manifest(&name("whole"), &reference).await.unwrap().unwrap();
        assert_eq!(record.bytes, json);
        assert_eq!(record.digest, if reference == Reference::Digest(sha512) { sha512 } else { digest });
        assert_eq!(record.media_type, "application/vnd.test.image+json");
    }
    assert_eq!(index.manifest(&name("elsewhere"), &tag("a")).await.unwrap(), None);
}

pub(super) async fn what_is_missing_is_named_and_nothing_changes(index: &dyn Index) {
    push(index, "missing", b"there").await;
    push(index, "missing/other", b"elsewhere").await;
    let json = image(&["there", "elsewhere", "nowhere"], None);
    let outcome = index.put_manifest(manifest("missing", &json, &["x"])).await.unwrap();
    assert_eq!(outcome, PutOutcome::Missing(vec![Digest::sha256(b"elsewhere"), Digest::sha256(b"nowhere")]));
    assert_eq!(index.manifest(&name("missing"), &tag("x")).await.unwrap(), None);
    assert!(!has(index, "missing", Digest::sha256(json.as_bytes())).await);
    let sparse = list(wharf_oci::media_type::OCI_MANIFEST, &["unknown"]);
    let outcome = index.put_manifest(manifest("missing", &sparse, &["x"])).await.unwrap();
    assert_eq!(outcome, PutOutcome::Missing(vec![Digest::sha256(b"unknown")]));
    let outcome = index.put_manifest(crate::NewManifest { sparse: true, ..manifest("missing", &sparse, &["x"]) }).await.unwrap();
    assert_eq!(outcome, PutOutcome::Stored);
}

pub(super) async fn preconditions_are_all_or_nothing(index: &dyn Index) {
    let (one, two) = (image(&[], None), image(&[], Some("two")));
    let first = put(index, "precondition", &one, &["a"]).await;
    let failed = |current| PutOutcome::ConditionFailed(current);
    let none = || Condition::NoneMatch(None);
    assert_eq!(put_if(index, "precondition", &two, &["a"], none()).await, failed(Some(first)));
    assert_eq!(put_if(index, "precondition", &two, &["b", "a"], none()).await, failed(Some(first)));
    assert_eq!(index.manifest(&name("precondition"), &tag("b")).await.unwrap(), None, "all or nothing");
    let other = Condition::Match(Some(vec![Digest::sha256(b"other")]));
    assert_eq!(put_if(index, "precondition", &two, &["a"], other).await, failed(Some(first)));
    assert_eq!(put_if(index, "precondition", &two, &["c"], Condition::Match(None)).await, failed(None));
    let this = Condition::Match(Some(vec![Digest::sha256(b"other"), first]));
    assert_eq!(put_if(index, "precondition", &two, &["a"], this).await, PutOutcome::Stored);
    assert_eq!(put_if(index, "precondition", &two, &["d"], none()).await, PutOutcome::Stored);
    // Without tags the manifest itself is what is named.
    assert_eq!(put_if(index, "precondition", &one, &[], none()).await, failed(Some(first)));
}

pub(super) async fn one_of_many_creators_wins(index: Arc<dyn Index>) {
    let pushes: Vec<_> = (0..20)
        .map(|number| {
            let index = index.clone();
            tokio::spawn(async move {
                let json = image(&[], Some(&format!("creator {number}")));
                put_if(&*index, "race", &json, &["a"], Condition::NoneMatch(None)).await
            })
        })
        .collect();
    let mut stored = 0;
    for push in pushes {
        stored += usize::from(push.await.unwrap() == PutOutcome::Stored);
    }
    assert_eq!(stored, 1);
}

pub(super) async fn deleting_a_tag_removes_that_tag_only(index: &dyn Index) {
    let digest = put(index, "untag", &image(&[], None), &["a", "b"]).await;
    let deletion = index.delete_manifest(&name("untag"), &tag("a"), &actor()).await.unwrap();
    assert_eq!(deletion, ManifestDeletion::Deleted { digests: vec![], tags: vec!["a".parse().unwrap()] });
    assert_eq!(index.delete_manifest(&name("untag"), &tag("a"), &actor()).await.unwrap(), ManifestDeletion::Unknown);
    assert!(has(index, "untag", digest).await);
    assert!(index.manifest(&name("untag"), &tag("b")).await.unwrap().is_some());
    assert_eq!(index.delete_manifest(&name("untag/x"), &tag("a"), &actor()).await.unwrap(), ManifestDeletion::UnknownRepository);
}

pub(super) async fn deleting_a_manifest_removes_its_tags(index: &dyn Index) {
    let digest = put(index, "remove", &image(&[], None), &["a", "b"]).await;
    put(index, "remove", &image(&[], Some("x")), &["c"]).await;
    match index.delete_manifest(&name("remove"), &Reference::Digest(digest), &actor()).await.unwrap() {
        ManifestDeletion::Deleted { digests, mut tags } => {
            tags.sort();
            assert!(digests.contains(&digest) && digests.len() == 2);
            assert_eq!(tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b"]);
        }
        other => panic!("{other:?}"),
    }
    let page = index.tags(&name("remove"), None, 10).await.unwrap().unwrap();
    assert_eq!(page.items, ["c"]);
}

pub(super) async fn listings_come_in_pages_and_byte_order(index: &dyn Index) {
    put(index, "pages", &image(&[], None), &["b", "B", "_", "a", "1", "10", "2"]).await;
    let tags = async |after: Option<&str>, limit| index.tags(&name("pages"), after, limit).await.unwrap().unwrap();
    assert_eq!(tags(None, 100).await.items, ["1", "10", "2", "B", "_", "a", "b"]);
    let page = tags(Some("10"), 2).await;
    assert_eq!((page.items, page.more), (vec!["2".to_owned(), "B".to_owned()], true));
    assert!(!tags(Some("a"), 1).await.more);
    assert_eq!(tags(Some("9"), 2).await.items, ["B", "_"], "after a tag that does not exist");
    assert!(tags(None, 0).await.items.is_empty());
    assert_eq!(index.tags(&name("pages/none"), None, 1).await.unwrap(), None);

    push(index, "pages/only-blobs", b"blob").await;
    put(index, "pages/z", &image(&[], None), &[]).await;
    put(index, "pages-b", &image(&[], None), &[]).await;
    let page = index.repositories(Some("pager"), 100).await.unwrap().items;
    assert!(page.windows(2).all(|pair| pair[0] < pair[1]));
    let page = index.repositories(Some("page"), 3).await.unwrap();
    assert_eq!((page.items, page.more), (vec!["pages".to_owned(), "pages-b".to_owned(), "pages/z".to_owned()], page.more));
}

pub(super) async fn referrers_are_listed_before_and_after_their_subject(index: &dyn Index) {
    let subject = image(&[], None);
    let digest = Digest::sha256(subject.as_bytes());
    let about = |kind: &str| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.test.image+json","artifactType":"{kind}","layers":[],
                "annotations":{{"k":"v"}},"subject":{{"mediaType":"x","digest":"{digest}","size":1}}}}"#
        )
    };
    let mut expected = vec![put(index, "refer", &about("a/a"), &[]).await];
    put(index, "refer", &subject, &["x"]).await;
    for kind in ["b/b", "c/c"] {
        expected.push(put(index, "refer", &about(kind), &[]).await);
    }
    expected.sort();
    let page = async |kind: Option<&str>, after: Option<&Digest>, limit| {
        index.referrers(&name("refer"), &digest, kind, after, limit, 1 << 20).await.unwrap()
    };
    let all = page(None, None, 10).await;
    assert_eq!(all.items.iter().map(|referrer| referrer.digest).collect::<Vec<_>>(), expected);
    assert_eq!(all.items[0].annotations.as_deref(), Some(r#"{"k":"v"}"#));
    let only = page(Some("b/b"), None, 10).await;
    assert_eq!(only.items.len(), 1);
    assert_eq!(only.items[0].artifact_type.as_deref(), Some("b/b"));
    let first = page(None, None, 2).await;
    assert!(first.more);
    let rest = page(None, Some(&first.items[1].digest), 2).await;
    assert_eq!((rest.items.len(), rest.more), (1, false));
    let weighing = async |room| index.referrers(&name("refer"), &digest, None, None, 10, room).await.unwrap();
    let two = all.items[..2].iter().map(Referrer::weight).sum::<usize>();
    for (room, count) in [(0, 1), (two - 1, 1), (two, 2), (1 << 20, 3)] {
        let page = weighing(room).await;
        assert_eq!((page.items.len(), page.more), (count, count < 3), "{room} bytes");
    }
    assert!(index.referrers(&name("refer/none"), &digest, None, None, 10, 0).await.unwrap().items.is_empty());
}

pub(super) async fn a_manifest_has_one_media_type(index: &dyn Index) {
    let of_type = |kind: &str| {
        let bytes = bytes::Bytes::from_static(b"{}");
        let mut new = manifest("typed", "{\"mediaType\":\"a/b\"}", &["x"]);
        (new.sha256, new.sha512) = (Digest::sha256(&bytes), Digest::of(wharf_oci::Algorithm::Sha512, &bytes));
        new.manifest = Arc::new(wharf_oci::Manifest::parse(&bytes, kind).unwrap());
        new.bytes = bytes;
        new
    };
    assert_eq!(index.put_manifest(of_type("a/first")).await.unwrap(), PutOutcome::Stored);
    assert_eq!(index.put_manifest(of_type("a/first")).await.unwrap(), PutOutcome::Stored);
    assert_eq!(index.put_manifest(of_type("a/second")).await.unwrap(), PutOutcome::OtherMediaType("a/first".into()));
    assert_eq!(index.manifest(&name("typed"), &tag("x")).await.unwrap().unwrap().media_type, "a/first");
}

pub(super) async fn every_change_is_logged_in_order(index: &dyn Index) {
    let before = index.changes(0, 100_000).await.unwrap().last().map_or(0, |change| change.sequence);
    push(index, "log", b"log").await;
    let digest = put(index, "log", &image(&["log"], None), &["a"]).await;
    index.delete_manifest(&name("log"), &tag("a"), &actor()).await.unwrap();
    index.put_manifest(manifest("log", &image(&["no such blob"], None), &["b"])).await.unwrap();
    index.delete_manifest(&name("log"), &Reference::Digest(digest), &actor()).await.unwrap();
    let changes = index.changes(before, 100).await.unwrap();
    let actions: Vec<_> = changes.iter().map(|change| change.action.as_str()).collect();
    assert_eq!(actions, ["blob.link", "manifest.put", "tag.put", "tag.delete", "manifest.delete"]);
    assert!(changes.windows(2).all(|pair| pair[0].sequence < pair[1].sequence && pair[0].at <= pair[1].at));
    assert!(changes.iter().all(|change| change.repository == "log" && change.actor == "tester"));
    assert_eq!(changes[2].tag.as_deref(), Some("a"));
    assert_eq!(index.changes(changes[3].sequence, 100).await.unwrap(), changes[4..]);
}

pub(super) async fn all_of_it_is_there_after_a_restart<F: Future<Output = Arc<dyn Index>>>(
    index: Arc<dyn Index>,
    reopen: &impl Fn(Arc<dyn Index>) -> F,
) -> Arc<dyn Index> {
    let record = push(&*index, "restart", b"restart").await;
    let digest = put(&*index, "restart", &image(&["restart"], None), &["a"]).await;
    index.beat().await.unwrap();
    index.collection_ended().await.unwrap();
    let times = async |index: &dyn Index| (index.last_beat().await.unwrap(), index.last_collection().await.unwrap());
    let (totals, before) = (index.totals().await.unwrap(), times(&*index).await);
    let index = reopen(index).await;
    assert_eq!(index.blob(&name("restart"), &record.sha256).await.unwrap(), Some(record));
    assert_eq!(index.manifest(&name("restart"), &tag("a")).await.unwrap().unwrap().digest, digest);
    assert_eq!((index.totals().await.unwrap(), times(&*index).await), (totals, before));
    index.check().await.unwrap();
    index
}
