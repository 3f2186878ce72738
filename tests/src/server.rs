//! The server under test: a process of its own, started, killed and started again.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::trace::{Trace, tracer};
use crate::{Config, Connection, Repo, Request, Response, path_of};

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
    let own = std::env::current_exe().expect("the path of the test program");
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no {name} beside {}: build it, or name it with {}_BIN", own.display(), name.to_uppercase()))
}

/// A running registry with a storage folder of its own. Dropping it kills the process and removes the folder.
#[derive(Debug)]
pub struct Server {
    program: Program,
    config: Config,
    folder: TempDir,
    root: PathBuf,
    traced: bool,
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts the program under test with the default configuration of the tests.
    #[track_caller]
    pub fn start() -> Self {
        Self::with_config(Config::default())
    }

    /// Starts the program under test with this configuration.
    #[track_caller]
    pub fn with_config(config: Config) -> Self {
        Self::launch(Program::under_test(), config)
    }

    /// Starts one program or the other with this configuration.
    #[track_caller]
    pub fn launch(program: Program, config: Config) -> Self {
        Self::launch_in(program, None, config, false)
    }

    /// Starts wharf under the eyes of strace, for [`trace`](Self::trace).
    #[track_caller]
    pub fn traced(config: Config) -> Self {
        Self::launch_in(Program::Wharf, None, config, true)
    }

    /// Starts wharf with its storage in this folder, which is somebody else's to remove.
    #[track_caller]
    pub fn at(root: &Path, config: Config) -> Self {
        Self::launch_in(Program::Wharf, Some(root.to_owned()), config, false)
    }

    #[track_caller]
    fn launch_in(program: Program, root: Option<PathBuf>, mut config: Config, traced: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("wharf-test-").tempdir().expect("a temporary folder");
        let root = root.unwrap_or_else(|| folder.path().join("data"));
        config.put("storage.filesystem.rootdirectory", root.to_str().expect("a path in UTF-8"));
        let (child, address) = spawn(program, folder.path(), &root, &config, traced);
        Self { program, config, folder, root, traced, child, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://HOST:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The storage folder, ROOT.
    pub fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// Everything the process has written so far, of this start and those before.
    pub fn log(&self) -> String {
        read_log(self.folder.path())
    }

    /// A repository on this server.
    pub fn repo(&self, name: &str) -> Repo<'_> {
        Repo::new(self, name)
    }

    /// Kills it as a power cut would: no chance to finish anything.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill the server");
        self.child.wait().expect("wait for the server");
    }

    /// Asks it to stop and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Stops it, and answers what it asked of the kernel since it was started with [`traced`](Self::traced).
    #[track_caller]
    pub fn trace(&mut self) -> Trace {
        assert!(self.traced, "nobody watched");
        assert_eq!(self.terminate().code(), Some(0));
        // A thread goes on only after strace has written down what it did: when the process has ended, all of it is there.
        Trace::read(&self.folder.path().join("trace"), &self.root)
    }

