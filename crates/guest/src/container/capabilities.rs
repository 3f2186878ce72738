//! Capabilities, as capabilities(7) lists them.

use wharf_guest_protocol::Container;

use crate::error::GuestError;

/// All of them, as of Linux 5.9.
const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Those that a container has unless told otherwise: Docker's, so that images behave as their makers saw them behave.
const USUAL: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// What a container's processes may do.
///
/// # Errors
/// A name that is no capability.
pub fn of(container: &Container, privileged: bool) -> Result<Vec<&'static str>, GuestError> {
    if privileged {
        return Ok(ALL.to_vec());
    }
    let added = named(&container.cap_add)?;
    let dropped = named(&container.cap_drop)?;
    // As Docker has it: what is added by name stays although all are dropped, and the other way round.
    let names_all = |list: &[String]| list.iter().any(|name| name.eq_ignore_ascii_case("all"));
    let base: &[&str] = match (names_all(&container.cap_add), names_all(&container.cap_drop)) {
        (true, _) => &ALL,
        (false, true) => &[],
        (false, false) => &USUAL,
    };
    let kept = base.iter().copied().filter(|name| !dropped.contains(name));
    let mut all: Vec<_> = kept.chain(added.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn named(list: &[String]) -> Result<Vec<&'static str>, GuestError> {
    let names = list.iter().filter(|name| !name.eq_ignore_ascii_case("all"));
    let known = |name: &String| {
        let upper = name.to_ascii_uppercase();
        let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        ALL.iter()
            .copied()
            .find(|known| *known == full)
            .ok_or_else(|| GuestError::Asked(format!("there is no capability {name}")))
    };
    names.map(known).collect()
}
