//! The tree held against the table: values are read, and everything that needs saying becomes a finding.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};

use super::address::ListenAddress;
use super::finding::{Finding, Place, Severity};
use super::keys::{self, KEYS, Key, Kind, Treatment};
use super::structured;
use super::tree::{Entry, Node};
use super::units::{ByteSize, format_duration, parse_duration};
use super::upstreams::Password;

/// What is shown in the place of a secret.
const COVER: &str = "…";

/// A value of the right kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Not set, and there is no default.
    Nothing,
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(u64),
    /// A text, a path, a choice (in lower case) or a URL.
    Text(String),
    /// A time; `None` is `never`.
    Duration(Option<Duration>),
    /// A number of bytes.
    Size(ByteSize),
    /// A listener's address.
    Address(ListenAddress),
    /// Headers, in the order written.
    Headers(Vec<(HeaderName, HeaderValue)>),
    /// Names and texts.
    Fields(Vec<(String, String)>),
    /// A list or sections, already held against its shape.
    Structured(serde_json::Value),
    /// A text that is written into files and shown nowhere.
    Secret(Password),
}

impl Value {
    /// The value as the file writes it.
    pub fn to_yaml(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => quoted(text),
            Self::Duration(None) => "never".to_owned(),
            Self::Duration(Some(duration)) => format_duration(*duration),
            Self::Size(size) => size.to_string(),
            Self::Address(address) => quoted(&address.to_string()),
            Self::Headers(headers) => {
                let mut lists: Vec<(&str, Vec<String>)> = Vec::new();
                for (name, value) in headers {
                    let value = quoted_always(&String::from_utf8_lossy(value.as_bytes()));
                    match lists.iter_mut().find(|(known, _)| *known == name.as_str()) {
                        Some((_, values)) => values.push(value),
                        None => lists.push((name.as_str(), vec![value])),
                    }
                }
                let lists: Vec<String> =
                    lists.iter().map(|(name, values)| format!("{}: [{}]", quoted_always(name), values.join(", "))).collect();
                format!("{{{}}}", lists.join(", "))
            }
            Self::Fields(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|(name, text)| format!("{}: {}", quoted_always(name), quoted_always(text))).collect();
                format!("{{{}}}", fields.join(", "))
            }
            // JSON is YAML, on one line.
            Self::Structured(value) => value.to_string(),
            Self::Secret(Password(text)) => quoted_always(text),
        }
    }

    /// The value as people may see it: with `…` in the place of every password.
    pub fn shown(&self) -> Self {
        fn covered(name: &str, value: &serde_json::Value) -> serde_json::Value {
            use serde_json::Value as Json;
            match value {
                Json::String(_) if name == "password" => COVER.into(),
                Json::Array(items) => items.iter().map(|item| covered("", item)).collect(),
                Json::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), covered(name, value))).collect(),
                other => other.clone(),
            }
        }
        match self {
            Self::Secret(_) => Self::Text(COVER.to_owned()),
            Self::Structured(value) => Self::Structured(covered("", value)),
            other => other.clone(),
        }
    }

    /// The value with its type: sizes in bytes, times as the file writes them.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::Nothing => Json::Null,
            Self::Flag(flag) => (*flag).into(),
            Self::Number(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Duration(None) => "never".into(),
            Self::Duration(Some(duration)) => format_duration(*duration).into(),
            Self::Size(size) => size.0.into(),
            Self::Address(address) => address.to_string().into(),
            Self::Headers(headers) => {
                let mut lists = serde_json::Map::new();
                for (name, value) in headers {
                    let list = lists.entry(name.as_str()).or_insert_with(|| Json::Array(Vec::new()));
                    if let Json::Array(list) = list {
                        list.push(String::from_utf8_lossy(value.as_bytes()).into());
                    }
                }
                Json::Object(lists)
            }
            Self::Fields(fields) => fields.iter().map(|(name, text)| (name.clone(), text.as_str())).collect(),
            Self::Structured(value) => value.clone(),
            Self::Secret(Password(text)) => text.as_str().into(),
        }
    }
}

