//! Where there is no machine to be had: what is missing is named, with the way out, and nothing is left behind.

use std::fs;

use wharf_tests::Vm;

#[test]
fn what_is_missing_is_named_with_the_way_out() {
    let vm = Vm::new("x86_64").env("PATH", "/usr/bin/nowhere");
    vm.run(&["run", "--rm", "box", "true"]).expect(125).says("qemu-system-x86_64").says("hint: ");
    assert_eq!(vm.ok(&["ps", "-aq"]).stdout, "");
    let vm = Vm::new("x86_64").env("VDKR_QEMU", "/bin/true");
    vm.run(&["run", "--rm", "box", "true"]).expect(125).says("7.2");
    let vm = Vm::new("x86_64");
    let ran = vm.run(&["run", "--rm", "-m", "99999g", "box", "true"]).expect(125);
    ran.says("is more than this computer has").says("hint: ").is_silent_on("first use");
    let elsewhere = vm.own().join("elsewhere");
    let root = vm.image_folder();
    vm.elsewhere(&elsewhere, &["vimport", root.to_str().expect("UTF-8"), "box"]).expect(0);
    let ran = vm.elsewhere(&elsewhere, &["run", "--rm", "box", "true"]).expect(125);
    let ran = ran.says("no kernel for x86_64").says("vdkr --arch x86_64 setup");
    assert_eq!(ran.stdout, "");
    assert_eq!(vm.elsewhere(&elsewhere, &["ps", "-aq"]).stdout, "");
}

/// A snapshot that does not work is made again by itself.
#[test]
fn a_broken_snapshot_is_made_again() {
    let vm = Vm::new("x86_64");
    // A size of its own: the other tests' snapshots are not for breaking.
    let line = ["--memory", "320m", "run", "--rm", "box", "echo", "hello"];
    vm.ok(&line).says("first use of 320 MiB");
    let shared = vm.state().ancestors().nth(3).expect("the state folder").join("x86_64/machines");
    let newest = fs::read_dir(shared).expect("snapshots").flatten().filter(|entry| entry.path().join("state").exists());
    let newest = newest
        .max_by_key(|entry| entry.metadata().and_then(|about| about.modified()).expect("a time"))
        .expect("a snapshot")
        .path();
    let state = fs::read(newest.join("state")).expect("a snapshot");
    fs::write(newest.join("state"), vec![0; state.len()]).expect("a broken snapshot");
    let ran = vm.ok(&line).says("is made again");
    assert_eq!(ran.stdout, "hello\n");
    vm.ok(&line).is_silent_on("made again");
    fs::remove_dir_all(newest).expect("the end of this size");
}
