//! The specification's numbered endpoints and codes each appear in these tests, where a reader looks for them.

use std::fs;
use std::path::Path;

/// Identifiers of the tables "Endpoints" and "Error Codes". Code-11, UNAUTHORIZED, is not of this interface: it has no accounts.
const IDENTIFIERS: [&str; 32] = [
    "end-1", "end-2", "end-3", "end-4a", "end-4b", "end-4c", "end-5", "end-6", "end-7a", "end-7b", "end-8a", "end-8b", "end-9",
    "end-10", "end-11", "end-12a", "end-12b", "end-13", "end-14", "code-1", "code-2", "code-3", "code-4", "code-5", "code-6",
    "code-7", "code-8", "code-9", "code-10", "code-12", "code-13", "code-14",
];

/// Headings of the specification that state duties of a registry.
const HEADINGS: [&str; 22] = [
    "Pulling manifests",
    "Pulling blobs",
    "Checking if content exists in the registry",
    "Push",
    "Pushing blobs",
    "POST then PUT",
    "Single POST",
    "Pushing a blob in chunks",
    "Cancel a blob upload",
    "Mounting a blob from another repository",
    "Pushing Manifests",
    "Pushing Manifests with Subject",
    "Listing Tags",
    "Listing Referrers",
    "Enabling the Referrers API",
    "Deleting tags",
    "Deleting Manifests",
    "Deleting Blobs",
    "Registry Proxying",
    "Determining Support",
    "Error Codes",
    "Warnings",
];

/// What the tests say about themselves: their comments for readers.
fn comments() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut text = String::new();
    for entry in fs::read_dir(folder).expect("the tests' folder").flatten() {
        if entry.file_name() == "spec_coverage.rs" || entry.path().extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let source = fs::read_to_string(entry.path()).expect("a source file");
        let lines = source.lines().map(str::trim_start).filter(|line| line.starts_with("///") || line.starts_with("//!"));
        for line in lines {
            text.push_str(&line.to_lowercase());
            text.push('\n');
        }
    }
    text
}

/// Every endpoint and every code has a test that names it.
#[test]
fn every_endpoint_and_code_is_named_by_a_test() {
    let comments = comments();
    let words: Vec<_> = comments.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).collect();
    let missing: Vec<_> = IDENTIFIERS.iter().filter(|id| !words.contains(*id)).collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
}

/// Every heading has a test that names it.
#[test]
fn every_heading_is_named_by_a_test() {
    let comments = comments();
    let missing: Vec<_> =
        HEADINGS.iter().filter(|heading| !comments.contains(&format!("\"{}\"", heading.to_lowercase()))).collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
}
