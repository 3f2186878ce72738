//! What differs between the configurations of two images.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::image::Image;

/// Something that differs.
#[derive(Debug, PartialEq)]
pub struct Change {
    /// What it is: `label`, `env`, `port`, `volume`, `annotation`; or the member's own name in lower case, such as `entrypoint`.
    pub what: String,
    /// Which of several.
    pub name: Option<String>,
    /// As the first has it; none when it has it not.
    pub before: Option<Value>,
    /// As the second has it.
    pub after: Option<Value>,
}

/// Members of the execution parameters that are sets of names, and what one of them is called (image-spec, "OCI Image Configuration").
const SETS: [(&str, &str); 2] = [("ExposedPorts", "port"), ("Volumes", "volume")];

/// What either image says, by what it is and which one.
type Facts = BTreeMap<(String, Option<String>), Value>;

/// What differs, in order.
pub fn changes(before: &Image, after: &Image) -> Vec<Change> {
    compared(facts(before), facts(after))
}

fn compared(mut before: Facts, mut after: Facts) -> Vec<Change> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
    let changes = keys.into_iter().map(|key| {
        let (before, after) = (before.remove(&key), after.remove(&key));
        Change { what: key.0, name: key.1, before, after }
    });
    changes.filter(|change| change.before != change.after).collect()
}

fn facts(image: &Image) -> Facts {
    let mut facts = of_config(&image.config);
    for (name, value) in image.manifest.annotations.iter().flatten() {
        facts.insert(("annotation".to_owned(), Some(name.clone())), Value::String(value.clone()));
    }
    facts
}

fn of_config(config: &Value) -> Facts {
    let mut facts = Facts::new();
    let none = Map::new();
    for (member, value) in config.as_object().unwrap_or(&none) {
        match (member.as_str(), value) {
            // What layers there are is told elsewhere, and how they came about tells nothing of what is in them.
            ("rootfs" | "history", _) => {}
            // What Docker keeps of a container that the image was made in.
            ("container" | "container_config" | "id" | "parent", _) => {}
            ("config", Value::Object(execution)) => of_execution(execution, &mut facts),
            (_, value) => put(&mut facts, member, None, value),
        }
    }
    facts
}

fn of_execution(execution: &Map<String, Value>, facts: &mut Facts) {
    for (member, value) in execution {
        let set = SETS.iter().find(|(name, _)| name == member);
        match (member.as_str(), value, set) {
            ("Labels", Value::Object(labels), _) => {
                for (name, value) in labels {
                    put(facts, "label", Some(name), value);
                }
            }
            ("Env", Value::Array(variables), _) => {
                for variable in variables.iter().filter_map(Value::as_str) {
                    let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
                    put(facts, "env", Some(name), &Value::String(value.to_owned()));
                }
            }
            (_, Value::Object(names), Some((_, what))) => {
                for name in names.keys() {
                    put(facts, what, Some(name), &Value::Bool(true));
                }
            }
            (member, value, _) => put(facts, member, None, value),
        }
    }
}

/// Notes something, unless it says nothing: writers differ in what they leave out.
fn put(facts: &mut Facts, what: &str, name: Option<&str>, value: &Value) {
    let says_nothing = match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty() && name.is_none(),
        Value::Array(values) => values.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    if !says_nothing {
        facts.insert((what.to_ascii_lowercase(), name.map(str::to_owned)), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn configurations_are_compared_by_what_they_say() {
        let before = json!({
            "architecture": "amd64", "created": "2026-01-01T00:00:00Z", "rootfs": {"diff_ids": [1]}, "history": [1],
            "config": {"Labels": {"a": "1", "b": ""}, "Env": ["PATH=/bin", "X=1=2"], "Cmd": ["sh"], "User": "", "Volumes": null}
        });
        let after = json!({
            "architecture": "amd64", "created": "2026-01-02T00:00:00Z", "rootfs": {"diff_ids": [2]},
            "config": {"Labels": {"a": "2"}, "Env": ["X=1=2", "PATH=/bin", "Y"], "Entrypoint": ["/x"], "ExposedPorts": {"80/tcp": {}}}
        });
        let shown = |change: Change| {
            let text = |value: Option<Value>| value.map_or("-".to_owned(), |value| value.to_string());
            format!("{} {} {} {}", change.what, change.name.unwrap_or_default(), text(change.before), text(change.after))
        };
        let changes: Vec<_> = compared(of_config(&before), of_config(&after)).into_iter().map(shown).collect();
        let expected = [
            r#"cmd  ["sh"] -"#,
            r#"created  "2026-01-01T00:00:00Z" "2026-01-02T00:00:00Z""#,
            r#"entrypoint  - ["/x"]"#,
            r#"env Y - """#,
            r#"label a "1" "2""#,
            r#"label b "" -"#,
            "port 80/tcp - true",
        ];
        assert_eq!(changes, expected);
        assert_eq!(compared(of_config(&json!([])), of_config(&json!({"config": 1}))).len(), 1);
    }
}
