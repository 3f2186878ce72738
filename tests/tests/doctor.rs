//! `wharf doctor`: each thing that is wrong is made so, its line is seen, and seen to be well again once it is mended.
//!
//! 0.0.0.0 leads to this machine and is no loopback to the programs that are looked at, so it stands for a registry elsewhere.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use wharf_tests::{
    Background, Config, Program, Ran, Reply, Scripted, Server, SmallDisk, Wharf, certify, certify_between, clients, eventually,
    run_tool,
};

const NAMES: &str = "DNS:localhost,IP:127.0.0.1,IP:0.0.0.0";
/// `user` with the password `secret`.
const HTPASSWD: &str = "user:$2b$04$.3BSjQ/WTbWogFjFRPLvdOfLsB36AC.FwYM9FoGpGxon6Bt/mssVm\n";

/// A folder in which the command runs, and one that stands for a machine with docker, podman and containerd.
struct Patient {
    folder: TempDir,
    wharf: Wharf,
}

/// One line of the report.
struct Line {
    verdict: String,
    what: String,
    mend: String,
}

impl Patient {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let wharf = Wharf::new(folder.path());
        let patient = Self { folder, wharf };
        for name in ["dockerd", "podman", "containerd"] {
            patient.write(&format!("usr/bin/{name}"), "");
        }
        patient
    }

    /// A file of the machine.
    fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join("machine").join(path)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let file = self.file(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("make it");
        fs::write(file, content).expect("write it");
    }

    /// The report on a registry, with the machine's files for those of this one.
    #[track_caller]
    fn report(&self, registry: &str) -> Ran {
        let root = self.file("");
        examine(&self.wharf, &[registry, "--root", root.to_str().expect("UTF-8")])
    }
}

#[track_caller]
fn examine(wharf: &Wharf, arguments: &[&str]) -> Ran {
    let ran = wharf.run(&[&["doctor", "--json"], arguments].concat());
    // The exit code says whether there is a problem at all.
    let problems = ran.json()["problems"].as_u64().expect("a number");
    ran.expect(i32::from(problems > 0))
}

/// What is said about something, the worst of it: often one line.
#[track_caller]
fn worst(ran: &Ran, subject: &str) -> Vec<Line> {
    let report = ran.json();
    let rank =
        |check: &Value| ["not_applicable", "ok", "warning", "problem"].iter().position(|verdict| check["verdict"] == *verdict);
    let checks = report["checks"].as_array().expect("a list").iter().filter(|check| check["subject"] == subject);
    let checks: Vec<_> = checks.collect();
    let worst = checks.iter().map(|check| rank(check)).max().unwrap_or_else(|| panic!("nothing about {subject}: {ran}"));
    let lines = checks.into_iter().filter(|check| rank(check) == worst).map(|check| {
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        let line = Line { verdict: text("verdict"), what: text("what"), mend: text("mend") };
        let needs_mending = matches!(line.verdict.as_str(), "warning" | "problem");
        assert_ne!(line.mend.is_empty(), needs_mending, "a way out: {}", line.what);
        assert!(!line.what.contains('\n') && !line.mend.contains('\n'), "more than a line: {} {}", line.what, line.mend);
        line
    });
    lines.collect()
}

/// Asserts that the worst about something is of this kind and says so, and returns the way out.
#[track_caller]
fn is(ran: &Ran, subject: &str, verdict: &str, part: &str) -> String {
    let found = worst(ran, subject).into_iter().find(|line| line.verdict == verdict && line.what.contains(part));
    found.unwrap_or_else(|| panic!("nothing about {subject} is {verdict} with {part:?}: {ran}")).mend
}

/// CNCF distribution over TLS with the certificate and key of a folder.
fn secured(folder: &Path, config: Config) -> Server {
    let text = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    let config = config.set("http.tls.certificate", text("server.crt")).set("http.tls.key", text("server.key"));
    Server::launch(Program::Distribution, config)
}

/// A registry's answer.
fn registry() -> Reply {
    Reply::new(200).header("Docker-Distribution-Api-Version", "registry/2.0").body("{}")
}

/// A time so far from now, as HTTP writes it.
fn date(offset: &str) -> String {
    run_tool("env", &["LC_ALL=C", "date", "-u", "-d", offset, "+%a, %d %b %Y %H:%M:%S GMT"], None).trim().to_owned()
}

#[test]
fn a_registry_that_does_not_run_is_told_and_started() {
    let build = Background::new();
    let wharf = &build.wharf;
    let ran = examine(wharf, &[]);
    assert_eq!(is(&ran, "answer", "problem", "nobody answers at http://localhost:"), "`wharf start` starts it");
    is(&ran, "server", "not_applicable", "nobody serves");
    is(&ran, "names", "ok", "localhost leads to");
    wharf.ok(&["start"]);
    let ran = examine(wharf, &[]);
    is(&ran, "answer", "ok", "a registry answers, wharf");
    is(&ran, "server", "ok", "the server of this storage");
    is(&ran, "storage", "ok", "can be written to");
    is(&ran, "proxies", "ok", "no proxy is set");
    is(&ran, "credentials", "ok", "asks for none");
    is(&ran, "tls", "not_applicable", "plain HTTP");
}

