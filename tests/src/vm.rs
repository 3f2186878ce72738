//! Virtual machines of `vdkr`, as an ordinary user has them: one state folder with kernels and snapshots for all tests, an instance for each.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::machine::{guests, vdkr};
use crate::{Ran, run_tool};

/// The user who runs them: nobody.
const USER: u32 = 65534;
/// Programs of busybox that tests use.
const APPLETS: [&str; 48] = [
    "sh", "ls", "cat", "echo", "date", "uname", "head", "sleep", "dd", "md5sum", "tee", "id", "hostname", "env", "printf",
    "mount", "ps", "kill", "nc", "httpd", "wget", "stty", "tty", "touch", "rm", "mkdir", "tar", "find", "wc", "seq", "true",
    "false", "test", "cp", "mv", "ln", "stat", "chmod", "grep", "df", "sync", "mkfifo", "mknod", "chown", "tr", "cut", "tail",
    "sort",
];

/// An architecture's `vdkr` with an instance of its own, and the image `box` in it: busybox.
pub struct Vm {
    arch: &'static str,
    instance: String,
    state: PathBuf,
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Vm {
    /// For an architecture, `x86_64` or `aarch64`.
    pub fn new(arch: &'static str) -> Self {
        let state = state();
        let folder = tempfile::Builder::new().prefix("vdkr-").tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let instance = folder.path().file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let own = folder.path().join("own");
        fs::create_dir(&own).expect("a folder");
        std::os::unix::fs::chown(&own, Some(USER), Some(USER)).expect("an owner");
        let vm = Self { arch, instance, state, folder, variables: Vec::new() };
        // Does nothing when it has been done; those that come at the same moment wait for the first.
        vm.ok(&["setup"]);
        vm.add_image("box");
        vm
    }

    /// With a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn add_image(&self, name: &str) {
        let root = self.folder.path().join("root");
        fs::create_dir_all(root.join("bin")).expect("a folder");
        fs::create_dir_all(root.join("etc")).expect("a folder");
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/sh\n").expect("a file");
        fs::write(root.join("etc/group"), "root:x:0:\nwww:x:34:\naudio:x:29:web\n").expect("a file");
        let program = root.join("bin/busybox");
        fs::write(&program, crate::clients::busybox(if self.arch == "aarch64" { "arm64" } else { "amd64" })).expect("busybox");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("permissions");
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("a link");
        }
        self.ok(&["vimport", root.to_str().expect("UTF-8"), name]);
    }

    /// The folder that the image `box` was made of.
    pub fn image_folder(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Run it to its end with a state folder of its own.
    pub fn elsewhere(&self, state: &Path, arguments: &[&str]) -> Ran {
        let mut command = self.user();
        command.arg("--state-dir").arg(state).args(["--arch", self.arch]).args(arguments);
        Ran::of(format!("vdkr {}", arguments.join(" ")), command.output().expect("run vdkr"))
    }

    /// A folder that the user may write to.
    pub fn own(&self) -> PathBuf {
        self.folder.path().join("own")
    }

    /// The instance's folder in the state.
    pub fn state(&self) -> PathBuf {
        self.state.join("instances").join(&self.instance).join(self.arch)
    }

    /// The folder of what all instances share: guest and snapshots.
    pub fn shared(&self) -> PathBuf {
        self.state.join(self.arch)
    }

    /// A command line of `vdkr`.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = self.user();
        command.arg("--state-dir").arg(&self.state).args(["--arch", self.arch, "--instance", &self.instance]).args(arguments);
        command
    }

    /// A shell that runs a script as the ordinary user, with this instance's `vdkr` as the one that is in the search path.
    pub fn script(&self, script: &str) -> Command {
        let mut command = self.as_user(Path::new("/bin/sh"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.args(["-e", "-c", script]).env("PATH", format!("{}:{path}", self.state.join("bin").display()));
        command.env("VDKR_STATE_DIR", &self.state).env("VDKR_ARCH", self.arch).env("VDKR_INSTANCE", &self.instance);
        command
    }

    /// Has the instance's state on another disk, and nothing in it yet but the image `box`.
    pub fn move_to(&self, disk: &Path) {
        let instance = self.state.join("instances").join(&self.instance);
        fs::remove_dir_all(&instance).expect("an instance");
        std::os::unix::fs::chown(disk, Some(USER), Some(USER)).expect("an owner");
        std::os::unix::fs::symlink(disk, &instance).expect("a link");
        self.ok(&["vimport", self.image_folder().to_str().expect("UTF-8"), "box"]);
    }

    /// `vdkr` as the ordinary user, without arguments.
    fn user(&self) -> Command {
        self.as_user(&self.state.join("bin/vdkr"))
    }

    fn as_user(&self, program: &Path) -> Command {
        let mut command = Command::new("/usr/bin/setpriv");
        command.args([format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".to_owned()]).arg(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.own());
        command.env("VDKR_CONFIG_DEFAULTS", "/dev/null").env("VDKR_GUEST_DIR", self.state.join("bin"));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.own()).stdin(Stdio::null());
        command
    }

    /// Run it to its end.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Ran {
        let line =
            arguments.iter().map(|argument| argument.as_ref().to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        Ran::of(format!("vdkr {line}"), self.command(arguments).output().expect("run vdkr"))
    }

    /// Run it, and it goes well.
    pub fn ok<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Ran {
        self.run(arguments).expect(0)
    }

    /// Start it with pipes for all streams.
    pub fn start<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Child {
        self.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run vdkr")
    }

    /// Run it with bytes on standard input.
    pub fn feed<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S], input: &[u8]) -> std::process::Output {
        let mut child = self.start(arguments);
        let mut stdin = child.stdin.take().expect("a pipe");
        std::thread::scope(|scope| {
            // A program that ends before it has read all is the test's to judge.
            scope.spawn(move || drop(stdin.write_all(input)));
            child.wait_with_output().expect("an end")
        })
    }

    /// The processes of QEMU whose container is this instance's: by the disks that they have open.
    pub fn machines(&self) -> Vec<u32> {
        let own = self.state();
        let is_ours = |pid: &u32| {
            let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target.starts_with(&own))
        };
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()));
        numbers
            .filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("qemu-system")))
            .filter(is_ours)
            .collect()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.command(&["memres", "stop"]).output();
        if let Ok(listed) = self.command(&["ps", "-a", "-q"]).output() {
            for id in String::from_utf8_lossy(&listed.stdout).lines() {
                let _ = self.command(&["rm", "-f", id]).output();
            }
        }
        let _ = fs::remove_dir_all(self.state.join("instances").join(&self.instance));
    }
}

/// The state folder, with the programs in `bin`: where an ordinary user can reach it, which a checkout need not be.
fn state() -> PathBuf {
    let state = std::env::temp_dir().join("wharf-vdkr-tests");
    fs::create_dir_all(state.join("bin")).expect("a folder");
    let lock = fs::File::create(state.join("lock")).expect("a lock");
    flock(&lock, FlockOperation::LockExclusive).expect("a lock");
    copy(&vdkr(), &state.join("bin/vdkr"));
    for arch in ["x86_64", "aarch64"] {
        let name = format!("vdkr-guest-{arch}");
        copy(&guests().join(&name), &state.join("bin").join(&name));
    }
    run_tool("chown", &[&format!("{USER}:{USER}"), state.to_str().expect("UTF-8")], None);
    state
}

/// Copy a program, unless it is the same: others may be running it.
fn copy(from: &Path, to: &Path) {
    let content = fs::read(from).expect("a program");
    if fs::read(to).is_ok_and(|there| there == content) {
        return;
    }
    let new = to.with_extension("new");
    fs::write(&new, content).expect("a program");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("permissions");
    fs::rename(new, to).expect("a program");
}
