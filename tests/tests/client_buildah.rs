//! buildah: builds an image, pushes it alone and in an index, and pulls both.

use wharf_tests::clients::{Containers, Traffic, Tree, assert_whole, registry};
use wharf_tests::{Server, sha256};

const INSECURE: &str = "--tls-verify=false";

struct Stage {
    server: Server,
    buildah: Containers,
}

impl Stage {
    #[track_caller]
    fn new() -> Self {
        Self { server: registry(), buildah: Containers::new("buildah") }
    }

    fn at(&self, reference: &str) -> String {
        format!("docker://{}/{reference}", self.server.address())
    }

    /// Builds an image for an architecture from a Containerfile; returns its id.
    #[track_caller]
    fn build(&self, architecture: &str, steps: &str) -> String {
        let context = self.buildah.cell.path(&format!("context-{architecture}"));
        let _ = Tree::new(&context)
            .busybox(architecture)
            .file("Containerfile", format!("FROM scratch\nCOPY bin /bin\nCOPY etc /etc\n{steps}").as_bytes());
        let platform = format!("--platform=linux/{architecture}");
        let tag = format!("localhost/{architecture}");
        let build =
            ["bud", "--quiet", "--isolation=chroot", &platform, "--tag", &tag, context.to_str().expect("a path in UTF-8")];
        self.buildah.run(build).ok();
        self.buildah.run(["images", "--quiet", "--no-trunc", &tag]).ok().replace("sha256:", "")
    }

    #[track_caller]
    fn traffic_of(&self, arguments: &[&str]) -> Traffic {
        let (traffic, done) = Traffic::during(&self.server, || self.buildah.run(arguments));
        done.ok();
        traffic.assert_no_complaint();
        traffic
    }
}

/// A built image goes to the registry and comes back into an empty store; what it built is in it. A second push sends
/// nothing.
#[test]
fn a_built_image_is_pushed_and_pulled() {
    let mut stage = Stage::new();
    let id = stage.build("amd64", "RUN [\"/bin/busybox\", \"sh\", \"-c\", \"echo hello > /said\"]\n");
    let to = stage.at("team/built:1");
    let push = ["push", "--quiet", INSECURE, "localhost/amd64", &to];
    assert!(stage.traffic_of(&push).uploaded() > 500_000);
    let repo = stage.server.repo("team/built");
    assert_whole(&repo, "1");
    assert_eq!(repo.manifest("1").json()["config"]["digest"], format!("sha256:{id}"));
    stage.traffic_of(&push).assert_no_blob_sent();

    stage.buildah.fresh();
    stage.traffic_of(&["pull", "--quiet", INSECURE, &to]);
    let container = stage.buildah.run(["from", "--pull-never", &id]).ok();
    let run = ["run", "--isolation=chroot", &container, "--", "/bin/busybox", "cat", "/said"];
    // On a busy machine buildah's own start of itself fails now and then, before it looks at anything of ours.
    let mut ran = stage.buildah.run(run);
    for _ in 0..5 {
        if !ran.stderr.contains("sealing memfd copy") {
            break;
        }
        ran = stage.buildah.run(run);
    }
    assert_eq!(ran.ok(), "hello");
}

/// An index of two built images is pushed with both, and pulled for one architecture and the other.
#[test]
fn an_index_is_pushed_and_pulled_for_each_architecture() {
    let mut stage = Stage::new();
    let ids = ["amd64", "arm64"].map(|a| (a, stage.build(a, "")));
    stage.buildah.run(["manifest", "create", "multi", "localhost/amd64", "localhost/arm64"]).ok();
    let to = stage.at("team/multi:1");
    let push = ["manifest", "push", "--all", INSECURE, "multi", &to];
    stage.traffic_of(&push);
    let repo = stage.server.repo("team/multi");
    let digest = assert_whole(&repo, "1");
    assert_eq!(digest, sha256(&repo.manifest("1").body));
    assert_eq!(repo.manifest("1").json()["manifests"].as_array().unwrap().len(), 2);
    stage.traffic_of(&push).assert_no_blob_sent();

    for (architecture, id) in ids {
        stage.buildah.fresh();
        stage.traffic_of(&["pull", "--quiet", INSECURE, "--arch", architecture, &to]);
        let format = "{{.OCIv1.Architecture}} {{.FromImageID}}";
        let found = stage.buildah.run(["inspect", "--type=image", "--format", format, &id]).ok();
        assert_eq!(found, format!("{architecture} {id}"));
    }
}
