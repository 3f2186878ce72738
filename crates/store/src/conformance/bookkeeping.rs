//! Duties of an index towards those who go through all of it, a page at a time, and towards its sums and times.

use std::time::Duration;

use wharf_oci::{Digest, Reference, RepositoryName};

use super::content::{actor, at, image, image_naming, name, push, put, tag};
use super::uploads::row;
use crate::{BlobDeletion, Index, Location, Timestamp, Totals};

const LATER: Timestamp = Timestamp(i64::MAX);

/// Long enough for the next time to be another one.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(3)).await;
}

/// No locale has a say: `-` comes before `.`, this before `/`, digits, capitals, `_` and small letters, in catalog, tags and the collector's list.
pub(super) async fn names_are_in_byte_order(index: &dyn Index) {
    let repositories = ["order", "order-z", "order.a", "order/b", "order/b-a", "order/b/a", "order0", "order_a", "ordera"];
    let tags = ["0", "1.10", "1.9", "1_0", "A", "B", "B-a", "B.a", "Ba", "_", "_a", "a", "a-b", "aB", "aa", "b"];
    for repository in repositories.iter().rev() {
        put(index, repository, &image(&[], None), &[]).await;
    }
    put(index, "order", &image(&[], None), &tags.iter().rev().copied().collect::<Vec<_>>()).await;
    let mut after = "ordeq".to_owned();
    for repository in repositories {
        let page = index.repositories(Some(&after), 1).await.unwrap();
        assert_eq!(page.items, [repository], "after {after}");
        after = repository.to_owned();
    }
    let mut after = None;
    for tag in tags {
        let page = index.tags(&name("order"), after, 1).await.unwrap().unwrap();
        assert_eq!((page.items, page.more), (vec![tag.to_owned()], tag != "b"), "after {after:?}");
        after = Some(tag);
    }
    let mut after = name("ordeq");
    for repository in repositories {
        let page = index.collectable_repositories(None, Some(&after), 1).await.unwrap();
        assert_eq!(page, [name(repository)], "after {after}");
        after = name(repository);
    }
}

/// What was not verified for the longest time comes first, and goes to the end once it was.
pub(super) async fn what_waits_longest_is_verified_first(index: &dyn Index) {
    let mut records = Vec::new();
    for content in [b"verify c", b"verify a", b"verify b"] {
        records.push(push(index, "verify", content).await);
        a_moment().await;
    }
    let between = async |before, limit| {
        let found = index.unverified(before, limit).await.unwrap();
        found.into_iter().filter(|record| records.contains(record)).collect::<Vec<_>>()
    };
    assert_eq!(between(LATER, 100_000).await, records);
    a_moment().await;
    let before = Timestamp::now();
    index.verified(&records[0]).await.unwrap();
    assert_eq!(between(LATER, 100_000).await, [&records[1], &records[2], &records[0]].map(Clone::clone));
    assert_eq!(between(before, 100_000).await, records[1..]);
    let all = index.unverified(LATER, 100_000).await.unwrap();
    assert_eq!(index.unverified(LATER, all.len() - 1).await.unwrap(), all[..all.len() - 1]);
    for record in records {
        index.delete_blob(&name("verify"), &record.sha256, &actor()).await.unwrap();
        index.buried(vec![at(&record)]).await.unwrap();
    }
}

/// Sessions that stand still for the longest time come first.
pub(super) async fn what_is_idle_longest_expires_first(index: &dyn Index) {
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for seconds in [20, 40, 10, 30] {
        let mut row = row("idle");
        row.progressed = now.before(Duration::from_secs(seconds));
        index.open_upload(row.clone()).await.unwrap();
        rows.push(row);
    }
    rows.sort_by_key(|row| row.progressed);
    assert_eq!(index.open_uploads().await.unwrap(), 4);
    assert_eq!(index.idle_uploads(now, 10).await.unwrap(), rows);
    assert_eq!(index.idle_uploads(now, 3).await.unwrap(), rows[..3]);
    assert_eq!(index.idle_uploads(rows[2].progressed, 10).await.unwrap(), rows[..2], "before, and not at");
    let mut late = rows.remove(0);
    late.progressed = now.before(Duration::from_secs(1));
    index.save_upload(late.clone()).await.unwrap();
    rows.push(late);
    assert_eq!(index.idle_uploads(now, 10).await.unwrap(), rows);
    assert_eq!(index.uploading(now.after(Duration::from_secs(1)), Timestamp(0)).await.unwrap(), [name("idle")], "named once");
    for row in rows {
        assert!(index.delete_upload(row.id).await.unwrap());
    }
    assert_eq!(index.open_uploads().await.unwrap(), 0);
}

