//! The machine's devices, for a container that gets all of them.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use serde_json::{Value, json};

/// Those that every container has, or that are the machine's own business: its disks, its ports to the host, its consoles.
const LEFT_OUT: [&str; 8] = ["null", "zero", "full", "tty", "random", "urandom", "ptmx", "console"];
const LEFT_OUT_BEGINNINGS: [&str; 4] = ["vd", "vport", "hvc", "ttyS"];

/// The devices, as runtime-spec lists them ("linux.devices").
pub fn of_machine() -> Vec<Value> {
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let device = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        if LEFT_OUT.contains(&name.as_str()) || LEFT_OUT_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) {
            return None;
        }
        let about = entry.metadata().ok()?;
        let kind = about.file_type();
        let kind = if kind.is_char_device() { "c" } else { kind.is_block_device().then_some("b")? };
        let number = about.rdev();
        Some(json!({
            "path": format!("/dev/{name}"),
            "type": kind,
            "major": rustix::fs::major(number),
            "minor": rustix::fs::minor(number),
            "fileMode": about.mode() & 0o777,
            "uid": about.uid(),
            "gid": about.gid(),
        }))
    };
    entries.filter_map(device).collect()
}
