//! `inspect` of containers, in Docker's form.

use std::process::ExitCode;

use serde_json::{Value, json};
use wharf_terminal::ui::Failure;

use super::list::time;
use super::record::{Containers, Record, State, Status};
use crate::cli::images::Inspect;
use crate::format::print_all;
use crate::settings::Settings;

/// Everything about containers, as JSON or by a template.
pub fn inspect(settings: &Settings, options: &Inspect) -> Result<ExitCode, Failure> {
    let containers = Containers::of(settings);
    let all = options.names.iter().map(|name| containers.get(name).map(|(_, record, state)| shown(&record, &state)));
    let all = all.collect::<Result<Vec<_>, _>>()?;
    print_all(options.format.as_deref(), &all)?;
    Ok(ExitCode::SUCCESS)
}

fn shown(record: &Record, state: &State) -> Value {
    let container = &record.container;
    let args: Vec<_> = container.process.args.iter().map(wharf_guest_protocol::Text::shown).collect();
    let when =
        |seconds: Option<u64>| seconds.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |seconds| time(seconds * 1_000_000_000));
    let kind = |is_udp: bool| if is_udp { "udp" } else { "tcp" };
    let mut ports = serde_json::Map::new();
    for (at, published) in record.ports.iter().enumerate() {
        let host = state.ports.get(at).copied().unwrap_or(published.host);
        ports.insert(
            format!("{}/{}", published.port, kind(published.is_udp)),
            json!([{"HostIp": host.ip().to_string(), "HostPort": host.port().to_string()}]),
        );
    }
    let mounts = record.volumes.iter().map(|volume| {
        json!({"Type": "bind", "Source": volume.source.shown(), "Destination": volume.target.shown(), "Mode": if volume.read_only { "ro" } else { "" }, "RW": !volume.read_only})
    });
    json!({
        "Id": container.id,
        "Created": time(record.created * 1_000_000_000),
        "Path": args.first(),
        "Args": args.get(1..).unwrap_or_default(),
        "State": {
            "Status": state.status.as_str(),
            "Running": state.status.is_alive(),
            "Paused": state.status == Status::Paused,
            "Pid": state.machine.unwrap_or(0),
            "ExitCode": state.exit_code,
            "Error": state.error.clone().unwrap_or_default(),
            "StartedAt": when(state.started),
            "FinishedAt": when(state.finished),
        },
        "Image": record.image_id,
        "Name": format!("/{}", record.name),
        "HostConfig": {
            "NetworkMode": match container.network { wharf_guest_protocol::Network::Machine => "host", wharf_guest_protocol::Network::None => "none" },
            "AutoRemove": record.vanishes,
            "Privileged": container.privileged,
            "ReadonlyRootfs": container.read_only,
            "CapAdd": container.cap_add,
            "CapDrop": container.cap_drop,
            "Memory": container.memory.unwrap_or(0),
            "NanoCpus": container.cpu_millis.unwrap_or(0) * 1_000_000,
        },
        "Mounts": mounts.collect::<Vec<_>>(),
        "Config": {
            "Hostname": container.hostname,
            "User": container.process.user,
            "Tty": container.process.terminal.is_some(),
            "OpenStdin": container.process.stdin,
            "Env": container.process.env.iter().map(wharf_guest_protocol::Text::shown).collect::<Vec<_>>(),
            "Cmd": args,
            "Image": record.image,
            "WorkingDir": container.process.working_dir.shown(),
            "Labels": record.labels,
        },
        "NetworkSettings": {"Ports": ports},
    })
}
