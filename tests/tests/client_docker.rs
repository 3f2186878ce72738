//! Docker engine 20.10: a real daemon pushes, pulls, mounts and runs.

use wharf_tests::clients::{DOCKER, Docker, Layout, Traffic, assert_whole, python, registry};
use wharf_tests::{DOCKER_LIST, DOCKER_MANIFEST, Server};

struct Stage {
    server: Server,
    docker: Docker,
    layout: Layout,
}

impl Stage {
    #[track_caller]
    fn new() -> Self {
        let (server, docker) = (registry(), Docker::start());
        let layout = Layout::make(docker.cell.folder());
        Self { server, docker, layout }
    }

    fn at(&self, reference: &str) -> String {
        format!("{}/{reference}", self.server.address())
    }

    /// Loads an image of the layout into the engine under this name; returns its id.
    #[track_caller]
    fn load(&self, architecture: &str, reference: &str) -> String {
        let archive = self.docker.cell.path(&format!("{architecture}.tar"));
        let _ = std::fs::remove_file(&archive);
        let to = format!("docker-archive:{}:{}", archive.display(), self.at(reference));
        self.skopeo(&["copy", &self.layout.oci(architecture), &to]);
        self.docker.run(["load", "--input", archive.to_str().expect("a path in UTF-8")]).ok();
        self.inspect(reference, "{{.Id}}")
    }

    #[track_caller]
    fn skopeo(&self, arguments: &[&str]) {
        self.docker.cell.run("skopeo", arguments).ok();
    }

    #[track_caller]
    fn push(&self, reference: &str) -> (Traffic, String) {
        let (traffic, pushed) = Traffic::during(&self.server, || self.docker.run(["push", &self.at(reference)]));
        traffic.assert_no_complaint();
        (traffic, pushed.ok())
    }

    #[track_caller]
    fn pull(&self, reference: &str, platform: &str) -> String {
        let pull = ["pull", "--platform", platform, &self.at(reference)];
        let (traffic, pulled) = Traffic::during(&self.server, || self.docker.run(pull));
        traffic.assert_no_complaint();
        pulled.ok()
    }

    #[track_caller]
    fn inspect(&self, reference: &str, format: &str) -> String {
        self.docker.run(["image", "inspect", "--format", format, &self.at(reference)]).ok()
    }
}

/// A single image goes to the registry, comes back into an empty store and runs; a second push sends nothing.
#[test]
fn a_single_image_is_pushed_pulled_and_run() {
    let stage = Stage::new();
    let id = stage.load("amd64", "team/app:1");
    let (traffic, said) = stage.push("team/app:1");
    assert!(traffic.uploaded() > 500_000, "{traffic:#?}");
    let repo = stage.server.repo("team/app");
    let digest = assert_whole(&repo, "1");
    assert!(said.contains(&format!("digest: {digest}")), "{said}");
    let manifest = repo.manifest("1").expect_header("Content-Type", DOCKER_MANIFEST).json();
    assert_eq!(manifest["config"]["digest"], id);
    let (traffic, said) = stage.push("team/app:1");
    traffic.assert_no_blob_sent();
    assert!(said.contains("Layer already exists"), "{said}");

    stage.docker.empty();
    let said = stage.pull("team/app:1", "linux/amd64");
    assert!(said.contains(&digest), "{said}");
    assert_eq!(stage.inspect("team/app:1", "{{.Id}}"), id);
    assert!(stage.inspect("team/app:1", "{{.RepoDigests}}").contains(&digest));
    let run = ["run", "--rm", "--network=host", &stage.at("team/app:1"), "/bin/busybox", "echo", "hello"];
    assert_eq!(stage.docker.run(run).ok(), "hello");
}

