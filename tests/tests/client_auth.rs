//! Who the client says it is, and to whom.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::json;
use tempfile::TempDir;
use wharf_tests::{
    Config, Gate, IDENTITY, Image, Program, Ran, Reply, Scripted, Server, TokenServer, USER_SECRET, Wharf, forward, image_of,
    random, sha256, write_layout,
};

/// `user:secret` in bcrypt.
const HTPASSWD: &str = "user:$2b$04$.3BSjQ/WTbWogFjFRPLvdOfLsB36AC.FwYM9FoGpGxon6Bt/mssVm\n";

/// CNCF distribution that lets in `user` with `secret`.
struct Guarded {
    server: Server,
    folder: TempDir,
}

impl Guarded {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("htpasswd");
        fs::write(&file, HTPASSWD).expect("write the passwords");
        let config =
            Config::default().set("auth.htpasswd.realm", "test").set("auth.htpasswd.path", file.to_str().expect("UTF-8"));
        let server = Server::launch(Program::Distribution, config);
        build(folder.path(), &[1000, 400_000]);
        Self { server, folder }
    }

    fn wharf(&self) -> Wharf {
        wharf(self.folder.path(), self.server.address())
    }

    fn write(&self, name: &str, text: &str) -> String {
        write(self.folder.path(), name, text)
    }
}

fn wharf(folder: &Path, address: SocketAddr) -> Wharf {
    Wharf::new(folder).env("CONTAINER_REGISTRY_URL", &address.to_string())
}

/// Puts an image `app-oci` into a build directory.
fn build(folder: &Path, layers: &[usize]) -> Image {
    let layers = layers.iter().map(|size| random(*size)).collect();
    let image = image_of(json!({"architecture": "amd64", "os": "linux"}), json!({}), layers);
    write_layout(&folder.join("app-oci"), &[("latest", &image)]);
    image
}

/// Writes a file that only its owner reads.
fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(&path, text).expect("write a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its permissions");
    path.to_str().expect("UTF-8").to_owned()
}

fn auth_file(host: SocketAddr, entry: &serde_json::Value) -> String {
    json!({"auths": {host.to_string(): entry}}).to_string()
}

const PUSH: [&str; 4] = ["push", "app-oci", "--tag", "t"];

fn push(wharf: &Wharf, options: &[&str]) -> Ran {
    wharf.run(&[&PUSH, options].concat())
}

#[test]
fn every_way_to_give_a_password_works() {
    let guarded = Guarded::start();
    let wharf = guarded.wharf();
    let file = auth_file(guarded.server.address(), &json!({"auth": "dXNlcjpzZWNyZXQ="}));
    let authfile = guarded.write("auth.json", &file);
    let credsfile =
        guarded.write("creds", "# for pushes\nCONTAINER_REGISTRY_USER='user'\nCONTAINER_REGISTRY_PASSWORD=secret # it\n");
    let done = |ran: Ran| ran.expect(0).is_silent_on("secret");
    done(push(&wharf, &["--creds", "user:secret"]));
    done(push(&wharf, &["--credsfile", &credsfile]));
    done(push(&wharf, &["--auth-mode", "credsfile", "--credsfile", &credsfile]));
    done(push(&wharf.env("CONTAINER_REGISTRY_CREDSFILE", &credsfile), &["--auth-mode", "credsfile"]));
    done(push(&wharf, &["--authfile", &authfile]));
    done(push(&wharf.env("CONTAINER_REGISTRY_AUTHFILE", &authfile).env("CONTAINER_REGISTRY_AUTH_MODE", "authfile"), &[]));
    let env = wharf.env("CONTAINER_REGISTRY_USER", "user").env("CONTAINER_REGISTRY_PASSWORD", "secret");
    done(push(&env, &["--auth-mode", "env"]));
    let env = wharf.env("CONTAINER_REGISTRY_USERNAME", "user").env("CONTAINER_REGISTRY_PASSWORD", "secret");
    done(push(&env, &["--auth-mode", "env"]));
    // Without a user it is the build's own one, who is nobody here.
    push(&wharf.env("CONTAINER_REGISTRY_PASSWORD", "secret"), &["--auth-mode", "env"]).expect(1).says("does not accept");
    // The build directory is the home as well.
    guarded.write(".docker/config.json", &file);
    done(push(&wharf, &["--use-home-auth"]));
    done(push(&wharf, &["--auth-mode", "home"]));
    fs::remove_file(guarded.folder.path().join(".docker/config.json")).expect("remove it");
    guarded.write(".config/containers/auth.json", &file);
    done(push(&wharf, &["--use-home-auth"]));
    // Who is logged in at home does not push with that unasked.
    push(&wharf, &[]).expect(1).says("asks for credentials");
    // Listings and deletes need them as well.
    let with = |words: &[&str]| wharf.run(&[words, &["--creds", "user:secret"]].concat());
    assert_eq!(with(&["tags", "app"]).expect(0).stdout, "t\n");
    assert_eq!(with(&["catalog"]).expect(0).json(), json!({"repositories": ["yocto/app"]}));
    assert_eq!(with(&["list"]).expect(0).stdout, "yocto/app: t\n");
}

