//! Docker's forms of output: tables, JSON, and templates of Go.

use std::collections::HashMap;

use gtmpl::{Context, FuncError, Template, Value};
use serde::Serialize;
use wharf_terminal::printable::printable;
use wharf_terminal::ui::{self, Failure};

/// How a list is printed.
#[derive(Clone, Debug)]
pub enum Format {
    /// Columns under a heading.
    Table,
    /// A JSON document on each line.
    Json,
    /// A template for each line; with a heading, when it began with `table `.
    Template(String, bool),
}

impl Format {
    /// Reads the value of `--format`.
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            None | Some("" | "table") => Self::Table,
            Some("json") => Self::Json,
            Some(text) => match text.strip_prefix("table ") {
                Some(template) => Self::Template(escapes(template), true),
                None => Self::Template(escapes(text), false),
            },
        }
    }
}

/// `\t` and `\n` as Docker reads them in formats.
fn escapes(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

/// Prints a list. `rows` are JSON objects whose members templates may name; `shown` are the columns of the table, by name and heading.
pub fn print_list(format: &Format, shown: &[(&str, &str)], rows: &[serde_json::Value]) -> Result<(), Failure> {
    let text = |row: &serde_json::Value, name: &str| match &row[name] {
        serde_json::Value::String(text) => printable(text).into_owned(),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    };
    match format {
        Format::Json => {
            let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
            ui::print(wharf_terminal::printable::printable_json(&lines))
        }
        Format::Table => {
            let heading = shown.iter().map(|(_, heading)| (*heading).to_owned()).collect();
            let lines = rows.iter().map(|row| shown.iter().map(|(name, _)| text(row, name)).collect());
            ui::print(table(std::iter::once(heading).chain(lines).collect()))
        }
        Format::Template(template, is_table) => {
            let template = Parsed::new(template)?;
            let mut lines = Vec::new();
            if *is_table {
                let headings: serde_json::Map<_, _> =
                    shown.iter().map(|(name, heading)| ((*name).to_owned(), (*heading).into())).collect();
                lines.push(template.render(&headings.into())?);
            }
            for row in rows {
                lines.push(template.render(row)?);
            }
            match is_table {
                true => ui::print(table(lines.iter().map(|line| line.split('\t').map(str::to_owned).collect()).collect())),
                false => ui::print(lines.iter().map(|line| format!("{line}\n")).collect::<String>()),
            }
        }
    }
}

/// Prints what was inspected: a JSON array, over several lines or in one, or a template for each.
pub fn print_all(format: Option<&str>, all: &[impl Serialize]) -> Result<(), Failure> {
    let failed = |error: serde_json::Error| Failure::of(&error);
    let text = match format {
        None | Some("") => serde_json::to_string_pretty(all).map_err(failed)?,
        Some("json") => serde_json::to_string(all).map_err(failed)?,
        Some(template) => {
            let template = Parsed::new(&escapes(template))?;
            for value in all {
                let value = serde_json::to_value(value).map_err(failed)?;
                ui::print(format_args!("{}\n", template.render(&value)?))?;
            }
            return Ok(());
        }
    };
    ui::print(format_args!("{}\n", wharf_terminal::printable::printable_json(&text)))
}

/// Columns side by side, three spaces apart, as Docker has them.
pub fn table(rows: Vec<Vec<String>>) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        for (place, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(place) {
                Some(known) => *known = width.max(*known),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for row in rows {
        let last = row.len().saturating_sub(1);
        for (place, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if place < last {
                let pad = widths.get(place).copied().unwrap_or(0) + 3 - cell.chars().count();
                text.extend(std::iter::repeat_n(' ', pad));
            }
        }
        text.push('\n');
    }
    text
}

/// A template that was read.
pub struct Parsed(Template);

impl Parsed {
    /// Reads a template.
    pub fn new(text: &str) -> Result<Self, Failure> {
        let mut template = Template::default();
        template.add_func("json", json);
        template.add_func("join", join);
        template.add_func("split", split);
        template.add_func("lower", |arguments| text_of(arguments).map(|text| text.to_lowercase().into()));
        template.add_func("upper", |arguments| text_of(arguments).map(|text| text.to_uppercase().into()));
        template.add_func("title", |arguments| {
            let text = text_of(arguments)?;
            let mut rest = text.chars();
            let first: String = rest.next().into_iter().flat_map(char::to_uppercase).collect();
            Ok(format!("{first}{}", rest.as_str()).into())
        });
        template.parse(text).map_err(|error| Failure::new(format!("the format `{text}` is no template")).because(&error))?;
        Ok(Self(template))
    }

    /// What it makes of a value.
    pub fn render(&self, value: &serde_json::Value) -> Result<String, Failure> {
        let rendered = self.0.render(&Context::from(value_of(value)));
        rendered.map_err(|error| Failure::new("the format cannot be filled in").because(&error))
    }
}

fn value_of(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => (*value).into(),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.as_f64().unwrap_or_default().into(),
        },
        serde_json::Value::String(text) => text.as_str().into(),
        serde_json::Value::Array(list) => Value::Array(list.iter().map(value_of).collect()),
        serde_json::Value::Object(members) => {
            Value::Map(members.iter().map(|(name, value)| (name.clone(), value_of(value))).collect::<HashMap<_, _>>())
        }
    }
}

fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::String(text) => text.clone().into(),
        Value::Array(list) => list.iter().map(json_of).collect(),
        Value::Map(members) | Value::Object(members) => {
            serde_json::Value::Object(members.iter().map(|(name, value)| (name.clone(), json_of(value))).collect())
        }
        Value::Number(number) => serde_json::from_str(&number.to_string()).unwrap_or_default(),
        _ => serde_json::Value::Null,
    }
}

fn json(arguments: &[Value]) -> Result<Value, FuncError> {
    match arguments {
        [value] => Ok(json_of(value).to_string().into()),
        _ => Err(FuncError::ExactlyXArgs("json".into(), 1)),
    }
}

fn text_of(arguments: &[Value]) -> Result<String, FuncError> {
    match arguments {
        [Value::String(text)] => Ok(text.clone()),
        [other] => Ok(other.to_string()),
        _ => Err(FuncError::ExactlyXArgs("a text function".into(), 1)),
    }
}

fn join(arguments: &[Value]) -> Result<Value, FuncError> {
    match arguments {
        [Value::Array(list), Value::String(between)] => {
            Ok(list.iter().map(ToString::to_string).collect::<Vec<_>>().join(between).into())
        }
        [Value::Nil | Value::NoValue, _] => Ok("".into()),
        _ => Err(FuncError::ExactlyXArgs("join".into(), 2)),
    }
}

fn split(arguments: &[Value]) -> Result<Value, FuncError> {
    match arguments {
        [Value::String(text), Value::String(between)] => {
            Ok(Value::Array(text.split(between.as_str()).map(Value::from).collect()))
        }
        _ => Err(FuncError::ExactlyXArgs("split".into(), 2)),
    }
}

/// Bytes in Docker's way: powers of 1000, three digits.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// How long ago a time (RFC 3339) was, in Docker's words; `N/A` for none.
pub fn ago(time: &str) -> String {
    let Ok(then) = time.parse::<jiff::Timestamp>() else { return "N/A".to_owned() };
    let seconds = jiff::Timestamp::now().as_second() - then.as_second();
    let several = |number: i64, what: &str| format!("{number} {what} ago");
    match seconds {
        ..1 => "Less than a second ago".to_owned(),
        1 => "1 second ago".to_owned(),
        2..60 => several(seconds, "seconds"),
        60..120 => "About a minute ago".to_owned(),
        120..3_600 => several(seconds / 60, "minutes"),
        3_600..7_200 => "About an hour ago".to_owned(),
        7_200..172_800 => several(seconds / 3_600, "hours"),
        172_800..1_209_600 => several(seconds / 86_400, "days"),
        1_209_600..5_184_000 => several(seconds / 604_800, "weeks"),
        5_184_000..63_072_000 => several(seconds / 2_592_000, "months"),
        _ => several(seconds / 31_536_000, "years"),
    }
}

/// A time (RFC 3339) as Docker's lists have it: `2026-01-12 14:30:22 +0000 UTC`.
pub fn at(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        Err(_) => "N/A".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_are_those_of_go() {
        let image = json!({"Config": {"Env": ["A=b", "C=d"], "Labels": {"a.b": "c"}, "Cmd": null}, "RepoTags": ["x:1"], "Size": 12, "Id": "sha256:0"});
        for (template, expected) in [
            ("{{.Id}}", "sha256:0"),
            ("{{.Config.Env}}", "[A=b C=d]"),
            ("{{json .Config.Env}}", r#"["A=b","C=d"]"#),
            ("{{index .RepoTags 0}}", "x:1"),
            ("{{range .Config.Env}}<{{.}}>{{end}}", "<A=b><C=d>"),
            (r#"{{index .Config.Labels "a.b"}}"#, "c"),
            ("{{len .RepoTags}} {{.Size}}", "1 12"),
            (r#"{{join .Config.Env ","}}"#, "A=b,C=d"),
            ("{{if .Config.Cmd}}x{{else}}none{{end}}", "none"),
            ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}}{{end}}", "a.b=c"),
            ("{{json .Size}}", "12"),
        ] {
            assert_eq!(Parsed::new(template).unwrap().render(&image).unwrap(), expected, "{template}");
        }
        for wrong in ["{{.Id", "{{nofunction .}}", "{{end}}"] {
            assert!(Parsed::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_and_tables_look_as_dockers() {
        for (bytes, text) in
            [(0, "0B"), (999, "999B"), (1_500, "1.5kB"), (7_340_000, "7.34MB"), (77_800_000, "77.8MB"), (1_130_000_000, "1.13GB")]
        {
            assert_eq!(size(bytes), text);
        }
        let rows = vec![vec!["A".to_owned(), "BB".to_owned()], vec!["long".to_owned(), "c".to_owned()]];
        assert_eq!(table(rows), "A      BB\nlong   c\n");
    }
}
