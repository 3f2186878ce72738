//! `wharf pack` of archives as tools write them: what comes out is what the tool itself unpacks.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::path::Path;

use rustix::fs::FileType;
use wharf_tests::{Facts, RootFs, Stage, random, run_tool};

/// A tree that the oldest of all formats can hold: short names, small numbers, no devices.
fn oldest(folder: &Path) -> RootFs {
    let root = RootFs::new(folder);
    root.file("etc/passwd", b"root", 0o644, (0, 0));
    root.file("usr/bin/su", &random(513), 0o4755, (0, 5));
    root.file("data/block", &random(512), 0o600, (1000, 1000));
    root.file("data/empty", b"", 0o444, (65_534, 65_534));
    root.directory("tmp", 0o1777, (0, 0));
    root.link("bin", "usr/bin");
    root.link("dangling", "/nowhere/at/all");
    fs::hard_link(root.path("usr/bin/su"), root.path("a-first-name")).unwrap();
    root.settle();
    root
}

/// The same with what ustar has besides: devices, pipes, and names of up to 255 bytes.
fn ustar(folder: &Path) -> RootFs {
    let root = oldest(folder);
    root.device("dev/null", FileType::CharacterDevice, 0o666, (1, 3));
    root.device("dev/sda1", FileType::BlockDevice, 0o660, (8, 1));
    root.device("run/pipe", FileType::Fifo, 0o622, (0, 0));
    root.file(&format!("{}{}", "some-folder/".repeat(12), "n".repeat(95)), b"x", 0o644, (0, 0));
    root.settle();
    root
}

/// The same with what newer formats have: everything, times before 1970, and more holes than a header has room for.
fn newest(folder: &Path) -> RootFs {
    let root = RootFs::with_everything(folder);
    let data: Vec<_> = (0..60).map(|number| (number * (64 << 10), 5_000)).collect();
    root.hole("many-holes", 8 << 20, &data);
    root.hole("hole-at-the-end", 1 << 20, &[(0, 10)]);
    root.hole("nothing-but-a-hole", 1 << 20, &[]);
    root.link(&format!("{}link", "deep/".repeat(60)), &"to/".repeat(100));
    fs::hard_link(root.path(&format!("{}file", "deep/".repeat(60))), root.path("short-name-of-a-long-one")).unwrap();
    root.settle();
    run_tool("touch", &["--date=@-100000", root.path("etc/passwd").to_str().unwrap()], None);
    root
}

/// Packs an archive and unpacks the image, and compares that with what `unpack` makes of the archive in a folder; without the times of the
/// files of these kinds, which the tool does not set as the archive has them.
#[track_caller]
fn compare(stage: &Stage, archive: &str, what: &str, timeless: &[&str], unpack: impl FnOnce(&str)) -> Facts {
    let folder = stage.text("by-its-tool");
    fs::create_dir(&folder).unwrap();
    unpack(&folder);
    let expected = Facts::of(Path::new(&folder));
    fs::remove_dir_all(&folder).unwrap();
    stage.pack(&stage.path(archive), "app-oci", &["--arch", "amd64"]);
    let found = stage.unpacked("app-oci");
    without_times(&expected, timeless).assert_same(&without_times(&found, timeless), what);
    found
}

/// The facts without the times of the files of these kinds.
fn without_times(facts: &Facts, kinds: &[&str]) -> Facts {
    facts.map(|fact| match fact.split_once(" at ") {
        Some((before, after)) if kinds.iter().any(|kind| fact.starts_with(kind)) => {
            [before, after.split_once(' ').map_or("", |(_, rest)| rest)].join(" ")
        }
        _ => fact.to_owned(),
    })
}

/// The trees by name, with their facts.
fn trees(stage: &Stage) -> Vec<(&'static str, Facts)> {
    let facts = |name, root: RootFs| (name, Facts::of(root.folder()));
    vec![
        facts("oldest", oldest(&stage.path("oldest"))),
        facts("ustar", ustar(&stage.path("ustar"))),
        facts("newest", newest(&stage.path("newest"))),
    ]
}

/// The facts without extended attributes, which not every format holds.
fn without_attributes(facts: &Facts) -> Facts {
    facts.map(|fact| {
        let words = fact.split(' ').filter(|word| !word.starts_with("security.") && !word.starts_with("user."));
        words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    })
}

