//! What the scripts do to the machine they run on, with stand-ins for the programs that would change it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// A folder of stand-ins that come first on the PATH. Each notes how it was called.
struct Stage(TempDir);

impl Stage {
    fn new() -> Self {
        let stage = Self(tempfile::tempdir().expect("a folder"));
        stage.program("sudo", "exec \"$@\"");
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let log = self.path("log");
        let text = format!("#!/bin/sh\necho \"{name} $*\" >>{}\n{script}\n", log.display());
        fs::write(self.path(name), text).expect("a stand-in");
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).expect("an executable");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").expect("a PATH");
        command.env("PATH", format!("{}:{path}", self.0.path().display())).current_dir(root());
        command
    }

    /// Runs a line of shell after the scripts' common part, with a policy file of its own.
    fn shell(&self, line: &str) -> Output {
        let policy = self.path("policy");
        let script = format!("set -euo pipefail; . scripts/lib.sh; policy_file={}; {line}", policy.display());
        self.command("bash").args(["-c", &script]).output().expect("run bash")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn nothing_is_removed_and_no_service_is_started_by_an_installation() {
    let stage = Stage::new();
    let policy = stage.path("policy");
    stage.program("apt-get", &format!("[ \"$1\" != install ] || {} >>{}", policy.display(), stage.path("log").display()));
    // The policy answers 101, which means no.
    let output = stage.shell("need surely-no-command=some-package");
    assert!(!output.status.success(), "the stand-in ends with what the policy answers");
    assert!(stage.log().contains(" --no-remove some-package"), "{}", stage.log());
    assert!(text(&output.stderr).contains("could not install some-package"), "{}", text(&output.stderr));
    assert!(!policy.exists(), "it stays only while apt works");

    stage.program("apt-get", &format!("[ \"$1\" != install ] || [ -x {} ]", policy.display()));
    assert!(stage.shell("apt_install some-package").status.success(), "{}", stage.log());
    assert!(!policy.exists());
}

#[test]
fn the_policy_goes_when_an_installation_is_interrupted_and_an_administrators_stays() {
    let stage = Stage::new();
    let policy = stage.path("policy");
    for signal in ["INT", "TERM"] {
        stage.program("apt-get", &format!("[ \"$1\" != install ] || kill -{signal} $PPID"));
        assert!(!stage.shell("apt_install some-package").status.success());
        assert!(!policy.exists(), "{signal}");
    }
    stage.program("apt-get", "");
    fs::write(&policy, "#!/bin/sh\nexit 101\n").expect("a file");
    assert!(stage.shell("apt_install some-package").status.success());
    assert!(policy.exists());
}

#[test]
fn who_is_neither_root_nor_has_sudo_is_told_what_to_install() {
    let stage = Stage::new();
    stage.program("id", "echo 1000");
    stage.program("apt-get", "");
    fs::remove_file(stage.path("sudo")).expect("the stand-in");
    let output = stage.shell(&format!("PATH={}; need surely-no-command=some-package", stage.0.path().display()));
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("no sudo: apt-get install some-package") && said.contains("hint: run it as root"), "{said}");
    assert!(!stage.log().contains("apt-get"), "{}", stage.log());
}

/// A network that fails once is no answer, and the next run asks again.
#[test]
fn what_is_not_offered_is_remembered_only_when_that_was_the_answer() {
    for (says, code, is_remembered) in [
        ("", 0, true),
        ("E: Failed to fetch one  404  Not Found", 100, true),
        ("E: Failed to fetch one  404  Not Found\nE: Failed to fetch two  Temporary failure resolving", 100, false),
        ("E: Failed to fetch one  Temporary failure resolving", 100, false),
        ("E: Could not get lock", 100, false),
    ] {
        let stage = Stage::new();
        stage.program("apt-get", &format!("case \"$*\" in *update) echo '{says}'; exit {code} ;; esac; exit 100"));
        stage.program("apt-cache", "exit 100");
        let folder = stage.path("busybox");
        let output = stage.shell(&format!("fetch_busybox arm64 {}", folder.display()));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(folder.join("not-offered").exists(), is_remembered, "{says}: {output:?}");
    }
}

/// `scripts/install-test-tools` where everything is there but these packages, of which those named are not offered.
fn install(stage: &Stage, missing: &str, unknown: &str) -> Command {
    let entries = |file: &str| {
        let text = fs::read_to_string(root().join("tests").join(file)).expect("a list");
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim().to_owned());
        lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    };
    stage.program("dpkg-query", &format!("case $4 in {missing}) exit 1 ;; esac; printf installed"));
    stage.program("apt-cache", &format!("case $2 in {unknown}) exit 100 ;; esac"));
    stage.program("apt-get", "");
    stage.program("install", "");
    let (target, venv) = (stage.path("target"), stage.path("venv"));
    for architecture in ["arm64", "i386", "armhf"] {
        let folder = target.join(format!("test-{architecture}"));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("not-offered"), "").expect("a file");
    }
    fs::create_dir_all(venv.join("bin")).expect("a folder");
    fs::write(venv.join("installed"), entries("packages.pip")).expect("a file");
    fs::copy(stage.path("sudo"), venv.join("bin/python")).expect("an executable");
    let mut command = stage.command("scripts/install-test-tools");
    command.env("CARGO_TARGET_DIR", target).env("WHARF_TEST_VENV", venv).env("CARGO_HOME", stage.path("cargo"));
    command
}

#[test]
fn an_engine_from_elsewhere_is_used_and_what_is_not_offered_is_told() {
    let stage = Stage::new();
    stage.program("cargo-nextest", "");
    for engine in ["dockerd", "containerd", "runc"] {
        stage.program(engine, "");
    }
    let mut command = install(&stage, "docker.io|containerd|runc|netavark|skopeo", "netavark");
    let output = command.output().expect("run scripts/install-test-tools");
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).contains("no netavark: this release does not offer it"), "{output:?}");
    let log = stage.log();
    let installed: Vec<_> = log.lines().filter(|line| line.starts_with("apt-get install")).collect();
    assert!(installed.len() == 1 && installed[0].ends_with("--no-remove skopeo"), "{installed:?}");
}

/// Only on a machine of continuous integration: elsewhere the newer one has been chosen by somebody.
#[test]
fn what_is_newer_than_its_release_gives_way_in_ci_alone() {
    for (ci, installed) in [("true", "--no-remove skopeo --allow-downgrades qemu-utils=1:7.2"), ("", "--no-remove skopeo")] {
        let stage = Stage::new();
        stage.program("cargo-nextest", "");
        let mut command = install(&stage, "skopeo", "none");
        stage.program(
            "dpkg-query",
            "[ $4 != skopeo ] || exit 1; case $3 in *Status*) printf installed ;; *) printf 1:10.0.2~bpo12 ;; esac",
        );
        stage.program("apt-cache", "[ $1 != madison ] || [ $2 != qemu-utils ] || echo 'qemu-utils | 1:7.2 | bookworm/main'");
        let output = command.env("CI", ci).output().expect("run scripts/install-test-tools");
        assert!(output.status.success(), "{output:?}");
        let log = stage.log();
        assert!(log.lines().any(|line| line.starts_with("apt-get install") && line.ends_with(installed)), "{log}");
    }
}
