//! Duties of an index towards blobs, and what the other suites use to make content.

use std::sync::Arc;

use bytes::Bytes;
use wharf_oci::{Algorithm, Digest, Manifest, Reference, RepositoryName, Tag, media_type};

use crate::{BlobDeletion, BlobRecord, Condition, Index, Location, NewBlob, NewManifest, Place, PutOutcome, Timestamp};

pub(super) fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

pub(super) fn tag(text: &str) -> Reference {
    Reference::Tag(text.parse().unwrap())
}

pub(super) fn actor() -> Arc<str> {
    "tester".into()
}

/// Links a blob with this content, at a new place.
pub(super) async fn push(index: &dyn Index, repository: &str, content: &[u8]) -> BlobRecord {
    let sha512 = Digest::of(Algorithm::Sha512, content);
    let blob = NewBlob {
        repository: name(repository),
        sha256: Digest::sha256(content),
        alias: content.starts_with(b"512").then_some(sha512),
        size: content.len() as u64,
        place: Place::Store(Location(uuid::Uuid::new_v4().to_string())),
        upload: None,
        actor: actor(),
        origin: None,
    };
    index.commit_blob(blob).await.unwrap()
}

/// Where an object is.
pub(super) fn at(record: &BlobRecord) -> Location {
    record.place.location().unwrap().clone()
}

/// A manifest of this text.
pub(super) fn manifest(repository: &str, json: &str, tags: &[&str]) -> NewManifest {
    let bytes = Bytes::copy_from_slice(json.as_bytes());
    NewManifest {
        repository: name(repository),
        manifest: Arc::new(Manifest::parse(&bytes, "").unwrap()),
        sha256: Digest::sha256(&bytes),
        sha512: Digest::of(Algorithm::Sha512, &bytes),
        bytes,
        tags: tags.iter().map(|tag| tag.parse::<Tag>().unwrap()).collect(),
        conditions: Vec::new(),
        sparse: false,
        actor: actor(),
        origin: None,
    }
}

