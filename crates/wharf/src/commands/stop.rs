//! `stop`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::instance::Instance;
use crate::settings::Settings;
use crate::ui::{self, Failure};

/// What the server may need beyond the time that requests in flight have.
const MARGIN: Duration = Duration::from_secs(10);
/// How long a server that is just starting may take to say who it is.
const SETTLE: Duration = Duration::from_secs(2);

/// Asks the server to stop and waits until it is gone.
pub fn run(settings: &Settings, file: Option<&Path>) -> Result<ExitCode, Failure> {
    let instance = Instance::existing(settings, file)?;
    let Some(holder) = instance.settled_holder(SETTLE)? else {
        // Left by a server that was killed.
        let _ = fs::remove_file(instance.pid_file());
        ui::say("Registry not running");
        return Ok(ExitCode::SUCCESS);
    };
    let cannot = |error: rustix::io::Errno| {
        Failure::new(format!("cannot stop the registry (pid {})", holder.pid)).because(&std::io::Error::from(error))
    };
    let pid = i32::try_from(holder.pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::new("a process uses the storage, but does not say which it is"))?;
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => {
            // The handle keeps meaning this process. That it is the server is only certain when the lock still says so.
            if instance.holder()?.is_some_and(|now| now.pid == holder.pid) {
                match pidfd_send_signal(&process, Signal::TERM) {
                    Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                    Err(error) => return Err(cannot(error)),
                }
            }
        }
        Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(cannot(error)),
    }
    let patience = instance.config.http.drain_timeout + MARGIN;
    let until = Instant::now() + patience;
    while instance.holder()?.is_some_and(|now| now.pid == holder.pid) {
        if Instant::now() > until {
            return Err(Failure::new(format!(
                "the registry (pid {}) has not stopped within {} s",
                holder.pid,
                patience.as_secs()
            ))
            .hint("its log tells what it waits for"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // It may be missing, or lie in a folder of `serve`, which writes none.
    let _ = fs::remove_file(instance.pid_file());
    ui::say("Registry stopped");
    Ok(ExitCode::SUCCESS)
}
