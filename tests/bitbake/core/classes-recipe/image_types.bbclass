IMAGE_CMD:tar = "tar --sort=name --format=posix --numeric-owner -cf ${IMGDEPLOYDIR}/${IMAGE_NAME}.tar -C ${IMAGE_ROOTFS} ."
IMAGE_CMD:container = "ROOTFS=${IMAGE_ROOTFS} true"
IMAGE_CMD:cpio = "ROOTFS=${IMAGE_ROOTFS} true"
