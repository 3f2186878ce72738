//! The life of containers: in the background, looked at, stopped, started again with what they had changed, and ended with what ran them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use wharf_tests::{Vm, within};

#[test]
fn a_container_in_the_background_is_seen_and_stopped_and_started_again() {
    let vm = Vm::new("x86_64");
    let script = "trap 'echo bye; exit 3' TERM; echo started >> /log; cat /log; while true; do sleep 0.1; done";
    let id = vm.ok(&["run", "-d", "--name", "long", "box", "sh", "-c", script]).stdout.trim().to_owned();
    assert_eq!(id.len(), 64, "{id}");
    let listed = vm.ok(&["ps", "--format", "{{.ID}} {{.Image}} {{.Names}} {{.State}}"]);
    assert_eq!(listed.stdout.trim(), format!("{} box long running", &id[..12]));
    assert_eq!(vm.machines().len(), 1);
    vm.ok(&["exec", "long", "sh", "-c", "echo from exec > /kept"]);
    assert!(vm.ok(&["top", "long"]).stdout.contains("trap 'echo bye"));
    vm.ok(&["pause", "long"]);
    assert!(vm.ok(&["ps"]).stdout.contains("(Paused)"));
    vm.run(&["exec", "long", "true"]).expect(125).says("paused");
    vm.ok(&["unpause", "long"]);
    // It is the only one, so a shell is one in it.
    let shell = vm.feed(&["vshell"], b"echo in''side; exit 4\n");
    assert!(String::from_utf8_lossy(&shell.stdout).contains("\r\ninside\r\n") && shell.status.code() == Some(4), "{shell:?}");
    vm.ok(&["stop", "long"]);
    assert!(vm.machines().is_empty());
    assert_eq!(vm.ok(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "long"]).stdout.trim(), "exited 3");
    assert_eq!(vm.ok(&["logs", "long"]).stdout, "started\nbye\n");
    // What it had changed is still there.
    vm.ok(&["start", &id[..12]]);
    assert_eq!(vm.ok(&["exec", "long", "cat", "/kept"]).stdout, "from exec\n");
    within(60, "the second start's lines", || vm.ok(&["logs", "long"]).stdout == "started\nbye\nstarted\nstarted\n");
    vm.run(&["rm", "long"]).expect(1).says("is running").says("rm -f");
    vm.ok(&["kill", "-s", "TERM", "long"]);
    assert_eq!(vm.ok(&["wait", "long"]).stdout.trim(), "3");
    let counted = vm.ok(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"]);
    assert!(counted.stdout.contains("Containers 1 0\n") && counted.stdout.contains("File systems 1 0\n"), "{counted}");
    vm.ok(&["rm", "long"]);
    vm.run(&["rm", "long"]).expect(1).says("No such container: long");
    vm.run(&["vshell"]).says("no container runs").says("vdkr vshell IMAGE");
    assert_eq!(vm.ok(&["ps", "-aq"]).stdout, "");
}

/// What a container wrote is on the disk although its machine was killed.
#[test]
fn a_container_survives_the_death_of_its_machine() {
    let vm = Vm::new("x86_64");
    vm.ok(&[
        "run",
        "-d",
        "--name",
        "robust",
        "box",
        "sh",
        "-c",
        "test -e /kept || echo kept > /kept; sync; echo ready; sleep 600",
    ]);
    within(60, "what it wrote", || vm.ok(&["logs", "robust"]).stdout == "ready\n");
    let machines = vm.machines();
    let [machine] = machines.as_slice() else { panic!("{machines:?}") };
    std::process::Command::new("kill").args(["-KILL", &machine.to_string()]).status().expect("kill");
    within(60, "the end of the container", || vm.ok(&["ps", "-a"]).stdout.contains("Exited (137)"));
    vm.ok(&["start", "robust"]);
    assert_eq!(vm.ok(&["exec", "robust", "cat", "/kept"]).stdout, "kept\n");
}

