//! How processes end. The first process of a machine inherits every orphan, so one thread waits for all of them, and nobody else does.

use std::collections::VecDeque;
use std::io;
use std::process::{Child, Command};
use std::sync::{Condvar, Mutex, PoisonError};

use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

/// Ends that nobody has asked for yet: of orphans nobody ever does.
const KEPT: usize = 1024;

/// How processes have ended.
#[derive(Default)]
pub struct Reaper {
    ended: Mutex<VecDeque<(Pid, u8)>>,
    changed: Condvar,
    /// Whether a process was started since there were none.
    started: Mutex<bool>,
    any: Condvar,
}

impl Reaper {
    /// Wait for processes, for ever.
    pub fn run(&self) {
        loop {
            match wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => self.ended(pid, exit_code(status)),
                // No children: what a container leaves behind is inherited from a child, so the next one comes from `start`.
                _ => {
                    let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
                    let mut started = self.any.wait_while(started, |started| !*started).unwrap_or_else(PoisonError::into_inner);
                    *started = false;
                }
            }
        }
    }

    /// Start a program; [`Self::wait`] is the only way to learn how it ends.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(&self, command: &mut Command) -> io::Result<(Pid, Child)> {
        let child = command.spawn()?;
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.any.notify_all();
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("a process without a number"))?;
        Ok((pid, child))
    }

    fn ended(&self, pid: Pid, code: u8) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() == KEPT {
            ended.pop_front();
        }
        ended.push_back((pid, code));
        self.changed.notify_all();
    }

    /// Wait until a process has ended: its exit code, or 128 and the number of the signal that ended it.
    pub fn wait(&self, pid: Pid) -> u8 {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(at) = ended.iter().position(|(found, _)| *found == pid) {
                return ended.remove(at).map_or(255, |(_, code)| code);
            }
            ended = self.changed.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(255);
    u8::try_from(code).unwrap_or(255)
}
