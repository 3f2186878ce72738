//! Files that something else damaged: never served, refused and reported, healed by a new push; and no signal ends the server.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use wharf_tests::{Config, OCI_MANIFEST, Program, Repo, Server, eventually, random, sha256};

fn server() -> Server {
    Server::launch(Program::Wharf, Config::default().with_files().set("wharf.scrub.interval", "never"))
}

/// The file of a blob, by its content.
#[track_caller]
fn file_of(server: &Server, blob: &[u8]) -> PathBuf {
    let files = server.blob_files();
    let mut found = files.into_iter().filter(|path| fs::read(path).is_ok_and(|bytes| bytes == blob));
    found.next().expect("the blob's file")
}

fn flip(path: &PathBuf, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("open a blob's file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read a byte");
    file.write_all_at(&[byte[0] ^ 1], offset).expect("flip a bit");
}

fn truncate(path: &PathBuf, length: u64) {
    OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(length)).expect("truncate a blob's file");
}

fn quarantined(server: &Server) -> usize {
    fs::read_dir(server.root().join("quarantine")).map_or(0, Iterator::count)
}

/// The first read notices and says so; afterwards the blob counts as missing, in a HEAD, a mount and a manifest as well.
#[track_caller]
fn expect_refused(server: &Server, repo: &Repo<'_>, digest: &str) {
    let answer = repo.blob(digest);
    answer.expect_error(500, "BLOB_DAMAGED");
    repo.blob(digest).expect_error(404, "BLOB_UNKNOWN");
    assert!(!repo.has_blob(digest));
    let mount = format!("mount={digest}&from={}", repo.name);
    server.post(&server.repo("elsewhere").uploads_path(&mount)).send().expect(202);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"a/b","digest":"{digest}","size":1}},"layers":[]}}"#
    );
    repo.put("new", OCI_MANIFEST, manifest.as_bytes()).expect_error(404, "MANIFEST_BLOB_UNKNOWN");
    assert!(server.log().contains(digest), "the log names the blob");
}

/// A pusher that asks first uploads it again, and then everything is as before, also where it had been linked already.
#[track_caller]
fn expect_healed(repo: &Repo<'_>, blob: &[u8], others: &[Repo<'_>]) {
    assert_eq!(repo.push_blob(blob), sha256(blob));
    for repo in others.iter().chain([repo]) {
        assert!(repo.blob(&sha256(blob)).expect(200).body == blob);
    }
}

/// Files cut short, grown or gone, small and large, with the server running and after a restart.
#[test]
fn a_wrong_length_is_noticed_before_any_byte() {
    let mut server = server();
    let mut quarantine = 0;
    for size in [100, 20_000, 40_000, 1_000_000] {
        for what in ["cut", "emptied", "grown", "removed"] {
            for restart in [false, true] {
                // A restart for each would take long and show nothing more.
                if restart && size != 1_000_000 && what != "cut" {
                    continue;
                }
                let blob = random(size);
                let digest = server.repo("app").push_blob(&blob);
                let sound = server.repo("app").push_random("sound");
                server.repo("second").push_blob(&blob);
                let file = file_of(&server, &blob);
                match what {
                    "cut" => truncate(&file, size as u64 - 1),
                    "emptied" => truncate(&file, 0),
                    "grown" => truncate(&file, size as u64 + 1),
                    _ => fs::remove_file(&file).expect("remove a blob's file"),
                }
                quarantine += usize::from(what != "removed");
                if restart {
                    server.restart();
                }
                let (repo, second) = (server.repo("app"), server.repo("second"));
                expect_refused(&server, &repo, &digest);
                assert_eq!(quarantined(&server), quarantine, "{what}, {size} bytes");
                assert!(!file.exists());
                assert_eq!(second.blob(&digest).status, 404, "refused everywhere");
                assert_eq!(repo.blob(&sha256(&sound.layers[0])).expect(200).body, sound.layers[0]);
                expect_healed(&repo, &blob, &[second]);
            }
        }
    }
}

/// A large file that is held open, because it was just read, is looked at again before each answer.
#[test]
fn damage_to_a_blob_in_use_is_noticed() {
    let server = server();
    let repo = server.repo("app");
    let blob = random(1_000_000);
    let digest = repo.push_blob(&blob);
    for _ in 0..3 {
        repo.blob(&digest).expect(200);
    }
    truncate(&file_of(&server, &blob), 999_999);
    expect_refused(&server, &repo, &digest);
    expect_healed(&repo, &blob, &[]);
}

