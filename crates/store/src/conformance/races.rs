//! Duties of an index towards those who come at the same time: whatever the order, it is as if one had come after the other.
//!
//! An engine with one writer gets these for nothing. One whose transactions see each other's commits half-way must lock what it has looked at, and does not
//! show that it forgot until two meet. So each pair meets many times, by another distance each time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use wharf_oci::{Algorithm, Digest, Reference, media_type};

use super::content::{actor, at, has, image, image_naming, list, manifest, name, push, put, put_if, tag};
use crate::index::UnnamedBlob;
use crate::{BlobDeletion, BlobRecord, Condition, Index, Location, ManifestDeletion, NewBlob, Place, PutOutcome, Timestamp};

/// How often each pair meets.
const ROUNDS: usize = 64;
/// How many pairs at the same time, each about content of its own.
const LANES: usize = 8;

/// Runs every round.
async fn rounds<F: Future<Output = ()> + Send + 'static>(index: &Arc<dyn Index>, work: impl Fn(Arc<dyn Index>, usize) -> F) {
    let all: Vec<_> = (0..ROUNDS).collect();
    for lanes in all.chunks(LANES) {
        let lanes: Vec<_> = lanes.iter().map(|round| tokio::spawn(work(index.clone(), *round))).collect();
        for lane in lanes {
            lane.await.expect("a round that went well");
        }
    }
}

/// Runs two at once. Each goes ahead in half of the rounds, from not at all to by 2 ms, so that they meet at every step of each other.
async fn at_once<A: Send + 'static, B: Send + 'static>(
    round: usize,
    one: impl Future<Output = A> + Send + 'static,
    other: impl Future<Output = B> + Send + 'static,
) -> (A, B) {
    let ahead = Duration::from_micros(((round / 4) * 37 % 16 * 133) as u64);
    let (one_waits, other_waits) = if round.is_multiple_of(2) { (Duration::ZERO, ahead) } else { (ahead, Duration::ZERO) };
    let one = tokio::spawn(async move {
        pause(one_waits).await;
        one.await
    });
    let other = tokio::spawn(async move {
        pause(other_waits).await;
        other.await
    });
    (one.await.expect("one of two"), other.await.expect("the other of two"))
}

/// Shorter than the timer of the runtime can.
async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::task::spawn_blocking(move || std::thread::sleep(time)).await.unwrap();
    }
}

async fn is_doomed(index: &dyn Index, location: &Location) -> bool {
    index.doomed(None, 100_000).await.unwrap().iter().any(|(doomed, _)| doomed == location)
}

async fn unnamed(index: &dyn Index, repository: &str) -> Vec<UnnamedBlob> {
    index.unnamed_blobs(&name(repository), vec![], 0, 100).await.unwrap()
}

async fn blob(index: &dyn Index, repository: &str, digest: &Digest) -> Option<BlobRecord> {
    index.blob(&name(repository), digest).await.unwrap()
}

/// Removes a blob from a repository as its owner does, or with its verdict as the collector does. Answers whether it did.
async fn unlink(index: Arc<dyn Index>, repository: String, digest: Digest, verdict: Option<Vec<UnnamedBlob>>) -> bool {
    match verdict {
        Some(verdict) => index.collect_blobs(&name(&repository), verdict).await.unwrap() == 1,
        None => match index.delete_blob(&name(&repository), &digest, &actor()).await.unwrap() {
            BlobDeletion::Deleted { .. } => true,
            BlobDeletion::InUse => false,
            BlobDeletion::Unknown => panic!("nobody else removes it"),
        },
    }
}

/// The collector's verdict in every other pair of rounds: both kinds of removal go ahead as often as they come late.
async fn verdict(index: &dyn Index, repository: &str, round: usize) -> Option<Vec<UnnamedBlob>> {
    if (round / 2).is_multiple_of(2) {
        return None;
    }
    let found = unnamed(index, repository).await;
    assert_eq!(found.len(), 1);
    Some(found)
}

