# SPDX-License-Identifier: MIT
#
# The image type "oci", made by `wharf pack`: an OCI image layout of the root file system, with its provenance on it.

# Nothing boots: no boot loader, no kernel.
ROOTFS_BOOTSTRAP_INSTALL = ""

OCI_IMAGE_AUTHOR ?= "${PATCH_GIT_USER_NAME}"
OCI_IMAGE_AUTHOR_EMAIL ?= "${PATCH_GIT_USER_EMAIL}"
PATCH_GIT_USER_NAME ??= ""
PATCH_GIT_USER_EMAIL ??= ""
OCI_IMAGE_TAG ?= "latest"
OCI_IMAGE_OS ?= ""
OCI_IMAGE_ARCH ?= "${TARGET_ARCH}"
OCI_IMAGE_SUBARCH ?= "${@wharf_layer.image.subarch(d)}"

# The program that always runs, and its arguments; or a command that `docker run IMAGE COMMAND` takes the place of.
OCI_IMAGE_ENTRYPOINT ?= ""
OCI_IMAGE_ENTRYPOINT_ARGS ?= ""
OCI_IMAGE_CMD ?= "/bin/sh"
OCI_IMAGE_WORKINGDIR ?= ""
OCI_IMAGE_STOPSIGNAL ?= ""
OCI_IMAGE_RUNTIME_UID ?= ""
# PORT or PORT/udp, NAME=VALUE and KEY=VALUE, each separated by spaces; quotes as in a shell.
OCI_IMAGE_PORTS ?= ""
OCI_IMAGE_ENV_VARS ?= ""
OCI_IMAGE_LABELS ?= ""

# Labels of where the image comes from. A value instead of what is found, or "none".
OCI_IMAGE_AUTO_LABELS ?= "1"
OCI_IMAGE_REVISION ?= ""
OCI_IMAGE_BRANCH ?= ""
OCI_IMAGE_BUILD_DATE ?= ""

# An image to build on: the name of an image recipe, or the path of a layout.
OCI_BASE_IMAGE ?= ""
OCI_BASE_IMAGE_TAG ?= "latest"
# "multi": layers of their own, NAME:packages|directories|files:CONTENT+CONTENT, for what does not change together.
OCI_LAYER_MODE ?= "single"
OCI_LAYERS ?= ""
# Also as archives.
OCI_IMAGE_TAR_OUTPUT ?= "true"

require image-oci-wharf.inc
