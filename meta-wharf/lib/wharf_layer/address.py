# SPDX-License-Identifier: MIT
"""Where the registry answers, as programs on the target are told. The rules are those of the program."""

import ipaddress
import re

import bb

# How a guest of QEMU's user network names the machine that it runs on.
HOST_SEEN_FROM_GUEST = "10.0.2.2"
FORM = re.compile(r"(?:(https?)://)?(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]+))?/?", re.IGNORECASE)


def parts(d):
    """Scheme, host and port of CONTAINER_REGISTRY_URL; what is not written is None. An address of another form is fatal."""
    url = (d.getVar("CONTAINER_REGISTRY_URL") or "localhost:5000").strip()
    found = FORM.fullmatch(url)
    if not found:
        bb.fatal(f"CONTAINER_REGISTRY_URL = \"{url}\" is not HOST or HOST:PORT. The folder in it is CONTAINER_REGISTRY_NAMESPACE.")
    scheme, host, port = found.groups()
    return scheme and scheme.lower(), host.lower(), port


def authority(d):
    """HOST or HOST:PORT, as it stands in the names of images."""
    _, host, port = parts(d)
    return f"{host}:{port}" if port else host


def is_local(d):
    """Whether it is the loopback of the build host."""
    _, host, _ = parts(d)
    if host in ("localhost", HOST_SEEN_FROM_GUEST):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def names(d):
    """The authority, and for the loopback also that by which a guest reaches it."""
    _, _, port = parts(d)
    found = [authority(d)]
    if is_local(d):
        found.append(f"{HOST_SEEN_FROM_GUEST}:{port}" if port else HOST_SEEN_FROM_GUEST)
    return list(dict.fromkeys(found))


def namespace(d):
    """The place in the registry that images go to, HOST:PORT/NAMESPACE."""
    folder = (d.getVar("CONTAINER_REGISTRY_NAMESPACE") or "").strip().strip("/") or "yocto"
    return f"{authority(d)}/{folder}"


def is_secure(d):
    """Whether the registry has a certificate of its own authority. Passwords imply it."""
    return (bb.utils.to_boolean(d.getVar("CONTAINER_REGISTRY_SECURE"), False)
            or bb.utils.to_boolean(d.getVar("CONTAINER_REGISTRY_AUTH"), False))


def is_https(d):
    """Whether it is reached by HTTPS: the loopback is when that is said, others unless INSECURE says no."""
    scheme, _, _ = parts(d)
    if scheme:
        return scheme == "https"
    return is_secure(d) or not (is_local(d) or bb.utils.to_boolean(d.getVar("CONTAINER_REGISTRY_INSECURE"), False))
