# SPDX-License-Identifier: Apache-2.0
"""What firmware stands on: fw_cfg (ports 0x510 to 0x51b) and flash below 4 GiB, every register and command."""

import os
import struct
import subprocess

import pytest

from guest import LIMIT, MEMORY, MIB, STRATOVIRT, VM

GIB4 = 1 << 32
READ, SKIP, SELECT, WRITE = 2, 4, 8, 16
DESCRIPTOR = 0x1000

# --- fw_cfg ---


class FwCfg:
    def __init__(self, vm):
        self.vm = vm

    def read(self, key, size):
        self.vm.out(0x510, key, 2)
        return bytes(self.vm.inp(0x511) for _ in range(size))

    def dma(self, control, size, addr, descriptor=DESCRIPTOR):
        """One transfer; its control word afterwards."""
        vm = self.vm
        vm.ram[descriptor:descriptor + 16] = struct.pack(">IIQ", control, size, addr)
        vm.out(0x514, int.from_bytes(struct.pack(">I", descriptor >> 32), "little"), 4)
        vm.out(0x518, int.from_bytes(struct.pack(">I", descriptor & 0xffffffff), "little"), 4)
        return struct.unpack_from(">I", vm.ram, descriptor)[0]

    def item(self, key, size):
        assert self.dma(key << 16 | SELECT | READ, size, 0x2000) == 0
        return bytes(self.vm.ram[0x2000:0x2000 + size])

    def files(self):
        count, = struct.unpack(">I", self.item(0x19, 4))
        data = self.item(0x19, 4 + 64 * count)[4:]
        entries = [struct.unpack_from(">IHH56s", data, 64 * i) for i in range(count)]
        return {name.rstrip(b"\0").decode(): (key, size) for size, key, _, name in entries}

    def file(self, name):
        return self.item(*self.files()[name])


@pytest.fixture
def fw(start):
    return FwCfg(start("-fw_cfg", "name=opt/one,string=abcdef", "-smp", "2,maxcpus=2"))


def test_fw_cfg_is_there_when_asked_for(vm):
    assert vm.inp(0x511) == 0xff  # microvm has none by itself


def test_fw_cfg_items(fw):
    assert fw.read(0, 4) == b"QEMU" and fw.read(1, 4) == b"\3\0\0\0"
    assert struct.unpack("<Q", fw.read(3, 8))[0] == MEMORY
    assert fw.read(5, 2) == b"\2\0" and fw.read(0xf, 2) == b"\2\0"
    assert fw.file("opt/one") == b"abcdef"
    names = list(fw.files())
    assert names == sorted(names) and {"etc/e820", "etc/boot-fail-wait", "etc/system-states"} < set(names)
    assert [key for key, _ in fw.files().values()] == list(range(0x20, 0x20 + len(names)))


def test_fw_cfg_memory_map(fw):
    entries = [struct.unpack_from("<QQI", fw.file("etc/e820"), 20 * i)
               for i in range(fw.files()["etc/e820"][1] // 20)]
    assert (0, MEMORY, 1) in entries and (0xfef0c000, 0x4000, 2) in entries


def test_fw_cfg_registers(fw):
    vm = fw.vm
    assert vm.inp(0x514, 4) == int.from_bytes(b"QEMU", "little")
    assert vm.inp(0x518, 4) == int.from_bytes(b" CFG", "little")
    assert bytes(vm.inp(0x514 + i) for i in range(8)) == b"QEMU CFG"
    key = fw.files()["opt/one"][0]
    assert fw.read(key, 8) == b"abcdef\0\0"
    vm.out(0x510, key | 0x4000, 2)  # "for writing": without meaning today
    assert vm.inp(0x510) == ord("a") and vm.inp(0x510, 2) == int.from_bytes(b"bc", "little")
    vm.out(0x511, 0x5a)
    vm.out(0x510, 0x5a)
    assert vm.inp(0x511) == ord("d")
    vm.qmp("system_reset")
    assert bytes(vm.inp(0x511) for _ in range(4)) == b"QEMU"
    assert vm.inp(0x50f, 2) & 0xff == 0xff and vm.inp(0x512, 2) == 0xffff and vm.inp(0x51c) == 0xff


def test_fw_cfg_dma(fw):
    key = fw.files()["opt/one"][0]
    assert fw.dma(key << 16 | SELECT | SKIP, 2, 0) == 0
    assert fw.dma(READ, 3, 0x3001) == 0 and bytes(fw.vm.ram[0x3000:0x3005]) == b"\0cde\0"
    assert fw.dma(WRITE, 1, 0x3000) == 1
    assert fw.dma(0, 1, 0x3000) == 0 and fw.dma(READ, 1, 0x3000) == 0 and fw.vm.ram[0x3000] == ord("f")


def test_fwcfg_entry(fw):
    """Selectors, lengths and addresses that no driver sends (CVE-2016-1714)."""
    vm = fw.vm
    key = fw.files()["opt/one"][0]
    for selector in list(range(0x80)) + [0x4000, 0x7fff, 0x8000, 0x8002, 0xc000, 0xfffe, 0xffff]:
        vm.out(0x510, selector, 2)
        assert fw.dma(SKIP, 0xffffffff, 0) == 0 and vm.inp(0x511) == 0
        assert fw.dma(selector << 16 | SELECT | READ, 0xffffffff, 0x3000) == 1
        assert fw.dma(selector << 16 | SELECT | WRITE, 6, 0x3000) == 1
    for addr in (MEMORY - 1, MEMORY, 0xf0000000, 0xfee00000, GIB4 - 1, (1 << 64) - 1):
        assert fw.dma(key << 16 | SELECT | READ, 6, addr) == 1
    assert vm.ram[MEMORY - 1] == 0
    for descriptor in (MEMORY - 15, MEMORY, 0xf0100000, (1 << 64) - 8):  # without a descriptor nothing happens
        for port, half in (0x514, descriptor >> 32), (0x518, descriptor & 0xffffffff):
            vm.out(port, int.from_bytes(half.to_bytes(4, "big"), "little"), 4)
    # Onto itself: the answer is written last.
    assert fw.dma(key << 16 | SELECT | READ, 6, DESCRIPTOR) == 0
    assert bytes(vm.ram[DESCRIPTOR + 4:DESCRIPTOR + 6]) == b"ef"


def test_fw_cfg_takes_files(start, tmp_path):
    (tmp_path / "blob").write_bytes(os.urandom(70000))
    fw = FwCfg(start("-fw_cfg", f"opt/blob,file={tmp_path}/blob"))
    assert fw.file("opt/blob") == (tmp_path / "blob").read_bytes()


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
