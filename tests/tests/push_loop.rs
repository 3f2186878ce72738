//! The development loop: build, push, pull `latest`, again.

use serde_json::json;
use wharf_tests::{Deploy, Program, Server, Wharf, image_for};

#[test]
fn each_push_moves_latest_and_leaves_a_timestamp() {
    let server = Server::launch(Program::Wharf, wharf_tests::Config::default());
    let folder = tempfile::tempdir().expect("a folder");
    let deploy = Deploy::new(folder.path());
    let wharf = Wharf::with_server(folder.path(), &server);
    let repo = server.repo("yocto/container-base");
    let mut tags = Vec::new();
    for round in 0..2 {
        let image = image_for("amd64", json!({}));
        let built = format!("container-base-qemux86-64.rootfs-2026011214302{round}-oci");
        deploy.layout("qemux86-64", &built, &image);
        let link = deploy.path("qemux86-64", "container-base-latest-oci");
        let _ = std::fs::remove_file(&link);
        deploy.link("qemux86-64", "container-base-latest-oci", &built);
        let ran = wharf.ok(&["push"]);
        assert_eq!(ran.tags().len(), 2, "{ran}");
        assert_eq!(repo.manifest("latest").expect(200).body, image.manifest);
        assert_eq!(repo.manifest(&ran.tags()[0]).expect(200).body, image.manifest);
        tags.push(ran.tags()[0].clone());
        // A timestamp has a second's resolution.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    assert_ne!(tags[0], tags[1]);
    let listed = wharf.ok(&["list"]).stdout;
    assert_eq!(listed, format!("yocto/container-base: {} {} latest\n", tags[0], tags[1]));
}
