//! Log lines on standard error, as text or JSON.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::config::model::Log;
use crate::config::{Finding, Severity};
use crate::ui::Failure;

/// Starts logging for the rest of the process. A second call changes nothing.
pub fn start(log: &Log) {
    let level = LevelFilter::from_level(log.level);
    // The libraries' own debugging would drown the registry's.
    let libraries = level.min(LevelFilter::INFO);
    let filter = Targets::new()
        .with_default(libraries)
        .with_targets(["wharf", "wharf_registry", "wharf_store", "wharf_oci"].map(|target| (target, level)));
    let format = tracing_subscriber::fmt::layer().with_writer({
        let stamp = stamp(log);
        let json = log.json;
        move || Stamped { stamp: stamp.clone(), json }
    });
    let registry = tracing_subscriber::registry().with(filter);
    let result = if log.json {
        registry.with(format.json().flatten_event(true)).try_init()
    } else {
        let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        registry.with(format.with_ansi(colours)).try_init()
    };
    // Only a second start fails, and then logging goes on as it was.
    drop(result);
}

/// Logs what reading the configuration found.
pub fn findings(findings: &[Finding]) {
    for finding in findings {
        let (place, message) = (finding.place.to_string(), &finding.message);
        match finding.severity {
            Severity::Info => tracing::info!(place, "{message}"),
            Severity::Warning | Severity::Unknown => tracing::warn!(place, "{message}"),
            Severity::Error => tracing::error!(place, "{message}"),
        }
    }
}

/// Logs why the server ends.
pub fn failure(failure: &Failure) {
    match failure {
        Failure::Report { message, causes, hint } => {
            tracing::error!(causes = (!causes.is_empty()).then(|| causes.join(": ")), hint, "{message}");
        }
        Failure::Reported | Failure::BrokenPipe => {}
    }
}

/// `log.fields` as they stand in a line: JSON members with a comma behind each, or `name=value` with a space.
fn stamp(log: &Log) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    log.fields
        .iter()
        .map(|(name, value)| match log.json {
            true => format!("{}:{},", quoted(name), quoted(value)),
            false => format!("{name}={} ", quoted(value)),
        })
        .collect()
}

/// Standard error with `log.fields` put into each line. The formatter knows only fields whose names are known when the
/// program is compiled; but it hands over each line as a whole.
struct Stamped {
    stamp: String,
    json: bool,
}

impl Write for Stamped {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        match line.strip_prefix(b"{") {
            _ if self.stamp.is_empty() => stderr.write_all(line)?,
            Some(rest) if self.json => stderr.write_all(&[b"{", self.stamp.as_bytes(), rest].concat())?,
            _ => stderr.write_all(&[self.stamp.as_bytes(), line].concat())?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_for_each_form() {
        let mut log = crate::config::Config::default().log;
        log.fields = vec![("service".into(), "a \"b\"".into())];
        assert_eq!(stamp(&log), r#"service="a \"b\"" "#);
        log.json = true;
        assert_eq!(stamp(&log), r#""service":"a \"b\"","#);
    }
}
