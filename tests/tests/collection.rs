//! Collection beside pushes: what goes, what stays, for how long, and how the owner asks for it.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use wharf_tests::{
    Config, Image, OCI_INDEX, OCI_MANIFEST, Program, Repo, Server, artifact, descriptor, eventually, index, path_of, random,
    sha256, sha512, with_query,
};

/// A server that collects on demand only.
fn server(lease: &str, grace: &str) -> Server {
    Server::launch(Program::Wharf, config(lease, grace))
}

fn config(lease: &str, grace: &str) -> Config {
    Config::default()
        .with_files()
        .set("wharf.collection.interval", "never")
        .set("wharf.collection.lease", lease)
        .set("wharf.collection.grace", grace)
}

fn wait(milliseconds: u64) {
    sleep(Duration::from_millis(milliseconds));
}

fn milliseconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The entry about a digest among what a report says is held.
#[track_caller]
fn held<'r>(report: &'r Value, repository: &str, digest: &str) -> Option<&'r Value> {
    let held = report["held"].as_array().unwrap_or_else(|| panic!("no list of what is held: {report}"));
    held.iter().find(|entry| entry["repository"] == repository && entry["digest"] == digest)
}

#[track_caller]
fn expect_held(report: &Value, repo: &Repo<'_>, digest: &str, by: &str) {
    let entry = held(report, &repo.name, digest).unwrap_or_else(|| panic!("{digest} is not held: {report}"));
    assert_eq!(entry["by"], by, "{report}");
}

/// Manifest, configuration and layers, by digest.
#[track_caller]
fn expect_whole(repo: &Repo<'_>, image: &Image) {
    assert_eq!(repo.manifest(&image.digest).expect(200).body, image.manifest);
    for blob in image.blobs() {
        assert!(repo.blob(&sha256(blob)).expect(200).body == *blob);
    }
}

/// Neither the manifest nor any blob of it is there.
#[track_caller]
fn expect_gone(repo: &Repo<'_>, image: &Image) {
    assert_eq!(repo.manifest(&image.digest).status, 404, "the manifest is still there");
    for blob in image.blobs() {
        assert_eq!(repo.blob(&sha256(blob)).status, 404, "a blob is still there");
    }
}

/// A manifest without a tag stays for the grace, and then goes with its blobs and their bytes.
#[test]
fn untagged_manifests_go_after_the_grace_and_not_before() {
    let server = server("300ms", "2s");
    let repo = server.repo("app");
    let image = Image::with_layers(&[100_000]);
    repo.push(&image.digest, &image);
    wait(700);
    let report = server.collect("");
    expect_held(&report, &repo, &image.digest, "grace");
    assert_eq!((&report["manifests"], &report["blobs"], &report["files"]), (&0.into(), &0.into(), &0.into()));
    expect_whole(&repo, &image);
    wait(2_000);
    let report = server.collect("");
    assert_eq!((&report["manifests"], &report["blobs"], &report["files"]), (&1.into(), &2.into(), &2.into()), "{report}");
    assert_eq!(report["bytes"], image.blobs().map(Vec::len).sum::<usize>());
    expect_gone(&repo, &image);
    assert!(server.blob_files().is_empty());
}

/// With the grace `never` only `now` takes them.
#[test]
fn a_grace_of_never_keeps_untagged_manifests() {
    let server = server("100ms", "never");
    let repo = server.repo("app");
    let image = Image::random();
    repo.push(&image.digest, &image);
    wait(300);
    let report = server.collect("");
    expect_held(&report, &repo, &image.digest, "grace");
    assert_eq!(held(&report, "app", &image.digest).map(|entry| &entry["until"]), Some(&Value::Null));
    expect_whole(&repo, &image);
    server.collect("now=1");
    expect_gone(&repo, &image);
}

