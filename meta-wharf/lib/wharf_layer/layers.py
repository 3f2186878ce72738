# SPDX-License-Identifier: MIT
"""Layers of their own for some paths of an image: OCI_LAYER_MODE = "multi" and OCI_LAYERS."""

import json
import os

import bb

KINDS = ("packages", "directories", "files")


def of(d):
    """The layers that OCI_LAYERS defines, each as its name, kind and list of content; none in single mode."""
    mode = (d.getVar("OCI_LAYER_MODE") or "single").strip()
    if mode == "single":
        return []
    if mode != "multi":
        bb.fatal(f"OCI_LAYER_MODE = \"{mode}\" is neither single nor multi.")
    found = []
    for definition in (d.getVar("OCI_LAYERS") or "").split():
        name, kind, content = (definition.split(":", 2) + ["", ""])[:3]
        if kind == "host":
            bb.fatal(f"OCI_LAYERS: '{definition}' takes files of the build host, which wharf does not. "
                     "OCI_IMAGE_BACKEND = \"umoci\" of meta-virtualization has that; better, package the files.")
        if kind not in KINDS or not content:
            bb.fatal(f"OCI_LAYERS: '{definition}' is not NAME:KIND:CONTENT with a KIND of {', '.join(KINDS)}.")
        found.append((name, kind, content.replace("+", " ").split()))
    if not found:
        bb.fatal("OCI_LAYER_MODE = \"multi\" needs OCI_LAYERS.")
    return found


def list_file(d, number):
    """The file with the paths of a layer."""
    return os.path.join(d.getVar("WORKDIR"), "wharf-layers", str(number))


def write_lists(d):
    """Writes those files, which takes what packages hold: known when the task runs."""
    for number, (name, kind, content) in enumerate(of(d)):
        if kind == "packages":
            paths = [path for package in content for path in package_paths(d, package)]
        else:
            paths = [path.strip("/") for path in content]
        path = list_file(d, number)
        bb.utils.mkdirhier(os.path.dirname(path))
        with open(path, "w", encoding="utf-8") as out:
            out.write("".join(path + "\n" for path in paths))


def package_paths(d, package):
    """The files of a package that was built, without the slash before."""
    folder = d.getVar("PKGDATA_DIR")
    for place in ("runtime", "runtime-reverse"):
        try:
            with open(os.path.join(folder, place, package), encoding="utf-8") as data:
                lines = data.read().splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            key, _, value = line.partition(": ")
            if key.startswith("FILES_INFO"):
                return [escaped(path.strip("/")) for path in json.loads(value.encode().decode("unicode_escape"))]
        return []
    bb.fatal(f"OCI_LAYERS: no package '{package}' was built. Name it in IMAGE_INSTALL as well.")


def escaped(path):
    """A path as a pattern that only it matches."""
    return "".join("\\" + letter if letter in "*?[\\" else letter for letter in path)
