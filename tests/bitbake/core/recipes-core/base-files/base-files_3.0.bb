SUMMARY = "Files of the base system"
LICENSE = "MIT"
do_install() {
    install -d ${D}/etc ${D}/tmp ${D}/dev ${D}/root
    chmod 1777 ${D}/tmp
    chmod 0700 ${D}/root
    echo tests > ${D}/etc/hostname
}
