//! `start`, `stop` and `status` over the real server.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Done, Place, eventually, free_port};
use wharf_store::lock::{State, StorageLock};

fn send(signal: &str, pid: u64) {
    let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()));
}

/// Ends a process at once, as a crash would.
fn kill(pid: u64) {
    send("KILL", pid);
}

/// An upload of ten bytes, of which five are sent.
struct Upload(TcpStream);

impl Upload {
    fn begin(place: &Place) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", place.port)).unwrap();
        stream.write_all(b"POST /v2/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").unwrap();
        let head = read_head(&mut stream);
        let location = head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap_or_else(|| panic!("{head}"));
        let patch = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234");
        stream.write_all(patch.as_bytes()).unwrap();
        Self(stream)
    }

    fn finish(mut self) {
        self.0.write_all(b"56789").unwrap();
        let head = read_head(&mut self.0);
        assert!(head.starts_with("HTTP/1.1 202"), "{head}");
    }
}

/// The head of an answer, in lower case but for its first line.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let lines = head.lines().map(|line| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}\n", name.to_ascii_lowercase()),
        None => format!("{line}\n"),
    });
    lines.collect()
}

fn state(place: &Place) -> String {
    place.run(&["status", "--json"]).json()["state"].as_str().unwrap_or("none").to_owned()
}

#[test]
fn a_registry_is_started_watched_and_stopped() {
    let place = Place::new();
    let url = format!("http://localhost:{}", place.port);
    // What podman and skopeo read their passwords from is no setting of the registry.
    let started = place
        .run_with(&[("REGISTRY_AUTH_FILE", "/run/auth.json")], &["start"])
        .exits(0)
        .says("started")
        .says(&url)
        .says("registry.log")
        .says("container-registry/data");
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
        (info["config"]["http.draintimeout"].as_str(), info["config"]["storage.delete.enabled"].as_bool()),
        (Some("7s"), Some(false))
    );
    place.run(&["stop"]).exits(0).says("stopped");
    // Stopped, it is still that registry which is meant.
    let root = place.path().join("elsewhere");
    assert_eq!(place.run(&["status", "--json"]).exits(1).json()["storage"], root.to_str().unwrap());
    assert_eq!(place.run(&["info", "--json"]).exits(0).json()["storage"], root.to_str().unwrap());
    place.run(&["gc"]).exits(0).prints("Nothing to free");
    // But for one in the foreground that the settings lead to.
    let mut server = place.command(&["serve"]).stderr(Stdio::null()).spawn().unwrap();
    let data = place.storage().join("data");
    eventually("the other one is found", || state(&place) == "serving");
    assert_eq!(place.run(&["status", "--json"]).exits(0).json()["storage"], data.to_str().unwrap());
    place.run(&["stop"]).exits(0).says("stopped");
    assert_eq!(server.wait().unwrap().code(), Some(0));
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
    send("INT", server.id().into());
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn a_terminal_that_goes_away_ends_a_foreground_server_in_order() {
    let place = Place::new();
    let server = place.command(&["serve"]).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the server answers", || place.run(&["status", "--json"]).json()["healthy"] == true);
    let upload = Upload::begin(&place);
    send("HUP", server.id().into());
    eventually("it stops", || state(&place) == "stopping");
    upload.finish();
    let done: Done = server.wait_with_output().unwrap().into();
    done.exits(0).says("signal=\"SIGHUP\"").says("stopped");
}

#[test]
fn nohup_is_heeded() {
    let place = Place::new();
    let mut command = Command::new("nohup");
    command.arg(env!("CARGO_BIN_EXE_wharf")).arg("serve").current_dir(place.path()).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("CONTAINER_REGISTRY_URL", format!("localhost:{}", place.port)).stdin(Stdio::null());
    let mut server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the server answers", || place.run(&["status", "--json"]).json()["healthy"] == true);
    send("HUP", server.id().into());
    thread::sleep(Duration::from_millis(300));
    place.run(&["status"]).exits(0).prints("healthy");
    place.run(&["stop"]).exits(0);
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn a_background_server_opens_its_log_anew_when_told() {
    let place = Place::new();
    place.run(&["start"]).exits(0);
    let pid = place.pid().unwrap();
    let log = place.storage().join("registry.log");
    fs::rename(&log, log.with_extension("log.1")).unwrap();
    send("HUP", pid);
    eventually("the log is there again", || fs::read_to_string(&log).is_ok_and(|text| text.contains("anew")));
    assert_eq!(place.pid(), Some(pid));
    place.run(&["stop"]).exits(0).says("stopped");
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("SIGTERM") && !text.contains("WARN"), "{text}");
}

