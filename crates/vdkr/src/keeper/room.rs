//! A machine that waits because the disk here is full.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use wharf_machine::Watch;

use super::between::{Keeper, lock};
use super::connection::Connection;
use super::protocol::Tell;

/// How long a machine without room on its disk stands still before it tries again.
const NO_ROOM: Duration = Duration::from_secs(1);

impl Keeper {
    /// Say when the machine stands still because the disk here is full, and have it try again until there is room.
    pub(super) fn wait_for_room(&self, mut watch: Watch) {
        let disk = self.folder.disk();
        let text = format!("the disk is full that holds {}: the container waits until there is room", disk.display());
        let mut told: Vec<Weak<Connection>> = Vec::new();
        while watch.until_full() {
            // As long as there is no room it stands still again each time, which is no news to those who have heard of it.
            if !self.is_without_room() {
                told.clear();
            }
            *lock(&self.without_room) = Some(Instant::now());
            for viewer in lock(&self.viewers).values().flatten().map(Arc::downgrade) {
                if !told.iter().any(|known| known.ptr_eq(&viewer)) {
                    viewer.upgrade().inspect(|viewer| viewer.tell(&Tell::Note { text: text.clone() }));
                    told.push(viewer);
                }
            }
            thread::sleep(NO_ROOM);
            if watch.go_on().is_err() {
                return;
            }
        }
    }

    /// Whether the machine stood still just now because the disk here is full.
    pub(super) fn is_without_room(&self) -> bool {
        lock(&self.without_room).is_some_and(|since| since.elapsed() < 3 * NO_ROOM)
    }
}