/// One that hears nothing any more can still be removed.
#[test]
fn a_machine_that_stands_still_is_ended() {
    let vm = Vm::new("x86_64");
    vm.ok(&["run", "-d", "--name", "stuck", "box", "sleep", "600"]);
    let machines = vm.machines();
    let [machine] = machines.as_slice() else { panic!("{machines:?}") };
    std::process::Command::new("kill").args(["-STOP", &machine.to_string()]).status().expect("kill");
    vm.ok(&["rm", "-f", "stuck"]);
    assert!(vm.machines().is_empty());
    assert_eq!(vm.ok(&["ps", "-aq"]).stdout, "");
}

/// Who does not read what a container writes does not keep it from ending.
#[test]
fn an_unread_container_is_killed() {
    let vm = Vm::new("x86_64");
    let mut unread = vm.start(&["run", "--name", "loud", "box", "sh", "-c", "echo kept > /kept; while true; do seq 1000; done"]);
    let mut first = [0; 2];
    unread.stdout.as_mut().expect("a pipe").read_exact(&mut first).expect("what it wrote");
    // Until all that may be under way is.
    std::thread::sleep(Duration::from_secs(3));
    vm.ok(&["kill", "loud"]);
    assert!(vm.ok(&["ps", "-a"]).stdout.contains("Exited (137)"));
    vm.ok(&["cp", "loud:/kept", "-"]);
    vm.ok(&["rm", "loud"]);
    unread.kill().expect("kill");
    unread.wait().expect("an end");
}

/// What a container in the foreground has changed is written out, though its command goes.
#[test]
fn changes_outlive_the_command_that_shows_them() {
    let vm = Vm::new("x86_64");
    let mut child = vm.start(&["run", "--name", "shown", "box", "sh", "-c", "echo kept > /kept; echo up; sleep 600"]);
    let mut up = [0; 3];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut up).expect("what it wrote");
    child.kill().expect("kill");
    child.wait().expect("an end");
    within(60, "the end of the container", || vm.ok(&["ps", "-a"]).stdout.contains("Exited (137)"));
    assert!(vm.machines().is_empty());
    let archive = vm.run(&["cp", "shown:/kept", "-"]).expect(0).stdout;
    assert!(archive.contains("kept\n"), "{archive:?}");
}

#[test]
fn a_machine_in_the_foreground_ends_with_its_vdkr() {
    let vm = Vm::new("x86_64");
    let mut child = vm.start(&["run", "--rm", "-i", "box", "sh", "-c", "echo up; cat"]);
    let mut up = [0; 3];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut up).expect("what it wrote");
    assert_eq!(vm.machines().len(), 1);
    child.kill().expect("kill");
    child.wait().expect("an end");
    within(60, "the end of the machine", || vm.machines().is_empty());
    within(60, "the end of the container", || vm.ok(&["ps", "-aq"]).stdout.is_empty());
}

#[test]
fn signals_reach_the_program() {
    let vm = Vm::new("x86_64");
    let mut child =
        vm.start(&["run", "--rm", "box", "sh", "-c", "trap 'echo got it; exit 9' USR1; echo up; while true; do sleep 0.1; done"]);
    let mut up = [0; 3];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut up).expect("what it wrote");
    std::process::Command::new("kill").args(["-USR1", &child.id().to_string()]).status().expect("kill");
    let output = child.wait_with_output().expect("an end");
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"got it\n"[..], Some(9)));
}

