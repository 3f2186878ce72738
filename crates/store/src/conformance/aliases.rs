//! Duties of an index towards content that is named by SHA-512: it is the same content, held and found as by its SHA-256.

use wharf_oci::{Algorithm, Digest, Reference};

use super::content::{actor, at, image, image_naming, manifest, name, push, put};
use crate::{BlobDeletion, BlobRecord, Index, Location, NewBlob, Place, PutOutcome};

fn sha512(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha512, content)
}

/// Links content into a repository as a push by SHA-512 does, whatever its first bytes.
async fn push_by_sha512(index: &dyn Index, repository: &str, content: &[u8]) -> BlobRecord {
    let blob = NewBlob {
        repository: name(repository),
        sha256: Digest::sha256(content),
        alias: Some(sha512(content)),
        size: content.len() as u64,
        place: Place::Store(Location(uuid::Uuid::new_v4().to_string())),
        upload: None,
        actor: actor(),
        origin: None,
    };
    index.commit_blob(blob).await.unwrap()
}

async fn delete(index: &dyn Index, repository: &str, digest: &Digest) -> BlobDeletion {
    index.delete_blob(&name(repository), digest, &actor()).await.unwrap()
}

/// A manifest that names a blob by its SHA-512 keeps it from everybody who would remove it.
pub(super) async fn a_blob_is_held_by_either_digest(index: &dyn Index) {
    let (repository, content) = ("alias/held", b"512 held".as_slice());
    let record = push(index, repository, content).await;
    let unnamed = async || index.unnamed_blobs(&name(repository), vec![], 0, 10).await.unwrap();
    let before = unnamed().await;
    assert_eq!(before.len(), 1);
    assert_eq!(before[0].digests, [record.sha256, sha512(content)]);
    let digest = put(index, repository, &image_naming(&[sha512(content)], None), &["x"]).await;
    for name in [record.sha256, sha512(content)] {
        assert_eq!(delete(index, repository, &name).await, BlobDeletion::InUse);
    }
    assert_eq!(unnamed().await, []);
    assert_eq!(index.collect_blobs(&name(repository), before.clone()).await.unwrap(), 0);
    assert_eq!(index.blob(&name(repository), &sha512(content)).await.unwrap(), Some(record.clone()));
    index.delete_manifest(&name(repository), &Reference::Digest(digest), &actor()).await.unwrap();
    assert_eq!(unnamed().await, before);
    assert_eq!(index.collect_blobs(&name(repository), before).await.unwrap(), 1);
    assert_eq!(index.blob(&name(repository), &sha512(content)).await.unwrap(), None, "the alias goes with the blob");
    assert_eq!(index.doomed(None, 10).await.unwrap(), [(at(&record), record.size)]);
    index.buried(vec![at(&record)]).await.unwrap();
}

/// Content that is pushed once more, by its SHA-512 this time, is known by both from then on, in every repository that holds it.
pub(super) async fn a_second_push_may_add_a_name(index: &dyn Index) {
    let content = b"pushed by SHA-256 first";
    let first = push(index, "alias/added", content).await;
    assert_eq!(index.blob(&name("alias/added"), &sha512(content)).await.unwrap(), None, "nobody has worked it out");
    let missing = manifest("alias/added", &image_naming(&[sha512(content)], None), &["x"]);
    assert_eq!(index.put_manifest(missing.clone()).await.unwrap(), PutOutcome::Missing(vec![sha512(content)]));
    assert_eq!(push_by_sha512(index, "alias/added/too", content).await, first);
    assert_eq!(push_by_sha512(index, "alias/added/too", content).await, first);
    assert_eq!(index.blob(&name("alias/added"), &sha512(content)).await.unwrap(), Some(first.clone()));
    assert_eq!(index.put_manifest(missing).await.unwrap(), PutOutcome::Stored);
    assert_eq!(delete(index, "alias/added", &first.sha256).await, BlobDeletion::InUse);
    let both = BlobDeletion::Deleted { digests: vec![first.sha256, sha512(content)] };
    assert_eq!(delete(index, "alias/added/too", &sha512(content)).await, both, "nobody names it there");
    assert_eq!(index.doomed(None, 10).await.unwrap(), []);
}