fn quoted(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    if plain
        || text.rsplit_once(':').is_some_and(|(host, port)| {
            host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
                && !host.is_empty()
                && host.parse::<u64>().is_err()
                && port.parse::<u16>().is_ok()
        })
    {
        text.to_owned()
    } else {
        quoted_always(text)
    }
}

/// Double quotes with JSON's escapes, which YAML reads the same.
fn quoted_always(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

/// Every honoured key's value with where it comes from.
#[derive(Clone, Debug)]
pub struct Values(BTreeMap<&'static str, (Value, Place)>);

impl Values {
    /// The defaults of the table alone.
    pub fn defaults() -> Self {
        let mut values = BTreeMap::new();
        for key in honoured() {
            let value = match key.default {
                "" => Value::Nothing,
                "{}" if key.kind == Kind::Headers => Value::Headers(Vec::new()),
                "{}" if key.kind == Kind::Fields => Value::Fields(Vec::new()),
                "{}" => Value::Structured(serde_json::json!({})),
                "[]" => Value::Structured(serde_json::json!([])),
                // A default that does not parse is a slip in the table, which a test over the whole table shows.
                text => read(key, &Node::Scalar(text.to_owned())).unwrap_or(Value::Nothing),
            };
            values.insert(key.path, (value, Place::Default));
        }
        Self(values)
    }

    /// The value of a key of the table.
    pub fn get(&self, path: &str) -> &Value {
        self.0.get(path).map_or(&Value::Nothing, |(value, _)| value)
    }

    /// Where the value was written.
    pub fn place(&self, path: &str) -> &Place {
        self.0.get(path).map_or(&Place::Default, |(_, place)| place)
    }

    /// The same as people may see them.
    #[must_use]
    pub fn shown(&self) -> Self {
        Self(self.0.iter().map(|(path, (value, place))| (*path, (value.shown(), place.clone()))).collect())
    }

    /// Replaces a value.
    pub fn set(&mut self, path: &'static str, value: Value, place: Place) {
        self.0.insert(path, (value, place));
    }
}

/// The honoured keys in the order of the table.
pub fn honoured() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(|key| key.treatment == Treatment::Honoured)
}

/// Reads every value of the tree over `values`.
pub fn check_onto(mut values: Values, tree: &Node, findings: &mut Vec<Finding>) -> Values {
    if let Node::Map(entries) = tree {
        for entry in entries {
            visit(entry, "", None, &mut values, findings);
        }
    }
    values
}

/// One entry. `within` is the nearest key above that covers whatever stands below it.
fn visit(entry: &Entry, above: &str, within: Option<&'static Key>, values: &mut Values, findings: &mut Vec<Finding>) {
    let path = if above.is_empty() { entry.key.clone() } else { format!("{above}.{}", entry.key) };
    let key = keys::find(&path);
    if keys::is_section(&path) {
        let short;
        let entries = match &entry.value {
            Node::Map(entries) => entries.as_slice(),
            Node::Null => &[],
            Node::Scalar(name) if path == "storage" || path == "auth" => {
                short = [Entry { key: name.clone(), place: entry.place.clone(), value: Node::Null }];
                short.as_slice()
            }
            found => {
                let message = format!("`{path}` is {}, expected a section", found.describe());
                findings.push(Finding::new(Severity::Error, entry.place.clone(), message));
                &[]
            }
        };
        for child in entries {
            visit(child, &path, key, values, findings);
        }
        return;
    }
    match key {
        Some(key) if key.treatment == Treatment::Honoured => {
            if entry.value == Node::Null && keys::protects(key.path) {
                // An empty variable, most of the time: what it was to guard would be open.
                let message = format!("`{path}` is empty, and without it more would be open than is meant");
                findings
                    .push(Finding::new(Severity::Error, entry.place.clone(), message).hint("give it a value, or leave it out"));
            } else if entry.value != Node::Null {
                match read(key, &entry.value) {
                    Ok(value) => values.set(key.path, value, entry.place.clone()),
                    Err(expected) => {
                        let message = format!("`{path}` is {}, expected {expected}", entry.value.describe());
                        findings.push(Finding::new(Severity::Error, entry.place.clone(), message));
                    }
                }
            }
        }
        Some(key) => treat(key, &path, entry, findings),
        None => match within {
            Some(key) => treat(key, &path, entry, findings),
            None => findings.push(unknown(entry.place.clone(), &path, Severity::Unknown)),
        },
    }
}

/// What is said of a key that is not honoured.
fn treat(key: &Key, path: &str, entry: &Entry, findings: &mut Vec<Finding>) {
    let place = entry.place.clone();
    let finding = match key.treatment {
        Treatment::Honoured => return,
        Treatment::NoEffect(why) => Finding::new(Severity::Info, place, format!("`{path}` is accepted without effect: {why}")),
        Treatment::Unsupported(consequence) => {
            Finding::new(Severity::Warning, place, format!("`{path}` is not supported: {consequence}"))
        }
        // An empty section configures nothing; but a driver or a method without parameters is one all the same.
        Treatment::Stops(..) if entry.value.is_empty() && path == key.path && !path.starts_with("storage.") => return,
        Treatment::Stops(why, way_out) => Finding::new(Severity::Error, place, format!("`{path}`: {why}")).hint(way_out),
    };
    findings.push(finding);
}

/// The finding for a name that the table does not hold. When it was probably meant to be a key that protects, or one
/// below which such keys stand, the server does not start with it either; nor with one that may say where to store, since
/// the data would lie elsewhere.
pub fn unknown(place: Place, path: &str, severity: Severity) -> Finding {
    let lower = path.to_ascii_lowercase();
    let mut parts: Vec<&str> = lower.split('.').collect();
    let guards = looks_like_a_guard(&parts);
    let mut meant = None;
    while meant.is_none() && !parts.is_empty() {
        meant = keys::nearest(&parts.join("."));
        parts.pop();
        if keys::is_section(&parts.join(".")) {
            break;
        }
    }
    let protects = meant.is_some_and(keys::protects);
    let stores = says_where_to_store(&lower);
    let severity = if protects || guards || stores { Severity::Error } else { severity };
    let hint = match meant {
        Some(known) => format!("`{known}` is known"),
        None if stores => "name the folder to store in as `storage.filesystem.rootdirectory`".to_owned(),
        None if guards => "remove it; what it guarded has to be guarded in front of the server".to_owned(),
        None => String::new(),
    };
    Finding::new(severity, place, format!("unknown key `{path}`")).hint(hint)
}

/// Whether an unknown name is perhaps a storage driver, or a setting of the one there is.
fn says_where_to_store(lower: &str) -> bool {
    lower.strip_prefix("storage.").is_some_and(|rest| {
        let name = rest.split('.').next().unwrap_or_default();
        name == "filesystem" || keys::may_be_driver(name)
    })
}

/// Whether a name at the top or below `http` speaks of what keeps people out, however it is spelled in other versions.
fn looks_like_a_guard(lower: &[&str]) -> bool {
    let name = match lower {
        ["http", name, ..] | [name, ..] => name,
        [] => return false,
    };
    name.starts_with("auth") || name.starts_with("tls") || name.contains("middleware")
}

/// Reads a value of the key's kind, or says what was expected.
fn read(key: &Key, node: &Node) -> Result<Value, String> {
    let text = match node {
        Node::Scalar(text) => Some(text.as_str()),
        _ => None,
    };
    let expect = |value: Option<Value>, expected: &str| value.ok_or_else(|| expected.to_owned());
    match key.kind {
        Kind::Flag => {
            let flag = text.and_then(|text| match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Some(true),
                "false" | "no" | "off" => Some(false),
                _ => None,
            });
            expect(flag.map(Value::Flag), "true or false")
        }
        Kind::Number(least) => {
            let number = text.and_then(|text| text.parse().ok()).filter(|number| *number >= least);
            expect(number.map(Value::Number), &format!("a whole number of at least {least}"))
        }
        // Absolute at once: the server in the background runs in another folder than its starter.
        Kind::Path => {
            let path = text.and_then(|text| std::path::absolute(text).ok());
            expect(path.map(|path| Value::Text(path.to_string_lossy().into_owned())), "a path")
        }
        Kind::Choice(words) => {
            let word = text.map(str::to_ascii_lowercase).filter(|text| words.contains(&text.as_str()));
            let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
            expect(word.map(Value::Text), &words.join(" or "))
        }
        Kind::Duration => {
            let time = text.and_then(parse_duration).filter(|time| !time.is_zero());
            expect(time.map(|time| Value::Duration(Some(time))), "a time such as 30s or 24h")
        }
        Kind::DurationOrNever => {
            let never = text == Some("never");
            let time = text.and_then(parse_duration).filter(|time| !time.is_zero());
            expect((never || time.is_some()).then_some(Value::Duration(time)), "a time such as 24h, or never")
        }
        Kind::Size => expect(text.and_then(ByteSize::parse).map(Value::Size), "a number of bytes such as 4194304 or 4MiB"),
        Kind::Address => expect(text.and_then(ListenAddress::parse).map(Value::Address), "HOST:PORT or :PORT"),
        Kind::UrlPath => {
            let path =
                text.filter(|text| text.starts_with('/') && !text.contains(|c: char| "?#".contains(c) || c.is_whitespace()));
            expect(path.map(|path| Value::Text(path.to_owned())), "a path that begins with /")
        }
        Kind::Url => expect(text.and_then(external_url).map(Value::Text), "http://HOST:PORT or https://HOST:PORT"),
        Kind::Text => expect(text.map(|text| Value::Text(text.to_owned())), "a text"),
        Kind::Secret => expect(text.map(|text| Value::Secret(Password(text.to_owned()))), "a text"),
        Kind::Headers => headers(node).map(Value::Headers),
        Kind::Fields => fields(node).map(Value::Fields),
        Kind::Structured(shape) => structured::read(shape, node).map(Value::Structured),
        Kind::Any => Ok(Value::Nothing),
    }
}

