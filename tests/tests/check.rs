//! `wharf check`: what is wrong with a storage folder is named with what suffers from it and the way out, beside a server and without; `--repair` mends it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use serde_json::Value;
use wharf_tests::{Config, Image, OCI_INDEX, OCI_MANIFEST, Program, Ran, Server, artifact, index, random, sha256};

fn server() -> Server {
    let config = Config::default().with_files().set("wharf.scrub.interval", "never").set("wharf.collection.interval", "never");
    Server::launch(Program::Wharf, config)
}

/// The file of a blob, by its content.
#[track_caller]
fn file_of(server: &Server, blob: &[u8]) -> PathBuf {
    let mut found = server.blob_files().into_iter().filter(|path| fs::read(path).is_ok_and(|bytes| bytes == blob));
    found.next().expect("the blob's file")
}

fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("open a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read a byte");
    file.write_all_at(&[byte[0] ^ 1], offset).expect("flip a bit");
}

/// The index of a server that was ended, without a log beside it.
fn broken(server: &Server, sql: &str) {
    let connection = Connection::open(server.root().join("index.sqlite")).expect("open the index");
    connection.execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}")).expect("break the index");
    connection.close().expect("close the index");
}

/// The findings' kinds, in a fixed order.
#[track_caller]
fn kinds(ran: &Ran) -> Vec<String> {
    let report = ran.json();
    let findings = report["report"]["findings"].as_array().expect("findings");
    let mut kinds: Vec<_> = findings.iter().map(|finding| finding["kind"].as_str().expect("a kind").to_owned()).collect();
    kinds.sort();
    kinds
}

/// A check that finds nothing, and says how much it looked at.
#[track_caller]
fn expect_sound(server: &Server) -> Value {
    let ran = server.owner("check", &["--json"]).expect(0);
    assert_eq!(kinds(&ran), [""; 0], "{}", ran.stdout);
    ran.json()["report"].take()
}

#[test]
fn what_is_sound_is_told_so_beside_a_server_and_without() {
    let mut server = server();
    let image = server.repo("app").push_random("v1");
    server.repo("app").put("all", OCI_INDEX, &index(&[image.descriptor("arm64")])).expect(201);
    server.repo("app").push_artifact(&artifact(Some(&image.descriptor("arm64")), Some("a/b"), &[]));
    let unfinished = server.repo("app").start_upload();
    server.repo("app").patch(&unfinished, 0, &random(100_000)).expect(202);
    let beside = expect_sound(&server);
    assert_eq!((&beside["tags"], &beside["manifests"], &beside["uploads"]), (&2.into(), &3.into(), &1.into()), "{beside}");
    let text = server.owner("check", &[]).expect(0).stdout;
    assert!(text.contains("Checked 1 repository, 2 tags, 3 manifests") && text.ends_with("Nothing is wrong\n"), "{text}");
    let before = fs::metadata(server.root().join("index.sqlite")).and_then(|file| file.modified()).expect("a time");
    server.terminate();
    let alone = expect_sound(&server);
    assert_eq!((&beside["blobs"], &beside["bytes"]), (&alone["blobs"], &alone["bytes"]));
    assert!(before <= SystemTime::now());
    server.restart();
    server.repo("app").patch(&unfinished, 100_000, &random(10)).expect(202);
}

/// Each kind of damage to a file, told with the tags that suffer from it, and put aside by a repair; a push heals it.
#[test]
fn damaged_files_are_named_and_put_aside() {
    for beside in [true, false] {
        let mut server = server();
        let image = Image::with_layers(&[100_000, 200_000, 300_000]);
        server.repo("app").push("v1", &image);
        server.repo("app").put("v2", OCI_MANIFEST, &image.manifest).expect(201);
        let sound = server.repo("other").push_random("stays");
        if !beside {
            server.terminate();
        }
        let files: Vec<_> = image.layers.iter().map(|layer| file_of(&server, layer)).collect();
        flip(&files[0], 5_000);
        OpenOptions::new().write(true).open(&files[1]).and_then(|file| file.set_len(10)).expect("truncate");
        fs::remove_file(&files[2]).expect("remove");
        let ran = server.owner("check", &["--json"]).expect(1);
        assert_eq!(kinds(&ran), ["blob_altered", "blob_length", "blob_missing"]);
        let concerns = serde_json::json!(["app:v1", "app:v2"]);
        let findings = ran.json()["report"]["findings"].take();
        assert!(findings.as_array().is_some_and(|all| all.iter().all(|finding| finding["concerns"] == concerns)), "{findings}");
        let digest = sha256(&image.layers[0]);
        server
            .owner("check", &[])
            .expect(1)
            .tells(&digest)
            .tells("app:v1, app:v2")
            .tells("push app:v1 again")
            .tells("3 problems found");
        assert_eq!(files.iter().filter(|file| file.exists()).count(), 2, "a check changes nothing");

        server.owner("check", &["--repair"]).expect(1).tells(&format!("done: put blob {digest} aside")).tells("3 problems left");
        assert!(files.iter().all(|file| !file.exists()));
        // Now it is what the manifest names that is not here.
        let ran = server.owner("check", &["--repair", "--json"]).expect(1);
        assert_eq!((kinds(&ran), &ran.json()["report"]["quarantined"]), (vec!["missing".to_owned(); 3], &2.into()));
        if !beside {
            server.restart();
        }
        server.repo("app").blob(&digest).expect_error(404, "BLOB_UNKNOWN");
        assert_eq!(server.repo("other").blob(&sha256(&sound.layers[0])).expect(200).body, sound.layers[0]);
        server.repo("app").push("v1", &image);
        assert_eq!(expect_sound(&server)["quarantined"], 2);
    }
}

