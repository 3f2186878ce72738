# SPDX-License-Identifier: MIT
#
# For images: what the feature "container-registry" does beyond installing packages.

# Not by an append, whose text would be in the signature of every image.
python () {
    if wharf_layer.feature.merges(d):
        d.appendVar("ROOTFS_POSTPROCESS_COMMAND", " wharf_merge_daemon_json")
}

python wharf_merge_daemon_json() {
    wharf_layer.daemon_json.merge(d)
}
