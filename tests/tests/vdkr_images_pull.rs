//! `vdkr pull`: the configured registry first, Docker Hub where that has none, and which of the two it was.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use wharf_tests::{Image, OCI_INDEX, OCI_MANIFEST, Ran, Reply, Scripted, Server, Wharf, archive, image_of, index, random};

/// A registry, one that stands in for Docker Hub, and a user of both.
struct Bench {
    registry: Server,
    hub: Server,
    folder: TempDir,
    vdkr: Wharf,
}

/// `registries.conf` by which Docker Hub is reached at another address.
fn redirected(folder: &Path, hub: &str) -> String {
    let file = folder.join("registries.conf");
    let text = format!("[[registry]]\nprefix = \"docker.io\"\nlocation = \"{hub}\"\ninsecure = true\n");
    fs::write(&file, text).expect("write registries.conf");
    file.to_str().expect("UTF-8").to_owned()
}

impl Bench {
    fn new() -> Self {
        let (registry, hub) = (Server::start(), Server::start());
        let folder = tempfile::tempdir().expect("a folder");
        let conf = redirected(folder.path(), &hub.address().to_string());
        let vdkr = Wharf::vdkr(folder.path()).env("CONTAINERS_REGISTRIES_CONF", &conf).env("VDKR_ARCH", "x86_64");
        let vdkr = vdkr.env("VDKR_REGISTRY", &format!("{}/yocto", registry.address()));
        Self { registry, hub, folder, vdkr }
    }

    fn id(&self, name: &str) -> String {
        self.vdkr.ok(&["inspect", "--format", "{{.Id}}", name]).stdout.trim().to_owned()
    }
}

fn image() -> Image {
    of("amd64", vec![archive("content", &random(1_000))])
}

fn of(architecture: &str, layers: Vec<Vec<u8>>) -> Image {
    image_of(json!({"os": "linux", "architecture": architecture}), json!({}), layers)
}

fn config_digest(image: &Image) -> String {
    wharf_tests::sha256(&image.config)
}

/// Asserts that exactly one source was told, and that it is this one.
#[track_caller]
fn assert_source(ran: &Ran, source: &str) {
    let said: Vec<_> = ran.stderr.lines().filter_map(|line| line.strip_prefix("Source: ")).collect();
    assert_eq!(said.len(), 1, "{ran}");
    assert!(said[0] == source || said[0].starts_with(&format!("{source} (")), "{ran}");
}

/// What is in both comes from the registry.
#[test]
fn the_registry_comes_first() {
    let bench = Bench::new();
    let (own, other) = (image(), image());
    bench.registry.repo("yocto/alpine").push("latest", &own).expect(201);
    bench.hub.repo("library/alpine").push("latest", &other).expect(201);
    let ran = bench.vdkr.ok(&["pull", "alpine"]);
    let name = format!("{}/yocto/alpine:latest", bench.registry.address());
    assert_source(&ran, &name);
    assert_eq!(ran.stdout.lines().last(), Some(name.as_str()), "{ran}");
    assert_eq!(bench.id("alpine"), config_digest(&own));
    let again = bench.vdkr.ok(&["pull", "alpine"]);
    assert!(again.stdout.contains("Image is up to date"), "{again}");
    // However quiet, the source is told.
    assert_source(&bench.vdkr.ok(&["pull", "-q", "alpine"]), &name);
    // A name with its registry is never transformed.
    let ran = bench.vdkr.ok(&["pull", "docker.io/library/alpine"]);
    assert_source(&ran, "docker.io/library/alpine:latest");
    assert_eq!(bench.id("docker.io/library/alpine"), config_digest(&other));
    assert_eq!(bench.id("alpine"), config_digest(&own), "the registry's is found first");
}

/// What only the hub has comes from there, and is found under the short name.
#[test]
fn the_hub_has_what_the_registry_has_not() {
    let bench = Bench::new();
    let other = image();
    bench.hub.repo("library/alpine").push("3", &other).expect(201);
    let ran = bench.vdkr.ok(&["pull", "alpine:3"]).says("not found");
    assert_source(&ran, "docker.io/library/alpine:3");
    assert_eq!(bench.id("alpine:3"), config_digest(&other));
    // In neither: an error that names the last one asked.
    bench.vdkr.fails(&["pull", "nowhere"]).says("not found at");
}

