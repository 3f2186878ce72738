# SPDX-License-Identifier: MIT
"""Images: the command that packs a root file system."""

import os
import re
import shlex

import bb

from . import engine, layers, program


def tag_in_names(d):
    """The tag as it stands in names of files, where a colon has no place."""
    return (d.getVar("OCI_IMAGE_TAG") or "latest").replace(":", "_")


def subarch(d):
    """The variant of the architecture, as images have it: of 32-bit ARM alone."""
    if not re.match("arm(?!64)", d.getVar("TARGET_ARCH") or ""):
        return ""
    features = (d.getVar("TUNE_FEATURES") or "").split()
    for version in ("8", "7", "6", "5"):
        if any(feature.startswith("armv" + version) for feature in features):
            return "v" + version
    return ""


def compression(d):
    """What layers are compressed with unless it is said: as podman takes them by parts, else as everybody reads them."""
    return "zstd:chunked" if engine.of(d) == "podman" else "gzip"


def version(d):
    """The version of the image: PV, unless neither the recipe's name nor an assignment says one."""
    if bb.parse.vars_from_file(d.getVar("FILE", False), d)[1] is None and "vars_from_file" in (d.getVar("PV", False) or ""):
        return ""
    return d.getVar("PV") or ""


def words(d, name):
    """The words of a variable, divided as a shell does. What cannot be divided is fatal."""
    try:
        return shlex.split(d.getVar(name) or "")
    except ValueError as error:
        bb.fatal(f"{name} = '{d.getVar(name)}' cannot be divided into words: {error}")


def options(d):
    """The options of `wharf pack` for the OCI_IMAGE_ variables, as a shell reads them."""
    made = []

    def give(option, value):
        if value and value.strip():
            made.append(f"{option}={value.strip()}")

    give("--tag", d.getVar("OCI_IMAGE_TAG"))
    give("--compression", d.getVar("OCI_IMAGE_COMPRESSION"))
    give("--mtime-max", d.getVar("REPRODUCIBLE_TIMESTAMP_ROOTFS"))
    give("--author", d.getVar("OCI_IMAGE_AUTHOR"))
    give("--author-email", d.getVar("OCI_IMAGE_AUTHOR_EMAIL"))
    give("--arch", d.getVar("OCI_IMAGE_ARCH"))
    give("--variant", d.getVar("OCI_IMAGE_SUBARCH"))
    give("--os", d.getVar("OCI_IMAGE_OS"))
    give("--entrypoint", d.getVar("OCI_IMAGE_ENTRYPOINT"))
    give("--cmd", d.getVar("OCI_IMAGE_ENTRYPOINT_ARGS") or d.getVar("OCI_IMAGE_CMD"))
    give("--user", d.getVar("OCI_IMAGE_RUNTIME_UID"))
    give("--workdir", d.getVar("OCI_IMAGE_WORKINGDIR"))
    give("--stop-signal", d.getVar("OCI_IMAGE_STOPSIGNAL"))
    for port in words(d, "OCI_IMAGE_PORTS"):
        give("--port", port)
    for pair in words(d, "OCI_IMAGE_ENV_VARS"):
        give("--env", pair)
    for pair in words(d, "OCI_IMAGE_LABELS"):
        give("--label", pair)
    if d.getVar("OCI_IMAGE_AUTO_LABELS") != "0":
        made.append("--auto")
        give("--revision", d.getVar("OCI_IMAGE_REVISION"))
        give("--branch", d.getVar("OCI_IMAGE_BRANCH"))
        give("--created", d.getVar("OCI_IMAGE_BUILD_DATE"))
        give("--image-version", d.getVar("OCI_IMAGE_VERSION"))
        give("--reproducible", "1" if bb.utils.to_boolean(d.getVar("OCI_IMAGE_REPRODUCIBLE"), False) else "0")
        give("--topdir", d.getVar("TOPDIR"))
    for number, _ in enumerate(layers.of(d)):
        give("--layer", "@" + layers.list_file(d, number))
    give("--base", base_layout(d))
    return " ".join(shlex.quote(option) for option in made)


def base(d):
    """The image that this one is built on, as a pair of its kind and name; None without one."""
    name = (d.getVar("OCI_BASE_IMAGE") or "").strip()
    if not name:
        return None
    if name.startswith("/"):
        return ("path", name)
    if "/" in name or "." in name.split(":")[0]:
        bb.fatal(f"OCI_BASE_IMAGE = \"{name}\" names an image of a registry, and a build fetches none. Bring it into a folder with "
                 "`wharf pull`, and give the folder's absolute path; or name an image recipe.")
    return ("recipe", name)


def base_layout(d):
    """The layout of that image."""
    found = base(d)
    if not found:
        return None
    kind, name = found
    base_tag = d.getVar("OCI_BASE_IMAGE_TAG") or "latest"
    if kind == "recipe":
        name = os.path.join(d.getVar("DEPLOY_DIR_IMAGE"), "{}-{}-oci".format(name, base_tag.replace(":", "_")))
    return f"{name}:{base_tag}"


def prepare(d):
    """When the recipe is parsed: what can be told then, and what the task depends on."""
    program.use(d, "do_image_oci")
    layers.of(d)
    found = base(d)
    if found and found[0] == "recipe":
        d.appendVarFlag("do_image_oci", "depends", f" {found[1]}:do_image_complete")
