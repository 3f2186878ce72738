//! The difference for people: the totals first, then every list in full.

use std::fmt::Write;

use serde_json::Value;
use wharf_layers::compare::{Altered, Aspect, Comparison};
use wharf_layers::listing::{File, FileKind};

use super::config::Change;
use super::image::{Image, Pairs, Side};
use super::report::{PackageChanges, Report};
use crate::ui;

/// What is compared with what.
pub fn heading(before: &Side<'_>, after: &Side<'_>, pairs: &Pairs<'_>) -> String {
    let side = |name: &str, side: &Side<'_>| format!("{name}: {} {}\n", plain(&side.picture.shown), side.picture.root.digest);
    let mut text = side("A", before) + &side("B", after);
    let listed = |images: &[&Image]| images.iter().map(|image| plain(&image.platform_text())).collect::<Vec<_>>().join(", ");
    for (name, images) in [("A", &pairs.removed), ("B", &pairs.added)] {
        if !images.is_empty() {
            let _ = writeln!(text, "Only {name} is for {}", listed(images));
        }
    }
    text
}

/// The images of one platform.
pub fn image(report: &Report<'_>, files: &Comparison<'_>, summary: bool) -> String {
    let mut text = format!("\n{}\n", plain(&report.after.platform_text()));
    for (name, total) in [
        ("Config", config_total(&report.config)),
        ("Packages", packages_total(&report.packages)),
        ("Files", files_total(files)),
        ("Layers", layers_total(report)),
        ("Update", update_total(report)),
    ] {
        let _ = writeln!(text, "  {name:<9} {total}");
    }
    if !summary {
        list(&mut text, "Config", report.config.iter().map(config_line));
        list(&mut text, "Packages", package_lines(&report.packages));
        list(&mut text, "Files", file_lines(files));
    }
    text
}

fn list(text: &mut String, name: &str, lines: impl IntoIterator<Item = String>) {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_some() {
        let _ = writeln!(text, "\n{name}:");
    }
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
}

fn count(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

fn config_total(changes: &[Change]) -> String {
    if changes.is_empty() { "the same".to_owned() } else { count(changes.len(), "difference") }
}

fn packages_total(changes: &PackageChanges) -> String {
    let PackageChanges { lists, added, removed, changed } = changes;
    let [before, after] = lists.map(|list| list.map(|(source, _)| source.as_str()));
    let by = match (before, after) {
        (None, None) => return "none are listed".to_owned(),
        (Some(before), Some(after)) if before == after => format!(" ({after})"),
        (before, after) => format!(" (A: {}, B: {})", before.unwrap_or("none listed"), after.unwrap_or("none listed")),
    };
    if changes.is_empty() {
        return format!("the same{by}");
    }
    format!("{} added, {} removed, {} changed{by}", added.len(), removed.len(), changed.len())
}

fn files_total(files: &Comparison<'_>) -> String {
    if files.is_empty() {
        return "the same".to_owned();
    }
    let (before, after) = files.altered_bytes();
    format!(
        "{} added ({}), {} removed ({}), {} altered ({} before, {} after)",
        files.added.len(),
        ui::size(files.added_bytes()),
        files.removed.len(),
        ui::size(files.removed_bytes()),
        files.altered.len(),
        ui::size(before),
        ui::size(after),
    )
}

fn layers_total(report: &Report<'_>) -> String {
    let update = &report.update;
    format!("{} shared ({}), {} new ({})", update.shared, ui::size(update.shared_bytes), update.new, ui::size(update.new_bytes))
}

fn update_total(report: &Report<'_>) -> String {
    let update = &report.update;
    match (update.new, update.piece_bytes) {
        (0, _) => "nothing to fetch".to_owned(),
        (_, None) => format!("{} to fetch, in whole layers", ui::size(update.new_bytes)),
        (_, Some(bytes)) => {
            format!("{} to fetch in pieces, {} in whole layers", ui::size(bytes), ui::size(update.new_bytes))
        }
    }
}

fn config_line(change: &Change) -> String {
    let what = match &change.name {
        Some(name) => format!("{} {}", change.what, plain(name)),
        None => plain(&change.what),
    };
    let is_member = change.before == Some(Value::Bool(true)) || change.after == Some(Value::Bool(true));
    match (&change.before, &change.after) {
        (Some(_), None) if is_member => format!("- {what}"),
        (None, Some(_)) if is_member => format!("+ {what}"),
        (Some(before), Some(after)) => format!("~ {what}: {} -> {}", value(before), value(after)),
        (Some(before), None) => format!("- {what}: {}", value(before)),
        (None, after) => format!("+ {what}: {}", after.as_ref().map(value).unwrap_or_default()),
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        value => plain(&value.to_string()),
    }
}

fn package_lines(changes: &PackageChanges) -> Vec<String> {
    let added = changes.added.iter().map(|(name, version)| (name, format!("+ {name} {version}")));
    let removed = changes.removed.iter().map(|(name, version)| (name, format!("- {name} {version}")));
    let changed = changes.changed.iter().map(|(name, before, after)| (name, format!("~ {name} {before} -> {after}")));
    let mut lines: Vec<_> = added.chain(removed).chain(changed).collect();
    lines.sort();
    lines.into_iter().map(|(_, line)| plain(&line)).collect()
}

fn file_lines(files: &Comparison<'_>) -> Vec<String> {
    let one = |sign: &str, file: &File| match &file.kind {
        FileKind::Regular { size, .. } => (sign.to_owned(), ui::size(*size)),
        kind => (sign.to_owned(), kind.as_str().to_owned()),
    };
    let added = files.added.iter().map(|(path, file)| (*path, one("+", file)));
    let removed = files.removed.iter().map(|(path, file)| (*path, one("-", file)));
    let altered = files.altered.iter().map(|altered| (altered.path, ("~".to_owned(), alterations(altered))));
    let mut lines: Vec<_> = added.chain(removed).chain(altered).collect();
    lines.sort();
    lines.into_iter().map(|(path, (sign, facts))| format!("{sign} {}  {facts}", plain(&path.to_string()))).collect()
}

fn alterations(altered: &Altered<'_>) -> String {
    let (before, after) = (altered.before, altered.after);
    let target = |file: &File| match &file.kind {
        FileKind::Symlink(target) => plain(&String::from_utf8_lossy(target)),
        FileKind::Character(major, minor) | FileKind::Block(major, minor) => format!("{major}:{minor}"),
        _ => String::new(),
    };
    let told = altered.aspects.iter().map(|aspect| match aspect {
        Aspect::Kind => format!("{} -> {}", before.kind.as_str(), after.kind.as_str()),
        Aspect::Content if before.size() == after.size() => format!("content, {}", ui::size(after.size())),
        Aspect::Content => format!("{} -> {}", ui::size(before.size()), ui::size(after.size())),
        Aspect::Target | Aspect::Device => format!("{} {} -> {}", aspect.as_str(), target(before), target(after)),
        Aspect::Mode => format!("mode {:04o} -> {:04o}", before.mode, after.mode),
        Aspect::Owner => format!("owner {}:{} -> {}:{}", before.uid, before.gid, after.uid, after.gid),
        Aspect::Xattrs | Aspect::Time => aspect.as_str().to_owned(),
    });
    told.collect::<Vec<_>>().join(", ")
}

/// A text of strangers with what would move the cursor or end the line made visible.
fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}
