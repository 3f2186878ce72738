//! `meta-wharf`: what recipes of the registry mean for a build. They are no part of it, and it is no part of them.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use wharf_tests::{BitBake, run_tool};

const INDEX: &str = "container-registry-index";
const SCRIPT: &str = "container-registry/container-registry.sh";

/// Nothing but fetching may use the network, and all is built without it.
#[test]
fn no_task_of_a_build_may_use_the_network() {
    let bitbake = BitBake::new();
    bitbake.spy(
        "for task in d.getVar('__BBTASKS'):\n    if d.getVarFlag(task, 'network'):\n        note(d.getVar('PN') + '.' + task)",
    );
    bitbake.configure("BB_NO_NETWORK = \"1\"");
    let planned: BTreeSet<_> = bitbake.plan(&["world", "container-base"]).tasks.into_keys().collect();
    assert!(planned.contains("container-base.do_image_oci"), "{planned:?}");
    assert!(!planned.iter().any(|task| task.contains("registry-index") || task.contains("registry-populate")), "{planned:?}");
    let network = bitbake.notes();
    assert!(network.contains("container-registry-index.do_container_registry_index"), "{network:?}");
    assert!(network.contains("container-registry-populate.do_populate_registry"), "{network:?}");
    let wrong: Vec<_> = planned.intersection(&network).filter(|task| !task.ends_with(".do_fetch")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    bitbake.ok(&["container-base"]);
}

/// The script is written whenever that is asked for, and makes nothing else run; a second build runs nothing at all.
#[test]
fn a_deleted_script_comes_back_and_a_second_build_runs_nothing() {
    let bitbake = BitBake::new();
    bitbake.ok(&["container-base"]);
    let script = bitbake.path(SCRIPT);
    for _ in 0..2 {
        let ran = bitbake.ok(&[INDEX, "-c", "generate_registry_script"]);
        assert_eq!(ran.started(), [format!("{INDEX}-1.0-r0 do_generate_registry_script")], "{ran}");
        fs::remove_file(&script).unwrap();
    }
    let ran = bitbake.ok(&["container-base"]);
    assert_eq!(ran.started(), [""; 0], "{ran}");
    assert!(!script.exists());
}

/// What images are made of does not hold where they go to.
#[test]
fn settings_of_the_registry_make_no_image_anew() {
    let bitbake = BitBake::new();
    bitbake.ok(&["container-base"]);
    let names = "URL=r.example:5 NAMESPACE=n INSECURE=1 TLS_VERIFY=true TAG_STRATEGY=semver STORAGE=/nowhere AUTH_MODE=authfile AUTHFILE=/a \
        CREDSFILE=/c USERNAME=u PASSWORD=p TOKEN=t USER=v CERT_DAYS=1 CA_DAYS=2 CERT_SAN=s CA_CERT=/ca IMAGES=i SEARCH_FIRST=0";
    for setting in names.split_whitespace() {
        let (name, value) = setting.split_once('=').unwrap();
        bitbake.configure(&format!("CONTAINER_REGISTRY_{name} = \"{value}\""));
    }
    bitbake.configure("DOCKER_REGISTRY_INSECURE = \"r.example:5\"\nDEPLOY_DIR_IMAGES = \"/d\"\nIMAGE_VERSION = \"9\"");
    let ran = bitbake.ok(&["container-base"]);
    assert_eq!(ran.started(), [""; 0], "{ran}");
    // What they are made of does.
    bitbake.configure("OCI_IMAGE_CMD = \"/bin/true\"");
    let ran = bitbake.ok(&["container-base"]);
    assert_eq!(ran.started(), ["container-base-1.0-r0 do_image_oci", "container-base-1.0-r0 do_image_complete"], "{ran}");
}

/// Two multiconfigs with a tmp/ each write one script: whoever reads it has a whole one, and it pushes what both have built.
#[test]
fn multiconfigs_share_one_script() {
    let bitbake = BitBake::new();
    fs::create_dir(bitbake.path("conf/multiconfig")).unwrap();
    for (name, machine) in [("a", "qemux86-64"), ("b", "qemuarm64")] {
        let config = format!("TMPDIR = \"${{TOPDIR}}/tmp-{name}\"\nMACHINE = \"{machine}\"\n");
        fs::write(bitbake.path(&format!("conf/multiconfig/{name}.conf")), config).unwrap();
    }
    bitbake.configure("BBMULTICONFIG = \"a b\"\nCONTAINER_REGISTRY_TAG_STRATEGY = \"latest\"");
    bitbake.configure("DEPLOY_DIR_IMAGES = \"${TOPDIR}/tmp-a/deploy/images ${TOPDIR}/tmp-b/deploy/images\"");
    let both = |task: &str| bitbake.ok(&["mc:a:container-registry-index", "mc:b:container-registry-index", "-c", task]);
    both("generate_registry_script");
    let (script, earlier) = (bitbake.path(SCRIPT), bitbake.path("earlier"));
    fs::hard_link(&script, &earlier).unwrap();
    // The scripts of the two differ in this alone.
    let read = |script: &Path| fs::read_to_string(script).unwrap().replace("TARGET_ARCH='aarch64'", "TARGET_ARCH='x86_64'");
    let whole = read(&script);
    assert!(whole.ends_with("exec \"$wharf\" \"$@\"\n"), "{whole}");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(read(&script), whole);
            }
        });
        let ran = both("generate_registry_script");
        done.store(true, Ordering::Relaxed);
        assert_eq!(ran.started().len(), 2, "{ran}");
        reader.join().expect("a whole script all the time");
    });
    // The file that was there is as it was, and another has its name: nobody ever writes into what may be read.
    assert_eq!(read(&earlier), whole);
    assert_ne!(fs::metadata(&script).unwrap().ino(), fs::metadata(&earlier).unwrap().ino());
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        entries.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(names(script.parent().unwrap()), ["bin", "container-registry.sh", "vdkr.conf"]);
    assert_eq!(names(&bitbake.path("container-registry/bin")), ["wharf"]);

    bitbake.ok(&["mc:a:container-base", "mc:b:container-base"]);
    let script = bitbake.wharf.through(&script).without("CONTAINER_REGISTRY_URL").without("TOPDIR");
    script.ok(&["start"]);
    script.ok(&["push"]);
    let image = format!("docker://localhost:{}/yocto/container-base:latest", bitbake.port);
    let index = run_tool("skopeo", &["inspect", "--raw", "--tls-verify=false", &image], None);
    assert!(index.contains("amd64") && index.contains("arm64"), "{index}");
}

/// Script, program and data outlive `cleanall` and tmp/.
#[test]
fn what_lies_outside_of_tmp_stays() {
    let bitbake = BitBake::new();
    bitbake.ok(&[INDEX, "-c", "generate_registry_script"]);
    let script = bitbake.wharf.through(&bitbake.path(SCRIPT)).without("CONTAINER_REGISTRY_URL").without("TOPDIR");
    script.ok(&["start"]);
    bitbake.ok(&[INDEX, "container-registry-populate", "-c", "cleanall"]);
    fs::remove_dir_all(bitbake.path("tmp")).unwrap();
    assert!(script.ok(&["status"]).stdout.contains("healthy"));
    script.ok(&["stop"]);
    script.ok(&["start"]);
    assert_eq!(bitbake.wharf.ok(&["catalog"]).json()["repositories"], serde_json::json!([]));
}
