//! The program as it is built: without an environment it says which version it is. Where this is tested, cargo builds it, for all other
//! tests too.

use std::process::Command;

#[test]
fn it_starts() {
    let output = Command::new(env!("CARGO_BIN_EXE_vdkr")).arg("--version").env_clear().output().expect("run vdkr");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), concat!("vdkr ", env!("CARGO_PKG_VERSION"), "\n"));
}
