//! Namespaces of their own for clients that mount and keep daemons.
//!
//! The first process of the cell waits for the end of its input, a pipe whose other end only the test holds. When the
//! test ends, be it by `Drop` or by a signal, that process ends; with it the kernel ends every other one in the cell, and
//! with the last of them go the mounts.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::tools::{PATH, require};

/// Seconds after which a client is ended: many times what any takes.
const PATIENCE: &str = "120";

/// For skopeo, podman and buildah: nothing need be signed, whatever the machine demands.
const POLICY: &str = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;

/// Run by the first process. It must first learn its number outside, which only the outer /proc tells; then the folders
/// in which clients keep state for the whole machine are covered with empty ones.
const INIT: &str = "
set -eu
exec 3<&0
read -r outer rest < /proc/self/stat
mount -t proc none /proc
keep=$1
[ ! -d /run/systemd/resolve ] || cp -a /run/systemd/resolve \"$keep\"
for folder in /run /dev/shm /var/lib; do mount -t tmpfs -o mode=755 none $folder; done
chmod 1777 /dev/shm
mkdir -p /run/systemd /run/lock
[ ! -d \"$keep/resolve\" ] || cp -a \"$keep/resolve\" /run/systemd/
echo $outer
cat <&3 & wait
";

/// A mount and a process namespace with an empty /run, /var/lib and /dev/shm, a home, and a temporary folder. The network is
/// the machine's.
#[derive(Debug)]
pub struct Cell {
    folder: Option<TempDir>,
    first: Child,
    /// The first process as the machine numbers it.
    pid: u32,
    environment: Vec<(OsString, OsString)>,
}

impl Cell {
    /// Starts one; needs root, or sudo that does not ask.
    #[track_caller]
    pub fn new() -> Self {
        // Short, because the paths of sockets below it must be; in lower case, because podman makes names of it.
        let name = format!("wharf-c-{}", hex::encode(crate::random(6)));
        let folder = tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir().expect("a temporary folder");
        let mut first = as_root("unshare")
            .args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-c", INIT, "sh"])
            .arg(folder.path())
            .env("PATH", PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start unshare");
        let mut line = String::new();
        let output = first.stdout.take().expect("a piped output");
        BufReader::new(output).read_line(&mut line).expect("read from the cell");
        let Ok(pid) = line.trim().parse() else {
            let _ = first.kill();
            let _ = first.wait();
            panic!("no namespaces: these tests need root, or sudo without a password, and mounting allowed");
        };
        let home = folder.path().join("home");
        let settings = home.join(".config/containers");
        fs::create_dir_all(&settings).expect("a home folder");
        fs::write(settings.join("policy.json"), POLICY).expect("write a policy");
        let mut cell = Self { folder: Some(folder), first, pid, environment: Vec::new() };
        for (name, value) in [("PATH", OsStr::new(PATH)), ("LC_ALL", OsStr::new("C.UTF-8")), ("HOME", home.as_os_str())] {
            cell.set(name, value);
        }
        cell
    }

    /// The temporary folder, the same inside and outside.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("there until dropped").path()
    }

    /// A path in the temporary folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// A path as programs in the cell see it, mounts of theirs included, for a test that runs as root outside of it.
    pub fn inside(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        Path::new("/proc").join(self.pid.to_string()).join("root").join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Writes a file in the temporary folder.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("write a file of the cell");
        path
    }

    /// Sets a variable for every program started from now on; of the test's own none is passed on.
    pub fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.environment.push((name.into(), value.as_ref().to_owned()));
    }

    /// Takes a variable away again.
    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Gives the cell an /etc of its own, the machine's but for what engines read, which is as in this folder.
    #[track_caller]
    pub fn with_etc(&self, folder: &Path) {
        let script =
            "cp -a /etc /run/etc && mount --bind /run/etc /etc && rm -rf /etc/containers /etc/docker && cp -R \"$1\"/. /etc/";
        self.run("sh", [OsStr::new("-c"), OsStr::new(script), OsStr::new("sh"), folder.as_os_str()]).ok();
    }

    /// Runs a program inside, to its end.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = S>) -> Output {
        let mut command = self.command();
        command.args(["timeout", "-k", "5", PATIENCE]).arg(require(program)).args(arguments);
        let done = command.stdin(Stdio::null()).output().expect("run nsenter");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said: Vec<_> = command.get_args().skip_while(|a| *a != require(program).as_os_str()).collect();
        Output { command: format!("{said:?}"), code: done.status.code(), stdout: text(&done.stdout), stderr: text(&done.stderr) }
    }

    /// Starts a daemon inside and waits until `ready` succeeds. It ends with the cell.
    ///
    /// # Panics
    /// When it ends before, or is not ready within 30 s.
    #[track_caller]
    pub fn start<S: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = S>, mut ready: impl FnMut() -> bool) {
        let log = self.path(&format!("{program}.log"));
        let output = fs::File::create(&log).expect("a log file");
        let mut command = self.command();
        command.arg(require(program)).args(arguments).stdin(Stdio::null());
        let mut daemon =
            command.stdout(output.try_clone().expect("the log a second time")).stderr(output).spawn().expect("run nsenter");
        let deadline = Instant::now() + Duration::from_secs(30);
        while !ready() {
            let ended = daemon.try_wait().expect("look at the daemon");
            if ended.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(&log).unwrap_or_default();
                panic!("{program} is not ready ({ended:?}); it said\n{said}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        // Collected when it ends, which is when the cell does.
        thread::spawn(move || daemon.wait());
    }

    fn command(&self) -> Command {
        let mut command = as_root("nsenter");
        command.arg("--target").arg(self.pid.to_string()).args(["--mount", "--pid", "--", "env", "-i"]);
        for (name, value) in &self.environment {
            let mut pair = name.clone();
            pair.push("=");
            pair.push(value);
            command.arg(pair);
        }
        command
    }
}

impl Default for Cell {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let folder = self.folder.take().expect("dropped once");
        if thread::panicking() {
            print_logs(folder.path());
        }
        drop(self.first.stdin.take());
        let _ = self.first.wait();
        if !rustix::process::geteuid().is_root() {
            // Clients run as root left what only root can remove.
            let _ = as_root("rm").arg("-rf").arg(folder.path()).status();
        }
        let path = folder.path().to_owned();
        if let Err(e) = folder.close()
            && path.exists()
        {
            eprintln!("{} stays behind: {e}", path.display());
        }
    }
}

