//! `meta-wharf`: pushing by BitBake, by hand only.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;

use wharf_tests::BitBake;

/// The tags of an image.
fn tags(bitbake: &BitBake, image: &str) -> Vec<String> {
    let listed = bitbake.wharf.ok(&["tags", image, "--json"]).json();
    let tags = listed["tags"].as_array().unwrap_or_else(|| panic!("no tags: {listed}")).iter();
    tags.map(|tag| tag.as_str().unwrap().to_owned()).collect()
}

/// The recipes alone tell how to push; their tasks do, each time; what fails there fails with the program's words.
#[test]
fn each_recipe_pushes_when_its_task_is_asked_for() {
    let bitbake = BitBake::new();
    bitbake.configure("CONTAINER_REGISTRY_TAG_STRATEGY = \"latest\"");
    bitbake.ok(&["container-base"]);
    for (recipe, task) in
        [("container-registry-index", "container_registry_index"), ("container-registry-populate", "populate_registry")]
    {
        let ran = bitbake.ok(&[recipe]);
        assert!(ran.stdout.contains(&format!("bitbake {recipe} -c {task}\n")), "{ran}");
        assert_eq!(ran.started(), [format!("{recipe}-1.0-r0 do_build")], "{ran}");
        let ran = bitbake.run(&[recipe, "-c", task]).expect(1);
        let words =
            format!("wharf push failed with code 1:\nerror: Registry not responding at http://localhost:{}\n", bitbake.port);
        assert!(ran.stderr.contains(&words) && ran.stderr.contains("hint: "), "{ran}");
        bitbake.wharf.ok(&["start"]);
        bitbake.wharf.run(&["delete", "container-base:latest"]);
        for _ in 0..2 {
            let ran = bitbake.ok(&[recipe, "-c", task]);
            assert!(ran.stdout.contains(&format!("localhost:{}/yocto/container-base:latest sha256:", bitbake.port)), "{ran}");
            assert_eq!(tags(&bitbake, "container-base"), ["latest"]);
        }
        bitbake.wharf.ok(&["stop"]);
    }
}

/// The filter, the strategy and the namespace of local.conf count; the program's warnings are the build's.
#[test]
fn settings_count_and_warnings_are_passed_on() {
    let bitbake = BitBake::new();
    bitbake.configure(
        "CONTAINER_REGISTRY_NAMESPACE = \"team\"\nCONTAINER_REGISTRY_TAG_STRATEGY = \"branch version arch\"\nIMAGE_VERSION = \"7.1+git\"",
    );
    bitbake.configure("CONTAINER_REGISTRY_IMAGES = \"container-base no-such-image\"");
    let base =
        fs::read_to_string(BitBake::meta_wharf().join("without-virtualization/recipes-containers/images/container-base.bb"));
    bitbake.recipe("other.bb", &base.unwrap());
    bitbake.ok(&["container-base", "other"]);
    bitbake.wharf.ok(&["start"]);
    let ran = bitbake.ok(&["container-registry-populate", "-c", "populate_registry"]);
    let name = "WARNING: container-registry-populate-1.0-r0 do_populate_registry: ";
    for warning in ["no tag for the strategy `branch`", "no-such-image, of CONTAINER_REGISTRY_IMAGES, not found in "] {
        assert!(ran.stdout.contains(&format!("{name}{warning}")), "{ran}");
    }
    assert_eq!(tags(&bitbake, "team/container-base"), ["7.1", "7.1-x86_64"]);
    assert_eq!(bitbake.wharf.ok(&["catalog"]).json()["repositories"], serde_json::json!(["team/container-base"]));
}

/// The functions of meta-virtualization's class, called by a user's recipe: names and tags are the program's, the version is the recipe's.
#[test]
fn recipes_of_users_find_the_functions_that_they_call() {
    let bitbake = BitBake::new();
    bitbake.recipe(
        "mine_2.3.4+git.bb",
        r#"
SUMMARY = "Pushes on its own"
LICENSE = "MIT"
inherit container-registry
python do_mine() {
    found = container_registry_discover_oci_images(d)
    bb.plain(f"found {[name for _, name in found]}")
    for path, name in found:
        bb.plain("tags " + " ".join(container_registry_generate_tags(d, name)))
        bb.plain("first " + " ".join(container_registry_push(d, path, name)))
        bb.plain("second " + " ".join(container_registry_push(d, path, "other", ["a", "b"])))
}
addtask mine after do_configure
do_mine[nostamp] = "1"
do_mine[network] = "1"
python do_broken() {
    container_registry_push(d, d.getVar("TOPDIR"), "broken", ["latest"])
    bb.plain("went on")
}
addtask broken after do_configure
do_broken[network] = "1"
"#,
    );
    bitbake.configure("CONTAINER_REGISTRY_TAG_STRATEGY = \"semver arch latest\"");
    let ran = bitbake.ok(&["mine", "-c", "mine"]);
    assert!(ran.stdout.contains("found []\n"), "{ran}");
    bitbake.ok(&["container-base"]);
    bitbake.wharf.ok(&["start"]);
    let ran = bitbake.ok(&["mine", "-c", "mine"]);
    let expected = ["2.3.4", "2.3", "2", "latest", "2.3.4-x86_64", "2.3-x86_64", "2-x86_64"];
    let references = |name: &str, tags: &[&str]| {
        tags.iter().map(|tag| format!("localhost:{}/yocto/{name}:{tag}", bitbake.port)).collect::<Vec<_>>().join(" ")
    };
    for line in [
        "found ['container-base']",
        &format!("tags {}", expected.join(" ")),
        &format!("first {}", references("container-base", &expected)),
        &format!("second {}", references("other", &["a", "b"])),
    ] {
        assert!(ran.stdout.contains(&format!("{line}\n")), "no {line:?}: {ran}");
    }
    assert_eq!(tags(&bitbake, "other"), ["a", "b"]);
    let ran = bitbake.run(&["mine", "-c", "broken"]).expect(1);
    assert!(ran.stderr.contains("cannot be pushed") && !ran.stdout.contains("went on"), "{ran}");
}

/// The configuration for development is good as it is, and does what a start without a file does.
#[test]
fn the_configuration_for_development_is_what_start_does() {
    let bitbake = BitBake::new();
    let file = BitBake::meta_wharf().join("recipes-containers/wharf-registry/files/container-registry-dev.yml");
    let file = file.to_str().unwrap();
    let ran = bitbake.wharf.ok(&["config", "check", file]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (&*format!("{file}: valid\n"), ""));

    let in_force = |arguments: &[&str]| {
        // The port of 5000 may be taken here.
        let address = format!("localhost:{}", bitbake.port);
        let wharf = bitbake.wharf.env("REGISTRY_HTTP_ADDR", &address);
        wharf.ok(&[&["start"], arguments].concat()).is_silent_on("warning");
        wharf.ok(&[&["stop"], arguments].concat());
        let text = fs::read_to_string(bitbake.path("container-registry/registry-config.yml")).unwrap();
        let data = bitbake.path("container-registry/data");
        let text = text.replace(data.to_str().unwrap(), "container-registry/data");
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    let by_file = in_force(&["--config", file]);
    assert!(by_file.iter().any(|line| line.trim() == "rootdirectory: container-registry/data"), "{by_file:?}");
    assert_eq!(by_file, in_force(&[]));
}
