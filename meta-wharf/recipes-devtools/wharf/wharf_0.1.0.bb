SUMMARY = "Container registry and image tool"
DESCRIPTION = "A registry for the images of a build, and the program that packs, pushes, pulls and inspects them."
SECTION = "devel"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=e454836e0e54f44b8e9088615cfcd6c7"

# Where the source is: the checkout that holds this layer as it stands, with what is not committed yet. Nothing asks git when
# this is parsed, and a checkout without git serves as well. Or a git URL, with WHARF_SRCREV beside it: of a commit with the
# same Cargo.lock, for the crates below are those of this one.
WHARF_SRC_URI ?= "${WHARF_SRC_CHECKOUT}"
WHARF_SRCREV ?= "INVALID"

# The sources of all members, for Cargo reads them even when it builds only one.
WHARF_SRC_CHECKOUT = "\
    file://.cargo/config.toml;subdir=${BP} \
    file://Cargo.lock;subdir=${BP} \
    file://Cargo.toml;subdir=${BP} \
    file://LICENSE;subdir=${BP} \
    file://bench/Cargo.toml;subdir=${BP} \
    file://bench/src;subdir=${BP} \
    file://crates;subdir=${BP} \
    file://tests/Cargo.toml;subdir=${BP} \
    file://tests/src;subdir=${BP} \
"
FILESPATH .= ":${WHARF_LAYERDIR}/.."

# The registry of crates, or a copy of it. This is what Cargo calls its own, whose host's name has a dot in the place of the dash.
WHARF_CRATES_HOST ?= "${@'crates-io'.replace('-', '.')}"

SRC_URI = "${WHARF_SRC_URI}"
SRCREV = "${WHARF_SRCREV}"

require ${BPN}-crates.inc

# Needs Rust 1.90, the workspace's rust-version; wrynose has 1.94.
inherit cargo

python () {
    wharf_layer.source.check(d)
}

# The program alone, without tests and measurements, with the settings of the repository for the C code in it.
CARGO_BUILD_FLAGS:append = " --package wharf --config ${S}/.cargo/config.toml"

# Registries of others are asked by HTTPS; on the build host its own certificates serve.
RRECOMMENDS:${PN}:append:class-target = " ca-certificates"

BBCLASSEXTEND = "native nativesdk"
