//! What can be asked of the program without a running server.

mod common;

use common::Place;

#[test]
fn an_unknown_command_is_named_with_the_usage() {
    let done = Place::new().run(&["psuh"]).exits(1).says("Unknown command `psuh`").says("Usage: wharf").says("  start ");
    assert_eq!(done.out, "");
    Place::new().run(&["statsu"]).exits(1).says("Unknown command `statsu`").says("hint: a similar command is `").says("`status`");
}

#[test]
fn help_lists_every_command_option_and_variable() {
    let place = Place::new();
    let done = place.run(&["help"]).exits(0);
    for text in ["start", "stop", "status", "info", "serve", "gc", "--dry-run", "--json", "CONTAINER_REGISTRY_URL", "REGISTRY_"] {
        assert!(done.out.contains(text), "{text}: {}", done.out);
    }
    place.run(&["help", "gc"]).exits(0).prints("--dry-run");
    place.run(&["help", "psuh"]).exits(1).says("Unknown command");
    place.run(&["--version"]).exits(0).prints("wharf ");
    place.run(&[]).exits(1).says("Usage:");
    place.run(&["start", "--psuh"]).exits(1).says("--psuh");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let script = format!("{} config template | head -n 1", env!("CARGO_BIN_EXE_wharf"));
    let mut shell = std::process::Command::new("bash");
    shell.args(["-o", "pipefail", "-c", &script]).current_dir(place.path());
    let done: common::Done = shell.output().unwrap().into();
    done.exits(0).prints("# Configuration");
}

#[test]
fn nothing_runs_in_a_fresh_folder() {
    let place = Place::new();
    place.run(&["status"]).exits(1).prints("not running");
    assert_eq!(place.run(&["status", "--json"]).exits(1).json()["running"], false);
    place.run(&["stop"]).exits(0).says("not running");
    let data = place.storage().join("data");
    let missing = format!("error: no storage at {}", data.display());
    for arguments in [&["gc", "--dry-run"][..], &["gc", "--json"]] {
        assert_eq!(place.run(arguments).exits(1).says(&missing).out, "");
    }
    assert!(!place.storage().exists(), "asking must not create anything");
}

#[test]
fn info_shows_what_would_be_in_force() {
    let place = Place::new();
    let url = format!("http://localhost:{}", place.port);
    place.run(&["info"]).exits(0).prints("Storage: ").prints(&url).prints("insecure").prints("manifest_size: 4MiB");
    let info = place.run_with(&[("REGISTRY_WHARF_LIMITS_UPLOADS", "7")], &["info", "--json"]).exits(0).json();
    assert_eq!(info["storage"], place.storage().join("data").to_str().unwrap());
    assert_eq!(info["url"], url);
    assert_eq!(info["config"]["wharf.limits.uploads"], 7);
    assert_eq!(info["config"]["storage.delete.enabled"], true);
    assert_eq!(info["config"]["wharf.cache.size"], 8 << 20);
    assert_eq!(info["config"]["http.draintimeout"], "30s");
    let everywhere = [("REGISTRY_HTTP_ADDR", "0.0.0.0:5001")];
    assert_eq!(place.run_with(&everywhere, &["info", "--json"]).json()["url"], "http://localhost:5001");
}

#[test]
fn protection_that_cannot_be_had_is_refused() {
    let place = Place::new();
    for (variable, text) in [
        (("REGISTRY_AUTH", "token"), "authentication"),
        (("REGISTRY_AUTH_HTPASSWD_REALM", "r"), "where the users are"),
        (("REGISTRY_HTTP_TLS_CERTIFICATE", "/c"), "http.tls.key"),
    ] {
        for command in ["start", "serve"] {
            place.run_with(&[variable], &[command]).exits(1).says("error: ").says(text).says("hint: ");
        }
    }
    let both = [("CONTAINER_REGISTRY_SECURE", "1"), ("CONTAINER_REGISTRY_INSECURE", "1")];
    place.run_with(&both, &["start"]).exits(1).says("exclude each other");
    assert!(!place.storage().exists());
}

#[test]
fn completions_and_man_pages_come_out() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        place.run(&["completions", shell]).exits(0).prints("dry-run");
    }
    place.run(&["man", "."]).exits(0);
    let page = std::fs::read_to_string(place.path().join("wharf-gc.1")).unwrap();
    assert!(page.contains("dry"), "{page}");
}

#[test]
fn passwords_of_upstreams_are_shown_nowhere_and_written_for_nobody_else() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let entry = r#"[{url: "http://127.0.0.1:9", username: u, password: hunter2, repositories: {"yocto/*": "library/*"}}]"#;
    let variables = [
        ("REGISTRY_WHARF_UPSTREAMS", entry),
        ("REGISTRY_PROXY_REMOTEURL", "http://127.0.0.1:9"),
        ("REGISTRY_PROXY_USERNAME", "u"),
        ("REGISTRY_PROXY_PASSWORD", "s3cret"),
    ];
    for arguments in [&["info"][..], &["info", "--json"], &["config", "check"]] {
        let done = place.run_with(&variables, arguments).exits(0);
        assert!(!format!("{done:?}").contains("hunter2") && !format!("{done:?}").contains("s3cret"), "{done:?}");
    }
    let info = place.run_with(&variables, &["info", "--json"]).json();
    assert_eq!(info["config"]["wharf.upstreams"][0]["username"], "u");
    assert_eq!(info["config"]["proxy.password"], "\u{2026}");
    place.run_with(&variables, &["start"]).exits(0);
    let file = place.storage().join("registry-config.yml");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // The server in the background reads them from there.
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("hunter2") && text.contains("s3cret"));
    let log = std::fs::read_to_string(place.storage().join("registry.log")).unwrap();
    assert!(!log.contains("hunter2") && !log.contains("s3cret"), "{log}");
}
