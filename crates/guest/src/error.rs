//! What goes wrong in a guest.

use std::io;
use std::path::Path;

/// What goes wrong in a guest, as the words that its host shows.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The system refused something.
    #[error("cannot {what}: {source}")]
    System {
        /// What, as `mount /proc`.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The container runtime refused something.
    #[error("{message}")]
    Runtime {
        /// Its words.
        message: String,
        /// 126 for a program that cannot be run, 127 for one that is not there, 125 for all else.
        code: u8,
    },
    /// Something about the container's files.
    #[error("{message}")]
    Files {
        /// What.
        message: String,
        /// The way out.
        hint: Option<String>,
    },
    /// What was asked makes no sense as things are.
    #[error("{0}")]
    Asked(String),
}

impl GuestError {
    /// The exit code that says it to scripts, as `docker run` has it.
    pub fn code(&self) -> u8 {
        match self {
            Self::Runtime { code, .. } => *code,
            _ => 125,
        }
    }

    /// The way out, if one is known.
    pub fn hint(&self) -> Option<String> {
        if let Self::Files { hint, .. } = self { hint.clone() } else { None }
    }
}

/// Says what could not be done.
pub trait Doing<T> {
    /// Name what was being done.
    ///
    /// # Errors
    /// [`GuestError::System`] in place of the error.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, GuestError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, GuestError> {
        self.map_err(|error| GuestError::System { what: what(), source: error.into() })
    }
}

/// Write a file, or say which could not be written.
///
/// # Errors
/// What the system says.
pub fn write_file(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<(), GuestError> {
    std::fs::write(&path, content).doing(|| format!("write {}", path.as_ref().display()))
}

/// Make a folder and those above it, or say which could not be made.
///
/// # Errors
/// What the system says.
pub fn make_folder(path: impl AsRef<Path>) -> Result<(), GuestError> {
    std::fs::create_dir_all(&path).doing(|| format!("make the folder {}", path.as_ref().display()))
}
