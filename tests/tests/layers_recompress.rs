//! `wharf push --recompress`: layers of other tools come into another form, and what is in them stays as it is, byte for byte.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use wharf_tests::clients::{self, Containers, Layout, Tree, assert_whole};
use wharf_tests::{
    Build, DOCKER_MANIFEST, Fault, Image, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Proxy, Ran, RootFs, descriptor, eventually,
    image_of, random, run_tool, sha256, write_blob, write_index, write_layout,
};

const FORMS: [&str; 2] = ["gzip", "zstd:chunked"];
const ZSTD_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const PLAIN_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CUT: &str = "dev.wharf.layer.cut";
const CHUNKED: &str = "io.github.containers.zstd-chunked.manifest-checksum";

/// An image of layers that tools compressed: their archives, and what is stored of each with its media type.
fn foreign(architecture: &str, archives: &[&[u8]], stored: &[(&str, Vec<u8>)]) -> Image {
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Labels": {"org.example.random": hex::encode(random(8))}},
        "rootfs": {"type": "layers", "diff_ids": archives.iter().map(|archive| sha256(archive)).collect::<Vec<_>>()},
    });
    let config = config.to_string().into_bytes();
    let layer = |(media_type, bytes): &(&str, Vec<u8>)| descriptor(media_type, bytes);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, &config),
        "layers": stored.iter().map(layer).collect::<Vec<_>>(),
        "annotations": {"org.example.note": "stays"},
    });
    let manifest = manifest.to_string().into_bytes();
    let layers = stored.iter().map(|(_, bytes)| bytes.clone()).collect();
    Image { config, layers, digest: sha256(&manifest), manifest }
}

/// The same with one layer, in one stream of gzip.
fn gzipped(architecture: &str, archive: &[u8]) -> Image {
    foreign(architecture, &[archive], &[(OCI_LAYER, filter("gzip", &["-n", "-6", "-c"], archive))])
}

/// What a program makes of its standard input.
#[track_caller]
fn filter(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(clients::require(program));
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut stdin, input));
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{program}: {}", output.status);
        output.stdout
    })
}

/// What a layer of the registry holds, as the tools themselves decompress it.
#[track_caller]
fn decoded(build: &Build, image: &str, layer: &Value) -> Vec<u8> {
    let stored = build.repo(image).blob(layer["digest"].as_str().unwrap()).expect(200).body;
    match layer["mediaType"].as_str().unwrap() {
        OCI_LAYER => filter("gzip", &["-dc"], &stored),
        ZSTD_LAYER => filter("zstd", &["-dc"], &stored),
        other => panic!("a layer of type {other}"),
    }
}

fn tag_of(form: &str) -> &str {
    form.split(':').next().unwrap()
}

#[track_caller]
fn push(build: &Build, layout: &str, name: &str, form: &str) -> Ran {
    build.wharf.ok(&["push", layout, "--name", name, "--tag", tag_of(form), "--recompress", form])
}

/// The manifest that a push says it left under a tag, after asserting that it is there with all below it.
#[track_caller]
fn pushed(build: &Build, name: &str, form: &str, ran: &Ran) -> Value {
    let repo = build.repo(name);
    let digest = assert_whole(&repo, tag_of(form));
    assert_eq!(ran.pushed(), [(format!("{}/yocto/{name}:{}", build.server.address(), tag_of(form)), digest)], "{ran}");
    repo.manifest(tag_of(form)).json()
}

/// A tree with files of many sizes, long names, links and a file with holes; with names that every format takes.
fn tree(folder: &Path) -> RootFs {
    let root = RootFs::new(folder);
    root.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644, (0, 0));
    for (n, size) in [0, 1, 511, 512, 513, 4096, 70_000, 300_000, 2_500_000].into_iter().enumerate() {
        root.file(&format!("usr/lib/f{n}"), &random(size), 0o640, (n as u32, 100));
    }
    root.file(&format!("{}/{}", "folder-".repeat(14), "name-".repeat(18)), b"x", 0o644, (0, 0));
    root.hole("sparse", 3 << 20, &[(0, 5_000), (1 << 20, 70_000)]);
    root.link("bin", "usr/bin");
    root.directory("tmp", 0o1777, (0, 0));
    fs::hard_link(root.path("etc/passwd"), root.path("etc/passwd-")).unwrap();
    root.settle();
    root
}

