//! Real clients pull through: skopeo and podman by the registry's own names, containerd with the registry as a mirror.

use serde_json::json;
use wharf_tests::clients::{Cell, Containerd, Containers, Layout, require};
use wharf_tests::{Config, Program, Server, Upstream};

/// An upstream with the images of a layout as `library/test`, and a wharf that has it as `yocto/test` and for the namespace `docker.io`.
struct Stage {
    upstream: Upstream,
    wharf: Server,
    layout: Layout,
    _cell: Cell,
}

impl Stage {
    #[track_caller]
    fn new() -> Self {
        require("skopeo");
        let (upstream, cell) = (Upstream::start(), Cell::new());
        let layout = Layout::make(cell.folder());
        for name in ["amd64", "multi"] {
            let to = format!("docker://{}/library/test:{name}", upstream.server.address());
            let all = ["copy", "--all", "--preserve-digests", "--dest-tls-verify=false"];
            cell.run("skopeo", all.into_iter().chain([layout.oci(name).as_str(), &to])).ok();
        }
        let mut entry = upstream.entry("1h");
        entry["namespaces"] = json!(["docker.io"]);
        let wharf = Server::launch(Program::Wharf, Config::default().set("wharf.upstreams", json!([entry])));
        Self { upstream, wharf, layout, _cell: cell }
    }

    fn at(&self, tag: &str) -> String {
        format!("{}/yocto/test:{tag}", self.wharf.address())
    }
}

#[test]
fn skopeo_copies_through_it_cold_and_with_the_upstream_gone() {
    let stage = Stage::new();
    let cell = Cell::new();
    for attempt in ["cold", "warm"] {
        let to = format!("oci:{}:x", cell.path(attempt).display());
        let from = format!("docker://{}", stage.at("multi"));
        cell.run("skopeo", ["copy", "--all", "--preserve-digests", "--src-tls-verify=false", from.as_str(), &to]).ok();
        let index = std::fs::read_to_string(cell.path(attempt).join("index.json")).expect("a layout");
        assert!(index.contains(&stage.layout.index_digest()), "{index}");
        stage.upstream.shut();
    }
}

#[test]
fn podman_pulls_through_it_and_runs() {
    let stage = Stage::new();
    let podman = Containers::new("podman");
    podman.run(["pull", "--quiet", "--tls-verify=false", &stage.at("amd64")]).ok();
    stage.upstream.shut();
    let mut warm = Containers::new("podman");
    warm.fresh();
    warm.run(["pull", "--quiet", "--tls-verify=false", &stage.at("amd64")]).ok();
    let run = ["run", "--rm", "--network=host", &stage.at("amd64"), "/bin/busybox", "echo", "hello"];
    assert_eq!(warm.run(run).ok(), "hello");
}

#[test]
fn containerd_has_it_as_a_mirror() {
    let stage = Stage::new();
    let containerd = Containerd::start();
    let hosts = format!(
        "server = \"https://registry-1.docker.io\"\n[host.\"{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n",
        stage.wharf.url()
    );
    let folder = containerd.cell.path("hosts");
    std::fs::create_dir_all(folder.join("docker.io")).expect("a folder for hosts");
    std::fs::write(folder.join("docker.io/hosts.toml"), hosts).expect("write hosts.toml");
    let hosts = folder.to_str().expect("UTF-8").to_owned();
    let name = "docker.io/library/test:amd64";
    containerd.run(["images", "pull", "--hosts-dir", &hosts, name]).ok();
    containerd.empty();
    stage.upstream.shut();
    containerd.run(["images", "pull", "--hosts-dir", &hosts, name]).ok();
    assert_eq!(stage.wharf.repo("docker.io/library/test").tag_list(""), ["amd64"]);
}
