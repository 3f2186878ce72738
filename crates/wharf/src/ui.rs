//! What people see: results on standard output, everything else on standard error, and one report for what failed.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};

use crate::config::{Finding, Severity};

/// Why a command failed, told once, at the top of the program.
#[derive(Debug)]
pub enum Failure {
    /// Something to report.
    Report {
        /// What went wrong, without a final dot.
        message: String,
        /// Why, the nearest cause first.
        causes: Vec<String>,
        /// The way out.
        hint: Option<String>,
    },
    /// Everything was said already; only the exit code is left to give.
    Reported,
    /// The reader of our output went away, which is no error.
    BrokenPipe,
}

impl Failure {
    /// A failure without causes.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Report { message: message.into(), causes: Vec::new(), hint: None }
    }

    /// The same with a cause and all that is behind it.
    #[must_use]
    pub fn because(mut self, error: &dyn std::error::Error) -> Self {
        if let Self::Report { causes, .. } = &mut self {
            let mut next = Some(error);
            while let Some(error) = next {
                causes.push(error.to_string());
                next = error.source();
            }
        }
        self
    }

    /// The same with a way out.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Report { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }

    /// Writes the report.
    pub fn report(&self) {
        if let Self::Report { message, causes, hint } = self {
            label("error", RED, message);
            for cause in causes {
                label("  caused by", RED, cause);
            }
            if let Some(hint) = hint {
                label("hint", CYAN, hint);
            }
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Report { message, .. } => f.write_str(message),
            Self::Reported => f.write_str("failed"),
            Self::BrokenPipe => f.write_str("broken pipe"),
        }
    }
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const CYAN: &str = "\x1b[1;36m";
const RESET: &str = "\x1b[0m";

/// Whether standard error may be coloured. `NO_COLOR` counts when it is set to anything.
fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn label(name: &str, colour: &str, text: &str) {
    if colours() {
        say(format_args!("{colour}{name}:{RESET} {text}"));
    } else {
        say(format_args!("{name}: {text}"));
    }
}

/// A warning on standard error.
pub fn warn(text: &str) {
    label("warning", YELLOW, text);
}

/// A line on standard error. When nobody can read it there is nothing left to do about that.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A line that is rewritten in place; only for a terminal.
pub fn progress(line: &str) {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
}

/// Text on standard output: the result that was asked for.
pub fn print(text: impl Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
        _ => Failure::new("cannot write to standard output").because(&error),
    })
}

/// A JSON document on standard output, on lines that people can read too.
pub fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(format_args!("{value:#}\n"))
}

/// What reading a configuration found, from the severity `least` on.
pub fn findings(findings: &[Finding], least: Severity) {
    for finding in findings.iter().filter(|finding| finding.severity >= least) {
        let text = finding.to_string();
        match finding.severity {
            Severity::Info => label("info", CYAN, &text),
            Severity::Warning | Severity::Unknown => warn(&text),
            Severity::Error => label("error", RED, &text),
        }
        if let Some(hint) = &finding.hint {
            label("hint", CYAN, hint);
        }
    }
}
