//! Records of kept layers that are not as they were written, with checksums that fit: an error or an image in order, and soon.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crc::{CRC_32_ISCSI, Crc};
use fastrand::Rng;
use support::archive::Archive;
use support::erofs::Erofs;
use support::{directory, entry, file, hardlink, symlink};
use wharf_layers::{Entry, Kind};
use wharf_oci::Digest;
use wharf_rootfs::{Cache, RootfsError};

/// Bytes of a kept layer's end, which tells what is before it.
const FOOTER: usize = 64;

/// A layer with a record of each kind.
fn layer() -> Vec<u8> {
    let attributes = [(b"user.note".to_vec(), b"value".to_vec()), (b"security.x".to_vec(), vec![1; 300])];
    Archive::of([
        Entry { xattrs: attributes.into(), ..directory("d") },
        directory("d/sub"),
        file("d/.wh.gone"),
        file("d/sub/.wh..wh..opq"),
        symlink("link", "d/sub"),
        entry("null", Kind::Character { major: 1, minor: 3 }),
        entry("disk", Kind::Block { major: 8, minor: 1 }),
        entry("pipe", Kind::Fifo),
    ])
    .with(&file("d/one"), &[7; 9000])
    .with(&file("d/sub/two"), b"two")
    .with(&hardlink("d/again", "d/one"), b"")
    .end()
}

/// A kept layer with these records, and checksums that fit.
fn kept(data: &[u8], records: &[u8], footer: &[u8]) -> Vec<u8> {
    let crc = Crc::<u32>::new(&CRC_32_ISCSI);
    let mut footer = footer.to_vec();
    footer[20..28].copy_from_slice(&(records.len() as u64).to_le_bytes());
    footer[28..32].copy_from_slice(&crc.checksum(records).to_le_bytes());
    let own = crc.checksum(&footer[..FOOTER - 4]);
    footer[FOOTER - 4..].copy_from_slice(&own.to_le_bytes());
    [data, records, &footer].concat()
}

fn mutate(records: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..random.usize(1..4) {
        let place = random.usize(..=records.len());
        match random.u8(..7) {
            0 if place < records.len() => records[place] ^= 1 << random.u8(..8),
            1 if place < records.len() => records[place] = random.u8(..),
            2 if place < records.len() => records[place] = [0, 1, 0x7f, 0x80, 0xff, b'/', b'.'][random.usize(..7)],
            3 => records.insert(place, random.u8(..)),
            4 if place < records.len() => drop(records.remove(place)),
            5 => {
                let end = random.usize(place..=records.len());
                let part = records[place..end].to_vec();
                let to = random.usize(..=records.len());
                records.splice(to..to, part);
            }
            // A number as large as there is one.
            _ => drop(records.splice(place..place, [0xff; 9].into_iter().chain([1]))),
        }
    }
}

#[test]
fn records_that_were_changed() {
    let seconds = std::env::var("FUZZ_SECONDS").ok().map_or(1.0, |text| text.parse().unwrap());
    let seed = std::env::var("ROOTFS_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("ROOTFS_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = Cache::open(&path).unwrap();
    let layer = layer();
    let digest = Digest::sha256(&layer);
    cache.add(&digest, layer.as_slice()).unwrap();
    let place = path.join("layers").join(digest.to_string().replace(':', "-"));
    let whole = fs::read(&place).unwrap();
    let data = u64::from_le_bytes(*whole[whole.len() - FOOTER + 12..].first_chunk().unwrap()) as usize;
    let (data, rest) = whole.split_at(data);
    let (records, footer) = rest.split_at(rest.len() - FOOTER);
    assert!(kept(data, records, footer) == whole, "the form of a kept layer");
    let (mut images, mut refused, mut damaged) = (0, 0, 0);
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while images + refused + damaged < 300 || Instant::now() < end {
        let mut changed = records.to_vec();
        mutate(&mut changed, &mut random);
        let shown = changed.escape_ascii().to_string();
        fs::write(&place, kept(data, &changed, footer)).unwrap();
        fs::remove_dir_all(path.join("images")).unwrap();
        fs::create_dir(path.join("images")).unwrap();
        let start = Instant::now();
        let made = catch_unwind(AssertUnwindSafe(|| cache.image(&[digest]))).unwrap_or_else(|_| panic!("broken by \"{shown}\""));
        assert!(start.elapsed() < Duration::from_secs(5), "slow by \"{shown}\"");
        match made {
            Ok(image) => {
                // What is said of files is in order whatever it is; their contents need not be there.
                let metadata = fs::File::open(image.path().with_extension("erofs")).unwrap();
                catch_unwind(|| Erofs::open(metadata).without_contents().listing())
                    .unwrap_or_else(|_| panic!("out of order by \"{shown}\""));
                images += 1;
            }
            Err(RootfsError::Damaged { .. }) => {
                assert!(!cache.has(&digest), "it is to be added again");
                damaged += 1;
            }
            Err(RootfsError::Layer(_) | RootfsError::TooMuch(_)) => refused += 1,
            Err(other) => panic!("{other:?} by \"{shown}\""),
        }
    }
    println!("{images} images, {refused} refused, {damaged} damaged");
    assert!(images > 20 && damaged > 20);
    cache.add(&digest, layer.as_slice()).unwrap();
    fs::write(&place, &whole).unwrap();
    cache.image(&[digest]).unwrap();
}
