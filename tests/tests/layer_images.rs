//! `meta-wharf`: images that the real BitBake makes of root file systems.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use wharf_tests::{BitBake, Facts, Ran, run_tool};

const MACHINE: &str = "qemux86-64";
const HEAD: &str = "SUMMARY = \"An image\"\nLICENSE = \"MIT\"\nIMAGE_FSTYPES = \"oci\"\ninherit image image-oci\n\
                    IMAGE_INSTALL = \"base-files base-passwd netbase\"\n";

/// A recipe for an image, in the core layer.
fn recipe(bitbake: &BitBake, name: &str, lines: &str) {
    let folder = bitbake.core().join("recipes-core/images");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), [HEAD, lines].concat()).unwrap();
}

/// A document of a layout, by its digest.
fn document(layout: &Path, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
    serde_json::from_slice(&fs::read(layout.join("blobs").join(digest)).unwrap()).unwrap()
}

/// Manifest and configuration of an image that was built.
fn image(bitbake: &BitBake, name: &str) -> (Value, Value) {
    let layout = bitbake.deployed(MACHINE, name);
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let manifest = document(&layout, &index["manifests"][0]);
    let config = document(&layout, &manifest["config"]);
    (manifest, config)
}

/// The tasks of a recipe that ran.
fn tasks(ran: &Ran, recipe: &str) -> Vec<String> {
    let started = ran.started();
    let of_recipe = |line: &String| {
        let (name, task) = line.split_once(' ')?;
        name.starts_with(&format!("{recipe}-")).then(|| task.to_owned())
    };
    let mut tasks: Vec<_> = started.iter().filter_map(of_recipe).collect();
    tasks.sort();
    tasks
}

/// How many signatures each task of a recipe has had, of those with more than one.
fn changed(bitbake: &BitBake, recipe: &str) -> BTreeMap<String, usize> {
    let stamps = fs::read_dir(bitbake.path("tmp/stamps/x86_64").join(recipe)).unwrap();
    let mut counts = BTreeMap::new();
    for name in stamps.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        if let Some((task, _)) = name.split_once(".sigdata.") {
            *counts.entry(task.trim_start_matches("1.0.").to_owned()).or_insert(0) += 1;
        }
    }
    assert!(counts.contains_key("do_rootfs"), "{counts:?}");
    counts.retain(|_, count| *count > 1);
    counts
}

fn labels(config: &Value) -> Vec<(String, String)> {
    let labels = config["config"]["Labels"].as_object().cloned().unwrap_or_default();
    let short = |key: &str| key.trim_start_matches("org.opencontainers.image.").to_owned();
    labels.iter().map(|(key, value)| (short(key), value.as_str().unwrap().to_owned())).collect()
}

