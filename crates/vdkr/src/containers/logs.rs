//! `logs`: what a container wrote.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use wharf_guest_protocol::StreamKind;
use wharf_terminal::ui::Failure;

use super::record::Containers;
use crate::cli::containers::Logs;
use crate::keeper::lines;
use crate::settings::Settings;

/// How often it is looked for more.
const LOOK: Duration = Duration::from_millis(50);

/// Shows what a container wrote.
pub fn logs(settings: &Settings, options: &Logs) -> Result<ExitCode, Failure> {
    let (folder, record, _) = Containers::of(settings).get(&options.container)?;
    let tail = match options.tail.as_str() {
        "all" => usize::MAX,
        number => number.parse().map_err(|_| Failure::new(format!("--tail {number}: expected a number of lines, or all")))?,
    };
    let failed = |error: std::io::Error| Failure::new(format!("cannot read what {} wrote", record.name)).because(&error);
    // Before the log is read: what is written afterwards is not missed.
    let mut runs = folder.state().status.is_alive();
    let (found, mut place) = lines(&folder.log(), 0).map_err(failed)?;
    let mut shown = Shown { pieces: Vec::new(), timestamps: options.timestamps };
    for line in found {
        shown.add(line.stream, line.time, line.text.as_bytes());
    }
    shown.write(tail)?;
    while options.follow && runs {
        std::thread::sleep(LOOK);
        runs = folder.state().status.is_alive();
        let (found, next) = lines(&folder.log(), place).map_err(failed)?;
        place = next;
        for line in found {
            shown.add(line.stream, line.time, line.text.as_bytes());
        }
        shown.write(usize::MAX)?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Shown {
    /// Whole lines, and at the end of a stream's last one maybe a part.
    pieces: Vec<(StreamKind, Vec<u8>)>,
    timestamps: bool,
}

impl Shown {
    fn add(&mut self, stream: StreamKind, time: u64, bytes: &[u8]) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match self.pieces.last_mut() {
                Some((last, piece)) if *last == stream && !piece.ends_with(b"\n") => piece.extend_from_slice(line),
                _ => {
                    let mut piece = Vec::new();
                    if self.timestamps {
                        piece.extend_from_slice(format!("{} ", super::list::time(time)).as_bytes());
                    }
                    piece.extend_from_slice(line);
                    self.pieces.push((stream, piece));
                }
            }
        }
    }

    fn write(&mut self, last: usize) -> Result<(), Failure> {
        let from = self.pieces.len().saturating_sub(last);
        for (stream, bytes) in self.pieces.drain(..).skip(from) {
            let written = match stream {
                StreamKind::Err => std::io::stderr().write_all(&bytes),
                _ => std::io::stdout().write_all(&bytes).and_then(|()| std::io::stdout().flush()),
            };
            written.map_err(|error| {
                if error.kind() == std::io::ErrorKind::BrokenPipe { Failure::BrokenPipe } else { Failure::of(&error) }
            })?;
        }
        Ok(())
    }
}
