//! Random layers: their image is what unpacking them makes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use fastrand::Rng;
use support::archive::Archive;
use support::look::{look, same};
use support::{entry, merged, unpack};
use wharf_layers::{Entry, Kind, Time};
use wharf_rootfs::RootfsError;

/// Few names, so that layers meet.
const NAMES: [&str; 5] = ["a", "b", "c", "+", "long-enough-to-be-in-the-way-of-others"];

fn path(random: &mut Rng) -> String {
    let parts: Vec<_> = (0..random.usize(1..5)).map(|_| NAMES[random.usize(..NAMES.len())]).collect();
    parts.join("/")
}

/// An entry whose owner anyone may be who runs this, unless that is root, who may be all.
fn random_entry(random: &mut Rng, owner: (u32, u32)) -> (Entry, Vec<u8>) {
    let mut name = path(random);
    let kind = match random.u8(..12) {
        0..3 => Kind::Directory,
        3 => Kind::Symlink(
            [path(random), format!("/{}", path(random)), format!("../{}", path(random))][random.usize(..3)].clone().into(),
        ),
        4 => Kind::Hardlink(path(random).into()),
        5 => Kind::Fifo,
        6 if owner.0 == 0 => Kind::Block { major: random.u32(..4096), minor: random.u32(..1 << 20) },
        7 => {
            let (parent, last) =
                name.rsplit_once('/').map_or((String::new(), name.as_str()), |(parent, last)| (format!("{parent}/"), last));
            name = if random.bool() { format!("{parent}.wh.{last}") } else { format!("{parent}.wh..wh..opq") };
            Kind::Regular
        }
        _ => Kind::Regular,
    };
    let content = match kind {
        Kind::Regular if !name.contains(".wh.") => {
            vec![random.u8(1..); [0, 1, 4095, 4096, 4097, 20_000][random.usize(..6)]]
        }
        _ => Vec::new(),
    };
    let mut made = entry(&name, kind);
    (made.uid, made.gid) = (owner.0.into(), owner.1.into());
    if owner.0 == 0 {
        (made.uid, made.gid) = (random.u64(..100_000), random.u64(..100_000));
    }
    // Never closed to its owner, or a user could not look at it.
    made.mode = random.u32(..0o10000) | 0o700;
    made.mtime = Time { seconds: random.i64(-1000..2_000_000_000), nanoseconds: 0 };
    if random.u8(..4) == 0 && matches!(made.kind, Kind::Regular | Kind::Directory) {
        made.xattrs.insert(b"user.x".to_vec(), vec![b'x'; random.usize(..3000)]);
    }
    (made, content)
}

#[test]
fn the_image_is_what_unpacking_makes() {
    let seed = std::env::var("ROOTFS_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("ROOTFS_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let (mut merges, mut refusals) = (0, 0);
    for round in 0..200 {
        let mut layers: Vec<Vec<u8>> = Vec::new();
        for _ in 0..random.usize(1..5) {
            let mut archive = Archive::default();
            for _ in 0..random.usize(1..16) {
                let (entry, content) = random_entry(&mut random, owner);
                let longer = archive.clone().with(&entry, &content);
                let candidate: Vec<_> = layers.iter().cloned().chain([longer.clone().end()]).collect();
                let root = folder.path().join("try");
                let tried = unpack(&candidate, &root);
                let _ = std::fs::remove_dir_all(&root);
                // Most entries at random are refused in some company, and few are wanted that are.
                if tried.is_ok() || random.u8(..40) == 0 {
                    archive = longer;
                }
            }
            layers.push(archive.end());
        }
        let root = folder.path().join(round.to_string());
        let unpacked = unpack(&layers, &root);
        match (merged(&layers), unpacked) {
            (Ok(listing), Ok(())) => {
                let mut expected = look(&root);
                if owner.0 != 0 {
                    expected.give_implied_directories_to_root();
                }
                same(&listing, &expected);
                merges += 1;
            }
            (Err(RootfsError::Layer(ours)), Err(theirs)) => {
                assert_eq!(std::mem::discriminant(&ours), std::mem::discriminant(&theirs), "{ours} / {theirs}");
                refusals += 1;
            }
            (ours, theirs) => panic!("{:?} / {theirs:?}", ours.map(|listing| listing.lines())),
        }
    }
    println!("{merges} images, {refusals} refused");
    assert!(merges > 50 && refusals > 10);
}
