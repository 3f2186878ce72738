//! Text of strangers, for a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a terminal would do something else with a character than to show it: control characters, and what turns the direction of writing.
fn is_active(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// A text with what is more than text written out: `\n`, `\u{1b}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(is_active) {
        let escaped = text.chars().flat_map(|c| {
            let (plain, escaped) = if is_active(c) { (None, Some(c.escape_default())) } else { (Some(c), None) };
            plain.into_iter().chain(escaped.into_iter().flatten())
        });
        Cow::Owned(escaped.collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// The same for a JSON document whose line ends are its own: what is active in its texts is written as JSON does, `\u001b`.
pub fn printable_json(document: &str) -> Cow<'_, str> {
    let is_inside = |c: char| c != '\n' && is_active(c);
    if !document.contains(is_inside) {
        return Cow::Borrowed(document);
    }
    let mut escaped = String::with_capacity(document.len() + 16);
    for c in document.chars() {
        match is_inside(c) {
            // All of them lie in the first plane; writing to a text does not fail.
            true => drop(write!(escaped, "\\u{:04x}", u32::from(c))),
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_written_out() {
        for (text, shown) in [
            ("plain ä 日本", "plain ä 日本"),
            ("a\nb\tc\r", r"a\nb\tc\r"),
            ("\u{1b}[31mred", r"\u{1b}[31mred"),
            ("\u{9b}2J\u{7f}\0", r"\u{9b}2J\u{7f}\u{0}"),
            ("\u{202e}gpj", r"\u{202e}gpj"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    proptest! {
        #[test]
        fn json_means_the_same(text in "(.|[\\x00-\\x1f\u{7f}\u{9b}\u{202e}]){0,20}") {
            let value = Value::String(text);
            let document = format!("{value:#}\n");
            let shown = printable_json(&document);
            prop_assert_eq!(&serde_json::from_str::<Value>(&shown).unwrap(), &value);
            prop_assert!(!shown.trim_end_matches('\n').contains(is_active));
        }
    }
}
