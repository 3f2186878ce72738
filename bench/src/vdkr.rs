//! `vdkr` with a state folder of its own: kernels from the package registry, images that the bench makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::Bench;
use crate::failure::{Context, Failure, Result};
use crate::program::{self, Took};

/// The architectures, as vdkr and as Debian call them.
pub const ARCHITECTURES: [(&str, &str); 2] = [("x86_64", "amd64"), ("aarch64", "arm64")];
/// The program in every image: a shell with the common commands, static.
const BUSYBOX: &str = "BENCH_BUSYBOX_";

/// One user's vdkr.
pub struct Vdkr {
    program: PathBuf,
    folder: PathBuf,
    guests: PathBuf,
}

impl Vdkr {
    /// With a new state folder in this one. The program lies beside wharf's, and the guests where `scripts/guest` puts them.
    pub fn new(bench: &Bench, folder: &Path) -> Result<Self> {
        let wharf = program::path(bench)?;
        let program = wharf.with_file_name("vdkr");
        if !program.exists() {
            return Err(Failure::new(format!("there is no {}", program.display())));
        }
        let guests = wharf.parent().and_then(Path::parent).unwrap_or(Path::new(".")).join("guest");
        fs::create_dir_all(folder.join("home"))?;
        Ok(Self { program, folder: folder.to_owned(), guests })
    }

    /// What vdkr does for an architecture.
    pub fn command(&self, architecture: &str, arguments: &[&str]) -> Command {
        let mut command = program::without_settings(&self.program);
        command.env("HOME", self.folder.join("home")).env("VDKR_GUEST_DIR", &self.guests);
        command.env("VDKR_CONFIG_DEFAULTS", "/dev/null");
        command.arg("--state-dir").arg(self.state()).args(["--arch", architecture]).args(arguments);
        command
    }

    /// Does it.
    pub fn run(&self, architecture: &str, arguments: &[&str]) -> Result<Took> {
        program::run(&mut self.command(architecture, arguments))
    }

    /// Kernel and first programs of an architecture.
    pub fn setup(&self, architecture: &str) -> Result<()> {
        self.run(architecture, &["setup"]).map(drop)
    }

    /// An image whose one program is busybox, and its commands.
    pub fn import(&self, architecture: &str, debian: &str, name: &str) -> Result<()> {
        let variable = format!("{BUSYBOX}{debian}");
        let busybox = std::env::var_os(&variable).ok_or_else(|| {
            Failure::new(format!("{variable} does not name a busybox for {architecture}; scripts/bench sets it"))
        })?;
        let root = self.folder.join(format!("root-{debian}"));
        fs::create_dir_all(root.join("bin"))?;
        fs::copy(&busybox, root.join("bin/busybox")).context(Path::new(&busybox).display())?;
        for command in ["sh", "echo", "true", "sleep"] {
            let link = root.join("bin").join(command);
            if fs::symlink_metadata(&link).is_err() {
                std::os::unix::fs::symlink("busybox", link)?;
            }
        }
        let path = root.to_str().ok_or_else(|| Failure::new("the folder's name is not UTF-8"))?;
        self.run(architecture, &["vimport", path, name]).map(drop)
    }

    /// Where everything of it is.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }
}
