# SPDX-License-Identifier: MIT
"""The container engine of the target."""

DOCKER = ("docker", "docker-moby", "default")
OCI_TOOLS = ("podman", "containerd", "cri-o", "k3s")


def of(d):
    """What the distribution says it is: VIRTUAL-RUNTIME_container_engine, else CONTAINER_PROFILE; empty when neither is set."""
    return (d.getVar("VIRTUAL-RUNTIME_container_engine") or d.getVar("CONTAINER_PROFILE") or "").strip()


def config_package(d):
    """The package that tells this engine of the registry; None for an engine that is unknown or unset."""
    engine = of(d)
    if engine in DOCKER:
        return "docker-registry-config"
    if engine in OCI_TOOLS:
        return "container-oci-registry-config"
    return None