/// Damage of rows, one kind after the other: found, mended, and nothing that was whole is lost.
#[test]
fn damaged_rows_are_found_and_mended() {
    let unnamed = "DELETE FROM manifest_references WHERE manifest_id = (SELECT manifest_id FROM tags WHERE name = 'v1')";
    let unlinked = "DELETE FROM repository_blobs WHERE blob_id IN (SELECT id FROM blobs WHERE size = 100000)";
    let nameless = "DELETE FROM repositories WHERE name = 'app'";
    let lost = "DELETE FROM repository_blobs WHERE blob_id IN (SELECT id FROM blobs WHERE size = 100000);
                DELETE FROM blobs WHERE size = 100000";
    let half = "DELETE FROM blobs WHERE size = 100000";
    let count = "UPDATE repositories SET bytes = bytes + 1, manifests = 7";
    let cases: [(&str, &str, &[&str]); 6] = [
        ("what a manifest names", unnamed, &["manifest_notes"]),
        ("a link", unlinked, &["count", "unlinked"]),
        ("a repository's name", nameless, &["orphans"]),
        ("a blob's rows", lost, &["count", "stray"]),
        ("a blob's row", half, &["count", "orphans", "stray"]),
        ("counts", count, &["count"]),
    ];
    for (what, sql, expected) in cases {
        for beside in [false, true] {
            let mut server = server();
            let image = Image::with_layers(&[100_000]);
            server.repo("app").push("v1", &image);
            server.terminate();
            broken(&server, sql);
            if beside {
                server.restart();
            }
            let ran = server.owner("check", &["--json"]).expect(1);
            assert_eq!(kinds(&ran), expected, "{what}: {}", ran.stdout);
            server.owner("check", &["--repair"]).expect(0).tells("Everything wrong was mended");
            expect_sound(&server);
            if !beside {
                server.restart();
            }
            assert_eq!(server.repo("app").manifest("v1").expect(200).body, image.manifest, "{what}");
            assert_eq!(server.repo("app").blob(&sha256(&image.layers[0])).expect(200).body, image.layers[0], "{what}");
            // What was mended is held as before.
            server.collect("now=1");
            expect_sound(&server);
            assert_eq!(server.repo("app").tag_list(""), ["v1"]);
        }
    }
}

/// Content that nothing can bring back: manifests with other bytes, tags without one, blobs in the index.
#[test]
fn what_cannot_be_brought_back_is_removed_and_told() {
    let altered = "UPDATE manifests SET bytes = CAST(replace(CAST(bytes AS TEXT), 'sha256', 'sha265') AS BLOB)";
    let cases =
        [(altered, "manifest_altered", "app:v1"), ("DELETE FROM manifest_references; DELETE FROM manifests", "tag", "app:v1")];
    for (sql, kind, concern) in cases {
        let mut server = server();
        server.repo("app").push_random("v1");
        server.terminate();
        broken(&server, sql);
        let ran = server.owner("check", &["--json"]).expect(1);
        assert!(kinds(&ran).contains(&kind.to_owned()), "{}", ran.stdout);
        server.owner("check", &[]).expect(1).tells(concern);
        server.owner("check", &["--repair"]).expect(1).tells("done: removed").tells("1 problem left");
        expect_sound(&server);
        server.restart();
        assert_eq!(server.repo("app").manifest("v1").status, 404);
        server.repo("app").push_random("v1");
        expect_sound(&server);
    }
    // Bytes that the index itself keeps.
    let mut server = Server::launch(Program::Wharf, Config::default().set("wharf.storage.inline", "4KiB"));
    let repo = server.repo("app");
    let digest = repo.push_blob(b"small");
    server.terminate();
    broken(&server, "UPDATE blob_contents SET content = CAST('other' AS BLOB)");
    assert_eq!(kinds(&server.owner("check", &["--repair", "--json"]).expect(1)), ["blob_altered"]);
    server.restart();
    server.repo("app").blob(&digest).expect_error(404, "BLOB_UNKNOWN");
    server.repo("app").push_blob(b"small");
    assert_eq!(server.repo("app").blob(&digest).expect(200).body, b"small");
    expect_sound(&server);
}

