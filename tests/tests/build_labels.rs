//! `wharf label`: the labels of the contract, and layouts in which nothing but labels is other than before.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use wharf_tests::clients::{Cell, Containers, Tree};
use wharf_tests::{
    Image, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Ran, Wharf, artifact, descriptor, image_for, pack, random, run_tool,
    sha256, write_blob, write_index, write_layout,
};

const REVISION: &str = "org.opencontainers.image.revision";
const BRANCH: &str = "org.opencontainers.image.ref.name";
const CREATED: &str = "org.opencontainers.image.created";
const VERSION: &str = "org.opencontainers.image.version";
const REFERENCE: &str = "vnd.docker.reference.digest";

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn folder() -> (tempfile::TempDir, Wharf) {
    let folder = tempfile::Builder::new().prefix("wharf-label-").tempdir().expect("a folder");
    let wharf = Wharf::new(folder.path()).without("SOURCE_DATE_EPOCH");
    (folder, wharf)
}

/// A build directory with a layout `app-oci` of one image, `latest`.
fn built() -> (tempfile::TempDir, Wharf, Image) {
    let (folder, wharf) = folder();
    let image = image_for("amd64", json!({"a": "1"}));
    write_layout(&folder.path().join("app-oci"), &[("latest", &image)]);
    (folder, wharf, image)
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let who = ["-C", text(folder), "-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always"];
    run_tool("git", &[&who, arguments].concat(), None).trim().to_owned()
}

/// Makes a folder a repository on this branch, with one commit; returns its short name.
fn commit(folder: &Path, branch: &str) -> String {
    fs::create_dir_all(folder).expect("a folder");
    git(folder, &["init", "--quiet", "--initial-branch", branch]);
    git(folder, &["commit", "--quiet", "--allow-empty", "--message=one"]);
    git(folder, &["rev-parse", "--short", "HEAD"])
}

fn blob(layout: &Path, digest: &Value) -> Vec<u8> {
    let digest = digest.as_str().expect("a digest");
    let bytes = fs::read(layout.join("blobs/sha256").join(&digest[7..])).unwrap_or_else(|error| panic!("{digest}: {error}"));
    assert_eq!(sha256(&bytes), digest);
    bytes
}

fn json_blob(layout: &Path, descriptor: &Value) -> Value {
    let bytes = blob(layout, &descriptor["digest"]);
    assert_eq!(descriptor["size"], bytes.len(), "{descriptor}");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn entries(layout: &Path) -> Vec<Value> {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).expect("an index")).expect("JSON");
    index["manifests"].as_array().expect("a list").clone()
}

/// The labels of the image that a descriptor leads to, with every digest and length on the way compared.
fn labels_of(layout: &Path, entry: &Value) -> BTreeMap<String, String> {
    let manifest = json_blob(layout, entry);
    let config = json_blob(layout, &manifest["config"]);
    serde_json::from_value(config["config"]["Labels"].clone()).unwrap_or_default()
}

fn labels(layout: &Path) -> BTreeMap<String, String> {
    labels_of(layout, &entries(layout)[0])
}

/// The files of a layout, with their inodes and content.
fn files(layout: &Path) -> BTreeMap<PathBuf, (u64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![layout.to_owned()];
    while let Some(folder) = open.pop() {
        for file in fs::read_dir(folder).expect("a folder").flatten() {
            match file.path().is_dir() {
                true => open.push(file.path()),
                false => {
                    let inode = file.metadata().expect("a file").ino();
                    found.insert(file.path(), (inode, fs::read(file.path()).expect("read a file")));
                }
            }
        }
    }
    found
}

/// The labels that `label --auto` puts on, and what it says.
fn automatic(wharf: &Wharf, more: &[&str]) -> (BTreeMap<String, String>, Ran) {
    let ran = wharf.ok(&[&["label", "app-oci", "--auto"], more].concat());
    let mut found = labels(&wharf.folder().join("app-oci"));
    assert_eq!(found.remove("a").as_deref(), Some("1"), "{ran}");
    (found, ran)
}

