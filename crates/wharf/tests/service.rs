//! `start`, `stop` and `status` over the real server.

mod common;

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

use common::{Place, eventually, free_port};

/// Ends a process at once, as a crash would.
fn kill(pid: u64) {
    let status = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()));
}

#[test]
fn a_registry_is_started_watched_and_stopped() {
    let place = Place::new();
    let url = format!("http://localhost:{}", place.port);
    let started = place.run(&["start"]).exits(0).says("started").says(&url).says("registry.log").says("container-registry/data");
    assert_eq!(started.out, "");
    place.run(&["status"]).exits(0).prints("running").prints("healthy").prints(&url).prints("insecure");
    let status = place.run(&["status", "--json"]).exits(0).json();
    assert_eq!((status["running"].as_bool(), status["healthy"].as_bool()), (Some(true), Some(true)));
    let pid = status["pid"].as_u64().unwrap();
    assert_eq!(fs::read_to_string(place.storage().join("registry.pid")).unwrap().trim(), pid.to_string());
    assert!(status["listeners"].as_array().unwrap().iter().any(|a| a == &format!("127.0.0.1:{}", place.port)));
    place.run(&["start"]).exits(0).says("already running").says(&pid.to_string());
    assert_eq!(place.pid(), Some(pid));
    place.run(&["info"]).exits(0).prints("registry-config.yml").prints(&url);
    place.run(&["stop"]).exits(0).says("stopped");
    place.run(&["status"]).exits(1).prints("not running");
    place.run(&["stop"]).exits(0).says("not running");
    assert!(!place.storage().join("registry.pid").exists());
}

#[test]
fn a_started_registry_collects_on_demand_and_so_does_a_stopped_one() {
    let place = Place::new();
    place.run(&["start"]).exits(0);
    place.run(&["gc", "--dry-run"]).exits(0);
    place.run(&["gc", "--now"]).exits(0);
    assert!(place.run(&["gc", "--json"]).exits(0).json().is_object());
    place.run(&["stop"]).exits(0);
    place.run(&["gc"]).exits(0);
}

#[test]
fn the_server_survives_its_starter_in_a_session_of_its_own() {
    let place = Place::new();
    place.run(&["start"]).exits(0);
    let pid = place.pid().unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!(fields[3], pid.to_string(), "session of {stat}");
    for descriptor in [0, 1, 2] {
        let target = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).unwrap();
        let expected = if descriptor == 0 { "/dev/null".into() } else { place.storage().join("registry.log") };
        assert_eq!(target, expected);
    }
}

#[test]
fn a_port_in_use_is_told_with_its_owner() {
    let place = Place::new();
    let _taken = TcpListener::bind(("127.0.0.1", place.port)).unwrap();
    let own = format!("(pid {})", std::process::id());
    place.run(&["start"]).exits(1).says(&format!("port {} is in use", place.port)).says(&own).says("hint: ");
    place.run(&["status"]).exits(1).prints("not running");
    assert!(!place.storage().join("registry.pid").exists());
}

#[test]
fn a_stale_pid_file_points_at_nobody() {
    let place = Place::new();
    place.run(&["start"]).exits(0);
    let pid = place.pid().unwrap();
    kill(pid);
    eventually("the lock of a killed server is free", || place.pid().is_none());
    assert!(place.storage().join("registry.pid").exists());
    // The number now belongs to a process that has nothing to do with it: this one.
    fs::write(place.storage().join("registry.pid"), format!("{}\n", std::process::id())).unwrap();
    place.run(&["status"]).exits(1).prints("not running");
    place.run(&["stop"]).exits(0).says("not running");
    fs::write(place.storage().join("registry.pid"), format!("{}\n", std::process::id())).unwrap();
    place.run(&["start"]).exits(0).says("started");
    assert_ne!(place.pid(), Some(pid));
}

#[test]
fn two_servers_never_share_a_storage() {
    let place = Place::new();
    place.run(&["start"]).exits(0);
    let pid = place.pid().unwrap();
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
        place.storage().join("data").display()
    );
    let file = place.write("second.yml", &text);
    place.run(&["serve", &file]).exits(1).says(&pid.to_string());
    assert_eq!(place.pid(), Some(pid));
}

