//! What of a build is pushed, and under which names: the contract's "Push", from "What is pushed" on.

use std::fs;
use std::path::Path;

use serde_json::json;
use wharf_tests::{Build, Deploy, Image, image_for, pack, write_layout};

const MACHINE: &str = "qemux86-64";

fn amd64() -> Image {
    image_for("amd64", json!({}))
}

#[track_caller]
fn leads_to(build: &Build, image: &str, tag: &str, expected: &Image) {
    assert!(build.repo(image).manifest(tag).expect(200).body == expected.manifest, "another image is at {image}:{tag}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// `NAME[-MACHINE][.rootfs][-DATE][.rootfs][-TAG]-oci`, with each bracket there or not: 32 forms, one image each.
#[test]
fn every_form_of_a_basename_gives_the_name() {
    let build = Build::new();
    let image = amd64();
    let mut expected = Vec::new();
    for form in 0_u8..32 {
        let part = |bit: u8, text: &'static str| if form & (1 << bit) == 0 { "" } else { text };
        let parts =
            [part(0, "-qemux86-64"), part(1, ".rootfs"), part(2, "-20260112143022"), part(3, ".rootfs"), part(4, "-v1_2")];
        let folder = build.deploy.path(MACHINE, &format!("app-x{form}{}-oci", parts.concat()));
        write_layout(&folder, &[("v1:2", &image)]);
        expected.push(format!("yocto/app-x{form}"));
    }
    expected.sort();
    build.wharf.ok(&["push", "--strategy", "latest"]);
    assert_eq!(build.catalog(), expected);
    for name in expected {
        assert_eq!(build.server.repo(&name).manifest("latest").expect(200).body, image.manifest, "{name}");
    }
}

/// The machine is the folder's own name and no other; a tag is only taken off when it is the layout's own.
#[test]
fn what_only_looks_like_a_part_of_a_name_stays() {
    let build = Build::new();
    build.deploy.layout("beaglebone", "app-qemuarm64-oci", &image_for("arm", json!({})));
    build.deploy.layout("beaglebone", "tool-stable-oci", &image_for("arm", json!({})));
    build.deploy.layout("beaglebone", "beaglebone-oci", &image_for("arm", json!({})));
    build.deploy.layout("beaglebone", "app-1.2-beaglebone.rootfs-oci", &image_for("arm", json!({})));
    build.wharf.ok(&["push"]);
    assert_eq!(build.catalog(), ["yocto/app-1.2", "yocto/app-qemuarm64", "yocto/beaglebone", "yocto/tool-stable"]);
}

/// Old builds stand beside the new one: only what the stable link points to counts, even when another was written later, and
/// neither `latest` nor any other tag leads to an old one. There is no `app.rootfs`.
#[test]
fn of_dated_folders_only_the_linked_one_is_pushed() {
    for link in
        ["app-qemux86-64-oci", "app-qemux86-64.rootfs-oci", "app-latest-oci", "app-oci", "app-qemux86-64.rootfs-latest-oci"]
    {
        let build = Build::new();
        let [older, linked, newer] = [amd64(), amd64(), amd64()];
        build.deploy.layout(MACHINE, "app-qemux86-64.rootfs-20260111000000-oci", &older);
        build.deploy.layout(MACHINE, "app-qemux86-64.rootfs-20260112000000-oci", &linked);
        build.deploy.layout(MACHINE, "app-qemux86-64.rootfs-20260113000000-oci", &newer);
        build.deploy.link(MACHINE, link, "app-qemux86-64.rootfs-20260112000000-oci");
        let ran = build.wharf.ok(&["push"]);
        assert_eq!(build.catalog(), ["yocto/app"], "{link}");
        let tags = build.tags("app");
        assert_eq!(tags.len(), 2, "{ran}");
        for tag in tags {
            leads_to(&build, "app", &tag, &linked);
        }
        for old in [&older, &newer] {
            build.repo("app").manifest(&old.digest).expect(404);
            assert!(!ran.stdout.contains(&old.digest), "{ran}");
        }
    }
}

/// Where there is no link, the newest by the dates in the names; where names hold none, by the time of writing.
#[test]
fn without_a_link_the_newest_is_pushed() {
    let build = Build::new();
    let [new, old] = [amd64(), amd64()];
    build.deploy.layout(MACHINE, "app-qemux86-64-20260112143023.rootfs-oci", &new);
    build.deploy.layout(MACHINE, "app-qemux86-64-20260112143022.rootfs-oci", &old);
    build.wharf.ok(&["push", "app", "-t", "1"]);
    leads_to(&build, "app", "1", &new);
    assert_eq!(build.catalog(), ["yocto/app"]);
}

/// A link to an absolute path is one too, and the dated folder may lie elsewhere.
#[test]
fn a_link_may_lead_out_of_the_folder() {
    let build = Build::new();
    let image = amd64();
    let elsewhere = build.path("sstate/app-qemux86-64.rootfs-20260112143022-oci");
    write_layout(&elsewhere, &[("latest", &image)]);
    fs::create_dir_all(build.deploy.path(MACHINE, "")).expect("a machine's folder");
    build.deploy.link(MACHINE, "app-qemux86-64.rootfs-oci", text(&elsewhere));
    build.wharf.ok(&["push"]);
    leads_to(&build, "app", "latest", &image);
}

/// Each machine's folder of DEPLOY_DIR_IMAGES is looked into: the list may name several, as multiconfigs have their own tmp.
#[test]
fn every_machine_of_every_multiconfig_is_pushed() {
    let build = Build::new();
    let [pc, arm, board] = [amd64(), image_for("arm64", json!({})), image_for("riscv64", json!({}))];
    build.deploy.layout(MACHINE, "app-qemux86-64.rootfs-oci", &pc);
    build.deploy.layout("qemuarm64", "app-qemuarm64.rootfs-oci", &arm);
    let other = Deploy::new(&build.path("mc/board"));
    other.layout("board", "board-app-board.rootfs-oci", &board);
    let list = format!("{}  {}", text(build.deploy.images()), text(other.images()));
    build.wharf.env("DEPLOY_DIR_IMAGES", &list).ok(&["push", "-s", "latest"]);
    assert_eq!(build.catalog(), ["yocto/app", "yocto/board-app"]);
    let expected = [("linux/amd64".to_owned(), pc.digest), ("linux/arm64".to_owned(), arm.digest)];
    let mut found = build.platforms("app", "latest");
    found.sort();
    assert_eq!(found, expected);
    leads_to(&build, "board-app", "latest", &board);
}

/// DEPLOY_DIR_IMAGE is one machine's folder; without any variable it is the build directory's tmp/deploy/images.
#[test]
fn one_machine_alone_is_pushed_when_its_folder_is_named() {
    let build = Build::new();
    let arm = image_for("arm64", json!({}));
    build.deploy.layout(MACHINE, "app-qemux86-64.rootfs-oci", &amd64());
    build.deploy.layout("qemuarm64", "app-qemuarm64.rootfs-oci", &arm);
    let folder = build.deploy.path("qemuarm64", "");
    build.wharf.env("DEPLOY_DIR_IMAGE", text(&folder)).ok(&["push", "-s", "latest"]);
    leads_to(&build, "app", "latest", &arm);
    // Without a trailing slash, and from a relative path, the machine's name is the same.
    build.wharf.env("DEPLOY_DIR_IMAGE", "tmp/deploy/images/qemuarm64").ok(&["push", "app", "-t", "2"]);
    leads_to(&build, "app", "2", &arm);
}

/// The same layout also as an archive beside it is pushed once; an archive alone counts as well.
#[test]
fn archives_of_the_build_count_once() {
    let build = Build::new();
    let [folder, alone] = [amd64(), amd64()];
    let layout = build.deploy.layout(MACHINE, "app-qemux86-64.rootfs-oci", &folder);
    pack(&layout, &build.deploy.path(MACHINE, "app-qemux86-64.rootfs-oci.tar"));
    let temporary = build.path("unpacked");
    write_layout(&temporary, &[("latest", &alone)]);
    pack(&temporary, &build.deploy.path(MACHINE, "tool-qemux86-64.rootfs-20260112143022-oci.tar"));
    let ran = build.wharf.ok(&["push", "-s", "latest"]);
    assert_eq!(ran.pushed().len(), 2, "{ran}");
    leads_to(&build, "app", "latest", &folder);
    leads_to(&build, "tool", "latest", &alone);
}

/// All that one build with archives leaves behind, twice: two dated folders, their archives, and a link to each of the newer ones.
#[test]
fn a_build_with_archives_leaves_one_image() {
    let build = Build::new();
    let [old, new] = [amd64(), amd64()];
    for (date, image) in [("20260112143022", &new), ("20260113143022", &old)] {
        let base = format!("app-qemux86-64.rootfs-{date}.rootfs-oci");
        let layout = build.deploy.layout(MACHINE, &base, image);
        pack(&layout, &build.deploy.path(MACHINE, &format!("{base}.tar")));
        let outer = build.path(&format!("outer-{date}"));
        write_layout(&outer.join(&base), &[("latest", image)]);
        pack(&outer, &build.deploy.path(MACHINE, &format!("{base}-dir.tar")));
    }
    // As image-oci.bbclass names them.
    for (link, kind) in [
        ("app-qemux86-64.rootfs.rootfs-oci", ""),
        ("app-latest-rootfs-oci.tar", ".tar"),
        ("app-latest-rootfs-oci-dir.tar", "-dir.tar"),
    ] {
        build.deploy.link(MACHINE, link, &format!("app-qemux86-64.rootfs-20260112143022.rootfs-oci{kind}"));
    }
    let ran = build.wharf.ok(&["push"]);
    assert_eq!(build.catalog(), ["yocto/app"]);
    assert_eq!(ran.pushed().len(), 2, "{ran}");
    leads_to(&build, "app", "latest", &new);
    build.repo("app").manifest(&old.digest).expect(404);
    // The archive of the folder, folder included, can be named as well.
    let archive = build.deploy.path(MACHINE, "app-latest-rootfs-oci-dir.tar");
    build.wharf.ok(&["push", text(&archive), "--name", "app", "-t", "dir"]);
    leads_to(&build, "app", "dir", &new);
}

/// A PATH is pushed as it is: a layout, `-oci.tar`, `.tar`, from anywhere, under the name of its basename or --name.
#[test]
fn a_path_is_pushed_as_it_is() {
    let build = Build::new();
    let image = amd64();
    let layout = build.path("out/app-oci");
    write_layout(&layout, &[("latest", &image)]);
    pack(&layout, &build.path("out/tool-oci.tar"));
    pack(&layout, &build.path("out/other.tar"));
    build.wharf.ok(&["push", text(&layout), "out/tool-oci.tar", "./out/other.tar", "-t", "1"]);
    assert_eq!(build.catalog(), ["yocto/app", "yocto/other", "yocto/tool"]);
    for name in ["app", "other", "tool"] {
        leads_to(&build, name, "1", &image);
    }
    build.wharf.ok(&["push", "out/app-oci", "--name", "named", "-t", "1"]);
    leads_to(&build, "named", "1", &image);
    build.wharf.ok(&["push", "out/app-oci", "--name", "team/named", "-t", "1"]);
    assert_eq!(build.server.repo("team/named").manifest("1").expect(200).body, image.manifest);
    build.wharf.fails(&["push", "out/app-oci", "out/tool-oci.tar", "--name", "x"]).says("--name is for exactly one PATH");
    build.wharf.fails(&["push", "app", "--name", "x"]).says("--name is for exactly one PATH");
    build.wharf.fails(&["push", "out/none-oci"]).says("out/none-oci not found");
}

/// A file or a folder that is called like an image and is none does not get in its way.
#[test]
fn a_name_is_no_path_for_what_is_called_so() {
    let build = Build::new();
    for (name, image) in [("app", amd64()), ("tool", amd64())] {
        build.deploy.layout(MACHINE, &format!("{name}-qemux86-64.rootfs-oci"), &image);
    }
    fs::write(build.path("app"), "#!/bin/sh\n").expect("a program");
    fs::create_dir(build.path("tool")).expect("a folder");
    build.wharf.ok(&["push", "app", "tool", "-t", "1"]);
    assert_eq!(build.catalog(), ["yocto/app", "yocto/tool"]);
    build.wharf.fails(&["push", "./app", "-t", "1"]).says("cannot be pushed");
}

/// PATH:NAME picks one of the images of a layout, or of an archive.
#[test]
fn a_name_after_the_path_picks_one_image() {
    let build = Build::new();
    let [one, two] = [amd64(), amd64()];
    let layout = build.path("app-oci");
    write_layout(&layout, &[("one", &one), ("two:2", &two)]);
    pack(&layout, &build.path("app.tar"));
    build.wharf.ok(&["push", "app-oci:two:2", "-t", "2"]);
    leads_to(&build, "app", "2", &two);
    build.wharf.ok(&["push", &format!("{}:one", text(&build.path("app.tar"))), "-t", "1"]);
    leads_to(&build, "app", "1", &one);
    let ran = build.wharf.fails(&["push", "app-oci:three", "-t", "3"]).says("holds no image called three");
    ran.says("one, two:2");
}

/// IMAGE and CONTAINER_REGISTRY_IMAGES choose by name; names on the command line count before the variable.
#[test]
fn images_are_chosen_by_name() {
    let build = Build::new();
    for name in ["app", "base", "tool"] {
        build.deploy.layout(MACHINE, &format!("{name}-qemux86-64.rootfs-oci"), &amd64());
    }
    let chosen = build.wharf.env("CONTAINER_REGISTRY_IMAGES", " tool\tapp ");
    chosen.ok(&["push"]);
    assert_eq!(build.catalog(), ["yocto/app", "yocto/tool"]);
    chosen.ok(&["push", "base"]);
    assert_eq!(build.catalog(), ["yocto/app", "yocto/base", "yocto/tool"]);
    // It is a filter, written once for many builds: what this one did not make is told, and no failure unless nothing is left.
    let ran = build.wharf.env("CONTAINER_REGISTRY_IMAGES", "tool nope").ok(&["push"]);
    ran.says("warning: nope, of CONTAINER_REGISTRY_IMAGES, not found");
    build.wharf.env("CONTAINER_REGISTRY_IMAGES", "nope").fails(&["push"]).says("no images found");
}

/// The namespace is configured; a name may hold it.
#[test]
fn images_go_to_the_configured_namespace() {
    let build = Build::new();
    build.deploy.layout(MACHINE, "app-qemux86-64.rootfs-oci", &amd64());
    let wharf = build.wharf.env("CONTAINER_REGISTRY_NAMESPACE", "team/edge");
    wharf.ok(&["push"]);
    wharf.ok(&["push", "team/edge/app", "-t", "1"]);
    assert_eq!(build.catalog(), ["team/edge/app"]);
}

/// "not found" and the list of what is available, exit code 1; the images that are there are pushed all the same.
#[test]
fn an_unknown_image_is_told_with_what_is_available() {
    let build = Build::new();
    build.deploy.layout(MACHINE, "app-qemux86-64.rootfs-oci", &amd64());
    build.deploy.layout(MACHINE, "base-qemux86-64.rootfs-oci", &amd64());
    let ran = build.wharf.fails(&["push", "nope"]);
    ran.says("nope not found").says("available: app, base");
    assert!(build.nothing_was_sent());
    build.wharf.fails(&["push", "nope", "app"]).says("1 of 2 not pushed: nope");
    assert_eq!(build.catalog(), ["yocto/app"]);
    build.wharf.fails(&["push", "app:1.0"]).says("push app --tag 1.0");
}

/// Nothing built yet, and no deploy directory at all.
#[test]
fn without_images_there_is_an_error() {
    let build = Build::new();
    build.wharf.fails(&["push"]).says("no images found in").says("IMAGE_FSTYPES");
    fs::create_dir_all(build.deploy.path(MACHINE, "core-image-minimal")).expect("another folder");
    build.wharf.fails(&["push"]).says("no images found in");
    let ran = build.wharf.env("DEPLOY_DIR_IMAGES", "/nowhere/at/all").fails(&["push"]);
    ran.says("/nowhere/at/all").says("DEPLOY_DIR_IMAGES");
    assert!(build.nothing_was_sent());
}

/// One bad image never hides the others: a dangling link, an altered blob, a missing blob.
#[test]
fn one_bad_image_does_not_keep_the_others() {
    let build = Build::new();
    let good = amd64();
    build.deploy.layout(MACHINE, "good-qemux86-64.rootfs-oci", &good);
    build.deploy.link(MACHINE, "gone-qemux86-64.rootfs-oci", "gone-qemux86-64.rootfs-20260112143022-oci");
    let blob = |image: &str, content: &[u8]| {
        let file = format!("{image}-qemux86-64.rootfs-oci/blobs/sha256/{}", &wharf_tests::sha256(content)[7..]);
        build.deploy.path(MACHINE, &file)
    };
    let [altered, missing] = [amd64(), amd64()];
    build.deploy.layout(MACHINE, "altered-qemux86-64.rootfs-oci", &altered);
    build.deploy.layout(MACHINE, "missing-qemux86-64.rootfs-oci", &missing);
    fs::write(blob("altered", &altered.layers[0]), wharf_tests::random(altered.layers[0].len())).expect("alter a blob");
    fs::remove_file(blob("missing", &missing.layers[1])).expect("remove a blob");
    let ran = build.wharf.fails(&["push"]);
    leads_to(&build, "good", "latest", &good);
    assert_eq!(build.tags("altered").len() + build.tags("missing").len() + build.tags("gone").len(), 0);
    ran.says("3 of 4 not pushed: altered (qemux86-64), gone, missing (qemux86-64)").says("does not exist");
}
