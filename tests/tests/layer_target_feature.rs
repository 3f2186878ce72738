//! `meta-wharf`: `IMAGE_FEATURES:append = " container-registry"`, in images that the real BitBake makes.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use wharf_tests::BitBake;

const FEATURE: &str = "IMAGE_FEATURES:append = \" container-registry\"\nCONTAINER_REGISTRY_URL = \"localhost:5000\"\n";
const OCI: &str = "etc/containers/registries.conf.d/50-custom-registry.conf";
const DOCKER: &str = "etc/docker/daemon.json";
const WHY: &str = "no container engine is known for it";

/// Which of the files an image has.
fn has(bitbake: &BitBake, image: &str) -> (bool, bool) {
    assert!(bitbake.rootfs(image, "etc/hostname").exists(), "{image} is not built");
    (bitbake.rootfs(image, OCI).exists(), bitbake.rootfs(image, DOCKER).exists())
}

fn daemon_json(bitbake: &BitBake, image: &str) -> Value {
    serde_json::from_slice(&fs::read(bitbake.rootfs(image, DOCKER)).unwrap()).unwrap()
}

/// A layer of its own, of this name.
fn layer(folder: &Path, name: &str) {
    fs::create_dir_all(folder.join("conf")).unwrap();
    let conf = format!(
        "BBPATH .= \":${{LAYERDIR}}\"\nBBFILE_COLLECTIONS += \"{name}\"\nBBFILE_PATTERN_{name} = \"^${{LAYERDIR}}/\"\n\
         LAYERSERIES_COMPAT_{name} = \"wrynose blacksail\"\n"
    );
    fs::write(folder.join("conf/layer.conf"), conf).unwrap();
}

/// The engine of each image decides, one variable before the other.
#[test]
fn the_engine_of_an_image_decides() {
    let bitbake = BitBake::new();
    bitbake.configure(FEATURE);
    let (oci, docker) = ((true, false), (false, true));
    let cases = [
        ("docker", docker),
        ("docker-moby", docker),
        ("default", docker),
        ("podman", oci),
        ("containerd", oci),
        ("cri-o", oci),
        ("k3s", oci),
        ("k3s-host", oci),
    ];
    for (engine, _) in cases {
        bitbake.image(&format!("profile-{engine}"), &format!("CONTAINER_PROFILE = \"{engine}\""));
        bitbake.image(
            &format!("engine-{engine}"),
            &format!("VIRTUAL-RUNTIME_container_engine = \"{engine}\"\nCONTAINER_PROFILE = \"no-such\""),
        );
    }
    bitbake.image("mine", "FEATURE_PACKAGES_container-registry = \"netbase\"");
    let names: Vec<_> = cases.iter().flat_map(|(engine, _)| [format!("profile-{engine}"), format!("engine-{engine}")]).collect();
    let names: Vec<_> = names.iter().map(String::as_str).chain(["mine"]).collect();
    bitbake.ok(&names);
    for (engine, expected) in cases {
        assert_eq!(has(&bitbake, &format!("profile-{engine}")), expected, "{engine}");
        assert_eq!(has(&bitbake, &format!("engine-{engine}")), expected, "{engine}");
    }
    // Who says what the feature is needs no engine.
    assert_eq!(has(&bitbake, "mine"), (false, false));
    assert!(bitbake.rootfs("mine", "etc/services").exists());
}

/// Containers and what only starts another system get nothing and need no engine; what else asks fails alone, with the reason.
#[test]
fn images_that_get_nothing_and_images_that_cannot_have_it() {
    let bitbake = BitBake::new();
    bitbake.configure(FEATURE);
    let nothing = [
        ("a-container", "IMAGE_FSTYPES = \"container\""),
        ("an-oci", "inherit image-oci\nIMAGE_FSTYPES = \"oci\""),
        ("both", "inherit image-oci\nIMAGE_FSTYPES = \"tar oci\""),
        ("initramfs", "IMAGE_FSTYPES = \"${INITRAMFS_FSTYPES}\""),
        ("initramfs-more", "IMAGE_FSTYPES = \"${INITRAMFS_FSTYPES}\"\nIMAGE_FSTYPES:append = \" tar\""),
        ("cpio-only", "IMAGE_FSTYPES = \"cpio.lz4 cpio\""),
        ("named-by-the-build", "INITRAMFS_IMAGE = \"named-by-the-build\""),
        ("without", "IMAGE_FEATURES:remove = \"container-registry\""),
    ];
    for (name, lines) in nothing {
        bitbake.image(name, lines);
    }
    bitbake.image("unset", "");
    bitbake.image("unknown", "CONTAINER_PROFILE = \"lxc\"");
    bitbake.image("beside-a-cpio", "IMAGE_FSTYPES = \"tar cpio.gz\"");
    let mut names: Vec<_> = nothing.iter().map(|(name, _)| *name).collect();
    names.push("busybox");
    let ran = bitbake.ok(&names);
    assert!(!format!("{ran}").contains("WARNING"), "{ran}");
    for (name, _) in nothing {
        assert_eq!(has(&bitbake, name), (false, false), "{name}");
    }
    for (name, engine) in [("unset", "\"\""), ("unknown", "\"lxc\""), ("beside-a-cpio", "\"\"")] {
        let ran = format!("{}", bitbake.run(&[name]).expect(1));
        assert!(ran.contains(&format!("{name} was skipped")) && ran.contains(WHY) && ran.contains(engine), "{ran}");
    }
    // The same types are nothing more as soon as there is an engine.
    bitbake.configure("CONTAINER_PROFILE = \"podman\"");
    bitbake.ok(&["unset", "beside-a-cpio", "initramfs", "an-oci"]);
    for (name, expected) in [("unset", true), ("beside-a-cpio", true), ("initramfs", false), ("an-oci", false)] {
        assert_eq!(has(&bitbake, name), (expected, false), "{name}");
    }
}

