//! The contract's "Tag strategies", line by line: the tags that result, the warnings, the errors.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use wharf_tests::{Build, Image, Ran, image_for, run_tool};

const VERSION: &str = "org.opencontainers.image.version";

/// A build directory with one image, `app`.
fn built(labels: serde_json::Value) -> (Build, Image) {
    let build = Build::new();
    let image = image_for("amd64", labels);
    build.deploy.layout("qemux86-64", "app-qemux86-64.rootfs-oci", &image);
    (build, image)
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let who = ["-C", folder.to_str().expect("UTF-8"), "-c", "user.name=A", "-c", "user.email=a@example.org"];
    run_tool(&find_git(), &[&who, arguments].concat(), None).trim().to_owned()
}

fn find_git() -> String {
    let found = Command::new("sh").args(["-c", "command -v git"]).output().expect("look for git");
    String::from_utf8(found.stdout).expect("UTF-8").trim().to_owned()
}

/// Makes the build directory a repository on this branch, with one commit; returns its short name.
fn commit(folder: &Path, branch: &str) -> String {
    git(folder, &["init", "--quiet", "--initial-branch", branch]);
    git(folder, &["commit", "--quiet", "--allow-empty", "--message=one"]);
    git(folder, &["rev-parse", "--short", "HEAD"])
}

/// Pushes with a strategy and a version; the tags that were printed are those of the registry.
#[track_caller]
fn tags_of(strategy: &str, version: Option<&str>) -> Vec<String> {
    let (build, _) = built(json!({}));
    let mut arguments = vec!["push", "--strategy", strategy];
    arguments.extend(version.iter().flat_map(|version| ["--version", version]));
    let ran = build.wharf.ok(&arguments);
    let mut listed = build.tags("app");
    let mut printed = ran.tags();
    listed.sort();
    printed.sort();
    assert_eq!(listed, printed, "{ran}");
    ran.tags()
}

#[track_caller]
fn refused(build: &Build, arguments: &[&str]) -> Ran {
    let ran = build.wharf.fails(arguments);
    assert!(build.nothing_was_sent(), "{ran}");
    ran
}

fn is_timestamp(tag: &str) -> bool {
    let digits = |part: &str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    tag.split_once('-').is_some_and(|(day, time)| digits(day, 8) && digits(time, 6))
}

/// Without a word the tags are `timestamp latest`; CONTAINER_REGISTRY_TAG_STRATEGY has others, and --strategy others still.
#[test]
fn the_strategy_comes_from_option_variable_and_default() {
    let (build, _) = built(json!({}));
    let tags = build.wharf.ok(&["push"]).tags();
    assert!(tags.len() == 2 && is_timestamp(&tags[0]) && tags[1] == "latest", "{tags:?}");
    let wharf = build.wharf.env("CONTAINER_REGISTRY_TAG_STRATEGY", " version\tlatest ").env("IMAGE_VERSION", "7");
    assert_eq!(wharf.ok(&["push"]).tags(), ["7", "latest"]);
    assert_eq!(wharf.ok(&["push", "-s", "latest"]).tags(), ["latest"]);
    assert_eq!(wharf.env("CONTAINER_REGISTRY_TAG_STRATEGY", "").ok(&["push"]).tags().len(), 2);
}

/// The timestamp is local time, and one for all images of a run.
#[test]
fn a_timestamp_is_local_time_once_a_run() {
    let (build, _) = built(json!({}));
    for name in ["base", "tool"] {
        build.deploy.layout("qemux86-64", &format!("{name}-qemux86-64.rootfs-oci"), &image_for("amd64", json!({})));
    }
    let hour = |zone: &str| {
        let now = || run_tool("/bin/sh", &["-c", &format!("TZ={zone} date +%Y%m%d-%H")], None).trim().to_owned();
        let before = now();
        let ran = build.wharf.env("TZ", zone).ok(&["push", "--strategy", "timestamp"]);
        let tags = ran.tags();
        assert!(tags.len() == 3 && tags.iter().all(|tag| *tag == tags[0] && is_timestamp(tag)), "{ran}");
        assert!([before, now()].contains(&tags[0][..11].to_owned()), "{zone}: {ran}");
        tags[0].clone()
    };
    assert_ne!(hour("XYZ-5")[..11], hour("XYZ+7")[..11]);
}

/// `sha` and `git` are the short commit, `branch` is the branch, of the build directory's repository.
#[test]
fn commit_and_branch_come_from_the_repository() {
    let (build, _) = built(json!({}));
    let commit = commit(build.folder(), "feature/log_in");
    let ran = build.wharf.ok(&["push", "--strategy", "sha git branch latest"]);
    assert_eq!(ran.tags(), [commit.as_str(), "feature-log-in", "latest"]);
    assert!(!ran.stderr.contains("warning"), "{ran}");
    // Without TOPDIR the current folder is asked.
    let ran = build.wharf.without("TOPDIR").ok(&["push", "--strategy", "git"]);
    assert_eq!(ran.tags(), [commit]);
}

