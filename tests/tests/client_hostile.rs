//! Registries that answer what no registry should. Every command ends, with an error that says what came.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use wharf_tests::{
    Asked, Config, Image, OCI_INDEX, OCI_MANIFEST, Program, Ran, Reply, Scripted, Server, Wharf, descriptor, image_of, index,
    random, sha256, write_layout,
};

/// A registry of the test's, and a build directory for commands that talk to it.
struct Stage {
    server: Scripted,
    folder: TempDir,
}

impl Stage {
    /// It is a registry as far as `/v2/` goes.
    fn new(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::whole(move |asked| if asked.target == "/v2/" { Reply::new(200) } else { handler(asked) })
    }

    fn whole(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self { server: Scripted::start(handler), folder: tempfile::tempdir().expect("a folder") }
    }

    /// Runs a command that must end with an error, soon, and without a panic.
    #[track_caller]
    fn fails(&self, words: &[&str]) -> Ran {
        let begun = Instant::now();
        let wharf = Wharf::new(self.folder.path()).env("CONTAINER_REGISTRY_URL", &self.server.address().to_string());
        let ran = wharf.env("WHARF_STALL", "0.3").fails(words).is_silent_on("panicked");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}: {ran}", begun.elapsed());
        ran
    }

    /// Imports from it into a registry of ours.
    #[track_caller]
    fn import_fails(&self) -> Ran {
        let here = Server::launch(Program::Wharf, Config::default());
        let wharf = Wharf::with_server(self.folder.path(), &here).env("WHARF_STALL", "0.3");
        let begun = Instant::now();
        let ran = wharf.fails(&["import", &format!("{}/app:1", self.server.address())]).is_silent_on("panicked");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}: {ran}", begun.elapsed());
        assert_eq!(Wharf::with_server(self.folder.path(), &here).ok(&["list"]).stdout, "(none)\n");
        ran
    }
}

