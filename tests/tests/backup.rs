//! `wharf backup` and `wharf restore`: what was acknowledged before a backup began comes back whole, saved while serving; a second backup costs what is new.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use wharf_tests::{Config, Image, Program, Server, SmallDisk, Wharf, eventually, random, sha256};

fn config() -> Config {
    Config::default().with_files().set("wharf.scrub.interval", "never").set("wharf.collection.interval", "never")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Every file below a folder, with its length.
fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("read a folder").flatten() {
            match entry.metadata().expect("a file") {
                metadata if metadata.is_dir() => folders.push(entry.path()),
                metadata => found.push((entry.path(), metadata.len())),
            }
        }
    }
    found.sort();
    found
}

/// A server over what a backup brings back, with the settings of another.
#[track_caller]
fn restored(backup: &Path, config: Config) -> Server {
    let mut server = Server::launch(Program::Wharf, config);
    server.terminate();
    fs::remove_dir_all(server.root()).expect("remove an empty storage folder");
    server.owner("restore", &[text(backup)]).expect(0).tells("Brought back the backup of 20");
    server.owner("check", &[]).expect(0).tells("Nothing is wrong");
    server.restart();
    server
}

#[track_caller]
fn expect_image(server: &Server, name: &str, tag: &str, image: &Image) {
    let repo = server.repo(name);
    assert_eq!(repo.manifest(tag).expect(200).body, image.manifest, "{name}:{tag}");
    for blob in image.blobs() {
        assert!(repo.blob(&sha256(blob)).expect(200).body == *blob, "{name}:{tag}");
    }
}

#[test]
fn a_backup_brings_everything_back_and_costs_what_is_new() {
    let (mut server, place) = (Server::launch(Program::Wharf, config()), folder());
    let backup = place.path().join("new/backup");
    let first = Image::with_layers(&[300_000, 50_000]);
    server.repo("app").push("v1", &first);
    let gone = server.repo("app").push_random("gone");
    // It is not acknowledged as whole, so it is no part of a backup.
    let unfinished = server.repo("app").start_upload();
    server.repo("app").patch(&unfinished, 0, &random(100_000)).expect(202);
    let ran = server.owner("backup", &[text(&backup), "--json"]).expect(0);
    let made = ran.json();
    assert_eq!((&made["blobs"], made["damaged"].as_array().map(Vec::len)), (&5.into(), Some(0)), "{made}");
    assert_eq!(fs::metadata(&backup).expect("the backup").mode() & 0o777, 0o700);
    server.owner("check", &[text(&backup)]).expect(0).tells("Nothing is wrong");

    let second = Image::with_layers(&[70_000]);
    server.repo("app").push("v2", &second);
    server.repo("app").delete(&gone.digest).expect(202);
    let made = server.owner("backup", &[text(&backup), "--json"]).expect(0).json();
    let new = made["copied"].as_u64().unwrap_or_default() + made["linked"].as_u64().unwrap_or_default();
    assert_eq!(new, 2, "{made}");
    server.terminate();
    server.owner("backup", &[text(&backup)]).expect(0).tells("nothing new");
    drop(server);

    let server = restored(&backup, config());
    expect_image(&server, "app", "v1", &first);
    expect_image(&server, "app", "v2", &second);
    assert_eq!(server.repo("app").manifest("gone").status, 404);
    assert_eq!(server.repo("app").manifest(&gone.digest).status, 404);
    assert_eq!(server.repo("app").upload_status(&unfinished).status, 404);
    // What is restored is its own: it may change and go without the backup.
    server.repo("app").delete("v1").expect(202);
    server.collect("now=1");
    server.owner("check", &[text(&backup)]).expect(0).tells("Nothing is wrong");
}

/// Backups beside pushes, deletes and a collection without a pause: each is whole by itself, and has all that was acknowledged before it began.
#[test]
fn backups_beside_pushes_and_collection_are_whole() {
    let config = config().set("wharf.collection.lease", "100ms").set("wharf.collection.grace", "10ms");
    let (server, place) = (Server::launch(Program::Wharf, config.clone()), folder());
    let backup = place.path().join("backup");
    let (done, kept) = (AtomicBool::new(false), Mutex::new(Vec::<(String, Image)>::new()));
    let mut expected = 0;
    std::thread::scope(|scope| {
        for pusher in 0..3 {
            let (server, done, kept) = (&server, &done, &kept);
            scope.spawn(move || {
                let mut number = 0;
                while !done.load(Ordering::Relaxed) {
                    number += 1;
                    let (name, tag) = (format!("app{pusher}"), format!("v{number}"));
                    let image = server.repo(&name).push_random(&tag);
                    if number % 3 == 0 {
                        kept.lock().expect("the list").push((format!("{name}:{tag}"), image));
                    } else {
                        server.repo(&name).delete(&image.digest).expect(202);
                    }
                }
            });
        }
        let (server, done) = (&server, &done);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                server.collect("");
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let backups = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..8 {
                expected = kept.lock().expect("the list").len();
                server.owner("backup", &[text(&backup)]).expect(0);
                server.owner("check", &[text(&backup), "--json"]).expect(0);
                std::thread::sleep(Duration::from_millis(50));
            }
        }));
        done.store(true, Ordering::Relaxed);
        backups.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    drop(server);
    let kept = kept.into_inner().expect("the list");
    assert!(expected > 10, "{expected} images were pushed");
    let server = restored(&backup, config);
    for (name, image) in &kept[..expected] {
        let (name, tag) = name.split_once(':').expect("a tag");
        expect_image(&server, name, tag, image);
    }
}