/// `now` skips the grace; a lease it never skips.
#[test]
fn now_skips_the_grace_but_no_lease() {
    let server = server("1500ms", "1h");
    let repo = server.repo("app");
    let image = Image::random();
    let begun = milliseconds_now();
    repo.push(&image.digest, &image);
    let report = server.collect("now=1");
    expect_held(&report, &repo, &image.digest, "lease");
    let until = held(&report, "app", &image.digest).and_then(|entry| entry["until"].as_u64()).expect("a time");
    assert!((begun + 750..=milliseconds_now() + 1_500).contains(&until), "{until} from {begun}");
    expect_whole(&repo, &image);
    // A GET is no promise to a pusher: it renews nothing.
    wait(1_700);
    server.collect("now=1");
    expect_gone(&repo, &image);
}

/// What only a replaced or a deleted tag named goes; what another tag names stays whole, shared blobs included.
#[test]
fn replaced_and_deleted_tags_let_go_of_their_images() {
    let server = server("200ms", "1s");
    let repo = server.repo("app");
    let stays = repo.push_random("stays");
    let replaced = repo.push_random("moving");
    let deleted = repo.push_random("deleted");
    let twice = repo.push_random("one");
    repo.put("two", OCI_MANIFEST, &twice.manifest).expect(201);
    wait(1_300);
    // All of them were tagged longer than the grace; it counts from when the tag let go.
    let newer = repo.push_random("moving");
    repo.delete("deleted").expect(202);
    repo.delete("one").expect(202);
    wait(400);
    let report = server.collect("");
    expect_held(&report, &repo, &replaced.digest, "grace");
    expect_held(&report, &repo, &deleted.digest, "grace");
    assert_eq!(report["held"].as_array().map(Vec::len), Some(2), "{report}");
    wait(900);
    server.collect("");
    expect_gone(&repo, &replaced);
    expect_gone(&repo, &deleted);
    for image in [&stays, &newer, &twice] {
        expect_whole(&repo, image);
    }
    assert_eq!(server.blob_files().len(), 6);
}

/// Tagging again what waits for its grace saves it.
#[test]
fn a_new_tag_saves_what_waits() {
    let server = server("100ms", "800ms");
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    repo.delete("v1").expect(202);
    wait(300);
    expect_held(&server.collect(""), &repo, &image.digest, "grace");
    repo.put("again", OCI_MANIFEST, &image.manifest).expect(201);
    wait(1_000);
    let report = server.collect("");
    assert_eq!(report["manifests"], 0, "{report}");
    expect_whole(&repo, &image);
}

/// Children of a tagged index stay, through an index within the index and under any media type; with the tag all go.
#[test]
fn children_of_an_index_live_as_long_as_it() {
    let server = server("200ms", "1s");
    let repo = server.repo("app");
    let (first, second) = (Image::random(), Image::random());
    for image in [&first, &second] {
        repo.push(&image.digest, image);
    }
    let inner = index(&[second.descriptor("arm64")]);
    repo.put(&sha256(&inner), OCI_INDEX, &inner).expect(201);
    let outer = index(&[first.descriptor("amd64"), descriptor("application/vnd.example.unheard-of", &inner)]);
    repo.put("v1", OCI_INDEX, &outer).expect(201);
    wait(1_300);
    let report = server.collect("now=1");
    assert_eq!((&report["manifests"], &report["blobs"]), (&0.into(), &0.into()), "{report}");
    expect_whole(&repo, &first);
    expect_whole(&repo, &second);
    assert_eq!(repo.manifest(&sha256(&inner)).expect(200).body, inner);

    repo.delete("v1").expect(202);
    let report = server.collect("");
    for digest in [&first.digest, &second.digest, &sha256(&inner), &sha256(&outer)] {
        expect_held(&report, &repo, digest, "grace");
    }
    wait(1_200);
    let report = server.collect("");
    assert_eq!(report["manifests"], 4, "{report}");
    expect_gone(&repo, &first);
    expect_gone(&repo, &second);
    assert!(server.blob_files().is_empty());
}

