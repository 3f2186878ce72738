//! `stop`, `restart`, `kill`, `pause`, `unpause`, `rm`, `wait`, `container prune`.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use wharf_guest_protocol::{Task, read};
use wharf_terminal::ui::{self, Failure};

use super::exec::connect;
use super::record::{Containers, Folder, Record, Status};
use super::signals;
use crate::cli::containers::{Kill, Names, Remove, Stop};
use crate::keeper::{Ask, Tell, parse, send};
use crate::settings::Settings;

/// How often it is looked whether a container has ended.
const LOOK: Duration = Duration::from_millis(5);
/// How long one that was killed may take to write out what it has changed.
const FINISH: Duration = Duration::from_secs(60);
/// How long one takes to be gone whose machine was ended.
const GONE: Duration = Duration::from_secs(10);

/// Do something with each container, and tell its name; those that it works for are done also where it fails for another.
fn each(names: &[String], mut act: impl FnMut(&str) -> Result<(), Failure>) -> Result<ExitCode, Failure> {
    let mut problem = None;
    for name in names {
        match act(name) {
            Ok(()) => ui::print(format_args!("{name}\n"))?,
            Err(failure) if names.len() == 1 => return Err(failure),
            Err(failure) => {
                failure.report();
                problem = Some(Failure::Reported);
            }
        }
    }
    problem.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Asks containers to stop, and kills those that do not in time.
pub fn stop(settings: &Settings, options: &Stop) -> Result<ExitCode, Failure> {
    each(&options.containers, |name| stop_one(settings, name, options.time))
}

/// Stops containers and starts them again.
pub fn restart(settings: &Settings, options: &Stop) -> Result<ExitCode, Failure> {
    each(&options.containers, |name| {
        let (folder, record, _) = Containers::of(settings).get(name)?;
        stop_one(settings, name, options.time)?;
        super::image::make_ready_again(settings, &record)?;
        match super::run::begin(settings, &folder, &record)? {
            0 => Ok(()),
            _ => Err(Failure::Reported),
        }
    })
}

fn stop_one(settings: &Settings, name: &str, seconds: u64) -> Result<(), Failure> {
    let (folder, record, state) = Containers::of(settings).get(name)?;
    if !state.status.is_alive() {
        return Ok(());
    }
    if state.status == Status::Paused {
        task(&folder, &record, Task::Resume)?;
    }
    signal(&folder, &record, record.stop_signal)?;
    if ended(&folder, Duration::from_secs(seconds)) {
        return Ok(());
    }
    end(&folder, &record)
}

/// Kill it, and wait until it is gone.
fn end(folder: &Folder, record: &Record) -> Result<(), Failure> {
    signal(folder, record, signals::KILL)?;
    if ended(folder, FINISH) { Ok(()) } else { end_machine(folder, record) }
}

/// End the machine under it, whatever it does or waits for. What it has not written out is lost.
fn end_machine(folder: &Folder, record: &Record) -> Result<(), Failure> {
    let machine = folder.state().machine.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let Some(machine) = machine.filter(|_| folder.is_kept()) {
        // It is gone already, or its keeper sees it go.
        let _ = kill_process(machine, Signal::KILL);
    }
    if ended(folder, GONE) {
        return Ok(());
    }
    let keeper = folder.state().keeper.map_or_else(String::new, |pid| format!(": it is process {pid}"));
    Err(Failure::new(format!("{} does not end", record.name)).hint(format!("end the process that keeps it{keeper}")))
}

/// Whether a container ends in a time.
fn ended(folder: &Folder, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        // A folder that is gone was one that vanishes.
        if !folder.path().exists() || !folder.is_kept() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(LOOK);
    }
}

