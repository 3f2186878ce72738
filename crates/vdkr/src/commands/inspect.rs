//! `inspect`: everything about images, in Docker's form.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};
use wharf_terminal::ui::Failure;

use crate::cli::images::Inspect;
use crate::containers;
use crate::format::print_all;
use crate::settings::Settings;
use crate::store::{self, Image, Store, familiar};

/// What Docker's `image inspect` has, in its order.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    id: String,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    parent: &'static str,
    comment: String,
    created: String,
    author: String,
    architecture: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    variant: Value,
    os: Value,
    size: u64,
    virtual_size: u64,
    config: Value,
    graph_driver: Value,
    #[serde(rename = "RootFS")]
    root_fs: Value,
    metadata: Value,
    descriptor: Value,
}

/// Containers and images, whichever there are.
pub fn run(settings: &Settings, options: &Inspect) -> Result<ExitCode, Failure> {
    let is_container = |name: &String| options.kind.as_deref() != Some("image") && containers::exists(settings, name);
    if options.kind.as_deref() == Some("container") || options.names.iter().all(is_container) {
        return containers::inspect(settings, options);
    }
    images(settings, options)
}

/// Images. Those that are there are shown also where another is not.
pub fn images(settings: &Settings, options: &Inspect) -> Result<ExitCode, Failure> {
    let all = Store::of(settings).images()?;
    let mut shown = Vec::new();
    let mut problem = None;
    for name in &options.names {
        match store::find(&all, settings.registry.as_ref(), name) {
            Ok(Some(found)) => shown.push(of(&found.image)),
            Ok(None) => problem = problem.or_else(|| Some(Failure::new(format!("No such image: {name}")))),
            Err(failure) => problem = problem.or(Some(failure)),
        }
    }
    print_all(options.format.as_deref(), &shown)?;
    problem.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn of(image: &Image) -> Shown {
    let text = |name: &str| image.config[name].as_str().unwrap_or_default().to_owned();
    let mut config = image.execution();
    if let Value::Object(members) = &mut config {
        // Templates name these, whether an image says something about them or not.
        for (name, default) in [
            ("User", json!("")),
            ("WorkingDir", json!("")),
            ("Env", Value::Null),
            ("Cmd", Value::Null),
            ("Entrypoint", Value::Null),
            ("Labels", Value::Null),
            ("Volumes", Value::Null),
            ("ExposedPorts", Value::Null),
        ] {
            members.entry(name).or_insert(default);
        }
    }
    let comment = match text("comment") {
        comment if comment.is_empty() => {
            let last = image.config["history"].as_array().and_then(|steps| steps.last());
            last.and_then(|step| step["comment"].as_str()).unwrap_or_default().to_owned()
        }
        comment => comment,
    };
    Shown {
        id: image.full_id(),
        repo_tags: image.names.iter().map(|name| familiar(name).to_owned()).collect(),
        repo_digests: image.repository_digests.iter().map(|name| familiar(name).to_owned()).collect(),
        parent: "",
        comment,
        created: image.created.clone(),
        author: text("author"),
        architecture: image.config["architecture"].clone(),
        variant: image.config["variant"].clone(),
        os: image.config["os"].clone(),
        size: image.size,
        virtual_size: image.size,
        config,
        graph_driver: json!({"Name": "vdkr", "Data": null}),
        root_fs: json!({"Type": "layers", "Layers": image.diff_ids()}),
        metadata: json!({"LastTagTime": "0001-01-01T00:00:00Z"}),
        descriptor: json!({
            "mediaType": image.descriptor.media_type, "digest": image.descriptor.digest, "size": image.descriptor.size,
        }),
    }
}
