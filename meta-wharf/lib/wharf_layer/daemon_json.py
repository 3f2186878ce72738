# SPDX-License-Identifier: MIT
"""The configuration of Docker's daemon, which is one file: what others say in it stays."""

import json
import os

import bb

# BitBake follows calls into another module by the whole name only.
import wharf_layer.address

LIST = "insecure-registries"


def insecure(d):
    """Registries that are reached by HTTP: those of DOCKER_REGISTRY_INSECURE, and ours. One with a certificate is not among them."""
    named = (d.getVar("DOCKER_REGISTRY_INSECURE") or "").split()
    ours = wharf_layer.address.names(d)
    if not wharf_layer.address.is_https(d):
        return list(dict.fromkeys(named + ours))
    both = [name for name in named if name in ours]
    if both:
        bb.fatal(f"DOCKER_REGISTRY_INSECURE names {' '.join(both)}, which has a certificate: Docker would not look at it. "
                 "Take it out, or set CONTAINER_REGISTRY_INSECURE = \"1\" for a registry without.")
    return named


def path(d):
    """The file that DOCKER_DAEMON_JSON names."""
    return (d.getVar("DOCKER_DAEMON_JSON") or "").strip()


def checksum(d):
    """That file for a task's file-checksums, there or not."""
    return f"{path(d)}:{os.path.exists(path(d))}" if path(d) else ""


def for_registry(d):
    """The file's content with the registries added. A file that is not there is fatal."""
    file = path(d)
    if file and not (os.path.isabs(file) and os.path.isfile(file)):
        bb.fatal(f"DOCKER_DAEMON_JSON = \"{file}\" is not the absolute path of a file.")
    base = read(file, f"DOCKER_DAEMON_JSON = \"{file}\"") if file else {}
    return joined(base, {LIST: insecure(d)})


def read(file, name):
    """The object in a file; what is none that Docker would read is fatal, by the name given."""
    try:
        with open(file, encoding="utf-8") as source:
            content = json.load(source)
    except ValueError as error:
        bb.fatal(f"{name} is not JSON: {error}")
    if not isinstance(content, dict):
        bb.fatal(f"{name} is no object of JSON.")
    if not isinstance(content.get(LIST, []), list):
        bb.fatal(f"{name} has {LIST} that is no list.")
    return content


def joined(base, more):
    """Both together: registries of both, each once; of other keys those of `more` win, and objects are joined in the same way."""
    result = dict(base)
    for key, value in more.items():
        if key == LIST:
            result[key] = list(dict.fromkeys(base.get(key, []) + value))
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            result[key] = joined(base[key], value)
        else:
            result[key] = value
    return result


def write(file, content):
    """Writes it as people read it."""
    bb.utils.mkdirhier(os.path.dirname(file))
    with open(file, "w", encoding="utf-8") as out:
        json.dump(content, out, indent=2)
        out.write("\n")


def fragment(d):
    """Where a package keeps what images are to merge."""
    return os.path.join(d.getVar("datadir"), "container-registry", "daemon.json")


def merge(d):
    """Merges that into the daemon.json of an image, which need not have one."""
    root = d.getVar("IMAGE_ROOTFS")
    part = root + fragment(d)
    if not os.path.exists(part):
        return
    file = os.path.join(root + d.getVar("sysconfdir"), "docker", "daemon.json")
    base = read(file, f"{file} of the image") if os.path.exists(file) else {}
    write(file, joined(base, read(part, part)))
