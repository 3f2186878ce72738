//! `vdkr setup` by an ordinary user: from the distribution's packages, from given files, and from where it cannot be made.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use wharf_tests::{Ran, guests, run_tool, vdkr};

const USER: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/// A folder that an ordinary user may write to, with vdkr and the guest programs where they are looked for.
struct Stage {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("vdkr-setup-").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        fs::create_dir_all(folder.path().join("bin")).unwrap();
        fs::create_dir_all(folder.path().join("lib/wharf")).unwrap();
        fs::copy(vdkr(), folder.path().join("bin/vdkr")).unwrap();
        for arch in ["x86_64", "aarch64"] {
            let name = format!("vdkr-guest-{arch}");
            fs::copy(guests().join(&name), folder.path().join("lib/wharf").join(name)).unwrap();
        }
        let path = std::env::var("PATH").unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        Self { folder, variables: vec![("PATH", path), ("HOME", home)] }
    }

    fn env(mut self, name: &'static str, value: &str) -> Self {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.to_owned()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// `vdkr setup` in a state folder of this name.
    fn command(&self, state: &str, arch: &str, options: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/setpriv");
        command.args(USER).arg(self.path("bin/vdkr")).args(["--arch", arch, "--state-dir"]).arg(self.path(state));
        command.arg("setup").args(options).current_dir(self.folder.path()).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        command
    }

    fn run(&self, state: &str, arch: &str, options: &[&str]) -> Ran {
        Ran::of(format!("setup {arch} {}", options.join(" ")), self.command(state, arch, options).output().unwrap())
    }

    fn record(&self, state: &str, arch: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(state).join(arch).join("guest/setup.json")).unwrap()).unwrap()
    }

    /// Unpacks the initramfs, as the kernel would: both archives, one after the other.
    fn unpack(&self, state: &str, arch: &str, to: &str) -> PathBuf {
        let initramfs = fs::read(self.path(state).join(arch).join("guest/initramfs.cpio")).unwrap();
        let parts = usize::try_from(self.record(state, arch)["parts"]["length"].as_u64().unwrap()).unwrap();
        let folder = self.path(to);
        fs::create_dir(&folder).unwrap();
        for (name, bytes) in [("parts.cpio", &initramfs[..parts]), ("program.cpio", &initramfs[parts..])] {
            fs::write(self.path(name), bytes).unwrap();
            run_tool("bsdtar", &["-xf", &self.text(name), "-C", folder.to_str().unwrap()], None);
        }
        folder
    }
}

