//! containerd and ctr: a real daemon pushes, pulls and runs.

use wharf_tests::clients::{Containerd, Layout, Traffic, assert_whole, registry};
use wharf_tests::{Image, Server};

struct Stage {
    server: Server,
    containerd: Containerd,
    layout: Layout,
}

impl Stage {
    /// With the layout imported: images named `test:amd64`, `test:arm64` and `test:multi`.
    #[track_caller]
    fn new() -> Self {
        let (server, containerd) = (registry(), Containerd::start());
        let layout = Layout::make(containerd.cell.folder());
        let archive = layout.archive();
        let import = [
            "images",
            "import",
            "--all-platforms",
            "--no-unpack",
            "--base-name=test",
            archive.to_str().expect("a path in UTF-8"),
        ];
        containerd.run(import).ok();
        Self { server, containerd, layout }
    }

    fn at(&self, reference: &str) -> String {
        format!("{}/{reference}", self.server.address())
    }

    #[track_caller]
    fn push(&self, image: &str, reference: &str) -> Traffic {
        let push = ["images", "push", "--plain-http", &self.at(reference), image];
        let (traffic, pushed) = Traffic::during(&self.server, || self.containerd.run(push));
        pushed.ok();
        traffic.assert_no_complaint();
        traffic
    }

    #[track_caller]
    fn pull(&self, reference: &str, options: &[&str]) {
        let from = self.at(reference);
        let arguments = [&["images", "pull", "--plain-http"], options, &[&from]].concat();
        let (traffic, pulled) = Traffic::during(&self.server, || self.containerd.run(arguments));
        pulled.ok();
        traffic.assert_no_complaint();
    }

    /// Asserts that containerd's store holds exactly these images' content, and the index when it is to.
    #[track_caller]
    fn assert_content(&self, images: &[&Image], index: bool) {
        let mut expected: Vec<_> = images.iter().flat_map(|i| i.blobs().map(|b| wharf_tests::sha256(b))).collect();
        expected.extend(images.iter().map(|i| i.digest.clone()));
        expected.extend(index.then(|| self.layout.index_digest()));
        let listed = self.containerd.run(["content", "list", "--quiet"]).ok();
        let mut found: Vec<_> = listed.lines().collect();
        expected.sort();
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}

/// A single image goes to the registry, comes back into an empty store and runs; a second push sends nothing.
#[test]
fn a_single_image_is_pushed_pulled_and_run() {
    let stage = Stage::new();
    assert!(stage.push("test:amd64", "team/app:1").uploaded() > 500_000);
    assert_eq!(assert_whole(&stage.server.repo("team/app"), "1"), stage.layout.amd64.digest);
    stage.push("test:amd64", "team/app:2").assert_no_blob_sent();

    stage.containerd.empty();
    stage.pull("team/app:1", &[]);
    stage.assert_content(&[&stage.layout.amd64], false);
    let run = ["run", "--rm", "--net-host", &stage.at("team/app:1"), "one", "/bin/busybox", "echo", "hello"];
    assert_eq!(stage.containerd.run(run).ok(), "hello");
}

/// An index goes to the registry with both images and comes back, for one platform and for all.
#[test]
fn an_index_is_pushed_and_pulled_whole_and_in_part() {
    let stage = Stage::new();
    stage.push("test:multi", "team/multi:1");
    assert_eq!(assert_whole(&stage.server.repo("team/multi"), "1"), stage.layout.index_digest());
    stage.push("test:multi", "team/multi:2").assert_no_blob_sent();

    stage.containerd.empty();
    stage.pull("team/multi:1", &["--all-platforms"]);
    stage.assert_content(&[&stage.layout.amd64, &stage.layout.arm64], true);
    stage.containerd.empty();
    stage.pull("team/multi:2", &["--platform=linux/arm64"]);
    let listed = stage.containerd.run(["content", "list", "--quiet"]).ok();
    assert!(listed.contains(&stage.layout.arm64.digest) && !listed.contains(&stage.layout.amd64.digest), "{listed}");
}
