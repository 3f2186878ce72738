# SPDX-License-Identifier: MIT
"""What the classes and recipes of this layer work out. BitBake notes which variables these functions read."""

BBIMPORTS = [
    "address", "ca", "daemon_json", "elf", "engine", "feature", "image", "layers", "program", "push", "registry",
    "source", "targets"
]
