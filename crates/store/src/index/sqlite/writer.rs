//! The one thread that writes, and its group commit.
//!
//! Whatever waits when a transaction begins goes into it, each request under a savepoint of its own: one that fails undoes only itself. All are answered
//! after the commit. A transaction that holds nothing but [`Kind::Lazy`] work is committed without a sync; the next synced commit makes it durable as well,
//! because a sync of the log covers all of it.

use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failed;
use crate::{Result, StoreError};

/// Requests in one transaction. More would make the first of them wait too long.
const BATCH: usize = 256;
/// Pages in the write-ahead log after which it is copied back into the database, beside the writer.
const CHECKPOINT_PAGES: i64 = 1_000;
/// Pages after which the writer itself waits for that: 64 MiB, so that the log stays bounded under any load, and a start after a crash quick.
const CHECKPOINT_NOW_PAGES: i64 = 16_384;
/// Rest between two such copies. The log's file keeps its size when it is begun anew; without a rest every commit would start another copy of nothing.
const CHECKPOINT_REST: Duration = Duration::from_secs(1);
/// Bytes set aside so that a delete can be written when the disk is full.
const BALLAST: u64 = 4 << 20;

/// How a request must be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Answered after a sync.
    Durable,
    /// As [`Kind::Durable`]; frees space, so it may use the ballast on a full disk.
    Freeing,
    /// Survives this process, but perhaps not a loss of power.
    Lazy,
    /// As [`Kind::Lazy`]; goes on while the ballast is used up, for freeing depends on it.
    Tidying,
}

impl Kind {
    /// Answered after a sync.
    fn is_synced(self) -> bool {
        matches!(self, Self::Durable | Self::Freeing)
    }

    /// May use the room that is set aside for deletes.
    fn frees(self) -> bool {
        matches!(self, Self::Freeing | Self::Tidying)
    }
}

trait Job: Send {
    fn kind(&self) -> Kind;
    /// Does the work, again if need be. Answers whether it may be committed.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Whether the work failed for lack of room.
    fn is_full(&self) -> bool;
    /// Tells the caller; an error of the commit overrides the work's own answer.
    fn answer(self: Box<Self>, commit: Option<StoreError>);
}

