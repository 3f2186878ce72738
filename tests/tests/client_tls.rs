//! Registries over TLS.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use wharf_tests::{Config, Program, Reply, Scripted, Server, Wharf, certify, image_of, random, write_layout};

const HTPASSWD: &str = "user:$2b$04$.3BSjQ/WTbWogFjFRPLvdOfLsB36AC.FwYM9FoGpGxon6Bt/mssVm\n";
const PUSH: [&str; 4] = ["push", "app-oci", "--tag", "t"];

/// CNCF distribution behind a certificate of an authority of its own.
struct Secured {
    server: Server,
    folder: TempDir,
}

impl Secured {
    fn start(config: Config, names: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = certify(folder.path(), names);
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let config = config.set("http.tls.certificate", text(&certificate)).set("http.tls.key", text(&key));
        let image = image_of(json!({"architecture": "amd64", "os": "linux"}), json!({}), vec![random(400_000)]);
        write_layout(&folder.path().join("app-oci"), &[("latest", &image)]);
        let server = Server::launch(Program::Distribution, config);
        Self { server, folder }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn authority(&self) -> String {
        self.folder.path().join("ca.crt").to_str().expect("UTF-8").to_owned()
    }

    fn wharf(&self) -> Wharf {
        let address = format!("https://{}", self.address());
        Wharf::new(self.folder.path()).env("CONTAINER_REGISTRY_URL", &address)
    }
}

const LOCAL: &str = "DNS:localhost,IP:127.0.0.1";

#[test]
fn the_authority_that_is_named_is_believed() {
    let secured = Secured::start(Config::default(), LOCAL);
    let wharf = secured.wharf().env("CONTAINER_REGISTRY_CA_CERT", &secured.authority());
    wharf.ok(&PUSH).is_silent_on("warning");
    wharf.env("CONTAINER_REGISTRY_TLS_VERIFY", "true").ok(&PUSH).is_silent_on("warning");
    assert_eq!(wharf.ok(&["tags", "app"]).stdout, "t\n");
    // SECURE=1 says the same as https://.
    let secure = wharf.env("CONTAINER_REGISTRY_URL", &secured.address().to_string()).env("CONTAINER_REGISTRY_SECURE", "1");
    assert_eq!(secure.ok(&["tags", "app"]).stdout, "t\n");
    // That of the storage folder needs no variable.
    let pki = secured.folder.path().join("container-registry/pki");
    fs::create_dir_all(&pki).expect("a folder");
    fs::copy(secured.folder.path().join("ca.crt"), pki.join("ca.crt")).expect("copy the authority");
    secured.wharf().env("CONTAINER_REGISTRY_TLS_VERIFY", "true").ok(&["tags", "app"]);
}

#[test]
fn an_unknown_authority_is_a_warning_until_more_is_asked() {
    let secured = Secured::start(Config::default(), LOCAL);
    let wharf = secured.wharf();
    wharf.ok(&PUSH).says("warning").says("is not believed");
    wharf.env("CONTAINER_REGISTRY_TLS_VERIFY", "false").ok(&PUSH).is_silent_on("warning");
    let ran = wharf.env("CONTAINER_REGISTRY_TLS_VERIFY", "true").fails(&PUSH);
    ran.says(&format!("no secure connection to https://{}", secured.address()))
        .says("CONTAINER_REGISTRY_CA_CERT")
        .is_silent_on("again in");
}

#[test]
fn credentials_are_not_sent_to_who_cannot_be_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("htpasswd");
    fs::write(&file, HTPASSWD).expect("write the passwords");
    let config = Config::default().set("auth.htpasswd.realm", "test").set("auth.htpasswd.path", file.to_str().expect("UTF-8"));
    let secured = Secured::start(config, LOCAL);
    let push = [&PUSH[..], &["--creds", "user:secret"]].concat();
    secured.wharf().fails(&push).says("no secure connection").says("UnknownIssuer");
    secured.wharf().env("CONTAINER_REGISTRY_CA_CERT", &secured.authority()).ok(&push).is_silent_on("warning");
    secured.wharf().env("CONTAINER_REGISTRY_TLS_VERIFY", "false").ok(&push).is_silent_on("warning");
}

