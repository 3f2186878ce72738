//! The real BitBake, from PyPI, over `meta-wharf` and a small core layer of the tests' own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{Ran, Wharf, clients, run_tool};

/// Where this repository lies.
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A build directory with BitBake, in which WHARF is the program under test and the registry has a port of its own. What it started is ended when it is dropped.
pub struct BitBake {
    /// The program, run in the build directory.
    pub wharf: Wharf,
    /// The port of CONTAINER_REGISTRY_URL.
    pub port: u16,
    python: PathBuf,
    variables: Vec<(String, String)>,
    folder: TempDir,
}

impl BitBake {
    /// A build directory with the core layer and `meta-wharf`.
    #[expect(clippy::new_without_default, reason = "it copies files")]
    #[track_caller]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("wharf-bitbake-").tempdir().expect("a folder");
        let python = clients::python();
        let site = python.parent().expect("a folder").join("../lib");
        let bb = fs::read_dir(&site).expect("a virtual environment").map(|entry| entry.expect("an entry").path());
        let bb = bb.map(|version| version.join("site-packages/bb")).find(|bb| bb.exists());
        let bb = bb.expect("BitBake in the virtual environment: run scripts/install-test-tools");
        // Copied, for it looks for its commands beside its own real path.
        let own = folder.path().join("bitbake");
        run_tool("cp", &["-r", &format!("{REPOSITORY}/tests/bitbake"), text(&own)], None);
        run_tool("cp", &["-r", text(&bb), text(&own.join("lib"))], None);
        let build = folder.path().join("build");
        fs::create_dir_all(build.join("conf")).expect("make a folder");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
        let wharf = Wharf::new(&build).env("CONTAINER_REGISTRY_URL", &format!("localhost:{port}"));
        let bitbake = Self { wharf, port, python, variables: Vec::new(), folder };
        bitbake.layers(&[&own.join("core"), &Self::meta_wharf()]);
        bitbake.configure(&format!(
            "WHARF = \"{}\"\nCONTAINER_REGISTRY_URL = \"localhost:{port}\"\n",
            bitbake.wharf.program().display()
        ));
        bitbake
    }

    /// Puts these layers in the place of those that were there.
    pub fn layers(&self, layers: &[&Path]) {
        let layers: Vec<_> = layers.iter().map(|layer| text(layer)).collect();
        let config = format!("BBPATH = \"${{TOPDIR}}\"\nBBFILES ?= \"\"\nBBLAYERS = \"{}\"\n", layers.join(" "));
        fs::write(self.path("conf/bblayers.conf"), config).expect("write bblayers.conf");
    }

    /// Adds lines to local.conf.
    pub fn configure(&self, lines: &str) {
        let file = File::options().create(true).append(true).open(self.path("conf/local.conf"));
        writeln!(file.expect("local.conf"), "{lines}").expect("write local.conf");
    }

    /// The same, with a variable in the environment of the command.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A path in the build directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("build").join(name)
    }

    /// The folder of the core layer, which the test may change.
    pub fn core(&self) -> PathBuf {
        self.folder.path().join("bitbake/core")
    }

    /// The folder of `meta-wharf`.
    pub fn meta_wharf() -> PathBuf {
        Path::new(REPOSITORY).join("meta-wharf")
    }

    /// Writes a recipe into the core layer.
    pub fn recipe(&self, name: &str, text: &str) {
        let folder = self.core().join("recipes-test/test");
        fs::create_dir_all(&folder).expect("make a folder");
        fs::write(folder.join(name), text).expect("write a recipe");
    }

    /// Lets `lines`, python with `d` for a recipe, run whenever one was parsed; what it passes to `note` is in [`notes`](Self::notes).
    pub fn spy(&self, lines: &str) {
        fs::create_dir_all(self.path("classes")).expect("make a folder");
        let head = "addhandler spy\nspy[eventmask] = \"bb.event.RecipeParsed\"\npython spy() {\n    def note(text):\n        \
                    with open(d.expand(\"${TOPDIR}/notes\"), \"a\") as out:\n            out.write(text + \"\\n\")\n";
        let lines = lines.lines().map(|line| format!("    {line}\n")).collect::<String>();
        fs::write(self.path("classes/spy.bbclass"), format!("{head}{lines}}}\n")).expect("write a class");
        self.configure("INHERIT += \"spy\"");
    }

    /// What was noted, each once.
    pub fn notes(&self) -> BTreeSet<String> {
        fs::read_to_string(self.path("notes")).expect("notes").lines().map(str::to_owned).collect()
    }

    /// What the build left for a machine.
    pub fn deployed(&self, machine: &str, name: &str) -> PathBuf {
        self.path("tmp/deploy/images").join(machine).join(name)
    }

    /// Writes a recipe for an image of base-files into the core layer.
    pub fn image(&self, name: &str, lines: &str) {
        let folder = self.core().join("recipes-core/images");
        fs::create_dir_all(&folder).expect("a folder for recipes");
        let head =
            "SUMMARY = \"An image\"\nLICENSE = \"MIT\"\nIMAGE_FSTYPES = \"tar\"\ninherit image\nIMAGE_INSTALL = \"base-files\"\n";
        fs::write(folder.join(name).with_extension("bb"), [head, lines, "\n"].concat()).expect("write a recipe");
    }

    /// What a recipe for every architecture has installed.
    pub fn installed(&self, recipe: &str, path: &str) -> PathBuf {
        self.path("tmp/work/all").join(recipe).join("1.0/image").join(path)
    }

    /// What is in the root file system of an image.
    pub fn rootfs(&self, image: &str, path: &str) -> PathBuf {
        self.path("tmp/work/x86_64").join(image).join("1.0/rootfs").join(path)
    }

    /// Runs `bitbake` to its end, and its server too.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(&self.python);
        command.arg(self.folder.path().join("bitbake/bin/bitbake")).args(arguments).current_dir(self.path(""));
        command.env_clear().env("PATH", std::env::var("PATH").expect("a search path")).env("LANG", "C.UTF-8");
        command.env("HOME", self.folder.path()).envs(self.variables.iter().map(|(name, value)| (name, value)));
        let output = command.output().expect("run bitbake");
        // The server holds it for a moment longer.
        let lock = File::options().create(true).append(true).open(self.path("bitbake.lock")).expect("the server's lock");
        lock.lock().expect("lock");
        Ran::of(format!("bitbake {}", arguments.join(" ")), output)
    }

    /// Runs it, and asserts that it went well.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> Ran {
        self.run(arguments).expect(0)
    }

    /// Every task that targets need.
    #[track_caller]
    pub fn plan(&self, targets: &[&str]) -> Plan {
        let ran = self.ok(&[&["-g"], targets].concat());
        let graph = fs::read_to_string(self.path("task-depends.dot")).expect("the graph");
        let task = |line: &str| {
            let (task, label) = line.split_once(" [label=")?;
            let file = label.trim_end_matches("\"]").rsplit("\\n").next()?;
            Some((task.trim_matches('"').to_owned(), PathBuf::from(file)))
        };
        Plan { ran, tasks: graph.lines().filter_map(task).collect() }
    }

    /// Makes the build's folder a git repository with one commit on a branch, and gives the commit's short name.
    pub fn committed(&self, branch: &str) -> String {
        let build = self.path("");
        let who = ["-C", build.to_str().expect("UTF-8"), "-c", "user.name=A", "-c", "user.email=a@example.org"];
        let git = |arguments: &[&str]| run_tool("git", &[&who[..], arguments].concat(), None).trim().to_owned();
        git(&["init", "--quiet", "--initial-branch", branch]);
        git(&["commit", "--quiet", "--allow-empty", "--message=one"]);
        git(&["rev-parse", "--short", "HEAD"])
    }
}

