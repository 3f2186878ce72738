//! A folder, shared through a real mount of this machine's kernel: relay and server meet over a pair of sockets. Mounting takes root.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

use rustix::fs::{Gid, Uid};
use rustix::mount::UnmountFlags;
use wharf_volumes::Owner;
use wharf_volumes::relay::Relay;
use wharf_volumes::server::{Kind, Server, Volume};

/// Who owns nothing else on the machine.
pub const USER: u32 = 65534;

pub struct Options {
    /// Serve as this user, with a group of the same number.
    pub user: u32,
    pub read_only: bool,
    /// Mount for writing what is read-only on the host, as a guest might that is not to be trusted.
    pub mount_writable: bool,
    /// Whom the caller's files belong to in the guest.
    pub owner: Owner,
    /// Share one file, `host/file`, instead of the folder.
    pub file: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { user: USER, read_only: false, mount_writable: false, owner: Owner::ROOT, file: false }
    }
}

pub struct Stage {
    /// Nothing in here but in `host` may ever be seen or changed by the guest.
    pub scratch: tempfile::TempDir,
    /// The shared folder.
    pub host: PathBuf,
    /// The same as the guest has it.
    pub guest: PathBuf,
    socket: UnixStream,
    server: Option<JoinHandle<()>>,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(&Options::default(), |_| {})
    }

    /// Serves what `prepare` puts into the folder.
    pub fn with(options: &Options, prepare: impl FnOnce(&Path)) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
        let (host, guest) = (scratch.path().join("host"), scratch.path().join("guest"));
        fs::create_dir(&host).unwrap();
        chown(&host, Some(options.user), Some(options.user)).unwrap();
        prepare(&host);

        let shared = if options.file { host.join("file") } else { host.clone() };
        let volume = Volume { id: 3, path: shared, read_only: options.read_only };
        let (ours, theirs) = UnixStream::pair().unwrap();
        let socket = ours.try_clone().unwrap();
        let user = options.user;
        let (ready, is_ready) = std::sync::mpsc::channel();
        // Each thread of Linux has rights of its own, and those that it makes get the same.
        let server = std::thread::spawn(move || {
            if user != 0 {
                let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
                rustix::thread::set_thread_groups(&[]).unwrap();
                rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
                rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            }
            let server = Server::new();
            ready.send(server.add(&volume).unwrap()).unwrap();
            server.serve(&theirs, &theirs).unwrap();
        });
        match is_ready.recv().unwrap() {
            Kind::Folder => fs::create_dir(&guest).unwrap(),
            Kind::File => fs::write(&guest, "").unwrap(),
        }
        let relay = Relay::new(ours.into()).unwrap();
        relay.mount(3, &guest, options.read_only && !options.mount_writable, options.owner).unwrap();
        Self { scratch, host, guest, socket, server: Some(server) }
    }

    /// The place of a file in the guest.
    pub fn guest(&self, name: &str) -> PathBuf {
        self.guest.join(name)
    }

    /// The place of a file on the host.
    pub fn host(&self, name: &str) -> PathBuf {
        self.host.join(name)
    }

    /// Runs a shell's script in the guest's folder and gives what it prints.
    pub fn sh(&self, script: &str) -> String {
        sh(&self.guest, script)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.guest, UnmountFlags::FORCE | UnmountFlags::DETACH);
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let result = self.server.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            result.unwrap().unwrap();
        }
    }
}

/// Runs a shell's script in a folder and gives what it prints.
pub fn sh(folder: &Path, script: &str) -> String {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(folder)
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}\n{}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    text
}

/// What a folder holds, as text: kinds, modes, sizes, times, contents.
pub fn listing(folder: &Path) -> String {
    sh(
        folder,
        "find . -printf '%P %y %m %n %l ' \\( -type d -printf '\\n' -o -printf '%s %T@\\n' \\) | sort; \
         find . -type f -print0 | sort -z | xargs -0 sha256sum",
    )
}