/// Archives of a tree as tools make them, by what they are.
fn archives(build: &Build) -> Vec<(String, Vec<u8>)> {
    let root = tree(&build.path("root")).folder().display().to_string();
    let path = build.path("made.tar");
    let out = path.to_str().unwrap();
    let mut made: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |what: String| {
        made.push((what, fs::read(&path).unwrap()));
        fs::remove_file(&path).unwrap();
    };
    for format in ["gnu", "oldgnu", "ustar", "posix"] {
        for blocks in ["1", "20", "63"] {
            run_tool("tar", &["-C", &root, "-H", format, "-b", blocks, "-cf", out, "."], None);
            add(format!("tar {format} {blocks}"));
        }
    }
    for version in ["0.0", "0.1", "1.0"] {
        run_tool("tar", &["-C", &root, "-H", "posix", "-S", &format!("--sparse-version={version}"), "-cf", out, "."], None);
        add(format!("tar sparse {version}"));
    }
    run_tool("tar", &["-C", &root, "-H", "gnu", "-S", "-cf", out, "."], None);
    add("tar sparse of its own".to_owned());
    run_tool("tar", &["-C", &root, "-V", "a volume", "-cf", out, "."], None);
    add("tar with a label".to_owned());
    run_tool("tar", &["-cf", out, "-T", "/dev/null"], None);
    add("tar of nothing".to_owned());
    for format in ["pax", "ustar", "gnutar"] {
        run_tool("bsdtar", &["-C", &root, "--format", format, "--no-read-sparse", "-cf", out, "."], None);
        add(format!("bsdtar {format}"));
    }
    run_tool("bsdtar", &["-C", &root, "--format", "pax", "--read-sparse", "-cf", out, "."], None);
    add("bsdtar sparse".to_owned());
    for format in ["GNU", "PAX", "USTAR"] {
        let script =
            format!("import tarfile\nt=tarfile.open({out:?},'w',format=tarfile.{format}_FORMAT)\nt.add({root:?},'.')\nt.close()");
        run_tool("python3", &["-c", &script], None);
        add(format!("python {format}"));
    }
    let whole = made[0].1.clone();
    made.push(("blocks at the end missing".to_owned(), whole[..whole.len() - 1024].to_vec()));
    made.push(("one block at the end".to_owned(), whole[..whole.len() - 512].to_vec()));
    made.push(("a megabyte at the end".to_owned(), [whole.as_slice(), &vec![0; 1 << 20]].concat()));
    made
}