/// A manifest that was stored names what is there, whoever wants to remove it meanwhile: the blob's owner or the collector. By either digest.
pub(super) async fn a_blob_is_named_or_removed(index: &Arc<dyn Index>) {
    rounds(index, |index, round| async move {
        let (repository, content) = (format!("race/named/{round}"), format!("512 race named {round}"));
        let record = push(&*index, &repository, content.as_bytes()).await;
        let algorithm = if round % 8 < 4 { Algorithm::Sha256 } else { Algorithm::Sha512 };
        let digest = Digest::of(algorithm, content.as_bytes());
        let new = manifest(&repository, &image_naming(&[digest], None), &["x"]);
        let verdict = verdict(&*index, &repository, round).await;
        let (pusher, remover) = (index.clone(), index.clone());
        let put = async move { pusher.put_manifest(new).await.unwrap() };
        let (outcome, removed) = at_once(round, put, unlink(remover, repository.clone(), record.sha256, verdict)).await;
        let is_tagged = index.manifest(&name(&repository), &tag("x")).await.unwrap().is_some();
        let doomed = is_doomed(&*index, &at(&record)).await;
        if outcome == PutOutcome::Stored {
            assert_eq!((removed, is_tagged, doomed), (false, true, false));
            assert_eq!(blob(&*index, &repository, &digest).await, Some(record));
        } else {
            assert_eq!(outcome, PutOutcome::Missing(vec![digest]));
            assert_eq!((removed, is_tagged, doomed), (true, false, true));
            assert_eq!(blob(&*index, &repository, &digest).await, None);
            index.buried(vec![at(&record)]).await.unwrap();
        }
    })
    .await;
}

/// Content that is pushed while the last repository lets go of it: the record that was answered is in force, and nobody deletes its bytes.
pub(super) async fn content_is_pushed_again_or_its_bytes_go(index: &Arc<dyn Index>) {
    rounds(index, |index, round| async move {
        let (from, content) = (format!("race/again/{round}/from"), format!("race again {round}"));
        // In half of the rounds it is pushed to the very repository that lets go of it.
        let to = if round % 8 < 4 { format!("race/again/{round}/to") } else { from.clone() };
        let old = push(&*index, &from, content.as_bytes()).await;
        let verdict = verdict(&*index, &from, round).await;
        let (pusher, remover) = (index.clone(), index.clone());
        let pushing = {
            let (to, content) = (to.clone(), content.clone());
            async move { push(&*pusher, &to, content.as_bytes()).await }
        };
        let (answered, removed) = at_once(round, pushing, unlink(remover, from.clone(), old.sha256, verdict)).await;
        assert!(removed);
        match blob(&*index, &to, &old.sha256).await {
            Some(record) => {
                assert_eq!(record, answered);
                assert!(!is_doomed(&*index, &at(&record)).await, "the bytes of a record in force");
                assert_eq!(is_doomed(&*index, &at(&old)).await, record != old, "the older bytes, if nobody has them");
            }
            None => {
                assert_eq!((&to, &answered), (&from, &old), "only who pushed before the removal has nothing");
                assert!(is_doomed(&*index, &at(&old)).await);
            }
        }
        if to != from {
            assert_eq!(blob(&*index, &from, &old.sha256).await, None);
        }
        let _ = index.delete_blob(&name(&to), &old.sha256, &actor()).await.unwrap();
        assert!(is_doomed(&*index, &at(&answered)).await);
        index.buried(vec![at(&old), at(&answered)]).await.unwrap();
    })
    .await;
}

/// The same for a mount, from the repository that lets go of it or from anybody.
pub(super) async fn content_is_mounted_or_its_bytes_go(index: &Arc<dyn Index>) {
    rounds(index, |index, round| async move {
        let (from, to) = (format!("race/mount/{round}/from"), format!("race/mount/{round}/to"));
        let record = push(&*index, &from, format!("race mount {round}").as_bytes()).await;
        let verdict = verdict(&*index, &from, round).await;
        let (pusher, remover) = (index.clone(), index.clone());
        let mounting = {
            let (to, source, digest) = (name(&to), (round % 8 < 4).then(|| name(&from)), record.sha256);
            async move { pusher.mount(&to, &digest, source.as_ref(), &actor()).await.unwrap() }
        };
        let (mounted, removed) = at_once(round, mounting, unlink(remover, from, record.sha256, verdict)).await;
        assert!(removed);
        assert!(mounted.as_ref().is_none_or(|mounted| *mounted == record));
        assert_eq!(blob(&*index, &to, &record.sha256).await, mounted);
        assert_eq!(is_doomed(&*index, &at(&record)).await, mounted.is_none());
        if mounted.is_some() {
            index.delete_blob(&name(&to), &record.sha256, &actor()).await.unwrap();
        }
        index.buried(vec![at(&record)]).await.unwrap();
    })
    .await;
}

