//! The load generator wrk, whose two threads cost less than any client written for the purpose.

use std::process::{Command, Stdio};

use crate::failure::{Context, Failure, Result};
use crate::peer::Server;

/// Requests per second for `path`, over 32 connections for so many seconds.
pub fn requests_per_second(server: &Server, path: &str, header: Option<(&str, &str)>, seconds: u32) -> Result<f64> {
    let mut command = Command::new("wrk");
    command.args(["-t2", "-c32"]).arg(format!("-d{seconds}s"));
    if let Some((name, value)) = header {
        command.arg("-H").arg(format!("{name}: {value}"));
    }
    let output = command.arg(format!("http://{}{path}", server.address)).stdin(Stdio::null()).output().context("running wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(Failure::new(format!("wrk ended with {}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr))));
    }
    parse(&text)
}

/// The rate in wrk's output; a failure when any request failed.
fn parse(text: &str) -> Result<f64> {
    for sign in ["Non-2xx", "Socket errors"] {
        if let Some(line) = text.lines().find(|line| line.contains(sign)) {
            return Err(Failure::new(line.trim()));
        }
    }
    text.lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"))
        .ok_or_else(|| Failure::new("wrk printed no rate"))?
        .trim()
        .parse()
        .context("the rate wrk printed")
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn failed_requests_are_no_rate() {
        assert!((parse("Requests/sec:  60912.12\n").unwrap() - 60_912.12).abs() < 1e-6);
        assert!(parse("  Non-2xx or 3xx responses: 12\nRequests/sec:  60912.12\n").is_err());
        assert!(parse("").is_err());
    }
}
