//! Connections that only read.

use std::path::PathBuf;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};

use super::{connect, failed};
use crate::{Result, StoreError};

/// Connections kept open. Each costs some hundred KiB once used; more at a time are opened and closed again.
const KEPT: usize = 4;

pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Option<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::new(Some(Vec::new())) }
    }

    /// Runs `work` on a connection of its own, off the async threads, with one consistent view of the index.
    pub(super) async fn read<T: Send + 'static>(
        self: &std::sync::Arc<Self>,
        context: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let readers = self.clone();
        let task = tokio::task::spawn_blocking(move || readers.with(context, work));
        task.await.map_err(|_| StoreError::Stopped)?
    }

    /// As [`Readers::read`], on this thread.
    pub(super) fn with<T>(&self, context: &'static str, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let connection = self.take().map_err(failed(context))?.ok_or(StoreError::Stopped)?;
        let result = connection.unchecked_transaction().and_then(|view| work(&view)).map_err(failed(context));
        self.put_back(connection);
        result
    }

    fn take(&self) -> rusqlite::Result<Option<Connection>> {
        match self.idle.lock().as_mut() {
            None => return Ok(None),
            Some(idle) => {
                if let Some(connection) = idle.pop() {
                    return Ok(Some(connection));
                }
            }
        }
        let connection = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.execute_batch("PRAGMA cache_size = -1000")?;
        Ok(Some(connection))
    }

    fn put_back(&self, connection: Connection) {
        if let Some(idle) = self.idle.lock().as_mut()
            && idle.len() < KEPT
        {
            idle.push(connection);
        }
    }

    pub(super) fn close(&self) {
        self.idle.lock().take();
    }
}