/// What of the system's package management an update or an installation would change.
fn system() -> String {
    let script =
        "find /etc/apt /var/lib/apt /var/cache/apt /var/lib/dpkg -printf '%p %T@ %s\\n' | grep -v -e '/lock' | LC_ALL=C sort";
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// From packages first, then with what was found there as given files.
fn both_ways(arch: &str) {
    let stage = Stage::new();
    let before = system();
    let ran = stage.run("state", arch, &[]).expect(0).says("fetch   linux-image-").says(&format!("ready: {arch}"));
    assert_eq!(ran.stdout, "");
    assert_eq!(system(), before, "the system's package lists were touched");
    stage.run("state", arch, &[]).expect(0).says("already set up").is_silent_on("fetch");

    let root = stage.unpack("state", arch, "root");
    let guest = stage.path("lib/wharf").join(format!("vdkr-guest-{arch}"));
    assert!(fs::read(root.join("init")).unwrap() == fs::read(&guest).unwrap(), "the first program");
    let order = fs::read_to_string(root.join("lib/modules/order")).unwrap();
    let names: Vec<_> = order.lines().map(|line| line.rsplit('/').next().unwrap()).collect();
    let place = |name: &str| names.iter().position(|found| *found == name).unwrap_or_else(|| panic!("no {name} in {names:?}"));
    for (first, then) in [("virtio_ring.ko", "virtio.ko"), ("virtio.ko", "virtio_mmio.ko"), ("net_failover.ko", "virtio_net.ko")]
    {
        assert!(place(first) < place(then), "{names:?}");
    }
    for line in order.lines() {
        assert!(fs::read(root.join("lib/modules").join(line)).unwrap().starts_with(b"\x7fELF"), "{line}");
    }
    let mut expected: Vec<_> = order.lines().map(|line| format!("lib/modules/{line}")).collect();
    expected.extend(["init", "lib/modules/order"].map(str::to_owned));
    expected.sort();
    let found = run_tool("find", &[root.to_str().unwrap(), "!", "-type", "d", "-printf", "%P\\n"], None);
    let mut found: Vec<_> = found.lines().collect();
    found.sort_unstable();
    assert_eq!(found, expected, "nothing but modules and the first program");
    let packages = stage.record("state", arch)["packages"].as_array().unwrap().clone();
    let is_kernel = |name: &str| name.starts_with("linux-image-") || name.starts_with("linux-modules-");
    assert!(!packages.is_empty() && packages.iter().all(|package| is_kernel(package["name"].as_str().unwrap())), "{packages:?}");

    // A newer guest program takes the older one's place without apt, and all else stays as it is.
    let mut program = fs::read(&guest).unwrap();
    program.push(0);
    fs::write(&guest, program).unwrap();
    let (kept, stage) = (stage.record("state", arch), stage.env("PATH", "/nowhere"));
    stage.run("state", arch, &[]).expect(0).says("ready").is_silent_on("fetch");
    let record = stage.record("state", arch);
    assert_eq!((&record["parts"], &record["packages"]), (&kept["parts"], &kept["packages"]));
    assert_ne!(record["initramfs"], kept["initramfs"]);

    // Another state takes what this one has; a damaged one takes nothing.
    let from = stage.path("state").join(arch).join("guest");
    stage.run("copy", arch, &["--from", from.to_str().unwrap()]).expect(0).says("ready");
    assert_eq!(stage.record("copy", arch), record);
    stage.run("copy", arch, &["--from", from.to_str().unwrap()]).expect(0).says("already set up");

    given(&stage, arch, &root, &record, &order);
}

/// The kernel's files as a build lays them out, some of them compressed.
fn given(stage: &Stage, arch: &str, root: &Path, record: &Value, order: &str) {
    let release = record["kernel_release"].as_str().unwrap();
    let kernel = stage.path("state").join(arch).join("guest/kernel");
    let modules = stage.path("build/lib/modules").join(release);
    fs::create_dir_all(modules.join("kernel/fs")).unwrap();
    fs::write(modules.join("modules.builtin"), "kernel/fs/ext4/ext4.ko\nkernel/drivers/char/hw_random/rng-core.ko\n").unwrap();
    for (number, line) in order.lines().enumerate() {
        let name = line.rsplit('/').next().unwrap();
        let to = modules.join("kernel/fs").join(name);
        fs::copy(root.join("lib/modules").join(line), &to).unwrap();
        match number % 4 {
            0 => run_tool("xz", &["--check=crc32", to.to_str().unwrap()], None),
            1 => run_tool("gzip", &[to.to_str().unwrap()], None),
            2 => run_tool("zstd", &["-q", "--rm", to.to_str().unwrap()], None),
            _ => run_tool("true", &[], None),
        };
    }
    let archive = stage.text("modules.tgz");
    run_tool("tar", &["-czf", &archive, "-C", &stage.text("build"), "lib"], None);
    let options = |modules: &str| ["--kernel", kernel.to_str().unwrap(), "--modules", modules].map(str::to_owned);
    let run = |state: &str, modules: &str| {
        let options = options(modules);
        stage.run(state, arch, &options.each_ref().map(String::as_str))
    };
    // There is no apt on the path any more.
    run("given", &stage.text("build")).expect(0).says("ready");
    let made = stage.record("given", arch);
    assert_eq!((&made["parts"], &made["kernel"]), (&record["parts"], &record["kernel"]), "the same files make the same guest");
    run("given", modules.to_str().unwrap()).expect(0).says("already set up");
    run("given", &archive).expect(0).says("already set up");

    let other = if arch == "x86_64" { "aarch64" } else { "x86_64" };
    let words = options(&archive);
    let ran = stage.run("given", other, &words.each_ref().map(String::as_str)).expect(1);
    ran.says(&format!("is a kernel for {arch}, not a kernel for {other}")).says("hint: BitBake makes it as");
    run("given", "/etc")
        .expect(1)
        .says("error: there are no kernel modules in /etc")
        .says("hint: --modules takes lib/modules/VERSION");
    fs::write(modules.join("modules.builtin"), "").unwrap();
    for entry in fs::read_dir(modules.join("kernel/fs")).unwrap().flatten() {
        if entry.file_name().to_str().unwrap().starts_with("overlay.ko") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let ran = run("given", &stage.text("build")).expect(1).says(&format!("error: the kernel {release} has no ext4, overlay"));
    ran.says("hint: the kernel needs CONFIG_EXT4_FS, CONFIG_OVERLAY_FS, built in or as a module");
    let words = ["--kernel", "/etc/passwd", "--modules", "/etc"];
    stage.run("given", arch, &words).expect(1).says("error: there are no kernel modules in /etc");
    assert_eq!(stage.record("given", arch), made, "a failure changes nothing");
}

#[test]
fn a_guest_for_x86_64_comes_from_packages_or_from_files() {
    both_ways("x86_64");
}

#[test]
fn a_guest_for_aarch64_comes_from_packages_or_from_files() {
    both_ways("aarch64");
}

#[test]
fn what_is_missing_is_named_with_the_way_out() {
    let stage = Stage::new().env("PATH", "/nowhere");
    stage
        .run("state", "x86_64", &[])
        .expect(1)
        .says("error: there is no apt-config here")
        .says("hint: give a kernel with --kernel");
    fs::remove_file(stage.path("lib/wharf/vdkr-guest-x86_64")).unwrap();
    let ran = stage.run("state", "x86_64", &[]).expect(1).says("error: there is no guest program for x86_64");
    ran.says(&stage.text("bin/vdkr-guest-x86_64")).says(&stage.text("lib/wharf/vdkr-guest-x86_64")).says("make guest");
    let ran = stage.run("state", "x86_64", &["--guest", &stage.text("lib/wharf/vdkr-guest-aarch64")]).expect(1);
    ran.says("is no program for x86_64");
    stage
        .run("state", "x86_64", &["--guest", &stage.text("bin/vdkr")])
        .expect(1)
        .says("is not linked statically")
        .says("hint: make guest");
    stage.run("state", "x86_64", &["--from", "/etc"]).expect(1).says("holds no guest for x86_64: there is no setup.json");
    assert!(!stage.path("state/x86_64/guest").exists());
}

/// Nothing listens on the port of this proxy: there is no network.
#[test]
fn without_a_network_nothing_is_made() {
    let stage = Stage::new();
    fs::write(
        stage.path("apt.conf"),
        "Acquire::http::Proxy \"http://127.0.0.1:9\";\nAcquire::https::Proxy \"http://127.0.0.1:9\";\nAcquire::Retries \"0\";\n",
    )
    .unwrap();
    let conf = stage.text("apt.conf");
    let stage = stage.env("APT_CONFIG", &conf).env("http_proxy", "http://127.0.0.1:9").env("https_proxy", "http://127.0.0.1:9");
    let ran = stage.run("state", "x86_64", &[]).expect(1).says("error: apt finds no linux-image-cloud-amd64 for amd64");
    ran.says("caused by: Failed to fetch").says("hint: is there a network");
    assert_eq!(left(&stage.path("state/x86_64")), ["setup.lock"]);
}

/// The keys that the system trusts decide: packages of a source that nobody signed are not taken.
#[test]
fn an_unsigned_source_is_refused() {
    let stage = Stage::new();
    let script = "mkdir -p repo/pkg/DEBIAN sources/parts; cd repo
        printf 'Package: linux-image-cloud-amd64\\nVersion: 1\\nArchitecture: amd64\\nMaintainer: a <a@example.org>\\nDescription: a\\n' > pkg/DEBIAN/control
        dpkg-deb --build pkg linux-image-cloud-amd64_1_amd64.deb
        size=$(stat -c %s *.deb); sum=$(sha256sum *.deb | cut -d' ' -f1)
        { cat pkg/DEBIAN/control; printf 'Filename: ./linux-image-cloud-amd64_1_amd64.deb\\nSize: %s\\nSHA256: %s\\n\\n' $size $sum; } > Packages
        { echo Suite: stable; echo SHA256:; echo \" $(sha256sum Packages | cut -d' ' -f1) $(stat -c %s Packages) Packages\"; } > Release
        echo \"deb file:$PWD ./\" > ../sources/list; chmod -R a+rX ..";
    let made = Command::new("sh").args(["-ec", script]).current_dir(stage.path("")).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let settings = format!(
        "Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"{}\";\n",
        stage.text("sources/list"),
        stage.text("sources/parts")
    );
    fs::write(stage.path("apt.conf"), settings).unwrap();
    let conf = stage.text("apt.conf");
    let stage = stage.env("APT_CONFIG", &conf);
    stage.run("state", "x86_64", &[]).expect(1).says("error: apt finds no linux-image-cloud-amd64").says("is not signed");
    // It is for want of a signature alone: a source that the system is told to trust has the package, in which there is no kernel.
    let list = fs::read_to_string(stage.path("sources/list")).unwrap();
    fs::write(stage.path("sources/list"), list.replace("deb file", "deb [trusted=yes] file")).unwrap();
    stage.run("state", "x86_64", &[]).expect(1).says("error: there are no kernel modules in ");
}

/// Everything of a setup that was killed is gone with the next one, and what was there before still is.
#[test]
fn a_killed_setup_leaves_the_older_guest() {
    let stage = Stage::new();
    stage.run("state", "x86_64", &[]).expect(0);
    let before = stage.record("state", "x86_64");
    let mut child = stage.command("state", "x86_64", &["--force"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("fetch"));
    child.kill().unwrap();
    child.wait().unwrap();
    let state = stage.path("state/x86_64");
    assert_eq!(left(&state).len(), 3, "the work of the killed one: {:?}", left(&state));
    stage.run("state", "x86_64", &[]).expect(0).says("already set up");
    assert_eq!(stage.record("state", "x86_64"), before);
    assert_eq!(left(&state), ["guest", "setup.lock"]);
}

fn left(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