struct Call<T, F> {
    kind: Kind,
    context: &'static str,
    work: F,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: FnMut(&Connection) -> rusqlite::Result<T> + Send> Job for Call<T, F> {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn run(&mut self, connection: &Connection) -> bool {
        let result = (self.work)(connection).map_err(failed(self.context));
        let done = result.is_ok();
        self.result = Some(result);
        done
    }

    fn is_full(&self) -> bool {
        matches!(self.result, Some(Err(StoreError::Full)))
    }

    fn answer(self: Box<Self>, commit: Option<StoreError>) {
        let result = match (commit, self.result) {
            (None, Some(result)) => result,
            // The work's own error says more than "the transaction failed".
            (Some(_), Some(Err(error))) => Err(error),
            (Some(error), _) => Err(error),
            (None, None) => Err(StoreError::Stopped),
        };
        // The caller may have gone away; what it asked for is done all the same.
        let _ = self.reply.send(result);
    }
}

pub(super) struct Writer {
    sender: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(connection: Connection, root: &Path) -> Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let ballast = Ballast::new(root.join("ballast"));
        let path = root.join("index.sqlite");
        let thread = std::thread::Builder::new()
            .name("index".into())
            .spawn(move || {
                Loop { connection, ballast, synced: true, broken: false, forced: None, path, checkpointer: None, copied: None }
                    .run(&receiver);
            })
            .map_err(|error| StoreError::io("starting the index thread", error))?;
        Ok(Self { sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    /// Runs `work` in a transaction and answers after its commit. `work` may run twice, and what it did before an error is undone.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        kind: Kind,
        context: &'static str,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job: Box<dyn Job> = Box::new(Call { kind, context, work, result: None, reply });
        match &*self.sender.lock() {
            Some(sender) => sender.send(job).map_err(|_| StoreError::Stopped)?,
            None => return Err(StoreError::Stopped),
        }
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    /// Finishes what was sent and releases the file.
    pub(super) async fn close(&self) {
        drop(self.sender.lock().take());
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

struct Loop {
    connection: Connection,
    ballast: Ballast,
    /// Whether the connection syncs at commit now.
    synced: bool,
    /// The disk failed, and what the log holds must be made sure of.
    broken: bool,
    /// When the log was last copied back by this thread.
    forced: Option<Instant>,
    path: PathBuf,
    /// Copies the log back, and answers when it was through. It never rests: the writer may have to wait for it.
    checkpointer: Option<std::thread::JoinHandle<Instant>>,
    /// When the last one was through.
    copied: Option<Instant>,
}

impl Loop {
    fn run(mut self, receiver: &mpsc::Receiver<Box<dyn Job>>) {
        while let Ok(first) = receiver.recv() {
            let mut jobs = vec![first];
            while jobs.len() < BATCH
                && let Ok(job) = receiver.try_recv()
            {
                jobs.push(job);
            }
            self.ballast.restore_when_there_is_room();
            self.batch(jobs);
            self.checkpoint();
        }
        self.join_checkpointer();
        // Closing the index copies the log back.
        if self.broken
            && let Err(error) = self.mend()
        {
            tracing::error!(%error, "cannot mend the index after an error of the disk");
        }
    }

    fn join_checkpointer(&mut self) {
        if let Some(checkpointer) = self.checkpointer.take() {
            self.copied = checkpointer.join().ok().or(self.copied);
        }
    }

    fn batch(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        if self.ballast.is_used_up() {
            // What room there is belongs to deletes, until there is enough for everybody.
            let (freeing, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.kind().frees());
            others.into_iter().for_each(|job| job.answer(Some(StoreError::Full)));
            jobs = freeing;
            if jobs.is_empty() {
                return;
            }
        }
        let mut outcome = self.transact(&mut jobs);
        let is_full = matches!(outcome, Err(StoreError::Full)) || jobs.iter().any(|job| job.is_full());
        if is_full {
            // Deletes must work on a full disk: give them the ballast, without those that want more room. What was committed stands and is answered.
            let committed = outcome.is_ok();
            let again = |job: &dyn Job| job.kind().frees() && (!committed || job.is_full());
            let (freeing, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| again(&**job));
            for job in others {
                job.answer((!committed).then_some(StoreError::Full));
            }
            if freeing.is_empty() {
                return;
            }
            jobs = freeing;
            self.ballast.drop();
            outcome = self.transact(&mut jobs);
        }
        match outcome {
            Ok(()) => jobs.into_iter().for_each(|job| job.answer(None)),
            Err(error) => {
                let text = error.to_string();
                tracing::error!(error = &error as &dyn std::error::Error, "an index transaction failed");
                let again = |error: &StoreError| match error {
                    StoreError::Full => StoreError::Full,
                    StoreError::ReadOnly => StoreError::ReadOnly,
                    StoreError::Busy(what) => StoreError::Busy(what),
                    StoreError::IndexDamaged { context, .. } => StoreError::IndexDamaged { context, source: text.clone().into() },
                    _ => StoreError::Backend { context: "committing to the index", source: text.clone().into() },
                };
                for job in jobs {
                    job.answer(Some(again(&error)));
                }
            }
        }
    }

    /// One transaction over all jobs.
    fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<()> {
        if self.broken {
            self.mend().map_err(|error| StoreError::io("mending the index after an error of the disk", error))?;
        }
        let sync = jobs.iter().any(|job| job.kind().is_synced());
        #[cfg(feature = "planted")]
        let sync = sync && !crate::planted::Planted::Fsync.is_on();
        let result = self.try_transact(jobs, sync);
        if result.is_err() && !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        let result = result.map_err(|error| self.told(failed("committing to the index")(error)));
        // Who was not let in has written nothing.
        self.broken |= matches!(&result, Err(error) if !matches!(error, StoreError::Full | StoreError::Busy(_)));
        result
    }

    /// The engine says of a disk that may not be written to no more than that writing has failed.
    fn told(&self, error: StoreError) -> StoreError {
        // After an error of its own a file system may be so without saying it to statvfs.
        let is_read_only = || {
            let probe = self.path.with_extension("probe");
            let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&probe);
            let _ = std::fs::remove_file(&probe);
            made.is_err_and(|error| error.kind() == ErrorKind::ReadOnlyFilesystem)
        };
        match error {
            StoreError::Backend { .. } if is_read_only() => StoreError::ReadOnly,
            error => error,
        }
    }

    /// After an error of the disk parts of the log may never have reached it, though the kernel has them in memory and believes them written. What follows such a
    /// gap would not be found again after a loss of power; and had it been copied into the database by then, the start would lay what is before the gap
    /// over pages that are newer. So the log is written once more and synced before anything else is promised, and not copied back until then.
    fn mend(&mut self) -> std::io::Result<()> {
        let log = match std::fs::OpenOptions::new().read(true).write(true).open(self.path.with_extension("sqlite-wal")) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.broken = false;
                return Ok(());
            }
            log => log?,
        };
        let (mut buffer, mut offset) = (vec![0; 1 << 20], 0);
        loop {
            match log.read_at(&mut buffer, offset)? {
                0 => break,
                count => {
                    log.write_all_at(&buffer[..count], offset)?;
                    offset += count as u64;
                }
            }
        }
        log.sync_data()?;
        self.broken = false;
        Ok(())
    }

    fn try_transact(&mut self, jobs: &mut [Box<dyn Job>], sync: bool) -> rusqlite::Result<()> {
        if sync != self.synced {
            self.connection.execute_batch(if sync { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" })?;
            self.synced = sync;
        }
        let step = |sql| self.connection.prepare_cached(sql)?.execute([]);
        step("BEGIN IMMEDIATE")?;
        // One that is alone takes the transaction with it; a savepoint copies every page before it changes.
        let alone = jobs.len() == 1;
        for job in jobs.iter_mut() {
            if !alone {
                step("SAVEPOINT request")?;
            }
            if !job.run(&self.connection) {
                if self.connection.is_autocommit() {
                    // The engine gave up the whole transaction (full disk, I/O error): nothing of it may be acknowledged.
                    let code = if job.is_full() { rusqlite::ffi::SQLITE_FULL } else { rusqlite::ffi::SQLITE_IOERR };
                    return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
                }
                if alone {
                    return step("ROLLBACK").map(drop);
                }
                step("ROLLBACK TO request")?;
            }
            if !alone {
                step("RELEASE request")?;
            }
        }
        step("COMMIT").map(drop)
    }

    /// Keeps the write-ahead log short. The copying is done by a thread of its own with its own connection, which blocks nobody.
    fn checkpoint(&mut self) {
        if self.broken {
            return;
        }
        let size = std::fs::metadata(self.path.with_extension("sqlite-wal")).map_or(0, |metadata| metadata.len());
        let pages = i64::try_from(size / 4096).unwrap_or(i64::MAX);
        if pages < CHECKPOINT_PAGES {
            return;
        }
        if pages >= CHECKPOINT_NOW_PAGES {
            self.join_checkpointer();
            // A long reader keeps the log from being begun anew; pushes do not wait for it.
            if self.forced.is_none_or(|forced| forced.elapsed() > Duration::from_secs(5)) {
                let _ = self.connection.busy_timeout(Duration::from_millis(50));
                if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
                    // The kernel tells of a failed sync once; what was to be synced here must not be believed to be.
                    tracing::error!(%error, "cannot copy the index log back");
                    self.broken = true;
                }
                let _ = self.connection.busy_timeout(super::BUSY);
                self.forced = Some(Instant::now());
            }
            return;
        }
        if self.checkpointer.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        self.join_checkpointer();
        if self.copied.is_some_and(|copied| copied.elapsed() < CHECKPOINT_REST) {
            return;
        }
        let path = self.path.clone();
        self.checkpointer = std::thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || {
                let run = || -> rusqlite::Result<()> {
                    let connection = super::connect(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE)?;
                    connection.execute_batch("PRAGMA synchronous = FULL")?;
                    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
                };
                if let Err(error) = run() {
                    tracing::warn!(%error, "cannot copy the index log back; it is tried again");
                }
                Instant::now()
            })
            .ok();
    }
}

/// A file that is deleted when the disk is full, and made again when it is not.
struct Ballast {
    path: PathBuf,
    there: bool,
    /// It cannot be had here, for another reason than the room. Nothing waits for it then.
    impossible: bool,
}

impl Ballast {
    fn new(path: PathBuf) -> Self {
        let mut ballast = Self { path, there: false, impossible: false };
        ballast.restore();
        ballast
    }

