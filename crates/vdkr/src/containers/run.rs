//! `run`, `create`, `start`.

use std::process::ExitCode;

use wharf_terminal::ui::{self, Failure};

use super::attach::{self, View};
use super::exec::connect;
use super::image;
use super::make::{self, EntryPoint};
use super::record::{Containers, Folder, Record, Status};
use crate::cli::containers::{Attach, Create, Detaching, Run, Start};
use crate::keeper::{self, Ask, Role};
use crate::settings::Settings;

/// Runs a program in a new container.
pub fn run(settings: &Settings, options: &Run, entry_point: EntryPoint) -> Result<ExitCode, Failure> {
    if settings.stateless && options.detach {
        return Err(would_vanish());
    }
    if settings.auto_daemon && !settings.stateless {
        super::memres::ensure(settings);
    }
    let (folder, record) = make::make(settings, &options.create, entry_point, options.create.rm || settings.stateless)?;
    if options.detach {
        return begin(settings, &folder, &record).map(|code| {
            if code == 0 {
                let _ = ui::print(format_args!("{}\n", record.container.id));
            }
            ExitCode::from(code)
        });
    }
    foreground(settings, &folder, &record, &options.detaching)
}

/// Makes a container without starting it.
pub fn create(settings: &Settings, options: &Create) -> Result<ExitCode, Failure> {
    if settings.stateless {
        return Err(would_vanish());
    }
    let (_, record) = make::make(settings, options, EntryPoint::Kept, options.rm)?;
    ui::print(format_args!("{}\n", record.container.id))?;
    Ok(ExitCode::SUCCESS)
}

fn would_vanish() -> Failure {
    Failure::new("a container in a state that vanishes with the command cannot outlive it").hint("leave out --stateless")
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
            return Err(Failure::new(format!("{name} is running")).hint(format!("`vdkr attach {name}` looks at it")));
        }
        image::make_ready_again(settings, &record)?;
        return foreground(settings, &folder, &record, &options.detaching);
    }
    let mut worst = 0;
    for name in &options.containers {
        let (folder, record, state) = containers.get(name)?;
        let code = match state.status.is_alive() {
            true => 0,
            false => {
                image::make_ready_again(settings, &record)?;
                begin(settings, &folder, &record)?
            }
        };
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

/// Becomes the terminal, or the streams, of a container that runs.
pub fn attach(settings: &Settings, options: &Attach) -> Result<ExitCode, Failure> {
    let name = &options.container;
    let (folder, record, state) = Containers::of(settings).get(name)?;
    if state.status == Status::Paused {
        return Err(Failure::new(format!("the container {name} is paused")).hint(format!("`vdkr unpause {name}` lets it go on")));
    }
    let socket = connect(&folder, &record, &state)?;
    keeper::send(&mut &socket, &Ask::Attach).map_err(|error| Failure::of(&error))?;
    let early = attach::until_started(&socket)?;
    let view = view(&record, &options.detaching);
    attach::attach(&socket, &early, View { stdin: view.stdin && !options.no_stdin, signals: options.sig_proxy, ..view })
}

/// How a container's own process is seen.
fn view(record: &Record, detaching: &Detaching) -> View {
    let process = &record.container.process;
    let detach_keys = detaching.detach_keys.clone().unwrap_or_default();
    View { stdin: process.stdin, terminal: process.terminal.is_some(), signals: true, detach_keys }
}

fn foreground(settings: &Settings, folder: &Folder, record: &Record, detaching: &Detaching) -> Result<ExitCode, Failure> {
    let owner = keeper::start(settings, folder, record.machine, Role::Foreground)?;
    let early = attach::until_started(&owner.socket)?;
    attach::attach(&owner.socket, &early, view(record, detaching))
}
