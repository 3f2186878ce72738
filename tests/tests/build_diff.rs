//! `wharf diff`: what changed between two images, wherever they are.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use wharf_layers::tar::TarReader;
use wharf_layers::{Form, LayerWriter};
use wharf_tests::{
    Asked, Build, Fault, Image, OCI_CONFIG, OCI_MANIFEST, Proxy, RootFs, Scripted, clients, descriptor, forward, image_of, index,
    random, run_tool, sha256, write_blob, write_index, write_layout,
};

/// An archive of a folder that `fill` puts files into; nothing in it but names, modes and content differs from one time to the next.
fn layer(fill: impl FnOnce(&Path)) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (tree, archive) = (folder.path().join("tree"), folder.path().join("layer.tar"));
    fs::create_dir(&tree).unwrap();
    fill(&tree);
    let tar = Command::new(clients::require("tar"))
        .args(["--numeric-owner", "--owner=0", "--group=0", "--mtime=@1700000000", "--sort=name", "--format=gnu", "-cf"])
        .arg(&archive)
        .arg("-C")
        .arg(&tree)
        .arg(".")
        .status();
    assert!(tar.unwrap().success());
    fs::read(archive).unwrap()
}

/// Writes a file that only its owner may write.
fn file(tree: &Path, name: &str, content: &[u8]) {
    let path = tree.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
}

fn status(packages: &[(&str, &str)]) -> Vec<u8> {
    let stanza = |(name, version): &(&str, &str)| {
        format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n")
    };
    packages.iter().map(stanza).collect::<String>().into_bytes()
}

/// The layer that both versions of [`versions`] have.
fn base() -> Vec<u8> {
    layer(|tree| {
        file(tree, "var/lib/dpkg/status", &status(&[("base", "1.0"), ("old", "1"), ("ssl", "3.0.1")]));
        file(tree, "etc/app.conf", b"x=1\n");
        file(tree, "etc/gone", &[0; 2048]);
        file(tree, "usr/share/doc/a", b"a");
        file(tree, "usr/share/doc/b", b"b");
        file(tree, "usr/bin/tool", b"tool");
        symlink("tool", tree.join("usr/bin/link")).unwrap();
    })
}

