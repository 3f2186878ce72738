//! Real clients against a registry with TLS and users: refused without credentials, let in with them, and out again.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;
use wharf_tests::clients::{Cell, Containerd, Containers, Docker, Layout, Output, SECURE_ORAS, run_python};
use wharf_tests::{Config, SECRET, Server, Wharf};

/// The registry. `owner` may do everything, `reader` pull below team/.
struct Secure {
    server: Server,
    folder: TempDir,
}

impl Secure {
    #[track_caller]
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        fs::create_dir(path("auth")).expect("a folder");
        fs::write(path("auth/htpasswd"), format!("owner:{SECRET}\nreader:{SECRET}\n")).expect("write the users");
        let rules = json!([
            {"who": ["user:owner"], "may": ["pull", "push", "delete", "administer"]},
            {"who": ["user:reader"], "may": ["pull"], "repositories": ["team/*"]},
        ]);
        let config = Config::default()
            .set("wharf.pki.folder", path("pki"))
            .set("wharf.access.folder", path("auth"))
            .set("wharf.access.rules", rules);
        Self { server: Server::with_config(config), folder }
    }

    fn host(&self) -> String {
        self.server.address().to_string()
    }

    fn at(&self, reference: &str) -> String {
        format!("{}/{reference}", self.host())
    }

    fn authority(&self) -> PathBuf {
        self.folder.path().join("pki/ca.crt")
    }

    /// A folder with the authority, as tools around containers/image and Docker want it.
    fn certificates(&self, folder: &Path) -> String {
        fs::create_dir_all(folder).expect("a folder");
        fs::copy(self.authority(), folder.join("ca.crt")).expect("the authority");
        folder.to_str().expect("UTF-8").to_owned()
    }
}

/// Asserts that it failed for want of a right, and in the client's own words of that.
#[track_caller]
fn refused(output: &Output) {
    assert!(!output.succeeded(), "{output:?}");
    let said = format!("{output:?}").to_lowercase();
    let words = [
        "unauthorized",
        "authentication required",
        "denied",
        "no basic auth credentials",
        "authorization failed",
        "403",
        "forbidden",
        "invalid username/password",
    ];
    assert!(words.iter().any(|word| said.contains(word)), "{output:?}");
}

#[test]
fn skopeo() {
    let secure = Secure::start();
    let cell = Cell::new();
    let layout = Layout::make(cell.folder());
    let certificates = secure.certificates(&cell.path("certs"));
    let skopeo = |words: &[&str]| cell.run("skopeo", words);
    let to = format!("docker://{}", secure.at("team/app:1"));
    let push = ["copy", "--dest-cert-dir", &certificates, &layout.oci("amd64"), &to];
    let inspect = ["inspect", "--cert-dir", &certificates, &to];
    refused(&skopeo(&inspect));
    refused(&skopeo(&push));
    let host = secure.host();
    let login = |user: &str, password: &str| skopeo(&["login", "--cert-dir", &certificates, "-u", user, "-p", password, &host]);
    refused(&login("owner", "wrong"));
    login("owner", "secret").ok();
    skopeo(&push).ok();
    assert!(skopeo(&inspect).ok().contains(&layout.amd64.digest));
    // The certificate is looked at.
    let blind = skopeo(&["inspect", &to]);
    assert!(!blind.succeeded() && format!("{blind:?}").contains("x509"), "{blind:?}");
    skopeo(&["logout", &host]).ok();
    refused(&skopeo(&inspect));
    login("reader", "secret").ok();
    skopeo(&inspect).ok();
    refused(&skopeo(&push));
    refused(&skopeo(&["delete", "--cert-dir", &certificates, &to]));
    let other = format!("docker://{}", secure.at("other/app:1"));
    refused(&skopeo(&["inspect", "--cert-dir", &certificates, &other]));
}

