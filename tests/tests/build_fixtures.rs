//! Layouts and archives that umoci, buildah, podman and skopeo made, pushed by `wharf` and pulled back by skopeo, byte for byte.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use wharf_tests::clients::{Cell, Containers, Layout, Tree, assert_whole};
use wharf_tests::{
    Config, Deploy, Image, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Program, Server, Wharf, descriptor, image_for, random,
    sha256, write_blob, write_index, write_layout,
};

/// A registry, a cell for the other tools, and `wharf` in the cell's folder.
struct Stage {
    server: Server,
    cell: Cell,
    wharf: Wharf,
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

impl Stage {
    fn new() -> Self {
        Self::of(Cell::new())
    }

    fn of(cell: Cell) -> Self {
        let server = Server::launch(Program::Wharf, Config::default());
        let wharf = Wharf::with_server(cell.folder(), &server);
        Self { server, cell, wharf }
    }

    /// Pushes a path as `yocto/app:1`, and pulls that back with skopeo: the digest is the one that was printed, and every blob of the
    /// pulled layout is what its name says. Returns the manifest.
    #[track_caller]
    fn there_and_back(&self, path: &str) -> (String, Value) {
        let ran = self.wharf.ok(&["push", path, "--name", "app", "-t", "1"]);
        let [(_, digest)] = &ran.pushed()[..] else { panic!("{ran}") };
        self.pull_back("yocto/app:1", digest);
        (digest.clone(), self.server.repo("yocto/app").manifest("1").expect(200).json())
    }

    #[track_caller]
    fn pull_back(&self, reference: &str, digest: &str) {
        let (name, tag) = reference.rsplit_once(':').expect("a tag");
        assert_eq!(assert_whole(&self.server.repo(name), tag), digest);
        let folder = self.cell.path(&format!("pulled-{}", hex::encode(random(4))));
        let (from, to) = (format!("docker://{}/{reference}", self.server.address()), format!("oci:{}:x", folder.display()));
        self.cell.run("skopeo", ["copy", "--all", "--preserve-digests", "--src-tls-verify=false", &from, &to]).ok();
        assert_eq!(entries(&folder)[0]["digest"], digest);
        for file in fs::read_dir(folder.join("blobs/sha256")).expect("a folder of blobs").flatten() {
            let bytes = fs::read(file.path()).expect("read a blob");
            assert_eq!(sha256(&bytes)[7..], *file.file_name().to_str().expect("UTF-8"));
        }
    }

