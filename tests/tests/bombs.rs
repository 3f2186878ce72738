//! Images that are small and say that they are not, on the side of those who read them: each command ends soon, with a clear word, and takes no more memory than
//! for others.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use wharf_tests::{
    Config, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Program, Ran, Reply, Scripted, Server, SmallDisk, Stage, Wharf,
    descriptor, index, run_tool, sha256, write_blob, write_index,
};

/// Long enough for a machine with other work, far too short for what the images say.
const SOON: Duration = Duration::from_secs(120);

/// What Python is to know to write a layer that is mostly repetition: compressed pieces are written again and again, for members of gzip follow one another.
const PYTHON: &str = "
import gzip, hashlib, io, struct, sys, tarfile
out, digest = open(sys.argv[1], 'wb'), hashlib.sha256()
def put(piece, times=1):
    packed = gzip.compress(piece, 6)
    for _ in range(times):
        out.write(packed)
        digest.update(piece)
def header(name, size=0, pax={}, kind=tarfile.REGTYPE):
    i = tarfile.TarInfo(name)
    i.size, i.type, i.pax_headers = size, kind, pax
    return i.tobuf(tarfile.PAX_FORMAT)
";

/// A layout with one image of one layer, which this writes.
fn layout(stage: &Stage, name: &str, code: &str) {
    let file = stage.text("layer.tar.gz");
    run_tool(
        "python3",
        &[
            "-c",
            &format!("{PYTHON}{code}\nput(bytes(1024)); out.close(); open(sys.argv[1] + '.id', 'w').write(digest.hexdigest())"),
            &file,
        ],
        None,
    );
    let (layer, diff_id) = (fs::read(&file).unwrap(), fs::read_to_string(format!("{file}.id")).unwrap());
    assert!(layer.len() < 16 << 20, "{} bytes are no bomb", layer.len());
    let rootfs = json!({"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]});
    let config = json!({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).to_string().into_bytes();
    let layers = [descriptor(OCI_LAYER, &layer)];
    let manifest =
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG, &config), "layers": layers});
    let (folder, manifest) = (stage.path(name), manifest.to_string().into_bytes());
    for blob in [&layer, &config, &manifest] {
        write_blob(&folder, blob);
    }
    write_index(&folder, &[descriptor(OCI_MANIFEST, &manifest)]);
}

