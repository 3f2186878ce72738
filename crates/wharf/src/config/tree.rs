//! A YAML document as a tree in which every key knows its line.

use std::path::Path;
use std::sync::Arc;

use marked_yaml::{LoadError, LoaderOptions, Marker};

use super::finding::{Finding, Place, Severity};

/// A configuration file larger than this is none.
pub const MAX_BYTES: usize = 1 << 20;
/// The YAML reader recurses once for each level, and a level costs at least one leading character of some line, so this
/// keeps a hostile file from exhausting the stack. (Levels in brackets are bounded by the reader itself.)
const MAX_INDENT: usize = 256;

/// A value of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Nothing, `~`, `null` or an empty text.
    Null,
    /// A scalar, as text.
    Scalar(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written.
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where it was written.
    pub place: Place,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The entry of a mapping under this key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|entry| entry.key == key)
    }

    /// Whether nothing is configured by it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Scalar(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Map(entries) => entries.is_empty(),
        }
    }

    /// The value as a message names it.
    pub fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Scalar(text) => format!("`{text}`"),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a section".to_owned(),
        }
    }

    /// Puts `value` at `path` (its components), creating sections on the way. A mapping is merged into a mapping.
    pub fn set(&mut self, path: &[&str], value: Node, place: &Place) {
        let Some((first, rest)) = path.split_first() else {
            match (self, value) {
                (Self::Map(old), Self::Map(new)) => {
                    for entry in new {
                        let mut parent = Self::Map(std::mem::take(old));
                        parent.set(&[entry.key.as_str()], entry.value, place);
                        if let Self::Map(entries) = parent {
                            *old = entries;
                        }
                    }
                }
                (target, value) => *target = value,
            }
            return;
        };
        // `storage: filesystem` and `auth: htpasswd` are short forms of a section with one empty section in it.
        match self {
            Self::Map(_) => {}
            Self::Scalar(name) => {
                let key = std::mem::take(name);
                *self = Self::Map(vec![Entry { key, place: place.clone(), value: Self::Null }]);
            }
            _ => *self = Self::Map(Vec::new()),
        }
        let Self::Map(entries) = self else { return };
        let index = entries.iter().position(|entry| entry.key == *first).unwrap_or_else(|| {
            entries.push(Entry { key: (*first).to_owned(), place: place.clone(), value: Self::Null });
            entries.len() - 1
        });
        let entry = &mut entries[index];
        if rest.is_empty() {
            entry.place = place.clone();
        }
        entry.value.set(rest, value, place);
    }
}

/// Reads a document. What is wrong with its syntax is one finding: a reader cannot go on behind it.
pub fn parse(text: &str, file: &Arc<Path>) -> Result<Node, Finding> {
    let at = |line: usize, message: String| Finding::new(Severity::Error, Place::Line(Arc::clone(file), line), message);
    if text.len() > MAX_BYTES {
        return Err(at(1, format!("larger than {MAX_BYTES} bytes")));
    }
    // Some editors put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_shape(text).map_err(|(line, message)| at(line, message.to_owned()))?;
    let options = LoaderOptions::default().error_on_duplicate_keys(true).prevent_coercion(true);
    match marked_yaml::parse_yaml_with_options(0, text, options) {
        Ok(node) => Ok(convert(&node, &|line| Place::Line(Arc::clone(file), line))),
        Err(error) => {
            let (line, message) = explain(&error);
            Err(at(line, message))
        }
    }
}

/// Reads the value of an environment variable: YAML when it opens a list or a mapping, else a plain text.
pub fn parse_variable(name: &str, value: &str) -> Result<Node, Finding> {
    let place = Place::Variable(name.to_owned());
    let value = value.trim();
    if !value.starts_with(['[', '{']) && !value.contains(": ") && !value.ends_with(':') {
        return Ok(scalar(value));
    }
    let options = LoaderOptions::default().error_on_duplicate_keys(true).prevent_coercion(true);
    let options = if value.starts_with('[') { options.toplevel_sequence() } else { options.toplevel_mapping() };
    check_shape(value)
        .map_err(|(_, message)| message.to_owned())
        .and_then(|()| marked_yaml::parse_yaml_with_options(0, value, options).map_err(|error| explain(&error).1))
        .map(|node| convert(&node, &|_| place.clone()))
        .map_err(|message| Finding::new(Severity::Error, place.clone(), message))
}

/// What the reader itself does not see: levels without end, and a second document, of which it would read nothing and
/// say nothing, although an `auth` section may stand there.
fn check_shape(text: &str) -> Result<(), (usize, &'static str)> {
    let (mut content, mut begun) = (false, false);
    for (index, line) in text.lines().enumerate() {
        let indent = line.bytes().take_while(|b| matches!(b, b' ' | b'\t' | b'-' | b'?' | b':')).count();
        if indent > MAX_INDENT {
            return Err((index + 1, "nested too deeply"));
        }
        let marker = line.starts_with("---") || line.starts_with("...");
        if marker && content {
            return Err((index + 1, "a second document begins here; a configuration is one"));
        }
        begun |= marker;
        // Before the first marker stand directives, such as `%YAML 1.2`.
        let directive = !begun && line.starts_with('%');
        content |= !(marker || directive || line.trim().is_empty() || line.trim_start().starts_with('#'));
    }
    Ok(())
}

fn scalar(text: &str) -> Node {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Node::Null,
        text => Node::Scalar(text.to_owned()),
    }
}

