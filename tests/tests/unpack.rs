//! `wharf unpack` of layers that are hostile, damaged or too large: nothing happens outside of the folder, and nothing is left in it.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;
use wharf_tests::{Facts, Image, RootFs, SmallDisk, Stage, image_of, random, run_tool, sha256, write_layout};

/// Where the folder is that is unpacked to: deep enough that a link that climbs stays within the stage.
const OUT: &str = "some/where/out";

/// What Python is to know to write members as nobody should: any kind, any name, as it stands.
const PYTHON: &str = "
import tarfile, io, sys
t = tarfile.open(sys.argv[1], 'w', format=tarfile.GNU_FORMAT)
def add(name, kind, link='', data=b'', mode=0o666):
    i = tarfile.TarInfo(name)
    i.type, i.linkname, i.size, i.mode, i.uid, i.gid, i.devmajor, i.devminor = kind, link, len(data), mode, 5, 6, 1, 3
    t.addfile(i, io.BytesIO(data))
def file(name, data=b'victim'): add(name, tarfile.REGTYPE, data=data)
def folder(name): add(name + '/', tarfile.DIRTYPE, mode=0o700)
def link(name, to): add(name, tarfile.SYMTYPE, to)
def hard(name, to): add(name, tarfile.LNKTYPE, to)
def device(name): add(name, tarfile.CHRTYPE)
";

/// A layer that this writes, uncompressed.
fn layer(stage: &Stage, code: &str) -> Vec<u8> {
    let archive = stage.text("layer.tar");
    run_tool("python3", &["-c", &format!("{PYTHON}{code}\nt.close()"), &archive], None);
    let bytes = fs::read(&archive).unwrap();
    fs::remove_file(archive).unwrap();
    bytes
}

fn image(layers: Vec<Vec<u8>>) -> Image {
    image_of(json!({"architecture": "amd64", "os": "linux"}), json!({}), layers)
}

/// What is to be unpacked is believed nothing.
#[test]
fn what_cannot_be_unpacked_leaves_nothing_behind() {
    let stage = Stage::new();
    let root = RootFs::new(&stage.path("root"));
    root.file("etc/passwd", b"x", 0o644, (0, 0));
    root.file("large", &random(4 << 20), 0o644, (0, 0));
    stage.pack(root.folder(), "app-oci", &[]);
    fs::create_dir(stage.path("full")).unwrap();
    fs::write(stage.path("full/mine"), "x").unwrap();
    stage.wharf.fails(&["unpack", "app-oci", "full"]).says("full");
    assert_eq!(fs::read_dir(stage.path("full")).unwrap().count(), 1);
    stage.wharf.fails(&["unpack", "nowhere", "out"]).says("nowhere");

    // A layer of another length, and a damaged one of the same length, in the place of the right one.
    let layer = stage.manifest("app-oci")["layers"][0].clone();
    let place = stage.blob_path("app-oci", &layer);
    let right = fs::read(&place).unwrap();
    fs::write(&place, &right[..right.len() - 1]).unwrap();
    stage.wharf.fails(&["unpack", "app-oci", "out"]).says("bytes");
    assert!(!stage.path("out").exists());
    let mut wrong = right;
    let late = wrong.len() / 4 * 3;
    wrong[late] ^= 1;
    fs::write(&place, &wrong).unwrap();
    stage.wharf.fails(&["unpack", "app-oci", "out"]).says("app-oci was not unpacked");
    assert!(!stage.path("out").exists());
}

/// A layer whose blob is the one that the manifest names, and whose content is not what the configuration says.
#[test]
fn content_is_compared_with_the_configuration() {
    let stage = Stage::new();
    let (first, second) = (layer(&stage, "file('etc/first')"), layer(&stage, "file('etc/second')"));
    let config = |diff_ids: &[String]| {
        let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
        json!({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).to_string().into_bytes()
    };
    let layers = vec![first.clone(), second.clone()];
    let write = |name: &str, diff_ids: &[String]| {
        write_layout(&stage.path(name), &[("latest", &Image::of_config(config(diff_ids), layers.clone()))]);
    };
    write("right-oci", &[sha256(&first), sha256(&second)]);
    write("wrong-oci", &[sha256(&first), sha256(b"other")]);
    write("swapped-oci", &[sha256(&second), sha256(&first)]);
    write("few-oci", &[sha256(&first)]);
    let right = stage.unpacked("right-oci");
    assert!(right.0.contains_key("etc/first") && right.0.contains_key("etc/second"));
    let altered = |layer: &[u8], diff_id: &str| format!("the layer {} is altered: its content is not {diff_id}", sha256(layer));
    for (name, says) in [
        ("wrong-oci", altered(&second, &sha256(b"other"))),
        ("swapped-oci", altered(&first, &sha256(&second))),
        ("few-oci", "it has 2 layers, and its configuration tells of 1".to_owned()),
    ] {
        for existed in [false, true] {
            if existed {
                fs::create_dir(stage.path("out")).unwrap();
            }
            stage.wharf.fails(&["unpack", name, "out"]).says(&says);
            assert_eq!(stage.path("out").exists(), existed, "{name}");
            if existed {
                fs::remove_dir(stage.path("out")).expect("an empty folder");
            }
        }
    }
}

/// What a hostile layer does to the folder that is unpacked to: nothing, or what it would do to a machine of its own.
enum Outcome {
    /// It is refused, with these words.
    Refused(&'static [&'static str]),
    /// It is laid out, and this path in it has facts that begin so; or is not there.
    Laid(&'static str, Option<&'static str>),
}

