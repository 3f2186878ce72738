//! What a build says of its images, and what is shown of what strangers say.

use serde_json::Value;
use wharf_terminal::printable::{printable, printable_json};
use wharf_yocto::labels::BuildTime;
use wharf_yocto::version::{Version, before_build};
use wharf_yocto::words;

use super::target;
use crate::Target;

pub(crate) const WORDS: Target =
    target!("words", ["a=1 b='two words' c=\"x \\\" y\" d\\ e", "1.2.3-rc1+build", "v2026.04", "1768228222"], |data| {
        let Ok(text) = std::str::from_utf8(data) else { return };
        if let Ok(words) = words::split(text) {
            assert!(words.iter().map(String::len).sum::<usize>() <= text.len());
        }
        let _ = words::pairs(text);
        if let Ok(version) = Version::parse(text) {
            assert!(version.nested().iter().all(|nested| text.contains(nested)));
        }
        assert!(text.starts_with(before_build(text)));
        let _ = BuildTime::of_epoch(text);
    });

/// Nothing that a terminal acts on comes through.
pub(crate) const PRINTABLE: Target = target!("printable", ["a\u{1b}[31mb\n", "{\"a\":\"\u{202e}b\"}\n"], |data| {
    let text = String::from_utf8_lossy(data);
    assert!(!printable(&text).chars().any(char::is_control));
    assert!(!printable_json(&text).chars().any(|c| c.is_control() && c != '\n'));
    if let Ok(value) = serde_json::from_str::<Value>(&text) {
        // As programs write it, there are no blanks but those of the layout.
        let json = serde_json::to_string_pretty(&value).expect("JSON");
        assert_eq!(serde_json::from_str::<Value>(&printable_json(&json)).ok(), serde_json::from_str(&json).ok());
    }
});
