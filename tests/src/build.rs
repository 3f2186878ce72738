//! A build directory, and the registry that its images go to.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Config, Deploy, Program, Repo, Server, Wharf, clients};

/// What someone has who builds images: a build directory with a deploy directory in it, `wharf`, and a running registry.
pub struct Build {
    /// The registry. It logs every request.
    pub server: Server,
    /// Where the build leaves its images.
    pub deploy: Deploy,
    /// The command, run in the build directory.
    pub wharf: Wharf,
    folder: TempDir,
}

impl Build {
    /// A build directory without images, and a fresh registry.
    #[expect(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Self {
        Self::with(Program::Wharf)
    }

    /// The same with another registry.
    pub fn with(program: Program) -> Self {
        let config = Config::default().set("log.accesslog.disabled", false).set("log.formatter", "json");
        let server = Server::launch(program, config);
        let folder = tempfile::Builder::new().prefix("wharf-build-").tempdir().expect("a build directory");
        let wharf = Wharf::with_server(folder.path(), &server);
        Self { server, deploy: Deploy::new(folder.path()), wharf, folder }
    }

    /// A path in the build directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The build directory.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The repository of an image in the usual namespace.
    pub fn repo(&self, image: &str) -> Repo<'_> {
        self.server.repo(&format!("yocto/{image}"))
    }

    /// The tags of an image in the usual namespace; none when there is no such image.
    #[track_caller]
    pub fn tags(&self, image: &str) -> Vec<String> {
        let answer = self.repo(image).tags("");
        if answer.status == 404 { Vec::new() } else { self.repo(image).tag_list("") }
    }

    /// The names of all repositories.
    #[track_caller]
    pub fn catalog(&self) -> Vec<String> {
        let found = self.server.get("/v2/_catalog?n=1000").send().expect(200).json();
        let names = found["repositories"].as_array().expect("a list").iter();
        names.map(|name| name.as_str().expect("a name").to_owned()).collect()
    }

    /// The entries of the index that a tag leads to.
    #[track_caller]
    pub fn entries(&self, image: &str, tag: &str) -> Vec<Value> {
        let found = self.repo(image).manifest(tag).expect(200).json();
        found["manifests"].as_array().unwrap_or_else(|| panic!("no index: {found}")).clone()
    }

    /// The digests among them, by `os/architecture[/variant][ os.version]`, in order.
    #[track_caller]
    pub fn platforms(&self, image: &str, tag: &str) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let platform = |entry: &Value| {
            let platform = &entry["platform"];
            let mut name = format!("{}/{}", text(&platform["os"]), text(&platform["architecture"]));
            if let Some(variant) = platform["variant"].as_str() {
                name = format!("{name}/{variant}");
            }
            if let Some(version) = platform["os.version"].as_str() {
                name = format!("{name} {version}");
            }
            (name, text(&entry["digest"]))
        };
        self.entries(image, tag).iter().map(platform).collect()
    }

    /// Whether anything was written to the registry so far.
    pub fn nothing_was_sent(&self) -> bool {
        let written = ["\"method\":\"POST\"", "\"method\":\"PUT\"", "\"method\":\"PATCH\""];
        let log = self.server.log();
        self.catalog().is_empty() && !log.lines().any(|line| written.iter().any(|method| line.contains(method)))
    }
}

/// Packs what is in a folder into an archive.
#[track_caller]
pub fn pack(folder: &Path, archive: &Path) {
    let packed = Command::new(clients::require("tar")).arg("-cf").arg(archive).arg("-C").arg(folder).arg(".").status();
    assert!(packed.expect("run tar").success());
}

/// A build directory whose registry is to be started by `wharf start`, on a port of its own. Whatever still runs is ended when it is dropped.
pub struct Background {
    /// The command, run in the build directory.
    pub wharf: Wharf,
    /// The registry's port.
    pub port: u16,
    folder: TempDir,
}

impl Background {
    /// A build directory; nothing runs yet.
    #[expect(clippy::new_without_default, reason = "it takes a port")]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("wharf-build-").tempdir().expect("a build directory");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
        let wharf = Wharf::new(folder.path()).env("CONTAINER_REGISTRY_URL", &format!("localhost:{port}"));
        Self { wharf, port, folder }
    }

    /// A path in the build directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.wharf.run(&["stop", "--force"]);
    }
}