/// A backup that is cut off leaves the one before it whole, and the next goes on; so does a restore.
#[test]
fn what_is_cut_off_is_taken_up_again() {
    let (server, place) = (Server::launch(Program::Wharf, config()), folder());
    let backup = place.path().join("backup");
    let first = server.repo("app").push_random("first");
    server.owner("backup", &[text(&backup)]).expect(0);
    let large = Image::of_layers((0..40).map(|_| random(3_000_000)).collect());
    server.repo("app").push("large", &large);
    // On another file system each file is a copy, which takes its time.
    let wharf = Wharf::new(place.path()).env("CONTAINER_REGISTRY_URL", &server.address().to_string());
    let cut = |arguments: &[&str], is_under_way: &dyn Fn() -> bool| {
        let mut child = wharf.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start wharf");
        let begun = std::time::Instant::now();
        while !is_under_way() && begun.elapsed() < Duration::from_secs(10) && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().expect("kill it");
        child.wait().expect("its end");
    };
    let config_file = server.root().parent().expect("a folder").join("config.yml");
    let draft = backup.join("data/index.sqlite.new");
    cut(&["backup", text(&backup), "--config", text(&config_file)], &|| files(&backup).len() > 6 || draft.exists());
    server.owner("check", &[text(&backup)]).expect(0).tells("Nothing is wrong");
    server.owner("backup", &[text(&backup)]).expect(0);
    drop(server);

    let target = place.path().join("target");
    let storage = text(&target);
    let data = target.join("data");
    cut(&["restore", text(&backup), "--storage", storage], &|| data.join("blobs").exists() && files(&data).len() > 5);
    if !data.join("index.sqlite").exists() {
        wharf.fails(&["serve", "--storage", storage]).says("run `wharf restore` again");
        wharf.fails(&["gc", "--storage", storage]).says("no storage");
    }
    let again = wharf.run(&["restore", text(&backup), "--storage", storage]);
    assert!(again.code == 0 || again.stderr.contains("is not empty"), "{again}");
    wharf.ok(&["check", "--storage", storage]).tells("Nothing is wrong");
    let server = Server::at(&data, config());
    expect_image(&server, "app", "first", &first);
    expect_image(&server, "app", "large", &large);
}

/// A file that a backup left half written when it was cut off, as after a power cut, is not taken for the blob whose name and length it has.
#[test]
fn what_a_cut_left_is_read_before_it_counts() {
    let (server, place) = (Server::launch(Program::Wharf, config()), folder());
    let backup = place.path().join("backup");
    server.repo("app").push_random("v1");
    server.owner("backup", &[text(&backup)]).expect(0);
    let image = Image::with_layers(&[100_000]);
    server.repo("app").push("v2", &image);
    let layer = server.blob_files().into_iter().find(|path| fs::metadata(path).is_ok_and(|file| file.len() == 100_000));
    let name = layer.expect("the layer's file").strip_prefix(server.root()).expect("a file of the storage").to_owned();
    let left = backup.join("data").join(name);
    fs::create_dir_all(left.parent().expect("a folder")).expect("create a folder");
    fs::write(&left, vec![0; 100_000]).expect("write a file of nothing");
    server.owner("backup", &[text(&backup)]).expect(0);
    server.owner("check", &[text(&backup)]).expect(0).tells("Nothing is wrong");
    drop(server);
    expect_image(&restored(&backup, config()), "app", "v2", &image);
}

/// Root brings a backup back for the user whose place it is.
#[test]
fn what_root_restores_belongs_to_the_owner_of_the_place() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tried: giving files away takes root");
        return;
    }
    let (server, place) = (Server::launch(Program::Wharf, config()), folder());
    server.repo("app").push("v1", &Image::with_layers(&[100_000]));
    let backup = place.path().join("backup");
    server.owner("backup", &[text(&backup)]).expect(0);
    let home = place.path().join("home");
    fs::create_dir(&home).expect("create a folder");
    std::os::unix::fs::chown(&home, Some(65_534), Some(65_534)).expect("give it away");
    Wharf::new(place.path()).ok(&["restore", text(&backup), "--storage", text(&home.join("new/storage"))]);
    let mut folders = vec![home];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("read a folder").flatten() {
            let metadata = entry.metadata().expect("a file");
            assert_eq!((metadata.uid(), metadata.gid()), (65_534, 65_534), "{}", entry.path().display());
            folders.extend(metadata.is_dir().then(|| entry.path()));
        }
    }
}

