# SPDX-License-Identifier: Apache-2.0
"""The small devices of microvm, every register: RTC, i8042, GED, boot timer, pvpanic, debug exit."""

import pytest

# --- RTC (MC146818), ports 0x70 and 0x71. The stepped clock starts at 2020-09-13 12:26:40 UTC, a Sunday. ---


def cmos(vm, register):
    vm.out(0x70, register)
    return vm.inp(0x71)


def set_cmos(vm, register, value):
    vm.out(0x70, register)
    vm.out(0x71, value)


TIME = (0x32, 9, 8, 7, 6, 4, 2, 0)


def time(vm):
    return [cmos(vm, register) for register in TIME]


def test_rtc_reset_values(vm):
    assert time(vm) == [0x20, 0x20, 0x09, 0x13, 0x01, 0x12, 0x26, 0x40]
    assert [cmos(vm, register) for register in (0xa, 0xb, 0xc, 0xd)] == [0x26, 0x02, 0x00, 0x80]
    assert cmos(vm, 0x15) | cmos(vm, 0x16) << 8 == 640
    assert cmos(vm, 0x34) | cmos(vm, 0x35) << 8 == (128 - 16) * 16
    assert [cmos(vm, register) for register in (0x5b, 0x5c, 0x5d)] == [0, 0, 0]


def test_rtc_index_is_masked_and_not_readable(vm):
    set_cmos(vm, 0x40, 0x5a)
    assert cmos(vm, 0xc0) == 0x5a  # bit 7 masks NMIs
    assert vm.inp(0x70) == 0xff


def test_rtc_masks_of_every_register(vm):
    set_cmos(vm, 0xb, 0x82)  # the clock stands
    fixed = {0xa: 0x7f, 0xb: 0xef}  # update in progress; UIE falls when SET is set
    for register in range(128):
        if register in (0xc, 0xd):
            continue
        for value in (0x00, 0x55, 0xaa, 0xff):
            if register == 0xb:
                value |= 0x80
            set_cmos(vm, register, value)
            assert cmos(vm, register) == value & fixed.get(register, 0xff), f"register {register:#x}"
    for value in range(256):
        set_cmos(vm, 0xc, value)
        set_cmos(vm, 0xd, value)
        assert cmos(vm, 0xc) == 0 and cmos(vm, 0xd) == 0x80


def test_rtc_widths_and_straddles(vm):
    vm.out(0x70, 0xd)
    assert vm.inp(0x70, 2) == 0x80ff
    assert vm.inp(0x6f, 2) == 0xffff
    assert vm.inp(0x71, 2) == 0xff80
    assert vm.inp(0x6e, 4) == 0x80ffffff
    assert vm.inp(0x70, 4) == 0xffff80ff
    vm.out(0x70, 0x7740, 2)  # index and data at once
    assert cmos(vm, 0x40) == 0x77


def test_rtc_runs_with_the_clock(vm):
    vm.step(20 * 10**9)
    assert time(vm)[-2:] == [0x27, 0x00]
    vm.step(86400 * 10**9)
    assert time(vm)[3:5] == [0x14, 0x02]
    set_cmos(vm, 0xb, 0x06)  # binary
    assert time(vm) == [20, 20, 9, 14, 2, 12, 27, 0]
    set_cmos(vm, 0xb, 0x00)  # twelve hours
    assert time(vm)[5] == 0x92


@pytest.mark.parametrize("base, shown", [
    ("2030-12-31T23:59:58", [0x20, 0x30, 0x12, 0x31, 0x03, 0x23, 0x59, 0x58]),
    ("1999-02-03", [0x19, 0x99, 0x02, 0x03, 0x04, 0x00, 0x00, 0x00]),
])
def test_rtc_shows_another_time(start, base, shown):
    vm = start("-rtc", f"base={base}")
    assert time(vm) == shown
    vm.step(10**9)
    assert time(vm)[-1] == shown[-1] + 1


def test_rtc_is_set(vm):
    set_cmos(vm, 0xb, 0x82)
    for register, value in zip(TIME, (0x19, 0x99, 0x12, 0x31, 0x06, 0x23, 0x59, 0x59)):
        set_cmos(vm, register, value)
    vm.step(5 * 10**9)
    assert time(vm)[-1] == 0x59  # it stands
    set_cmos(vm, 0xb, 0x02)
    vm.step(10**9)
    assert time(vm) == [0x20, 0x00, 0x01, 0x01, 0x07, 0x00, 0x00, 0x00]


