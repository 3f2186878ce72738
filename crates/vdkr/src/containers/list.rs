//! `ps` and `port`.

use std::process::ExitCode;

use serde_json::{Value, json};
use wharf_terminal::ui::{self, Failure};

use super::record::{Containers, Record, State, Status};
use crate::cli::containers::{PortOf, Ps};
use crate::format::{Format, ago, print_list};
use crate::settings::Settings;

/// Lists containers.
pub fn ps(settings: &Settings, options: &Ps) -> Result<ExitCode, Failure> {
    let filters = options.filter.iter().map(|filter| {
        let (key, value) =
            filter.split_once('=').ok_or_else(|| Failure::new(format!("--filter {filter}: expected KEY=VALUE")))?;
        match key {
            "name" | "id" | "status" | "ancestor" | "exited" | "label" => Ok((key, value)),
            _ => Err(Failure::new(format!("--filter {filter}: there are name, id, status, ancestor, exited and label"))),
        }
    });
    let filters = filters.collect::<Result<Vec<_>, _>>()?;
    let wants_ended = options.all || options.latest || filters.iter().any(|(key, _)| matches!(*key, "status" | "exited"));
    let mut all = Containers::of(settings).all()?;
    all.retain(|(_, record, state)| {
        (wants_ended || state.status.is_alive()) && filters.iter().all(|filter| fits(record, state, *filter))
    });
    if options.latest {
        all.truncate(1);
    }
    if options.quiet {
        for (_, record, _) in &all {
            ui::print(format_args!("{}\n", short(&record.container.id, options.no_trunc)))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = all.iter().map(|(_, record, state)| row(record, state, options.no_trunc)).collect();
    let shown = [
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Ports", "PORTS"),
        ("Names", "NAMES"),
    ];
    print_list(&Format::parse(options.format.as_deref()), &shown, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn fits(record: &Record, state: &State, (key, value): (&str, &str)) -> bool {
    match key {
        "name" => record.name.contains(value),
        "id" => record.container.id.starts_with(value),
        "status" => state.status.as_str() == value,
        "ancestor" => {
            record.image == value
                || record.image_id.to_string().trim_start_matches("sha256:").starts_with(value.trim_start_matches("sha256:"))
        }
        "exited" => state.status == Status::Exited && state.exit_code.to_string() == value,
        _ => {
            let (name, wanted) = value.split_once('=').map_or((value, None), |(name, wanted)| (name, Some(wanted)));
            record.labels.get(name).is_some_and(|found| wanted.is_none_or(|wanted| wanted == found))
        }
    }
}

fn short(id: &str, is_whole: bool) -> &str {
    if is_whole { id } else { &id[..12] }
}

fn row(record: &Record, state: &State, is_whole: bool) -> Value {
    let command = record.container.process.args.iter().map(wharf_guest_protocol::Text::shown).collect::<Vec<_>>().join(" ");
    let command =
        if is_whole || command.chars().count() <= 20 { command } else { command.chars().take(19).chain(['…']).collect() };
    let since = |seconds: Option<u64>| seconds.map_or(String::new(), |seconds| ago(&time(seconds * 1_000_000_000)));
    let status = match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => format!("Up {}", since(state.started).trim_end_matches(" ago")),
        Status::Paused => format!("Up {} (Paused)", since(state.started).trim_end_matches(" ago")),
        Status::Exited => format!("Exited ({}) {}", state.exit_code, since(state.finished)),
    };
    json!({
        "ID": short(&record.container.id, is_whole),
        "Image": record.image,
        "Command": format!("\"{command}\""),
        "CreatedAt": time(record.created * 1_000_000_000),
        "RunningFor": since(Some(record.created)),
        "State": state.status.as_str(),
        "Status": status.trim(),
        "Ports": ports(record, state).join(", "),
        "Names": record.name,
        "Labels": record.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(","),
        "Networks": "host",
        "Mounts": record.volumes.iter().map(|volume| volume.source.shown()).collect::<Vec<_>>().join(","),
    })
}

fn ports(record: &Record, state: &State) -> Vec<String> {
    let real = |at: usize, published: &super::record::Published| state.ports.get(at).copied().unwrap_or(published.host);
    let line = |(at, published): (usize, &super::record::Published)| {
        format!("{}->{}/{}", real(at, published), published.port, if published.is_udp { "udp" } else { "tcp" })
    };
    if state.status.is_alive() { record.ports.iter().enumerate().map(line).collect() } else { Vec::new() }
}

/// Lists published ports.
pub fn port(settings: &Settings, options: &PortOf) -> Result<ExitCode, Failure> {
    let (_, record, state) = Containers::of(settings).get(&options.container)?;
    let wanted = options.port.as_deref().map(|port| if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") });
    let mut any = false;
    for line in ports(&record, &state) {
        let (host, inside) = line.split_once("->").unwrap_or((&line, ""));
        match &wanted {
            Some(wanted) if wanted == inside => ui::print(format_args!("{host}\n"))?,
            Some(_) => continue,
            None => ui::print(format_args!("{inside} -> {host}\n"))?,
        }
        any = true;
    }
    match wanted {
        Some(wanted) if !any => Err(Failure::new(format!("no public port '{wanted}' published for {}", record.name))),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// A time in nanoseconds since 1970, as RFC 3339 has it.
pub fn time(nanos: u64) -> String {
    i64::try_from(nanos / 1_000_000_000)
        .ok()
        .and_then(|seconds| jiff::Timestamp::new(seconds, i32::try_from(nanos % 1_000_000_000).unwrap_or(0)).ok())
        .map_or_else(String::new, |time| format!("{time}"))
}
