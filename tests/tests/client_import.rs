//! Images of other registries.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};
use tempfile::TempDir;
use wharf_tests::clients::assert_whole;
use wharf_tests::{
    Config, DOCKER_LIST, DOCKER_MANIFEST, Image, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Program, Reply, Repo, Scripted,
    Server, Wharf, descriptor, forward, image_of, index, random, sha256,
};

/// Our own registry, and a build directory.
struct Here {
    server: Server,
    folder: TempDir,
}

impl Here {
    fn new() -> Self {
        let server = Server::launch(Program::Wharf, Config::default());
        Self { server, folder: tempfile::tempdir().expect("a folder") }
    }

    fn wharf(&self) -> Wharf {
        Wharf::with_server(self.folder.path(), &self.server)
    }

    /// With this registries.conf.
    fn wharf_with(&self, conf: &str) -> Wharf {
        let file = write(self.folder.path(), "registries.conf", conf);
        self.wharf().env("CONTAINERS_REGISTRIES_CONF", &file)
    }

    /// Asserts that nothing got a tag.
    #[track_caller]
    fn assert_untagged(&self) {
        assert_eq!(self.wharf().ok(&["list"]).stdout, "(none)\n");
    }

    fn repo(&self, name: &str) -> Repo<'_> {
        self.server.repo(name)
    }
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).expect("write a file");
    path.to_str().expect("UTF-8").to_owned()
}

fn upstream() -> Server {
    Server::launch(Program::Distribution, Config::default())
}

fn image(platform: Value) -> Image {
    image_of(platform, json!({}), vec![random(3000), random(300_000)])
}

fn entry(image: &Image, platform: &Value) -> Value {
    let mut entry = descriptor(OCI_MANIFEST, &image.manifest);
    entry["platform"] = platform.clone();
    entry
}

/// An index of three platforms in a repository; its bytes.
fn multi(repo: &Repo<'_>, tag: &str) -> Vec<u8> {
    let platforms = [
        json!({"os": "linux", "architecture": "amd64"}),
        json!({"os": "linux", "architecture": "arm64", "variant": "v8"}),
        json!({"os": "linux", "architecture": "arm", "variant": "v7"}),
    ];
    let entries: Vec<_> = platforms
        .iter()
        .map(|platform| {
            let image = image(platform.clone());
            repo.push(&image.digest, &image);
            entry(&image, platform)
        })
        .collect();
    // Not as a program would write it: what is copied is bytes.
    let index = String::from_utf8(index(&entries)).expect("UTF-8").replacen('{', "{\n   ", 1).into_bytes();
    repo.put(tag, OCI_INDEX, &index).expect(201);
    index
}

/// A port where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

#[test]
fn every_platform_is_copied_byte_for_byte() {
    let (here, upstream) = (Here::new(), upstream());
    let index = multi(&upstream.repo("library/alpine"), "3");
    let host = upstream.address();
    let ran = here.wharf().ok(&["import", &format!("{host}/library/alpine:3")]);
    let pull = format!("{}/yocto/alpine:3", here.server.address());
    let ran = ran.says("Import complete").says(&format!("docker pull {pull}"));
    assert_eq!(ran.pushed(), [(pull, sha256(&index))]);
    let repo = here.repo("yocto/alpine");
    assert_eq!(repo.manifest("3").expect(200).expect_header("Content-Type", OCI_INDEX).body, index);
    assert_eq!(assert_whole(&repo, "3"), sha256(&index));
    // Nothing is left to do the second time.
    let ran = here.wharf().ok(&["import", &format!("{host}/library/alpine:3")]);
    ran.says("0 blobs sent").says("9 already there").says("Import complete");
}

