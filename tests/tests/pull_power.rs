//! `wharf pull` and a loss of power: a layout that lists an image has its blobs whole, and before that the old one's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use wharf_tests::{Build, Image, Trace, random, write_layout};

fn blobs(layout: &Path) -> BTreeSet<PathBuf> {
    let folder = fs::read_dir(layout.join("blobs/sha256")).expect("the blobs");
    folder.map(|entry| entry.expect("a blob").path()).collect()
}

/// What the kernel does with files and folders that were not synced is its own affair: nothing may depend on it.
#[test]
fn all_of_an_image_is_synced_before_it_is_listed_and_the_listing_before_the_old_one_goes() {
    let build = Build::new();
    let out = build.path("out");
    let shared = random(300_000);
    let mut before = BTreeSet::new();
    for tag in ["1", "2"] {
        let image = Image::of_layers(vec![shared.clone(), random(3_000_000), random(20)]);
        let source = format!("v{tag}-oci");
        write_layout(&build.path(&source), &[("latest", &image)]);
        build.wharf.ok(&["push", &source, "--name", "app", "--tag", tag]);
        let trace = Trace::of(&build.wharf, &["pull", &format!("app:{tag}"), "out", "--name", "latest"]);
        let after = blobs(&out);
        let listed = trace.moved(&out.join("index.json"));
        for blob in after.difference(&before) {
            trace.expect_synced(&out.join("blobs/sha256"), trace.moved(blob), Some(listed));
        }
        if before.is_empty() {
            // The layout is new: its folders, what it is called, and what says that it is one.
            for (folder, made) in [(&build.path(""), "out"), (&out, "out/blobs"), (&out.join("blobs"), "out/blobs/sha256")] {
                trace.expect_synced(folder, trace.made(&build.path(made)), Some(listed));
            }
            let marked = trace.written(&out.join("oci-layout"), listed);
            trace.expect_synced(&out, marked, Some(listed));
        }
        trace.expect_synced(&out, listed, None);
        let gone: Vec<_> = before.difference(&after).collect();
        assert_eq!(gone.len(), if tag == "1" { 0 } else { 4 }, "{gone:?}");
        for blob in gone {
            trace.expect_synced(&out, listed, Some(trace.removed(blob)));
        }
        before = after;
    }
}
