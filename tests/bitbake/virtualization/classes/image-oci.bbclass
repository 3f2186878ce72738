ROOTFS_BOOTSTRAP_INSTALL = ""
IMAGE_TYPEDEP:oci = "container tar.bz2"

OCI_IMAGE_BACKEND ?= "umoci"
do_image_oci[depends] += "${OCI_IMAGE_BACKEND}-native:do_populate_sysroot"
do_image_oci[depends] += "jq-native:do_populate_sysroot"
OCI_PM_DEPENDS = ""
do_image_oci[depends] += "${OCI_PM_DEPENDS}"

OCI_IMAGE_AUTHOR ?= "${PATCH_GIT_USER_NAME}"
OCI_IMAGE_AUTHOR_EMAIL ?= "${PATCH_GIT_USER_EMAIL}"
OCI_IMAGE_TAG ?= "latest"
OCI_IMAGE_RUNTIME_UID ?= ""
OCI_IMAGE_ARCH ?= "${@oe.go.map_arch(d.getVar('TARGET_ARCH'))}"
OCI_IMAGE_SUBARCH ?= "${@oci_map_subarch(d.getVar('TARGET_ARCH'), d.getVar('TUNE_FEATURES'), d)}"
OCI_IMAGE_ENTRYPOINT ?= ""
OCI_IMAGE_ENTRYPOINT_ARGS ?= ""
OCI_IMAGE_CMD ?= "/bin/sh"
OCI_IMAGE_WORKINGDIR ?= ""
OCI_IMAGE_STOPSIGNAL ?= ""
OCI_IMAGE_PORTS ?= ""
OCI_IMAGE_LABELS ?= ""
OCI_IMAGE_ENV_VARS ?= ""
OCI_IMAGE_APP_RECIPE ?= ""
OCI_IMAGE_REVISION ?= ""
OCI_IMAGE_BRANCH ?= ""
OCI_IMAGE_BUILD_DATE ?= ""
OCI_IMAGE_AUTO_LABELS ?= "1"
OCI_BASE_IMAGE ?= ""
OCI_BASE_IMAGE_TAG ?= "latest"
OCI_LAYER_MODE ?= "single"
OCI_LAYERS ?= ""
OCI_LAYER_CACHE ?= "1"
OCI_LAYER_CACHE_DIR ?= "${TOPDIR}/oci-layer-cache/${MACHINE}"
OCI_IMAGE_TAR_OUTPUT ?= "true"

def oci_map_subarch(a, f, d):
    return "v7" if a == "arm" and "armv7" in f else ""

python __anonymous() {
    mode = d.getVar("OCI_LAYER_MODE")
    if d.getVar("OCI_IMAGE_BACKEND") == "sloci-image" and mode != "single":
        bb.fatal("Multi-layer OCI requires umoci backend")
    if mode == "multi":
        for layer in (d.getVar("OCI_LAYERS") or "").split():
            if len(layer.split(":")) < 3:
                bb.fatal(f"Invalid OCI_LAYERS entry '{layer}'")
    base = d.getVar("OCI_BASE_IMAGE") or ""
    if base and "/" not in base:
        d.appendVarFlag("do_image_oci", "depends", f" {base}:do_build rsync-native:do_populate_sysroot")
}

OCI_IMAGE_BACKEND_INC ?= "${@"image-oci-" + "${OCI_IMAGE_BACKEND}" + ".inc"}"
include ${OCI_IMAGE_BACKEND_INC}
