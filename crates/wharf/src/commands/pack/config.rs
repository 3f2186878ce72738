//! The configuration of an image: what its base says, and over it what was asked for.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use wharf_oci::{Digest, Platform};

use crate::cli::Execution;
use crate::ui::Failure;

/// Who writes a history, as it stands there.
const CREATED_BY: &str = "wharf pack";

/// What an image is to say of itself, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Vec<(String, String)>,
    labels: Vec<(String, String)>,
    ports: Vec<String>,
    user: Option<String>,
    workdir: Option<String>,
    stop_signal: Option<String>,
    author: Option<String>,
}

impl Wanted {
    /// Reads options.
    pub fn parse(options: &Execution) -> Result<Self, Failure> {
        let text = |value: &Option<String>| value.as_deref().map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned);
        let author = match (text(&options.author), text(&options.author_email)) {
            (Some(name), Some(address)) => Some(format!("{name} <{address}>")),
            (name, address) => name.or(address),
        };
        let stop_signal = text(&options.stop_signal);
        if let Some(signal) = stop_signal.as_deref().filter(|signal| !is_signal(signal)) {
            return Err(Failure::new(format!("--stop-signal `{signal}` is no signal")).hint("for example SIGTERM, or 15"));
        }
        let workdir = text(&options.workdir);
        if let Some(folder) = workdir.as_deref().filter(|folder| !folder.starts_with('/')) {
            return Err(Failure::new(format!("--workdir `{folder}` is not an absolute path")));
        }
        Ok(Self {
            entrypoint: words("--entrypoint", options.entrypoint.as_deref())?,
            cmd: words("--cmd", options.cmd.as_deref())?,
            env: options.env.iter().map(|pair| assignment("--env", pair)).collect::<Result<_, _>>()?,
            labels: options.labels.iter().map(|pair| assignment("--label", pair)).collect::<Result<_, _>>()?,
            ports: options.ports.iter().map(|port| exposed(port)).collect::<Result<_, _>>()?,
            user: text(&options.user),
            workdir,
            stop_signal,
            author,
        })
    }

    /// The labels that were asked for.
    pub fn labels(&self) -> &[(String, String)] {
        &self.labels
    }

    /// The configuration as JSON, always the same for the same image.
    ///
    /// `base` is the configuration of the image that this one is built on, `labels` all labels that are set, `diff_ids` the layers that are
    /// new, `created` the time (RFC 3339).
    pub fn config(
        &self,
        base: Option<&Value>,
        platform: &Platform,
        labels: &BTreeMap<String, String>,
        diff_ids: &[Digest],
        created: &str,
    ) -> Value {
        let mut root = base.and_then(Value::as_object).cloned().unwrap_or_default();
        // What a base says of its own making (container, docker_version) is not so of this one.
        root.retain(|key, _| !["container", "container_config", "docker_version", "id", "parent"].contains(&key.as_str()));
        root.insert("created".to_owned(), json!(created));
        root.insert("architecture".to_owned(), json!(platform.architecture));
        root.insert("os".to_owned(), json!(platform.os));
        match &platform.variant {
            Some(variant) => root.insert("variant".to_owned(), json!(variant)),
            None => root.remove("variant"),
        };
        if let Some(author) = &self.author {
            root.insert("author".to_owned(), json!(author));
        }
        let mut config = object(root.remove("config"));
        self.execution(&mut config, labels);
        root.insert("config".to_owned(), Value::Object(config));

        let below = list(root.get("rootfs").and_then(|rootfs| rootfs.get("diff_ids")).cloned());
        let mut history = list(root.remove("history"));
        let told = history.iter().filter(|step| step.get("empty_layer") != Some(&Value::Bool(true))).count();
        // Readers match steps with layers: half a history would give the new layers the words of others.
        if told == below.len() {
            let step = json!({"created": created, "created_by": CREATED_BY});
            history.extend(std::iter::repeat_n(step, diff_ids.len()));
            root.insert("history".to_owned(), Value::Array(history));
        }
        let layers: Vec<_> = below.into_iter().chain(diff_ids.iter().map(|digest| json!(digest.to_string()))).collect();
        root.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": layers}));
        Value::Object(root)
    }

    fn execution(&self, config: &mut Map<String, Value>, labels: &BTreeMap<String, String>) {
        if let Some(words) = &self.entrypoint {
            config.insert("Entrypoint".to_owned(), json!(words));
            // The arguments of a base were for its own program.
            config.remove("Cmd");
        }
        if let Some(words) = &self.cmd {
            config.insert("Cmd".to_owned(), json!(words));
        }
        for (key, value) in [("User", &self.user), ("WorkingDir", &self.workdir), ("StopSignal", &self.stop_signal)] {
            if let Some(value) = value {
                config.insert(key.to_owned(), json!(value));
            }
        }
        if !self.env.is_empty() {
            let mut env = list(config.remove("Env"));
            for (name, value) in &self.env {
                let set = json!(format!("{name}={value}"));
                let is_same = |known: &Value| {
                    known.as_str().and_then(|known| known.split_once('=')).is_some_and(|(known, _)| known == name)
                };
                match env.iter_mut().find(|known| is_same(known)) {
                    Some(known) => *known = set,
                    None => env.push(set),
                }
            }
            config.insert("Env".to_owned(), Value::Array(env));
        }
        if !self.ports.is_empty() {
            let mut ports = object(config.remove("ExposedPorts"));
            ports.extend(self.ports.iter().map(|port| (port.clone(), json!({}))));
            config.insert("ExposedPorts".to_owned(), Value::Object(ports));
        }
        if !labels.is_empty() {
            let mut all = object(config.remove("Labels"));
            all.extend(labels.iter().map(|(key, value)| (key.clone(), json!(value))));
            config.insert("Labels".to_owned(), Value::Object(all));
        }
    }
}

