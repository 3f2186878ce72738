# SPDX-License-Identifier: MIT
"""The container engine of the target."""

DOCKER = ("docker", "docker-moby", "default")
OCI_TOOLS = ("podman", "containerd", "virtual-containerd", "cri-o", "k3s", "k3s-host", "k3s-node")


def of(d):
    """What the distribution says it is: VIRTUAL-RUNTIME_container_engine, else CONTAINER_PROFILE; empty when neither is set."""
    return (d.getVar("VIRTUAL-RUNTIME_container_engine") or d.getVar("CONTAINER_PROFILE") or "").strip()


def config_package(d):
    """The package that tells this engine of the registry; None for an engine that is unknown or unset. For Docker it is the one that the
    image merges: others may bring a daemon.json, too. Beside meta-virtualization, whose recipes have the plain names, it is ours."""
    beside = "virtualization-layer" in (d.getVar("BBFILE_COLLECTIONS") or "").split()
    engine = of(d)
    if engine in DOCKER:
        return "wharf-docker-registry-config-fragment" if beside else "docker-registry-config-fragment"
    if engine in OCI_TOOLS:
        return "wharf-oci-registry-config" if beside else "container-oci-registry-config"
    return None