/// What a tag may not hold becomes `-`; at most 128 characters are left.
#[test]
fn a_branch_becomes_a_tag_whatever_it_holds() {
    let (build, _) = built(json!({}));
    commit(build.folder(), "main");
    let long = format!("a/{}", "b".repeat(150));
    for (branch, tag) in [
        ("fix#12-(x)+y", "fix-12--x--y"),
        ("release/1.2.x", "release-1.2.x"),
        ("_private", "private"),
        ("größe", "gr--e"),
        (long.as_str(), &format!("a-{}", "b".repeat(126))),
    ] {
        git(build.folder(), &["checkout", "--quiet", "-b", branch]);
        assert_eq!(build.wharf.ok(&["push", "--strategy", "branch"]).tags(), [tag], "{branch}");
    }
}

/// A detached HEAD has a commit and no branch; a warning says so, and the other tags are set.
#[test]
fn a_detached_head_has_no_branch() {
    let (build, _) = built(json!({}));
    let commit = commit(build.folder(), "main");
    git(build.folder(), &["checkout", "--quiet", "--detach"]);
    let ran = build.wharf.ok(&["push", "--strategy", "sha branch latest"]).says("warning: no tag for the strategy `branch`");
    assert_eq!(ran.tags(), [commit.as_str(), "latest"]);
    ran.says("detached HEAD");
}

/// Without a repository both are skipped with a warning each; when nothing else is asked for, that is an error.
#[test]
fn without_a_repository_commit_and_branch_are_skipped() {
    let (build, _) = built(json!({}));
    let ran = build.wharf.ok(&["push", "--strategy", "sha branch latest"]);
    assert_eq!(ran.tags(), ["latest"]);
    let ran = ran.says("warning: no tag for the strategy `sha`").says("warning: no tag for the strategy `branch`");
    ran.says("is in no git repository");
    build.wharf.fails(&["push", "--strategy", "sha"]).says("no tag is left");
    git(build.folder(), &["init", "--quiet", "--initial-branch=main"]);
    let ran = build.wharf.ok(&["push", "--strategy", "sha branch"]).says("has no commit yet");
    assert_eq!(ran.tags(), ["main"]);
    let broken = build.path("broken");
    std::fs::create_dir(&broken).expect("a folder");
    std::fs::write(broken.join(".git"), "gitdir: /nowhere/at/all\n").expect("a worktree of nothing");
    let wharf = build.wharf.env("TOPDIR", broken.to_str().expect("UTF-8"));
    let wharf = wharf.env("DEPLOY_DIR_IMAGES", build.deploy.images().to_str().expect("UTF-8"));
    // A failure of git is told in its own words.
    wharf.ok(&["push", "--strategy", "sha latest"]).says("/nowhere/at/all");
}

/// The table's line `semver`, and `version`.
#[test]
fn versions_give_the_tags_they_stand_for() {
    for (version, tags) in [
        ("1.2.3", &["1.2.3", "1.2", "1"][..]),
        ("1.2", &["1.2", "1"]),
        ("1", &["1"]),
        ("v1.2.3", &["v1.2.3", "v1.2", "v1"]),
        ("1.2.3+git5.8a3f2b1", &["1.2.3", "1.2", "1"]),
        ("1.2.3-rc1", &["1.2.3-rc1"]),
        ("v1.2.3-rc.1+b7", &["v1.2.3-rc.1"]),
        ("2024.04", &["2024.04", "2024"]),
    ] {
        assert_eq!(tags_of("semver", Some(version)), tags, "semver of {version}");
    }
    for (version, tag) in [("1.2.3", "1.2.3"), ("1.2.3+git5", "1.2.3"), ("v1-rc1", "v1-rc1"), ("tip_5.x", "tip_5.x")] {
        assert_eq!(tags_of("version", Some(version)), [tag], "version of {version}");
    }
}

/// A pre-release moves no tag of a release.
#[test]
fn a_pre_release_moves_no_stable_tag() {
    let (build, released) = built(json!({}));
    build.wharf.ok(&["push", "--strategy", "semver", "--version", "1.2.3"]);
    let next = image_for("amd64", json!({}));
    build.deploy.layout("qemux86-64", "app-qemux86-64.rootfs-oci", &next);
    build.wharf.ok(&["push", "--strategy", "semver", "--version", "1.2.4-rc1"]);
    for tag in ["1", "1.2", "1.2.3"] {
        assert!(build.repo("app").manifest(tag).expect(200).body == released.manifest, "{tag} was moved");
    }
    assert!(build.repo("app").manifest("1.2.4-rc1").expect(200).body == next.manifest);
}

/// Not a version is an error, and nothing is sent.
#[test]
fn what_is_no_version_is_refused() {
    let (build, _) = built(json!({}));
    for version in ["git", "1.2.x", "1.2.3.4", "1..2", "1.2.3-", "+5", "1.2.3 4"] {
        refused(&build, &["push", "-s", "semver latest", "-v", version]).says(&format!("`{version}` is not a version"));
    }
    refused(&build, &["push", "-s", "version", "-v", "1#2"]).says("`1#2`").says("cannot be a tag");
    refused(&build, &["push", "-s", "semver"]).says("--version").says("IMAGE_VERSION").says(VERSION);
    refused(&build, &["push", "-s", "version latest"]).says("needs a version");
}

