SUMMARY = "Compiles Rust"
RUST_PROGRAM = "rustc"
require rust-host.inc
