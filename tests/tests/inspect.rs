//! `wharf inspect`: what it shows of images in layouts, archives, the configured registry and others.

use serde_json::{Value, json};
use wharf_tests::clients::{Containers, Tree};
use wharf_tests::{
    Build, Image, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, artifact, descriptor, index, pack, random, sha256, write_blob, write_index,
    write_layout,
};

/// An image with everything that a configuration can say.
fn image(architecture: &str, more: &Value) -> Image {
    let layers = vec![random(300_000), random(700)];
    let mut run = json!({
        "Labels": {"org.opencontainers.image.version": "1.4.0", "org.example.own": "a b"},
        "Env": ["PATH=/bin", "A=1"], "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo hello"], "WorkingDir": "/home",
        "User": "1000:100", "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/data": {}}, "StopSignal": "SIGINT",
    });
    for (name, value) in more.as_object().expect("members") {
        run[name] = value.clone();
    }
    let config = json!({
        "architecture": architecture, "os": "linux", "created": "2026-01-12T20:32:24Z", "author": "A <a@example.org>", "config": run,
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| sha256(layer)).collect::<Vec<_>>()},
        "history": [
            {"created_by": "/bin/sh -c #(nop) COPY bin /bin"},
            {"created_by": "ENV A=1", "empty_layer": true},
            {"created_by": "RUN echo \\\n  hello"},
        ],
    });
    Image::of_config(config.to_string().into_bytes(), layers)
}

/// A text with every digest, and what begins one, replaced.
fn masked(text: &str, build: &Build) -> String {
    let address = build.server.address().to_string();
    let text = text.replace(&address, "ADDRESS");
    let is_hex = |word: &str, length: usize| word.len() == length && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let word = |word: &str| match word.strip_prefix("sha256:") {
        Some(hash) if is_hex(hash, 64) => "DIGEST".to_owned(),
        _ if is_hex(word, 12) => "SHORT_DIGEST".to_owned(),
        _ => word.to_owned(),
    };
    text.lines().map(|line| format!("{}\n", line.split(' ').map(word).collect::<Vec<_>>().join(" "))).collect()
}

#[track_caller]
fn assert_shown(build: &Build, arguments: &[&str], expected: &str) {
    let ran = build.wharf.ok(&[&["inspect"], arguments].concat());
    assert_eq!(ran.stderr, "");
    let found = masked(&ran.stdout, build);
    assert!(found == expected, "\n=== found\n{found}=== expected\n{expected}");
}

