//! What people see, as all programs of the workspace show it, and what only this one shows.

pub use wharf_terminal::ui::{
    Failure, Label, Manner, Output, at_terminal, detail, labelled, print, print_bytes, print_json, progress, say, size, usage,
    warn,
};

use std::time::{Duration, Instant};

use crate::config::{Finding, Severity};

/// What reading a configuration found, from the severity `least` on.
pub fn findings(findings: &[Finding], least: Severity) {
    for finding in findings.iter().filter(|finding| finding.severity >= least) {
        let text = finding.to_string();
        labelled(
            match finding.severity {
                Severity::Info => Label::Info,
                Severity::Warning | Severity::Unknown => Label::Warning,
                Severity::Error => Label::Error,
            },
            &text,
        );
        if let Some(hint) = &finding.hint {
            labelled(Label::Hint, hint);
        }
    }
}

/// What this program is called by who reads its messages.
pub fn program() -> &'static str {
    if Manner::now().script { "container-registry.sh" } else { "wharf" }
}

/// How often a line that tells how far something is may change.
const REDRAWN: Duration = Duration::from_millis(100);

/// A line at a terminal that tells how far something is, and that is gone in the end.
#[derive(Debug, Default)]
pub struct Meanwhile {
    shown: Option<Instant>,
}

impl Meanwhile {
    /// Shows what `line` says, unless it was shown just now.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        if self.shown.is_none_or(|shown| shown.elapsed() >= REDRAWN) && at_terminal() {
            self.shown = Some(Instant::now());
            progress(&line());
        }
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        if self.shown.is_some() {
            progress("");
        }
    }
}

/// A time in milliseconds for people.
pub fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
}