    /// Whether the room that there is belongs to deletes.
    fn is_used_up(&self) -> bool {
        !self.there && !self.impossible
    }

    fn restore(&mut self) {
        let made = self.make();
        self.there = made.is_ok();
        if let Err(error) = made {
            let _ = std::fs::remove_file(&self.path);
            self.impossible = !matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
            if self.impossible {
                tracing::warn!(%error, file = %self.path.display(), "no space can be set aside for deletes on a full disk");
            }
        }
    }

    fn make(&self) -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(&self.path)?;
        if file.metadata()?.len() >= BALLAST {
            return Ok(());
        }
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, BALLAST) {
            // NFS and others: what is written has its room as well.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                std::io::copy(&mut std::io::repeat(0).take(BALLAST), &mut file).map(drop)
            }
            other => Ok(other?),
        }
    }

    /// Takes the room back once there is some again, for the next time the disk is full.
    fn restore_when_there_is_room(&mut self) {
        if !self.is_used_up() {
            return;
        }
        let free =
            self.path.parent().and_then(|root| rustix::fs::statvfs(root).ok()).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
        if free >= 2 * BALLAST {
            self.restore();
        }
    }

    fn drop(&mut self) {
        if self.there {
            tracing::warn!("the disk is full: using the space set aside for deletes");
        }
        let _ = std::fs::remove_file(&self.path);
        self.there = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a stop takes just after a write that fills the log, so that its copying has just begun.
    async fn stop_after_a_long_write() -> Duration {
        let folder = tempfile::tempdir().unwrap();
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_CREATE;
        let connection = super::super::connect(&folder.path().join("index.sqlite"), flags).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x)").unwrap();
        let writer = Writer::start(connection, folder.path()).unwrap();
        let fill = |connection: &Connection| connection.execute("INSERT INTO t VALUES (randomblob(8000000))", []);
        writer.call(Kind::Durable, "filling the log", fill).await.unwrap();
        let began = Instant::now();
        writer.close().await;
        began.elapsed()
    }

    /// Any of several, for a machine may be slow at times; a thread that rests is so every time.
    #[tokio::test]
    async fn nobody_waits_for_the_rest_between_two_copies() {
        for _ in 0..5 {
            if stop_after_a_long_write().await < CHECKPOINT_REST / 2 {
                return;
            }
        }
        panic!("a stop waits for the rest between two copies of the log");
    }
}
