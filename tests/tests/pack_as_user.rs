//! `wharf pack` and `wharf unpack` by ordinary users who only seem to be root, as all of a Yocto build is: under pseudo and fakeroot.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use wharf_tests::{Ran, Stage, clients, run_tool};

/// A time before that of any file.
const EPOCH: &str = "1600000000";
const USER: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// Makes a root file system `root`, in which everything has an owner, a mode or a kind that an ordinary user cannot give. An owner is set
/// before an attribute, for fakeroot takes the real one otherwise.
const MAKE: &str = r#"
    set -e
    umask 022
    mkdir -p root/etc root/bin root/dev root/tmp root/closed
    echo root > root/etc/passwd
    echo x > root/etc/shadow; chown 0:42 root/etc/shadow; chmod 640 root/etc/shadow
    echo su > root/bin/su; chown 3:4 root/bin/su; chmod 4755 root/bin/su; ln root/bin/su root/bin/sudo
    echo wall > root/bin/wall; chown 0:5 root/bin/wall; chmod 2755 root/bin/wall
    ln -s su root/bin/sh; chown -h 5:6 root/bin/sh
    echo ping > root/bin/ping; chown 0:0 root/bin/ping
    setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 root/bin/ping
    setfattr -n user.note -v 'a=b' root/bin/ping
    mknod root/dev/null c 1 3; chmod 666 root/dev/null
    mknod root/dev/sda1 b 8 1; chown 0:6 root/dev/sda1; chmod 660 root/dev/sda1
    mkfifo root/dev/pipe; chown 7:8 root/dev/pipe; chmod 622 root/dev/pipe
    ln root/dev/null root/dev/zero
    chmod 1777 root/tmp
    echo in > root/closed/in; chown 11:12 root/closed root/closed/in; chmod 0 root/closed/in root/closed
    deep=root/$(seq -f "%050g" -s/ 20); mkdir -p "$deep"; echo deep > "$deep/file"; chown 9:10 "$deep/file" "$deep"
    find root -exec touch -h -d @1500000000 {} +
"#;
/// Packs it and unpacks it, and does both again by way of archives.
const PACK: &str = r#"
    ./wharf pack root app-oci --arch amd64
    ./wharf unpack app-oci out
    ./wharf pack out chunked.tar --arch amd64 --compression zstd:chunked
    ./wharf unpack chunked.tar out-again
    tar --create --format=posix --xattrs --xattrs-include='*' --directory=out-again . | ./wharf pack - piped-oci --arch amd64
"#;
/// Prints what the files of a folder are.
const FACTS: &str = r#"
    facts() {
        cd "$1"
        find . | LC_ALL=C sort | while read -r file; do
            stat -c '%n %F %u:%g %a %t:%T %h %s %Y' "$file"
            if [ -L "$file" ]; then readlink "$file"; fi
            if [ -f "$file" ]; then cat "$file"; fi
            getfattr --no-dereference --dump --match=- --encoding=hex "$file"
        done | sed 's/directory \(.*\) [0-9]* \([0-9]*\)$/directory \1 \2/'
        cd ..
    }
"#;

/// Ends pseudo's own server, however the test ends.
struct PseudoServer<'a>(&'a Stage);

impl PseudoServer<'_> {
    /// Says where pseudo keeps what it knows of files.
    fn environment(&self) -> [String; 2] {
        ["PSEUDO_PREFIX=/usr".to_owned(), format!("PSEUDO_LOCALSTATEDIR={}", self.0.text("pseudo"))]
    }
}

impl Drop for PseudoServer<'_> {
    fn drop(&mut self) {
        let _ = Command::new("env").args(self.environment()).args(USER).args(["pseudo", "-S"]).output();
    }
}

/// Runs the scripts as `before` has it, and returns the digests that were printed and the facts of the three folders.
fn run(stage: &Stage, before: &[&str]) -> (Vec<String>, [String; 3]) {
    let script = [MAKE, PACK, FACTS, "for folder in root out out-again; do echo; echo ===; facts $folder; done"].concat();
    let folder = stage.folder();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    fs::copy(stage.wharf.program(), stage.path("wharf")).unwrap();
    fs::set_permissions(stage.path("wharf"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(clients::require("env"));
    command.args(before).args(["sh", "-c", &script]).current_dir(folder).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", folder).env("SOURCE_DATE_EPOCH", EPOCH);
    let ran = Ran::of(before.join(" "), command.output().unwrap()).expect(0).is_silent_on("absolute path");
    let mut parts = ran.stdout.split("\n===\n");
    let lines = parts.next().unwrap().lines().map(|line| line.rsplit_once(' ').expect("a digest").1.to_owned());
    let lines: Vec<_> = lines.collect();
    let facts: Vec<_> = parts.map(|part| part.trim().to_owned()).collect();
    (lines, facts.try_into().unwrap_or_else(|facts: Vec<_>| panic!("{} folders: {ran}", facts.len())))
}

/// What is made, packed and unpacked by an ordinary user under pseudo or fakeroot is what root would have made; and what is unpacked is what
/// was packed, to them and to root.
#[test]
fn who_only_seems_to_be_root_packs_and_unpacks_the_same() {
    for tool in ["setfattr", "getfattr", "setpriv", "pseudo", "fakeroot", "tar"] {
        clients::require(tool);
    }
    let stage = Stage::new();
    let (digests, [made, unpacked, again]) = run(&stage, &[]);
    for fact in [
        "./bin/su regular file 3:4 4755 0:0 2 3 1500000000",
        "./bin/sh symbolic link 5:6 777",
        "./bin/wall regular file 0:5 2755",
        "./dev/null character special file 0:0 666 1:3 2",
        "./dev/sda1 block special file 0:6 660 8:1 1",
        "./dev/pipe fifo 7:8 622",
        "./closed directory 11:12 0 ",
        "00020/file regular file 9:10 644",
        "security.capability=0x0100000200200000000000000000000000000000",
        "user.note=0x613d62",
    ] {
        assert!(made.contains(fact), "no {fact}: {made}");
    }
    assert_eq!(digests.len(), 3);
    assert!(made == unpacked, "unpacked by root: {unpacked}");
    assert!(made == again, "unpacked by root from zstd:chunked: {again}");

    let fakeroot = Stage::new();
    let pseudo = Stage::new();
    let server = PseudoServer(&pseudo);
    fs::create_dir(pseudo.path("pseudo")).unwrap();
    fs::set_permissions(pseudo.path("pseudo"), fs::Permissions::from_mode(0o777)).unwrap();
    let environment = server.environment();
    let under_pseudo: Vec<_> = environment.iter().map(String::as_str).chain(USER).chain(["pseudo"]).collect();
    for (name, stage, before) in [("fakeroot", &fakeroot, [&USER[..], &["fakeroot"]].concat()), ("pseudo", &pseudo, under_pseudo)]
    {
        let (found, facts) = run(stage, &before);
        assert_eq!(found, digests, "the images made under {name}");
        for (folder, facts) in ["made", "unpacked", "unpacked from zstd:chunked"].into_iter().zip(facts) {
            assert!(facts == made, "{folder} under {name}:\n{facts}\nand by root:\n{made}");
        }
        // It was not root that did it.
        let owner = run_tool("stat", &["-c", "%u %F", &stage.text("out/dev/null")], None);
        assert_eq!(owner.split_whitespace().next(), Some("65534"), "under {name}: {owner}");
        assert!(!owner.contains("character special"), "under {name}: {owner}");
    }
}
