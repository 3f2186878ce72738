//! The audit log's file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use wharf_registry::AuditLog;

use crate::ui::Failure;

/// A log that goes to the end of a file; when the file is moved away, to a new one of its name.
pub fn open(path: &Path) -> Result<AuditLog, Failure> {
    let writer = Mutex::new(
        Writer::open(path)
            .map_err(|error| Failure::new(format!("cannot write the audit log {}", path.display())).because(&error))?,
    );
    Ok(AuditLog::new(move |line| {
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writer.write(line) {
            tracing::error!(%error, file = %writer.path.display(), line, "the audit log cannot be written");
        }
    }))
}

/// Tells the log of what a command on this machine has changed. That the log cannot be written is said, and does not undo the change.
pub fn note(path: &Path, what: &str, about: &str) {
    let who = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "unknown".to_owned());
    let when = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    let uid = rustix::process::getuid().as_raw();
    let line = serde_json::json!({ "when": when, "who": who, "uid": uid, "what": what, "about": about, "result": "done" });
    if let Err(error) = Writer::open(path).and_then(|mut writer| writer.write(&line.to_string())) {
        crate::ui::warn(&format!("cannot write the audit log {}: {error}", path.display()));
    }
}

struct Writer {
    path: PathBuf,
    file: File,
}

impl Writer {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: file(path)? })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let same = |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        let here = std::fs::metadata(&self.path).ok();
        if !here.is_some_and(|here| self.file.metadata().is_ok_and(|open| same(&here, &open))) {
            self.file = file(&self.path)?;
        }
        // In one piece: whoever reads along sees whole lines.
        self.file.write_all(format!("{line}\n").as_bytes())
    }
}

fn file(path: &Path) -> io::Result<File> {
    let is_new = !path.exists();
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    if is_new && let Some(folder) = path.parent() {
        let (own, like) = (file.metadata()?, std::fs::metadata(folder)?);
        // A command of root must not keep the server from its log.
        if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
            std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()))?;
        }
    }
    Ok(file)
}
