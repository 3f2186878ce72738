//! `meta-wharf`: the files that tell a target of the registry, as the real BitBake makes them.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use wharf_tests::{BitBake, certify};

const OCI: &str = "container-oci-registry-config";
const DOCKER: &str = "docker-registry-config";
const CA: &str = "container-registry-ca";

/// The drop-in for podman and the others, without its comment.
fn drop_in(bitbake: &BitBake) -> String {
    let path = bitbake.installed(OCI, "etc/containers/registries.conf.d/50-custom-registry.conf");
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

fn daemon_json(bitbake: &BitBake) -> Value {
    let read = |path: &str| serde_json::from_slice::<Value>(&fs::read(bitbake.installed(DOCKER, path)).unwrap()).unwrap();
    let content = read("etc/docker/daemon.json");
    assert_eq!(read("usr/share/container-registry/daemon.json"), content);
    content
}

/// A file of the test's own in the build directory.
fn file(bitbake: &BitBake, name: &str, content: &str) -> String {
    let path = bitbake.path(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Names of files below a folder, in order.
fn files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            names.extend(files(&entry.path()).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

/// Each kind of address and what is said of it gives the drop-in and the daemon.json that reach it.
#[test]
fn addresses_and_switches_become_configuration() {
    let bitbake = BitBake::new();
    let mirror = |insecure: bool, place: &str| {
        format!(
            "[[registry]]\nprefix = \"docker.io/library\"\nlocation = \"docker.io/library\"\n\n\
             [[registry.mirror]]\nlocation = \"{place}\"\ninsecure = {insecure}\n"
        )
    };
    let registry = |insecure: bool, name: &str| format!("[[registry]]\nlocation = \"{name}\"\ninsecure = {insecure}\n\n");
    let url = |url: &str| format!("CONTAINER_REGISTRY_URL = \"{url}\"\n");
    let local = registry(true, "localhost:5000") + &registry(true, "10.0.2.2:5000");
    let cases = [
        (
            url("localhost:5000"),
            local.clone() + &mirror(true, "localhost:5000/yocto"),
            json!(["localhost:5000", "10.0.2.2:5000"]),
        ),
        (
            "DOCKER_REGISTRY_INSECURE = \"other.example:1 localhost:5000\"\nCONTAINER_REGISTRY_NAMESPACE = \"a/b\"\n".to_owned(),
            local.clone() + &mirror(true, "localhost:5000/a/b"),
            json!(["other.example:1", "localhost:5000", "10.0.2.2:5000"]),
        ),
        (
            "CONTAINER_REGISTRY_SEARCH_FIRST = \"0\"\n".to_owned(),
            local,
            json!(["other.example:1", "localhost:5000", "10.0.2.2:5000"]),
        ),
        (
            url("Build.example:5000") + "CONTAINER_REGISTRY_SEARCH_FIRST = \"1\"\nDOCKER_REGISTRY_INSECURE = \"\"\n",
            registry(false, "build.example:5000") + &mirror(false, "build.example:5000/a/b"),
            json!([]),
        ),
        (
            "CONTAINER_REGISTRY_INSECURE = \"1\"\n".to_owned(),
            registry(true, "build.example:5000") + &mirror(true, "build.example:5000/a/b"),
            json!(["build.example:5000"]),
        ),
        (
            url("https://10.0.2.2/") + "CONTAINER_REGISTRY_INSECURE = \"0\"\n",
            registry(false, "10.0.2.2") + &mirror(false, "10.0.2.2/a/b"),
            json!([]),
        ),
        (
            url("[::1]:5000"),
            registry(true, "[::1]:5000") + &registry(true, "10.0.2.2:5000") + &mirror(true, "[::1]:5000/a/b"),
            json!(["[::1]:5000", "10.0.2.2:5000"]),
        ),
    ];
    for (lines, expected, insecure) in cases {
        bitbake.configure(&lines);
        let ran = bitbake.ok(&[OCI, DOCKER]);
        assert!(!format!("{ran}").contains("WARNING"), "{ran}");
        assert_eq!(drop_in(&bitbake).trim_end(), expected.trim_end(), "{lines}");
        assert_eq!(daemon_json(&bitbake), json!({"insecure-registries": insecure}), "{lines}");
        assert_eq!(files(&bitbake.installed(OCI, "")), ["etc/containers/registries.conf.d/50-custom-registry.conf"]);
        assert_eq!(files(&bitbake.installed(DOCKER, "etc")), ["docker/daemon.json"]);
    }
    bitbake.configure(&url("build.example:5000/yocto"));
    let ran = bitbake.run(&[OCI]).expect(1);
    assert!(format!("{ran}").contains("CONTAINER_REGISTRY_URL = \"build.example:5000/yocto\" is not HOST or HOST:PORT"), "{ran}");
}

/// The daemon.json that is given keeps all it says; one that Docker would not read is an error with its name.
#[test]
fn a_given_daemon_json_is_kept() {
    let bitbake = BitBake::new();
    let given =
        json!({"log-driver": "local", "insecure-registries": ["old.example", "localhost:5000"], "default-ulimits": {"a": 1}});
    let path = file(&bitbake, "given.json", &given.to_string());
    bitbake.configure(&format!("CONTAINER_REGISTRY_URL = \"localhost:5000\"\nDOCKER_DAEMON_JSON = \"{path}\""));
    bitbake.ok(&[DOCKER]);
    let mut expected = given;
    expected["insecure-registries"] = json!(["old.example", "localhost:5000", "10.0.2.2:5000"]);
    assert_eq!(daemon_json(&bitbake), expected);
    for (content, said) in [
        ("{\"a\": 1,}", "is not JSON"),
        ("[]", "is no object"),
        ("{\"insecure-registries\": \"a\"}", "has insecure-registries that is no list"),
    ] {
        file(&bitbake, "given.json", content);
        let ran = bitbake.run(&[DOCKER]).expect(1);
        assert!(format!("{ran}").contains(&format!("DOCKER_DAEMON_JSON = \"{path}\" {said}")), "{ran}");
    }
    for missing in ["given.json", "/no/such.json"] {
        bitbake.configure(&format!("DOCKER_DAEMON_JSON = \"{missing}\""));
        let ran = bitbake.run(&[DOCKER]).expect(1);
        assert!(format!("{ran}").contains(&format!("\"{missing}\" is not the absolute path of a file")), "{ran}");
    }
    // Podman's recipe has nothing to do with it.
    bitbake.ok(&[OCI]);
}

/// In secure mode the authority is where each engine looks for it, by every name of the registry, and its key is nowhere.
#[test]
fn a_given_authority_is_shipped() {
    let bitbake = BitBake::new();
    certify(&bitbake.path(""), "DNS:localhost");
    let certificate = fs::read_to_string(bitbake.path("ca.crt")).unwrap();
    // As some keep it: the key in the same file.
    let bundle = format!("# of mine\n{certificate}{}", fs::read_to_string(bitbake.path("ca.key")).unwrap());
    assert!(bundle.contains("PRIVATE KEY"));
    let path = file(&bitbake, "bundle.pem", &bundle);
    bitbake.configure(&format!(
        "CONTAINER_REGISTRY_URL = \"localhost:5000\"\nCONTAINER_REGISTRY_SECURE = \"1\"\nCONTAINER_REGISTRY_CA_CERT = \"{path}\""
    ));
    bitbake.ok(&[OCI, DOCKER, CA]);
    let certs = ["certs.d/10.0.2.2:5000/ca.crt", "certs.d/localhost:5000/ca.crt"];
    let oci = [certs[0], certs[1], "registries.conf.d/50-custom-registry.conf"];
    assert_eq!(files(&bitbake.installed(OCI, "etc/containers")), oci);
    assert_eq!(files(&bitbake.installed(DOCKER, "etc/docker")), [certs[0], certs[1], "daemon.json"]);
    let place = "usr/local/share/ca-certificates/container-registry-ca.crt";
    assert_eq!(files(&bitbake.installed(CA, "")), [place]);
    for path in certs {
        for (recipe, folder) in [(OCI, "etc/containers"), (DOCKER, "etc/docker")] {
            let content = fs::read_to_string(bitbake.installed(recipe, folder).join(path)).unwrap();
            assert_eq!(content.trim(), certificate.trim());
        }
    }
    assert_eq!(fs::read_to_string(bitbake.installed(CA, place)).unwrap().trim(), certificate.trim());
    assert!(drop_in(&bitbake).contains("insecure = false") && !drop_in(&bitbake).contains("true"));
    assert_eq!(daemon_json(&bitbake), json!({"insecure-registries": []}));
    let found = Command::new("grep").args(["-rl", "PRIVATE KEY"]).arg(bitbake.path("tmp")).output().unwrap();
    assert_eq!(String::from_utf8(found.stdout).unwrap(), "");

    // Another host has one name; passwords imply secure mode; and HTTPS with an authority that was named needs it as well.
    for lines in [
        "CONTAINER_REGISTRY_URL = \"build.example\"\nCONTAINER_REGISTRY_SECURE = \"0\"\nCONTAINER_REGISTRY_AUTH = \"1\"",
        "CONTAINER_REGISTRY_AUTH = \"0\"",
    ] {
        bitbake.configure(lines);
        bitbake.ok(&[OCI, DOCKER]);
        assert_eq!(files(&bitbake.installed(OCI, "etc/containers/certs.d")), ["build.example/ca.crt"], "{lines}");
        assert_eq!(files(&bitbake.installed(DOCKER, "etc/docker/certs.d")), ["build.example/ca.crt"], "{lines}");
    }
}

/// Without an authority a build goes on until a task needs one; what is said then makes one.
#[test]
fn a_missing_authority_is_told_by_the_task_with_a_remedy() {
    let bitbake = BitBake::new();
    bitbake.configure("CONTAINER_REGISTRY_SECURE = \"1\"");
    bitbake.ok(&["--parse-only"]);
    bitbake.ok(&["base-files"]);
    for recipe in [OCI, DOCKER, CA] {
        let ran = format!("{}", bitbake.run(&[recipe]).expect(1));
        let path = bitbake.path("container-registry/pki/ca.crt");
        assert!(
            ran.contains(&format!("no certificate authority at CONTAINER_REGISTRY_CA_CERT = \"{}\"", path.display())),
            "{ran}"
        );
    }
    let ran = format!("{}", bitbake.run(&[CA]).expect(1));
    let remedy = "bitbake container-registry-index -c generate_registry_script";
    assert!(ran.contains(remedy), "{ran}");
    bitbake.ok(&remedy.split(' ').skip(1).collect::<Vec<_>>());
    bitbake.ok(&[OCI, DOCKER, CA]);
    assert_eq!(files(&bitbake.installed(OCI, "etc/containers/certs.d")).len(), 2);

    for content in ["", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"] {
        fs::write(bitbake.path("container-registry/pki/ca.crt"), content).unwrap();
        let ran = format!("{}", bitbake.run(&[OCI]).expect(1));
        assert!(ran.contains("has no certificate in PEM form, or one that does not read"), "{ran}");
    }
}

/// What excludes something else is refused when it is parsed, and passwords without secure mode are a warning.
#[test]
fn settings_that_exclude_or_imply_one_another() {
    let bitbake = BitBake::new();
    certify(&bitbake.path(""), "DNS:localhost");
    bitbake.configure("CONTAINER_REGISTRY_CA_CERT = \"${TOPDIR}/ca.crt\"\nCONTAINER_REGISTRY_AUTH = \"1\"");
    let ran = format!("{}", bitbake.ok(&[DOCKER]));
    assert!(ran.contains("WARNING") && ran.contains("CONTAINER_REGISTRY_AUTH without CONTAINER_REGISTRY_SECURE"), "{ran}");
    bitbake.configure("CONTAINER_REGISTRY_SECURE = \"1\"");
    let ran = format!("{}", bitbake.ok(&[DOCKER]));
    assert!(!ran.contains("WARNING"), "{ran}");
    bitbake.configure(&format!("DOCKER_REGISTRY_INSECURE = \"localhost:{}\"", bitbake.port));
    let ran = format!("{}", bitbake.run(&[DOCKER]).expect(1));
    assert!(ran.contains("DOCKER_REGISTRY_INSECURE names localhost:"), "{ran}");
    bitbake.configure("CONTAINER_REGISTRY_INSECURE = \"1\"");
    let ran = format!("{}", bitbake.run(&["--parse-only"]).expect(1));
    assert!(ran.contains("CONTAINER_REGISTRY_SECURE and CONTAINER_REGISTRY_INSECURE exclude each other"), "{ran}");
    bitbake.configure("CONTAINER_REGISTRY_SECURE = \"0\"");
    let ran = format!("{}", bitbake.run(&["--parse-only"]).expect(1));
    assert!(ran.contains("CONTAINER_REGISTRY_AUTH and CONTAINER_REGISTRY_INSECURE exclude each other"), "{ran}");
}