/// A daemon.json that an image has from elsewhere keeps what it says, and one that Docker would not read is an error with its name.
#[test]
fn a_daemon_json_of_the_image_is_merged() {
    let bitbake = BitBake::new();
    bitbake.configure(FEATURE);
    bitbake.configure("CONTAINER_PROFILE = \"docker\"\nDOCKER_DAEMON_JSON = \"${TOPDIR}/given.json\"");
    fs::write(bitbake.path("given.json"), r#"{"debug": true, "log-opts": {"max-size": "1m"}}"#).unwrap();
    let own = |json: &str| {
        format!(
            "write_own() {{\n    mkdir -p ${{IMAGE_ROOTFS}}/etc/docker\n    echo '{json}' > ${{IMAGE_ROOTFS}}/etc/docker/daemon.json\n}}\n\
             ROOTFS_POSTPROCESS_COMMAND += \"write_own\""
        )
    };
    let registries = json!(["old.example", "localhost:5000", "10.0.2.2:5000"]);
    bitbake.image("without", "");
    bitbake.image(
        "with",
        &own(r#"{"insecure-registries": ["old.example", "localhost:5000"], "debug": false, "log-opts": {"max-file": "3"}}"#),
    );
    bitbake.image("by-hand-too", "IMAGE_INSTALL += \"docker-registry-config\"");
    bitbake.ok(&["without", "with", "by-hand-too"]);
    let given = json!({
        "debug": true, "log-opts": {"max-size": "1m"}, "insecure-registries": ["localhost:5000", "10.0.2.2:5000"]
    });
    assert_eq!(daemon_json(&bitbake, "without"), given);
    assert_eq!(daemon_json(&bitbake, "by-hand-too"), given);
    let merged = json!({
        "insecure-registries": registries, "debug": true, "log-opts": {"max-file": "3", "max-size": "1m"}
    });
    assert_eq!(daemon_json(&bitbake, "with"), merged);
    bitbake.image("broken", &own("{"));
    let ran = format!("{}", bitbake.run(&["broken"]).expect(1));
    assert!(ran.contains("etc/docker/daemon.json of the image is not JSON"), "{ran}");
    // A changed fragment comes into the image.
    fs::write(bitbake.path("given.json"), r#"{"debug": false}"#).unwrap();
    bitbake.ok(&["without"]);
    assert_eq!(daemon_json(&bitbake, "without")["debug"], false);
}

/// Images without the feature are the same with this layer and without it.
#[test]
fn the_layer_alone_changes_no_image() {
    let bitbake = BitBake::new();
    bitbake.image("plain", "ROOTFS_POSTPROCESS_COMMAND += \"touch_it\"\ntouch_it() {\n    touch ${IMAGE_ROOTFS}/touched\n}");
    let with_wharf = fs::read_to_string(bitbake.path("conf/bblayers.conf")).unwrap();
    bitbake.layers(&[&bitbake.core()]);
    assert_eq!(bitbake.ok(&["plain"]).stdout.matches("plain-1.0-r0: task do_rootfs: Started").count(), 1);
    fs::write(bitbake.path("conf/bblayers.conf"), with_wharf).unwrap();
    let ran = bitbake.ok(&["plain"]);
    assert!(!ran.stdout.contains(": Started"), "{ran}");
}

/// Beside meta-virtualization, in whatever order, the recipes have names of their own, and the feature takes those.
#[test]
fn beside_meta_virtualization_names_are_our_own() {
    let bitbake = BitBake::new();
    bitbake.configure(FEATURE);
    bitbake.image("with-podman", "CONTAINER_PROFILE = \"podman\"");
    bitbake.image("with-docker", "CONTAINER_PROFILE = \"docker\"");
    let other = bitbake.path("meta-virtualization");
    layer(&other, "virtualization-layer");
    let core = bitbake.core();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../meta-wharf");
    let twins = ["wharf-oci-registry-config", "wharf-docker-registry-config", "wharf-registry-ca"];
    fs::create_dir_all(bitbake.path("container-registry/pki")).unwrap();
    wharf_tests::certify(&bitbake.path("container-registry/pki"), "DNS:localhost");
    for layers in [[&core, &ours, &other], [&core, &other, &ours]] {
        bitbake.layers(&layers.map(|layer| layer.as_path()));
        bitbake.ok(&["with-podman", "with-docker"]);
        assert_eq!(has(&bitbake, "with-podman"), (true, false));
        assert_eq!(has(&bitbake, "with-docker"), (false, true));
        bitbake.ok(&twins);
        for recipe in ["container-oci-registry-config", "docker-registry-config", "container-registry-ca"] {
            let ran = format!("{}", bitbake.run(&[recipe]).expect(1));
            assert!(ran.contains(&format!("Nothing PROVIDES '{recipe}'")), "{ran}");
        }
    }
    assert!(bitbake.installed(twins[0], OCI).exists() && bitbake.installed(twins[1], DOCKER).exists());
    assert!(bitbake.installed(twins[2], "usr/local/share/ca-certificates/container-registry-ca.crt").exists());
}
