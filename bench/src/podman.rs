//! podman with stores of its own: nothing of the machine's is seen or touched.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Result;
use crate::program::{self, Took};

/// `cgroupfs`: no service manager is needed.
const ENGINE: &str =
    "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n[network]\nnetwork_backend = \"netavark\"\n";
const POLICY: &str = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
/// Covers the folder in which podman, for root, remembers where it has seen which blob; then runs it. The mounts that it makes go
/// with the namespace.
const COVERED: &str = r#"mkdir -p /var/lib/containers && mount --bind "$1" /var/lib/containers && shift && exec "$@""#;

/// A store, empty at first.
pub struct Podman {
    folder: PathBuf,
}

impl Podman {
    /// A store in a new folder.
    pub fn new(folder: &Path) -> Result<Self> {
        for name in ["state", "home/.config/containers"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let podman = Self { folder: folder.to_owned() };
        fs::write(folder.join("home/.config/containers/policy.json"), POLICY)?;
        fs::write(folder.join("containers.conf"), ENGINE)?;
        fs::write(folder.join("registries.conf"), "")?;
        fs::write(
            folder.join("storage.conf"),
            format!(
                "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n[storage.options]\n\
                 pull_options = {{enable_partial_images = \"true\", use_hard_links = \"false\", ostree_repos = \"\"}}\n",
                folder.join("store").display(),
                folder.join("run").display(),
            ),
        )?;
        Ok(podman)
    }

    /// Pulls an image from a registry, by parts where that goes.
    pub fn pull(&self, image: &str) -> Result<Took> {
        self.run(&["pull", "--quiet", "--tls-verify=false", image])
    }

    /// Pushes an image, its layers compressed by podman itself to zstd:chunked.
    pub fn push_chunked(&self, image: &str, address: SocketAddr, reference: &str) -> Result<Took> {
        let to = format!("docker://{address}/{reference}");
        self.run(&["push", "--quiet", "--tls-verify=false", "--compression-format=zstd:chunked", image, &to])
    }

    /// Adds the image of an archive.
    pub fn load(&self, archive: &Path) -> Result<Took> {
        self.run(&["load", "--quiet", "--input", &archive.to_string_lossy()])
    }

    /// Lists the images.
    pub fn images(&self) -> Result<Took> {
        self.run(&["images"])
    }

    fn run(&self, arguments: &[&str]) -> Result<Took> {
        let at = |name: &str| self.folder.join(name);
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", COVERED, "sh"]).arg(at("state"));
        command.arg("podman").arg(format!("--tmpdir={}", at("tmp").display())).args(arguments);
        command.env("HOME", at("home"));
        command.env("CONTAINERS_CONF", at("containers.conf"));
        command.env("CONTAINERS_REGISTRIES_CONF", at("registries.conf"));
        command.env("CONTAINERS_STORAGE_CONF", at("storage.conf"));
        command.env_remove("REGISTRY_AUTH_FILE");
        program::run(&mut command)
    }
}
