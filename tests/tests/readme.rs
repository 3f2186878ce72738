//! The transcript of the README, replayed: `make run` in a folder of its own, on a free port.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn wharf() -> PathBuf {
    let own = std::env::current_exe().expect("the path of the test program");
    let built = own.ancestors().skip(1).take(2).map(|folder| folder.join("wharf")).find(|path| path.is_file());
    std::env::var_os("WHARF_BIN").map(PathBuf::from).or(built).expect("a wharf beside the tests, or WHARF_BIN")
}

/// A folder and a port for one registry, which is stopped when the test ends, however it ends.
struct Place {
    folder: TempDir,
    port: u16,
}

impl Place {
    fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        Self { folder: tempfile::Builder::new().prefix("wharf-readme-").tempdir().expect("a temporary folder"), port }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("the temporary folder")
    }

    /// What the person at the terminal has not set is not set.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if ["CONTAINER_REGISTRY_", "REGISTRY_", "DEPLOY_DIR_", "TOPDIR"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name.as_ref());
            }
        }
        command.current_dir(self.path()).env("PWD", self.path());
        command.env("CONTAINER_REGISTRY_URL", format!("localhost:{}", self.port)).env("WHARF_BIN", wharf());
        command
    }

    fn run(&self) -> Output {
        self.command(&root().join("scripts/run")).output().expect("run scripts/run")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.command(&wharf()).arg("stop").output();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The console block of the README: the command, and what it prints.
fn transcript() -> (String, String) {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let (_, rest) = readme.split_once("```console\n$ ").expect("a transcript");
    let (block, _) = rest.split_once("```").expect("the end of the transcript");
    let (command, output) = block.split_once('\n').expect("a command, then its output");
    (command.to_owned(), output.to_owned())
}

/// The text with what differs from one run, and one machine, to another replaced by its kind.
fn masked(text: &str) -> Vec<String> {
    let own = wharf();
    let text = text.replace(own.to_str().expect("a path in UTF-8"), "target/release/wharf");
    let text = masked_after(&text, "sha256:", |c| c.is_ascii_hexdigit());
    let text = masked_after(&text, "localhost:", |c| c.is_ascii_digit());
    // The tag of the time: 20260112-143022.
    let text = masked_after(&text, "container-base:20", |c| c.is_ascii_digit() || c == '-');
    let text = masked_after(&text, "container-base: 20", |c| c.is_ascii_digit() || c == '-');
    // What only a first run on a machine says.
    let often = |line: &&str| !line.starts_with("install ") && !line.starts_with("build   this takes");
    text.lines().filter(often).map(str::to_owned).collect()
}

/// Takes out the characters that `part` accepts, where they follow `before`.
fn masked_after(text: &str, before: &str, part: impl Fn(char) -> bool) -> String {
    let mut pieces = text.split(before);
    let mut result = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        result.extend([before, "…", piece.trim_start_matches(&part)]);
    }
    result
}

/// Takes out an architecture for which apt had no package: Ubuntu's mirrors have one each.
fn without(lines: &mut Vec<String>, architecture: &str, machine: &str) {
    lines.retain(|line| !line.contains(architecture) && !line.contains(machine));
}

#[test]
fn the_transcript_is_what_happens() {
    let (command, expected) = transcript();
    assert_eq!(command, "make run");
    let makefile = std::fs::read_to_string(root().join("Makefile")).expect("Makefile");
    assert!(makefile.contains("\nrun: ") && makefile.contains("\n\t@scripts/run\n"), "make run is scripts/run");

    let place = Place::new();
    let first = place.run();
    let printed = text(&first.stdout);
    assert!(first.status.success(), "{printed}{}", text(&first.stderr));
    assert_eq!(text(&first.stderr), "");
    let (mut expected, mut got) = (masked(&expected), masked(&printed));
    for (architecture, machine) in [("x86_64", "qemux86-64"), ("aarch64", "qemuarm64")] {
        if printed.contains(&format!("none for {architecture}")) {
            without(&mut expected, architecture, machine);
            without(&mut got, architecture, machine);
        }
    }
    assert_eq!(got, expected, "the README shows something else");

    // Again, with the registry running and the images there: the same, to the digest.
    let second = place.run();
    assert!(second.status.success(), "{}", text(&second.stderr));
    let again = text(&second.stdout);
    assert_eq!(again.lines().last(), printed.lines().last());
    let digests = |text: &str| {
        let pushed = text.lines().filter(|line| line.starts_with("push "));
        pushed.filter_map(|line| line.rsplit_once(' ')).map(|(_, digest)| digest.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(digests(&printed).len(), 2, "{printed}");
    assert_eq!(digests(&again), digests(&printed));
    assert!(place.command(&wharf()).arg("status").output().expect("run wharf").status.success(), "it goes on running");

    // The same layouts as a build's own folder.
    let build = place.command(&root().join("scripts/run")).env("DEPLOY_DIR_IMAGES", "run/deploy/images").output().expect("run");
    assert!(build.status.success(), "{}", text(&build.stderr));
    assert_eq!(digests(&text(&build.stdout)), digests(&printed));
}

#[test]
fn a_port_in_use_is_told_with_the_way_out() {
    let place = Place::new();
    let layout = place.path().join("images/qemux86-64/a-qemux86-64-oci");
    std::fs::create_dir_all(&layout).expect("a folder");
    std::fs::write(layout.join("oci-layout"), "").expect("a file");
    let _taken = TcpListener::bind(("127.0.0.1", place.port)).expect("the port");
    let output = place.command(&root().join("scripts/run")).env("DEPLOY_DIR_IMAGES", "images").output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(&place.port.to_string()) && said.contains("CONTAINER_REGISTRY_URL"), "{said}");
}

#[test]
fn a_folder_without_images_is_told() {
    let place = Place::new();
    let output = place.command(&root().join("scripts/run")).env("DEPLOY_DIR_IMAGES", "nothing").output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no folder nothing with images"), "{}", text(&output.stderr));
    assert!(!place.path().join("container-registry").exists(), "nothing was started");
}
