//! A disk that is full: what was to be done is not done, that is said with the way out, nothing that was there is lost, and with room it goes on.

use std::fs;
use std::io::{BufRead, BufReader};

use serde_json::json;
use wharf_tests::{Ran, Server, SmallDisk, Vm, archive, image_of, random, within};

const MIB: usize = 1 << 20;

#[track_caller]
fn refused(ran: Ran, code: i32) {
    let ran = ran.expect(code).says("error: ").says("No space left on device").says("hint: ").says("disk is full");
    assert!(!ran.stderr.contains("panicked"), "{ran}");
}

/// Leaves this much room.
fn leave(disk: &SmallDisk, bytes: usize) {
    fs::write(disk.point().join("filler"), random(disk.free().saturating_sub(bytes))).expect("a filler");
}

/// Where an image is pulled to, and where its layers are made ready.
#[test]
fn an_image_that_does_not_fit() {
    let Some(disk) = SmallDisk::mount() else { return };
    let vm = Vm::new("x86_64");
    vm.move_to(&disk.point());
    let server = Server::start();
    let app = image_of(json!({"os": "linux", "architecture": "amd64"}), json!({}), vec![archive("content", &random(6 * MIB))]);
    server.repo("team/app").push("latest", &app).expect(201);
    let name = format!("10.0.2.2:{}/team/app", server.address().port());
    let hello = || assert_eq!(vm.ok(&["run", "--rm", "box", "echo", "hello"]).stdout, "hello\n");
    hello();
    // Not for the layer, not for the layer made ready, and for nothing at all.
    for room in [3 * MIB, 9 * MIB, 0] {
        match room {
            0 => disk.fill(),
            room => leave(&disk, room),
        }
        refused(vm.run(&["pull", &name]), 1);
        assert!(vm.run(&["images"]).stdout.contains("box"));
        if room > 0 {
            hello();
        }
        disk.drain();
        vm.run(&["rmi", &name]);
        hello();
    }
    vm.ok(&["pull", &name]);
    let saved = vm.own().join("saved.tar");
    vm.ok(&["save", "-o", saved.to_str().expect("UTF-8"), &name]);
    vm.ok(&["rmi", &name]);
    leave(&disk, 3 * MIB);
    refused(vm.run(&["load", "-i", saved.to_str().expect("UTF-8")]), 1);
    let output = vm.feed(&["load"], &fs::read(&saved).expect("the archive"));
    refused(Ran::of("load".to_owned(), output), 1);
    disk.drain();
    vm.ok(&["load", "-i", saved.to_str().expect("UTF-8")]);
}

/// A container that finds no room for its changes waits until there is some, and that is told; nothing it wrote is lost.
#[test]
fn a_container_that_fills_the_disk() {
    let Some(disk) = SmallDisk::mount() else { return };
    let vm = Vm::new("x86_64");
    vm.move_to(&disk.point());
    vm.ok(&["run", "-d", "--name", "writer", "box", "sh", "-c", "test -e /kept || echo before > /kept; sync; sleep 600"]);
    let kept = || vm.run(&["exec", "writer", "cat", "/kept"]).stdout == "before\n";
    within(60, "what it wrote", kept);
    let write = |name: &str| {
        let script = format!("head -c 8000000 /dev/urandom > /{name} && md5sum < /{name} && sync && echo written");
        let mut child = vm.start(&["exec", "writer", "sh", "-c", &script]);
        let mut told = String::new();
        BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut told).expect("word of the full disk");
        assert!(told.contains("disk is full") && told.contains("waits until there is room"), "{told}");
        child
    };
    leave(&disk, 2 * MIB);
    let mut child = write("large");
    assert_eq!(child.try_wait().expect("a state"), None);
    disk.drain();
    let output = child.wait_with_output().expect("an end");
    let written = String::from_utf8(output.stdout).expect("UTF-8");
    let sum = written.strip_suffix("written\n").unwrap_or_else(|| panic!("{written}"));
    vm.ok(&["stop", "-t", "0", "writer"]);
    vm.ok(&["start", "writer"]);
    assert_eq!(vm.ok(&["exec", "writer", "sh", "-c", "md5sum < /large; cat /kept"]).stdout, format!("{sum}before\n"));
    // One that waits is killed all the same.
    leave(&disk, 2 * MIB);
    let child = write("more");
    vm.ok(&["kill", "writer"]);
    assert!(!child.wait_with_output().expect("an end").status.success());
    assert!(vm.machines().is_empty());
    disk.drain();
    // So does a copy into one that does not run.
    leave(&disk, 2 * MIB);
    let content = random(8_000_000);
    let file = vm.own().join("new");
    fs::write(&file, &content).expect("a file");
    let mut child = vm.start(&["cp", file.to_str().expect("UTF-8"), "writer:/new"]);
    let mut told = String::new();
    BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut told).expect("word of the full disk");
    assert!(told.contains("disk is full"), "{told}");
    disk.drain();
    assert!(child.wait().expect("an end").success());
    vm.ok(&["start", "writer"]);
    assert!(kept());
    assert!(vm.command(&["exec", "writer", "cat", "/new"]).output().expect("run vdkr").stdout == content);
}

/// Without room for what a container is made of, none is.
#[test]
fn a_container_that_cannot_be_made() {
    let Some(disk) = SmallDisk::mount() else { return };
    let vm = Vm::new("x86_64");
    vm.move_to(&disk.point());
    vm.ok(&["create", "--name", "first", "box", "echo", "first"]);
    disk.fill();
    refused(vm.run(&["run", "--rm", "box", "echo", "hello"]), 125);
    refused(vm.run(&["start", "-a", "first"]), 125);
    assert_eq!(vm.ok(&["ps", "-a", "--format", "{{.Names}}"]).stdout, "first\n");
    assert!(vm.machines().is_empty());
    disk.drain();
    assert_eq!(vm.ok(&["start", "-a", "first"]).stdout, "first\n");
    assert_eq!(vm.ok(&["run", "--rm", "box", "echo", "hello"]).stdout, "hello\n");
}