def test_rtc_flags(vm):
    cmos(vm, 0xc)
    vm.step(10**6)
    assert cmos(vm, 0xc) == 0x40  # 1024 Hz
    assert cmos(vm, 0xc) == 0
    set_cmos(vm, 0xa, 0x20)
    vm.step(10**9 - 10**6 - 100000)
    assert cmos(vm, 0xa) == 0xa0  # an update is near
    vm.step(100000)
    assert cmos(vm, 0xa) == 0x20 and cmos(vm, 0xc) == 0x10
    for register, value in ((1, 0x45), (3, 0xff), (5, 0xff)):
        set_cmos(vm, register, value)
    vm.step(3 * 10**9)
    assert cmos(vm, 0xc) == 0x10
    vm.step(10**9)
    assert cmos(vm, 0xc) == 0x30  # the alarm


def test_rtc_keeps_its_memory_over_a_reset(vm):
    set_cmos(vm, 0x40, 0x5a)
    set_cmos(vm, 0xb, 0x42)
    vm.qmp("system_reset")
    assert cmos(vm, 0x40) == 0x5a and cmos(vm, 0xb) == 0x02


def test_rtc_nonsense_times(vm):
    for value in range(256):
        set_cmos(vm, 0xb, 0x82)
        for register in TIME + (1, 3, 5):
            set_cmos(vm, register, value)
        set_cmos(vm, 0xb, 0x02 if value % 2 else 0x06)
        vm.step(10**9)
        time(vm)


# --- i8042, ports 0x60 and 0x64 ---


def drain(vm):
    count = 0
    while vm.inp(0x64) & 1:
        vm.inp(0x60)
        count += 1
        assert count <= 64
    return count


def command(vm, value):
    vm.out(0x64, value)
    return vm.inp(0x60)


def test_i8042_reset_values(vm):
    assert vm.inp(0x64) == 0x11
    assert drain(vm) > 16  # more than Linux is willing to empty: it finds no keyboard, at once
    assert vm.inp(0x64) == 0x10 and vm.inp(0x60) == 0xff


def test_i8042_commands(vm):
    drain(vm)
    assert command(vm, 0xaa) == 0x55 and vm.inp(0x64) == 0x1c
    assert command(vm, 0x20) == 0x34
    vm.out(0x64, 0x60)
    vm.out(0x60, 0x5a)
    assert vm.inp(0x64) & 0x08 == 0
    assert command(vm, 0x20) == 0x5a
    assert command(vm, 0xab) == 0x00 and command(vm, 0xa9) == 0x01 and command(vm, 0xd0) == 0x03
    vm.out(0x64, 0xd2)
    vm.out(0x60, 0x77)
    assert vm.inp(0x64) & 1 and vm.inp(0x60) == 0x77 and not vm.inp(0x64) & 1


def test_i8042_widths_and_straddles(vm):
    drain(vm)
    assert vm.inp(0x60, 2) == 0xffff and vm.inp(0x64, 2) == 0xff10 and vm.inp(0x62, 4) == 0xff10ffff
    assert vm.inp(0x5f, 2) == 0xffff and vm.inp(0x61) == 0xff
    assert vm.inp(0x63, 2) == 0x10ff


RESETS = [("i8042 pulse", lambda vm: vm.out(0x64, 0xfe)),
          ("i8042 output port", lambda vm: (vm.out(0x64, 0xd1), vm.out(0x60, 0xfe))),
          ("GED", lambda vm: vm.write(1, 0xf0000012, 0x42))]


@pytest.mark.parametrize("how", [how for _, how in RESETS], ids=[name for name, _ in RESETS])
def test_the_guest_resets_the_machine(vm, how):
    for _ in range(3):
        vm.out(0x3ff, 0x5a)
        how(vm)
        assert vm.inp(0x3ff) == 0
        assert vm.qmp("query-status")["running"]


def test_no_reboot_ends_instead(start):
    vm = start("-no-reboot")
    vm.send("outb 0x64 0xfe")
    vm.end(0)


def test_i8042_fifo_index(vm):
    """Every command, followed by any byte, leaves at most one answer (as CVE-2015-3456 did not)."""
    drain(vm)
    for value in range(256):
        if value >= 0xf0 and not value & 1:
            continue  # resets
        vm.out(0x64, value)
        if value != 0xd1:
            for byte in (0x00, 0x5a, 0xff):
                vm.out(0x60, byte)
        assert drain(vm) <= 1


# --- GED, 4 KiB at 0xf0000000 ---

GED = 0xf0000000


