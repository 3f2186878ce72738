//! Credential helpers: programs `docker-credential-NAME` that keep passwords in a keychain. `get` reads a server's name from its
//! standard input and writes JSON to its standard output.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Credential, Environment};

/// How long a helper may take. Some ask a service in the network; none that waits for longer answers at all.
pub(super) const WAIT: Duration = Duration::from_secs(10);
/// The longest answer. Tokens of cloud providers have a few kilobytes.
const ANSWER_MAX: u64 = 64 * 1024;
/// Between two looks at whether a helper that has closed its output has ended.
const POLL: Duration = Duration::from_millis(5);
/// The user that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// What went wrong with a credential helper. Its output is never part of a message: helpers write secrets there.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// Its name is not one: letters, digits, `-`, `_` and `.`.
    #[error("not the name of a program")]
    Name,
    /// Not in any folder of `PATH`.
    #[error("not installed: no folder of PATH has it")]
    Missing,
    /// The system does not start it.
    #[error("it does not start")]
    Start(#[source] io::Error),
    /// Its output cannot be read, or its end not be waited for.
    #[error("it cannot be listened to")]
    Io(#[source] io::Error),
    /// It ended with an error.
    #[error("it failed ({0})")]
    Failed(ExitStatus),
    /// It did not end in time, and was stopped.
    #[error("it did not end within {} seconds", .0.as_secs())]
    Slow(Duration),
    /// It wrote more than 64 KiB.
    #[error("it wrote more than {ANSWER_MAX} bytes")]
    TooMuch,
    /// What it wrote is not the JSON of a credential.
    #[error("it did not write the JSON of a credential")]
    Answer,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks the helper `docker-credential-NAME` for the credential of a server; `None` when it says that it has none.
pub(super) fn ask(
    name: &str,
    server: &str,
    environment: &Environment,
    wait: Duration,
) -> Result<Option<Credential>, HelperError> {
    let program = find(name, environment)?;
    let deadline = Instant::now() + wait;
    let mut child = Command::new(program)
        .arg("get")
        .env_clear()
        .envs(environment.all())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(HelperError::Start)?;
    let finished = converse(&mut child, server, deadline, wait);
    if finished.is_err() {
        // It may have ended by itself; either way nothing of it is to stay behind.
        let _ = child.kill();
        let _ = child.wait();
    }
    let (output, status) = finished?;
    if !status.success() {
        let none = String::from_utf8_lossy(&output).to_ascii_lowercase().contains("credentials not found");
        return if none { Ok(None) } else { Err(HelperError::Failed(status)) };
    }
    let Answer { username, secret } = serde_json::from_slice(&output).map_err(|_| HelperError::Answer)?;
    Ok(match username.as_str() {
        "" if secret.is_empty() => None,
        TOKEN_USER => Some(Credential::Identity(secret.into())),
        _ => Some(Credential::Basic { user: username, password: secret.into() }),
    })
}

/// Where the helper is. The name stands in a file, and must not lead to a program elsewhere.
fn find(name: &str, environment: &Environment) -> Result<PathBuf, HelperError> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(HelperError::Name);
    }
    let file = format!("docker-credential-{name}");
    let folders = environment.get("PATH").map(std::env::split_paths).into_iter().flatten();
    folders
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(&file))
        .find(|path| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0))
        .ok_or(HelperError::Missing)
}

/// Writes the question, reads the whole answer and waits for the end, all before the deadline.
fn converse(child: &mut Child, server: &str, deadline: Instant, wait: Duration) -> Result<(Vec<u8>, ExitStatus), HelperError> {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(HelperError::Io(io::ErrorKind::BrokenPipe.into()));
    };
    // A name fits into the pipe's buffer, so this does not block. A helper that does not care to read it may still answer.
    let _ = stdin.write_all(server.as_bytes());
    drop(stdin);
    let (sender, receiver) = mpsc::channel();
    // The thread ends with the last process that holds the pipe: a helper's own children may outlive it, and are not waited for.
    thread::spawn(move || {
        let mut output = Vec::new();
        let read = stdout.take(ANSWER_MAX + 1).read_to_end(&mut output);
        let _ = sender.send(read.map(|_| output));
    });
    let output = match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(read) => read.map_err(HelperError::Io)?,
        Err(RecvTimeoutError::Timeout) => return Err(HelperError::Slow(wait)),
        Err(RecvTimeoutError::Disconnected) => return Err(HelperError::Io(io::ErrorKind::BrokenPipe.into())),
    };
    if output.len() as u64 > ANSWER_MAX {
        return Err(HelperError::TooMuch);
    }
    loop {
        if let Some(status) = child.try_wait().map_err(HelperError::Io)? {
            return Ok((output, status));
        }
        if Instant::now() >= deadline {
            return Err(HelperError::Slow(wait));
        }
        thread::sleep(POLL);
    }
}