/// The most memory that a command has used, in KiB, by GNU's measure of the same name.
fn peak(child: &std::process::Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

#[test]
fn something_else_than_a_registry_is_told() {
    let stage = Stage::whole(|_| Reply::new(404).body("not here"));
    stage.fails(&["list"]).says("is no registry").says("does not know /v2/");
    let stage = Stage::whole(|_| Reply::new(301).header("Location", "https://elsewhere.example/v2/"));
    stage.fails(&["list"]).says("answered 301").says("https://elsewhere.example/v2/");
    let stage = Stage::whole(|_| Reply::close());
    stage.fails(&["list"]).says("broke");
    let stage = Stage::whole(|_| Reply::hang());
    stage.fails(&["list"]).says("did not go on within");
}

#[test]
fn listings_that_do_not_read_are_told() {
    for body in ["", "<html>", "[]", "{\"tags\": 7}", "{\"tags\": [1]}", "\u{feff}{}", "{\"tags\":", "\"\""] {
        let stage = Stage::new(move |_| Reply::new(200).body(body));
        stage.fails(&["tags", "app"]).says("a listing that does not read");
    }
    let stage = Stage::new(|_| Reply::new(200).body("null"));
    stage.fails(&["tags", "app"]);
    let nested = "[".repeat(1 << 20);
    let stage = Stage::new(move |_| Reply::new(200).body(nested.clone()));
    stage.fails(&["tags", "app"]).says("a listing that does not read");
}

#[test]
fn a_page_of_absurd_size_is_not_read() {
    let stage = Stage::new(|_| Reply::new(200).length(1 << 40).body(vec![b' '; 20 << 20]).cut(20 << 20));
    stage.fails(&["tags", "app"]).says("an answer of more than");
}

#[test]
fn pages_without_an_end_are_given_up() {
    let count = AtomicUsize::new(0);
    let page = json!({"repositories": (0..20_000).map(|n| format!("team/repository-{n:060}")).collect::<Vec<_>>()}).to_string();
    let stage = Stage::new(move |_| {
        let next = format!("</v2/_catalog?last={}>; rel=\"next\"", count.fetch_add(1, Ordering::SeqCst));
        Reply::new(200).header("Link", next).body(page.clone())
    });
    stage.fails(&["catalog"]).says("a listing of more than");
    let count = AtomicUsize::new(0);
    let stage = Stage::new(move |_| {
        let next = format!("</v2/app/tags/list?last={}>; rel=\"next\"", count.fetch_add(1, Ordering::SeqCst));
        Reply::new(200).header("Link", next).body(r#"{"tags":[]}"#)
    });
    stage.fails(&["tags", "app"]).says("pages");
}

/// Distribution with a limit of its own on the length of a page.
#[test]
fn pages_may_be_shorter_than_was_asked_for() {
    let stage = Stage::new(|asked| match asked.target.as_str() {
        "/v2/_catalog" => {
            Reply::new(200).header("Link", "</v2/_catalog?last=b&n=2>; rel=\"next\"").body(r#"{"repositories":["a","b"]}"#)
        }
        "/v2/_catalog?last=b&n=2" => Reply::new(200).body(r#"{"repositories":["c"]}"#),
        _ => Reply::new(400)
            .body(r#"{"errors":[{"code":"PAGINATION_NUMBER_INVALID","message":"invalid number of results requested"}]}"#),
    });
    let wharf = Wharf::new(stage.folder.path()).env("CONTAINER_REGISTRY_URL", &stage.server.address().to_string());
    assert_eq!(wharf.ok(&["catalog"]).json(), json!({"repositories": ["a", "b", "c"]}));
}

/// A registry behind a proxy often does not know its own address; whatever it says, pages come from where they were asked for.
#[test]
fn the_next_page_is_asked_for_in_the_same_place() {
    let other = Scripted::start(|_| Reply::new(200).body(r#"{"tags":["elsewhere"]}"#));
    let away = format!("<http://{}/v2/yocto/app/tags/list?last=t>; rel=\"next\"", other.address());
    let stage = Stage::new(move |asked| match asked.target.contains("last=t") {
        true => Reply::new(200).body(r#"{"tags":["u"]}"#),
        false => Reply::new(200).header("Link", &away).body(r#"{"tags":["t"]}"#),
    });
    let wharf = Wharf::new(stage.folder.path()).env("CONTAINER_REGISTRY_URL", &stage.server.address().to_string());
    assert_eq!(wharf.ok(&["tags", "app"]).stdout, "t\nu\n");
    assert_eq!(other.asked().len(), 0);
}

/// Half a listing is worse than none.
#[test]
fn a_next_page_that_is_nowhere_is_an_error() {
    for link in ["</v2/yocto/app/tags/list>; rel=\"next\"", "rel=next", "<http://[>; rel=next"] {
        let link = link.to_owned();
        let stage = Stage::new(move |_| Reply::new(200).header("Link", &link).body(r#"{"tags":["t"]}"#));
        stage.fails(&["tags", "app"]).says("whose next page is nowhere");
    }
}

#[test]
fn redirects_in_a_ring_end() {
    let stage = Stage::new(|asked| Reply::new(302).header("Location", &asked.target));
    stage.import_fails().says("redirects");
    let stage = Stage::new(|_| Reply::new(307));
    stage.import_fails().says("without a Location");
    for location in ["http://", "ftp://host/", "javascript:x", "//", "http://[::1", "\u{e4}"] {
        let stage = Stage::new(move |_| Reply::new(307).header("Location", location));
        stage.import_fails();
    }
}

#[test]
fn manifests_of_absurd_size_are_not_read() {
    let stage = Stage::new(|_| Reply::new(200).header("Content-Type", OCI_MANIFEST).body(vec![b' '; 5 << 20]));
    stage.import_fails().says("an answer of more than");
    // Announced in an index, it is not even asked for.
    let digest = sha256(b"huge");
    let child = json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": 1_u64 << 40, "platform": {"os": "linux", "architecture": "amd64"}});
    let root = index(&[child]);
    let stage = Stage::new(move |_| Reply::new(200).header("Content-Type", OCI_INDEX).body(root.clone()));
    stage.import_fails().says("is too long");
    assert_eq!(stage.server.count("GET", &digest), 0);
}

#[test]
fn indexes_without_an_end_are_given_up() {
    // Five deep.
    let mut roots = vec![index(&[])];
    for _ in 0..6 {
        roots.push(index(&[descriptor(OCI_INDEX, roots.last().expect("one"))]));
    }
    let top = roots.pop().expect("one");
    let stage = Stage::new(move |asked| {
        let found = roots.iter().find(|root| asked.target.ends_with(&sha256(root)));
        Reply::new(200).header("Content-Type", OCI_INDEX).body(found.unwrap_or(&top).clone())
    });
    stage.import_fails().says("deep");
    // The same child again and again.
    let child = index(&[]);
    let top = index(&vec![descriptor(OCI_INDEX, &child); 20_000]);
    let stage = Stage::new(move |asked| {
        let is_child = asked.target.ends_with(&sha256(&child));
        Reply::new(200).header("Content-Type", OCI_INDEX).body(if is_child { child.clone() } else { top.clone() })
    });
    stage.import_fails();
    assert!(stage.server.asked().len() < 5000, "{}", stage.server.asked().len());
}

#[test]
fn a_digest_header_that_lies_is_told() {
    let image = Image::random();
    let stage = Stage::new(move |_| {
        let reply = Reply::new(200).header("Content-Type", OCI_MANIFEST).header("Docker-Content-Digest", sha256(b"other"));
        reply.body(image.manifest.clone())
    });
    stage.import_fails().says("sent something else than");
}

/// Pushes an image to a registry that answers an upload like this.
fn push_to(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Ran {
    let stage = Stage::new(move |asked| if asked.method == "HEAD" { Reply::new(404) } else { handler(asked) });
    let image = image_of(json!({"architecture": "amd64", "os": "linux"}), json!({}), vec![random(300_000)]);
    write_layout(&stage.folder.path().join("app-oci"), &[("latest", &image)]);
    let ran = stage.fails(&["push", "app-oci", "--tag", "t"]);
    assert_eq!(stage.server.count("PUT", "/manifests/"), 0);
    ran
}

#[test]
fn uploads_that_lead_nowhere_are_told() {
    push_to(|_| Reply::new(202)).says("a 202 Accepted without a Location");
    push_to(|_| Reply::new(202).header("Location", "ftp://x/")).says("a Location that is no URL");
    push_to(|_| Reply::new(302).header("Location", "/v2/")).says("answered 302");
    push_to(|_| Reply::new(200)).says("answered 200");
}

#[test]
fn uploads_that_are_always_elsewhere_end() {
    let place = "/v2/yocto/app/blobs/uploads/1";
    push_to(move |asked| match asked.method.as_str() {
        "POST" => Reply::new(202).header("Location", place),
        "GET" => Reply::new(204).header("Location", place).header("Range", "0-1000"),
        _ => Reply::new(416).header("Location", place).header("Range", "0-1000"),
    })
    .says("416");
    // A registry that forgets everything.
    push_to(move |asked| match asked.method.as_str() {
        "POST" => Reply::new(202).header("Location", place),
        _ => Reply::new(404),
    })
    .says("404");
    // One that claims to have more than there is.
    push_to(move |asked| match asked.method.as_str() {
        "POST" => Reply::new(202).header("Location", place),
        "PATCH" => Reply::new(202).header("Location", place).header("Range", "0-99999999"),
        _ => Reply::new(400).body(r#"{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}"#),
    })
    .says("DIGEST_INVALID");
}

#[test]
fn error_texts_are_shown_in_one_line_and_no_longer_than_that() {
    let text = format!("{{\"errors\":[{{\"code\":\"A\\u001b[31m\",\"message\":\"{}\"}}]}}", "x\\n".repeat(10_000));
    let stage = Stage::new(move |_| Reply::new(400).body(text.clone()));
    let ran = stage.fails(&["tags", "app"]);
    assert!(ran.stderr.len() < 1000 && !ran.stderr.contains('\u{1b}'), "{ran}");
    let stage = Stage::new(|_| Reply::new(400).length(1 << 40).body(vec![b'x'; 1 << 20]).cut(1 << 20));
    assert!(stage.fails(&["tags", "app"]).says("answered 400").stderr.len() < 1000);
    // The text never ends, the status is known.
    let stage = Stage::new(|_| Reply::new(400).length(100).body("begun"));
    stage.fails(&["tags", "app"]).says("answered 400 Bad Request").says("begun");
}

#[test]
fn challenges_of_all_kinds_are_survived() {
    for challenge in [
        "Bearer",
        "Bearer realm=",
        "Bearer realm=\"not a URL\"",
        "Bearer realm=\"file:///etc/passwd\"",
        "Negotiate",
        "",
        "=,=,=\"",
        "Basic",
    ] {
        let stage = Stage::whole(move |_| Reply::new(401).header("WWW-Authenticate", challenge));
        stage.fails(&["list", "--creds", "user:secret"]).is_silent_on("secret");
    }
    let long = format!("Bearer realm=\"{}", "x".repeat(60_000));
    let stage = Stage::whole(move |_| Reply::new(401).header("WWW-Authenticate", &long));
    stage.fails(&["list", "--creds", "user:secret"]);
}

#[test]
fn a_proxy_of_the_environment_is_used_for_the_world_outside() {
    let proxy = Scripted::start(|asked| {
        let path = asked.target.strip_prefix("http://registry.example:5000");
        match path {
            Some("/v2/") => Reply::new(200),
            Some(_) => Reply::new(200).body(r#"{"tags":["through-proxy"]}"#),
            None => Reply::new(400),
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let address = format!("http://{}", proxy.address());
    let outside = Wharf::new(folder.path())
        .env("CONTAINER_REGISTRY_URL", "registry.example:5000")
        .env("CONTAINER_REGISTRY_INSECURE", "1")
        .env("HTTP_PROXY", &address)
        .env("http_proxy", &address);
    assert_eq!(outside.ok(&["tags", "app"]).stdout, "through-proxy\n");
    let before = proxy.asked().len();
    outside
        .env("NO_PROXY", "registry.example")
        .fails(&["tags", "app"])
        .says("Registry not responding at http://registry.example:5000");
    // The loopback is never reached through a proxy.
    let server = Server::launch(Program::Wharf, Config::default());
    server.repo("yocto/app").push_random("own");
    let near = Wharf::with_server(folder.path(), &server).env("HTTP_PROXY", &address).env("http_proxy", &address);
    assert_eq!(near.ok(&["tags", "app"]).stdout, "own\n");
    assert_eq!(proxy.asked().len(), before);
}

/// Whatever a blob's size, and whatever a source sends.
#[test]
fn memory_does_not_grow_with_what_is_sent() {
    let server = Server::launch(Program::Wharf, Config::default());
    let folder = tempfile::tempdir().expect("a folder");
    let layers = (0..4).map(|_| random(48 << 20)).collect();
    let image = image_of(json!({"architecture": "amd64", "os": "linux"}), json!({}), layers);
    write_layout(&folder.path().join("app-oci"), &[("latest", &image)]);
    let wharf = Wharf::with_server(folder.path(), &server);
    let source = format!("{}/yocto/app:t", server.address());
    let here = Server::launch(Program::Wharf, Config::default());
    let steps: [(Wharf, Vec<&str>); 2] =
        [(wharf, vec!["push", "app-oci", "--tag", "t"]), (Wharf::with_server(folder.path(), &here), vec!["import", &source])];
    for (wharf, words) in steps {
        let mut child = wharf.command(&words).stdout(std::process::Stdio::null()).spawn().expect("start it");
        let mut most = 0;
        let status = loop {
            most = most.max(peak(&child));
            match child.try_wait().expect("look at it") {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        assert!(status.success());
        println!("{words:?}: {most} KiB");
        assert!(most > 0 && most < 64 << 10, "{words:?} used {most} KiB");
    }
}