/// Scheme and authority without a slash at the end.
fn external_url(text: &str) -> Option<String> {
    let uri: http::Uri = text.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority().filter(|a| !a.as_str().contains('@'))?;
    (uri.path() == "/" && uri.query().is_none()).then(|| format!("{scheme}://{authority}"))
}

/// These say how a message is framed; a fixed value for them would break every answer.
const FRAMING: [&str; 4] = ["connection", "content-length", "transfer-encoding", "content-type"];

fn headers(node: &Node) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let Node::Map(entries) = node else {
        return Err("header names with a list of values each".to_owned());
    };
    let mut headers = Vec::new();
    for entry in entries {
        let name: HeaderName = entry
            .key
            .parse()
            .ok()
            .filter(|name: &HeaderName| !FRAMING.contains(&name.as_str()))
            .ok_or_else(|| format!("the name of a header that may be set, unlike `{}`", entry.key))?;
        let values = match &entry.value {
            Node::List(values) => values.as_slice(),
            single => std::slice::from_ref(single),
        };
        for value in values {
            let Node::Scalar(text) = value else {
                return Err(format!("a list of texts for `{}`", entry.key));
            };
            let value =
                HeaderValue::from_str(text).map_err(|_| format!("a value that fits into a header for `{}`", entry.key))?;
            headers.push((name.clone(), value));
        }
    }
    Ok(headers)
}

fn fields(node: &Node) -> Result<Vec<(String, String)>, String> {
    let Node::Map(entries) = node else {
        return Err("names with a text each".to_owned());
    };
    entries
        .iter()
        .map(|entry| match &entry.value {
            Node::Scalar(text) => Ok((entry.key.clone(), text.clone())),
            Node::Null => Ok((entry.key.clone(), String::new())),
            _ => Err(format!("a text for `{}`", entry.key)),
        })
        .collect()
}