/// GNU tar: every format, every version of sparse files, odd sizes of records, a label, gzip in several members.
#[test]
fn archives_of_gnu_tar() {
    let stage = Stage::new();
    let trees = trees(&stage);
    let attributes = ["--xattrs", "--xattrs-include=*"];
    let posix = ["--format=posix", "--xattrs", "--xattrs-include=*"];
    let sparse = |version| [&posix[..], &["--sparse", version]].concat();
    let cases: Vec<(&str, Vec<&str>)> = vec![
        ("oldest", vec!["--format=v7"]),
        ("oldest", vec!["--format=oldgnu"]),
        ("ustar", vec!["--format=ustar"]),
        ("ustar", vec!["--format=ustar", "--blocking-factor=1"]),
        ("newest", vec!["--format=gnu"]),
        ("newest", vec!["--format=gnu", "--sparse"]),
        ("newest", vec!["--format=oldgnu", "--sparse", "--blocking-factor=7"]),
        ("newest", vec!["--format=gnu", "--label=a volume", "--blocking-factor=127"]),
        ("newest", posix.to_vec()),
        ("newest", [&posix[..], &["--label=a volume", "--pax-option=globexthdr.name=x,exthdr.name=y/%f"]].concat()),
        ("newest", [&posix[..], &["--pax-option=comment=text,comment:=more"]].concat()),
        ("newest", [&posix[..], &["--record-size=1M"]].concat()),
        ("newest", sparse("--sparse-version=0.0")),
        ("newest", sparse("--sparse-version=0.1")),
        ("newest", sparse("--sparse-version=1.0")),
    ];
    for (tree, options) in cases {
        let what = options.join(" ");
        let archive = stage.text("root.tar");
        run_tool("tar", &[&["--create", "--file", &archive, "-C", &stage.text(tree)], &options[..], &["."]].concat(), None);
        let found = compare(&stage, "root.tar", &what, &[], |folder| {
            let how = ["--extract", "--preserve-permissions", "--numeric-owner", "--file", &archive, "-C", folder];
            run_tool("tar", &[&how[..], &attributes].concat(), None);
        });
        let (_, facts) = trees.iter().find(|(name, _)| *name == tree).unwrap();
        let is_whole = options.contains(&"--xattrs");
        let expected = if is_whole { facts.clone() } else { without_attributes(facts) };
        expected.assert_same(&found, &what);
    }
    // The last one once more, in two members of gzip that meet within a file.
    let bytes = fs::read(stage.path("root.tar")).unwrap();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut joined = Vec::new();
    for part in [first, second] {
        fs::write(stage.path("part"), part).unwrap();
        run_tool("gzip", &["--force", &stage.text("part")], None);
        joined.extend(fs::read(stage.path("part.gz")).unwrap());
    }
    fs::write(stage.path("joined.tar.gz"), joined).unwrap();
    stage.pack(&stage.path("joined.tar.gz"), "app-oci", &[]);
    trees[2].1.assert_same(&stage.unpacked("app-oci"), "two members of gzip");
}

/// What was added to an archive later counts. (The tool itself leaves new times to the folders above.)
#[test]
fn archives_that_were_added_to() {
    let stage = Stage::new();
    let root = oldest(&stage.path("root"));
    let archive = stage.text("root.tar");
    run_tool("tar", &["--create", "--file", &archive, "-C", &stage.text("root"), "."], None);
    root.file("etc/passwd", b"another", 0o600, (7, 7));
    fs::remove_file(root.path("data/empty")).unwrap();
    root.directory("data/empty", 0o711, (8, 8));
    root.settle();
    run_tool("tar", &["--append", "--file", &archive, "-C", &stage.text("root"), "./etc/passwd", "./data/empty"], None);
    let found = compare(&stage, "root.tar", "appended", &["directory"], |folder| {
        run_tool("tar", &["--extract", "--preserve-permissions", "--numeric-owner", "--file", &archive, "-C", folder], None);
    });
    assert!(found.0["etc/passwd"].starts_with("7 bytes") && found.0["data/empty"].starts_with("directory 0711 8:8"));
}

/// bsdtar, whose archives for pax have holes and attributes of their own. (It does not set the time of the folder that it unpacks to.)
#[test]
fn archives_of_bsdtar() {
    let stage = Stage::new();
    let trees = trees(&stage);
    for (tree, options) in [
        ("oldest", &["--format=v7"][..]),
        ("ustar", &["--format=ustar"]),
        ("ustar", &["--format=ustar", "-b", "1"]),
        ("newest", &["--format=gnutar"]),
        ("newest", &["--format=pax", "--xattrs", "--read-sparse"]),
        ("newest", &["--format=pax", "--xattrs", "--no-read-sparse", "-b", "127"]),
        ("newest", &["--format=pax", "--xattrs", "--gzip"]),
    ] {
        let what = format!("bsdtar {}", options.join(" "));
        let archive = stage.text("root.tar");
        run_tool("bsdtar", &[&["-c", "-f", &archive, "-C", &stage.text(tree)], options, &["."]].concat(), None);
        let found = compare(&stage, "root.tar", &what, &["directory"], |folder| {
            run_tool("bsdtar", &["-x", "-p", "--numeric-owner", "-f", &archive, "-C", folder], None);
        });
        let (_, facts) = trees.iter().find(|(name, _)| *name == tree).unwrap();
        let expected = if options.contains(&"--xattrs") { facts.clone() } else { without_attributes(facts) };
        // It writes times before 1970 as zero in the format of GNU.
        let early: &[&str] = if options == ["--format=gnutar"] { &["etc/passwd", "etc/passwd-"] } else { &[] };
        expected.without(early).assert_same(&found.without(early), &what);
    }
}

/// Python's tarfile. (It does not set the times of links.)
#[test]
fn archives_of_python() {
    let stage = Stage::new();
    let trees = trees(&stage);
    for (tree, format) in [("ustar", "USTAR_FORMAT"), ("newest", "GNU_FORMAT"), ("newest", "PAX_FORMAT")] {
        let archive = stage.text("root.tar");
        let code = "import sys,tarfile\nwith tarfile.open(sys.argv[1],'w',format=getattr(tarfile,sys.argv[3])) as t: t.add(sys.argv[2],'.')";
        run_tool("python3", &["-c", code, &archive, &stage.text(tree), format], None);
        let found = compare(&stage, "root.tar", format, &["link to"], |folder| {
            let code = "import sys,tarfile\nwith tarfile.open(sys.argv[1]) as t: t.extractall(sys.argv[2],numeric_owner=True)";
            run_tool("python3", &["-W", "ignore", "-c", code, &archive, folder], None);
        });
        let (_, facts) = trees.iter().find(|(name, _)| *name == tree).unwrap();
        without_attributes(facts).assert_same(&found, format);
    }
}
