//! Duties of an index towards collection: what is held and what is not.

use std::collections::BTreeSet;

use wharf_oci::{Digest, Reference, media_type};

use super::content::{actor, at, has, image, list, name, push, put, tag};
use crate::index::UnheldManifest;
use crate::{Index, Timestamp};

async fn unheld(index: &dyn Index, repository: &str) -> Vec<UnheldManifest> {
    let dry = index.unheld_manifests(&name(repository), true).await.unwrap();
    let real = index.unheld_manifests(&name(repository), false).await.unwrap();
    let digests = |found: &[UnheldManifest]| found.iter().map(|manifest| manifest.sha256).collect::<BTreeSet<_>>();
    assert_eq!(digests(&dry), digests(&real));
    assert_eq!(real, index.unheld_manifests(&name(repository), false).await.unwrap(), "the time of a verdict stays");
    real
}

async fn unheld_digests(index: &dyn Index, repository: &str) -> BTreeSet<Digest> {
    unheld(index, repository).await.into_iter().map(|manifest| manifest.sha256).collect()
}

async fn delete(index: &dyn Index, repository: &str, reference: Reference) {
    index.delete_manifest(&name(repository), &reference, &actor()).await.unwrap();
}

pub(super) async fn a_tag_holds_all_below_it(index: &dyn Index) {
    let repository = "hold";
    let (a, b) = (image(&[], Some("a")), image(&[], Some("b")));
    let (first, second) = (put(index, repository, &a, &[]).await, put(index, repository, &b, &[]).await);
    assert_eq!(unheld_digests(index, repository).await, BTreeSet::from([first, second]));
    let inner = list(media_type::OCI_MANIFEST, &[&a, &b]);
    let inner_digest = put(index, repository, &inner, &[]).await;
    let outer = put(index, repository, &list(media_type::OCI_INDEX, &[&inner]), &["top"]).await;
    assert_eq!(unheld_digests(index, repository).await, BTreeSet::new());
    delete(index, repository, tag("top")).await;
    assert_eq!(unheld_digests(index, repository).await, BTreeSet::from([first, second, inner_digest, outer]));
    let all = unheld(index, repository).await;
    assert_eq!(index.collect_manifests(&name(repository), all).await.unwrap(), 4);
    assert!(!has(index, repository, first).await);
}

pub(super) async fn referrers_live_with_their_subject(index: &dyn Index) {
    let repository = "hold/referrers";
    let subject = image(&[], None);
    let about = image(&[], Some(&subject));
    let about_that = image(&[], Some(&about));
    let last = put(index, repository, &about_that, &[]).await;
    let middle = put(index, repository, &about, &[]).await;
    assert_eq!(unheld_digests(index, repository).await, BTreeSet::from([last, middle]), "their subject is not there");
    let root = put(index, repository, &subject, &["x"]).await;
    assert_eq!(unheld_digests(index, repository).await, BTreeSet::new());
    delete(index, repository, Reference::Digest(root)).await;
    assert_eq!(unheld_digests(index, repository).await, BTreeSet::from([last, middle]));
}

pub(super) async fn a_child_may_be_deleted_and_the_index_stays(index: &dyn Index) {
    let repository = "hold/child";
    let child = image(&[], None);
    let digest = put(index, repository, &child, &[]).await;
    put(index, repository, &list(media_type::OCI_MANIFEST, &[&child]), &["x"]).await;
    delete(index, repository, Reference::Digest(digest)).await;
    assert!(!has(index, repository, digest).await);
    assert!(index.manifest(&name(repository), &tag("x")).await.unwrap().is_some());
    put(index, repository, &child, &[]).await;
    assert_eq!(unheld_digests(index, repository).await, BTreeSet::new(), "pushed again, it is held again");
}

pub(super) async fn what_is_held_again_is_not_collected(index: &dyn Index) {
    let repository = "hold/again";
    let child = image(&[], None);
    let parent = list(media_type::OCI_MANIFEST, &[&child]);
    let grandparent = list(media_type::OCI_INDEX, &[&parent]);
    for text in [&child, &parent, &grandparent] {
        put(index, repository, text, &[]).await;
    }
    let verdict = unheld(index, repository).await;
    assert_eq!(verdict.len(), 3);
    // Between the verdict and its execution somebody tags the top: all below it must stay.
    put(index, repository, &grandparent, &["x"]).await;
    assert_eq!(index.collect_manifests(&name(repository), verdict).await.unwrap(), 0);
    for text in [&child, &parent, &grandparent] {
        assert!(has(index, repository, Digest::sha256(text.as_bytes())).await);
    }
    // And what is pushed again without a tag begins its time anew.
    let other = image(&[], Some("other"));
    put(index, repository, &other, &[]).await;
    let verdict = unheld(index, repository).await;
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    put(index, repository, &other, &[]).await;
    assert_eq!(index.collect_manifests(&name(repository), verdict).await.unwrap(), 0);
}

pub(super) async fn children_wait_no_longer_than_their_index(index: &dyn Index) {
    let repository = "hold/wait";
    let child = image(&[], None);
    put(index, repository, &child, &[]).await;
    let parent = put(index, repository, &list(media_type::OCI_MANIFEST, &[&child]), &["x"]).await;
    assert!(unheld(index, repository).await.is_empty());
    delete(index, repository, tag("x")).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let verdict = unheld(index, repository).await;
    let since = |digest| verdict.iter().find(|manifest| manifest.sha256 == digest).unwrap().since;
    assert_eq!(since(parent), since(Digest::sha256(child.as_bytes())));
    assert!(since(parent) <= Timestamp::now().before(std::time::Duration::from_millis(5)));
}

