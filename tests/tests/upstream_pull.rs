//! Pulls of what the registry lacks, out of an upstream: cold, warm, by every name, and never instead of what was pushed.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use wharf_tests::clients::assert_whole;
use wharf_tests::{Config, Image, OCI_INDEX, OCI_MANIFEST, Program, Repo, Server, Upstream, Wharf, index, sha256};

/// Longer than any test.
const LONG: &str = "1h";

fn pushed(repo: &Repo<'_>, tag: &str) -> Image {
    let image = Image::with_layers(&[700_000, 3_000]);
    repo.push(tag, &image);
    image
}

/// Everything of an image comes from this repository.
#[track_caller]
fn assert_pulled(repo: &Repo<'_>, tag: &str, image: &Image) {
    let manifest = repo.manifest(tag).expect(200);
    assert!(manifest.body == image.manifest, "another manifest");
    manifest.expect_header("Content-Type", OCI_MANIFEST).expect_header("Docker-Content-Digest", &image.digest);
    for blob in image.blobs() {
        let answer = repo.blob(&sha256(blob)).expect(200);
        assert!(answer.body == *blob, "another blob");
    }
}

#[test]
fn a_cold_pull_comes_from_upstream_and_a_warm_one_does_without() {
    let upstream = Upstream::start();
    let image = pushed(&upstream.repo("library/alpine"), "3");
    let wharf = upstream.puller(LONG);
    let repo = wharf.repo("yocto/alpine");
    assert_pulled(&repo, "3", &image);
    repo.manifest("3").expect(200).expect_header("Wharf-Origin", &format!("{}/library/alpine", upstream.address()));
    upstream.shut();
    let asked = upstream.asked().len();
    assert_pulled(&repo, "3", &image);
    assert_pulled(&repo, &image.digest, &image);
    let mut wharf = wharf;
    wharf.restart();
    assert_pulled(&wharf.repo("yocto/alpine"), "3", &image);
    assert_eq!(upstream.asked().len(), asked, "nobody was asked for what is here");
    for path in ["/v2/yocto/alpine/manifests/3", "/v2/yocto/alpine/blobs/"] {
        assert_eq!(upstream.count("GET", path), 0, "the upstream's own names are asked for");
    }
}

#[test]
fn each_piece_is_asked_for_once() {
    let upstream = Upstream::start();
    let image = pushed(&upstream.repo("library/alpine"), "3");
    let wharf = upstream.puller(LONG);
    for _ in 0..3 {
        assert_whole(&wharf.repo("yocto/alpine"), "3");
    }
    assert_eq!(upstream.count("GET", "/manifests/"), 1);
    assert_eq!(upstream.count("HEAD", "/"), 0);
    for blob in image.blobs() {
        assert_eq!(upstream.count("GET", &sha256(blob)), 1);
    }
}

#[test]
fn every_platform_of_an_index_is_there_when_it_is_asked_for() {
    let upstream = Upstream::start();
    let repo = upstream.repo("library/multi");
    let (amd64, arm64) = (pushed(&repo, "a"), pushed(&repo, "b"));
    let list = index(&[amd64.descriptor("amd64"), arm64.descriptor("arm64")]);
    repo.put("1", OCI_INDEX, &list).expect(201);
    let wharf = upstream.puller(LONG);
    let here = wharf.repo("yocto/multi");
    assert!(here.manifest("1").expect(200).expect_header("Content-Type", OCI_INDEX).body == list);
    assert_eq!(upstream.count("GET", "/manifests/"), 1, "only what is asked for is fetched");
    assert_pulled(&here, &arm64.digest, &arm64);
    assert_eq!(upstream.count("GET", &amd64.digest), 0);
    assert_eq!(here.tag_list(""), ["1"]);
}

#[test]
fn what_nobody_has_is_not_found_and_not_asked_for_again_at_once() {
    let upstream = Upstream::start();
    let wharf = upstream.puller(LONG);
    let repo = wharf.repo("yocto/none");
    for _ in 0..3 {
        repo.manifest("latest").expect_error(404, "NAME_UNKNOWN");
        repo.blob(&sha256(b"nobody")).expect_error(404, "BLOB_UNKNOWN");
    }
    assert_eq!((upstream.count("GET", "/manifests/"), upstream.count("GET", "/blobs/")), (1, 1));
    // Names that no rule is about are nobody's business.
    wharf.repo("other/none").manifest("latest").expect_error(404, "NAME_UNKNOWN");
    wharf.repo("yocto/a/b").manifest("latest").expect_error(404, "NAME_UNKNOWN");
    assert_eq!(upstream.count("GET", "/manifests/"), 1);
}