/// What the second version changes.
fn changes() -> Vec<u8> {
    layer(|tree| {
        file(tree, "var/lib/dpkg/status", &status(&[("base", "1.0"), ("new", "2"), ("ssl", "3.0.2")]));
        file(tree, "etc/app.conf", b"x=2\ny=3\n");
        file(tree, "etc/.wh.gone", b"");
        file(tree, "usr/share/doc/.wh..wh..opq", b"");
        file(tree, "usr/share/doc/c", &[0; 3000]);
        file(tree, "usr/bin/tool", b"tool");
        fs::set_permissions(tree.join("usr/bin/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("other", tree.join("usr/bin/link")).unwrap();
    })
}

fn image(labels: Value, layers: Vec<Vec<u8>>) -> Image {
    image_of(json!({"architecture": "amd64", "os": "linux"}), labels, layers)
}

/// Two versions of an image: one layer, and the same with another on top.
fn versions() -> (Image, Image) {
    let label = |version: &str| json!({"org.opencontainers.image.version": version, "same": "1"});
    (image(label("1.0"), vec![base()]), image(label("1.1"), vec![base(), changes()]))
}

/// Layouts of both, `a` and `b` in the build directory.
fn layouts(build: &Build, (a, b): &(Image, Image)) {
    write_layout(&build.path("a-oci"), &[("latest", a)]);
    write_layout(&build.path("b-oci"), &[("latest", b)]);
}

/// How often a blob was asked for.
fn fetched(build: &Build, blob: &[u8]) -> usize {
    let digest = sha256(blob);
    build.server.log().lines().filter(|line| line.contains("\"method\":\"GET\"") && line.contains(&digest)).count()
}

fn paths(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect()
}

#[test]
fn two_layouts_at_a_glance() {
    let build = Build::new();
    let images = versions();
    layouts(&build, &images);
    let ran = build.wharf.ok(&["diff", "a-oci", "b-oci"]);
    let size = |length: usize| format!("{:.1} KiB", f64::from(u32::try_from(length).unwrap()) / 1024.0);
    let (shared, new) = (size(images.0.layers[0].len()), size(images.1.layers[1].len()));
    let expected = format!(
        "A: a-oci {}\nB: b-oci {}\n\n\
         linux/amd64\n\
         \x20 Config    1 difference\n\
         \x20 Packages  1 added, 1 removed, 1 changed (dpkg)\n\
         \x20 Files     1 added (2.9 KiB), 3 removed (2.0 KiB), 4 altered (233 B before, 237 B after)\n\
         \x20 Layers    1 shared ({shared}), 1 new ({new})\n\
         \x20 Update    {new} to fetch, in whole layers\n\
         \nConfig:\n\
         \x20 ~ label org.opencontainers.image.version: 1.0 -> 1.1\n\
         \nPackages:\n\
         \x20 + new:amd64 2\n\
         \x20 - old:amd64 1\n\
         \x20 ~ ssl:amd64 3.0.1 -> 3.0.2\n\
         \nFiles:\n\
         \x20 ~ /etc/app.conf  4 B -> 8 B\n\
         \x20 - /etc/gone  2.0 KiB\n\
         \x20 ~ /usr/bin/link  target tool -> other\n\
         \x20 ~ /usr/bin/tool  mode 0644 -> 4755\n\
         \x20 - /usr/share/doc/a  1 B\n\
         \x20 - /usr/share/doc/b  1 B\n\
         \x20 + /usr/share/doc/c  2.9 KiB\n\
         \x20 ~ /var/lib/dpkg/status  content, 229 B\n",
        images.0.digest, images.1.digest
    );
    assert_eq!(ran.stdout, expected);
    assert_eq!(ran.stderr, "");
    let summary = build.wharf.ok(&["diff", "--summary", "a-oci", "b-oci"]).stdout;
    assert_eq!(summary, expected.split_once("\n\nConfig:").unwrap().0.to_owned() + "\n");
}

#[test]
fn by_tag_the_shared_layer_comes_once_and_nothing_comes_for_nothing() {
    let build = Build::new();
    let images = versions();
    layouts(&build, &images);
    build.wharf.ok(&["push", "a-oci", "--name", "app", "--tag", "1.0"]);
    build.wharf.ok(&["push", "b-oci", "--name", "app", "--tag", "1.1"]);
    let found = build.wharf.ok(&["diff", "app:1.0", "app:1.1", "--json"]).json();
    assert_eq!((&found["a"]["name"], &found["b"]["name"]), (&json!("app:1.0"), &json!("app:1.1")));
    assert_eq!(found["differ"], true);
    let [one] = found["images"].as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!(one["platform"], "linux/amd64");
    assert_eq!(paths(&one["files"]["added"]), ["/usr/share/doc/c"]);
    assert_eq!(paths(&one["files"]["removed"]), ["/etc/gone", "/usr/share/doc/a", "/usr/share/doc/b"]);
    assert_eq!(paths(&one["files"]["altered"]), ["/etc/app.conf", "/usr/bin/link", "/usr/bin/tool", "/var/lib/dpkg/status"]);
    assert_eq!(one["files"]["altered"][2]["b"]["mode"], "4755");
    assert_eq!(one["packages"]["changed"], json!([{"name": "ssl", "architecture": "amd64", "a": "3.0.1", "b": "3.0.2"}]));
    assert_eq!(one["packages"]["a"], json!({"source": "dpkg", "count": 3}));
    let label = "org.opencontainers.image.version";
    assert_eq!(one["config"], json!([{"what": "label", "name": label, "a": "1.0", "b": "1.1"}]));
    let (shared, new) = (images.0.layers[0].len(), images.1.layers[1].len());
    let update = json!({"layers_shared": 1, "layers_shared_size": shared, "layers_new": 1, "layers_new_size": new, "pieces_new_size": null});
    assert_eq!(one["update"], update);
    assert_eq!((fetched(&build, &images.0.layers[0]), fetched(&build, &images.1.layers[1])), (1, 1));
    // A layer that lies here need not come from there.
    build.wharf.ok(&["diff", "app:1.0", "b-oci"]);
    assert_eq!(fetched(&build, &images.0.layers[0]), 1);
    // With the same layers nothing of them is read.
    let relabelled = image(json!({"other": "x"}), images.1.layers.clone());
    write_layout(&build.path("c-oci"), &[("latest", &relabelled)]);
    build.wharf.ok(&["push", "c-oci", "--name", "app", "--tag", "1.2"]);
    let same = build.wharf.ok(&["diff", "app:1.1", "app:1.2", "--json"]).json();
    assert_eq!((&same["images"][0]["files"]["altered"], &same["images"][0]["packages"]["changed"]), (&json!([]), &json!([])));
    assert_eq!((&same["differ"], same["images"][0]["config"].as_array().unwrap().len()), (&json!(true), 3));
    assert_eq!(fetched(&build, &images.1.layers[1]), 1);
}

#[test]
fn the_exit_code_tells_on_request() {
    let build = Build::new();
    layouts(&build, &versions());
    build.wharf.run(&["diff", "--exit-code", "a-oci", "b-oci"]).expect(2);
    let same = build.wharf.run(&["diff", "--exit-code", "a-oci", "a-oci"]).expect(0);
    assert!(same.stdout.contains("Files     the same") && same.stdout.contains("nothing to fetch"), "{same}");
    assert_eq!(build.wharf.ok(&["diff", "a-oci", "a-oci", "--json"]).json()["differ"], false);
    let usage = build.wharf.fails(&["diff", "a-oci"]);
    usage.says("Usage:").says("wharf diff app:1.0 app:1.1");
}

#[test]
fn platforms_are_compared_with_their_like() {
    let build = Build::new();
    let of = |architecture: &str, content: &[u8]| {
        let layers = vec![layer(|tree| file(tree, "x", content))];
        image_of(json!({"architecture": architecture, "os": "linux"}), json!({}), layers)
    };
    let write = |name: &str, images: &[(&str, &Image)]| {
        let folder = build.path(name);
        let children: Vec<_> = images.iter().map(|(architecture, image)| image.descriptor(architecture)).collect();
        for (_, image) in images {
            image.blobs().chain([&image.manifest]).for_each(|blob| write_blob(&folder, blob));
        }
        let index = index(&children);
        write_blob(&folder, &index);
        write_index(&folder, &[descriptor(wharf_tests::OCI_INDEX, &index)]);
    };
    let (amd, amd_2, arm, riscv) = (of("amd64", b"1"), of("amd64", b"12"), of("arm64", b"1"), of("riscv64", b"1"));
    write("a-oci", &[("amd64", &amd), ("arm64", &arm), ("riscv64", &riscv)]);
    write("b-oci", &[("arm64", &arm), ("amd64", &amd_2)]);
    let found = build.wharf.ok(&["diff", "a-oci", "b-oci", "--json"]).json();
    assert_eq!((&found["platforms_removed"], &found["platforms_added"]), (&json!(["linux/riscv64"]), &json!([])));
    let altered: Vec<_> =
        found["images"].as_array().unwrap().iter().map(|one| (&one["platform"], paths(&one["files"]["altered"]))).collect();
    assert_eq!(altered, [(&json!("linux/amd64"), vec!["/x"]), (&json!("linux/arm64"), vec![])]);
    let text = build.wharf.ok(&["diff", "a-oci", "b-oci"]).stdout;
    assert!(text.contains("Only A is for linux/riscv64\n"), "{text}");
    let one = build.wharf.ok(&["diff", "--platform", "linux/arm64", "a-oci", "b-oci", "--json", "--exit-code"]).json();
    assert_eq!(one["differ"], false);
    build.wharf.fails(&["diff", "--platform", "linux/riscv64", "a-oci", "b-oci"]).says("has no image for linux/riscv64");
    write("c-oci", &[("riscv64", &riscv), ("arm", &of("arm", b"1"))]);
    build.wharf.fails(&["diff", "b-oci", "c-oci"]).says("no platform in common");
    let alone = build.path("d-oci");
    write_layout(&alone, &[("latest", &arm)]);
    write_layout(&build.path("e-oci"), &[("latest", &amd)]);
    let other = build.wharf.ok(&["diff", "d-oci", "e-oci"]).stdout;
    assert!(other.contains("~ architecture: arm64 -> amd64"), "two single images are compared whatever they run on: {other}");
}

/// A layer as zstd:chunked, with its descriptor.
fn chunked(archive: &[u8]) -> (Vec<u8>, Value) {
    let mut bytes = Vec::new();
    let mut writer = LayerWriter::new(&mut bytes, Form::ZSTD_CHUNKED, Form::ZSTD_CHUNKED.cut(), 1).unwrap();
    let mut reader = TarReader::new(archive);
    let mut content = Vec::new();
    while let Some(member) = reader.next().unwrap() {
        writer.member(&member.raw, &member.entry).unwrap();
        content.clear();
        reader.read_to_end(&mut content).unwrap();
        writer.content(&content).unwrap();
    }
    content.clear();
    reader.trailer().read_to_end(&mut content).unwrap();
    writer.raw(&content).unwrap();
    let written = writer.finish().unwrap();
    let descriptor = serde_json::to_value(&written.descriptor).unwrap();
    (bytes, descriptor)
}

/// An image of one layer that is zstd:chunked.
fn chunked_image(archive: &[u8]) -> Image {
    let (bytes, layer) = chunked(archive);
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [sha256(archive)]},
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG, &config), "layers": [layer],
    });
    let manifest = manifest.to_string().into_bytes();
    let digest = sha256(&manifest);
    Image { config, layers: vec![bytes], manifest, digest }
}

