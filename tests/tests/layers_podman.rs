//! podman 4.3 updates images whose layers wharf cut: it fetches what changed, and what it mounts is the root file system that was packed.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::path::{Path, PathBuf};

use wharf_tests::clients::Containers;
use wharf_tests::{Build, Facts, Proxy, RootFs, image_of, random, run_tool, write_layout};

/// A registry with a wire to it that counts, and podman on the other side.
struct Stage {
    build: Build,
    proxy: Proxy,
    podman: Containers,
}

/// What a pull took, and where podman has mounted what came of it.
struct Pulled {
    /// Bytes that podman was sent.
    bytes: u64,
    mounted: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let build = Build::new();
        let proxy = Proxy::start(build.server.address(), []);
        Self { build, proxy, podman: Containers::new("podman") }
    }

    /// Two versions of a root file system of some thirty megabytes, in `v1` and `v2`: with something of everything, and a change of every
    /// kind between them.
    fn versions(&self) -> [RootFs; 2] {
        let old = RootFs::with_everything(&self.build.path("v1"));
        for n in 0..500 {
            old.file(&format!("usr/lib/d{}/f{n}", n % 7), &random(40_000), 0o644, (0, 0));
        }
        for n in 0..200 {
            old.file(&format!("usr/share/doc/p{n}/copyright"), &text(n, 5_000), 0o644, (0, 0));
        }
        old.file("usr/lib/program", &random(6_000_000), 0o755, (0, 0));
        old.settle();
        let new = old.copy(&self.build.path("v2"));
        let mut program = fs::read(old.path("usr/lib/program")).unwrap();
        program.splice(2_000_000..2_000_100, random(5_000));
        new.file("usr/lib/program", &program, 0o755, (0, 0));
        for n in [3, 77, 210, 409] {
            new.file(&format!("usr/lib/d{}/f{n}", n % 7), &random(41_000), 0o644, (0, 0));
        }
        new.file("usr/share/doc/p3/copyright", &text(1000, 6_000), 0o644, (0, 0));
        new.file("usr/lib/added", &random(30_000), 0o600, (1000, 0));
        fs::remove_file(new.path("usr/lib/d1/f8")).unwrap();
        fs::rename(new.path("usr/lib/d2/f9"), new.path("usr/lib/d2/moved")).unwrap();
        new.directory("usr/lib/d5", 0o700, (5, 5));
        fs::remove_file(new.path("etc/passwd-")).unwrap();
        new.link("etc/passwd-", "passwd");
        new.settle();
        [old, new]
    }

    /// Pushes a layout under the tag `v1` or `v2`.
    #[track_caller]
    fn push(&self, layout: &str, tag: &str, options: &[&str]) {
        let arguments = [&["push", layout, "--name", "app", "--tag", tag], options].concat();
        self.build.wharf.ok(&arguments);
    }

    #[track_caller]
    fn pull(&self, tag: &str) -> Pulled {
        let before = self.proxy.sent();
        let image = format!("{}/yocto/app:{tag}", self.proxy.address());
        let id = self.podman.run(["pull", "--quiet", "--tls-verify=false", &image]).ok();
        let bytes = self.proxy.sent() - before;
        let mounted = self.podman.run(["image", "mount", &id]).ok();
        Pulled { bytes, mounted: self.podman.cell.inside(mounted) }
    }

    /// The length of the one layer of an image.
    #[track_caller]
    fn layer(&self, tag: &str) -> u64 {
        let layers = self.build.repo("app").manifest(tag).expect(200).json()["layers"].clone();
        assert_eq!(layers.as_array().unwrap().len(), 1, "{layers}");
        assert!(layers[0]["annotations"]["io.containers.zstd-chunked.manifest-position"].is_string(), "{layers}");
        layers[0]["size"].as_u64().unwrap()
    }

    /// What is mounted of a version.
    #[track_caller]
    fn assert_mounted(expected: &Facts, pulled: &Pulled, what: &str) {
        kept(expected).assert_same(&kept(&Facts::of(&pulled.mounted)), what);
    }

    /// Pulls the old version, then the new one: the second time it is a small part, and what is mounted is right both times. Then the new
    /// version into an empty store, which is no other.
    #[track_caller]
    fn assert_updates(&mut self, [old, new]: &[Facts; 2]) {
        let first = self.pull("v1");
        let whole = self.layer("v1");
        assert!(first.bytes > whole / 2, "{} of {whole}", first.bytes);
        Self::assert_mounted(old, &first, "the first version");
        let update = self.pull("v2");
        let whole = self.layer("v2");
        println!("{} bytes of {whole}", update.bytes);
        assert!(update.bytes * 20 < whole, "{} bytes of {whole} were sent", update.bytes);
        Self::assert_mounted(new, &update, "the update");
        Self::assert_mounted(old, &first, "the first version, after the update,");
        self.podman.fresh();
        Self::assert_mounted(new, &self.pull("v2"), "the second version alone");
    }
}

