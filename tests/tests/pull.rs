//! `wharf pull`: images in layouts, updates that cost what changed, and whatever may come in between.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use wharf_tests::clients::Cell;
use wharf_tests::{
    Asked, Build, Fault, Image, OCI_MANIFEST, Program, Proxy, Ran, Reply, RootFs, Scripted, Wharf, eventually, forward,
    image_for, image_of, random, sha256, write_blob, write_layout,
};

const MIB: usize = 1 << 20;

/// Every file below a folder, by path.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            match entry.is_dir() {
                true => open.push(entry),
                false => drop(found.insert(entry.clone(), fs::read(&entry).expect("a file"))),
            }
        }
    }
    found.into_iter().map(|(path, bytes)| (path.strip_prefix(folder).expect("a path below").to_owned(), bytes)).collect()
}

/// Asserts that a layout lists this one image and holds its blobs and no other file.
#[track_caller]
fn assert_holds(layout: &Path, name: &str, image: &Image) {
    let files = files(layout);
    let index: Value = serde_json::from_slice(&files[Path::new("index.json")]).expect("an index in JSON");
    let entries = index["manifests"].as_array().expect("a list of images");
    assert_eq!(entries.len(), 1, "{index}");
    assert_eq!(entries[0]["digest"], image.digest.as_str());
    assert_eq!(entries[0]["annotations"]["org.opencontainers.image.ref.name"], name);
    let blobs: Vec<_> = image.blobs().chain([&image.manifest]).collect();
    for blob in &blobs {
        let place = Path::new("blobs/sha256").join(&sha256(blob)[7..]);
        assert!(files.get(&place) == Some(blob), "{} is not as it should be", place.display());
    }
    assert_eq!(files.len(), blobs.len() + 2, "{:?}", files.keys());
}

/// Two versions of one root file system of some thirty megabytes, packed as `v1-oci` and `v2-oci`.
fn pack_versions(build: &Build, compression: &str) {
    let contents: Vec<_> = (0..120).map(|n| random(if n % 10 == 0 { 2 * MIB } else { 40_000 })).collect();
    for version in ["v1", "v2"] {
        let root = RootFs::new(&build.path(version));
        for (n, content) in contents.iter().enumerate() {
            let mut content = content.clone();
            if version == "v2" && n % 60 == 10 {
                content.splice(1000..1010, *b"something that was not there before");
            }
            root.file(&format!("usr/lib/d{}/f{n}", n % 7), &content, 0o644, (0, 0));
        }
        root.settle();
        let layout = format!("{version}-oci");
        let arguments = ["pack", version, &layout, "--compression", compression, "--arch", "amd64"];
        build.wharf.env("SOURCE_DATE_EPOCH", "1800000000").ok(&arguments);
    }
}

/// Pushes a layout as `app:latest`.
#[track_caller]
fn push(build: &Build, layout: &str) {
    build.wharf.ok(&["push", layout, "--name", "app", "--tag", "latest"]);
}

/// Asserts that both layouts have the same blobs.
#[track_caller]
fn assert_same(build: &Build, one: &str, other: &str) {
    let blobs = |layout: &str| files(&build.path(layout).join("blobs"));
    assert!(blobs(one) == blobs(other), "{one} and {other} differ");
}

/// `wharf` on the other side of a wire.
fn through(build: &Build, proxy: &Proxy) -> Wharf {
    build.wharf.env("CONTAINER_REGISTRY_URL", &proxy.address().to_string())
}

/// The largest blob of a layout.
fn largest(layout: &Path) -> PathBuf {
    let blobs = fs::read_dir(layout.join("blobs/sha256")).expect("blobs").map(|entry| entry.expect("a blob").path());
    blobs.max_by_key(|path| fs::metadata(path).expect("its length").len()).expect("a blob")
}