#[test]
fn a_table_of_contents_spares_the_layer_and_pieces_tell_what_an_update_costs() {
    let build = Build::new();
    let large = random(3_000_000);
    let tree = |version: &'static str, extra: &'static [u8]| {
        let large = large.clone();
        layer(move |tree| {
            file(tree, "var/lib/dpkg/status", &status(&[("app", version)]));
            file(tree, "large", &large);
            file(tree, "small", extra);
        })
    };
    let (a, b) = (tree("1", b"one"), tree("2", b"three"));
    let images = (chunked_image(&a), chunked_image(&b));
    layouts(&build, &images);
    build.wharf.ok(&["push", "a-oci", "--name", "app", "--tag", "1"]);
    build.wharf.ok(&["push", "b-oci", "--name", "app", "--tag", "2"]);
    let proxy = Proxy::start(build.server.address(), []);
    let through = build.wharf.env("CONTAINER_REGISTRY_URL", &proxy.address().to_string());
    let found = through.ok(&["diff", "app:1", "app:2", "--json"]).json();
    let one = &found["images"][0];
    assert_eq!(paths(&one["files"]["altered"]), ["/small", "/var/lib/dpkg/status"]);
    assert_eq!(one["packages"]["changed"], json!([{"name": "app", "architecture": "amd64", "a": "1", "b": "2"}]));
    let pieces = one["update"]["pieces_new_size"].as_u64().unwrap();
    assert!((1..100_000).contains(&pieces), "{}", one["update"]);
    assert_eq!(one["update"]["layers_new_size"], json!(images.1.layers[0].len()));
    let whole = |image: &Image| {
        let digest = sha256(&image.layers[0]);
        build.server.log().lines().any(|line| line.contains("GET") && line.contains(&digest) && line.contains("\"status\":200"))
    };
    assert!(!whole(&images.0) && !whole(&images.1), "no layer was fetched whole: {}", build.server.log());
    let text = build.wharf.ok(&["diff", "app:1", "app:2"]).stdout;
    assert!(text.contains("to fetch in pieces, "), "{text}");
}

