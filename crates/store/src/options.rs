//! How a store behaves.

use std::time::Duration;

/// How a store behaves. The defaults suit a build machine.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long what a client was told exists is safe from collection.
    pub lease: Duration,
    /// How long a manifest is kept that nothing holds; `None` for ever.
    pub grace: Option<Duration>,
    /// Time between collections; `None` for none but on demand.
    pub collect_every: Option<Duration>,
    /// Open upload sessions.
    pub uploads: usize,
    /// Open upload sessions of one owner who has a name, as far as this process has seen them.
    pub uploads_of_one: usize,
    /// How long an upload session lives without progress; `None` for ever.
    pub upload_expiry: Option<Duration>,
    /// Bytes up to which a blob is kept in the index; 0 for none. Each costs as much as a manifest there, and spares an object and its syncs.
    pub inline: usize,
    /// Bytes of disk that uploads leave free, so that deletes and other programs find room.
    pub min_free: u64,
    /// Bytes of what came from upstreams and was not pushed. Beyond that, what was not used for longest goes.
    pub upstream_cache: u64,
    /// Bytes of memory for answers that are asked for often.
    pub cache: usize,
    /// Time after which a blob is read again and compared with its digest; `None` for never.
    pub scrub_every: Option<Duration>,
    /// Bytes a second that such reading may take.
    pub scrub_rate: u64,
    /// How long the change log goes back; `None` for ever.
    pub history: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3_600);
        Self {
            lease: HOUR,
            grace: Some(24 * HOUR),
            collect_every: Some(HOUR),
            uploads: 10_000,
            uploads_of_one: 1_000,
            upload_expiry: Some(24 * HOUR),
            inline: 4 << 10,
            min_free: 64 << 20,
            upstream_cache: 10 << 30,
            cache: 8 << 20,
            scrub_every: Some(30 * 24 * HOUR),
            scrub_rate: 20 << 20,
            history: Some(90 * 24 * HOUR),
        }
    }
}

impl Options {
    /// How often a server with leases notes that it is alive: all the more often the shorter they are.
    pub(crate) fn beat(&self) -> Duration {
        self.lease.clamp(Duration::from_secs(1), Duration::from_secs(60))
    }
}
