//! Containers as they lie on disk: a folder each, and a link for each name.
//!
//! `record.json` is what a container was made with and never changes. `state.json` is how it stands; whoever holds `lock`, its keeper while it runs,
//! writes it. A container whose state says that it runs and whose lock is free has lost its keeper.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wharf_guest_protocol::{Container, Text};
use wharf_oci::Digest;
use wharf_terminal::ui::Failure;

use crate::lock;
use crate::settings::Settings;

/// What a container was made with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// The image, as it was named.
    pub image: String,
    /// The image's ID.
    pub image_id: Digest,
    /// The image's layers, uncompressed, the lowest first.
    pub layers: Vec<Digest>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// How many of its arguments are the entry point; the others are the command.
    #[serde(default)]
    pub entry_point: usize,
    /// What the guest is told of it.
    pub container: Container,
    /// Folders and files of this machine; the position is the number that the guest knows.
    pub volumes: Vec<Shared>,
    /// Ports that lead into it.
    pub ports: Vec<Published>,
    /// Whether it vanishes when it ends.
    pub vanishes: bool,
    /// Whether it reaches nothing outside its machine.
    pub offline: bool,
    /// The signal that asks it to stop.
    pub stop_signal: i32,
    /// Labels, the image's among them.
    pub labels: std::collections::BTreeMap<String, String>,
    /// The machine.
    pub machine: MachineSize,
}

/// A folder or file of this machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shared {
    /// Where it is here.
    pub source: Text,
    /// Where it is there.
    pub target: Text,
    /// Whether it may not be written to.
    pub read_only: bool,
}

/// A port of this machine that leads into the container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Published {
    /// Where it listens here; port 0 takes a free one.
    pub host: std::net::SocketAddr,
    /// The port there.
    pub port: u16,
    /// Whether it is UDP.
    pub is_udp: bool,
}

/// The size of a machine.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct MachineSize {
    /// Memory, in MiB.
    pub memory: u64,
    /// Processors.
    pub cpus: u32,
}

/// How a container stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// What it does.
    pub status: Status,
    /// The process that keeps it, while it runs.
    pub keeper: Option<u32>,
    /// QEMU's process, while it runs.
    pub machine: Option<u32>,
    /// When it was started last, in seconds since 1970.
    pub started: Option<u64>,
    /// When it ended last.
    pub finished: Option<u64>,
    /// The exit code of its last run.
    pub exit_code: u8,
    /// Why it could not be started.
    pub error: Option<String>,
    /// Where its ports really are, in the order of [`Record::ports`].
    pub ports: Vec<std::net::SocketAddr>,
}

/// What a container does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was never started.
    #[default]
    Created,
    /// It runs.
    Running,
    /// It stands still.
    Paused,
    /// It has ended.
    Exited,
}

impl Status {
    /// Docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Exited => "exited",
        }
    }

    /// Whether it has a machine.
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// A container's folder.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

/// The containers of one state folder.
#[derive(Debug, Clone)]
pub struct Containers {
    path: PathBuf,
}

impl Containers {
    /// Those that settings lead to.
    pub fn of(settings: &Settings) -> Self {
        Self { path: settings.state().join("containers") }
    }

    fn names(&self) -> PathBuf {
        self.path.join("names")
    }

