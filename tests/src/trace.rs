//! What a program asked of the kernel, as strace saw it: the only witness of a sync, for whatever was written is there after a kill either way.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Ran, Wharf};

/// The calls that are recorded. Those with a question mark are not there on every architecture.
const CALLS: &str = "trace=?open,openat,?mkdir,mkdirat,read,readv,recvfrom,recvmsg,write,writev,pwrite64,pwritev,ftruncate,\
                     sendto,sendmsg,sendfile,fsync,fdatasync,?rename,?renameat,?renameat2,?unlink,?unlinkat";
/// Those that change what is in a file.
const WRITES: [&str; 5] = ["write", "writev", "pwrite64", "pwritev", "ftruncate"];
const MOVES: [&str; 3] = ["rename", "renameat", "renameat2"];
const REMOVALS: [&str; 2] = ["unlink", "unlinkat"];
const SYNCS: [&str; 2] = ["fsync", "fdatasync"];
const RECEIVES: [&str; 4] = ["read", "readv", "recvfrom", "recvmsg"];
const SENDS: [&str; 5] = ["write", "writev", "sendto", "sendmsg", "sendfile"];

/// The beginning of a command that runs another program and records it, into `file`. The program stays the direct child of who runs this.
///
/// # Panics
/// Where strace is missing or nobody may be traced: without it nothing is tried, and that must not pass for success.
#[track_caller]
pub(crate) fn tracer(file: &Path) -> Command {
    let trial = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).stdin(Stdio::null()).output();
    match trial {
        Err(error) => panic!("this test needs strace, which scripts/install-test-tools installs: {error}"),
        Ok(output) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr);
            panic!("this test needs the right to trace a process of its own (ptrace), and strace may not: {said}")
        }
        Ok(_) => {}
    }
    let mut command = Command::new("strace");
    command.args(["-D", "-q", "-f", "-yy", "-s", "256", "-e", CALLS, "-o"]).arg(file);
    command
}

/// One call, from the line where it began to the line where it had ended.
#[derive(Clone, Debug)]
struct Call {
    name: String,
    /// What stands between the parentheses.
    arguments: String,
    result: String,
    begun: usize,
    ended: usize,
}

impl Call {
    /// Reads `name(arguments) = result`.
    fn parse(text: &str, begun: usize, ended: usize) -> Option<Self> {
        let (name, rest) = text.split_once('(')?;
        let (arguments, result) = rest.rsplit_once(" = ")?;
        let arguments = arguments.trim_end().strip_suffix(')')?;
        Some(Self { name: name.to_owned(), arguments: arguments.to_owned(), result: result.to_owned(), begun, ended })
    }

    /// Whether it is one of these, and its first argument a descriptor of this file or socket.
    fn is_on(&self, names: &[&str], path: &str) -> bool {
        names.contains(&self.name.as_str()) && self.descriptor() == Some(path)
    }

    /// What its first argument, a descriptor, stands for: `12</path>` or `12<TCP:[here->there]>`.
    fn descriptor(&self) -> Option<&str> {
        let (number, rest) = self.arguments.split_once('<')?;
        number.parse::<u32>().ok()?;
        // An address has a `>` of its own.
        let end =
            rest.match_indices('>').find(|(at, _)| matches!(rest.as_bytes().get(at + 1), None | Some(b',' | b'(' | b' ')))?;
        Some(&rest[..end.0])
    }

    /// Whether it went well and is one of these, with these paths in it.
    fn is_done(&self, names: &[&str], paths: &[&str]) -> bool {
        let mut told = self.arguments.split('"').skip(1).step_by(2);
        names.contains(&self.name.as_str()) && self.result == "0" && paths.iter().all(|path| told.any(|told| told == *path))
    }

    /// Whether it made this file or folder, or may have.
    fn creates(&self, path: &str) -> bool {
        let makes = match self.name.as_str() {
            "open" | "openat" => self.arguments.contains("O_CREAT"),
            "mkdir" | "mkdirat" => true,
            _ => false,
        };
        makes && !self.result.starts_with('-') && self.arguments.contains(&format!("\"{path}\""))
    }
}

/// Everything that was recorded of one program, from its start to its end.
#[derive(Debug)]
pub struct Trace {
    root: PathBuf,
    calls: Vec<Call>,
}

