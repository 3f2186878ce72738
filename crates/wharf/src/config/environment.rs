//! Overrides from the environment: `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/data` sets
//! `storage.filesystem.rootdirectory`, whatever the file says.

use super::finding::{Finding, Place, Severity};
use super::keys::{self, KEYS, Kind, SECTIONS};
use super::tree::{self, Node};

const PREFIX: &str = "REGISTRY_";
/// Names the configuration file itself, so it is no key.
pub const CONFIGURATION_PATH: &str = "REGISTRY_CONFIGURATION_PATH";
/// Names the credentials file of podman, skopeo and buildah. Whoever uses one of them has it set, and means no key by it.
const CLIENTS_CREDENTIALS: &str = "REGISTRY_AUTH_FILE";

/// Puts every `REGISTRY_…` variable of `variables` into `tree`; what cannot be placed is a finding.
pub fn apply(tree: &mut Node, variables: &[(String, String)], findings: &mut Vec<Finding>) {
    let foreign = |name: &str| [CONFIGURATION_PATH, CLIENTS_CREDENTIALS].contains(&name);
    let mut variables: Vec<&(String, String)> =
        variables.iter().filter(|(name, _)| name.starts_with(PREFIX) && !foreign(name)).collect();
    // A section's variable comes before those of its keys, so that the more exact one wins.
    variables.sort();
    for (name, value) in variables {
        let place = Place::Variable(name.clone());
        match target(name) {
            Some(Target { path, rest, scalar }) => {
                let node = if scalar {
                    match value.as_str() {
                        "" => Ok(Node::Null),
                        text => Ok(Node::Scalar(text.to_owned())),
                    }
                } else {
                    tree::parse_variable(name, value)
                };
                match node {
                    Ok(node) => {
                        let mut path: Vec<&str> = path.split('.').collect();
                        path.extend(rest.as_deref());
                        tree.set(&path, node, &place);
                    }
                    Err(finding) => findings.push(finding),
                }
            }
            None => {
                let path = name[PREFIX.len()..].to_lowercase().replace('_', ".");
                findings.push(super::check::unknown(place, &path, Severity::Warning));
            }
        }
    }
}

/// What a variable sets.
struct Target {
    path: &'static str,
    /// A name below `path` that the table does not list: a header, a field, or something in a section not looked into.
    rest: Option<String>,
    scalar: bool,
}

fn target(name: &str) -> Option<Target> {
    let upper = name.to_ascii_uppercase();
    let exact = |path: &&'static str| keys::variable(path) == upper;
    if let Some(key) = KEYS.iter().find(|key| exact(&key.path)) {
        let scalar = !matches!(key.kind, Kind::Headers | Kind::Fields | Kind::Structured(_) | Kind::Any);
        return Some(Target { path: key.path, rest: None, scalar });
    }
    if let Some(path) = SECTIONS.iter().copied().find(|path| exact(path)) {
        return Some(Target { path, rest: None, scalar: false });
    }
    KEYS.iter()
        .filter(|key| matches!(key.kind, Kind::Headers | Kind::Fields | Kind::Any))
        .filter(|key| upper.starts_with(&format!("{}_", keys::variable(key.path))))
        .max_by_key(|key| key.path.len())
        .map(|key| {
            let rest = &name[keys::variable(key.path).len() + 1..];
            let rest = match key.kind {
                Kind::Headers => rest.to_owned(),
                _ => rest.to_lowercase(),
            };
            Target { path: key.path, rest: Some(rest), scalar: false }
        })
}
