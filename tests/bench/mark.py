# SPDX-License-Identifier: Apache-2.0
"""Kernels whose first instructions write one character to the serial port: what an exec-to-first-instruction clock stops at.

An ELF file with a PVH note (XEN_ELFNOTE_PHYS32_ENTRY), which both StratoVirt's and QEMU's microvm load, as large as asked.
"""

import struct

MARK = b"M"
BASE = 0x100000
# mov $0x3f8, %dx; mov $'M', %al; out %al, %dx; hlt; jmp back to hlt: 32-bit code with interrupts off
CODE = bytes.fromhex("66baf803" "b0") + MARK + bytes.fromhex("ee" "f4" "ebfd")
NOTE = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", BASE)


def write_kernel(path, size):
    """A kernel of @size bytes, none of which are zeros that a loader could skip."""
    header, program = 64, 56
    note_at = header + 2 * program
    text_at = 4096
    text = CODE.ljust(64, b"\xcc") + bytes(range(1, 256)) * ((size - text_at - 64) // 255)
    with open(path, "wb") as f:
        f.write(struct.pack("<4s5B7xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 0, 2, 62, 1, BASE, header, 0, 0, header, program, 2,
                            0, 0, 0))
        f.write(struct.pack("<IIQQQQQQ", 1, 5, text_at, BASE, BASE, len(text), len(text), 4096))  # PT_LOAD
        f.write(struct.pack("<IIQQQQQQ", 4, 4, note_at, 0, 0, len(NOTE), len(NOTE), 4))  # PT_NOTE
        f.write(NOTE)
        f.write(bytes(text_at - f.tell()))
        f.write(text)
    return path