#[test]
fn an_image_is_pulled_as_it_is() {
    let build = Build::new();
    let image =
        image_of(json!({"os": "linux", "architecture": "arm64"}), json!({}), vec![random(3 * MIB), random(70_000), vec![]]);
    write_layout(&build.path("app-oci"), &[("latest", &image)]);
    push(&build, "app-oci");
    let ran = build.wharf.ok(&["pull", "app", "deep/out"]).says("Pulled app:latest: 3.1 MiB received, in ");
    assert_eq!(ran.stdout, format!("{}/yocto/app:latest {}\n", build.server.address(), image.digest));
    assert_holds(&build.path("deep/out"), "latest", &image);
    // There is nothing to do, and so it is said.
    build.wharf.ok(&["pull", "app", "deep/out"]).says("Nothing to do for app:latest: all 3.1 MiB are there");
    build.wharf.ok(&["pull", "app", "named", "--name", "mine"]);
    assert_holds(&build.path("named"), "mine", &image);
    let own = format!("{}/yocto/app@{}", build.server.address(), image.digest);
    build.wharf.ok(&["pull", &own, "by-digest"]);
    assert!(!fs::read_to_string(build.path("by-digest/index.json")).expect("an index").contains("ref.name"));
}

#[test]
fn an_update_takes_what_changed() {
    for compression in ["gzip", "zstd:chunked"] {
        let build = Build::new();
        pack_versions(&build, compression);
        push(&build, "v1-oci");
        build.wharf.ok(&["pull", "app", "out"]);
        assert_same(&build, "v1-oci", "out");
        push(&build, "v2-oci");
        let proxy = Proxy::start(build.server.address(), []);
        let ran = through(&build, &proxy).ok(&["pull", "app", "out"]).says(" from the layout, in ");
        let whole = fs::metadata(largest(&build.path("v2-oci"))).expect("the layer").len();
        println!("{compression}: {} bytes of {whole}", proxy.sent());
        assert!(proxy.sent() * 40 < whole, "{} bytes of {whole} were sent: {ran}", proxy.sent());
        // What only the old version had is gone.
        assert_same(&build, "v2-oci", "out");
        // Another client finds it right.
        let cell = Cell::new();
        let (from, to) = (format!("oci:{}:latest", build.path("out").display()), format!("dir:{}", cell.path("dir").display()));
        cell.run("skopeo", ["copy", &from, &to]).ok();
        if compression == "gzip" {
            let image = format!("{}:latest", build.path("out").display());
            cell.run("umoci", ["unpack", "--rootless", "--image", &image, &cell.path("bundle").display().to_string()]).ok();
            let unpacked = files(&cell.path("bundle/rootfs"));
            assert!(unpacked == files(&build.path("v2")), "another root file system was unpacked");
        }
    }
}

#[test]
fn an_update_comes_from_distribution_too() {
    let build = Build::with(Program::Distribution);
    pack_versions(&build, "gzip");
    push(&build, "v1-oci");
    build.wharf.ok(&["pull", "app", "out"]);
    push(&build, "v2-oci");
    let proxy = Proxy::start(build.server.address(), []);
    through(&build, &proxy).ok(&["pull", "app", "out"]);
    let whole = fs::metadata(largest(&build.path("v2-oci"))).expect("the layer").len();
    assert!(proxy.sent() * 40 < whole, "{} bytes of {whole} were sent", proxy.sent());
    assert_same(&build, "v2-oci", "out");
}

#[test]
fn damage_in_the_layout_is_noticed_and_fetched() {
    let build = Build::new();
    pack_versions(&build, "gzip");
    push(&build, "v1-oci");
    build.wharf.ok(&["pull", "app", "out"]);
    let layer = largest(&build.path("out"));
    let mut bytes = fs::read(&layer).expect("the layer");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40].fill(0);
    fs::write(&layer, &bytes).expect("damage it");
    // Its length is right, and by default that is all that is looked at.
    build.wharf.ok(&["pull", "app", "out"]).says("Nothing to do for app:latest");
    push(&build, "v2-oci");
    build.wharf.ok(&["pull", "app", "out"]).says("was not right with pieces of the layout, and is fetched whole");
    assert_same(&build, "v2-oci", "out");
    let layer = largest(&build.path("out"));
    let mut bytes = fs::read(&layer).expect("the layer");
    bytes[middle] ^= 1;
    fs::write(&layer, &bytes).expect("damage it");
    build.wharf.ok(&["pull", "app", "out", "--verify"]).says("differs from its digest, and is fetched again");
    assert_same(&build, "v2-oci", "out");
    // What is small is always read.
    let config = fs::read_dir(build.path("out/blobs/sha256")).expect("blobs").map(|entry| entry.expect("a blob").path());
    for small in config.filter(|path| fs::metadata(path).expect("its length").len() < 10_000) {
        let length = fs::metadata(&small).expect("its length").len();
        fs::write(&small, vec![b' '; usize::try_from(length).expect("a length")]).expect("damage it");
    }
    build.wharf.ok(&["pull", "app", "out"]);
    assert_same(&build, "v2-oci", "out");
}

