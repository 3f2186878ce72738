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
pub mod structured;
pub mod tree;
pub mod units;
pub mod upstreams;

use std::fs::File;
use std::io::{self, Read};
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

/// Reads the file at `path` over the defaults as `adjust` changes them, with the overrides among `variables`.
pub fn load(path: &Path, adjust: impl FnOnce(&mut Values), variables: &[(String, String)]) -> Loaded {
    match read(path) {
        Ok(text) => parse(&text, path, adjust, variables),
        Err(error) => Loaded {
            config: Config::default(),
            findings: vec![Finding::new(Severity::Error, Place::File(Arc::from(path)), format!("cannot be read: {error}"))],
        },
    }
}

/// At most one byte more than a configuration may have. Opening a pipe waits for its writer, perhaps for ever, so only one
/// that is open already is read: standard input, and what a shell puts in the place of `<(…)`.
fn read(path: &Path) -> io::Result<String> {
    let is_open = path.starts_with("/dev") || path.starts_with("/proc/self/fd");
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() && !metadata.is_dir() && !is_open {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(tree::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > tree::MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {} bytes", tree::MAX_BYTES)));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not in UTF-8"))
}

/// Reads the text of the file at `path`, as [`load`].
pub fn parse(text: &str, path: &Path, adjust: impl FnOnce(&mut Values), variables: &[(String, String)]) -> Loaded {
    let file = Arc::from(path);
    let mut tree = match tree::parse(text, &file) {
        Ok(tree) => tree,
        Err(finding) => {
            return Loaded { config: Config::default(), findings: vec![finding] };
        }
    };
    let mut findings = Vec::new();
    environment::apply(&mut tree, variables, &mut findings);
    findings.extend(missing_storage(&tree, file));
    findings.extend(missing_users(&tree));
    let mut base = Values::defaults();
    adjust(&mut base);
    let values = check::check_onto(base, &tree, &mut findings);
    finish(values, findings)
}

/// A file says where it stores: what is pushed must not go to a default that nobody has in mind.
fn missing_storage(tree: &Node, file: Arc<Path>) -> Option<Finding> {
    let (place, what) = match tree.get("storage") {
        None => (Place::File(file), "`storage` is missing"),
        Some(entry) => {
            // Which scalars and which names are drivers, and that others are none, is told with the keys.
            let names = |children: &[tree::Entry]| children.iter().any(|child| keys::may_be_driver(&child.key));
            match &entry.value {
                Node::Null => {}
                Node::Map(children) if !names(children) => {}
                _ => return None,
            }
            (entry.place.clone(), "`storage` does not say where to store")
        }
    };
    Some(Finding::new(Severity::Error, place, what).hint("name the folder to store in as `storage.filesystem.rootdirectory`"))
}

/// Who asks for passwords says where they are: without them everybody would be answered.
fn missing_users(tree: &Node) -> Option<Finding> {
    let auth = tree.get("auth")?;
    let asked = match &auth.value {
        Node::Scalar(name) if name == "htpasswd" => auth,
        section => section.get("htpasswd")?,
    };
    if asked.value.get("path").is_some_and(|path| !path.value.is_empty()) {
        return None;
    }
    let message = "`auth.htpasswd` does not say where the users are, and without them everybody would be answered";
    Some(Finding::new(Severity::Error, asked.place.clone(), message).hint("name their file as `auth.htpasswd.path`"))
}

/// What is only known once everything was read.
fn finish(values: Values, mut findings: Vec<Finding>) -> Loaded {
    for (present, absent) in [("http.tls.certificate", "http.tls.key"), ("http.tls.key", "http.tls.certificate")] {
        let is_set = |path| matches!(values.get(path), check::Value::Text(text) if !text.is_empty());
        if is_set(present) && !is_set(absent) {
            let place = values.place(present).clone();
            let message = format!("`{present}` needs `{absent}`, which is not set");
            findings.push(Finding::new(Severity::Error, place, message).hint(format!("set `{absent}`")));
        }
    }
    for (present, absent) in
        [("proxy.username", "proxy.password"), ("proxy.password", "proxy.username"), ("proxy.username", "proxy.remoteurl")]
    {
        if *values.get(present) != check::Value::Nothing && *values.get(absent) == check::Value::Nothing {
            let place = values.place(present).clone();
            let message = format!("`{present}` needs `{absent}`, which is not set");
            findings.push(Finding::new(Severity::Error, place, message).hint(format!("set `{absent}`")));
        }
    }
    let config = Config::new(values);
    let listen = &config.http.listen;
    // `start` writes every key: an empty list that stands there asks for nothing.
    let defaults = check::Values::defaults();
    if config.http.tls.is_none() {
        let authorities = config.values().place("http.tls.clientcas").clone();
        if config.values().get("http.tls.clientcas") != defaults.get("http.tls.clientcas") {
            let message = "`http.tls.clientcas` needs a certificate to serve TLS with";
            let hint = "set http.tls.certificate and http.tls.key, or wharf.pki.folder";
            findings.push(Finding::new(Severity::Error, authorities, message).hint(hint));
        }
    }
    let access = &config.access;
    if let Err(error) = wharf_access::Rules::new(&access.rules, &access.groups) {
        findings.push(Finding::new(Severity::Error, config.values().place("wharf.access.rules").clone(), error.to_string()));
    }
    for key in ["wharf.access.rules", "wharf.access.groups"] {
        let place = config.values().place(key);
        if !access.is_guarded() && config.values().get(key) != defaults.get(key) {
            let message = format!("`{key}` has no effect while nobody is asked who they are");
            let hint = "set wharf.access.folder or auth.htpasswd.path";
            findings.push(Finding::new(Severity::Error, place.clone(), message).hint(hint));
        }
    }
    let lacks = match (config.http.tls.is_some(), access.is_guarded()) {
        (true, true) => None,
        (false, false) => Some("without TLS and authentication: everybody who reaches it may push and pull"),
        (true, false) => Some("without authentication: everybody who reaches it may push and pull"),
        (false, true) => Some("without TLS: passwords and what is pushed and pulled can be read on the way"),
    };
    if let Some(lacks) = lacks.filter(|_| !listen.is_loopback()) {
        let place = config.values().place("http.addr").clone();
        findings.push(Finding::new(Severity::Warning, place, format!("listening on {listen} {lacks}")));
    }
    Loaded { config, findings }
}

/// A configuration without a file: the defaults changed by `adjust`, then by the overrides among `variables`.
pub fn without_file(adjust: impl FnOnce(&mut Values), variables: &[(String, String)]) -> Loaded {
    let mut tree = Node::Map(Vec::new());
    let mut findings = Vec::new();
    environment::apply(&mut tree, variables, &mut findings);
    findings.extend(missing_users(&tree));
    let mut base = Values::defaults();
    adjust(&mut base);
    let values = check::check_onto(base, &tree, &mut findings);
    finish(values, findings)
}

#[cfg(test)]
mod tests;
