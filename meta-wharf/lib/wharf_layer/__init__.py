# SPDX-License-Identifier: MIT
"""What the classes and recipes of this layer work out. BitBake notes which variables these functions read."""

BBIMPORTS = ["elf", "engine", "image", "layers", "program", "registry", "source"]