#[test]
fn starts_at_the_same_moment_end_with_one_server() {
    let place = Place::new();
    let starters: Vec<_> = (0..4).map(|_| place.command(&["start"]).stderr(Stdio::piped()).spawn().unwrap()).collect();
    for starter in starters {
        let done: common::Done = starter.wait_with_output().unwrap().into();
        done.exits(0);
    }
    place.run(&["status"]).exits(0).prints("healthy");
}

#[test]
fn several_registries_live_side_by_side() {
    let (first, second) = (Place::new(), Place::new());
    first.run(&["start"]).exits(0);
    second.run(&["start"]).exits(0);
    first.run(&["stop"]).exits(0).says("stopped");
    second.run(&["status"]).exits(0).prints("healthy");
}

#[test]
fn a_given_configuration_is_honoured_and_found_again() {
    let place = Place::new();
    let port = free_port();
    let text = format!("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: elsewhere\nhttp:\n  addr: 127.0.0.1:{port}\n");
    let file = place.write("c.yml", &text);
    let variables = [("REGISTRY_HTTP_DRAINTIMEOUT", "7s")];
    place.run_with(&variables, &["start", "--config", &file]).exits(0).says(&format!("http://127.0.0.1:{port}"));
    assert!(place.path().join("elsewhere/wharf.lock").exists());
    let status = place.run(&["status", "--json"]).exits(0).json();
    assert_eq!(status["listeners"], serde_json::json!([format!("127.0.0.1:{port}")]));
    let info = place.run(&["info", "--json"]).exits(0).json();
    assert_eq!(
        (info["config"]["http.draintimeout"].as_str(), info["config"]["storage.delete.enabled"].as_str()),
        (Some("7s"), Some("false"))
    );
    place.run(&["stop"]).exits(0).says("stopped");
}

#[test]
fn a_relative_root_from_the_environment_counts_from_the_starters_folder() {
    let place = Place::new();
    let variables = [("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "wharf-relative-root")];
    place.run_with(&variables, &["start"]).exits(0).says("started");
    assert!(place.path().join("wharf-relative-root/wharf.lock").exists());
    place.run(&["status"]).exits(0).prints("healthy");
}

#[test]
fn a_server_that_cannot_start_shows_its_log() {
    let place = Place::new();
    let data = place.storage().join("data");
    fs::create_dir_all(data.join("wharf.lock")).unwrap();
    place.run(&["start"]).exits(1).says("did not start").says("registry.log");
}

#[test]
fn readiness_is_announced_to_a_service_manager() {
    let place = Place::new();
    let socket_path = place.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&socket_path).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let mut server = place.command(&["serve"]).env("NOTIFY_SOCKET", &socket_path).stderr(Stdio::null()).spawn().unwrap();
    let mut buffer = [0; 256];
    let mut receive = || socket.recv(&mut buffer).map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned()).unwrap();
    assert!(receive().contains("READY=1"));
    place.run(&["status"]).exits(0).prints("healthy");
    let stop = thread::scope(|scope| scope.spawn(|| place.run(&["stop"])).join().unwrap());
    stop.exits(0);
    assert!(receive().contains("STOPPING=1"));
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn interrupt_ends_a_foreground_server_in_order() {
    let place = Place::new();
    let mut server = place.command(&["serve"]).stderr(Stdio::null()).spawn().unwrap();
    eventually("the server answers", || place.run(&["status", "--json"]).json()["healthy"] == true);
    assert!(Command::new("kill").args(["-INT", &server.id().to_string()]).status().unwrap().success());
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn a_storage_folder_with_a_long_path_works() {
    let part = "a-folder-with-a-long-name-".repeat(6);
    let place = Place::new().with_storage(format!("{part}/{part}"));
    place.run(&["start"]).exits(0).says("started");
    place.run(&["gc"]).exits(0);
    place.run(&["stop"]).exits(0).says("stopped");
}
