SUMMARY = "Builds Rust packages"
RUST_PROGRAM = "cargo"
require rust-host.inc
