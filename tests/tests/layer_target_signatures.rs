//! `meta-wharf`: what goes onto the target is made again when what it depends on has changed, and only then.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::collections::BTreeSet;
use std::fs;

use wharf_tests::{BitBake, certify};

const OCI: &str = "container-oci-registry-config";
const DOCKER: &str = "docker-registry-config";
const CA: &str = "container-registry-ca";

/// The recipes whose do_install ran.
fn installed(bitbake: &BitBake) -> BTreeSet<String> {
    let ran = bitbake.ok(&[OCI, DOCKER, CA]);
    let started =
        ran.stdout.lines().filter_map(|line| line.strip_prefix("NOTE: recipe ")?.strip_suffix(": task do_install: Started"));
    started.map(|recipe| recipe.trim_end_matches("-1.0-r0").to_owned()).collect()
}

/// Each variable and each file, one after the other.
#[test]
fn each_change_makes_exactly_what_depends_on_it() {
    let bitbake = BitBake::new();
    for folder in ["a", "b"] {
        fs::create_dir(bitbake.path(folder)).unwrap();
        certify(&bitbake.path(folder), "DNS:localhost");
    }
    fs::write(bitbake.path("one.json"), "{}").unwrap();
    fs::copy(bitbake.path("one.json"), bitbake.path("two.json")).unwrap();
    bitbake.configure("CONTAINER_REGISTRY_CA_CERT = \"${TOPDIR}/a/ca.crt\"");
    let all = [OCI, DOCKER, CA].as_slice();
    let expect = |what: &str, recipes: &[&str]| {
        let expected: BTreeSet<_> = recipes.iter().map(|recipe| (*recipe).to_owned()).collect();
        assert_eq!(installed(&bitbake), expected, "{what}");
    };
    expect("nothing", all);
    expect("a second build", &[]);
    for (line, recipes) in [
        ("CONTAINER_REGISTRY_URL = \"localhost:5000\"", [OCI, DOCKER].as_slice()),
        ("CONTAINER_REGISTRY_NAMESPACE = \"other\"", &[OCI]),
        ("CONTAINER_REGISTRY_SEARCH_FIRST = \"0\"", &[OCI]),
        ("CONTAINER_REGISTRY_INSECURE = \"1\"", &[OCI, DOCKER]),
        ("DOCKER_REGISTRY_INSECURE = \"other.example\"", &[DOCKER]),
        ("DOCKER_DAEMON_JSON = \"${TOPDIR}/one.json\"", &[DOCKER]),
        // The same content elsewhere.
        ("DOCKER_DAEMON_JSON = \"${TOPDIR}/two.json\"", &[]),
        ("CONTAINER_REGISTRY_INSECURE = \"0\"\nCONTAINER_REGISTRY_SECURE = \"1\"", &[OCI, DOCKER]),
        ("CONTAINER_REGISTRY_AUTH = \"1\"", &[OCI, DOCKER]),
        ("CONTAINER_REGISTRY_CA_CERT = \"${TOPDIR}/b/ca.crt\"", all),
        // What the registry on the build host does is no matter of the target's.
        (
            "CONTAINER_REGISTRY_STORAGE = \"${TOPDIR}/elsewhere\"\nCONTAINER_REGISTRY_TAG_STRATEGY = \"sha\"\n\
             CONTAINER_REGISTRY_IMAGES = \"app\"\nCONTAINER_REGISTRY_TLS_VERIFY = \"true\"\nCONTAINER_REGISTRY_CERT_DAYS = \"1\"\n\
             CONTAINER_REGISTRY_CA_DAYS = \"1\"\nCONTAINER_REGISTRY_CERT_SAN = \"x\"\nCONTAINER_REGISTRY_USERNAME = \"u\"\n\
             CONTAINER_REGISTRY_AUTH_MODE = \"home\"\nCONTAINER_PROFILE = \"docker\"",
            &[],
        ),
    ] {
        bitbake.configure(line);
        expect(line, recipes);
    }
    fs::write(bitbake.path("two.json"), "{\"debug\": true}").unwrap();
    expect("the content of the file", &[DOCKER]);
    fs::copy(bitbake.path("a/ca.crt"), bitbake.path("b/ca.crt")).unwrap();
    expect("the content of the authority", all);
    expect("a second build after it", &[]);
}

/// The authority has a task of its own, which runs once, and again with the same result.
#[test]
fn the_task_of_the_authority_is_stamped_and_idempotent() {
    let bitbake = BitBake::new();
    certify(&bitbake.path(""), "DNS:localhost");
    bitbake.configure("CONTAINER_REGISTRY_CA_CERT = \"${TOPDIR}/ca.crt\"");
    let count = |arguments: &[&str]| bitbake.ok(arguments).stdout.matches("task do_registry_ca: Started").count();
    assert_eq!(count(&[CA, "-c", "registry_ca"]), 1);
    assert_eq!(count(&[CA, "-c", "registry_ca"]), 0);
    let kept = bitbake.path("tmp/work/all").join(CA).join("1.0/build/container-registry-ca.crt");
    let first = fs::read(&kept).unwrap();
    assert_eq!(count(&[CA, "-f", "-c", "registry_ca"]), 1);
    assert_eq!(fs::read(&kept).unwrap(), first);
    assert_eq!(fs::read(bitbake.path("ca.crt")).unwrap(), first);
}
