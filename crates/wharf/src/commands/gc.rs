//! `gc`.

use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use wharf_store::CollectOptions;
use wharf_store::lock::State;

use crate::cli::Gc;
use crate::config::Config;
use crate::control::{self, Call, ControlError};
use crate::instance::{Instance, SETTLE};
use crate::nouns::{BLOBS, FILES, MANIFESTS, REPOSITORIES};
use crate::settings::Settings;
use crate::storage;
use crate::ui::{self, Failure};

/// Kept things that are listed for people.
const HELD_SHOWN: usize = 20;

/// What a collection is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Only tell.
    pub dry_run: bool,
    /// Skip the grace, never a lease.
    pub now: bool,
}

/// Collects, through the server when one runs.
pub fn run(settings: &Settings, options: &Gc) -> Result<ExitCode, Failure> {
    let instance = Instance::existing(settings, options.selected.config.as_deref())?;
    let request = Request { dry_run: options.dry_run, now: options.now };
    let terminal = ui::at_terminal();
    let mut show = |line: &Value| {
        if terminal {
            ui::progress(&summary(line));
        }
    };
    let result = if instance.server_or_nobody(SETTLE)?.is_some() {
        collect_online(&instance, request, &mut show)
    } else {
        collect_offline(&instance.config, request, &mut show)
    };
    if terminal {
        ui::progress("");
    }
    let result = result?;
    if options.json {
        ui::print_json(&result)?;
    } else {
        ui::print(report(&result, request))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets the running server collect. Lines come as they are written; the last one holds the result.
fn collect_online(instance: &Instance, request: Request, show: &mut dyn FnMut(&Value)) -> Result<Value, Failure> {
    let flag = |set: bool| u8::from(set);
    let target = format!("/collect?dry_run={}&now={}", flag(request.dry_run), flag(request.now));
    let mut result = None;
    let mut problem = None;
    control::control(&instance.config.storage.root, Call::post(&target, ""), |mut line| {
        if let Some(found) = line.get_mut("result") {
            result = Some(found.take());
        } else if let Some(error) = line.get("error").and_then(Value::as_str) {
            problem = Some(error.to_owned());
        } else {
            show(&line);
        }
        Ok::<(), ControlError>(())
    })
    .map_err(|error| Failure::new("the running registry did not collect").because(&error))?;
    match (result, problem) {
        (_, Some(problem)) => Err(Failure::new(format!("the collection failed: {problem}"))),
        (Some(result), None) => Ok(result),
        (None, None) => Err(Failure::new("the running registry stopped in the middle of the collection")),
    }
}

/// Collects in the storage of a server that does not run. `show` is handed lines of progress, as the server sends them.
pub fn collect_offline(config: &Config, request: Request, show: &mut (dyn FnMut(&Value) + Send)) -> Result<Value, Failure> {
    let root = &config.storage.root;
    let failed = |error: &(dyn std::error::Error + 'static)| Failure::new("cannot collect").because(error);
    if !root.join("index.sqlite").try_exists().map_err(|error| failed(&error))? {
        return Err(Failure::new(format!("no storage at {}", root.display()))
            .hint("name its folder with --storage, or its configuration with --config"));
    }
    let lock = storage::lock(root, State::Collecting).map_err(|error| failed(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let store = storage::open(config, &lock).await.map_err(|error| failed(&error))?;
        let options = CollectOptions { dry_run: request.dry_run, now: request.now };
        let collected = store.collect(options, &mut |step| show(&json!({ "progress": step }))).await;
        store.close().await;
        serde_json::to_value(collected.map_err(|error| failed(&error))?).map_err(|error| failed(&error))
    })
}

/// One line of progress for a terminal.
fn summary(line: &Value) -> String {
    let step = &line["progress"];
    let count = |name: &str| step[name].as_u64().unwrap_or_default();
    format!(
        "{}: {}, {}, {} freed",
        step["repository"].as_str().unwrap_or_default(),
        MANIFESTS.counted(count("manifests")),
        BLOBS.counted(count("blobs")),
        ui::size(count("bytes"))
    )
}

/// The result for people.
fn report(result: &Value, request: Request) -> String {
    let count = |name: &str| result[name].as_u64().unwrap_or_default();
    let freed = if request.dry_run { "Would free" } else { "Freed" };
    let mut text = if count("manifests") + count("blobs") + count("files") == 0 {
        format!("Nothing to free in {}\n", REPOSITORIES.counted(count("repositories")))
    } else {
        format!(
            "{freed} {} in {}: {} and {} of {}\n",
            ui::size(count("bytes")),
            FILES.counted(count("files")),
            MANIFESTS.counted(count("manifests")),
            BLOBS.counted(count("blobs")),
            REPOSITORIES.counted(count("repositories"))
        )
    };
    let held = result["held"].as_array().map(Vec::as_slice).unwrap_or_default();
    if held.is_empty() {
        return text;
    }
    text.push_str(&format!("Kept for now, though nothing refers to it: {}\n", ui::size(count("held_bytes"))));
    for entry in held.iter().take(HELD_SHOWN) {
        text.push_str(&format!("  {}\n", kept(entry)));
    }
    if held.len() > HELD_SHOWN {
        text.push_str(&format!("  and {} more; --json lists them\n", held.len() - HELD_SHOWN));
    }
    text
}

/// One thing that is kept: where, what, how large, by what and how long.
fn kept(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    let until = match entry["until"].as_u64() {
        Some(until) => format!("until {}", humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(until))),
        None => "for ever".to_owned(),
    };
    let why = match text("by") {
        "lease" => format!("leased {until}, a client was told of it (wharf.collection.lease in the configuration)"),
        _ => format!("kept {until}, the grace of what lost its last tag (wharf.collection.grace; --now does not wait for it)"),
    };
    let bytes = ui::size(entry["bytes"].as_u64().unwrap_or_default());
    format!("{}@{} ({bytes}): {why}", text("repository"), text("digest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_says_what_went_and_what_stays_until_when() {
        let request = Request { dry_run: true, now: false };
        let held = json!([{ "repository": "a", "digest": "sha256:1", "bytes": 5, "by": "grace", "until": 1_000 },
                          { "repository": "b", "digest": "sha256:2", "bytes": 6, "by": "lease", "until": null }]);
        let result =
            json!({ "repositories": 2, "manifests": 1, "blobs": 3, "files": 2, "bytes": 2048, "held_bytes": 11, "held": held });
        assert_eq!(
            report(&result, request),
            "Would free 2.0 KiB in 2 files: 1 manifest and 3 blobs of 2 repositories\n\
             Kept for now, though nothing refers to it: 11 B\n  \
             a@sha256:1 (5 B): kept until 1970-01-01T00:00:01Z, the grace of what lost its last tag \
             (wharf.collection.grace; --now does not wait for it)\n  \
             b@sha256:2 (6 B): leased for ever, a client was told of it (wharf.collection.lease in the configuration)\n"
        );
        let nothing = json!({ "repositories": 4, "held": [] });
        assert_eq!(report(&nothing, request), "Nothing to free in 4 repositories\n");
        assert_eq!(report(&json!({}), request), "Nothing to free in 0 repositories\n");
    }
}
