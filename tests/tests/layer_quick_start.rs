//! `meta-wharf`, driven by the real BitBake: the way of somebody who begins.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use serde_json::Value;
use wharf_tests::{BitBake, Wharf, run_tool};

/// An image is built, the script written, the registry started by it, the image pushed, and pulled and inspected by others, vdkr among them.
#[test]
fn from_local_conf_to_a_pull() {
    let bitbake = BitBake::new();
    let git = |arguments: &[&str]| {
        let build = bitbake.path("");
        let who = ["-C", build.to_str().unwrap(), "-c", "user.name=A", "-c", "user.email=a@example.org"];
        run_tool("git", &[&who[..], arguments].concat(), None).trim().to_owned()
    };
    git(&["init", "--quiet", "--initial-branch", "master"]);
    git(&["commit", "--quiet", "--allow-empty", "--message=one"]);
    let commit = git(&["rev-parse", "--short", "HEAD"]);

    bitbake.configure("CONTAINER_REGISTRY_NAMESPACE = \"yocto\"\nCONTAINER_REGISTRY_INSECURE = \"1\"\n");
    bitbake.ok(&["container-base"]);
    let ran = bitbake.ok(&["container-registry-index", "-c", "generate_registry_script"]);
    let script = bitbake.path("container-registry/container-registry.sh");
    assert!(ran.stdout.contains(&format!("Wrote {}", script.display())), "{ran}");

    let script = bitbake.wharf.through(&script).without("CONTAINER_REGISTRY_URL").without("TOPDIR");
    script.ok(&["start"]);
    assert!(script.ok(&["push"]).stdout.contains("container-base"));
    let image = format!("docker://localhost:{}/yocto/container-base:latest", bitbake.port);
    let inspected = run_tool("skopeo", &["inspect", "--tls-verify=false", &image], None);
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    let labels = &inspected["Labels"];
    assert_eq!(labels["org.opencontainers.image.revision"], commit.as_str(), "{labels}");
    assert_eq!(labels["org.opencontainers.image.ref.name"], "master", "{labels}");
    assert_eq!(labels["org.opencontainers.image.created"].as_str().unwrap().len(), "2026-01-12T20:32:24Z".len(), "{labels}");
    assert_eq!(labels.as_object().unwrap().len(), 3, "{labels}");
    let tags: Vec<_> = inspected["RepoTags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    assert!(tags.len() == 2 && tags.contains(&"latest"), "{tags:?}");
    // The build has told vdkr of its registry: nothing is configured, and no host is named.
    let home = tempfile::tempdir().unwrap();
    let vdkr = Wharf::vdkr(home.path()).without("VDKR_CONFIG_DEFAULTS").env("VDKR_ARCH", "x86_64");
    let pulled = format!("10.0.2.2:{}/yocto/container-base:latest", bitbake.port);
    let mut below = vdkr.command(&["pull", "container-base"]);
    let output = below.current_dir(bitbake.path("container-registry")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("Source: {pulled}")), "{output:?}");
    vdkr.ok(&["image", "inspect", &pulled]);
    script.ok(&["stop"]);
}