    /// Sends SIGTERM without waiting.
    pub fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Panics
    /// When that takes more than 30 s.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the server") {
                return status;
            }
            assert!(Instant::now() < deadline, "still running 30 s after it was asked to stop");
            sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("signal the server");
    }

    /// Starts it again on the same storage; a process that still runs is asked to stop first.
    #[track_caller]
    pub fn restart(&mut self) {
        self.restart_with(self.config.clone());
    }

    /// As [`restart`](Self::restart), with another configuration but the same storage.
    #[track_caller]
    pub fn restart_with(&mut self, mut config: Config) {
        if self.child.try_wait().expect("look at the server").is_none() {
            let status = self.terminate();
            // Distribution lets the signal end it.
            let well = self.program == Program::Distribution || status.code() == Some(0);
            assert!(well, "a requested stop ends well, not with {status} (signal {:?})", status.signal());
        }
        config.put("storage.filesystem.rootdirectory", self.root().to_str().expect("a path in UTF-8"));
        self.config = config;
        (self.child, self.address) = spawn(self.program, self.folder.path(), &self.root, &self.config, self.traced);
    }

    /// A request with any method.
    pub fn request<'a>(&self, method: &str, target: &str) -> Request<'a> {
        Request::new(self.address, method, target)
    }

    /// A GET request.
    pub fn get<'a>(&self, target: &str) -> Request<'a> {
        self.request("GET", target)
    }

    /// A HEAD request.
    pub fn head<'a>(&self, target: &str) -> Request<'a> {
        self.request("HEAD", target)
    }

    /// A POST request.
    pub fn post<'a>(&self, target: &str) -> Request<'a> {
        self.request("POST", target)
    }

    /// A PUT request.
    pub fn put<'a>(&self, target: &str) -> Request<'a> {
        self.request("PUT", target)
    }

    /// A PATCH request.
    pub fn patch<'a>(&self, target: &str) -> Request<'a> {
        self.request("PATCH", target)
    }

    /// A DELETE request.
    pub fn delete<'a>(&self, target: &str) -> Request<'a> {
        self.request("DELETE", target)
    }

    /// Asserts that an answer is a 201 whose location leads to this blob.
    #[track_caller]
    pub fn expect_blob_at(&self, answer: &Response, blob: &[u8]) {
        assert_eq!(answer.status, 201, "{}", answer.describe());
        let pulled = self.get(&path_of(answer.header("Location"))).send().expect(200);
        assert!(pulled.body == blob, "other bytes at {}", answer.header("Location"));
    }

    /// A connection to send several requests on.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address).expect("connect")
    }

    /// Sends these bytes, whatever they are, on a connection of their own and reads one answer to a GET.
    pub fn raw(&self, bytes: &[u8]) -> std::io::Result<Response> {
        let mut connection = self.connect();
        connection.write(bytes)?;
        connection.read_response("GET")
    }

    /// Asks the server what only its owner may, over the socket in ROOT: the answer's lines.
    #[track_caller]
    pub fn ask_owner(&self, method: &str, target: &str) -> Vec<Value> {
        // Through the folder's descriptor, because a socket's path is short.
        let root = File::open(self.root()).expect("open ROOT");
        let path = format!("/proc/self/fd/{}/control.sock", root.as_raw_fd());
        let mut stream = UnixStream::connect(path).expect("connect to the control socket");
        stream.write_all(format!("{method} {target} HTTP/1.0\r\nHost: wharf\r\n\r\n").as_bytes()).expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the whole answer");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        assert!(head.contains(" 200 "), "{answer}");
        body.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"))).collect()
    }

    /// Collects at the owner's request, with this query (`now=1&dry_run=1`): the report.
    #[track_caller]
    pub fn collect(&self, query: &str) -> Value {
        let mut lines = self.ask_owner("POST", &format!("/collect?{query}"));
        let last = lines.pop().expect("a last line");
        assert!(lines.iter().all(|line| line["progress"].is_object()), "{lines:?}");
        assert!(last["result"].is_object(), "{last}");
        last["result"].clone()
    }

    /// Runs `wharf gc` with these arguments on the storage of this server, which may run or not.
    pub fn gc(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.program.path());
        command.arg("gc").arg("--config").arg(self.folder.path().join("config.yml")).args(arguments);
        command.env_clear().env("HOME", self.folder.path()).current_dir(self.folder.path()).stdin(Stdio::null());
        command.output().expect("run wharf gc")
    }

    /// The files under ROOT/blobs: finished blobs and unfinished uploads.
    pub fn blob_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        walk(&self.root().join("blobs"), &mut files);
        // It marks the folder and holds nothing.
        files.retain(|file| !file.ends_with(".wharf"));
        files.sort();
        files
    }

    /// Every file that holds content, by its path below ROOT: what is there besides the index, the lock and the
    /// control socket.
    pub fn content_files(&self) -> Vec<PathBuf> {
        let root = self.root();
        let mut files = Vec::new();
        walk(&root, &mut files);
        let own = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.parent() == Some(&root) && (name.starts_with("index.sqlite") || name == "wharf.lock" || name == "control.sock")
        };
        files.retain(|path| !own(path));
        files.sort();
        files
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the end of the server's log\n{}", tail(&self.log()));
        }
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    // The server may remove what is being listed.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), files),
            Ok(_) => files.push(entry.path()),
            Err(_) => {}
        }
    }
}

#[track_caller]
fn spawn(program: Program, folder: &Path, root: &Path, config: &Config, traced: bool) -> (Child, SocketAddr) {
    let file = folder.join("config.yml");
    fs::write(&file, config.to_yaml()).expect("write the configuration");
    let log = File::options().create(true).append(true).open(folder.join("log")).expect("open the log");
    let logged_before = log.metadata().expect("the log's length").len() as usize;
    let path = program.path();
    let mut command = match traced {
        true => tracer(&folder.join("trace")),
        false => Command::new(&path),
    };
    if traced {
        command.arg(&path);
    }
    let mut child = command
        .arg("serve")
        .arg(&file)
        // Settings of whoever runs the tests must not reach the server.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("RUST_BACKTRACE", "1")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the log a second time"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let deadline = Instant::now() + START;
    loop {
        let ready = match program {
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

fn read_log(folder: &Path) -> String {
    match fs::read(folder.join("log")) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
        Err(e) => panic!("the server's log: {e}"),
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
