//! What the instructions that people come with say of `vdkr`: every line of them typed as it stands there, by an ordinary user at a shell.
//!
//! Two things are other than they wrote: the port of the registry, and another registry that stands for Docker Hub.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use wharf_tests::{Background, Deploy, Ran, Server, Stage, Vm, run_tool};

/// The user of [`Vm`].
const USER: u32 = 65534;

/// "Quick Start".
const QUICK_START: &str = "
# 3. Start registry, push images
$TOPDIR/container-registry/container-registry.sh start
$TOPDIR/container-registry/container-registry.sh push

# 4. Import 3rd party images
$TOPDIR/container-registry/container-registry.sh import docker.io/library/alpine:latest

# 5. Use with vdkr (10.0.2.2 is QEMU slirp gateway to localhost)
vdkr vconfig registry 10.0.2.2:5000/yocto
vdkr pull container-base
";

/// "Helper Script Commands", the development workflow after the build.
const WORKFLOW: &str = "
# Push (creates both timestamp tag AND :latest)
./container-registry/container-registry.sh push

# Pull on target - :latest is implicit, gets your most recent push
vdkr pull container-base

# Test
vdkr run container-base /bin/sh
";

/// "vdkr Registry Usage", up to what removes images.
const USAGE: &str = "
# One-off
vdkr --registry 10.0.2.2:5000/yocto pull alpine

# Persistent config
vdkr vconfig registry 10.0.2.2:5000/yocto
vdkr pull alpine      # Tries registry first, falls back to Docker Hub
vdkr pull container-base  # Pulls from registry (your Yocto-built image)
vdkr run alpine echo hello

# Clear config
vdkr vconfig registry --reset

# Image management (all commands use registry prefix for stored images)
vdkr image ls
vdkr image inspect alpine   # Works for both registry and Docker Hub images
";

/// The rest of it.
const REMOVAL: &str = "
vdkr image rm <image>
vdkr image rm e7b39c54cdec  # Image IDs work without transformation
";

struct Desk {
    vm: Vm,
    build: Background,
    _hub: Server,
}

impl Desk {
    /// A build directory with the image `container-base` in it, and a Docker Hub with an `alpine`.
    fn new() -> Self {
        let vm = Vm::new("x86_64");
        let (build, hub) = (Background::new(), Server::start());
        let stage = Stage::new();
        let root = vm.image_folder();
        let topdir = build.path("");
        let base = Deploy::new(&topdir).path("qemux86-64", "container-base-qemux86-64.rootfs-oci");
        fs::create_dir_all(base.parent().expect("a folder")).expect("a folder");
        stage.pack(&root, text(&base), &["--cmd", "/bin/sh", "--label", "of=container-base"]);
        stage.pack(&root, "alpine-oci", &["--cmd", "/bin/sh", "--label", "of=alpine"]);
        let image = format!("docker://{}/library/alpine:latest", hub.address());
        let alpine = format!("oci:{}:latest", stage.text("alpine-oci"));
        run_tool("skopeo", &["--insecure-policy", "copy", "--dest-tls-verify=false", &alpine, &image], None);
        let conf = format!("[[registry]]\nprefix = \"docker.io\"\nlocation = \"{}\"\ninsecure = true\n", hub.address());
        fs::write(build.path("registries.conf"), conf).expect("registries.conf");
        // Where it was built need not be within the user's reach.
        fs::copy(build.wharf.program(), build.path("wharf")).expect("the program");
        build.wharf.ok(&["script"]);
        fs::set_permissions(&topdir, fs::Permissions::from_mode(0o755)).expect("permissions");
        run_tool("chown", &["-R", &format!("{USER}:{USER}"), text(&topdir)], None);
        Self { vm, build, _hub: hub }
    }

    /// A shell at which the lines are typed.
    fn shell(&self, lines: &str) -> Command {
        let mut command = self.vm.script(&lines.replace(":5000", &format!(":{}", self.build.port)));
        let topdir = self.build.path("");
        command.current_dir(&topdir).env("TOPDIR", &topdir).env("WHARF", self.build.path("wharf"));
        command.env("CONTAINER_REGISTRY_URL", format!("localhost:{}", self.build.port));
        command.env("CONTAINERS_REGISTRIES_CONF", self.build.path("registries.conf"));
        command
    }

    /// Types them.
    fn types(&self, lines: &str) -> Ran {
        Ran::of(lines.to_owned(), self.shell(lines).output().expect("run a shell"))
    }

    /// The ID of an image, as short as it is listed.
    fn id(&self, name: &str) -> String {
        self.vm.ok(&["images", "-q", name]).stdout.trim().to_owned()
    }

    /// Where names without a registry are looked for first.
    fn registry(&self) -> String {
        format!("10.0.2.2:{}/yocto", self.build.port)
    }

    /// Types all of the usage, and is told that `alpine` is this name.
    fn uses(&self, alpine: &str, listed: &str) {
        let registry = self.registry();
        let ran = self.types(USAGE).expect(0).says(&format!("Source: {alpine}"));
        let ran = ran.says(&format!("Source: {registry}/container-base:latest"));
        assert!(ran.stdout.lines().any(|line| line == "hello"), "{ran}");
        assert!(ran.stdout.contains(&format!("\"{listed}\"")), "inspected: {ran}");
        let base = self.id(&format!("{registry}/container-base"));
        let removal = REMOVAL.replace("<image>", "alpine").replace("e7b39c54cdec", &base);
        // As Docker does, it asks for the container first that was made of it.
        self.types(&removal).expect(1).says("used by a container").says("hint: `vdkr ps -a` lists containers, `vdkr rm`");
        self.types("vdkr rm $(vdkr ps -aq)").expect(0);
        let ran = self.types(&removal).expect(0);
        assert!(ran.stdout.contains(&format!("Untagged: {listed}\n")), "{ran}");
        assert!(ran.stdout.contains(&format!("Deleted: sha256:{base}")), "{ran}");
        let left = self.vm.ok(&["images", "--format", "{{.Repository}}"]);
        assert_eq!(left.stdout, "box\n", "{ran}");
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = self.shell("$TOPDIR/container-registry/container-registry.sh stop").output();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// From the start of the registry to the removal of its images: what was imported into it is what `alpine` means.
#[test]
fn every_line_does_what_it_says() {
    let desk = Desk::new();
    let base = format!("Source: {}/container-base:latest", desk.registry());
    let ran = desk.types(QUICK_START).expect(0).says(&base);
    assert!(ran.stdout.contains("Import complete"), "{ran}");
    desk.types(WORKFLOW).expect(0).says(&base);
    let alpine = format!("{}/alpine:latest", desk.registry());
    desk.uses(&alpine, &alpine);
}

/// Without an import, `alpine` is Docker Hub's.
#[test]
fn what_the_registry_has_not_comes_from_docker_hub() {
    let desk = Desk::new();
    desk.types(&QUICK_START.lines().filter(|line| !line.contains(" import ")).collect::<Vec<_>>().join("\n")).expect(0);
    desk.uses("docker.io/library/alpine:latest", "alpine:latest");
}
