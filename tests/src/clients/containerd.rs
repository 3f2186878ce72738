//! A containerd of the test's own, and its tool.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::{Cell, Output};

/// A running containerd with an empty store.
#[derive(Debug)]
pub struct Containerd {
    /// Where it runs.
    pub cell: Cell,
    socket: PathBuf,
}

impl Containerd {
    /// Starts one, without the part for Kubernetes, which wants networks.
    #[track_caller]
    pub fn start() -> Self {
        let cell = Cell::new();
        let socket = cell.path("containerd.sock");
        let settings = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{}\"\n",
            cell.path("containerd").display(),
            cell.path("containerd-state").display(),
            socket.display()
        );
        let settings = cell.write("containerd.toml", settings);
        let started = Self { cell, socket };
        let arguments = [OsStr::new("--config"), settings.as_os_str()];
        started.cell.start("containerd", arguments, || started.socket.exists() && started.run(["version"]).succeeded());
        started
    }

    /// Runs `ctr` with these arguments.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        let global = [OsStr::new("--address").to_owned(), self.socket.as_os_str().to_owned()];
        self.cell.run("ctr", global.into_iter().chain(arguments.into_iter().map(|a| a.as_ref().to_owned())))
    }

    /// Removes every image and what only they held, so that nothing a pull needs is there.
    #[track_caller]
    pub fn empty(&self) {
        let names = self.run(["images", "list", "--quiet"]).ok();
        self.run(["images", "rm", "--sync"].into_iter().chain(names.lines())).ok();
        assert_eq!(self.run(["content", "list", "--quiet"]).ok(), "", "content left");
    }
}