#[test]
fn the_own_authority_of_secure_mode_is_believed_without_a_word() {
    let build = Background::new();
    let wharf = build.wharf.env("CONTAINER_REGISTRY_SECURE", "1");
    wharf.ok(&["start"]);
    let ran = examine(&wharf, &[]);
    is(&ran, "answer", "ok", "a registry answers");
    is(&ran, "tls", "ok", "container-registry/pki/ca.crt");
    // The owner's password lies in the folder.
    is(&ran, "credentials", "ok", "takes what options, variables or the storage folder give");
    is(&ran, "server", "ok", "the server of this storage");
    is(&ran, "storage", "ok", "can be written to");
    let ran = examine(&build.wharf, &[]);
    is(&ran, "answer", "problem", "HTTPS where plain HTTP is expected");
}

#[test]
fn a_server_that_listens_elsewhere_is_told() {
    let build = Background::new();
    build.wharf.ok(&["start"]);
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
    let mend = is(
        &examine(&build.wharf.env("CONTAINER_REGISTRY_URL", &format!("127.0.0.1:{free}")), &[]),
        "server",
        "problem",
        "listens at 127.0.0.1:",
    );
    assert!(mend.contains(&format!("127.0.0.1:{}", build.port)), "{mend}");
    is(&examine(&build.wharf, &[]), "server", "ok", "");
}

#[test]
fn a_server_whose_program_was_exchanged_is_told() {
    let build = Background::new();
    let program = build.path("wharf");
    fs::copy(build.wharf.program(), &program).expect("copy the program");
    let wharf = build.wharf.through(&program);
    wharf.ok(&["start"]);
    is(&examine(&wharf, &[]), "server", "ok", "");
    let newer = build.path("wharf.new");
    fs::copy(&program, &newer).expect("copy the program");
    fs::rename(&newer, &program).expect("exchange it");
    let mend = is(&examine(&wharf, &[]), "server", "warning", "is older than the program");
    assert_eq!(mend, "`wharf stop` and `wharf start`");
    wharf.ok(&["stop"]);
    wharf.ok(&["start"]);
    is(&examine(&wharf, &[]), "server", "ok", "");
}

#[test]
fn another_registry_than_that_of_the_storage_is_told() {
    let server = Server::launch(Program::Wharf, Config::default());
    let patient = Patient::new();
    let wharf = patient.wharf.env("CONTAINER_REGISTRY_URL", &server.address().to_string());
    is(&examine(&wharf, &[]), "server", "not_applicable", "was not started from");
    fs::create_dir(patient.folder.path().join("container-registry")).expect("a storage folder");
    is(&examine(&wharf, &[]), "server", "warning", "which is not that of");
    let root = server.root();
    let root = root.parent().expect("the folder around the data");
    is(&examine(&wharf.env("CONTAINER_REGISTRY_STORAGE", root.to_str().expect("UTF-8")), &[]), "server", "ok", "");
}

#[test]
fn the_wrong_scheme_is_told_either_way() {
    let (plain, patient) = (Server::launch(Program::Wharf, Config::default()), Patient::new());
    let (address, wharf) = (plain.address().to_string(), &patient.wharf);
    let ran = examine(wharf, &[&format!("https://{address}")]);
    assert_eq!(is(&ran, "answer", "problem", "plain HTTP where HTTPS is expected"), format!("name it http://{address}"));
    is(&examine(wharf, &[&address]), "answer", "ok", "a registry answers");
    let set = wharf.env("CONTAINER_REGISTRY_URL", &address).env("CONTAINER_REGISTRY_SECURE", "1");
    assert!(is(&examine(&set, &[]), "answer", "problem", "plain HTTP").contains("unset CONTAINER_REGISTRY_SECURE"));

    certify(patient.folder.path(), NAMES);
    let tls = secured(patient.folder.path(), Config::default());
    let address = tls.address().to_string();
    let ran = examine(&wharf.env("CONTAINER_REGISTRY_URL", &address), &[]);
    assert!(is(&ran, "answer", "problem", "HTTPS where plain HTTP is expected").contains("CONTAINER_REGISTRY_SECURE=1"));
    is(&examine(&wharf.env("CONTAINER_REGISTRY_URL", &address).env("CONTAINER_REGISTRY_SECURE", "1"), &[]), "answer", "ok", "");
}

