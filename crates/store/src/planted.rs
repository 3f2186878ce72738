//! Faults that are there on purpose, in a program that is built to be found out: `scripts/planted` makes it, and the trials are held against it. A trial
//! that does not notice one of them proves nothing of its kind.
//!
//! This file and each line that asks it are in a build with the feature `planted` alone.

use std::sync::OnceLock;

/// What `WHARF_PLANTED` names: one of these, for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// `expire`: uploads that nobody goes on with stay.
    Expire,
    /// `fsync`: what is acknowledged was synced nowhere.
    Fsync,
    /// `lease`: who asks for a blob is told that it is there, and gets no lease.
    Lease,
    /// `mount`: who mounts a blob gets no lease on it.
    Mount,
    /// `unlink`: the collector removes blobs that it has looked up before, without a mark on them and without another look.
    Unlink,
    /// `untag`: a tag that is deleted stays.
    Untag,
}

impl Planted {
    /// Whether it is this one.
    pub(crate) fn is_on(self) -> bool {
        static CHOSEN: OnceLock<Option<Planted>> = OnceLock::new();
        *CHOSEN.get_or_init(choose) == Some(self)
    }
}

/// A name that is misspelt would plant nothing, and let a trial pass for blind: it ends the process.
fn choose() -> Option<Planted> {
    let chosen = match std::env::var("WHARF_PLANTED").unwrap_or_default().as_str() {
        "" => None,
        "expire" => Some(Planted::Expire),
        "fsync" => Some(Planted::Fsync),
        "lease" => Some(Planted::Lease),
        "mount" => Some(Planted::Mount),
        "unlink" => Some(Planted::Unlink),
        "untag" => Some(Planted::Untag),
        other => {
            tracing::error!("WHARF_PLANTED={other} is none of expire, fsync, lease, mount, unlink, untag");
            std::process::exit(2)
        }
    };
    tracing::warn!(?chosen, "this program has faults built into it on purpose");
    chosen
}
