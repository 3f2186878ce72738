PACKAGE_ARCH = "native"
TARGET_ARCH = "${BUILD_ARCH}"
deltask do_package_write
