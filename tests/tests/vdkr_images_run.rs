//! Images of other builders, and of many layers, run: what a program sees inside of one is what another tool unpacks of it.

#[allow(dead_code, clippy::unwrap_used, reason = "other tests use the rest of it; a test fails by panicking")]
#[path = "../../crates/layers/tests/support/archive.rs"]
mod archive;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use archive::Archive;
use rustix::fs::FileType;
use serde_json::json;
use wharf_layers::{Entry, Kind, Time};
use wharf_tests::clients::{Containers, fetched_busybox, require};
use wharf_tests::{Image, RootFs, Stage, Vm, image_of, run_tool, write_layout};

/// Tells all there is to see below a folder. What a machine puts there itself is left out, and so is what changes by its being put there.
const LOOK: &str = r#"
cd "$1"
tools=$2
see() { find . -xdev \( -path ./dev -o -path ./proc -o -path ./sys -o -path ./tools -o -path ./etc/hosts \
    -o -path ./etc/hostname -o -path ./etc/resolv.conf \) -prune -o "$@"; }
{
    see -type f -exec stat -c '%n file %a %u:%g %s %Y %h' {} +
    see -type d -exec stat -c '%n directory %a %u:%g' {} +
    see -type d ! -path . ! -path ./etc -exec stat -c '%n of %Y' {} +
    see -type l -exec stat -c '%N link %u:%g %Y' {} +
    see \( -type b -o -type c -o -type p \) -exec stat -c '%n %F %a %u:%g %t:%T %Y' {} +
    see -type f -exec md5sum {} +
    see -exec "$tools/ld.so" --library-path "$tools" "$tools/getfattr" -h -d -m - -e hex --absolute-names {} + |
        awk '/^# file: /{ file = $3; next } NF { print file, $0 }'
} | sort
"#;

/// A machine, tools to look with, and a folder for layouts that its user reaches.
struct Bench {
    vm: Vm,
    stage: Stage,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { vm: Vm::new("x86_64"), stage: Stage::new() };
        fs::set_permissions(bench.stage.folder(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let tools = bench.tools();
        fs::create_dir(&tools).expect("a folder");
        fs::copy(require("busybox"), tools.join("busybox")).expect("busybox");
        for applet in ["sh", "find", "stat", "md5sum", "sort", "awk"] {
            symlink("busybox", tools.join(applet)).expect("a link");
        }
        let program = require("getfattr");
        fs::copy(&program, tools.join("getfattr")).expect("getfattr");
        let listed = run_tool("/usr/bin/ldd", &[text(&program)], None);
        for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
            let name = Path::new(library).file_name().and_then(|name| name.to_str()).expect("a name");
            let name = if name.starts_with("ld-linux") { "ld.so" } else { name };
            fs::copy(library, tools.join(name)).expect("a library");
        }
        fs::write(tools.join("look"), LOOK).expect("a script");
        bench
    }

    fn tools(&self) -> PathBuf {
        self.vm.own().join("tools")
    }

    /// Runs the image of a layout, and compares what it sees with what umoci unpacks, as root; with the `times` of directories.
    #[track_caller]
    fn compare(&self, layout: &str, times: bool) -> Vec<String> {
        run_tool("chmod", &["-R", "a+rX", &self.stage.text(layout)], None);
        self.vm.ok(&["vimport", &self.stage.text(layout), "image"]);
        let tools = format!("{}:/tools:ro", text(&self.tools()));
        // What is `trusted` only the privileged see.
        let line = [
            "run",
            "--rm",
            "--privileged",
            "-v",
            &tools,
            "-e",
            "PATH=/tools",
            "image",
            "/tools/sh",
            "/tools/look",
            "/",
            "/tools",
        ];
        let inside = self.vm.ok(&line);
        let bundle = self.stage.text(&format!("{layout}-unpacked"));
        run_tool("umoci", &["unpack", "--image", &format!("{}:latest", self.stage.text(layout)), &bundle], None);
        let tools = self.tools();
        let mut look = Command::new(tools.join("sh"));
        look.arg(tools.join("look")).arg(format!("{bundle}/rootfs")).arg(&tools).env_clear().env("PATH", &tools);
        let outside = look.output().expect("look");
        assert!(outside.status.success(), "{}", String::from_utf8_lossy(&outside.stderr));
        let outside = String::from_utf8(outside.stdout).expect("UTF-8");
        // umoci gives directories that a layer does not name, or that it changes further, the time of now.
        let is_told = |line: &&str| times || !line.contains(" of ");
        let lines = |text: &str| text.lines().filter(is_told).map(str::to_owned).collect::<Vec<_>>();
        let (inside, outside) = (lines(&inside.stdout), lines(&outside));
        let only = |of: &[String], not: &[String]| of.iter().filter(|line| !not.contains(line)).cloned().collect::<Vec<_>>();
        let differing = (only(&inside, &outside), only(&outside, &inside));
        assert_eq!(differing, (Vec::new(), Vec::new()), "{layout}: inside alone, and unpacked alone");
        assert_eq!(inside.len(), outside.len(), "{layout}: lines that are there twice");
        assert!(inside.len() > 10, "{inside:?}");
        inside
    }

