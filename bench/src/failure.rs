//! The one error type of the benches: a sentence for the person who reads the table.

use std::fmt;
use std::io;

/// Why a measurement could not be made.
#[derive(Debug)]
pub struct Failure(String);

/// What every fallible step of a bench returns.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure that reads `what`.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(error: rustix::io::Errno) -> Self {
        Self(error.to_string())
    }
}

/// Adds what was being done to an error.
pub trait Context<T> {
    /// The same result, its error led by `what`.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{what}: {error}")))
    }
}