pub(super) async fn bytes_go_when_the_last_repository_lets_go(index: &dyn Index) {
    let shared = push(index, "hold/bytes", b"512 shared bytes").await;
    push(index, "hold/bytes/other", b"512 shared bytes").await;
    let json = image(&["512 shared bytes"], None);
    put(index, "hold/bytes/other", &json, &["x"]).await;
    let unnamed = async |repository: &str, gone: Vec<i64>| index.unnamed_blobs(&name(repository), gone, 0, 10).await.unwrap();
    assert_eq!(unnamed("hold/bytes/other", vec![]).await, []);
    let found = unnamed("hold/bytes", vec![]).await;
    assert_eq!((found.len(), found[0].held_by, found[0].digests.len()), (1, 2, 2));
    assert_eq!(index.collect_blobs(&name("hold/bytes"), found).await.unwrap(), 1);
    assert!(index.doomed(None, 10).await.unwrap().is_empty());
    delete(index, "hold/bytes/other", tag("x")).await;
    let manifests = unheld(index, "hold/bytes/other").await;
    let assumed = unnamed("hold/bytes/other", vec![manifests[0].id]).await;
    assert_eq!(assumed.len(), 1, "a dry run looks ahead");
    index.collect_manifests(&name("hold/bytes/other"), manifests).await.unwrap();
    // The verdict is checked once more when it is executed.
    put(index, "hold/bytes/other", &json, &["again"]).await;
    assert_eq!(index.collect_blobs(&name("hold/bytes/other"), assumed.clone()).await.unwrap(), 0);
    delete(index, "hold/bytes/other", Reference::Digest(Digest::sha256(json.as_bytes()))).await;
    assert_eq!(index.collect_blobs(&name("hold/bytes/other"), assumed).await.unwrap(), 1);
    assert_eq!(index.doomed(None, 10).await.unwrap(), [(at(&shared), shared.size)]);
    index.buried(vec![at(&shared)]).await.unwrap();
}

/// Places of deleted rows are used again by some engines: a verdict must not come to be about other content.
pub(super) async fn a_verdict_is_about_content(index: &dyn Index) {
    let repository = "hold/verdict";
    let unnamed = push(index, repository, b"unnamed").await;
    let blobs = index.unnamed_blobs(&name(repository), vec![], 0, 10).await.unwrap();
    index.delete_blob(&name(repository), &unnamed.sha256, &actor()).await.unwrap();
    index.buried(vec![at(&unnamed)]).await.unwrap();
    push(index, repository, b"named").await;
    put(index, repository, &image(&["named"], None), &["x"]).await;
    assert_eq!(index.collect_blobs(&name(repository), blobs).await.unwrap(), 0);
    assert!(index.blob(&name(repository), &Digest::sha256(b"named")).await.unwrap().is_some());

    let digest = put(index, repository, &image(&[], Some("old")), &[]).await;
    let manifests = unheld(index, repository).await;
    delete(index, repository, Reference::Digest(digest)).await;
    let digest = put(index, repository, &image(&[], Some("new")), &[]).await;
    assert_eq!(index.collect_manifests(&name(repository), manifests).await.unwrap(), 0);
    assert!(has(index, repository, digest).await);
}

pub(super) async fn a_layer_list_that_is_an_index_holds_its_blobs(index: &dyn Index) {
    let repository = "hold/cache";
    push(index, repository, b"cache layer").await;
    put(index, repository, &list("application/vnd.oci.image.layer.v1.tar+gzip", &["cache layer"]), &["x"]).await;
    assert_eq!(index.unnamed_blobs(&name(repository), vec![], 0, 10).await.unwrap(), []);
}

pub(super) async fn empty_repositories_are_forgotten(index: &dyn Index) {
    let repository = name("hold/empty");
    let digest = put(index, repository.as_str(), &image(&[], None), &["x"]).await;
    let due = async || index.collectable_repositories(Some(Timestamp::now()), None, 1_000).await.unwrap().contains(&repository);
    assert!(due().await);
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    index.collected(&repository, Timestamp::now(), None, 0).await.unwrap();
    assert!(index.repository_exists(&repository).await.unwrap() && !due().await);
    delete(index, repository.as_str(), Reference::Digest(digest)).await;
    assert!(due().await, "a change makes the collector look again");
    index.collected(&repository, Timestamp::now().before(std::time::Duration::from_secs(60)), None, 0).await.unwrap();
    assert!(!index.repository_exists(&repository).await.unwrap());
}

pub(super) async fn an_untagged_index_gives_its_children_new_time(index: &dyn Index) {
    let repository = "hold/renew";
    let child = image(&[], None);
    let digest = put(index, repository, &child, &[]).await;
    let old = unheld(index, repository).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let parent = put(index, repository, &list(media_type::OCI_MANIFEST, &[&child]), &[]).await;
    assert_eq!(index.collect_manifests(&name(repository), old.clone()).await.unwrap(), 0, "the index was pushed meanwhile");
    let new = unheld(index, repository).await;
    let since = |digest| new.iter().find(|manifest| manifest.sha256 == digest).unwrap().since;
    assert!(since(digest) >= since(parent) && since(digest) > old[0].since);
    assert_eq!(index.collect_manifests(&name(repository), new).await.unwrap(), 2);
}

pub(super) async fn a_refused_push_leaves_no_repository(index: &dyn Index) {
    let new = super::content::manifest("hold/refused", &image(&["no such blob"], None), &["x"]);
    assert!(matches!(index.put_manifest(new).await.unwrap(), crate::PutOutcome::Missing(_)));
    assert!(!index.repository_exists(&name("hold/refused")).await.unwrap());
}