/// Every variable is in the configuration, names and links are those of meta-virtualization, and owners are those that the recipes gave.
#[test]
fn variables_become_the_image() {
    let bitbake = BitBake::new();
    recipe(
        &bitbake,
        "app_1.2.3.bb",
        r#"
OCI_IMAGE_TAG = "rel:1"
OCI_IMAGE_AUTHOR = "N. N."
OCI_IMAGE_AUTHOR_EMAIL = "n@example.org"
OCI_IMAGE_ARCH = "arm"
OCI_IMAGE_SUBARCH = "v7"
OCI_IMAGE_ENTRYPOINT = "curl -H 'a: b'"
OCI_IMAGE_ENTRYPOINT_ARGS = "http://localhost"
OCI_IMAGE_CMD = "/bin/not-this"
OCI_IMAGE_WORKINGDIR = "/srv"
OCI_IMAGE_STOPSIGNAL = "SIGINT"
OCI_IMAGE_RUNTIME_UID = "1000:100"
OCI_IMAGE_PORTS = "80 53/udp"
OCI_IMAGE_LABELS = "a=b 'spaced=x y'"
OCI_IMAGE_ENV_VARS = "A=1 B='x y'"
OCI_IMAGE_BUILD_DATE = "2026-01-12T20:32:24Z"
OCI_IMAGE_REVISION = "8a3f2b1"
OCI_IMAGE_BRANCH = "none"
add_files() {
    mknod ${IMAGE_ROOTFS}/dev/null c 1 3
    mkdir ${IMAGE_ROOTFS}/srv
    echo x > ${IMAGE_ROOTFS}/srv/secret
    chown 7:8 ${IMAGE_ROOTFS}/srv/secret
    chmod 4711 ${IMAGE_ROOTFS}/srv/secret
}
ROOTFS_POSTPROCESS_COMMAND += "add_files"
"#,
    );
    let ran = bitbake.ok(&["app"]);
    assert!(!ran.stdout.contains("WARNING") && !ran.stderr.contains("WARNING"), "{ran}");
    let (manifest, config) = image(&bitbake, "app-rel_1-oci");
    let execution = &config["config"];
    assert_eq!(execution["Entrypoint"], json!(["curl", "-H", "a: b"]));
    assert_eq!(execution["Cmd"], json!(["http://localhost"]));
    assert_eq!((&execution["WorkingDir"], &execution["StopSignal"]), (&json!("/srv"), &json!("SIGINT")));
    assert_eq!(execution["User"], "1000:100");
    assert_eq!(execution["ExposedPorts"], json!({"80/tcp": {}, "53/udp": {}}));
    assert_eq!(execution["Env"], json!(["A=1", "B=x y"]));
    assert_eq!((&config["architecture"], &config["variant"]), (&json!("arm"), &json!("v7")));
    assert_eq!(config["author"], "N. N. <n@example.org>");
    assert_eq!(config["created"], "2026-01-12T20:32:24Z");
    let expected = json!({
        "a": "b", "spaced": "x y", "org.opencontainers.image.revision": "8a3f2b1",
        "org.opencontainers.image.created": "2026-01-12T20:32:24Z", "org.opencontainers.image.version": "1.2.3"
    });
    assert_eq!(execution["Labels"], expected);
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);

    let folder = bitbake.deployed(MACHINE, "");
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let dated = |end: &str| names.iter().any(|name| name.starts_with("app-qemux86-64.rootfs-20") && name.ends_with(end));
    assert!(dated(".rootfs-oci") && dated(".rootfs-oci.tar") && dated(".rootfs-oci-dir.tar"), "{names:?}");
    for link in ["app-rel_1-oci", "app-rel_1-oci.tar", "app-rel_1-oci-dir.tar"] {
        assert!(folder.join(link).is_symlink() && folder.join(link).exists(), "{link}: {names:?}");
    }

    bitbake.wharf.ok(&["unpack", folder.join("app-rel_1-oci").to_str().unwrap(), "out"]);
    let facts = format!("{:?}", Facts::of(&bitbake.path("out")));
    let stat =
        |file: &str| run_tool("stat", &["-c", "%F %u:%g %a %t:%T", bitbake.path("out").join(file).to_str().unwrap()], None);
    assert_eq!(stat("dev/null").trim(), "character special file 0:0 644 1:3", "{facts}");
    assert_eq!(stat("srv/secret").trim(), "regular file 7:8 4711 0:0");
    assert_eq!(stat("etc/shadow").trim(), "regular file 0:42 640 0:0");
    // REPRODUCIBLE_TIMESTAMP_ROOTFS of the core.
    let time = run_tool("stat", &["-c", "%Y", bitbake.path("out/srv/secret").to_str().unwrap()], None);
    assert_eq!(time.trim(), "1520598896");
}

/// The automatic labels, what drops and what wins over them.
#[test]
fn labels_say_where_an_image_comes_from() {
    let bitbake = BitBake::new();
    let commit = bitbake.committed("feature/x");
    let given = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let date = "OCI_IMAGE_BUILD_DATE = \"2026-01-12T20:32:24Z\"\n";
    let created = given("created", "2026-01-12T20:32:24Z");
    let (branch, revision) = (given("ref.name", "feature/x"), given("revision", &commit));
    let cases = [
        ("plain.bb", date.to_owned(), vec![created.clone(), branch.clone(), revision.clone()]),
        ("named_2.0.bb", date.to_owned(), vec![created.clone(), branch.clone(), revision.clone(), given("version", "2.0")]),
        (
            "assigned.bb",
            format!("PV = \"3.1\"\n{date}"),
            vec![created.clone(), branch.clone(), revision.clone(), given("version", "3.1")],
        ),
        (
            "mine_1.bb",
            format!("OCI_IMAGE_VERSION = \"9\"\nOCI_IMAGE_LABELS = \"org.opencontainers.image.revision=mine\"\n{date}"),
            vec![created.clone(), branch, given("revision", "mine"), given("version", "9")],
        ),
        (
            "less_1.bb",
            format!("OCI_IMAGE_VERSION = \"none\"\nOCI_IMAGE_REVISION = \"none\"\nOCI_IMAGE_BRANCH = \"none\"\n{date}"),
            vec![created],
        ),
        ("none_1.bb", "OCI_IMAGE_AUTO_LABELS = \"0\"\nOCI_IMAGE_LABELS = \"a=b\"\n".to_owned(), vec![given("a", "b")]),
        (
            "epoch.bb",
            "OCI_IMAGE_REPRODUCIBLE = \"1\"\nOCI_IMAGE_REVISION = \"r\"\nOCI_IMAGE_BRANCH = \"b\"\n".to_owned(),
            vec![given("created", "2011-04-05T23:00:00Z"), given("ref.name", "b"), given("revision", "r")],
        ),
    ];
    for (file, lines, _) in &cases {
        recipe(&bitbake, file, lines);
    }
    recipe(&bitbake, "ci.bb", &format!("OCI_IMAGE_REVISION = \"${{CI_COMMIT_SHA}}\"\n{date}"));
    let names: Vec<_> = cases.iter().map(|(file, ..)| file.split(['_', '.']).next().unwrap()).collect();
    bitbake.ok(&names);
    for (name, (file, _, expected)) in names.iter().zip(&cases) {
        assert_eq!(labels(&image(&bitbake, &format!("{name}-latest-oci")).1), *expected, "{file}");
    }
    let ran = bitbake.ok(&["ci"]);
    assert!(format!("{ran}").contains("BB_ENV_PASSTHROUGH_ADDITIONS"), "{ran}");
    assert!(labels(&image(&bitbake, "ci-latest-oci").1).contains(&revision));
    let bitbake = bitbake.env("CI_COMMIT_SHA", "0123456").env("BB_ENV_PASSTHROUGH_ADDITIONS", "CI_COMMIT_SHA");
    bitbake.ok(&["ci"]);
    assert!(labels(&image(&bitbake, "ci-latest-oci").1).contains(&given("revision", "0123456")));
}