/// Whatever tool wrote the archive, and whatever it ends with: the layer is another one, the archive and the configuration stay.
#[test]
fn an_archive_of_any_tool_stays_as_it_is() {
    let build = Build::new();
    let mut with_table = 0;
    for (n, (what, archive)) in archives(&build).iter().enumerate() {
        let stored = match n % 3 {
            0 => (OCI_LAYER, filter("gzip", &["-n", "-1", "-c"], archive)),
            1 => (ZSTD_LAYER, filter("zstd", &["-1", "-c"], archive)),
            _ => (PLAIN_LAYER, archive.clone()),
        };
        let image = foreign("amd64", &[archive], &[stored]);
        let (layout, name) = (format!("l{n}-oci"), format!("n{n}"));
        write_layout(&build.path(&layout), &[("latest", &image)]);
        for form in FORMS {
            let ran = push(&build, &layout, &name, form);
            let manifest = pushed(&build, &name, form, &ran);
            let digest = ran.pushed()[0].1.clone();
            assert_ne!(digest, image.digest, "{what}");
            let ran = ran.says(&format!("recompressed, which changes its digest: {} -> {digest}\n", image.digest));
            let layer = &manifest["layers"][0];
            assert_eq!(layer["mediaType"], if form == "gzip" { OCI_LAYER } else { ZSTD_LAYER }, "{what}");
            assert!(layer["annotations"][CUT].is_string(), "{what}: {layer}");
            assert!(decoded(&build, &name, layer) == *archive, "{what} in {form} is another archive");
            // All else is what it was, to the byte.
            assert_eq!(manifest["config"], descriptor(OCI_CONFIG, &image.config), "{what}");
            assert_eq!(manifest["annotations"]["org.example.note"], "stays", "{what}");
            if form == "zstd:chunked" {
                let has_table = layer["annotations"][CHUNKED].is_string();
                with_table += usize::from(has_table);
                assert_eq!(has_table, !what.contains("sparse") && !what.contains("label"), "{what}: {ran}");
                if !has_table {
                    ran.says("has no table of contents, and podman fetches it whole");
                }
            }
        }
    }
    assert!(with_table > 15, "{with_table}");
}

/// What is of a form already stays the layer that it is: what `pack` wrote, and what podman did.
#[test]
fn what_is_of_the_form_is_left_as_it_is() {
    let build = Build::new();
    tree(&build.path("root"));
    let mut layers = Vec::new();
    for form in FORMS {
        let layout = format!("{}-oci", tag_of(form));
        build.wharf.ok(&["pack", "root", &layout, "--arch", "amd64", "--compression", form]);
        let ran = push(&build, &layout, "packed", form).is_silent_on("recompressed");
        let packed = build.wharf.ok(&["push", &layout, "--name", "as-is", "--tag", tag_of(form)]);
        assert_eq!(ran.pushed()[0].1, packed.pushed()[0].1);
        layers.push(pushed(&build, "packed", form, &ran)["layers"].clone());
    }
    // From one form to the other it comes to what `pack` would have written.
    let over = push(&build, "gzip-oci", "over", "zstd:chunked").says("recompressed, which changes its digest");
    assert_eq!(pushed(&build, "over", "zstd:chunked", &over)["layers"], layers[1]);
    let back = push(&build, "zstd-oci", "over", "gzip").says("recompressed, which changes its digest");
    assert_eq!(pushed(&build, "over", "gzip", &back)["layers"], layers[0]);

    let podman = Containers::new("podman");
    let archive = Tree::new(&podman.cell.path("tree")).busybox("amd64").file("data", &random(50_000)).pack();
    write_layout(&podman.cell.path("layout"), &[("latest", &gzipped("amd64", &fs::read(archive).unwrap()))]);
    let id = podman.run(["pull", "--quiet", &format!("oci:{}:latest", podman.cell.path("layout").display())]).ok();
    let to = format!("docker://{}/yocto/podmans:1", build.server.address());
    podman.run(["push", "--quiet", "--tls-verify=false", "--compression-format=zstd:chunked", &id, &to]).ok();
    build.wharf.ok(&["pull", "podmans:1", "podmans-oci"]);
    let ran = push(&build, "podmans-oci", "again", "zstd:chunked").is_silent_on("recompressed");
    assert_eq!(ran.pushed()[0].1, assert_whole(&build.repo("podmans"), "1"));
    assert!(pushed(&build, "again", "zstd:chunked", &ran)["layers"][0]["annotations"][CUT].is_null());
}

