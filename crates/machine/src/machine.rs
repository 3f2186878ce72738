//! A machine that runs.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::json;

use crate::command::{self, Disks, From, Networking, Wires};
use crate::monitor::Monitor;
use crate::watch::Watch;
use crate::{MachineError, Shape};

/// A machine that runs. It ends when this is dropped, and with the thread that started it.
pub struct Machine {
    child: Child,
    monitor: Monitor,
    /// The guest's messages and streams, as `guest-protocol` frames them.
    pub control: UnixStream,
    /// The guest's requests for files of the host.
    pub volumes: UnixStream,
    shape: Shape,
}

impl Machine {
    /// Start QEMU. `inherited` are files whose numbers `from` holds.
    pub(crate) fn start(
        shape: &Shape,
        from: From<'_>,
        inherited: &[&File],
        disks: Option<&Disks>,
        networking: &Networking,
    ) -> Result<Self, MachineError> {
        let pair = || UnixStream::pair().map_err(MachineError::io("cannot make a socket"));
        let ((monitor, monitor_end), (control, control_end), (volumes, volumes_end)) = (pair()?, pair()?, pair()?);
        let wires =
            Wires { monitor: monitor_end.as_raw_fd(), control: control_end.as_raw_fd(), volumes: volumes_end.as_raw_fd() };
        let ends: [OwnedFd; 3] = [monitor_end.into(), control_end.into(), volumes_end.into()];
        let keep = |fd: std::os::fd::BorrowedFd<'_>| {
            fcntl_setfd(fd, FdFlags::empty()).map_err(|error| MachineError::io("cannot hand a file to QEMU")(error.into()))
        };
        for end in &ends {
            keep(std::os::fd::AsFd::as_fd(end))?;
        }
        for file in inherited {
            keep(std::os::fd::AsFd::as_fd(*file))?;
        }
        let mut command = Command::new(&shape.qemu.program);
        command.args(command::arguments(shape, wires, from, disks, networking));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: between fork and exec this makes one system call and allocates nothing.
        unsafe {
            command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?));
        }
        let child = command.spawn().map_err(MachineError::io(format!("cannot run {}", shape.qemu.program.display())))?;
        drop(ends);
        Ok(Self { child, monitor: Monitor::over(monitor), control, volumes, shape: shape.clone() })
    }

    /// QEMU's process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// QEMU's monitor.
    pub(crate) fn monitor(&mut self) -> &mut Monitor {
        &mut self.monitor
    }

    /// Put disks in the place of the placeholders with which it was restored. The guest must not have read them.
    ///
    /// # Errors
    /// QEMU's words.
    pub fn insert(&mut self, disks: &Disks, forwards: &Networking) -> Result<(), MachineError> {
        let monitor = self.monitor();
        let rename = |mut value: serde_json::Value, name: &str| {
            value["node-name"] = name.into();
            value
        };
        let cache = json!({"direct": false, "no-flush": disks.is_forgotten});
        monitor.execute("blockdev-add", &rename(command::image_file(disks), "image-inserted"))?;
        monitor.execute("blockdev-add", &rename(command::changes_file(disks), "changes-inserted"))?;
        let reopened = json!({"options": [
            {"driver": "raw", "node-name": "image", "read-only": true, "file": "image-inserted"},
            {"driver": "raw", "node-name": "changes", "file": "changes-inserted", "cache": cache},
        ]});
        monitor.execute("blockdev-reopen", &reopened)?;
        for forward in &forwards.forwards {
            let kind = if forward.is_udp { "udp" } else { "tcp" };
            let line = format!("hostfwd_add net {kind}:{}:{}-:{}", forward.host.ip(), forward.host.port(), forward.port);
            let said = monitor.execute("human-monitor-command", &json!({"command-line": line}))?;
            if let Some(words) = said.as_str().filter(|words| !words.trim().is_empty()) {
                return Err(MachineError::Refused { command: line, message: words.trim().to_owned() });
            }
        }
        Ok(())
    }

    /// Look after its disks from now on. Disks must not be put in place any more then.
    ///
    /// # Errors
    /// What the system says.
    pub fn watch(&self) -> Result<Watch, MachineError> {
        self.monitor.another().map(Watch::over)
    }

    /// What it was made of.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The words of QEMU, and of the kernel when it was booted: all of them, when it has ended.
    pub fn last_words(&mut self) -> String {
        let mut words = String::new();
        let mut read = |from: Option<&mut dyn Read>| {
            let mut bytes = Vec::new();
            if let Some(from) = from {
                let _ = from.take(64 << 10).read_to_end(&mut bytes);
            }
            words.push_str(&String::from_utf8_lossy(&bytes));
        };
        let _ = self.child.kill();
        read(self.child.stderr.as_mut().map(|from| from as &mut dyn Read));
        read(self.child.stdout.as_mut().map(|from| from as &mut dyn Read));
        let lines: Vec<_> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(12)..].join("; ")
    }

    /// End it now, without a word to the guest.
    ///
    /// # Errors
    /// What the system says; not when it has ended before.
    pub fn end(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
