//! Archives that are put together member by member. The tests of `rootfs` use them as well.

use wharf_layers::tar::{self, padding};
use wharf_layers::{Entry, Kind};

/// An archive that is put together member by member.
#[derive(Clone, Default)]
pub struct Archive(Vec<u8>);

impl Archive {
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        entries.into_iter().fold(Self::default(), |archive, entry| archive.with(&entry, b""))
    }

    pub fn with(mut self, entry: &Entry, content: &[u8]) -> Self {
        let size = if entry.kind == Kind::Regular { content.len() as u64 } else { 0 };
        self.0.extend(tar::encode(&Entry { size, ..entry.clone() }).unwrap());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len() + padding(size), 0);
        self
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.extend(tar::END);
        self.0
    }
}
