# SPDX-License-Identifier: MIT
#
# The name by which recipes of users inherit it, and the functions that their tasks call.
inherit wharf-registry

# Tasks of their own have the program.
DEPENDS:append = " ${@wharf_layer.program.native(d)}"

def container_registry_push(d, oci_path, image_name, tags=None):
    """Pushes a layout as an image of the namespace, to the tags of CONTAINER_REGISTRY_TAG_STRATEGY or these; returns the references.
    What cannot be pushed fails the task."""
    return wharf_layer.push.layout(d, oci_path, image_name, tags)

def container_registry_discover_oci_images(d):
    """The images in DEPLOY_DIR_IMAGE, as pairs of the layout's path and the image's name."""
    return wharf_layer.push.images(d)

def container_registry_generate_tags(d, image_name):
    """The tags that CONTAINER_REGISTRY_TAG_STRATEGY makes for an image in DEPLOY_DIR_IMAGE."""
    return wharf_layer.push.tags(d, image_name)
