//! The one error type of the trials: a sentence that says what was expected, and what came instead.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a trial found wrong, or why it could not go on.
#[derive(Clone, Debug)]
pub struct Failure(String);

/// What every step of a trial returns.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure that reads `what`.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// What a panic said.
    pub fn of_panic(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Self(text.unwrap_or("a panic without words").to_owned())
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

/// Does something, a panic of which is a failure as well: the tests' helpers say so what they did not expect.
///
/// # Errors
/// What the work answers, or what its panic said.
pub fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Failure::of_panic(&*panic)))
}
