use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use super::*;

const OLD: &str = "container-base-qemux86-64.rootfs-20260101000000-oci";
const NEW: &str = "container-base-qemux86-64.rootfs-20260112143022-oci";
const LINK: &str = "container-base-latest-oci";

/// A deploy folder with machines' folders.
struct Deploy(tempfile::TempDir);

impl Deploy {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn root(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    fn machine(&self, name: &str) -> Machine {
        let folder = self.root().join(name);
        fs::create_dir_all(&folder).unwrap();
        Machine(folder)
    }
}

struct Machine(PathBuf);

impl Machine {
    /// A layout; its annotation is `latest`, as that of every layout in these tests.
    fn layout(&self, name: &str) -> PathBuf {
        let folder = self.0.join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("index.json"), "{}").unwrap();
        folder
    }

    fn archive(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, "tar").unwrap();
        path
    }

    fn link(&self, name: &str, target: &str) {
        symlink(target, self.0.join(name)).unwrap();
    }

    fn written(&self, name: &str, seconds: u64) {
        let path = self.0.join(name);
        let file = if path.is_dir() { path.join("index.json") } else { path };
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
    }

    fn find(&self) -> Discovery {
        find(&Places::Machine(self.0.clone()))
    }

    /// The names with the basenames of their layouts.
    fn images(&self) -> Vec<(String, String)> {
        let found = self.find();
        assert!(found.warnings.is_empty() && found.broken.is_empty(), "{found:?}");
        pairs(&found)
    }
}

fn find(places: &Places) -> Discovery {
    discover(places, &|_| vec!["latest".to_owned()]).unwrap()
}

fn pairs(found: &Discovery) -> Vec<(String, String)> {
    let base = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    found.images.iter().map(|image| (image.name.clone(), base(&image.path))).collect()
}

fn pair(name: &str, base: &str) -> (String, String) {
    (name.to_owned(), base.to_owned())
}

fn qemux86_64() -> (Deploy, Machine) {
    let deploy = Deploy::new();
    let machine = deploy.machine("qemux86-64");
    (deploy, machine)
}

#[test]
fn only_what_the_link_points_to_counts() {
    let (_deploy, machine) = qemux86_64();
    machine.layout(OLD);
    machine.layout(NEW);
    machine.link(LINK, OLD);
    assert_eq!(machine.images(), [pair("container-base", OLD)]);
    let found = machine.find().images.remove(0);
    assert_eq!(found.machine.as_deref(), Some("qemux86-64"));
    assert_eq!(found.path, machine.0.join(OLD));
    assert_eq!(found.link, Some(machine.0.join(LINK)));
}

#[test]
fn without_a_link_the_newest_counts() {
    let (_deploy, machine) = qemux86_64();
    machine.layout(NEW);
    machine.layout(OLD);
    machine.written(NEW, 1);
    machine.written(OLD, 2);
    machine.layout("other-qemux86-64.rootfs-oci");
    assert_eq!(machine.images(), [pair("container-base", NEW), pair("other", "other-qemux86-64.rootfs-oci")]);
    let found = machine.find().images.remove(0);
    assert_eq!((found.built, found.link), (SystemTime::UNIX_EPOCH + Duration::from_secs(1), None));
}

#[test]
fn what_has_no_date_is_as_old_as_its_index() {
    let (_deploy, machine) = qemux86_64();
    machine.layout(NEW);
    machine.layout("container-base-oci");
    machine.written(NEW, 2_000);
    machine.written("container-base-oci", 1_000);
    assert_eq!(machine.images(), [pair("container-base", NEW)]);
    machine.written("container-base-oci", 3_000);
    assert_eq!(machine.images(), [pair("container-base", "container-base-oci")]);
}

#[test]
fn of_several_links_the_newest_target_counts() {
    let (_deploy, machine) = qemux86_64();
    machine.layout(OLD);
    machine.layout(NEW);
    machine.link(LINK, OLD);
    machine.link("container-base-qemux86-64.rootfs-oci", NEW);
    assert_eq!(machine.images(), [pair("container-base", NEW)]);
}

