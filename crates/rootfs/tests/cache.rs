//! A cache that several processes use, and that some of them do not use to the end.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use support::archive::Archive;
use support::{file, image};
use wharf_oci::Digest;
use wharf_rootfs::{Cache, RootfsError};

/// Tells this program, run again, which cache to add its standard input to, and under which digest.
const CACHE: &str = "ROOTFS_TEST_CACHE";
const LAYER: &str = "ROOTFS_TEST_LAYER";

/// Not a test of its own: what the other processes do.
#[test]
fn another_process() {
    let (Ok(cache), Ok(layer)) = (std::env::var(CACHE), std::env::var(LAYER)) else { return };
    Cache::open(cache).unwrap().add(&layer.parse().unwrap(), std::io::stdin().lock()).unwrap();
}

/// A process that adds what is written to its standard input.
fn adder(cache: &Path, layer: &Digest) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "another_process"]).env(CACHE, cache).env(LAYER, layer.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn layer() -> (Digest, Vec<u8>) {
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let layer = Archive::default().with(&file("large"), &content).with(&file("small"), b"x").end();
    (Digest::sha256(&layer), layer)
}

fn names(cache: &Path) -> Vec<String> {
    let names = std::fs::read_dir(cache.join("layers")).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn name(digest: &Digest) -> String {
    digest.to_string().replace(':', "-")
}

/// Of processes that add the same layer one does, and the others wait for it.
#[test]
fn processes_that_add_the_same_layer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = Cache::open(&path).unwrap();
    let (digest, layer) = layer();
    let mut children: Vec<_> = (0..4).map(|_| adder(&path, &digest)).collect();
    let writers: Vec<_> = children
        .iter_mut()
        .map(|child| {
            let (mut stdin, layer) = (child.stdin.take().unwrap(), layer.clone());
            // Those that find it done do not read to the end.
            thread::spawn(move || drop(stdin.write_all(&layer)))
        })
        .collect();
    cache.add(&digest, layer.as_slice()).unwrap();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(names(&path), [name(&digest)]);
    assert!(cache.image(&[digest]).is_ok());
}

/// What was killed while it added leaves nothing that counts, and nobody waits for it.
#[test]
fn killed_while_it_adds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = Cache::open(&path).unwrap();
    let (digest, layer) = layer();
    for part in [0, 1000, layer.len() / 2, layer.len() - 1] {
        let mut child = adder(&path, &digest);
        child.stdin.as_mut().unwrap().write_all(&layer[..part]).unwrap();
        support::until("it has begun", || path.join("layers").join(format!("{}.partial", name(&digest))).exists());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!cache.has(&digest) && cache.layer(&digest).unwrap().is_none(), "{part}");
        assert!(matches!(cache.image(&[digest]), Err(RootfsError::Missing(missing)) if missing == digest), "{part}");
    }
    // What is left of it goes with the rest that nobody needs, or becomes the layer.
    cache.remove(&Default::default()).unwrap();
    assert!(names(&path).is_empty());
    let mut child = adder(&path, &digest);
    child.stdin.as_mut().unwrap().write_all(&layer[..layer.len() / 2]).unwrap();
    support::until("it has begun", || !names(&path).is_empty());
    // Another one is about to write it: it is none of those that nobody needs.
    cache.remove(&Default::default()).unwrap();
    assert_eq!(names(&path).len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    cache.add(&digest, layer.as_slice()).unwrap();
    assert_eq!(names(&path), [name(&digest)]);
    assert!(cache.image(&[digest]).is_ok());
}

/// A reader that fails, and a layer that is another one, leave nothing.
#[test]
fn what_cannot_be_added_leaves_nothing() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() { Err(std::io::ErrorKind::ConnectionReset.into()) } else { self.0.read(buffer) }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path().join("cache")).unwrap();
    let (digest, layer) = layer();
    let other = Digest::sha256(b"other");
    assert!(matches!(cache.add(&other, layer.as_slice()), Err(RootfsError::Digest { .. })));
    for end in [0, 100, 5_000_000, layer.len() - 1024, layer.len() - 1] {
        assert!(matches!(cache.add(&digest, Failing(&layer[..end])), Err(RootfsError::Layer(_))), "{end}");
        assert!(cache.add(&digest, &layer[..end]).is_err(), "{end}");
    }
    assert!(names(&folder.path().join("cache")).is_empty());
}

/// As long as an image is held, nothing of it is removed.
#[test]
fn what_is_held_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = Cache::open(&path).unwrap();
    let layers = ["a", "b"].map(|name| Archive::default().with(&file(name), name.as_bytes()).end());
    let held = image(&cache, &layers).unwrap();
    let (done, finished) = channel();
    let remover = thread::spawn({
        let cache = Cache::open(&path).unwrap();
        move || {
            let freed = cache.remove(&Default::default()).unwrap();
            done.send(()).unwrap();
            freed
        }
    });
    assert!(finished.recv_timeout(Duration::from_millis(300)).is_err(), "it waits");
    assert!(held.path().exists() && names(&path).len() == 2);
    drop(held);
    assert!(remover.join().unwrap() > 0);
    assert!(names(&path).is_empty());
    let kept = Digest::sha256(&layers[1]);
    // Also where a layer that goes has no contents, and so no part of the disk.
    let empty = Archive::of([file("empty")]).end();
    for layers in [&layers[..], &layers[1..], &[layers[1].clone(), empty.clone()], &[empty]] {
        image(&cache, layers).unwrap();
    }
    assert_eq!(std::fs::read_dir(path.join("images")).unwrap().count(), 8);
    cache.remove(&[kept].into()).unwrap();
    assert_eq!(names(&path), [name(&kept)]);
    assert_eq!(std::fs::read_dir(path.join("images")).unwrap().count(), 2, "metadata and descriptor of the one that is left");
}