    /// Make one. Its name is taken first, so that two at once cannot have the same.
    ///
    /// # Errors
    /// A name that is taken, a folder that cannot be written.
    pub fn make(&self, record: &Record) -> Result<Folder, Failure> {
        let failed =
            |error: io::Error| Failure::new(format!("cannot make a container in {}", self.path.display())).because(&error);
        fs::create_dir_all(self.names()).map_err(failed)?;
        let id = &record.container.id;
        let link = self.names().join(&record.name);
        match symlink(Path::new("..").join(id), &link) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // One that was left when its folder was removed is in nobody's way.
                if fs::metadata(&link).is_ok() {
                    let hint = format!("remove it with `vdkr rm {}`, or take another name", record.name);
                    return Err(Failure::new(format!("there is a container {} already", record.name)).hint(hint));
                }
                fs::remove_file(&link).and_then(|()| symlink(Path::new("..").join(id), &link)).map_err(failed)?;
            }
            other => other.map_err(failed)?,
        }
        let folder = Folder { path: self.path.join(id) };
        // Its environment may hold secrets, and its log may tell them: neither is for other users.
        let made = fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder.path)
            .and_then(|()| write_json(&folder.path.join("state.json"), &State::default()))
            .and_then(|()| write_json(&folder.path.join("record.json"), record));
        if let Err(error) = made {
            let _ = folder.remove(&record.name);
            return Err(failed(error));
        }
        Ok(folder)
    }

    /// All of them, the newest first.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn all(&self) -> Result<Vec<(Folder, Record, State)>, Failure> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Failure::new(format!("cannot list {}", self.path.display())).because(&error)),
        };
        let folders = entries.flatten().filter(|entry| entry.file_name() != "names").map(|entry| Folder { path: entry.path() });
        // One that is being made or removed at this moment is none.
        let mut all: Vec<_> = folders
            .filter_map(|folder| Some((folder.record().ok()?, folder)))
            .map(|(record, folder)| {
                let state = folder.state();
                (folder, record, state)
            })
            .collect();
        all.sort_by(|a, b| b.1.created.cmp(&a.1.created).then_with(|| a.1.container.id.cmp(&b.1.container.id)));
        Ok(all)
    }

    /// The one of a name, an ID, or the beginning of one; `None` where there is none.
    ///
    /// # Errors
    /// A beginning that several have.
    pub fn find(&self, text: &str) -> Result<Option<(Folder, Record, State)>, Failure> {
        let all = self.all()?;
        let exact = all.iter().find(|(_, record, _)| record.name == text.trim_start_matches('/') || record.container.id == text);
        if let Some(found) = exact {
            return Ok(Some(found.clone()));
        }
        let is_id = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut begin = all.into_iter().filter(|(_, record, _)| is_id && record.container.id.starts_with(text));
        match (begin.next(), begin.next()) {
            (found, None) => Ok(found),
            (_, Some(_)) => Err(Failure::new(format!("several containers have an ID that begins with {text}"))),
        }
    }

    /// As [`Self::find`], and one there must be.
    ///
    /// # Errors
    /// None of that name.
    pub fn get(&self, text: &str) -> Result<(Folder, Record, State), Failure> {
        self.find(text)?.ok_or_else(|| Failure::new(format!("No such container: {text}")).hint("`vdkr ps -a` lists them"))
    }
}

impl Folder {
    /// At a path.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk with what the container changes.
    pub fn disk(&self) -> PathBuf {
        self.path.join("disk")
    }

    /// What the container wrote.
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// What it was made with.
    ///
    /// # Errors
    /// When it is gone, or is no container.
    pub fn record(&self) -> io::Result<Record> {
        Ok(serde_json::from_slice(&fs::read(self.path.join("record.json"))?)?)
    }

    /// How it stands. One whose keeper is gone has ended.
    pub fn state(&self) -> State {
        let state = fs::read(self.path.join("state.json")).ok().and_then(|bytes| serde_json::from_slice::<State>(&bytes).ok());
        let mut state = state.unwrap_or_default();
        if state.status.is_alive() && !self.is_kept() {
            state.status = Status::Exited;
            state.exit_code = 137;
            state.error = Some("the process that kept it was killed".to_owned());
        }
        state
    }

    /// Write how it stands.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_state(&self, state: &State) -> io::Result<()> {
        write_json(&self.path.join("state.json"), state)
    }

    /// Become the one that keeps it; `None` when there is one.
    ///
    /// # Errors
    /// What the system says.
    pub fn lock(&self) -> io::Result<Option<File>> {
        lock::take(&self.path.join("lock"))
    }

    /// Whether somebody keeps it.
    pub fn is_kept(&self) -> bool {
        lock::is_taken(&self.path.join("lock"))
    }

    /// Remove it and its name.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        // The record first: without it the rest is no container to anybody.
        let _ = fs::remove_file(self.path.join("record.json"));
        if let Some(parent) = self.path.parent() {
            let link = parent.join("names").join(name);
            if fs::read_link(&link).is_ok_and(|to| to.file_name() == self.path.file_name()) {
                fs::remove_file(link)?;
            }
        }
        fs::remove_dir_all(&self.path)
    }
}

/// Readers see the old or the new file, never a part.
fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec_pretty(value)?)?;
    fs::rename(new, path)
}
