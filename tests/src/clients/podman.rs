//! Settings for podman and buildah: stores of their own, nothing of the machine's.

use std::ffi::OsStr;

use super::{Cell, Output};

/// `default_ulimits`: podman asks for limits that a process in a container may not set. `cgroupfs`: no service manager
/// is needed. crun refuses machines with cgroups of both versions, hence runc.
const CONTAINERS: &str = r#"
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
[network]
network_backend = "netavark"
"#;

/// One or more stores of containers/storage in a cell, and a program that works on them.
#[derive(Debug)]
pub struct Containers {
    /// Where they run.
    pub cell: Cell,
    program: &'static str,
    store: u32,
}

impl Containers {
    /// For `podman` or `buildah`, with an empty store.
    #[track_caller]
    pub fn new(program: &'static str) -> Self {
        let mut cell = Cell::new();
        let conf = cell.write("containers.conf", CONTAINERS);
        let registries = cell.write("registries.conf", "");
        cell.set("CONTAINERS_CONF", &conf);
        cell.set("CONTAINERS_REGISTRIES_CONF", &registries);
        cell.set("BUILDAH_ISOLATION", "chroot");
        let mut containers = Self { cell, program, store: 0 };
        containers.fresh();
        containers
    }

    /// Goes on with an empty store, so that nothing a pull needs is there.
    pub fn fresh(&mut self) {
        self.open(true);
    }

    /// Goes on with an empty store that takes layers only whole, as podman does unless it is told otherwise.
    pub fn fresh_without_parts(&mut self) {
        self.open(false);
    }

    fn open(&mut self, parts: bool) {
        self.store += 1;
        let (root, run) = (self.cell.path(&format!("store-{}", self.store)), self.cell.path(&format!("run-{}", self.store)));
        let settings = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n[storage.options]\n\
             pull_options = {{enable_partial_images = \"{parts}\", use_hard_links = \"false\", ostree_repos = \"\"}}\n",
            root.display(),
            run.display()
        );
        let settings = self.cell.write(&format!("storage-{}.conf", self.store), settings);
        self.cell.set("CONTAINERS_STORAGE_CONF", settings);
    }

    /// Runs the program.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        let temporary = format!("--tmpdir={}", self.cell.path(&format!("tmp-{}", self.store)).display());
        // buildah keeps no such state.
        let global = (self.program == "podman").then_some(temporary);
        let arguments = arguments.into_iter().map(|a| a.as_ref().to_owned());
        self.cell.run(self.program, global.into_iter().map(Into::into).chain(arguments))
    }
}
