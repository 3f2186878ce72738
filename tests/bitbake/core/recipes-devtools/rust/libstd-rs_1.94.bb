SUMMARY = "Rust's standard library, which the machine's own toolchain brings"
LICENSE = "MIT"
BBCLASSEXTEND = "nativesdk"
