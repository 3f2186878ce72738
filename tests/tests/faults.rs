//! A disk that may not be written to any more, and an index with a damaged page: told in words, and everything else is served.

use std::fs;
use std::os::unix::fs::FileExt;

use rusqlite::Connection;
use wharf_tests::{Config, Image, OCI_MANIFEST, Program, Server, SmallDisk, random, sha256};

/// A real file system that met an error. That everything goes on when it can be written to again is held by the trial of faults.
#[test]
fn a_read_only_disk_serves_and_says_why_it_takes_nothing() {
    let Some(disk) = SmallDisk::mount() else { return };
    let config = Config::default().set("wharf.storage.min_free", "1MiB").set("wharf.scrub.interval", "never");
    let mut server = Server::at(&disk.point().join("data"), config);
    let image = server.repo("app").push_random("v1");
    assert!(disk.meet_an_error(), "ext4 in a loop device can be made to");
    expect_read_only(&server, &image);
    server.repo("app").delete("v1").expect_error(503, "UNAVAILABLE");
    assert_eq!(server.repo("app").manifest("v1").expect(200).body, image.manifest);
    server.terminate();
}

#[track_caller]
fn expect_read_only(server: &Server, image: &Image) {
    let repo = server.repo("app");
    for blob in [random(100), random(50_000)] {
        let answer = server.post(&repo.uploads_path(&format!("digest={}", sha256(&blob)))).body(&blob).send();
        answer.clone().expect_error(503, "UNAVAILABLE");
        assert!(String::from_utf8_lossy(&answer.body).contains("read-only"), "{}", answer.describe());
    }
    repo.put("v2", OCI_MANIFEST, &image.manifest).expect_error(503, "UNAVAILABLE");
    assert_eq!(repo.manifest("v1").expect(200).body, image.manifest);
}

/// One page of the index is damaged. What lies elsewhere is served, the rest is told with the way out.
#[test]
fn a_damaged_page_of_the_index_stops_nobody_else() {
    let mut server = Server::launch(Program::Wharf, Config::default().set("wharf.scrub.interval", "never"));
    // Manifests of some size, so that each repository's lie on pages of their own.
    for number in 0..40 {
        let name = format!("app{number}");
        let layers = (0..60).map(|_| random(10)).collect();
        server.repo(&name).push("v1", &Image::of_layers(layers));
    }
    let images: Vec<_> = (0..40).map(|number| server.repo(&format!("app{number}")).manifest("v1").expect(200).body).collect();
    server.terminate();
    let path = server.root().join("index.sqlite");
    let index = Connection::open(&path).expect("open the index");
    let page: u64 = index
        .query_row(
            "SELECT pageno FROM dbstat WHERE name = 'manifests' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1 OFFSET 3",
            [],
            |row| row.get::<_, i64>(0).map(i64::unsigned_abs),
        )
        .expect("a leaf of the manifests");
    index.close().expect("close the index");
    let file = fs::OpenOptions::new().write(true).open(&path).expect("open the index");
    file.write_all_at(&[0xff; 4096], (page - 1) * 4096).expect("overwrite a page");
    server.restart();
    let mut refused = 0;
    for (number, image) in images.iter().enumerate() {
        let answer = server.repo(&format!("app{number}")).manifest("v1");
        if answer.status == 200 {
            assert!(answer.body == *image);
        } else {
            answer.clone().expect_error(500, "UNKNOWN");
            assert!(String::from_utf8_lossy(&answer.body).contains("wharf check"), "{}", answer.describe());
            refused += 1;
        }
    }
    assert!((1..30).contains(&refused), "{refused} of 40 are refused");
    server.get("/v2/").send().expect(200);
    server.owner("check", &[]).expect(1).tells("the index is damaged");
}