/// Whatever a layer's names and links say, nothing outside of the folder is written, removed or changed.
#[test]
fn nothing_happens_outside_of_the_folder() {
    use Outcome::{Laid, Refused};

    let stage = Stage::new();
    let outside = stage.text("outside");
    fs::create_dir_all(stage.path("some/where")).unwrap();
    for place in ["", "some/", "some/where/", "outside/", "outside/below/"] {
        fs::create_dir_all(stage.path(place)).unwrap();
        fs::write(stage.path(&format!("{place}secret")), "kept").unwrap();
    }
    // Where a name that begins at the root of the machine would land.
    let own = format!("wharf-victim-{}", hex_of(&random(8)));
    let lower = format!(
        "folder('dir'); file('dir/kept'); link('out', '{outside}'); link('up', '../../..'); link('deep', '../../../outside/below')"
    );
    let cases: Vec<(&str, String, Outcome)> = vec![
        ("a name that climbs", "file('../victim')".into(), Refused(&["../victim is refused: it holds `..`"])),
        ("a name that climbs later", "file('dir/../../victim')".into(), Refused(&["dir/../../victim is refused"])),
        ("a folder that climbs", "folder('dir/..')".into(), Refused(&["dir/../ is refused"])),
        ("an absolute name", format!("file('/{own}')"), Laid("", Some("directory"))),
        ("a link that climbs", "file('up/victim')".into(), Refused(&["up/victim", "leads out of the root"])),
        ("a link that climbs and comes back", "file('deep/victim')".into(), Refused(&["deep/victim", "leads out of the root"])),
        ("an absolute link", "file('out/victim')".into(), Laid("out", Some("link to"))),
        ("a link of the same layer", format!("link('new', '{outside}'); file('new/victim')"), Laid("new", Some("link to"))),
        ("a link to a link", "link('new', 'out'); file('new/victim')".into(), Laid("new", Some("link to out"))),
        ("a circle", "link('a', 'b'); link('b', 'a'); file('a/victim')".into(), Refused(&["a/victim", "circles"])),
        ("a file in the place of a link", "file('out')".into(), Laid("out", Some("6 bytes"))),
        ("a link to a file that is written", format!("link('l', '{outside}/secret'); file('l')"), Laid("l", Some("6 bytes"))),
        ("a folder in the place of a link", "folder('out'); file('out/victim')".into(), Laid("out/victim", Some("6 bytes"))),
        ("a device in the place of a link", "device('out')".into(), Laid("out", Some("device"))),
        ("a device in the place of a folder", "device('dir')".into(), Laid("dir/kept", None)),
        ("a device in the place of a file", "device('dir/kept')".into(), Laid("dir/kept", Some("device"))),
        ("a file through a device", "device('d'); file('d/victim')".into(), Refused(&["d/victim", "no directory"])),
        ("a hard link out", "hard('h', '../secret')".into(), Refused(&["h is refused", "`../secret`", "it holds `..`"])),
        (
            "a hard link to the machine",
            "hard('h', '/etc/hostname')".into(),
            Refused(&["h is refused", "`/etc/hostname` is not there"]),
        ),
        ("a hard link through a link", "hard('h', 'out/secret')".into(), Refused(&["h is refused", "`out/secret` is not there"])),
        ("a hard link up through a link", "hard('h', 'up/secret')".into(), Refused(&["h is refused", "leads out of the root"])),
        ("a hard link to a link that is written", "hard('h', 'out'); file('h/victim')".into(), Laid("h", Some("link to"))),
        ("a hard link to itself above", "hard('dir', 'dir/kept')".into(), Refused(&["dir is refused", "its target is below it"])),
        ("a hard link put out of the folder", "hard('up/h', 'dir/kept')".into(), Refused(&["up/h", "leads out of the root"])),
        ("a whiteout of ..", "file('.wh...')".into(), Refused(&[".wh... is refused", "whiteout of no file"])),
        ("a whiteout of .. below", "file('dir/.wh...')".into(), Refused(&["dir/.wh...", "whiteout of no file"])),
        ("a whiteout of .", "file('.wh..')".into(), Refused(&[".wh.. is refused", "whiteout of no file"])),
        ("a whiteout of nothing", "file('.wh.')".into(), Refused(&[".wh. is refused", "whiteout of no file"])),
        ("a whiteout through ..", "file('../.wh.secret')".into(), Refused(&["../.wh.secret is refused"])),
        ("a whiteout through a link", "file('out/.wh.secret')".into(), Laid("out", Some("link to"))),
        ("a whiteout up through a link", "file('up/.wh.secret')".into(), Refused(&["up/.wh.secret", "leads out of the root"])),
        ("a whiteout of a link", "file('.wh.out')".into(), Laid("out", None)),
        ("an opaque folder through a link", "file('out/.wh..wh..opq')".into(), Laid("out", Some("link to"))),
        ("an opaque folder up", "file('up/.wh..wh..opq')".into(), Refused(&["up/.wh..wh..opq", "leads out of the root"])),
    ];
    let lower = layer(&stage, &lower);
    let before = Facts::of(stage.folder());
    for (name, code, outcome) in cases {
        let upper = layer(&stage, &code);
        write_layout(&stage.path("app-oci"), &[("latest", &image(vec![lower.clone(), upper]))]);
        let ran = stage.wharf.run(&["unpack", "app-oci", OUT]);
        match outcome {
            Refused(words) => {
                let mut ran = ran.expect(1);
                for word in words {
                    ran = ran.says(word);
                }
                assert!(!stage.path(OUT).exists(), "{name}: {ran}");
            }
            Laid(path, expected) => {
                ran.expect(0);
                let facts = Facts::of(&stage.path(OUT));
                let fact = facts.0.get(path).map(String::as_str);
                let is_right = match expected {
                    Some(expected) => fact.is_some_and(|fact| fact.starts_with(expected)),
                    None => fact.is_none(),
                };
                assert!(is_right, "{name}: {path} is {fact:?}, not {expected:?}");
                fs::remove_dir_all(stage.path(OUT)).unwrap();
            }
        }
        fs::remove_dir_all(stage.path("app-oci")).unwrap();
        // The times of the folders that the layout and the result were in are other ones.
        let changed = ["", "some/where"];
        before.clone().without(&changed).assert_same(&Facts::of(stage.folder()).without(&changed), name);
        assert!(!std::path::Path::new("/").join(&own).exists(), "{name}");
    }
}