/// The version comes from --version, else IMAGE_VERSION, else the label.
#[test]
fn the_version_has_three_sources() {
    let (build, _) = built(json!({VERSION: "3.1"}));
    let wharf = build.wharf.env("IMAGE_VERSION", "2.1");
    assert_eq!(wharf.ok(&["push", "-s", "semver", "-v", "1.1"]).tags(), ["1.1", "1"]);
    assert_eq!(wharf.ok(&["push", "-s", "semver"]).tags(), ["2.1", "2"]);
    assert_eq!(build.wharf.ok(&["push", "-s", "semver"]).tags(), ["3.1", "3"]);
    assert_eq!(build.wharf.env("IMAGE_VERSION", "").ok(&["push", "-s", "version"]).tags(), ["3.1"]);
}

/// For each other tag but `latest` also TAG-ARCH, by the build's name of the architecture.
#[test]
fn arch_adds_the_builds_name_of_the_architecture() {
    assert_eq!(tags_of("semver latest arch", Some("1.2")), ["1.2", "1", "latest", "1.2-x86_64", "1-x86_64"]);
    for (image, build_name) in [("arm64", "aarch64"), ("386", "i686"), ("riscv64", "riscv64"), ("ppc64le", "powerpc64le")] {
        let build = Build::new();
        build.deploy.layout("board", "app-board.rootfs-oci", &image_for(image, json!({})));
        let tags = build.wharf.ok(&["push", "-s", "version arch", "-v", "5"]).tags();
        assert_eq!(tags, ["5".to_owned(), format!("5-{build_name}")]);
    }
    let (build, _) = built(json!({}));
    let wharf = build.wharf.env("TARGET_ARCH", "x86_64");
    assert_eq!(wharf.ok(&["push", "-s", "version arch", "-v", "5"]).tags(), ["5", "5-x86_64"]);
    build.wharf.ok(&["push", "-s", "latest arch"]).says("no tag for the strategy `arch`");
}

/// `arch` alone and an unknown word are errors before anything is sent; the latter lists the known words.
#[test]
fn a_strategy_that_is_none_is_refused() {
    let (build, _) = built(json!({}));
    refused(&build, &["push", "-s", "arch"]).says("`arch`").says("needs one beside it");
    let ran = refused(&build, &["push", "-s", "latest nope"]).says("unknown tag strategy `nope`");
    ran.says("timestamp, sha, git, branch, semver, version, latest, arch");
    refused(&build, &["push", "-s", "sha,latest"]).says("unknown tag strategy `sha,latest`");
    refused(&build, &["push", "-s", " "]).says("the tag strategy is empty");
    let wharf = build.wharf.env("CONTAINER_REGISTRY_TAG_STRATEGY", "Latest");
    wharf.fails(&["push"]).says("unknown tag strategy `Latest`");
}

/// No tag is set twice, whatever gives rise to it.
#[test]
fn there_are_no_duplicates() {
    assert_eq!(tags_of("latest semver version latest", Some("1")), ["latest", "1"]);
    let (build, _) = built(json!({}));
    commit(build.folder(), "latest");
    assert_eq!(build.wharf.ok(&["push", "-s", "branch latest"]).tags(), ["latest"]);
    assert_eq!(build.wharf.ok(&["push", "app", "-t", "x", "--tag", "x", "--tag=y"]).tags(), ["x", "y"]);
}

/// --tag may be repeated and stands for the strategy; it needs an image.
#[test]
fn tags_may_be_given() {
    let (build, image) = built(json!({}));
    refused(&build, &["push", "--tag", "v1"]).says("--tag requires an image name");
    // The variable is no contradiction to the option.
    let wharf = build.wharf.env("CONTAINER_REGISTRY_TAG_STRATEGY", "nope");
    assert_eq!(wharf.ok(&["push", "app", "--tag", "latest", "-t", "v1.0.0"]).tags(), ["latest", "v1.0.0"]);
    assert!(build.repo("app").manifest("v1.0.0").expect(200).body == image.manifest);
    assert_eq!(build.wharf.ok(&["push", "app", "-t", "x", "-s", "latest"]).tags(), ["x"]);
}

/// Every tag is checked against the specification's grammar before anything is sent.
#[test]
fn a_tag_outside_the_grammar_is_refused() {
    let (build, _) = built(json!({}));
    let long = "x".repeat(129);
    for tag in ["a#b", "", " ", ".x", "-x", "a b", "a/b", "a:b", "é", "a\n", &long] {
        refused(&build, &["push", "app", "-t", "good", &format!("--tag={tag}")]).says("is no tag");
    }
    build.wharf.ok(&["push", "app", "-t", &long[1..]]);
}