fn convert(node: &marked_yaml::Node, place: &dyn Fn(usize) -> Place) -> Node {
    match node {
        marked_yaml::Node::Scalar(text) if text.may_coerce() || text.is_empty() => scalar(text.as_str()),
        // In quotes, `null` and `~` are words like others.
        marked_yaml::Node::Scalar(text) => Node::Scalar(text.as_str().to_owned()),
        marked_yaml::Node::Sequence(items) => Node::List(items.iter().map(|item| convert(item, place)).collect()),
        marked_yaml::Node::Mapping(map) => Node::Map(
            map.iter()
                .map(|(key, value)| Entry {
                    key: key.as_str().to_owned(),
                    place: place(key.span().start().map_or(1, Marker::line)),
                    value: convert(value, place),
                })
                .collect(),
        ),
    }
}

fn explain(error: &LoadError) -> (usize, String) {
    match error {
        LoadError::TopLevelMustBeMapping(mark) => (mark.line(), "not a mapping of keys to values".to_owned()),
        LoadError::TopLevelMustBeSequence(mark) => (mark.line(), "not a list".to_owned()),
        LoadError::UnexpectedAnchor(mark) => (mark.line(), "YAML anchors are not supported; write the value out".to_owned()),
        LoadError::UnexpectedTag(mark) => (mark.line(), "YAML tags are not supported; write the plain value".to_owned()),
        LoadError::MappingKeyMustBeScalar(mark) => (mark.line(), "a key must be a plain text".to_owned()),
        LoadError::ScanError(mark, error) => (mark.line(), error.info().to_owned()),
        LoadError::DuplicateKey(pair) => {
            let line = |node: &marked_yaml::types::MarkedScalarNode| node.span().start().map_or(1, Marker::line);
            (line(&pair.key), format!("key `{}` stands twice, first on line {}", pair.key.as_str(), line(&pair.prev_key)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Node, String> {
        let file: Arc<Path> = Arc::from(Path::new("c.yml"));
        parse(text, &file).map_err(|finding| finding.to_string())
    }

    #[test]
    fn keys_know_their_lines() {
        let Ok(Node::Map(entries)) = read("# head\nversion: 0.1\nhttp:\n  addr: :5000\n") else {
            panic!("a mapping");
        };
        assert_eq!(entries[0].place.to_string(), "c.yml:2");
        let Node::Map(http) = &entries[1].value else { panic!("a section") };
        assert_eq!(http[0].place.to_string(), "c.yml:4");
        assert_eq!(http[0].value, Node::Scalar(":5000".into()));
    }

    #[test]
    fn wrong_syntax_is_named_with_its_line() {
        let cases = [
            ("a: 1\na: 2\n", "c.yml:2: key `a` stands twice, first on line 1"),
            ("a: 1\nb: &x 1\n", "c.yml:2: YAML anchors"),
            ("a: 1\nb: !!str 1\n", "c.yml:2: YAML tags"),
            ("- a\n", "c.yml:1: not a mapping"),
            ("a: 1\nb: c: d\n", "c.yml:2: mapping values are not allowed"),
            ("a: 1\n---\nauth: x\n", "c.yml:2: a second document"),
            ("a: *x\n", "c.yml:1: "),
            ("a: &x 1\nb: *x\n", "c.yml:1: YAML anchors"),
            ("%YAML 1.2\n---\na: 1\n---\nauth: x\n", "c.yml:4: a second document"),
        ];
        for (text, expected) in cases {
            let error = read(text).expect_err(text);
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn endless_nesting_is_refused_rather_than_exhausting_the_stack() {
        for text in [
            format!("a:\n  {}x", "- ".repeat(100_000)),
            format!("{}x", "? ".repeat(100_000)),
            format!("a: {}", "[".repeat(100_000)),
            (0..2000).map(|i| format!("{}a:\n", " ".repeat(i))).collect(),
        ] {
            assert!(read(&text).is_err());
        }
    }

    #[test]
    fn a_leading_marker_and_an_empty_file_are_fine() {
        assert!(matches!(read("---\n# x\nversion: 0.1\n"), Ok(Node::Map(e)) if e.len() == 1));
        assert_eq!(read(""), Ok(Node::Map(vec![])));
        assert_eq!(read("\u{feff}a: 1\n"), read("a: 1\n"));
        assert!(matches!(read("%YAML 1.2\n---\nversion: 0.1\n"), Ok(Node::Map(e)) if e.len() == 1));
    }

    #[test]
    fn values_are_set_and_merged() {
        let place = Place::Variable("V".into());
        let mut tree = read("storage:\n  filesystem:\n    rootdirectory: /a\n").expect("yaml");
        tree.set(&["storage", "delete", "enabled"], Node::Scalar("true".into()), &place);
        let merged = parse_variable("V", "{filesystem: {rootdirectory: /b}}").expect("yaml");
        tree.set(&["storage"], merged, &place);
        let text = format!("{tree:?}");
        assert!(text.contains("/b") && !text.contains("\"/a\"") && text.contains("delete"), "{text}");
    }

    #[test]
    fn a_short_form_becomes_a_section() {
        let place = Place::Variable("V".into());
        let mut tree = read("storage: filesystem\n").expect("yaml");
        tree.set(&["storage", "filesystem", "rootdirectory"], Node::Scalar("/b".into()), &place);
        let Node::Map(entries) = &tree else { panic!("map") };
        let Node::Map(storage) = &entries[0].value else { panic!("map") };
        assert_eq!(storage.len(), 1);
    }
}
