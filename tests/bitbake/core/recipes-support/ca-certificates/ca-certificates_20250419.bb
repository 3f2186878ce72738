SUMMARY = "Certificate authorities of the system"
LICENSE = "MIT"
do_install() {
    install -d ${D}/usr/share/ca-certificates
}
