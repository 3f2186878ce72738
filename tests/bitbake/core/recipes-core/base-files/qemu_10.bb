SUMMARY = "Stands for the emulator of openembedded-core"
LICENSE = "MIT"
PACKAGES = "${PN}"
ALLOW_EMPTY:${PN} = "1"