/// Referrers, and referrers of referrers, stay with their subject and follow it; one whose subject never came goes too.
#[test]
fn referrers_follow_their_subject() {
    let server = server("200ms", "1s");
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    let subject = |bytes: &[u8]| Some(descriptor(OCI_MANIFEST, bytes));
    let signature = artifact(subject(&image.manifest).as_ref(), Some("application/x-signature"), &[]);
    let about_it = artifact(subject(&signature).as_ref(), Some("application/x-note"), &[]);
    let orphan = artifact(subject(b"never pushed").as_ref(), Some("application/x-note"), &[]);
    let (signature, about_it, orphan) =
        (repo.push_artifact(&signature), repo.push_artifact(&about_it), repo.push_artifact(&orphan));
    wait(1_300);
    server.collect("");
    for digest in [&signature, &about_it] {
        repo.manifest(digest).expect(200);
    }
    assert_eq!(repo.manifest(&orphan).status, 404);
    repo.delete(&image.digest).expect(202);
    let report = server.collect("");
    expect_held(&report, &repo, &signature, "grace");
    expect_held(&report, &repo, &about_it, "grace");
    wait(1_200);
    server.collect("");
    for digest in [&signature, &about_it] {
        assert_eq!(repo.manifest(digest).status, 404);
    }
    assert!(server.blob_files().is_empty());
    assert_eq!(repo.tags("").status, 404, "nothing is left of the repository");
}

/// HEAD of a blob or manifest, a mount, a finished upload and a manifest pushed by digest each protect for the lease's time.
#[test]
fn what_a_pusher_was_told_is_leased() {
    let server = server("2s", "1ms");
    let source = server.repo("source").push_random("v1");
    let mounted = sha256(&source.layers[0]);
    let headed = server.repo("head").push_blob(&random(300));
    let headed_512 = {
        let repo = server.repo("head-sha512");
        let blob = random(300);
        repo.finish(&repo.start_upload(), &sha512(&blob), &blob).expect(201);
        sha512(&blob)
    };
    let asked = Image::random();
    server.repo("head-manifest").push(&asked.digest, &asked);
    let unleased = server.repo("nobody").push_blob(&random(300));
    wait(2_200);
    // From here on nothing holds any of it but what is asked for now.
    assert!(server.repo("head").has_blob(&headed));
    assert!(server.repo("head-sha512").has_blob(&headed_512));
    server.repo("head-manifest").head_manifest(&asked.digest).expect(200);
    for blob in asked.blobs() {
        assert!(server.repo("head-manifest").has_blob(&sha256(blob)));
    }
    let target = server.repo("mount").uploads_path(&format!("mount={mounted}&from=source"));
    server.post(&target).send().expect(201);
    let uploaded = server.repo("upload").push_blob(&random(300));
    let pushed = Image::random();
    server.repo("push").push(&pushed.digest, &pushed);
    let is_there = |repository: &str, digest: &str| server.get(&server.repo(repository).blob_path(digest)).send().status == 200;
    for round in 0..2 {
        let report = server.collect("now=1");
        for (repository, digest) in [("head", &headed), ("head-sha512", &headed_512), ("mount", &mounted), ("upload", &uploaded)]
        {
            assert!(is_there(repository, digest), "{repository}, round {round}: {report}");
        }
        expect_held(&report, &server.repo("mount"), &mounted, "lease");
        expect_held(&report, &server.repo("head-manifest"), &asked.digest, "lease");
        expect_held(&report, &server.repo("push"), &pushed.digest, "lease");
        expect_whole(&server.repo("push"), &pushed);
        expect_whole(&server.repo("head-manifest"), &asked);
        assert!(!is_there("nobody", &unleased), "what nobody leased is collected meanwhile");
        wait(700);
    }
    wait(1_500);
    server.collect("now=1");
    for (repository, digest) in [("head", &headed), ("head-sha512", &headed_512), ("mount", &mounted), ("upload", &uploaded)] {
        assert!(!is_there(repository, digest), "{repository}");
    }
    expect_gone(&server.repo("push"), &pushed);
    expect_gone(&server.repo("head-manifest"), &asked);
    expect_whole(&server.repo("source"), &source);
}

