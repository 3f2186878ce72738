//! The real program in a folder of its own, with an environment of its own.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// What a command did.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Done {
    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Asserts that standard error holds `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "no {text:?} in {self:?}");
        self
    }

    /// Asserts that standard output holds `text`.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.out.contains(text), "no {text:?} in {self:?}");
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A build directory; its registry is stopped at the end.
pub struct Place {
    folder: TempDir,
    storage: PathBuf,
    pub port: u16,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("wharf-cli-").tempdir().expect("a folder");
        let storage = folder.path().join("container-registry");
        Self { folder, storage, port: free_port() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The same with another storage folder than the default one, below the build directory.
    pub fn with_storage(mut self, name: impl AsRef<Path>) -> Self {
        self.storage = self.path().join(name);
        self
    }

    pub fn storage(&self) -> PathBuf {
        self.storage.clone()
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        fs::write(&path, text).expect("a written file");
        path.to_string_lossy().into_owned()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(arguments).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command.env("TOPDIR", self.path()).env("CONTAINER_REGISTRY_URL", format!("localhost:{}", self.port));
        if self.storage != self.path().join("container-registry") {
            command.env("CONTAINER_REGISTRY_STORAGE", &self.storage);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Done {
        self.command(arguments).output().expect("the program runs").into()
    }

    pub fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Done {
        self.command(arguments).envs(variables.iter().copied()).output().expect("the program runs").into()
    }

    /// The running server's process id.
    pub fn pid(&self) -> Option<u64> {
        self.run(&["status", "--json"]).json()["pid"].as_u64()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.run(&["stop"]);
    }
}

/// A port that nobody listens on, on either loopback address. Another program could take it before it is used; ports
/// given out by the kernel come back late enough for that not to happen in practice.
pub fn free_port() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = first.local_addr().expect("an address").port();
        // Without IPv6 on this machine only the first counts.
        if TcpListener::bind(("::1", port)).is_ok() || TcpListener::bind("[::1]:0").is_err() {
            return port;
        }
    }
}

#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
