//! The recipe of `wharf` and `wharf-native`: its list of crates, where its source comes from, and a build of it by the real BitBake.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use wharf_tests::{BitBake, run_tool};

/// Where this repository lies.
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const RECIPE: &str = "meta-wharf/recipes-devtools/wharf";

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn repository(name: &str) -> PathBuf {
    Path::new(REPOSITORY).join(name)
}

/// The version of the workspace, and the oldest Rust that builds it.
fn workspace() -> (String, String) {
    let cargo = read(repository("Cargo.toml"));
    let value = |key: &str| {
        let line = cargo.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='));
        line.expect("a key of the workspace").trim().trim_matches('"').to_owned()
    };
    (value("version"), value("rust-version"))
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let who = ["-C", folder.to_str().unwrap(), "-c", "user.name=A", "-c", "user.email=a@example.org"];
    run_tool("git", &[&who[..], arguments].concat(), None).trim().to_owned()
}

/// Where `wharf-native` has its source, and what comes with it.
fn sources(bitbake: &BitBake) -> PathBuf {
    bitbake.path("tmp/work/native/wharf-native").join(workspace().0).join("sources")
}

/// What `scripts/update-recipe-crates` writes is what is there.
#[test]
fn the_recipe_follows_the_workspace() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("wharf_0.0.1.bb");
    fs::write(&recipe, "").unwrap();
    run_tool(repository("scripts/update-recipe-crates").to_str().unwrap(), &[folder.path().to_str().unwrap()], None);

    let (version, rust) = workspace();
    let name = format!("wharf_{version}.bb");
    assert!(folder.path().join(&name).exists() && !recipe.exists(), "the recipe has the version of the workspace in its name");
    let advice = "run scripts/update-recipe-crates";
    assert!(repository(RECIPE).join(&name).exists(), "there is no {name}: {advice}");
    let list = read(folder.path().join("wharf-crates.inc"));
    assert!(list == read(repository(RECIPE).join("wharf-crates.inc")), "wharf-crates.inc is not what Cargo.lock says: {advice}");
    let crates = read(repository("Cargo.lock")).matches("\nchecksum = ").count();
    assert_eq!((list.matches("crate://").count(), list.matches(".sha256sum]").count()), (crates, crates));

    let recipe = read(repository(RECIPE).join("wharf-source.inc"));
    assert!(recipe.contains(&format!("Rust {rust}")), "the recipe says which Rust it needs");
    let license = run_tool("md5sum", &[repository("LICENSE").to_str().unwrap()], None);
    assert!(recipe.contains(&format!("file://LICENSE;md5={}", license.split(' ').next().unwrap())), "{license}");
}

/// A copy of what the recipe takes from the checkout, with the layer in it, beside the build directory. The crates are left out.
fn copied_checkout(bitbake: &BitBake) -> PathBuf {
    let checkout = bitbake.path("../checkout");
    let taken = [".cargo", "Cargo.lock", "Cargo.toml", "LICENSE", "bench", "crates", "meta-wharf"];
    for name in taken.into_iter().chain([
        "fuzz/Cargo.toml",
        "fuzz/src",
        "tests/Cargo.toml",
        "tests/src",
        "trials/Cargo.toml",
        "trials/src",
    ]) {
        let target = checkout.join(name);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        run_tool("cp", &["-r", repository(name).to_str().unwrap(), target.to_str().unwrap()], None);
    }
    bitbake.layers(&[&bitbake.core(), &checkout.join("meta-wharf")]);
    bitbake.configure("SRC_URI:pn-wharf-native = \"${WHARF_SRC_URI}\"");
    checkout
}

