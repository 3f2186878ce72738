//! What a copy did, in a line.

use std::time::Duration;

use wharf_client::Sent;

use crate::ui;

/// `3 blobs sent (56.0 MiB), 7 already there (420.0 MiB), in 0.8 s`
pub fn of(sent: &Sent, took: Duration) -> String {
    let part = |(count, bytes): (usize, u64), what: &str| (count > 0).then(|| format!("{count} {what} ({})", ui::size(bytes)));
    let (new, size) = sent.sent;
    let mut parts = vec![format!("{new} {} sent ({})", if new == 1 { "blob" } else { "blobs" }, ui::size(size))];
    parts.extend(part(sent.mounted, "mounted"));
    parts.extend(part(sent.present, "already there"));
    format!("{}, in {:.1} s", parts.join(", "), took.as_secs_f64())
}
