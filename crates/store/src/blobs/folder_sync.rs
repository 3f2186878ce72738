//! Syncs of a folder, shared by all who need one at the same time.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Makes entries of one folder durable.
#[derive(Debug)]
pub(super) struct FolderSync {
    path: PathBuf,
    begun: AtomicU64,
    /// The folder's own name is durable.
    named: AtomicBool,
    /// Number of the last sync that has ended well. The lock is held while one runs.
    ended: tokio::sync::Mutex<u64>,
}

impl FolderSync {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, begun: AtomicU64::new(0), named: AtomicBool::new(false), ended: tokio::sync::Mutex::new(0) }
    }

    /// Returns when a sync that began after this call has ended. While one is under way all who come wait together for the next.
    pub(super) async fn sync(self: Arc<Self>) -> io::Result<()> {
        let wanted = self.begun.load(Ordering::SeqCst) + 1;
        let mut ended = self.ended.lock().await;
        if *ended >= wanted {
            return Ok(());
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let shared = self.clone();
        let synced = tokio::task::spawn_blocking(move || {
            // Whoever made the folder may have gone before it synced that.
            if let (false, Some(parent)) = (shared.named.load(Ordering::Relaxed), shared.path.parent()) {
                File::open(parent)?.sync_all()?;
                shared.named.store(true, Ordering::Relaxed);
            }
            File::open(&shared.path)?.sync_all()
        });
        synced.await.map_err(io::Error::other)??;
        *ended = number;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_share_few_syncs_and_an_error_reaches_each() {
        let folder = tempfile::tempdir().unwrap();
        let shared = Arc::new(FolderSync::new(folder.path().to_owned()));
        let waiting: Vec<_> = (0..50).map(|_| tokio::spawn(shared.clone().sync())).collect();
        for waiter in waiting {
            waiter.await.unwrap().unwrap();
        }
        let begun = shared.begun.load(Ordering::SeqCst);
        assert!((1..=3).contains(&begun), "{begun} syncs for 50");
        shared.clone().sync().await.unwrap();
        assert_eq!(shared.begun.load(Ordering::SeqCst), begun + 1, "one that began before does not count");

        let gone = Arc::new(FolderSync::new(folder.path().join("none")));
        let waiting: Vec<_> = (0..5).map(|_| tokio::spawn(gone.clone().sync())).collect();
        for waiter in waiting {
            assert!(waiter.await.unwrap().is_err());
        }
    }
}