#[test]
fn a_link_with_a_tag_that_the_layout_has_no_more_is_of_the_same_image() {
    let (_deploy, machine) = qemux86_64();
    machine.layout(OLD);
    machine.layout(NEW);
    machine.link("container-base-v1_0-oci", OLD);
    machine.link(LINK, NEW);
    assert_eq!(machine.images(), [pair("container-base", NEW)]);
}

#[test]
fn a_link_names_a_layout_that_is_called_otherwise() {
    let (_deploy, machine) = qemux86_64();
    machine.layout("distro-qemux86-64-20260101000000-oci");
    machine.layout("distro-qemux86-64-20260112143022-oci");
    machine.link("app-latest-oci", "distro-qemux86-64-20260112143022-oci");
    assert_eq!(machine.images(), [pair("app", "distro-qemux86-64-20260112143022-oci")]);
}

#[test]
fn a_layout_reached_twice_counts_once() {
    let (deploy, machine) = qemux86_64();
    machine.layout(NEW);
    machine.archive(&format!("{NEW}.tar"));
    machine.link(LINK, NEW);
    machine.link("container-base-latest-oci.tar", &format!("{NEW}.tar"));
    machine.link("alias-oci", NEW);
    assert_eq!(machine.images(), [pair("container-base", NEW)]);
    assert_eq!(machine.find().images[0].link, Some(machine.0.join(LINK)));
    symlink(&machine.0, deploy.root().join("current")).unwrap();
    let root = deploy.root();
    let found = find(&Places::Machines(vec![root.clone(), machine.0, root]));
    assert_eq!(pairs(&found), [pair("container-base", NEW)]);
    assert_eq!(found.images[0].machine.as_deref(), Some("qemux86-64"));
}

#[test]
fn an_archive_counts_where_there_is_no_folder() {
    let (_deploy, machine) = qemux86_64();
    let archive = format!("{NEW}.tar");
    machine.archive(&archive);
    machine.archive("container-base-qemux86-64.rootfs-20260112143022-oci-dir.tar");
    machine.archive("rootfs.tar");
    machine.archive(&format!("{OLD}.tar"));
    assert_eq!(machine.images(), [pair("container-base", &archive)]);
    machine.link("container-base-latest-oci.tar", &format!("{OLD}.tar"));
    assert_eq!(machine.images(), [pair("container-base", &format!("{OLD}.tar"))]);
    machine.layout(OLD);
    assert_eq!(machine.images(), [pair("container-base", OLD)]);
}

#[test]
fn either_marker_makes_a_layout_and_nothing_else() {
    let (_deploy, machine) = qemux86_64();
    fs::create_dir(machine.0.join("a-oci")).unwrap();
    fs::write(machine.0.join("a-oci/oci-layout"), "{}").unwrap();
    fs::create_dir(machine.0.join("b-oci")).unwrap();
    fs::write(machine.0.join("c-oci"), "").unwrap();
    fs::create_dir(machine.0.join("d-oci.tar")).unwrap();
    fs::create_dir(machine.0.join("e-oci-bundle")).unwrap();
    let found = machine.find();
    assert_eq!(pairs(&found), [pair("a", "a-oci")]);
    let warnings: Vec<String> = found.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len() + found.broken.len(), 3, "{found:?}");
    assert!(warnings[0].contains("b-oci") && warnings[1].contains("c-oci") && warnings[2].contains("d-oci.tar"));
}

#[test]
fn a_dangling_link_leaves_the_newest() {
    let (_deploy, machine) = qemux86_64();
    machine.layout(OLD);
    machine.link(LINK, NEW);
    let found = machine.find();
    assert_eq!(pairs(&found), [pair("container-base", OLD)]);
    assert!(found.broken.is_empty());
    let message = found.warnings[0].to_string();
    assert!(message.contains(LINK) && message.contains(NEW), "{message}");
}

