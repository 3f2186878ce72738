//! Each target over its corpus and over random input, for a bounded time: `FUZZ_SECONDS` each, one by default.
//!
//! An input that breaks something fails the test with the input itself, which then belongs into `fuzz/corpus`.

use std::time::Duration;

use wharf_fuzz::{TARGETS, find, run};

/// How long one target is fed.
fn duration() -> Duration {
    let seconds = std::env::var("FUZZ_SECONDS").ok().map(|text| text.parse().expect("FUZZ_SECONDS is a number"));
    Duration::from_secs_f64(seconds.unwrap_or(1.0))
}

macro_rules! targets {
    ($($test:ident $name:literal)+) => {
        const TESTED: &[&str] = &[$($name),+];
        $(
            #[test]
            fn $test() {
                let target = find($name).expect("a target of this name");
                println!("{}: {} inputs", target.name, run(target, duration(), fastrand::u64(..)));
            }
        )+
    };
}

targets! {
    stream "stream"
    endpoint "endpoint"
    range "range"
    conditional "conditional"
    authorization "authorization"
    scope "scope"
    pattern "pattern"
    users "users"
    issuer_keys "issuer-keys"
    certificate "certificate"
    names "names"
    manifest "manifest"
    document "document"
    layout "layout"
    archive "archive"
    tar "tar"
    compressed "compressed"
    unpack "unpack"
    listing "listing"
    pieces "pieces"
    toc "toc"
    packages "packages"
    rootfs "rootfs"
    challenge "challenge"
    multipart "multipart"
    auth_file "auth-file"
    registries_conf "registries-conf"
    words "words"
    printable "printable"
    guest_protocol "guest-protocol"
    volume "volume"
}

#[test]
fn every_target_is_tested_and_every_corpus_has_one() {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED);
    let folders = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")).expect("the corpus").flatten();
    let mut bytes = 0;
    for folder in folders {
        assert!(find(&folder.file_name().to_string_lossy()).is_some(), "{}", folder.path().display());
        let files = std::fs::read_dir(folder.path()).expect("a folder").flatten();
        bytes += files.map(|file| file.metadata().expect("a file").len()).sum::<u64>();
    }
    assert!(bytes < 500_000, "the corpus is to stay small, and has {bytes} bytes");
}
