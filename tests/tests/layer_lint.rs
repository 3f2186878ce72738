//! `meta-wharf` follows the style guide of OpenEmbedded, as `oelint-adv` reads it.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wharf_tests::{BitBake, Ran, clients};

/// The recipes, classes and configuration files below a folder.
fn metadata(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            metadata(&path, found);
        } else if path
            .extension()
            .is_some_and(|end| ["bb", "bbappend", "bbclass", "inc", "conf"].iter().any(|known| end == *known))
        {
            found.push(path);
        }
    }
}

/// What `oelint-adv` says of a layer by its own rule file. It asks no network: the rule that does is among those left out.
fn lint(layer: &Path) -> Ran {
    let mut files = Vec::new();
    metadata(layer, &mut files);
    files.sort();
    let program = clients::python().with_file_name("oelint-adv");
    let output = Command::new(program).args(["--quiet", "--jobs=1"]).args(files).current_dir(layer).output();
    Ran::of("oelint-adv".to_owned(), output.expect("run oelint-adv: scripts/install-test-tools installs it"))
}

/// Nothing is found in the layer; and what is wrong is found.
#[test]
fn oelint_finds_nothing() {
    let ran = lint(&BitBake::meta_wharf()).expect(0);
    assert_eq!((ran.stdout.trim(), ran.stderr.trim()), ("", ""), "{ran}");

    let folder = tempfile::tempdir().unwrap();
    fs::copy(BitBake::meta_wharf().join(".oelint.cfg"), folder.path().join(".oelint.cfg")).unwrap();
    fs::write(folder.path().join("wrong_1.0.bb"), "SUMMARY = \"Wrong\"\nDESCRIPTION = \"${PN}\"\n").unwrap();
    let ran = lint(folder.path()).expect(1);
    assert!(ran.stderr.contains("oelint.vars.pnusagediscouraged"), "{ran}");
}
