//! Values that are lists of sections, or sections under names of their own: each has a type, which says what may stand in it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use wharf_pki::Names;

use super::tree::Node;
use super::upstreams::Upstreams;

/// Which type a structured value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// [`Groups`].
    Groups,
    /// [`Paths`].
    Paths,
    /// [`Rules`].
    Rules,
    /// [`Issuers`].
    Issuers,
    /// Host names and addresses, as the names of a certificate.
    Names,
    /// [`Upstreams`].
    Upstreams,
}

/// Groups with the names of their users.
pub type Groups = BTreeMap<String, Vec<String>>;

/// Who may do what.
pub type Rules = Vec<wharf_access::Rule>;

/// Who vouches for others.
pub type Issuers = Vec<wharf_access::Issuer>;

/// Files. Relative ones count from the folder the program was started in.
pub type Paths = Vec<PathBuf>;

/// Reads a value and holds it against its type. The error says what was expected, after "expected".
pub fn read(shape: Shape, node: &Node) -> Result<Json, String> {
    let value = json(node);
    match shape {
        Shape::Groups => {
            check::<Groups>(&value, "names of groups with a list of users each")?;
            Ok(value)
        }
        Shape::Rules => {
            check::<Rules>(&value, "a list of rules")?;
            Ok(value)
        }
        Shape::Issuers => {
            let mut issuers = check::<Issuers>(&value, "a list of issuers")?;
            for (place, issuer) in issuers.iter().enumerate() {
                let is_known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                if issuer.name.is_empty() || !issuer.name.chars().all(is_known) {
                    return Err(format!("a name of letters, digits, `-`, `_` and `.` instead of `{}`", issuer.name));
                }
                // Logs put it before whom it vouches for, as they do with this word.
                if issuer.name == "certificate" {
                    return Err("another name than `certificate`, which logs have for client certificates".to_owned());
                }
                if issuers[..place].iter().any(|other| other.name == issuer.name || other.url == issuer.url) {
                    return Err(format!("each name and each address once, unlike those of `{}`", issuer.name));
                }
            }
            for path in issuers.iter_mut().filter_map(|issuer| issuer.ca.as_mut()) {
                *path = std::path::absolute(&*path).map_err(|_| "a path in `ca`".to_owned())?;
            }
            serde_json::to_value(issuers).map_err(|error| error.to_string())
        }
        // Absolute at once: the server in the background runs in another folder than its starter.
        Shape::Paths => {
            let paths = check::<Paths>(&value, "a list of paths")?;
            let absolute = |path: &PathBuf| std::path::absolute(path).ok()?.to_str().map(Json::from);
            paths.iter().map(absolute).collect::<Option<_>>().ok_or_else(|| "a list of paths".to_owned())
        }
        Shape::Upstreams => {
            let upstreams = check::<Upstreams>(&value, "a list of upstreams")?;
            serde_json::to_value(upstreams).map_err(|error| error.to_string())
        }
        Shape::Names => {
            let list = check::<Vec<String>>(&value, "a list of names")?.join(" ");
            Names::default().add(&list).map_err(|error| format!("a list of names ({error})"))?;
            Ok(value)
        }
    }
}

fn check<T: DeserializeOwned>(value: &Json, expected: &str) -> Result<T, String> {
    T::deserialize(value).map_err(|error| format!("{expected} ({error})"))
}

/// Scalars stay texts: the types read numbers and flags out of them.
fn json(node: &Node) -> Json {
    match node {
        Node::Null => Json::Null,
        Node::Scalar(text) => Json::String(text.clone()),
        Node::List(items) => items.iter().map(json).collect(),
        Node::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), json(&entry.value))).collect(),
    }
}