fn entry(kind: &str, content: &[u8]) -> String {
    format!(r#"{{"mediaType":"{kind}","digest":"{}","size":{}}}"#, Digest::sha256(content), content.len())
}

/// JSON of an image over blobs with these contents; `subject` is the text of another manifest.
pub(super) fn image(contents: &[&str], subject: Option<&str>) -> String {
    let layers: Vec<_> = contents.iter().map(|content| entry("application/x", content.as_bytes())).collect();
    let subject =
        subject.map(|text| format!(r#","subject":{}"#, entry(media_type::OCI_MANIFEST, text.as_bytes()))).unwrap_or_default();
    let kind = "application/vnd.test.image+json";
    format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","layers":[{}]{subject}}}"#, layers.join(","))
}

/// JSON of an image that names these digests, whatever they are of; `subject` likewise.
pub(super) fn image_naming(digests: &[Digest], subject: Option<&Digest>) -> String {
    let entry = |digest: &Digest| format!(r#"{{"mediaType":"application/x","digest":"{digest}","size":1}}"#);
    let layers: Vec<_> = digests.iter().map(entry).collect();
    let subject = subject.map(|digest| format!(r#","subject":{}"#, entry(digest))).unwrap_or_default();
    let kind = "application/vnd.test.image+json";
    format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","layers":[{}]{subject}}}"#, layers.join(","))
}

/// JSON of an index over manifests with these texts.
pub(super) fn list(kind: &str, texts: &[&str]) -> String {
    let children: Vec<_> = texts.iter().map(|text| entry(kind, text.as_bytes())).collect();
    format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#, media_type::OCI_INDEX, children.join(","))
}

pub(super) async fn put(index: &dyn Index, repository: &str, json: &str, tags: &[&str]) -> Digest {
    let new = manifest(repository, json, tags);
    let digest = new.sha256;
    assert_eq!(index.put_manifest(new).await.unwrap(), PutOutcome::Stored);
    digest
}

pub(super) async fn put_if(index: &dyn Index, repository: &str, json: &str, tags: &[&str], condition: Condition) -> PutOutcome {
    index.put_manifest(NewManifest { conditions: vec![condition], ..manifest(repository, json, tags) }).await.unwrap()
}

pub(super) async fn has(index: &dyn Index, repository: &str, digest: Digest) -> bool {
    index.manifest(&name(repository), &Reference::Digest(digest)).await.unwrap().is_some()
}

pub(super) async fn a_blob_belongs_to_the_repositories_it_was_linked_into(index: &dyn Index) {
    let content = b"512 content";
    let record = push(index, "blob/here", content).await;
    for digest in [Digest::sha256(content), Digest::of(Algorithm::Sha512, content)] {
        assert_eq!(index.blob(&name("blob/here"), &digest).await.unwrap(), Some(record.clone()));
        assert_eq!(index.blob(&name("blob/there"), &digest).await.unwrap(), None);
    }
    assert!(index.repository_exists(&name("blob/here")).await.unwrap());
    assert!(!index.repository_exists(&name("blob/there")).await.unwrap());
    assert_eq!(index.delete_blob(&name("blob/there"), &record.sha256, &actor()).await.unwrap(), BlobDeletion::Unknown);
    assert_eq!(
        index.delete_blob(&name("blob/here"), &record.sha256, &actor()).await.unwrap(),
        BlobDeletion::Deleted { digests: vec![record.sha256, Digest::of(Algorithm::Sha512, content)] }
    );
    assert_eq!(index.blob(&name("blob/here"), &record.sha256).await.unwrap(), None);
    assert_eq!(index.delete_blob(&name("blob/here"), &record.sha256, &actor()).await.unwrap(), BlobDeletion::Unknown);
    assert!(index.doomed(None, 100).await.unwrap().contains(&(at(&record), record.size)));
    index.buried(vec![at(&record)]).await.unwrap();
}

pub(super) async fn the_same_content_is_kept_once(index: &dyn Index) {
    let first = push(index, "same/a", b"same").await;
    let again = push(index, "same/a", b"same").await;
    let other = push(index, "same/b", b"same").await;
    assert_eq!((&again, &other), (&first, &first), "the older place stays");
    index.delete_blob(&name("same/a"), &first.sha256, &actor()).await.unwrap();
    assert!(index.doomed(None, 100).await.unwrap().is_empty(), "another repository holds it");
    assert!(index.blob(&name("same/b"), &first.sha256).await.unwrap().is_some());
    index.delete_blob(&name("same/b"), &first.sha256, &actor()).await.unwrap();
    assert_eq!(index.doomed(None, 100).await.unwrap(), [(at(&first), 4)]);
    index.buried(vec![at(&first)]).await.unwrap();
    assert!(index.doomed(None, 100).await.unwrap().is_empty());
}

pub(super) async fn a_damaged_blob_is_refused_until_it_is_pushed_again(index: &dyn Index) {
    let bad = push(index, "damaged", b"damaged").await;
    index.damaged(&bad).await.unwrap();
    assert_eq!(index.blob(&name("damaged"), &bad.sha256).await.unwrap(), None);
    assert_eq!(index.mount(&name("damaged/b"), &bad.sha256, None, &actor()).await.unwrap(), None);
    let new = manifest("damaged", &image(&["damaged"], None), &["x"]);
    assert_eq!(index.put_manifest(new).await.unwrap(), PutOutcome::Missing(vec![bad.sha256]));
    let healed = push(index, "damaged", b"damaged").await;
    assert_ne!(healed.place, bad.place);
    index.damaged(&bad).await.unwrap();
    assert_eq!(index.blob(&name("damaged"), &bad.sha256).await.unwrap(), Some(healed.clone()), "only the old place was bad");
    let unverified = index.unverified(crate::Timestamp(i64::MAX), 100).await.unwrap();
    assert_eq!(unverified, std::slice::from_ref(&healed));
    index.delete_blob(&name("damaged"), &healed.sha256, &actor()).await.unwrap();
    index.buried(vec![at(&healed)]).await.unwrap();
}

pub(super) async fn few_bytes_may_be_kept_in_the_index(index: &dyn Index) {
    let content = b"few";
    let digest = Digest::sha256(content);
    let new = |place| NewBlob {
        repository: name("few"),
        sha256: digest,
        alias: None,
        size: content.len() as u64,
        place,
        upload: None,
        actor: actor(),
        origin: None,
    };
    let inside = Place::Index(Bytes::from_static(content));
    let blob = async || index.blob(&name("few"), &digest).await.unwrap().map(|record| record.place);
    let record = index.commit_blob(new(inside.clone())).await.unwrap();
    assert_eq!(record.place, inside);
    assert_eq!(blob().await, Some(inside.clone()));
    let object = Place::Store(Location(uuid::Uuid::new_v4().to_string()));
    assert_eq!(index.commit_blob(new(object.clone())).await.unwrap().place, inside, "it is kept once");
    assert_eq!(index.mount(&name("few/mounted"), &digest, None, &actor()).await.unwrap().unwrap().place, inside);
    assert!(index.unverified(Timestamp(i64::MAX), 1_000).await.unwrap().contains(&record));
    index.verified(&record).await.unwrap();

    index.damaged(&record).await.unwrap();
    assert_eq!(blob().await, None);
    assert_eq!(index.commit_blob(new(object.clone())).await.unwrap().place, object, "what is pushed again takes its place");
    let healed = index.blob(&name("few"), &digest).await.unwrap().unwrap();
    assert_eq!(healed.place, object);
    index.damaged(&healed).await.unwrap();
    assert_eq!(index.commit_blob(new(inside.clone())).await.unwrap().place, inside);
    assert_eq!(blob().await, Some(inside));
    for repository in ["few", "few/mounted"] {
        let deletion = index.delete_blob(&name(repository), &digest, &actor()).await.unwrap();
        assert!(matches!(deletion, BlobDeletion::Deleted { .. }));
    }
    assert!(index.doomed(None, 100).await.unwrap().is_empty(), "there is no object to delete");
    assert_eq!(blob().await, None);
}

pub(super) async fn a_mount_needs_a_holder(index: &dyn Index) {
    let record = push(index, "mount/a", b"mount").await;
    let digest = record.sha256;
    let mount = async |to: &str, from: Option<&str>| {
        let from = from.map(name);
        index.mount(&name(to), &digest, from.as_ref(), &actor()).await.unwrap()
    };
    assert_eq!(mount("mount/b", Some("mount/none")).await, None);
    assert_eq!(mount("mount/b", Some("mount/a")).await, Some(record.clone()));
    assert_eq!(mount("mount/c", None).await, Some(record.clone()));
    let holders = async |limit| index.holders(&digest, limit).await.unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(holders(9).await, ["mount/a", "mount/b", "mount/c"]);
    assert_eq!(holders(2).await, ["mount/a", "mount/b"]);
    assert_eq!(index.holders(&Digest::sha256(b"nobody's"), 9).await.unwrap(), []);
    for repository in ["mount/a", "mount/b", "mount/c"] {
        assert_eq!(index.blob(&name(repository), &digest).await.unwrap(), Some(record.clone()));
        index.delete_blob(&name(repository), &digest, &actor()).await.unwrap();
    }
    assert_eq!(mount("mount/d", None).await, None);
    index.buried(vec![at(&record)]).await.unwrap();
}

pub(super) async fn a_named_blob_is_not_deleted(index: &dyn Index) {
    let named = push(index, "named", b"named").await;
    let digest = put(index, "named", &image(&["named"], None), &[]).await;
    assert_eq!(index.delete_blob(&name("named"), &named.sha256, &actor()).await.unwrap(), BlobDeletion::InUse);
    index.delete_manifest(&name("named"), &Reference::Digest(digest), &actor()).await.unwrap();
    assert_eq!(
        index.delete_blob(&name("named"), &named.sha256, &actor()).await.unwrap(),
        BlobDeletion::Deleted { digests: vec![named.sha256] }
    );
    index.buried(vec![at(&named)]).await.unwrap();
}
