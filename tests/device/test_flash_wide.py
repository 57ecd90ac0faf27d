# SPDX-License-Identifier: Apache-2.0
"""Flash of aarch64's virt: two chips of 16 bits side by side, which hear each command twice and answer together. The commands
themselves are those of test_firmware.py."""

import struct

import pytest

from guest import MIB, VM

BASE = 64 * MIB  # bank 1, the variables
CODE = b"".join(struct.pack("<I", i) for i in range(1 << 16))
VARS = 1 * MIB
SECTOR = 256 << 10
STATUS_READY = 0x00800080


@pytest.fixture
def images(tmp_path):
    (tmp_path / "code").write_bytes(CODE)
    (tmp_path / "vars").write_bytes(b"\xff" * VARS)
    return tmp_path


def banks(images):
    return ("-drive", f"if=pflash,unit=0,readonly=on,format=raw,file={images}/code",
            "-drive", f"if=pflash,unit=1,format=raw,file={images}/vars")


@pytest.fixture
def flash(start, images):
    return start(*banks(images), machine="virt")


def command(vm, at, *values):
    for value in values:
        vm.write(4, at, value | value << 16)


def status(vm):
    command(vm, BASE, 0x70)
    return vm.read(4, BASE)


def test_both_chips_show_their_halves(flash):
    assert flash.read(8, 0) == 1 << 32 and flash.read(4, 4 * 0xffff) == 0xffff
    assert flash.read(4, len(CODE)) == 0, "behind the image"
    assert flash.read(8, BASE) == (1 << 64) - 1
    command(flash, BASE, 0x70)
    assert flash.read(4, BASE) == STATUS_READY and flash.read(2, BASE + 2) == 0x80 and flash.read(1, BASE + 1) == 0
    command(flash, BASE, 0x90)
    assert flash.read(4, BASE) == 0x00890089
    command(flash, BASE, 0x98)
    assert [flash.read(4, BASE + 4 * at) for at in (0x10, 0x11, 0x12)] == [0x510051, 0x520052, 0x590059]
    command(flash, BASE, 0xff)
    assert flash.read(4, BASE) == 0xffffffff


def test_words_blocks_and_buffers(flash, images):
    for i in range(4):
        command(flash, BASE + 4 * i, 0x40)
        flash.write(4, BASE + 4 * i, 0x01020304 + i)
    assert flash.read(4, BASE) == STATUS_READY
    assert (images / "vars").read_bytes()[:16] == struct.pack("<4I", *range(0x01020304, 0x01020308))
    command(flash, BASE + SECTOR, 0xe8)
    assert flash.read(4, BASE + SECTOR) == STATUS_READY
    command(flash, BASE + SECTOR, 15)
    for i in range(16):
        flash.write(4, BASE + SECTOR + 4 * i, i)
    command(flash, BASE + SECTOR, 0xd0)
    assert flash.read(4, BASE) == STATUS_READY
    assert (images / "vars").read_bytes()[SECTOR:SECTOR + 64] == struct.pack("<16I", *range(16))
    command(flash, BASE + 8, 0x20, 0xd0)
    assert flash.read(4, BASE) == STATUS_READY
    data = (images / "vars").read_bytes()
    assert data[:SECTOR] == b"\xff" * SECTOR and data[SECTOR:SECTOR + 8] == struct.pack("<2I", 0, 1)


def test_the_code_is_read_only(flash, images):
    for sequence in (0x40, 0), (0x20, 0xd0), (0xe8, 0, 0, 0xd0):
        command(flash, 0, 0x50)
        command(flash, 0, *sequence)
        assert flash.read(4, 0) & 0x00100010 or flash.read(4, 0) & 0x00200020
    command(flash, 0, 0xff)
    assert flash.read(8, 0) == 1 << 32 and (images / "code").read_bytes() == CODE


def test_variables_outlive_the_machine(images):
    with VM(*banks(images), machine="virt") as vm:
        command(vm, BASE, 0x40)
        vm.write(4, BASE, 0x11223344)
        vm.qmp("system_reset")
        assert vm.read(4, BASE) == 0x11223344, "a reset shows the array"
    with VM(*banks(images), machine="virt") as vm:
        assert vm.read(4, BASE) == 0x11223344


def test_fifo_index_of_wide_flash(flash, images):
    """Every command before every other: both always find back to the array."""
    for first in range(0, 256):
        for second in (0x00, 0x10, 0xd0, 0xe8, first):
            command(flash, BASE, first, second)
            flash.read(8, BASE + VARS - 8)
            for _ in range(300 if first == 0xe8 else 3):
                command(flash, BASE + VARS - 4, 0xff)
            command(flash, BASE, 0x50, 0xff)
            assert flash.read(4, BASE + 0x5554) in (0xffffffff, 0)
    assert flash.read(8, 0) == 1 << 32 and len((images / "vars").read_bytes()) == VARS
    assert flash.qmp("query-status")["running"]
