//! `meta-wharf`: what it puts onto the target, read by podman, skopeo and Docker, which then pull from a running registry.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::path::Path;

use serde_json::json;
use wharf_tests::clients::{Cell, Containers, Docker, Layout, Traffic, registry};
use wharf_tests::{BitBake, Config, Program, Server, Wharf, certify};

/// The search list that a target has without this layer.
const BASE: &str = "unqualified-search-registries = [\"docker.io\", \"quay.io\"]\n";
/// Nothing outside is asked: who asks Docker Hub is refused at once.
const HOSTS: &str = "127.0.0.1 localhost\n127.0.0.1 docker.io registry-1.docker.io index.docker.io auth.docker.io quay.io\n";

/// Builds the drop-in, and gives it to podman as the target has it.
fn podman(bitbake: &BitBake) -> Containers {
    bitbake.ok(&["container-oci-registry-config"]);
    let mut podman = Containers::new("podman");
    podman.cell.unset("CONTAINERS_REGISTRIES_CONF");
    podman.cell.with_etc(&bitbake.installed("container-oci-registry-config", "etc"));
    let inside = |path: &str, text: &str| {
        let file = podman.cell.write("to-copy", text);
        podman.cell.run("cp", [file.to_str().unwrap(), path]).ok();
    };
    inside("/etc/containers/registries.conf", BASE);
    inside("/etc/hosts", HOSTS);
    podman
}

/// Pushes the image of a new layout as yocto/app:1.
fn push(cell: &Cell, port: u16, options: &[&str]) -> Layout {
    let layout = Layout::make(cell.folder());
    let to = format!("docker://localhost:{port}/yocto/app:1");
    cell.run("skopeo", [&["copy"], options, &[&layout.oci("amd64"), &to]].concat()).ok();
    layout
}

fn skopeo(cell: &Cell, name: &str, to: &str) -> wharf_tests::clients::Output {
    cell.run("skopeo", ["copy", &format!("docker://{name}"), &format!("oci:{}", cell.path(to).display())])
}

/// Short names are served from the namespace; what is not there is asked of Docker Hub; the search list is the target's own.
#[test]
fn short_names_ask_the_namespace_first() {
    let (bitbake, server) = (BitBake::new(), registry());
    let port = server.address().port();
    bitbake.configure(&format!("CONTAINER_REGISTRY_URL = \"localhost:{port}\""));
    let podman = podman(&bitbake);
    let layout = push(&podman.cell, port, &["--dest-tls-verify=false"]);
    let info = podman.run(["info", "--format", "json"]).json();
    assert_eq!(info["registries"]["search"], json!(["docker.io", "quay.io"]), "{info}");
    let from_namespace = |traffic: &Traffic| traffic.of("GET", "/v2/yocto/app/").filter(|asked| asked.status == 200).count();

    let (traffic, pulled) = Traffic::during(&server, || podman.run(["pull", "--quiet", "app:1"]));
    assert_eq!(format!("sha256:{}", pulled.ok()), wharf_tests::sha256(&layout.amd64.config));
    assert_eq!(from_namespace(&traffic), 3, "{traffic:#?}");
    let (traffic, copied) = Traffic::during(&server, || skopeo(&podman.cell, "app:1", "copied"));
    copied.ok();
    assert_eq!(from_namespace(&traffic), 3, "{traffic:#?}");
    skopeo(&podman.cell, &format!("localhost:{port}/yocto/app:1"), "by-full-name").ok();

    let (traffic, refused) = Traffic::during(&server, || skopeo(&podman.cell, "other:1", "other"));
    let said = refused.fails();
    assert!(said.contains("registry-1.docker.io"), "{said}");
    assert_eq!(traffic.of("GET", "/v2/yocto/other/manifests/1").filter(|asked| asked.status == 404).count(), 1, "{traffic:#?}");
}

/// With SEARCH_FIRST=0 only the full name leads to the registry.
#[test]
fn without_search_first_short_names_go_elsewhere() {
    let (bitbake, server) = (BitBake::new(), registry());
    let port = server.address().port();
    bitbake.configure(&format!("CONTAINER_REGISTRY_URL = \"localhost:{port}\"\nCONTAINER_REGISTRY_SEARCH_FIRST = \"0\""));
    let podman = podman(&bitbake);
    push(&podman.cell, port, &["--dest-tls-verify=false"]);
    let (traffic, refused) = Traffic::during(&server, || skopeo(&podman.cell, "app:1", "copied"));
    assert!(refused.fails().contains("docker.io"));
    assert!(traffic.0.is_empty(), "{traffic:#?}");
    podman.run(["pull", "--quiet", &format!("localhost:{port}/yocto/app:1")]).ok();
}

/// CNCF distribution with this certificate, for wharf has none of its own yet.
fn secured(folder: &Path, address: &str, names: &str) -> Config {
    let (certificate, key) = certify(folder, names);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let config = Config::default().set("http.addr", address).set("http.tls.certificate", text(&certificate));
    config.set("http.tls.key", text(&key))
}