/// As long as an upload goes on in a repository, leases there do not run out; elsewhere they do.
#[test]
fn an_open_upload_keeps_the_leases_of_its_repository() {
    let server = server("1500ms", "1ms");
    let (busy, idle) = (server.repo("busy"), server.repo("idle"));
    let location = busy.start_upload();
    let kept = busy.push_blob(&random(500));
    let lost = idle.push_blob(&random(500));
    let chunk = random(100_000);
    let mut location = path_of(busy.patch(&location, 0, &chunk).expect(202).header("Location"));
    for part in 1..=3 {
        wait(700);
        location = path_of(busy.patch(&location, part * chunk.len(), &chunk).expect(202).header("Location"));
    }
    let report = server.collect("now=1");
    expect_held(&report, &busy, &kept, "lease");
    assert_eq!(idle.blob(&lost).status, 404);
    busy.blob(&kept).expect(200);
    // The upload itself is nothing that could be collected.
    let all = chunk.repeat(4);
    busy.finish(&location, &sha256(&all), b"").expect(201);
    // A slow push ends with the manifest, which names what the client was told of before the upload.
    server.collect("now=1");
    busy.blob(&kept).expect(200);
    wait(1_700);
    server.collect("now=1");
    assert_eq!(busy.blob(&kept).status, 404);
    assert!(server.blob_files().is_empty());
}

/// Bytes leave the disk when the last repository lets go, and not before.
#[test]
fn bytes_go_with_the_last_repository() {
    let server = server("300ms", "1ms");
    let image = Image::with_layers(&[200_000]);
    let repos = ["first", "second", "third"].map(|name| server.repo(name));
    for repo in &repos {
        for blob in image.blobs() {
            let digest = sha256(blob);
            let mount = server.post(&repo.uploads_path(&format!("mount={digest}"))).send();
            if mount.status != 201 {
                repo.finish(&path_of(mount.expect(202).header("Location")), &digest, blob).expect(201);
            }
        }
        repo.put("v1", OCI_MANIFEST, &image.manifest).expect(201);
    }
    assert_eq!(server.blob_files().len(), 2, "held three times, stored once");
    repos[0].delete("v1").expect(202);
    wait(500);
    let report = server.collect("");
    assert_eq!((&report["manifests"], &report["blobs"], &report["files"]), (&1.into(), &2.into(), &0.into()), "{report}");
    expect_gone(&repos[0], &image);
    expect_whole(&repos[1], &image);
    // By hand: the manifest, then its blobs.
    repos[1].delete(&image.digest).expect(202);
    for blob in image.blobs() {
        repos[1].delete_blob(&sha256(blob)).expect(202);
    }
    expect_whole(&repos[2], &image);
    assert_eq!(server.blob_files().len(), 2);
    repos[2].delete(&image.digest).expect(202);
    for blob in image.blobs() {
        repos[2].delete_blob(&sha256(blob)).expect(202);
    }
    eventually("the bytes are gone, without a collection", || server.blob_files().is_empty());
}

/// A dry run tells what would go and what is held until when, and changes nothing.
#[test]
fn a_dry_run_only_tells() {
    let server = server("600ms", "1h");
    let repo = server.repo("app");
    let tagged = repo.push_random("v1");
    let untagged = Image::with_layers(&[5_000]);
    repo.push(&untagged.digest, &untagged);
    let loose = repo.push_blob(&random(700));
    wait(800);
    let leased = repo.push_blob(&random(400));
    let bytes = untagged.blobs().map(Vec::len).sum::<usize>();
    for _ in 0..2 {
        let report = server.collect("dry_run=1&now=1");
        assert_eq!((&report["manifests"], &report["blobs"], &report["files"]), (&1.into(), &3.into(), &3.into()), "{report}");
        assert_eq!(report["bytes"], bytes + 700);
        expect_held(&report, &repo, &leased, "lease");
        let report = server.collect("dry_run=1");
        assert_eq!((&report["manifests"], &report["blobs"], &report["bytes"]), (&0.into(), &1.into(), &700.into()), "{report}");
        let until = held(&report, "app", &untagged.digest).and_then(|entry| entry["until"].as_u64()).expect("a time");
        let now = milliseconds_now();
        assert!((now + 3_500_000..now + 3_600_000).contains(&until), "{until}");
    }
    expect_whole(&repo, &tagged);
    expect_whole(&repo, &untagged);
    repo.blob(&loose).expect(200);
    assert_eq!(server.blob_files().len(), 6);
    assert_eq!(server.ask_owner("GET", "/status")[0]["last_collection"], Value::Null, "a dry run is no collection");
}