fn is_time(text: &str) -> bool {
    let form = "0000-00-00T00:00:00Z";
    text.len() == form.len()
        && text.chars().zip(form.chars()).all(|(c, form)| if form == '0' { c.is_ascii_digit() } else { c == form })
}

/// The README of the seed system: `skopeo inspect oci:container-base-oci | jq '.Labels'` shows revision, branch and time. Other tools read the layout
/// as before.
#[test]
fn skopeo_shows_the_labels_as_the_readme_says() {
    let cell = Cell::new();
    let wharf = Wharf::new(cell.folder());
    let commit = commit(cell.folder(), "master");
    let tree = cell.path("tree");
    let _ = Tree::new(&tree).busybox("amd64");
    let layout = cell.path("container-base-oci");
    let image = format!("{}:latest", layout.display());
    let umoci = |arguments: &[&str]| cell.run("umoci", arguments).ok();
    umoci(&["init", "--layout", text(&layout)]);
    umoci(&["new", "--image", &image]);
    umoci(&["insert", "--image", &image, text(&tree), "/"]);
    umoci(&["config", "--image", &image, "--config.entrypoint", "/bin/sh", "--config.label", "org.example.own=kept"]);
    let before = files(&layout);
    let ran = wharf.ok(&["label", "container-base-oci", "--auto"]);
    let shown =
        run_tool("sh", &["-c", &format!("cd '{}' && skopeo inspect oci:container-base-oci", cell.folder().display())], None);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let found = &shown["Labels"];
    assert_eq!((&found[REVISION], &found[BRANCH], &found["org.example.own"]), (&json!(commit), &json!("master"), &json!("kept")));
    assert!(is_time(found[CREATED].as_str().expect("a time")), "{shown}");
    // There is no version where nobody gave one.
    assert_eq!(found.as_object().expect("labels").len(), 4);
    let digest = ran.stdout.trim().rsplit_once(' ').expect("a line").1.to_owned();
    assert_eq!(
        (shown["Digest"].as_str(), entries(&layout)[0]["digest"].as_str()),
        (Some(digest.as_str()), Some(digest.as_str()))
    );
    assert_eq!(ran.stdout, format!("container-base-oci:latest {digest}\n"));
    // Every layer is the file that it was.
    let after = files(&layout);
    for layer in json_blob(&layout, &entries(&layout)[0])["layers"].as_array().expect("layers") {
        let place = layout.join("blobs/sha256").join(&layer["digest"].as_str().expect("a digest")[7..]);
        assert_eq!(before[&place], after[&place]);
    }
    assert_eq!(before.len(), after.len());
    let bundle = cell.path("bundle");
    umoci(&["unpack", "--image", &image, text(&bundle)]);
    assert!(bundle.join("rootfs/bin/busybox").is_file());
    let copy = format!("oci:{}:copy", cell.path("copy").display());
    cell.run("skopeo", ["copy", "--preserve-digests", &format!("oci:{image}"), &copy]).ok();
    assert_eq!(entries(&cell.path("copy"))[0]["digest"], digest.as_str());
}

/// A folder in a repository, a worktree, a submodule: each has the commit and the branch that is checked out there. TOPDIR is asked, another
/// folder with --topdir.
#[test]
fn revision_and_branch_are_those_of_the_build_directory() {
    let (folder, wharf, _) = built();
    let first = commit(folder.path(), "feature/log_in");
    let (found, ran) = automatic(&wharf, &[]);
    assert_eq!((found[REVISION].as_str(), found[BRANCH].as_str()), (first.as_str(), "feature/log_in"));
    ran.is_silent_on("warning");
    let other = folder.path().join("other");
    let second = commit(&other, "main");
    git(&other, &["commit", "--quiet", "--allow-empty", "--message=two"]);
    let worktree = folder.path().join("worktree");
    git(&other, &["worktree", "add", "--quiet", "-b", "side", text(&worktree), "HEAD~1"]);
    let outer = folder.path().join("outer");
    commit(&outer, "outer");
    git(&outer, &["submodule", "--quiet", "add", text(&other), "layer"]);
    let third = git(&other, &["rev-parse", "--short", "HEAD"]);
    let below = outer.join("layer/build");
    fs::create_dir(&below).expect("a build directory");
    for (topdir, commit, branch) in [(&worktree, &second, "side"), (&other, &third, "main"), (&below, &third, "main")] {
        for (found, ran) in [automatic(&wharf, &["--topdir", text(topdir)]), automatic(&wharf.env("TOPDIR", text(topdir)), &[])] {
            assert_eq!((&found[REVISION], found[BRANCH].as_str()), (commit, branch), "{ran}");
            ran.is_silent_on("warning");
        }
    }
}