#[test]
fn who_else_answers_is_told() {
    let patient = Patient::new();
    for (reply, part) in [
        (
            Reply::new(200).header("Content-Type", "text/html").header("Server", "nginx").body("<html>"),
            "a web page of nginx answers",
        ),
        (Reply::new(502).header("Server", "nginx"), "a proxy of nginx answers 502"),
        (Reply::new(407), "wants to know who asks"),
        (Reply::new(302).header("Location", "https://elsewhere.example/"), "sends on to https://elsewhere.example/"),
        (Reply::new(404).body("no"), "another service answers (404 Not Found)"),
    ] {
        let server = Scripted::start(move |_| reply.clone());
        is(&examine(&patient.wharf, &[&server.address().to_string()]), "answer", "problem", part);
    }
    let server = Scripted::start(|_| registry());
    is(&examine(&patient.wharf, &[&server.address().to_string()]), "answer", "ok", "a registry answers");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"SSH-2.0-Other\r\n");
        }
    });
    let ran = examine(&patient.wharf.env("CONTAINER_REGISTRY_URL", &address.to_string()), &[]);
    let mend = is(&ran, "answer", "problem", "speaks neither HTTP nor HTTPS");
    assert!(mend.contains(&format!("ss -ltnp 'sport = :{}'", address.port())), "{mend}");
}

#[test]
fn what_a_stranger_says_does_nothing_to_the_terminal() {
    let server = Scripted::start(|_| Reply::new(302).header("Location", "\u{9b}2Jx"));
    let patient = Patient::new();
    let ran = patient.wharf.run(&["doctor", &server.address().to_string()]);
    assert!(ran.stdout.contains("sends on to"), "{ran}");
    assert!(!ran.stdout.contains(['\u{1b}', '\u{9b}']), "{ran}");
}

#[test]
fn a_certificate_that_is_not_believed_is_told_with_its_reason() {
    let patient = Patient::new();
    let authority = patient.folder.path().join("ca.crt").to_str().expect("UTF-8").to_owned();
    let believing = patient.wharf.env("CONTAINER_REGISTRY_CA_CERT", &authority);
    let examine_as = |wharf: &Wharf, server: &Server| examine(wharf, &[&format!("https://{}", server.address())]);

    certify(patient.folder.path(), NAMES);
    let server = secured(patient.folder.path(), Config::default());
    let mend = is(&examine_as(&patient.wharf, &server), "tls", "problem", "an authority that is not known here");
    assert!(mend.contains("CONTAINER_REGISTRY_CA_CERT") && mend.contains("container-registry/pki/ca.crt"), "{mend}");
    // Its last day has begun.
    is(&examine_as(&believing, &server), "tls", "warning", "expires soon");
    let ran = examine_as(&patient.wharf.env("CONTAINER_REGISTRY_CA_CERT", "/nowhere/ca.crt"), &server);
    is(&ran, "tls", "problem", "names /nowhere/ca.crt, which cannot be read");

    certify_between(patient.folder.path(), NAMES, "20200101000000Z", "20400101000000Z");
    let server = secured(patient.folder.path(), Config::default());
    is(&examine_as(&believing, &server), "tls", "ok", &authority);
    let unchecked = believing.env("CONTAINER_REGISTRY_TLS_VERIFY", "false");
    is(&examine_as(&unchecked, &server), "tls", "warning", "takes any certificate");
    // That of the storage folder needs no variable.
    let pki = patient.folder.path().join("container-registry/pki");
    fs::create_dir_all(&pki).expect("a folder");
    fs::copy(&authority, pki.join("ca.crt")).expect("copy it");
    is(&examine_as(&patient.wharf, &server), "tls", "ok", "pki/ca.crt");
    fs::write(pki.join("ca.crt"), "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n").expect("break it");
    is(&examine_as(&patient.wharf, &server), "tls", "problem", "does not read");

    certify_between(patient.folder.path(), NAMES, "20200101000000Z", "20200201000000Z");
    let server = secured(patient.folder.path(), Config::default());
    let mend = is(&examine_as(&believing, &server), "tls", "problem", "expired at 2020-02-01T00:00:00Z");
    assert_eq!(mend, "renew it on the server");

    certify_between(patient.folder.path(), NAMES, "20400101000000Z", "20400201000000Z");
    let server = secured(patient.folder.path(), Config::default());
    let mend = is(&examine_as(&believing, &server), "tls", "problem", "valid only from 2040-01-01T00:00:00Z");
    assert!(mend.contains("clock"), "{mend}");

    certify_between(patient.folder.path(), "DNS:registry.example", "20200101000000Z", "20400101000000Z");
    let server = secured(patient.folder.path(), Config::default());
    is(&examine_as(&believing, &server), "tls", "problem", "is for registry.example, not for 127.0.0.1");
}

/// nginx with the certificate and key of a folder before another server, whose time it passes on. Ends with the guard.
struct Front(std::process::Child, u16);