/// The same content and the same manifest, pushed by many to one new repository: kept once, and nobody is turned away.
pub(super) async fn many_push_the_same(index: &Arc<dyn Index>) {
    rounds(index, |index, round| async move {
        let (repository, content) = (format!("race/same/{round}"), format!("race same {round}"));
        let json = image(&[&content], None);
        let push_all = |index: Arc<dyn Index>, own: &'static str| {
            let (repository, content, json) = (repository.clone(), content.clone(), json.clone());
            async move {
                let record = push(&*index, &repository, content.as_bytes()).await;
                put(&*index, &repository, &json, &["same", own]).await;
                record
            }
        };
        let (one, other) = at_once(round, push_all(index.clone(), "one"), push_all(index.clone(), "other")).await;
        assert_eq!(one, other, "it is kept once");
        assert_eq!(blob(&*index, &repository, &one.sha256).await, Some(one));
        let page = index.tags(&name(&repository), None, 10).await.unwrap().unwrap();
        assert_eq!(page.items, ["one", "other", "same"]);
    })
    .await;
}

/// A tag on an index above an index holds all below it, or finds it collected and says so. What is pushed while it is collected is there in any case.
pub(super) async fn manifests_are_held_or_collected(index: &Arc<dyn Index>) {
    rounds(index, |index, round| async move {
        let repository = format!("race/held/{round}");
        let child = image(&[], None);
        let parent = list(media_type::OCI_MANIFEST, &[&child]);
        let top = list(media_type::OCI_INDEX, &[&parent]);
        let all = [&child, &parent, &top].map(|text| Digest::sha256(text.as_bytes()));
        put(&*index, &repository, &child, &[]).await;
        put(&*index, &repository, &parent, &[]).await;
        // The top is new to the index in half of the rounds.
        if round % 4 < 2 {
            put(&*index, &repository, &top, &[]).await;
        }
        // The tag comes while the collector looks, or between its look and the removal.
        let before = match round % 8 < 4 {
            true => Some(index.unheld_manifests(&name(&repository), false).await.unwrap()),
            false => None,
        };
        let collect = {
            let (index, repository) = (index.clone(), name(&repository));
            async move {
                let verdict = match before {
                    Some(verdict) => verdict,
                    None => index.unheld_manifests(&repository, false).await.unwrap(),
                };
                index.collect_manifests(&repository, verdict).await.unwrap()
            }
        };
        let new = manifest(&repository, &top, &["x"]);
        let pusher = index.clone();
        let (outcome, _) = at_once(round, async move { pusher.put_manifest(new).await.unwrap() }, collect).await;
        let found = index.manifest(&name(&repository), &tag("x")).await.unwrap();
        if outcome == PutOutcome::Stored {
            assert_eq!(found.unwrap().digest, all[2]);
            for digest in all {
                assert!(has(&*index, &repository, digest).await, "a tag holds what is below it");
            }
            assert_eq!(index.unheld_manifests(&name(&repository), true).await.unwrap(), []);
        } else {
            assert_eq!(outcome, PutOutcome::Missing(vec![all[1]]));
            assert_eq!(found, None);
            assert!(!has(&*index, &repository, all[1]).await);
        }

        let text = image(&[], Some("pushed while it is collected"));
        let digest = put(&*index, &repository, &text, &[]).await;
        let verdict = index.unheld_manifests(&name(&repository), false).await.unwrap();
        // Times are kept in milliseconds: one that begins anew must differ.
        tokio::time::sleep(Duration::from_millis(3)).await;
        let collect = {
            let (index, repository) = (index.clone(), name(&repository));
            async move { index.collect_manifests(&repository, verdict).await.unwrap() }
        };
        let tags: &[&str] = if round % 4 < 2 { &["y"] } else { &[] };
        let (pusher, pushed) = (index.clone(), manifest(&repository, &text, tags));
        let (outcome, _) = at_once(round, async move { pusher.put_manifest(pushed).await.unwrap() }, collect).await;
        assert_eq!(outcome, PutOutcome::Stored);
        assert!(has(&*index, &repository, digest).await, "what was just pushed again");
    })
    .await;
}

