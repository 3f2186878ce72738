//! The programs under test: which one, where it is, and how it is started.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Config;
use crate::trace::tracer;

/// How long a start may take before a test gives up on it.
const START: Duration = Duration::from_secs(20);

/// Which program serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `wharf serve`: from `WHARF_BIN`, else the one built beside the tests.
    Wharf,
    /// CNCF distribution 2.8 as Debian packages it.
    Distribution,
}

impl Program {
    /// What [`Server::start`] starts: wharf, unless `WHARF_TESTS_AGAINST` names the peer.
    pub fn under_test() -> Self {
        match std::env::var("WHARF_TESTS_AGAINST").as_deref() {
            Err(_) | Ok("" | "wharf") => Self::Wharf,
            Ok("docker-registry") => Self::Distribution,
            Ok(other) => panic!("WHARF_TESTS_AGAINST={other}: neither wharf nor docker-registry"),
        }
    }

    fn path(self) -> PathBuf {
        match self {
            Self::Distribution => "docker-registry".into(),
            Self::Wharf => binary(),
        }
    }
}

/// The program under test.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("WHARF_BIN").map_or_else(|| built("wharf"), PathBuf::from)
}

/// The program that runs images, from `VDKR_BIN`, else the one built beside the tests.
pub(crate) fn vdkr() -> PathBuf {
    std::env::var_os("VDKR_BIN").map_or_else(|| built("vdkr"), PathBuf::from)
}

/// A program of the profile these tests were built with: test programs lie in `target/<profile>/deps`.
fn built(name: &str) -> PathBuf {
    beside(name).unwrap_or_else(|| panic!("no {name} beside the tests: build it, or name it with {}_BIN", name.to_uppercase()))
}

fn beside(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().expect("the path of the test program");
    own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// How a server is started: a program, and what it finds in its environment.
#[derive(Clone, Debug)]
pub struct Launch {
    pub(crate) program: Program,
    pub(crate) path: PathBuf,
    pub(crate) traced: bool,
    variables: Vec<(String, String)>,
}

impl Launch {
    /// One of the programs, as it is installed or built.
    pub fn of(program: Program) -> Self {
        Self { program, path: program.path(), traced: false, variables: Vec::new() }
    }

    /// The wharf at this path.
    pub fn at(path: &Path) -> Self {
        Self { program: Program::Wharf, path: path.to_owned(), traced: false, variables: Vec::new() }
    }

    /// The wharf with a fault built into it on purpose, by the name of the fault.
    ///
    /// # Panics
    /// When it was not built.
    pub fn planted(fault: &str) -> Self {
        let path = beside("wharf-planted").unwrap_or_else(|| panic!("no wharf-planted beside the tests: run scripts/planted"));
        Self::at(&path).env("WHARF_PLANTED", fault)
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Under the eyes of strace.
    #[must_use]
    pub fn traced(self) -> Self {
        Self { traced: true, ..self }
    }

    /// Starts it, and waits until it listens.
    #[track_caller]
    pub(crate) fn spawn(&self, folder: &Path, root: &Path, config: &Config) -> (Child, SocketAddr) {
        let file = folder.join("config.yml");
        fs::write(&file, config.to_yaml()).expect("write the configuration");
        let log = File::options().create(true).append(true).open(folder.join("log")).expect("open the log");
        let logged_before = log.metadata().expect("the log's length").len() as usize;
        let path = &self.path;
        let mut command = match self.traced {
            true => tracer(&folder.join("trace")),
            false => Command::new(path),
        };
        if self.traced {
            command.arg(path);
        }
        let mut child = command
            .arg("serve")
            .arg(&file)
            // Settings of whoever runs the tests must not reach the server.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .env("RUST_BACKTRACE", "1")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log a second time"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let deadline = Instant::now() + START;
        loop {
            let ready = match self.program {
                Program::Wharf => announced_in_lock(root, child.id()),
                Program::Distribution => announced_in_log(read_log(folder).get(logged_before..).unwrap_or("")),
            };
            if let Some(address) = ready {
                return (child, address);
            }
            let ended = child.try_wait().expect("look at the server");
            if ended.is_some() || Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                let how = ended.map_or("not ready in time".to_owned(), |status| format!("ended at once: {status}"));
                panic!("{} {how}; its log ends\n{}", path.display(), tail(&read_log(folder)));
            }
            sleep(Duration::from_millis(2));
        }
    }
}

/// The first listener, once the lock file names this process and says that it is ready. The file of a killed server
/// stays behind, hence the pid.
fn announced_in_lock(root: &Path, pid: u32) -> Option<SocketAddr> {
    let lock: Value = serde_json::from_slice(&fs::read(root.join("wharf.lock")).ok()?).ok()?;
    if lock["pid"].as_u64() != Some(u64::from(pid)) {
        return None;
    }
    let listener = lock["listeners"].get(0)?.as_str()?;
    Some(listener.parse().expect("an address in the lock file"))
}

fn announced_in_log(log: &str) -> Option<SocketAddr> {
    let (_, after) = log.split_once("listening on ")?;
    let end = after.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
    after[..end].parse().ok()
}

/// Everything that was written to the log in a folder.
pub(crate) fn read_log(folder: &Path) -> String {
    match fs::read(folder.join("log")) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
        Err(e) => panic!("the server's log: {e}"),
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