/// What the collector goes through comes in pages that together hold everything once, and what is deleted between two pages moves nothing.
pub(super) async fn the_collector_sees_everything_once(index: &dyn Index) {
    let repository = name("paging");
    let mut records = Vec::new();
    for number in 0..7 {
        records.push(push(index, "paging", format!("paging {number}").as_bytes()).await);
    }
    let named = records.remove(3);
    put(index, "paging", &image(&["paging 3"], None), &["x"]).await;
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let page = index.unnamed_blobs(&repository, vec![], after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2 && page[0].id > after && page.windows(2).all(|pair| pair[0].id < pair[1].id));
        after = last.id;
        assert_eq!(index.collect_blobs(&repository, page.clone()).await.unwrap(), page.len() as u64);
        found.extend(page.into_iter().map(|blob| blob.digests[0]));
    }
    let digests: Vec<_> = records.iter().map(|record| record.sha256).collect();
    assert_eq!(found.len(), digests.len());
    assert!(digests.iter().all(|digest| found.contains(digest)));
    assert_eq!(index.blob(&repository, &named.sha256).await.unwrap(), Some(named));

    let mut doomed: Vec<_> = records.iter().map(|record| (at(record), record.size)).collect();
    doomed.sort();
    let (mut found, mut after): (_, Option<Location>) = (Vec::new(), None);
    loop {
        let page = index.doomed(after.as_ref(), 4).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        // Taken off the list meanwhile, as the collector does.
        index.buried(vec![page[0].0.clone()]).await.unwrap();
        found.extend(page);
    }
    assert_eq!(found, doomed, "in order of their places");
    index.buried(doomed.into_iter().map(|(location, _)| location).collect()).await.unwrap();
    assert_eq!(index.doomed(None, 10).await.unwrap(), []);
}

/// A repository is looked at again when its time has come, or when something changed in it since the look began.
pub(super) async fn a_look_is_due_when_it_was_said_or_something_changed(index: &dyn Index) {
    let repository = name("due");
    put(index, "due", &image(&[], None), &["x"]).await;
    let now = Timestamp::now();
    let (soon, earlier) = (now.after(Duration::from_secs(60)), now.after(Duration::from_secs(59)));
    let due = async |at: Option<Timestamp>| {
        let after: RepositoryName = name("dud");
        index.collectable_repositories(at, Some(&after), 1).await.unwrap() == [repository.clone()]
    };
    assert!(due(Some(now)).await && due(None).await);
    a_moment().await;
    let started = Timestamp::now();
    index.collected(&repository, started, Some(soon), 0).await.unwrap();
    assert!(!due(Some(now)).await && !due(Some(earlier)).await && due(Some(soon)).await && due(None).await);
    // A change makes it due at once, whatever was said before.
    a_moment().await;
    index.delete_manifest(&repository, &tag("x"), &actor()).await.unwrap();
    assert!(due(Some(Timestamp::now())).await);
    // And so does one that came while the collector looked.
    for again in [Some(soon), None] {
        let started = Timestamp::now();
        a_moment().await;
        push(index, "due", format!("due {again:?}").as_bytes()).await;
        index.collected(&repository, started, again, 0).await.unwrap();
        assert!(due(Some(Timestamp::now())).await, "{again:?}");
    }
    a_moment().await;
    index.collected(&repository, Timestamp::now(), None, 0).await.unwrap();
    assert!(!due(None).await);
    for again in [Some(soon), None] {
        let digest = Digest::sha256(format!("due {again:?}").as_bytes());
        let record = index.blob(&repository, &digest).await.unwrap().unwrap();
        index.delete_blob(&repository, &digest, &actor()).await.unwrap();
        index.buried(vec![at(&record)]).await.unwrap();
    }
}

