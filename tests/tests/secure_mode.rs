//! `CONTAINER_REGISTRY_SECURE=1`: from nothing to a registry that a hostile network may reach.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use wharf_tests::{Config, Ran, Server, Wharf, certify, eventually, image_of, random, run_tool, write_layout};

/// A build directory with an image, and the secure registry that its commands start.
struct Secure {
    folder: TempDir,
    wharf: Wharf,
    port: u16,
}

impl Secure {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let image = image_of(json!({"architecture": "amd64", "os": "linux"}), json!({}), vec![random(400_000)]);
        write_layout(&folder.path().join("app-oci"), &[("latest", &image)]);
        let port = std::net::TcpListener::bind("localhost:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let wharf = Wharf::new(folder.path()).env("CONTAINER_REGISTRY_SECURE", "1");
        let wharf = wharf.env("CONTAINER_REGISTRY_URL", &format!("localhost:{port}"));
        Self { folder, wharf, port }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join("container-registry").join(name).to_str().expect("UTF-8").to_owned()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).expect(name).permissions().mode() & 0o777
    }

    fn password(&self) -> String {
        fs::read_to_string(self.path("auth/password")).expect("the password").trim().to_owned()
    }

    /// What curl says of an address, with these options.
    fn curl(&self, options: &[&str], host: &str) -> Ran {
        let target = format!("https://{host}:{}/v2/", self.port);
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code} %{http_version} %{ssl_verify_result}",
        ]);
        command.args(["--cacert", &self.path("pki/ca.crt")]).args(options).arg(&target).env_clear().stdin(Stdio::null());
        Ran::of(format!("curl {options:?} {target}"), command.output().expect("run curl"))
    }

    /// The SHA-256 of the certificate that the server shows.
    fn shown(&self) -> String {
        shown(self.port)
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = self.wharf.run(&["stop", "--force"]);
    }
}

fn shown(port: u16) -> String {
    let script =
        format!("openssl s_client -connect 127.0.0.1:{port} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256");
    run_tool("sh", &["-c", &script], None).trim().to_owned()
}

#[test]
fn one_variable_makes_it_secure() {
    let secure = Secure::new();
    let started = secure.wharf.ok(&["start"]);
    assert!(started.stderr.contains(&format!("https://localhost:{}", secure.port)), "{started}");
    for (name, mode) in [
        ("pki/ca.key", 0o600),
        ("pki/server.key", 0o600),
        ("pki/ca.crt", 0o644),
        ("pki/server.crt", 0o644),
        ("auth", 0o700),
        ("auth/htpasswd", 0o600),
        ("auth/password", 0o600),
        ("audit.log", 0o600),
    ] {
        assert_eq!(secure.mode(name), mode, "{name}");
    }
    assert!(secure.wharf.ok(&["status"]).stdout.contains("secure (TLS, authentication)"));
    // Commands of this build believe the authority and are the owner.
    secure.wharf.ok(&["push", "app-oci", "--tag", "t"]).is_silent_on("warning");
    assert_eq!(secure.wharf.ok(&["list"]).stdout, "yocto/app: t\n");
    // The password is not for whoever asks, and nobody is let in without it.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let stranger = Wharf::new(elsewhere.path()).env("CONTAINER_REGISTRY_CA_CERT", &secure.path("pki/ca.crt"));
    let stranger = stranger.env("CONTAINER_REGISTRY_URL", &format!("https://localhost:{}", secure.port));
    stranger.fails(&["list"]).says("asks for credentials");
    // Another start goes on with the same authority and the same owner.
    let (authority, password) = (fs::read(secure.path("pki/ca.crt")).expect("ca.crt"), secure.password());
    secure.wharf.ok(&["stop"]);
    secure.wharf.ok(&["start"]);
    assert_eq!((fs::read(secure.path("pki/ca.crt")).expect("ca.crt"), secure.password()), (authority, password.clone()));
    assert_eq!(secure.wharf.ok(&["tags", "app"]).stdout, "t\n");
    // Nothing of it is in a file that others read, nor in what is shown.
    for name in ["registry.log", "registry-config.yml", "audit.log"] {
        assert!(!fs::read_to_string(secure.path(name)).expect(name).contains(&password), "{name}");
    }
    secure.wharf.ok(&["info"]).is_silent_on(&password);
}

/// What another image of the registry has is not sent again, though the token for a push names one repository.
#[test]
fn layers_of_other_repositories_are_mounted() {
    let secure = Secure::new();
    secure.wharf.ok(&["start"]);
    let layout = |name: &str| secure.folder.path().join(name).to_str().expect("UTF-8").to_owned();
    run_tool("cp", &["-r", &layout("app-oci"), &layout("other-oci")], None);
    secure.wharf.ok(&["push", "app-oci", "--tag", "t"]).is_silent_on("mounted");
    secure.wharf.ok(&["push", "other-oci", "--tag", "t"]).says("mounted");
}