/// A manifest list of two images is pushed, and pulled for one architecture and the other.
#[test]
fn a_manifest_list_is_pushed_and_pulled_for_each_architecture() {
    let stage = Stage::new();
    let ids = [stage.load("amd64", "team/app:amd64"), stage.load("arm64", "team/app:arm64")];
    stage.push("team/app:amd64");
    stage.push("team/app:arm64");
    let (multi, amd64, arm64) = (stage.at("team/app:multi"), stage.at("team/app:amd64"), stage.at("team/app:arm64"));
    stage.docker.run(["manifest", "create", "--insecure", &multi, &amd64, &arm64]).ok();
    let push = ["manifest", "push", "--insecure", &multi];
    let (traffic, pushed) = Traffic::during(&stage.server, || stage.docker.run(push));
    traffic.assert_no_complaint();
    let digest = pushed.ok();
    let repo = stage.server.repo("team/app");
    assert_eq!(assert_whole(&repo, "multi"), digest.lines().last().unwrap());
    let list = repo.manifest("multi").expect_header("Content-Type", DOCKER_LIST).json();
    let of = |n: usize| (list["manifests"][n]["digest"].clone(), list["manifests"][n]["platform"]["architecture"].clone());
    assert_eq!(of(0), (repo.manifest("amd64").header("Docker-Content-Digest").into(), "amd64".into()));
    assert_eq!(of(1), (repo.manifest("arm64").header("Docker-Content-Digest").into(), "arm64".into()));

    for (architecture, id) in [("amd64", &ids[0]), ("arm64", &ids[1])] {
        stage.docker.empty();
        stage.pull("team/app:multi", &format!("linux/{architecture}"));
        assert_eq!(&stage.inspect("team/app:multi", "{{.Id}}"), id);
        assert_eq!(stage.inspect("team/app:multi", "{{.Architecture}}"), architecture);
    }
}

/// What another repository of the registry holds is mounted, not sent.
#[test]
fn layers_of_another_repository_are_mounted() {
    let stage = Stage::new();
    let id = stage.load("amd64", "team/base:1");
    stage.push("team/base:1");
    stage.docker.run(["tag", &id, &stage.at("other/app:1")]).ok();
    let (traffic, said) = stage.push("other/app:1");
    assert_eq!(traffic.mounted(), 1, "{traffic:#?}");
    assert!(said.contains("Mounted from team/base"), "{said}");
    assert!(traffic.uploaded() < 5_000, "{traffic:#?}");
    assert_eq!(assert_whole(&stage.server.repo("other/app"), "1"), assert_whole(&stage.server.repo("team/base"), "1"));
}

/// An image that others pushed in OCI's types is pulled: the manifest's digest and the image's id are what they pushed.
#[test]
fn an_oci_index_is_pulled() {
    let stage = Stage::new();
    let to = format!("docker://{}", stage.at("team/oci:1"));
    stage.skopeo(&["copy", "--all", "--dest-tls-verify=false", &stage.layout.oci("multi"), &to]);
    stage.pull("team/oci:1", "linux/amd64");
    let id = stage.inspect("team/oci:1", "{{.Id}}");
    assert_eq!(id, wharf_tests::sha256(&stage.layout.amd64.config));
    assert!(stage.inspect("team/oci:1", "{{.RepoDigests}}").contains(&stage.layout.index_digest()));
    stage.docker.empty();
    let by_digest = format!("team/oci@{}", stage.layout.arm64.digest);
    stage.pull(&by_digest, "linux/arm64");
    assert_eq!(stage.inspect(&by_digest, "{{.Architecture}}"), "arm64");
}

/// The engine's Python client pushes and pulls through the engine, and asks it what the registry has.
#[test]
fn the_python_client_pushes_and_pulls() {
    let stage = Stage::new();
    let id = stage.load("amd64", "team/base:1");
    let python = python();
    let repository = stage.at("team/app");
    let arguments = ["-c", DOCKER, &id, &repository, "2"];
    let said = stage.docker.cell.run(python.to_str().unwrap(), arguments).json();
    let digest = assert_whole(&stage.server.repo("team/app"), "2");
    assert_eq!(said, serde_json::json!({"pushed": digest, "known": digest, "pulled": id}));
}
