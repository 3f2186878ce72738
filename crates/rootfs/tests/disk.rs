//! Disks for containers to write to.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use support::run;
use wharf_rootfs::{Cache, RootfsError};

#[test]
fn a_disk_is_a_file_system_without_errors_and_takes_little_room() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path().join("cache")).unwrap();
    for (name, bytes) in [("small", 64 << 20), ("large", 64 << 30), ("odd", (1 << 30) + 1), ("large again", 64 << 30)] {
        let path = folder.path().join(name);
        cache.empty_disk(&path, bytes).unwrap();
        let status = path.metadata().unwrap();
        assert_eq!(status.len(), bytes.next_multiple_of(4096));
        assert_eq!(status.permissions().mode() & 0o777, 0o600);
        assert!(status.blocks() * 512 < 1 << 20, "{name}: {}", status.blocks() * 512);
        run(Command::new("/sbin/e2fsck").args(["-f", "-n"]).arg(&path));
        let told = run(Command::new("/sbin/dumpe2fs").arg("-h").arg(&path));
        assert!(
            told.contains("has_journal")
                && told.lines().any(|line| line.split_whitespace().eq(["Inode", "count:", &count(bytes)]))
        );
        let root = run(Command::new("/sbin/debugfs").args(["-R", "stat /"]).arg(&path));
        assert!(root.contains("User:     0   Group:     0"), "{root}");
    }
    assert!(cache.usage().unwrap() < 4 << 20);
}

/// An inode for 16 KiB, in groups of 128 MiB.
fn count(bytes: u64) -> String {
    (bytes.next_multiple_of(4096) / 16384).next_multiple_of(if bytes < 128 << 20 { 16 } else { 128 }).to_string()
}

#[test]
fn nothing_is_written_over_and_nothing_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path().join("cache")).unwrap();
    let path = folder.path().join("disk");
    std::fs::write(&path, "mine").unwrap();
    assert!(matches!(cache.empty_disk(&path, 1 << 30), Err(RootfsError::File { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    let small = folder.path().join("small");
    let error = cache.empty_disk(&small, 1 << 20).unwrap_err();
    assert!(matches!(&error, RootfsError::Disk { bytes: 0x10_0000, .. }), "{error}");
    assert!(!small.exists());
    let left: Vec<_> =
        std::fs::read_dir(folder.path().join("cache/disks")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [format!("ext4-1-{}", 1 << 30).as_str()]);
}