#[test]
fn every_name_and_version_of_the_protocol_is_served_and_no_old_one() {
    let secure = Secure::new();
    secure.wharf.env("CONTAINER_REGISTRY_CERT_SAN", "DNS:registry.example,192.0.2.7").ok(&["start"]);
    let owner = format!("yocto:{}", secure.password());
    for (options, answer) in [
        (&["--tlsv1.2", "--tls-max", "1.2", "--http1.1"][..], "200 1.1 0"),
        (&["--tlsv1.3", "--http1.1"], "200 1.1 0"),
        (&["--tlsv1.2", "--tls-max", "1.2"], "200 2 0"),
        (&["--tlsv1.3"], "200 2 0"),
    ] {
        let ran = secure.curl(&[options, &["--user", &owner]].concat(), "localhost").expect(0);
        assert_eq!(ran.stdout, answer, "{options:?}");
    }
    assert_ne!(secure.curl(&["--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"], "localhost").code, 0);
    for host in ["127.0.0.1", "[::1]"] {
        secure.curl(&[], host).expect(0);
    }
    for host in ["registry.example", "10.0.2.2", "192.0.2.7"] {
        let connect = format!("{host}:{}:127.0.0.1:{}", secure.port, secure.port);
        assert_eq!(secure.curl(&["--connect-to", &connect], host).expect(0).stdout, "401 2 0");
    }
    let connect = format!("other.example:{}:127.0.0.1:{}", secure.port, secure.port);
    assert_ne!(secure.curl(&["--connect-to", &connect], "other.example").code, 0);
    // Who speaks in clear text is told so, in clear text.
    let mut plain = TcpStream::connect(("127.0.0.1", secure.port)).expect("connect");
    plain.write_all(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("ask");
    let mut answer = String::new();
    plain.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("speaks TLS"), "{answer}");
}

#[test]
fn the_commands_about_certificates_show_renew_and_hand_out() {
    let secure = Secure::new();
    secure.wharf.fails(&["pki", "show"]).says("no certificates yet");
    // Clients may be set up before the registry is first started.
    let wharf = secure.wharf.env("CONTAINER_REGISTRY_CERT_DAYS", "7");
    let exported = wharf.ok(&["pki", "export"]).stdout;
    assert_eq!(exported, fs::read_to_string(secure.path("pki/ca.crt")).expect("ca.crt"));
    wharf.ok(&["start"]);
    let show = || wharf.ok(&["pki", "show", "--json"]).json();
    let before = show();
    assert_eq!(before["authority_key"], true);
    let until = before["server"]["not_after"].as_str().expect("a time").to_owned();
    wharf.ok(&["pki", "renew"]);
    let after = show();
    assert_ne!(after["server"]["sha256"], before["server"]["sha256"]);
    assert_eq!(after["authority"]["sha256"], before["authority"]["sha256"]);
    assert!(after["server"]["not_after"].as_str().expect("a time") >= until.as_str());
    let seen = || secure.shown().replace(':', "").to_lowercase();
    let renewed = after["server"]["sha256"].as_str().expect("a fingerprint").to_owned();
    eventually("the renewed certificate is shown", || seen().ends_with(&renewed));
    wharf.ok(&["pki", "renew", "--authority"]);
    assert_ne!(show()["authority"]["sha256"], before["authority"]["sha256"]);
    // Who has only the old one goes on believing the server.
    let renewed = show()["server"]["sha256"].as_str().expect("a fingerprint").to_owned();
    eventually("the certificate of the renewed authority is shown", || seen().ends_with(&renewed));
    let old = secure.folder.path().join("old.crt");
    fs::write(&old, exported).expect("write it");
    secure.curl(&["--cacert", old.to_str().expect("UTF-8")], "localhost").expect(0);
}

/// Asks again and again on new connections, each of which checks the certificate, until a file is there; says how often, and what failed.
const LOAD: &str = "
import http.client, os, ssl, sys, threading
port, authority, stop = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=authority)
count, failures = [0], []
def ask():
    while not os.path.exists(stop):
        try:
            connection = http.client.HTTPSConnection('localhost', port, context=context, timeout=20)
            for _ in range(3):
                connection.request('GET', '/v2/')
                answer = connection.getresponse()
                answer.read()
                if answer.status != 401:
                    failures.append(str(answer.status))
            connection.close()
            count[0] += 1
        except Exception as error:
            failures.append(repr(error))
threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(count[0], len(failures), failures[:3])
";

#[test]
fn a_certificate_is_renewed_under_load_without_a_failed_request() {
    let secure = Secure::new();
    secure.wharf.ok(&["start"]);
    let stop = secure.folder.path().join("stop");
    let arguments = ["-c", LOAD, &secure.port.to_string(), &secure.path("pki/ca.crt"), stop.to_str().expect("UTF-8")];
    let load = Command::new("python3").args(arguments).stdout(Stdio::piped()).spawn().expect("run python");
    for _ in 0..2 {
        let before = secure.shown();
        secure.wharf.ok(&["pki", "renew"]);
        eventually("the renewed certificate is shown", || secure.shown() != before);
    }
    fs::write(&stop, "").expect("write it");
    let output = load.wait_with_output().expect("the load");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = said.split_whitespace();
    let count: u64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    assert!(count > 100 && words.next() == Some("0"), "{said}");
}

#[test]
fn a_certificate_of_somebodys_own_is_served_and_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = certify(folder.path(), "DNS:localhost,IP:127.0.0.1");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let config = Config::default().set("http.tls.certificate", text(&certificate)).set("http.tls.key", text(&key));
    let server = Server::with_config(config.set("http.http2.disabled", true).set("http.tls.minimumtls", "tls1.3"));
    let port = server.address().port();
    let curl = |options: &[&str]| {
        let target = format!("https://127.0.0.1:{port}/v2/");
        let output = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code} %{http_version}"])
            .args(options)
            .arg(target)
            .output();
        Ran::of("curl".to_owned(), output.expect("run curl"))
    };
    let authority = text(&folder.path().join("ca.crt"));
    assert_eq!(curl(&["--cacert", &authority]).expect(0).stdout, "200 1.1");
    assert_ne!(curl(&["--cacert", &authority, "--tls-max", "1.2"]).code, 0);
    // Another certificate in its place: the key comes later, and until then the old one is shown.
    let before = shown(port);
    let other = tempfile::tempdir().expect("a folder");
    let (new_certificate, new_key) = certify(other.path(), "DNS:localhost,IP:127.0.0.1");
    fs::copy(&new_certificate, &certificate).expect("copy it");
    eventually("the server complains", || server.log().contains("the old one is shown"));
    assert_eq!(shown(port), before);
    fs::copy(&new_key, &key).expect("copy it");
    eventually("the new certificate is shown", || shown(port) != before);
    let authority = text(&other.path().join("ca.crt"));
    assert_eq!(curl(&["--cacert", &authority]).expect(0).stdout, "200 1.1");
}

#[test]
fn a_client_is_known_by_its_certificate() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = certify(folder.path(), "DNS:localhost,IP:127.0.0.1");
    let clients = tempfile::tempdir().expect("a folder");
    // Its common name is `registry`, as the helper makes it.
    let (client, client_key) = certify(clients.path(), "DNS:line-3");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let config = Config::default()
        .set("http.tls.certificate", text(&certificate))
        .set("http.tls.key", text(&key))
        .set("http.tls.clientcas", json!([text(&clients.path().join("ca.crt"))]))
        .set("http.tls.clientauth", "verify-client-cert-if-given")
        .set("wharf.access.folder", text(&folder.path().join("auth")))
        .set("wharf.access.rules", json!([{"who": ["certificate:registry"], "may": ["pull"], "repositories": ["line/*"]}]));
    let mut server = Server::with_config(config.clone());
    let curl = |server: &Server, options: &[&str], target: &str| {
        let target = format!("https://127.0.0.1:{}{target}", server.address().port());
        let mut command = Command::new("curl");
        command
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", &text(&folder.path().join("ca.crt"))])
            .args(options);
        Ran::of(target.clone(), command.arg(target).output().expect("run curl"))
    };
    let shows = ["--cert", &text(&client), "--key", &text(&client_key)];
    assert_eq!(curl(&server, &shows, "/v2/").expect(0).stdout, "200");
    assert_eq!(curl(&server, &shows, "/v2/line/app/tags/list").expect(0).stdout, "404");
    assert_eq!(curl(&server, &shows, "/v2/other/app/tags/list").expect(0).stdout, "403");
    assert_eq!(curl(&server, &[], "/v2/line/app/tags/list").expect(0).stdout, "401");
    // One of another authority is none.
    let foreign = ["--cert", &text(&certificate), "--key", &text(&key)];
    assert_ne!(curl(&server, &foreign, "/v2/").code, 0);
    server.restart_with(config.set("http.tls.clientauth", "require-and-verify-client-cert"));
    assert_eq!(curl(&server, &shows, "/v2/").expect(0).stdout, "200");
    assert_ne!(curl(&server, &[], "/v2/").code, 0);
}