/// Of an image with layers of both kinds, and of several of one content, each is what it has to be.
#[test]
fn only_layers_of_others_are_written_anew() {
    let build = Build::new();
    tree(&build.path("root"));
    build.wharf.ok(&["pack", "root", "base-oci", "--arch", "amd64", "--compression", "zstd:chunked"]);
    let read = |layout: &str, digest: &Value| {
        fs::read(build.path(layout).join("blobs/sha256").join(&digest.as_str().unwrap()[7..])).unwrap()
    };
    let list: Value = serde_json::from_slice(&fs::read(build.path("base-oci/index.json")).unwrap()).unwrap();
    let base: Value = serde_json::from_slice(&read("base-oci", &list["manifests"][0]["digest"])).unwrap();
    let own = read("base-oci", &base["layers"][0]["digest"]);
    let root = build.path("root").display().to_string();
    let [upper, plain] = ["etc", "usr"].map(|part| {
        let path = build.path("part.tar");
        run_tool("tar", &["-C", &root, "-cf", path.to_str().unwrap(), part], None);
        fs::read(path).unwrap()
    });
    let first = filter("zstd", &["-dc"], &own);
    let other = (OCI_LAYER, filter("gzip", &["-n", "-c"], &upper));
    let image = foreign(
        "amd64",
        &[&first, &upper, &plain, &upper],
        &[(ZSTD_LAYER, own), other.clone(), (PLAIN_LAYER, plain.clone()), other],
    );
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest["layers"][0] = base["layers"][0].clone();
    // What others noted of a layer stays with it.
    manifest["layers"][1]["annotations"] = json!({"org.example.layer": "mine", CUT: "a lie"});
    let manifest = manifest.to_string().into_bytes();
    let image = Image { digest: sha256(&manifest), manifest, ..image };
    write_layout(&build.path("mixed-oci"), &[("latest", &image)]);
    let ran = push(&build, "mixed-oci", "mixed", "zstd:chunked");
    let new = pushed(&build, "mixed", "zstd:chunked", &ran);
    assert_eq!(new["layers"][0], base["layers"][0]);
    for (n, archive) in [&first, &upper, &plain, &upper].into_iter().enumerate() {
        assert!(decoded(&build, "mixed", &new["layers"][n]) == *archive, "layer {n}");
        assert!(new["layers"][n]["annotations"][CHUNKED].is_string(), "layer {n}");
    }
    assert_eq!(new["layers"][1]["annotations"]["org.example.layer"], "mine");
    assert_eq!(new["layers"][1]["digest"], new["layers"][3]["digest"]);
    assert_eq!(new["config"], descriptor(OCI_CONFIG, &image.config));
}

