//! Calls of `crun`, which does all that makes a container one.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use serde_json::Value;
use wharf_guest_protocol::Process;

use super::console::Console;
use crate::error::{Doing, GuestError, write_file};
use crate::processes::Ends;
use crate::reaper::Reaper;

const LOG: &str = "/run/vdkr/crun.log";
const PID: &str = "/run/vdkr/crun.pid";

/// Start a container in a bundle. What is in crun's way: a root of an initramfs cannot be pivoted away, and it is the machine that isolates.
///
/// # Errors
/// crun's own words.
pub fn run(reaper: &Reaper, bundle: &Path, config: &Value, name: &str, process: &Process) -> Result<(Pid, Ends), GuestError> {
    write_file(bundle.join("config.json"), config.to_string())?;
    let mut command = crun();
    command.args(["run", "--detach", "--no-pivot", "--pid-file", PID, "--bundle"]).arg(bundle);
    start(reaper, command, &[name], process)
}

/// Start another process in a running container.
///
/// # Errors
/// crun's own words.
pub fn exec(reaper: &Reaper, spec: &Value, name: &str, process: &Process) -> Result<(Pid, Ends), GuestError> {
    let path = Path::new("/run/vdkr/process.json");
    write_file(path, spec.to_string())?;
    let mut command = crun();
    command.args(["exec", "--detach", "--pid-file", PID, "--process"]).arg(path);
    start(reaper, command, &[name], process)
}

/// Do something that crun has a command for.
///
/// # Errors
/// crun's own words.
pub fn call(reaper: &Reaper, arguments: &[&str]) -> Result<(), GuestError> {
    let mut command = crun();
    command.args(arguments).stdin(Stdio::null());
    finish(reaper, &mut command)
}

fn crun() -> Command {
    let mut command = Command::new("/usr/bin/crun");
    command.env_clear().args(["--root", "/run/crun", "--cgroup-manager", "cgroupfs", "--log", LOG]);
    command
}

fn start(reaper: &Reaper, mut command: Command, rest: &[&str], process: &Process) -> Result<(Pid, Ends), GuestError> {
    let ends = if process.terminal.is_some() {
        let console = Console::at(Path::new("/run/vdkr/console"))?;
        command.arg("--console-socket").arg(console.path()).args(rest);
        command.stdin(Stdio::null());
        finish(reaper, &mut command)?;
        Ends::Terminal { master: console.take()?, stdin: process.stdin }
    } else {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).doing(|| "make a pipe".to_owned());
        let (stdout, out) = pipe()?;
        let (stderr, err) = pipe()?;
        let mut stdin: Option<OwnedFd> = None;
        if process.stdin {
            let (inner, outer) = pipe()?;
            command.stdin(inner);
            stdin = Some(outer);
        } else {
            command.stdin(Stdio::null());
        }
        command.args(rest).stdout(out).stderr(err);
        finish(reaper, &mut command)?;
        Ends::Pipes { stdin, stdout, stderr }
    };
    let text = fs::read_to_string(PID).doing(|| format!("read {PID}"))?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw).ok_or_else(|| GuestError::Asked(format!("crun says no process number: {text}")))?;
    Ok((pid, ends))
}

/// Run crun to its end.
fn finish(reaper: &Reaper, command: &mut Command) -> Result<(), GuestError> {
    File::create(LOG).doing(|| format!("make {LOG}"))?;
    let (pid, _) = reaper.start(command).doing(|| "run crun".to_owned())?;
    match reaper.wait(pid) {
        0 => Ok(()),
        code => {
            let words = fs::read_to_string(LOG).unwrap_or_default();
            let message = words.lines().map(without_time).collect::<Vec<_>>().join("; ");
            let message = if message.is_empty() { format!("crun ended with {code} and said nothing") } else { message };
            let code = if !message.contains("executable file") && !message.contains("exec") {
                125
            } else if message.contains("No such file") || message.contains("not found") {
                127
            } else {
                126
            };
            Err(GuestError::Runtime { message, code })
        }
    }
}

/// A line of crun's log without the time before it.
fn without_time(line: &str) -> &str {
    match line.split_once(": ") {
        Some((time, words)) if time.starts_with(|first: char| first.is_ascii_digit()) && !time.contains(' ') => words,
        _ => line,
    }
}
