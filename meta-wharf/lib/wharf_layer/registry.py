# SPDX-License-Identifier: MIT
"""The registry's settings, and the program run with them."""

import os
import subprocess
import tempfile

import bb

from . import program

# What the program reads, except for secrets.
SETTINGS = (
    "CONTAINER_REGISTRY_URL CONTAINER_REGISTRY_NAMESPACE CONTAINER_REGISTRY_INSECURE CONTAINER_REGISTRY_TLS_VERIFY "
    "CONTAINER_REGISTRY_SECURE CONTAINER_REGISTRY_AUTH CONTAINER_REGISTRY_TAG_STRATEGY CONTAINER_REGISTRY_STORAGE "
    "CONTAINER_REGISTRY_AUTH_MODE CONTAINER_REGISTRY_AUTHFILE CONTAINER_REGISTRY_CREDSFILE CONTAINER_REGISTRY_USERNAME "
    "CONTAINER_REGISTRY_CERT_DAYS CONTAINER_REGISTRY_CA_DAYS CONTAINER_REGISTRY_CERT_SAN CONTAINER_REGISTRY_CA_CERT "
    "CONTAINER_REGISTRY_IMAGES CONTAINER_REGISTRY_SEARCH_FIRST DOCKER_REGISTRY_INSECURE DEPLOY_DIR_IMAGES IMAGE_VERSION TARGET_ARCH"
).split()
# What it reads in the mode "env". Named here and not where they are read: BitBake would note their values in signatures.
SECRETS = ("CONTAINER_REGISTRY_USER", "CONTAINER_REGISTRY_PASSWORD", "CONTAINER_REGISTRY_TOKEN")

# How the program begins a warning.
WARNING = "warning: "


def is_on(d, name):
    """Whether a switch is on."""
    return bb.utils.to_boolean(d.getVar(name), False)


def check(d):
    """Settings that exclude or imply one another."""
    for name in ("CONTAINER_REGISTRY_SECURE", "CONTAINER_REGISTRY_AUTH"):
        if is_on(d, name) and is_on(d, "CONTAINER_REGISTRY_INSECURE"):
            bb.fatal(f"{name} and CONTAINER_REGISTRY_INSECURE exclude each other: set one of them to \"0\".")
    if is_on(d, "CONTAINER_REGISTRY_AUTH") and not is_on(d, "CONTAINER_REGISTRY_SECURE"):
        bb.warn("CONTAINER_REGISTRY_AUTH without CONTAINER_REGISTRY_SECURE would send passwords in the clear: secure mode is on. "
                "Set CONTAINER_REGISTRY_SECURE = \"1\" to say so.")
        d.setVar("CONTAINER_REGISTRY_SECURE", "1")


def own_ca(d):
    """The certificate authority that secure mode makes."""
    return os.path.join(d.getVar("CONTAINER_REGISTRY_STORAGE"), "pki", "ca.crt")


def environment(d):
    """The environment of the program: these settings, and what any program needs."""
    env = {name: os.environ[name] for name in ("PATH", "HOME", "USER", "LOGNAME", "LANG") if name in os.environ}
    env.setdefault("HOME", d.getVar("HOME") or "/")
    env["TOPDIR"] = d.getVar("TOPDIR")
    for name in SETTINGS:
        value = d.getVar(name)
        if value:
            env[name] = value
    # Until the registry has made its own, there is none, and only secure mode needs it.
    if not is_on(d, "CONTAINER_REGISTRY_SECURE") and env.get("CONTAINER_REGISTRY_CA_CERT") == own_ca(d):
        del env["CONTAINER_REGISTRY_CA_CERT"]
    return env


def secrets(d):
    """The part of the environment that only commands with credentials get."""
    return {name: d.getVar(name) for name in SECRETS if d.getVar(name)}


def run(d, *arguments, more=None):
    """Runs the program, with more variables when given, and returns its results. What it says goes to the log, its warnings are the build's,
    and its failure is the task's."""
    said = []
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as results:
        with subprocess.Popen([program.found(d), *arguments], env={**environment(d), **(more or {})}, stdin=subprocess.DEVNULL,
                              stdout=results, stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace") as process:
            for line in process.stderr:
                line = line.rstrip()
                if line.startswith(WARNING):
                    bb.warn(line[len(WARNING):])
                else:
                    bb.note(line)
                    said.append(line)
        if process.returncode != 0:
            bb.fatal(f"wharf {arguments[0]} failed with code {process.returncode}:\n" + "\n".join(said))
        results.seek(0)
        return results.read()


def write_script(d):
    """Writes container-registry.sh into the storage folder, and puts the program beside it."""
    program.install(d, os.path.join(d.getVar("CONTAINER_REGISTRY_STORAGE"), "bin"))
    bb.plain("Wrote " + run(d, "script").strip())