/// An index of two platforms, given as one and as two images of a layout; and an image in Docker's types.
#[test]
fn several_manifests_are_all_rewritten() {
    let build = Build::new();
    let layout = Layout::make(build.folder());
    let originals = [&layout.amd64, &layout.arm64];
    for form in FORMS {
        let ran = push(&build, "layout:multi", "multi", form);
        let list = pushed(&build, "multi", form, &ran);
        let ran = ran.says(&layout.index_digest());
        for (n, architecture) in ["amd64", "arm64"].iter().enumerate() {
            let entry = &list["manifests"][n];
            assert_eq!(entry["platform"], json!({"architecture": architecture, "os": "linux"}));
            assert_ne!(entry["digest"], originals[n].digest);
            let new = entry["digest"].as_str().unwrap();
            assert!(ran.stderr.contains(&format!("{} -> {new}", originals[n].digest)), "{ran}");
            let manifest = build.repo("multi").manifest(new).json();
            assert_eq!(manifest["config"], descriptor(OCI_CONFIG, &originals[n].config));
            assert!(decoded(&build, "multi", &manifest["layers"][0]) == fs::read(&layout.tars[n]).unwrap());
        }
        // The same two as images of their own come to an index of both.
        let two = [("", &layout.amd64), ("", &layout.arm64)];
        write_layout(&build.path("two-oci"), &two);
        let ran = push(&build, "two-oci", "two", form);
        let platforms = build.platforms("two", tag_of(form));
        let expected = list["manifests"].as_array().unwrap().iter().map(|entry| entry["digest"].as_str().unwrap().to_owned());
        assert_eq!(platforms.into_iter().map(|(_, digest)| digest).collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{ran}");
        pushed(&build, "two", form, &ran);
    }

    let mut docker: Value = serde_json::from_slice(&layout.amd64.manifest).unwrap();
    docker["mediaType"] = json!(DOCKER_MANIFEST);
    docker["config"]["mediaType"] = json!("application/vnd.docker.container.image.v1+json");
    docker["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar.gzip");
    let docker = docker.to_string().into_bytes();
    for blob in layout.amd64.blobs().chain([&docker]) {
        write_blob(&build.path("docker-oci"), blob);
    }
    write_index(&build.path("docker-oci"), &[descriptor(DOCKER_MANIFEST, &docker)]);
    let ran = push(&build, "docker-oci", "docker", "zstd:chunked");
    let new = pushed(&build, "docker", "zstd:chunked", &ran);
    assert_eq!((&new["mediaType"], &new["config"]["mediaType"]), (&OCI_MANIFEST.into(), &OCI_CONFIG.into()));
    build.repo("docker").manifest("zstd").expect_header("Content-Type", OCI_MANIFEST);
    assert!(decoded(&build, "docker", &new["layers"][0]) == fs::read(&layout.tars[0]).unwrap());
}

/// What is no layer, or not the one that the configuration tells of, is named, and nothing is sent; a layout is never touched.
#[test]
fn what_cannot_be_recompressed_is_not_pushed() {
    let build = Build::new();
    let archive = fs::read(Tree::new(&build.path("tree")).file("a", &random(300_000)).pack()).unwrap();
    let layer = filter("gzip", &["-n", "-c"], &archive);
    let mut flipped = layer.clone();
    flipped[150_000] ^= 1;
    let cases = [
        ("other-oci", foreign("amd64", &[b"another"], &[(OCI_LAYER, layer.clone())]), "and should be sha256:"),
        ("noise-oci", foreign("amd64", &[&archive], &[(OCI_LAYER, random(5_000))]), "cannot be recompressed"),
        ("short-oci", foreign("amd64", &[&archive], &[(OCI_LAYER, layer[..100_000].to_vec())]), "cannot be recompressed"),
        ("flipped-oci", foreign("amd64", &[&archive], &[(OCI_LAYER, flipped)]), "cannot be recompressed"),
        ("few-oci", foreign("amd64", &[], &[(OCI_LAYER, layer.clone())]), "its configuration tells of 0"),
    ];
    for (layout, image, says) in &cases {
        write_layout(&build.path(layout), &[("latest", image)]);
        for form in FORMS {
            let ran = build.wharf.fails(&["push", layout, "--tag", "1", "--recompress", form]).says(says);
            assert!(ran.stdout.is_empty(), "{ran}");
        }
    }
    // Bytes that are not those of the digest.
    let image = gzipped("amd64", &archive);
    write_layout(&build.path("lie-oci"), &[("latest", &image)]);
    let blob = build.path("lie-oci/blobs/sha256").join(&sha256(&image.layers[0])[7..]);
    fs::write(&blob, vec![0; image.layers[0].len()]).unwrap();
    build.wharf.fails(&["push", "lie-oci", "--tag", "1", "--recompress", "gzip"]);
    fs::remove_file(&blob).unwrap();
    build.wharf.fails(&["push", "lie-oci", "--tag", "1", "--recompress", "gzip"]);
    for form in ["lz4", "zstd", "GZIP"] {
        let ran = build.wharf.fails(&["push", "few-oci", "--recompress", form]);
        ran.says(&format!("invalid value '{form}' for '--recompress <FORM>'")).says("[possible values: gzip, zstd:chunked]");
    }
    assert!(build.nothing_was_sent());

    // An artifact has no layers, whatever it calls its parts.
    let part = random(2_000);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/x-example",
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"), "layers": [descriptor("application/x-example", &part)],
    });
    let manifest = manifest.to_string().into_bytes();
    let artifact = Image { config: b"{}".to_vec(), layers: vec![part], digest: sha256(&manifest), manifest };
    write_layout(&build.path("artifact-oci"), &[("latest", &artifact)]);
    let ran = push(&build, "artifact-oci", "artifact", "gzip").is_silent_on("recompressed");
    assert_eq!(ran.pushed()[0].1, artifact.digest);
}

