//! `wharf config`, and how a start treats configuration files.

mod common;

use common::Place;

const GOOD: &str = "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: data\n";

#[test]
fn the_template_is_printed_and_valid() {
    let place = Place::new();
    let template = place.run(&["config", "template"]).exits(0).out;
    assert!(template == include_str!("../config-template.yml"), "wharf config template > crates/wharf/config-template.yml");
    let file = place.write("t.yml", &template);
    let done = place.run(&["config", "check", &file]).exits(0);
    assert_eq!(done.out, format!("{file}: valid\n"));
    assert_eq!(done.err, "");
}

#[test]
fn everything_wrong_with_a_file_is_listed_at_once() {
    let place = Place::new();
    let text =
        format!("{GOOD}auth:\n  token:\n    realm: x\nelephants: 1\nhttp:\n  adr: x\n  draintimeout: soon\nredis: {{addr: x}}\n");
    let file = place.write("c.yml", &text);
    let done = place.run(&["config", "check", &file]).exits(1);
    assert_eq!(done.out, "");
    let lines = [
        "error: FILE:6: `auth.token`: this way of authentication is not supported, and without it everybody would be answered",
        "hint: use auth.htpasswd or wharf.access.folder; wharf.access.rules says who may do what",
        "warning: FILE:8: unknown key `elephants`",
        "warning: FILE:10: unknown key `http.adr`",
        "hint: `http.addr` is known",
        "error: FILE:11: `http.draintimeout` is `soon`, expected a time such as 30s or 24h",
        "info: FILE:12: `redis` is accepted without effect: no cache outside the server is needed",
    ];
    assert_eq!(done.err.replace(&file, "FILE").lines().collect::<Vec<_>>(), lines);
    let json = place.run(&["config", "check", "--json", &file]).exits(1).json();
    assert_eq!((json["valid"].as_bool(), json["findings"].as_array().map(Vec::len)), (Some(false), Some(5)));
}

#[test]
fn what_is_merely_unsupported_or_without_effect_is_valid() {
    let place = Place::new();
    let file = place.write("c.yml", &format!("{GOOD}notifications:\n  endpoints: []\n"));
    place.run(&["config", "check", &file]).exits(0).says("warning: ").says(":5: `notifications`").prints("valid");
}

#[test]
fn an_unreadable_file_is_an_error() {
    let place = Place::new();
    place.run(&["config", "check", "missing.yml"]).exits(1).says("error: missing.yml: cannot be read");
    place.run(&["config", "check", "."]).exits(1).says("error: .: cannot be read");
    let fifo = place.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().is_ok_and(|status| status.success()));
    place.run(&["config", "check", "fifo"]).exits(1).says("error: fifo: cannot be read: it is not a regular file");
    place.run(&["config", "check", "/dev/zero"]).exits(1).says("larger than");
    let file = place.write("c.yml", "version: [0.1\n");
    place.run(&["config", "check", &file]).exits(1).says(&format!("error: {file}:2: "));
}

#[test]
fn a_server_does_not_start_with_what_it_refuses() {
    let place = Place::new();
    let file = place.write("c.yml", &format!("{GOOD}http:\n  addr: 127.0.0.1:0\n  tls:\n    certificate: /c\n"));
    let place_of_it = format!("error: {file}:8: `http.tls.certificate` needs");
    place.run(&["serve", &file]).exits(1).says(&place_of_it);
    place.run(&["start", "--config", &file]).exits(1).says(&place_of_it);
    place.run_with(&[("REGISTRY_CONFIGURATION_PATH", &file)], &["serve"]).exits(1).says(&place_of_it);
    assert!(!place.path().join("data").exists() && !place.storage().exists());
}

#[test]
fn a_file_from_a_pipe_is_read() {
    let place = Place::new();
    let file = place.write("c.yml", GOOD);
    let script = format!("cat {file} | {} config check /dev/stdin", env!("CARGO_BIN_EXE_wharf"));
    let done: common::Done = std::process::Command::new("bash").args(["-c", &script]).output().unwrap().into();
    done.exits(0).prints("/dev/stdin: valid");
}

#[test]
fn without_a_file_the_environment_is_checked_as_start_does() {
    let place = Place::new();
    place.run(&["config", "check"]).exits(0).prints("the environment: valid");
    place.run_with(&[("REGISTRY_AUTH", "htpasswd")], &["config", "check"]).exits(1).says("error: ").says("hint: ");
    let excluded = [("CONTAINER_REGISTRY_SECURE", "1"), ("CONTAINER_REGISTRY_INSECURE", "1")];
    place.run_with(&excluded, &["config", "check"]).exits(1).says("error: ").says("hint: ");
    for variable in
        [("CONTAINER_REGISTRY_SECURE", "1"), ("CONTAINER_REGISTRY_AUTH", "1"), ("CONTAINER_REGISTRY_URL", "a.example:1")]
    {
        assert_eq!(place.run_with(&[variable], &["config", "check"]).exits(0).err, "", "{variable:?}");
    }
    let exposed = [("CONTAINER_REGISTRY_URL", "a.example:1"), ("CONTAINER_REGISTRY_INSECURE", "1")];
    place.run_with(&exposed, &["config", "check"]).exits(0).says("warning: listening on a.example:1 without TLS");
    let other = [exposed[0], exposed[1], ("REGISTRY_HTTP_ADDR", "localhost:1")];
    assert_eq!(place.run_with(&other, &["config", "check"]).exits(0).err, "");
}