#[test]
fn several_requests_to_stop_let_an_upload_end() {
    let place = Place::new();
    place.run(&["start"]).exits(0);
    let pid = place.pid().unwrap();
    let upload = Upload::begin(&place);
    let background = |arguments: &[&str]| place.command(arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut stops: Vec<_> = (0..3).map(|_| background(&["stop"])).collect();
    eventually("it stops", || state(&place) == "stopping");
    stops.push(background(&["stop"]));
    let start = background(&["start"]);
    place.run(&["status"]).exits(1).prints(&format!("stopping (pid {pid})"));
    thread::sleep(Duration::from_millis(2_500));
    upload.finish();
    let mut said = String::new();
    for stop in stops {
        let done: Done = stop.wait_with_output().unwrap().into();
        said.push_str(&done.exits(0).says("Registry stopped").says("Waiting for the registry").err);
    }
    assert!(said.contains("already stopping"), "{said}");
    let done: Done = start.wait_with_output().unwrap().into();
    done.exits(0).says("Waiting for the registry that is stopping").says("started");
    assert_ne!(place.pid(), Some(pid));
}

#[test]
fn a_collection_is_no_server() {
    let place = Place::new();
    let data = place.storage().join("data");
    place.run(&["start"]).exits(0);
    place.run(&["stop"]).exits(0);
    // This process stands for `wharf gc`: a signal would end the test.
    let lock = StorageLock::acquire(&data, State::Collecting).unwrap();
    let own = format!("(pid {})", std::process::id());
    place.run(&["status"]).exits(1).prints("not running; a collection is under way").prints(&own);
    let status = place.run(&["status", "--json"]).exits(1).json();
    assert_eq!((status["running"].as_bool(), status["state"].as_str()), (Some(false), Some("collecting")));
    assert_eq!(place.run(&["info", "--json"]).exits(0).json()["running"], false);
    place.run(&["stop"]).exits(0).says("not running").says(&own);
    place.run(&["stop", "--force"]).exits(0).says("not running");
    let start = place.command(&["start"]).stderr(Stdio::piped()).spawn().unwrap();
    let collect = place.command(&["gc", "--dry-run"]).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(500));
    drop(lock);
    for waiting in [start, collect] {
        let done: Done = waiting.wait_with_output().unwrap().into();
        done.exits(0).says(&format!("Waiting for the collection {own}"));
    }
    eventually("the server runs", || state(&place) == "serving");
}

#[test]
fn a_server_that_hangs_is_told_and_can_be_killed() {
    let place = Place::new();
    place.run_with(&[("REGISTRY_HTTP_DRAINTIMEOUT", "1s")], &["start"]).exits(0);
    let pid = place.pid().unwrap();
    send("STOP", pid);
    let told = format!("already running (pid {pid}) but not responding");
    place.run(&["start"]).exits(1).says(&told).says("hint: ");
    place.run(&["status"]).exits(0).prints("not responding");
    place.run(&["stop"]).exits(1).says("Waiting for the registry").says(&format!("kill -9 {pid}"));
    place.run(&["stop", "--force"]).exits(0).says(&format!("Killing the registry (pid {pid})")).says("stopped");
    place.run(&["status"]).exits(1).prints("not running");
    place.run(&["start"]).exits(0).says("started");
}

#[test]
fn a_failed_serve_is_logged_in_the_form_that_was_asked_for() {
    let place = Place::new();
    let _taken = TcpListener::bind(("127.0.0.1", place.port)).unwrap();
    let in_use = format!("port {} is in use by ", place.port);
    let own = format!("(pid {})", std::process::id());
    place.run(&["serve"]).exits(1).says(&format!("error: {in_use}")).says(&own).says("hint: ");
    let done = place.run_with(&[("REGISTRY_LOG_FORMATTER", "json")], &["serve"]).exits(1);
    let lines: Vec<serde_json::Value> = done.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let errors: Vec<_> = lines.iter().filter(|line| line["level"] == "ERROR").collect();
    assert!(errors.len() == 1 && errors[0]["message"].as_str().unwrap().starts_with(&in_use), "{}", done.err);
    assert!(errors[0]["hint"].is_string());
}

#[test]
fn a_registry_on_the_port_is_told_with_its_storage() {
    let place = Place::new();
    place.run(&["start"]).exits(0);
    let second = Place::new();
    let address = [("CONTAINER_REGISTRY_URL", format!("localhost:{}", place.port))];
    let address = address.each_ref().map(|(name, value)| (*name, value.as_str()));
    let storage = place.storage().join("data").canonicalize().unwrap();
    second.run_with(&address, &["start"]).exits(1).says(&format!("which serves the storage {}", storage.display()));
}

#[test]
fn more_connections_than_descriptors_wait_their_turn() {
    let place = Place::new();
    let script = format!("ulimit -n 200; exec {} serve", env!("CARGO_BIN_EXE_wharf"));
    let own = place.command(&[]);
    let mut command = Command::new("bash");
    command.args(["-c", &script]).current_dir(place.path()).env_clear().stdin(Stdio::null()).stderr(Stdio::piped());
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let server = command.env("REGISTRY_WHARF_TIMEOUTS_HEADER", "2s").spawn().unwrap();
    eventually("the server answers", || place.run(&["status", "--json"]).json()["healthy"] == true);
    let silent: Vec<_> = (0..300).map(|_| TcpStream::connect(("127.0.0.1", place.port)).unwrap()).collect();
    thread::sleep(Duration::from_millis(300));
    let open = fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    assert!(open < 190, "{open} descriptors are open");
    let begun = Instant::now();
    let mut last = TcpStream::connect(("127.0.0.1", place.port)).unwrap();
    last.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(read_head(&mut last).starts_with("HTTP/1.1 200"));
    assert!(begun.elapsed() > Duration::from_secs(1), "it waited for those before it");
    drop(silent);
    place.run(&["stop"]).exits(0);
    let done: Done = server.wait_with_output().unwrap().into();
    assert!(!done.err.contains("cannot accept"), "{}", done.err);
}

#[test]
fn a_storage_path_that_the_index_cannot_have_is_told() {
    let part = "a-folder-with-a-long-name-".repeat(6);
    let place = Place::new().with_storage(format!("{part}/{part}/{part}"));
    place.run(&["start"]).exits(1).says("the path of the storage folder").says("is the most that works");
    place.run(&["serve"]).exits(1).says("the path of the storage folder");
}

#[test]
fn a_storage_folder_with_a_long_path_works() {
    let part = "a-folder-with-a-long-name-".repeat(6);
    let place = Place::new().with_storage(format!("{part}/{part}"));
    place.run(&["start"]).exits(0).says("started");
    place.run(&["gc"]).exits(0);
    place.run(&["stop"]).exits(0).says("stopped");
}
