//! `vdkr attach`, and the keys that leave a terminal to itself.

use std::io::{Read, Write};
use std::process::Child;

use wharf_tests::{Vm, within};

/// Type something.
fn typed(child: &mut Child, bytes: &[u8]) {
    let stdin = child.stdin.as_mut().expect("a pipe");
    stdin.write_all(bytes).and_then(|()| stdin.flush()).expect("somebody reads");
}

/// Read what comes until it ends with a text.
fn until(child: &mut Child, end: &str) {
    let stdout = child.stdout.as_mut().expect("a pipe");
    let mut all = Vec::new();
    let mut byte = [0];
    while !all.ends_with(end.as_bytes()) {
        assert_eq!(stdout.read(&mut byte).expect("a stream"), 1, "{}", String::from_utf8_lossy(&all));
        all.extend(byte);
    }
}

fn state(vm: &Vm, name: &str) -> String {
    vm.ok(&["inspect", "--format", "{{.State.Status}}", name]).stdout.trim().to_owned()
}

#[test]
fn a_terminal_is_left_and_found_again() {
    let vm = Vm::new("x86_64");
    let mut first = vm.start(&["run", "-it", "--detach-keys", "ctrl-x,y", "--name", "one", "box", "sh"]);
    typed(&mut first, b"echo $((6 * 7))\n");
    until(&mut first, "42\r\n");
    // One that is not followed by the other is for the program.
    typed(&mut first, b"echo a\x18");
    typed(&mut first, b"b | tr -cd ab | wc -c\n");
    until(&mut first, "2\r\n");
    typed(&mut first, b"kept=yes\n\x18y");
    let output = first.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("read escape sequence"), "{output:?}");
    assert_eq!((state(&vm, "one").as_str(), vm.machines().len()), ("running", 1));
    let mut second = vm.start(&["attach", "one"]);
    typed(&mut second, b"echo again-$kept\n");
    until(&mut second, "again-yes\r\n");
    typed(&mut second, &[16, 17]);
    assert_eq!(second.wait().expect("an end").code(), Some(0));
    // A process beside it goes on, too.
    let mut beside = vm.start(&["exec", "-it", "one", "sh"]);
    typed(&mut beside, b"echo be\"\"side; (sleep 2; touch /late) & wait\n");
    until(&mut beside, "beside\r\n");
    typed(&mut beside, &[16, 17]);
    assert_eq!(beside.wait().expect("an end").code(), Some(0));
    within(60, "what was left", || vm.run(&["exec", "one", "test", "-e", "/late"]).code == 0);
    let mut last = vm.start(&["attach", "one"]);
    typed(&mut last, b"exit 5\n");
    assert_eq!(last.wait().expect("an end").code(), Some(5));
    assert_eq!(state(&vm, "one"), "exited");
    vm.run(&["attach", "one"]).expect(1).says("is not running").says("vdkr start one");
    vm.run(&["attach", "two"]).expect(1).says("No such container: two");
    vm.run(&["attach", "--detach-keys", "both", "one"]).expect(1).says("ctrl-p,ctrl-q");
}

/// Without a terminal keys are bytes like all others.
#[test]
fn streams_are_attached_to() {
    let vm = Vm::new("x86_64");
    vm.ok(&["run", "-d", "-i", "--name", "one", "box", "sh", "-c", "read x; echo got $x; echo err >&2; exit 3"]);
    let output = vm.feed(&["attach", "one"], b"a\x10\x11b\n");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"got a\x10\x11b\n"[..], &b"err\n"[..]));
    vm.ok(&["run", "-d", "--name", "two", "box", "sh", "-c", "trap 'exit 4' USR1; while true; do echo on; sleep 0.1; done"]);
    vm.ok(&["pause", "two"]);
    vm.run(&["attach", "two"]).expect(1).says("is paused").says("vdkr unpause two");
    vm.ok(&["unpause", "two"]);
    let mut child = vm.start(&["attach", "--no-stdin", "two"]);
    // Its signals are handed on before anything is shown; until then they would end it.
    until(&mut child, "on\n");
    std::process::Command::new("kill").args(["-USR1", &child.id().to_string()]).status().expect("kill");
    assert_eq!(child.wait_with_output().expect("an end").status.code(), Some(4));
}
