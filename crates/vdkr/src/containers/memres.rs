//! `memres`: a virtual machine that is kept ready.

use std::process::ExitCode;

use wharf_machine::Architecture;
use wharf_terminal::ui::{self, Failure};

use super::record::MachineSize;
use crate::cli::containers::Memres;
use crate::keeper::Spare;
use crate::settings::Settings;

fn size(settings: &Settings) -> MachineSize {
    MachineSize { memory: (settings.memory.bytes() >> 20).next_multiple_of(64), cpus: settings.cpus }
}

/// Runs a command of `memres`.
pub fn run(settings: &Settings, command: &Memres) -> Result<ExitCode, Failure> {
    let spare = Spare::of(settings);
    match command {
        Memres::Start => {
            if spare.state().is_some() {
                ui::print("a virtual machine is ready already\n")?;
                return Ok(ExitCode::SUCCESS);
            }
            start(settings, &spare)
        }
        Memres::Stop => {
            let was_there =
                spare.stop().map_err(|error| Failure::new("cannot stop the virtual machine that is ready").because(&error))?;
            ui::print(if was_there { "stopped\n" } else { "not running\n" })?;
            Ok(ExitCode::SUCCESS)
        }
        Memres::Restart => {
            spare.stop().map_err(|error| Failure::new("cannot stop the virtual machine that is ready").because(&error))?;
            start(settings, &spare)
        }
        Memres::Status => match spare.state() {
            Some(state) => {
                let size = state.size;
                ui::print(format_args!(
                    "ready: {}, {} MiB, {} processors, process {}\n",
                    settings.arch, size.memory, size.cpus, state.pid
                ))?;
                Ok(ExitCode::SUCCESS)
            }
            None => {
                ui::print("not running\n")?;
                Ok(ExitCode::FAILURE)
            }
        },
        Memres::List => list(settings),
    }
}

fn start(settings: &Settings, spare: &Spare) -> Result<ExitCode, Failure> {
    if settings.stateless {
        return Err(Failure::new("a virtual machine is kept ready in a state that stays").hint("leave out --stateless"));
    }
    spare.start(settings, size(settings), &|text| ui::say(text))?;
    ui::print("ready\n")?;
    Ok(ExitCode::SUCCESS)
}

/// Have a spare ready for the next run, in the background; that there is none is no reason to fail.
pub fn ensure(settings: &Settings) {
    let spare = Spare::of(settings);
    if spare.state().is_none()
        && let Err(failure) = spare.start(settings, size(settings), &|text| ui::say(text))
    {
        failure.report();
    }
}

fn list(settings: &Settings) -> Result<ExitCode, Failure> {
    let mut rows = vec![["INSTANCE", "ARCHITECTURE", "MEMORY", "PROCESSORS", "PROCESS"].map(str::to_owned).to_vec()];
    let mut add = |name: &str, folder: std::path::PathBuf, arch: Architecture| {
        if let Some(state) = Spare::at(folder.join("spare")).state() {
            let size = state.size;
            rows.push(vec![
                name.to_owned(),
                arch.to_string(),
                format!("{} MiB", size.memory),
                size.cpus.to_string(),
                state.pid.to_string(),
            ]);
        }
    };
    for arch in Architecture::ALL {
        add("-", settings.state_dir.join(arch.name()), arch);
        for entry in std::fs::read_dir(settings.state_dir.join("instances")).into_iter().flatten().flatten() {
            add(&entry.file_name().to_string_lossy(), entry.path().join(arch.name()), arch);
        }
    }
    ui::print(crate::format::table(rows))?;
    Ok(ExitCode::SUCCESS)
}
