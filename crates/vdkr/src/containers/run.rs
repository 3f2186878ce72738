//! `run`, `create`, `start`.

use std::process::ExitCode;

use wharf_terminal::ui::{self, Failure};

use super::attach::{self, View};
use super::make::{self, EntryPoint};
use super::record::{Containers, Folder, Record};
use crate::cli::containers::{Create, Run, Start};
use crate::keeper::{self, Role};
use crate::settings::Settings;

/// Runs a program in a new container.
pub fn run(settings: &Settings, options: &Run, entry_point: EntryPoint) -> Result<ExitCode, Failure> {
    if settings.auto_daemon {
        super::memres::ensure(settings);
    }
    let (folder, record) = make::make(settings, &options.create, entry_point, options.create.rm)?;
    if options.detach {
        return begin(settings, &folder, &record).map(|code| {
            if code == 0 {
                let _ = ui::print(format_args!("{}\n", record.container.id));
            }
            ExitCode::from(code)
        });
    }
    foreground(settings, &folder, &record)
}

/// Makes a container without starting it.
pub fn create(settings: &Settings, options: &Create) -> Result<ExitCode, Failure> {
    let (_, record) = make::make(settings, options, EntryPoint::Kept, options.rm)?;
    ui::print(format_args!("{}\n", record.container.id))?;
    Ok(ExitCode::SUCCESS)
}

/// Starts containers that were made before.
pub fn start(settings: &Settings, options: &Start) -> Result<ExitCode, Failure> {
    let containers = Containers::of(settings);
    if options.attach || options.interactive {
        let [name] = options.containers.as_slice() else {
            return Err(Failure::new("only one container can be attached to").hint("start them without -a and -i"));
        };
        let (folder, record, state) = containers.get(name)?;
        if state.status.is_alive() {
            return Err(Failure::new(format!("{name} is running")));
        }
        return foreground(settings, &folder, &record);
    }
    let mut worst = 0;
    for name in &options.containers {
        let (folder, record, state) = containers.get(name)?;
        let code = if state.status.is_alive() { 0 } else { begin(settings, &folder, &record)? };
        if code == 0 {
            ui::print(format_args!("{name}\n"))?;
        }
        worst = worst.max(code.min(1));
    }
    Ok(ExitCode::from(worst))
}

/// Start it in the background: 0 when it runs, else the exit code for what went wrong, which was said.
pub fn begin(settings: &Settings, folder: &Folder, record: &Record) -> Result<u8, Failure> {
    let owner = keeper::start(settings, folder, record.machine, Role::Background)?;
    let early = attach::until_started(&owner.socket)?;
    // One that has ended by now has run all the same.
    Ok(match early.code {
        Some(code) if folder.state().error.is_some() || code >= 125 => code,
        _ => 0,
    })
}

fn foreground(settings: &Settings, folder: &Folder, record: &Record) -> Result<ExitCode, Failure> {
    let owner = keeper::start(settings, folder, record.machine, Role::Foreground)?;
    let early = attach::until_started(&owner.socket)?;
    let process = &record.container.process;
    attach::attach(&owner.socket, &early, View { stdin: process.stdin, terminal: process.terminal.is_some(), signals: true })
}