/// What would lose something, or mean nothing, is refused, and nothing is left.
#[test]
fn what_cannot_be_meant_is_refused() {
    let (server, place) = (Server::launch(Program::Wharf, config()), folder());
    server.repo("app").push_random("v1");
    let inside = server.root().join("backup");
    server.owner("backup", &[text(&inside)]).expect(1).says("lies inside of").says("best on another disk");
    assert!(!inside.exists());
    let other = place.path().join("other");
    fs::create_dir(&other).expect("create a folder");
    fs::write(other.join("mine"), "precious").expect("write a file");
    server.owner("backup", &[text(&other)]).expect(1).says("is not empty, and no backup");
    assert_eq!(files(&other).len(), 1);
    server.owner("restore", &[text(&other)]).expect(1).says("is no backup");
    let backup = place.path().join("backup");
    server.owner("backup", &[text(&backup)]).expect(0);
    server.owner("restore", &[text(&backup)]).expect(1).says("stop the registry");
    let wharf = Wharf::new(place.path());
    let full = place.path().join("full/data");
    fs::create_dir_all(&full).expect("create a folder");
    fs::write(full.join("something"), "precious").expect("write a file");
    wharf.fails(&["restore", text(&backup), "--storage", text(full.parent().expect("a folder"))]).says("is not empty");
    let names: Vec<_> = files(&full).into_iter().map(|(path, _)| path.file_name().expect("a name").to_owned()).collect();
    assert!(names.iter().all(|name| name == "something" || name == "wharf.lock"), "{names:?}");
    fs::write(backup.join("wharf-backup.json"), r#"{"form":7}"#).expect("write a mark");
    wharf.fails(&["restore", text(&backup), "--storage", "elsewhere"]).says("form 7").says("or a newer one");
    wharf.fails(&["backup", "somewhere"]).says("no storage at");
    assert!(!place.path().join("somewhere").exists() && !place.path().join("elsewhere").exists());
}

/// Damage is told, and does not come along as if it were sound.
#[test]
fn damage_is_told_on_the_way_in_and_on_the_way_back() {
    let (server, place) = (Server::launch(Program::Wharf, config()), folder());
    let backup = place.path().join("backup");
    let image = Image::with_layers(&[100_000, 200_000]);
    server.repo("app").push("v1", &image);
    let file_of = |folder: &Path, blob: &[u8]| {
        files(folder)
            .into_iter()
            .map(|(path, _)| path)
            .find(|path| fs::read(path).is_ok_and(|bytes| bytes == blob))
            .expect("a file")
    };
    fs::remove_file(file_of(&server.root(), &image.layers[0])).expect("lose a file");
    let lost = sha256(&image.layers[0]);
    server.owner("backup", &[text(&backup)]).expect(1).says(&lost);
    server.owner("check", &[text(&backup)]).expect(1).tells(&lost).tells("app:v1");
    drop(server);
    // One that rots in the backup itself. It has its name from nowhere else, for that server's folder is gone.
    let rotten = file_of(&backup, &image.layers[1]);
    fs::set_permissions(&rotten, fs::Permissions::from_mode(0o600)).expect("make it writable");
    fs::write(&rotten, vec![0; 200_000]).expect("let it rot");
    let mut server = Server::launch(Program::Wharf, config());
    server.terminate();
    fs::remove_dir_all(server.root()).expect("remove an empty storage folder");
    server.owner("restore", &[text(&backup)]).expect(1).says(&sha256(&image.layers[1]));
    server.restart();
    for layer in &image.layers {
        server.repo("app").blob(&sha256(layer)).expect_error(404, "BLOB_UNKNOWN");
    }
    server.repo("app").push("v1", &image);
    expect_image(&server, "app", "v1", &image);
    server.owner("check", &[]).expect(0).tells("Nothing is wrong");
}

/// No room in the backup's place: told, the backup before stays whole, and the server notices nothing.
#[test]
fn a_full_disk_leaves_the_backup_before() {
    let server = Server::launch(Program::Wharf, config().set("wharf.collection.lease", "100ms"));
    let Some(disk) = SmallDisk::mount() else { return };
    let backup = disk.point().join("backup");
    let image = Image::with_layers(&[500_000]);
    server.repo("app").push("v1", &image);
    server.owner("backup", &[text(&backup)]).expect(0);
    server.repo("app").push("v2", &Image::with_layers(&[60 << 20]));
    server.owner("backup", &[text(&backup)]).expect(1).says("No space left on device").says("make room");
    server.owner("check", &[text(&backup)]).expect(0).tells("Nothing is wrong");
    server.repo("app").delete("v2").expect(202);
    eventually("what is deleted is out of the way", || {
        server.collect("now=1");
        server.owner("backup", &[text(&backup)]).code == 0
    });
    let restored = restored(&backup, config());
    expect_image(&restored, "app", "v1", &image);
}
