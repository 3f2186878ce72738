//! Many clients on one cold image, and a cache with less room than is pulled.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use wharf_tests::{Config, Image, Server, Upstream, eventually, sha256};

#[test]
fn fifty_clients_on_a_cold_image_are_one_fetch() {
    let upstream = Upstream::start();
    let image = Image::with_layers(&[5_000_000, 200_000, 600]);
    upstream.repo("library/alpine").push("3", &image);
    let wharf = Arc::new(upstream.puller("1h"));
    // Slow enough for all of them to come while it is being fetched.
    upstream.slow(Duration::from_millis(700));
    let image = Arc::new(image);
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let (wharf, image) = (wharf.clone(), image.clone());
            thread::spawn(move || {
                let repo = wharf.repo("yocto/alpine");
                assert!(repo.manifest("3").expect(200).body == image.manifest);
                for blob in image.blobs() {
                    assert!(repo.blob(&sha256(blob)).expect(200).body == *blob);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("a client with the whole image");
    }
    assert_eq!(upstream.count("GET", "/manifests/"), 1);
    for blob in image.blobs() {
        assert_eq!(upstream.count("GET", &sha256(blob)), 1, "of a blob of {} bytes", blob.len());
    }
    assert_eq!(upstream.count("HEAD", "/"), 0);
}

/// Whether a blob is here, without asking anybody else.
fn is_here(wharf: &Server, repository: &str, blob: &[u8]) -> bool {
    let path = format!("/v2/{repository}/blobs/{}", sha256(blob));
    wharf.get(&path).header("Cache-Control", "only-if-cached").send().status == 200
}

#[test]
fn a_full_cache_gives_up_what_was_not_used_for_longest_and_nothing_that_was_pushed() {
    let upstream = Upstream::start();
    let images: Vec<_> = (0..4).map(|_| Image::with_layers(&[1_000_000])).collect();
    for (number, image) in images.iter().enumerate() {
        upstream.repo("library/alpine").push(&number.to_string(), image);
    }
    let wharf = upstream.puller_with("1h", Config::default().set("wharf.upstream.cache_size", "2500000").with_files());
    let repo = wharf.repo("yocto/alpine");
    // Pushed before anything was pulled, and by a manifest that names what was pulled.
    let own = Image::with_layers(&[1_500_000]);
    wharf.repo("yocto/own").push("1", &own);
    let pull = |number: usize| {
        repo.manifest(&number.to_string()).expect(200);
        for blob in images[number].blobs() {
            repo.blob(&sha256(blob)).expect(200);
        }
    };
    pull(0);
    let adopted = Image::of_layers(images[0].layers.clone());
    repo.push_blob(&adopted.config);
    repo.put("mine", wharf_tests::OCI_MANIFEST, &adopted.manifest).expect(201);
    pull(1);
    pull(2);
    // Both fit, and stay; what is pushed does not count.
    thread::sleep(Duration::from_millis(1_500));
    assert!(is_here(&wharf, "yocto/alpine", &images[1].layers[0]) && is_here(&wharf, "yocto/alpine", &images[2].layers[0]));
    thread::sleep(Duration::from_millis(20));
    repo.blob(&sha256(&images[1].layers[0])).expect(200);
    assert!(!wharf.log().contains("evicted"), "{}", wharf.log());
    pull(3);
    // To look for it would be to use it.
    eventually("something is evicted", || wharf.log().contains("evicted"));
    assert!(!is_here(&wharf, "yocto/alpine", &images[2].layers[0]), "the one that was not used for longest is gone");
    for (what, blob) in [
        ("what was used", &images[1].layers[0]),
        ("what came last", &images[3].layers[0]),
        ("what a pushed manifest names", &images[0].layers[0]),
    ] {
        assert!(is_here(&wharf, "yocto/alpine", blob), "{what}");
    }
    assert!(is_here(&wharf, "yocto/own", &own.layers[0]));
    eventually("its file is gone", || wharf.blob_files().len() <= 9);
    // It is fetched again like anything else.
    let before = upstream.count("GET", &sha256(&images[2].layers[0]));
    pull(2);
    assert_eq!(upstream.count("GET", &sha256(&images[2].layers[0])), before + 1);
    // A collection in between takes none of it.
    wharf.collect("now=1");
    assert!(is_here(&wharf, "yocto/alpine", &images[2].layers[0]));
}

#[test]
fn what_is_asked_of_upstreams_is_counted() {
    let upstream = Upstream::start();
    let image = Image::with_layers(&[100_000]);
    upstream.repo("library/alpine").push("3", &image);
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let config = Config::default().set("http.debug.addr", port.to_string()).set("http.debug.prometheus.enabled", true);
    let wharf = upstream.puller_with("1ms", config);
    let repo = wharf.repo("yocto/alpine");
    repo.manifest("3").expect(200);
    repo.blob(&sha256(&image.layers[0])).expect(200);
    repo.blob(&sha256(&image.layers[0])).expect(200);
    repo.manifest("none").expect(404);
    upstream.shut();
    repo.manifest("3").expect(200);
    let text = wharf_tests::Request::new(port, "GET", "/metrics").send().expect(200).body;
    let text = String::from_utf8(text).expect("UTF-8");
    let value = |line: String| {
        let found = text.lines().find(|found| found.starts_with(&line)).unwrap_or_else(|| panic!("no {line} in {text}"));
        found.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number")
    };
    let requests =
        |result: &str| value(format!("wharf_upstream_requests_total{{upstream=\"{}\",result=\"{result}\"}}", upstream.address()));
    assert_eq!((requests("found"), requests("missing"), requests("failed")), (2.0, 1.0, 1.0));
    let received = value(format!("wharf_upstream_received_bytes_total{{upstream=\"{}\"}}", upstream.address()));
    assert_eq!(received, (image.layers[0].len() + image.manifest.len()) as f64);
    assert_eq!(value("wharf_upstream_stale_total".to_owned()), 1.0);
    assert!(value("wharf_upstream_hits_total".to_owned()) >= 1.0);
}
