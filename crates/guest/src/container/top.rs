//! The processes of the container, as `ps -ef` shows them.

use std::fs;

/// The container's control group: everything in it is of the container.
const MEMBERS: &str = "/sys/fs/cgroup/container/cgroup.procs";

/// User, number, parent, start, time, command of each.
pub fn processes() -> Vec<Vec<String>> {
    let members = fs::read_to_string(MEMBERS).unwrap_or_default();
    members.lines().filter_map(process).collect()
}

/// One of them; `None` when it has ended meanwhile.
fn process(pid: &str) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, after) = stat.rsplit_once(')')?;
    // proc(5): the fields after the name are state, parent, …; times are the 14th and the 15th of all, the start is the 22nd, in ticks.
    let fields: Vec<_> = after.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let spent = (ticks(11) + ticks(12)) / per_second;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let up = uptime.split('.').next()?.parse::<u64>().ok()?;
    let age = up.saturating_sub(ticks(19) / per_second);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let user =
        status.lines().find_map(|line| line.strip_prefix("Uid:")).and_then(|ids| ids.split_whitespace().next()).unwrap_or("?");
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ");
    let command = if command.is_empty() { format!("[{}]", before.split_once('(')?.1) } else { command };
    let clock = |seconds: u64| format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    Some(vec![user.to_owned(), pid.to_owned(), fields.get(1)?.to_string(), clock(age), clock(spent), command])
}
