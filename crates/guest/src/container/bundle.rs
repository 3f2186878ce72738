//! The configuration of a container, as runtime-spec has it ("config.json").

use std::path::Path;

use serde_json::{Value, json};
use wharf_guest_protocol::{Container, Mount, Network, Process, Text};

use super::user::User;
use super::{capabilities, devices};
use crate::error::{GuestError, make_folder, write_file};
use crate::network;

/// Folders whose content is the machine's, not the container's.
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Where volumes are mounted in the machine.
pub const VOLUMES: &str = "/run/vdkr/volumes";

/// Write the configuration of a container whose root lies at `root`, and whose first process is of this user: the environment of that process.
///
/// # Errors
/// A capability that does not exist.
pub fn write(bundle: &Path, container: &Container, root: &Path, user: User) -> Result<Vec<Text>, GuestError> {
    let (process, env) = process(&container.process, container, user)?;
    write_file(bundle.join("config.json"), config(container, &process, root)?.to_string())?;
    Ok(env)
}

fn config(container: &Container, process: &Value, root: &Path) -> Result<Value, GuestError> {
    let mut namespaces = vec![
        json!({"type": "pid"}),
        json!({"type": "ipc"}),
        json!({"type": "uts"}),
        json!({"type": "mount"}),
        json!({"type": "cgroup"}),
    ];
    if container.network == Network::None {
        namespaces.push(json!({"type": "network"}));
    }
    let (masked, read_only): (&[&str], &[&str]) = if container.privileged { (&[], &[]) } else { (&MASKED, &READ_ONLY) };
    let mut linux = json!({
        "cgroupsPath": "/container",
        "namespaces": namespaces,
        "maskedPaths": masked,
        "readonlyPaths": read_only,
        "resources": resources(container),
    });
    if container.privileged {
        linux["devices"] = devices::of_machine().into();
    }
    Ok(json!({
        "ociVersion": "1.0.2",
        "hostname": container.hostname,
        "root": {"path": root, "readonly": container.read_only},
        "process": process,
        "mounts": mounts(container)?,
        "linux": linux,
    }))
}

/// A process of a user in it, and its whole environment. Program, arguments and environment are not in the former: they need not be Unicode.
///
/// # Errors
/// A capability that does not exist.
pub fn process(process: &Process, container: &Container, user: User) -> Result<(Value, Vec<Text>), GuestError> {
    let User { uid, gid, groups, home } = user;
    let mut env = process.env.clone();
    let names =
        |entry: &Text, name: &str| entry.as_bytes().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
    for (name, value) in [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOSTNAME", &container.hostname),
        ("HOME", &home),
    ] {
        if !env.iter().any(|known| names(known, name)) {
            env.push(format!("{name}={value}").into());
        }
    }
    if process.terminal.is_some() && !env.iter().any(|known| names(known, "TERM")) {
        env.push("TERM=xterm".into());
    }
    let privileged = container.privileged || process.privileged;
    let bounding = capabilities::of(container, privileged)?;
    // An ordinary user has none at hand until a program gives them.
    let at_hand = if uid == 0 { bounding.clone() } else { Vec::new() };
    let mut value = json!({
        "terminal": process.terminal.is_some(),
        "user": {"uid": uid, "gid": gid, "additionalGids": groups},
        "args": process.args.iter().map(Text::shown).collect::<Vec<_>>(),
        "env": env.iter().map(Text::shown).collect::<Vec<_>>(),
        "cwd": text(&process.working_dir)?,
        "capabilities": {"bounding": bounding, "effective": at_hand, "permitted": at_hand},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1_048_576, "hard": 1_048_576}],
    });
    if let Some(size) = process.terminal {
        value["consoleSize"] = json!({"height": size.rows, "width": size.columns});
    }
    Ok((value, env))
}

fn text(text: &Text) -> Result<String, GuestError> {
    let found = text.to_str().map(str::to_owned);
    found.ok_or_else(|| GuestError::Asked(format!("{} is not UTF-8, which a path in a container has to be", text.shown())))
}

fn resources(container: &Container) -> Value {
    let mut resources = json!({});
    if let Some(bytes) = container.memory {
        resources["memory"] = json!({"limit": bytes, "swap": bytes});
    }
    if let Some(millis) = container.cpu_millis {
        resources["cpu"] = json!({"period": 100_000, "quota": millis * 100});
    }
    resources
}

fn mounts(container: &Container) -> Result<Vec<Value>, GuestError> {
    let mount = |target: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": target, "type": kind, "source": source, "options": options});
    let access = if container.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", access]),
    ];
    mounts.push(mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]));
    mounts.extend([
        mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ]);
    for (name, content) in own_files(container) {
        let path = format!("/run/vdkr/etc/{name}");
        make_folder("/run/vdkr/etc")?;
        write_file(&path, content)?;
        mounts.push(mount(&format!("/etc/{name}"), "bind", &path, &["bind", "rprivate"]));
    }
    for asked in &container.mounts {
        mounts.push(match asked {
            Mount::Volume { volume, target, read_only, .. } => {
                let source = format!("{VOLUMES}/{volume}");
                mount(&text(target)?, "bind", &source, &["rbind", "rprivate", if *read_only { "ro" } else { "rw" }])
            }
            Mount::Tmpfs { target, options } => {
                let usual = ["nosuid", "nodev", "noexec"].map(str::to_owned);
                let options: Vec<_> = usual.into_iter().chain(options.iter().cloned()).collect();
                json!({"destination": text(target)?, "type": "tmpfs", "source": "tmpfs", "options": options})
            }
        });
    }
    Ok(mounts)
}

/// Files that say where the container is.
fn own_files(container: &Container) -> [(&'static str, String); 3] {
    let hosts = format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{}\n", container.hostname);
    let resolver = match container.network {
        Network::Machine => format!("nameserver {}\n", network::NAME_SERVER),
        Network::None => String::new(),
    };
    [("hosts", hosts), ("hostname", format!("{}\n", container.hostname)), ("resolv.conf", resolver)]
}
