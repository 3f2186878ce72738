# For what Cargo builds, by the machine's own toolchain.
inherit cargo_common

CARGO = "cargo"
BASEDEPENDS:append = " cargo-native"
DEPENDS:append:class-target = " rust-native ${RUSTLIB_DEP}"
DEPENDS:append:class-nativesdk = " rust-native ${RUSTLIB_DEP}"
DEPENDS:append:class-native = " rust-native"
RUSTLIB_DEP ?= "libstd-rs"
RUST_HOST_SYS = "${HOST_ARCH}-unknown-linux-gnu"
RUST_TARGET_CC = "${CC}"
RUST_TARGET_CXX = "${CXX}"
RUST_TARGET_CCLD = "${CC}"

B = "${WORKDIR}/build"
export RUST_BACKTRACE = "1"

RUSTFLAGS ??= ""
BUILD_MODE ??= "--release"
CARGO_BUILD_FLAGS = "-v --frozen --target ${RUST_HOST_SYS} ${BUILD_MODE} --manifest-path=${CARGO_MANIFEST_PATH}"
BUILD_DIR ??= "release"
CARGO_TARGET_SUBDIR = "${RUST_HOST_SYS}/${BUILD_DIR}"

oe_cargo_build() {
    export RUSTFLAGS="${RUSTFLAGS}"
    "${CARGO}" build ${CARGO_BUILD_FLAGS} "$@"
}

cargo_do_compile() {
    oe_cargo_build
}

cargo_do_install() {
    install -d ${D}${bindir}
    for made in ${B}/target/${CARGO_TARGET_SUBDIR}/*; do
        if [ -f "$made" ] && [ -x "$made" ]; then
            install -m 755 "$made" ${D}${bindir}
        fi
    done
}

EXPORT_FUNCTIONS do_compile do_install
