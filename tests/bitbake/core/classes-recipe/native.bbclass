PACKAGE_ARCH = "native"
TARGET_ARCH = "${BUILD_ARCH}"
CLASSOVERRIDE = "class-native"
deltask do_package_write
