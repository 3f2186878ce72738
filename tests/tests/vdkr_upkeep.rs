//! Images that are run while something happens to them: removed, damaged, asked for twice at once, or kept for one command alone.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use wharf_tests::clients::Docker;
use wharf_tests::{Config, Program, Server, Stage, Vm, image_of, run_tool};

/// What was made of layers.
fn layers(vm: &Vm) -> Vec<PathBuf> {
    let folder = fs::read_dir(vm.state().join("rootfs/layers")).expect("layers");
    folder.map(|entry| entry.expect("a layer").path()).collect()
}

/// A container goes on when its image is removed, and can be started again.
#[test]
fn an_image_in_use_is_not_removed_but_by_force() {
    let vm = Vm::new("x86_64");
    vm.ok(&["run", "-d", "--name", "user", "box", "sh", "-c", "echo up; sleep 600"]);
    let id = vm.ok(&["images", "-q", "box"]).stdout;
    for name in ["box", id.trim()] {
        let ran = vm.run(&["rmi", name]).expect(1);
        ran.says("is used by a container").says("hint: ");
    }
    assert!(vm.ok(&["images", "-q"]).stdout.lines().count() == 1);
    assert!(vm.ok(&["rmi", "-f", "box"]).stdout.contains("Deleted: sha256:"));
    vm.ok(&["system", "prune", "-af"]);
    assert_eq!(vm.ok(&["exec", "user", "cat", "/etc/group"]).stdout.lines().count(), 3);
    vm.ok(&["stop", "-t", "0", "user"]);
    vm.ok(&["start", "user"]);
    assert_eq!(vm.ok(&["exec", "user", "sh", "-c", "ls /bin/busybox"]).stdout, "/bin/busybox\n");
    assert!(vm.ok(&["ps", "--format", "{{.Image}}"]).stdout.starts_with("box"));
    vm.run(&["run", "--rm", "box", "true"]).expect(125).says("Unable to find image box locally");
    vm.ok(&["rm", "-f", "user"]);
    vm.ok(&["system", "prune", "-af"]);
    assert!(layers(&vm).is_empty(), "{:?}", layers(&vm));
}

