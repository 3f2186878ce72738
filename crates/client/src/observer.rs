//! Telling what goes on, for progress bars and plain lines.

use std::time::Duration;

use wharf_oci::Digest;

use crate::ClientError;

/// How a blob came to be in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was there.
    Present,
    /// It was in another repository of the registry, and is now in this one, too.
    Mounted,
    /// It was sent.
    Sent,
}

/// Is told what goes on, from any thread. Everything has a default that does nothing.
pub trait Observer: Send + Sync {
    /// A blob of so many bytes is about to be sent.
    fn begins(&self, _digest: &Digest, _size: u64) {}
    /// So many bytes of it were handed to the network. May go back, after a broken connection.
    fn at(&self, _digest: &Digest, _offset: u64) {}
    /// All of it was sent, and the registry is making it durable.
    fn commits(&self, _digest: &Digest) {}
    /// It is there.
    fn done(&self, _digest: &Digest, _size: u64, _how: How) {}
    /// It did not succeed.
    fn failed(&self, _digest: &Digest) {}
    /// A blob of so many bytes is about to be received.
    fn receives(&self, _digest: &Digest, _size: u64) {}
    /// It was received, or taken from where it was at hand; `how` says which.
    fn received(&self, _digest: &Digest, _size: u64, _how: &dyn std::fmt::Display) {}
    /// Something went otherwise than it should, and is dealt with.
    fn warns(&self, _text: &str) {}
    /// Something is tried again after a pause.
    fn retries(&self, _what: &str, _why: &ClientError, _pause: Duration) {}
}

/// Listens to nothing.
#[derive(Debug)]
pub struct Silent;

impl Observer for Silent {}

/// A number of bytes for people, who are told of by an [`Observer`]: `1.5 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_572_864, "1.5 MiB"), (u64::MAX, "16384.0 PiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