/// Below a folder, by path.
fn names(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// A push that is killed while it sends leaves the tag as it was; the next one sends the same image, and takes away what the former left on
/// the disk. A line that breaks does no harm.
#[test]
fn an_interrupted_push_leaves_nothing_broken() {
    let build = Build::new();
    let temporary = build.path("temporary");
    fs::create_dir(&temporary).unwrap();
    let archive = fs::read(Tree::new(&build.path("tree")).file("a", &random(6 << 20)).pack()).unwrap();
    let old = image_of(json!({"os": "linux", "architecture": "amd64"}), json!({}), vec![random(2_000)]);
    write_layout(&build.path("old-oci"), &[("latest", &old)]);
    build.wharf.ok(&["push", "old-oci", "--name", "app", "--tag", "zstd"]);
    let image = gzipped("amd64", &archive);
    write_layout(&build.path("app-oci"), &[("latest", &image)]);
    let wharf = build.wharf.env("TMPDIR", temporary.to_str().unwrap());
    let arguments = ["push", "app-oci", "--tag", "zstd", "--recompress", "zstd:chunked"];
    for signal in ["KILL", "INT"] {
        let proxy = Proxy::start(build.server.address(), [Fault::StallAt(2 << 20)]);
        let mut command = wharf.env("CONTAINER_REGISTRY_URL", &proxy.address().to_string()).command(&arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the line is stuck", || proxy.happened() == 1);
        // What it works with is safe from another one, whose own is gone.
        let used = names(&temporary);
        assert_eq!(used.len(), 1);
        wharf.ok(&["push", "app-oci", "--name", "other", "--tag", "1", "--recompress", "gzip"]);
        assert_eq!(names(&temporary), used);
        assert!(used[0].join("layout/index.json").is_file());
        run_tool("kill", &[&format!("-{signal}"), &child.id().to_string()], None);
        assert!(!child.wait().unwrap().success());
        assert_eq!(assert_whole(&build.repo("app"), "zstd"), old.digest);
    }
    let proxy = Proxy::start(build.server.address(), [Fault::CutAt(3 << 20), Fault::CutAnswer("PUT ")]);
    let ran = wharf.env("CONTAINER_REGISTRY_URL", &proxy.address().to_string()).ok(&arguments);
    assert_eq!(proxy.happened(), 2, "{ran}");
    assert_eq!(names(&temporary), Vec::<PathBuf>::new(), "{ran}");
    let new = assert_whole(&build.repo("app"), "zstd");
    assert_eq!(ran.pushed()[0].1, new);
    // Once more there is nothing to send.
    let again = wharf.ok(&arguments);
    assert_eq!(again.pushed()[0].1, new);
    let layer = build.repo("app").manifest("zstd").json()["layers"][0].clone();
    assert!(decoded(&build, "app", &layer) == archive);
}

/// Where there is no room for the other form, that is said, and nothing is sent.
#[test]
fn a_full_disk_is_told_of() {
    let build = Build::new();
    let archive = fs::read(Tree::new(&build.path("tree")).file("a", &random(6 << 20)).pack()).unwrap();
    write_layout(&build.path("app-oci"), &[("latest", &gzipped("amd64", &archive))]);
    let small = build.path("small").display().to_string();
    fs::create_dir(&small).unwrap();
    run_tool("mount", &["-t", "tmpfs", "-o", "size=2m", "tmpfs", &small], None);
    let ran = build.wharf.env("TMPDIR", &small).run(&["push", "app-oci", "--tag", "1", "--recompress", "gzip"]);
    let left = names(Path::new(&small)).len();
    run_tool("umount", &[&small], None);
    ran.expect(1).says("No space left on device");
    assert_eq!(left, 0);
    assert!(build.nothing_was_sent());
}
