SUMMARY = "Of meta-virtualization"
LICENSE = "MIT"
IMAGE_FSTYPES = "container oci"
inherit image
inherit image-oci
IMAGE_FEATURES = ""
IMAGE_INSTALL = "base-files base-passwd netbase busybox"
