//! Secrets never reach a log, an output, or another process's view of the command line.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::json;
use wharf_tests::{Build, Ran, Wharf, image_for, write_layout};

const SECRET: &str = "s3cret-word";
/// `alice:s3cret-word` as RFC 7617 has it.
const BASIC: &str = "Basic YWxpY2U6czNjcmV0LXdvcmQ=";

/// A registry that asks who is there, and then keeps whoever has said so waiting until the test lets go.
struct Staller {
    address: SocketAddr,
    authorizations: Receiver<String>,
    go: Sender<()>,
}

impl Staller {
    /// One that asks for credentials of the kind that `authorization` is.
    fn new(authorization: &str) -> Self {
        let challenge = match authorization.starts_with("Bearer") {
            true => "Bearer realm=\"http://127.0.0.1:9/token\",service=\"here\"",
            false => "Basic realm=\"here\"",
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let ((told, authorizations), (go, wait)) = (channel(), channel());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // It ends with the test, which drops the other halves of the channels.
                if serve(stream, challenge, &told, &wait).is_none() {
                    return;
                }
            }
        });
        Self { address, authorizations, go }
    }
}

/// Answers the requests of one connection; `None` when the test has ended.
fn serve(stream: TcpStream, challenge: &str, told: &Sender<String>, wait: &Receiver<()>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().expect("the stream a second time"));
    let mut stream = stream;
    loop {
        let mut authorization = None;
        let mut line = String::new();
        loop {
            line.clear();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return Some(()),
                Ok(_) if line.trim().is_empty() => break,
                Ok(_) => {}
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("authorization")
            {
                authorization = Some(value.trim().to_owned());
            }
        }
        let answer = match authorization {
            None => format!("401 Unauthorized\r\nWWW-Authenticate: {challenge}"),
            Some(value) => {
                told.send(value).ok()?;
                wait.recv().ok()?;
                "403 Forbidden".to_owned()
            }
        };
        let _ = write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
    }
}

/// Starts a command that will ask the staller, looks at its command line while it waits there, and lets it end.
#[track_caller]
fn watched(wharf: &Wharf, staller: &Staller, arguments: &[&str], authorization: &str) -> (String, Ran) {
    let mut command = wharf.command(arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start wharf");
    let told = staller.authorizations.recv_timeout(Duration::from_secs(20)).expect("credentials that arrive");
    assert_eq!(told, authorization);
    let seen = fs::read(format!("/proc/{}/cmdline", child.id())).expect("its command line");
    staller.go.send(()).expect("let go");
    let ran = Ran::of(arguments.join(" "), child.wait_with_output().expect("its end"));
    (String::from_utf8(seen).expect("UTF-8"), ran)
}

fn with_layout(wharf: &Wharf) {
    write_layout(&wharf.folder().join("app-oci"), &[("latest", &image_for("amd64", json!({})))]);
}

/// While a push runs, nobody can read its secrets in /proc/PID/cmdline; all else is still there. They are in no output either.
#[test]
fn a_running_push_does_not_show_its_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair = format!("alice:{SECRET}");
    let (creds, token) = (format!("--creds={pair}"), format!("--token={SECRET}"));
    let bearer = format!("Bearer {SECRET}");
    for (given, authorization) in
        [(&["--creds", &pair][..], BASIC), (&[&creds], BASIC), (&["--token", SECRET], &bearer), (&[&token], &bearer)]
    {
        let staller = Staller::new(authorization);
        let wharf = Wharf::new(folder.path()).env("CONTAINER_REGISTRY_URL", &staller.address.to_string());
        with_layout(&wharf);
        let arguments = [&["push", "app-oci", "--tag", "v1", "--verbose"], given].concat();
        let (seen, ran) = watched(&wharf, &staller, &arguments, authorization);
        assert!(!seen.contains(SECRET), "{seen:?}");
        assert!(seen.contains("push\0app-oci\0--tag\0v1\0--verbose\0--"), "{seen:?}");
        ran.expect(1).is_silent_on(SECRET).is_silent_on(&BASIC[6..]);
    }
}

/// The same through container-registry.sh, which hands over without a trace of its own.
#[test]
fn nor_does_the_script() {
    let folder = tempfile::tempdir().expect("a folder");
    let staller = Staller::new(BASIC);
    let wharf = Wharf::new(folder.path()).env("CONTAINER_REGISTRY_URL", &staller.address.to_string());
    with_layout(&wharf);
    wharf.ok(&["script"]);
    let script = folder.path().join("container-registry/container-registry.sh");
    let through = wharf.env("WHARF", wharf.program().to_str().expect("UTF-8")).through(&script);
    let arguments = ["push", "app-oci", "--creds", &format!("alice:{SECRET}")];
    let (seen, ran) = watched(&through, &staller, &arguments, BASIC);
    assert!(!seen.contains(SECRET) && seen.contains("push\0app-oci\0--creds\0"), "{seen:?}");
    ran.expect(1).is_silent_on(SECRET);
}

