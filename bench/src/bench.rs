//! What the rows share: the options, the temporary folders, and rounds in which the participants alternate.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;

use crate::failure::{Context, Result};
use crate::options::Options;
use crate::peer::{Peer, Server, Settings};
use crate::report::Report;

/// One run of the program.
pub struct Bench {
    /// What was asked for.
    pub options: Options,
    disk: TempDir,
    seeded: OnceCell<PathBuf>,
}

/// One participant of a row. Plain files have no server.
pub struct Entrant {
    /// Who it is.
    pub peer: Peer,
    /// Its running server.
    pub server: Option<Server>,
    /// Its own folder.
    pub folder: PathBuf,
}

impl Entrant {
    /// The running server; a failure for plain files.
    pub fn server(&self) -> Result<&Server> {
        self.server.as_ref().ok_or_else(|| crate::failure::Failure::new("plain files are no server"))
    }
}

impl Bench {
    /// Creates the temporary folder; it goes when this value does.
    pub fn new(options: Options) -> Result<Self> {
        let disk = temporary(&options.folder)?;
        if !options.quick {
            touch_memory()?;
        }
        Ok(Self { options, disk, seeded: OnceCell::new() })
    }

    /// A folder of this run on the disk, created.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.disk.path().join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// One figure for full runs, a smaller one for `--quick`.
    pub fn size<T>(&self, full: T, quick: T) -> T {
        if self.options.quick { quick } else { full }
    }

    /// How a server of the row `name` is started.
    pub fn settings(&self, name: &str) -> Settings {
        let profile = self.options.profile.as_ref().map(|folder| folder.join(format!("{name}.perf")));
        Settings { wharf: self.options.wharf.clone(), profile, ..Settings::default() }
    }

    /// Starts those of `peers` that were asked for, each over its own folder in `base`. One that does not start becomes a note.
    pub fn entrants(&self, name: &str, peers: &[Peer], base: &Path, report: &mut Report) -> Vec<Entrant> {
        let mut entrants = Vec::new();
        for &peer in peers {
            if !self.options.takes_part(peer) {
                continue;
            }
            let folder = base.join(peer.label().replace([' ', ','], "-"));
            if peer == Peer::BareFiles {
                entrants.push(Entrant { peer, server: None, folder });
                continue;
            }
            match Server::start(peer, &folder, &self.settings(name)) {
                Ok(server) => entrants.push(Entrant { peer, server: Some(server), folder }),
                Err(failure) => report.failure(peer.label(), &failure),
            }
        }
        entrants
    }

    /// Prepares each entrant once; one whose preparation fails takes no further part, and the report says why.
    pub fn prepare(&self, report: &mut Report, entrants: &mut Vec<Entrant>, mut prepare: impl FnMut(&Entrant) -> Result<()>) {
        entrants.retain(|entrant| match prepare(entrant) {
            Ok(()) => true,
            Err(failure) => {
                report.failure(entrant.peer.label(), &failure);
                false
            }
        });
    }

    /// Measures every entrant once in each round, in an order that rotates, so that a slow moment of the machine hits none of
    /// them always. `materials` makes what all entrants of a round use. The values become series of the report.
    pub fn contest<T>(
        &self,
        report: &mut Report,
        entrants: &[Entrant],
        mut materials: impl FnMut(usize) -> Result<T>,
        mut measure: impl FnMut(&Entrant, &T) -> Result<f64>,
    ) -> Result<()> {
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); entrants.len()];
        let mut failed = vec![false; entrants.len()];
        for round in 0..self.options.rounds {
            let shared = materials(round)?;
            for turn in 0..entrants.len() {
                let index = (round + turn) % entrants.len();
                if failed[index] {
                    continue;
                }
                let entrant = &entrants[index];
                match measure(entrant, &shared) {
                    Ok(value) => values[index].push(value),
                    Err(failure) => {
                        failed[index] = true;
                        report.failure(entrant.peer.label(), &failure);
                    }
                }
            }
        }
        for ((entrant, values), failed) in entrants.iter().zip(values).zip(failed) {
            // Rounds are compared pairwise, so a series with a hole is no series.
            if !failed {
                report.series(entrant.peer.label(), values);
            }
        }
        Ok(())
    }

    /// The storage with 100,000 tags and as many repositories, filled by whoever asks first.
    pub fn seeded(&self, fill: impl FnOnce(&Path) -> Result<()>) -> Result<&Path> {
        if let Some(folder) = self.seeded.get() {
            return Ok(folder);
        }
        let folder = self.folder("seeded")?;
        fill(&folder)?;
        Ok(self.seeded.get_or_init(|| folder))
    }

    /// Says on stderr what is being done, for whoever waits.
    pub fn progress(&self, what: &str) {
        eprintln!("wharf-bench: {what}");
    }
}

/// Bytes of memory that are used once before anything is measured, as far as they are free.
const TOUCHED: u64 = 8 << 30;

/// Uses memory once and gives it back. A virtual machine gets its memory from its host page by page when it is first used, which costs several times what writing to
/// it does, and would be counted against whoever happens to come first.
fn touch_memory() -> Result<()> {
    let information = fs::read_to_string("/proc/meminfo").context("the free memory")?;
    let line = information.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes: u64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default();
    let size = usize::try_from((kibibytes * 1024 / 2).min(TOUCHED)).unwrap_or_default();
    let mut memory = vec![0_u8; size];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&memory);
    Ok(())
}

/// How the temporary folders are called; the process id follows.
const PREFIX: &str = "wharf-bench-";

/// A temporary folder in `parent`. Those of runs that were interrupted go: they may hold gigabytes.
pub fn temporary(parent: &Path) -> Result<TempDir> {
    for entry in fs::read_dir(parent).context(parent.display())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')?.0.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            // Another user's stays; that is no reason not to measure.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let prefix = format!("{PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).context(format_args!("creating a folder in {}", parent.display()))
}

/// Runs `count` workers at once, and returns how long they took together.
pub fn at_once<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<(Vec<T>, f64)> {
    let before = Instant::now();
    let results: Result<Vec<T>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..count)
            .map(|index| {
                let work = &work;
                scope.spawn(move || work(index))
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Err(crate::failure::Failure::new("a worker panicked"))))
            .collect()
    });
    Ok((results?, before.elapsed().as_secs_f64()))
}

/// Writes out what earlier measurements left unwritten on the file system of `folder`, so that the next does not pay for it.
pub fn settle(folder: &Path) -> Result<()> {
    rustix::fs::syncfs(fs::File::open(folder)?)?;
    Ok(())
}