/// What the daemons wrote, for the report of a failed test.
fn print_logs(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().extension() != Some(OsStr::new("log")) {
            continue;
        }
        let mut text = String::new();
        let _ = fs::File::open(entry.path()).and_then(|mut file| file.read_to_string(&mut text));
        let lines: Vec<_> = text.lines().collect();
        eprintln!("--- the end of {}\n{}", entry.file_name().display(), lines[lines.len().saturating_sub(30)..].join("\n"));
    }
}

#[track_caller]
fn as_root(program: &str) -> Command {
    let program = require(program);
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new(require("sudo"));
    command.arg("-n").arg(program);
    command
}

/// What a program that has ended left.
#[derive(Clone, Debug)]
#[must_use = "a client's failure must not go unseen"]
pub struct Output {
    command: String,
    code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Asserts that it succeeded; returns its standard output without white space around it.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}\n{}", self.command, self.stdout, self.stderr);
        self.stdout.trim().to_owned()
    }

    /// Whether it succeeded.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Asserts that it failed; returns both outputs.
    #[track_caller]
    pub fn fails(self) -> String {
        assert_ne!(self.code, Some(0), "{} succeeded\n{}\n{}", self.command, self.stdout, self.stderr);
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// Its standard output as JSON, after asserting that it succeeded.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("no JSON ({e}): {text}"))
    }
}
