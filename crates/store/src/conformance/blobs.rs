//! Duties of a blob store.

use bytes::Bytes;

use crate::{BlobStore, Content, Location, Timestamp};

async fn read(content: Content) -> Bytes {
    match content {
        Content::Memory(bytes) => bytes,
        Content::File { file, size } => {
            let mut bytes = vec![0; usize::try_from(size).unwrap()];
            std::os::unix::fs::FileExt::read_exact_at(&*file, &mut bytes, 0).unwrap();
            bytes.into()
        }
    }
}

pub(super) async fn write(store: &dyn BlobStore, pieces: &[&[u8]]) -> Location {
    let location = store.allocate();
    let mut staging = store.stage(&location, 0).await.unwrap().unwrap();
    for piece in pieces {
        staging.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    staging.sync().await.unwrap();
    location
}

async fn delete(store: &dyn BlobStore, locations: &[&Location]) {
    let left = store.delete(locations.iter().map(|location| (*location).clone()).collect()).await.unwrap();
    assert!(left.is_empty(), "{left:?} could not be deleted");
}

pub(super) async fn what_was_synced_is_read(store: &dyn BlobStore) {
    let empty = write(store, &[]).await;
    let whole = write(store, &[b"one", b"", b"two", &[7; 300_000]]).await;
    let expected = [b"onetwo".as_slice(), &[7; 300_000]].concat();
    assert_eq!(read(store.open(&empty, 0).await.unwrap().unwrap()).await, Bytes::new());
    assert!(read(store.open(&whole, 300_006).await.unwrap().unwrap()).await == expected);
    delete(store, &[&empty, &whole]).await;
}

pub(super) async fn a_wrong_length_is_refused(store: &dyn BlobStore) {
    let location = write(store, &[b"content"]).await;
    assert!(store.open(&location, 6).await.unwrap().is_none());
    assert!(store.open(&location, 8).await.unwrap().is_none());
    assert!(store.open(&store.allocate(), 0).await.unwrap().is_none(), "nothing was written there");
    delete(store, &[&location]).await;
}

pub(super) async fn a_staged_blob_goes_on_after_what_was_synced(store: &dyn BlobStore) {
    let location = store.allocate();
    let mut staging = store.stage(&location, 0).await.unwrap().unwrap();
    staging.write("synced".into()).await.unwrap();
    staging.sync().await.unwrap();
    staging.write("lost".into()).await.unwrap();
    drop(staging);
    let mut staging = store.stage(&location, 6).await.unwrap().unwrap();
    staging.write(" and more".into()).await.unwrap();
    staging.sync().await.unwrap();
    let seen = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let feed = seen.clone();
    staging.read_back(Box::new(move |bytes| feed.lock().extend_from_slice(bytes))).await.unwrap();
    assert_eq!(*seen.lock(), b"synced and more");
    assert_eq!(read(store.open(&location, 15).await.unwrap().unwrap()).await, "synced and more");
    assert!(store.stage(&location, 16).await.unwrap().is_none(), "more than was ever written");
    delete(store, &[&location]).await;
    assert!(store.stage(&location, 1).await.unwrap().is_none(), "it was deleted");
}

pub(super) async fn deleting_is_final_and_repeatable(store: &dyn BlobStore) {
    let (gone, stays) = (write(store, &[b"a"]).await, write(store, &[b"b"]).await);
    let unfinished = store.allocate();
    let mut staging = store.stage(&unfinished, 0).await.unwrap().unwrap();
    staging.write("half".into()).await.unwrap();
    delete(store, &[&gone, &unfinished, &gone]).await;
    drop(staging);
    delete(store, &[&gone, &store.allocate()]).await;
    assert!(store.open(&gone, 1).await.unwrap().is_none());
    assert!(store.open(&unfinished, 4).await.unwrap().is_none());
    assert_eq!(read(store.open(&stays, 1).await.unwrap().unwrap()).await, "b");
    delete(store, &[&stays]).await;
}

/// A long upload is synced more than once on its way.
pub(super) async fn what_is_written_after_a_sync_is_synced_with_the_next(store: &dyn BlobStore) {
    let location = store.allocate();
    let mut staging = store.stage(&location, 0).await.unwrap().unwrap();
    let mut expected = Vec::new();
    for piece in [vec![1; 100_000], b"two".to_vec(), Vec::new(), vec![4; 9 << 20]] {
        staging.write(piece.clone().into()).await.unwrap();
        staging.sync().await.unwrap();
        expected.extend(piece);
    }
    staging.sync().await.unwrap();
    drop(staging);
    assert!(read(store.open(&location, expected.len() as u64).await.unwrap().unwrap()).await == expected);
    // And one that goes on with what another left synced ends as any other.
    let mut staging = store.stage(&location, 100_003).await.unwrap().unwrap();
    staging.write("end".into()).await.unwrap();
    staging.sync().await.unwrap();
    let content = read(store.open(&location, 100_006).await.unwrap().unwrap()).await;
    assert!(content[..100_003] == expected[..100_003] && content[100_003..] == *b"end");
    delete(store, &[&location]).await;
}

/// An upload whose bytes are not to be trusted begins anew at the same place: nothing of the first attempt is left.
pub(super) async fn a_blob_that_begins_anew_is_the_new_one_alone(store: &dyn BlobStore) {
    for is_synced in [true, false] {
        let location = store.allocate();
        let mut staging = store.stage(&location, 0).await.unwrap().unwrap();
        staging.write("the first and longer attempt".into()).await.unwrap();
        if is_synced {
            staging.sync().await.unwrap();
        }
        drop(staging);
        let mut staging = store.stage(&location, 0).await.unwrap().unwrap();
        staging.write("second".into()).await.unwrap();
        staging.sync().await.unwrap();
        drop(staging);
        assert!(store.open(&location, 28).await.unwrap().is_none());
        assert_eq!(read(store.open(&location, 6).await.unwrap().unwrap()).await, "second");
        delete(store, &[&location]).await;
    }
}

/// Who opens while somebody deletes has all of it or nothing, and neither of them fails.
pub(super) async fn an_object_is_whole_or_gone_while_it_is_deleted(store: &dyn BlobStore) {
    let expected = vec![9; 100_000];
    for _ in 0..50 {
        let location = write(store, &[&expected]).await;
        let open = async || store.open(&location, 100_000).await.unwrap();
        let this = [&location];
        let (before, (), between, after) = tokio::join!(open(), delete(store, &this), open(), open());
        for content in [before, between, after].into_iter().flatten() {
            assert!(read(content).await == expected);
        }
        assert!(open().await.is_none());
    }
}

/// Deleting many places of which some were never written removes the others.
pub(super) async fn places_without_an_object_do_not_keep_others_from_being_deleted(store: &dyn BlobStore) {
    let written = [write(store, &[b"a"]).await, write(store, &[b"b"]).await];
    let never = [store.allocate(), store.allocate(), store.allocate()];
    delete(store, &[&never[0], &written[0], &never[1], &written[1], &never[2]]).await;
    delete(store, &[]).await;
    for location in written.iter().chain(&never) {
        assert!(store.open(location, 1).await.unwrap().is_none());
        assert!(store.stage(location, 1).await.unwrap().is_none());
    }
}

pub(super) async fn places_are_never_the_same(store: &dyn BlobStore) {
    let places: std::collections::HashSet<_> = (0..5_000).map(|_| store.allocate()).collect();
    assert_eq!(places.len(), 5_000);
}

pub(super) async fn quarantined_content_is_gone(store: &dyn BlobStore) {
    let location = write(store, &[b"bad"]).await;
    store.quarantine(&location).await.unwrap();
    assert!(store.open(&location, 3).await.unwrap().is_none());
    assert_eq!(all(store).await, []);
    store.quarantine(&location).await.unwrap();
}

/// Every object made before `before`.
async fn scan(store: &dyn BlobStore, before: Timestamp) -> Vec<Location> {
    let (mut found, mut from) = (Vec::new(), Some(String::new()));
    while let Some(at) = from {
        let (page, next) = store.scan(before, at).await.unwrap();
        found.extend(page);
        from = next;
    }
    found.sort();
    found
}

async fn all(store: &dyn BlobStore) -> Vec<Location> {
    scan(store, Timestamp::now().after(std::time::Duration::from_secs(86_400))).await
}

pub(super) async fn a_scan_finds_every_object(store: &dyn BlobStore) {
    let mut written = Vec::new();
    for _ in 0..20 {
        written.push(write(store, &[b"x"]).await);
    }
    written.sort();
    assert_eq!(all(store).await, written);
    assert_eq!(scan(store, Timestamp(0)).await, [], "all of them are younger");
    delete(store, &written.iter().collect::<Vec<_>>()).await;
}

pub(super) async fn nothing_is_left(store: &dyn BlobStore) {
    assert_eq!(all(store).await, []);
}