#[test]
fn connections_may_break_all_the_time() {
    let build = Build::new();
    let image = Image::with_layers(&[24 * MIB, 10 * MIB, 900_000]);
    write_layout(&build.path("app-oci"), &[("latest", &image)]);
    push(&build, "app-oci");
    let at = [100, 1_000, 500_000, 5_000_000, 9_000_000, 20_000_000, 30_000_000];
    let proxy = Proxy::start(build.server.address(), at.map(Fault::CutAnswerAt));
    through(&build, &proxy).ok(&["pull", "app", "out"]).says("again in");
    assert_eq!(proxy.happened(), at.len() as u64);
    assert_holds(&build.path("out"), "latest", &image);
    // Bytes on their way when a connection ends are lost; nothing else is sent twice.
    println!("{} bytes for {}", proxy.sent(), 35 * MIB);
    assert!(proxy.sent() < 45 * MIB as u64, "{} bytes were sent", proxy.sent());
}

/// A registry with one image, whose layers are answered as `layer` says; it is told the request and which request for a layer it is.
fn scripted(image: &Image, layer: impl Fn(&Asked, usize, &[u8]) -> Reply + Send + Sync + 'static) -> Scripted {
    let image = image.clone();
    let asked_before = std::sync::atomic::AtomicUsize::new(0);
    Scripted::start(move |asked| {
        if asked.target.contains("/manifests/") {
            return Reply::new(200).header("Content-Type", OCI_MANIFEST).body(image.manifest.clone());
        }
        let Some((_, digest)) = asked.target.split_once("/blobs/") else { return Reply::new(200) };
        if digest == sha256(&image.config) {
            return Reply::new(200).body(image.config.clone());
        }
        match image.layers.iter().find(|layer| sha256(layer) == digest) {
            Some(bytes) => layer(asked, asked_before.fetch_add(1, std::sync::atomic::Ordering::SeqCst), bytes),
            None => Reply::new(404),
        }
    })
}

fn first_byte(asked: &Asked) -> Option<usize> {
    asked.header("range")?.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
}

/// The rest of a layer from the first byte asked for.
fn rest(asked: &Asked, layer: &[u8]) -> Reply {
    match first_byte(asked) {
        None => Reply::new(200).body(layer),
        Some(first) => {
            let range = format!("bytes {first}-{}/{}", layer.len() - 1, layer.len());
            Reply::new(206).header("Content-Range", range).body(&layer[first..])
        }
    }
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("wharf-pull-").tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn wharf(&self, registry: &Scripted) -> Wharf {
        Wharf::new(self.folder.path()).env("CONTAINER_REGISTRY_URL", &registry.address().to_string())
    }
}

