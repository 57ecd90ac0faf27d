# SPDX-License-Identifier: Apache-2.0
"""Kernels whose first instructions write one character to the serial port: what an exec-to-first-instruction clock stops at.

An ELF file with a PVH note (XEN_ELFNOTE_PHYS32_ENTRY), which StratoVirt, QEMU's microvm, Cloud Hypervisor and Firecracker load, as large
as asked. For those that take none, the same as a raw image, entered in 64 bits at its first byte, or behind a bzImage's set-up code,
entered in 16 bits.
"""

import os
import struct

MARK = b"M"
BASE = 0x100000
# mov $0x3f8, %dx; mov $'M', %al; out %al, %dx; hlt; jmp back to hlt: 32-bit code with interrupts off
# and, the same bytes, 64-bit code.
CODE = bytes.fromhex("66baf803" "b0") + MARK + bytes.fromhex("ee" "f4" "ebfd")
CODE16 = CODE[1:]
# mov $BASE, %esi; mov $pages, %ecx; 1: mov (%rsi), %al; add $4096, %esi; loop 1b: the same bytes in 32 and 64 bits, too.
READ = "be" + struct.pack("<I", BASE).hex() + "b9{pages}8a0681c600100000e2f6"
TEXT_AT = 4096
NOTE = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", BASE)


def write_kernel(path, size, read=False):
    """A kernel of @size bytes, none of which are zeros that a loader could skip. With @read it reads each of its pages first."""
    header, program = 64, 56
    note_at = header + 2 * program
    text_at = TEXT_AT
    code = (bytes.fromhex(READ.format(pages=struct.pack("<I", (size - text_at) // 4096).hex())) if read else b"") + CODE
    text = code.ljust(64, b"\xcc") + bytes(range(1, 256)) * ((size - text_at - 64) // 255)
    with open(path, "wb") as f:
        f.write(struct.pack("<4s5B7xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 0, 2, 62, 1, BASE, header, 0, 0, header, program, 2,
                            0, 0, 0))
        f.write(struct.pack("<IIQQQQQQ", 1, 5, text_at, BASE, BASE, len(text), len(text), 4096))  # PT_LOAD
        f.write(struct.pack("<IIQQQQQQ", 4, 4, note_at, 0, 0, len(NOTE), len(NOTE), 4))  # PT_NOTE
        f.write(NOTE)
        f.write(bytes(text_at - f.tell()))
        f.write(text)
        f.flush()
        os.fsync(f.fileno())  # what is not on its disk yet would count as dirty in the memory of VMs
    return path


def write_bzimage(f, text):
    """Linux/x86 boot protocol 2.06: a boot sector with its header, one sector of set-up code, what it would go on to."""
    sectors = bytearray(2 * 512)
    sectors[0x1f1] = 1  # setup_sects
    sectors[0x1fe:0x202] = b"\x55\xaa\xeb\x66"  # boot_flag; a jump to 0x268, behind the header
    sectors[0x202:0x208] = b"HdrS" + struct.pack("<H", 0x206)
    sectors[0x211] = 1  # loadflags: LOADED_HIGH
    struct.pack_into("<I", sectors, 0x214, BASE)  # code32_start
    struct.pack_into("<I", sectors, 0x22c, 0x7fffffff)  # initrd_addr_max
    struct.pack_into("<I", sectors, 0x238, 255)  # cmdline_size
    sectors[0x268:0x268 + len(CODE16)] = CODE16
    f.write(sectors)
    f.write(text)


def variant(kernel, kind):
    """What @kernel, of write_kernel(), is for a program that takes a "raw" image or a "bzimage"; made once, beside it."""
    path = f"{kernel}.{kind}"
    if not os.path.exists(path):
        with open(kernel, "rb") as f:
            f.seek(TEXT_AT)
            text = f.read()
        with open(path, "wb") as f:
            if kind == "bzimage":
                write_bzimage(f, text)
            else:
                f.write(text)
    return path
