# SPDX-License-Identifier: Apache-2.0
"""Flash below 4 GiB, every register and command, and the files that firmware finds (test_fw_cfg.py has the rest)."""

import struct
import subprocess

import pytest

from fw_cfg import FwCfg
from guest import LIMIT, MIB, STRATOVIRT, VM

GIB4 = 1 << 32

# --- flash ---

CODE, VARS = 128 << 10, 64 << 10
BASE = GIB4 - CODE - VARS  # bank 1, the variables
SECTOR = 4096


@pytest.fixture
def images(tmp_path):
    (tmp_path / "code").write_bytes(bytes(range(256)) * (CODE // 256))
    (tmp_path / "vars").write_bytes(b"\xff" * VARS)
    return tmp_path


def banks(images):
    return ("-drive", f"if=pflash,unit=0,readonly=on,format=raw,file={images}/code",
            "-drive", f"if=pflash,unit=1,format=raw,file={images}/vars")


@pytest.fixture
def flash(start, images):
    return start(*banks(images))


def command(vm, at, *values):
    for value in values:
        vm.write(1, at, value)


def test_flash_shows_its_array(flash):
    assert flash.read(8, GIB4 - CODE) == 0x0706050403020100
    assert flash.read(1, GIB4 - 1) == 0xff and flash.read(4, GIB4 - 16) == 0xf3f2f1f0
    assert flash.read(8, BASE) == (1 << 64) - 1
    assert flash.read(8, GIB4 - CODE - 4) == 0x03020100ffffffff  # from one bank into the next
    assert flash.ram[0xffff0] == 0xf0 and flash.ram[0xe0000] == 0  # the end of the first MiB
    flash.write(1, BASE, 0xff)
    assert FwCfg(flash).files()["etc/acpi/rsdp"] and FwCfg(flash).files()["etc/table-loader"]


def test_flash_status_and_identification(flash):
    command(flash, BASE, 0x70)
    assert flash.read(1, BASE) == 0x80
    command(flash, BASE, 0x50)  # cleared, and back to the array
    assert flash.read(1, BASE) == 0xff
    command(flash, BASE, 0x70)
    assert flash.read(1, BASE) == 0x00  # what OVMF knows flash by
    command(flash, BASE, 0x90)
    assert flash.read(1, BASE) == 0x89 and flash.read(1, BASE + 1) == 0x18
    assert flash.read(1, BASE + 3 * SECTOR + 2) == 0  # not locked
    command(flash, GIB4 - CODE, 0x90)
    assert flash.read(1, GIB4 - CODE + 2) == 1  # a read-only drive
    command(flash, BASE, 0xff)
    assert flash.read(1, BASE) == 0xff


def test_flash_query(flash):
    command(flash, BASE, 0x98)
    cfi = bytes(flash.read(1, BASE + i) for i in range(0x60))
    assert cfi[0x10:0x15] == b"QRY\1\0" and cfi[0x31:0x36] == b"PRI10"
    assert 1 << cfi[0x27] == VARS and 1 << cfi[0x2a] == 256
    assert cfi[0x2c] == 1
    blocks, size = struct.unpack_from("<HH", cfi, 0x2d)
    assert (blocks + 1) * size * 256 == VARS and size * 256 == SECTOR


def test_flash_programs_words(flash, images):
    for i, byte in enumerate(b"hello"):
        command(flash, BASE + 0x100 + i, 0x40 if i % 2 else 0x10, byte)
    assert flash.read(1, BASE) == 0x80
    assert (images / "vars").read_bytes()[0x100:0x105] == b"hello"  # the status says that it is done
    command(flash, BASE, 0x10)
    flash.write(4, BASE + 0x200, 0x44332211)
    command(flash, BASE, 0xff)
    assert flash.read(4, BASE + 0x200) == 0x44332211
    assert (images / "vars").read_bytes()[0x200:0x204] == b"\x11\x22\x33\x44"


def test_flash_erases_blocks(flash, images):
    command(flash, BASE + SECTOR - 1, 0x10, 0)
    command(flash, BASE + SECTOR, 0x10, 0)
    command(flash, BASE + SECTOR + 77, 0x20, 0xd0)
    assert flash.read(1, BASE) == 0x80
    data = (images / "vars").read_bytes()
    assert data[SECTOR - 1] == 0 and data[SECTOR:] == b"\xff" * (VARS - SECTOR)
    command(flash, BASE, 0x20, 0x00)  # not confirmed
    assert flash.read(1, BASE) == 0xb0
    command(flash, BASE, 0x50)
    assert flash.read(1, BASE + SECTOR - 1) == 0


def test_flash_buffered_program(flash, images):
    command(flash, BASE + 0x1000, 0xe8)
    assert flash.read(1, BASE + 0x1000) == 0x80
    command(flash, BASE + 0x1000, 7)  # eight words
    for i, byte in enumerate(b"buffered"):
        command(flash, BASE + 0x10f8 + i, byte)
    command(flash, BASE + 0x1000, 0xd0)
    assert flash.read(1, BASE) == 0x80
    command(flash, BASE, 0xff)
    assert (images / "vars").read_bytes()[0x10f0:0x1104] == b"\xff" * 8 + b"buffered" + b"\xff" * 4
    command(flash, BASE + 0x1000, 0xe8, 1, 0x11)  # the second word is in the next buffer
    command(flash, BASE + 0x1100, 0x22)
    assert flash.read(1, BASE) & 0x30 == 0x30
    command(flash, BASE, 0x50)
    assert flash.read(1, BASE + 0x1000) == 0xff and flash.read(1, BASE + 0x1100) == 0xff


def test_flash_lock_commands(flash):
    for confirm in (0x01, 0xd0, 0x2f):
        command(flash, BASE, 0x60, confirm)
        assert flash.read(1, BASE) == 0x80
    command(flash, BASE, 0x10, 0x5a)  # locks come from the drive alone
    assert flash.read(1, BASE) == 0x80
    command(flash, BASE, 0x60, 0x77)
    assert flash.read(1, BASE) == 0xb0


def test_flash_read_only(flash, images):
    before = (images / "code").read_bytes()
    for sequence, status in (((0x10, 0), 0x92), ((0x20, 0xd0), 0xa2), ((0xe8, 0, 0, 0xd0), 0x92)):
        command(flash, GIB4 - CODE, 0x50)
        command(flash, GIB4 - CODE, *sequence)
        assert flash.read(1, GIB4 - CODE) == status
    command(flash, GIB4 - CODE, 0xff)
    assert flash.read(4, GIB4 - CODE) == 0x03020100 and (images / "code").read_bytes() == before


def test_flash_keeps_what_was_written(images):
    with VM(*banks(images)) as vm:
        command(vm, BASE, 0x40, 0x42)  # in the midst of things
        vm.qmp("system_reset")
        assert vm.read(1, BASE) == 0x42 and vm.read(1, BASE + 1) == 0xff
        command(vm, BASE + 1, 0x40, 0x43)
    with VM(*banks(images)) as vm:
        assert vm.read(2, BASE) == 0x4342


def test_flash_is_complete_when_stopped(flash, images):
    command(flash, BASE, 0x40, 0x42)
    flash.qmp("stop")
    assert (images / "vars").read_bytes()[0] == 0x42


def test_flash_keeps_its_size(flash, images):
    """The image is mapped: what is cut off would be gone under the guest, and under this process."""
    for size in (SECTOR, VARS * 2):
        assert flash.qmp_raw("block_resize", device="pflash1", size=size)["error"]["desc"] == (
            "drive 'pflash1' holds firmware or its variables, which keep their size")
    assert flash.read(1, BASE + VARS - 1) == 0xff and (images / "vars").stat().st_size == VARS


def test_flash_that_writes_through(images):
    *code, variables = banks(images)
    with VM(*code, variables + ",cache=writethrough") as vm:
        command(vm, BASE, 0x40, 0x42)
        assert vm.read(1, BASE) == 0x80
        assert (images / "vars").read_bytes()[0] == 0x42


def test_fifo_index_of_flash(flash, images):
    """Every command, at every point of every sequence: it always finds back to the array."""
    for first in range(256):
        for second in (0x00, 0x01, 0x10, 0xd0, 0xe8, 0xff, first):
            command(flash, BASE, first, second)
            flash.read(8, BASE + VARS - 8)
            command(flash, BASE + VARS - 1, 0xff, 0xd0)
            for _ in range(300 if first == 0xe8 and second == 0xff else 3):
                command(flash, BASE + VARS - 1, 0xff)
            command(flash, BASE, 0x50)
            command(flash, BASE, 0xff)
            assert flash.read(1, BASE + 0x5555) in (0xff, 0x00)
    command(flash, BASE + VARS - 1, 0x10)
    flash.write(8, BASE + VARS - 4, 0)  # beyond the bank, into the next one, which is read-only
    assert len((images / "vars").read_bytes()) == VARS
    assert flash.qmp("query-status")["running"]


def test_bios_is_rom(start, images):
    vm = start("-bios", f"{images}/code")
    before = vm.read(8, GIB4 - CODE)
    for value in (0x10, 0x00, 0x70, 0x90):
        vm.write(1, GIB4 - CODE, value)
    assert before == vm.read(8, GIB4 - CODE) == 0x0706050403020100
    assert FwCfg(vm).read(0, 4) == b"QEMU"


def refused(*options):
    """What a VMM says that does not start."""
    done = subprocess.run([STRATOVIRT, "-accel", "test", *options], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("code, variables, words", (
    (CODE + 512, VARS, "whole number of blocks"), (17 * MIB, VARS, "no room"), (8 * MIB, 9 * MIB, "no room")))
def test_flash_sizes(images, code, variables, words):
    for name, size in ("code", code), ("vars", variables):
        with open(images / name, "wb") as f:
            f.truncate(size)
    assert words in refused(*banks(images))


def test_firmware_and_a_kernel_that_it_cannot_start(images):
    """An ELF image boots without firmware only; EFI programs are what firmware starts."""
    header = struct.pack("<4sBBBB8xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 2, 62, 1, 1 << 24, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 4096, 1 << 24, 1 << 24, 4096, 4096, 4096)
    (images / "vmlinux").write_bytes((header + load).ljust(4096, b"\0") + b"\xf4" * 4096)
    words = f"-kernel {images}/vmlinux: firmware boots EFI programs"
    for machine in ("q35", "microvm"):
        assert words in refused("-machine", machine, "-kernel", f"{images}/vmlinux", *banks(images))
        assert words in refused("-machine", machine, "-kernel", f"{images}/vmlinux", "-bios", f"{images}/code")


def test_flash_options(images):
    code = f"if=pflash,unit=0,file={images}/code"
    assert "exclude each other" in refused("-drive", code, "-bios", f"{images}/code")
    assert "bank 0" in refused("-drive", f"if=pflash,unit=1,file={images}/vars")
    assert "unit 0 is drive 'pflash0' already" in refused("-drive", code + ",readonly=on", "-drive",
                                                          code + ",readonly=on,id=other")
    assert "unit=2 is out of range" in refused("-drive", f"if=pflash,unit=2,file={images}/vars")


def test_boot_order(start, tmp_path):
    """By bootindex, below ports and beside; a device without one is not in it."""
    options = ["-device", "pcie-root-port,id=port,bus=pcie.0,addr=1c.2,multifunction=on,chassis=1,slot=1"]
    for name, place in ("a", "addr=4,bootindex=7"), ("b", "bus=port,bootindex=2"), ("c", "addr=6"):
        (tmp_path / name).write_bytes(bytes(4096))
        options += ["-drive", f"id={name},file={tmp_path}/{name},format=raw,direct=off,readonly=on",
                    "-device", f"virtio-blk-pci,id=disk-{name},drive={name},{place}"]
    fw = FwCfg(start(*options, machine="q35"))
    assert fw.file("bootorder") == (b"/pci@i0cf8/pci-bridge@1c,2/scsi@0/disk@0,0\n"
                                    b"/pci@i0cf8/scsi@4/disk@0,0\0")
    assert "bootindex=7 is device 'disk-" in refused("-machine", "q35", *[o.replace("=2", "=7") for o in options])


def test_smbios_files(start, images):
    fw = FwCfg(start(*banks(images), "-smbios", "type=1,serial=S-1",
                     "-smbios", "type=11,value=first,value=with,,comma,value=third", machine="q35"))
    anchor = fw.file("etc/smbios/smbios-anchor")
    assert anchor[:5] == b"_SM3_" and sum(anchor) % 256 == 0
    tables = fw.file("etc/smbios/smbios-tables")
    assert struct.unpack_from("<I", anchor, 12)[0] == len(tables) and b"\0S-1\0" in tables
    assert b"\x03first\0with,comma\0third\0\0" in tables


def test_flash_of_block_nodes(start, images):
    """As libvirt names them."""
    options = []
    for bank, name, readonly in (0, "code", "true"), (1, "vars", "false"):
        node = f"libvirt-pflash{bank}"
        options += ["-blockdev", f'{{"driver":"file","filename":"{images}/{name}","node-name":"{node}-storage",'
                    '"auto-read-only":true,"discard":"unmap"}',
                    "-blockdev", f'{{"node-name":"{node}-format","read-only":{readonly},"driver":"raw",'
                    f'"file":"{node}-storage"}}']
    vm = start(*options, "-machine", "pflash0=libvirt-pflash0-format,pflash1=libvirt-pflash1-format")
    command(vm, BASE, 0x40, 0x42, 0xff)
    assert vm.read(1, BASE) == 0x42 and vm.read(1, GIB4 - 15) == 0xf1
