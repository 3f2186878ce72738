//! The user's settings: lines `key=value` in `~/.config/vdkr/config`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use wharf_client::Environment;
use wharf_machine::{Architecture, UnknownArchitecture};
use wharf_terminal::ui::Failure;

use super::{RegistryPrefix, home};
use crate::cli::values::{Cpus, Memory};

/// A setting that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Architecture.
    Arch,
    /// Seconds until a virtual machine that does not start is given up.
    Timeout,
    /// Folder of the state.
    StateDir,
    /// Whether more is said.
    Verbose,
    /// Seconds until a kept virtual machine ends.
    IdleTimeout,
    /// Whether a virtual machine is kept ready after the first use.
    AutoDaemon,
    /// Registry for names without one.
    Registry,
    /// Memory of virtual machines.
    Memory,
    /// Processors of virtual machines.
    Cpus,
}

/// All settings.
pub const KEYS: [Key; 9] = [
    Key::Arch,
    Key::Timeout,
    Key::StateDir,
    Key::Verbose,
    Key::IdleTimeout,
    Key::AutoDaemon,
    Key::Registry,
    Key::Memory,
    Key::Cpus,
];

impl Key {
    /// The name in the file and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arch => "arch",
            Self::Timeout => "timeout",
            Self::StateDir => "state-dir",
            Self::Verbose => "verbose",
            Self::IdleTimeout => "idle-timeout",
            Self::AutoDaemon => "auto-daemon",
            Self::Registry => "registry",
            Self::Memory => "memory",
            Self::Cpus => "cpus",
        }
    }

    /// The setting of this name; `_` will do for `-`.
    pub fn of(name: &str) -> Option<Self> {
        let name = name.trim().to_ascii_lowercase().replace('_', "-");
        KEYS.into_iter().find(|key| key.name() == name)
    }

    /// Whether a value will do, and why not.
    pub fn check(self, value: &str) -> Result<(), String> {
        match self {
            Self::Arch => value.parse::<Architecture>().map(drop).map_err(|why: UnknownArchitecture| why.to_string()),
            Self::Registry => value.parse::<RegistryPrefix>().map(drop),
            Self::Memory => value.parse::<Memory>().map(drop),
            Self::Cpus => value.parse::<Cpus>().map(drop),
            Self::Timeout | Self::IdleTimeout => {
                value.parse::<u64>().map(drop).map_err(|_| format!("`{value}` is not a number of seconds"))
            }
            Self::Verbose | Self::AutoDaemon => {
                switch(value).map(drop).ok_or_else(|| format!("`{value}` is neither true nor false"))
            }
            Self::StateDir if value.is_empty() => Err("it is empty".to_owned()),
            Self::StateDir => Ok(()),
        }
    }
}

/// A text as a yes or a no.
pub fn switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" | "" => Some(false),
        _ => None,
    }
}

/// The file, as it was read.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    path: PathBuf,
    values: BTreeMap<Key, String>,
    /// Everything that is none of ours, which stays.
    others: Vec<String>,
}

impl Kept {
    /// Reads the file; one that is not there says nothing.
    pub fn load(environment: &Environment) -> Result<Self, Failure> {
        let folder = match environment.get("XDG_CONFIG_HOME") {
            Some(folder) => PathBuf::from(folder),
            None => match home(environment) {
                Ok(home) => home.join(".config"),
                Err(_) => return Ok(Self::default()),
            },
        };
        let path = folder.join("vdkr/config");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Failure::new(format!("cannot read {}", path.display())).because(&error)),
        };
        let mut kept = Self { path, ..Self::default() };
        for line in text.lines() {
            match pair(line).and_then(|(name, value)| Some((Key::of(name)?, value))) {
                Some((key, value)) => drop(kept.values.insert(key, value.to_owned())),
                None => kept.others.push(line.to_owned()),
            }
        }
        Ok(kept)
    }

    /// A value that was kept.
    pub fn get(&self, key: Key) -> Option<&str> {
        self.values.get(&key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Keeps a value, or none any more. The file is replaced whole.
    pub fn set(&mut self, key: Key, value: Option<&str>) -> Result<(), Failure> {
        if self.path.as_os_str().is_empty() {
            return Err(Failure::new("HOME is not set, so there is no place for settings"));
        }
        match value {
            Some(value) => drop(self.values.insert(key, value.to_owned())),
            None => drop(self.values.remove(&key)),
        }
        let cannot = |error: std::io::Error| Failure::new(format!("cannot write {}", self.path.display())).because(&error);
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).map_err(cannot)?;
        let mut text: String = self.others.iter().map(|line| format!("{line}\n")).collect();
        text.extend(self.values.iter().map(|(key, value)| format!("{}={value}\n", key.name())));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
        file.write_all(text.as_bytes()).map_err(cannot)?;
        file.persist(&self.path).map_err(|error| cannot(error.error))?;
        Ok(())
    }
}

/// A line `name=value`, with quotes taken off; none for comments.
pub(super) fn pair(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    let value = value.trim();
    let quoted = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    Some((name.trim(), quoted('"').or_else(|| quoted('\'')).unwrap_or(value)))
}
