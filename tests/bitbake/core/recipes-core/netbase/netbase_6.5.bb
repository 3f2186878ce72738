SUMMARY = "Names of services"
LICENSE = "MIT"
do_install() {
    install -d ${D}/etc
    echo 'http 80/tcp' > ${D}/etc/services
}
