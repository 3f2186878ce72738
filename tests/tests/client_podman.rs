//! podman 4.3: its own stores, its builds, and pulls of parts of layers.

use wharf_tests::clients::{Cell, Containers, Layout, Traffic, Tree, assert_whole, registry};
use wharf_tests::{Server, random, sha256};

const INSECURE: &str = "--tls-verify=false";

struct Stage {
    server: Server,
    podman: Containers,
    layout: Layout,
}

impl Stage {
    #[track_caller]
    fn new() -> Self {
        let (server, podman) = (registry(), Containers::new("podman"));
        let layout = Layout::make(podman.cell.folder());
        Self { server, podman, layout }
    }

    fn cell(&self) -> &Cell {
        &self.podman.cell
    }

    /// Loads an image of the layout into podman's store; returns its id.
    #[track_caller]
    fn load(&self, name: &str) -> String {
        self.podman.run(["pull", "--quiet", &self.layout.oci(name)]).ok()
    }

    /// The registry's name for a reference, as podman's store has it.
    fn at(&self, reference: &str) -> String {
        format!("{}/{reference}", self.server.address())
    }

    #[track_caller]
    fn push(&self, image: &str, reference: &str, options: &[&str]) -> Traffic {
        let to = format!("docker://{}", self.at(reference));
        let arguments = [&["push", "--quiet", INSECURE], options, &[image, &to]].concat();
        let (traffic, pushed) = Traffic::during(&self.server, || self.podman.run(arguments));
        pushed.ok();
        traffic.assert_no_complaint();
        traffic
    }

    #[track_caller]
    fn pull(&self, reference: &str, options: &[&str]) -> (Traffic, String) {
        let from = self.at(reference);
        let arguments = [&["pull", "--quiet", INSECURE], options, &[&from]].concat();
        let (traffic, pulled) = Traffic::during(&self.server, || self.podman.run(arguments));
        traffic.assert_no_complaint();
        (traffic, pulled.ok())
    }

    /// Runs a command in a container of an image.
    #[track_caller]
    fn in_container(&self, image: &str, command: &[&str]) -> String {
        let options = ["run", "--rm", "--network=host", "--pull=never", image];
        self.podman.run(options.iter().chain(command)).ok()
    }
}

/// A single image goes to the registry, comes back into an empty store and runs; a second push sends nothing.
#[test]
fn a_single_image_is_pushed_pulled_and_run() {
    let mut stage = Stage::new();
    let id = stage.load("amd64");
    stage.push(&id, "team/app:1", &[]);
    let repo = stage.server.repo("team/app");
    let digest = assert_whole(&repo, "1");
    assert_eq!(repo.manifest("1").json()["config"]["digest"], format!("sha256:{id}"));
    stage.push(&id, "team/app:1", &[]).assert_no_blob_sent();

    stage.podman.fresh();
    let (_, pulled) = stage.pull("team/app:1", &[]);
    assert_eq!(pulled, id);
    let digests = stage.podman.run(["image", "inspect", "--format", "{{.RepoDigests}}", &id]).ok();
    assert!(digests.contains(&digest), "{digests}");
    assert_eq!(stage.in_container(&id, &["/bin/busybox", "echo", "hello"]), "hello");
}

/// An index is made, pushed with both images, and pulled for one architecture and the other.
#[test]
fn an_index_is_pushed_and_pulled_for_each_architecture() {
    let mut stage = Stage::new();
    stage.podman.run(["manifest", "create", "multi"]).ok();
    for name in ["amd64", "arm64"] {
        stage.podman.run(["manifest", "add", "multi", &stage.layout.oci(name)]).ok();
    }
    let to = format!("docker://{}", stage.at("team/multi:1"));
    let push = ["manifest", "push", "--all", INSECURE, "multi", &to];
    stage.podman.run(push).ok();
    let repo = stage.server.repo("team/multi");
    assert_whole(&repo, "1");
    let index = repo.manifest("1").json();
    let children: Vec<_> = index["manifests"].as_array().unwrap().iter().map(|m| m["digest"].as_str().unwrap()).collect();
    assert_eq!(children, [&stage.layout.amd64.digest, &stage.layout.arm64.digest]);
    let (traffic, again) = Traffic::during(&stage.server, || stage.podman.run(push));
    again.ok();
    traffic.assert_no_blob_sent();

    for (architecture, image) in [("amd64", &stage.layout.amd64), ("arm64", &stage.layout.arm64)] {
        stage.podman.fresh();
        let (_, id) = stage.pull("team/multi:1", &["--arch", architecture]);
        assert_eq!(format!("sha256:{id}"), sha256(&image.config));
        let found = stage.podman.run(["image", "inspect", "--format", "{{.Architecture}}", &id]).ok();
        assert_eq!(found, architecture);
    }
}