/// Bytes of layers that were asked for, and how many requests asked for some.
fn asked_for(asked: &[Asked], sizes: &BTreeMap<String, u64>) -> (u64, usize) {
    let bytes = asked.iter().filter_map(|asked| {
        let size = sizes.get(asked.target.rsplit_once('/')?.1)?;
        let Some(ranges) = asked.header("range") else { return Some(*size) };
        let length = |range: &str| {
            let (first, last) = range.split_once('-').unwrap();
            last.parse::<u64>().unwrap() + 1 - first.parse::<u64>().unwrap()
        };
        Some(ranges.strip_prefix("bytes=").unwrap().split(',').map(length).sum())
    });
    let bytes: Vec<u64> = bytes.collect();
    (bytes.iter().sum(), bytes.len())
}

/// What it says that an update costs is what a pull then fetches: also of content that comes twice, and of a layer that tells no pieces.
#[test]
fn what_an_update_costs_is_what_a_pull_fetches() {
    for compression in ["gzip", "zstd:chunked"] {
        let build = Build::new();
        let contents: Vec<_> = (0..60).map(|n| random(if n % 10 == 0 { 900_000 } else { 30_000 })).collect();
        let twin = random(200_000);
        for version in ["1", "2"] {
            let root = RootFs::new(&build.path(version));
            for (n, content) in contents.iter().enumerate() {
                let mut content = content.clone();
                if version == "2" && [10, 30].contains(&n) {
                    content.splice(1000..1010, *b"something that was not there before");
                }
                root.file(&format!("{}/f{n}", ["bin", "lib", "same"][n % 3]), &content, 0o644, (0, 0));
            }
            if version == "2" {
                root.file("bin/twin", &twin, 0o644, (0, 0));
                root.file("lib/twin", &twin, 0o644, (0, 0));
            }
            root.settle();
            let layout = format!("v{version}-oci");
            let layers = ["--layer", "bin", "--layer", "same"];
            let arguments = [&["pack", version, &layout, "--compression", compression, "--arch", "amd64"], &layers[..]].concat();
            build.wharf.env("SOURCE_DATE_EPOCH", "1800000000").ok(&arguments);
            build.wharf.ok(&["push", &layout, "--name", "app", "--tag", version]);
        }
        let behind = build.server.address();
        let front = Scripted::start(move |asked| forward(behind, asked));
        let wharf = build.wharf.env("CONTAINER_REGISTRY_URL", &front.address().to_string());
        let found = wharf.ok(&["diff", "app:1", "app:2", "--json"]).json();
        let manifests = front.asked().iter().filter(|asked| asked.is("GET", "/manifests/")).count();
        assert_eq!(manifests, 2, "each manifest is read once");
        let update = &found["images"][0]["update"];
        assert_eq!((&update["layers_new"], &update["layers_shared"]), (&json!(2), &json!(1)), "{update}");
        // Nothing else is told of layouts.
        assert_eq!(&build.wharf.ok(&["diff", "v1-oci", "v2-oci", "--json"]).json()["images"][0]["update"], update);
        let blobs = fs::read_dir(build.path("v2-oci/blobs/sha256")).unwrap().map(Result::unwrap);
        let mut sizes: BTreeMap<_, _> = blobs
            .map(|blob| (format!("sha256:{}", blob.file_name().to_str().unwrap()), blob.metadata().unwrap().len()))
            .collect();
        sizes.retain(|_, size| *size > 20_000);
        assert_eq!(sizes.len(), 3, "the layers are the large ones");
        build.wharf.ok(&["pull", "app:1", "out"]);
        let before = front.asked().len();
        wharf.ok(&["pull", "app:2", "out", "--name", "1"]);
        let (bytes, requests) = asked_for(&front.asked()[before..], &sizes);
        println!("{compression}: {bytes} bytes in {requests} requests, {update}");
        assert_eq!(update["pieces_new_size"], json!(bytes), "{update}");
        assert!(bytes * 3 < update["layers_new_size"].as_u64().unwrap() && requests == 4, "{bytes} bytes, {requests} requests");
        // Where the older image tells no pieces everything is fetched.
        let plain = image(json!({}), vec![base()]);
        write_layout(&build.path("plain-oci"), &[("latest", &plain)]);
        let all = build.wharf.ok(&["diff", "plain-oci", "v2-oci", "--json"]).json()["images"][0]["update"].clone();
        assert_eq!(all["pieces_new_size"], all["layers_new_size"], "{all}");
    }
}

