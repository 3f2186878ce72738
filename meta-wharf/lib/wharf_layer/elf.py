# SPDX-License-Identifier: MIT
"""Programs in the Executable and Linkable Format (System V ABI, "Program Header"): which loader starts them."""

import os
import struct

INTERPRETER = 3
LOADERS = {62: b"/lib64/ld-linux-x86-64.so.2", 183: b"/lib/ld-linux-aarch64.so.1", 243: b"/lib/ld-linux-riscv64-lp64d.so.1",
           22: b"/lib/ld64.so.1", 21: b"/lib64/ld64.so.2"}


def with_own_loader(content, folder):
    """The program with the machine's own loader, where the one that it names lies in `folder`, which may go away. Other programs, and
    those that need none, stay as they are."""
    place = interpreter(content)
    if not place:
        return content
    start, length = place
    loader = content[start:start + length].rstrip(b"\0")
    if not loader.startswith(os.fsencode(folder).rstrip(b"/") + b"/"):
        return content
    order = "<" if content[5] == 1 else ">"
    (machine,) = struct.unpack_from(order + "H", content, 18)
    own = LOADERS.get(machine)
    if own is None or len(own) >= length:
        raise ValueError(f"no other loader is known for machine {machine} than {os.fsdecode(loader)}")
    return content[:start] + own.ljust(length, b"\0") + content[start + length:]


def interpreter(content):
    """Where the name of the loader is, as offset and length; None for a file without one."""
    if len(content) < 64 or content[:4] != b"\x7fELF" or content[4] != 2:
        return None
    order = "<" if content[5] == 1 else ">"
    (headers,) = struct.unpack_from(order + "Q", content, 32)
    size, count = struct.unpack_from(order + "HH", content, 54)
    for header in range(headers, headers + size * count, size):
        (kind,) = struct.unpack_from(order + "I", content, header)
        if kind == INTERPRETER:
            (offset,) = struct.unpack_from(order + "Q", content, header + 8)
            (length,) = struct.unpack_from(order + "Q", content, header + 32)
            return offset, length
    return None
