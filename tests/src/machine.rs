//! `vdkr`, and what its machines are made of.

use std::path::{Path, PathBuf};

/// The `vdkr` that lies beside the program under test.
pub fn vdkr() -> PathBuf {
    beside("vdkr")
}

/// The folder of guest programs that `make guest` fills.
pub fn guests() -> PathBuf {
    let vdkr = vdkr();
    let found = vdkr.ancestors().skip(1).take(3).map(|folder| folder.join("guest")).find(|path| path.is_dir());
    found.unwrap_or_else(|| panic!("no guest programs beside {}: make guest", vdkr.display()))
}

fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the path of the test program");
    let near = own.ancestors().skip(1).take(2).map(Path::to_owned).collect::<Vec<_>>();
    let found = near.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no {name} beside {}: build it", own.display()))
}