impl Front {
    fn start(folder: &Path, behind: &Scripted) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
        let (here, behind) = (folder.display(), behind.address());
        let config = format!(
            "daemon off; pid {here}/nginx.pid; error_log {here}/nginx.log; events {{}}\n\
             http {{ access_log off; client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/f;\n\
             uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;\n\
             server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {here}/server.crt; ssl_certificate_key {here}/server.key;\n\
             location / {{ proxy_pass http://{behind}; proxy_pass_header Date; }} }} }}\n"
        );
        fs::write(folder.join("nginx.conf"), config).expect("write the settings");
        let mut command = Command::new(clients::require("nginx"));
        let child = command.arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("nginx.log")).spawn();
        let front = Self(child.expect("start nginx"), port);
        eventually("nginx", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        front
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // Its workers end with it at this signal alone.
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

#[test]
fn a_certificate_that_only_this_clock_finds_expired_is_the_clocks_fault() {
    let patient = Patient::new();
    certify_between(patient.folder.path(), NAMES, "20200101000000Z", "20200201000000Z");
    let authority = patient.folder.path().join("ca.crt");
    let wharf = patient.wharf.env("CONTAINER_REGISTRY_CA_CERT", authority.to_str().expect("UTF-8"));
    let look = |date: &str| {
        let date = date.to_owned();
        let behind = Scripted::start(move |_| registry().header("Date", &date));
        let front = Front::start(patient.folder.path(), &behind);
        examine(&wharf, &[&format!("https://127.0.0.1:{}", front.1)])
    };
    // The authority was made today, so that it was not yet valid then: only the server's certificate counts here.
    let ran = look("Wed, 15 Jan 2020 12:00:00 GMT");
    is(&ran, "clock", "problem", "ahead of the registry's");
    assert!(is(&ran, "tls", "problem", "expired at 2020-02-01").contains("timedatectl"), "{ran}");
    assert_eq!(is(&look(&date("now")), "tls", "problem", "expired"), "renew it on the server");
    // nginx says itself when it is asked in plain HTTP.
    let behind = Scripted::start(|_| registry());
    let front = Front::start(patient.folder.path(), &behind);
    let ran = examine(&wharf, &[&format!("http://127.0.0.1:{}", front.1)]);
    is(&ran, "answer", "problem", "HTTPS where plain HTTP is expected");
}

#[test]
fn clocks_that_are_apart_are_told() {
    let patient = Patient::new();
    let at = |offset: &str| {
        let date = date(offset);
        let server = Scripted::start(move |_| registry().header("Date", &date));
        examine(&patient.wharf, &[&server.address().to_string()])
    };
    is(&at("+2 hours"), "clock", "problem", "behind the registry's");
    is(&at("-2 hours"), "clock", "problem", "ahead of the registry's");
    is(&at("-2 minutes"), "clock", "warning", "ahead of");
    is(&at("now"), "clock", "ok", "agree");
}

#[test]
fn credentials_are_found_and_tried_and_never_shown() {
    let patient = Patient::new();
    let file = patient.folder.path().join("htpasswd");
    fs::write(&file, HTPASSWD).expect("write the passwords");
    let config = Config::default().set("auth.htpasswd.realm", "test").set("auth.htpasswd.path", file.to_str().expect("UTF-8"));
    let server = Server::launch(Program::Distribution, config);
    let address = server.address().to_string();
    let (wharf, docker) = (&patient.wharf, patient.folder.path().join("docker"));
    let mend = is(&examine(wharf, &[&address]), "credentials", "problem", "none are known");
    assert!(mend.contains(&format!("docker login {address}")), "{mend}");

    fs::create_dir(&docker).expect("a folder");
    let config = docker.join("config.json");
    let login = |pair: &str| {
        let auth = run_tool("base64", &["-w0"], Some(pair.as_bytes()));
        fs::write(&config, format!("{{\"auths\": {{\"{address}\": {{\"auth\": \"{auth}\"}}}}}}")).expect("write a login");
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).expect("permissions");
        auth
    };
    let wharf = &wharf.env("DOCKER_CONFIG", docker.to_str().expect("UTF-8"));
    let wrong = login("user:mistaken");
    let ran = examine(wharf, &[&address]);
    is(&ran, "credentials", "problem", "does not take the login in");
    ran.is_silent_on("mistaken").is_silent_on(&wrong);
    let right = login("user:secret");
    let ran = examine(wharf, &[&address]);
    assert!(is(&ran, "credentials", "warning", "which wharf is not told to use").contains("--use-home-auth"));
    ran.is_silent_on("secret").is_silent_on(&right);
    is(&examine(wharf, &[&address, "--use-home-auth"]), "credentials", "ok", "takes the login in");
    is(&examine(wharf, &[&address, "--creds", "user:secret"]), "credentials", "ok", "takes what options");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).expect("permissions");
    let ran = examine(wharf, &[&address, "--use-home-auth"]);
    assert_eq!(is(&ran, "credentials", "warning", "others may read it (mode 644)"), format!("chmod 600 {}", config.display()));
    // Nobody is given a password over a line that others may read.
    let elsewhere = format!("http://0.0.0.0:{}", server.address().port());
    let ran = examine(wharf, &[&elsewhere, "--creds", "user:secret"]);
    is(&ran, "credentials", "warning", "it was not tried");
    fs::write(&config, "{\"auths\": {\n").expect("break the file");
    is(&examine(wharf, &[&address]), "credentials", "problem", "config.json:");
}

