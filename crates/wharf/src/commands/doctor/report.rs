//! What is found, and how it is shown.

use std::fmt::Write;

use serde_json::{Value, json};

use wharf_terminal::printable::printable;

/// How it is with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and may not be meant so, or not for long.
    Warning,
    /// Something will fail.
    Problem,
    /// There is nothing of the kind here.
    NotApplicable,
}

impl Verdict {
    /// As people read it, and as JSON has it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Ok => ("ok", "ok"),
            Self::Warning => ("warning", "warning"),
            Self::Problem => ("problem", "problem"),
            Self::NotApplicable => ("-", "not_applicable"),
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Check {
    /// What it is about: a word that scripts may look for.
    pub subject: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, in one line.
    pub what: String,
    /// How to mend it, in one line.
    pub mend: Option<String>,
}

impl Check {
    /// All is well.
    pub fn ok(subject: &'static str, what: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Ok, what: what.into(), mend: None }
    }

    /// It may not be meant so.
    pub fn warning(subject: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Warning, what: what.into(), mend: Some(mend.into()) }
    }

    /// It will fail.
    pub fn problem(subject: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Problem, what: what.into(), mend: Some(mend.into()) }
    }

    /// There is nothing to look at.
    pub fn none(subject: &'static str, why: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::NotApplicable, what: why.into(), mend: None }
    }
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Report {
    parts: Vec<(Option<String>, Vec<Check>)>,
}

impl Report {
    /// Adds what was found about a registry, or about the machine.
    pub fn add(&mut self, registry: Option<String>, checks: Vec<Check>) {
        self.parts.push((registry, checks));
    }

    /// How many have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.parts.iter().flat_map(|(_, checks)| checks).filter(|check| check.verdict == verdict).count()
    }

    /// For people: a line for each, and one below it with the way out.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (registry, checks) in &self.parts {
            // Writing to a text does not fail, here and below.
            let _ = writeln!(text, "{}", registry.as_deref().unwrap_or("This machine"));
            for check in checks {
                let (verdict, _) = check.verdict.names();
                let _ = writeln!(text, "  {verdict:<8} {:<12} {}", check.subject, printable(&check.what));
                if let Some(mend) = &check.mend {
                    let _ = writeln!(text, "  {:<8} {:<12} > {}", "", "", printable(mend));
                }
            }
            text.push('\n');
        }
        let count = |verdict, one: &str| match self.count(verdict) {
            1 => format!("1 {one}"),
            many => format!("{many} {one}s"),
        };
        let _ = writeln!(text, "{}, {}", count(Verdict::Problem, "problem"), count(Verdict::Warning, "warning"));
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let checks: Vec<Value> = self
            .parts
            .iter()
            .flat_map(|(registry, checks)| checks.iter().map(move |check| (registry, check)))
            .map(|(registry, check)| {
                let (_, verdict) = check.verdict.names();
                json!({
                    "registry": registry, "subject": check.subject, "verdict": verdict, "what": check.what, "mend": check.mend,
                })
            })
            .collect();
        json!({ "checks": checks, "problems": self.count(Verdict::Problem), "warnings": self.count(Verdict::Warning) })
    }
}
