//! From options and an image to a container that is not started yet.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;

use serde_json::Value;
use wharf_guest_protocol::{Container, Mount, Network, Process, Text};
use wharf_oci::Digest;
use wharf_terminal::ui::Failure;

use super::process::with_options;
use super::record::{Containers, Folder, MachineSize, Published, Record, Shared};
use super::{image, signals};
use crate::cli::containers::Create;
use crate::cli::values;
use crate::random::random;
use crate::settings::Settings;

/// How an image's entry point counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryPoint {
    /// As the image and the options say.
    Kept,
    /// It is as if the image had none.
    Cleared,
}

/// Make a container.
///
/// # Errors
/// An image that cannot be had, an option that makes no sense, a name that is taken.
pub fn make(settings: &Settings, options: &Create, entry_point: EntryPoint, vanishes: bool) -> Result<(Folder, Record), Failure> {
    if options.process.tty && !options.process.interactive && options.arguments().is_empty() && entry_point == EntryPoint::Cleared
    {
        return Err(Failure::new("nothing would be typed at the terminal").hint("give it -i as well: -it"));
    }
    let named =
        options.image().to_str().ok_or_else(|| Failure::new(format!("{} is no image's name", options.image().display())))?;
    let found = image::find_or_pull(settings, named)?;
    let config = found.image.execution();
    let id = new_id()?;
    let (args, entry_point) = arguments(options, &config, entry_point)?;
    let name = match &options.name {
        Some(name) => name_of(name)?,
        None => generated(&id),
    };
    let process = Process {
        args,
        env: list(&config, "Env"),
        working_dir: text(&config, "WorkingDir", "/").into(),
        user: text(&config, "User", ""),
        terminal: None,
        stdin: false,
        privileged: false,
    };
    let process = with_options(settings, process, &options.process)?;
    let container = Container {
        id: id.clone(),
        hostname: options.hostname.clone().unwrap_or_else(|| id[..12].to_owned()),
        process,
        read_only: options.read_only,
        privileged: options.privileged,
        cap_add: options.cap_add.clone(),
        cap_drop: options.cap_drop.clone(),
        network: match options.network {
            values::Network::Host => Network::Machine,
            values::Network::None => Network::None,
        },
        mounts: options.tmpfs.iter().map(|text| tmpfs(text)).collect::<Result<_, _>>()?,
        memory: options.memory.map(values::Memory::bytes),
        cpu_millis: options.cpus.map(millis),
    };
    let record = Record {
        name,
        image: named.to_owned(),
        image_id: found.image.id,
        layers: layers(&found.image.diff_ids())?,
        created: crate::keeper::now() / 1_000_000_000,
        entry_point,
        container,
        volumes: options.volumes.iter().map(|volume| shared(settings, volume)).collect::<Result<_, _>>()?,
        ports: options.ports.iter().map(published).collect(),
        vanishes,
        offline: settings.no_network,
        stop_signal: match config["StopSignal"].as_str() {
            Some(name) => signals::parse(name)?,
            None => signals::TERM,
        },
        labels: config["Labels"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        machine: MachineSize {
            memory: machine_memory(settings, options),
            cpus: settings.cpus.max(options.cpus.map_or(1, values::Cpus::whole)),
        },
    };
    let folder = Containers::of(settings).make(&record)?;
    Ok((folder, record))
}

/// The machine's memory in MiB: what was set, and where the container may use more than that, so much and the kernel's share.
fn machine_memory(settings: &Settings, options: &Create) -> u64 {
    const KERNEL: u64 = 96;
    let wanted = options.memory.map_or(0, |memory| (memory.bytes() >> 20) + KERNEL);
    // Whole sixteenths of a GiB: every size has a snapshot of its own.
    (settings.memory.bytes() >> 20).max(wanted).next_multiple_of(64)
}

fn millis(cpus: values::Cpus) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1024 processors")]
    let millis = (cpus.number() * 1000.0).round() as u64;
    millis.max(10)
}

fn layers(diff_ids: &[String]) -> Result<Vec<Digest>, Failure> {
    diff_ids
        .iter()
        .map(|id| id.parse().map_err(|error| Failure::new(format!("the image lists the layer {id}")).because(&error)))
        .collect()
}

fn text(config: &Value, name: &str, default: &str) -> String {
    config[name].as_str().filter(|text| !text.is_empty()).unwrap_or(default).to_owned()
}

