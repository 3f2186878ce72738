SUMMARY = "A shell and its tools"
LICENSE = "MIT"
BUSYBOX ?= "/bin/busybox"
do_install() {
    install -d ${D}/bin
    install -m 4755 ${BUSYBOX} ${D}/bin/busybox
    ln -s busybox ${D}/bin/sh
}
