//! `meta-wharf` beside meta-virtualization, whose names and structure a layer of the tests has: nothing clashes, whichever comes first.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::collections::BTreeSet;
use std::fs;

use wharf_tests::BitBake;

/// A build with both layers, meta-wharf before or after the other.
fn beside(wharf_first: bool) -> BitBake {
    let bitbake = BitBake::new();
    let (core, wharf) = (bitbake.core(), BitBake::meta_wharf());
    let virtualization = core.with_file_name("virtualization");
    let two = if wharf_first { [&*wharf, &*virtualization] } else { [&*virtualization, &*wharf] };
    bitbake.layers(&[&core, two[0], two[1]]);
    bitbake
}

/// Each name that both layers could have is theirs, once; ours have names of their own, and work.
#[test]
fn nothing_clashes_in_either_order() {
    for wharf_first in [true, false] {
        let bitbake = beside(wharf_first);
        bitbake.spy("note(d.getVar('PN') + ' ' + d.getVar('FILE'))");
        let virtualization = bitbake.core().with_file_name("virtualization");
        let theirs = ["index", "populate", "ca"].map(|name| format!("container-registry-{name}"));
        let theirs: Vec<_> = theirs
            .iter()
            .map(String::as_str)
            .chain(["docker-registry-config", "container-oci-registry-config", "container-base"])
            .collect();
        let ours = ["wharf-registry-index", "wharf-registry-populate"];
        let plan = bitbake.plan(&[&["world"][..], &theirs, &ours].concat());
        let (ran, files) = (&plan.ran, plan.recipes());
        for word in ["WARNING", "ERROR", "Multiple", "multiple"] {
            assert!(!ran.stdout.contains(word) && !ran.stderr.contains(word), "{word}: {ran}");
        }
        let recipes = bitbake.notes();
        let names: BTreeSet<_> = recipes.iter().map(|line| line.split_once(' ').unwrap().0).collect();
        assert_eq!(names.len(), recipes.len(), "one recipe for each name: {recipes:?}");
        for name in theirs {
            assert!(files[name].starts_with(&virtualization), "{name}: {files:?}");
        }
        for name in ours {
            let folder = BitBake::meta_wharf().join("with-virtualization");
            assert!(files[name].starts_with(&folder), "{name}: {files:?}");
        }

        // Their class does what it did.
        bitbake.configure("CONTAINER_REGISTRY_TAG_STRATEGY = \"latest\"\nOCI_IMAGE_BACKEND = \"wharf\"");
        let ran = bitbake.ok(&["container-registry-index", "-c", "container_registry_index"]);
        assert!(ran.stdout.contains("pushed by skopeo\n"), "{ran}");
        bitbake.ok(&["wharf-registry-index", "-c", "generate_registry_script"]);
        bitbake.ok(&["container-base"]);
        let script = bitbake.wharf.through(&bitbake.path("container-registry/container-registry.sh"));
        script.ok(&["start"]);
        for (recipe, task) in
            [("wharf-registry-index", "container_registry_index"), ("wharf-registry-populate", "populate_registry")]
        {
            let ran = bitbake.ok(&[recipe]);
            assert!(ran.stdout.contains(&format!("bitbake {recipe} -c {task}\n")), "{ran}");
            let ran = bitbake.ok(&[recipe, "-c", task]);
            assert!(ran.stdout.contains("/yocto/container-base:latest sha256:"), "{ran}");
        }
    }
}

/// OCI_IMAGE_BACKEND = "wharf" makes images by `wharf pack` in their image-oci, with a program of the host without any recipe for it; without
/// it their own back end does.
#[test]
fn wharf_is_a_back_end_of_their_image_class() {
    for wharf_first in [true, false] {
        let bitbake = beside(wharf_first);
        bitbake.ok(&["container-base"]);
        let layout = bitbake.deployed("qemux86-64", "container-base-latest-oci");
        assert_eq!(fs::read_to_string(layout.join("made-by")).unwrap(), "umoci\n");

        bitbake.configure("OCI_IMAGE_BACKEND = \"wharf\"\nOCI_LAYER_MODE = \"multi\"\nOCI_LAYERS = \"etc:directories:/etc\"");
        let plan = bitbake.plan(&["container-base"]);
        assert!(plan.tasks.contains_key("container-base.do_image_oci"), "{:?}", plan.tasks);
        let files = plan.recipes();
        for name in ["wharf-native", "umoci-native"] {
            assert!(!files.contains_key(name), "{files:?}");
        }
        bitbake.ok(&["container-base"]);
        let layout = layout.to_str().unwrap();
        let image = bitbake.wharf.ok(&["inspect", layout, "--json"]).json();
        assert_eq!(image["images"][0]["platform"], "linux/amd64", "{image}");
        assert_eq!(image["images"][0]["layers"].as_array().unwrap().len(), 2, "{image}");
    }
}
