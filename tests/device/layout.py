# SPDX-License-Identifier: Apache-2.0
"""Where the machines of an architecture have things. ARCH in the environment says which one, as make takes it: the same tests
run with the VMM of another architecture under Debian's emulator of programs."""

import os
import platform

HOST = platform.machine()
ARCH = os.environ.get("ARCH") or HOST

MIB = 1 << 20
MEMORY = 128 * MIB

if ARCH == "aarch64":
    RAM = 0x40000000
    MMIO_BASE, MMIO_STEP, MMIO_GSI = 0xa000000, 0x200, tuple(range(32, 96))
    PCI_MACHINE = "virt"
    ECAM, MEM32, MEM64, PCI_GSI = 511 << 30, 0x10000000, 512 << 30, 16
    MESSAGE = 0x8090040  # the ITS' GITS_TRANSLATER
    # Nothing, registers of the machine, of interrupt controllers, and addresses that no RAM reaches.
    ELSEWHERE = (0x90000000, 0x9000000, 0x8000000, 0x80a0000, 0x40000000 + (64 << 30))
    SERIAL, RTC, FW_CFG, GED, GED_GSI = 0x9000000, 0x9010000, 0x9020000, 0x9080000, 6
else:
    RAM = 0
    MMIO_BASE, MMIO_STEP, MMIO_GSI = 0xf0100000, 0x200, (5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 22, 23, 8)
    PCI_MACHINE = "microvm,pcie=on"
    ECAM, MEM32, MEM64, PCI_GSI = 0xe0000000, 0xc0000000, 64 << 30, 20
    MESSAGE = 0xfee00000
    ELSEWHERE = (0xe0000000, 0xf0000000, 0xfec00000, 0xfee00000, 0x100000000)
    GED, GED_GSI = 0xf0000000, 16


def gpa(offset):
    """Where in the guest a byte of its RAM is, and the first one behind it. What is no place in RAM stays as it is."""
    return offset + RAM if 0 <= offset <= MEMORY else offset