fn object(value: Option<Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

/// A command line: a JSON list, or words as a POSIX shell divides them. An empty one is an empty list, which takes away what a base has.
fn words(option: &str, text: Option<&str>) -> Result<Option<Vec<String>>, Failure> {
    let Some(text) = text else { return Ok(None) };
    if text.trim_start().starts_with('[') {
        let list = serde_json::from_str(text);
        return list
            .map(Some)
            .map_err(|error| Failure::new(format!("{option} `{text}` is no JSON list of words")).because(&error));
    }
    let words = wharf_yocto::words::split(text);
    words.map(Some).map_err(|error| Failure::new(format!("{option} `{text}` cannot be divided into words")).because(&error))
}

fn assignment(option: &str, text: &str) -> Result<(String, String), Failure> {
    wharf_yocto::words::pair(text).map_err(|error| Failure::new(format!("{option} {error}")).hint("write NAME=VALUE"))
}

/// A port as the configuration names it (image-spec, "ExposedPorts"): with its protocol, which is TCP unless it is said.
fn exposed(text: &str) -> Result<String, Failure> {
    let wrong = || Failure::new(format!("--port `{text}` is no port")).hint("for example 8080, or 53/udp");
    let (port, protocol) = text.trim().split_once('/').unwrap_or((text.trim(), "tcp"));
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0) && !port.starts_with('+');
    let ports: Vec<_> = port.splitn(2, '-').collect();
    let protocol = protocol.to_ascii_lowercase();
    if !ports.iter().all(|port| is_port(port)) || !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(wrong());
    }
    Ok(format!("{port}/{protocol}"))
}

