# SPDX-License-Identifier: Apache-2.0
"""fw_cfg, every register: items, the directory, DMA, and what no driver should do."""

import os
import struct

import pytest

import layout
from fw_cfg import DESCRIPTOR, READ, SELECT, SKIP, WRITE, FwCfg
from guest import MEMORY

GIB4 = 1 << 32
X86 = layout.ARCH == "x86_64"
MACHINE = "microvm" if X86 else "virt"


@pytest.fixture
def fw(start):
    return FwCfg(start("-fw_cfg", "name=opt/one,string=abcdef", "-smp", "2,maxcpus=2", machine=MACHINE))


@pytest.mark.arch("x86_64")
def test_fw_cfg_is_there_when_asked_for(vm):
    assert vm.inp(0x511) == 0xff  # microvm has none by itself


def test_fw_cfg_items(fw):
    assert fw.read(0, 4) == b"QEMU" and fw.read(1, 4) == b"\3\0\0\0"
    assert struct.unpack("<Q", fw.read(3, 8))[0] == MEMORY
    assert fw.read(5, 2) == b"\2\0" and fw.read(0xf, 2) == b"\2\0"
    assert fw.file("opt/one") == b"abcdef"
    names = list(fw.files())
    assert names == sorted(names) and "opt/one" in names
    if X86:
        assert {"etc/e820", "etc/boot-fail-wait", "etc/system-states"} < set(names)
    assert [key for key, _ in fw.files().values()] == list(range(0x20, 0x20 + len(names)))


@pytest.mark.arch("x86_64")
def test_fw_cfg_memory_map(fw):
    entries = [struct.unpack_from("<QQI", fw.file("etc/e820"), 20 * i)
               for i in range(fw.files()["etc/e820"][1] // 20)]
    assert (0, MEMORY, 1) in entries and (0xfef0c000, 0x4000, 2) in entries


def test_fw_cfg_registers(fw):
    vm = fw.vm
    assert fw.registers.dma_read(0, 4) == int.from_bytes(b"QEMU", "little")
    assert fw.registers.dma_read(4, 4) == int.from_bytes(b" CFG", "little")
    assert bytes(fw.registers.dma_read(i, 1) for i in range(8)) == b"QEMU CFG"
    key = fw.files()["opt/one"][0]
    assert fw.read(key, 8) == b"abcdef\0\0"
    fw.select(key | 0x4000)  # "for writing": without meaning today
    assert fw.bytes(3) == b"abc"
    fw.registers.set_data(0x5a)
    assert fw.bytes(1) == b"d"
    vm.qmp("system_reset")
    assert fw.bytes(4) == b"QEMU"


@pytest.mark.arch("x86_64")
def test_fw_cfg_widths_of_ports(fw):
    vm = fw.vm
    fw.select(fw.files()["opt/one"][0])
    assert vm.inp(0x510) == ord("a") and vm.inp(0x510, 2) == int.from_bytes(b"bc", "little")
    vm.out(0x510, 0x5a)
    assert fw.bytes(1) == b"d"
    assert vm.inp(0x50f, 2) & 0xff == 0xff and vm.inp(0x512, 2) == 0xffff and vm.inp(0x51c) == 0xff


@pytest.mark.arch("aarch64")
def test_fw_cfg_widths_in_memory(fw):
    vm, key = fw.vm, fw.files()["opt/one"][0]
    for width in 1, 2, 4, 8:  # the bytes in the order of the item, whatever the width
        fw.select(key)
        assert vm.read(width, layout.FW_CFG) == int.from_bytes(b"abcdef\0\0"[:width], "little")
    for width in 1, 2, 4, 8:
        for at in range(layout.FW_CFG - 8, layout.FW_CFG + 32):
            vm.read(width, at)
    assert fw.read(key, 6) == b"abcdef"


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
        fw.select(selector)
        assert fw.dma(SKIP, 0xffffffff, 0) == 0 and fw.bytes(1) == b"\0"
        assert fw.dma(selector << 16 | SELECT | READ, 0xffffffff, 0x3000) == 1
        assert fw.dma(selector << 16 | SELECT | WRITE, 6, 0x3000) == 1
    for addr in (MEMORY - 1, MEMORY, *layout.ELSEWHERE[:-1], GIB4 - 1, (1 << 64) - 1):
        assert fw.dma(key << 16 | SELECT | READ, 6, addr) == 1
    assert vm.ram[MEMORY - 1] == 0
    for descriptor in (MEMORY - 15, MEMORY, layout.MMIO_BASE, (1 << 64) - 8):  # without a descriptor nothing happens
        fw.start_dma(layout.gpa(descriptor))
    # Onto itself: the answer is written last.
    assert fw.dma(key << 16 | SELECT | READ, 6, DESCRIPTOR) == 0
    assert bytes(vm.ram[DESCRIPTOR + 4:DESCRIPTOR + 6]) == b"ef"


def test_fw_cfg_takes_files(start, tmp_path):
    (tmp_path / "blob").write_bytes(os.urandom(70000))
    fw = FwCfg(start("-fw_cfg", f"opt/blob,file={tmp_path}/blob", machine=MACHINE))
    assert fw.file("opt/blob") == (tmp_path / "blob").read_bytes()
