# SPDX-License-Identifier: MIT
"""The wharf program: the native recipe's, or one of the build host."""

import os

import bb

from . import elf


def host(d):
    """The path of the host's program, or None when the native one is used. A WHARF that is no absolute path is fatal."""
    path = (d.getVar("WHARF") or "").strip()
    if not path:
        return None
    # The image class expands commands without TMPDIR, which stays a name then.
    if not path.startswith(("/", "${")):
        bb.fatal(f"WHARF = \"{path}\" is not an absolute path. Write where the program lies, as WHARF = \"/usr/local/bin/wharf\", "
                 "or leave WHARF empty to build wharf-native.")
    return path


def path(d):
    """Where tasks find the program."""
    return host(d) or os.path.join(d.getVar("STAGING_BINDIR_NATIVE"), "wharf")


def native(d):
    """The recipe that builds the program, for DEPENDS; empty when the host's is used."""
    return "" if host(d) else "wharf-native"


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


def install(d, folder):
    """Puts the program into a folder that outlives tmp/: the native one as a copy, the host's as a link."""
    own = os.path.join(folder, "wharf")
    draft = f"{own}.{os.getpid()}"
    bb.utils.mkdirhier(folder)
    try:
        if host(d):
            os.symlink(host(d), draft)
        else:
            with open(path(d), "rb") as built:
                content = elf.with_own_loader(built.read(), d.getVar("TMPDIR"))
            with open(draft, "wb") as copy:
                copy.write(content)
            os.chmod(draft, 0o755)
        os.replace(draft, own)
    finally:
        if os.path.lexists(draft):
            os.unlink(draft)
