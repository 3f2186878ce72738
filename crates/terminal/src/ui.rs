//! What people see: results on standard output, everything else on standard error, and one report for what failed.
//!
//! Through container-registry.sh everything is on standard output, where scripts written for it look; only beside data that a program reads,
//! what is not an error stays on standard error.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU8, Ordering};

pub use wharf_client::size;

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

    /// What an error says, with its causes.
    pub fn of(error: &dyn std::error::Error) -> Self {
        let failure = Self::new(error.to_string());
        match error.source() {
            Some(source) => failure.because(source),
            None => failure,
        }
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

    /// The same under a message that says what came of it; what was the message is the first cause.
    #[must_use]
    pub fn about(mut self, text: &str) -> Self {
        if let Self::Report { message, causes, .. } = &mut self {
            causes.insert(0, std::mem::replace(message, text.to_owned()));
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
            // Also beside data: scripts read errors there, and there is no data when something failed.
            let stdout = Manner::now().script;
            label_to(stdout, "error", RED, message);
            for cause in causes {
                label_to(stdout, "  caused by", RED, cause);
            }
            let no_room = causes.iter().chain([message]).any(|text| is_no_room(text));
            for hint in no_room.then_some("the disk is full: make room on it").into_iter().chain(hint.as_deref()) {
                label_to(stdout, "hint", CYAN, hint);
            }
        }
    }
}

/// Whether this is what the system says of a full disk (ENOSPC, EDQUOT). Errors come here as texts, some of other programs.
fn is_no_room(text: &str) -> bool {
    ["No space left on device", "Disk quota exceeded"].iter().any(|known| text.contains(known))
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

/// Where messages go and how many of them are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Messages and errors go to standard output: container-registry.sh was called.
    pub script: bool,
    /// Standard output is data for programs: only errors may join it.
    pub data: bool,
    /// Only errors and results are wanted.
    pub quiet: bool,
    /// More than usual is wanted.
    pub verbose: bool,
}

const SCRIPT: u8 = 1;
const DATA: u8 = 2;
const QUIET: u8 = 4;
const VERBOSE: u8 = 8;
static MANNER: AtomicU8 = AtomicU8::new(0);

impl Manner {
    /// Makes it that of the program.
    pub fn set(self) {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let bits = bit(self.script, SCRIPT) | bit(self.data, DATA) | bit(self.quiet, QUIET) | bit(self.verbose, VERBOSE);
        MANNER.store(bits, Ordering::Relaxed);
    }

    /// That of the program.
    pub fn now() -> Self {
        let bits = MANNER.load(Ordering::Relaxed);
        let is = |bit: u8| bits & bit != 0;
        Self { script: is(SCRIPT), data: is(DATA), quiet: is(QUIET), verbose: is(VERBOSE) }
    }

    /// Whether messages that are no errors go to standard output.
    pub fn on_stdout(self) -> bool {
        self.script && !self.data
    }
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const CYAN: &str = "\x1b[1;36m";
const RESET: &str = "\x1b[0m";

/// Whether `NO_COLOR` is set to anything.
pub fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Whether messages are read at a terminal.
pub fn at_terminal() -> bool {
    if Manner::now().on_stdout() { io::stdout().is_terminal() } else { io::stderr().is_terminal() }
}

/// What kind of message a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Something failed.
    Error,
    /// Something may be wrong.
    Warning,
    /// Something is worth knowing.
    Info,
    /// A way out.
    Hint,
}

/// A message with a label in front.
pub fn labelled(kind: Label, text: &str) {
    let (name, colour) = match kind {
        Label::Error => ("error", RED),
        Label::Warning => ("warning", YELLOW),
        Label::Info => ("info", CYAN),
        Label::Hint => ("hint", CYAN),
    };
    label_to(Manner::now().on_stdout(), name, colour, text);
}

fn label_to(stdout: bool, name: &str, colour: &str, text: &str) {
    let terminal = if stdout { io::stdout().is_terminal() } else { io::stderr().is_terminal() };
    if terminal && !no_colour() {
        say_to(stdout, format_args!("{colour}{name}:{RESET} {text}"));
    } else {
        say_to(stdout, format_args!("{name}: {text}"));
    }
}

fn say_to(stdout: bool, line: impl Display) {
    // When nobody can read it there is nothing left to do about that.
    let _ = if stdout { writeln!(io::stdout().lock(), "{line}") } else { writeln!(io::stderr().lock(), "{line}") };
}

/// A warning on standard error.
pub fn warn(text: &str) {
    labelled(Label::Warning, text);
}

/// A message.
pub fn say(line: impl Display) {
    if !Manner::now().quiet {
        say_to(Manner::now().on_stdout(), line);
    }
}

/// A message for who wants to know more.
pub fn detail(line: impl Display) {
    if Manner::now().verbose {
        say(line);
    }
}

/// Usage, after a command line that was none.
pub fn usage(text: impl Display) {
    say_to(Manner::now().script, text);
}

/// A line that is rewritten in place; only for a terminal.
pub fn progress(line: &str) {
    if Manner::now().quiet {
        return;
    }
    let line = format_args!("\r\x1b[K{line}");
    let _ = if Manner::now().on_stdout() {
        let mut out = io::stdout().lock();
        write!(out, "{line}").and_then(|()| out.flush())
    } else {
        let mut out = io::stderr().lock();
        write!(out, "{line}").and_then(|()| out.flush())
    };
}

/// Text on standard output: the result that was asked for.
pub fn print(text: impl Display) -> Result<(), Failure> {
    print_by(|stdout| write!(stdout, "{text}"))
}

/// Bytes on standard output, as they are.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    print_by(|stdout| stdout.write_all(bytes))
}

fn print_by(write: impl FnOnce(&mut io::StdoutLock<'_>) -> io::Result<()>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    write(&mut stdout).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
        _ => Failure::new("cannot write to standard output").because(&error),
    })
}

/// Results that come one after the other, of work that goes on also when nobody can read them any more.
#[derive(Debug, Default)]
pub struct Output {
    problem: Option<Failure>,
}

impl Output {
    /// Text on standard output, unless an earlier one could not be written.
    pub fn print(&mut self, text: impl Display) {
        if self.problem.is_none() {
            self.problem = print(text).err();
        }
    }

    /// What became of it.
    pub fn end(self) -> Result<(), Failure> {
        self.problem.map_or(Ok(()), Err)
    }
}

/// A JSON document on standard output, on lines that people can read too.
pub fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(format_args!("{value:#}\n"))
}
