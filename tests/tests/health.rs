//! Seen from outside: health, readiness and metrics, each on the listener it belongs to.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::net::{SocketAddr, TcpListener};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wharf_tests::{Config, Request, Response, Server};

/// A server with a debug listener, and where that is.
fn with_debug_listener() -> (Server, SocketAddr) {
    // The lock file names no debug listener by its purpose, so its port is chosen here.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = Config::default()
        .set("http.debug.addr", address.to_string())
        .set("http.debug.prometheus.enabled", true)
        .set("http.debug.prometheus.path", "/metrics");
    (Server::with_config(config), address)
}

fn get(address: SocketAddr, path: &str) -> Response {
    Request::new(address, "GET", path).send()
}

/// Health and readiness answer on the main listener.
#[test]
fn health_and_readiness_on_the_main_listener() {
    let server = Server::start();
    for path in ["/healthz", "/readyz"] {
        server.get(path).send().expect(200);
        server.head(path).send().expect(200);
        server.delete(path).send().expect(405);
    }
}

/// And on the debug listener, which has the metrics, too, but not the registry.
#[test]
fn the_debug_listener_has_no_registry() {
    let (_server, debug) = with_debug_listener();
    for path in ["/healthz", "/readyz", "/metrics"] {
        get(debug, path).expect(200);
        let head = Request::new(debug, "HEAD", path).send().expect(200);
        assert!(head.body.is_empty(), "{}", head.describe());
    }
    get(debug, "/v2/").expect(404);
    get(debug, "/v2/_catalog").expect(404);
}

/// Metrics are not for everybody who may pull.
#[test]
fn the_main_listener_has_no_metrics() {
    let (server, _debug) = with_debug_listener();
    server.get("/metrics").send().expect(404);
    Server::start().get("/metrics").send().expect(404);
}

/// Without the setting there are no metrics; with another path they are there.
#[test]
fn metrics_are_where_the_configuration_says() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = Config::default()
        .set("http.debug.addr", address.to_string())
        .set("http.debug.prometheus.enabled", true)
        .set("http.debug.prometheus.path", "/elsewhere");
    let _server = Server::with_config(config);
    get(address, "/elsewhere").expect(200);
    get(address, "/metrics").expect(404);

    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _server = Server::with_config(Config::default().set("http.debug.addr", address.to_string()));
    get(address, "/metrics").expect(404);
    get(address, "/healthz").expect(200);
}

/// `localhost` is both loopback addresses, here too.
#[test]
fn the_debug_listener_is_on_both_loopback_addresses() {
    let Ok(probe) = TcpListener::bind("[::1]:0") else { return };
    let port = probe.local_addr().unwrap().port();
    drop(probe);
    let _server = Server::with_config(Config::default().set("http.debug.addr", format!("localhost:{port}")));
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        get(address.parse().unwrap(), "/healthz").expect(200);
    }
}

/// Name with labels, and value, of each sample, in both formats, which hold the same.
fn samples(address: SocketAddr) -> Vec<(String, f64)> {
    let names = |samples: &[(String, f64)]| samples.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let open = samples_in(address, "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1");
    let plain = samples_in(address, "text/plain, application/openmetrics-text;q=0");
    assert_eq!(names(&open), names(&plain));
    plain
}

/// Every line must be of the format that the content type announces: OpenMetrics, or the older one of Prometheus.
fn samples_in(address: SocketAddr, accept: &str) -> Vec<(String, f64)> {
    let answer = Request::new(address, "GET", "/metrics").header("Accept", accept).send().expect(200);
    let open = answer.header("Content-Type").starts_with("application/openmetrics-text; version=1.0.0");
    assert!(open || answer.header("Content-Type").starts_with("text/plain; version=0.0.4"), "{}", answer.describe());
    assert_eq!(open, !accept.starts_with("text"), "{}", answer.describe());
    let text = String::from_utf8(answer.body).unwrap();
    assert_eq!(text.ends_with("# EOF\n"), open, "the end is marked in OpenMetrics, and only there");
    let typed: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let mut samples = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        let bare = name.split('{').next().unwrap();
        assert!(bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':'), "{line}");
        let suffixes: &[_] = match open {
            true => &["", "_total", "_created", "_bucket", "_sum", "_count", "_info"],
            // Here a counter's family has its samples' name.
            false => &["", "_bucket", "_sum", "_count"],
        };
        let families = suffixes.iter().filter_map(|suffix| bare.strip_suffix(suffix));
        assert!(families.into_iter().any(|family| typed.contains(&family)), "no type for {line}");
        samples.push((name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line:?}"))));
    }
    samples
}