#[test]
fn what_docker_is_told_is_held_against_the_registry() {
    let patient = Patient::new();
    let server = Server::launch(Program::Wharf, Config::default());
    let registry = format!("http://0.0.0.0:{}", server.address().port());
    let host = registry.strip_prefix("http://").expect("a scheme");
    let daemon = |content: &str| patient.write("etc/docker/daemon.json", content);
    let mend = is(&patient.report(&registry), "docker", "problem", "docker speaks HTTPS");
    assert_eq!(
        mend,
        format!("add \"{host}\" to the list \"insecure-registries\" in /etc/docker/daemon.json, and restart docker")
    );
    daemon("{\n\"insecure-registries\": [\"0.0.0.0:1\"]}");
    is(&patient.report(&registry), "docker", "problem", "/etc/docker/daemon.json:2 names \"0.0.0.0:1\", which is another port");
    daemon("{\n\"insecure-registries\": [,]}");
    is(&patient.report(&registry), "docker", "problem", "/etc/docker/daemon.json:2: it is not JSON");
    daemon(&format!("{{\"insecure-registries\": [\"{registry}\", \"{host}\"]}}"));
    is(&patient.report(&registry), "docker", "problem", "has a scheme");
    daemon("{\"insecure-registries\": \"0.0.0.0\"}");
    is(&patient.report(&registry), "docker", "problem", "is not a list");
    daemon(&format!("{{\"insecure-registries\": [\"{host}\"]}}"));
    is(&patient.report(&registry), "docker", "ok", "is in insecure-registries");
    daemon("{\"insecure-registries\": [\"0.0.0.0/8\"]}");
    is(&patient.report(&registry), "docker", "ok", "0.0.0.0/8");
    // Loopback needs nothing.
    daemon("{}");
    is(&patient.report(&server.address().to_string()), "docker", "ok", "loopback");

    let drop_in = "etc/systemd/system/docker.service.d/proxy.conf";
    patient.write(drop_in, "[Service]\nEnvironment=\"HTTP_PROXY=http://proxy.example:3128\"\n");
    daemon(&format!("{{\"insecure-registries\": [\"{host}\"]}}"));
    is(&patient.report(&registry), "docker", "warning", "through a proxy (/etc/systemd/system/docker.service.d/proxy.conf:2)");
    patient.write(drop_in, "[Service]\nEnvironment=\"HTTP_PROXY=http://proxy.example:3128\" \"NO_PROXY=0.0.0.0\"\n");
    is(&patient.report(&registry), "docker", "ok", "");
}

#[test]
fn what_docker_podman_and_containerd_believe_is_held_against_the_certificate() {
    let patient = Patient::new();
    certify(patient.folder.path(), NAMES);
    let server = secured(patient.folder.path(), Config::default());
    let host = format!("0.0.0.0:{}", server.address().port());
    let registry = format!("https://{host}");
    let authority = fs::read(patient.folder.path().join("ca.crt")).expect("the authority");
    let ran = patient.report(&registry);
    for subject in ["docker", "podman", "containerd"] {
        is(&ran, subject, "problem", "an authority that is not known here");
    }
    patient.write(&format!("etc/docker/certs.d/{host}/ca.crt"), &authority);
    let ran = patient.report(&registry);
    is(&ran, "docker", "ok", &format!("/etc/docker/certs.d/{host}"));
    // It looks there too.
    is(&ran, "podman", "ok", &format!("/etc/docker/certs.d/{host}"));
    is(&ran, "containerd", "problem", "");
    // A folder of its own goes before docker's, whatever is in it.
    patient.write(&format!("etc/containers/certs.d/{host}/readme"), "");
    is(&patient.report(&registry), "podman", "problem", "");
    patient.write(&format!("etc/containers/certs.d/{host}/ca.crt"), &authority);
    is(&patient.report(&registry), "podman", "ok", &format!("/etc/containers/certs.d/{host}"));
    patient.write(&format!("etc/docker/certs.d/{host}/root.cert"), &authority);
    let mend = is(&patient.report(&registry), "docker", "problem", "whose key is missing");
    assert!(mend.contains("root.crt"), "{mend}");
    fs::remove_file(patient.file(&format!("etc/docker/certs.d/{host}/root.cert"))).expect("remove it");
    patient.write("etc/docker/daemon.json", format!("{{\"insecure-registries\": [\"{host}\"]}}"));
    is(&patient.report(&registry), "docker", "warning", "takes any certificate");
    fs::remove_file(patient.file("etc/docker/daemon.json")).expect("remove it");
    is(&patient.report(&registry), "docker", "ok", "");
}

