# SPDX-License-Identifier: MIT
"""The wharf program: the native recipe's, or one of the build host."""

import os
import subprocess

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


def found(d):
    """That path, for a task that is about to run it: when nothing to run is there, the task fails."""
    program = path(d)
    if not (os.path.isfile(program) and os.access(program, os.X_OK)):
        bb.fatal(f"WHARF = \"{program}\" names no program of this machine. Write where it lies, or leave WHARF empty to build wharf-native."
                 if host(d) else f"wharf-native has left no program at {program}.")
    return program


def install(d, folder):
    """Puts the program into a folder that outlives tmp/: the native one as a copy, the host's as a link."""
    program = found(d)
    own = os.path.join(folder, "wharf")
    draft = f"{own}.{os.getpid()}"
    bb.utils.mkdirhier(folder)
    try:
        if host(d) or not copy(program, draft, d.getVar("TMPDIR")):
            os.symlink(program, draft)
        os.replace(draft, own)
    finally:
        if os.path.lexists(draft):
            os.unlink(draft)


def copy(program, target, folder):
    """Copies a program that was built so that it needs nothing of `folder`, which may go away. False, with a warning, when it does not run
    like that: libraries may be missing, or be older than those that it was built with where a shared state cache has it from elsewhere."""
    try:
        with open(program, "rb") as built:
            content = elf.with_own_loader(built.read(), folder)
        with open(target, "wb") as made:
            made.write(content)
        os.chmod(target, 0o755)
        subprocess.run([target, "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       errors="replace", check=True)
        return True
    except subprocess.CalledProcessError as error:
        reason = error.stdout.strip()
    except (OSError, ValueError) as error:
        reason = error
    bb.utils.remove(target)
    bb.warn(f"container-registry.sh will not work without {folder}: the program of wharf-native does not run with this machine's own "
            f"libraries ({reason}). Set WHARF to a program of this machine to change that.")
    return False
