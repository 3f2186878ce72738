//! Fuzzing: for every parser of what others send a function over any bytes, and one for a whole stream of requests over a connection.
//!
//! A [`Target`] panics when an input makes its parser panic, or breaks what the parser promises. [`run`] feeds it its corpus and mutations for a
//! bounded time, as the tests do; `fuzz/libfuzzer` has libFuzzer do so, which sees what an input reaches and is outside the workspace's build. What is
//! found goes to `fuzz/corpus/NAME`, from where every run begins.

mod corpus;
mod mutate;
mod random;
mod stream;
mod targets;

use fastrand::Rng;

pub use corpus::seeds;
pub use mutate::mutate;
pub use random::run;

/// Bytes that an input of most targets has at most. Longer ones cost time and find nothing that shorter ones do not: the grammars have no long-range
/// rules but lengths, of which the longest is a name's 255 bytes.
pub(crate) const LONGEST: usize = 4096;

/// What an input is given to. It panics when something is wrong.
pub type Feed = Box<dyn Fn(&[u8])>;

/// A parser under any bytes.
pub struct Target {
    /// Its name on the command line, and of its folder in the corpus.
    pub name: &'static str,
    /// Inputs to begin with, besides those of the corpus.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Makes an input out of its grammar, for what random changes alone would hardly find.
    pub grow: Option<fn(&mut Rng) -> Vec<u8>>,
    /// Bytes of an input at most.
    pub longest: usize,
    /// Prepares what it takes, and answers the function itself.
    pub start: fn() -> Feed,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    stream::TARGET,
    targets::registry::ENDPOINT,
    targets::registry::RANGE,
    targets::registry::CONDITIONAL,
    targets::access::HEADER,
    targets::access::SCOPE,
    targets::access::PATTERN,
    targets::access::USERS,
    targets::access::KEYS,
    targets::access::CERTIFICATE,
    targets::oci::NAMES,
    targets::oci::MANIFEST,
    targets::oci::DOCUMENT,
    targets::oci::LAYOUT,
    targets::oci::ARCHIVE,
    targets::layers::TAR,
    targets::layers::COMPRESSED,
    targets::layers::UNPACK,
    targets::layers::LISTING,
    targets::layers::PIECES,
    targets::layers::TOC,
    targets::layers::PACKAGES,
    targets::layers::ROOTFS,
    targets::client::CHALLENGE,
    targets::client::MULTIPART,
    targets::client::AUTH_FILE,
    targets::client::REGISTRIES_CONF,
    targets::yocto::WORDS,
    targets::yocto::PRINTABLE,
    targets::guest::PROTOCOL,
    targets::guest::VOLUME,
];

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
