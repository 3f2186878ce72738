//! Uploads and downloads as they go on: a bar for each blob at a terminal, a line for each elsewhere.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use wharf_client::{ClientError, How, Observer};
use wharf_oci::Digest;

use crate::ui::{self, Manner};

/// Characters of a digest that tell blobs apart for people.
const SHORT: usize = 12;
/// How often bars are drawn, per second.
const RATE: u8 = 12;

/// Shows what an upload or a download does.
pub struct Progress {
    bars: Option<MultiProgress>,
    open: Mutex<BTreeMap<Digest, ProgressBar>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Bars where messages are read at a terminal.
    pub fn new() -> Self {
        let bars = (ui::at_terminal() && !Manner::now().quiet).then(|| {
            let target = if Manner::now().on_stdout() {
                ProgressDrawTarget::stdout_with_hz(RATE)
            } else {
                ProgressDrawTarget::stderr_with_hz(RATE)
            };
            MultiProgress::with_draw_target(target)
        });
        Self { bars, open: Mutex::default() }
    }

    /// Lets something write above the bars.
    pub fn above(&self, write: impl FnOnce()) {
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// Says a line above the bars.
    pub fn say(&self, line: impl std::fmt::Display) {
        self.above(|| ui::say(line));
    }

    /// Warns above the bars.
    pub fn warn(&self, text: &str) {
        self.above(|| ui::warn(text));
    }

    /// Takes away what is left of bars whose uploads were given up.
    pub fn clear(&self) {
        for (_, bar) in std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner)) {
            bar.finish_and_clear();
        }
    }

    fn with(&self, digest: &Digest, act: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(digest) {
            act(bar);
        }
    }

    fn close(&self, digest: &Digest) {
        if let Some(bar) = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(digest) {
            bar.finish_and_clear();
        }
    }
}

/// The beginning of a digest's hash.
pub fn short(digest: &Digest) -> String {
    let text = digest.text();
    let hash = text.split_once(':').map_or("", |(_, hash)| hash);
    hash.chars().take(SHORT).collect()
}

impl Progress {
    fn open(&self, digest: &Digest, size: u64, message: &'static str) {
        let Some(bars) = &self.bars else { return };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.entry(*digest).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(size));
            // Both are constant and right; without them a bar is plainer.
            let style = ProgressStyle::with_template(
                "  {prefix}  {bar:24} {binary_bytes:>11} of {binary_total_bytes}  {msg}  {binary_bytes_per_sec}",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar.set_prefix(short(digest));
            bar.set_message(message);
            bar
        });
    }
}

impl Observer for Progress {
    fn receives(&self, digest: &Digest, size: u64) {
        self.open(digest, size, "receiving");
    }

    fn received(&self, digest: &Digest, size: u64, how: &dyn std::fmt::Display) {
        self.close(digest);
        self.say(format_args!("  {}  {:>11}  {how}", short(digest), ui::size(size)));
    }

    fn warns(&self, text: &str) {
        self.warn(text);
    }

    fn begins(&self, digest: &Digest, size: u64) {
        self.open(digest, size, "sending");
    }

    fn at(&self, digest: &Digest, offset: u64) {
        self.with(digest, |bar| bar.set_position(offset));
    }

    fn commits(&self, digest: &Digest) {
        self.with(digest, |bar| {
            bar.set_message("committing");
            bar.enable_steady_tick(Duration::from_millis(100));
        });
    }

    fn done(&self, digest: &Digest, size: u64, how: How) {
        self.close(digest);
        let what = match how {
            How::Sent => "sent",
            How::Mounted => "mounted from another image",
            How::Present if Manner::now().verbose => "already there",
            How::Present => return,
        };
        self.say(format_args!("  {}  {:>11}  {what}", short(digest), ui::size(size)));
    }

    fn failed(&self, digest: &Digest) {
        self.close(digest);
    }

    fn retries(&self, what: &str, why: &ClientError, pause: Duration) {
        let cause = std::error::Error::source(why).map(|cause| format!(": {cause}")).unwrap_or_default();
        self.warn(&format!("{why}{cause}; trying {what} again in {:.1} s", pause.as_secs_f64()));
    }
}
