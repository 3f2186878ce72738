//! The trial of faults, a short form of it; and that it finds a program that acknowledges what it did not sync.

use wharf_tests::{Launch, Program};
use wharf_trials::{Plan, Report, faults};

fn run(seconds: u64, launch: Launch) -> Report {
    let report = faults::run(&Plan::for_seconds(seconds, launch)).expect("a run");
    eprint!("{report}");
    report
}

#[test]
fn whatever_fails_for_a_moment_costs_nothing_that_was_acknowledged() {
    run(12, Launch::of(Program::Wharf)).expect_nothing();
}

#[test]
fn a_program_that_does_not_sync_is_found() {
    let report = run(60, Launch::planted("fsync"));
    assert_eq!(report.failures.len(), 1, "not found: {report}");
}
