//! What people see, as all programs of the workspace show it, and what only this one shows.

pub use wharf_terminal::ui::{
    Failure, Label, Manner, Output, at_terminal, detail, labelled, print, print_bytes, print_json, progress, say, size, usage,
    warn,
};

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