/// A child may be deleted under its index, but then it was there when the index was pushed: the log has them in this order. Else it is missed.
pub(super) async fn a_child_is_there_when_its_index_is_pushed(index: &Arc<dyn Index>) {
    let before = index.changes(0, 1_000_000).await.unwrap().last().map_or(0, |change| change.sequence);
    rounds(index, move |index, round| async move {
        let repository = format!("race/child/{round}");
        let child = image(&[], None);
        let digest = put(&*index, &repository, &child, &["child"]).await;
        let parent = manifest(&repository, &list(media_type::OCI_MANIFEST, &[&child]), &["x"]);
        let sha256 = parent.sha256;
        let deletion = {
            let (index, repository) = (index.clone(), name(&repository));
            async move { index.delete_manifest(&repository, &Reference::Digest(digest), &actor()).await.unwrap() }
        };
        let pusher = index.clone();
        let (outcome, deletion) = at_once(round, async move { pusher.put_manifest(parent).await.unwrap() }, deletion).await;
        assert!(matches!(deletion, ManifestDeletion::Deleted { .. }));
        assert!(!has(&*index, &repository, digest).await);
        let changes = index.changes(before, 1_000_000).await.unwrap();
        let changes: Vec<_> = changes.iter().filter(|change| change.repository == repository).collect();
        let position = |action, digest| changes.iter().position(|c| c.action == action && c.digest == Some(digest));
        let (pushed, deleted) = (position("manifest.put", sha256), position("manifest.delete", digest));
        if outcome == PutOutcome::Stored {
            assert!(pushed.unwrap() < deleted.unwrap(), "{changes:?}");
            assert_eq!(index.manifest(&name(&repository), &tag("x")).await.unwrap().unwrap().digest, sha256);
        } else {
            assert_eq!(outcome, PutOutcome::Missing(vec![digest]));
            assert_eq!(pushed, None);
            assert_eq!(index.manifest(&name(&repository), &tag("x")).await.unwrap(), None);
            assert!(!has(&*index, &repository, sha256).await);
        }
    })
    .await;
}

/// A manifest that gets a tag while it is deleted is there with its tag, or gone with it.
pub(super) async fn a_tag_never_points_at_what_was_deleted(index: &Arc<dyn Index>) {
    rounds(index, |index, round| async move {
        let repository = format!("race/tag/{round}");
        let json = image(&[], None);
        let digest = put(&*index, &repository, &json, &["old"]).await;
        let deletion = {
            let (index, repository) = (index.clone(), name(&repository));
            async move { index.delete_manifest(&repository, &Reference::Digest(digest), &actor()).await.unwrap() }
        };
        let (pusher, new) = (index.clone(), manifest(&repository, &json, &["new"]));
        let (outcome, deletion) = at_once(round, async move { pusher.put_manifest(new).await.unwrap() }, deletion).await;
        assert_eq!(outcome, PutOutcome::Stored);
        let ManifestDeletion::Deleted { tags, .. } = deletion else { panic!("{deletion:?}") };
        let gone: Vec<_> = tags.iter().map(|tag| tag.as_str()).collect();
        let found = index.tags(&name(&repository), None, 10).await.unwrap().unwrap().items;
        assert_eq!(index.manifest(&name(&repository), &tag("new")).await.unwrap().is_some(), !gone.contains(&"new"));
        if has(&*index, &repository, digest).await {
            assert_eq!((gone, found), (vec!["old"], vec!["new".to_owned()]));
        } else {
            assert_eq!((gone.len(), found.len()), (2, 0));
        }
    })
    .await;
}

