use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use proptest::prelude::*;

use super::*;

/// A program that tells what it was given.
const FAKE: &str = "#!/bin/sh\nprintf 'ran %s' \"$0\"\nprintf ' <%s>' \"$@\"\nprintf '\\n'\nenv -0 >\"$SEEN\"\n";

struct Fixture {
    root: tempfile::TempDir,
    script: PathBuf,
}

impl Fixture {
    fn new(baked: &Baked, storage: &StoragePlace) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a storage");
        fs::create_dir_all(folder.join("bin")).unwrap();
        let script = folder.join("container-registry.sh");
        write_program(&script, &render(baked, storage));
        Self { root, script }
    }

    fn folder(&self) -> PathBuf {
        self.script.parent().unwrap().canonicalize().unwrap()
    }

    fn own_wharf(&self) -> PathBuf {
        let program = self.folder().join("bin/wharf");
        write_program(&program, FAKE);
        program
    }

    /// Runs the script in a clean environment, in the folder above its own.
    fn run(&self, script: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command = Command::new("sh");
        command.arg(script).args(arguments).env_clear().current_dir(self.root.path());
        command.env("PATH", "/usr/bin:/bin").env("SEEN", self.root.path().join("seen"));
        command.envs(environment.iter().copied()).output().unwrap()
    }

    /// What the program saw in a variable.
    fn seen(&self, variable: &str) -> Option<String> {
        let seen = fs::read_to_string(self.root.path().join("seen")).unwrap();
        let start = format!("{variable}=");
        seen.split('\0').find_map(|entry| entry.strip_prefix(&start)).map(str::to_owned)
    }
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn baked(values: &[(Setting, &str)]) -> Baked {
    let mut baked = Baked::default();
    for (setting, value) in values {
        baked.set(*setting, value);
    }
    baked
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn settings_are_defaults_and_arguments_pass_through() {
    let values = baked(&[(Setting::Url, "localhost:5001"), (Setting::Namespace, "yocto"), (Setting::Auth, "")]);
    let fixture = Fixture::new(&values, &StoragePlace::BesideScript);
    let program = fixture.own_wharf();
    let environment = [("CONTAINER_REGISTRY_URL", ""), ("CONTAINER_REGISTRY_NAMESPACE", "mine")];
    let output = fixture.run(&fixture.script, &environment, &["push", "a b", "", "$x", "--tag=*"]);
    assert_eq!(stdout(&output), format!("ran {} <push> <a b> <> <$x> <--tag=*>\n", program.display()));
    assert!(output.status.success() && output.stderr.is_empty());
    assert_eq!(fixture.seen("CONTAINER_REGISTRY_URL").as_deref(), Some("localhost:5001"));
    assert_eq!(fixture.seen("CONTAINER_REGISTRY_NAMESPACE").as_deref(), Some("mine"));
    assert_eq!(fixture.seen("CONTAINER_REGISTRY_AUTH"), None);
    assert_eq!(fixture.seen("CONTAINER_REGISTRY_STORAGE").map(PathBuf::from), Some(fixture.folder()));
    assert_eq!(fixture.seen("WHARF_MESSAGES").as_deref(), Some("stdout"));
}

#[test]
fn any_value_arrives_as_it_is() {
    let fixture = Fixture::new(&Baked::default(), &StoragePlace::BesideScript);
    fixture.own_wharf();
    for value in [
        "it's",
        "''",
        "$HOME ${PATH} `id` $(id)",
        "\"q\" \\ \\n",
        " two  words ",
        "line\nline\n",
        "*?[a]",
        "-n",
        "!x # y; z & |",
        "ä\u{1}",
    ] {
        write_program(&fixture.script, &render(&baked(&[(Setting::Images, value)]), &StoragePlace::BesideScript));
        assert!(fixture.run(&fixture.script, &[], &[]).status.success());
        assert_eq!(fixture.seen("CONTAINER_REGISTRY_IMAGES").as_deref(), Some(value));
    }
}

#[test]
fn the_storage_is_found_through_links_and_after_a_move() {
    let fixture = Fixture::new(&Baked::default(), &StoragePlace::BesideScript);
    fixture.own_wharf();
    let links = fixture.root.path().join("links");
    fs::create_dir(&links).unwrap();
    symlink("../a storage/container-registry.sh", links.join("one")).unwrap();
    symlink("one", links.join("two")).unwrap();
    symlink(links.join("two"), fixture.root.path().join("three")).unwrap();
    for script in [Path::new("three"), Path::new("links/two"), Path::new("./a storage/container-registry.sh"), &links.join("one")]
    {
        let output = fixture.run(script, &[("CDPATH", "/usr")], &["list"]);
        assert!(stdout(&output).ends_with("<list>\n"), "{script:?}: {output:?}");
        assert_eq!(fixture.seen("CONTAINER_REGISTRY_STORAGE").map(PathBuf::from), Some(fixture.folder()), "{script:?}");
    }
    let moved = fixture.root.path().join("moved");
    fs::rename(fixture.folder(), &moved).unwrap();
    fixture.run(Path::new("moved/container-registry.sh"), &[], &[]);
    assert_eq!(fixture.seen("CONTAINER_REGISTRY_STORAGE").map(PathBuf::from), Some(moved.canonicalize().unwrap()));
}

#[test]
fn a_storage_elsewhere_is_used_as_written() {
    let elsewhere = tempfile::tempdir().unwrap();
    let storage = elsewhere.path().join("it's here");
    fs::create_dir_all(storage.join("bin")).unwrap();
    write_program(&storage.join("bin/wharf"), FAKE);
    let fixture = Fixture::new(&Baked::default(), &StoragePlace::At(storage.to_str().unwrap().to_owned()));
    let output = fixture.run(&fixture.script, &[], &[]);
    assert!(stdout(&output).starts_with(&format!("ran {}/bin/wharf", storage.display())), "{output:?}");
    assert_eq!(fixture.seen("CONTAINER_REGISTRY_STORAGE").map(PathBuf::from), Some(storage));
    fixture.own_wharf();
    let own = fixture.folder();
    fixture.run(&fixture.script, &[("CONTAINER_REGISTRY_STORAGE", own.to_str().unwrap())], &[]);
    assert_eq!(fixture.seen("CONTAINER_REGISTRY_STORAGE").map(PathBuf::from), Some(own));
}

#[test]
fn wharf_is_looked_for_in_three_places() {
    let fixture = Fixture::new(&Baked::default(), &StoragePlace::BesideScript);
    let chosen = fixture.root.path().join("chosen");
    let folder = fixture.root.path().join("programs");
    fs::create_dir(&folder).unwrap();
    write_program(&chosen, FAKE);
    write_program(&folder.join("wharf"), FAKE);
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let ran = |environment: &[(&str, &str)]| stdout(&fixture.run(&fixture.script, environment, &[]));
    let path = ("PATH", path.as_str());
    assert!(ran(&[path]).starts_with(&format!("ran {}/wharf ", folder.display())));
    fs::create_dir(fixture.folder().join("bin/wharf")).unwrap();
    assert!(ran(&[path]).starts_with(&format!("ran {}/wharf ", folder.display())), "a folder is no program");
    fs::remove_dir(fixture.folder().join("bin/wharf")).unwrap();
    let own = fixture.own_wharf();
    assert!(ran(&[path]).starts_with(&format!("ran {} ", own.display())));
    assert!(ran(&[path, ("WHARF", chosen.to_str().unwrap())]).starts_with(&format!("ran {} ", chosen.display())));
}

#[test]
fn without_wharf_it_is_said_how_to_get_one() {
    let fixture = Fixture::new(&Baked::default(), &StoragePlace::BesideScript);
    let plain = fixture.root.path().join("plain");
    fs::write(&plain, FAKE).unwrap();
    for environment in [&[][..], &[("WHARF", "/nowhere/wharf")], &[("WHARF", plain.to_str().unwrap())], &[("WHARF", "no-such")]] {
        let output = fixture.run(&fixture.script, environment, &["start"]);
        assert_eq!(output.status.code(), Some(1), "{environment:?}");
        let said = stdout(&output);
        assert!(said.contains("bin/wharf") && said.contains("PATH") && said.contains("WHARF"), "{said}");
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn its_exit_code_is_that_of_wharf() {
    let fixture = Fixture::new(&Baked::default(), &StoragePlace::BesideScript);
    write_program(&fixture.folder().join("bin/wharf"), "#!/bin/sh\nexit 7\n");
    assert_eq!(fixture.run(&fixture.script, &[], &[]).status.code(), Some(7));
}

#[test]
fn one_place_of_images_in_the_environment_hides_the_other_baked_one() {
    let (one, many) = ((Setting::DeployDirImage, "/one"), (Setting::DeployDirImages, "/many /more"));
    let seen = |values: &[(Setting, &str)], environment: &[(&str, &str)]| {
        let fixture = Fixture::new(&baked(values), &StoragePlace::BesideScript);
        fixture.own_wharf();
        fixture.run(&fixture.script, environment, &[]);
        (fixture.seen("DEPLOY_DIR_IMAGE").unwrap_or_default(), fixture.seen("DEPLOY_DIR_IMAGES").unwrap_or_default())
    };
    let pair = |one: &str, many: &str| (one.to_owned(), many.to_owned());
    assert_eq!(seen(&[one], &[]), pair("/one", ""));
    assert_eq!(seen(&[many], &[("DEPLOY_DIR_IMAGE", "/mine")]), pair("/mine", ""));
    assert_eq!(seen(&[one], &[("DEPLOY_DIR_IMAGES", "/mine")]), pair("", "/mine"));
    assert_eq!(seen(&[one, many], &[]), pair("", "/many /more"));
    assert_eq!(seen(&[one, many], &[("DEPLOY_DIR_IMAGE", "/mine")]), pair("/mine", ""));
}

#[test]
fn shellcheck_finds_nothing() {
    let all: Vec<_> = Setting::ALL.iter().map(|setting| (*setting, "it's `a` $b")).collect();
    for storage in [StoragePlace::BesideScript, StoragePlace::At("/a 'b'".to_owned())] {
        let fixture = Fixture::new(&baked(&all), &storage);
        // Where the tool is missing, the shell's own check remains.
        if let Ok(output) = Command::new("shellcheck").arg("--shell=sh").arg(&fixture.script).output() {
            assert!(output.status.success(), "{}", stdout(&output));
        }
        assert!(Command::new("sh").arg("-n").arg(&fixture.script).status().unwrap().success());
    }
}

#[test]
fn no_setting_holds_a_secret_and_each_comes_once() {
    let mut variables = Setting::ALL.map(Setting::variable).to_vec();
    assert!(Setting::ALL.is_sorted());
    assert!(variables.iter().all(|name| !name.contains("PASSWORD") && !name.contains("TOKEN")));
    variables.sort_unstable();
    variables.dedup();
    assert_eq!(variables.len(), Setting::ALL.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn quoting_is_safe_for_any_text(value in "[^\0]{1,40}") {
        let output = Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(&value))).output().unwrap();
        prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
    }
}