#[test]
fn podman_and_buildah() {
    let secure = Secure::start();
    let mut podman = Containers::new("podman");
    let layout = Layout::make(podman.cell.folder());
    let certificates = secure.certificates(&podman.cell.path("certs"));
    let id = podman.run(["pull", "--quiet", &layout.oci("amd64")]).ok();
    let (image, host) = (secure.at("team/app:1"), secure.host());
    let to = format!("docker://{image}");
    refused(&podman.run(["push", "--quiet", "--cert-dir", &certificates, &id, &to]));
    podman.run(["login", "--cert-dir", &certificates, "-u", "owner", "-p", "secret", &host]).ok();
    podman.run(["push", "--quiet", "--cert-dir", &certificates, &id, &to]).ok();
    podman.fresh();
    assert_eq!(podman.run(["pull", "--quiet", "--cert-dir", &certificates, &image]).ok(), id);
    podman.run(["logout", &host]).ok();
    podman.fresh();
    refused(&podman.run(["pull", "--quiet", "--cert-dir", &certificates, &image]));
    podman.run(["pull", "--quiet", "--cert-dir", &certificates, "--creds", "reader:secret", &image]).ok();

    let buildah = Containers::new("buildah");
    let layout = Layout::make(buildah.cell.folder());
    let certificates = secure.certificates(&buildah.cell.path("certs"));
    let id = buildah.run(["pull", "--quiet", &layout.oci("amd64")]).ok();
    let push = |credentials: &str, reference: &str| {
        let to = format!("docker://{}", secure.at(reference));
        buildah.run(["push", "--quiet", "--cert-dir", &certificates, "--creds", credentials, &id, &to])
    };
    refused(&push("reader:secret", "team/app:2"));
    refused(&push("owner:wrong", "team/app:2"));
    push("owner:secret", "team/app:2").ok();
}

#[test]
fn docker() {
    let secure = Secure::start();
    let cell = Cell::new();
    let layout = Layout::make(cell.folder());
    secure.certificates(&cell.path(&format!("etc/docker/certs.d/{}", secure.host())));
    // Tools that load the image want a policy.
    fs::create_dir_all(cell.path("etc/containers")).expect("a folder");
    cell.with_etc(&cell.path("etc"));
    let config = cell.write("daemon.json", "{}");
    let docker = Docker::start_in(cell, &config, &[]);
    let (image, host) = (secure.at("team/app:1"), secure.host());
    let archive = docker.cell.path("amd64.tar");
    let loaded = format!("docker-archive:{}:{image}", archive.display());
    docker.cell.run("skopeo", ["copy", &layout.oci("amd64"), &loaded]).ok();
    docker.run(["load", "--input", archive.to_str().expect("UTF-8")]).ok();
    refused(&docker.run(["push", &image]));
    refused(&docker.run(["login", "-u", "owner", "-p", "wrong", &host]));
    docker.run(["login", "-u", "owner", "-p", "secret", &host]).ok();
    docker.run(["push", &image]).ok();
    docker.empty();
    docker.run(["pull", &image]).ok();
    docker.run(["logout", &host]).ok();
    docker.empty();
    refused(&docker.run(["pull", &image]));
    docker.run(["login", "-u", "reader", "-p", "secret", &host]).ok();
    docker.run(["pull", &image]).ok();
    refused(&docker.run(["push", &image]));
}