    /// Writes a layout of an image of these layers, which are not compressed.
    fn layout(&self, name: &str, layers: Vec<Vec<u8>>) {
        let image = image_of(json!({"os": "linux", "architecture": "amd64"}), json!({}), layers);
        let manifest = String::from_utf8(image.manifest).expect("UTF-8").replace("tar+gzip", "tar").into_bytes();
        write_layout(&self.stage.path(name), &[("latest", &Image { digest: wharf_tests::sha256(&manifest), manifest, ..image })]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A root file system with a shell and everything that one can hold, the devices where a container has none of its own.
fn root(stage: &Stage) -> RootFs {
    let root = RootFs::with_everything(&stage.path("root"));
    root.file("usr/bin/busybox", &fs::read(require("busybox")).expect("busybox"), 0o755, (0, 0));
    root.link("usr/bin/sh", "busybox");
    root.device("devices/null", FileType::CharacterDevice, 0o666, (1, 3));
    root.device("devices/wide", FileType::BlockDevice, 0o660, (259, 70_000));
    root.device("devices/pipe", FileType::Fifo, 0o622, (0, 0));
    root.attribute("home/app", c"trusted.note", b"for the privileged");
    root.settle();
    root
}

#[test]
fn what_wharf_packs_and_umoci_makes() {
    let bench = Bench::new();
    let root = root(&bench.stage);
    bench.stage.pack(root.folder(), "packed-oci", &[]);
    let seen = bench.compare("packed-oci", true);
    for part in [
        "./home/app trusted.note=",
        "./usr/bin/ping security.capability=",
        "./devices/wide block special file 660",
        "./usr/bin/su file 4755",
    ] {
        assert!(seen.iter().any(|line| line.contains(part)), "nothing of {part}: {seen:?}");
    }
    root.by_umoci(&bench.stage.path("umoci-oci"));
    run_tool(
        "umoci",
        &["config", "--image", &format!("{}:latest", bench.stage.text("umoci-oci")), "--architecture", "amd64"],
        None,
    );
    bench.compare("umoci-oci", true);
}

/// Its later layers change and remove what the first one has.
#[test]
fn what_buildah_builds() {
    let bench = Bench::new();
    let root = root(&bench.stage);
    let buildah = Containers::new("buildah");
    let steps = "FROM scratch\nCOPY root /\nRUN [\"/bin/sh\", \"-c\", \"busybox rm -r /home /dangling; busybox mkdir -m 700 /home; \
                 busybox chmod 700 /usr/bin/wall; busybox mv /large /larger\"]\nRUN [\"/bin/sh\", \"-c\", \"busybox touch /home/new\"]\n";
    root.file("../Containerfile", steps.as_bytes(), 0o644, (0, 0));
    let context = bench.stage.text("");
    // On a busy machine buildah's own start of itself fails now and then, before it looks at anything of ours.
    let build = ["bud", "--quiet", "--isolation=chroot", "--layers", "--tag", "localhost/app", &context];
    let built = (0..5).map(|_| buildah.run(build)).find(|ran| !ran.stderr.contains("sealing memfd copy"));
    built.expect("buildah").ok();
    buildah.run(["push", "--quiet", "localhost/app", &format!("oci:{}:latest", bench.stage.text("buildah-oci"))]).ok();
    assert_eq!(bench.stage.manifest("buildah-oci")["layers"].as_array().map(Vec::len), Some(3));
    bench.compare("buildah-oci", true);
}

fn entry(name: &str, kind: Kind, mode: u32) -> Entry {
    let mtime = Time { seconds: 1_600_000_000, nanoseconds: 0 };
    Entry { name: name.into(), kind, mode, uid: 0, gid: 0, mtime, size: 0, xattrs: BTreeMap::new() }
}

fn file(name: &str) -> Entry {
    entry(name, Kind::Regular, 0o644)
}

fn directory(name: &str) -> Entry {
    entry(name, Kind::Directory, 0o755)
}

/// A directory that hides what is below it, one that is replaced by a file and comes back, and whiteouts beside what they hide.
#[test]
fn opaque_directories_and_whiteouts() {
    let bench = Bench::new();
    let names = (0..30).map(|n| format!("d/{n}"));
    let lower = names.fold(Archive::default(), |all, name| all.with(&file(&name), name.as_bytes()));
    let lower = lower
        .with(&directory("etc"), b"")
        .with(&directory("d/sub"), b"")
        .with(&file("d/sub/x"), b"x")
        .with(&file("e/x"), b"below")
        .end();
    let middle = Archive::default().with(&Entry { uid: 7, mode: 0o711, ..directory("d") }, b"");
    let middle = middle.with(&file("d/.wh..wh..opq"), b"").with(&file("d/3"), b"new").with(&file("d/new"), b"new");
    let middle = middle.with(&file(".wh.e"), b"").with(&file("f/y"), b"y").end();
    let upper = Archive::default().with(&file("e"), b"now a file").with(&file("f/.wh.y"), b"").with(&file("d/sub/z"), b"z").end();
    let top = Archive::default().with(&file(".wh.e"), b"").with(&file("e/z"), b"a directory again").end();
    bench.layout("opaque-oci", vec![lower, middle, upper, top]);
    bench.compare("opaque-oci", false);
    let seen = bench.vm.ok(&[
        "run",
        "--rm",
        "-v",
        &format!("{}:/tools:ro", text(&bench.tools())),
        "image",
        "/tools/find",
        "/d",
        "/e",
        "/f",
    ]);
    let mut seen: Vec<_> = seen.stdout.lines().collect();
    seen.sort_unstable();
    assert_eq!(seen, ["/d", "/d/3", "/d/new", "/d/sub", "/d/sub/z", "/e", "/e/z", "/f"]);
}

/// Each layer changes a file of the one before, and removes one.
fn chain(length: usize) -> Vec<Vec<u8>> {
    let layer = |n: usize| {
        let mut all = Archive::default()
            .with(&directory("etc"), b"")
            .with(&Entry { mode: 0o700 + (n % 64) as u32, ..directory("chain") }, b"");
        all = all.with(&file(&format!("chain/own-{n}")), format!("of {n}").as_bytes());
        all = all.with(&file(&format!("chain/gone-{n}")), b"for one layer");
        if let Some(before) = n.checked_sub(1) {
            let changed = Entry { uid: n as u64, mode: 0o4755, ..file(&format!("chain/own-{before}")) };
            all = all.with(&changed, format!("of {before}, changed by {n}").as_bytes());
            all = all.with(&file(&format!("chain/.wh.gone-{before}")), b"");
        }
        all.end()
    };
    (0..length).map(layer).collect()
}

#[test]
fn images_of_many_layers() {
    let bench = Bench::new();
    for length in [40, 128] {
        let name = format!("chain-{length}-oci");
        bench.layout(&name, chain(length));
        bench.compare(&name, true);
        let tools = format!("{}:/tools:ro", text(&bench.tools()));
        let line = [
            "run",
            "--rm",
            "-v",
            &tools,
            "-e",
            "PATH=/tools",
            "image",
            "/tools/sh",
            "-c",
            "find /chain -type f | sort -u | busybox wc -l; busybox cat /chain/own-7",
        ];
        assert_eq!(bench.vm.ok(&line).stdout, format!("{}\nof 7, changed by 8", length + 1));
    }
}

/// The processors and the kernels of both machines run programs of 32 bits.
#[test]
fn programs_of_32_bits() {
    for (machine, architecture, debian) in [("x86_64", "386", "i386"), ("aarch64", "arm", "armhf")] {
        let Some(program) = fetched_busybox(debian) else {
            assert!(std::env::var_os("CI").is_none(), "no busybox for {debian}: scripts/install-test-tools fetches it");
            eprintln!("not tried: this distribution offers no busybox for {debian}");
            continue;
        };
        let (vm, stage) = (Vm::new(machine), Stage::new());
        fs::set_permissions(stage.folder(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let program = Archive::default().with(&Entry { mode: 0o755, ..file("bin/busybox") }, &program).end();
        let image = image_of(json!({"os": "linux", "architecture": architecture}), json!({}), vec![program]);
        write_layout(&stage.path("small-oci"), &[("latest", &image)]);
        vm.ok(&["vimport", &stage.text("small-oci"), "small"]);
        let script = "busybox head -c 5 /proc/self/exe | busybox tail -c 1 | busybox od -An -tx1";
        let ran = vm.ok(&["run", "--rm", "small", "/bin/busybox", "sh", "-c", script]);
        assert_eq!(ran.stdout.trim(), "01", "the class of the program that runs");
    }
}