#[test]
fn a_pull_that_failed_is_gone_on_with() {
    let (place, image) = (Place::new(), Image::with_layers(&[4 * MIB]));
    // The layout has another image, which is there before, in between and after.
    let other = image_for("amd64", json!({}));
    write_layout(&place.path("out"), &[("other", &other)]);
    let before = files(&place.path("out"));
    let broken = scripted(&image, |_, number, layer| match number {
        0 => Reply::new(200).body(layer).cut(3 * MIB),
        _ => Reply::new(404),
    });
    place.wharf(&broken).fails(&["pull", "app", "out"]);
    let mut between = files(&place.path("out"));
    between.retain(|path, _| !path.starts_with(".wharf-partial"));
    assert!(between == before, "the layout is another one after a failure");
    let whole = scripted(&image, |asked, _, layer| rest(asked, layer));
    place.wharf(&whole).ok(&["pull", "app", "out"]).says(" from an earlier attempt, in ");
    let first: Vec<_> = whole.asked().iter().filter_map(first_byte).collect();
    assert!(matches!(first.as_slice(), [at] if (MIB..=3 * MIB).contains(at)), "{first:?}");
    let after = files(&place.path("out"));
    assert!(before.iter().all(|(path, bytes)| path.ends_with("index.json") || after.get(path) == Some(bytes)));
    assert!(!after.keys().any(|path| path.starts_with(".wharf-partial")), "{:?}", after.keys());
    assert!(after.len() == before.len() + 3, "{:?}", after.keys());
}

/// Nothing is kept of blobs of which nothing came.
#[test]
fn a_failure_before_the_first_byte_leaves_no_file() {
    let (place, image) = (Place::new(), Image::with_layers(&[MIB, MIB]));
    let config = PathBuf::from(".wharf-partial").join(sha256(&image.config).replace(':', "-"));
    for answer in [Reply::new(404), Reply::new(200).body(*b"short")] {
        let broken = scripted(&image, move |_, _, _| answer.clone());
        let wharf = place.wharf(&broken);
        wharf.fails(&["pull", "app", "out"]);
        let left = files(&place.path("out"));
        assert!(left.keys().all(|path| *path == config), "{:?}", left.keys());
    }
}

