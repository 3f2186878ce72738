//! What registries answer, and the files of containers' configuration.

use std::fs;

use wharf_client::{Credentials, Environment, Registries, fuzzing};
use wharf_oci::RepositoryName;

use super::{scratch, target, texts};
use crate::{LONGEST, Target};

pub(crate) const CHALLENGE: Target = target!(
    "challenge",
    [
        r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a:pull""#,
        r#"Negotiate, Basic realm="a \"b\"" , Bearer realm=x"#,
    ],
    fuzzing::challenge
);

/// An answer of several parts, behind a line with its media type or with where in a blob it lies.
pub(crate) const MULTIPART: Target = target!(
    "multipart",
    [
        "multipart/byteranges; boundary=x-y\n--x-y\r\nContent-Type: a/b\r\nContent-Range: bytes 0-3/10\r\n\r\nabcd\r\n--x-y\r\nContent-Range: bytes 5-5/*\r\n\r\nf\r\n--x-y--\r\n",
        "multipart/byteranges; boundary=\"a b\"\n\r\n--a b  \r\ncontent-range: bytes 0-0/1\r\n\r\nx\r\n--a b--",
        "bytes 0-18446744073709551615/*\n",
    ],
    fuzzing::multipart
);

/// `auth.json` and `config.json`.
pub(crate) const AUTH_FILE: Target = Target {
    name: "auth-file",
    seeds: || {
        texts(&[
            r#"{"auths":{"registry.example/a":{"auth":"YTpzZWNyZXQ="},"https://registry.example/v2/":{"identitytoken":"x"},"docker.io":{}}}"#,
            r#"{"auths":{"registry.example":{"username":"a","password":"b","registrytoken":""}},"credHelpers":{}}"#,
        ])
    },
    grow: None,
    longest: LONGEST,
    start: || {
        let folder = scratch();
        let file = folder.path().join("auth.json");
        Box::new(move |data| {
            let _folder = &folder;
            // A helper would be a program that runs.
            if [&b"red"[..], b"\\u", b"elper", b"tore"].iter().any(|word| data.windows(word.len()).any(|found| found == *word)) {
                return;
            }
            fs::write(&file, data).expect("a file");
            let source = Credentials::AuthFile { file: file.clone(), environment: Environment::default() };
            let repository: RepositoryName = "a/b".parse().expect("a name");
            let _ = source.lookup("registry.example", Some(&repository));
            let _ = source.lookup("docker.io", None);
        })
    },
};

/// `registries.conf`.
pub(crate) const REGISTRIES_CONF: Target = Target {
    name: "registries-conf",
    seeds: || {
        texts(&[
            "unqualified-search-registries = [\"docker.io\"]\n[[registry]]\nprefix = \"registry.example/a\"\nlocation = \"10.0.0.1:5000/b\"\ninsecure = true\n[[registry.mirror]]\nlocation = \"m.example\"\npull-from-mirror = \"digest-only\"\n",
            "[[registry]]\nprefix = \"*.example\"\nblocked = true\n[registries.search]\nregistries = [\"a\"]\n",
        ])
    },
    grow: None,
    longest: LONGEST,
    start: || {
        let folder = scratch();
        let file = folder.path().join("registries.conf");
        let nothing = folder.path().join("none");
        let environment: Environment =
            [("CONTAINERS_REGISTRIES_CONF", &file), ("CONTAINERS_REGISTRIES_CONF_DIR", &nothing)].into_iter().collect();
        Box::new(move |data| {
            let _folder = &folder;
            fs::write(&file, data).expect("a file");
            let Ok(registries) = Registries::load(&environment) else { return };
            let repository: RepositoryName = "a/b".parse().expect("a name");
            for host in ["registry.example", "docker.io", "sub.example"] {
                if let Ok(endpoints) = registries.endpoints(host, &repository, true) {
                    assert!(!endpoints.is_empty());
                }
            }
            let _ = registries.warnings().iter().map(ToString::to_string).collect::<Vec<_>>();
        })
    },
};
