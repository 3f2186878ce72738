# SPDX-License-Identifier: MIT
"""The image feature "container-registry"."""

import bb

from . import engine

NAME = "container-registry"


def is_for(d):
    """Whether this image asks for it and can use it. What local.conf appends reaches every image: those that are containers themselves, and
    what only starts another system, get nothing."""
    if not bb.data.inherits_class("image", d) or NAME not in (d.getVar("IMAGE_FEATURES") or "").split():
        return False
    types = {kind.split(".")[0] for kind in (d.getVar("IMAGE_FSTYPES") or "").split()}
    return not (types & {"oci", "container"} or is_initramfs(d))


def is_initramfs(d):
    """Whether the kernel unpacks this image into memory: the build says so of it, its recipe does by its types, or it has no other form."""
    types = (d.getVar("IMAGE_FSTYPES") or "").split()
    initramfs = (d.getVar("INITRAMFS_FSTYPES") or "").split()
    said = "INITRAMFS_FSTYPES" in (d.getVar("IMAGE_FSTYPES", False) or "") and set(initramfs) <= set(types)
    only = bool(types) and all(kind.split(".")[0] == "cpio" for kind in types)
    return said or only or d.getVar("PN") == d.getVar("INITRAMFS_IMAGE")


def packages(d):
    """The packages of the feature in this image. Where it is unknown which, the image alone cannot be built."""
    if not is_for(d):
        return ""
    found = engine.config_package(d)
    if not found:
        known = " ".join(engine.DOCKER + engine.OCI_TOOLS)
        raise bb.parse.SkipRecipe(f"IMAGE_FEATURES has {NAME}, and no container engine is known for it: VIRTUAL-RUNTIME_container_engine or "
                                  f"CONTAINER_PROFILE is \"{engine.of(d)}\", not one of {known}")
    return found


def merges(d):
    """Whether a daemon.json is to be merged in this image."""
    return is_for(d) and engine.of(d) in engine.DOCKER