#[test]
fn what_podman_is_told_is_held_against_the_registry() {
    let patient = Patient::new();
    let server = Server::launch(Program::Wharf, Config::default());
    let host = server.address().to_string();
    let drop_in = "etc/containers/registries.conf.d/50-custom-registry.conf";
    let entry = |lines: &str| patient.write(drop_in, format!("[[registry]]\nlocation = \"{host}\"\n{lines}\n"));
    let mend = is(&patient.report(&host), "podman", "problem", "they know no exception for loopback");
    assert!(mend.contains("insecure = true") && mend.contains(&format!("/{drop_in}")), "{mend}");
    entry("insecure = tru");
    is(&patient.report(&host), "podman", "problem", &format!("/{drop_in}:3:"));
    entry("blocked = true");
    is(&patient.report(&host), "podman", "problem", "blocked");
    entry("insecure = true");
    is(&patient.report(&host), "podman", "ok", "plain HTTP");
    // Without another machine's folder, by the variable that the programs follow; a machine that has none of them is not told.
    let wharf = patient.wharf.env("CONTAINERS_REGISTRIES_CONF", patient.file(drop_in).to_str().expect("UTF-8"));
    let wharf = wharf.env("PATH", patient.file("usr/bin").to_str().expect("UTF-8"));
    is(&examine(&wharf, &[&host]), "podman", "ok", "plain HTTP");
    is(&examine(&wharf.env("CONTAINERS_REGISTRIES_CONF", "/nowhere/registries.conf"), &[&host]), "podman", "problem", "/nowhere");

    certify(patient.folder.path(), NAMES);
    let server = secured(patient.folder.path(), Config::default());
    let host = server.address().to_string();
    patient.write(drop_in, format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n"));
    is(&patient.report(&format!("https://{host}")), "podman", "warning", "take any certificate");
    patient.write(drop_in, format!("[[registry]]\nprefix = \"{host}\"\nlocation = \"other.example\"\n"));
    is(&patient.report(&format!("https://{host}")), "podman", "warning", "fetched from other.example/yocto");
}

#[test]
fn what_containerd_is_told_is_held_against_the_registry() {
    let patient = Patient::new();
    let server = Server::launch(Program::Wharf, Config::default());
    let host = format!("0.0.0.0:{}", server.address().port());
    let registry = format!("http://{host}");
    let config = "etc/containerd/config.toml";
    let settings = |lines: &str| {
        patient.write(config, format!("version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n{lines}\n"));
    };
    let (folder, hosts) = (format!("etc/containerd/certs.d/{host}"), format!("etc/containerd/certs.d/{host}/hosts.toml"));
    settings("config_path = \"/etc/containerd/certs.d\"");
    let mend = is(&patient.report(&registry), "containerd", "problem", "containerd speaks HTTPS");
    assert!(mend.contains(&format!("/{hosts}")), "{mend}");
    is(&patient.report(&server.address().to_string()), "containerd", "ok", "loopback");
    patient.write(&format!("{folder}/host.toml"), format!("[host.\"http://{host}\"]\n"));
    is(&patient.report(&registry), "containerd", "problem", "the file is called hosts.toml");
    patient.write(&hosts, format!("[host.\"https://{host}\"]\nskip_verify = true\n"));
    is(&patient.report(&registry), "containerd", "problem", &format!("/{hosts}:1 says HTTPS"));
    patient.write(&hosts, format!("[host.\"http://{host}\"\n"));
    is(&patient.report(&registry), "containerd", "problem", "it is not TOML");
    patient.write(&hosts, format!("[host.\"http://{host}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"));
    is(&patient.report(&registry), "containerd", "ok", "plain HTTP");
    settings("");
    is(&patient.report(&registry), "containerd", "warning", "names no config_path");
    settings("config_path = \"/etc/containerd/certs.d\"\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors]");
    is(&patient.report(&registry), "containerd", "problem", "registry.mirrors beside config_path");
    patient.write(config, "version = \n");
    is(&patient.report(&registry), "containerd", "problem", "/etc/containerd/config.toml:1: it is not TOML");
    settings("config_path = \"/etc/containerd/certs.d\"");
    is(&patient.report(&registry), "containerd", "ok", "");

    certify(patient.folder.path(), NAMES);
    let tls = secured(patient.folder.path(), Config::default());
    let host = format!("0.0.0.0:{}", tls.address().port());
    let (registry, folder) = (format!("https://{host}"), format!("etc/containerd/certs.d/{host}"));
    let hosts = format!("{folder}/hosts.toml");
    let authority = fs::read(patient.folder.path().join("ca.crt")).expect("the authority");
    patient.write(&format!("{folder}/ca.crt"), &authority);
    is(&patient.report(&registry), "containerd", "ok", "ca.crt");
    // Beside hosts.toml it has to be named.
    patient.write(&hosts, format!("[host.\"https://{host}\"]\n"));
    is(&patient.report(&registry), "containerd", "problem", "does not believe it");
    patient.write(&hosts, format!("[host.\"https://{host}\"]\nca = \"ca.crt\"\n"));
    is(&patient.report(&registry), "containerd", "ok", "ca.crt");
    patient.write(&hosts, format!("[host.\"https://{host}\"]\nskip_verify = true\n"));
    is(&patient.report(&registry), "containerd", "warning", "skip_verify");
    patient.write(&hosts, format!("server = \"http://{host}\"\n"));
    is(&patient.report(&registry), "containerd", "problem", "says plain HTTP, and it speaks HTTPS");
}

#[test]
fn what_k3s_is_told_is_held_against_the_registry() {
    let patient = Patient::new();
    let server = Server::launch(Program::Wharf, Config::default());
    let host = format!("0.0.0.0:{}", server.address().port());
    let registry = format!("http://{host}");
    let file = "etc/rancher/k3s/registries.yaml";
    patient.write("usr/bin/k3s", "");
    let mend = is(&patient.report(&registry), "k3s", "problem", "k3s speaks HTTPS");
    assert!(mend.contains(&format!("/{file}")) && mend.contains("restart"), "{mend}");
    is(&patient.report(&server.address().to_string()), "k3s", "ok", "loopback");
    patient.write(file, "mirrors: [\n");
    is(&patient.report(&registry), "k3s", "problem", &format!("/{file}:"));
    patient.write(file, format!("mirrors:\n  \"{host}\":\n    endpoint:\n      - \"http://{host}\"\n"));
    is(&patient.report(&registry), "k3s", "ok", "plain HTTP");

    certify(patient.folder.path(), NAMES);
    let tls = secured(patient.folder.path(), Config::default());
    let host = format!("0.0.0.0:{}", tls.address().port());
    let registry = format!("https://{host}");
    is(&patient.report(&registry), "k3s", "problem", "does not believe it");
    let configure = |lines: &str| patient.write(file, format!("configs:\n  \"{host}\":\n    tls:\n      {lines}\n"));
    configure("insecure_skip_verify: true");
    is(&patient.report(&registry), "k3s", "warning", "insecure_skip_verify");
    patient.write("etc/ssl/own.crt", fs::read(patient.folder.path().join("ca.crt")).expect("the authority"));
    configure("ca_file: /etc/ssl/own.crt");
    is(&patient.report(&registry), "k3s", "ok", "/etc/ssl/own.crt");
}

#[test]
fn proxies_that_take_what_they_should_not_are_told() {
    let server = Server::launch(Program::Wharf, Config::default());
    let patient = Patient::new();
    let proxy = Scripted::start(|_| Reply::new(502));
    let proxied = patient.wharf.env("HTTP_PROXY", &format!("http://user:hidden@{}", proxy.address()));
    let local = server.address().to_string();
    let ran = examine(&proxied, &[&local]);
    assert!(is(&ran, "proxies", "warning", "HTTP_PROXY sends requests for 127.0.0.1 to a proxy").contains("NO_PROXY"));
    is(&ran, "answer", "ok", "a registry answers");
    ran.is_silent_on("hidden");
    is(&examine(&proxied.env("NO_PROXY", "127.0.0.0/8"), &[&local]), "proxies", "ok", "none for 127.0.0.1");

    let elsewhere = format!("http://0.0.0.0:{}", server.address().port());
    let ran = examine(&proxied, &[&elsewhere]);
    is(&ran, "proxies", "problem", "without the proxy it answers");
    is(&ran, "answer", "problem", "a proxy answers 502");
    let ran = examine(&proxied.env("NO_PROXY", "0.0.0.0"), &[&elsewhere]);
    is(&ran, "proxies", "ok", "");
    is(&ran, "answer", "ok", "");
    let both = proxied.env("http_proxy", "http://other.example").env("NO_PROXY", "*");
    is(&examine(&both, &[&local]), "proxies", "warning", "http_proxy and HTTP_PROXY differ");

    let works = Scripted::start(|_| registry());
    let proxied = patient.wharf.env("http_proxy", &format!("http://{}", works.address()));
    is(&examine(&proxied, &[&elsewhere]), "proxies", "ok", "reached through the proxy");
}

#[test]
fn names_that_lead_nowhere_or_elsewhere_are_told() {
    let server = Server::launch(Program::Wharf, Config::default());
    let patient = Patient::new();
    let wharf = patient.wharf.env("CONTAINER_REGISTRY_URL", "nowhere.invalid:5000").env("CONTAINER_REGISTRY_INSECURE", "1");
    let ran = examine(&wharf, &[]);
    let mend = is(&ran, "names", "problem", "nowhere.invalid leads nowhere");
    assert!(mend.contains("CONTAINER_REGISTRY_URL") && mend.contains("/etc/hosts"), "{mend}");
    is(&ran, "answer", "not_applicable", "");
    let port = server.address().port();
    let ran = examine(&patient.wharf, &[&format!("10.0.2.2:{port}")]);
    let mend = is(&ran, "names", "warning", "10.0.2.2");
    assert!(mend.contains(&format!("localhost:{port}")) || mend.contains("on the host"), "{mend}");
    is(&ran, "answer", "ok", "");
    is(&examine(&patient.wharf, &[&format!("127.0.0.1:{port}")]), "names", "not_applicable", "by its address");
    // Whoever writes plain HTTP to another host is asked whether it is meant.
    let url = format!("http://0.0.0.0:{port}");
    let set = patient.wharf.env("CONTAINER_REGISTRY_URL", &url);
    is(&examine(&set, &[]), "answer", "problem", "plain HTTP to another host");
    is(&examine(&set.env("CONTAINER_REGISTRY_INSECURE", "1"), &[]), "answer", "ok", "");
}

#[test]
fn the_name_of_an_image_names_its_registry() {
    let server = Server::launch(Program::Wharf, Config::default());
    let patient = Patient::new();
    let ran = examine(&patient.wharf, &[&format!("{}/yocto/app:latest", server.address())]);
    is(&ran, "answer", "ok", "a registry answers, wharf");
    assert_eq!(ran.json()["checks"][0]["registry"], server.url());
    patient.wharf.fails(&["doctor", "ftp://x"]).says("`ftp://x` names no registry");
}

#[test]
fn the_storage_folder_is_looked_at() {
    let patient = Patient::new();
    let storage = patient.folder.path().join("container-registry");
    let look = || examine(&patient.wharf, &["127.0.0.1:1"]);
    is(&look(), "storage", "not_applicable", "is not there yet");
    fs::write(&storage, "").expect("a file");
    is(&look(), "storage", "problem", "is a file");
    fs::remove_file(&storage).expect("remove it");
    fs::create_dir_all(storage.join("pki")).expect("a folder");
    fs::write(storage.join("pki/ca.key"), "").expect("a key");
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    mode(&storage.join("pki/ca.key"), 0o644);
    let mend = is(&look(), "storage", "problem", "is a secret, and others may read it (mode 644)");
    assert_eq!(mend, format!("chmod 600 {}", storage.join("pki/ca.key").display()));
    mode(&storage.join("pki/ca.key"), 0o600);
    is(&look(), "storage", "ok", "can be written to");
    mode(&storage, 0o777);
    is(&look(), "storage", "warning", "everybody on this machine may write");
    mode(&storage, 0o755);
    is(&look(), "storage", "ok", "");
    as_another_user(&patient, &storage);
}

/// What root started is not this user's; only root can try that.
fn as_another_user(patient: &Patient, storage: &Path) {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("not tried: only root can be another user");
    }
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
    open(patient.folder.path());
    let program = patient.folder.path().join("wharf");
    fs::copy(patient.wharf.program(), &program).expect("copy the program");
    let look = || {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args([program.as_os_str(), "doctor".as_ref(), "--json".as_ref(), "127.0.0.1:1".as_ref()])
            .env_clear()
            .env("TOPDIR", patient.folder.path())
            .current_dir("/")
            .output();
        Ran::of("doctor".to_owned(), output.expect("run setpriv"))
    };
    let mend = is(&look(), "storage", "problem", "it belongs to user 0");
    assert_eq!(mend, format!("sudo chown -R 65534 {}", storage.display()));
    let owned = ["-R", "65534", storage.to_str().expect("UTF-8")];
    run_tool("chown", &owned, None);
    is(&look(), "storage", "ok", "can be written to");
    let index = storage.join("index.sqlite");
    fs::write(&index, "").expect("a file of root's");
    is(&look(), "storage", "problem", "index.sqlite cannot be written to");
    run_tool("chown", &owned, None);
    is(&look(), "storage", "ok", "");
}