/// Outside a repository there is nothing to tell and nothing to warn of. Without a branch, and where git fails, the label is missing and the
/// reason is said, in git's words.
#[test]
fn what_git_does_not_know_is_left_out() {
    let (folder, wharf, _) = built();
    let (found, ran) = automatic(&wharf, &[]);
    assert_eq!(found.keys().collect::<Vec<_>>(), [CREATED]);
    ran.is_silent_on("warning");
    let detached = folder.path().join("detached");
    let commit = commit(&detached, "main");
    git(&detached, &["checkout", "--quiet", "--detach"]);
    let (found, ran) = automatic(&wharf, &["--topdir", text(&detached)]);
    assert_eq!((found.get(REVISION), found.get(BRANCH)), (Some(&commit), None));
    ran.says(&format!("warning: no label {BRANCH}: ")).says("detached");
    let (folder, wharf, _) = built();
    fs::write(folder.path().join(".git"), "gitdir: /nowhere/at/all\n").expect("a broken repository");
    let (found, ran) = automatic(&wharf, &[]);
    assert_eq!(found.keys().collect::<Vec<_>>(), [CREATED]);
    ran.says(&format!("warning: no label {REVISION}: git failed for ")).says("not a git repository: /nowhere/at/all");
}

/// An ordinary user under pseudo passes for root, to whom a repository of somebody else is dubious.
#[test]
fn the_repository_may_belong_to_somebody_else() {
    let (folder, wharf, _) = built();
    let commit = commit(folder.path(), "main");
    let mut found = vec![folder.path().join(".git")];
    found.push(folder.path().to_owned());
    if found.iter().any(|path| std::os::unix::fs::chown(path, Some(12345), Some(12345)).is_err()) {
        eprintln!("not tried: only root can give a repository away");
        return;
    }
    let plain = Command::new("git").arg("-C").arg(folder.path()).args(["rev-parse", "HEAD"]).env("HOME", folder.path()).output();
    let plain = plain.expect("run git");
    assert!(String::from_utf8_lossy(&plain.stderr).contains("dubious ownership"), "{plain:?}");
    let (found, ran) = automatic(&wharf, &[]);
    assert_eq!((found.get(REVISION), found[BRANCH].as_str()), (Some(&commit), "main"));
    ran.is_silent_on("warning");
    // The user's settings stay as they are.
    assert!(!folder.path().join(".gitconfig").exists());
}

/// OCI_IMAGE_REVISION, _BRANCH, _BUILD_DATE and _VERSION win over what is found out, `none` drops a label, nothing is as good as unset, and so is what BitBake
/// did not put a value for. What is given as KEY=VALUE wins over all of that.
#[test]
fn settings_win_over_what_is_found_out() {
    let (folder, wharf, _) = built();
    let commit = commit(folder.path(), "main");
    let given = ["--revision", "abc", "--branch", "release", "--created", "2026-01-12T20:32:24Z", "--image-version", "1.4.0+git"];
    let (found, _) = automatic(&wharf, &given);
    let expected = [(CREATED, "2026-01-12T20:32:24Z"), (BRANCH, "release"), (REVISION, "abc"), (VERSION, "1.4.0+git")];
    assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    let (folder, wharf, _) = built();
    self::commit(folder.path(), "main");
    let none = ["--revision", "none", "--branch", "none", "--created", "none", "--image-version", "none"];
    assert_eq!(automatic(&wharf, &none).0, BTreeMap::new());
    let own = format!("{REVISION}=own");
    let (found, ran) = automatic(&wharf, &["--revision", "${CI_COMMIT_SHA}", "--branch", "", "--remove", CREATED]);
    assert_eq!((found[BRANCH].as_str(), found.get(CREATED)), ("main", None));
    assert!(found[REVISION].len() == commit.len() && found[REVISION] != "${CI_COMMIT_SHA}", "{ran}");
    ran.says("OCI_IMAGE_REVISION is `${CI_COMMIT_SHA}`").says("BB_ENV_PASSTHROUGH_ADDITIONS");
    assert_eq!(automatic(&wharf, &[&own, "--revision", "abc"]).0[REVISION], "own");
    // Without --auto these options have no meaning.
    wharf.fails(&["label", "app-oci", "--revision", "abc"]).says("--auto");
}

