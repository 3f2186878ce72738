//! Layers as wharf cuts them, unpacked by the engines that people have: the root file system is the one that was packed, in every attribute.
//!
//! Each engine's own snapshot is looked at, not what it exports: that has no hard links and attributes any more. The tests need root.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::path::{Path, PathBuf};

use wharf_tests::clients::{Cell, Containerd, Containers, Docker};
use wharf_tests::{Build, Facts, RootFs};

/// The forms, and the image's tag for each.
const FORMS: [(&str, &str); 2] = [("gzip", "gzip"), ("zstd:chunked", "chunked")];
/// What makes several layers of the root file system. The first takes a name of a hard link whose other one stays behind.
const LAYERS: [&str; 4] = ["--layer", "usr/bin etc/pass*", "--layer", "home"];

/// A registry with a root file system in every form: packed, and recompressed from what umoci wrote; of one layer and of three.
struct Stage {
    build: Build,
    facts: Facts,
}

impl Stage {
    fn new() -> Self {
        let build = Build::new();
        let root = RootFs::with_everything(&build.path("root"));
        root.directory("", 0o750, (5, 6));
        root.settle();
        let facts = Facts::of(root.folder());
        root.by_umoci(&build.path("foreign-oci"));
        let stage = Self { build, facts };
        for (form, tag) in FORMS {
            let wharf = &stage.build.wharf;
            wharf.ok(&["pack", "root", "one-oci", "--arch", "amd64", "--compression", form]);
            wharf.ok(&["push", "one-oci", "--name", "one", "--tag", tag]);
            wharf.ok(&[&["pack", "root", "three-oci", "--arch", "amd64", "--compression", form][..], &LAYERS].concat());
            wharf.ok(&["push", "three-oci", "--name", "three", "--tag", tag]);
            wharf.ok(&["push", "foreign-oci", "--name", "foreign", "--tag", tag, "--recompress", form]);
        }
        for (image, layers) in [("one", 1), ("three", 3), ("foreign", 1)] {
            let found = stage.build.repo(image).manifest("gzip").expect(200).json()["layers"].clone();
            assert_eq!(found.as_array().unwrap().len(), layers, "{image}: {found}");
        }
        stage
    }

    /// The images of these tags, as engines name them.
    fn images(&self, tags: &[&str]) -> Vec<String> {
        let at = self.build.server.address();
        let of = |image: &&str| tags.iter().map(|tag| format!("{at}/yocto/{image}:{tag}")).collect::<Vec<_>>();
        ["one", "three", "foreign"].iter().flat_map(of).collect()
    }

    /// Asserts that what an engine mounts there is what was packed. The root folder itself is of the engine's own making: containerd always sees to
    /// that, podman and Docker pass over an entry called `./`, as GNU tar writes it too. podman 5.3 that takes parts fails on one called `/`.
    #[track_caller]
    fn assert_mounted(&self, folder: &Path, image: &str) {
        self.facts.clone().without(&[""]).assert_same(&Facts::of(folder).without(&[""]), image);
    }
}

/// podman, with parts of layers not wanted, as is its default.
#[test]
fn podman_mounts_what_was_packed() {
    let stage = Stage::new();
    let mut podman = Containers::new("podman");
    for image in stage.images(&["gzip", "chunked"]) {
        podman.fresh_without_parts();
        let id = podman.run(["pull", "--quiet", "--tls-verify=false", &image]).ok();
        let mounted = podman.run(["image", "mount", &id]).ok();
        stage.assert_mounted(&podman.cell.inside(mounted), &image);
    }
}

/// containerd, in an overlay of its snapshots.
#[test]
fn containerd_mounts_what_was_packed() {
    let stage = Stage::new();
    let containerd = Containerd::start();
    for (n, image) in stage.images(&["gzip", "chunked"]).iter().enumerate() {
        containerd.run(["images", "pull", "--plain-http", image]).ok();
        let mounted = containerd.cell.path(&format!("mounted-{n}"));
        std::fs::create_dir(&mounted).unwrap();
        containerd.run(["images", "mount", image, mounted.to_str().unwrap()]).ok();
        stage.assert_mounted(&containerd.cell.inside(&mounted), image);
        containerd.empty();
    }
}

/// Docker's engine, which reads no zstd before version 23: its layers are laid over one another as it does for a container.
#[test]
fn docker_lays_out_what_was_packed() {
    let stage = Stage::new();
    let docker = Docker::start();
    for (n, image) in stage.images(&["gzip"]).iter().enumerate() {
        docker.run(["pull", "--quiet", image]).ok();
        let layer = |which: &str| docker.run(["image", "inspect", "--format", which, image]).ok();
        let mut folders = vec![layer("{{.GraphDriver.Data.UpperDir}}")];
        if image.contains("/three:") {
            folders.push(layer("{{.GraphDriver.Data.LowerDir}}"));
        }
        stage.assert_mounted(&overlay(&docker.cell, &format!("mounted-{n}"), &folders), image);
        docker.run(["image", "rm", "--force", image]).ok();
    }
}

/// umoci, which reads no zstd: what skopeo brought it, and what skopeo decompressed.
#[test]
fn umoci_unpacks_what_was_packed() {
    let stage = Stage::new();
    let cell = Cell::new();
    for (n, image) in stage.images(&["gzip", "chunked"]).iter().enumerate() {
        let from = format!("docker://{image}");
        let copied = cell.path(&format!("copied-{n}"));
        let as_is = format!("oci:{}:as-is", copied.display());
        cell.run("skopeo", ["copy", "--preserve-digests", "--src-tls-verify=false", &from, &as_is]).ok();
        let to = format!("oci:{}:image", copied.display());
        // Plain archives and one stream of gzip: skopeo reads all of each layer, and compares what is in it with the configuration.
        let folder = format!("dir:{}", cell.path(&format!("dir-{n}")).display());
        cell.run("skopeo", ["copy", "--src-tls-verify=false", "--dest-decompress", &from, &folder]).ok();
        match image.ends_with(":gzip") {
            true => cell.run("skopeo", ["copy", &as_is, &to]).ok(),
            false => cell.run("skopeo", ["copy", &folder, &to]).ok(),
        };
        let bundle = cell.path(&format!("bundle-{n}"));
        cell.run("umoci", ["unpack", "--image", to.trim_start_matches("oci:"), bundle.to_str().unwrap()]).ok();
        stage.facts.assert_same(&Facts::of(&bundle.join("rootfs")), image);
    }
}

/// Mounts folders over one another, the first on top, in a cell; where the test sees that.
#[track_caller]
fn overlay(cell: &Cell, name: &str, folders: &[String]) -> PathBuf {
    let (mounted, below) = (cell.path(name), cell.path(&format!("{name}-below")));
    std::fs::create_dir(&mounted).and_then(|()| std::fs::create_dir(&below)).unwrap();
    // Of a single one nothing can be laid over.
    let lower = format!("lowerdir={}:{}", folders.join(":"), below.display());
    cell.run("mount", ["-t", "overlay", "-o", &lower, "overlay", mounted.to_str().unwrap()]).ok();
    cell.inside(&mounted)
}