/// Files made by the container's root belong to the caller, also when the container fails; `ro` is enforced here.
#[test]
fn volumes_are_the_folders_of_this_machine() {
    let vm = Vm::new("x86_64");
    let folder = vm.own().join("shared");
    fs::create_dir(&folder).expect("a folder");
    std::os::unix::fs::chown(&folder, Some(65534), Some(65534)).expect("an owner");
    fs::write(folder.join("here"), "from here\n").expect("a file");
    let (folder_text, file) = (folder.to_str().expect("UTF-8").to_owned(), folder.join("here"));
    let volume = format!("{folder_text}:/shared");
    let ran = vm
        .run(&["run", "--rm", "-v", &volume, "box", "sh", "-c", "cat /shared/here; echo from there > /shared/there; exit 4"])
        .expect(4);
    assert_eq!(ran.stdout, "from here\n");
    assert_eq!(fs::read_to_string(folder.join("there")).expect("a file"), "from there\n");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(folder.join("there")).expect("a file"));
    assert_eq!(owner, 65534);
    let read_only = format!("{volume}:ro");
    vm.run(&["run", "--rm", "--privileged", "-v", &read_only, "box", "sh", "-c", "! touch /shared/no"]).expect(0);
    assert!(!folder.join("no").exists());
    let one = format!("{}:/etc/one", file.to_str().expect("UTF-8"));
    assert_eq!(vm.ok(&["run", "--rm", "-v", &one, "box", "cat", "/etc/one"]).stdout, "from here\n");
    vm.run(&["run", "--rm", "-v", "/no/such/folder:/x", "box", "true"]).expect(125).says("/no/such/folder");
    // Another user of the container has the caller's rights as well.
    fs::write(folder.join("private"), "private\n").expect("a file");
    for path in [&folder, &folder.join("private")] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).expect("an owner");
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("permissions");
    }
    let script = "cat /shared/private && echo web > /shared/web && stat -c %U:%G /shared/web";
    assert_eq!(vm.ok(&["run", "--rm", "-u", "web", "-v", &volume, "box", "sh", "-c", script]).stdout, "private\nweb:www\n");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(folder.join("web")).expect("a file")), 65534);
}

/// A shell's soft limit of descriptors is no limit for the files that a container has open in a volume.
#[test]
fn many_files_of_a_volume_are_open_at_once() {
    let vm = Vm::new("x86_64");
    fs::write(vm.own().join("here"), "text").expect("a file");
    let volume = format!("{}:/shared", vm.own().display());
    let script = "for i in $(seq 100); do sleep 30 </shared/here & done; cat /shared/here";
    let inner = vm.command(&["run", "--rm", "-v", &volume, "box", "sh", "-c", script]);
    let mut command = std::process::Command::new("prlimit");
    command.arg("--nofile=64:4096").arg(inner.get_program()).args(inner.get_args()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().expect("prlimit");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "text", "{output:?}");
}

#[test]
fn ports_lead_in_from_the_loopback_and_the_host_is_reached_from_inside() {
    let vm = Vm::new("x86_64");
    vm.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "80",
        "box",
        "sh",
        "-c",
        "mkdir /www; echo page > /www/index.html; httpd -f -h /www",
    ]);
    let place = vm.ok(&["port", "web", "80"]).stdout.trim().to_owned();
    assert!(place.starts_with("127.0.0.1:"), "{place}");
    let get = || {
        let mut stream = TcpStream::connect(&place).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.ends_with("page\n").then_some(())
    };
    within(60, "the page", || get().is_some());
    vm.run(&["run", "--rm", "-p", &format!("{place}:80"), "box", "true"]).expect(125).says("another program listens there");
    let port = place.rsplit(':').next().expect("a port");
    let line = format!("wget -q -O - http://10.0.2.2:{port}/index.html");
    assert_eq!(vm.ok(&["run", "--rm", "box", "sh", "-c", &line]).stdout, "page\n");
    vm.run(&["--no-network", "run", "--rm", "box", "sh", "-c", &format!("! {line}")]).expect(0);
}

#[test]
fn a_machine_that_is_ready_is_used_and_replaced() {
    let vm = Vm::new("x86_64");
    assert_eq!(vm.run(&["memres", "status"]).expect(1).stdout, "not running\n");
    vm.ok(&["memres", "start"]);
    let ready = vm.ok(&["memres", "status"]).stdout;
    assert!(ready.starts_with("ready: x86_64"), "{ready}");
    assert_eq!(
        vm.ok(&["run", "--rm", "box", "sh", "-c", "echo hello; cat /proc/sys/kernel/random/uuid"]).stdout.lines().next(),
        Some("hello")
    );
    // Another one takes its place.
    within(60, "the next machine", || {
        let now = vm.run(&["memres", "status"]).stdout;
        now.starts_with("ready") && now != ready
    });
    assert!(vm.ok(&["memres", "list"]).stdout.contains("x86_64"));
    assert_eq!(vm.ok(&["memres", "stop"]).stdout, "stopped\n");
    vm.run(&["memres", "status"]).expect(1);
}
