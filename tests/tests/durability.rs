//! A 201 means durable: whatever was acknowledged is there after the server was killed, and was synced before, which a kill alone does not show.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use wharf_tests::{Config, Image, Launch, OCI_MANIFEST, Repo, Response, Server, path_of, random, sha256, with_query};

const PUSHERS: usize = 6;
const ROUNDS: usize = 5;

/// What one pusher was told is stored, and the image it was pushing when the server died.
#[derive(Default)]
struct Record {
    /// Acknowledged blobs.
    blobs: Vec<Vec<u8>>,
    /// Acknowledged images, in order, each pushed under the pusher's tag.
    images: Vec<Image>,
    /// The last one sent, acknowledged or not.
    attempted: Option<Image>,
}

/// Pushes image after image to `app-<number>` under one tag that moves along, until the server is gone.
fn push_until_gone(server: &Server, number: usize, record: &Mutex<Record>, stop: &AtomicBool) {
    let repo = server.repo(&format!("app-{number}"));
    let acknowledged =
        |answer: std::io::Result<Response>| answer.ok().map(|answer| assert_eq!(answer.status, 201, "{}", answer.describe()));
    while !stop.load(Ordering::Relaxed) {
        let image = Image::with_layers(&[fastrand::usize(1..300_000), 100]);
        for blob in image.blobs() {
            let Ok(session) = server.post(&repo.uploads_path("")).try_send() else { return };
            let location = path_of(session.expect(202).header("Location"));
            let target = with_query(&location, &format!("digest={}", sha256(blob)));
            if acknowledged(server.put(&target).body(blob).try_send()).is_none() {
                return;
            }
            record.lock().unwrap().blobs.push(blob.clone());
        }
        record.lock().unwrap().attempted = Some(image.clone());
        if acknowledged(repo.put_request("latest", OCI_MANIFEST, &image.manifest).try_send()).is_none() {
            return;
        }
        record.lock().unwrap().images.push(image);
    }
}

/// Everything acknowledged is whole, and the tag names the last acknowledged image or the one after it.
fn check(server: &Server, number: usize, record: &Record) {
    let repo = server.repo(&format!("app-{number}"));
    for blob in &record.blobs {
        let answer = repo.blob(&sha256(blob)).expect(200);
        assert!(answer.body == *blob, "an acknowledged blob is altered: {}", sha256(blob));
    }
    for image in &record.images {
        assert_eq!(repo.manifest(&image.digest).expect(200).body, image.manifest);
    }
    if let Some(last) = record.images.last() {
        let found = repo.manifest("latest").expect(200).body;
        let in_flight = record.attempted.as_ref().is_some_and(|image| image.manifest == found);
        assert!(found == last.manifest || in_flight, "the tag names an older image than the last acknowledged");
    }
}

/// Killed in the middle of concurrent pushes, several times over on the same storage.
#[test]
fn nothing_acknowledged_is_lost_when_killed() {
    let mut server = Server::start();
    let records: Vec<Mutex<Record>> = (0..PUSHERS).map(|_| Mutex::default()).collect();
    for round in 0..ROUNDS {
        let before: usize = records.iter().map(|r| r.lock().unwrap().images.len()).sum();
        let stop = AtomicBool::new(false);
        let pid = rustix::process::Pid::from_raw(server.pid().try_into().unwrap()).unwrap();
        std::thread::scope(|scope| {
            for (number, record) in records.iter().enumerate() {
                let (server, stop) = (&server, &stop);
                scope.spawn(move || push_until_gone(server, number, record, stop));
            }
            sleep(Duration::from_millis(fastrand::u64(400..900)));
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            stop.store(true, Ordering::Relaxed);
        });
        server.wait();
        server.restart();
        let after: usize = records.iter().map(|r| r.lock().unwrap().images.len()).sum();
        assert!(after > before, "nothing was pushed in round {round}, so nothing was tried");
        for (number, record) in records.iter().enumerate() {
            check(&server, number, &record.lock().unwrap());
        }
    }
}

/// A delete that was acknowledged stays done.
#[test]
fn deletes_survive_a_kill() {
    let mut server = Server::start();
    let (gone, tagless, stays) = {
        let repo = server.repo("app");
        let images = (repo.push_random("gone"), repo.push_random("tagless"), repo.push_random("stays"));
        repo.delete(&images.0.digest).expect(202);
        repo.delete("tagless").expect(202);
        images
    };
    server.kill();
    server.restart();
    let repo = server.repo("app");
    assert_eq!(repo.manifest(&gone.digest).status, 404);
    assert_eq!(repo.tag_list(""), ["stays"]);
    assert_eq!(repo.manifest(&tagless.digest).expect(200).body, tagless.manifest);
    assert_eq!(repo.manifest("stays").expect(200).body, stays.manifest);
}