/// The most memory that a command has used, in KiB.
fn peak(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// Runs a command, which has to end soon with less than so many MiB.
#[track_caller]
fn bounded(wharf: &Wharf, words: &[&str], mebibytes: u64) -> Ran {
    let begun = Instant::now();
    let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let mut command = wharf.command(words);
    command.stdin(Stdio::null()).stdout(out.reopen().unwrap()).stderr(err.reopen().unwrap());
    let mut child = command.spawn().unwrap();
    let mut most = 0;
    let status = loop {
        most = most.max(peak(&child));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > SOON {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{words:?} goes on for {SOON:?}, with {} MiB", most >> 10);
        }
        std::thread::sleep(Duration::from_millis(3));
    };
    println!("{words:?}: {} MiB, {:?}", most >> 10, begun.elapsed());
    let text = |file: &tempfile::NamedTempFile| fs::read_to_string(file.path()).unwrap();
    let ran = Ran { line: words.join(" "), code: status.code().unwrap_or(-1), stdout: text(&out), stderr: text(&err) };
    assert!(most < mebibytes << 10, "{} MiB: {ran}", most >> 10);
    ran.is_silent_on("panicked")
}

/// A gigabyte of zeros in a megabyte: whoever decompresses it does so piece by piece, and a disk that is full is told of and given back.
#[test]
fn content_that_is_a_thousand_times_as_long() {
    let (stage, disk) = (Stage::new(), SmallDisk::mount());
    let server = Server::launch(Program::Wharf, Config::default());
    layout(&stage, "bomb-oci", "put(header('zeros', 1 << 30)); put(b'wharf, ' * (1 << 21) + b'ab' * (1 << 20), 64)");
    let wharf = Wharf::with_server(stage.folder(), &server);
    for words in [
        &["inspect", "bomb-oci"][..],
        &["diff", "bomb-oci", "bomb-oci"],
        &["push", "bomb-oci", "--name", "app", "--tag", "t"],
        &["push", "bomb-oci", "--name", "app", "--tag", "u", "--recompress", "zstd:chunked"],
        &["label", "bomb-oci", "a=b"],
        &["pull", "app:t", "pulled-oci"],
    ] {
        bounded(&wharf, words, 200).expect(0);
    }
    let Some(disk) = disk else { return };
    let free = disk.free();
    let out = disk.point().join("out");
    let ran = bounded(&wharf, &["unpack", "pulled-oci", out.to_str().unwrap()], 100).expect(1);
    ran.says("No space left on device").says("zeros");
    assert!(!out.exists() && disk.free() + (64 << 10) > free);
}

/// Files that are nothing but holes: a thousand with eight gigabytes each, in a few kilobytes.
#[test]
fn holes_without_an_end() {
    let stage = Stage::new();
    let sparse = "
def sparse(n):
    pax = {'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': 'f%d' % n, 'GNU.sparse.realsize': str((8 << 30) - n)}
    return header('s', 512, pax) + b'0\\n'.ljust(512, b'\\0')
put(b''.join(sparse(n) for n in range(1000)))";
    layout(&stage, "holes-oci", sparse);
    layout(&stage, "empty-oci", "");
    let ran = bounded(&stage.wharf, &["diff", "empty-oci", "holes-oci", "--summary"], 200).expect(0);
    assert!(ran.stdout.contains("1000") || ran.stdout.contains("1,000"), "{ran}");
    bounded(&stage.wharf, &["inspect", "holes-oci"], 100).expect(0);
    bounded(&stage.wharf, &["unpack", "holes-oci", "out"], 100).expect(0);
}

/// Names and attributes without an end, which compress to nothing: more of them than is remembered are refused.
#[test]
fn names_and_attributes_without_an_end() {
    let stage = Stage::new();
    layout(&stage, "empty-oci", "");
    layout(
        &stage,
        "attributes-oci",
        "put(b''.join(header('f%d' % n, 0, {'SCHILY.xattr.user.a': 'x' * 900000}) for n in range(20)), 60)",
    );
    layout(&stage, "files-oci", "put(b''.join(header('%s/%d' % ('d' * 90, n)) for n in range(20000)), 60)");
    for name in ["files-oci", "attributes-oci"] {
        // The same name again and again is remembered once, and counted each time.
        let ran = bounded(&stage.wharf, &["diff", "empty-oci", name, "--summary"], 400).expect(1);
        ran.says("names and attributes take more than");
    }
    // No file system takes as much.
    bounded(&stage.wharf, &["unpack", "attributes-oci", "out"], 100).expect(1).says("attributes");
    assert!(!stage.path("out").exists());
}

/// A name of half a million folders.
#[test]
fn folders_in_folders_without_an_end() {
    let stage = Stage::new();
    layout(&stage, "empty-oci", "");
    layout(&stage, "deep-oci", "put(b''.join(header('a/' * 400000 + str(n)) for n in range(5)), 4)");
    bounded(&stage.wharf, &["diff", "empty-oci", "deep-oci"], 200).expect(1).says("it lies too deep");
    bounded(&stage.wharf, &["unpack", "deep-oci", "out"], 200).expect(1).says("it lies too deep");
    assert!(!stage.path("out").exists());
}

/// Indexes that name each other a thousand times over, five deep: a layout is read as far as an image is, and no further.
#[test]
fn indexes_without_an_end_in_a_layout() {
    let stage = Stage::new();
    let folder = stage.path("wide-oci");
    let mut child = index(&[]);
    write_blob(&folder, &child);
    for level in 0..4 {
        let entry = |number: usize| {
            let mut entry = descriptor(OCI_INDEX, &child);
            entry["platform"] = json!({"os": "linux", "architecture": format!("a{level}-{number}")});
            entry
        };
        child = index(&(0..1000).map(entry).collect::<Vec<_>>());
        write_blob(&folder, &child);
    }
    let root: Vec<_> = (0..1000).map(|_| descriptor(OCI_INDEX, &child)).collect();
    write_index(&folder, &root);
    let server = Server::launch(Program::Wharf, Config::default());
    let wharf = Wharf::with_server(stage.folder(), &server);
    for words in [
        &["inspect", "wide-oci"][..],
        &["push", "wide-oci", "--name", "app", "--tag", "t"],
        &["unpack", "wide-oci", "out"],
        &["diff", "wide-oci", "wide-oci"],
        &["label", "wide-oci", "a=b"],
    ] {
        bounded(&wharf, words, 200);
    }
}

/// Documents of a layout that are too long, nested without end, no files at all, or name themselves.
#[test]
fn documents_that_are_none() {
    let stage = Stage::new();
    let folder = stage.path("odd-oci");
    write_index(&folder, &[]);
    let (file, own) = (folder.join("index.json"), format!("sha256:{}", "0".repeat(64)));
    let named = json!({"schemaVersion": 2, "manifests": [{"mediaType": OCI_INDEX, "digest": own, "size": 2}]}).to_string();
    let itself = |folder: &std::path::Path| {
        fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        let _ = fs::remove_file(folder.join("blobs/sha256").join("0".repeat(64)));
        std::os::unix::fs::symlink("../../index.json", folder.join("blobs/sha256").join("0".repeat(64))).unwrap();
    };
    for (what, says) in [
        ("endless", "bytes"),
        ("nested", "EOF while parsing"),
        ("pipe", "is no file"),
        ("device", "is no file"),
        ("folder", "is no file"),
        ("circle", "symbolic links"),
        ("itself", "bytes"),
        ("long", "bytes"),
    ] {
        let _ = fs::remove_file(&file).or_else(|_| fs::remove_dir(&file));
        match what {
            "endless" => fs::File::create(&file).unwrap().set_len(1 << 40).unwrap(),
            "nested" => fs::write(&file, format!("{{\"a\":{}", "[".repeat(3 << 20))).unwrap(),
            "pipe" => drop(run_tool("mkfifo", &[file.to_str().unwrap()], None)),
            "device" => std::os::unix::fs::symlink("/dev/zero", &file).unwrap(),
            "folder" => fs::create_dir(&file).unwrap(),
            "circle" => std::os::unix::fs::symlink("index.json", &file).unwrap(),
            "long" => {
                let blob =
                    json!({"schemaVersion": 2, "manifests": [{"mediaType": OCI_MANIFEST, "digest": own, "size": 1_u64 << 50}]});
                fs::write(&file, blob.to_string()).unwrap();
            }
            _ => {
                fs::write(&file, &named).unwrap();
                itself(&folder);
            }
        }
        for words in [
            &["inspect", "./odd-oci"][..],
            &["unpack", "./odd-oci", "out"],
            &["push", "./odd-oci", "--name", "app", "--tag", "t"],
        ] {
            bounded(&stage.wharf, words, 100).expect(1).says(says);
        }
    }
}

/// A layer of an exabyte, as a registry announces it, and then brings little of it or will not end.
#[test]
fn a_layer_that_a_registry_says_is_endless() {
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec();
    let mut layer = descriptor(OCI_LAYER, b"x");
    layer["size"] = json!(1_u64 << 60);
    let manifest =
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG, &config), "layers": [layer]});
    let (manifest, digest) = (manifest.to_string().into_bytes(), sha256(&config));
    for short in [true, false] {
        let (manifest, config, digest) = (manifest.clone(), config.clone(), digest.clone());
        let server = Scripted::start(move |asked| match asked.target.as_str() {
            "/v2/" => Reply::new(200),
            target if target.contains("/manifests/") => {
                Reply::new(200).header("Content-Type", OCI_MANIFEST).body(manifest.clone())
            }
            target if target.contains(&digest) => Reply::new(200).body(config.clone()),
            _ if short => Reply::new(200).body("x"),
            _ => Reply::new(200).length(1 << 60).body("x".repeat(1 << 20)).cut(1 << 20),
        });
        let stage = Stage::new();
        let wharf = stage.wharf.env("CONTAINER_REGISTRY_URL", &server.address().to_string()).env("WHARF_STALL", "0.3");
        let ran = bounded(&wharf, &["pull", &format!("{}/app:1", server.address()), "pulled-oci"], 100);
        assert_eq!(ran.code, 1, "{ran}");
        let size: u64 = run_size(stage.folder());
        assert!(size < 64 << 20, "{size} bytes are kept of it: {ran}");
    }
}

/// Bytes that the files of a folder take on the disk.
fn run_size(folder: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| match entry.metadata().unwrap() {
            status if status.is_dir() => run_size(&entry.path()),
            status => status.blocks() * 512,
        })
        .sum()
}
