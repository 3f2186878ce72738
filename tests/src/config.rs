//! Configuration files for the servers under test, written from dotted keys.

use serde_json::{Map, Value, json};

/// A configuration in the format of CNCF distribution, built key by key.
///
/// Keys are dotted paths (`storage.delete.enabled`); values are scalars or lists.
#[derive(Clone, Debug)]
pub struct Config {
    root: Map<String, Value>,
}

impl Default for Config {
    /// What every test starts from: loopback with a port of the kernel's choice, deletes enabled, no access log. The
    /// storage folder is added by the server, which knows it.
    fn default() -> Self {
        let mut config = Self { root: Map::new() };
        config.put("version", 0.1);
        config.put("log.accesslog.disabled", true);
        config.put("http.addr", "127.0.0.1:0");
        config.put("storage.delete.enabled", true);
        config
    }
}

impl Config {
    /// This configuration with `key` set to `value`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.put(key, value);
        self
    }

    /// This configuration with a file for every blob, however small: for tests that look at files.
    #[must_use]
    pub fn with_files(self) -> Self {
        self.set("wharf.storage.inline", 0)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let (last, path) = key.rsplit_once('.').map_or((key, ""), |(path, last)| (last, path));
        let node = path.split('.').filter(|name| !name.is_empty()).try_fold(&self.root, |node, name| node.get(name)?.as_object());
        node?.get(last)
    }

    /// This configuration without `key` and all below it.
    #[must_use]
    pub fn unset(mut self, key: &str) -> Self {
        let mut node = &mut self.root;
        let mut path = key.split('.').peekable();
        while let Some(name) = path.next() {
            if path.peek().is_none() {
                node.remove(name);
                break;
            }
            match node.get_mut(name).and_then(Value::as_object_mut) {
                Some(next) => node = next,
                None => break,
            }
        }
        self
    }

    /// Sets `key` to `value` in place.
    pub fn put(&mut self, key: &str, value: impl Into<Value>) {
        let mut node = &mut self.root;
        let mut path = key.split('.').peekable();
        while let Some(name) = path.next() {
            if path.peek().is_none() {
                node.insert(name.to_owned(), value.into());
                return;
            }
            let child = node.entry(name).or_insert_with(|| json!({}));
            node = child.as_object_mut().expect("a key below a scalar");
        }
    }

    /// The YAML text, in block style as people write it.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        write_map(&mut text, &self.root, 0);
        text
    }
}

fn write_map(text: &mut String, map: &Map<String, Value>, depth: usize) {
    for (key, value) in map {
        text.push_str(&"  ".repeat(depth));
        text.push_str(key);
        text.push(':');
        match value {
            Value::Object(inner) => {
                text.push('\n');
                write_map(text, inner, depth + 1);
            }
            // Scalars and lists of scalars are written as JSON, which is YAML too.
            other => {
                text.push(' ');
                text.push_str(&other.to_string());
                text.push('\n');
            }
        }
    }
}
