# SPDX-License-Identifier: MIT
#
# For images: what the feature "container-registry" does beyond installing packages.

ROOTFS_POSTPROCESS_COMMAND:append = " ${@wharf_layer.feature.commands(d)}"

python wharf_merge_daemon_json() {
    wharf_layer.daemon_json.merge(d)
}
