//! The collection trial, a short form of it; and that it finds a lease that is not taken and a blob that is unlinked without another look.

use wharf_tests::{Launch, Program};
use wharf_trials::{Plan, Report, collection};

fn run(seconds: u64, launch: Launch) -> Report {
    let report = collection::run(&Plan::for_seconds(seconds, launch)).expect("a run");
    eprint!("{report}");
    report
}

/// Both forms of the server: with a file for each blob, and with most of them in the index.
#[test]
fn pushes_and_collection_beside_each_other() {
    run(14, Launch::of(Program::Wharf)).expect_nothing();
}

#[track_caller]
fn finds(fault: &str) {
    let report = run(60, Launch::planted(fault));
    let [found] = &report.failures[..] else { panic!("not found: {report}") };
    let is_lost = ["a push to", "BLOB_UNKNOWN", "changed what is there"].iter().any(|text| found.what.contains(text));
    assert!(is_lost, "{}", found.what);
}

#[test]
fn a_lease_that_is_not_taken_is_found() {
    finds("lease");
}

#[test]
fn a_mount_without_a_lease_is_found() {
    finds("mount");
}

#[test]
fn a_blob_unlinked_without_another_look_is_found() {
    finds("unlink");
}