#[test]
fn a_pull_that_was_killed_is_gone_on_with() {
    for signal in ["KILL", "INT"] {
        let (place, image) = (Place::new(), Image::with_layers(&[4 * MIB]));
        let stuck = scripted(&image, |_, _, layer| Reply::new(200).body(&layer[..3 * MIB]).length(layer.len() as u64));
        let mut command = place.wharf(&stuck).command(&["pull", "app", "out"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start a pull");
        let partial = place.path("out/.wharf-partial").join(sha256(&image.layers[0]).replace(':', "-"));
        eventually("most of the layer is there", || fs::metadata(&partial).is_ok_and(|file| file.len() == 3 * MIB as u64));
        let killed = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().expect("run kill");
        assert!(killed.success() && !child.wait().expect("its end").success());
        assert!(!place.path("out/index.json").exists());
        let whole = scripted(&image, |asked, _, layer| rest(asked, layer));
        place.wharf(&whole).ok(&["pull", "app", "out"]).says("1.0 MiB received, 3.0 MiB from an earlier attempt");
        assert_eq!(whole.asked().iter().filter_map(first_byte).collect::<Vec<_>>(), [3 * MIB]);
        assert_holds(&place.path("out"), "latest", &image);
    }
}

#[test]
fn what_an_earlier_attempt_left_may_be_wrong() {
    let (place, image) = (Place::new(), Image::with_layers(&[MIB]));
    let registry = scripted(&image, |asked, _, layer| rest(asked, layer));
    for left in [vec![0; 1000], vec![0; MIB], vec![0; MIB + 1]] {
        let _ = fs::remove_dir_all(place.path("out"));
        fs::create_dir_all(place.path("out/.wharf-partial")).expect("a folder");
        let partial = place.path("out/.wharf-partial").join(sha256(&image.layers[0]).replace(':', "-"));
        fs::write(partial, &left).expect("a partial file");
        fs::write(place.path("out/.wharf-partial/forgotten"), "x").expect("another");
        let ran = place.wharf(&registry).ok(&["pull", "app", "out"]);
        if left.len() <= MIB {
            ran.says("was not right with an earlier attempt, and is fetched whole");
        }
        assert_holds(&place.path("out"), "latest", &image);
    }
}

#[test]
fn a_registry_that_lies_brings_nothing_into_the_layout() {
    type Lie = fn(&Asked, &[u8]) -> Reply;
    let lies: [(&str, Lie); 5] = [
        ("other bytes", |_, layer| Reply::new(200).body(vec![7; layer.len()])),
        ("too few", |_, layer| Reply::new(200).body(&layer[1..])),
        ("too many", |_, layer| Reply::new(200).body([layer, b"x"].concat())),
        ("none", |_, _| Reply::new(204)),
        ("a part", |_, layer| Reply::new(206).header("Content-Range", "bytes 0-9/10").body(&layer[..10])),
    ];
    for (what, lie) in lies {
        let (place, image) = (Place::new(), Image::with_layers(&[300_000]));
        let other = image_for("amd64", json!({}));
        write_layout(&place.path("out"), &[("latest", &other)]);
        let registry = scripted(&image, move |asked, _, layer| lie(asked, layer));
        let ran = place.wharf(&registry).fails(&["pull", "app", "out"]);
        assert!(ran.stdout.is_empty(), "{what}: {ran}");
        let mut after = files(&place.path("out"));
        after.retain(|path, _| !path.starts_with(".wharf-partial"));
        assert_eq!(after.len(), other.blobs().count() + 3, "{what}: {:?}", after.keys());
        let layer = &sha256(&image.layers[0])[7..];
        assert!(!after.keys().any(|path| path.to_string_lossy().contains(layer)), "{what}: {:?}", after.keys());
        // What is left of the lie does no harm to a pull from a registry that tells the truth.
        let honest = scripted(&image, |asked, _, layer| rest(asked, layer));
        place.wharf(&honest).ok(&["pull", "app", "out"]);
        let pulled = files(&place.path("out"));
        assert!(pulled.get(&Path::new("blobs/sha256").join(layer)) == Some(&image.layers[0]), "{what}");
    }
}

/// A list of pieces is the registry's word, or that of whoever made the image: it may say anything.
#[test]
fn a_list_of_pieces_is_never_believed() {
    let build = Build::new();
    pack_versions(&build, "gzip");
    push(&build, "v1-oci");
    build.wharf.ok(&["pull", "app", "out"]);
    let layout = build.path("v2-oci");
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON") };
    let index = read(&layout.join("index.json"));
    let blob = |value: &Value| layout.join("blobs/sha256").join(&value.as_str().expect("a digest")[7..]);
    let manifest = read(&blob(&index["manifests"][0]["digest"]));
    let size = manifest["layers"][0]["size"].as_u64().expect("a size");
    let real = manifest["layers"][0]["annotations"]["dev.wharf.layer.pieces"].as_str().expect("a list").to_owned();
    let old = read(&build.path("out/index.json"));
    assert!(old["manifests"][0]["digest"] != index["manifests"][0]["digest"]);
    for lie in ["0:1".to_owned(), format!("{}:1", size - 1), format!("{size}:9"), "x".to_owned(), format!("0:{size}"), real] {
        let mut manifest = manifest.clone();
        manifest["layers"][0]["annotations"]["dev.wharf.layer.pieces"] = json!(lie);
        manifest["annotations"] = json!({"lie": lie});
        let bytes = manifest.to_string().into_bytes();
        write_blob(&layout, &bytes);
        let mut index = index.clone();
        index["manifests"][0]["digest"] = json!(sha256(&bytes));
        index["manifests"][0]["size"] = json!(bytes.len());
        fs::write(layout.join("index.json"), index.to_string()).expect("an index");
        push(&build, "v2-oci");
        let _ = fs::remove_dir_all(build.path("copy"));
        assert!(Command::new("cp").arg("-r").arg(build.path("out")).arg(build.path("copy")).status().expect("run cp").success());
        build.wharf.ok(&["pull", "app", "copy"]);
        let layer = blob(&manifest["layers"][0]["digest"]);
        let pulled = build.path("copy/blobs/sha256").join(layer.file_name().expect("a name"));
        assert!(fs::read(pulled).expect("the layer") == fs::read(&layer).expect("the layer"), "{lie}");
    }
}

#[test]
fn all_platforms_are_pulled_or_one() {
    let build = Build::new();
    let images = ["amd64", "arm64"].map(|architecture| image_for(architecture, json!({})));
    for (image, name) in images.iter().zip(["one-oci", "two-oci"]) {
        write_layout(&build.path(name), &[("latest", image)]);
        push(&build, name);
    }
    build.wharf.ok(&["pull", "app", "all"]);
    let all = files(&build.path("all"));
    assert_eq!(all.len(), 2 + 1 + 2 + images.iter().map(|image| image.blobs().count()).sum::<usize>(), "{:?}", all.keys());
    build.wharf.ok(&["pull", "app", "one", "--platform", "linux/arm64"]);
    assert_holds(&build.path("one"), "latest", &images[1]);
    let ran = build.wharf.fails(&["pull", "app", "none", "--platform", "linux/riscv64"]);
    ran.says("error: app:latest has no image for linux/riscv64").says("linux/amd64");
    assert!(!build.path("none").exists());
    let digest = format!("app@{}", images[0].digest);
    build.wharf.fails(&["pull", &digest, "none", "--platform", "linux/arm64"]).says("hint: it is for linux/amd64");
}

#[test]
fn what_cannot_be_pulled_changes_nothing() {
    let build = Build::new();
    let image = image_for("amd64", json!({}));
    write_layout(&build.path("app-oci"), &[("latest", &image)]);
    push(&build, "app-oci");
    build.wharf.fails(&["pull", "nosuch", "out"]).says("error: nosuch:latest not found at ");
    build.wharf.fails(&["pull", "app:1.0", "out"]).says("error: app:1.0 not found at ");
    build.wharf.fails(&["pull", "a b", "out"]).says("error: `a b` is no image's name");
    assert!(!build.path("out").exists());
    fs::create_dir(build.path("full"))
        .and_then(|()| fs::write(build.path("full/x"), "x"))
        .expect("a folder with something in it");
    build.wharf.fails(&["pull", "app", "full"]).says("error: full is no image layout or archive");
    build.wharf.fails(&["pull", "app", "full/x"]).says("it is not a folder");
    assert_eq!(files(&build.path("full")).len(), 1);
    build.wharf.fails(&["pull", "app"]).says("Usage: wharf pull").says("Example: wharf pull app:latest app-oci");
    build.wharf.fails(&["pull", "app", "out", "--name", ""]);
    // A layout that is called like the image does not stand in front of it.
    fs::rename(build.path("app-oci"), build.path("app")).expect("a layout called app");
    build.wharf.ok(&["pull", "app:latest", "out"]);
}

#[test]
fn a_full_disk_is_left_as_it_was() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tried: mounting a small file system takes root");
        return;
    }
    let build = Build::new();
    let image = Image::with_layers(&[12 * MIB, 12 * MIB]);
    write_layout(&build.path("app-oci"), &[("latest", &image)]);
    push(&build, "app-oci");
    fs::create_dir(build.path("small")).expect("a mount point");
    let mount = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).arg(build.path("small")).status().expect("run mount");
        assert!(done.success(), "{program}");
    };
    mount("mount", &["-t", "tmpfs", "-o", "size=16m", "tmpfs"]);
    let ran = build.wharf.run(&["pull", "app", "small/out"]);
    let left = fs::read_dir(build.path("small")).expect("the folder").count();
    mount("umount", &[]);
    ran.expect(1).says("error: cannot write ").says("caused by: No space left on device");
    assert_eq!(left, 0);
}