#[test]
fn layers_of_umoci_are_compared() {
    let build = Build::new();
    let layout = build.path("by-umoci");
    let image = |tag: &str| format!("{}:{tag}", layout.display());
    let tree = build.path("tree");
    fs::create_dir(&tree).unwrap();
    file(&tree, "bin/app", b"1");
    file(&tree, "bin/old", b"old");
    run_tool("umoci", &["init", "--layout", layout.to_str().unwrap()], None);
    run_tool("umoci", &["new", "--image", &image("1")], None);
    run_tool("umoci", &["insert", "--rootless", "--image", &image("1"), tree.to_str().unwrap(), "/"], None);
    file(&tree, "bin/app", b"22");
    fs::remove_file(tree.join("bin/old")).unwrap();
    run_tool("umoci", &["insert", "--rootless", "--image", &image("1"), "--tag", "2", tree.to_str().unwrap(), "/"], None);
    run_tool("umoci", &["insert", "--rootless", "--image", &image("2"), "--whiteout", "/bin/old"], None);
    run_tool("umoci", &["config", "--image", &image("2"), "--config.env", "A=b", "--config.entrypoint", "/bin/app"], None);
    let found = build.wharf.ok(&["diff", "by-umoci:1", "by-umoci:2", "--json"]).json();
    let one = &found["images"][0];
    assert_eq!((paths(&one["files"]["altered"]), paths(&one["files"]["removed"])), (vec!["/bin/app"], vec!["/bin/old"]));
    let config = |what: &str| one["config"].as_array().unwrap().iter().find(|change| change["what"] == what).cloned();
    assert_eq!(config("env"), Some(json!({"what": "env", "name": "A", "a": null, "b": "b"})));
    assert_eq!(config("entrypoint"), Some(json!({"what": "entrypoint", "name": null, "a": null, "b": ["/bin/app"]})));
}