/// SOURCE_DATE_EPOCH counts when it is set, but for a build by BitBake, which always sets it and says --reproducible 0. The configuration's own `created`
/// is the time of the image and not that of a label.
#[test]
fn the_time_follows_source_date_epoch() {
    let (_folder, wharf, _) = built();
    let fixed = wharf.env("SOURCE_DATE_EPOCH", "1302044400");
    assert_eq!(automatic(&fixed, &[]).0[CREATED], "2011-04-05T23:00:00Z");
    assert_eq!(automatic(&fixed, &["--reproducible", "1"]).0[CREATED], "2011-04-05T23:00:00Z");
    let now = |(found, ran): (BTreeMap<String, String>, Ran)| {
        assert!(is_time(&found[CREATED]) && found[CREATED].as_str() > "2025", "{ran}");
    };
    now(automatic(&fixed, &["--reproducible", "0"]));
    now(automatic(&wharf, &[]));
    let layout = wharf.folder().join("app-oci");
    let before = files(&layout);
    wharf.fails(&["label", "app-oci", "--auto", "--reproducible", "1"]).says("SOURCE_DATE_EPOCH is not set");
    wharf.env("SOURCE_DATE_EPOCH", "soon").fails(&["label", "app-oci", "--auto"]).says("SOURCE_DATE_EPOCH is `soon`");
    assert_eq!(files(&layout), before);
    let config = json_blob(&layout, &json_blob(&layout, &entries(&layout)[0])["config"]);
    assert_eq!(config["created"], "2026-01-12T20:32:24Z");
}

/// The same labels give the same digest, wherever and how often; a second time nothing is written.
#[test]
fn the_same_labels_give_the_same_digest() {
    let image = image_for("amd64", json!({"z": "0"}));
    let digest = |arguments: &[&[&str]]| {
        let (folder, wharf) = folder();
        let layout = folder.path().join("app-oci");
        write_layout(&layout, &[("latest", &image)]);
        let mut last = None;
        for arguments in arguments {
            last = Some(wharf.ok(&[&["label", "app-oci"], *arguments].concat()).stdout);
        }
        let before = files(&layout);
        let again = wharf.ok(&[&["label", "app-oci"], arguments[arguments.len() - 1]].concat()).says("Nothing to do");
        assert_eq!(files(&layout), before);
        assert_eq!(Some(&again.stdout), last.as_ref());
        last.expect("a line")
    };
    let first = digest(&[&["b=2", "a=1"]]);
    assert_eq!(digest(&[&["a=1", "b=2"]]), first);
    assert_eq!(digest(&[&["a=1"], &["b=3", "c=4"], &["b=2", "--remove", "c"]]), first);
    // What takes all labels off again leads back.
    let (folder, wharf) = folder();
    write_layout(&folder.path().join("app-oci"), &[("latest", &image)]);
    wharf.ok(&["label", "app-oci", "a=1"]);
    let ran = wharf.ok(&["label", "app-oci", "--remove", "a"]);
    let config = json_blob(
        &folder.path().join("app-oci"),
        &json_blob(&folder.path().join("app-oci"), &entries(&folder.path().join("app-oci"))[0])["config"],
    );
    assert_eq!(config, serde_json::from_slice::<Value>(&image.config).expect("JSON"), "{ran}");
}