/// The same for what `wharf pack` puts on a base: nothing is written through the links of the base, wherever they lead.
#[test]
fn nothing_is_written_through_the_links_of_a_base() {
    let stage = Stage::new();
    fs::create_dir_all(stage.path("some/where")).unwrap();
    let below = RootFs::new(&stage.path("below"));
    symlink(stage.folder(), below.path("way-out")).unwrap();
    symlink("../../..", below.path("way-up")).unwrap();
    stage.pack(below.folder(), "below-oci", &[]);
    for (way, refused) in [("way-out", false), ("way-up", true)] {
        let over = RootFs::new(&stage.path(&format!("over-{way}")));
        over.file(&format!("{way}/victim"), b"x", 0o644, (0, 0));
        // A layer with the file alone, as an attacker would write it.
        let archive = stage.path("over.tar");
        let folder = over.folder().to_str().unwrap();
        run_tool("tar", &["-C", folder, "-cf", archive.to_str().unwrap(), &format!("{way}/victim")], None);
        stage.pack(&archive, "over-oci", &["--base", "below-oci"]);
        let before = Facts::of(stage.folder());
        let ran = stage.wharf.run(&["unpack", "over-oci", OUT]);
        if refused {
            ran.expect(1).says("way-up/victim").says("leads out of the root");
            assert!(!stage.path(OUT).exists());
        } else {
            ran.expect(0);
            // There, as if the folder were the root of the machine.
            let place = stage.path(OUT).join(stage.folder().strip_prefix("/").unwrap()).join("victim");
            assert_eq!(fs::read(place).unwrap(), b"x");
            fs::remove_dir_all(stage.path(OUT)).unwrap();
        }
        let changed = ["some/where"];
        before.without(&changed).assert_same(&Facts::of(stage.folder()).without(&changed), way);
    }
}

/// On a full disk the reason is said, and what was laid out is taken away; a folder that was there stays, and is empty.
#[test]
fn a_full_disk_holds_nothing_half_unpacked() {
    let Some(disk) = SmallDisk::mount() else { return };
    let stage = Stage::new();
    let root = RootFs::new(&stage.path("root"));
    for number in 0..12 {
        root.file(&format!("folder-{number}/data"), &random(5 << 20), 0o644, (0, 0));
    }
    stage.pack(root.folder(), "app-oci", &["--level", "1"]);
    let (out, free) = (disk.point().join("out"), disk.free());
    for existed in [false, true] {
        if existed {
            fs::create_dir(&out).unwrap();
        }
        let ran = stage.wharf.fails(&["unpack", "app-oci", out.to_str().unwrap()]);
        let ran =
            ran.says("app-oci was not unpacked").says("No space left on device").says(&format!("{}/folder-", out.display()));
        assert_eq!(out.exists(), existed, "{ran}");
        assert!(!existed || fs::read_dir(&out).unwrap().next().is_none(), "{ran}");
        assert!(disk.free() + (64 << 10) > free, "{} bytes of {free} are free: {ran}", disk.free());
    }
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