/// A file that nothing names is no damage; a repair moves it where it harms nobody.
#[test]
fn leftovers_are_told_and_moved_away() {
    for beside in [true, false] {
        let mut server = server();
        server.repo("app").push_random("v1");
        if !beside {
            server.terminate();
        }
        let stray = server.root().join("blobs/000/nobody");
        fs::create_dir_all(stray.parent().expect("a folder")).expect("create a folder");
        fs::write(&stray, "left").expect("write a file");
        server.owner("check", &[]).expect(0).tells("1 file that nothing names").tells("Nothing is wrong");
        server.owner("check", &["--repair"]).expect(0).tells("moved 1 of them to the quarantine");
        assert!(!stray.exists());
        let ran = server.owner("check", &["--json"]).expect(0);
        assert_eq!((kinds(&ran), &ran.json()["report"]["quarantined"]), (vec![], &1.into()));
    }
}

/// The database itself. Lookup tables are built anew; where rows are gone the way out is a backup, and nothing is touched.
#[test]
fn a_damaged_database_is_told_from_damaged_rows() {
    let mut server = server();
    for number in 0..50 {
        server.repo("app").push_random(&format!("v{number}"));
    }
    server.terminate();
    // An entry of a lookup table is taken away behind the engine's back, by making it think that there is none to keep.
    broken(
        &server,
        "PRAGMA writable_schema = ON;
         CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'tags_by_manifest';
         DELETE FROM sqlite_schema WHERE name = 'tags_by_manifest';",
    );
    broken(&server, "DELETE FROM tags WHERE name = 'v7'");
    broken(
        &server,
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM kept; DROP TABLE kept; PRAGMA writable_schema = RESET;",
    );
    let ran = server.owner("check", &["--json"]).expect(1);
    assert_eq!(kinds(&ran), ["index"], "{}", ran.stdout);
    server.owner("check", &["--repair"]).expect(0).tells("built the lookup tables of the index anew");
    expect_sound(&server);

    // Pages full of nothing.
    let path = server.root().join("index.sqlite");
    let pages = fs::metadata(&path).expect("the index").len() / 4096;
    let file = OpenOptions::new().write(true).open(&path).expect("open the index");
    for page in (pages / 4)..(pages / 2) {
        file.write_all_at(&[0x5a; 4096], page * 4096).expect("overwrite a page");
    }
    let before = fs::read(&path).expect("the index");
    let ran = server.owner("check", &["--json"]).expect(1);
    assert!(kinds(&ran).contains(&"index".to_owned()), "{}", ran.stdout);
    server.owner("check", &["--repair"]).expect(1).tells("wharf restore");
    assert!(fs::read(&path).expect("the index") == before, "nothing is tried on what may still be saved");
    fs::write(&path, "no database at all, but long enough to be taken for one if nobody looks at its head").expect("overwrite");
    server.owner("check", &[]).expect(1).tells("cannot be read").tells("wharf restore");
}

/// Nothing in motion is taken for something wrong: pushes, deletes and collection all the while.
#[test]
fn a_check_beside_pushes_and_collection_finds_nothing() {
    let config = Config::default()
        .with_files()
        .set("wharf.collection.lease", "100ms")
        .set("wharf.collection.grace", "10ms")
        .set("wharf.collection.interval", "never");
    let server = Server::launch(Program::Wharf, config);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for pusher in 0..3 {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let repo = server.repo(&format!("app{pusher}"));
                    let image = repo.push_random("v1");
                    if fastrand::bool() {
                        repo.delete(&image.digest).expect(202);
                    }
                }
            });
        }
        let (server, done) = (&server, &done);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                server.collect("");
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let checks = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..15 {
                expect_sound(server);
                server.owner("check", &["--repair"]).expect(0).tells("Nothing is wrong");
            }
        }));
        done.store(true, Ordering::Relaxed);
        checks.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// What is no storage, or not reachable, is told so; nothing is made there.
#[test]
fn what_is_no_storage_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let wharf = wharf_tests::Wharf::new(folder.path());
    wharf.fails(&["check"]).says("no storage at").says("--storage");
    wharf.fails(&["check", "nowhere"]).says("nowhere is no backup");
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);

    let mut server = server();
    server.repo("app").push_random("v1");
    server.terminate();
    fs::rename(server.root().join("blobs"), server.root().join("elsewhere")).expect("move the blobs");
    server.owner("check", &["--repair"]).expect(1).says("is not their folder");
    fs::rename(server.root().join("elsewhere"), server.root().join("blobs")).expect("move the blobs back");
    expect_sound(&server);
    broken(&server, "PRAGMA user_version = 99");
    server.owner("check", &[]).expect(1).says("schema version 99");
    broken(&server, "PRAGMA application_id = 1");
    server.owner("check", &[]).expect(1).says("another program's");
}