/// What BitBake would do.
pub struct Plan {
    /// What it said.
    pub ran: Ran,
    /// The tasks, as `RECIPE.TASK`, each with the file of its recipe.
    pub tasks: BTreeMap<String, PathBuf>,
}

impl Plan {
    /// The recipes whose tasks they are, each with its file.
    pub fn recipes(&self) -> BTreeMap<&str, &Path> {
        self.tasks.iter().filter_map(|(task, file)| Some((task.rsplit_once('.')?.0, file.as_path()))).collect()
    }
}

impl Ran {
    /// The tasks that BitBake started, as `RECIPE task`, in order.
    pub fn started(&self) -> Vec<String> {
        let task = |line: &str| {
            let (recipe, task) = line.strip_prefix("NOTE: recipe ")?.strip_suffix(": Started")?.split_once(": task ")?;
            Some(format!("{recipe} {task}"))
        };
        self.stdout.lines().filter_map(task).collect()
    }
}

impl Drop for BitBake {
    fn drop(&mut self) {
        let storage = self.path("container-registry");
        if storage.exists() {
            self.wharf.run(&["stop", "--force"]);
        }
        // Servers of pseudo outlive what they served.
        let found = Command::new("find").arg(self.path("")).args(["-name", "pseudo.pid"]).output();
        for pid in String::from_utf8_lossy(&found.map(|found| found.stdout).unwrap_or_default()).lines() {
            let state = Path::new(pid).parent().unwrap_or(Path::new("/"));
            let _ = Command::new("pseudo").arg("-S").env("PSEUDO_PREFIX", "/usr").env("PSEUDO_LOCALSTATEDIR", state).output();
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
