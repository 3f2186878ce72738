//! The configuration of an image that a container was made into (image-spec, "OCI Image Configuration").

use serde_json::{Map, Value, json};
use wharf_guest_protocol::Text;
use wharf_oci::Digest;
use wharf_terminal::ui::{self, Failure};

use super::instruction::Instruction;
use crate::containers::record::Record;
use crate::store::Image;

/// The last step of the image's history.
pub struct Step<'a> {
    /// Who made it.
    pub author: Option<&'a str>,
    /// What was changed.
    pub comment: Option<&'a str>,
    /// Its layer, uncompressed; `None` when no file was changed.
    pub diff_id: Option<Digest>,
}

/// The base's configuration with what the container was made with in it, then what the instructions say.
///
/// # Errors
/// A base whose configuration is none.
pub fn of(base: &Image, record: &Record, instructions: &[Instruction], step: &Step<'_>) -> Result<Value, Failure> {
    let Value::Object(mut config) = base.config.clone() else {
        return Err(Failure::new(format!("the configuration of {} is none", record.image)));
    };
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let Value::Object(mut execution) = base.execution() else { return Err(Failure::new("the image has no configuration")) };
    as_run(&mut execution, record);
    let mut has_command = false;
    for instruction in instructions {
        instruction.apply(&mut execution, &mut has_command);
    }
    config.insert("config".to_owned(), execution.into());
    config.insert("created".to_owned(), now.clone().into());
    // What Docker 1.x noted of the container that made the base is not so of this one.
    for stale in ["container", "container_config", "id", "parent"] {
        config.remove(stale);
    }
    let command = record.container.process.args.iter().map(Text::shown).collect::<Vec<_>>().join(" ");
    let mut entry = json!({"created": now, "created_by": command});
    if let Some(author) = step.author {
        config.insert("author".to_owned(), author.into());
        entry["author"] = author.into();
    }
    if let Some(comment) = step.comment {
        entry["comment"] = comment.into();
    }
    match &step.diff_id {
        Some(diff_id) => {
            let layers = config.entry("rootfs").or_insert_with(|| json!({"type": "layers"}));
            list_in(layers, "diff_ids").push(json!(diff_id));
        }
        None => entry["empty_layer"] = true.into(),
    }
    let mut all = Value::Object(config);
    let layers = base.diff_ids().len();
    let history = list_in(&mut all, "history");
    if history.is_empty() {
        // One step for each layer, or none at all, is what readers expect.
        history.extend((0..layers).map(|_| json!({"created": base.created, "created_by": ""})));
    }
    history.push(entry);
    Ok(all)
}

/// The list of this name in an object, made where there is none.
fn list_in<'a>(object: &'a mut Value, name: &str) -> &'a mut Vec<Value> {
    let list = &mut object[name];
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    list.as_array_mut().expect("it was just made one")
}

/// How the container was run: an image of it runs the same by itself.
fn as_run(execution: &mut Map<String, Value>, record: &Record) {
    let process = &record.container.process;
    let texts = |all: &[Text]| -> Vec<Value> { all.iter().filter_map(|text| text.to_str().map(Value::from)).collect() };
    let (entry_point, command) = process.args.split_at(record.entry_point.min(process.args.len()));
    let mut set = |name: &str, value: Value| {
        let is_empty = value.as_array().is_some_and(Vec::is_empty) || value.as_str().is_some_and(str::is_empty);
        if is_empty {
            execution.remove(name)
        } else {
            execution.insert(name.to_owned(), value)
        };
    };
    set("Entrypoint", texts(entry_point).into());
    set("Cmd", texts(command).into());
    set("Env", texts(&process.env).into());
    set("User", process.user.clone().into());
    let folder = process.working_dir.shown();
    // The root is what one that says nothing has.
    set("WorkingDir", if folder == "/" { String::new() } else { folder }.into());
    let lost = process.args.iter().chain(&process.env).filter(|text| text.to_str().is_none()).count();
    if lost > 0 {
        ui::warn(&format!("{lost} arguments or variables are left out: an image's configuration holds UTF-8 only"));
    }
    if !record.ports.is_empty() {
        let ports = execution.entry("ExposedPorts").or_insert_with(|| json!({}));
        for port in &record.ports {
            ports[format!("{}/{}", port.port, if port.is_udp { "udp" } else { "tcp" })] = json!({});
        }
    }
}