/// A place in a [`Trace`]: an answer to a request, whose bytes the server is about to hand to the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The line where the request was received.
    asked: usize,
    /// The line where the sending of the answer began.
    answered: usize,
}

/// A change to a folder in a [`Trace`].
#[derive(Clone, Copy, Debug)]
pub struct Change {
    begun: usize,
    ended: usize,
}

impl Trace {
    /// Runs a command that must go well, in its folder, and records it. Other paths than those below the folder are not looked at.
    #[track_caller]
    pub fn of(wharf: &Wharf, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the trace");
        let file = folder.path().join("trace");
        let own = wharf.command(arguments);
        let mut command = tracer(&file);
        command.arg(own.get_program()).args(own.get_args()).current_dir(wharf.folder()).env_clear().stdin(Stdio::null());
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Ran::of(arguments.join(" "), command.output().expect("run strace")).expect(0);
        Self::read(&file, wharf.folder())
    }

    /// How a file came to its place: by a rename, once, before which all that was ever written into it had been synced.
    #[track_caller]
    pub fn moved(&self, file: &Path) -> Change {
        let name = self.name(file);
        let mut moves = self.calls.iter().filter(|call| call.is_done(&MOVES, &[&name]));
        let moved = moves.next().unwrap_or_else(|| panic!("nothing was moved to {name}"));
        assert!(moves.next().is_none(), "{name} was moved more than once");
        let from = moved.arguments.split('"').nth(1).expect("where it was");
        let written = self.calls.iter().filter(|call| call.is_on(&WRITES, from)).map(|call| call.ended).max();
        let written = written.unwrap_or_else(|| panic!("{from} was not written"));
        assert!(written < moved.begun, "{from} was written to after its move");
        assert!(self.is_synced_within(from, written, moved.begun), "{from} was not synced before it became {name}");
        Change { begun: moved.begun, ended: moved.ended }
    }

    /// When a folder was made.
    #[track_caller]
    pub fn made(&self, folder: &Path) -> Change {
        let name = self.name(folder);
        let made = self.calls.iter().find(|call| call.name.starts_with("mkdir") && call.creates(&name));
        let made = made.unwrap_or_else(|| panic!("{name} was not made"));
        Change { begun: made.begun, ended: made.ended }
    }

    /// When a file was written to for the last time. Asserts that it was synced after that, and before another change.
    #[track_caller]
    pub fn written(&self, file: &Path, before: Change) -> Change {
        let name = self.name(file);
        let written = self.calls.iter().rfind(|call| call.is_on(&WRITES, &name));
        let written = written.unwrap_or_else(|| panic!("{name} was not written"));
        assert!(self.is_synced_within(&name, written.ended, before.begun), "{name} was not synced in time");
        Change { begun: written.begun, ended: written.ended }
    }

    /// When a file was removed.
    #[track_caller]
    pub fn removed(&self, file: &Path) -> Change {
        let name = self.name(file);
        let removed = self.calls.iter().find(|call| call.is_done(&REMOVALS, &[&name]));
        let removed = removed.unwrap_or_else(|| panic!("{name} was not removed"));
        Change { begun: removed.begun, ended: removed.ended }
    }

    /// Asserts that a folder was synced after one change, and before another or the end.
    #[track_caller]
    pub fn expect_synced(&self, folder: &Path, after: Change, before: Option<Change>) {
        let name = folder.canonicalize().expect("a folder");
        let name = name.to_str().expect("a path in UTF-8");
        let limit = before.map_or(usize::MAX, |before| before.begun);
        assert!(self.is_synced_within(name, after.ended, limit), "{name} was not synced in time");
    }

    pub(crate) fn read(file: &Path, root: &Path) -> Self {
        let text = String::from_utf8_lossy(&fs::read(file).expect("the trace")).into_owned();
        let (mut calls, mut unfinished) = (Vec::new(), HashMap::new());
        for (number, line) in text.lines().enumerate() {
            let Some((thread, said)) = line.split_once(' ') else { continue };
            let said = said.trim();
            // Where threads interrupt each other a call stands on two lines.
            if let Some(beginning) = said.strip_suffix("<unfinished ...>") {
                unfinished.insert(thread.to_owned(), (number, beginning.trim_end().to_owned()));
            } else if let Some(rest) = said.strip_prefix("<... ") {
                let rest = rest.split_once(" resumed>").map(|(_, rest)| rest);
                let beginning = unfinished.remove(thread);
                let (Some(rest), Some((begun, beginning))) = (rest, beginning) else { panic!("no beginning of {line:?}") };
                calls.extend(Call::parse(&(beginning + rest), begun, number));
            } else {
                calls.extend(Call::parse(said, number, number));
            }
        }
        assert!(!calls.is_empty(), "nothing was recorded");
        Self { root: root.canonicalize().expect("ROOT"), calls }
    }

