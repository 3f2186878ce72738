//! What every blob store and every index must do, as plain functions that a test of each engine calls.
//!
//! They panic where the engine breaks a duty that [`BlobStore`] or [`Index`] states. Each leaves nothing behind that it does not itself remove, and checks that.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "these are tests, in a library so that every engine can be put to them"
)]

mod aliases;
mod blobs;
mod bookkeeping;
mod cached;
mod collection;
mod content;
mod manifests;
mod races;
mod readers;
mod uploads;

use std::future::Future;
use std::sync::Arc;

use crate::{BlobStore, Index};

/// Puts a blob store to the test.
pub async fn blob_store(store: &dyn BlobStore) {
    blobs::what_was_synced_is_read(store).await;
    blobs::a_wrong_length_is_refused(store).await;
    blobs::a_staged_blob_goes_on_after_what_was_synced(store).await;
    blobs::deleting_is_final_and_repeatable(store).await;
    blobs::what_is_written_after_a_sync_is_synced_with_the_next(store).await;
    blobs::a_blob_that_begins_anew_is_the_new_one_alone(store).await;
    blobs::an_object_is_whole_or_gone_while_it_is_deleted(store).await;
    blobs::places_without_an_object_do_not_keep_others_from_being_deleted(store).await;
    blobs::places_are_never_the_same(store).await;
    blobs::quarantined_content_is_gone(store).await;
    blobs::a_scan_finds_every_object(store).await;
    blobs::nothing_is_left(store).await;
}

/// Puts an index to the test. `reopen` closes it and opens it again.
pub async fn index<F: Future<Output = Arc<dyn Index>>>(index: Arc<dyn Index>, reopen: impl Fn(Arc<dyn Index>) -> F) {
    bookkeeping::the_last_times_are_known(&*index).await;
    content::a_blob_belongs_to_the_repositories_it_was_linked_into(&*index).await;
    content::the_same_content_is_kept_once(&*index).await;
    content::a_damaged_blob_is_refused_until_it_is_pushed_again(&*index).await;
    content::few_bytes_may_be_kept_in_the_index(&*index).await;
    content::a_mount_needs_a_holder(&*index).await;
    content::a_named_blob_is_not_deleted(&*index).await;
    manifests::a_push_is_seen_whole(&*index).await;
    manifests::what_is_missing_is_named_and_nothing_changes(&*index).await;
    manifests::preconditions_are_all_or_nothing(&*index).await;
    manifests::one_of_many_creators_wins(index.clone()).await;
    manifests::deleting_a_tag_removes_that_tag_only(&*index).await;
    manifests::deleting_a_manifest_removes_its_tags(&*index).await;
    manifests::listings_come_in_pages_and_byte_order(&*index).await;
    manifests::referrers_are_listed_before_and_after_their_subject(&*index).await;
    manifests::a_manifest_has_one_media_type(&*index).await;
    manifests::every_change_is_logged_in_order(&*index).await;
    uploads::sessions_are_found_again(&*index).await;
    uploads::a_finished_session_is_gone(&*index).await;
    collection::a_tag_holds_all_below_it(&*index).await;
    collection::referrers_live_with_their_subject(&*index).await;
    collection::a_child_may_be_deleted_and_the_index_stays(&*index).await;
    collection::what_is_held_again_is_not_collected(&*index).await;
    collection::children_wait_no_longer_than_their_index(&*index).await;
    collection::an_untagged_index_gives_its_children_new_time(&*index).await;
    collection::a_refused_push_leaves_no_repository(&*index).await;
    collection::bytes_go_when_the_last_repository_lets_go(&*index).await;
    collection::a_verdict_is_about_content(&*index).await;
    collection::a_layer_list_that_is_an_index_holds_its_blobs(&*index).await;
    collection::empty_repositories_are_forgotten(&*index).await;
    aliases::a_blob_is_held_by_either_digest(&*index).await;
    aliases::a_second_push_may_add_a_name(&*index).await;
    aliases::a_name_added_after_the_verdict_saves_a_blob(&*index).await;
    aliases::a_blob_is_mounted_by_either_digest(&*index).await;
    aliases::manifests_hold_by_either_digest(&*index).await;
    cached::what_was_fetched_says_where_from(&*index).await;
    cached::the_collector_leaves_it_alone(&*index).await;
    cached::pushed_names_win(&*index).await;
    cached::a_push_adopts_what_it_names(&*index).await;
    cached::the_least_used_goes_first(&*index).await;
    cached::content_pushed_elsewhere_stays(&*index).await;
    bookkeeping::names_are_in_byte_order(&*index).await;
    bookkeeping::what_waits_longest_is_verified_first(&*index).await;
    bookkeeping::what_is_idle_longest_expires_first(&*index).await;
    bookkeeping::the_collector_sees_everything_once(&*index).await;
    bookkeeping::a_look_is_due_when_it_was_said_or_something_changed(&*index).await;
    bookkeeping::the_sums_are_exact(&*index).await;
    bookkeeping::damaged_bytes_are_left_alone(&*index).await;
    bookkeeping::a_long_manifest_is_looked_through(&*index).await;
    bookkeeping::old_changes_are_forgotten(&*index).await;
    readers::a_push_is_never_seen_by_half(&index).await;
    races::a_blob_is_named_or_removed(&index).await;
    races::content_is_pushed_again_or_its_bytes_go(&index).await;
    races::content_is_mounted_or_its_bytes_go(&index).await;
    races::many_push_the_same(&index).await;
    races::manifests_are_held_or_collected(&index).await;
    races::a_child_is_there_when_its_index_is_pushed(&index).await;
    races::a_tag_never_points_at_what_was_deleted(&index).await;
    races::two_tags_move_together(&index).await;
    races::an_empty_repository_is_forgotten_or_used(&index).await;
    let index = manifests::all_of_it_is_there_after_a_restart(index, &reopen).await;
    index.close().await;
}
