//! What vdkr's machines are made of.

use std::path::PathBuf;

/// The `vdkr` under test.
pub fn vdkr() -> PathBuf {
    crate::program::vdkr()
}

/// The folder of guest programs that `make guest` fills, in the target folder.
pub fn guests() -> PathBuf {
    let own = std::env::current_exe().expect("the path of the test program");
    let found = own.ancestors().skip(1).take(3).map(|folder| folder.join("guest")).find(|path| path.is_dir());
    found.unwrap_or_else(|| panic!("no guest programs beside {}: make guest", own.display()))
}