/// In secure mode podman and skopeo believe the authority that is shipped, and would not without.
#[test]
fn podman_and_skopeo_believe_the_authority() {
    let bitbake = BitBake::new();
    let config = secured(&bitbake.path(""), "127.0.0.1:0", "DNS:localhost");
    let server = Server::launch(Program::Distribution, config);
    let port = server.address().port();
    bitbake.configure(&format!(
        "CONTAINER_REGISTRY_URL = \"localhost:{port}\"\nCONTAINER_REGISTRY_SECURE = \"1\"\n\
         CONTAINER_REGISTRY_CA_CERT = \"${{TOPDIR}}/ca.crt\""
    ));
    let mut podman = podman(&bitbake);
    push(&podman.cell, port, &[]);
    podman.run(["pull", "--quiet", "app:1"]).ok();
    skopeo(&podman.cell, "app:1", "copied").ok();
    podman.cell.run("rm", ["-r", "/etc/containers/certs.d"]).ok();
    podman.fresh();
    let name = format!("localhost:{port}/yocto/app:1");
    assert!(podman.run(["pull", "--quiet", &name]).fails().contains("x509"));
    assert!(skopeo(&podman.cell, &name, "again").fails().contains("x509"));
}

/// Docker as in a guest of QEMU: the build host, with the registry, is 10.0.2.2, which is no loopback.
fn guest(bitbake: &BitBake, registry: &Path, config: &Config) -> Docker {
    let cell = Cell::new();
    cell.with_etc(&bitbake.installed("docker-registry-config", "etc"));
    let network = format!("--net={}", cell.write("network", "").display());
    let data = cell.path("data");
    let config = config.clone().set("storage.filesystem.rootdirectory", data.to_str().unwrap());
    let config = cell.write("registry.yml", config.to_yaml());
    let script = "ip link set lo up && ip address add 10.0.2.2/32 dev lo && exec \"$0\" serve \"$1\"";
    let arguments = [&network, "sh", "-c", script, registry.to_str().unwrap(), config.to_str().unwrap()];
    let ask = ["curl", "--silent", "--insecure", "--output", "/dev/null"];
    cell.start("unshare", arguments, || {
        let asked = |scheme: &str| {
            let url = format!("{scheme}://10.0.2.2:5000/v2/");
            cell.run("nsenter", [&[network.as_str()], &ask[..], &[&url]].concat()).succeeded()
        };
        asked("http") || asked("https")
    });
    Docker::start_in(cell, Path::new("/etc/docker/daemon.json"), &["nsenter", &network])
}

/// Brings an image into Docker under this name, pushes it, and pulls it again.
fn push_and_pull(docker: &Docker, name: &str) {
    let layout = Layout::make(docker.cell.folder());
    let archive = docker.cell.path("app.tar");
    let to = format!("docker-archive:{}:{name}", archive.display());
    let policy = docker.cell.path("home/.config/containers/policy.json");
    docker.cell.run("skopeo", ["--policy", policy.to_str().unwrap(), "copy", &layout.oci("amd64"), &to]).ok();
    docker.run(["load", "--input", archive.to_str().unwrap()]).ok();
    docker.run(["push", name]).ok();
    docker.empty();
    docker.run(["pull", name]).ok();
    let id = docker.run(["image", "inspect", "--format", "{{.Id}}", name]).ok();
    assert_eq!(id, wharf_tests::sha256(&layout.amd64.config));
}

/// dockerd reads the daemon.json, keeps what it said before, and reaches the registry by HTTP by its full name.
#[test]
fn docker_pulls_by_full_name() {
    let bitbake = BitBake::new();
    fs::write(bitbake.path("own.json"), r#"{"labels": ["kept=yes"], "insecure-registries": ["old.example:1"]}"#).unwrap();
    bitbake.configure("CONTAINER_REGISTRY_URL = \"localhost:5000\"\nDOCKER_DAEMON_JSON = \"${TOPDIR}/own.json\"");
    bitbake.ok(&["docker-registry-config"]);
    let wharf = Wharf::new(&bitbake.path("")).program().to_owned();
    let config = Config::default().set("http.addr", "10.0.2.2:5000");
    let docker = guest(&bitbake, &wharf, &config);
    let info = docker.run(["info", "--format", "{{json .}}"]).json();
    assert_eq!(info["Labels"], json!(["kept=yes"]), "{info}");
    for name in ["old.example:1", "localhost:5000", "10.0.2.2:5000"] {
        assert_eq!(info["RegistryConfig"]["IndexConfigs"][name]["Secure"], false, "{name}: {info}");
    }
    push_and_pull(&docker, "10.0.2.2:5000/yocto/app:1");
    drop(docker);

    fs::write(bitbake.installed("docker-registry-config", "etc/docker/daemon.json"), "{}").unwrap();
    let docker = guest(&bitbake, &wharf, &config);
    let said = docker.run(["pull", "10.0.2.2:5000/yocto/app:1"]).fails();
    assert!(said.contains("server gave HTTP response to HTTPS client"), "{said}");
}

/// In secure mode Docker believes the authority that is shipped, and would not without.
#[test]
fn docker_believes_the_authority() {
    let bitbake = BitBake::new();
    let config = secured(&bitbake.path(""), "10.0.2.2:5000", "IP:10.0.2.2");
    bitbake.configure(
        "CONTAINER_REGISTRY_URL = \"localhost:5000\"\nCONTAINER_REGISTRY_SECURE = \"1\"\n\
         CONTAINER_REGISTRY_CA_CERT = \"${TOPDIR}/ca.crt\"",
    );
    bitbake.ok(&["docker-registry-config"]);
    let docker = guest(&bitbake, &wharf_tests::clients::require("docker-registry"), &config);
    push_and_pull(&docker, "10.0.2.2:5000/yocto/app:1");
    docker.empty();
    docker.cell.run("rm", ["-r", "/etc/docker/certs.d"]).ok();
    let said = docker.run(["pull", "10.0.2.2:5000/yocto/app:1"]).fails();
    assert!(said.contains("x509"), "{said}");
}
