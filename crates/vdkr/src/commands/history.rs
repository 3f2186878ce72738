//! `history`: the steps that made an image.

use std::process::ExitCode;

use serde_json::{Value, json};
use wharf_terminal::ui::{self, Failure};

use crate::cli::images::History;
use crate::format::{Format, ago, print_list, size};
use crate::settings::Settings;
use crate::store::Store;

/// Characters of a step that are shown.
const SHOWN: usize = 45;

/// Shows the steps, the last one first.
pub fn run(settings: &Settings, options: &History) -> Result<ExitCode, Failure> {
    let image = Store::of(settings).find(settings, &options.image)?.image;
    let text = |step: &Value, name: &str| step[name].as_str().unwrap_or_default().to_owned();
    let mut layers = image.manifest.layers.iter();
    let mut steps: Vec<Value> = image.config["history"].as_array().cloned().unwrap_or_default();
    if steps.is_empty() {
        // An image need not tell them; its layers are there all the same.
        steps = image.manifest.layers.iter().map(|_| json!({"created": image.created})).collect();
    }
    let mut rows = Vec::new();
    for step in &steps {
        let is_empty = step["empty_layer"].as_bool().unwrap_or(false);
        let bytes = if is_empty { 0 } else { layers.next().map_or(0, |layer| layer.size) };
        let by = text(step, "created_by").replace('\t', " ");
        let by = match !options.no_trunc && by.chars().count() > SHOWN {
            true => format!("{}…", by.chars().take(SHOWN - 1).collect::<String>()),
            false => by,
        };
        let created = text(step, "created");
        rows.push(json!({
            "ID": "<missing>",
            "CreatedSince": if options.human { ago(&created) } else { created.clone() },
            "CreatedAt": created,
            "CreatedBy": by,
            "Size": if options.human { size(bytes) } else { bytes.to_string() },
            "Comment": text(step, "comment"),
        }));
    }
    rows.reverse();
    if let Some(first) = rows.first_mut() {
        first["ID"] = if options.no_trunc { image.full_id() } else { image.short_id() }.into();
    }
    if options.quiet && options.format.is_none() {
        ui::print(rows.iter().map(|row| format!("{}\n", row["ID"].as_str().unwrap_or_default())).collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let created = if options.human { ("CreatedSince", "CREATED") } else { ("CreatedAt", "CREATED AT") };
    let columns = [("ID", "IMAGE"), created, ("CreatedBy", "CREATED BY"), ("Size", "SIZE"), ("Comment", "COMMENT")];
    print_list(&Format::parse(options.format.as_deref()), &columns, &rows)?;
    Ok(ExitCode::SUCCESS)
}