#[test]
fn clients_that_do_not_go_on_are_let_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = certify(folder.path(), "DNS:localhost,IP:127.0.0.1");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let config = Config::default()
        .set("http.tls.certificate", text(&certificate))
        .set("http.tls.key", text(&key))
        .set("wharf.timeouts.header", "1s")
        .set("wharf.timeouts.body", "1s");
    let server = Server::with_config(config);
    // One says nothing, one begins a handshake, one finishes it and says nothing over HTTP/2.
    let begun = Instant::now();
    let mut silent = TcpStream::connect(server.address()).expect("connect");
    let mut half = TcpStream::connect(server.address()).expect("connect");
    half.write_all(&[22, 3, 1, 2, 0, 1]).expect("half a greeting");
    let idle = format!("openssl s_client -alpn h2 -quiet -connect 127.0.0.1:{} 2>/dev/null", server.address().port());
    let mut idle =
        Command::new("sh").args(["-c", &idle]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("run openssl");
    for stream in [&mut silent, &mut half] {
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    }
    eventually("the idle connection is closed", || idle.try_wait().expect("look at it").is_some());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let answer = run_tool(
        "curl",
        &["-s", "--cacert", &text(&folder.path().join("ca.crt")), &format!("https://127.0.0.1:{}/v2/", server.address().port())],
        None,
    );
    assert_eq!(answer.trim(), "{}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let secure = Secure::new();
    secure.wharf.env("CONTAINER_REGISTRY_INSECURE", "1").fails(&["start"]).says("exclude each other");
    let plain = secure.wharf.env("CONTAINER_REGISTRY_URL", &format!("http://localhost:{}", secure.port));
    plain.fails(&["start"]).says("asks for TLS");
    secure.wharf.env("CONTAINER_REGISTRY_CERT_SAN", "a/b").fails(&["start"]).says("neither a host name nor an address");
    secure.wharf.env("CONTAINER_REGISTRY_CERT_DAYS", "many").fails(&["start"]).says("expected a number of days");
    assert!(!secure.folder.path().join("container-registry/pki").exists());
    let auth = secure.wharf.without("CONTAINER_REGISTRY_SECURE").env("CONTAINER_REGISTRY_AUTH", "1");
    auth.ok(&["start"]).says("implies");
    assert!(auth.ok(&["status"]).stdout.contains("secure"));
    // A key that belongs to another certificate is named, and nothing is replaced.
    auth.ok(&["stop"]);
    let foreign = tempfile::tempdir().expect("a folder");
    certify(foreign.path(), "DNS:localhost");
    fs::copy(foreign.path().join("ca.key"), secure.path("pki/ca.key")).expect("copy it");
    auth.fails(&["start"]).says("does not belong to");
}

/// A backup has the authority, the users and the tokens, so that every client goes on as before; nobody else reads it.
#[test]
fn a_backup_keeps_the_authority_and_the_users() {
    let secure = Secure::new();
    secure.wharf.ok(&["start"]);
    secure.wharf.ok(&["push", "app-oci"]);
    let token = secure.wharf.ok(&["token", "create", "ci", "--user", "yocto"]).stdout.trim().to_owned();
    secure.wharf.ok(&["backup", "saved"]).tells("with pki and auth");
    let saved = secure.folder.path().join("saved");
    assert_eq!(fs::metadata(saved.join("pki/ca.key")).expect("a key").permissions().mode() & 0o777, 0o600);
    let (authority, password) = (fs::read(secure.path("pki/ca.crt")).expect("the authority"), secure.password());
    secure.wharf.ok(&["stop"]);
    fs::remove_dir_all(secure.folder.path().join("container-registry")).expect("lose everything");
    secure.wharf.ok(&["restore", "saved"]).tells("with pki and auth");
    secure.wharf.ok(&["start"]);
    assert!(fs::read(secure.path("pki/ca.crt")).expect("the authority") == authority);
    assert_eq!(secure.password(), password);
    assert!(
        secure.curl(&["--user", &format!("yocto:{token}")], "localhost").stdout.starts_with("200"),
        "the token counts as before"
    );
    secure.wharf.ok(&["list"]).tells("app");
    // Somebody else's are not replaced.
    secure.wharf.ok(&["stop"]);
    fs::remove_dir_all(secure.folder.path().join("container-registry/data")).expect("lose the storage only");
    secure.wharf.fails(&["restore", "saved"]).says("pki is not empty").says("move it aside");
}
