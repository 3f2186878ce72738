//! Several architectures under one tag: what the contract's "Push" says of merging.

use std::path::Path;

use serde_json::{Value, json};
use wharf_tests::{
    Build, Image, OCI_INDEX, OCI_MANIFEST, Program, Ran, Wharf, artifact, clients, descriptor, image_of, index, random,
    write_blob, write_index, write_layout,
};

const LINUX: [(&str, Option<&str>); 8] = [
    ("amd64", None),
    ("arm64", None),
    ("arm", Some("v7")),
    ("arm", Some("v6")),
    ("386", None),
    ("riscv64", None),
    ("ppc64le", None),
    ("s390x", None),
];

/// An image of a platform, `os/architecture[/variant][ os.version]`.
fn image(platform: &str) -> Image {
    let (platform, version) = platform.split_once(' ').unwrap_or((platform, ""));
    let parts: Vec<_> = platform.split('/').collect();
    let mut json = json!({"os": parts[0], "architecture": parts[1]});
    if let Some(variant) = parts.get(2) {
        json["variant"] = json!(variant);
    }
    if !version.is_empty() {
        json["os.version"] = json!(version);
    }
    image_of(json, json!({}), vec![random(900), random(300)])
}

/// Pushes an image of a platform to `app:1`.
#[track_caller]
fn push(build: &Build, platform: &str) -> (String, String) {
    let image = image(platform);
    push_image(build, &image);
    (platform.to_owned(), image.digest)
}

#[track_caller]
fn push_image(build: &Build, image: &Image) -> Ran {
    let folder = build.path(&format!("layouts/{}", &image.digest[7..]));
    write_layout(&folder, &[("latest", image)]);
    push_layout(build, &folder)
}

#[track_caller]
fn push_layout(build: &Build, folder: &Path) -> Ran {
    build.wharf.ok(&["push", folder.to_str().expect("UTF-8"), "--name", "app", "-t", "1"])
}

