//! Changes of an image's configuration, as instructions of a Dockerfile (Docker's reference, "Dockerfile reference").

use serde_json::{Map, Value, json};
use wharf_terminal::ui::Failure;

use crate::containers::signals;

/// An instruction that changes how an image is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// The arguments, or the whole program.
    Command(Vec<String>),
    /// The program.
    EntryPoint(Vec<String>),
    /// Variables, by name.
    Environment(Vec<(String, String)>),
    /// Ports, as `80/tcp`.
    Expose(Vec<String>),
    /// Labels, by name.
    Label(Vec<(String, String)>),
    /// The user.
    User(String),
    /// The folder; where it is relative, below the one before.
    WorkingDirectory(String),
    /// Paths of volumes.
    Volume(Vec<String>),
    /// The signal that ends it.
    StopSignal(String),
}

impl Instruction {
    /// Reads one line.
    ///
    /// # Errors
    /// An instruction that changes no configuration, or that lacks what it needs.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure::new(format!("--change `{text}`: {why}"));
        let text = text.trim();
        let (name, rest) = text.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((text, ""));
        let rest = rest.trim();
        let upper = name.to_ascii_uppercase();
        if rest.is_empty() && upper != "CMD" && upper != "ENTRYPOINT" {
            return Err(wrong("it says an instruction and nothing for it")
                .hint("CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, WORKDIR, VOLUME or STOPSIGNAL, and a value"));
        }
        Ok(match upper.as_str() {
            "CMD" => Self::Command(program(rest)),
            "ENTRYPOINT" => Self::EntryPoint(program(rest)),
            "ENV" => Self::Environment(pairs(rest, true).map_err(wrong)?),
            "LABEL" => Self::Label(pairs(rest, false).map_err(wrong)?),
            "EXPOSE" => Self::Expose(
                rest.split_ascii_whitespace()
                    .map(port)
                    .collect::<Option<_>>()
                    .ok_or_else(|| wrong("a port is a number, and /tcp or /udp"))?,
            ),
            "USER" => Self::User(rest.to_owned()),
            "WORKDIR" => Self::WorkingDirectory(rest.to_owned()),
            "VOLUME" => Self::Volume(list(rest).unwrap_or_else(|| rest.split_ascii_whitespace().map(str::to_owned).collect())),
            "STOPSIGNAL" => {
                signals::parse(rest)?;
                Self::StopSignal(rest.to_owned())
            }
            _ => {
                return Err(wrong("no instruction that changes an image's configuration is called that")
                    .hint("CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, WORKDIR, VOLUME and STOPSIGNAL are"));
            }
        })
    }

    /// Change a configuration's `config`. An entry point takes away a command that none of the instructions before it has given (`has_command`).
    pub fn apply(&self, config: &mut Map<String, Value>, has_command: &mut bool) {
        let set_all = |config: &mut Map<String, Value>, name: &str, keys: &[String]| {
            let object = config.entry(name).or_insert_with(|| json!({}));
            if !object.is_object() {
                *object = json!({});
            }
            for key in keys {
                object[key.as_str()] = json!({});
            }
        };
        match self {
            Self::Command(words) => {
                *has_command = true;
                config.insert("Cmd".to_owned(), json!(words));
            }
            Self::EntryPoint(words) => {
                config.insert("Entrypoint".to_owned(), json!(words));
                if !*has_command {
                    config.remove("Cmd");
                }
            }
            Self::Environment(variables) => {
                let mut all: Vec<Value> = config.get("Env").and_then(Value::as_array).cloned().unwrap_or_default();
                for (name, value) in variables {
                    let is_it = |known: &Value| known.as_str().is_some_and(|known| known.split('=').next() == Some(name));
                    let new = Value::from(format!("{name}={value}"));
                    match all.iter_mut().find(|known| is_it(known)) {
                        Some(known) => *known = new,
                        None => all.push(new),
                    }
                }
                config.insert("Env".to_owned(), all.into());
            }
            Self::Label(labels) => {
                let object = config.entry("Labels").or_insert_with(|| json!({}));
                if !object.is_object() {
                    *object = json!({});
                }
                for (name, value) in labels {
                    object[name.as_str()] = value.clone().into();
                }
            }
            Self::Expose(ports) => set_all(config, "ExposedPorts", ports),
            Self::Volume(paths) => set_all(config, "Volumes", paths),
            Self::User(user) => drop(config.insert("User".to_owned(), user.clone().into())),
            Self::WorkingDirectory(path) => {
                let before = config.get("WorkingDir").and_then(Value::as_str).unwrap_or("/").trim_end_matches('/');
                let path = if path.starts_with('/') { path.clone() } else { format!("{before}/{path}") };
                config.insert("WorkingDir".to_owned(), path.into());
            }
            Self::StopSignal(signal) => drop(config.insert("StopSignal".to_owned(), signal.clone().into())),
        }
    }
}

