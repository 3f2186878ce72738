//! Values that are lists of sections, or sections under names of their own: each has a type, which says what may stand in it.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::tree::Node;

/// Which type a structured value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// [`Groups`].
    Groups,
}

/// Groups with the names of their users.
pub type Groups = BTreeMap<String, Vec<String>>;

/// Reads a value and holds it against its type. The error says what was expected, after "expected".
pub fn read(shape: Shape, node: &Node) -> Result<Json, String> {
    let value = json(node);
    match shape {
        Shape::Groups => check::<Groups>(&value, "names of groups with a list of users each"),
    }?;
    Ok(value)
}

fn check<T: DeserializeOwned>(value: &Json, expected: &str) -> Result<(), String> {
    T::deserialize(value).map(drop).map_err(|error| format!("{expected} ({error})"))
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