/// The sums are those of what is there: nothing is counted twice, or after it went.
pub(super) async fn the_sums_are_exact(index: &dyn Index) {
    let before = index.totals().await.unwrap();
    let expect = async |what: &str, added: Totals| {
        let expected = Totals {
            repositories: before.repositories + added.repositories,
            tags: before.tags + added.tags,
            manifests: before.manifests + added.manifests,
            blobs: before.blobs + added.blobs,
            blob_bytes: before.blob_bytes + added.blob_bytes,
            uploads: before.uploads + added.uploads,
            held_bytes: before.held_bytes + added.held_bytes,
        };
        assert_eq!(index.totals().await.unwrap(), expected, "{what}");
    };
    let five = push(index, "sums/a", b"sum 5").await;
    push(index, "sums/a", b"sum 5").await;
    push(index, "sums/b", b"sum 5").await;
    let seven = push(index, "sums/b", b"512 sum").await;
    let blobs = Totals { blobs: 2, blob_bytes: 12, ..Totals::default() };
    expect("two blobs, one of them in two repositories", blobs).await;
    let (one, two) = (image(&["sum 5"], None), image(&["sum 5"], Some("two")));
    let first = put(index, "sums/a", &one, &["x", "y"]).await;
    put(index, "sums/a", &one, &["x"]).await;
    put(index, "sums/b", &one, &["x"]).await;
    let all = Totals { repositories: 2, tags: 3, manifests: 2, ..blobs };
    expect("one manifest in two repositories", all).await;
    let second = put(index, "sums/a", &two, &["y"]).await;
    expect("a tag moved on", Totals { manifests: 3, ..all }).await;
    let upload = row("sums/c");
    index.open_upload(upload.clone()).await.unwrap();
    expect("a session", Totals { manifests: 3, uploads: 1, ..all }).await;
    index.delete_upload(upload.id).await.unwrap();
    for (held, sum) in [(100, 130), (10, 40), (0, 30)] {
        index.collected(&name("sums/a"), Timestamp::now(), None, held).await.unwrap();
        index.collected(&name("sums/b"), Timestamp::now(), None, 30).await.unwrap();
        expect("bytes that wait, as of the last look", Totals { manifests: 3, held_bytes: sum, ..all }).await;
    }
    for (repository, digest) in [("sums/a", first), ("sums/a", second), ("sums/b", first)] {
        index.delete_manifest(&name(repository), &Reference::Digest(digest), &actor()).await.unwrap();
    }
    expect("no manifests", Totals { held_bytes: 30, ..blobs }).await;
    for (repository, digest) in [("sums/a", five.sha256), ("sums/b", five.sha256), ("sums/b", seven.sha256)] {
        let deletion = index.delete_blob(&name(repository), &digest, &actor()).await.unwrap();
        assert!(matches!(deletion, BlobDeletion::Deleted { .. }));
    }
    for repository in ["sums/a", "sums/b"] {
        index.collected(&name(repository), Timestamp::now(), None, 0).await.unwrap();
    }
    expect("nothing", Totals::default()).await;
    index.buried(vec![at(&five), at(&seven)]).await.unwrap();
}

/// Damaged bytes were put aside for the owner: nobody deletes them, whether their blob is deleted, collected or healed.
pub(super) async fn damaged_bytes_are_left_alone(index: &dyn Index) {
    for what in ["deleted", "collected", "healed"] {
        let (repository, content) = (format!("aside/{what}"), format!("aside {what}"));
        let bad = push(index, &repository, content.as_bytes()).await;
        let verdict = index.unnamed_blobs(&name(&repository), vec![], 0, 10).await.unwrap();
        index.damaged(&bad).await.unwrap();
        if what == "healed" {
            let sound = push(index, &repository, content.as_bytes()).await;
            assert_ne!(sound.place, bad.place);
            assert_eq!(index.doomed(None, 10).await.unwrap(), []);
            index.delete_blob(&name(&repository), &sound.sha256, &actor()).await.unwrap();
            assert_eq!(index.doomed(None, 10).await.unwrap(), [(at(&sound), sound.size)], "the sound ones alone");
            index.buried(vec![at(&sound)]).await.unwrap();
        } else if what == "deleted" {
            let deletion = index.delete_blob(&name(&repository), &bad.sha256, &actor()).await.unwrap();
            assert!(matches!(deletion, BlobDeletion::Deleted { .. }));
        } else {
            assert_eq!(index.collect_blobs(&name(&repository), verdict).await.unwrap(), 1);
        }
        assert_eq!(index.doomed(None, 10).await.unwrap(), [], "{what}");
        // What is pushed later has nothing to do with it.
        let sound = push(index, &repository, content.as_bytes()).await;
        assert_ne!(sound.place, bad.place);
        assert_eq!(index.blob(&name(&repository), &sound.sha256).await.unwrap(), Some(sound.clone()));
        index.delete_blob(&name(&repository), &sound.sha256, &actor()).await.unwrap();
        index.buried(vec![at(&sound)]).await.unwrap();
    }
}

