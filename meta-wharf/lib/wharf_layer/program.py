# SPDX-License-Identifier: MIT
"""The wharf program: the native recipe's, or one of the build host."""

import os

import bb


def host(d):
    """The path of the host's program, or None when the native one is used. A WHARF that is no absolute path is fatal."""
    path = (d.getVar("WHARF") or "").strip()
    if not path:
        return None
    if not os.path.isabs(path):
        bb.fatal(f"WHARF = \"{path}\" is not an absolute path. Write where the program lies, as WHARF = \"/usr/local/bin/wharf\", "
                 "or leave WHARF empty to build wharf-native.")
    return path


def path(d):
    """Where tasks find the program."""
    return host(d) or os.path.join(d.getVar("STAGING_BINDIR_NATIVE"), "wharf")


def use(d, *tasks):
    """Makes tasks run again when the program changes: by the native recipe, or by the checksum of the host's file."""
    program = host(d)
    for task in tasks:
        if program:
            d.appendVarFlag(task, "file-checksums", f" {program}:{os.path.exists(program)}")
            # What others have added for their own back ends, by the name of this one.
            depends = d.getVarFlag(task, "depends") or ""
            d.setVarFlag(task, "depends", " ".join(word for word in depends.split() if not word.startswith("wharf-native:")))
        else:
            d.appendVarFlag(task, "depends", " wharf-native:do_populate_sysroot")