fn list(config: &Value, name: &str) -> Vec<Text> {
    config[name].as_array().into_iter().flatten().filter_map(|item| item.as_str().map(Text::from)).collect()
}

/// The program with its arguments, and how many of these words are the entry point. Docker's rules: what stands after the image takes the place of its command, an entry point given takes the place of both.
fn arguments(options: &Create, config: &Value, entry_point: EntryPoint) -> Result<(Vec<Text>, usize), Failure> {
    let given: Vec<Text> = options.arguments().iter().map(|argument| Text::from(argument.clone())).collect();
    let mut all = match (&options.entrypoint, entry_point) {
        (Some(program), _) if program.is_empty() => Vec::new(),
        (Some(program), _) => vec![Text::from(program.clone())],
        (None, EntryPoint::Kept) => list(config, "Entrypoint"),
        (None, EntryPoint::Cleared) => Vec::new(),
    };
    let length = all.len();
    if given.is_empty() && options.entrypoint.is_none() {
        let command = list(config, "Cmd");
        if entry_point == EntryPoint::Cleared && command.is_empty() {
            all.push("/bin/sh".into());
        }
        all.extend(command);
    }
    all.extend(given);
    if all.is_empty() {
        return Err(
            Failure::new("the image says no program to run").hint("name one after the image, as in `vdkr run IMAGE /bin/sh`")
        );
    }
    Ok((all, length))
}

fn tmpfs(given: &str) -> Result<Mount, Failure> {
    let (target, options) = given.split_once(':').unwrap_or((given, ""));
    if !target.starts_with('/') {
        return Err(Failure::new(format!("--tmpfs {given}: expected an absolute path of the container")));
    }
    Ok(Mount::Tmpfs {
        target: target.into(),
        options: options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect(),
    })
}

fn published(port: &values::Port) -> Published {
    Published { host: SocketAddr::new(port.address, port.host), port: port.guest, is_udp: port.protocol == values::Protocol::Udp }
}

/// A folder or file of this machine. A bare name is a folder that vdkr keeps, as Docker has it.
fn shared(settings: &Settings, volume: &values::Volume) -> Result<Shared, Failure> {
    let is_name = !volume.host.as_os_str().as_bytes().contains(&b'/') && !volume.host.starts_with(".");
    let source = if is_name { settings.state().join("volumes").join(&volume.host) } else { volume.host.clone() };
    let failed = |error: std::io::Error| {
        Failure::new(format!("cannot share {}", source.display()))
            .because(&error)
            .hint("the folder, or the file, has to be there")
    };
    if is_name {
        // Others are kept out above it: within, it is for all users of a container.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(settings.state().join("volumes")).map_err(failed)?;
        fs::create_dir_all(&source).map_err(failed)?;
    }
    let source = fs::canonicalize(&source).map_err(failed)?;
    Ok(Shared {
        source: source.into_os_string().into(),
        target: volume.guest.clone().into_os_string().into(),
        read_only: volume.read_only,
    })
}

/// 64 hexadecimal digits.
fn new_id() -> Result<String, Failure> {
    let bytes = random::<32>().map_err(|error| Failure::new("cannot make an ID").because(&error))?;
    Ok(hex::encode(bytes))
}

/// Docker's rule for names.
fn name_of(name: &str) -> Result<String, Failure> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.len() > 1 && name.len() <= 128 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_word) {
        Ok(name.to_owned())
    } else {
        Err(Failure::new(format!("{name} is no container's name"))
            .hint("letters, digits, `_`, `.` and `-`, at least two, the first a letter or a digit"))
    }
}

/// A name that nobody chose: two words of harbours, by the ID.
fn generated(id: &str) -> String {
    const FIRST: [&str; 16] = [
        "amber", "brisk", "calm", "deep", "early", "fair", "gentle", "high", "keen", "long", "mild", "north", "quiet", "steady",
        "tidal", "warm",
    ];
    const SECOND: [&str; 16] = [
        "anchor", "bollard", "buoy", "cove", "crane", "dock", "ferry", "harbour", "jetty", "keel", "mooring", "pier", "quay",
        "rudder", "sail", "tide",
    ];
    let digit = |place: usize| id.as_bytes().get(place).map_or(0, |byte| usize::from(*byte));
    format!("{}_{}_{}", FIRST[digit(0) % 16], SECOND[digit(1) % 16], &id[2..6])
}