def test_ged_registers(vm):
    for offset in list(range(0, 0x14)) + [0x800, 0xfff]:
        assert vm.read(1, GED + offset) == 0
    for width in 2, 4, 8:
        for offset in (0, 0x10, 0xff8):
            assert vm.read(width, GED + offset) == 0
    for offset in range(0, 0x1000, 4):
        if offset != 0x10:
            vm.write(4, GED + offset, 0xffffffff)
    for value in range(256):  # neither sleep 5 nor a reset
        if value & 0x3c != 0x34:
            vm.write(1, GED + 0x10, value)
        vm.write(1, GED + 0x11, value)
        if value != 0x42:
            vm.write(1, GED + 0x12, value)
    assert vm.qmp("query-status")["running"]


def test_ged_straddles(vm):
    assert vm.read(8, GED - 4) == 0xffffffff
    assert vm.read(2, GED - 1) == 0x00ff
    assert vm.read(8, GED + 0xffc) == 0xffffffff00000000
    assert vm.read(4, GED + 0xfff) == 0xffffff00
    vm.write(8, GED + 0xffc, 0)
    vm.write(8, GED - 4, (1 << 64) - 1)


def test_ged_power_button(vm):
    del vm.irqs[:]
    vm.qmp("system_powerdown")
    vm.until(lambda: vm.irqs, "an interrupt")
    vm.inp(0x3ff)
    assert vm.irqs == [("raise", 16), ("lower", 16)] and vm.eoi(16)
    assert vm.read(1, GED) == 0 and vm.read(2, GED) == 0  # a narrow look takes nothing
    assert vm.read(4, GED) == 1
    assert vm.read(4, GED) == 0


def test_ged_power_off(vm):
    vm.send(f"writeb {GED + 0x10:#x} 0x34")
    vm.end(0)


# --- Boot timer, port 0x3ff ---


def test_boot_timer(vm):
    assert vm.inp(0x3ff) == 0
    for value in range(256):
        vm.out(0x3ff, value)
        assert vm.inp(0x3ff) == value
    assert vm.inp(0x3ff, 2) == 0xffff and vm.inp(0x400) == 0xff
    vm.out(0x3ff, 0x1234, 2)
    assert vm.inp(0x3ff) == 0x34
    vm.qmp("system_reset")
    assert vm.inp(0x3ff) == 0


# --- pvpanic, port 0x505 ---


def test_pvpanic(start):
    vm = start("-device", "pvpanic", "-no-shutdown")
    assert vm.inp(0x505) == 3
    assert vm.inp(0x504, 2) == 0x03ff and vm.inp(0x505, 2) == 0xff03 and vm.inp(0x503, 4) == 0xff03ffff
    vm.out(0x505, 2)
    for value in range(4, 256, 4):
        vm.out(0x505, value)
    assert vm.qmp("query-status")["status"] == "running"
    vm.out(0x505, 1)
    assert vm.qmp("query-status")["status"] == "guest-panicked"


@pytest.mark.parametrize("events", (0, 1, 2))
def test_pvpanic_events(start, events):
    vm = start("-device", f"pvpanic,events={events},ioport=0x600", "-no-shutdown")
    assert vm.inp(0x600) == events and vm.inp(0x505) == 0xff
    vm.out(0x600, 0xff)
    assert vm.qmp("query-status")["status"] == ("guest-panicked" if events & 1 else "running")


# --- debug exit, ports 0x501 and 0x502 ---


def test_debug_exit_reads(start):
    vm = start("-device", "isa-debug-exit")
    assert vm.inp(0x501) == 0 and vm.inp(0x501, 2) == 0 and vm.inp(0x501, 4) == 0xffff0000
    assert vm.inp(0x500, 2) == 0x00ff and vm.inp(0x502, 2) == 0xff00


@pytest.mark.parametrize("port, value, status", ((0x501, 0, 1), (0x501, 5, 11), (0x502, 0x7f, 255), (0x501, 0x80, 1)))
def test_debug_exit_ends_with_a_status(start, port, value, status):
    vm = start("-device", "isa-debug-exit")
    vm.send(f"outb {port:#x} {value:#x}")
    vm.end(status)


def test_debug_exit_keeps_its_status_before_other_requests(start):
    """One access that reaches two devices: the exit, and the keyboard controller's reset line."""
    vm = start("-device", "isa-debug-exit,iobase=0x62,iosize=1")
    vm.send("outl 0x61 0xfe001000")
    vm.end(0x10 << 1 | 1)


def test_debug_exit_first_status_counts(start):
    vm = start("-device", "isa-debug-exit,iobase=0x600,iosize=3")
    vm.send("outl 0x600 0x080010")  # a word and a byte
    vm.end(0x10 << 1 | 1)