#[test]
fn a_disk_without_room_is_told() {
    let Some(disk) = SmallDisk::mount() else { return };
    let patient = Patient::new();
    let look = |folder: &Path| {
        examine(&patient.wharf.env("CONTAINER_REGISTRY_STORAGE", folder.to_str().expect("UTF-8")), &["127.0.0.1:1"])
    };
    let mend = is(&look(&disk.point().join("storage")), "disk", "problem", "uploads are refused");
    assert!(mend.contains("wharf gc"), "{mend}");
    let ran = look(patient.folder.path());
    assert_ne!(worst(&ran, "disk")[0].verdict, "problem", "{ran}");
    let ran = examine(&patient.wharf.env("TMPDIR", "/nowhere/tmp"), &["127.0.0.1:1"]);
    is(&ran, "disk", "problem", "TMPDIR names /nowhere/tmp");
}

#[test]
fn the_report_for_people_has_a_line_for_each_and_one_for_the_way_out() {
    let build = Background::new();
    let ran = build.wharf.fails(&["doctor"]);
    let expected = format!("http://localhost:{}\n", build.port);
    assert!(ran.stdout.starts_with(&expected), "{ran}");
    let lines: Vec<_> = ran.stdout.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("  problem  answer")).expect("the line");
    assert_eq!(lines[at + 1].trim(), "> `wharf start` starts it");
    assert!(lines.contains(&"This machine"), "{ran}");
    assert!(lines.last().is_some_and(|line| line.contains("problem") && line.contains("warning")), "{ran}");
    assert!(ran.stderr.is_empty(), "{ran}");
    // It changes nothing.
    assert!(!build.path("container-registry").exists());
}
