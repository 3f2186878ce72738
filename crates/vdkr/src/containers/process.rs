//! A process by its options, over what its image or its container says.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use wharf_guest_protocol::{Process, Terminal, Text};
use wharf_terminal::ui::Failure;

use super::attach;
use crate::cli::containers;
use crate::cli::values::Variable;
use crate::settings::Settings;

/// A process with what the options say in the place of what it had.
///
/// # Errors
/// A file of variables that cannot be read.
pub fn with_options(settings: &Settings, mut process: Process, options: &containers::Process) -> Result<Process, Failure> {
    add_variables(&mut process.env, settings, &options.variable_files, &options.variables)?;
    if let Some(folder) = &options.workdir {
        process.working_dir = folder.clone().into_os_string().into();
    }
    if let Some(user) = &options.user {
        process.user.clone_from(user);
    }
    process.terminal = options.tty.then(|| attach::size().unwrap_or(Terminal { columns: 80, rows: 24 }));
    process.stdin = options.interactive;
    Ok(process)
}

/// Add variables: those of files, then those of options, each over the ones before. One without a value has the one that it has here, or does not come along.
fn add_variables(all: &mut Vec<Text>, settings: &Settings, files: &[PathBuf], variables: &[Variable]) -> Result<(), Failure> {
    let mut found = Vec::new();
    for path in files {
        let content = fs::read(path).map_err(|error| Failure::new(format!("cannot read {}", path.display())).because(&error))?;
        for line in content.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii_start();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() && !line.starts_with(b"#") {
                let text = OsStr::from_bytes(line);
                found.push(Variable::parse(text).map_err(|why| Failure::new(format!("{}: {why}", path.display())))?);
            }
        }
    }
    for Variable { name, value } in found.iter().chain(variables) {
        let value = value.clone().or_else(|| name.to_str().and_then(|name| settings.environment.get(name).map(OsStr::to_owned)));
        let Some(value) = value else { continue };
        let mut entry = name.clone().into_vec();
        entry.push(b'=');
        all.retain(|known| !known.as_bytes().starts_with(&entry));
        entry.extend_from_slice(value.as_bytes());
        all.push(Text::from(OsString::from_vec(entry)));
    }
    Ok(())
}
