//! `stop`.

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use wharf_store::lock::{Holder, State};

use crate::cli::Stop;
use crate::instance::{Instance, LETTING_GO};
use crate::settings::Settings;
use crate::ui::{self, Failure};

/// How long a server that is just starting may take to say who it is.
const SETTLE: Duration = Duration::from_secs(2);
/// A wait longer than this is explained.
const QUIET: Duration = Duration::from_secs(2);

/// Asks the server to stop and waits until it is gone.
pub fn run(settings: &Settings, options: &Stop) -> Result<ExitCode, Failure> {
    let instance = Instance::existing(settings, options.selected.config.as_deref())?;
    let holder = match instance.settled_holder(SETTLE)? {
        Some(holder) => match holder.state.upkeep() {
            // It is nobody's server, and is not cut off as one.
            Some(work) => {
                ui::say(format_args!("Registry not running; a {work} is under way (pid {})", holder.pid));
                return Ok(ExitCode::SUCCESS);
            }
            None => holder,
        },
        None => {
            // Left by a server that was killed.
            let _ = fs::remove_file(instance.pid_file());
            ui::say("Registry not running");
            return Ok(ExitCode::SUCCESS);
        }
    };
    if options.force {
        ui::say(format_args!("Killing the registry (pid {}); requests in flight are cut off", holder.pid));
        signal(&instance, &holder, Signal::KILL)?;
    } else if holder.state == State::Stopping {
        // It was asked already. A second signal would end it at once, with what it is finishing.
        ui::say(format_args!("Registry already stopping (pid {})", holder.pid));
    } else {
        signal(&instance, &holder, Signal::TERM)?;
    }
    wait(&instance, &holder)?;
    // It may be missing, or lie in a folder of `serve`, which writes none.
    let _ = fs::remove_file(instance.pid_file());
    ui::say("Registry stopped");
    Ok(ExitCode::SUCCESS)
}

fn signal(instance: &Instance, holder: &Holder, signal: Signal) -> Result<(), Failure> {
    let cannot = |error: rustix::io::Errno| {
        Failure::new(format!("cannot stop the registry (pid {})", holder.pid)).because(&std::io::Error::from(error))
    };
    let pid = i32::try_from(holder.pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::new("a process uses the storage, but does not say which it is"))?;
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => {
            // The handle keeps meaning this process. That it is the server is only certain when the lock still says so, and
            // so is that nobody else has asked it to stop meanwhile.
            let still_wanted = |now: Holder| now.pid == holder.pid && (signal == Signal::KILL || now.state != State::Stopping);
            if instance.holder()?.is_some_and(still_wanted) {
                match pidfd_send_signal(&process, signal) {
                    Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                    Err(error) => return Err(cannot(error)),
                }
            }
            Ok(())
        }
        Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(cannot(error)),
    }
}

fn wait(instance: &Instance, holder: &Holder) -> Result<(), Failure> {
    let (pid, patience) = (holder.pid, instance.config.http.drain_timeout + LETTING_GO);
    let begun = Instant::now();
    let mut explained = false;
    while instance.holder()?.is_some_and(|now| now.pid == pid) {
        if begun.elapsed() > patience {
            return Err(Failure::new(format!("the registry (pid {pid}) has not stopped within {} s", patience.as_secs()))
                .hint(format!("its log tells what it waits for; `kill -9 {pid}` ends it at once")));
        }
        if !explained && begun.elapsed() > QUIET {
            ui::say(format_args!("Waiting for the registry (pid {pid}) to finish requests in flight"));
            explained = true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
