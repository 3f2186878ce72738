//! The trial of uploads, a short form of it; and that it finds uploads that stay.

use wharf_tests::{Launch, Program};
use wharf_trials::{Limit, Plan, Report, uploads};

fn run(events: u64, launch: Launch) -> Report {
    let plan = Plan { seed: fastrand::u64(..1 << 48), limit: Limit::Events(events), launch };
    let report = uploads::run(&plan).expect("a run");
    eprint!("{report}");
    report
}

#[test]
fn thousands_of_small_uploads_leave_nothing() {
    let report = run(5_000, Launch::of(Program::Wharf));
    report.expect_nothing();
    assert!(report.events >= 5_000 && report.faults > 500);
}

#[test]
fn uploads_that_stay_are_found() {
    let report = run(500, Launch::planted("expire"));
    let [found] = &report.failures[..] else { panic!("not found: {report}") };
    assert!(found.what.contains("files are left"), "{}", found.what);
}