/// A JSON list of strings.
fn list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// A program with its arguments: a JSON list, or a line for the shell.
fn program(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    list(text).unwrap_or_else(|| ["/bin/sh", "-c", text].map(str::to_owned).to_vec())
}

fn port(text: &str) -> Option<String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = number.parse::<u16>().ok().filter(|number| *number > 0)?;
    matches!(protocol, "tcp" | "udp").then(|| format!("{number}/{protocol}"))
}

/// `NAME=VALUE …` with quotes and backslashes as in a Dockerfile; or, where that was once allowed, `NAME VALUE`.
fn pairs(text: &str, may_have_blank: bool) -> Result<Vec<(String, String)>, &'static str> {
    let words = words(text)?;
    let is_old = !words.first().is_some_and(|word| word.contains('='));
    if is_old {
        let (name, value) =
            text.split_once(|c: char| c.is_ascii_whitespace()).filter(|_| may_have_blank).ok_or("expected NAME=VALUE")?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: &String| {
        let (name, value) = word.split_once('=')?;
        (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    };
    words.iter().map(pair).collect::<Option<_>>().ok_or("expected NAME=VALUE")
}

/// Words of a line, without their quotes.
fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().push(letters.next().ok_or("it ends with a backslash")?),
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (_, Some(open)) if letter == open => quote = None,
            (_, None) if letter.is_ascii_whitespace() => all.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    all.extend(word);
    if quote.is_some() { Err("a quote is not closed") } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Instruction {
        Instruction::parse(text).expect(text)
    }

    #[test]
    fn instructions_are_read_as_in_a_dockerfile() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let pairs = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
        assert_eq!(parse(r#"CMD ["sh", "-c", "a b"]"#), Instruction::Command(texts(&["sh", "-c", "a b"])));
        assert_eq!(parse("cmd echo hi"), Instruction::Command(texts(&["/bin/sh", "-c", "echo hi"])));
        assert_eq!(parse("ENTRYPOINT []"), Instruction::EntryPoint(vec![]));
        assert_eq!(
            parse(r#"ENV A=1 B="two words" C=x\ y"#),
            Instruction::Environment(pairs(&[("A", "1"), ("B", "two words"), ("C", "x y")]))
        );
        assert_eq!(parse("ENV A  b c"), Instruction::Environment(pairs(&[("A", "b c")])));
        assert_eq!(parse("LABEL a.b='c=d'"), Instruction::Label(pairs(&[("a.b", "c=d")])));
        assert_eq!(parse("EXPOSE 80 53/udp"), Instruction::Expose(texts(&["80/tcp", "53/udp"])));
        assert_eq!(parse(r#"VOLUME ["/a b"]"#), Instruction::Volume(texts(&["/a b"])));
        assert_eq!(parse("VOLUME /a /b"), Instruction::Volume(texts(&["/a", "/b"])));
        assert_eq!(parse("STOPSIGNAL SIGINT"), Instruction::StopSignal("SIGINT".to_owned()));
        for wrong in
            ["RUN x", "", "USER", "ENV A", "LABEL a b", "EXPOSE x", "EXPOSE 80/sctp", "ENV A=\"x", "STOPSIGNAL FISH", "ENV =x"]
        {
            assert!(Instruction::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn instructions_change_what_was_there() {
        let Value::Object(mut config) =
            json!({"Cmd": ["old"], "Env": ["PATH=/bin", "A=0"], "WorkingDir": "/srv", "Labels": null})
        else {
            unreachable!()
        };
        let mut has_command = false;
        for text in ["ENV A=1 B=2", "WORKDIR sub", "LABEL k=v", "ENTRYPOINT [\"e\"]", "USER web", "EXPOSE 80"] {
            parse(text).apply(&mut config, &mut has_command);
        }
        let expected = json!({
            "Entrypoint": ["e"], "Env": ["PATH=/bin", "A=1", "B=2"], "WorkingDir": "/srv/sub", "Labels": {"k": "v"}, "User": "web",
            "ExposedPorts": {"80/tcp": {}},
        });
        assert_eq!(Value::Object(config.clone()), expected);
        parse("CMD c").apply(&mut config, &mut has_command);
        parse("ENTRYPOINT e").apply(&mut config, &mut has_command);
        assert_eq!(config["Cmd"], json!(["/bin/sh", "-c", "c"]));
    }
}
