//! The model trial, a short form of it; that it finds what is wrong; and what it has once found.

use std::path::Path;

use wharf_tests::{Launch, Program};
use wharf_trials::Plan;
use wharf_trials::model::case::Case;
use wharf_trials::model::{self, Content, crowd};

/// Another seed in every run: the failure says which.
#[test]
fn every_answer_is_the_model_s() {
    let report = model::run(&Plan::for_seconds(8, Launch::of(Program::Wharf))).expect("a run");
    eprint!("{report}");
    report.expect_nothing();
    let answers = &report.figures.iter().find(|(name, _)| *name == "answers").expect("a figure").1;
    for status in [200, 201, 202, 204, 206, 400, 404, 405, 412, 416] {
        assert!(answers.contains(&format!("{status}: ")), "no answer was {status}: {answers}");
    }
}

#[test]
fn a_tag_that_stays_is_found_and_told_in_few_operations() {
    let report = model::run(&Plan { seed: 1, ..Plan::for_seconds(20, Launch::planted("untag")) }).expect("a run");
    let [found] = &report.failures[..] else { panic!("not found: {report}") };
    let (_, text) = found.what.split_once("trials/regressions:\n").expect("a case to keep");
    let least = Case::parse(text).expect("a case");
    assert!(text.contains("untag") && least.ops.len() <= 8, "{}", found.what);
    let content = Content::new();
    assert!(least.play(&content, &Launch::planted("untag")).is_err(), "it fails by itself");
    least.play(&content, &Launch::of(Program::Wharf)).expect("and not without the fault");
}

/// The many find what is wrong beside a collector, too: each of them in its own repositories.
#[test]
fn a_crowd_notices_a_mount_without_a_lease() {
    let (content, launch) = (Content::new(), Launch::planted("mount"));
    let found = (0..5).find_map(|seed| crowd::play(seed, &content, &launch, &|_| false).err());
    let found = found.expect("a failure").to_string();
    assert!(found.contains("one of 6 clients"), "{found}");
}

/// What once went wrong goes well now.
#[test]
fn regressions_stay_mended() {
    let content = Content::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let files = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let mut count = 0;
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "json")) {
        let case = Case::parse(&std::fs::read_to_string(&file).expect("a case")).expect("a case");
        if let Err(broken) = case.play(&content, &Launch::of(Program::Wharf)) {
            panic!("{}: {}", file.display(), broken.failure);
        }
        count += 1;
    }
    assert!(count > 0, "no regression is kept");
}

/// The program that is built by default has none of the faults, and does not know their variable.
#[test]
fn the_program_has_no_planted_faults() {
    let beside = std::env::current_exe().expect("the test program");
    let built = beside.ancestors().skip(1).take(2).map(|folder| folder.join("wharf")).find(|path| path.is_file());
    let path = std::env::var_os("WHARF_BIN").map(Into::into).or(built).expect("a wharf beside the tests");
    let holds = |path: &Path| {
        let program = std::fs::read(path).expect("the program");
        program.windows(13).any(|bytes| bytes == b"WHARF_PLANTED")
    };
    assert!(!holds(&path));
    assert!(holds(&path.with_file_name("wharf-planted")), "run scripts/planted");
}
