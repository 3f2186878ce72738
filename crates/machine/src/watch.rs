//! A machine that stands still because there is no room on the host for what it writes.
//!
//! QEMU stops a machine whose write finds a full disk, and does the write again when it goes on: the guest sees a disk that is slow, and
//! loses nothing.

use serde_json::json;

use crate::MachineError;
use crate::monitor::Monitor;

/// Looks after a machine's disks.
pub struct Watch {
    monitor: Monitor,
}

impl Watch {
    pub(crate) fn over(monitor: Monitor) -> Self {
        Self { monitor }
    }

    /// Waits until the machine stands still for want of room; false when it has ended.
    pub fn until_full(&mut self) -> bool {
        loop {
            match self.monitor.event() {
                Ok(event) if event["event"] == "BLOCK_IO_ERROR" && event["data"]["nospace"] == true => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// Has it do the write again, and go on. Without room it stands still again.
    ///
    /// # Errors
    /// When it has ended.
    pub fn go_on(&mut self) -> Result<(), MachineError> {
        self.monitor.execute("cont", &json!({})).map(|_| ())
    }
}