/// What was made of a layer is made again out of the image when it is gone, cut off or changed.
#[test]
fn a_layer_that_was_made_ready_is_made_again() {
    let vm = Vm::new("x86_64");
    let hello = |what: &str| {
        let ran = vm.ok(&["run", "--rm", "box", "echo", "hello"]);
        assert_eq!(ran.stdout, "hello\n", "{what}: {ran}");
    };
    hello("whole");
    let [layer] = layers(&vm).try_into().expect("one layer");
    let whole = fs::read(&layer).expect("a layer");
    // The records lie before the footer of 64 bytes.
    let changed = |place: usize| {
        let mut bytes = whole.clone();
        bytes[place] ^= 0xff;
        bytes
    };
    for (what, bytes) in [
        ("cut off", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("a changed record", changed(whole.len() - 100)),
        ("a changed footer", changed(whole.len() - 30)),
    ] {
        fs::write(&layer, bytes).expect("damage");
        // What was put together of it is made again as well, as after an update.
        fs::remove_dir_all(vm.state().join("rootfs/images")).expect("images");
        hello(what);
        assert!(fs::read(&layer).expect("a layer") == whole, "{what}");
    }
    fs::remove_file(&layer).expect("a layer");
    hello("gone");
    // A container that was made before is started again.
    vm.ok(&["create", "--name", "later", "box", "echo", "later"]);
    fs::remove_file(&layer).expect("a layer");
    vm.ok(&["start", "-a", "later"]);
    // When the image has lost it as well, that is said, with the way out.
    fs::remove_file(&layer).expect("a layer");
    let blobs = fs::read_dir(vm.state().join("images/blobs/sha256")).expect("blobs");
    let largest = blobs.map(|entry| entry.expect("a blob").path()).max_by_key(|path| path.metadata().expect("a blob").len());
    fs::remove_file(largest.expect("a blob")).expect("remove it");
    vm.run(&["run", "--rm", "box", "true"]).expect(125).says("error: ").says("hint: ");
    assert_eq!((vm.machines().len(), vm.ok(&["ps", "-a", "--format", "{{.Names}}"]).stdout.as_str()), (0, "later\n"));
    vm.ok(&["vimport", vm.image_folder().to_str().expect("UTF-8"), "box"]);
    hello("imported again");
}

/// For another architecture than the machine's it is refused before anything starts.
#[test]
fn an_image_of_another_architecture_is_refused() {
    let vm = Vm::new("x86_64");
    let hub = Server::start();
    let arm = image_of(json!({"os": "linux", "architecture": "arm64"}), json!({}), vec![wharf_tests::archive("x", b"x")]);
    hub.repo("team/arm").push("latest", &arm).expect(201);
    let name = format!("10.0.2.2:{}/team/arm", hub.address().port());
    vm.run(&["run", "--rm", &name, "true"]).expect(125).says("has no image for x86_64").says("hint: ").says("--arch aarch64");
    assert_eq!(vm.ok(&["ps", "-aq"]).stdout, "");
}

/// Two that run an image for the first time, where no machine was made ready yet, do not stand in each other's way.
#[test]
fn the_first_use_may_be_twice_at_once() {
    let vm = Vm::new("x86_64");
    let elsewhere = vm.own().join("elsewhere");
    let guest = vm.state().ancestors().nth(3).expect("the state folder").join("x86_64/guest");
    fs::create_dir_all(elsewhere.join("x86_64")).expect("a state folder");
    let copy = elsewhere.join("x86_64/guest");
    run_tool("cp", &["-r", guest.to_str().expect("UTF-8"), copy.to_str().expect("UTF-8")], None);
    run_tool("chown", &["-R", "65534:65534", elsewhere.to_str().expect("UTF-8")], None);
    vm.elsewhere(&elsewhere, &["vimport", vm.image_folder().to_str().expect("UTF-8"), "box"]).expect(0);
    fs::remove_dir_all(elsewhere.join("x86_64/rootfs")).expect("what was made ready");
    let said = std::thread::scope(|scope| {
        let run = |word: &'static str| vm.elsewhere(&elsewhere, &["run", "--rm", "box", "echo", word]).expect(0);
        let both = ["one", "two"].map(|word| (word, scope.spawn(move || run(word))));
        both.map(|(word, ran)| {
            let ran = ran.join().expect("an end");
            assert_eq!(ran.stdout, format!("{word}\n"), "{ran}");
            ran.stderr
        })
    });
    assert!(said.iter().filter(|said| said.contains("first use of")).count() >= 1, "{said:?}");
    let of = |folder: &str| fs::read_dir(elsewhere.join("x86_64").join(folder)).expect("a folder").count();
    assert_eq!(of("rootfs/layers"), 1);
}

/// A state that vanishes with the command takes kernel and snapshots from the one that stays.
#[test]
fn nothing_is_left_of_a_state_that_vanishes() {
    let vm = Vm::new("x86_64");
    let hub = Server::start();
    let stage = Stage::new();
    stage.pack(&vm.image_folder(), "box-oci", &["--cmd", "sh"]);
    let to = format!("docker://{}/team/box:latest", hub.address());
    let from = format!("oci:{}:latest", stage.text("box-oci"));
    run_tool("skopeo", &["--insecure-policy", "copy", "--dest-tls-verify=false", &from, &to], None);
    let name = format!("10.0.2.2:{}/team/box", hub.address().port());
    let before = vm.ok(&["images", "-q"]).stdout;
    let ran = vm.ok(&["--stateless", "run", "--rm", &name, "echo", "hello"]);
    assert_eq!(ran.stdout.lines().last(), Some("hello"), "{ran}");
    assert_eq!((vm.ok(&["images", "-q"]).stdout, vm.ok(&["ps", "-aq"]).stdout), (before, String::new()));
}

/// `--config` names a file as docker login writes it; without it the registry does not let anyone in.
#[test]
fn credentials_come_out_of_the_file_that_is_named() {
    let vm = Vm::new("x86_64");
    let stage = Stage::new();
    // `user:secret` in bcrypt.
    let passwords = "user:$2b$04$.3BSjQ/WTbWogFjFRPLvdOfLsB36AC.FwYM9FoGpGxon6Bt/mssVm\n";
    fs::write(stage.path("htpasswd"), passwords).expect("passwords");
    let config = Config::default().set("auth.htpasswd.realm", "test").set("auth.htpasswd.path", stage.text("htpasswd"));
    let server = Server::launch(Program::Distribution, config);
    stage.pack(&vm.image_folder(), "box-oci", &["--cmd", "echo hello"]);
    let to = format!("docker://{}/team/box:latest", server.address());
    let from = format!("oci:{}:latest", stage.text("box-oci"));
    run_tool("skopeo", &["--insecure-policy", "copy", "--dest-tls-verify=false", "--dest-creds=user:secret", &from, &to], None);
    let name = format!("10.0.2.2:{}/team/box", server.address().port());
    vm.run(&["run", "--rm", &name]).expect(125).says("vdkr login").is_silent_on("hello");
    let write = |file: &str, login: &str| {
        let path = vm.own().join(file);
        let text = json!({"auths": {format!("localhost:{}", server.address().port()): {"auth": login}}}).to_string();
        fs::write(&path, text).expect("credentials");
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).expect("an owner");
        path.to_str().expect("UTF-8").to_owned()
    };
    // user:wrong
    vm.run(&["--config", &write("wrong.json", "dXNlcjp3cm9uZw=="), "run", "--rm", &name]).expect(125).is_silent_on("wrong\"");
    // user:secret
    let ran = vm.ok(&["--config", &write("right.json", "dXNlcjpzZWNyZXQ="), "run", "--rm", &name]).is_silent_on("secret");
    assert_eq!(ran.stdout.lines().last(), Some("hello"), "{ran}");
    vm.run(&["--config", "/nowhere.json", "pull", &name]).expect(1).says("/nowhere.json");
    // Pushed with them as well.
    vm.ok(&["tag", "box", &format!("{name}:2")]);
    vm.ok(&["--config", &write("right.json", "dXNlcjpzZWNyZXQ="), "push", &format!("{name}:2")]);
}

