//! Images with other labels.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Error;
use wharf_oci::{Digest, ImageManifest, Layout, LayoutWriter};

use crate::rewrite::{self, Edit, Members};
use crate::ui::Failure;

/// What becomes of labels.
#[derive(Debug, Default)]
pub struct Change {
    /// Labels that are put on.
    pub put: BTreeMap<String, String>,
    /// Keys of labels that are taken off.
    pub removed: BTreeSet<String>,
}

/// Puts a change into images.
pub struct Labels<'a> {
    change: &'a Change,
    /// Configurations that were looked at, and what is in their place: two images may share one.
    known: BTreeMap<Digest, (Digest, u64)>,
}

impl Change {
    /// Whether it changes these labels, which it does.
    fn apply(&self, labels: &mut BTreeMap<String, String>) -> bool {
        let before = labels.clone();
        labels.extend(self.put.clone());
        labels.retain(|key, _| !self.removed.contains(key));
        *labels != before
    }
}

impl<'a> Labels<'a> {
    /// For images that are to have this change.
    pub fn new(change: &'a Change) -> Self {
        Self { change, known: BTreeMap::new() }
    }
}

impl Edit for Labels<'_> {
    fn image(
        &mut self,
        layout: &Layout,
        writer: &mut LayoutWriter,
        bytes: &[u8],
        image: &ImageManifest,
    ) -> Result<Option<Members>, Failure> {
        let (old, size) = (image.config.digest, image.config.size);
        let (digest, size) = match self.known.get(&old) {
            Some(known) => *known,
            None => {
                let bytes = layout.read(&image.config).map_err(|error| Failure::of(&error))?;
                let changed = with_labels(&bytes, self.change)
                    .map_err(|error| Failure::new(format!("the configuration {old} cannot be used")).because(&error))?;
                let new = match changed {
                    Some(bytes) => (rewrite::add(writer, &bytes)?, bytes.len() as u64),
                    None => (old, size),
                };
                self.known.insert(old, new);
                new
            }
        };
        if digest == old {
            return Ok(None);
        }
        let named = || -> Result<Members, Error> {
            let mut manifest = Members::parse(bytes)?;
            let mut descriptor: Members = manifest.get("config")?.unwrap_or_default();
            descriptor.set("digest", &digest)?;
            descriptor.set("size", &size)?;
            // A copy of the content that was.
            descriptor.remove("data");
            manifest.set("config", &descriptor)?;
            Ok(manifest)
        };
        named().map(Some).map_err(|error| Failure::new("the manifest cannot be used").because(&error))
    }
}

/// A configuration with other labels; `None` when they are the same.
fn with_labels(bytes: &[u8], change: &Change) -> Result<Option<Vec<u8>>, Error> {
    let mut config = Members::parse(bytes)?;
    let mut execution: Members = config.get("config")?.unwrap_or_default();
    let mut labels = execution.get("Labels")?.unwrap_or_default();
    if !change.apply(&mut labels) {
        return Ok(None);
    }
    match labels.is_empty() {
        true => execution.remove("Labels"),
        false => execution.set("Labels", &labels)?,
    }
    config.set("config", &execution)?;
    config.to_bytes().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(put: &[(&str, &str)], removed: &[&str]) -> Change {
        let put = put.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Change { put, removed: removed.iter().map(|key| (*key).to_owned()).collect() }
    }

    fn labelled(config: &str, change: &Change) -> Option<String> {
        with_labels(config.as_bytes(), change).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn labels_come_and_go_and_all_else_stays() {
        let both = change(&[("b", "2"), ("a", "1")], &["c"]);
        for (before, after) in [
            (r#"{}"#, r#"{"config":{"Labels":{"a":"1","b":"2"}}}"#),
            (r#"{"config":null,"os":"linux"}"#, r#"{"config":{"Labels":{"a":"1","b":"2"}},"os":"linux"}"#),
            (
                r#"{"x":1.0,"config":{"User":"0","Labels":{"c":"3","d":"4","b":"0"},"Env":[ ]},"os":"linux"}"#,
                r#"{"x":1.0,"config":{"User":"0","Labels":{"a":"1","b":"2","d":"4"},"Env":[ ]},"os":"linux"}"#,
            ),
        ] {
            assert_eq!(labelled(before, &both).as_deref(), Some(after));
            assert_eq!(labelled(after, &both), None);
        }
        assert_eq!(labelled(r#"{"config":{"Labels":{"c":"3"}}}"#, &change(&[], &["c"])).as_deref(), Some(r#"{"config":{}}"#));
        assert_eq!(labelled(r#"{"config":{"Labels":{}}}"#, &change(&[], &["c"])), None);
        for wrong in ["[]", r#"{"config":[]}"#, r#"{"config":{"Labels":{"a":1}}}"#] {
            assert!(with_labels(wrong.as_bytes(), &both).is_err(), "{wrong}");
        }
    }
}
