# SPDX-License-Identifier: Apache-2.0
"""The VM generation ID: where the tables say that it lies, what changes it, and who is told."""

import struct
import subprocess
import uuid

import pytest

import guest
import layout
from test_firmware import FwCfg
from test_q35 import GPE0_EN, GPE0_STS, SCI, enable_pm, linked

GED_EVENTS, GED_GSI = layout.GED, layout.GED_GSI
GIVEN = "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87"
Q35_PAGE, Q35_GPE = 0xfef00000, 1 << 5


def place(vm):
    """The address in the package ADDR of the DSDT's device VGEN."""
    return place_in(bytes(vm.ram[0xe0000:0x100000]))


def place_in(tables):
    device = tables[tables.index(b"VGEN"):]
    assert b"VM_Gen_Counter" in device
    package = device[device.index(b"ADDR") + 4:]
    assert package[0] == 0x12 and package[2] == 2 and package[3] == 0x0c and package[8] in (0, 0x0c)  # Package, 2, DWord
    return struct.unpack_from("<I", package, 4)[0]


def shown(vm):
    return vm.qmp("qom-get", path="/machine/peripheral/vmgenid0", property="generation")


def set_to(vm, value):
    vm.qmp("qom-set", path="/machine/peripheral/vmgenid0", property="generation", value=value)


def in_memory(vm):
    return str(uuid.UUID(bytes_le=bytes(vm.ram[place(vm):place(vm) + 16])))


def test_it_is_where_the_tables_say(start):
    vm = start("-device", f"vmgenid,id=vmgenid0,guid={GIVEN}")
    assert in_memory(vm) == shown(vm) == GIVEN
    assert place(vm) % 8 == 0


def test_auto_is_another_one_each_time(start):
    seen = {in_memory(start("-device", "vmgenid,id=vmgenid0,guid=auto")) for _ in range(3)}
    assert len(seen) == 3 and all(uuid.UUID(text).version == 4 for text in seen)


def test_a_change_tells_the_guest(start):
    vm = start("-device", f"vmgenid,id=vmgenid0,guid={GIVEN}")
    assert vm.read(4, GED_EVENTS) == 0
    set_to(vm, "auto")
    assert in_memory(vm) == shown(vm) != GIVEN
    assert vm.pending(GED_GSI)
    assert vm.read(4, GED_EVENTS) == 2 and vm.read(4, GED_EVENTS) == 0
    set_to(vm, GIVEN.upper())
    assert in_memory(vm) == GIVEN
    assert vm.read(4, GED_EVENTS) == 2


def test_pause_and_reset_keep_it(start):
    vm = start("-device", f"vmgenid,id=vmgenid0,guid={GIVEN}")
    vm.qmp("stop")
    vm.qmp("cont")
    assert in_memory(vm) == GIVEN
    vm.ram[place(vm):place(vm) + 16] = bytes(16)  # the guest's own doing
    vm.qmp("system_reset")
    vm.until(lambda: in_memory(vm) == GIVEN, "the tables of the next start")
    assert vm.read(4, GED_EVENTS) == 0


def test_what_is_wrong_is_refused(start):
    vm = start("-device", "vmgenid,id=vmgenid0")
    for value in ("x", "", 5, GIVEN[:-1], GIVEN + "0"):
        with pytest.raises(AssertionError):
            set_to(vm, value)
    assert in_memory(vm) == shown(vm)


def on_page(vm):
    words = vm.read(8, Q35_PAGE), vm.read(8, Q35_PAGE + 8)
    return str(uuid.UUID(bytes_le=struct.pack("<2Q", *words)))


def test_a_page_of_its_own_on_q35(start):
    vm = start("-device", f"vmgenid,id=vmgenid0,guid={GIVEN}", machine="q35")
    enable_pm(vm)
    vm.out(0xb2, 2)
    vm.out(GPE0_EN, Q35_GPE)
    assert on_page(vm) == shown(vm) == vm.qmp("query-vm-generation-id")["guid"] == GIVEN
    assert not vm.pending(SCI)
    set_to(vm, "auto")
    changed = on_page(vm)
    assert changed == shown(vm) == vm.qmp("query-vm-generation-id")["guid"] != GIVEN
    assert vm.pending(SCI) and vm.inp(GPE0_STS) == Q35_GPE
    vm.out(GPE0_STS, Q35_GPE)
    assert not vm.pending(SCI)
    # The guest can only read; and a reset, and its end, change nothing.
    for width in (1, 4, 8):
        vm.write(width, Q35_PAGE, 0)
        vm.write(width, Q35_PAGE + 0xff8, 0xff)
    vm.qmp("stop")
    vm.qmp("cont")
    vm.qmp("system_reset")
    vm.event("RESET")
    assert on_page(vm) == changed and vm.read(8, Q35_PAGE + 0xff8) == 0


def test_firmware_gets_it_in_its_tables(start, tmp_path):
    (tmp_path / "rom").write_bytes(b"\xf4" * 65536)
    vm = start("-bios", str(tmp_path / "rom"), "-device", "vmgenid,id=vmgenid0", machine="q35")
    dsdt = linked(FwCfg(vm))["DSDT"]
    assert place_in(dsdt) == Q35_PAGE and b"_E05" in dsdt
    assert on_page(vm) == shown(vm)


def test_without_one_nothing_tells_of_one(start, tmp_path):
    (tmp_path / "rom").write_bytes(b"\xf4" * 65536)
    vm = start("-bios", str(tmp_path / "rom"), machine="q35")
    assert b"VGEN" not in linked(FwCfg(vm))["DSDT"] and vm.read(8, Q35_PAGE) == (1 << 64) - 1
    assert "not found" in vm.qmp_raw("query-vm-generation-id")["error"]["desc"]


@pytest.mark.parametrize("options, text", [
    (("-device", "vmgenid,guid=nonsense"), "guid=nonsense is neither a UUID nor 'auto'"),
    (("-device", "vmgenid", "-device", "vmgenid"), "there is one already"),
    (("-machine", "q35,acpi=off", "-device", "vmgenid"), "no place for it on this machine"),
    (("-machine", "microvm,acpi=off", "-device", "vmgenid"), "no place for it on this machine"),
])
def test_refused_at_start(options, text, tmp_path):
    machine = () if "-machine" in options else ("-machine", "microvm")
    done = subprocess.run([guest.STRATOVIRT, *machine, "-accel", "test", *options, "-qtest", f"unix:{tmp_path / 'q'},server"],
                          capture_output=True, text=True, timeout=guest.LIMIT)
    assert done.returncode == 1 and text in done.stderr
