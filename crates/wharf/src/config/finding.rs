//! What reading a configuration found: each with its place, so that a person can go there.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Line of a file, counted from 1.
    Line(Arc<Path>, usize),
    /// The file as a whole.
    File(Arc<Path>),
    /// An environment variable.
    Variable(String),
    /// Nowhere: the default of the table.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{}:{line}", file.display()),
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Accepted, and it changes nothing.
    Info,
    /// Not supported: the server does without.
    Warning,
    /// A name nobody knows: an error for `config check`, a warning at start, because files may come from newer versions.
    Unknown,
    /// The server does not start with it.
    Error,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Where it was found.
    pub place: Place,
    /// What was found, in one line without a final dot.
    pub message: String,
    /// The way out, when there is one to tell.
    pub hint: Option<String>,
}

impl Finding {
    /// A finding without a hint.
    pub fn new(severity: Severity, place: Place, message: impl Into<String>) -> Self {
        Self { severity, place, message: message.into(), hint: None }
    }

    /// The same finding with a way out; an empty hint is none.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            // That nobody wrote it says nothing.
            Place::Default => f.write_str(&self.message),
            place => write!(f, "{place}: {}", self.message),
        }
    }
}
