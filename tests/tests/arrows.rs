//! The arrows between the packages point one way; this holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// For each workspace package the packages it depends on: directly, and through others.
struct Graph {
    names: BTreeMap<String, String>,
    members: BTreeSet<String>,
    edges: BTreeMap<String, Vec<(String, bool)>>,
    features: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // Packages for other systems were never fetched, so offline only this one's can be asked for.
        let rustc = Command::new("rustc").arg("-vV").output().expect("run rustc");
        let version = String::from_utf8(rustc.stdout).expect("a version in UTF-8");
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("the host's name");
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", host])
            .current_dir(root)
            .output()
            .expect("run cargo metadata");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let list = |value: &Value| value.as_array().expect("a list").clone();
        let names = list(&metadata["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
        let members = list(&metadata["workspace_members"]).iter().map(text).collect();
        let edges = list(&metadata["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let deps = list(&node["deps"]);
                let edge = |dep: &Value| {
                    let only_tests = list(&dep["dep_kinds"]).iter().all(|kind| kind["kind"] == "dev");
                    (text(&dep["pkg"]), only_tests)
                };
                (text(&node["id"]), deps.iter().map(edge).collect())
            })
            .collect();
        let nodes = list(&metadata["resolve"]["nodes"]);
        let features = nodes.iter().map(|node| (text(&node["id"]), list(&node["features"]).iter().map(text).collect())).collect();
        Self { names, members, edges, features }
    }

    fn id(&self, name: &str) -> &str {
        let found = self.members.iter().find(|id| self.names[*id] == name);
        found.unwrap_or_else(|| panic!("no package {name} in the workspace"))
    }

    /// What a package needs to be built, directly.
    fn direct(&self, name: &str) -> BTreeSet<&str> {
        let edges = self.edges[self.id(name)].iter();
        edges.filter(|(_, only_tests)| !only_tests).map(|(id, _)| self.names[id].as_str()).collect()
    }

    /// What a package needs to be built, through others as well.
    fn all(&self, name: &str) -> BTreeSet<&str> {
        self.reached(name).into_iter().map(|id| self.names[id].as_str()).filter(|found| *found != name).collect()
    }

    /// The same with their versions, and the package itself.
    fn reached(&self, name: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::from([self.id(name)]);
        let mut open: Vec<_> = seen.iter().copied().collect();
        while let Some(id) = open.pop() {
            for (next, _) in self.edges[id].iter().filter(|(_, only_tests)| !only_tests) {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen
    }

    fn expect_without(&self, package: &str, found: &BTreeSet<&str>, forbidden: &[&str]) {
        let wrong: Vec<_> = forbidden.iter().filter(|name| found.contains(**name)).collect();
        assert!(wrong.is_empty(), "{package} depends on {wrong:?}");
    }
}

const HTTP: [&str; 9] =
    ["hyper", "hyper-util", "http", "http-body", "http-body-util", "httparse", "reqwest", "ureq", "ureq-proto"];

/// The walk itself works: it finds what is known to be there.
#[test]
fn the_graph_is_read() {
    let graph = Graph::read();
    assert!(graph.direct("wharf").contains("wharf-registry"));
    assert!(graph.all("wharf").contains("wharf-oci"));
    assert!(graph.all("wharf-registry").contains("hyper"));
    assert!(graph.all("wharf-store").contains("rusqlite"));
}

/// Names, digests and manifests know nobody: no other package of the workspace, no runtime, no database, no HTTP.
#[test]
fn oci_knows_nobody() {
    let graph = Graph::read();
    let found = graph.all("wharf-oci");
    let ours: Vec<_> = found.iter().filter(|name| name.starts_with("wharf")).collect();
    assert!(ours.is_empty(), "wharf-oci depends on {ours:?}");
    graph.expect_without("wharf-oci", &found, &["tokio", "async-trait", "rusqlite", "libsqlite3-sys"]);
    graph.expect_without("wharf-oci", &found, &HTTP);
}

/// The store knows no HTTP and no registry.
#[test]
fn the_store_knows_no_http() {
    let graph = Graph::read();
    let found = graph.all("wharf-store");
    graph.expect_without("wharf-store", &found, &HTTP);
    let ours: BTreeSet<_> = found.iter().filter(|name| name.starts_with("wharf")).copied().collect();
    assert_eq!(ours, ["wharf-oci"].into());
}

/// Who may do what is decided without network, runtime or database; certificates know nobody here.
#[test]
fn access_and_pki_know_no_network() {
    let graph = Graph::read();
    for (name, ours) in [("wharf-access", &["wharf-oci"][..]), ("wharf-pki", &[])] {
        let found = graph.all(name);
        graph.expect_without(name, &found, &HTTP);
        graph.expect_without(name, &found, &["tokio", "rusqlite", "libsqlite3-sys"]);
        let known: BTreeSet<_> = found.iter().filter(|name| name.starts_with("wharf")).copied().collect();
        assert_eq!(known, ours.iter().copied().collect(), "{name}");
    }
}

/// The registry reaches the database through the store only.
#[test]
fn the_registry_knows_no_database() {
    let graph = Graph::read();
    let found = graph.direct("wharf-registry");
    graph.expect_without("wharf-registry", &found, &["rusqlite", "libsqlite3-sys"]);
    assert!(!found.contains("wharf"));
}

/// The client side knows what travels, and nothing of how a server keeps it.
#[test]
fn the_client_knows_no_server() {
    let graph = Graph::read();
    let found = graph.all("wharf-client");
    let ours: BTreeSet<_> = found.iter().filter(|name| name.starts_with("wharf")).copied().collect();
    assert_eq!(ours, ["wharf-oci"].into());
    graph.expect_without("wharf-client", &found, &["rusqlite", "libsqlite3-sys"]);
}

/// What fetches images into layouts knows the client and layers, and no program.
#[test]
fn pulling_knows_no_program() {
    let graph = Graph::read();
    let found = graph.all("wharf-pull");
    let ours: BTreeSet<_> = found.iter().filter(|name| name.starts_with("wharf")).copied().collect();
    assert_eq!(ours, ["wharf-client", "wharf-layers", "wharf-oci"].into());
}

/// What programs show people knows what goes on, and nothing of what they do.
#[test]
fn the_terminal_knows_no_program() {
    let graph = Graph::read();
    let found = graph.all("wharf-terminal");
    let ours: BTreeSet<_> = found.iter().filter(|name| name.starts_with("wharf")).copied().collect();
    assert_eq!(ours, ["wharf-client", "wharf-oci"].into());
}

/// What runs images knows no registry's inside, and the registry's program nothing of machines.
#[test]
fn the_two_programs_know_nothing_of_each_other() {
    let graph = Graph::read();
    graph.expect_without("vdkr", &graph.all("vdkr"), &["wharf", "wharf-registry", "wharf-store", "wharf-guest"]);
    graph.expect_without(
        "wharf",
        &graph.all("wharf"),
        &["vdkr", "wharf-machine", "wharf-rootfs", "wharf-volumes", "wharf-guest-protocol"],
    );
}

/// The build side reads folders: no HTTP, no runtime, no database.
#[test]
fn the_build_side_knows_no_network() {
    let graph = Graph::read();
    let found = graph.all("wharf-yocto");
    let ours: BTreeSet<_> = found.iter().filter(|name| name.starts_with("wharf")).copied().collect();
    assert_eq!(ours, ["wharf-oci"].into());
    graph.expect_without("wharf-yocto", &found, &["tokio", "rusqlite", "libsqlite3-sys"]);
    graph.expect_without("wharf-yocto", &found, &HTTP);
}

/// Layers are files: no HTTP, no runtime. And what reads metadata goes through the C library: pseudo and fakeroot stand in front of that, not in
/// front of the system calls that rustix makes by itself, unless it is told not to: tempfile is built on it.
#[test]
fn layers_know_no_network_and_no_system_calls_of_their_own() {
    let graph = Graph::read();
    let found = graph.all("wharf-layers");
    let ours: BTreeSet<_> = found.iter().filter(|name| name.starts_with("wharf")).copied().collect();
    assert_eq!(ours, ["wharf-oci"].into());
    graph.expect_without("wharf-layers", &found, &["tokio", "xattr"]);
    graph.expect_without("wharf-layers", &found, &HTTP);
    graph.expect_without("wharf-layers", &graph.direct("wharf-layers"), &["rustix"]);
    let rustix: Vec<_> = graph.reached("wharf").into_iter().filter(|id| graph.names[*id] == "rustix").collect();
    assert!(!rustix.is_empty() && rustix.iter().all(|id| graph.features[*id].contains("use-libc")), "{rustix:?}");
}

/// Volumes are files and a stream: nothing else of the workspace, no runtime, no HTTP. The guest's half is in a program that is small and static, so it
/// is built without the host's.
#[test]
fn volumes_know_nobody() {
    let graph = Graph::read();
    let found = graph.all("wharf-volumes");
    let ours: Vec<_> = found.iter().filter(|name| name.starts_with("wharf")).collect();
    assert!(ours.is_empty(), "wharf-volumes depends on {ours:?}");
    graph.expect_without("wharf-volumes", &found, &["tokio", "serde", "rusqlite", "libsqlite3-sys"]);
    graph.expect_without("wharf-volumes", &found, &HTTP);
}

/// Only the binary, the fuzz targets and the benches see the registry's inside.
#[test]
fn only_the_binary_knows_the_registry() {
    let graph = Graph::read();
    let registry = graph.id("wharf-registry");
    let users: BTreeSet<_> = graph
        .members
        .iter()
        .filter(|member| graph.edges[*member].iter().any(|(id, _)| id == registry))
        .map(|member| graph.names[member].as_str())
        .collect();
    let allowed = BTreeSet::from(["wharf", "wharf-fuzz", "wharf-bench"]);
    assert!(users.is_subset(&allowed), "wharf-registry is used by {users:?}");
    assert!(users.contains("wharf"));
}

/// Fuzz targets know every parser, and nobody knows them.
#[test]
fn nobody_knows_the_fuzz_targets() {
    let graph = Graph::read();
    let fuzz = graph.id("wharf-fuzz");
    assert!(graph.members.iter().all(|member| graph.edges[member].iter().all(|(id, _)| id != fuzz)));
}

/// Trials know the program from outside, as the tests do, and nobody knows them. What plants faults is in no program that is built by default.
#[test]
fn trials_know_the_tests_helpers_alone() {
    let graph = Graph::read();
    let found = graph.direct("wharf-trials");
    let ours: BTreeSet<_> = found.iter().filter(|name| name.starts_with("wharf")).copied().collect();
    assert_eq!(ours, ["wharf-tests"].into());
    let trials = graph.id("wharf-trials");
    assert!(graph.members.iter().all(|member| graph.edges[member].iter().all(|(id, _)| id != trials)));
    let planted: Vec<_> = graph.members.iter().filter(|id| graph.features[*id].contains("planted")).collect();
    assert!(planted.is_empty(), "{planted:?}");
}
