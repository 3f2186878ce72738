# SPDX-License-Identifier: MIT
"""The registry's settings, and the program run with them."""

import os
import subprocess

import bb

from . import program

# What the program reads. A password is not among them: it would get into signatures and logs.
SETTINGS = (
    "CONTAINER_REGISTRY_URL CONTAINER_REGISTRY_NAMESPACE CONTAINER_REGISTRY_INSECURE CONTAINER_REGISTRY_TLS_VERIFY "
    "CONTAINER_REGISTRY_SECURE CONTAINER_REGISTRY_AUTH CONTAINER_REGISTRY_TAG_STRATEGY CONTAINER_REGISTRY_STORAGE "
    "CONTAINER_REGISTRY_AUTH_MODE CONTAINER_REGISTRY_AUTHFILE CONTAINER_REGISTRY_CREDSFILE CONTAINER_REGISTRY_USERNAME "
    "CONTAINER_REGISTRY_CERT_DAYS CONTAINER_REGISTRY_CA_DAYS CONTAINER_REGISTRY_CERT_SAN CONTAINER_REGISTRY_CA_CERT "
    "CONTAINER_REGISTRY_IMAGES CONTAINER_REGISTRY_SEARCH_FIRST DOCKER_REGISTRY_INSECURE IMAGE_VERSION TARGET_ARCH"
).split()


def is_on(d, name):
    """Whether a switch is on."""
    return bb.utils.to_boolean(d.getVar(name), False)


def check(d):
    """Settings that exclude or imply one another."""
    if is_on(d, "CONTAINER_REGISTRY_SECURE") and is_on(d, "CONTAINER_REGISTRY_INSECURE"):
        bb.fatal("CONTAINER_REGISTRY_SECURE and CONTAINER_REGISTRY_INSECURE exclude each other: set one of them to \"0\".")
    if is_on(d, "CONTAINER_REGISTRY_AUTH") and not is_on(d, "CONTAINER_REGISTRY_SECURE"):
        bb.warn("CONTAINER_REGISTRY_AUTH without CONTAINER_REGISTRY_SECURE would send passwords in the clear: secure mode is on. "
                "Set CONTAINER_REGISTRY_SECURE = \"1\" to say so.")


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
    env["DEPLOY_DIR_IMAGES"] = os.path.dirname(d.getVar("DEPLOY_DIR_IMAGE").rstrip("/"))
    return env


def run(d, *arguments):
    """Runs the program, and returns what it says; its failure is the task's."""
    command = [program.found(d), *arguments]
    result = subprocess.run(command, env=environment(d), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    if result.returncode != 0:
        bb.fatal(f"wharf {arguments[0]} failed with code {result.returncode}: {result.stdout.strip()}")
    return result.stdout


def write_script(d):
    """Writes container-registry.sh into the storage folder, and puts the program beside it."""
    program.install(d, os.path.join(d.getVar("CONTAINER_REGISTRY_STORAGE"), "bin"))
    bb.plain("Wrote " + run(d, "script").strip())


def push(d):
    """Pushes what the build has made, or what CONTAINER_REGISTRY_IMAGES names."""
    bb.plain(run(d, "push", *(d.getVar("CONTAINER_REGISTRY_IMAGES") or "").split()).strip())