/// A flipped bit in a small blob is noticed when it is read from the disk, in a whole blob and in a range of it.
#[test]
fn a_flipped_bit_in_a_small_blob_is_noticed() {
    let mut server = server();
    for size in [1, 500, 32 << 10] {
        let blob = random(size);
        let digest = server.repo("app").push_blob(&blob);
        flip(&file_of(&server, &blob), size as u64 / 2);
        server.restart();
        let repo = server.repo("app");
        server.get(&repo.blob_path(&digest)).header("Range", "bytes=0-0").send().expect_error(500, "BLOB_DAMAGED");
        repo.blob(&digest).expect_error(404, "BLOB_UNKNOWN");
        expect_healed(&repo, &blob, &[]);
    }
    assert_eq!(quarantined(&server), 3);
}

/// A push of content that is there but damaged, unnoticed so far, heals it.
#[test]
fn pushing_again_heals_before_anybody_noticed() {
    let server = server();
    let repo = server.repo("app");
    let blob = random(300_000);
    let digest = repo.push_blob(&blob);
    truncate(&file_of(&server, &blob), 10);
    repo.push_blob(&blob);
    assert!(repo.blob(&digest).expect(200).body == blob);
}

/// The scrubber reads everything again and again, and finds what no read would notice.
#[test]
fn the_scrubber_finds_a_flipped_bit() {
    let server = Server::launch(Program::Wharf, Config::default().set("wharf.scrub.interval", "1s"));
    let repo = server.repo("app");
    let (bad, good) = (random(3_000_000), random(3_000_000));
    let (digest, other) = (repo.push_blob(&bad), repo.push_blob(&good));
    repo.blob(&digest).expect(200);
    flip(&file_of(&server, &bad), 2_345_678);
    eventually("the scrubber has found it", || repo.blob(&digest).status == 404);
    assert_eq!(quarantined(&server), 1);
    assert!(repo.blob(&other).expect(200).body == good);
    expect_healed(&repo, &bad, &[]);
    sleep(Duration::from_millis(2_500));
    assert_eq!((repo.blob(&digest).status, repo.blob(&other).status), (200, 200), "what is sound stays");
}

/// Scrubbing slowly keeps nobody waiting: neither deleted bytes nor a stop.
#[test]
fn a_slow_scrub_delays_nothing() {
    let config = Config::default().set("wharf.scrub.interval", "1s").set("wharf.scrub.rate", "100KiB");
    let mut server = Server::launch(Program::Wharf, config);
    let repo = server.repo("app");
    repo.push_blob(&random(8_000_000));
    sleep(Duration::from_millis(2_500));
    let digest = repo.push_blob(&random(1_000));
    repo.delete_blob(&digest).expect(202);
    eventually("deleted bytes go meanwhile", || server.blob_files().len() == 1);
    let begun = std::time::Instant::now();
    assert_eq!(server.terminate().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "the stop took {:?}", begun.elapsed());
}

/// A file cut short while it is being sent ends that connection. Large bodies are mapped, and touching what is gone would kill the whole server.
#[test]
fn a_file_cut_while_it_is_sent_ends_the_connection_only() {
    let server = server();
    let repo = server.repo("app");
    let size = 24 << 20;
    for length in [0, 100, (14 << 20) + 1_234] {
        for range in [None, Some("bytes=1000000-"), Some("bytes=0-8000000,9000000-")] {
            let blob = random(size);
            let digest = repo.push_blob(&blob);
            let mut request = server.get(&repo.blob_path(&digest));
            if let Some(range) = range {
                request = request.header("Range", range);
            }
            // Two connections: one that has the beginning and stalls, one that reads on as fast as it can.
            let mut slow = request.send_beginning(0);
            let mut head = [0; 1_000];
            slow.read_some(&mut head).expect("the beginning of the answer");
            let file = file_of(&server, &blob);
            let fast = std::thread::scope(|scope| {
                let fast = scope.spawn(|| request.try_send());
                truncate(&file, length);
                fast.join().expect("the fast reader")
            });
            if let Ok(answer) = fast {
                let damaged = answer.status == 500;
                assert!(damaged || (200..300).contains(&answer.status), "{}", answer.describe());
            }
            let rest = slow.read_to_end().unwrap_or_default();
            assert!(rest.len() < size, "the rest cannot have come");
            // Nothing but that connection suffered.
            server.get("/v2/").send().expect(200);
            assert_ne!(repo.blob(&digest).status, 200);
            expect_healed(&repo, &blob, &[]);
            repo.delete_blob(&digest).expect(202);
        }
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
