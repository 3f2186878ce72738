//! Seen from outside: health, readiness and metrics, each on the listener it belongs to.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::net::{SocketAddr, TcpListener};

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

/// Name with labels, and value, of each sample; every line must be of the format that the content type announces:
/// OpenMetrics, or the older one of Prometheus.
fn samples(address: SocketAddr) -> Vec<(String, f64)> {
    let answer = get(address, "/metrics").expect(200);
    let open = answer.header("Content-Type").starts_with("application/openmetrics-text; version=1.0.0");
    assert!(open || answer.header("Content-Type").starts_with("text/plain; version=0.0.4"), "{}", answer.describe());
    let text = String::from_utf8(answer.body).unwrap();
    assert_eq!(text.ends_with("# EOF\n"), open, "the end is marked in OpenMetrics, and only there");
    let typed: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let mut samples = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        let bare = name.split('{').next().unwrap();
        assert!(bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':'), "{line}");
        let suffixes = ["", "_total", "_created", "_bucket", "_sum", "_count", "_info"];
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
