//! An image for people.

use std::collections::BTreeMap;

use wharf_oci::Digest;

use super::facts::{Facts, Image, compression, cut};
use crate::ui;
use wharf_terminal::printable::printable;

/// Digits of a digest that tell one layer from another.
const SHORT: usize = 12;
/// Characters at most of the command that made a layer.
const COMMAND: usize = 72;
/// What older builders put in front of a command that was none for a shell.
const NO_COMMAND: &str = "/bin/sh -c #(nop) ";

/// Something that an image says, in lines.
#[derive(Clone, PartialEq, Eq)]
struct Field {
    name: &'static str,
    lines: Vec<String>,
}

/// The whole, with a line end. What all images of an index say is there once, what only some say or say otherwise stands below each.
pub fn page(facts: &Facts) -> String {
    let mut head = vec![
        field("Name", [facts.shown.as_str()]),
        field("Digest", [facts.root.digest.to_string()]),
        field("Media type", [facts.root.media_type.as_str()]),
        field("Size", [ui::size(facts.size)]),
    ];
    head.extend(pairs("Annotations", &facts.annotations));
    let fields: Vec<_> = facts.images.iter().map(fields).collect();
    if let (false, [image], [own]) = (facts.is_index, facts.images.as_slice(), fields.as_slice()) {
        head.extend(image.platform.as_ref().map(|platform| field("Platform", [platform.to_string()])));
        head.extend(own.iter().cloned());
        return format!("{}\n{}", block(&head, ""), layers(image, ""));
    }
    let (first, others) = fields.split_first().map_or((&[][..], &[][..]), |(first, others)| (first.as_slice(), others));
    let is_common = |field: &Field| others.iter().all(|fields| fields.contains(field));
    head.extend(first.iter().filter(|field| is_common(field)).cloned());
    let mut page = format!("{}\n{}", block(&head, ""), platforms(&facts.images));
    for (image, fields) in facts.images.iter().zip(&fields) {
        let own: Vec<_> = fields.iter().filter(|field| !(first.contains(field) && is_common(field))).cloned().collect();
        page.push_str(&format!("\n{}\n{}{}", title(image), block(&own, "  "), layers(image, "  ")));
    }
    page
}

fn title(image: &Image) -> String {
    match &image.platform {
        Some(platform) => printable(&platform.to_string()).into_owned(),
        None => short(&image.descriptor.digest),
    }
}

fn short(digest: &Digest) -> String {
    hex_of(digest).chars().take(SHORT).collect()
}

fn hex_of(digest: &Digest) -> String {
    digest.to_string().split_once(':').map(|(_, hash)| hash.to_owned()).unwrap_or_default()
}

fn field<T: AsRef<str>>(name: &'static str, lines: impl IntoIterator<Item = T>) -> Field {
    Field { name, lines: lines.into_iter().map(|line| printable(line.as_ref()).into_owned()).collect() }
}

fn pairs(name: &'static str, pairs: &BTreeMap<String, String>) -> Option<Field> {
    (!pairs.is_empty()).then(|| field(name, pairs.iter().map(|(key, value)| format!("{key}={value}"))))
}

/// What an image says of itself, but for what it is made of.
fn fields(image: &Image) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut say = |name, lines: Vec<String>| {
        if lines.iter().any(|line| !line.is_empty()) {
            fields.push(field(name, lines));
        }
    };
    say("Artifact", image.manifest.artifact_type.iter().cloned().collect());
    let quoted = |words: &[String]| if words.is_empty() { String::new() } else { serde_json::json!(words).to_string() };
    if let Some(config) = &image.config {
        let run = &config.config;
        say("Created", vec![config.created.clone()]);
        say("Author", vec![config.author.clone()]);
        say("Entry point", vec![quoted(&run.entrypoint)]);
        say("Command", vec![quoted(&run.cmd)]);
        say("Working dir", vec![run.working_dir.clone()]);
        say("User", vec![run.user.clone()]);
        say("Environment", run.env.clone());
        say("Ports", run.exposed_ports.keys().cloned().collect());
        say("Volumes", run.volumes.keys().cloned().collect());
        say("Stop signal", vec![run.stop_signal.clone()]);
        fields.extend(pairs("Labels", &run.labels));
    }
    fields.extend(image.manifest.annotations.as_ref().and_then(|annotations| pairs("Annotations", annotations)));
    fields
}

/// Fields below each other, their values in one column.
fn block(fields: &[Field], margin: &str) -> String {
    let width = fields.iter().map(|field| field.name.len() + 1).max().unwrap_or_default();
    let mut text = String::new();
    for Field { name, lines } in fields {
        for (number, line) in lines.iter().enumerate() {
            let name = if number == 0 { format!("{name}:") } else { String::new() };
            text.push_str(format!("{margin}{name:width$}  {line}").trim_end());
            text.push('\n');
        }
    }
    text
}

fn platforms(images: &[Image]) -> String {
    let row = |image: &Image| {
        let layers = image.manifest.layers.len().to_string();
        let platform = image.platform.as_ref().map_or_else(|| "-".to_owned(), |platform| printable(&platform.to_string()).into());
        [platform, ui::size(image.size()), layers, image.descriptor.digest.to_string()]
    };
    let head = ["PLATFORM", "SIZE", "LAYERS", "DIGEST"].map(str::to_owned);
    table(&[vec![head], images.iter().map(row).collect()].concat(), "")
}

fn layers(image: &Image, margin: &str) -> String {
    if image.manifest.layers.is_empty() {
        return format!("{margin}no layers\n");
    }
    let count = image.manifest.layers.len();
    let commands = image.config.as_ref().map(|config| config.commands(count)).unwrap_or_default();
    let commands = commands.into_iter().chain(std::iter::repeat(""));
    let row = |(layer, command): (&wharf_oci::Descriptor, &str)| {
        let form = compression(layer).map_or_else(|| printable(&layer.media_type), Into::into);
        let form = if cut(layer).is_some() { format!("{form}, cut") } else { form.into_owned() };
        [short(&layer.digest), ui::size(layer.size), form, line(command)]
    };
    let head = ["LAYER", "SIZE", "FORM", "MADE BY"].map(str::to_owned);
    table(&[vec![head], image.manifest.layers.iter().zip(commands).map(row).collect()].concat(), margin)
}

/// A command on one line that is not too long.
fn line(command: &str) -> String {
    let command = command.strip_prefix(NO_COMMAND).unwrap_or(command);
    let words = command.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = printable(&words);
    match line.char_indices().nth(COMMAND) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.is_empty() => "-".to_owned(),
        None => line.into_owned(),
    }
}

/// Rows with their cells in columns, as `list --long` has them.
fn table(rows: &[[String; 4]], margin: &str) -> String {
    let widths = [0, 1, 2, 3].map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
    let line = |row: &[String; 4]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{margin}{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_short_line() {
        for (command, shown) in [
            ("", "-"),
            ("/bin/sh -c #(nop)  CMD [\"sh\"]", "CMD [\"sh\"]"),
            ("RUN a \\\n\t b", "RUN a \\ b"),
            ("\u{1b}[2Jx", r"\u{1b}[2Jx"),
        ] {
            assert_eq!(line(command), shown);
        }
        let long = line(&"ä".repeat(100));
        assert_eq!((long.chars().count(), long.ends_with('…')), (COMMAND + 1, true));
    }

    #[test]
    fn values_stand_in_one_column() {
        let fields = [field("Name", ["x"]), field("Environment", ["A=1", "B=\n"])];
        assert_eq!(block(&fields, " "), " Name:         x\n Environment:  A=1\n               B=\\n\n");
    }
}