/// The source is the checkout as it stands, whether git knows of it or not; or what git knows.
#[test]
fn the_source_is_the_checkout_or_a_commit() {
    let bitbake = BitBake::new();
    let checkout = copied_checkout(&bitbake);
    let source = sources(&bitbake).join(format!("wharf-{}", workspace().0));
    let file = "crates/wharf/src/new.rs";
    let unpack = || bitbake.ok(&["wharf-native", "-c", "unpack"]);

    unpack();
    for name in ["Cargo.lock", "crates/oci/src/digest.rs", ".cargo/config.toml", "LICENSE"] {
        assert_eq!(read(source.join(name)), read(checkout.join(name)), "{name}");
    }
    assert!(!source.join("meta-wharf").exists(), "the layer is no source of the program");
    fs::write(checkout.join(file), "// one").unwrap();
    let changed = unpack();
    assert!(changed.stdout.contains("do_unpack: Started"), "{changed}");
    assert_eq!(read(source.join(file)), "// one", "a change that is not committed");
    let again = unpack();
    assert!(!again.stdout.contains("do_unpack: Started"), "{again}");

    git(&checkout, &["init", "--quiet"]);
    git(&checkout, &["add", "."]);
    git(&checkout, &["commit", "--quiet", "--message=one"]);
    let commit = git(&checkout, &["rev-parse", "HEAD"]);
    fs::write(checkout.join(file), "// two").unwrap();
    let url = format!("git://{};protocol=file;nobranch=1", checkout.canonicalize().unwrap().display());
    bitbake.configure(&format!("WHARF_SRC_URI = \"{url}\"\nWHARF_SRCREV = \"{commit}\"\nBB_NO_NETWORK = \"1\""));
    unpack();
    assert_eq!(read(source.join(file)), "// one", "the commit that was named");
}

/// A layer that lies alone is no error for those who bring a program of their own.
#[test]
fn a_layer_without_checkout_says_what_to_set() {
    let bitbake = BitBake::new();
    let layer = bitbake.path("../alone/meta-wharf");
    fs::create_dir_all(layer.parent().unwrap()).unwrap();
    run_tool("cp", &["-r", repository("meta-wharf").to_str().unwrap(), layer.to_str().unwrap()], None);
    bitbake.layers(&[&bitbake.core(), &layer]);
    bitbake.ok(&["container-registry-index", "-c", "generate_registry_script"]);
    let ran = bitbake.run(&["wharf-native"]).expect(1);
    assert!(ran.stderr.contains("set WHARF_SRC_URI and WHARF_SRCREV"), "{ran}");
    bitbake.configure("WHARF_SRC_URI = \"git://localhost/wharf;protocol=https;nobranch=1\"\nWHARF_SRCREV = \"0123456789012345678901234567890123456789\"");
    assert!(bitbake.ok(&["-e", "wharf-native"]).stdout.contains("SRC_URI=\"git://localhost/wharf;"), "the recipe is there");
}

/// A mirror of the crates, out of what Cargo has fetched for this workspace. `scripts/test` sees to it that it has fetched all.
fn mirror(bitbake: &BitBake) -> PathBuf {
    let home =
        std::env::var("CARGO_HOME").map_or_else(|_| Path::new(&std::env::var("HOME").unwrap()).join(".cargo"), PathBuf::from);
    let mirror = bitbake.path("../mirror");
    fs::create_dir(&mirror).unwrap();
    for registry in fs::read_dir(home.join("registry/cache")).unwrap() {
        for file in fs::read_dir(registry.unwrap().path()).unwrap() {
            let file = file.unwrap();
            let _ = symlink(file.path(), mirror.join(file.file_name()));
        }
    }
    bitbake.configure(&format!("BB_NO_NETWORK = \"1\"\nPREMIRRORS = \"https?://.*/.* file://{}/\"", mirror.display()));
    mirror
}

/// What is not the crate that Cargo.lock means is not unpacked.
#[test]
fn a_changed_crate_is_refused() {
    let bitbake = BitBake::new();
    let mirror = mirror(&bitbake);
    let crates = fs::read_dir(&mirror).unwrap().map(|entry| entry.unwrap().path());
    let changed = crates.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("bytes-1.")).collect::<Vec<_>>();
    for path in &changed {
        let content = [&fs::read(path).unwrap()[..], b"more"].concat();
        fs::remove_file(path).unwrap();
        fs::write(path, content).unwrap();
    }
    assert!(!changed.is_empty());
    let ran = bitbake.run(&["wharf-native", "-c", "fetch"]).expect(1);
    assert!(ran.stdout.contains("Checksum mismatch") && ran.stdout.contains("bytes-1."), "{ran}");
}