#[test]
fn what_was_pushed_wins() {
    let upstream = Upstream::start();
    let theirs = pushed(&upstream.repo("library/alpine"), "3");
    let other = pushed(&upstream.repo("library/alpine"), "4");
    let wharf = upstream.puller("1ms");
    let repo = wharf.repo("yocto/alpine");
    let ours = pushed(&repo, "3");
    assert_eq!(upstream.asked().len(), 0, "a push asks no upstream");
    assert_pulled(&repo, "3", &ours);
    assert_eq!(repo.manifest("3").get("Wharf-Origin"), None);
    // A push takes the name over from what was pulled, and keeps it.
    assert_pulled(&repo, "4", &other);
    repo.push("4", &ours);
    std::thread::sleep(Duration::from_millis(20));
    assert_pulled(&repo, "4", &ours);
    assert_eq!(repo.manifest("4").get("Wharf-Origin"), None);
    // And once it is deleted, the upstream's is there again.
    wharf.delete(&repo.manifest_path("3")).send().expect(202);
    assert_pulled(&repo, "3", &theirs);
}

#[test]
fn a_changed_tag_is_seen_after_its_time_and_asked_for_with_one_head() {
    let upstream = Upstream::start();
    let first = pushed(&upstream.repo("library/alpine"), "3");
    let wharf = upstream.puller("1s");
    let repo = wharf.repo("yocto/alpine");
    assert_pulled(&repo, "3", &first);
    let second = pushed(&upstream.repo("library/alpine"), "3");
    assert_pulled(&repo, "3", &first);
    assert_eq!(upstream.count("HEAD", "/manifests/3"), 0);
    std::thread::sleep(Duration::from_millis(1_100));
    assert_pulled(&repo, "3", &second);
    assert_eq!(upstream.count("HEAD", "/manifests/3"), 1);
    assert_pulled(&repo, &first.digest, &first);
    std::thread::sleep(Duration::from_millis(1_100));
    let manifests = upstream.count("GET", "/manifests/");
    for _ in 0..3 {
        assert_pulled(&repo, "3", &second);
    }
    assert_eq!(
        (upstream.count("HEAD", "/manifests/3"), upstream.count("GET", "/manifests/")),
        (2, manifests),
        "one HEAD says that it is the same"
    );
}

#[test]
fn a_tag_that_its_upstream_deleted_goes() {
    let upstream = Upstream::start();
    let image = pushed(&upstream.repo("library/alpine"), "3");
    let wharf = upstream.puller("200ms");
    let repo = wharf.repo("yocto/alpine");
    assert_pulled(&repo, "3", &image);
    upstream.server.delete(&upstream.repo("library/alpine").manifest_path(&image.digest)).send().expect(202);
    std::thread::sleep(Duration::from_millis(300));
    repo.manifest("3").expect_error(404, "MANIFEST_UNKNOWN");
    assert_eq!(repo.tag_list(""), Vec::<String>::new());
}

#[test]
fn containerd_names_the_registry_that_it_means() {
    let upstream = Upstream::start();
    let theirs = pushed(&upstream.repo("library/alpine"), "3");
    let mut entry = upstream.entry(LONG);
    entry["namespaces"] = json!(["docker.io"]);
    let wharf = Server::launch(Program::Wharf, Config::default().set("wharf.upstreams", json!([entry])));
    // What was pushed here under the same name is another registry's image.
    let ours = pushed(&wharf.repo("library/alpine"), "3");
    let answer = wharf.get("/v2/library/alpine/manifests/3?ns=docker.io").send().expect(200);
    assert!(answer.body == theirs.manifest);
    for blob in theirs.blobs() {
        let path = format!("/v2/library/alpine/blobs/{}?ns=docker.io", sha256(blob));
        assert!(wharf.get(&path).send().expect(200).body == *blob);
    }
    for path in ["/v2/library/alpine/manifests/3", "/v2/library/alpine/manifests/3?ns=other.example"] {
        assert!(wharf.get(path).send().expect(200).body == ours.manifest, "{path}");
    }
    // It has a name of its own, too.
    assert_pulled(&wharf.repo("docker.io/library/alpine"), "3", &theirs);
    wharf.get("/v2/library/none/manifests/3?ns=docker.io").send().expect(404);
}

