//! The machine whose container engines are looked at: this one, or what lies below a folder.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use wharf_client::Environment;

use crate::settings::Settings;

/// Where the engines' files are.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    /// The variables that the engines follow; none for another machine's files.
    pub environment: Environment,
    is_here: bool,
}

impl Machine {
    /// This machine, or the one below `root`.
    pub fn new(settings: &Settings, root: Option<&Path>) -> Self {
        let variables = settings.environment.all().iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Self {
            root: root.unwrap_or(Path::new("/")).to_owned(),
            environment: variables.filter(|_| root.is_none()).collect(),
            is_here: root.is_none(),
        }
    }

    /// A file of the machine, by its path on it.
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// How a file is called when one speaks of it: without the folder that stands for the machine.
    pub fn shown(&self, path: &Path) -> String {
        match path.strip_prefix(&self.root) {
            Ok(inside) if !self.is_here => format!("/{}", inside.display()),
            _ => path.display().to_string(),
        }
    }

    /// A folder below the user's own.
    pub fn in_home(&self, path: &str) -> Option<PathBuf> {
        self.environment.get("HOME").map(|home| Path::new(home).join(path))
    }

    /// Whether it is the one this program runs on.
    pub fn is_here(&self) -> bool {
        self.is_here
    }

    /// Whether one of these programs is installed, or one of these folders is there.
    pub fn has(&self, programs: &[&str], folders: &[&str]) -> bool {
        let path = self.environment.get("PATH").unwrap_or(OsStr::new("")).to_owned();
        let searched = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
        let usual = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/bin", "/sbin"].map(|folder| self.file(folder));
        let mut places = searched.chain(usual);
        places.any(|folder| programs.iter().any(|program| folder.join(program).is_file()))
            || folders.iter().any(|folder| self.file(folder).is_dir())
    }
}

/// The line of a text, from 1, that first holds `part`.
pub fn line_of(text: &str, part: &str) -> Option<usize> {
    text.lines().position(|line| line.contains(part)).map(|index| index + 1)
}

/// The files of a folder with this ending, by name; none where the folder cannot be read.
pub fn files_with(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension() == Some(OsStr::new(extension)) && path.is_file()).collect();
    files.sort();
    files
}
