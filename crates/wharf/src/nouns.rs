//! Things by their names, for one and for several.

/// The name of a thing.
pub struct Noun(&'static str, &'static str);

pub const MANIFESTS: Noun = Noun("manifest", "manifests");
pub const BLOBS: Noun = Noun("blob", "blobs");
pub const FILES: Noun = Noun("file", "files");
pub const REPOSITORIES: Noun = Noun("repository", "repositories");
pub const TAGS: Noun = Noun("tag", "tags");
pub const PROBLEMS: Noun = Noun("problem", "problems");

impl Noun {
    /// So many of it.
    pub fn counted(&self, count: u64) -> String {
        format!("{count} {}", if count == 1 { self.0 } else { self.1 })
    }
}