#[test]
fn without_credentials_the_ways_to_give_them_are_told() {
    let guarded = Guarded::start();
    for words in [&PUSH[..], &["list"], &["tags", "app"], &["catalog"], &["delete", "app:t"]] {
        let ran = guarded.wharf().fails(words).says("asks for credentials");
        for way in ["--creds USER:PASSWORD", "--token", "--credsfile", "--authfile", "--use-home-auth"] {
            assert!(ran.stderr.contains(way), "nothing of {way}: {ran}");
        }
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn wrong_credentials_are_told_from_missing_ones() {
    let guarded = Guarded::start();
    for options in [["--creds", "user:wrong"], ["--creds", "nobody:secret"], ["--token", "guess"]] {
        let ran = push(&guarded.wharf(), &options).expect(1).says("does not accept these credentials").is_silent_on("again in");
        ran.is_silent_on("wrong").is_silent_on("guess");
    }
    // A file without this host is none.
    let file = guarded.write("auth.json", r#"{"auths":{"other.example":{"auth":"dXNlcjpzZWNyZXQ="}}}"#);
    push(&guarded.wharf(), &["--authfile", &file]).expect(1).says("asks for credentials");
}

#[test]
fn contradictions_and_gaps_are_told_before_anything_is_sent() {
    let server = Scripted::start(|_| Reply::new(200));
    let folder = tempfile::tempdir().expect("a folder");
    build(folder.path(), &[10]);
    let wharf = wharf(folder.path(), server.address());
    push(&wharf, &["--creds", "a:b", "--token", "c"]).expect(1).says("exclude each other");
    push(&wharf, &["--auth-mode", "env", "--creds", "a:b"]).expect(1).says("exclude each other");
    push(&wharf, &["--auth-mode", "env"]).expect(1).says("no credentials in the environment");
    push(&wharf, &["--auth-mode", "authfile"]).expect(1).says("CONTAINER_REGISTRY_AUTHFILE");
    push(&wharf, &["--auth-mode", "credsfile"]).expect(1).says("CONTAINER_REGISTRY_CREDSFILE");
    push(&wharf, &["--credsfile", "none"]).expect(1).says("none");
    push(&wharf, &["--creds", "nobody"]).expect(1).says("USER:PASSWORD").is_silent_on("nobody");
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn a_fixed_token_is_sent_as_it_is() {
    let server = Server::launch(Program::Wharf, Config::default());
    let behind = server.address();
    let gate = Scripted::start(move |asked| match asked.header("authorization") {
        Some("Bearer given") => forward(behind, asked),
        _ => Reply::new(401).header("WWW-Authenticate", "Bearer realm=\"http://127.0.0.1:1/token\",service=\"gate\""),
    });
    let folder = tempfile::tempdir().expect("a folder");
    build(folder.path(), &[400_000]);
    let wharf = wharf(folder.path(), gate.address());
    push(&wharf, &["--token", "given"]).expect(0);
    let file = write(
        folder.path(),
        "creds",
        "CONTAINER_REGISTRY_TOKEN=given\nCONTAINER_REGISTRY_USER=x\nCONTAINER_REGISTRY_PASSWORD=y\n",
    );
    push(&wharf, &["--credsfile", &file]).expect(0);
    push(&wharf, &["--token", "other"]).expect(1).says("does not accept these credentials");
}

/// A registry behind a token server, with the image to push to it.
struct Tokens {
    server: Server,
    tokens: Arc<TokenServer>,
    folder: TempDir,
}

impl Tokens {
    fn new(layers: &[usize]) -> (Self, Image) {
        let folder = tempfile::tempdir().expect("a folder");
        let image = build(folder.path(), layers);
        let server = Server::launch(Program::Wharf, Config::default());
        (Self { server, tokens: Arc::new(TokenServer::start()), folder }, image)
    }
}

#[test]
fn a_token_is_fetched_once_for_each_scope() {
    let (stage, image) = Tokens::new(&[1000, 2000, 400_000, 500_000]);
    let gate = Gate::start(&stage.server, &stage.tokens, |_| {});
    let wharf = wharf(stage.folder.path(), gate.address());
    push(&wharf, &["--creds", "user:secret"]).expect(0);
    assert_eq!(stage.server.repo("yocto/app").manifest("t").expect(200).body, image.manifest);
    assert_eq!(stage.tokens.scopes(), ["", "repository:yocto/app:pull", "repository:yocto/app:pull,push registry:mount:*"]);
    for asked in stage.tokens.asked() {
        assert_eq!(asked.header("authorization"), Some(USER_SECRET));
        assert!(asked.target.contains("service=gate") && asked.target.contains("account=user"), "{}", asked.target);
    }
    // The password itself went to the token server alone.
    assert!(gate.asked().iter().all(|asked| asked.header("authorization").is_none_or(|value| value.starts_with("Bearer "))));
}

#[test]
fn a_mount_asks_to_read_the_other_repository() {
    let (stage, image) = Tokens::new(&[400_000]);
    let gate = Gate::start(&stage.server, &stage.tokens, |_| {});
    // The same content under a second name.
    write_layout(&stage.folder.path().join("twin-oci"), &[("latest", &image)]);
    let wharf = wharf(stage.folder.path(), gate.address());
    wharf.ok(&["push", "app-oci", "twin-oci", "--tag", "t", "--creds", "user:secret"]);
    let both = ["app", "twin"].map(|to| {
        let from = if to == "app" { "twin" } else { "app" };
        format!("repository:yocto/{to}:pull,push registry:mount:* repository:yocto/{from}:pull")
    });
    let scopes = stage.tokens.scopes();
    assert!(scopes.iter().any(|scope| both.contains(scope)), "{scopes:?}");
    let mounted = gate.asked().into_iter().filter(|asked| asked.is("POST", "from=yocto%2F")).count();
    assert_eq!(mounted, 1, "{:?}", gate.asked().iter().map(|asked| &asked.target).collect::<Vec<_>>());
    assert_eq!(gate.asked().iter().filter(|asked| asked.method == "PATCH").count(), 1, "sent once");
}

#[test]
fn a_token_that_ends_in_mid_push_is_replaced() {
    let (stage, image) = Tokens::new(&[3 << 20, 1000]);
    let (tokens, ended) = (stage.tokens.clone(), AtomicBool::new(false));
    let gate = Gate::start(&stage.server, &stage.tokens, move |asked| {
        if asked.method == "PATCH" && !ended.swap(true, Ordering::SeqCst) {
            tokens.revoke();
        }
    });
    push(&wharf(stage.folder.path(), gate.address()), &["--creds", "user:secret"]).expect(0);
    let repo = stage.server.repo("yocto/app");
    assert_eq!(repo.manifest("t").expect(200).body, image.manifest);
    assert!(repo.blob(&sha256(&image.layers[0])).expect(200).body == image.layers[0]);
    assert!(stage.tokens.scopes().len() > 3, "a new token was fetched");
}

#[test]
fn a_token_is_renewed_before_it_ends() {
    let (mut stage, _) = Tokens::new(&[400_000]);
    stage.tokens = Arc::new(TokenServer::lasting(1));
    let gate = Gate::start(&stage.server, &stage.tokens, |asked| {
        if asked.method == "PATCH" {
            std::thread::sleep(std::time::Duration::from_millis(1100));
        }
    });
    push(&wharf(stage.folder.path(), gate.address()), &["--creds", "user:secret"]).expect(0).is_silent_on("again in");
    let pushes = stage.tokens.scopes().iter().filter(|scope| scope.starts_with("repository:yocto/app:pull,push")).count();
    assert_eq!(pushes, 2, "one before the blob, one after it");
}

#[test]
fn an_identity_token_is_exchanged() {
    let (stage, _) = Tokens::new(&[1000]);
    let gate = Gate::start(&stage.server, &stage.tokens, |_| {});
    let file = write(stage.folder.path(), "auth.json", &auth_file(gate.address(), &json!({"identitytoken": IDENTITY})));
    push(&wharf(stage.folder.path(), gate.address()), &["--authfile", &file]).expect(0);
    for asked in stage.tokens.asked() {
        assert_eq!((asked.method.as_str(), asked.header("authorization")), ("POST", None));
        let form = String::from_utf8_lossy(&asked.body).into_owned();
        assert!(form.contains("grant_type=refresh_token") && form.contains("service=gate"), "{form}");
        assert!(!asked.target.contains(IDENTITY), "no secret in an address");
    }
}

#[test]
fn a_token_server_that_refuses_or_fails_is_told() {
    let (stage, _) = Tokens::new(&[1000]);
    let gate = Gate::start(&stage.server, &stage.tokens, |_| {});
    let wharf = wharf(stage.folder.path(), gate.address());
    push(&wharf, &["--creds", "user:wrong"]).expect(1).says("does not accept these credentials").says("token server");
    // Anybody may ask for a token here, and gets one that allows no push.
    push(&wharf, &[]).expect(1).says("asks for credentials");
}

#[test]
fn token_servers_that_give_no_token_are_told() {
    for (reply, said) in [
        (Reply::new(200).body("{}"), "its token server sent no token"),
        (Reply::new(200).body("<html>"), "its token server sent no token"),
        (Reply::new(200).body(vec![b' '; 2 << 20]), "an answer of more than"),
        (Reply::new(404), "answered 404"),
        (Reply::new(302).header("Location", "http://127.0.0.1:1/"), "answered 302"),
        (Reply::hang(), "did not go on within"),
    ] {
        let tokens = Scripted::start(move |_| reply.clone());
        let realm = format!("Bearer realm=\"http://{}/token\"", tokens.address());
        let registry = Scripted::start(move |_| Reply::new(401).header("WWW-Authenticate", &realm));
        let folder = tempfile::tempdir().expect("a folder");
        let wharf = wharf(folder.path(), registry.address()).env("WHARF_STALL", "0.3");
        wharf.fails(&["list", "--creds", "user:secret"]).says(said).is_silent_on("secret");
    }
}

#[test]
fn an_upload_that_leads_to_another_host_goes_there_without_credentials() {
    // The other host keeps nothing: what counts is what it was told.
    let other = Scripted::start(|_| Reply::new(500).header("Retry-After", "0"));
    let location = format!("http://localhost:{}/elsewhere", other.address().port());
    let registry = Scripted::start(move |asked| match (asked.header("authorization"), asked.method.as_str()) {
        (None, _) => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\""),
        (_, "HEAD") => Reply::new(404),
        (_, "POST") => Reply::new(202).header("Location", &location),
        _ => Reply::new(200),
    });
    let folder = tempfile::tempdir().expect("a folder");
    build(folder.path(), &[400_000]);
    push(&wharf(folder.path(), registry.address()), &["--creds", "user:secret"]).expect(1);
    assert!(other.count("PATCH", "/elsewhere") > 0);
    assert!(other.asked().iter().all(|asked| asked.header("authorization").is_none()));
}

#[test]
fn content_elsewhere_is_fetched_without_credentials() {
    let image = image_of(json!({"architecture": "amd64", "os": "linux"}), json!({}), vec![random(400_000)]);
    let (blobs, manifest) = (image.blobs().cloned().collect::<Vec<_>>(), image.manifest.clone());
    let other = Scripted::start(move |asked| {
        let found = blobs.iter().find(|blob| asked.target.ends_with(&sha256(blob)[7..]));
        found.map_or(Reply::new(404), |blob| Reply::new(200).body(blob.clone()))
    });
    let elsewhere = other.address();
    let origin = Scripted::start(move |asked| match asked.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\""),
        Some(_) if asked.target == "/v2/" => Reply::new(200),
        Some(_) if asked.target.contains("/manifests/") => {
            Reply::new(200).header("Content-Type", wharf_tests::OCI_MANIFEST).body(manifest.clone())
        }
        Some(_) => {
            let digest = asked.target.rsplit_once(':').map_or("", |(_, digest)| digest);
            Reply::new(307).header("Location", format!("http://localhost:{}/store/{digest}", elsewhere.port()))
        }
    });
    let server = Server::launch(Program::Wharf, Config::default());
    let folder = tempfile::tempdir().expect("a folder");
    let source = format!("{}/some/app:1", origin.address());
    wharf(folder.path(), server.address()).ok(&["import", &source, "--src-creds", "user:secret"]);
    assert_eq!(server.repo("yocto/app").manifest("1").expect(200).body, image.manifest);
    assert!(other.asked().len() >= 2);
    assert!(other.asked().iter().all(|asked| asked.header("authorization").is_none()));
    assert!(
        origin
            .asked()
            .iter()
            .filter(|asked| asked.target != "/v2/")
            .all(|asked| asked.header("authorization") == Some(USER_SECRET))
    );
}

#[test]
fn a_mirror_is_not_told_who_asks() {
    let mirror = Scripted::start(|_| Reply::new(401).header("WWW-Authenticate", "Basic realm=\"mirror\""));
    let guarded = Guarded::start();
    push(&guarded.wharf(), &["--creds", "user:secret"]).expect(0);
    let server = Server::launch(Program::Wharf, Config::default());
    let host = guarded.server.address();
    let conf = format!(
        "[[registry]]\nlocation = \"{host}\"\n[[registry.mirror]]\nlocation = \"{}\"\ninsecure = true\n",
        mirror.address()
    );
    let conf = guarded.write("registries.conf", &conf);
    let wharf = wharf(guarded.folder.path(), server.address()).env("CONTAINERS_REGISTRIES_CONF", &conf);
    let source = format!("{host}/yocto/app:t");
    wharf.ok(&["import", &source, "--src-creds", "user:secret"]).says("the mirror");
    let authfile = guarded.write("auth.json", &auth_file(host, &json!({"auth": "dXNlcjpzZWNyZXQ="})));
    wharf.ok(&["import", &source, "--src-authfile", &authfile]);
    assert!(!mirror.asked().is_empty());
    assert!(mirror.asked().iter().all(|asked| asked.header("authorization").is_none()));
}

#[test]
fn a_helper_is_asked_and_its_secret_stays_hidden() {
    let guarded = Guarded::start();
    let helper = guarded.write(
        "bin/docker-credential-test",
        "#!/bin/sh\nread -r server\n[ \"$1\" = get ] || exit 1\necho '{\"Username\":\"user\",\"Secret\":\"secret\"}'\n",
    );
    fs::set_permissions(PathBuf::from(helper), fs::Permissions::from_mode(0o700)).expect("make it executable");
    let path = format!("{}:{}", guarded.folder.path().join("bin").display(), std::env::var("PATH").expect("a path"));
    let file = guarded.write("auth.json", r#"{"credsStore":"test"}"#);
    push(&guarded.wharf().env("PATH", &path), &["--authfile", &file]).expect(0).is_silent_on("secret");
    let missing = guarded.write("other.json", r#"{"credsStore":"missing"}"#);
    push(&guarded.wharf(), &["--authfile", &missing]).expect(1).says("docker-credential-missing");
}

/// The process of a push is seen by everybody on the machine.
#[test]
fn secrets_vanish_from_the_command_line() {
    static SEEN: OnceLock<String> = OnceLock::new();
    let server = Scripted::start(|_| Reply::hang());
    let folder = tempfile::tempdir().expect("a folder");
    build(folder.path(), &[10]);
    let mut command = wharf(folder.path(), server.address()).command(&[&PUSH[..], &["--creds", "user:topsecret"]].concat());
    let mut child = command.stderr(std::process::Stdio::null()).spawn().expect("start a push");
    wharf_tests::eventually("it asks", || !server.asked().is_empty());
    let line = fs::read(format!("/proc/{}/cmdline", child.id())).expect("its command line");
    let seen = SEEN.get_or_init(|| String::from_utf8_lossy(&line).into_owned());
    child.kill().expect("end it");
    child.wait().expect("wait for it");
    assert!(seen.contains("--creds") && !seen.contains("topsecret") && !seen.contains("user:"), "{seen:?}");
}