/// All images of a layout: plain ones, an index with platforms and annotations, an index in it, two images with one configuration, attestations, an
/// artifact. Every member that is not about labels stays, and what named a manifest names the new one.
#[test]
fn every_image_of_a_layout_is_labelled_and_nothing_else_changes() {
    let (folder, wharf) = folder();
    let layout = folder.path().join("all-oci");
    let amd64 = image_for("amd64", json!({}));
    // Unusual members, numbers that no float holds, and a copy of the configuration in its descriptor.
    let mut odd = String::from_utf8(image_for("arm64", json!(null)).config).expect("UTF-8");
    odd.insert_str(1, r#""x-number":12345678901234567890123456789,"x-float":1.50,"x-list":[ 1e400 ],"#);
    let layer = random(300);
    let manifest = |config: &[u8], annotation: &str| {
        json!({
            "schemaVersion": 2, "x-first": true, "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": sha256(config), "size": config.len(), "data": "e30=", "x-own": 1},
            "layers": [descriptor(OCI_LAYER, &layer)], "annotations": {"n": annotation},
        })
        .to_string()
        .into_bytes()
    };
    let (one, two) = (manifest(odd.as_bytes(), "one"), manifest(odd.as_bytes(), "two"));
    let (attested, subject) = (sha256(&one), descriptor(OCI_MANIFEST, &amd64.manifest));
    let statement = image_for("unknown", json!({}));
    let artifact = artifact(Some(&subject), Some("application/vnd.example.sbom"), &[]);
    let with = |mut value: Value, name: &str, member: Value| {
        value[name] = member;
        value
    };
    let arm = |manifest: &[u8], variant: &str| {
        let entry = with(
            descriptor(OCI_MANIFEST, manifest),
            "platform",
            json!({"architecture": "arm64", "os": "linux", "variant": variant, "x-p": 1}),
        );
        with(entry, "annotations", json!({"kept": variant}))
    };
    let about = |digest: &str| {
        let entry =
            with(descriptor(OCI_MANIFEST, &statement.manifest), "platform", json!({"architecture": "unknown", "os": "unknown"}));
        with(entry, "annotations", json!({"vnd.docker.reference.type": "attestation-manifest", REFERENCE: digest}))
    };
    let inner =
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "x-i": 1.0, "manifests": [arm(&two, "v9")]}).to_string().into_bytes();
    let index = json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "annotations": {"of": "index"},
        "manifests": [about(&attested), arm(&one, "v8"), descriptor(OCI_INDEX, &inner)],
    })
    .to_string()
    .into_bytes();
    for bytes in amd64.blobs().chain(statement.blobs()).chain([
        &amd64.manifest,
        &statement.manifest,
        &one,
        &two,
        &inner,
        &index,
        &artifact,
    ]) {
        write_blob(&layout, bytes);
    }
    write_blob(&layout, odd.as_bytes());
    write_blob(&layout, &layer);
    write_blob(&layout, b"{}");
    let named = |bytes: &[u8], kind: &str, name: &str| with(descriptor(kind, bytes), "annotations", json!({BRANCH: name}));
    write_index(
        &layout,
        &[
            named(&amd64.manifest, OCI_MANIFEST, "one"),
            named(&index, OCI_INDEX, "many"),
            descriptor(OCI_MANIFEST, &artifact),
            named(&amd64.manifest, OCI_MANIFEST, "same"),
        ],
    );
    let before = files(&layout);
    let ran = wharf.ok(&["label", "all-oci", "k=v"]).says("is no image, and was left as it is").says("is about");
    let listed = entries(&layout);
    let lines: Vec<_> = ran.stdout.lines().collect();
    let line = |entry: &Value, name: &str| format!("all-oci{name} {}", entry["digest"].as_str().expect("a digest"));
    assert_eq!(lines, [line(&listed[0], ":one"), line(&listed[1], ":many"), line(&listed[2], ""), line(&listed[3], ":same")]);
    assert_eq!(ran.stderr.matches(" -> ").count(), 5, "{ran}");
    // The first image and its second name.
    assert_eq!(labels_of(&layout, &listed[0])["k"], "v");
    assert_eq!((&listed[3]["digest"], &listed[3]["annotations"][BRANCH]), (&listed[0]["digest"], &json!("same")));
    assert_eq!(listed[2], descriptor(OCI_MANIFEST, &artifact));
    // The index: its annotation, platforms, annotations of entries; and the attestation goes along.
    let found = json_blob(&layout, &listed[1]);
    let mut expected: Value = serde_json::from_slice(&index).expect("JSON");
    let (first, second) = (found["manifests"][1].clone(), found["manifests"][2].clone());
    for (place, new) in [(1, &first), (2, &second)] {
        expected["manifests"][place]["digest"] = new["digest"].clone();
        expected["manifests"][place]["size"] = new["size"].clone();
    }
    expected["manifests"][0]["annotations"][REFERENCE] = first["digest"].clone();
    assert_eq!(found, expected);
    assert_eq!(json_blob(&layout, &found["manifests"][0]), serde_json::from_slice::<Value>(&statement.manifest).expect("JSON"));
    let found_inner = json_blob(&layout, &second);
    assert_eq!((&found_inner["x-i"], &found_inner["manifests"][0]["annotations"]["kept"]), (&json!(1.0), &json!("v9")));
    // One configuration for two manifests, as before, with every character that was in it.
    let (new_one, new_two) = (json_blob(&layout, &first), json_blob(&layout, &found_inner["manifests"][0]));
    assert_eq!(new_one["config"], new_two["config"]);
    assert_eq!(
        (new_one["config"].get("data"), &new_one["config"]["x-own"], &new_one["x-first"]),
        (None, &json!(1), &json!(true))
    );
    let config = String::from_utf8(blob(&layout, &new_one["config"]["digest"])).expect("UTF-8");
    assert_eq!(config, odd.replace(r#""Labels":null"#, r#""Labels":{"k":"v"}"#));
    // Only what is new is new, and what nothing needs any more is gone.
    let after = files(&layout);
    for (path, content) in &after {
        if let Some(old) = before.get(path)
            && !path.ends_with("index.json")
        {
            assert_eq!(old, content, "{}", path.display());
        }
    }
    for gone in [&amd64.manifest, &one, &two, &inner, &index, &odd.into_bytes()] {
        assert!(!after.contains_key(&layout.join("blobs/sha256").join(&sha256(gone)[7..])));
    }
    assert_eq!(before.len(), after.len());
}

/// PATH:NAME labels one image and leaves the others, also the one that was the same.
#[test]
fn a_name_picks_one_image() {
    let (folder, wharf) = folder();
    let layout = folder.path().join("two-oci");
    let (first, second) = (image_for("amd64", json!({"a": "1"})), image_for("arm64", json!({"a": "1"})));
    write_layout(&layout, &[("1.0", &first), ("latest", &first), ("arm", &second)]);
    let ran = wharf.ok(&["label", "oci:two-oci:latest", "a=2"]);
    let found: Vec<_> = entries(&layout).iter().map(|entry| labels_of(&layout, entry)["a"].clone()).collect();
    assert_eq!(found, ["1", "2", "1"]);
    assert_eq!(ran.stdout, format!("two-oci:latest {}\n", entries(&layout)[1]["digest"].as_str().expect("a digest")));
    assert_eq!((&entries(&layout)[0]["digest"], &entries(&layout)[2]["digest"]), (&json!(first.digest), &json!(second.digest)));
}

/// An index that buildah made and wrote, which other tools read as before.
#[test]
fn an_index_by_buildah_is_labelled() {
    let buildah = Containers::new("buildah");
    for architecture in ["amd64", "arm64"] {
        let context = buildah.cell.path(&format!("context-{architecture}"));
        let _ = Tree::new(&context).busybox(architecture).file("Containerfile", b"FROM scratch\nCOPY bin /bin\nLABEL own=kept\n");
        let platform = format!("--platform=linux/{architecture}");
        let tag = format!("localhost/{architecture}");
        buildah.run(["bud", "--quiet", "--isolation=chroot", &platform, "--tag", &tag, text(&context)]).ok();
    }
    buildah.run(["manifest", "create", "both", "localhost/amd64", "localhost/arm64"]).ok();
    let layout = buildah.cell.path("both-oci");
    let to = format!("oci:{}:1.0", layout.display());
    buildah.run(["manifest", "push", "--all", "--quiet", "both", &to]).ok();
    let before = files(&layout);
    let wharf = Wharf::new(buildah.cell.folder());
    let ran = wharf.ok(&["label", "both-oci", "k=v"]).says("(linux/amd64): sha256:").says("(linux/arm64): sha256:");
    let index = json_blob(&layout, &entries(&layout)[0]);
    let children = index["manifests"].as_array().expect("a list");
    assert_eq!(children.len(), 2, "{ran}");
    for child in children {
        let labels = labels_of(&layout, child);
        assert_eq!((labels["k"].as_str(), labels["own"].as_str()), ("v", "kept"));
    }
    assert_eq!(files(&layout).len(), before.len());
    let copy = buildah.cell.path("copy");
    let to = format!("oci:{}:1.0", copy.display());
    buildah.cell.run("skopeo", ["copy", "--all", "--preserve-digests", &format!("oci:{}:1.0", layout.display()), &to]).ok();
    assert_eq!(entries(&copy)[0]["digest"], entries(&layout)[0]["digest"]);
}

/// Whatever is wrong, nothing changes.
#[test]
fn what_is_wrong_is_said_and_nothing_changes() {
    let (folder, wharf, image) = built();
    let layout = folder.path().join("app-oci");
    pack(&layout, &folder.path().join("app-oci.tar"));
    fs::create_dir(folder.path().join("empty-oci")).expect("a folder");
    let before = files(folder.path());
    for (arguments, said) in [
        (&["app-oci", "novalue"][..], &["`novalue` is not KEY=VALUE"][..]),
        (&["app-oci", "=v"], &["`=v` has no key"]),
        (&["app-oci", "a=1", "--remove", "a"], &["a is both put on and removed"]),
        (&["app-oci", "--remove", ""], &["--remove needs the key"]),
        (&["app-oci"], &["no label is given", "KEY=VALUE"]),
        (&["none-oci", "a=1"], &["none-oci not found"]),
        (&["empty-oci", "a=1"], &["empty-oci is no image layout", "index.json"]),
        (&["app-oci:2.0", "a=1"], &["app-oci holds no image called 2.0", "it holds latest"]),
        (&["app-oci.tar", "a=1"], &["app-oci.tar is an archive", "tar -xf app-oci.tar -C DIR"]),
    ] {
        let mut ran = wharf.fails(&[&["label"], arguments].concat());
        for said in said {
            ran = ran.says(said);
        }
        assert_eq!(ran.stdout, "");
        assert_eq!(files(folder.path()), before, "{ran}");
    }
    wharf.fails(&["label"]).says("Usage: wharf label");
    // Damage is met before anything is written.
    fs::write(layout.join("blobs/sha256").join(&sha256(&image.config)[7..]), vec![b' '; image.config.len()])
        .expect("damage a blob");
    let before = files(folder.path());
    wharf.fails(&["label", "app-oci", "a=2"]).says("is altered");
    assert_eq!(files(folder.path()), before);
}

/// On a full disk the layout stays as it is, and nothing is left behind.
#[test]
fn a_full_disk_changes_nothing() {
    let cell = Cell::new();
    let wharf = Wharf::new(cell.folder());
    write_layout(&cell.path("app-oci"), &[("latest", &image_for("amd64", json!({})))]);
    let disk = cell.path("disk");
    fs::create_dir(&disk).expect("a mount point");
    cell.run("mount", ["-t", "tmpfs", "-o", "size=64k", "none", text(&disk)]).ok();
    let inside = |script: &str| cell.run("sh", ["-c", &format!("cd '{}' && {script}", disk.display())]);
    inside("cp -a ../app-oci . && { head -c 70000 /dev/zero > filler || true; }").ok();
    let list = || inside("find . | sort && find app-oci -type f | sort | xargs sha256sum").ok();
    let before = list();
    let label = format!("'{}' label app-oci k=v", wharf.program().display());
    let said = inside(&label).fails();
    assert!(said.contains("cannot write") && said.contains("No space left on device"), "{said}");
    assert_eq!(list(), before);
    inside(&format!("rm filler && {label}")).ok();
    assert_ne!(list(), before);
}