#[test]
fn names_and_tags_here_are_chosen() {
    let (here, upstream) = (Here::new(), upstream());
    let repo = upstream.repo("some/team/app");
    let image = repo.push_random("1.0");
    repo.push("latest", &image);
    let host = upstream.address();
    for (source, name, expected) in [
        (format!("{host}/some/team/app:1.0"), None, "yocto/app:1.0"),
        (format!("{host}/some/team/app"), None, "yocto/app:latest"),
        (format!("{host}/some/team/app:1.0"), Some("base"), "yocto/base:1.0"),
        (format!("{host}/some/team/app:1.0"), Some("base:mine"), "yocto/base:mine"),
        (format!("{host}/some/team/app:1.0"), Some("other/base"), "other/base:1.0"),
        (format!("{host}/some/team/app@{}", image.digest), None, "yocto/app:latest"),
        (format!("{host}/some/team/app:1.0@{}", image.digest), Some("pinned"), "yocto/pinned:1.0"),
        (format!("{host}/some/team/app@{}", image.digest), Some("pinned:x"), "yocto/pinned:x"),
    ] {
        let arguments: Vec<_> = ["import", &source].into_iter().chain(name).collect();
        let ran = here.wharf().ok(&arguments);
        assert_eq!(ran.pushed(), [(format!("{}/{expected}", here.server.address()), image.digest.clone())], "{ran}");
        let (repository, tag) = expected.split_once(':').expect("a tag");
        assert_eq!(here.repo(repository).manifest(tag).expect(200).body, image.manifest);
    }
}

#[test]
fn short_names_are_those_of_docker_hub() {
    let (here, upstream) = (Here::new(), upstream());
    let image = upstream.repo("hub/library/alpine").push_random("latest");
    let other = upstream.repo("hub/team/app").push_random("2");
    let conf = format!("[[registry]]\nprefix = \"docker.io\"\nlocation = \"{}/hub\"\ninsecure = true\n", upstream.address());
    let wharf = here.wharf_with(&conf);
    for source in ["alpine", "docker.io/library/alpine:latest", "docker.io/alpine", "index.docker.io/library/alpine"] {
        assert_eq!(wharf.ok(&["import", source]).pushed()[0].1, image.digest, "{source}");
    }
    assert_eq!(wharf.ok(&["import", "team/app:2"]).pushed()[0].1, other.digest);
}

#[test]
fn without_a_source_usage_is_shown() {
    let here = Here::new();
    here.wharf().fails(&["import"]).says("Usage").says("docker.io/library/alpine:latest");
    for source in ["Alpine", "alpine:", "http://host/app", "host:99999/app:1", ""] {
        here.wharf().fails(&["import", source]).says("is no image's name");
    }
    here.wharf().fails(&["import", "alpine", &format!("x@sha256:{}", "0".repeat(64))]).says("holds a digest");
}

#[test]
fn what_is_not_there_is_told() {
    let (here, upstream) = (Here::new(), upstream());
    let host = upstream.address();
    here.wharf()
        .fails(&["import", &format!("{host}/no/app:1")])
        .says(&format!("{host}/no/app:1 not found"))
        .is_silent_on("again in");
    let nobody = nobody();
    here.wharf()
        .fails(&["import", &format!("{nobody}/app:1")])
        .says(&format!("http://{nobody} is not responding"))
        .is_silent_on("again");
    assert_eq!(here.wharf().ok(&["list"]).stdout, "(none)\n");
}

#[test]
fn platforms_are_picked() {
    let (here, upstream) = (Here::new(), upstream());
    let index = multi(&upstream.repo("app"), "1");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    let digest = |place: usize| index["manifests"][place]["digest"].as_str().expect("a digest").to_owned();
    let source = format!("{}/app:1", upstream.address());
    // One is a plain image.
    here.wharf().ok(&["import", &source, "--platform", "linux/arm64"]);
    let repo = here.repo("yocto/app");
    assert_eq!(
        repo.manifest("1").expect(200).expect_header("Docker-Content-Digest", &digest(1)).json()["manifests"],
        Value::Null
    );
    // Another one joins it.
    here.wharf().ok(&["import", &source, "--platform", "linux/amd64"]);
    let platforms = |repo: &Repo<'_>, tag: &str| -> Vec<String> {
        let index = repo.manifest(tag).expect(200).json();
        let mut found: Vec<_> = index["manifests"]
            .as_array()
            .expect("an index")
            .iter()
            .map(|m| m["platform"]["architecture"].as_str().expect("one").to_owned())
            .collect();
        found.sort();
        found
    };
    assert_eq!(platforms(&repo, "1"), ["amd64", "arm64"]);
    assert_whole(&repo, "1");
    // Two at once.
    here.wharf().ok(&["import", &source, "two", "--platform", "linux/amd64", "--platform", "linux/arm/v7"]);
    assert_eq!(platforms(&here.repo("yocto/two"), "1"), ["amd64", "arm"]);
    let ran = here.wharf().fails(&["import", &source, "three", "--platform", "linux/riscv64"]);
    ran.says("no image for linux/riscv64").says("linux/amd64, linux/arm64/v8, linux/arm/v7");
    let both = ["import", &source, "three", "--platform", "linux/amd64", "--platform", "linux/s390x"];
    here.wharf().fails(&both).says("no image for linux/s390x");
    assert_eq!(here.repo("yocto/three").tags("").status, 404);
    here.wharf().fails(&["import", &source, "--platform", "linux/"]);
}