/// A name that the content got after the collector's look at it: whoever pushed by that name was told that it is there, and no lease on the names of before says so.
pub(super) async fn a_name_added_after_the_verdict_saves_a_blob(index: &dyn Index) {
    let (repository, content) = ("alias/saved", b"looked at under one name".as_slice());
    let record = push(index, repository, content).await;
    let verdict = index.unnamed_blobs(&name(repository), vec![], 0, 10).await.unwrap();
    assert_eq!(verdict.len(), 1);
    push_by_sha512(index, repository, content).await;
    assert_eq!(index.collect_blobs(&name(repository), verdict).await.unwrap(), 0);
    assert_eq!(index.blob(&name(repository), &sha512(content)).await.unwrap(), Some(record.clone()));
    let verdict = index.unnamed_blobs(&name(repository), vec![], 0, 10).await.unwrap();
    assert_eq!(index.collect_blobs(&name(repository), verdict).await.unwrap(), 1, "the next look knows it");
    index.buried(vec![at(&record)]).await.unwrap();
}

/// A mount may name the content by its SHA-512; the holder it names must hold it.
pub(super) async fn a_blob_is_mounted_by_either_digest(index: &dyn Index) {
    let content = b"512 mounted";
    let record = push(index, "alias/mount", content).await;
    let mount = async |to: &str, from: Option<&str>| {
        let from = from.map(name);
        index.mount(&name(to), &sha512(content), from.as_ref(), &actor()).await.unwrap()
    };
    assert_eq!(mount("alias/mount/a", Some("alias/none")).await, None);
    for (to, from) in [("alias/mount/a", Some("alias/mount")), ("alias/mount/b", None)] {
        assert_eq!(mount(to, from).await, Some(record.clone()));
        for digest in [record.sha256, sha512(content)] {
            assert_eq!(index.blob(&name(to), &digest).await.unwrap(), Some(record.clone()));
        }
    }
    for repository in ["alias/mount", "alias/mount/a", "alias/mount/b"] {
        assert!(matches!(delete(index, repository, &sha512(content)).await, BlobDeletion::Deleted { .. }));
    }
    assert_eq!(mount("alias/mount/c", None).await, None);
    index.buried(vec![at(&record)]).await.unwrap();
}

/// Children and subjects that are named by their SHA-512 hold, and are held, as any other.
pub(super) async fn manifests_hold_by_either_digest(index: &dyn Index) {
    let repository = "alias/manifests";
    let digests = |text: &str| (Digest::sha256(text.as_bytes()), sha512(text.as_bytes()));
    let child = image(&[], None);
    let kind = wharf_oci::media_type::OCI_INDEX;
    let parent = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[{{"mediaType":"{}","digest":"{}","size":{}}}]}}"#,
        wharf_oci::media_type::OCI_MANIFEST,
        digests(&child).1,
        child.len()
    );
    let missing = manifest(repository, &parent, &["x"]);
    assert_eq!(index.put_manifest(missing).await.unwrap(), PutOutcome::Missing(vec![digests(&child).1]));
    // About the child, and about what is about it.
    let about = image_naming(&[], Some(&digests(&child).1));
    let about_that = image_naming(&[], Some(&digests(&about).1));
    let all = [&child, &parent, &about, &about_that];
    for text in [&about_that, &about, &child] {
        put(index, repository, text, &[]).await;
    }
    let unheld = async || index.unheld_manifests(&name(repository), false).await.unwrap();
    assert_eq!(unheld().await.len(), 3);
    let verdict = unheld().await;
    put(index, repository, &parent, &["x"]).await;
    assert_eq!(unheld().await, [], "a tag holds all of it");
    assert_eq!(index.collect_manifests(&name(repository), verdict).await.unwrap(), 0);
    let referrers = async |subject| {
        let page = index.referrers(&name(repository), &subject, None, None, 10, 1 << 20).await.unwrap();
        page.items.iter().map(|referrer| referrer.digest).collect::<Vec<_>>()
    };
    assert_eq!(referrers(digests(&child).1).await, [digests(&about).0], "a referrer is listed by the digest that it names");

    index
        .delete_manifest(&name(repository), &"x".parse::<wharf_oci::Tag>().map(Reference::Tag).unwrap(), &actor())
        .await
        .unwrap();
    let verdict = unheld().await;
    assert_eq!(verdict.len(), 4, "and without it all of it goes");
    let since = verdict.iter().find(|unheld| unheld.sha256 == digests(&parent).0).unwrap().since;
    assert!(verdict.iter().all(|unheld| unheld.since >= since), "no longer ago than the tag");
    assert_eq!(index.collect_manifests(&name(repository), verdict).await.unwrap(), 4);
    for text in all {
        for digest in [digests(text).0, digests(text).1] {
            assert_eq!(index.manifest(&name(repository), &Reference::Digest(digest)).await.unwrap(), None);
        }
    }
}