#[test]
fn another_name_is_not_believed() {
    let secured = Secured::start(Config::default(), "DNS:registry.example");
    let wharf =
        secured.wharf().env("CONTAINER_REGISTRY_CA_CERT", &secured.authority()).env("CONTAINER_REGISTRY_TLS_VERIFY", "true");
    wharf.fails(&PUSH).says("no secure connection").says("name");
}

#[test]
fn an_authority_that_does_not_read_is_told() {
    let secured = Secured::start(Config::default(), LOCAL);
    let broken = secured.folder.path().join("broken.crt");
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n").expect("write it");
    let wharf = secured.wharf().env("CONTAINER_REGISTRY_CA_CERT", broken.to_str().expect("UTF-8"));
    wharf.env("CONTAINER_REGISTRY_TLS_VERIFY", "true").fails(&PUSH).says("broken.crt");
}

#[test]
fn plain_http_where_tls_is_expected_is_told() {
    let plain = Server::launch(Program::Wharf, Config::default());
    let folder = tempfile::tempdir().expect("a folder");
    let wharf = Wharf::new(folder.path()).env("CONTAINER_REGISTRY_URL", &format!("https://{}", plain.address()));
    let ran = wharf.fails(&["list"]).says(&format!("no secure connection to https://{}", plain.address()));
    ran.says("it does not speak TLS").says("CONTAINER_REGISTRY_INSECURE=1").is_silent_on("again in");
}

#[test]
fn tls_where_plain_http_is_expected_is_told() {
    let secured = Secured::start(Config::default(), LOCAL);
    let wharf = Wharf::new(secured.folder.path()).env("CONTAINER_REGISTRY_URL", &secured.address().to_string());
    wharf.fails(&["list"]).says("HTTPS");
}

#[test]
fn a_token_server_without_tls_gets_no_credentials() {
    let tokens = Scripted::start(|_| Reply::new(200).body(r#"{"token":"t"}"#));
    let config = Config::default()
        .set("auth.token.realm", format!("http://{}/token", tokens.address()))
        .set("auth.token.service", "test")
        .set("auth.token.issuer", "test");
    let folder = tempfile::tempdir().expect("a folder");
    certify(folder.path(), LOCAL);
    let bundle = folder.path().join("ca.crt").to_str().expect("UTF-8").to_owned();
    let secured = Secured::start(config.set("auth.token.rootcertbundle", bundle), LOCAL);
    let wharf = secured.wharf().env("CONTAINER_REGISTRY_CA_CERT", &secured.authority());
    let ran = wharf.fails(&[&PUSH[..], &["--creds", "user:secret"]].concat());
    ran.says("credentials for").says("are not sent to").says("plain HTTP").is_silent_on("secret");
    assert_eq!(tokens.asked().len(), 0);
}

#[test]
fn sources_of_imports_are_secured_as_well() {
    let secured = Secured::start(Config::default(), LOCAL);
    secured.wharf().env("CONTAINER_REGISTRY_TLS_VERIFY", "false").ok(&PUSH);
    let here = Server::launch(Program::Wharf, Config::default());
    let wharf = Wharf::with_server(secured.folder.path(), &here);
    let source = format!("{}/yocto/app:t", secured.address());
    let import = |options: &[&str]| wharf.run(&[&["import", &source][..], options].concat());
    import(&["--src-ca-cert", &secured.authority()]).expect(0);
    import(&["--src-tls-verify", "true", "--src-ca-cert", &secured.authority()]).expect(0);
    import(&["--src-tls-verify", "false"]).expect(0);
    import(&["--src-tls-verify", "true"]).expect(1).says("no secure connection").says("--src-ca-cert");
    import(&[]).expect(1).says("no secure connection").says("--src-ca-cert");
    let conf = secured.folder.path().join("registries.conf");
    fs::write(&conf, format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", secured.address())).expect("write it");
    let wharf = wharf.env("CONTAINERS_REGISTRIES_CONF", conf.to_str().expect("UTF-8"));
    wharf.ok(&["import", &source]);
}