/// On schedule, without anybody asking.
#[test]
fn collection_runs_by_itself() {
    let server = Server::launch(Program::Wharf, config("500ms", "500ms").set("wharf.collection.interval", "1s"));
    let repo = server.repo("app");
    let (stays, goes) = (repo.push_random("stays"), repo.push_random("goes"));
    let loose = repo.push_blob(&random(100));
    repo.delete("goes").expect(202);
    eventually("what was let go of is collected", || server.blob_files().len() == 2);
    expect_gone(&repo, &goes);
    assert_eq!(repo.blob(&loose).status, 404);
    expect_whole(&repo, &stays);
}

/// Leases of a killed server are not known to the next one: everything counts as leased until they have run out.
#[test]
fn after_a_restart_everything_counts_as_leased() {
    let mut server = server("2s", "1ms");
    let image = Image::random();
    server.repo("app").push(&image.digest, &image);
    server.kill();
    server.restart();
    let report = server.collect("now=1");
    expect_held(&report, &server.repo("app"), &image.digest, "lease");
    expect_whole(&server.repo("app"), &image);
    eventually("the period ends", || server.collect("now=1")["manifests"] == 1);
    expect_gone(&server.repo("app"), &image);
    assert!(server.blob_files().is_empty());
}

/// Files that a crash left behind are removed with the first collection; unfinished uploads and blobs are not.
#[test]
fn stray_files_from_before_the_start_are_swept() {
    let mut server = server("1s", "1h");
    let image = server.repo("app").push_random("v1");
    let blob = random(300_000);
    let location = server.repo("app").start_upload();
    let location = path_of(server.repo("app").patch(&location, 0, &blob[..200_000]).expect(202).header("Location"));
    server.terminate();
    let known = server.blob_files();
    assert_eq!(known.len(), 3);
    let folder = server.root().join("blobs/abc");
    fs::create_dir_all(&folder).expect("a folder");
    let beside = known[0].with_file_name("0123456789abcdef0123456789abcdef");
    for stray in [folder.join("ffffffffffffffffffffffffffffffff"), beside.clone()] {
        fs::write(&stray, random(1_000)).expect("a stray file");
        let file = fs::File::options().write(true).open(&stray).expect("the stray file");
        file.set_modified(SystemTime::now() - Duration::from_secs(5)).expect("a time before the start");
    }
    server.restart();
    // Written by whoever is at work now. Times of files lag behind the clock by some milliseconds.
    wait(50);
    fs::write(folder.join("young"), b"x").expect("a young file");
    let report = server.collect("");
    assert_eq!(report["files"], 2, "{report}");
    assert_eq!(server.blob_files().len(), 4);
    assert!(!beside.exists() && folder.join("young").exists());
    let repo = server.repo("app");
    expect_whole(&repo, &image);
    repo.finish(&location, &sha256(&blob), &blob[200_000..]).expect(201);
}

/// A blob known by two digests is gone under both, also for who just read it.
#[test]
fn a_blob_goes_under_all_its_names() {
    let server = server("200ms", "1ms");
    let repo = server.repo("app");
    for by_collection in [true, false] {
        let blob = random(2_000);
        repo.finish(&repo.start_upload(), &sha512(&blob), &blob).expect(201);
        for digest in [sha256(&blob), sha512(&blob)] {
            assert!(repo.blob(&digest).expect(200).body == blob);
        }
        if by_collection {
            wait(400);
            server.collect("now=1");
        } else {
            repo.delete_blob(&sha256(&blob)).expect(202);
        }
        for digest in [sha256(&blob), sha512(&blob)] {
            assert_eq!(repo.blob(&digest).status, 404, "{digest}, by collection: {by_collection}");
        }
        let target = with_query(&repo.uploads_path(""), &format!("mount={}", sha512(&blob)));
        server.post(&target).send().expect(202);
    }
}
