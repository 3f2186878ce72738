//! What a container wrote, a JSON object a line: the time, the stream, the bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use wharf_guest_protocol::{StreamKind, Text};

/// Something that a container wrote at once.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    /// When, in nanoseconds since 1970.
    pub time: u64,
    /// Where.
    pub stream: StreamKind,
    /// What.
    pub text: Text,
}

/// A log that is written.
pub struct Log {
    file: Option<File>,
}

impl Log {
    /// In a file, from its end; `None` for none.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = path.map(|path| File::options().create(true).append(true).open(path)).transpose()?;
        Ok(Self { file })
    }

    /// Write down what came. A full disk loses the log, not the container.
    pub fn add(&mut self, stream: StreamKind, bytes: &[u8]) {
        if let Some(file) = &mut self.file {
            let text = Text::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes.to_vec()));
            if let Ok(mut json) = serde_json::to_vec(&Line { time: now(), stream, text }) {
                json.push(b'\n');
                let _ = file.write_all(&json);
            }
        }
    }
}

/// Now, in nanoseconds since 1970.
pub fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// The lines of a log, from a place in bytes: the lines, and where the next one begins. A line that is still being written comes next time.
///
/// # Errors
/// What the system says; no log is an empty one.
pub fn lines(path: &Path, from: u64) -> io::Result<(Vec<Line>, u64)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    io::Seek::seek(&mut file, io::SeekFrom::Start(from))?;
    let (mut all, mut place) = (Vec::new(), from);
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
        place += line.len() as u64;
        if let Ok(parsed) = serde_json::from_slice(&line) {
            all.push(parsed);
        }
        line.clear();
    }
    Ok((all, place))
}