/// Two move the same two tags, named in opposite order: neither waits for ever, and the tags go together. With a precondition exactly one is let.
pub(super) async fn two_tags_move_together(index: &Arc<dyn Index>) {
    rounds(index, |index, round| async move {
        let repository = format!("race/two/{round}");
        let start = put(&*index, &repository, &image(&[], Some("start")), &["a", "b"]).await;
        let (one, other) = (image(&[], Some("one")), image(&[], Some("other")));
        let digests = [&one, &other].map(|text| Digest::sha256(text.as_bytes()));
        let named = async |tags: [&'static str; 2]| {
            let mut named = Vec::new();
            for text in tags {
                named.push(index.manifest(&name(&repository), &tag(text)).await.unwrap().map(|record| record.digest));
            }
            (named[0], named[1])
        };
        let pushing = |text: &str, tags: [&'static str; 2], condition: Option<Condition>| {
            let (index, repository, text) = (index.clone(), repository.clone(), text.to_owned());
            async move {
                match condition {
                    Some(condition) => put_if(&*index, &repository, &text, &tags, condition).await,
                    None => index.put_manifest(manifest(&repository, &text, &tags)).await.unwrap(),
                }
            }
        };
        let conditions = [(["a", "b"], Condition::Match(Some(vec![start]))), (["c", "d"], Condition::NoneMatch(None))];
        for (tags, condition) in conditions {
            let first = pushing(&one, tags, Some(condition.clone()));
            let second = pushing(&other, [tags[1], tags[0]], Some(condition));
            let (first, second) = at_once(round, first, second).await;
            let winner = if first == PutOutcome::Stored { 0 } else { 1 };
            let (won, lost) = if winner == 0 { (first, second) } else { (second, first) };
            assert_eq!((won, lost), (PutOutcome::Stored, PutOutcome::ConditionFailed(Some(digests[winner]))));
            assert_eq!(named(tags).await, (Some(digests[winner]), Some(digests[winner])));
        }
        let (first, second) = at_once(round, pushing(&one, ["a", "b"], None), pushing(&other, ["b", "a"], None)).await;
        assert_eq!((first, second), (PutOutcome::Stored, PutOutcome::Stored));
        let (a, b) = named(["a", "b"]).await;
        assert!(a == b && digests.map(Some).contains(&a), "both tags are the last one's");
    })
    .await;
}

/// A repository that is found empty, and forgotten, while somebody pushes to it: nothing of the push is lost.
pub(super) async fn an_empty_repository_is_forgotten_or_used(index: &Arc<dyn Index>) {
    rounds(index, |index, round| async move {
        let repository = format!("race/empty/{round}");
        let json = image(&[], None);
        let digest = put(&*index, &repository, &json, &[]).await;
        index.delete_manifest(&name(&repository), &Reference::Digest(digest), &actor()).await.unwrap();
        let started = Timestamp::now();
        let forget = {
            let (index, repository) = (index.clone(), name(&repository));
            async move { index.collected(&repository, started, None, 0).await.unwrap() }
        };
        let (pusher, to) = (index.clone(), repository.clone());
        if round % 4 < 2 {
            let pushed = at_once(round, async move { put(&*pusher, &to, &json, &["x"]).await }, forget).await.0;
            assert!(has(&*index, &repository, pushed).await);
            let page = index.repositories(Some(&repository[..repository.len() - 1]), 1_000).await.unwrap();
            assert!(page.items.contains(&repository));
        } else {
            let new = NewBlob {
                repository: name(&to),
                sha256: Digest::sha256(repository.as_bytes()),
                alias: None,
                size: 1,
                place: Place::Store(Location(uuid::Uuid::new_v4().to_string())),
                upload: None,
                actor: actor(),
                origin: None,
            };
            let record = at_once(round, async move { pusher.commit_blob(new).await.unwrap() }, forget).await.0;
            assert_eq!(blob(&*index, &repository, &record.sha256).await, Some(record));
        }
        assert!(index.repository_exists(&name(&repository)).await.unwrap());
        let due = index.collectable_repositories(None, None, 100_000).await.unwrap();
        assert!(due.contains(&name(&repository)), "what was pushed is looked at");
    })
    .await;
}