fn signal(folder: &Folder, record: &Record, signal: i32) -> Result<(), Failure> {
    match connect(folder, record, &folder.state()) {
        Ok(socket) => send(&mut &socket, &Ask::Signal { signal }).map_err(|error| Failure::of(&error)),
        // It ended just now.
        Err(_) if ended(folder, Duration::ZERO) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Have the guest do something.
pub fn task(folder: &Folder, record: &Record, task: Task) -> Result<Option<wharf_guest_protocol::Report>, Failure> {
    let socket = connect(folder, record, &folder.state())?;
    send(&mut &socket, &Ask::Guest { task }).map_err(|error| Failure::of(&error))?;
    while let Ok(Some(frame)) = read(&mut &socket) {
        match parse(&frame.payload).map_err(|error| Failure::of(&error))? {
            Tell::Done { report } => return Ok(report),
            Tell::Failed(refusal) => return Err(refusal.into()),
            _ => {}
        }
    }
    Err(Failure::new(format!("{} has ended meanwhile", record.name)))
}

/// Sends a signal to containers.
pub fn kill(settings: &Settings, options: &Kill) -> Result<ExitCode, Failure> {
    let number = signals::parse(&options.signal)?;
    each(&options.containers, |name| {
        let (folder, record, state) = Containers::of(settings).get(name)?;
        connect(&folder, &record, &state)?;
        if number == signals::KILL { end(&folder, &record) } else { signal(&folder, &record, number) }
    })
}

/// Halts containers, or lets them go on.
pub fn pause(settings: &Settings, options: &Names, is_halted: bool) -> Result<ExitCode, Failure> {
    each(&options.containers, |name| {
        let (folder, record, state) = Containers::of(settings).get(name)?;
        match (state.status, is_halted) {
            (Status::Paused, true) => Err(Failure::new(format!("{name} is paused already"))),
            (Status::Running, false) => Err(Failure::new(format!("{name} is not paused"))),
            _ => task(&folder, &record, if is_halted { Task::Pause } else { Task::Resume }).map(|_| ()),
        }
    })
}

/// Removes containers.
pub fn remove(settings: &Settings, options: &Remove) -> Result<ExitCode, Failure> {
    each(&options.containers, |name| {
        let (folder, record, state) = Containers::of(settings).get(name)?;
        if state.status.is_alive() {
            if !options.force {
                let hint = format!("stop it first, or `vdkr rm -f {name}`");
                return Err(Failure::new(format!("the container {name} is running")).hint(hint));
            }
            end_machine(&folder, &record)?;
        }
        remove_one(&folder, &record)
    })
}

fn remove_one(folder: &Folder, record: &Record) -> Result<(), Failure> {
    match folder.remove(&record.name) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new(format!("cannot remove {}", record.name)).because(&error))
        }
        _ => Ok(()),
    }
}

/// Removes all containers that do not run.
pub fn prune(settings: &Settings) -> Result<ExitCode, Failure> {
    let mut ids = Vec::new();
    let mut bytes = 0;
    for (folder, record, state) in Containers::of(settings).all()? {
        if !state.status.is_alive() {
            let disk = std::fs::metadata(folder.disk()).map_or(0, |about| std::os::unix::fs::MetadataExt::blocks(&about) * 512);
            remove_one(&folder, &record)?;
            bytes += disk;
            ids.push(record.container.id);
        }
    }
    if !ids.is_empty() {
        ui::print(format_args!("Deleted Containers:\n{}\n\n", ids.join("\n")))?;
    }
    ui::print(format_args!("Total reclaimed space: {}\n", crate::format::size(bytes)))?;
    Ok(ExitCode::SUCCESS)
}

/// Waits until containers end, and prints their exit codes.
pub fn wait(settings: &Settings, options: &Names) -> Result<ExitCode, Failure> {
    for name in &options.containers {
        let (folder, record, state) = Containers::of(settings).get(name)?;
        let mut code = state.exit_code;
        if state.status.is_alive() {
            // The keeper tells who looks, also of a container that vanishes.
            let socket = connect(&folder, &record, &state)?;
            send(&mut &socket, &Ask::Attach).map_err(|error| Failure::of(&error))?;
            while let Ok(Some(frame)) = read(&mut &socket) {
                if frame.channel == wharf_guest_protocol::CONTROL
                    && let Ok(Tell::Exited { code: found }) = parse(&frame.payload)
                {
                    code = found;
                }
            }
        }
        ui::print(format_args!("{code}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
