//! Variables of a container: the image's, then those of files, then those of options, each over the ones before.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use wharf_guest_protocol::Text;
use wharf_terminal::ui::Failure;

use crate::cli::values::Variable;
use crate::settings::Settings;

/// Add variables. One without a value has the one that it has here, or does not come along.
///
/// # Errors
/// A file that cannot be read.
pub fn add(all: &mut Vec<Text>, settings: &Settings, files: &[PathBuf], variables: &[Variable]) -> Result<(), Failure> {
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