#[test]
fn one_image_is_checked_for_its_platform_too() {
    let (here, upstream) = (Here::new(), upstream());
    let image = image(json!({"os": "linux", "architecture": "arm64"}));
    upstream.repo("app").push("1", &image);
    let source = format!("{}/app:1", upstream.address());
    here.wharf().ok(&["import", &source, "--platform", "linux/arm64"]);
    here.wharf().fails(&["import", &source, "--platform", "linux/amd64"]).says("no image for linux/amd64").says("linux/arm64");
}

#[test]
fn dockers_own_formats_are_kept() {
    let (here, upstream) = (Here::new(), upstream());
    let repo = upstream.repo("app");
    let image = image(json!({"os": "linux", "architecture": "amd64"}));
    repo.push_blobs(&image);
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let mut elsewhere = descriptor(foreign, b"not in any registry");
    elsewhere["urls"] = json!(["https://example.invalid/layer"]);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": descriptor("application/vnd.docker.container.image.v1+json", &image.config),
        "layers": [elsewhere, descriptor(layer, &image.layers[0]), descriptor(layer, &image.layers[1])],
    })
    .to_string()
    .into_bytes();
    let digest = sha256(&manifest);
    // Distribution asks for the layers of Docker's manifests it knows, and lets URLs be.
    let served = Mutex::new(manifest.clone());
    let behind = upstream.address();
    let list = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [{
        "mediaType": DOCKER_MANIFEST, "digest": digest, "size": manifest.len(), "platform": {"os": "linux", "architecture": "amd64"}}]});
    let list = list.to_string().into_bytes();
    let (own_digest, own_list) = (digest.clone(), list.clone());
    let origin = Scripted::start(move |asked| match asked.target.as_str() {
        target if target.ends_with(&own_digest) => {
            Reply::new(200).header("Content-Type", DOCKER_MANIFEST).body(served.lock().expect("it").clone())
        }
        target if target.ends_with("/manifests/1") => Reply::new(200).header("Content-Type", DOCKER_LIST).body(own_list.clone()),
        _ => forward(behind, asked),
    });
    here.wharf().ok(&["import", &format!("{}/app:1", origin.address())]);
    let repo = here.repo("yocto/app");
    assert_eq!(repo.manifest("1").expect(200).expect_header("Content-Type", DOCKER_LIST).body, list);
    assert_eq!(repo.manifest(&digest).expect(200).body, manifest);
    assert_eq!(origin.count("GET", &sha256(b"not in any registry")[7..]), 0, "a foreign layer stays where it is");
}

/// A registry with one image, whose answers for blobs are the test's.
fn scripted(image: &Image, blob: impl Fn(&wharf_tests::Asked, &[u8]) -> Reply + Send + Sync + 'static) -> Scripted {
    let image = image.clone();
    Scripted::start(move |asked| {
        if asked.target == "/v2/" {
            return Reply::new(200);
        }
        if asked.target.contains("/manifests/") {
            return Reply::new(200).header("Content-Type", OCI_MANIFEST).body(image.manifest.clone());
        }
        match image.blobs().find(|blob| asked.target.ends_with(&sha256(blob)[7..])) {
            Some(config) if *config == image.config => Reply::new(200).body(config.clone()),
            Some(layer) => blob(asked, layer),
            None => Reply::new(404),
        }
    })
}

fn large() -> Image {
    image_of(json!({"os": "linux", "architecture": "amd64"}), json!({}), vec![random(5 << 20)])
}