/// The source's secrets of an import are treated alike.
#[test]
fn an_import_does_not_show_the_sources_secrets() {
    let build = Build::new();
    let pair = format!("alice:{SECRET}");
    let bearer = format!("Bearer {SECRET}");
    for (option, value, authorization) in [("--src-creds", pair.as_str(), BASIC), ("--src-token", SECRET, &bearer)] {
        let staller = Staller::new(authorization);
        let source = format!("{}/library/app:1", staller.address);
        let arguments = ["import", &source, option, value, "--verbose"];
        let (seen, ran) = watched(&build.wharf, &staller, &arguments, authorization);
        assert!(!seen.contains(SECRET) && seen.contains(option), "{seen:?}");
        ran.expect(1).is_silent_on(SECRET).is_silent_on(&BASIC[6..]);
    }
}

/// What is wrong with credentials is told without them.
#[test]
fn errors_do_not_hold_secrets() {
    let build = Build::new();
    with_layout(&build.wharf);
    let wharf = build.wharf.clone();
    let file = build.path("creds");
    let path = file.to_str().expect("UTF-8").to_owned();
    wharf.fails(&["push", "app-oci", "--creds", SECRET]).says("--creds cannot be used").is_silent_on(SECRET);
    wharf.fails(&["push", "app-oci", "--creds", "a:b", "--token", SECRET]).says("exclude each other").is_silent_on(SECRET);
    for text in [
        format!("CONTAINER_REGISTRY_PASSWORD=\"{SECRET}\n"),
        format!("{SECRET}\n"),
        format!("CONTAINER_REGISTRY_PASSWORD={SECRET}\n"),
        format!("PASSWORD={SECRET}\n"),
    ] {
        fs::write(&file, &text).expect("write credentials");
        wharf.fails(&["push", "app-oci", "--credsfile", &path]).says("no credentials in").is_silent_on(SECRET);
    }
    let environment = wharf.env("CONTAINER_REGISTRY_AUTH_MODE", "env").env("CONTAINER_REGISTRY_PASSWORD", SECRET);
    let help = environment.ok(&["help"]);
    let info = environment.ok(&["info"]);
    for ran in [help, info] {
        ran.is_silent_on(SECRET);
    }
}

/// A credentials file is `KEY=value` lines, with comments and quotes; the token wins. A file that others can read is warned of.
#[test]
fn a_credentials_file_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let bearer = format!("Bearer {SECRET}");
    let user = "# who\nCONTAINER_REGISTRY_USER='alice'\n\nexport CONTAINER_REGISTRY_PASSWORD=\"s3cret-word\"\n";
    let token = format!("{user}CONTAINER_REGISTRY_TOKEN={SECRET}\n");
    for (text, authorization) in [(user.replace("export ", ""), BASIC), (token.replace("export ", ""), &bearer)] {
        let staller = Staller::new(authorization);
        let wharf = Wharf::new(folder.path()).env("CONTAINER_REGISTRY_URL", &staller.address.to_string());
        with_layout(&wharf);
        fs::write(folder.path().join("creds"), &text).expect("write credentials");
        let (_, ran) = watched(&wharf, &staller, &["push", "app-oci", "--credsfile", "creds"], authorization);
        ran.expect(1).says("can be read by others").is_silent_on(SECRET);
    }
}

/// The server's log tells who asked for what, and never with which credentials.
#[test]
fn the_servers_log_holds_no_secret() {
    let build = Build::new();
    with_layout(&build.wharf);
    build.wharf.ok(&["push", "app-oci", "--creds", &format!("alice:{SECRET}"), "-t", "1", "--verbose"]).is_silent_on(SECRET);
    build.wharf.ok(&["list", "--token", SECRET]).is_silent_on(SECRET);
    for path in ["/v2/", "/v2/yocto/app/manifests/1", "/v2/nope/manifests/1"] {
        build.server.get(path).header("Authorization", BASIC).send();
        build.server.get(path).header("Authorization", format!("Bearer {SECRET}")).send();
    }
    let log = build.server.log();
    assert!(log.contains("/v2/yocto/app/manifests/1"), "{log}");
    assert!(!log.contains(SECRET) && !log.contains(&BASIC[6..]), "{log}");
}