/// What another repository of the registry holds is mounted, not sent.
#[test]
fn layers_of_another_repository_are_mounted() {
    let stage = Stage::new();
    let id = stage.load("amd64");
    stage.push(&id, "team/base:1", &[]);
    let traffic = stage.push(&id, "other/app:1", &[]);
    assert_eq!(traffic.mounted(), 1, "{traffic:#?}");
    assert!(traffic.uploaded() <= stage.layout.amd64.config.len() as u64, "{traffic:#?}");
    assert_whole(&stage.server.repo("other/app"), "1");
}

/// An image built on top of a pulled one: only the new layer is sent.
#[test]
fn a_build_on_a_pulled_image_sends_only_its_own_layer() {
    let mut stage = Stage::new();
    let id = stage.load("amd64");
    stage.push(&id, "team/base:1", &[]);
    stage.podman.fresh();
    let (base, _) = (stage.at("team/base:1"), stage.pull("team/base:1", &[]));
    let context = stage.cell().path("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Containerfile"), format!("FROM {base}\nCOPY added /added\n")).unwrap();
    std::fs::write(context.join("added"), random(100_000)).unwrap();
    let build = ["build", "--quiet", "--pull-never", "--isolation=chroot", "--tag=localhost/built", context.to_str().unwrap()];
    stage.podman.run(build).ok();
    let traffic = stage.push("localhost/built", "team/base:2", &[]);
    assert!((100_000..200_000).contains(&traffic.uploaded()), "{traffic:#?}");
    assert_whole(&stage.server.repo("team/base"), "2");
    assert_eq!(stage.server.repo("team/base").tag_list(""), ["1", "2"]);
}

/// Layers in the form zstd:chunked are pulled in parts: podman asks for the list of files with one range, then for the
/// content it lacks with many ranges in one request, answered as multipart/byteranges.
#[test]
fn a_layer_in_zstd_chunked_is_pulled_in_parts() {
    let mut stage = Stage::new();
    let folder = stage.cell().folder().join("chunked");
    let shared: Vec<_> = (0..60).map(|_| random(40_000)).collect();
    // Two versions of an image, in which every tenth file differs.
    let tree = |version: &str| {
        let mut tree = Tree::new(&folder.join(version)).busybox("amd64");
        for (number, content) in shared.iter().enumerate() {
            let changed = version == "new" && number % 10 == 3;
            let content = if changed { random(40_000) } else { content.clone() };
            tree = tree.file(&format!("data/{number:02}"), &content);
        }
        tree
    };
    let layout = Layout::of(&folder, &[tree("old"), tree("new")]);
    for (name, reference) in [("amd64", "app:old"), ("arm64", "app:new")] {
        let id = stage.podman.run(["pull", "--quiet", &layout.oci(name)]).ok();
        stage.push(&id, reference, &["--compression-format=zstd:chunked"]);
    }
    let repo = stage.server.repo("app");
    let size = |tag: &str| {
        assert_whole(&repo, tag);
        let layer = repo.manifest(tag).json()["layers"][0].clone();
        assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
        assert!(layer["annotations"]["io.containers.zstd-chunked.manifest-position"].is_string(), "{layer}");
        layer["size"].as_u64().unwrap()
    };
    let (old, new) = (size("old"), size("new"));

    stage.podman.fresh();
    let (first, id) = stage.pull("app:old", &[]);
    let partial = |traffic: &Traffic| traffic.0.iter().filter(|e| e.status == 206).map(|e| e.sent).sum::<u64>();
    assert_eq!(first.0.iter().filter(|e| e.status == 206).count(), 2, "{first:#?}");
    assert!(partial(&first) > old / 2, "{first:#?}");
    let read = |id: &str, name: &str| stage.in_container(id, &["/bin/busybox", "sha256sum", name]);
    assert!(sha256(&shared[3]).ends_with(&read(&id, "/data/03")[..64]));

    let (update, id) = stage.pull("app:new", &["--arch=arm64"]);
    let fetched = partial(&update);
    assert!(fetched > 6 * 40_000 && fetched < new / 4, "{fetched} of {new}: {update:#?}");
    // The program is the same bytes for either architecture's name, so the update runs as well.
    assert!(sha256(&shared[2]).ends_with(&read(&id, "/data/02")[..64]));
    assert!(!sha256(&shared[3]).ends_with(&read(&id, "/data/03")[..64]));
}
