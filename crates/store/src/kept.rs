//! A place beside an answer for what its reader makes of it.

use std::any::Any;
use std::fmt;
use std::sync::OnceLock;

/// What a reader makes of an answer once and wants to find again with it, for as long as the store remembers the answer: the head of a response, a mapped file.
/// The store neither knows nor copies it.
#[derive(Default)]
pub struct Kept(OnceLock<Box<dyn Any + Send + Sync>>);

impl Kept {
    /// What was made before, or what `make` makes now.
    ///
    /// # Panics
    ///
    /// When something of another type was made before: a program has one kind of reader for one kind of answer.
    pub fn get_or_make<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> &T {
        let kept = self.0.get_or_init(|| Box::new(make()));
        #[expect(clippy::expect_used, reason = "documented")]
        kept.downcast_ref().expect("one type for each kind of answer")
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").field(&self.0.get().is_some()).finish()
    }
}
