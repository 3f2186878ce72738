# SPDX-License-Identifier: MIT
"""Pushing by BitBake. Which images there are, their names and their tags are the program's to say."""

import json
import os

import bb

from . import image, registry


def everything(d):
    """Pushes what the build has made, or of it what CONTAINER_REGISTRY_IMAGES names."""
    bb.plain(registry.run(d, "push", more=registry.secrets(d)).strip())


def layout(d, path, name, tags=None):
    """Pushes a layout by a name of the namespace, to these tags or those of the strategy, and returns the references."""
    options = [f"--tag={tag}" for tag in tags] if tags is not None else version_option(d)
    pushed = registry.run(d, "push", f"--name={name}", *options, "--", os.path.abspath(path), more=registry.secrets(d))
    return [line.split()[0] for line in pushed.splitlines()]


def images(d):
    """The images of this machine, as pairs of the layout's path and the image's name."""
    # Only the names matter, so that no version is needed.
    return [(found["path"], found["name"]) for found in plan(d, "--strategy=latest")]


def tags(d, name):
    """The tags that an image of this machine would be pushed to."""
    found = plan(d, *version_option(d), "--", name)
    return list(dict.fromkeys(tag for one in found for tag in one["tags"]))


def plan(d, *arguments):
    """What a push with these arguments would do, for this machine."""
    folder = d.getVar("DEPLOY_DIR_IMAGE")
    if not os.path.isdir(folder):
        return []
    return json.loads(registry.run(d, "push", "--dry-run", "--json", *arguments, more={"DEPLOY_DIR_IMAGE": folder}))


def version_option(d):
    """The version for tags: IMAGE_VERSION, or that of the recipe which pushes. Without one, an image's label says it."""
    found = d.getVar("IMAGE_VERSION") or image.version(d)
    return [f"--version={found}"] if found else []
