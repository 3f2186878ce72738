//! What a server has given up by the time it answers.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::process::{Pid, Signal, kill_process};
use wharf_tests::{Background, Config, Program, Server, eventually, within};

/// Whether this kernel has both parts of it.
fn has_sandbox() -> bool {
    let lists_filter = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").is_ok_and(|list| list.contains("errno"));
    // The program says itself when there is no landlock.
    let server = Server::launch(Program::Wharf, Config::default());
    let has = lists_filter && !server.log().contains("less of a sandbox");
    if !has {
        eprintln!("not tried: this kernel has no landlock or no filters of system calls");
    }
    has
}

/// A line of each thread's status.
fn of_threads(pid: u32, name: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads").flatten();
    let status = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    let field = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")).map(str::trim).map(str::to_owned));
        line.expect("the field")
    };
    status.map(field).collect()
}

#[test]
fn every_thread_is_inside() {
    if !has_sandbox() {
        return;
    }
    let server = Server::launch(Program::Wharf, Config::default());
    let repo = server.repo("a");
    repo.push_blob(&[1; 100_000]);
    let threads = of_threads(server.pid(), "Seccomp");
    assert!(threads.len() > 2, "{threads:?}");
    assert!(threads.iter().all(|mode| mode == "2"), "{threads:?}");
    let threads = of_threads(server.pid(), "NoNewPrivs");
    assert!(threads.iter().all(|is| is == "1"), "{threads:?}");

    let server = Server::launch(Program::Wharf, Config::default().set("wharf.sandbox", "off"));
    assert!(of_threads(server.pid(), "Seccomp").iter().all(|mode| mode == "0"));
    // Where the kernel has it, who requires it is served as well.
    Server::launch(Program::Wharf, Config::default().set("wharf.sandbox", "required"));
}

/// The log is the one file that a server opens by a name which another may change.
#[test]
fn a_log_that_leads_out_of_its_folder_is_not_followed() {
    if !has_sandbox() {
        return;
    }
    let build = Background::new();
    let log = build.path("container-registry/registry.log");
    let outside = tempfile::tempdir().expect("a folder");
    let reopen = || {
        let status = build.wharf.ok(&["status", "--json"]).json();
        let pid = i32::try_from(status["pid"].as_i64().expect("a pid")).expect("a pid");
        kill_process(Pid::from_raw(pid).expect("a pid"), Signal::HUP).expect("send SIGHUP");
    };
    build.wharf.ok(&["start"]);
    // A log that was put aside is begun anew, as always.
    let aside = log.with_extension("log.1");
    fs::rename(&log, &aside).expect("put it aside");
    reopen();
    eventually("a new log", || fs::read_to_string(&log).is_ok_and(|text| text.contains("opened the log file anew")));

    let target = outside.path().join("taken");
    fs::rename(&log, &aside).expect("put it aside");
    symlink(&target, &log).expect("a link");
    reopen();
    eventually("a refusal", || fs::read_to_string(&aside).is_ok_and(|text| text.contains("cannot open the log file anew")));
    assert!(!target.exists());

    // The same without a sandbox, so that it is the sandbox that does it.
    build.wharf.ok(&["stop"]);
    fs::remove_file(&log).expect("remove the link");
    let open = build.wharf.env("REGISTRY_WHARF_SANDBOX", "off");
    open.ok(&["start"]);
    fs::remove_file(&log).expect("remove the log");
    symlink(&target, &log).expect("a link");
    reopen();
    eventually("a log elsewhere", || target.exists());
}

/// A certificate is made anew below the storage folder, and read again, while the server runs.
#[test]
fn a_secure_server_renews_its_certificate_inside() {
    if !has_sandbox() {
        return;
    }
    let build = Background::new();
    let wharf = build.wharf.env("CONTAINER_REGISTRY_SECURE", "1").env("REGISTRY_WHARF_SANDBOX", "required");
    wharf.ok(&["start"]);
    let pid = u32::try_from(wharf.ok(&["status", "--json"]).json()["pid"].as_u64().expect("a pid")).expect("a pid");
    assert!(of_threads(pid, "Seccomp").iter().all(|mode| mode == "2"));
    wharf.ok(&["pki", "renew"]);
    let log = build.path("container-registry/registry.log");
    within(30, "another certificate", || fs::read_to_string(&log).is_ok_and(|text| text.contains("shows another certificate")));
    wharf.ok(&["list"]);
}
