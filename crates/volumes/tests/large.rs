//! Many files, much data, many at once.

#![allow(clippy::unwrap_used)]

mod stage;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use rustix::process::{Resource, getrlimit, setrlimit};
use stage::{Options, Stage, USER, sh};

/// An ordinary user's descriptors are enough for any tree.
#[test]
fn ten_thousand_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(128);
    setrlimit(Resource::Nofile, limit).unwrap();
    // The same files in a tree and all in one folder.
    let stage = Stage::with(&Options::default(), |host| {
        fs::create_dir(host.join("one")).unwrap();
        for folder in 0..100 {
            let path = host.join(format!("a{}/b{folder}", folder % 10));
            fs::create_dir_all(&path).unwrap();
            for file in 0..100 {
                let path = path.join(format!("f{file}"));
                fs::write(&path, format!("{folder} {file}\n")).unwrap();
                fs::hard_link(path, host.join(format!("one/{folder} {file}"))).unwrap();
            }
        }
        sh(host, &format!("chown -R {USER}:{USER} ."));
    });
    let count = |script: &str| stage.sh(script).trim().parse::<usize>().unwrap();
    for _ in 0..2 {
        assert_eq!(count("find a* -type f | wc -l"), 10_000);
        assert_eq!(count("find a* -type f -size -2 -newermt 2001-01-01 | wc -l"), 10_000);
    }
    assert_eq!(count("cat a*/b*/f* | sort -u | wc -l"), 10_000);
    assert_eq!(stage.sh("find . | LC_ALL=C sort | sha256sum"), sh(&stage.host, "find . | LC_ALL=C sort | sha256sum"));
    // One folder with all of them, read in pieces, and while it shrinks.
    assert_eq!(count("ls -U one | wc -l"), 10_000);
    assert_eq!(stage.sh("ls one | sha256sum"), sh(&stage.host, "ls one | sha256sum"));
    assert_eq!(stage.sh("rm -r one a*; ls"), "");
}

/// Requests of all sizes at all places, with readers and writers side by side.
#[test]
fn much_data() {
    let stage = Stage::new();
    let size = 64 << 20;
    let mut random = fastrand::Rng::with_seed(7);
    let mut data = vec![0; size];
    random.fill(&mut data);
    fs::write(stage.guest("f"), &data).unwrap();
    assert!(fs::read(stage.host("f")).unwrap() == data);
    sh(&stage.host, "cp f g; chmod 666 g");
    assert!(fs::read(stage.guest("g")).unwrap() == data);
    std::thread::scope(|scope| {
        for part in 0..4 {
            let (stage, data) = (&stage, &data);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(part);
                let file = File::options().read(true).write(true).open(stage.guest("f")).unwrap();
                let part = part as usize * size / 4;
                for _ in 0..200 {
                    let length = 1 << random.usize(0..21);
                    let place = part + random.usize(0..size / 4 - length);
                    let mut read = vec![0; length];
                    file.read_exact_at(&mut read, place as u64).unwrap();
                    assert!(read == data[place..place + length]);
                    file.write_all_at(&read, place as u64).unwrap();
                }
            });
        }
    });
    assert!(fs::read(stage.host("f")).unwrap() == data);
}

/// Programs that rename, make and remove the same few names at once end with what a disk would: every file somewhere, once.
#[test]
fn a_storm_of_renames() {
    let stage = Stage::new();
    for number in 0..8 {
        fs::create_dir(stage.guest(&format!("d{number}"))).unwrap();
        fs::write(stage.guest(&format!("d{number}/f{number}")), number.to_string()).unwrap();
    }
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let stage = &stage;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..1500 {
                    let file = random.u8(0..8);
                    let (from, to) = (random.u8(0..8), random.u8(0..8));
                    // Either side renames; the other learns of it.
                    let path = |folder| {
                        let name = format!("d{folder}/f{file}");
                        if seed == 0 { stage.host(&name) } else { stage.guest(&name) }
                    };
                    let _ = fs::rename(path(from), path(to));
                    if let Ok(text) = fs::read_to_string(path(to)) {
                        assert_eq!(text, file.to_string());
                    }
                    let scrap = stage.guest(&format!("d{to}/scrap {seed}"));
                    fs::write(&scrap, "x").unwrap();
                    fs::rename(&scrap, stage.guest(&format!("d{from}/scrap {seed}"))).unwrap();
                    fs::remove_file(stage.guest(&format!("d{from}/scrap {seed}"))).unwrap();
                }
            });
        }
    });
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let names = "find . -type f -printf '%f\\n' | sort | tr '\\n' ' '";
    assert_eq!(stage.sh(names), "f0 f1 f2 f3 f4 f5 f6 f7 ");
    assert_eq!(sh(&stage.host, names), "f0 f1 f2 f3 f4 f5 f6 f7 ");
}