    #[track_caller]
    fn skopeo(&self, from: &str, to: &str) {
        self.cell.run("skopeo", ["copy", from, to]).ok();
    }
}

/// What a layout's index lists.
#[track_caller]
fn entries(layout: &Path) -> Vec<Value> {
    let index = fs::read(layout.join("index.json")).expect("the layout's index");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    index["manifests"].as_array().expect("a list").clone()
}

fn platforms(manifest: &Value) -> Vec<&str> {
    let entries = manifest["manifests"].as_array().unwrap_or_else(|| panic!("no index: {manifest}"));
    entries.iter().map(|entry| entry["platform"]["architecture"].as_str().expect("an architecture")).collect()
}

/// What image-oci.bbclass of meta-virtualization does: umoci makes a dated folder under a tag, and a link leads to it.
#[test]
fn a_layout_of_a_yocto_build_by_umoci() {
    let stage = Stage::new();
    let deploy = Deploy::new(stage.cell.folder());
    let dated = deploy.path("qemux86-64", "container-base-qemux86-64.rootfs-20260112143022-oci");
    let tree = stage.cell.path("tree");
    let _ = Tree::new(&tree).busybox("amd64");
    fs::create_dir_all(dated.parent().expect("a folder")).expect("a machine's folder");
    let image = format!("{}:latest", dated.display());
    let umoci = |arguments: &[&str]| stage.cell.run("umoci", arguments).ok();
    umoci(&["init", "--layout", text(&dated)]);
    umoci(&["new", "--image", &image]);
    umoci(&["insert", "--image", &image, text(&tree), "/"]);
    let label = "org.opencontainers.image.version=1.4.0";
    umoci(&["config", "--image", &image, "--architecture", "amd64", "--config.entrypoint", "/bin/sh", "--config.label", label]);
    deploy.link("qemux86-64", "container-base-latest-oci", text(Path::new(dated.file_name().expect("a name"))));
    let ran = stage.wharf.ok(&["push", "--strategy", "semver latest"]);
    assert_eq!(ran.tags(), ["1.4.0", "1.4", "1", "latest"]);
    let digest = entries(&dated)[0]["digest"].as_str().expect("a digest").to_owned();
    stage.pull_back("yocto/container-base:latest", &digest);
}

/// buildah writes a layout, an OCI archive and a Docker archive; each is pushed. The first two keep their digests.
#[test]
fn images_by_buildah_in_each_form() {
    let buildah = Containers::new("buildah");
    let context = buildah.cell.path("context");
    let _ = Tree::new(&context).busybox("amd64").file("Containerfile", b"FROM scratch\nCOPY bin /bin\nCOPY etc /etc\n");
    buildah.run(["bud", "--quiet", "--isolation=chroot", "--layers", "--tag", "localhost/app", text(&context)]).ok();
    let at = |name: &str| text(&buildah.cell.path(name)).to_owned();
    let (folder, archive, docker) = (at("built-oci"), at("built-oci.tar"), at("built.tar"));
    for to in [format!("oci:{folder}:v1"), format!("oci-archive:{archive}:v1"), format!("docker-archive:{docker}:app:v1")] {
        buildah.run(["push", "--quiet", "localhost/app", &to]).ok();
    }
    let stage = Stage::of(buildah.cell);
    let (digest, manifest) = stage.there_and_back(&folder);
    assert_eq!(digest, entries(Path::new(&folder))[0]["digest"]);
    let (_, archived) = stage.there_and_back(&archive);
    assert_eq!(archived["config"]["digest"], manifest["config"]["digest"]);
    let (_, saved) = stage.there_and_back(&docker);
    assert_eq!(saved["config"]["digest"], manifest["config"]["digest"]);
}

/// skopeo copies between all forms.
#[test]
fn copies_by_skopeo_in_each_form() {
    let stage = Stage::new();
    let layout = Layout::make(stage.cell.folder());
    let at = |name: &str| text(&stage.cell.path(name)).to_owned();
    let (folder, archive, docker) = (at("copied-oci"), at("copied-oci.tar"), at("copied.tar"));
    stage.skopeo(&layout.oci("amd64"), &format!("oci:{folder}:latest"));
    let (digest, _) = stage.there_and_back(&folder);
    assert_eq!(digest, layout.amd64.digest);
    // Without a name there is no annotation at all.
    stage.skopeo(&layout.oci("amd64"), &format!("oci:{}", at("nameless-oci")));
    assert_eq!(stage.there_and_back(&at("nameless-oci")).0, layout.amd64.digest);
    stage.skopeo(&layout.oci("amd64"), &format!("oci-archive:{archive}:latest"));
    assert_eq!(stage.there_and_back(&archive).0, layout.amd64.digest);
    stage.skopeo(&layout.oci("amd64"), &format!("docker-archive:{docker}:example.org/app:1"));
    let (digest, manifest) = stage.there_and_back(&docker);
    assert_eq!(manifest["layers"][0]["digest"], sha256(&fs::read(&layout.tars[0]).expect("a layer")));
    // The manifest of a Docker archive is made up, the same one each time.
    assert_eq!(stage.there_and_back(&docker).0, digest);
    assert_eq!(stage.there_and_back(&format!("{docker}:example.org/app:1")).0, digest);
}

/// A Docker archive of several images, as `podman save` writes it: an index of both; each can be picked by its name.
#[test]
fn several_images_in_a_docker_archive() {
    let podman = Containers::new("podman");
    let layout = Layout::make(podman.cell.folder());
    let mut names = Vec::new();
    for name in ["amd64", "arm64"] {
        let id = podman.run(["pull", "--quiet", &layout.oci(name)]).ok();
        let tag = format!("localhost/{name}:v1");
        podman.run(["tag", id.trim(), &tag]).ok();
        names.push(tag);
    }
    let archive = text(&podman.cell.path("both.tar")).to_owned();
    podman.run(["save", "--quiet", "--multi-image-archive", "--output", &archive, &names[0], &names[1]]).ok();
    let stage = Stage::of(podman.cell);
    let (_, manifest) = stage.there_and_back(&archive);
    let mut found = platforms(&manifest);
    found.sort();
    assert_eq!(found, ["amd64", "arm64"]);
    let ran = stage.wharf.ok(&["push", &format!("{archive}:{}", names[1]), "--name", "arm", "-t", "1"]);
    let (_, digest) = &ran.pushed()[0];
    stage.pull_back("yocto/arm:1", digest);
    let config = stage.server.repo("yocto/arm").manifest("1").expect(200).json();
    assert_eq!(config["config"]["digest"], sha256(&layout.arm64.config));
}

/// Several manifests in one layout, as skopeo puts them there one after the other: pushed whole, as an index. An index that is in
/// it keeps its digest when it is picked.
#[test]
fn several_manifests_in_one_layout() {
    let stage = Stage::new();
    let layout = Layout::make(stage.cell.folder());
    let folder = stage.cell.path("collected-oci");
    for name in ["amd64", "arm64"] {
        stage.skopeo(&layout.oci(name), &format!("oci:{}:{name}", folder.display()));
    }
    let (_, manifest) = stage.there_and_back(text(&folder));
    assert_eq!(manifest["mediaType"], OCI_INDEX);
    assert_eq!(platforms(&manifest), ["amd64", "arm64"]);
    assert_eq!(manifest["manifests"][1]["digest"], layout.arm64.digest);
    let ran = stage.wharf.ok(&["push", &format!("{}:multi", layout.folder.display()), "--name", "multi", "-t", "1"]);
    assert_eq!(ran.pushed()[0].1, layout.index_digest());
    stage.pull_back("yocto/multi:1", &layout.index_digest());
    // Two images and the index of both are, all together, that index.
    let ran = stage.wharf.ok(&["push", text(&layout.folder), "--name", "all", "-t", "1"]);
    let all = stage.server.repo("yocto/all").manifest("1").expect(200).json();
    assert_eq!(platforms(&all), ["amd64", "arm64"], "{ran}");
}

/// Rewrites an image with its JSON on many lines, indented, with another order of members and a line end at the end.
fn pretty(image: &Image) -> Image {
    let spread = |bytes: &[u8]| {
        let value: Value = serde_json::from_slice(bytes).expect("JSON");
        format!("{value:#}\n").replace("  ", "\t").into_bytes()
    };
    let config = spread(&image.config);
    let layers: Vec<_> = image.layers.iter().map(|layer| descriptor(OCI_LAYER, layer)).collect();
    let manifest =
        json!({"layers": layers, "config": descriptor(OCI_CONFIG, &config), "schemaVersion": 2, "mediaType": OCI_MANIFEST});
    let manifest = spread(manifest.to_string().as_bytes());
    let digest = sha256(&manifest);
    Image { config, layers: image.layers.clone(), manifest, digest }
}

/// Manifests and configurations are pushed as they are, compact or pretty; the digests say so.
#[test]
fn json_is_pushed_as_it_is_written() {
    let stage = Stage::new();
    let compact = image_for("amd64", json!({}));
    let spread = pretty(&compact);
    assert_ne!(compact.digest, spread.digest);
    for (name, image) in [("compact-oci", &compact), ("pretty-oci", &spread)] {
        let folder: PathBuf = stage.cell.path(name);
        write_layout(&folder, &[("latest", image)]);
        let index = fs::read_to_string(folder.join("index.json")).expect("the index");
        let index: Value = serde_json::from_str(&index).expect("JSON");
        fs::write(folder.join("index.json"), format!("{index:#}\n")).expect("write the index");
        let (digest, _) = stage.there_and_back(text(&folder));
        assert_eq!(digest, image.digest);
        assert!(stage.server.repo("yocto/app").manifest("1").expect(200).body == image.manifest);
        assert!(stage.server.repo("yocto/app").blob(&sha256(&image.config)).expect(200).body == image.config);
    }
}

/// A pretty index in the layout keeps its bytes as well, and so does a manifest without a media type, as older tools wrote it.
#[test]
fn an_index_is_pushed_as_it_is_written() {
    let stage = Stage::new();
    let folder = stage.cell.path("app-oci");
    let [pc, board] = ["amd64", "arm64"].map(|architecture| pretty(&image_for(architecture, json!({}))));
    for image in [&pc, &board] {
        image.blobs().chain([&image.manifest]).for_each(|blob| write_blob(&folder, blob));
    }
    let index = format!("{:#}\n", json!({"schemaVersion": 2, "manifests": [pc.descriptor("amd64"), board.descriptor("arm64")]}));
    write_blob(&folder, index.as_bytes());
    write_index(&folder, &[descriptor(OCI_INDEX, index.as_bytes())]);
    let (digest, _) = stage.there_and_back(text(&folder));
    assert_eq!(digest, sha256(index.as_bytes()));
    assert!(stage.server.repo("yocto/app").manifest("1").expect(200).body == index.as_bytes());
}
