//! A disk that is full: uploads are refused, everything else goes on, and space comes back without a restart.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use wharf_tests::{
    Config, Image, OCI_INDEX, Repo, Server, SmallDisk, empty_index, eventually, path_of, random, sha256, with_query,
};

const MIB: usize = 1 << 20;

fn config() -> Config {
    Config::default()
        .with_files()
        .set("wharf.storage.min_free", 0)
        .set("wharf.collection.interval", "never")
        .set("wharf.collection.lease", "200ms")
        .set("wharf.collection.grace", "1h")
}

#[track_caller]
fn expect_whole(repo: &Repo<'_>, image: &Image) {
    assert_eq!(repo.manifest(&image.digest).expect(200).body, image.manifest);
    for blob in image.blobs() {
        assert!(repo.blob(&sha256(blob)).expect(200).body == *blob);
    }
}

/// In every form an upload that does not fit is refused, leaves nothing behind, and disturbs nobody.
#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let Some(disk) = SmallDisk::mount() else { return };
    let server = Server::at(&disk.point().join("data"), config());
    let repo = server.repo("app");
    let image = Image::with_layers(&[MIB]);
    repo.push("v1", &image);
    let free = disk.free();
    let blob = random(free + MIB);
    let digest = sha256(&blob);
    for form in ["put", "patch", "stream", "post", "last chunk"] {
        let location = repo.start_upload();
        let with_digest = with_query(&location, &format!("digest={digest}"));
        let (session, answer) = match form {
            "put" => (Some(location), server.put(&with_digest).body(&blob).send()),
            "patch" => (Some(location.clone()), repo.patch_request(&location, &blob).send()),
            "stream" => (Some(location.clone()), server.patch(&location).chunked(blob.chunks(MIB)).send()),
            "post" => (None, server.post(&repo.uploads_path(&format!("digest={digest}"))).body(&blob).send()),
            _ => {
                let half = blob.len() / 2;
                let next = path_of(repo.patch(&location, 0, &blob[..half]).expect(202).header("Location"));
                (Some(next.clone()), repo.patch(&next, half, &blob[half..]))
            }
        };
        answer.expect_error(507, "STORAGE_FULL");
        if let Some(session) = session {
            server.get(&session).send().expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        }
        assert_eq!(server.blob_files().len(), 2, "after {form}");
        // The index's log grows with every request, up to its bound, and is no part of the upload.
        let log =
            || fs::metadata(disk.point().join("data").join("index.sqlite-wal")).map_or(0, |metadata| metadata.len() as usize);
        eventually("the room is free again", || disk.free() + log() + MIB / 4 > free);
        expect_whole(&repo, &image);
        let small = random(MIB);
        repo.push_blob(&small);
        repo.delete_blob(&sha256(&small)).expect(202);
    }
}

/// Full to the last byte, several times over: reads and deletes go on, a collection frees room, and pushes go on in it.
#[test]
fn deletes_and_collection_work_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut server = Server::at(&disk.point().join("data"), config());
    let keep = Image::with_layers(&[MIB]);
    server.repo("keep").push("v1", &keep);
    for round in 0..3 {
        let repo = server.repo("app");
        let (tagged, untagged) = (Image::with_layers(&[6 * MIB]), Image::with_layers(&[3 * MIB]));
        repo.push("v1", &tagged);
        repo.push(&untagged.digest, &untagged);
        let loose = random(MIB);
        repo.push_blob(&loose);
        sleep(Duration::from_millis(300));
        disk.fill();
        for _ in 0..3 {
            // Room for the session's row may be left, for its bytes there is none.
            let answer = server.post(&repo.uploads_path("")).send();
            let answer = match answer.status {
                202 => repo.finish(&path_of(answer.header("Location")), &sha256(&loose[1..]), &loose[1..]),
                _ => answer,
            };
            answer.expect_error(507, "STORAGE_FULL");
        }
        expect_whole(&server.repo("keep"), &keep);
        assert_eq!(repo.tag_list(""), ["v1"]);
        if round == 1 {
            // What is stored outlives a crash on the full disk, and the server starts on it.
            server.kill();
            server.restart();
        }
        let repo = server.repo("app");
        expect_whole(&repo, &tagged);
        repo.delete("v1").expect(202);
        repo.delete(&untagged.digest).expect(202);
        repo.delete_blob(&sha256(&loose)).expect(202);
        eventually("the leases have run out and all is collected", || {
            server.collect("now=1");
            server.blob_files().len() == 2
        });
        assert_eq!(repo.manifest(&tagged.digest).status, 404);
        assert!(disk.free() > 9 * MIB, "{} bytes are free in round {round}", disk.free());
        let next = Image::with_layers(&[2 * MIB]);
        repo.push("next", &next);
        expect_whole(&repo, &next);
        repo.delete(&next.digest).expect(202);
        expect_whole(&server.repo("keep"), &keep);
        disk.drain();
        sleep(Duration::from_millis(300));
        server.collect("now=1");
    }
}

