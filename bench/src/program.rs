//! Commands that are measured from their start to their exit.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::failure::{Context, Failure, Result};

/// How often the memory of a command is looked at.
const SAMPLE: Duration = Duration::from_millis(5);

/// What a command took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// From its start to its exit.
    pub seconds: f64,
    /// Megabytes of memory at most (VmHWM), pages of files that it maps included. Of the process itself, not of its children.
    pub peak: f64,
    /// The same of those processes together that it started itself.
    pub children: f64,
}

/// Variables that are settings of the programs here, by how they begin.
const SETTINGS: [&str; 4] = ["SOURCE_DATE_EPOCH", "CONTAINER_REGISTRY_", "OCI_IMAGE_", "VDKR_"];

/// Where the program is.
pub fn path(bench: &Bench) -> Result<&Path> {
    bench.options.wharf.as_deref().ok_or_else(|| Failure::new("there is no wharf to measure"))
}

/// The program.
pub fn wharf(bench: &Bench) -> Result<Command> {
    path(bench).map(without_settings)
}

/// A program of ours, with none of the settings that the caller's environment may have for it.
pub fn without_settings(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if SETTINGS.iter().any(|setting| text.starts_with(setting)) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its successful end.
pub fn run(command: &mut Command) -> Result<Took> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().display().to_string();
    let said = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
    let begun = Instant::now();
    let mut child = command.spawn().context(&name)?;
    let pid = child.id();
    let ended = AtomicBool::new(false);
    let (waited, seconds, (peak, children)) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let (mut peak, mut children): (f64, BTreeMap<u32, f64>) = (0.0, BTreeMap::new());
            while !ended.load(Ordering::Relaxed) {
                peak = peak.max(highest(pid));
                for child in children_of(pid) {
                    let known = children.entry(child).or_default();
                    *known = known.max(highest(child));
                }
                std::thread::sleep(SAMPLE);
            }
            (peak, children.values().sum())
        });
        let waited = child.wait();
        let seconds = begun.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        (waited, seconds, sampler.join().unwrap_or((f64::NAN, f64::NAN)))
    });
    let waited = waited?;
    if waited.success() { Ok(Took { seconds, peak, children }) } else { Err(failed(&name, &waited.to_string(), said)) }
}

/// The failure of a command, with the last of what it said.
fn failed(name: &str, how: &str, mut said: fs::File) -> Failure {
    let mut text = String::new();
    // Without it the failure is told all the same.
    let _ = said.rewind().and_then(|()| said.read_to_string(&mut text));
    let last: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = last[last.len().saturating_sub(3)..].join(" / ");
    Failure::new(format!("{name}: {how}: {last}"))
}

/// The processes that the first thread of a process started, and that have not ended.
fn children_of(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The most memory that a process has had so far, in megabytes; nothing for one that is gone.
fn highest(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes: f64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default();
    kibibytes * 1024.0 / 1e6
}

#[cfg(test)]
mod tests {
    use super::run;
    use std::process::Command;

    #[test]
    fn a_failure_says_what_the_command_said() {
        let failure = run(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"])).unwrap_err().to_string();
        assert!(failure.contains("no such thing") && failure.contains('3'), "{failure}");
        let took = run(Command::new("sh").args(["-c", "sleep 0.05; true"])).unwrap();
        assert!(took.seconds >= 0.05 && took.peak > 0.0 && took.children > 0.0, "{took:?}");
    }
}
