//! What a container is told in confidence stays with it: no command line, no snapshot and no file that others can read holds it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use wharf_tests::{Vm, within};

/// The value, in two parts, so that this program's own file is not found.
fn secret() -> String {
    ["7Vq2", "not-for-others"].join("-")
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path()),
            Ok(kind) if kind.is_file() => vec![entry.path()],
            _ => Vec::new(),
        })
        .collect()
}

/// Whether a file holds the secret. Holes of a large one are passed over.
fn holds(path: &Path, secret: &str) -> bool {
    let output = Command::new("grep").args(["--quiet", "--fixed-strings", "--binary", "-e", secret]).arg(path).status();
    output.expect("grep").success()
}

#[test]
fn secrets_of_a_container_are_its_own() {
    let vm = Vm::new("x86_64");
    let secret = secret();
    let variables = vm.own().join("variables");
    fs::write(&variables, format!("TOKEN={secret}\n")).expect("a file");
    let file = variables.to_str().expect("UTF-8");
    let volume = "kept:/kept";
    let script = "echo $TOKEN | tee /kept/token; sleep 600";
    vm.ok(&["run", "-d", "--name", "told", "--env-file", file, "-v", volume, "box", "sh", "-c", script]);
    within(60, "its first word", || vm.ok(&["logs", "told"]).stdout == format!("{secret}\n"));
    vm.ok(&["exec", "-e", &format!("OTHER={secret}"), "told", "true"]);

    let processes =
        fs::read_dir("/proc").expect("/proc").flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let told: Vec<_> =
        processes.map(|line| String::from_utf8_lossy(&line).into_owned()).filter(|line| line.contains(&secret)).collect();
    assert!(told.is_empty(), "{told:?}");

    // Where it must lie, so that the container can be started again, nobody else gets in.
    let state = vm.state();
    let own = [state.join("containers"), state.join("volumes")];
    let found: Vec<_> = files(&state).into_iter().filter(|path| holds(path, &secret)).collect();
    assert!(found.iter().any(|path| path.ends_with("record.json")), "the search finds it: {found:?}");
    for path in &found {
        assert!(own.iter().any(|folder| path.starts_with(folder)), "{}", path.display());
        let closed = path
            .ancestors()
            .skip(1)
            .take_while(|above| above.starts_with(&state))
            .any(|above| fs::metadata(above).expect("a folder").mode() & 0o077 == 0);
        assert!(closed, "{} can be read by others", path.display());
    }
    // Snapshots are made before, and not written to again.
    let snapshots = files(&vm.shared().join("machines"));
    assert!(snapshots.iter().any(|path| path.ends_with("memory")), "{snapshots:?}");
    for path in snapshots {
        assert!(!holds(&path, &secret), "{}", path.display());
    }
}
