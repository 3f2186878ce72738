# Cargo finds only the crates that BitBake has unpacked, and C code in them is built by BitBake's compiler.
export CARGO_HOME = "${UNPACKDIR}/cargo_home"
CARGO_VENDORING_DIRECTORY ??= "${CARGO_HOME}/bitbake"
CARGO_SRC_DIR ??= ""
CARGO_MANIFEST_PATH ??= "${S}/${CARGO_SRC_DIR}/Cargo.toml"
CARGO_RUST_TARGET_CCLD ??= "${RUST_TARGET_CCLD}"

cargo_common_do_configure() {
    mkdir -p ${CARGO_HOME}/bitbake
    cat > ${CARGO_HOME}/config.toml <<END
[source.bitbake]
directory = "${CARGO_VENDORING_DIRECTORY}"

[source.crates-io]
replace-with = "bitbake"
local-registry = "/nonexistent"

[target.${RUST_HOST_SYS}]
linker = "${CARGO_RUST_TARGET_CCLD}"

[build]
target-dir = "${B}/target"
END
}

do_compile:prepend() {
    oe_cargo_fix_env
}

oe_cargo_fix_env() {
    export CC="${RUST_TARGET_CC}"
    export CXX="${RUST_TARGET_CXX}"
    export CFLAGS="${CFLAGS}"
    export CXXFLAGS="${CXXFLAGS}"
    export AR="${AR}"
    export TARGET_CC="${RUST_TARGET_CC}"
    export TARGET_CXX="${RUST_TARGET_CXX}"
    export TARGET_CFLAGS="${CFLAGS}"
    export TARGET_CXXFLAGS="${CXXFLAGS}"
    export TARGET_AR="${AR}"
    export HOST_CC="${BUILD_CC}"
    export HOST_CXX="${BUILD_CXX}"
    export HOST_CFLAGS="${BUILD_CFLAGS}"
    export HOST_CXXFLAGS="${BUILD_CXXFLAGS}"
    export HOST_AR="${BUILD_AR}"
}

EXPORT_FUNCTIONS do_configure