/// A layout with one index of these images, and beside each what BuildKit says about it; returns the attestations' digests.
fn write_attested(folder: &Path, images: &[(&str, &Image)]) -> Vec<String> {
    let (mut entries, mut about) = (Vec::new(), Vec::new());
    for (architecture, image) in images {
        image.blobs().chain([&image.manifest]).for_each(|blob| write_blob(folder, blob));
        entries.push(image.descriptor(architecture));
        let attestation = image_of(json!({"architecture": "unknown", "os": "unknown"}), json!({}), vec![random(50)]);
        attestation.blobs().chain([&attestation.manifest]).for_each(|blob| write_blob(folder, blob));
        let mut entry = attestation.descriptor("unknown");
        entry["platform"]["os"] = json!("unknown");
        entry["annotations"] =
            json!({"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest});
        entries.push(entry);
        about.push(attestation.digest);
    }
    let index = index(&entries);
    write_blob(folder, &index);
    write_index(folder, &[descriptor(OCI_INDEX, &index)]);
    about
}

fn digests(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["digest"].as_str().expect("a digest")).collect()
}

/// One architecture is a plain manifest, also after it was pushed again, and again with other content.
#[test]
fn a_single_architecture_stays_a_plain_manifest() {
    let build = Build::new();
    let [first, second] = [image("linux/amd64"), image("linux/amd64")];
    for image in [&first, &first, &second] {
        push_image(&build, image);
        let found = build.repo("app").manifest("1").expect(200).expect_header("Content-Type", OCI_MANIFEST);
        assert!(found.body == image.manifest);
    }
}

/// Two machines of one run share the tags, in one index.
#[test]
fn two_machines_of_one_run_share_a_tag() {
    let build = Build::new();
    let [pc, board] = [image("linux/amd64"), image("linux/arm64")];
    build.deploy.layout("qemux86-64", "app-qemux86-64.rootfs-oci", &pc);
    build.deploy.layout("qemuarm64", "app-qemuarm64.rootfs-oci", &board);
    let ran = build.wharf.ok(&["push"]);
    assert_eq!(ran.tags().len(), 2, "{ran}");
    for tag in ran.tags() {
        let mut found = build.platforms("app", &tag);
        found.sort();
        assert_eq!(found, [("linux/amd64".to_owned(), pc.digest.clone()), ("linux/arm64".to_owned(), board.digest.clone())]);
        clients::assert_whole(&build.repo("app"), &tag);
    }
    // Nobody ever sees the tag with one of them only: the index is all that was put under it.
    let ran = build.wharf.ok(&["push", "-s", "latest", "--verbose"]);
    ran.says("as before");
}

/// One after the other, they come together; each push replaces its own platform's entry and leaves the others where they are.
#[test]
fn each_push_replaces_its_own_platform_only() {
    let build = Build::new();
    let mut expected = vec![push(&build, "linux/amd64"), push(&build, "linux/arm64"), push(&build, "linux/riscv64")];
    assert_eq!(build.platforms("app", "1"), expected);
    expected[1] = push(&build, "linux/arm64");
    assert_eq!(build.platforms("app", "1"), expected);
    assert_eq!(build.repo("app").manifest("1").expect(200).header("Content-Type"), OCI_INDEX);
    clients::assert_whole(&build.repo("app"), "1");
}

/// A platform is os, architecture, variant and os.version; spellings of one variant are one platform.
#[test]
fn variant_and_os_version_tell_platforms_apart() {
    let build = Build::new();
    let platforms = [
        "linux/arm/v6",
        "linux/arm/v7",
        "linux/arm64",
        "freebsd/arm64",
        "windows/amd64 10.0.17763.1",
        "windows/amd64 10.0.20348.2",
    ];
    let mut expected: Vec<_> = platforms.iter().map(|platform| push(&build, platform)).collect();
    assert_eq!(build.platforms("app", "1"), expected);
    expected[4] = push(&build, platforms[4]);
    assert_eq!(build.platforms("app", "1"), expected);
    expected[2] = push(&build, "linux/arm64/v8");
    assert_eq!(build.platforms("app", "1"), expected);
}

/// With a platform's entry go the attestations of what it was, and no others.
#[test]
fn attestations_go_with_what_they_are_about() {
    let build = Build::new();
    let [pc, board, other] = [image("linux/amd64"), image("linux/arm64"), image("linux/arm64")];
    let about = write_attested(&build.path("attested"), &[("amd64", &pc), ("arm64", &board)]);
    push_layout(&build, &build.path("attested"));
    let before = build.entries("app", "1");
    assert_eq!(digests(&before), [&pc.digest, &about[0], &board.digest, &about[1]]);
    push_image(&build, &other);
    let after = build.entries("app", "1");
    assert_eq!(digests(&after), [&pc.digest, &about[0], &other.digest]);
    // What is pushed brings its own.
    let new = write_attested(&build.path("again"), &[("arm64", &board)]);
    push_layout(&build, &build.path("again"));
    let after = build.entries("app", "1");
    assert_eq!(digests(&after), [&pc.digest, &about[0], &board.digest, &new[0]]);
    assert_eq!(after[3]["annotations"]["vnd.docker.reference.digest"], json!(board.digest));
    clients::assert_whole(&build.repo("app"), "1");
}

/// An index is merged platform by platform.
#[test]
fn each_platform_of_an_index_is_merged() {
    let build = Build::new();
    let [riscv, _old] = [push(&build, "linux/riscv64"), push(&build, "linux/amd64")];
    let [pc, board] = [image("linux/amd64"), image("linux/arm64")];
    let folder = build.path("both-oci");
    write_layout(&folder, &[("amd64", &pc), ("arm64", &board)]);
    push_layout(&build, &folder);
    let expected = [riscv, ("linux/amd64".to_owned(), pc.digest), ("linux/arm64".to_owned(), board.digest)];
    assert_eq!(build.platforms("app", "1"), expected);
}

/// Over an artifact, or an image that names no platform, the tag is replaced, and that is said.
#[test]
fn what_has_no_platform_is_replaced_and_that_is_said() {
    let build = Build::new();
    let repo = build.repo("app");
    let artifact = artifact(None, Some("application/vnd.example"), &[]);
    repo.push_artifact(&artifact);
    repo.put("1", OCI_MANIFEST, &artifact).expect(201);
    let nowhere = image_of(json!({}), json!({}), vec![random(40)]);
    let pc = image("linux/amd64");
    let said = |ran: Ran, why: &str| {
        let warning = format!("warning: {}/yocto/app:1 was replaced: {why}\n", build.server.address());
        ran.says(&warning);
    };
    said(push_image(&build, &pc), "what it led to before names no platform");
    assert!(repo.manifest("1").expect(200).body == pc.manifest);
    push(&build, "linux/arm64");
    // The other way round the whole index goes, and that is said too.
    said(push_image(&build, &nowhere), "what was pushed names no platform, and shares a tag with nothing");
    assert!(repo.manifest("1").expect(200).body == nowhere.manifest);
    push_image(&build, &nowhere).is_silent_on("replaced");
    said(push_image(&build, &pc), "what it led to before names no platform");
    assert!(repo.manifest("1").expect(200).body == pc.manifest);
    push_image(&build, &pc).is_silent_on("replaced");
}

/// Two images of a layout for one platform cannot share a tag: an error that lists the names; PATH:NAME picks one.
#[test]
fn a_layout_with_two_images_of_one_platform_is_refused() {
    let build = Build::new();
    let [one, two] = [image("linux/arm64"), image("linux/arm64/v8")];
    write_layout(&build.path("app-oci"), &[("v1", &one), ("v2", &two)]);
    let ran = build.wharf.fails(&["push", "app-oci", "-t", "1"]).says("several images for linux/arm64").says("v1, v2");
    ran.says("app-oci:NAME picks one");
    assert!(build.nothing_was_sent());
    build.wharf.ok(&["push", "app-oci:v2", "-t", "1"]);
    assert!(build.repo("app").manifest("1").expect(200).body == two.manifest);
    // The same image under two names is one image.
    write_layout(&build.path("same-oci"), &[("v1", &one), ("latest", &one)]);
    build.wharf.ok(&["push", "same-oci", "-t", "1"]);
    assert!(build.repo("same").manifest("1").expect(200).body == one.manifest);
}

/// Two machines of one architecture want the same place: the newer build has it, and that is said.
#[test]
fn of_two_machines_with_one_platform_the_newer_build_counts() {
    let build = Build::new();
    let [older, newer] = [image("linux/amd64"), image("linux/amd64")];
    let old = build.deploy.layout("qemux86-64", "app-qemux86-64.rootfs-oci", &older);
    build.deploy.layout("genericx86-64", "app-genericx86-64.rootfs-oci", &newer);
    let file = std::fs::File::options().write(true).open(old.join("index.json")).expect("the older layout");
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(60)).expect("set its time");
    let ran = build.wharf.ok(&["push", "-s", "latest"]).says("warning: app (qemux86-64) from ").says(" does not get latest: ");
    assert_eq!(ran.pushed().len(), 1, "{ran}");
    assert!(build.repo("app").manifest("latest").expect(200).body == newer.manifest);
    // Where both were named, that one of them got nothing is a failure.
    let new = build.deploy.path("genericx86-64", "app-genericx86-64.rootfs-oci");
    let paths = [old.to_str().expect("a path"), new.to_str().expect("a path")];
    let ran =
        build.wharf.fails(&["push", paths[0], paths[1], "-s", "latest"]).says("error: app from ").says(" does not get latest: ");
    assert_eq!(ran.pushed().len(), 1, "{ran}");
}