/// Whether engines know this as a signal: `SIGTERM`, `TERM`, `SIGRTMIN+3`, `15`.
fn is_signal(text: &str) -> bool {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let is_name = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"+-".contains(&byte));
    is_name || text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(change: impl FnOnce(&mut Execution)) -> Result<Wanted, Failure> {
        let mut options = Execution::default();
        change(&mut options);
        Wanted::parse(&options)
    }

    fn config(wanted: &Wanted, base: Option<&Value>, layers: usize) -> Value {
        let digests: Vec<_> = (0..layers).map(|layer| Digest::sha256(&[layer as u8])).collect();
        wanted.config(
            base,
            &Platform::new("linux", "arm64"),
            &wanted.labels().iter().cloned().collect(),
            &digests,
            "2026-01-12T20:32:24Z",
        )
    }

    #[test]
    fn everything_that_is_asked_for_is_there() {
        let wanted = wanted(|options| {
            options.entrypoint = Some("curl -H 'a: b'".into());
            options.cmd = Some(r#"["http://localhost"]"#.into());
            options.env = vec!["A=1".into(), "B=x=y".into(), "A=2".into()];
            options.labels = vec!["k=v".into(), "empty=".into()];
            options.ports = vec!["80".into(), "53/udp".into(), "1000-1010/TCP".into()];
            options.user = Some("1000:100".into());
            options.workdir = Some("/srv".into());
            options.stop_signal = Some("SIGRTMIN+3".into());
            options.author = Some("N".into());
            options.author_email = Some("n@example.org".into());
        })
        .unwrap();
        let config = config(&wanted, None, 1);
        assert_eq!(config["config"]["Entrypoint"], json!(["curl", "-H", "a: b"]));
        assert_eq!(config["config"]["Cmd"], json!(["http://localhost"]));
        assert_eq!(config["config"]["Env"], json!(["A=2", "B=x=y"]));
        assert_eq!(config["config"]["Labels"], json!({"k": "v", "empty": ""}));
        assert_eq!(config["config"]["ExposedPorts"], json!({"80/tcp": {}, "53/udp": {}, "1000-1010/tcp": {}}));
        assert_eq!((&config["config"]["User"], &config["config"]["WorkingDir"]), (&json!("1000:100"), &json!("/srv")));
        assert_eq!((&config["config"]["StopSignal"], &config["author"]), (&json!("SIGRTMIN+3"), &json!("N <n@example.org>")));
        assert_eq!(
            (&config["architecture"], &config["os"], &config["created"]),
            (&json!("arm64"), &json!("linux"), &json!("2026-01-12T20:32:24Z"))
        );
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
        assert_eq!(config["history"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_base_goes_on() {
        let base = json!({
            "created": "2020-01-01T00:00:00Z", "architecture": "arm64", "os": "linux", "variant": "v8", "docker_version": "20", "os.version": "1",
            "config": {"Env": ["PATH=/bin", "A=0"], "Entrypoint": ["/init"], "Cmd": ["x"], "Labels": {"a": "1", "b": "2"}, "Volumes": {"/v": {}}},
            "history": [{"created_by": "one"}, {"created_by": "two", "empty_layer": true}],
            "rootfs": {"type": "layers", "diff_ids": ["sha256:aa"]}
        });
        let wanted = wanted(|options| {
            options.entrypoint = Some("/app".into());
            options.env = vec!["A=1".into()];
            options.labels = vec!["b=3".into()];
        })
        .unwrap();
        let over = config(&wanted, Some(&base), 2);
        assert_eq!(over["config"]["Env"], json!(["PATH=/bin", "A=1"]));
        assert_eq!(over["config"]["Labels"], json!({"a": "1", "b": "3"}));
        assert_eq!((&over["config"]["Entrypoint"], over["config"].get("Cmd")), (&json!(["/app"]), None));
        assert_eq!((&over["config"]["Volumes"], &over["os.version"]), (&json!({"/v": {}}), &json!("1")));
        assert_eq!((over.get("docker_version"), over.get("variant")), (None, None));
        assert_eq!(over["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);
        assert_eq!(over["history"].as_array().unwrap().len(), 4);

        let mut silent = base;
        silent.as_object_mut().unwrap().remove("history");
        assert_eq!(config(&wanted, Some(&silent), 2).get("history"), None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let wrong: [fn(&mut Execution); 10] = [
            |o| o.entrypoint = Some("a 'b".into()),
            |o| o.cmd = Some("[1]".into()),
            |o| o.env = vec!["A".into()],
            |o| o.labels = vec!["=v".into()],
            |o| o.ports = vec!["http".into()],
            |o| o.ports = vec!["0".into()],
            |o| o.ports = vec!["80/icmp".into()],
            |o| o.ports = vec!["70000".into()],
            |o| o.workdir = Some("srv".into()),
            |o| o.stop_signal = Some("please stop".into()),
        ];
        for (number, change) in wrong.into_iter().enumerate() {
            assert!(wanted(change).is_err(), "{number}");
        }
        // What a recipe leaves empty is not asked for.
        let empty = wanted(|options| {
            options.user = Some(String::new());
            options.workdir = Some(" ".into());
            options.stop_signal = Some(String::new());
        });
        assert_eq!(empty.unwrap(), Wanted::default());
    }
}