/// A registry that is down is warned of.
#[test]
fn a_registry_that_is_down_is_passed_over_with_a_warning() {
    let mut bench = Bench::new();
    let other = image();
    bench.hub.repo("library/alpine").push("latest", &other).expect(201);
    bench.registry.terminate();
    let ran = bench.vdkr.ok(&["pull", "alpine"]).says("warning: ").says("cannot be reached");
    assert_source(&ran, "docker.io/library/alpine:latest");
    // Where the build says that its registry is secure, nobody else's image takes the place of its own.
    let conf = bench.folder.path().join("vdkr.conf");
    fs::write(&conf, format!("registry={}/yocto\nsecure=1\n", bench.registry.address())).expect("write vdkr.conf");
    let secure = bench.vdkr.without("VDKR_REGISTRY").env("VDKR_CONFIG_DEFAULTS", conf.to_str().expect("UTF-8"));
    secure.fails(&["pull", "alpine"]).says("error: ").is_silent_on("Source: ");
}

/// Who refuses is believed: 401 and 403 never lead to the hub.
#[test]
fn a_registry_that_refuses_is_believed() {
    for status in [401, 403] {
        let bench = Bench::new();
        bench.hub.repo("library/alpine").push("latest", &image()).expect(201);
        let refusing = Scripted::start(move |asked| match asked.target.as_str() {
            "/v2/" => Reply::new(200).header("docker-distribution-api-version", "registry/2.0"),
            _ => Reply::new(status).body(r#"{"errors":[{"code":"DENIED","message":"no"}]}"#),
        });
        let vdkr = bench.vdkr.env("VDKR_REGISTRY", &format!("{}/yocto", refusing.address()));
        vdkr.fails(&["pull", "alpine"]).is_silent_on("Source: ");
        assert!(vdkr.ok(&["images", "-q"]).stdout.is_empty());
        assert!(refusing.count("GET", "/manifests/") > 0, "it was asked");
    }
}

/// 10.0.2.2 is what a guest calls this machine; names are kept as they were said.
#[test]
fn the_guests_name_of_this_machine_means_the_loopback() {
    let bench = Bench::new();
    let own = image();
    bench.registry.repo("yocto/app").push("latest", &own).expect(201);
    let prefix = format!("10.0.2.2:{}/yocto", bench.registry.address().port());
    let ran = bench.vdkr.ok(&["--registry", &prefix, "pull", "app"]);
    assert_source(&ran, &format!("{prefix}/app:latest"));
    let listed = bench.vdkr.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(listed.stdout, format!("{prefix}/app:latest\n"));
    bench.vdkr.ok(&["vconfig", "registry", &prefix]);
    let kept = bench.vdkr.without("VDKR_REGISTRY");
    assert_eq!(kept.ok(&["inspect", "-f", "{{.Id}}", "app"]).stdout.trim(), config_digest(&own));
    kept.ok(&["vconfig", "registry", "--reset"]);
    // What is there is found all the same, as long as it is clear what is meant; what is to be run is Docker Hub's again.
    assert_eq!(kept.ok(&["inspect", "-f", "{{.Id}}", "app"]).stdout.trim(), config_digest(&own));
    kept.fails(&["pull", "app"]).says("docker.io/library/app not found");
    kept.fails(&["inspect", "other"]).says("No such image: other");
    kept.fails(&["inspect", "pp"]).says("No such image: pp");
    kept.ok(&["tag", "app", "example.org/some/app"]);
    kept.fails(&["rmi", "app"]).says("app may be ").says("example.org/some/app:latest").says("hint: give the name in full");
    assert_eq!(kept.ok(&["rmi", "some/app"]).stdout, "Untagged: example.org/some/app:latest\n");
}

/// Of several platforms the one that runs best; of none that runs, none.
#[test]
fn the_platform_is_that_of_the_architecture() {
    let bench = Bench::new();
    let repo = bench.registry.repo("yocto/app");
    let of = |platform: serde_json::Value| image_of(platform, json!({}), vec![archive("content", &random(300))]);
    let platforms = [
        json!({"os": "linux", "architecture": "amd64"}),
        json!({"os": "linux", "architecture": "amd64", "variant": "v3"}),
        json!({"os": "linux", "architecture": "arm", "variant": "v7"}),
    ];
    let images = platforms.clone().map(of);
    let entries: Vec<_> = images
        .iter()
        .zip(&platforms)
        .map(|(image, platform)| {
            repo.push_blobs(image);
            repo.put(&image.digest, OCI_MANIFEST, &image.manifest).expect(201);
            let mut entry = image.descriptor("amd64");
            entry["platform"] = platform.clone();
            entry
        })
        .collect();
    repo.put("latest", OCI_INDEX, &index(&entries)).expect(201);
    for (arch, expected) in [("x86_64", 1), ("aarch64", 2)] {
        let vdkr = bench.vdkr.env("VDKR_ARCH", arch);
        vdkr.ok(&["pull", "app"]);
        assert_eq!(vdkr.ok(&["inspect", "-f", "{{.Id}}", "app"]).stdout.trim(), config_digest(&images[expected]), "{arch}");
    }
    bench.registry.repo("yocto/single").push("latest", &image()).expect(201);
    let ran = bench.vdkr.env("VDKR_ARCH", "aarch64").fails(&["pull", "single"]);
    ran.says("has no image for aarch64").says("--arch x86_64");
}

/// Two pulls of images that share layers, and a removal between them, all at once: in the end every image that is listed is whole.
#[test]
fn commands_at_the_same_moment_do_not_disturb_each_other() {
    let bench = Bench::new();
    let shared = archive("shared", &random(3 << 20));
    let names = ["one", "two", "three"];
    for name in names {
        let image = image_of(
            json!({"os": "linux", "architecture": "amd64"}),
            json!({"n": name}),
            vec![shared.clone(), archive("own", &random(200_000))],
        );
        bench.registry.repo(&format!("yocto/{name}")).push("latest", &image).expect(201);
    }
    for _ in 0..4 {
        bench.vdkr.ok(&["pull", "-q", "one"]);
        let start = |arguments: &[&str]| {
            bench
                .vdkr
                .command(arguments)
                .stderr(std::process::Stdio::piped())
                .stdout(std::process::Stdio::null())
                .spawn()
                .expect("start vdkr")
        };
        let mut running =
            vec![start(&["pull", "two"]), start(&["rmi", "one"]), start(&["pull", "three"]), start(&["pull", "two"])];
        let seen = bench.vdkr.ok(&["images", "-q"]);
        assert!(!seen.stderr.contains("cannot be read"), "{seen}");
        for child in running.drain(..) {
            let output = child.wait_with_output().expect("wait");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        for name in ["two", "three"] {
            let file = bench.folder.path().join(format!("{name}.tar"));
            bench.vdkr.ok(&["save", "-o", file.to_str().expect("UTF-8"), name]);
            bench.vdkr.ok(&["rmi", name]);
        }
        bench.vdkr.fails(&["inspect", "one"]);
    }
    let store = bench.folder.path().join(".vdkr/x86_64");
    let left = fs::read_dir(store.join("images/blobs/sha256")).expect("blobs").count();
    assert_eq!((left, fs::read_dir(store.join("downloads")).expect("downloads").count()), (0, 0), "nothing is left behind");
}

/// A broken transfer is gone on with, and what is wrong is not kept.
#[test]
fn what_was_received_is_kept() {
    let bench = Bench::new();
    let image = image_of(json!({"os": "linux", "architecture": "amd64"}), json!({}), vec![archive("large", &random(8 << 20))]);
    bench.registry.repo("yocto/app").push("latest", &image).expect(201);
    bench.vdkr.ok(&["pull", "app"]);
    let blobs = bench.folder.path().join(".vdkr/x86_64/images/blobs/sha256");
    let layer = wharf_tests::sha256(&image.layers[0]);
    let layer = &layer["sha256:".len()..];
    // As if the pull had been killed in the middle.
    let downloads = bench.folder.path().join(".vdkr/x86_64/downloads");
    bench.vdkr.ok(&["rmi", "app"]);
    assert!(!blobs.join(layer).exists());
    fs::write(downloads.join(format!("sha256-{layer}")), &image.layers[0][..5 << 20]).expect("a beginning");
    bench.vdkr.ok(&["pull", "app"]).says("5.0 MiB from an earlier attempt");
    assert_eq!(fs::read(blobs.join(layer)).expect("the layer"), image.layers[0]);
}
