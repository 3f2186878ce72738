//! The control socket of a running wharf.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::failure::{Context, Failure, Result};
use crate::http::{Connection, Sink};

/// Runs a collection and returns its result.
pub fn collect(root: &Path) -> Result<serde_json::Value> {
    let folder = std::fs::File::open(root).context(root.display())?;
    // Through the descriptor, because a socket's path may have only 107 bytes.
    let socket = format!("/proc/self/fd/{}/control.sock", folder.as_raw_fd());
    let stream = UnixStream::connect(socket).context("the control socket")?;
    let mut body = Vec::new();
    let path = "/collect?now=1";
    Connection::over(stream, "wharf".to_owned()).exchange("POST", path, &[], &[], Sink::Keep(&mut body))?.expecting(200, path)?;
    let text = String::from_utf8_lossy(&body);
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(last).context("the collection's last line")?;
    match json.get("result") {
        Some(result) => Ok(result.clone()),
        None => Err(Failure::new(format!("the collection ended with {last}"))),
    }
}