    /// The answer to the one request that begins with `request` (`PUT /v2/app/manifests/v1`), which must have this status.
    #[track_caller]
    pub fn answer(&self, request: &str, status: u16) -> Answer {
        let begins_with = |call: &&Call, text: &str| call.arguments.contains(&format!("\"{text}"));
        let mut requests = self.calls.iter().filter(|call| RECEIVES.contains(&call.name.as_str()) && begins_with(call, request));
        let asked = requests.next().unwrap_or_else(|| panic!("no request {request} in the trace"));
        assert!(requests.next().is_none(), "several requests {request} in the trace");
        let socket = asked.descriptor().expect("a socket");
        let mut sent = self.calls.iter().filter(|call| call.begun > asked.ended && call.is_on(&SENDS, socket));
        let answer = sent.next().unwrap_or_else(|| panic!("no answer to {request} in the trace"));
        assert!(begins_with(&answer, &format!("HTTP/1.1 {status} ")), "{answer:?}");
        Answer { asked: asked.begun, answered: answer.begun }
    }

    /// Asserts that at this answer a loss of power takes neither the content of a file below ROOT nor its name.
    #[track_caller]
    pub fn expect_durable(&self, file: &Path, at: Answer) {
        self.expect_content(&self.name(file), at);
        let mut path = PathBuf::from(self.name(file));
        while path != self.root {
            self.expect_name(&path, at);
            path.pop();
        }
    }

    /// Asserts that the index has taken something up for this answer, and that it is durable.
    #[track_caller]
    pub fn expect_durable_index(&self, at: Answer) {
        let log = self.root.join("index.sqlite-wal");
        let name = self.name(&log);
        let written = |call: &&Call| call.is_on(&WRITES, &name) && call.begun > at.asked && call.ended < at.answered;
        assert!(self.calls.iter().any(|call| written(&call)), "the index took nothing up");
        self.expect_durable(&log, at);
        self.expect_name(&self.root.join("index.sqlite"), at);
    }

    /// The path of a file as the trace has it.
    fn name(&self, file: &Path) -> String {
        // The folder, because the file may be gone by now.
        let folder = file.parent().and_then(|folder| folder.canonicalize().ok()).expect("the folder of a file");
        let path = folder.join(file.file_name().expect("the name of a file"));
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    /// A sync that began after everything that was written had been, and had ended well when the answer began.
    #[track_caller]
    fn expect_content(&self, path: &str, at: Answer) {
        let before = |call: &&Call| call.begun < at.answered;
        let written = self.calls.iter().filter(before).filter(|call| call.is_on(&WRITES, path)).map(|call| call.ended).max();
        let written = written.unwrap_or_else(|| panic!("{path} was not written before the answer"));
        assert!(written < at.answered, "{path} was still being written when the answer was sent");
        assert!(self.is_synced(path, written, at), "{path} was not synced between its last write and the answer");
    }

    /// The same for a name, which its folder keeps.
    #[track_caller]
    fn expect_name(&self, path: &Path, at: Answer) {
        let text = path.to_str().expect("a path in UTF-8");
        let folder = path.parent().and_then(Path::to_str).expect("a folder");
        let made = self.calls.iter().filter(|call| call.begun < at.answered && call.creates(text)).map(|call| call.ended).min();
        let made = made.unwrap_or_else(|| panic!("{text} was not made before the answer"));
        assert!(self.is_synced(folder, made, at), "{folder} was not synced between the making of {text} and the answer");
    }

    fn is_synced(&self, path: &str, after: usize, at: Answer) -> bool {
        self.is_synced_within(path, after, at.answered)
    }

    fn is_synced_within(&self, path: &str, after: usize, before: usize) -> bool {
        let synced = |call: &Call| call.is_on(&SYNCS, path) && call.result == "0";
        self.calls.iter().any(|call| synced(call) && call.begun > after && call.ended < before)
    }
}
