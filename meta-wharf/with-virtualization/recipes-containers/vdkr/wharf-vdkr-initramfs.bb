require recipes-containers/vdkr/wharf-vdkr-initramfs.inc

VDKR_NATIVE = "wharf-vdkr-native"