/// `save`, Docker's and skopeo's reading of it, and what they save loaded again: the same image, and it runs.
#[test]
fn what_is_saved_comes_back_from_docker_and_skopeo() {
    let vm = Vm::new("x86_64");
    let docker = Docker::start();
    let id = vm.ok(&["inspect", "-f", "{{.Id}}", "box"]).stdout.trim().to_owned();
    let file = |name: &str| vm.own().join(name).to_str().expect("UTF-8").to_owned();
    vm.ok(&["save", "-o", &file("saved.tar"), "box"]);
    assert!(docker.run(["load", "-i", &file("saved.tar")]).ok().contains("Loaded image: box:latest"));
    assert_eq!(docker.run(["image", "inspect", "--format", "{{.Id}}", "box"]).ok().trim(), id);
    docker.run(["tag", "box", "by-docker:1"]).ok();
    docker.run(["save", "-o", &file("docker.tar"), "by-docker:1"]).ok();
    let (saved, copied) =
        (format!("docker-archive:{}", file("saved.tar")), format!("docker-archive:{}:by-skopeo:1", file("skopeo.tar")));
    run_tool("skopeo", &["--insecure-policy", "copy", &saved, &copied], None);
    run_tool("chmod", &["a+r", &file("docker.tar"), &file("skopeo.tar")], None);
    vm.ok(&["rmi", "box"]);
    for (archive, name) in [("docker.tar", "by-docker:1"), ("skopeo.tar", "by-skopeo:1")] {
        let loaded = vm.ok(&["load", "-i", &file(archive)]);
        assert_eq!(loaded.stdout, format!("Loaded image: {name}\n"));
        assert_eq!(vm.ok(&["inspect", "-f", "{{.Id}}", name]).stdout.trim(), id, "{archive}");
        assert_eq!(vm.ok(&["run", "--rm", name, "echo", "hello"]).stdout, "hello\n");
    }
}
