//! The server under test: a process of its own, started, killed and started again.

use std::fs::{self, File};
use std::io::{Read, Write};
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

use crate::program::{Launch, Program, read_log, tail};
use crate::trace::Trace;
use crate::{Config, Connection, Ran, Repo, Request, Response, path_of};

/// A running registry with a storage folder of its own. Dropping it kills the process and removes the folder.
#[derive(Debug)]
pub struct Server {
    launch: Launch,
    config: Config,
    folder: TempDir,
    root: PathBuf,
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
        Self::launched(Launch::of(program), config)
    }

    /// Starts a program of the caller's choice.
    #[track_caller]
    pub fn launched(launch: Launch, config: Config) -> Self {
        Self::launch_in(launch, None, config)
    }

    /// Starts wharf under the eyes of strace, for [`trace`](Self::trace).
    #[track_caller]
    pub fn traced(config: Config) -> Self {
        Self::launched(Launch::of(Program::Wharf).traced(), config)
    }

    /// Starts wharf with its storage in this folder, which is somebody else's to remove.
    #[track_caller]
    pub fn at(root: &Path, config: Config) -> Self {
        Self::launch_in(Launch::of(Program::Wharf), Some(root.to_owned()), config)
    }

    /// Starts a program of the caller's choice with its storage in this folder.
    #[track_caller]
    pub fn launched_at(launch: Launch, root: &Path, config: Config) -> Self {
        Self::launch_in(launch, Some(root.to_owned()), config)
    }

    #[track_caller]
    fn launch_in(launch: Launch, root: Option<PathBuf>, mut config: Config) -> Self {
        let folder = tempfile::Builder::new().prefix("wharf-test-").tempdir().expect("a temporary folder");
        let root = root.unwrap_or_else(|| folder.path().join("data"));
        config.put("storage.filesystem.rootdirectory", root.to_str().expect("a path in UTF-8"));
        let (child, address) = launch.spawn(folder.path(), &root, &config);
        Self { launch, config, folder, root, child, address }
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

    /// Kills it while others may be talking to it, without waiting for its end.
    pub fn kill_now(&self) {
        self.signal(Signal::KILL);
    }

    /// Asks it to stop and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Stops it, and answers what it asked of the kernel since it was started with [`traced`](Self::traced).
    #[track_caller]
    pub fn trace(&mut self) -> Trace {
        assert!(self.launch.traced, "nobody watched");
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
            let well = self.launch.program == Program::Distribution || status.code() == Some(0);
            assert!(well, "a requested stop ends well, not with {status} (signal {:?})", status.signal());
        }
        config.put("storage.filesystem.rootdirectory", self.root().to_str().expect("a path in UTF-8"));
        self.config = config;
        (self.child, self.address) = self.launch.spawn(self.folder.path(), &self.root, &self.config);
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
        self.command("gc", arguments).output().expect("run wharf gc")
    }

    /// Runs a command of the owner on the storage of this server, which may run or not.
    pub fn owner(&self, command: &str, arguments: &[&str]) -> Ran {
        let line = format!("{command} {}", arguments.join(" "));
        Ran::of(line, self.command(command, arguments).output().expect("run wharf"))
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.launch.path);
        command.arg(name).arg("--config").arg(self.folder.path().join("config.yml")).args(arguments);
        command.env_clear().env("HOME", self.folder.path()).current_dir(self.folder.path()).stdin(Stdio::null());
        command
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
