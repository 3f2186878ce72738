# SPDX-License-Identifier: MIT
"""The certificate authority that targets are to believe: the file that CONTAINER_REGISTRY_CA_CERT names."""

import base64
import os
import re

import bb

# BitBake follows calls into another module by the whole name only. Not where the storage folder is: the checksum of the file says enough.
import wharf_layer.address
from . import registry

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


def is_wanted(d):
    """Whether targets need it: in secure mode, and where HTTPS has one that was named."""
    if wharf_layer.address.is_secure(d):
        return True
    return wharf_layer.address.is_https(d) and path(d) != registry.own_ca(d)


def path(d):
    """Where the file is said to be."""
    return (d.getVar("CONTAINER_REGISTRY_CA_CERT") or "").strip()


def checksum(d):
    """The file for a task's file-checksums, there or not."""
    return f"{path(d)}:{os.path.exists(path(d))}" if path(d) else ""


def checksum_if_wanted(d):
    """The same for a task that takes it only where it is wanted."""
    return checksum(d) if is_wanted(d) else ""


def certificates(d):
    """The certificates in the file and nothing else of it: a key beside them stays on the build host. A file without any is fatal."""
    file = path(d)
    if not os.path.isfile(file):
        way_out = ("The registry makes it with its first start, and so does: bitbake container-registry-index -c generate_registry_script"
                   if file == registry.own_ca(d) else "Name the one that signed the registry's certificate.")
        bb.fatal(f"There is no certificate authority at CONTAINER_REGISTRY_CA_CERT = \"{file}\". {way_out}")
    with open(file, encoding="utf-8", errors="replace") as pem:
        found = list(CERTIFICATE.finditer(pem.read()))
    if not found or not all(is_der(certificate.group(1)) for certificate in found):
        bb.fatal(f"CONTAINER_REGISTRY_CA_CERT = \"{file}\" has no certificate in PEM form, or one that does not read.")
    return "".join(certificate.group(0) + "\n" for certificate in found)


def is_der(text):
    """Whether this is what stands between the lines of a certificate."""
    try:
        return base64.b64decode("".join(text.split()), validate=True).startswith(b"\x30")
    except ValueError:
        return False


def install(d, folder):
    """Puts it where an engine looks for the authority of the registry, by each of its names, when targets need it."""
    if not is_wanted(d):
        return
    pem = certificates(d)
    for name in wharf_layer.address.names(d):
        place = os.path.join(folder, "certs.d", name)
        bb.utils.mkdirhier(place)
        with open(os.path.join(place, "ca.crt"), "w", encoding="utf-8") as out:
            out.write(pem)
