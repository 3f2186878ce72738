# SPDX-License-Identifier: MIT
"""The files that tell a target of the registry."""

import json
import os

import bb

# BitBake follows calls into another module by the whole name only.
import wharf_layer.address
import wharf_layer.ca
import wharf_layer.daemon_json


def drop_in(d):
    """The drop-in for podman, skopeo, buildah and CRI-O. It has no search list, for that would take the place of the target's own: what
    comes from Docker Hub's library is looked for in the registry first instead, as short names are."""
    insecure = str(not wharf_layer.address.is_https(d)).lower()
    lines = ["# The registry of the build that made this image."]
    for name in wharf_layer.address.names(d):
        lines += ["[[registry]]", f"location = {json.dumps(name)}", f"insecure = {insecure}", ""]
    if bb.utils.to_boolean(d.getVar("CONTAINER_REGISTRY_SEARCH_FIRST"), False):
        lines += ["[[registry]]", "prefix = \"docker.io/library\"", "location = \"docker.io/library\"", "",
                  "[[registry.mirror]]", f"location = {json.dumps(wharf_layer.address.namespace(d))}", f"insecure = {insecure}", ""]
    return "\n".join(lines)


def install_oci(d):
    """/etc/containers"""
    folder = os.path.join(d.getVar("D") + d.getVar("sysconfdir"), "containers")
    bb.utils.mkdirhier(os.path.join(folder, "registries.conf.d"))
    with open(os.path.join(folder, "registries.conf.d", "50-custom-registry.conf"), "w", encoding="utf-8") as out:
        out.write(drop_in(d))
    wharf_layer.ca.install(d, folder)


def install_docker(d):
    """/etc/docker, and the fragment for images that have a daemon.json of their own"""
    folder = os.path.join(d.getVar("D") + d.getVar("sysconfdir"), "docker")
    content = wharf_layer.daemon_json.for_registry(d)
    wharf_layer.daemon_json.write(os.path.join(folder, "daemon.json"), content)
    wharf_layer.daemon_json.write(d.getVar("D") + wharf_layer.daemon_json.fragment(d), content)
    wharf_layer.ca.install(d, folder)


def take_ca(d):
    """Checks the authority, and keeps its certificates for the package."""
    with open(os.path.join(d.getVar("B"), "container-registry-ca.crt"), "w", encoding="utf-8") as out:
        out.write(wharf_layer.ca.certificates(d))
