//! Writing configurations: the commented template, and the file of what is in force.

use super::check::{Value, Values, honoured};
use super::keys::{KEYS, Treatment};

const WIDTH: usize = 110;

const HEAD: &str = "\
# Configuration of wharf: every key with its default. The format is that of CNCF distribution 2.8 and 3, so its files
# are read too; keys below `wharf` are this program's own. Times are written 30s, 24h or 7d, sizes 4194304 or 4MiB.
#
# Each key can be overridden by an environment variable, REGISTRY_ and the path in capitals joined by underscores:
# REGISTRY_HTTP_ADDR=localhost:5001. `wharf config check FILE` tells what is wrong with a file.
";

/// The commented template with all defaults.
pub fn template() -> String {
    let mut text = HEAD.to_owned();
    text.push_str(&body(&Values::defaults(), true));
    text.push_str("\n# Other keys of distribution's format:\n");
    for key in KEYS {
        let note = match key.treatment {
            Treatment::Honoured => continue,
            Treatment::NoEffect(why) => format!("accepted without effect: {why}"),
            Treatment::Unsupported(consequence) => format!("not supported: {consequence}"),
            Treatment::Stops(why, _) => format!("the server does not start with it: {why}"),
        };
        comment(&mut text, "", &format!("{}: {note}.", key.path));
    }
    text
}

/// The values as a file, without comments but `head`, which is written as comment lines.
pub fn in_force(values: &Values, head: &str) -> String {
    let mut text = String::new();
    for line in head.lines() {
        text.push_str(&format!("# {line}\n"));
    }
    text.push_str(&body(values, false));
    text
}

fn body(values: &Values, documented: bool) -> String {
    let mut text = String::new();
    let mut open: Vec<&str> = Vec::new();
    for key in honoured() {
        let value = values.get(key.path);
        let unset = matches!(value, Value::Nothing) || *value == Value::Text(String::new());
        if unset && !documented {
            continue;
        }
        let parts: Vec<&str> = key.path.split('.').collect();
        let (name, sections) = (parts[parts.len() - 1], &parts[..parts.len() - 1]);
        let common = open.iter().zip(sections).take_while(|(a, b)| a == b).count();
        open.truncate(common);
        if documented && open.is_empty() {
            text.push('\n');
        }
        for section in &sections[common..] {
            open.push(section);
            let indent = "  ".repeat(open.len() - 1);
            // A section in which nothing is set would be one that configures something all the same.
            let mark = if is_unset(values, &open.join(".")) { "# " } else { "" };
            text.push_str(&format!("{mark}{indent}{section}:\n"));
        }
        let indent = "  ".repeat(open.len());
        if documented {
            comment(&mut text, &indent, key.doc);
        }
        let line = match unset {
            true if is_unset(values, &open.join(".")) => format!("# {indent}{name}:"),
            true => format!("{indent}# {name}:"),
            false => format!("{indent}{name}: {}", value.to_yaml()),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Whether no key of a section has a value.
fn is_unset(values: &Values, section: &str) -> bool {
    let within = |path: &str| path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
    let mut inside = honoured().filter(|key| within(key.path)).map(|key| values.get(key.path));
    inside.all(|value| matches!(value, Value::Nothing) || *value == Value::Text(String::new()))
}

/// Comment lines that keep within the page's width.
fn comment(text: &mut String, indent: &str, words: &str) {
    let mut line = format!("{indent}#");
    for word in words.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = format!("{indent}#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