/// Each tag has the newest image of each platform, whatever its other tags are.
#[test]
fn what_machines_share_is_settled_tag_by_tag() {
    let build = Build::new();
    let version = |version: &str| json!({"org.opencontainers.image.version": version});
    let labelled = |arch: &str, labels| image_of(json!({"architecture": arch, "os": "linux"}), labels, vec![random(500)]);
    let [older, newer] = [labelled("amd64", version("1.0")), labelled("amd64", version("2.0"))];
    let old = build.deploy.layout("qemux86-64", "app-qemux86-64.rootfs-oci", &older);
    build.deploy.layout("genericx86-64", "app-genericx86-64.rootfs-oci", &newer);
    let file = std::fs::File::options().write(true).open(old.join("index.json")).expect("the older layout");
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(60)).expect("set its time");
    build.wharf.ok(&["push", "-s", "version latest"]);
    for (tag, image) in [("1.0", &older), ("2.0", &newer), ("latest", &newer)] {
        assert!(build.repo("app").manifest(tag).expect(200).body == image.manifest, "{tag}");
    }
}

/// An index gives way to later images that have all of its platforms between them, and keeps the place of what they do not have.
#[test]
fn an_index_gives_way_platform_by_platform() {
    let build = Build::new();
    let [pc, board, pc_later, board_later] =
        [image("linux/amd64"), image("linux/arm64"), image("linux/amd64"), image("linux/arm64")];
    let both = build.deploy.path("multi", "app-multi.rootfs-oci");
    write_layout(&both, &[("pc", &pc), ("board", &board)]);
    let file = std::fs::File::options().write(true).open(both.join("index.json")).expect("the older layout");
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(60)).expect("set its time");
    build.deploy.layout("qemux86-64", "app-qemux86-64.rootfs-oci", &pc_later);
    build.wharf.ok(&["push", "-s", "latest"]).is_silent_on("does not get");
    let digests = |build: &Build| {
        let index = build.repo("app").manifest("latest").expect(200).json();
        let entries = index["manifests"].as_array().expect("an index").iter();
        entries.map(|entry| entry["digest"].as_str().expect("a digest").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(digests(&build), [pc_later.digest.as_str(), &board.digest]);
    build.deploy.layout("qemuarm64", "app-qemuarm64.rootfs-oci", &board_later);
    build.wharf.ok(&["push", "-s", "latest"]).says("warning: app (multi) from ").says(" does not get latest: ");
    assert_eq!(digests(&build), [pc_later.digest.as_str(), &board_later.digest]);
}

/// `arch` names each platform of an index by a tag of its own, which leads to that image alone.
#[test]
fn arch_tags_of_an_index_lead_to_each_image() {
    let build = Build::new();
    let [pc, board] = [image("linux/amd64"), image("linux/arm64")];
    write_layout(&build.path("both-oci"), &[("amd64", &pc), ("arm64", &board)]);
    let ran = build.wharf.ok(&["push", "both-oci", "-s", "version latest arch", "-v", "5"]);
    assert_eq!(ran.tags(), ["5", "latest", "5-x86_64", "5-aarch64"]);
    let repo = build.repo("both");
    assert!(repo.manifest("5-x86_64").expect(200).body == pc.manifest);
    assert!(repo.manifest("5-aarch64").expect(200).body == board.manifest);
    assert_eq!(build.platforms("both", "5").len(), 2);
    // Two variants of one architecture share its name.
    let [v6, v7] = [image("linux/arm/v6"), image("linux/arm/v7")];
    write_layout(&build.path("arms-oci"), &[("v6", &v6), ("v7", &v7)]);
    assert_eq!(build.wharf.ok(&["push", "arms-oci", "-s", "version arch", "-v", "5"]).tags(), ["5", "5-arm"]);
    assert_eq!(build.platforms("arms", "5-arm").len(), 2);
}

/// Eight machines' builds end at the same moment and push to one tag. Returns what each said, and the digests by platform.
fn push_at_once(build: &Build) -> (Vec<Ran>, Vec<(String, String)>) {
    let mut expected = Vec::new();
    let mut running = Vec::new();
    for (architecture, variant) in LINUX {
        let platform = format!("linux/{architecture}{}", variant.map(|variant| format!("/{variant}")).unwrap_or_default());
        let image = image(&platform);
        let folder = build.path(&format!("machine-{}/app-oci", platform.replace('/', "-")));
        write_layout(&folder, &[("latest", &image)]);
        expected.push((platform, image.digest.clone()));
        let wharf: Wharf = build.wharf.clone();
        running.push(std::thread::spawn(move || wharf.run(&["push", folder.to_str().expect("UTF-8"), "-t", "1"])));
    }
    let ran = running.into_iter().map(|thread| thread.join().expect("a push")).collect();
    expected.sort();
    (ran, expected)
}

#[track_caller]
fn all_survive(program: Program) {
    let build = Build::with(program);
    let (ran, expected) = push_at_once(&build);
    for ran in ran {
        ran.expect(0);
    }
    let mut found = build.platforms("app", "1");
    found.sort();
    assert_eq!(found, expected);
    clients::assert_whole(&build.repo("app"), "1");
}

/// With If-Match nobody's platform is lost, however many push at once.
#[test]
fn eight_at_once_all_survive() {
    all_survive(Program::Wharf);
}

/// A registry without preconditions is read again after each write, until what was pushed stays.
#[test]
fn eight_at_once_survive_on_cncf_distribution() {
    all_survive(Program::Distribution);
}

/// One after the other they come together there as well.
#[test]
fn pushes_are_merged_on_cncf_distribution() {
    let build = Build::with(Program::Distribution);
    let mut expected = vec![push(&build, "linux/amd64"), push(&build, "linux/arm64"), push(&build, "linux/arm/v7")];
    expected[0] = push(&build, "linux/amd64");
    assert_eq!(build.platforms("app", "1"), expected);
    clients::assert_whole(&build.repo("app"), "1");
}