/// A changed variable makes the image again and nothing else; a commit, another day and another address of the registry do not.
#[test]
fn only_what_depends_on_a_variable_runs_again() {
    let bitbake = BitBake::new();
    recipe(&bitbake, "app.bb", "");
    let all = bitbake.ok(&["app"]);
    assert_eq!(tasks(&all, "app"), ["do_image_complete", "do_image_oci", "do_rootfs"], "{all}");
    assert!(tasks(&bitbake.ok(&["app"]), "app").is_empty());
    let unrelated = "CONTAINER_REGISTRY_URL = \"localhost:1\"\nCONTAINER_REGISTRY_TAG_STRATEGY = \"sha\"\n\
                     CONTAINER_REGISTRY_STORAGE = \"${TOPDIR}/elsewhere\"\n";
    bitbake.configure(unrelated);
    assert!(tasks(&bitbake.ok(&["app"]), "app").is_empty());
    let variables = [
        ("TAG", "v2"),
        ("AUTHOR", "N"),
        ("AUTHOR_EMAIL", "n@example.org"),
        ("RUNTIME_UID", "1"),
        ("ARCH", "arm"),
        ("SUBARCH", "v7"),
        ("OS", "linux"),
        ("ENTRYPOINT", "/bin/a"),
        ("ENTRYPOINT_ARGS", "b"),
        ("CMD", "/bin/c"),
        ("WORKINGDIR", "/w"),
        ("STOPSIGNAL", "SIGINT"),
        ("PORTS", "1"),
        ("LABELS", "a=b"),
        ("ENV_VARS", "A=1"),
        ("REVISION", "r"),
        ("BRANCH", "b"),
        ("BUILD_DATE", "2026-01-12T20:32:24Z"),
        ("VERSION", "1"),
        ("REPRODUCIBLE", "1"),
        ("COMPRESSION", "zstd:chunked"),
        ("TAR_OUTPUT", ""),
        ("AUTO_LABELS", "0"),
    ];
    // A recipe for each, whose signatures are written down before and after.
    let recipes: Vec<_> = variables.iter().map(|(name, _)| format!("app-{}", name.to_lowercase().replace('_', "-"))).collect();
    for name in &recipes {
        recipe(&bitbake, &format!("{name}.bb"), "");
    }
    let names: Vec<_> = recipes.iter().map(String::as_str).collect();
    bitbake.ok(&[&["--dump-signatures=none"], names.as_slice()].concat());
    let set =
        variables.iter().zip(&recipes).map(|((name, value), recipe)| format!("OCI_IMAGE_{name}:pn-{recipe} = \"{value}\"\n"));
    bitbake.configure(&set.collect::<String>());
    bitbake.ok(&[&["--dump-signatures=none"], names.as_slice()].concat());
    for recipe in &recipes {
        let changed: Vec<_> = changed(&bitbake, recipe).into_keys().collect();
        assert_eq!(changed, ["do_build", "do_image_complete", "do_image_oci"], "{recipe}");
    }
}

