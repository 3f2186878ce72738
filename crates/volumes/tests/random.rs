//! Random operations in the guest's folder and in an ordinary one: the same results, errors and contents.

#![allow(clippy::unwrap_used)]

mod stage;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use fastrand::Rng;
use rustix::fs::{CWD, RenameFlags, XattrFlags};
use stage::{Stage, listing};

/// Few names, so that they meet.
fn name(random: &mut Rng) -> String {
    let depth = random.usize(1..4);
    let steps: Vec<_> = (0..depth).map(|_| ["a", "b", "c"][random.usize(..3)]).collect();
    steps.join("/")
}

/// One side: the folder, and the files that are open in it.
struct Side<'a> {
    root: &'a Path,
    open: Vec<Option<File>>,
}

impl Side<'_> {
    /// Does what the dice say and tells what a program would see.
    fn step(&mut self, random: &mut Rng) -> String {
        let (first, second) = (name(random), name(random));
        let (path, other) = (self.root.join(&first), self.root.join(&second));
        let (place, length, byte) = (random.u64(0..20_000), random.usize(0..9000), random.u8(..));
        let slot = random.usize(..4);
        let choice = random.u8(..24);
        let done = |result: io::Result<()>| result.map(|()| String::new());
        let result = match choice {
            0 | 1 => fs::write(&path, vec![byte; length]).map(|()| String::new()),
            2 | 3 => done(fs::create_dir(&path)),
            4 => done(fs::remove_file(&path)),
            5 => done(fs::remove_dir(&path)),
            6 | 7 => done(fs::rename(&path, &other)),
            8 => done(rustix::fs::renameat_with(CWD, &path, CWD, &other, RenameFlags::EXCHANGE).map_err(Into::into)),
            9 => done(fs::hard_link(&path, &other)),
            10 => done(symlink("b", &path)),
            11 => fs::read(&path).map(|data| format!("{} {:?}", data.len(), data.iter().map(|b| u64::from(*b)).sum::<u64>())),
            12 => names(&path),
            13 => fs::symlink_metadata(&path).map(|s| {
                let size = if s.is_dir() { 0 } else { s.len() };
                format!("{:o} {size} {} {}:{}", s.mode(), s.nlink(), s.uid(), s.gid())
            }),
            14 | 15 => {
                OpenOptions::new().read(true).write(true).create(random.bool()).append(byte < 40).open(&path).map(|file| {
                    self.open[slot] = Some(file);
                    String::new()
                })
            }
            16 => {
                self.open[slot] = None;
                Ok(String::new())
            }
            17 | 18 => self.with(slot, |file| file.write_at(&vec![byte; length], place).map(|count| count.to_string())),
            19 => self.with(slot, |file| {
                let mut data = vec![0; length];
                let count = file.read_at(&mut data, place)?;
                Ok(format!("{count} {}", data.iter().map(|b| u64::from(*b)).sum::<u64>()))
            }),
            20 => self.with(slot, |file| file.set_len(place).map(|()| String::new())),
            21 => self.with(slot, |file| file.metadata().map(|s| format!("{} {} {:o}", s.len(), s.nlink(), s.mode()))),
            22 => fs::set_permissions(&path, fs::Permissions::from_mode(0o700 | u32::from(byte & 0o77))).map(|()| String::new()),
            _ => done(rustix::fs::setxattr(&path, "user.x", &[byte], XattrFlags::empty()).map_err(Into::into)),
        };
        let result = result.map_err(|error| error.raw_os_error());
        format!("{choice} {first} {second} {result:?}")
    }

    fn with(&self, slot: usize, call: impl FnOnce(&File) -> io::Result<String>) -> io::Result<String> {
        self.open[slot].as_ref().map_or(Ok("closed".into()), call)
    }
}

fn names(path: &Path) -> io::Result<String> {
    let mut names: Vec<_> = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
    names.sort();
    Ok(format!("{names:?}"))
}

/// Without times, which differ by what the two took.
fn contents(folder: &Path) -> String {
    listing(folder).lines().map(|line| line.rsplit_once(' ').map_or(line, |(start, _)| start).to_owned() + "\n").collect()
}

#[test]
fn as_on_a_disk() {
    // A new seed each time, which a failure tells; so does an old one, by hand.
    let seed = std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    let mut seeds = Rng::with_seed(seed);
    for round in 0..6 {
        let stage = Stage::new();
        let plain = tempfile::tempdir().unwrap();
        let (mut here, mut there) = (Rng::with_seed(seeds.u64(..)), Rng::new());
        there.seed(here.get_seed());
        let open = || (0..4).map(|_| None).collect();
        let mut guest = Side { root: &stage.guest, open: open() };
        let mut disk = Side { root: plain.path(), open: open() };
        let mut log = Vec::new();
        for _ in 0..1200 {
            let (wanted, found) = (disk.step(&mut here), guest.step(&mut there));
            log.push(wanted.clone());
            assert_eq!(found, wanted, "seed {seed}, round {round}, after {:#?}", &log[log.len().saturating_sub(30)..]);
        }
        assert_eq!(contents(&stage.guest), contents(plain.path()), "seed {seed}, round {round}");
        assert_eq!(contents(&stage.host), contents(plain.path()), "seed {seed}, round {round}");
    }
}
