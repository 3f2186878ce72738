//! `wharf pack`, `unpack`, `label`, `push` and `pull` by ordinary users who only seem to be root, as all of a Yocto build is: under pseudo and fakeroot.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use wharf_tests::{Config, Program, Ran, Server, Stage, clients, run_tool, sha256};

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
/// Packs it, labels and pushes the image and pulls it, twice: the second version goes into the layout that has the first.
const PUSH: &str = r#"
    seq 400000 > root/large
    for version in 1 2; do
        echo "$version" > root/etc/version; chown 0:9 root/etc/version; chmod 640 root/etc/version
        touch -d @1500000000 root/large root/etc/version root/etc root
        ./wharf pack root app-oci --arch amd64
        ./wharf label app-oci org.example.version=$version
        ./wharf push app-oci --name app --tag $version
        ./wharf pull app:$version pulled-oci --name latest
    done
    ./wharf unpack pulled-oci out
    mkdir layouts
    find app-oci pulled-oci | LC_ALL=C sort | xargs stat -c '%n %F %u:%g %a' > layouts/files
    touch -d @1500000000 layouts/files layouts
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
    /// What a user has before a command so that it runs under pseudo.
    fn before(&self) -> Vec<String> {
        self.environment().into_iter().chain(USER.map(str::to_owned)).chain(["pseudo".to_owned()]).collect()
    }

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

/// Runs the scripts as `before` has it, and returns the digests that were printed and the facts of the folders.
fn run<const N: usize>(stage: &Stage, before: &[String], script: &str, folders: [&str; N]) -> (Vec<String>, [String; N]) {
    let show = format!("for folder in {}; do echo; echo ===; facts $folder; done", folders.join(" "));
    let script = [MAKE, script, FACTS, &show].concat();
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

/// An empty folder in which pseudo may keep what it knows.
fn ready(stage: &Stage) -> PseudoServer<'_> {
    fs::create_dir(stage.path("pseudo")).unwrap();
    fs::set_permissions(stage.path("pseudo"), fs::Permissions::from_mode(0o777)).unwrap();
    PseudoServer(stage)
}

/// What is made, packed and unpacked by an ordinary user under pseudo or fakeroot is what root would have made; and what is unpacked is what
/// was packed, to them and to root.
#[test]
fn who_only_seems_to_be_root_packs_and_unpacks_the_same() {
    for tool in ["setfattr", "getfattr", "setpriv", "pseudo", "fakeroot", "tar"] {
        clients::require(tool);
    }
    let stage = Stage::new();
    let folders = ["root", "out", "out-again"];
    let (digests, [made, unpacked, again]) = run(&stage, &[], PACK, folders);
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
    let server = ready(&pseudo);
    let under_fakeroot = USER.into_iter().chain(["fakeroot"]).map(str::to_owned).collect();
    for (name, stage, before) in [("fakeroot", &fakeroot, under_fakeroot), ("pseudo", &pseudo, server.before())] {
        let (found, facts) = run(stage, &before, PACK, folders);
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

/// What an ordinary user labels, pushes and pulls under pseudo, as a task with `fakeroot` does, is what root would have; and what comes to lie
/// in layouts can be read without pseudo.
#[test]
fn who_only_seems_to_be_root_labels_pushes_and_pulls_the_same() {
    for tool in ["setfattr", "getfattr", "setpriv", "pseudo"] {
        clients::require(tool);
    }
    let (root, user) = (Stage::new(), Stage::new());
    let server = ready(&user);
    let [by_root, by_user] = [(&root, Vec::new()), (&user, server.before())].map(|(stage, before)| {
        let registry = Server::launch(Program::Wharf, Config::default());
        let url = [format!("CONTAINER_REGISTRY_URL={}", registry.address())];
        let (digests, facts) = run(stage, &[&url, &before[..]].concat(), PUSH, ["root", "out", "layouts"]);
        // What was packed, labelled, pushed and pulled, of either version.
        assert_eq!(digests.len(), 8, "{digests:?}");
        for (tag, digests) in ["1", "2"].into_iter().zip(digests.chunks(4)) {
            assert!(digests[0] != digests[1] && digests[1] == digests[2] && digests[2] == digests[3], "{digests:?}");
            assert_eq!(sha256(&registry.repo("yocto/app").manifest(tag).expect(200).body), digests[1]);
        }
        (digests, facts)
    });
    assert_eq!(by_user.0, by_root.0, "the images");
    let [made, unpacked, layouts] = by_root.1;
    assert!(made == unpacked, "unpacked by root: {unpacked}");
    assert!(layouts.contains("pulled-oci/index.json regular file 0:0 644"), "{layouts}");
    for (what, (user, root)) in
        ["made", "unpacked", "layouts"].into_iter().zip(by_user.1.into_iter().zip([made, unpacked, layouts]))
    {
        assert!(user == root, "{what} under pseudo:\n{user}\nand by root:\n{root}");
    }
    for layout in ["app-oci", "pulled-oci"] {
        // pseudo keeps what its users say of a file to itself: this is what the others see.
        let modes = run_tool("find", &[&user.text(layout), "-type", "f", "-printf", "%U %m\n"], None);
        assert!(modes.lines().count() >= 5 && modes.lines().all(|line| line == "65534 644"), "{layout}: {modes}");
    }
}