/// What podman 4.3 keeps of a root file system when it takes it in parts, be the layer of its own making or of another's: it leaves out devices and
/// pipes, sets times of folders before it fills them, makes links without owner and time, and takes a slash off the end of where they lead.
/// Pulled whole the same layer has all of it: see `layers_engines.rs`.
fn kept(facts: &Facts) -> Facts {
    let mut kept = facts.clone();
    kept.0.retain(|_, fact| !fact.starts_with("device ") && !fact.starts_with("pipe "));
    kept.map(|fact| match fact.split_once(' ') {
        Some(("directory", rest)) => {
            let (before, after) = rest.split_once(" at ").unwrap();
            format!("directory {before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        Some(("link", rest)) => rest.split(" 0000 ").next().unwrap().trim_end_matches('/').to_owned(),
        _ => fact.to_owned(),
    })
}

/// Lines unlike others, which compress well.
fn text(seed: usize, length: usize) -> Vec<u8> {
    let lines = (0..).flat_map(|line| format!("This is line {line} of the text with the number {seed}.\n").into_bytes());
    lines.take(length).collect()
}

fn facts(roots: &[RootFs; 2]) -> [Facts; 2] {
    [Facts::of(roots[0].folder()), Facts::of(roots[1].folder())]
}

/// What wharf packed.
#[test]
fn an_image_that_was_packed_is_updated_in_parts() {
    let mut stage = Stage::new();
    let roots = stage.versions();
    for version in ["v1", "v2"] {
        let layout = format!("{version}-oci");
        stage.build.wharf.ok(&["pack", version, &layout, "--compression", "zstd:chunked", "--arch", "amd64"]);
        stage.push(&layout, version, &[]);
    }
    stage.assert_updates(&facts(&roots));
}

/// What umoci wrote, in one stream of gzip, and wharf brought into the form on its way to the registry.
#[test]
fn an_image_by_umoci_that_was_recompressed_is_updated_in_parts() {
    assert_updates_when_recompressed(RootFs::by_umoci);
}

/// What GNU tar wrote, in blocks of its own, with more zeros at the end than there need be.
#[test]
fn an_image_by_tar_that_was_recompressed_is_updated_in_parts() {
    assert_updates_when_recompressed(by_tar);
}

/// Asserts that layouts which `make` makes of both versions are updated in parts once they were recompressed.
#[track_caller]
fn assert_updates_when_recompressed(make: impl Fn(&RootFs, &Path)) {
    let mut stage = Stage::new();
    let roots = stage.versions();
    for (version, root) in ["v1", "v2"].iter().zip(&roots) {
        let layout = format!("{version}-foreign-oci");
        make(root, &stage.build.path(&layout));
        stage.push(&layout, version, &["--recompress", "zstd:chunked"]);
    }
    stage.assert_updates(&facts(&roots));
}

/// Makes a layout with what GNU tar makes of a root file system, uncompressed whatever its type says.
#[track_caller]
fn by_tar(root: &RootFs, layout: &Path) {
    let archive = layout.with_extension("tar");
    let options = [
        "--format=posix",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        "--sort=name",
        "--create",
        "--blocking-factor=63",
    ];
    let places = ["--file", archive.to_str().unwrap(), "--directory", root.folder().to_str().unwrap(), "."];
    run_tool("tar", &[&options[..], &places].concat(), None);
    let archive = fs::read(archive).unwrap();
    assert!(archive.ends_with(&[0; 1025]));
    let platform = serde_json::json!({"os": "linux", "architecture": "amd64"});
    write_layout(layout, &[("latest", &image_of(platform, serde_json::json!({}), vec![archive]))]);
}