#[test]
fn one_image_at_a_glance() {
    let build = Build::new();
    write_layout(&build.path("app-oci"), &[("latest", &image("amd64", &json!({})))]);
    build.wharf.ok(&["push", "./app-oci", "--name", "app", "-t", "latest"]);
    let below = "\
Digest:       DIGEST
Media type:   application/vnd.oci.image.manifest.v1+json
Size:         294.9 KiB
Platform:     linux/amd64
Created:      2026-01-12T20:32:24Z
Author:       A <a@example.org>
Entry point:  [\"/bin/sh\",\"-c\"]
Command:      [\"echo hello\"]
Working dir:  /home
User:         1000:100
Environment:  PATH=/bin
              A=1
Ports:        53/udp
              80/tcp
Volumes:      /data
Stop signal:  SIGINT
Labels:       org.example.own=a b
              org.opencontainers.image.version=1.4.0

LAYER         SIZE       FORM  MADE BY
SHORT_DIGEST  293.0 KiB  gzip  COPY bin /bin
SHORT_DIGEST  700 B      gzip  RUN echo \\ hello
";
    for (argument, name) in
        [("app-oci", "app-oci"), ("app-oci:latest", "app-oci:latest"), ("app", "app:latest"), ("yocto/app:latest", "app:latest")]
    {
        assert_shown(&build, &[argument], &format!("Name:         {name}\n{below}"));
    }
}

/// What all platforms say is there once, and below each what it alone says. Attestations are none.
#[test]
fn several_platforms_at_a_glance() {
    let build = Build::new();
    let amd64 = image("amd64", &json!({}));
    let arm64 = image("arm64", &json!({"Labels": {"org.example.own": "c"}, "User": null}));
    let statement = image("unknown", &json!({}));
    let mut about = statement.descriptor("unknown");
    about["platform"]["os"] = json!("unknown");
    about["annotations"] =
        json!({"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": amd64.digest});
    let index = index(&[amd64.descriptor("amd64"), arm64.descriptor("arm64"), about]);
    let layout = build.path("app-oci");
    write_layout(&layout, &[("amd64", &amd64), ("arm64", &arm64), ("unknown", &statement)]);
    write_blob(&layout, &index);
    let mut entry = descriptor(OCI_INDEX, &index);
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "both"});
    write_index(&layout, &[entry]);
    assert_shown(
        &build,
        &["app-oci"],
        "\
Name:         app-oci
Digest:       DIGEST
Media type:   application/vnd.oci.image.index.v1+json
Size:         885.5 KiB
Created:      2026-01-12T20:32:24Z
Author:       A <a@example.org>
Entry point:  [\"/bin/sh\",\"-c\"]
Command:      [\"echo hello\"]
Working dir:  /home
Environment:  PATH=/bin
              A=1
Ports:        53/udp
              80/tcp
Volumes:      /data
Stop signal:  SIGINT

PLATFORM     SIZE       LAYERS  DIGEST
linux/amd64  294.9 KiB  2       DIGEST
linux/arm64  294.9 KiB  2       DIGEST

linux/amd64
  User:    1000:100
  Labels:  org.example.own=a b
           org.opencontainers.image.version=1.4.0
  LAYER         SIZE       FORM  MADE BY
  SHORT_DIGEST  293.0 KiB  gzip  COPY bin /bin
  SHORT_DIGEST  700 B      gzip  RUN echo \\ hello

linux/arm64
  Labels:  org.example.own=c
  LAYER         SIZE       FORM  MADE BY
  SHORT_DIGEST  293.0 KiB  gzip  COPY bin /bin
  SHORT_DIGEST  700 B      gzip  RUN echo \\ hello
",
    );
    // What is asked for as it is stored is every byte of that.
    let raw = |arguments: &[&str]| build.wharf.ok(&[&["inspect", "app-oci"], arguments].concat()).stdout.into_bytes();
    assert_eq!(raw(&["--raw"]), index);
    assert_eq!(raw(&["--raw", "--platform", "arm64"]), arm64.manifest);
    assert_eq!(raw(&["--config", "--platform", "linux/amd64"]), amd64.config);
    let one = build.wharf.ok(&["inspect", "app-oci", "--json", "--platform", "aarch64"]).json();
    assert_eq!((one["digest"].as_str(), one["images"].as_array().map(Vec::len)), (Some(sha256(&index).as_str()), Some(1)));
    assert_eq!(one["images"][0]["digest"], arm64.digest);
    build
        .wharf
        .fails(&["inspect", "app-oci", "--platform", "riscv64"])
        .says("has no image for linux/riscv64")
        .says("it has linux/amd64, linux/arm64");
    build
        .wharf
        .fails(&["inspect", "app-oci", "--config"])
        .says("holds several images")
        .says("--platform picks one: linux/amd64, linux/arm64");
}

/// The keys of the JSON, each with its value.
#[test]
fn json_has_everything_under_keys_that_stay() {
    let build = Build::new();
    let image = image("amd64", &json!({}));
    write_layout(&build.path("app-oci"), &[("latest", &image)]);
    let layer = |bytes: &[u8], command: &str| {
        json!({
            "digest": sha256(bytes), "media_type": OCI_LAYER, "size": bytes.len(), "compression": "gzip", "cut": null,
            "created_by": command, "annotations": {},
        })
    };
    let size = image.manifest.len() + image.config.len() + 300_700;
    let expected = json!({
        "name": "app-oci", "digest": image.digest, "media_type": OCI_MANIFEST, "size": size, "annotations": {},
        "images": [{
            "platform": "linux/amd64", "digest": image.digest, "media_type": OCI_MANIFEST, "size": size, "artifact_type": null,
            "config_digest": sha256(&image.config), "created": "2026-01-12T20:32:24Z", "author": "A <a@example.org>",
            "user": "1000:100", "env": ["PATH=/bin", "A=1"], "entrypoint": ["/bin/sh", "-c"], "cmd": ["echo hello"],
            "working_dir": "/home", "ports": ["53/udp", "80/tcp"], "volumes": ["/data"], "stop_signal": "SIGINT",
            "labels": {"org.opencontainers.image.version": "1.4.0", "org.example.own": "a b"}, "annotations": {},
            "layers": [layer(&image.layers[0], "/bin/sh -c #(nop) COPY bin /bin"), layer(&image.layers[1], "RUN echo \\\n  hello")],
        }],
    });
    assert_eq!(build.wharf.ok(&["inspect", "app-oci", "--json"]).json(), expected);
}

/// An image without a name, or with one that another has too, is picked by its digest, in whatever command.
#[test]
fn a_digest_picks_one_of_several_images() {
    let build = Build::new();
    let [amd64, arm64, riscv] = ["amd64", "arm64", "riscv64"].map(|architecture| image(architecture, &json!({})));
    let layout = build.path("app-oci");
    write_layout(&layout, &[("x", &amd64), ("x", &arm64), ("x", &riscv)]);
    let mut known = riscv.descriptor("riscv64");
    known.as_object_mut().expect("a descriptor").remove("platform");
    write_index(&layout, &[amd64.descriptor("amd64"), arm64.descriptor("arm64"), known.clone()]);
    let ran = build.wharf.fails(&["inspect", "app-oci"]).says("app-oci holds several images");
    let listed = format!("{} (linux/amd64), {} (linux/arm64), {}\n", amd64.digest, arm64.digest, riscv.digest);
    ran.says(&format!("hint: app-oci@DIGEST picks one: it holds {listed}"));
    for image in [&amd64, &arm64, &riscv] {
        let picked = format!("app-oci@{}", image.digest);
        let found = build.wharf.ok(&["inspect", &picked, "--json"]).json();
        assert_eq!((&found["digest"], &found["name"]), (&json!(image.digest), &json!(picked)));
    }
    assert_eq!(
        build.wharf.ok(&["inspect", &format!("oci:./app-oci@{}", arm64.digest), "--raw"]).stdout.into_bytes(),
        arm64.manifest
    );
    let none = format!("app-oci@{}", sha256(b"none"));
    build
        .wharf
        .fails(&["inspect", &none])
        .says(&format!("app-oci lists no image {}", sha256(b"none")))
        .says(&format!("it holds {listed}"));
    // What is no digest is part of the name of something that is not there.
    build.wharf.fails(&["inspect", "app-oci@sha256:1"]).says("app-oci@sha256:1");
    let picked = build.wharf.ok(&["push", &format!("app-oci@{}", arm64.digest), "--name", "app", "-t", "1"]);
    assert_eq!(picked.pushed()[0].1, arm64.digest);
    build.wharf.ok(&["label", &format!("app-oci@{}", arm64.digest), "a=1"]);
    let digests = |layout: &std::path::Path| {
        let index = std::fs::read(layout.join("index.json")).expect("an index");
        let index: Value = serde_json::from_slice(&index).expect("JSON");
        index["manifests"].as_array().expect("images").iter().map(|image| image["digest"].clone()).collect::<Vec<_>>()
    };
    let after = digests(&layout);
    assert!(
        after[0] == amd64.digest.as_str() && after[1] != arm64.digest.as_str() && after[2] == riscv.digest.as_str(),
        "{after:?}"
    );
    // Of two that have the same name the digests are told, and one that has its own has that.
    let named = |image: &Image, name: &str| {
        let mut entry = image.descriptor("amd64");
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        entry
    };
    write_layout(&layout, &[("x", &amd64), ("x", &arm64), ("x", &riscv)]);
    write_index(&layout, &[named(&amd64, "v1"), named(&arm64, "v1"), named(&riscv, "v2")]);
    let ran = build.wharf.fails(&["inspect", "app-oci:v1"]).says("hint: app-oci:NAME or app-oci@DIGEST picks one: it holds ");
    ran.says(&format!("{} (v1), {} (v1), v2\n", amd64.digest, arm64.digest));
}

/// How layers are compressed and whether they were cut is told by media types and annotations.
#[test]
fn the_form_of_layers_is_shown() {
    let build = Build::new();
    let layers = [random(10), random(20), random(30), random(40)];
    let config = json!({"architecture": "arm64", "os": "linux", "variant": "v8"}).to_string().into_bytes();
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    let described = |number: usize, kind: &str, annotations: Value| {
        let mut layer = descriptor(kind, &layers[number]);
        layer["annotations"] = annotations;
        layer
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [
            described(0, "application/vnd.oci.image.layer.v1.tar", json!({})),
            described(1, OCI_LAYER, json!({"dev.wharf.layer.cut": "files+fastcdc2020"})),
            described(2, zstd, json!({})),
            described(3, zstd, json!({"io.github.containers.zstd-chunked.manifest-position": "1:2:3:1", "dev.wharf.layer.cut": "x"})),
        ],
    })
    .to_string()
    .into_bytes();
    let layout = build.path("app-oci");
    layers.iter().chain([&config, &manifest]).for_each(|bytes| write_blob(&layout, bytes));
    write_index(&layout, &[descriptor(OCI_MANIFEST, &manifest)]);
    let shown = build.wharf.ok(&["inspect", "app-oci"]).stdout;
    let forms: Vec<_> =
        shown.lines().skip_while(|line| !line.starts_with("LAYER")).skip(1).map(|line| line[14..].to_owned()).collect();
    assert_eq!(
        forms,
        ["10 B  none               -", "20 B  gzip, cut          -", "30 B  zstd               -", "40 B  zstd:chunked, cut  -"],
        "{shown}"
    );
    assert!(shown.contains("Platform:    linux/arm64/v8\n"), "{shown}");
    let layers = build.wharf.ok(&["inspect", "app-oci", "--json"]).json()["images"][0]["layers"].clone();
    assert_eq!(
        (&layers[1]["cut"], &layers[3]["compression"], &layers[3]["created_by"]),
        (&json!("files+fastcdc2020"), &json!("zstd:chunked"), &Value::Null)
    );
}

/// Whatever an image says of itself, a terminal only shows it.
#[test]
fn control_characters_are_written_out() {
    let build = Build::new();
    let hostile = "\u{1b}]0;x\u{7}\u{9b}2J\r\n\u{202e}";
    let mut image = image(
        "amd64",
        &json!({"Labels": {hostile: hostile}, "User": hostile, "Env": [hostile], "ExposedPorts": {hostile: {}}, "Entrypoint": [hostile]}),
    );
    let mut config: Value = serde_json::from_slice(&image.config).expect("JSON");
    config["created"] = json!(hostile);
    config["architecture"] = json!(hostile);
    config["history"][0]["created_by"] = json!(hostile);
    image = Image::of_config(config.to_string().into_bytes(), image.layers);
    write_layout(&build.path("app-oci"), &[(hostile, &image)]);
    let is_active = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    for arguments in [&["app-oci"][..], &["app-oci", "--json"]] {
        let ran = build.wharf.ok(&[&["inspect"], arguments].concat());
        assert!(!ran.stdout.contains(is_active), "{:?}", ran.stdout);
    }
    let found = build.wharf.ok(&["inspect", "app-oci", "--json"]).json();
    assert_eq!(found["images"][0]["labels"][hostile], hostile);
    let ran = build.wharf.ok(&["label", "app-oci", "a=1"]);
    assert!(!ran.stdout.contains(is_active) && !ran.stderr.contains(is_active), "{ran:?}");
}

/// An archive, another registry, an artifact; and what is not there.
#[test]
fn images_are_found_wherever_they_are() {
    let build = Build::new();
    let image = image("amd64", &json!({}));
    let layout = build.path("app-oci");
    write_layout(&layout, &[("1.0", &image)]);
    pack(&layout, &build.path("app-oci.tar"));
    build.wharf.ok(&["push", "./app-oci", "--name", "app", "-t", "1.0"]);
    let host = build.server.address().to_string();
    let elsewhere = build.wharf.env("CONTAINER_REGISTRY_URL", "localhost:1");
    let there = format!("{host}/yocto/app:1.0");
    let digest = format!("app@{}", image.digest);
    for (wharf, argument) in [
        (&build.wharf, "app-oci.tar"),
        (&build.wharf, "oci:app-oci:1.0"),
        (&build.wharf, "app:1.0"),
        (&build.wharf, digest.as_str()),
        (&build.wharf, there.as_str()),
        (&elsewhere, there.as_str()),
    ] {
        let found = wharf.ok(&["inspect", argument, "--json"]).json();
        assert_eq!((&found["digest"], &found["images"][0]["user"]), (&json!(image.digest), &json!("1000:100")), "{argument}");
        assert_eq!(wharf.ok(&["inspect", argument, "--raw"]).stdout.into_bytes(), image.manifest, "{argument}");
        assert_eq!(wharf.ok(&["inspect", argument, "--config"]).stdout.into_bytes(), image.config, "{argument}");
    }
    // `list --long` says the same of size and digest.
    let listed = build.wharf.ok(&["list", "--long", "--json"]).json()[0]["tags"][0].clone();
    let shown = build.wharf.ok(&["inspect", "app:1.0", "--json"]).json();
    assert_eq!((&listed["size"], &listed["digest"]), (&shown["size"], &shown["digest"]));
    let sbom = artifact(None, Some("application/vnd.example.sbom"), &[("a", "b")]);
    let artifacts = build.path("sbom-oci");
    write_blob(&artifacts, &sbom);
    write_blob(&artifacts, b"{}");
    write_index(&artifacts, &[descriptor(OCI_MANIFEST, &sbom)]);
    let shown = build.wharf.ok(&["inspect", "sbom-oci"]).stdout;
    assert!(
        shown.contains("Artifact:     application/vnd.example.sbom\n") && shown.contains("a=b\n") && shown.contains("no layers"),
        "{shown}"
    );
    build.wharf.fails(&["inspect", "none:1.0"]).says("none:1.0 not found at ");
    build.wharf.fails(&["inspect", "none-oci"]).says("none-oci not found");
    build.wharf.fails(&["inspect", "app-oci:2.0"]).says("holds no image called 2.0").says("it holds 1.0");
    build.wharf.fails(&["inspect"]).says("Usage: wharf inspect");
    build.wharf.fails(&["inspect", "app-oci", "--raw", "--json"]);
    elsewhere.fails(&["inspect", "app"]).says("Registry not responding at ");
}

/// What buildah built: the command of each step stands with the layer that it made.
#[test]
fn layers_of_buildah_have_their_commands() {
    let buildah = Containers::new("buildah");
    let context = buildah.cell.path("context");
    let steps = b"FROM scratch\nCOPY bin /bin\nENV A=1\nCOPY etc /etc\nCMD [\"/bin/busybox\"]\n";
    let _ = Tree::new(&context).busybox("amd64").file("Containerfile", steps);
    let context = context.to_str().expect("UTF-8");
    buildah.run(["bud", "--quiet", "--isolation=chroot", "--layers", "--tag", "localhost/app", context]).ok();
    let layout = buildah.cell.path("app-oci");
    buildah.run(["push", "--quiet", "localhost/app", &format!("oci:{}:1.0", layout.display())]).ok();
    let wharf = wharf_tests::Wharf::new(buildah.cell.folder());
    let found = wharf.ok(&["inspect", "app-oci", "--json"]).json();
    let layers = found["images"][0]["layers"].as_array().expect("layers");
    let commands: Vec<_> = layers.iter().map(|layer| layer["created_by"].as_str().unwrap_or_default()).collect();
    assert!(commands.len() == 2 && commands.iter().all(|command| command.contains("COPY")), "{found:#}");
    assert_eq!(
        (&found["images"][0]["cmd"], found["images"][0]["env"].as_array().map(Vec::len)),
        (&json!(["/bin/busybox"]), Some(2)),
        "{found:#}"
    );
}