/// Requests are counted, and bytes.
#[test]
fn requests_are_counted() {
    let (server, debug) = with_debug_listener();
    let total = |part: &str| -> f64 {
        samples(debug).iter().filter(|(name, _)| name.contains(part) && !name.contains("_bucket")).map(|(_, value)| value).sum()
    };
    let (requests, bytes) = (total("requests_total"), total("sent_bytes"));
    let repo = server.repo("app");
    let blob = wharf_tests::random(1_000_000);
    let digest = repo.push_blob(&blob);
    for _ in 0..5 {
        repo.blob(&digest).expect(200);
    }
    assert!(total("requests_total") >= requests + 7.0, "two requests of the push and five pulls");
    assert!(total("sent_bytes") >= bytes + 5_000_000.0, "five megabytes sent");
}

/// What is stored, what collections did, the program and its process are told, under the names and in the units that are usual.
#[test]
fn the_store_collections_and_the_process_are_told() {
    let (server, debug) = with_debug_listener();
    let value = |name: &str| {
        let all = samples(debug);
        let found = all.iter().find(|(sample, _)| sample == name).unwrap_or_else(|| panic!("no {name} in {all:#?}"));
        found.1
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert_eq!(value(&format!("wharf_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
    assert!(value("process_open_fds") > 3.0 && value("process_open_fds") < value("process_max_fds"));
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!((value("process_start_time_seconds") - now).abs() < 60.0);
    assert!(value("wharf_http_connections_max") <= value("process_max_fds") * 0.75);
    assert_eq!(value("wharf_store_failures_total{cause=\"index\"}"), 0.0);
    assert_eq!(value("wharf_store_failures_total{cause=\"disk\"}"), 0.0);
    assert_eq!((value("wharf_collections_total"), value("wharf_collection_last_timestamp_seconds")), (0.0, 0.0));
    for query in ["now=1", "now=1", "dry_run=1"] {
        server.collect(query);
        // Collections are told apart by the millisecond in which they ended.
        sleep(Duration::from_millis(5));
    }
    assert_eq!((value("wharf_collections_total"), value("wharf_collection_freed_bytes_total")), (2.0, 0.0));
    assert!((value("wharf_collection_last_timestamp_seconds") - now).abs() < 60.0);
    assert!(value("wharf_collection_last_duration_seconds") < 60.0);
    // Whole tables are not read for each question.
    let before = value("wharf_tags");
    server.repo("app").push_random("v1");
    assert_eq!((before, value("wharf_tags")), (0.0, 0.0));
}

/// The access log tells what a client took, not what it was offered.
#[test]
fn an_answer_that_was_not_taken_is_logged_as_such() {
    let config = Config::default().unset("log.accesslog.disabled").set("log.formatter", "json");
    let server = Server::with_config(config);
    let size = 64 << 20;
    let digest = server.repo("app").push_blob(&wharf_tests::random(size));
    let path = server.repo("app").blob_path(&digest);
    server.get(&path).send().expect(200);
    let mut connection = server.get(&path).send_beginning(0);
    connection.read_some(&mut [0; 1_000]).unwrap();
    drop(connection);
    let sent = || -> Vec<u64> {
        let log = server.log();
        let lines = log.lines().filter(|line| line.contains("\"GET\"") && line.contains(&path));
        let lines = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        lines.filter_map(|line| line["fields"]["sent"].as_u64().or(line["sent"].as_u64())).collect()
    };
    wharf_tests::eventually("both are logged", || sent().len() == 2);
    let sent = sent();
    assert_eq!(sent[0], size as u64);
    assert!(sent[1] < size as u64, "{sent:?}");
}