/// A requested stop loses nothing either, finishes what is under way, and ends with 0.
#[test]
fn a_requested_stop_finishes_what_is_under_way() {
    let mut server = Server::start();
    let image = server.repo("app").push_random("v1");
    let blob = random(400_000);
    let location = server.repo("app").start_upload();
    let target = with_query(&location, &format!("digest={}", sha256(&blob)));
    // The permission to send shows that the request is under way; one still in the kernel's queue has no such claim.
    let mut running = server.put(&target).header("Expect", "100-continue").body(&blob).send_beginning(0);
    assert_eq!(running.read_interim().unwrap(), 100);
    running.write(&blob[..200_000]).unwrap();
    server.ask_to_stop();
    sleep(Duration::from_millis(300));
    running.write(&blob[200_000..]).unwrap();
    assert_eq!(running.read_response("PUT").unwrap().status, 201);
    drop(running);
    assert_eq!(server.wait().code(), Some(0));
    server.restart();
    let repo = server.repo("app");
    assert!(repo.blob(&sha256(&blob)).expect(200).body == blob);
    assert_eq!(repo.manifest("v1").expect(200).body, image.manifest);
}

/// Pushes a blob in one of the ways there are and answers how the last request begins.
#[track_caller]
fn push_in_form(server: &Server, repo: &Repo<'_>, form: &str, blob: &[u8]) -> String {
    let digest = sha256(blob);
    if form == "POST" {
        let target = repo.uploads_path(&format!("digest={digest}"));
        server.post(&target).header("Content-Type", "application/octet-stream").body(blob).send().expect(201);
        return format!("POST {target}");
    }
    let (mut location, mut sent) = (repo.start_upload(), 0);
    if form == "PATCH" {
        for chunk in blob[..blob.len() / 2].chunks(100_000) {
            location = path_of(repo.patch(&location, sent, chunk).expect(202).header("Location"));
            sent += chunk.len();
        }
    }
    repo.finish(&location, &digest, &blob[sent..]).expect(201);
    format!("PUT {location}")
}

/// Before the first byte of a 201 for a blob the kernel has synced its file after the last write, every folder that its name needs after the name was made, and
/// the index. The first of them finds no folder, the others one that was synced before.
#[test]
fn a_blob_is_synced_before_its_201() {
    let mut server = Server::traced(Config::default());
    let mut pushed = Vec::new();
    for (form, size) in [("PUT", 5_000), ("PUT", 700_000), ("POST", 600_000), ("PATCH", 500_000), ("PUT", 5_000)] {
        let before = server.blob_files();
        let request = push_in_form(&server, &server.repo("app"), form, &random(size));
        let mut files = server.blob_files();
        files.retain(|file| !before.contains(file));
        assert_eq!(files.len(), 1, "a blob of {size} bytes has a file");
        pushed.push((request, files.remove(0)));
    }
    let trace = server.trace();
    for (request, file) in pushed {
        let answer = trace.answer(&request, 201);
        trace.expect_durable(&file, answer);
        trace.expect_durable_index(answer);
    }
}

/// The same for what the index alone keeps: small blobs, blobs of another repository, manifests and tags.
#[test]
fn the_index_is_synced_before_its_201() {
    let mut server = Server::traced(Config::default());
    let (image, large) = (Image::random(), random(100_000));
    let mut requests = Vec::new();
    {
        let repo = server.repo("app");
        for blob in image.blobs() {
            requests.push(push_in_form(&server, &repo, "PUT", blob));
        }
        for reference in [image.digest.as_str(), "v1", "v2"] {
            repo.put(reference, OCI_MANIFEST, &image.manifest).expect(201);
            requests.push(format!("PUT {}", repo.manifest_path(reference)));
        }
        let mount = server.repo("other").uploads_path(&format!("mount={}&from=app", repo.push_blob(&large)));
        server.post(&mount).send().expect(201);
        requests.push(format!("POST {mount}"));
        assert_eq!(server.blob_files().len(), 1, "the others are small");
    }
    let trace = server.trace();
    for request in requests {
        trace.expect_durable_index(trace.answer(&request, 201));
    }
}

/// A delete is as durable as what it deletes: of a tag, a manifest and a blob.
#[test]
fn a_delete_is_synced_before_its_202() {
    let mut server = Server::traced(Config::default());
    let mut requests = Vec::new();
    {
        let repo = server.repo("app");
        let image = repo.push_random("v1");
        let blob = repo.push_blob(&random(100_000));
        for path in [repo.manifest_path("v1"), repo.manifest_path(&image.digest), repo.blob_path(&blob)] {
            server.delete(&path).send().expect(202);
            requests.push(format!("DELETE {path}"));
        }
    }
    let trace = server.trace();
    for request in requests {
        trace.expect_durable_index(trace.answer(&request, 202));
    }
}

/// The tests above can fail: they notice a program that is built to sync nothing of what it acknowledges.
#[test]
fn a_sync_that_is_left_out_is_noticed() {
    let mut server = Server::launched(Launch::planted("fsync").traced(), Config::default());
    let request = push_in_form(&server, &server.repo("app"), "PUT", &random(50_000));
    let file = server.blob_files().remove(0);
    let trace = server.trace();
    let answer = trace.answer(&request, 201);
    let fails = |expected: &dyn Fn()| catch_unwind(AssertUnwindSafe(expected)).is_err();
    assert!(fails(&|| trace.expect_durable(&file, answer)), "the file");
    assert!(fails(&|| trace.expect_durable_index(answer)), "the index");
}