#[test]
fn what_cannot_be_compared_is_said() {
    let build = Build::new();
    let images = versions();
    layouts(&build, &images);
    build.wharf.fails(&["diff", "a-oci", "app:9"]).says("app:9 not found");
    build.wharf.fails(&["diff", "a-oci", "./none-oci"]).says("./none-oci not found");
    let damaged = build.path("b-oci/blobs/sha256").join(&sha256(&images.1.layers[1])[7..]);
    let whole = fs::read(&damaged).unwrap();
    let mut altered = whole.clone();
    altered[600] ^= 1;
    fs::write(&damaged, &altered).unwrap();
    build.wharf.fails(&["diff", "a-oci", "b-oci"]).says("sha256:");
    fs::write(&damaged, &whole[..whole.len() - 1]).unwrap();
    build.wharf.fails(&["diff", "a-oci", "b-oci"]).says("sha256:");
    for (layer, problem) in [
        (random(5000), "the tar archive is damaged"),
        (b"BZh91AY&SY and so on".to_vec(), "bzip2"),
        ([&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], random(300).as_slice()].concat(), "does not decompress"),
    ] {
        write_layout(&build.path("c-oci"), &[("latest", &image(json!({}), vec![layer]))]);
        let ran = build.wharf.fails(&["diff", "a-oci", "c-oci"]);
        assert!(
            ran.stderr.contains(problem) && ran.stderr.contains("the layer sha256:") && !ran.stderr.contains("panicked"),
            "{ran}"
        );
        let _ = fs::remove_dir_all(build.path("c-oci"));
    }
    let repo = build.repo("artifact");
    repo.push_blob(wharf_tests::EMPTY_JSON);
    let artifact = wharf_tests::artifact(None, Some("application/x-thing"), &[]);
    repo.put("1", OCI_MANIFEST, &artifact).expect(201);
    build.wharf.fails(&["diff", "a-oci", "artifact:1"]).says("is no image but an artifact (application/x-thing)");
}

/// A list of packages that cannot be read is told, and the rest compared all the same.
#[test]
fn an_unreadable_list_of_packages_is_a_warning() {
    let build = Build::new();
    let of = |content: &'static [u8]| image(json!({}), vec![layer(|tree| file(tree, "var/lib/rpm/Packages", content))]);
    layouts(&build, &(of(b"1"), of(b"2")));
    let ran = build.wharf.ok(&["diff", "a-oci", "b-oci"]);
    let ran = ran.says("warning: a-oci: /var/lib/rpm/Packages: a database in the form of Berkeley DB is not readable here");
    assert!(ran.stdout.contains("Packages  none are listed"), "{ran}");
    assert_eq!(
        build.wharf.ok(&["diff", "a-oci", "b-oci", "--json"]).json()["images"][0]["packages"]["problems"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

/// Names of strangers do not get to the terminal as they are.
#[test]
fn names_that_move_the_cursor_are_shown_as_text() {
    let build = Build::new();
    let one = image(json!({"l": "\u{1b}[2J"}), vec![layer(|tree| file(tree, "x\u{1b}[31m", b"1"))]);
    layouts(&build, &(image(json!({}), vec![layer(|_| ())]), one));
    let ran = build.wharf.ok(&["diff", "a-oci", "b-oci"]);
    assert!(!ran.stdout.contains('\u{1b}') && ran.stdout.contains("+ /x\\u{1b}[31m"), "{ran}");
}

#[test]
fn a_connection_that_breaks_is_gone_on_with() {
    let build = Build::new();
    let large = random(6_000_000);
    let of = |name: &'static str| image(json!({}), vec![layer(|tree| file(tree, name, &large))]);
    let images = (of("a"), of("b"));
    layouts(&build, &images);
    build.wharf.ok(&["push", "a-oci", "--name", "app", "--tag", "1"]);
    let request = format!("GET /v2/yocto/app/blobs/{}", sha256(&images.0.layers[0]));
    let proxy = Proxy::start(build.server.address(), [Fault::CutAnswer(request.leak())]);
    let through = build.wharf.env("CONTAINER_REGISTRY_URL", &proxy.address().to_string());
    let found = through.ok(&["diff", "app:1", "b-oci", "--json"]).json();
    assert_eq!((paths(&found["images"][0]["files"]["removed"]), proxy.happened()), (vec!["/a"], 1));
}