/// Manifests are refused like uploads, and what was acknowledged before is there after a crash on the full disk.
#[test]
fn nothing_acknowledged_is_lost_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut server = Server::at(&disk.point().join("data"), config());
    let mut stored = Vec::new();
    disk.fill();
    disk.drain();
    let reserve = random(disk.free() - 300_000);
    fs::write(disk.point().join("filler"), &reserve).expect("most of the room");
    let mut refused = 0;
    for number in 0..2_000 {
        let manifest = empty_index();
        let answer = server.repo("app").put(&format!("t{number}"), OCI_INDEX, &manifest);
        match answer.status {
            201 => stored.push((number, manifest)),
            _ => {
                answer.expect_error(507, "STORAGE_FULL");
                refused += 1;
            }
        }
        if refused == 20 {
            break;
        }
    }
    assert!(refused == 20 && !stored.is_empty(), "{refused} refused, {} stored", stored.len());
    server.kill();
    server.restart();
    let repo = server.repo("app");
    for (number, manifest) in &stored {
        assert_eq!(repo.manifest(&format!("t{number}")).expect(200).body, *manifest);
    }
    assert_eq!(repo.tag_list("").len(), stored.len());
    for (number, _) in &stored {
        repo.delete(&format!("t{number}")).expect(202);
        // The room that is set aside is for deletes alone.
        for _ in 0..3 {
            repo.put("late", OCI_INDEX, &empty_index()).expect_error(507, "STORAGE_FULL");
        }
    }
    disk.drain();
    repo.push_random("again");
}

/// An upload that would eat into the reserve while it comes in is stopped, and gives back what it took.
#[test]
fn an_upload_is_stopped_at_the_reserve() {
    let Some(disk) = SmallDisk::mount() else { return };
    let server = Server::at(&disk.point().join("data"), config().set("wharf.storage.min_free", "16MiB"));
    let repo = server.repo("app");
    let location = repo.start_upload();
    let (free, blob) = (disk.free(), random(32 * MIB));
    let mut upload = server.patch(&location).body(&blob).send_beginning(0);
    for part in blob.chunks(4 * MIB) {
        // Slowly, because an answer about free space holds for a moment.
        sleep(Duration::from_millis(200));
        if upload.write(part).is_err() {
            break;
        }
    }
    upload.read_response("PATCH").expect("an answer").expect_error(507, "STORAGE_FULL");
    server.get(&location).send().expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    assert!(server.blob_files().is_empty());
    assert!(disk.free() + MIB > free);
    sleep(Duration::from_millis(700));
    repo.push_blob(&random(MIB));
}

/// The reserve is kept for deletes and for others: uploads are refused before the disk is full.
#[test]
fn the_reserve_is_left_alone() {
    let server = Server::launch(wharf_tests::Program::Wharf, config());
    let image = server.repo("app").push_random("v1");
    let mut server = server;
    server.restart_with(config().set("wharf.storage.min_free", "900TiB"));
    let repo = server.repo("app");
    server.post(&repo.uploads_path("")).send().expect_error(507, "STORAGE_FULL");
    let blob = random(10);
    let target = repo.uploads_path(&format!("digest={}", sha256(&blob)));
    server.post(&target).body(&blob).send().expect_error(507, "STORAGE_FULL");
    expect_whole(&repo, &image);
    repo.put("v2", OCI_INDEX, &empty_index()).expect(201);
    repo.delete("v1").expect(202);
    assert_eq!(repo.tag_list(""), ["v2"]);
}
