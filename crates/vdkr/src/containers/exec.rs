//! `exec` and `vshell`.

use std::process::ExitCode;

use wharf_guest_protocol::{Process, Text};
use wharf_terminal::ui::Failure;

use super::attach::{self, View};
use super::process::with_options;
use super::record::{Containers, Folder, Record, State, Status};
use crate::cli::containers::{Exec, Shell};
use crate::keeper::{self, Ask, send};
use crate::settings::Settings;

/// Connect to the keeper of a container that runs.
pub fn connect(folder: &Folder, record: &Record, state: &State) -> Result<std::os::unix::net::UnixStream, Failure> {
    let failed = || {
        Failure::new(format!("the container {} is not running", record.name))
            .hint(format!("`vdkr start {}` starts it", record.name))
    };
    if !state.status.is_alive() {
        return Err(failed());
    }
    keeper::connect(folder.path()).map_err(|error| failed().because(&error))
}

/// Runs a program in a container that runs.
pub fn exec(settings: &Settings, options: &Exec) -> Result<ExitCode, Failure> {
    let name = options.container().to_str().unwrap_or_default();
    let (folder, record, state) = Containers::of(settings).get(name)?;
    if state.status == Status::Paused {
        return Err(Failure::new(format!("the container {name} is paused")).hint(format!("`vdkr unpause {name}` lets it go on")));
    }
    let socket = connect(&folder, &record, &state)?;
    let process = Process {
        args: options.arguments().iter().map(|argument| Text::from(argument.clone())).collect(),
        privileged: options.privileged,
        ..record.container.process
    };
    let mut process = with_options(settings, process, &options.process)?;
    process.stdin = process.stdin && !options.detach;
    let detach_keys = options.detaching.detach_keys.clone().unwrap_or_default();
    let view = View { stdin: process.stdin, terminal: options.process.tty, signals: true, detach_keys };
    send(&mut &socket, &Ask::Exec { process: Box::new(process), is_detached: options.detach })
        .map_err(|error| Failure::of(&error))?;
    let early = attach::until_started(&socket)?;
    if options.detach && early.code.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    attach::attach(&socket, &early, view)
}

/// A shell in a container that runs, or in a new one of an image.
pub fn shell(settings: &Settings, options: &Shell) -> Result<ExitCode, Failure> {
    let target = match &options.target {
        Some(target) => target.clone(),
        None => the_one_that_runs(settings)?,
    };
    let target = target.as_str();
    let words: Vec<std::ffi::OsString> = if super::exists(settings, target) {
        ["vdkr", "exec", "-it", target, "/bin/sh"].iter().map(Into::into).collect()
    } else {
        ["vdkr", "vrun", "-it", "--rm", target, "/bin/sh"].iter().map(Into::into).collect()
    };
    match crate::cli::parse(&words)? {
        crate::cli::Command::Exec(options) => exec(settings, &options),
        crate::cli::Command::Vrun(options) => super::run::run(settings, &options, super::make::EntryPoint::Cleared),
        _ => Err(Failure::new("a shell where?")),
    }
}

/// The name of the only container that runs.
fn the_one_that_runs(settings: &Settings) -> Result<String, Failure> {
    let all = Containers::of(settings).all()?;
    let running: Vec<_> =
        all.into_iter().filter(|(.., state)| state.status == Status::Running).map(|(_, record, _)| record.name).collect();
    match running.as_slice() {
        [name] => Ok(name.clone()),
        [] => Err(Failure::new("no container runs").hint("name an image: `vdkr vshell IMAGE`")),
        names => Err(Failure::new("a shell where?").hint(format!("name a container: {}", names.join(", ")))),
    }
}