#[test]
fn upstreams_are_asked_in_their_order() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let both = pushed(&first.repo("library/both"), "1");
    pushed(&second.repo("library/both"), "1");
    let only = pushed(&second.repo("library/only"), "1");
    let list = json!([
        format!("yocto/* -> http://{}/library/*", first.address()),
        format!("yocto/* -> http://{}/library/*", second.address())
    ]);
    let wharf = Server::launch(Program::Wharf, Config::default().set("wharf.upstreams", list));
    assert_pulled(&wharf.repo("yocto/both"), "1", &both);
    assert_eq!(second.asked().len(), 0);
    assert_pulled(&wharf.repo("yocto/only"), "1", &only);
    // What stands further down is not what the first may have meant.
    first.shut();
    wharf.repo("yocto/other").manifest("1").expect_error(502, "UPSTREAM_UNAVAILABLE");
    assert_eq!(second.count("GET", "/library/other/"), 0);
    assert_pulled(&wharf.repo("yocto/other"), &only.digest, &only_in(&second, &only));
}

/// Puts the same image into another repository of an upstream.
fn only_in(upstream: &Upstream, image: &Image) -> Image {
    upstream.repo("library/other").push("1", image);
    image.clone()
}

#[test]
fn a_mirror_has_every_name_and_takes_no_pushes() {
    let upstream = Upstream::start();
    let image = pushed(&upstream.repo("some/team/app"), "1");
    let config = Config::default().set("proxy.remoteurl", format!("http://{}", upstream.address()));
    let wharf = Server::launch(Program::Wharf, config);
    let repo = wharf.repo("some/team/app");
    // A mirror is asked by nobody who pushes: it may say what it could have.
    let layer = &image.layers[0];
    let head = wharf.head(&repo.blob_path(&sha256(layer))).send().expect(200);
    head.expect_header("Content-Length", &layer.len().to_string());
    assert_pulled(&repo, "1", &image);
    wharf.post(&repo.uploads_path("")).send().expect_error(405, "UNSUPPORTED");
    wharf.delete(&repo.manifest_path("1")).send().expect_error(405, "UNSUPPORTED");
    let put = wharf.put(&repo.manifest_path("2")).header("Content-Type", OCI_MANIFEST).body(&image.manifest).send();
    assert!(
        put.expect_error(405, "UNSUPPORTED").json()["errors"][0]["message"].as_str().is_some_and(|text| text.contains("mirrors"))
    );
}

#[test]
fn the_origin_is_listed_and_listing_asks_nobody() {
    let upstream = Upstream::start();
    let image = pushed(&upstream.repo("library/alpine"), "3");
    let wharf = upstream.puller("1ms");
    let own = pushed(&wharf.repo("yocto/own"), "1");
    assert_pulled(&wharf.repo("yocto/alpine"), "3", &image);
    let asked = upstream.asked().len();
    let folder = TempDir::new().expect("a folder");
    let long = Wharf::with_server(folder.path(), &wharf).ok(&["list", "--long"]).stdout;
    let line =
        |name: &str| long.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {long}")).to_owned();
    assert!(line("IMAGE").contains("ORIGIN"), "{long}");
    assert!(line("yocto/alpine:3").contains(&format!("{}/library/alpine", upstream.address())), "{long}");
    assert!(line("yocto/own:1").contains(&own.digest) && !line("yocto/own:1").contains("library"), "{long}");
    let json = Wharf::with_server(folder.path(), &wharf).ok(&["list", "--long", "--json"]).json();
    assert_eq!(json[0]["tags"][0]["origin"], format!("{}/library/alpine", upstream.address()));
    assert!(json[1]["tags"][0]["origin"].is_null());
    assert_eq!(upstream.asked().len(), asked);
    // What is not here and could be had is not there for who asks only for what is.
    let only = wharf.get("/v2/yocto/alpine/manifests/none").header("Cache-Control", "only-if-cached").send();
    only.expect_error(404, "MANIFEST_UNKNOWN");
    assert_eq!(upstream.asked().len(), asked);
}

#[test]
fn a_push_is_merged_with_nobody_elses_image() {
    let upstream = Upstream::start();
    let repo = upstream.repo("library/alpine");
    let theirs = pushed(&repo, "a");
    repo.put("latest", OCI_INDEX, &index(&[theirs.descriptor("riscv64")])).expect(201);
    let wharf = upstream.puller("1ms");
    let here = wharf.repo("yocto/alpine");
    here.manifest("latest").expect(200);
    let folder = TempDir::new().expect("a folder");
    let ours = wharf_tests::image_for("arm64", json!({}));
    wharf_tests::write_layout(&folder.path().join("alpine-oci"), &[("latest", &ours)]);
    let asked = upstream.asked().len();
    Wharf::with_server(folder.path(), &wharf).ok(&["push", "alpine-oci", "--name", "alpine", "--tag", "latest"]);
    assert_eq!(upstream.asked().len(), asked, "a push asks no upstream");
    assert!(here.manifest("latest").expect(200).body == ours.manifest);
}