#[test]
fn containerd() {
    let secure = Secure::start();
    let containerd = Containerd::start();
    let layout = Layout::make(containerd.cell.folder());
    let archive = layout.archive();
    let import = ["images", "import", "--all-platforms", "--no-unpack", "--base-name=test", archive.to_str().expect("UTF-8")];
    containerd.run(import).ok();
    // On loopback ctr speaks plain HTTP unless it is told where to ask.
    let (image, hosts) = (secure.at("team/app:1"), containerd.cell.path("certs.d"));
    fs::create_dir_all(hosts.join(secure.host())).expect("a folder");
    let server = format!("https://{}", secure.host());
    let settings = format!("server = \"{server}\"\n[host.\"{server}\"]\nca = \"{}\"\n", secure.authority().display());
    fs::write(hosts.join(secure.host()).join("hosts.toml"), settings).expect("write the settings");
    let hosts = hosts.to_str().expect("UTF-8").to_owned();
    let push =
        |user: &[&str]| containerd.run([&["images", "push", "--hosts-dir", &hosts], user, &[&image, "test:amd64"]].concat());
    let pull = |user: &[&str]| containerd.run([&["images", "pull", "--hosts-dir", &hosts], user, &[&image]].concat());
    refused(&push(&[]));
    refused(&push(&["--user", "owner:wrong"]));
    refused(&push(&["--user", "reader:secret"]));
    push(&["--user", "owner:secret"]).ok();
    refused(&pull(&[]));
    pull(&["--user", "reader:secret"]).ok();
}

#[test]
fn oras() {
    let secure = Secure::start();
    let home = tempfile::tempdir().expect("a folder");
    fs::write(home.path().join("notes.txt"), "hello").expect("write a file");
    let said = |user: &str, password: &str, how: &str| {
        let (host, authority) = (secure.host(), secure.authority());
        let authority = authority.to_str().expect("UTF-8");
        run_python(home.path(), SECURE_ORAS, [host.as_str(), authority, user, password, "team/notes:1", how])
    };
    assert_eq!(said("owner", "secret", "push"), json!({"pushed": 201, "pulled": "hello"}));
    assert_eq!(said("reader", "secret", "pull")["pulled"], "hello");
}

#[test]
fn vdkr() {
    let secure = Secure::start();
    let cell = tempfile::tempdir().expect("a folder");
    let layout = Layout::make(cell.path());
    let wharf = Wharf::new(cell.path()).env("CONTAINER_REGISTRY_URL", &format!("https://{}", secure.host()));
    let wharf = wharf.env("CONTAINER_REGISTRY_CA_CERT", secure.authority().to_str().expect("UTF-8"));
    let source = format!("{}:amd64", layout.oci("amd64").split(':').nth(1).expect("a folder"));
    wharf.ok(&["push", &source, "--name", "team/app", "--tag", "1", "--creds", "owner:secret"]);
    let home = tempfile::tempdir().expect("a folder");
    let conf = home.path().join("vdkr.conf");
    let port = secure.server.address().port();
    let text = format!("registry=10.0.2.2:{port}/team\nsecure=1\nca-cert=\"{}\"\n", secure.authority().display());
    fs::write(&conf, text).expect("write the settings");
    let vdkr = Wharf::vdkr(home.path()).env("VDKR_CONFIG_DEFAULTS", conf.to_str().expect("UTF-8"));
    let pull = ["--arch", "x86_64", "pull", "app:1"];
    let without = vdkr.run(&pull);
    assert!(without.code != 0 && without.stderr.contains("credentials"), "{without}");
    let login = |password: &str| {
        let host = format!("10.0.2.2:{port}");
        let mut command = vdkr.command(&["login", &host, "-u", "reader", "--password-stdin"]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().expect("run vdkr");
        std::io::Write::write_all(&mut child.stdin.take().expect("its input"), password.as_bytes()).expect("the password");
        wharf_tests::Ran::of("login".to_owned(), child.wait_with_output().expect("vdkr"))
    };
    assert_ne!(login("wrong").code, 0);
    login("secret").expect(0);
    vdkr.ok(&pull).says(&secure.host().replace("127.0.0.1", "10.0.2.2"));
    assert!(vdkr.ok(&["--arch", "x86_64", "images"]).stdout.contains("app"));
    vdkr.ok(&["logout", &format!("10.0.2.2:{port}")]);
    let after = vdkr.run(&["--arch", "x86_64", "pull", "app:1"]);
    assert_ne!(after.code, 0, "{after}");
}
