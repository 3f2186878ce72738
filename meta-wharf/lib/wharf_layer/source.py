# SPDX-License-Identifier: MIT
"""The source that the program is built from."""

import os

import bb


def check(d):
    """Leaves the recipe out, with a hint for whoever asks for it, where the layer lies alone and no other source is named."""
    if d.getVar("WHARF_SRC_URI") != d.getVar("WHARF_SRC_CHECKOUT"):
        return
    lock = os.path.join(d.getVar("WHARF_LAYERDIR"), "..", "Cargo.lock")
    bb.parse.mark_dependency(d, lock)
    if not os.path.exists(lock):
        raise bb.parse.SkipRecipe("this layer lies in no checkout of wharf: set WHARF_SRC_URI and WHARF_SRCREV to a git repository and "
                                  "commit, or WHARF to the absolute path of a program that is there already")