/// The most memory that a pull took, in bytes.
fn most_memory(wharf: &Wharf, arguments: &[&str]) -> u64 {
    let command = wharf.command(arguments);
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["-f", "%M"]).arg(command.get_program()).args(command.get_args()).current_dir(wharf.folder()).env_clear();
    timed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = Ran::of("time".to_owned(), timed.output().expect("run time")).expect(0);
    ran.stderr.lines().last().and_then(|line| line.parse::<u64>().ok()).expect("a number") << 10
}

#[test]
fn memory_does_not_grow_with_the_image() {
    if !Path::new("/usr/bin/time").exists() {
        eprintln!("not tried: there is no /usr/bin/time");
        return;
    }
    let build = Build::new();
    let image = Image::with_layers(&[160 * MIB, 60 * MIB, 60 * MIB, 60 * MIB]);
    write_layout(&build.path("app-oci"), &[("latest", &image)]);
    push(&build, "app-oci");
    let most = most_memory(&build.wharf, &["pull", "app", "out"]);
    println!("{} MiB", most >> 20);
    assert!(most < 64 << 20, "{most} bytes");
}

/// Blobs that a registry gives out from elsewhere, as those do that keep them in an object store: that is asked for ranges, and not told who asks.
/// One such store takes many ranges at once, the other answers with everything unless it is a single one.
#[test]
fn blobs_may_lie_elsewhere() {
    let build = Build::new();
    pack_versions(&build, "gzip");
    let behind = build.server.address();
    let whole = fs::metadata(largest(&build.path("v2-oci"))).expect("the layer").len();
    for takes_many in [true, false] {
        let store = Scripted::start(move |asked| {
            let mut asked = asked.clone();
            let is_refused = !takes_many && asked.header("range").is_some_and(|ranges| ranges.contains(','));
            asked.headers.retain(|(name, _)| !(is_refused && name.eq_ignore_ascii_case("range")));
            forward(behind, &asked)
        });
        let elsewhere = store.address();
        let registry = Scripted::start(move |asked| match asked.header("authorization") {
            None => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\""),
            Some(_) if asked.is("GET", "/blobs/") => {
                Reply::new(307).header("Location", format!("http://{elsewhere}{}?signature=x", asked.target))
            }
            Some(_) => forward(behind, asked),
        });
        let wharf = build.wharf.env("CONTAINER_REGISTRY_URL", &registry.address().to_string());
        let _ = fs::remove_dir_all(build.path("out"));
        for version in ["v1-oci", "v2-oci"] {
            push(&build, version);
            let asked_before = store.asked().len();
            let ran = wharf.ok(&["pull", "app", "out", "--creds", "user:secret"]);
            assert_same(&build, version, "out");
            let asked = store.asked().split_off(asked_before);
            assert!(!asked.is_empty() && asked.iter().all(|asked| asked.target.ends_with("?signature=x")), "{asked:#?}");
            assert!(asked.iter().all(|asked| asked.header("authorization").is_none()), "{asked:#?}");
            let ranges = asked.iter().filter_map(|asked| asked.header("range"));
            let several = ranges.clone().filter(|ranges| ranges.contains(',')).count();
            match version {
                "v1-oci" => assert_eq!(ranges.count(), 0, "{asked:#?}"),
                _ if takes_many => {
                    assert!(several > 0 && ranges.count() == asked.len() - 1, "all but the configuration: {asked:#?}");
                }
                _ => assert!(ranges.count() > several && several > 0, "{asked:#?}"),
            }
            if version == "v2-oci" {
                ran.says(" from the layout, in ");
                let last = asked.last().and_then(first_byte).expect("the last range");
                assert!(last > 0 && (last as u64) < whole, "{last}");
            }
        }
        assert!(
            registry
                .asked()
                .iter()
                .filter(|asked| asked.target.contains("/blobs/"))
                .all(|asked| asked.header("authorization").is_some())
        );
    }
}

/// A layer that is cut by nobody knows no pieces, and is fetched whole beside those that are there.
#[test]
fn layers_that_both_versions_have_are_not_fetched() {
    let build = Build::new();
    let shared = random(5 * MIB);
    let [one, two] = [0, 1].map(|_| Image::of_layers(vec![shared.clone(), random(50_000)]));
    write_layout(&build.path("one-oci"), &[("latest", &one)]);
    write_layout(&build.path("two-oci"), &[("latest", &two)]);
    push(&build, "one-oci");
    build.wharf.ok(&["pull", "app", "out"]);
    push(&build, "two-oci");
    let proxy = Proxy::start(build.server.address(), []);
    through(&build, &proxy).ok(&["pull", "app", "out"]).says("5.0 MiB from the layout");
    assert!(proxy.sent() < 80_000, "{} bytes were sent", proxy.sent());
    assert_holds(&build.path("out"), "latest", &two);
}
