//! What an image configuration says of how its image is run and how it was made.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use wharf_oci::DocumentError;

/// An image configuration (image-spec, "OCI Image Configuration"), the members that are shown. What is missing or `null` is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    /// When the image was made, as it is written.
    #[serde(deserialize_with = "lenient")]
    pub created: String,
    /// Who made it.
    #[serde(deserialize_with = "lenient")]
    pub author: String,
    /// How it is run.
    #[serde(deserialize_with = "lenient")]
    pub config: Execution,
    /// How it was made, the oldest step first.
    #[serde(deserialize_with = "lenient")]
    pub history: Vec<Step>,
}

/// How an image is run.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Execution {
    /// User, and group.
    #[serde(deserialize_with = "lenient")]
    pub user: String,
    /// Environment, `NAME=VALUE`.
    #[serde(deserialize_with = "lenient")]
    pub env: Vec<String>,
    /// Entry point.
    #[serde(deserialize_with = "lenient")]
    pub entrypoint: Vec<String>,
    /// Command, or arguments for the entry point.
    #[serde(deserialize_with = "lenient")]
    pub cmd: Vec<String>,
    /// Folder that it runs in.
    #[serde(deserialize_with = "lenient")]
    pub working_dir: String,
    /// Ports, `80/tcp`, as keys.
    #[serde(deserialize_with = "lenient")]
    pub exposed_ports: BTreeMap<String, Value>,
    /// Folders with data of their own, as keys.
    #[serde(deserialize_with = "lenient")]
    pub volumes: BTreeMap<String, Value>,
    /// Signal that asks it to end.
    #[serde(deserialize_with = "lenient")]
    pub stop_signal: String,
    /// Labels.
    #[serde(deserialize_with = "lenient")]
    pub labels: BTreeMap<String, String>,
}

/// A step in which an image was made.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Step {
    /// The command.
    #[serde(deserialize_with = "lenient")]
    pub created_by: String,
    /// Whether it made no layer.
    #[serde(deserialize_with = "lenient")]
    pub empty_layer: bool,
}

impl Config {
    /// Reads a configuration.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The commands that made the layers, the lowest first; none when there are not as many as layers, for then nobody knows which is whose.
    pub fn commands(&self, layers: usize) -> Vec<&str> {
        let commands: Vec<_> =
            self.history.iter().filter(|step| !step.empty_layer).map(|step| step.created_by.as_str()).collect();
        if commands.len() == layers { commands } else { Vec::new() }
    }
}

/// Reads `null`, which writers in Go leave for what is empty, as that.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_missed_that_need_not_be_there() {
        for empty in [
            "{}",
            r#"{"created":null,"author":null,"config":null,"history":null}"#,
            r#"{"config":{"User":null,"Env":null,"Entrypoint":null,"Cmd":null,"WorkingDir":null,"ExposedPorts":null,"Volumes":null,"StopSignal":null,"Labels":null}}"#,
        ] {
            let config = Config::parse(empty.as_bytes()).unwrap();
            assert!(config.created.is_empty() && config.config.labels.is_empty() && config.config.env.is_empty());
        }
        for wrong in ["", "[1]", r#"{"config":1}"#, r#"{"config":{"Env":"A=1"}}"#] {
            assert!(Config::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn commands_belong_to_layers_when_there_are_as_many() {
        let config = Config::parse(br#"{"history":[{"created_by":"a"},{"created_by":"b","empty_layer":true},{}]}"#).unwrap();
        assert_eq!(config.commands(2), ["a", ""]);
        assert_eq!(config.commands(1), [""; 0]);
    }
}