/// Where `wharf-native` is made by the machine's own toolchain, of crates of a mirror. As quick as it gets: how fast the program is does
/// not count here.
fn build_natively(bitbake: &BitBake) {
    mirror(bitbake);
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    bitbake.configure(&format!(
        "WHARF = \"\"\nRUST_HOST_BINDIR = \"{}/bin\"\nBUILD_OPTIMIZATION = \"-O0 -pipe\"\n\
         export CARGO_PROFILE_RELEASE_OPT_LEVEL = \"0\"\nexport CARGO_PROFILE_RELEASE_DEBUG = \"0\"",
        String::from_utf8(sysroot.stdout).unwrap().trim()
    ));
}

/// Crates of a mirror are fetched and unpacked by BitBake's own fetcher, and Cargo finds in them all that it asks for, without network.
#[test]
fn the_crates_come_from_a_mirror() {
    let bitbake = BitBake::new();
    build_natively(&bitbake);
    bitbake.ok(&["wharf-native", "-c", "configure"]);

    let (version, rust) = workspace();
    let home = sources(&bitbake).join("cargo_home");
    let listed = read(repository(RECIPE).join("wharf-crates.inc")).matches("crate://").count();
    assert_eq!(
        fs::read_dir(home.join("bitbake")).unwrap().count(),
        listed,
        "every crate of the list is unpacked, and nothing else"
    );

    let manifest = sources(&bitbake).join(format!("wharf-{version}/Cargo.toml"));
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--frozen", "--format-version=1", "--manifest-path", manifest.to_str().unwrap()]);
    let output = cargo.env("CARGO_HOME", &home).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let vendored =
        packages.iter().filter(|package| Path::new(package["manifest_path"].as_str().unwrap()).starts_with(home.join("bitbake")));
    assert_eq!(vendored.count(), listed, "Cargo takes every crate from what was unpacked");

    let number = |version: &str| version.split('.').map(|part| part.parse::<u32>().unwrap()).collect::<Vec<_>>();
    for package in packages {
        if let Some(needed) = package["rust_version"].as_str() {
            assert!(number(needed) <= number(&format!("{rust}.0")), "{} needs Rust {needed}", package["name"]);
        }
    }
}

/// From those crates to the program that the registry's script runs.
#[test]
#[ignore = "compiles the whole program, which takes minutes: make native"]
fn the_program_is_built_from_a_mirror() {
    let bitbake = BitBake::new();
    build_natively(&bitbake);
    bitbake.ok(&["container-registry-index", "-c", "generate_registry_script"]);

    let version = workspace().0;
    let work = bitbake.path("tmp/work/native/wharf-native").join(&version);
    let installed: Vec<_> = fs::read_dir(work.join("image/usr/bin")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(installed, ["wharf"], "the program alone");

    // The settings of the repository reached the C code.
    let found = run_tool("find", &[work.join("build/target").to_str().unwrap(), "-name", "libsqlite3.a"], None);
    let symbols = run_tool("nm", &[found.trim()], None);
    assert!(symbols.contains("U fdatasync"), "SQLite syncs its log with fdatasync");

    // The program stays when tmp/ goes.
    fs::remove_dir_all(bitbake.path("tmp")).unwrap();
    let script = bitbake.wharf.through(&bitbake.path("container-registry/container-registry.sh"));
    let script = script.without("CONTAINER_REGISTRY_URL").without("TOPDIR").env("PATH", "/usr/bin:/bin");
    let info = script.ok(&["info"]);
    assert!(info.stdout.contains(&version), "{info}");
}

/// The same for vdkr, by the recipe of its own.
#[test]
#[ignore = "compiles the whole program, which takes minutes: make native"]
fn vdkr_is_built_from_a_mirror() {
    let bitbake = BitBake::new();
    build_natively(&bitbake);
    bitbake.ok(&["vdkr-native"]);
    let version = workspace().0;
    let work = bitbake.path("tmp/work/native/vdkr-native").join(&version);
    let programs = work.join("image/usr/bin");
    let installed: Vec<_> = fs::read_dir(&programs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(installed, ["vdkr"], "the program alone");
    let said = run_tool(programs.join("vdkr").to_str().unwrap(), &["--version"], None);
    assert_eq!(said.trim(), format!("vdkr {version}"));
}