fn first_byte(asked: &wharf_tests::Asked) -> Option<usize> {
    asked.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

#[test]
fn a_source_that_breaks_is_resumed_by_range() {
    let (here, image) = (Here::new(), large());
    let origin = scripted(&image, |asked, layer| match first_byte(asked) {
        None => Reply::new(200).body(layer).cut(2 << 20),
        Some(first) => {
            let end = (first + (2 << 20)).min(layer.len());
            let range = format!("bytes {first}-{}/{}", layer.len() - 1, layer.len());
            let reply = Reply::new(206).header("Content-Range", range).body(&layer[first..]);
            if end < layer.len() { reply.cut(2 << 20) } else { reply }
        }
    });
    here.wharf().ok(&["import", &format!("{}/app:1", origin.address())]).says("again in");
    assert_whole(&here.repo("yocto/app"), "1");
    let ranges: Vec<_> = origin.asked().iter().filter_map(first_byte).collect();
    assert!(ranges.len() >= 2 && ranges.windows(2).all(|pair| pair[0] < pair[1]), "{ranges:?}");
}

#[test]
fn a_source_that_ignores_ranges_is_read_again() {
    let (here, image) = (Here::new(), large());
    let origin = scripted(&image, |asked, layer| {
        let reply = Reply::new(200).body(layer);
        if asked.header("range").is_none() { reply.cut(3 << 20) } else { reply }
    });
    here.wharf().ok(&["import", &format!("{}/app:1", origin.address())]).says("again in");
    assert_whole(&here.repo("yocto/app"), "1");
}

#[test]
fn a_source_that_cannot_take_itself_together_is_given_up() {
    let (here, image) = (Here::new(), large());
    let origin = scripted(&image, |_, layer| Reply::new(200).body(layer).cut(0));
    let ran = here.wharf().fails(&["import", &format!("{}/app:1", origin.address())]);
    ran.says(&format!("the connection to http://{} broke", origin.address()));
    here.assert_untagged();
}

#[test]
fn a_source_without_the_blob_is_not_taken_for_a_lost_upload() {
    let (here, image) = (Here::new(), large());
    for status in [404, 416] {
        let origin = scripted(&image, move |_, _| Reply::new(status));
        let ran = here.wharf().fails(&["import", &format!("{}/app:1", origin.address())]);
        let ran = ran.says(&format!("http://{} answered {status}", origin.address())).is_silent_on("again in");
        assert!(!ran.stdout.contains("sha256:"), "{ran}");
    }
}

#[test]
fn content_that_is_not_what_it_should_be_is_never_committed() {
    let image = large();
    let digest = sha256(&image.layers[0]);
    let short: fn(&wharf_tests::Asked, &[u8]) -> Reply = |_, layer| Reply::new(200).body(&layer[..layer.len() - 1]);
    let long: fn(&wharf_tests::Asked, &[u8]) -> Reply = |_, layer| Reply::new(200).body([layer, b"x"].concat());
    let altered: fn(&wharf_tests::Asked, &[u8]) -> Reply = |_, layer| {
        let mut layer = layer.to_vec();
        layer[1000] ^= 1;
        Reply::new(200).body(layer)
    };
    let chunked: fn(&wharf_tests::Asked, &[u8]) -> Reply =
        |_, layer| Reply::new(200).header("Transfer-Encoding", "chunked").body(&layer[..layer.len() / 2]);
    let late: fn(&wharf_tests::Asked, &[u8]) -> Reply = |asked, layer| match first_byte(asked) {
        None => Reply::new(200).body(layer).cut(1 << 20),
        // Another part than the one asked for, of the right length.
        Some(first) => {
            let range = format!("bytes {}-{}/{}", first + 1, layer.len(), layer.len() + 1);
            Reply::new(206).header("Content-Range", range).body(&layer[first..])
        }
    };
    for (name, blob) in [("short", short), ("long", long), ("altered", altered), ("chunked", chunked), ("late", late)] {
        let here = Here::new();
        let origin = scripted(&image, blob);
        let ran = here.wharf().fails(&["import", &format!("{}/app:1", origin.address())]);
        let told =
            ["sent something else than", "bytes are missing", "another range"].iter().any(|text| ran.stderr.contains(text));
        assert!(told && ran.stdout.is_empty(), "{name}: {ran}");
        assert!(!here.repo("yocto/app").has_blob(&digest), "{name}");
        here.assert_untagged();
    }
}

#[test]
fn a_manifest_that_differs_from_its_digest_is_refused() {
    let (here, image) = (Here::new(), large());
    let origin = scripted(&image, |_, layer| Reply::new(200).body(layer));
    here.wharf().ok(&["import", &format!("{}/app:1", origin.address())]);
    assert_eq!(origin.count("GET", "/manifests/"), 1, "Docker Hub counts");
    let other = sha256(b"another");
    let ran = here.wharf().fails(&["import", &format!("{}/app@{other}", origin.address())]);
    ran.says(&format!("sent something else than {other}"));
}

/// What registry.k8s.io does.
#[test]
fn manifests_and_blobs_may_be_redirected() {
    let (here, upstream) = (Here::new(), upstream());
    multi(&upstream.repo("app"), "1");
    let behind = upstream.address();
    let origin = Scripted::start(move |asked| match asked.target.as_str() {
        "/v2/" => Reply::new(200),
        target => Reply::new(307).header("Location", format!("http://{behind}{target}")),
    });
    here.wharf().ok(&["import", &format!("{}/app:1", origin.address())]);
    assert_whole(&here.repo("yocto/app"), "1");
}

#[test]
fn mirrors_come_first_and_their_failures_are_survived() {
    let (here, origin, mirror) = (Here::new(), upstream(), upstream());
    let image = origin.repo("team/app").push_random("1");
    let copy = mirror.repo("copies/team/app").push_random("2");
    let host = origin.address();
    let entry = |mirrors: &[String]| {
        let one = |location: &String| format!("[[registry.mirror]]\nlocation = \"{location}\"\ninsecure = true\n");
        format!("[[registry]]\nlocation = \"{host}\"\n{}", mirrors.iter().map(one).collect::<String>())
    };
    let with = format!("{}/copies", mirror.address());
    // It has another tag: the registry itself is asked for this one.
    let wharf = here.wharf_with(&entry(std::slice::from_ref(&with)));
    assert_eq!(wharf.ok(&["import", &format!("{host}/team/app:1")]).pushed()[0].1, image.digest);
    // It has what the registry has not.
    assert_eq!(wharf.ok(&["import", &format!("{host}/team/app:2")]).pushed()[0].1, copy.digest);
    wharf.fails(&["import", &format!("{host}/team/app:3")]).says("not found");
    let wharf = here.wharf_with(&entry(&[nobody().to_string(), with]));
    wharf.ok(&["import", &format!("{host}/team/app:2")]).says("the mirror").says("is not responding");
    // One that is overloaded is not waited for as long as the registry itself would be.
    let busy = Scripted::start(|asked| if asked.target == "/v2/" { Reply::new(200) } else { Reply::new(503) });
    let begun = std::time::Instant::now();
    let wharf = here.wharf_with(&entry(&[busy.address().to_string()]));
    wharf.ok(&["import", &format!("{host}/team/app:1")]).says("the mirror").says("answered 503");
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    let blocked = format!("[[registry]]\nlocation = \"{host}\"\nblocked = true\n");
    here.wharf_with(&blocked).fails(&["import", &format!("{host}/team/app:1")]).says("blocked");
    here.wharf_with("[[registry]\n").fails(&["import", &format!("{host}/team/app:1")]).says("registries.conf");
}

#[test]
fn the_source_may_be_the_registry_itself() {
    let here = Here::new();
    let image = here.repo("yocto/app").push_random("1");
    let big = image_of(json!({"os": "linux", "architecture": "amd64"}), json!({}), vec![random(400_000)]);
    here.repo("yocto/app").push("2", &big);
    let host = here.server.address();
    here.wharf().ok(&["import", &format!("{host}/yocto/app:1"), "other/copy"]);
    assert_eq!(here.repo("other/copy").manifest("1").expect(200).body, image.manifest);
    here.wharf().ok(&["import", &format!("{host}/yocto/app:2"), "other/copy"]).says("mounted");
    assert_whole(&here.repo("other/copy"), "2");
    // Onto itself, it is there.
    here.wharf().ok(&["import", &format!("{host}/yocto/app:2")]).says("0 blobs sent");
}

#[test]
fn artifacts_and_images_without_a_platform_are_copied() {
    let (here, upstream) = (Here::new(), upstream());
    let repo = upstream.repo("charts/app");
    let config = br#"{"name":"app"}"#;
    let layer = random(300_000);
    repo.push_blob(config);
    repo.push_blob(&layer);
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": descriptor("application/vnd.cncf.helm.config.v1+json", config),
        "layers": [descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip", &layer)]});
    repo.put("1", OCI_MANIFEST, manifest.to_string().as_bytes()).expect(201);
    let source = format!("{}/charts/app:1", upstream.address());
    here.wharf().ok(&["import", &source]);
    assert_whole(&here.repo("yocto/app"), "1");
    here.wharf().fails(&["import", &source, "--platform", "linux/amd64"]).says("it has none");
}

#[test]
fn manifests_that_nobody_reads_any_more_are_told() {
    let here = Here::new();
    let schema1 =
        json!({"schemaVersion": 1, "name": "app", "tag": "1", "architecture": "amd64", "fsLayers": [{"blobSum": sha256(b"x")}]});
    for (media_type, body, said) in [
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", schema1.to_string(), "schema 1"),
        ("application/vnd.unknown+json", r#"{"schemaVersion":2}"#.to_owned(), "cannot be read"),
        ("text/html", "<html>".to_owned(), "cannot be read"),
        (OCI_MANIFEST, "{".to_owned(), "cannot be read"),
        (
            OCI_MANIFEST,
            json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {"mediaType": OCI_CONFIG, "size": -1, "digest": "x"},
            "layers": [{"mediaType": OCI_LAYER}]})
            .to_string(),
            "cannot be read",
        ),
    ] {
        let origin = Scripted::start(move |asked| match asked.target.as_str() {
            "/v2/" => Reply::new(200),
            _ => Reply::new(200).header("Content-Type", media_type).body(body.clone()),
        });
        here.wharf().fails(&["import", &format!("{}/app:1", origin.address())]).says(said);
    }
}

#[test]
fn every_way_to_say_who_asks_the_source_works() {
    let passwords = tempfile::tempdir().expect("a folder");
    let hash = "user:$2b$04$.3BSjQ/WTbWogFjFRPLvdOfLsB36AC.FwYM9FoGpGxon6Bt/mssVm\n";
    let file = write(passwords.path(), "htpasswd", hash);
    let config = Config::default().set("auth.htpasswd.realm", "test").set("auth.htpasswd.path", file);
    let (here, upstream) = (Here::new(), Server::launch(Program::Distribution, config));
    let host = upstream.address();
    let folder = here.folder.path();
    wharf_tests::write_layout(&folder.join("app-oci"), &[("latest", &image(json!({"os": "linux", "architecture": "amd64"})))]);
    let there = Wharf::new(folder).env("CONTAINER_REGISTRY_URL", &host.to_string());
    there.ok(&["push", "app-oci", "--tag", "t", "--creds", "user:secret"]);
    let source = format!("{host}/yocto/app:t");
    let auth = write(folder, "auth.json", &json!({"auths": {host.to_string(): {"auth": "dXNlcjpzZWNyZXQ="}}}).to_string());
    let creds = write(folder, "creds", "CONTAINER_REGISTRY_USER=user\nCONTAINER_REGISTRY_PASSWORD=secret\n");
    for options in [["--src-creds", "user:secret"], ["--src-authfile", &auth], ["--src-credsfile", &creds]] {
        here.wharf().ok(&["import", &source, options[0], options[1]]).is_silent_on("secret");
    }
    here.wharf().fails(&["import", &source]).says("asks for credentials").says("--src-");
    here.wharf().fails(&["import", &source, "--src-token", "guess"]).says("does not accept");
    here.wharf().fails(&["import", &source, "--src-creds", "user:wrong"]).says("does not accept").is_silent_on("wrong");
    // What is for the registry here is not for the source.
    here.wharf().fails(&["import", &source, "--creds", "user:secret"]).says("asks for credentials");
    here.wharf().fails(&["import", &source, "--src-creds", "a:b", "--src-token", "c"]).says("exclude each other");
}

#[test]
fn a_token_for_the_source_is_sent_to_it() {
    let (here, upstream) = (Here::new(), upstream());
    upstream.repo("app").push_random("1");
    let behind = upstream.address();
    let gate = Scripted::start(move |asked| match asked.header("authorization") {
        Some("Bearer given") => forward(behind, asked),
        _ => Reply::new(401).header("WWW-Authenticate", "Bearer realm=\"http://127.0.0.1:1/\""),
    });
    here.wharf().ok(&["import", &format!("{}/app:1", gate.address()), "--src-token", "given"]);
}