/// Old changes go, young ones stay, and no position is used again.
pub(super) async fn old_changes_are_forgotten(index: &dyn Index) {
    put(index, "trim", &image(&[], None), &["x"]).await;
    let all = index.changes(0, 1_000_000).await.unwrap();
    index.trim_changes(Duration::from_secs(3_600)).await.unwrap();
    assert_eq!(index.changes(0, 1_000_000).await.unwrap(), all, "they are young");
    a_moment().await;
    // A bounded number at a time.
    for _ in 0..100 {
        index.trim_changes(Duration::ZERO).await.unwrap();
    }
    assert_eq!(index.changes(0, 10).await.unwrap(), []);
    put(index, "trim", &image(&[], None), &["y"]).await;
    let new = index.changes(0, 10).await.unwrap();
    assert!(!new.is_empty() && new[0].sequence > all.last().unwrap().sequence);
    assert_eq!(index.changes(all.last().unwrap().sequence, 10).await.unwrap(), new, "who read so far goes on");
}

/// The end of a collection and the server's last sign of life are two times, and each is the last one.
pub(super) async fn the_last_times_are_known(index: &dyn Index) {
    assert_eq!((index.last_collection().await.unwrap(), index.last_beat().await.unwrap()), (None, None));
    let began = Timestamp::now();
    index.beat().await.unwrap();
    let beat = index.last_beat().await.unwrap();
    assert!(beat.is_some_and(|beat| (began..=Timestamp::now()).contains(&beat)));
    assert_eq!(index.last_collection().await.unwrap(), None);
    a_moment().await;
    index.collection_ended().await.unwrap();
    let first = index.last_collection().await.unwrap();
    assert!(first > beat && index.last_beat().await.unwrap() == beat);
    a_moment().await;
    index.collection_ended().await.unwrap();
    assert!(index.last_collection().await.unwrap() > first);
}

/// Of many names in one manifest those that are missing are told, in the order of the manifest.
pub(super) async fn a_long_manifest_is_looked_through(index: &dyn Index) {
    let contents: Vec<_> = (0..60).map(|number| format!("long {number}")).collect();
    let digests: Vec<_> = contents.iter().map(|content| Digest::sha256(content.as_bytes())).collect();
    let mut records = Vec::new();
    for content in contents.iter().step_by(2) {
        records.push(push(index, "long", content.as_bytes()).await);
    }
    let new = super::content::manifest("long", &image_naming(&digests, None), &["x"]);
    let missing: Vec<_> = digests.iter().skip(1).step_by(2).copied().collect();
    assert_eq!(index.put_manifest(new).await.unwrap(), crate::PutOutcome::Missing(missing));
    let there: Vec<_> = digests.iter().step_by(2).copied().collect();
    let digest = put(index, "long", &image_naming(&there, None), &["x"]).await;
    assert_eq!(index.unnamed_blobs(&name("long"), vec![], 0, 1_000).await.unwrap(), []);
    index.delete_manifest(&name("long"), &Reference::Digest(digest), &actor()).await.unwrap();
    let all = index.unnamed_blobs(&name("long"), vec![], 0, 1_000).await.unwrap();
    assert_eq!(index.collect_blobs(&name("long"), all).await.unwrap(), 30);
    index.buried(records.iter().map(at).collect()).await.unwrap();
}