#[test]
fn with_nothing_else_the_image_is_broken_and_hides_no_other() {
    let (_deploy, machine) = qemux86_64();
    machine.layout("other-oci");
    machine.link(LINK, NEW);
    machine.link("container-base-latest-oci.tar", &format!("{NEW}.tar"));
    machine.link("round-latest-oci", "round-latest-oci");
    fs::create_dir(machine.0.join("empty")).unwrap();
    machine.link("void-oci", "empty");
    let found = machine.find();
    assert_eq!(pairs(&found), [pair("other", "other-oci")]);
    let names: Vec<&str> = found.broken.iter().map(|broken| broken.name.as_str()).collect();
    assert_eq!(names, ["container-base", "round", "void"]);
    assert!(matches!(found.broken[0].why, Warning::Dangling { .. }));
    assert!(matches!(found.broken[1].why, Warning::Unreadable { .. }));
    assert!(matches!(found.broken[2].why, Warning::NoLayout(_)));
    assert_eq!(found.broken[0].machine.as_deref(), Some("qemux86-64"));
    assert_eq!(found.warnings.len(), 1, "the archive's link is told beside the folder's: {found:?}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let (deploy, machine) = qemux86_64();
    machine.layout("other-oci");
    let layout = machine.layout("locked-oci");
    let closed = deploy.machine("closed");
    for folder in [&layout, &closed.0] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let readable = fs::read_dir(&layout).is_ok();
    let found = find(&Places::Machines(vec![deploy.root()]));
    for folder in [&layout, &closed.0] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    // Root may read everything.
    if readable {
        assert_eq!(found.images.len(), 2);
    } else {
        assert_eq!(pairs(&found), [pair("other", "other-oci")]);
        assert_eq!(found.broken[0].name, "locked");
        assert!(found.warnings[0].to_string().contains("closed"));
    }
}

#[test]
fn a_name_that_is_not_unicode_is_a_warning() {
    let (_deploy, machine) = qemux86_64();
    machine.layout("a-oci");
    fs::create_dir(machine.0.join(OsStr::from_bytes(b"\xff-oci"))).unwrap();
    fs::create_dir(machine.0.join(OsStr::from_bytes(b"\xff"))).unwrap();
    let found = machine.find();
    assert_eq!(pairs(&found), [pair("a", "a-oci")]);
    assert!(matches!(found.warnings[..], [Warning::NotUnicode(_)]));
}

#[test]
fn each_machine_has_its_own() {
    let deploy = Deploy::new();
    for (machine, base) in [("qemux86-64", NEW), ("qemuarm64", "container-base-qemuarm64.rootfs-oci"), ("x", "app-qemuarm64-oci")]
    {
        deploy.machine(machine).layout(base);
    }
    let elsewhere = Deploy::new();
    let direct = elsewhere.machine("raspberrypi4-64");
    direct.layout("app-raspberrypi4-64-oci");
    let missing = deploy.root().join("missing");
    let found = find(&Places::Machines(vec![missing.clone(), deploy.root(), direct.0]));
    let shown: Vec<String> = found.images.iter().map(|it| format!("{} {}", it.machine.as_deref().unwrap(), it.name)).collect();
    assert_eq!(shown, ["qemuarm64 container-base", "qemux86-64 container-base", "x app-qemuarm64", "raspberrypi4-64 app"]);
    assert!(matches!(&found.warnings[..], [Warning::Unreadable { path, .. }] if *path == missing));
}

#[test]
fn the_machine_is_known_by_the_folder_behind_a_link_too() {
    let (deploy, machine) = qemux86_64();
    machine.layout("app-qemux86-64-oci");
    let link = deploy.root().join("current");
    symlink(&machine.0, &link).unwrap();
    let found = find(&Places::Machine(link));
    assert_eq!((found.images[0].name.as_str(), found.images[0].machine.as_deref()), ("app", Some("current")));
    let found = find(&Places::Machine(machine.0.join(".")));
    assert_eq!((found.images[0].name.as_str(), found.images[0].machine.as_deref()), ("app", Some("qemux86-64")));
}

#[test]
fn nowhere_to_look_is_an_error() {
    let look = |places: Places| discover(&places, &|_| Vec::new()).unwrap_err();
    let missing = PathBuf::from("/no/such/folder");
    assert!(look(Places::Machine(missing.clone())).to_string().contains("/no/such/folder"));
    assert!(matches!(look(Places::Machines(vec![missing.clone(), missing])), DeployError::Place { .. }));
    assert!(matches!(look(Places::Machines(Vec::new())), DeployError::NoPlace));
}
