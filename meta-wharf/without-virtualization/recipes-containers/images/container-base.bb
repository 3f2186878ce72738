SUMMARY = "A small base for containers: a shell, and the files that programs expect"
DESCRIPTION = "An image to run as a container or to build others on, with busybox for its shell and tools."
SECTION = "containers"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

IMAGE_FSTYPES = "container oci"
inherit image
inherit image-oci

IMAGE_FEATURES = ""
IMAGE_LINGUAS = ""
NO_RECOMMENDATIONS = "1"
IMAGE_INSTALL = "base-files base-passwd netbase busybox"
# Images have no kernel of their own.
IMAGE_CONTAINER_NO_DUMMY = "1"
