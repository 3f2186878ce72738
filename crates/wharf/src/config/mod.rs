//! The configuration file, in the format of CNCF distribution 2.8 and 3 with a section of our own.
//!
//! A file is read into a [`tree`] whose keys know their lines, overrides from the [`environment`] are put in, and the
//! whole is held against the one table of [`keys`]. What comes out is a [`Config`] and a list of [`Finding`]s. Nothing
//! that stands in a file is passed over in silence, and nothing that protects is ever left out: the server does not
//! start with it.

pub mod address;
pub mod check;
pub mod environment;
pub mod finding;
pub mod keys;
pub mod model;
pub mod render;
pub mod tree;
pub mod units;

use std::path::Path;
use std::sync::Arc;

pub use address::ListenAddress;
pub use finding::{Finding, Place, Severity};
pub use model::Config;

use check::Values;
use tree::Node;

/// A configuration with everything that was found on the way to it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; wrong values are left at their defaults in it, so it is only to be used without
    /// [errors](Loaded::is_refused).
    pub config: Config,
    /// What was found, in the order of the file, overrides of unknown keys first.
    pub findings: Vec<Finding>,
}

impl Loaded {
    /// Whether a server must not start with it.
    pub fn is_refused(&self) -> bool {
        self.worst() == Some(Severity::Error)
    }

    /// The gravest severity found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

/// Reads the file at `path`, with the overrides among `variables`.
pub fn load(path: &Path, variables: &[(String, String)]) -> Loaded {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, path, variables),
        Err(error) => Loaded {
            config: Config::default(),
            findings: vec![Finding::new(Severity::Error, Place::File(Arc::from(path)), format!("cannot be read: {error}"))],
        },
    }
}

/// Reads the text of the file at `path`, with the overrides among `variables`.
pub fn parse(text: &str, path: &Path, variables: &[(String, String)]) -> Loaded {
    let file = Arc::from(path);
    let mut tree = match tree::parse(text, &file) {
        Ok(tree) => tree,
        Err(finding) => {
            return Loaded { config: Config::default(), findings: vec![finding] };
        }
    };
    let mut findings = Vec::new();
    environment::apply(&mut tree, variables, &mut findings);
    let stored = matches!(&tree, Node::Map(entries) if entries.iter().any(|entry| entry.key == "storage"));
    if !stored {
        findings.push(
            Finding::new(Severity::Error, Place::File(file), "`storage` is missing")
                .hint("name the folder to store in as `storage.filesystem.rootdirectory`"),
        );
    }
    let values = check::check(&tree, &mut findings);
    Loaded { config: Config::new(values), findings }
}

/// A configuration without a file: the defaults changed by `adjust`, then by the overrides among `variables`.
pub fn without_file(adjust: impl FnOnce(&mut Values), variables: &[(String, String)]) -> Loaded {
    let mut tree = Node::Map(Vec::new());
    let mut findings = Vec::new();
    environment::apply(&mut tree, variables, &mut findings);
    let mut base = Values::defaults();
    adjust(&mut base);
    let values = check::check_onto(base, &tree, &mut findings);
    Loaded { config: Config::new(values), findings }
}

#[cfg(test)]
mod tests;