/// Where a build lies does not count: the same image has the same signatures in another folder.
#[test]
fn signatures_are_the_same_in_another_folder() {
    let signatures = [BitBake::new(), BitBake::new()].map(|bitbake| {
        recipe(
            &bitbake,
            "app.bb",
            "OCI_BASE_IMAGE = \"base\"\nOCI_LAYER_MODE = \"multi\"\nOCI_LAYERS = \"a:files:/etc/passwd\"\n",
        );
        recipe(&bitbake, "base.bb", "");
        bitbake.ok(&["--dump-signatures=none", "app"]);
        let stamps = fs::read_dir(bitbake.path("tmp/stamps/x86_64/app")).unwrap();
        let mut names: Vec<_> = stamps.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.contains(".sigdata."));
        names.sort();
        names
    });
    assert!(signatures[0].iter().any(|name| name.contains("do_image_oci")), "{signatures:?}");
    assert_eq!(signatures[0], signatures[1]);
}

/// The form of the layers follows the engine of the target, unless it is said.
#[test]
fn the_engine_decides_the_form_of_layers() {
    let bitbake = BitBake::new();
    recipe(&bitbake, "app.bb", "");
    let form = || image(&bitbake, "app-latest-oci").0["layers"][0]["mediaType"].as_str().unwrap().to_owned();
    let (gzip, zstd) = ("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+zstd");
    for (line, expected) in [
        ("", gzip),
        ("CONTAINER_PROFILE = \"podman\"", zstd),
        ("CONTAINER_PROFILE = \"docker\"", gzip),
        ("VIRTUAL-RUNTIME_container_engine = \"podman\"", zstd),
        ("OCI_IMAGE_COMPRESSION = \"gzip\"", gzip),
    ] {
        bitbake.configure(line);
        bitbake.ok(&["app"]);
        assert_eq!(form(), expected, "{line}");
    }
    bitbake.configure("OCI_IMAGE_COMPRESSION = \"brotli\"");
    let ran = bitbake.run(&["app"]).expect(1);
    assert!(format!("{ran}").contains("brotli"), "{ran}");
}

/// Layers by lists, on a base that is another recipe's image; what is not to be had is an error that says who has it.
#[test]
fn layers_and_bases() {
    let bitbake = BitBake::new();
    recipe(&bitbake, "base.bb", "");
    recipe(
        &bitbake,
        "over.bb",
        "OCI_BASE_IMAGE = \"base\"\nOCI_LAYER_MODE = \"multi\"\nIMAGE_INSTALL += \"busybox\"\n\
         OCI_LAYERS = \"shell:packages:busybox conf:directories:/etc+/root\"\n",
    );
    bitbake.ok(&["over"]);
    let layout = bitbake.deployed(MACHINE, "over-latest-oci");
    let (manifest, config) = image(&bitbake, "over-latest-oci");
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers[0], image(&bitbake, "base-latest-oci").0["layers"][0]);
    let files = |layer: &Value| {
        let blob = layout.join("blobs").join(layer["digest"].as_str().unwrap().replace(':', "/"));
        let listed = run_tool("tar", &["--list", "--gzip", "--file", blob.to_str().unwrap()], None);
        listed.lines().filter(|line| !line.ends_with('/')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(files(&layers[1]), ["bin/busybox", "bin/sh"]);
    assert_eq!(files(&layers[2]), ["etc/hostname", "etc/passwd", "etc/services", "etc/shadow"]);
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), layers.len());

    let path = bitbake.deployed(MACHINE, "base-latest-oci");
    recipe(&bitbake, "path.bb", &format!("OCI_BASE_IMAGE = \"{}\"\n", path.display()));
    bitbake.ok(&["path"]);
    assert_eq!(image(&bitbake, "path-latest-oci").0["layers"][0], layers[0]);

    for (lines, said) in [
        ("OCI_BASE_IMAGE = \"docker.io/library/alpine:3.19\"", "wharf pull"),
        ("OCI_LAYER_MODE = \"multi\"", "needs OCI_LAYERS"),
        ("OCI_LAYER_MODE = \"many\"", "neither single nor multi"),
        ("OCI_LAYER_MODE = \"multi\"\nOCI_LAYERS = \"certs:host:/etc/x:/etc/x\"", "umoci"),
        ("OCI_LAYER_MODE = \"multi\"\nOCI_LAYERS = \"a:b\"", "NAME:KIND:CONTENT"),
        ("OCI_IMAGE_LABELS = \"a='b\"", "OCI_IMAGE_LABELS"),
    ] {
        recipe(&bitbake, "wrong.bb", &format!("{lines}\n"));
        let ran = bitbake.run(&["wrong"]).expect(1);
        assert!(format!("{ran}").contains(said), "{lines}: {ran}");
    }
    recipe(&bitbake, "wrong.bb", "OCI_LAYER_MODE = \"multi\"\nOCI_LAYERS = \"a:packages:no-such\"\n");
    let ran = bitbake.run(&["wrong"]).expect(1);
    assert!(format!("{ran}").contains("no package 'no-such' was built"), "{ran}");
}
