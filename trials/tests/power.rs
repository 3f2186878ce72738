//! The trial of power cuts, a short form of it; and that it finds a program that does not sync.

use wharf_tests::{Launch, Program};
use wharf_trials::{Plan, Report, power};

fn run(seconds: u64, launch: Launch) -> Report {
    let report = power::run(&Plan::for_seconds(seconds, launch)).expect("a run");
    eprint!("{report}");
    report
}

#[test]
fn a_power_cut_takes_nothing_that_was_acknowledged() {
    run(12, Launch::of(Program::Wharf)).expect_nothing();
}

#[test]
fn a_program_that_does_not_sync_is_found() {
    let report = run(60, Launch::planted("fsync"));
    let [found] = &report.failures[..] else { panic!("not found: {report}") };
    assert!(found.what.contains("seed"), "{}", found.what);
}
