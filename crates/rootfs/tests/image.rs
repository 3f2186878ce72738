//! Images of layers, read back through QEMU and erofs-utils.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use support::{Archive, directory, extract, file, flatten, hardlink, image, symlink};
use wharf_rootfs::Cache;

#[test]
fn first() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path().join("a \"quoted\" folder: it's")).unwrap();
    let one = Archive::of([directory("./"), directory("etc"), directory("gone/")])
        .with(&file("etc/passwd"), b"root")
        .with(&file("gone/x"), &[7; 10_000])
        .with(&file("big"), &[8; 3_000_000])
        .with(&symlink("l", "etc"), b"")
        .with(&hardlink("h", "big"), b"")
        .end();
    let two = Archive::of([file(".wh.gone")]).with(&file("l/new"), b"new").end();
    let image = image(&cache, &[one, two]).unwrap();
    let disk = folder.path().join("disk");
    flatten(&image, &disk);
    let root = folder.path().join("root");
    extract(&disk, &root);
}
