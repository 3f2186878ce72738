require recipes-containers/vdkr/wharf-vdkr-initramfs.inc

VDKR_NATIVE = "vdkr-native"
