//! Pushes over connections that break.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use wharf_tests::{Config, Fault, Image, Program, Proxy, Ran, Server, Wharf, image_of, random, sha256, write_layout};

const MIB: usize = 1 << 20;

/// A build directory with one image, `app-oci`.
struct Built {
    folder: TempDir,
    image: Image,
}

impl Built {
    fn new(layers: &[usize]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let layers = layers.iter().map(|size| random(*size)).collect();
        let image = image_of(json!({"architecture": "amd64", "os": "linux"}), json!({}), layers);
        write_layout(&folder.path().join("app-oci"), &[("latest", &image)]);
        Self { folder, image }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn wharf(&self, address: SocketAddr) -> Wharf {
        Wharf::new(self.path()).env("CONTAINER_REGISTRY_URL", &address.to_string())
    }

    fn push(&self, address: SocketAddr) -> Ran {
        self.wharf(address).run(&["push", "app-oci", "--tag", "t"])
    }

    /// Bytes of the layers.
    fn size(&self) -> u64 {
        self.image.layers.iter().map(|layer| layer.len() as u64).sum()
    }

    /// Asserts that the server has all of it under the tag.
    #[track_caller]
    fn assert_there(&self, server: &Server) {
        let repo = server.repo("yocto/app");
        assert_eq!(repo.manifest("t").expect(200).body, self.image.manifest);
        for blob in self.image.blobs() {
            let digest = sha256(blob);
            assert_eq!(sha256(&repo.blob(&digest).expect(200).body), digest);
        }
    }
}

/// So many cuts at random places of the first `size` bytes, the outermost left out.
fn cuts(count: u64, size: u64) -> Vec<Fault> {
    let part = size / count;
    (0..count).map(|n| Fault::CutAt(n * part + fastrand::u64(part / 10..part))).collect()
}

#[track_caller]
fn assert_little_resent(proxy: &Proxy, size: u64) {
    let resent = proxy.received().saturating_sub(size);
    println!("{resent} bytes beyond {size}");
    assert!(resent < size / 10, "{resent} bytes were sent again of {size}");
}

#[test]
fn a_blob_goes_on_where_a_cut_connection_left_it() {
    let server = Server::launch(Program::Wharf, Config::default());
    let built = Built::new(&[96 * MIB]);
    let proxy = Proxy::start(server.address(), cuts(5, built.size()));
    let ran = built.push(proxy.address()).expect(0).says("trying sha256:").says("again in");
    assert_eq!(proxy.happened(), 5, "{ran}");
    built.assert_there(&server);
    assert_little_resent(&proxy, built.size());
}

#[test]
fn several_blobs_at_once_go_on_as_well() {
    let server = Server::launch(Program::Wharf, Config::default());
    let built = Built::new(&[32 * MIB, 24 * MIB, 16 * MIB, 8 * MIB, 300 << 10, 100 << 10]);
    let proxy = Proxy::start(server.address(), cuts(4, built.size()));
    built.push(proxy.address()).expect(0);
    assert_eq!(proxy.happened(), 4);
    built.assert_there(&server);
    assert_little_resent(&proxy, built.size());
}

#[test]
fn every_connection_may_be_cut_early() {
    let server = Server::launch(Program::Wharf, Config::default());
    let built = Built::new(&[3 * MIB, 1000]);
    // At the first byte of requests, within heads, and soon after.
    let proxy = Proxy::start(server.address(), [1, 150, 900, 3000, 300_000, 2_000_000].map(Fault::CutAt));
    let ran = built.push(proxy.address()).expect(0);
    assert_eq!(proxy.happened(), 6, "{ran}");
    built.assert_there(&server);
}

/// A registry that forgets an upload whose connection broke: the blob begins anew, and the push still ends right.
#[test]
fn distribution_gets_the_blob_anew() {
    let server = Server::launch(Program::Distribution, Config::default());
    let built = Built::new(&[24 * MIB, 500]);
    let proxy = Proxy::start(server.address(), cuts(2, built.size()));
    built.push(proxy.address()).expect(0).says("again in");
    assert_eq!(proxy.happened(), 2);
    built.assert_there(&server);
}

#[test]
fn a_server_may_be_killed_and_come_back() {
    let mut server = Server::launch(Program::Wharf, Config::default());
    let built = Built::new(&[96 * MIB]);
    let proxy = Proxy::start(server.address(), [Fault::StallAt(40 << 20)]);
    let mut command = built.wharf(proxy.address()).env("WHARF_STALL", "30").command(&["push", "app-oci", "--tag", "t"]);
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("start a push");
    wharf_tests::eventually("a part of the blob has arrived", || proxy.happened() == 1);
    server.kill();
    // Connections of the dead server end, and new ones find nobody for a while.
    proxy.retarget(server.address());
    std::thread::sleep(Duration::from_millis(1500));
    server.restart();
    proxy.retarget(server.address());
    let ran = Ran::of("push".to_owned(), child.wait_with_output().expect("wait for the push")).expect(0).says("again in");
    built.assert_there(&server);
    println!("{} bytes for {}", proxy.received(), built.size());
    assert!(proxy.received() < built.size() + built.size() / 2, "more was sent again than a kill can lose: {ran}");
}

#[test]
fn work_whose_answer_was_lost_is_not_done_twice() {
    let server = Server::launch(Program::Wharf, Config::default());
    let built = Built::new(&[16 * MIB]);
    let proxy = Proxy::start(
        server.address(),
        [
            Fault::CutAnswer("POST /v2/yocto/app/blobs/uploads/?mount"),
            Fault::CutAnswer("PATCH /v2/yocto/app/blobs/uploads/"),
            Fault::CutAnswer("PUT /v2/yocto/app/blobs/uploads/"),
        ],
    );
    let ran = built.push(proxy.address()).expect(0);
    assert_eq!(proxy.happened(), 3, "{ran}");
    built.assert_there(&server);
    assert_little_resent(&proxy, built.size());
}

#[test]
fn a_tag_is_set_though_request_or_answer_are_cut() {
    for fault in [Fault::CutRequest("PUT /v2/yocto/app/manifests/t"), Fault::CutAnswer("PUT /v2/yocto/app/manifests/t")] {
        let server = Server::launch(Program::Wharf, Config::default());
        let built = Built::new(&[1000]);
        let proxy = Proxy::start(server.address(), [fault]);
        let ran = built.push(proxy.address()).expect(0).says("trying PUT /v2/yocto/app/manifests/t again in");
        assert_eq!((proxy.happened(), ran.tags()), (1, vec!["t".to_owned()]), "{ran}");
        assert!(!ran.stderr.contains("unchanged"), "{ran}");
        built.assert_there(&server);
    }
}

#[test]
fn an_answer_cut_in_its_middle_is_asked_for_again() {
    let server = Server::launch(Program::Wharf, Config::default());
    let built = Built::new(&[1000]);
    built.push(server.address()).expect(0);
    let proxy = Proxy::start(
        server.address(),
        [
            Fault::CutAnswer("GET /v2/ "),
            Fault::CutAnswer("HEAD /v2/yocto/app/blobs/"),
            Fault::CutAnswer("GET /v2/yocto/app/manifests/t"),
        ],
    );
    let ran = built.push(proxy.address()).expect(0);
    assert_eq!(proxy.happened(), 3, "{ran}");
    let proxy = Proxy::start(server.address(), [Fault::CutAnswer("GET /v2/yocto/app/tags/list")]);
    assert_eq!(built.wharf(proxy.address()).ok(&["tags", "app"]).stdout, "t\n");
}

#[test]
fn a_push_whose_way_is_cut_for_good_ends() {
    let server = Server::launch(Program::Wharf, Config::default());
    let built = Built::new(&[3 * MIB]);
    let proxy = Proxy::start(server.address(), (0..64).map(|_| Fault::CutRequest("POST /v2/yocto/app/blobs/uploads/?mount")));
    let ran = built.push(proxy.address()).expect(1);
    let broke = ran.stderr.contains("broke");
    assert!(broke && ran.tags().is_empty(), "{ran}");
    assert_eq!(built.wharf(server.address()).ok(&["list"]).stdout, "(none)\n");
}
