//! `meta-wharf`: passwords and tokens get to the registry, and nowhere else.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::path::Path;

use wharf_tests::{BitBake, Reply, Scripted, run_tool};

/// Each with the form in which HTTP or an auth file has it.
const PASSWORD: [&str; 2] = ["secret-of-local-conf", "dTpzZWNyZXQtb2YtbG9jYWwtY29uZg=="];
const CREDSFILE: [&str; 2] = ["secret-of-credsfile", "dTpzZWNyZXQtb2YtY3JlZHNmaWxl"];
const AUTHFILE: [&str; 2] = ["secret-of-authfile", "dTpzZWNyZXQtb2YtYXV0aGZpbGU="];
const TOKEN: &str = "secret-of-environment";

/// A registry that asks who is there, and lets nobody in.
fn doorkeeper(challenge: &'static str) -> Scripted {
    Scripted::start(move |asked| match asked.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", challenge),
        Some(_) => Reply::new(403),
    })
}

/// What it was told.
fn told(registry: &Scripted) -> Option<String> {
    registry.asked().iter().rev().find_map(|asked| asked.header("authorization").map(str::to_owned))
}

/// Reads every file below a folder, those that BitBake compresses as well; returns how many there were, and asserts that none holds a secret.
fn assert_silent(folder: &Path) -> (usize, String) {
    let (mut count, mut signatures) = (0, String::new());
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            let (more, text) = assert_silent(&entry.path());
            count += more;
            signatures.push_str(&text);
        } else if kind.is_file() {
            let mut bytes = fs::read(entry.path()).unwrap();
            if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
                let text = run_tool("zstd", &["-dcq", entry.path().to_str().unwrap()], None);
                signatures.push_str(&text);
                bytes = text.into_bytes();
            }
            let text = String::from_utf8_lossy(&bytes);
            for secret in [&PASSWORD[..], &CREDSFILE, &AUTHFILE, &[TOKEN]].concat() {
                assert!(!text.contains(secret), "{secret} is in {}", entry.path().display());
            }
            count += 1;
        }
    }
    (count, signatures)
}

/// Whatever is run: no signature, log, stamp, cache, script of a task, nor container-registry.sh holds a secret.
#[test]
fn secrets_are_written_nowhere() {
    let basic = doorkeeper("Basic realm=\"here\"");
    let bearer = doorkeeper("Bearer realm=\"http://127.0.0.1:9/token\",service=\"here\"");
    let bitbake = BitBake::new();
    let own = tempfile::tempdir().unwrap();
    let (creds, auth) = (own.path().join("creds"), own.path().join("auth.json"));
    fs::write(&creds, format!("CONTAINER_REGISTRY_USER=u\nCONTAINER_REGISTRY_PASSWORD=\"{}\"\n", CREDSFILE[0])).unwrap();
    let entry = serde_json::json!({"auths": {basic.address().to_string(): {"auth": AUTHFILE[1]}}});
    fs::write(&auth, entry.to_string()).unwrap();
    bitbake.configure(&format!(
        "CONTAINER_REGISTRY_URL = \"{}\"\nCONTAINER_REGISTRY_USERNAME = \"u\"\nCONTAINER_REGISTRY_PASSWORD = \"{}\"\n\
         CONTAINER_REGISTRY_CREDSFILE = \"{}\"\nCONTAINER_REGISTRY_AUTHFILE = \"{}\"",
        basic.address(),
        PASSWORD[0],
        creds.display(),
        auth.display()
    ));
    bitbake.recipe(
        "careless.bb",
        "LICENSE = \"MIT\"\npython do_careless() {\n    if not d.getVar(\"CONTAINER_REGISTRY_PASSWORD\"):\n        bb.fatal(\"none\")\n}\naddtask careless before do_build\n",
    );
    let everything = |bitbake: &BitBake, mode: &str| {
        bitbake.configure(&format!("CONTAINER_REGISTRY_AUTH_MODE = \"{mode}\""));
        bitbake.ok(&["container-base", "careless"]);
        bitbake.ok(&["container-registry-index", "-c", "generate_registry_script"]);
        for (recipe, task) in [("index", "container_registry_index"), ("populate", "populate_registry")] {
            let ran = bitbake.run(&[&format!("container-registry-{recipe}"), "-c", task]).expect(1);
            assert!(ran.stderr.contains("wharf push failed"), "{ran}");
        }
    };
    for (mode, [_, encoded]) in [("env", PASSWORD), ("credsfile", CREDSFILE), ("authfile", AUTHFILE)] {
        everything(&bitbake, mode);
        assert_eq!(told(&basic), Some(format!("Basic {encoded}")), "{mode}");
    }
    let bitbake = bitbake.env("CONTAINER_REGISTRY_TOKEN", TOKEN).env("BB_ENV_PASSTHROUGH_ADDITIONS", "CONTAINER_REGISTRY_TOKEN");
    // A task in shell is to run now: its script would hold what is exported.
    bitbake.configure(&format!("CONTAINER_REGISTRY_URL = \"{}\"\nOCI_IMAGE_CMD = \"/bin/true\"", bearer.address()));
    everything(&bitbake, "env");
    assert_eq!(told(&bearer), Some(format!("Bearer {TOKEN}")));
    // The signatures of tasks without stamp as well.
    bitbake.ok(&["-S", "none", "container-base", "careless", "container-registry-index", "container-registry-populate"]);

    let mut files = 0;
    for folder in ["tmp", "cache", "container-registry"] {
        let (count, signatures) = assert_silent(&bitbake.path(folder));
        files += count;
        if folder == "tmp" {
            assert!(signatures.contains("CONTAINER_REGISTRY_PASSWORD"), "the signature of careless names what it reads");
            assert!(signatures.contains("do_container_registry_index"), "tasks without stamp have signatures here");
        }
    }
    assert!(files > 100, "{files}");
    // BitBake itself logs the environment that it lets through, which is why a credsfile is better.
    let log = fs::read_to_string(bitbake.path("bitbake-cookerdaemon.log")).unwrap().replace(TOKEN, "");
    assert!(!log.contains("secret-of-"), "{log}");
}
