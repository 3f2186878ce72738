# SPDX-License-Identifier: MIT
"""Images: the command that packs a root file system."""
