SUMMARY = "First process of the virtual machines of vdkr"
DESCRIPTION = "A static program that sets up a machine and carries the streams of one container. It goes into an initramfs, \
               not onto a target."

require wharf-source.inc

# There is nothing in its machine that it could be linked with.
RUSTFLAGS:append = " -C target-feature=+crt-static"
CARGO_BUILD_FLAGS:append = " --package wharf-guest --config ${S}/.cargo/config.toml"

do_install() {
    install -d ${D}${nonarch_libdir}/wharf
    install -m 755 ${B}/target/${CARGO_TARGET_SUBDIR}/vdkr-guest ${D}${nonarch_libdir}/wharf/vdkr-guest-${TARGET_ARCH}
}

FILES:${PN} += "${nonarch_libdir}/wharf"
