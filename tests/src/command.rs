//! The `wharf` command as people run it: in a folder of its own, with an environment of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::Server;

/// A command's surroundings: a build directory, and variables. Nothing of the caller's environment gets through but the search path.
#[derive(Clone, Debug)]
pub struct Wharf {
    program: PathBuf,
    folder: PathBuf,
    variables: Vec<(String, String)>,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// The command line, for messages.
    pub line: String,
    /// The exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Wharf {
    /// `wharf` in a build directory, which becomes TOPDIR, HOME and the current folder. Time is UTC.
    pub fn new(folder: &Path) -> Self {
        let text = folder.to_str().expect("a path in UTF-8").to_owned();
        let variables = [
            ("PATH", std::env::var("PATH").expect("a search path")),
            ("HOME", text.clone()),
            ("TOPDIR", text),
            ("TZ", "UTC".to_owned()),
            ("CONTAINERS_REGISTRIES_CONF", "/dev/null".to_owned()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
        Self { program: crate::program::binary(), folder: folder.to_owned(), variables }
    }

    /// `vdkr` in a folder, which becomes HOME and the current folder, with nothing of a build.
    pub fn vdkr(folder: &Path) -> Self {
        let other = Self::new(folder).without("TOPDIR").env("VDKR_CONFIG_DEFAULTS", "/dev/null");
        Self { program: crate::program::vdkr(), ..other }
    }

    /// The same, talking to this server.
    pub fn with_server(folder: &Path, server: &Server) -> Self {
        Self::new(folder).env("CONTAINER_REGISTRY_URL", &server.address().to_string())
    }

    /// The same with a variable.
    #[must_use]
    pub fn env(&self, name: &str, value: &str) -> Self {
        let mut other = self.without(name);
        other.variables.push((name.to_owned(), value.to_owned()));
        other
    }

    /// The same without a variable.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut other = self.clone();
        other.variables.retain(|(known, _)| known != name);
        other
    }

    /// The same with another program in its place, such as container-registry.sh.
    #[must_use]
    pub fn through(&self, program: &Path) -> Self {
        Self { program: program.to_owned(), ..self.clone() }
    }

    /// The program itself.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The build directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The command, to be started by the test.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.folder).env_clear().envs(self.variables.iter().map(|(n, v)| (n, v)));
        command.stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Ran {
        let output = self.command(arguments).output().expect("run wharf");
        let words: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy().into_owned()).collect();
        Ran::of(words.join(" "), output)
    }

    /// Runs it, and asserts that it went well.
    #[track_caller]
    pub fn ok<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Ran {
        self.run(arguments).expect(0)
    }

    /// Runs it, and asserts that it ended with exit code 1.
    #[track_caller]
    pub fn fails<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Ran {
        self.run(arguments).expect(1)
    }
}

impl Ran {
    /// What became of a command.
    pub fn of(line: String, output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { line, code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Asserts that standard error holds a text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "nothing of {text:?}: {self}");
        self
    }

    /// Asserts that standard output holds a text.
    #[track_caller]
    pub fn tells(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "nothing of {text:?}: {self}");
        self
    }

    /// Asserts that standard error holds a text nowhere.
    #[track_caller]
    pub fn is_silent_on(self, text: &str) -> Self {
        assert!(!self.stderr.contains(text) && !self.stdout.contains(text), "{text:?} is said: {self}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// The references and digests that a push or an import printed.
    pub fn pushed(&self) -> Vec<(String, String)> {
        let pair = |line: &str| line.split_once(' ').map(|(reference, digest)| (reference.to_owned(), digest.to_owned()));
        self.stdout.lines().filter_map(pair).filter(|(_, digest)| digest.starts_with("sha256:")).collect()
    }

    /// The tags among them, in order.
    pub fn tags(&self) -> Vec<String> {
        self.pushed().iter().filter_map(|(reference, _)| reference.rsplit_once(':')).map(|(_, tag)| tag.to_owned()).collect()
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, code, stdout, stderr } = self;
        write!(f, "`wharf {line}` ended with {code}\n--- stdout\n{stdout}--- stderr\n{stderr}")
    }
}

/// Runs a program that must go well, and returns what it wrote.
#[track_caller]
pub fn run_tool(program: &str, arguments: &[&str], input: Option<&[u8]>) -> String {
    let mut command = Command::new(crate::clients::require(program));
    command.args(arguments).stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run a program");
    if let Some(input) = input {
        child.stdin.take().expect("standard input").write_all(input).expect("write to it");
    }
    let output = child.wait_with_output().expect("wait for it");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {}: {error}", arguments.join(" "), output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}
