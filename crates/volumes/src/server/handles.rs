//! What the guest has open.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

/// An open file or folder.
#[derive(Debug)]
pub(crate) struct Handle {
    file: OwnedFd,
    pub(crate) node: u64,
    pub(crate) kind: Kind,
}

/// What a handle is for.
#[derive(Debug)]
pub(crate) enum Kind {
    File {
        writable: bool,
        /// Each write goes to the end, wherever that is.
        append: bool,
    },
    /// Where the host's kernel goes on reading, if known.
    Folder { position: Mutex<Option<u64>> },
}

impl Handle {
    pub(crate) fn new(file: OwnedFd, node: u64, kind: Kind) -> Self {
        Self { file, node, kind }
    }

    pub(crate) fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder { .. })
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// All handles of a volume. Their number is bounded by the descriptors that the process may have.
#[derive(Debug, Default)]
pub(crate) struct Handles(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    by_number: HashMap<u64, Arc<Handle>>,
    by_node: HashMap<u64, Vec<u64>>,
    given: u64,
}

impl Handles {
    pub(crate) fn insert(&self, handle: Handle) -> u64 {
        let mut table = self.0.lock();
        table.given += 1;
        let number = table.given;
        table.by_node.entry(handle.node).or_default().push(number);
        table.by_number.insert(number, Arc::new(handle));
        number
    }

    pub(crate) fn get(&self, number: u64) -> Result<Arc<Handle>, Errno> {
        self.0.lock().by_number.get(&number).cloned().ok_or(Errno::BADF)
    }

    pub(crate) fn remove(&self, number: u64) {
        let mut table = self.0.lock();
        let Some(handle) = table.by_number.remove(&number) else { return };
        if let Some(numbers) = table.by_node.get_mut(&handle.node) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                table.by_node.remove(&handle.node);
            }
        }
        drop(table);
        // Closing may write to a slow disk; by now nobody waits for the table.
        drop(handle);
    }

    /// Any handle of a node: the file itself, whatever became of its names.
    pub(crate) fn of_node(&self, node: u64) -> Option<Arc<Handle>> {
        let table = self.0.lock();
        table.by_node.get(&node)?.iter().find_map(|number| table.by_number.get(number).cloned())
    }

    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.0.lock());
        drop(all);
    }
}
