//! A Docker engine of the test's own.

use std::ffi::OsStr;
use std::path::Path;

use super::{Cell, Output};

/// A running engine with an empty store, without networks.
#[derive(Debug)]
pub struct Docker {
    /// Where it runs.
    pub cell: Cell,
}

impl Docker {
    /// Starts one. It needs no list of insecure registries: to Docker those on loopback are.
    #[track_caller]
    pub fn start() -> Self {
        let cell = Cell::new();
        let config = cell.write("daemon.json", "{}");
        Self::start_in(cell, &config, &[])
    }

    /// Starts one in this cell, with this daemon.json, by a command that runs it, such as `nsenter` with options.
    #[track_caller]
    pub fn start_in(mut cell: Cell, config: &Path, by: &[&str]) -> Self {
        let socket = cell.path("docker.sock");
        cell.set("DOCKER_HOST", format!("unix://{}", socket.display()));
        let path = |option: &str, name: &str| format!("--{option}={}", cell.path(name).display());
        let arguments = [
            format!("--config-file={}", config.display()),
            path("data-root", "docker"),
            path("exec-root", "docker-exec"),
            path("pidfile", "docker.pid"),
            format!("--host=unix://{}", socket.display()),
            "--iptables=false".to_owned(),
            "--ip6tables=false".to_owned(),
            "--bridge=none".to_owned(),
        ];
        let words: Vec<_> = by.iter().map(|word| (*word).to_owned()).chain(["dockerd".to_owned()]).chain(arguments).collect();
        cell.start(&words[0], &words[1..], || cell.run("docker", ["version"]).succeeded());
        Self { cell }
    }

    /// Runs `docker` with these arguments.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.cell.run("docker", arguments)
    }

    /// Removes every image, so that nothing a pull needs is there.
    #[track_caller]
    pub fn empty(&self) {
        let ids = self.run(["image", "ls", "--all", "--quiet", "--no-trunc"]).ok();
        let ids: std::collections::BTreeSet<_> = ids.lines().collect();
        if !ids.is_empty() {
            self.run(["image", "rm", "--force"].into_iter().chain(ids)).ok();
        }
        let left = self.run(["image", "ls", "--all", "--quiet"]).ok();
        assert_eq!(left, "", "images left");
    }
}
