# SPDX-License-Identifier: Apache-2.0
"""The chipset of q35: configuration ports, PCIEXBAR, power management, interrupt routing, reset control."""

import re

import struct

import pytest

import pci
import virtio as v
from test_firmware import FwCfg

MCH, LPC = 0x00 << 11, 0x1f << 11
PM, SCI = 0x600, 9
PM1_STS, PM1_EN, PM1_CNT, PM_TMR, GPE0_STS, GPE0_EN = PM, PM + 2, PM + 4, PM + 8, PM + 0x20, PM + 0x28
TIMER_HZ = 3579545
MIB = 1 << 20
PCI_END = 0xfec00000  # the IOAPIC's


@pytest.fixture
def pc(start):
    return start(machine="q35")


def config(vm, function, offset, width=4):
    vm.out(0xcf8, 0x80000000 | function | (offset & ~3), 4)
    return vm.inp(0xcfc + (offset & 3), width)


def set_config(vm, function, offset, value, width=4):
    vm.out(0xcf8, 0x80000000 | function | (offset & ~3), 4)
    vm.out(0xcfc + (offset & 3), value, width)


def enable_pm(vm, base=PM):
    set_config(vm, LPC, 0x40, base)
    set_config(vm, LPC, 0x44, 0x80, 1)


@pytest.mark.parametrize("machine", (
    "pc-q35-7.2,usb=off,vmport=off,smm=off,hpet=off,dump-guest-core=off",
    "q35,accel=test,kernel_irqchip=on,graphics=off,sata=off,smbus=off,hmat=off,nvdimm=off,mem-merge=on"))
def test_words_of_libvirt_and_qemu(start, machine):
    assert config(start(machine=machine), MCH, 0) == 0x29c08086


@pytest.mark.parametrize("word", ("smm=on", "vmport=on", "hpet=on", "kernel-irqchip=split", "kernel_irqchip=off", "acpi=perhaps"))
def test_what_is_not_there_is_refused(start, word):
    with pytest.raises(AssertionError, match="-machine q35.*" + word.replace('_', '-')):
        start(machine=f"q35,{word}")


def test_qmp_knows_the_machine(pc):
    assert {"name": "q35", "hotpluggable-cpus": True}.items() <= \
        {machine["name"]: machine for machine in pc.qmp("query-machines")}["q35"].items()


def test_functions(pc):
    assert config(pc, MCH, 0) == 0x29c08086 and config(pc, MCH, 8) == 0x06000000
    assert config(pc, LPC, 0) == 0x29188086 and config(pc, LPC, 8) == 0x06010002
    assert config(pc, LPC, 0xe, 1) == 0x80  # more functions may follow
    assert config(pc, 1 << 11, 0) == 0xffffffff


def test_config_address_reads_back(pc):
    pc.out(0xcf8, 0xffffffff, 4)
    assert pc.inp(0xcf8, 4) == 0x80fffffc
    pc.out(0xcf8, 0, 4)
    assert pc.inp(0xcfc, 4) == 0xffffffff  # not enabled


@pytest.mark.parametrize("length, size", [(0, 256), (1, 128), (2, 64)])
def test_pciexbar(pc, length, size):
    assert config(pc, MCH, 0x60) == 0
    set_config(pc, MCH, 0x60, 0xe0000001 | length << 1)
    assert pc.read(4, 0xe0000000) == 0x29c08086
    assert pc.read(4, 0xe00f8000) == 0x29188086
    end = 0xe0000000 + (size << 20)
    assert pc.read(4, end - 4096) == 0xffffffff
    set_config(pc, MCH, 0x60, 0xd0000001 | length << 1)  # it moves
    assert pc.read(4, 0xd0000000) == 0x29c08086 and pc.read(4, 0xe0000000) != 0x29c08086
    set_config(pc, MCH, 0x60, 0)
    assert pc.read(4, 0xd0000000) == 0xffffffff


def test_pciexbar_high_reserved_and_hostile(pc):
    set_config(pc, MCH, 0x64, 0xffffffff)
    assert config(pc, MCH, 0x64) == 0xf
    set_config(pc, MCH, 0x60, 1)
    assert pc.read(4, 0xf << 32) == 0x29c08086
    set_config(pc, MCH, 0x64, 0)
    set_config(pc, MCH, 0x60, 0xe0000007)  # a length that does not exist
    assert pc.read(4, 0xe0000000) == 0xffffffff
    set_config(pc, MCH, 0x60, 0x00000001)  # over RAM: RAM stays, and so does the VM
    pc.write(4, 0x1000, 0x12345678)
    assert pc.read(4, 0x1000) == 0x12345678
    set_config(pc, MCH, 0x60, 0xf0000001)  # over the IOAPIC and the end of 4 GiB
    set_config(pc, MCH, 0x60, 0xe0000001)
    assert pc.read(4, 0xe0000000) == 0x29c08086


def test_ones_to_every_register_and_back(pc):
    """The walk of a hostile driver: nothing but what the datasheet says is writable, and the VM lives."""
    for function, writable in ((MCH, {0x60: 0xfc000007, 0x64: 0xf, 0x90: 0x33333330, 0x94: 0x333333}),
                               (LPC, {0x40: 0xff80, 0x44: 0x80, 0x60: 0x8f8f8f8f, 0x64: 0xff, 0x68: 0x8f8f8f8f,
                                      0x80: 0xffffffff, 0x84: 0xffffffff, 0x88: 0xffffffff,
                                      0xa0: 0xffffffff, 0xa4: 0xffff, 0xf0: 0xffffc001})):
        for offset in range(0x40, 0x100, 4):
            old = config(pc, function, offset)
            set_config(pc, function, offset, 0)
            zeros = config(pc, function, offset)
            set_config(pc, function, offset, 0xffffffff)
            assert config(pc, function, offset) ^ zeros == writable.get(offset, 0), f"{function >> 11:x}: {offset:#x}"
            set_config(pc, function, offset, old)
            assert config(pc, function, offset) == old


def test_pm_base_moves(pc):
    assert pc.inp(PM1_CNT, 2) == 0xffff
    enable_pm(pc)
    assert pc.inp(PM1_CNT, 2) == 0
    enable_pm(pc, 0xb000)
    assert pc.inp(PM1_CNT, 2) == 0xffff and pc.inp(0xb004, 2) == 0
    set_config(pc, LPC, 0x44, 0, 1)
    assert pc.inp(0xb004, 2) == 0xffff


def test_acpi_is_switched_by_the_smi_port(pc):
    enable_pm(pc)
    pc.out(0xb2, 2)
    assert pc.inp(PM1_CNT, 2) & 1 and pc.inp(0xb2) == 2
    pc.out(0xb3, 0x5a)
    assert pc.inp(0xb3) == 0x5a and pc.inp(PM1_CNT, 2) & 1
    pc.out(0xb2, 3)
    assert not pc.inp(PM1_CNT, 2) & 1


def test_pm_registers_take_bytes_words_and_double_words(pc):
    enable_pm(pc)
    pc.out(PM1_EN, 0xffff, 2)
    assert pc.inp(PM1_EN, 2) == 0x0521
    pc.out(PM1_EN + 1, 0, 1)
    assert pc.inp(PM1_STS, 4) >> 16 == 0x0021
    pc.out(GPE0_EN, 0xa5, 1)
    pc.out(GPE0_EN + 7, 0x5a, 1)
    assert (pc.inp(GPE0_EN, 4), pc.inp(GPE0_EN + 4, 4)) == (0xa5, 0x5a000000)
    pc.out(PM1_CNT, 0xffff & ~0x2000, 2)
    assert pc.inp(PM1_CNT, 2) == 0x1c03
    for offset in range(0x80):  # nothing hurts
        if offset not in (4, 5):
            pc.out(PM + offset, 0xff)
            pc.inp(PM + offset, 4)


def test_power_button(pc):
    enable_pm(pc)
    pc.out(PM1_EN, 0x100, 2)
    pc.qmp("system_powerdown")
    assert pc.inp(PM1_STS, 2) == 0x100
    assert not pc.pending(SCI)  # ACPI is off
    pc.out(0xb2, 2)
    assert pc.pending(SCI)
    pc.out(PM1_STS, 0x100, 2)
    assert pc.inp(PM1_STS, 2) == 0 and not pc.pending(SCI)


def test_timer_counts_and_overflows(pc):
    enable_pm(pc)
    pc.out(0xb2, 2)
    begin = pc.inp(PM_TMR, 4)
    pc.step(10**9)
    assert (pc.inp(PM_TMR, 4) - begin) & 0xffffff in (TIMER_HZ & 0xffffff, TIMER_HZ + 1)
    assert not pc.inp(PM1_STS, 2) & 1
    pc.out(PM1_EN, 1, 2)
    pc.step(2 * 10**9)  # 2.34 s is half a turn
    assert pc.inp(PM1_STS, 2) & 1 and pc.pending(SCI)
    pc.out(PM1_STS, 1, 2)
    assert not pc.inp(PM1_STS, 2) & 1 and not pc.pending(SCI)
    pc.step(3 * 10**9)
    assert pc.pending(SCI)


def test_sleep_type_5_powers_off_and_no_other(pc):
    enable_pm(pc)
    pc.out(PM1_CNT, 0x2000 | 1 << 10, 2)  # S1 to S4 do not exist
    assert pc.inp(PM1_CNT, 2) == 1 << 10
    pc.send(f"outw {PM1_CNT:#x} 0x2000")
    pc.end(0)


def test_reset_control(start):
    pc = start("-no-reboot", machine="q35")
    pc.out(0xcf9, 0x02)
    assert pc.inp(0xcf9) == 0x02
    assert pc.inp(0xcf8, 4) == 0  # the address register takes double words only
    pc.send("outb 0xcf9 0x6")
    pc.end(0)


def test_reset_brings_the_chipset_back(pc):
    enable_pm(pc)
    pc.out(0xb2, 2)
    pc.out(PM1_EN, 0x100, 2)
    pc.qmp("system_powerdown")
    assert pc.pending(SCI)
    set_config(pc, MCH, 0x60, 0xe0000001)
    set_config(pc, LPC, 0xf0, 0xfed1c001)
    pc.qmp("system_reset")
    assert config(pc, MCH, 0x60) == 0 and pc.read(4, 0xe0000000) == 0xffffffff
    assert pc.inp(PM1_CNT, 2) == 0xffff and pc.read(2, 0xfed1f140) == 0xffff
    assert not pc.pending(SCI)
    enable_pm(pc)
    assert pc.inp(PM1_STS, 4) == 0


def test_interrupt_routes_of_high_slots(pc):
    set_config(pc, LPC, 0xf0, 0xfed1c001)
    routes = [0xfed1c000 + 0x3100 + offset for offset in (0x40, 0x42, 0x44, 0x46, 0x48, 0x4c, 0x50)]
    assert [pc.read(2, at) for at in routes] == [0x3210] * 7
    for at in routes:
        pc.write(2, at, 0xffff)
        assert pc.read(2, at) == 0x7777
    assert pc.read(2, 0xfed1f14a) == 0
    for offset in range(0, 0x4000, 1021):
        pc.write(4, 0xfed1c000 + offset, 0xffffffff)


@pytest.fixture
def interrupting(start):
    """A device in slot 3 and one in slot 26, both with their line up."""
    pc = start("-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r0,addr=3",
               "-device", "virtio-rng-pci,rng=r0,addr=1a", machine="q35")
    set_config(pc, MCH, 0x60, pci.ECAM | 1)
    devices = pci.virtio_devices(pc)
    for i, device in enumerate(devices):
        device.start(at=0x100000 + i * 0x10000).send([(0x300000, 8, True)])
    return pc, devices


def test_pins_reach_the_ioapic(interrupting):
    pc, (low, high) = interrupting
    pins = [device.fn.get(pci.INTERRUPT_PIN, 1) - 1 for device in (low, high)]
    lines = [20 + (3 + pins[0]) % 4, 16 + pins[1]]
    assert [line for line in range(24) if pc.pending(line)] == sorted(lines)
    set_config(pc, LPC, 0xf0, 0xfed1c001)
    pc.write(2, 0xfed1c000 + 0x314c, 0x7777)  # slot 26 to PIRQH
    assert [line for line in range(24) if pc.pending(line)] == sorted({lines[0], 23})
    for device in (low, high):
        device.get(v.INTERRUPT_STATUS)
    assert not any(pc.pending(line) for line in range(24))


def test_a_reset_takes_a_moved_line_down(interrupting):
    """The route goes back to what it was, and so do those that hold the line up."""
    pc, (low, high) = interrupting
    line = 16 + high.fn.get(pci.INTERRUPT_PIN, 1) - 1
    low.get(v.INTERRUPT_STATUS)
    set_config(pc, LPC, 0xf0, 0xfed1c001)
    pc.write(2, 0xfed1c000 + 0x314c, 0x7777)
    assert [line for line in range(24) if pc.pending(line)] == [23]
    pc.qmp("system_reset")
    assert not any(pc.pending(line) for line in range(24))
    set_config(pc, MCH, 0x60, pci.ECAM | 1)
    high = pci.virtio_devices(pc)[1]
    high.start(at=0x110000).send([(0x300000, 8, True)])
    assert [line for line in range(24) if pc.pending(line)] == [line]
    high.get(v.INTERRUPT_STATUS)
    assert not any(pc.pending(line) for line in range(24))


def test_lines_reach_the_pic(interrupting):
    pc, (low, high) = interrupting
    route = 0x68 + (3 + low.fn.get(pci.INTERRUPT_PIN, 1) - 1) % 4
    assert not any(pc.pending(line) for line in range(16))
    set_config(pc, LPC, route, 10, 1)
    assert [line for line in range(16) if pc.pending(line)] == [10]
    set_config(pc, LPC, route, 11, 1)
    assert [line for line in range(16) if pc.pending(line)] == [11]
    for reserved in (0, 1, 2, 8, 13, 0x8a):
        set_config(pc, LPC, route, reserved, 1)
        assert not any(pc.pending(line) for line in range(16)), reserved
    set_config(pc, LPC, route, 9, 1)  # shared with the SCI
    assert pc.pending(9)
    low.get(v.INTERRUPT_STATUS)
    assert not pc.pending(9)


def test_bars_may_be_wherever_ram_is_not(start):
    """Not only in the windows that ACPI tells of: kernels without it put BARs behind what RAM there is."""
    pc = start("-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r0,addr=3", machine="q35", memory=128)
    set_config(pc, MCH, 0x60, pci.ECAM | 1)
    rng, = pci.virtio_devices(pc)
    home, size = rng.fn.bar(4), rng.fn.bars()[4][0]
    rng.fn.decode()
    for address in (128 * MIB, 0x10000000, PCI_END - size, 4 << 30):
        rng.fn.set_bar(4, address)
        assert pc.read(2, address + pci.NUM_QUEUES[0]) == 1, hex(address)
    pc.write(4, 128 * MIB - size, 0x5a5a5a5a)
    for address in (128 * MIB - size, PCI_END, 0xfee00000, 0xffffc000, 1 << 52, (1 << 64) - size):
        before = pc.read(4, address)
        rng.fn.set_bar(4, address)
        assert pc.read(4, address) == before, hex(address)
    rng.fn.set_bar(4, home)
    assert pc.read(2, home + pci.NUM_QUEUES[0]) == 1


def test_pvpanic_pci(start):
    pc = start("-device", "pvpanic-pci", "-no-shutdown", machine="q35")
    set_config(pc, MCH, 0x60, pci.ECAM | 1)
    fn = [fn for fn in pci.walk(pc) if fn.ids() == (0x1b36, 0x11)][0]
    assert fn.bars() == {0: (16, 0)}
    pci.assign(pc, fn)
    at = fn.bar(0)
    assert pc.read(1, at) == 3 and pc.read(1, at + 1) == 0
    pc.write(1, at + 1, 1)
    pc.write(1, at, 2)
    assert pc.qmp("query-status")["status"] == "running"
    pc.write(1, at, 1)
    assert pc.qmp("query-status")["status"] == "guest-panicked"


@pytest.mark.parametrize("memory, low", [(512, 512), (2815, 2815), (2816, 2048), (4096, 2048)])
def test_memory_split(start, memory, low):
    """As QEMU's: OVMF computes the map from these bytes."""
    pc = start(machine="q35", share=False, memory=memory)

    def cmos(at, count):
        value = 0
        for i in range(count):
            pc.out(0x70, at + i)
            value |= pc.inp(0x71) << 8 * i
        return value

    assert cmos(0x34, 2) == (low - 16) * 16
    assert cmos(0x5b, 3) == (memory - low) * 16
    pc.write(4, (low << 20) - 4, 0xfeedface)
    assert pc.read(4, (low << 20) - 4) == 0xfeedface
    assert pc.read(4, low << 20) == 0xffffffff
    if memory > low:
        pc.write(4, (4 << 30) + ((memory - low) << 20) - 4, 0x0defaced)
        assert pc.read(4, (4 << 30) + ((memory - low) << 20) - 4) == 0x0defaced


# --- CPUs that come: docs/specs/acpi_cpu_hotplug of QEMU, 12 ports at 0xcd8 ---

CPUS = 0xcd8


def select_cpu(vm, cpu):
    vm.out(CPUS, cpu, 4)
    return vm.inp(CPUS + 4)


def test_cpu_hotplug_registers(start):
    pc = start("-smp", "2,maxcpus=6,sockets=2,cores=3", machine="q35")
    enable_pm(pc)
    pc.out(0xb2, 2)
    pc.out(GPE0_EN, 4)
    assert [select_cpu(pc, cpu) for cpu in range(7)] == [1, 1, 0, 0, 0, 0, 0]
    select_cpu(pc, 5)
    pc.out(CPUS + 5, 3)
    assert (pc.inp(CPUS + 8, 4), pc.inp(CPUS, 4)) == (6, 0)  # APIC ids have two bits for three cores

    assert not pc.pending(SCI)
    pc.qmp("device_add", driver="host-x86_64-cpu", id="c2", **{"socket-id": 0, "core-id": 2, "thread-id": 0})
    assert pc.pending(SCI) and pc.inp(GPE0_STS) == 4
    select_cpu(pc, 4)
    pc.out(CPUS + 5, 0)  # the next with an event, around the end
    assert pc.inp(CPUS + 8, 4) == 2 and pc.inp(CPUS + 4) == 3
    pc.out(CPUS + 4, 2)
    assert pc.inp(CPUS + 4) == 1
    pc.out(GPE0_STS, 4)
    assert not pc.pending(SCI)
    assert len(pc.qmp("query-cpus-fast")) == 3
    pc.qmp("system_reset")
    assert [select_cpu(pc, cpu) for cpu in range(4)] == [1, 1, 1, 0]


def test_cpu_hotplug_registers_of_a_hostile_guest(start):
    pc = start("-smp", "1,maxcpus=2", machine="q35")
    for cpu in (1, 2, 0x7fffffff, 0xffffffff):
        select_cpu(pc, cpu)
        for command in range(256):
            pc.out(CPUS + 5, command)
            pc.inp(CPUS + 8, 4)
        for offset in range(12):
            for width in (1, 2, 4):
                pc.out(CPUS + offset, 0xffffffff >> (32 - 8 * width), width)
                pc.inp(CPUS + offset, width)
    assert select_cpu(pc, 0) == 1


def deleted(pc):
    """What DEVICE_DELETED has said, all of it."""
    pc.qmp("query-status")  # behind them
    return [event["data"] for event in pc.events if event["event"] == "DEVICE_DELETED"]


def eject(pc, cpu):
    select_cpu(pc, cpu)
    pc.out(CPUS + 4, 8)


def test_a_cpu_is_asked_to_go(start):
    pc = start("-smp", "1,maxcpus=4", machine="q35")
    enable_pm(pc)
    pc.out(0xb2, 2)
    pc.out(GPE0_EN, 4)
    for name in ("c1", "c2"):
        pc.qmp("device_add", driver="host-x86_64-cpu", id=name)
    for cpu in (1, 2):
        select_cpu(pc, cpu)
        pc.out(CPUS + 4, 2)
    pc.out(GPE0_STS, 4)
    with pytest.raises(AssertionError, match="CPU 2 goes before CPU 1"):
        pc.qmp("device_del", id="c1")
    assert not pc.pending(SCI)
    for _ in range(2):  # whoever asks again is heard again
        pc.qmp("device_del", id="c2")
        assert pc.pending(SCI) and pc.inp(GPE0_STS) == 4
        pc.out(GPE0_STS, 4)
        select_cpu(pc, 0)
        pc.out(CPUS + 5, 0)
        assert pc.inp(CPUS + 8, 4) == 2 and pc.inp(CPUS + 4) == 5
        pc.out(CPUS + 4, 4)  # heard
        assert pc.inp(CPUS + 4) == 1 and len(pc.qmp("query-cpus-fast")) == 3
    eject(pc, 2)
    assert select_cpu(pc, 2) == 0 and select_cpu(pc, 1) == 1
    assert [cpu["qom-path"] for cpu in pc.qmp("query-cpus-fast")][1:] == ["/machine/peripheral/c1"]
    assert deleted(pc) == [{"device": "c2", "path": "/machine/peripheral/c2"}]
    with pytest.raises(AssertionError, match="Device 'c2' not found"):
        pc.qmp("device_del", id="c2")
    pc.qmp("device_add", driver="host-x86_64-cpu", id="c2")  # the place and the name are free again
    assert select_cpu(pc, 2) == 3 and len(pc.qmp("query-cpus-fast")) == 3


def test_a_cpu_that_was_asked_is_gone_after_a_reset(start):
    pc = start("-smp", "1,maxcpus=3", machine="q35")
    for name in ("c1", "c2"):
        pc.qmp("device_add", driver="host-x86_64-cpu", id=name)
    pc.qmp("device_del", id="c2")
    pc.qmp("system_reset")
    assert [data["device"] for data in deleted(pc)] == ["c2"]
    assert [select_cpu(pc, cpu) for cpu in range(3)] == [1, 1, 0]
    assert FwCfg(pc).read(5, 2) == b"\2\0" and len(pc.qmp("query-cpus-fast")) == 2


def test_ejections_of_a_hostile_guest(start):
    """Only what came, from the end on; and each of them once."""
    pc = start("-smp", "2,maxcpus=5,sockets=5", machine="q35")
    for name in ("c2", "c3"):
        pc.qmp("device_add", driver="host-x86_64-cpu", id=name)
    for cpu in (0, 1, 2, 4, 5, 0xffffffff):
        eject(pc, cpu)
    assert len(pc.qmp("query-cpus-fast")) == 4 and deleted(pc) == []
    for cpu in (3, 3, 2, 2, 1, 0):  # without having been asked
        eject(pc, cpu)
    assert [data["device"] for data in deleted(pc)] == ["c3", "c2"]
    assert [select_cpu(pc, cpu) for cpu in range(5)] == [1, 1, 0, 0, 0]
    with pytest.raises(AssertionError, match="CPU 3 comes after CPU 2"):
        pc.qmp("device_add", driver="host-x86_64-cpu", **{"socket-id": 3})
    for _ in range(50):
        pc.qmp("device_add", driver="host-x86_64-cpu")
        eject(pc, 2)
    assert len(pc.qmp("query-cpus-fast")) == 2 and len(deleted(pc)) == 2, "a CPU without a name goes without a word"


@pytest.mark.parametrize("arguments, message", [
    ({"socket-id": 0}, "CPU 0 is there already"),
    ({"socket-id": 2}, "CPU 2 comes after CPU 1: CPUs are added in order"),
    ({"socket-id": 4}, "socket-id=4 is out of range [0, 3]"),
    ({"node": 1}, "Property 'host-x86_64-cpu.node' not found"),
    ({"socket-id": 1, "node-id": 1}, "node-id=1: CPU 1 is in node 0"),
    ({"node-id": -1}, "node-id=-1 is not a number"),
    ({"id": ""}, "an id of 1 to 255 characters is required"),
    ({"id": "x" * 256}, "an id of 1 to 255 characters is required"),
    ({"id": "lpc", "socket-id": 1}, "Duplicate device ID 'lpc'")])
def test_cpus_that_cannot_come(start, arguments, message):
    pc = start("-smp", "1,maxcpus=4,sockets=4", machine="q35")
    with pytest.raises(AssertionError, match=re.escape(message)):
        pc.qmp("device_add", driver="host-x86_64-cpu", **arguments)
    assert len(pc.qmp("query-cpus-fast")) == 1


def test_a_device_does_not_take_a_cpus_id(start):
    pc = start("-smp", "1,maxcpus=2", "-device", "pcie-root-port,id=rp", "-object", "rng-builtin,id=rng", machine="q35")
    pc.qmp("device_add", driver="host-x86_64-cpu", id="c1")
    with pytest.raises(AssertionError, match="Duplicate device ID 'c1'"):
        pc.qmp("device_add", driver="virtio-rng-pci", id="c1", bus="rp", rng="rng")
    pc.qmp("device_add", driver="virtio-rng-pci", id="r1", bus="rp", rng="rng")


def test_no_more_cpus_than_maxcpus(start):
    pc = start("-smp", "1,maxcpus=3", machine="q35")
    for _ in range(2):
        pc.qmp("device_add", driver="host-x86_64-cpu")
    with pytest.raises(AssertionError, match="all 3 CPUs are there"):
        pc.qmp("device_add", driver="host-x86_64-cpu")
    assert all("qom-path" in place for place in pc.qmp("query-hotpluggable-cpus"))


def test_without_acpi(start):
    pc = start("-smp", "1,maxcpus=3", machine="q35,acpi=off")
    with pytest.raises(AssertionError, match="CPU hot-plug needs ACPI"):
        pc.qmp("device_add", driver="host-x86_64-cpu")
    with pytest.raises(AssertionError, match="no power button"):
        pc.qmp("system_powerdown")
    assert pc.inp(CPUS + 4) == 0xff
    assert not any("acpi" in name or "table" in name for name in FwCfg(pc).files())


def test_microvm_has_no_cpu_hotplug(start):
    vm = start("-smp", "1,maxcpus=2")
    with pytest.raises(AssertionError, match="machine microvm has no CPU hot-plug"):
        vm.qmp("device_add", driver="host-x86_64-cpu")


# --- ACPI tables for firmware ---


@pytest.fixture
def firmware(start, tmp_path):
    (tmp_path / "rom").write_bytes(b"\xf4" * 65536)
    pc = start("-bios", str(tmp_path / "rom"), "-smp", "2,maxcpus=3", machine="q35")
    return pc, FwCfg(pc)


def linked(fw, base=0x1000000):
    """What a firmware makes of the files: {signature: [table]}, with checksums that are right."""
    blobs = {name: bytearray(fw.file(name)) for name in ("etc/acpi/tables", "etc/acpi/rsdp")}
    places = {"etc/acpi/tables": base, "etc/acpi/rsdp": 0xf0000}
    script = fw.file("etc/table-loader")
    starts = []
    for at in range(0, len(script), 128):
        command, = struct.unpack_from("<I", script, at)
        names = [script[at + i:at + i + 56].split(b"\0")[0].decode(errors="replace") for i in (4, 60)]
        blob = blobs[names[0]]
        if command == 2:
            offset, width = struct.unpack_from("<IB", script, at + 116)
            value = int.from_bytes(blob[offset:offset + width], "little")
            assert value < len(blobs[names[1]])
            blob[offset:offset + width] = (value + places[names[1]]).to_bytes(width, "little")
        elif command == 3:
            offset, first, length = struct.unpack_from("<III", script, at + 60)
            blob[offset] = -sum(blob[first:first + length]) & 0xff
            if names[0] == "etc/acpi/tables":
                starts.append((first, length))
        else:
            assert command == 1
    assert sum(blobs["etc/acpi/rsdp"][:20]) & 0xff == sum(blobs["etc/acpi/rsdp"]) & 0xff == 0
    tables = {}
    for first, length in starts:
        table = bytes(blobs["etc/acpi/tables"][first:first + length])
        assert sum(table) & 0xff == 0 and struct.unpack_from("<I", table, 4)[0] == length
        tables[table[:4].decode()] = table
    return tables


def test_tables_for_firmware(firmware):
    tables = linked(firmware[1])
    assert set(tables) == {"DSDT", "FACP", "APIC", "MCFG", "XSDT"}
    assert struct.unpack_from("<Q", tables["MCFG"], 44)[0] == 0xb0000000
    addresses = struct.unpack_from("<3Q", tables["XSDT"], 36)
    assert all(0x1000000 <= address < 0x1010000 for address in addresses)


def test_tables_follow_the_ecam(firmware):
    pc, fw = firmware
    sizes = {name: size for name, (_, size) in fw.files().items()}
    for base in (0xe0000000, 0xb0000000, 0xc0000000, 0x80000000):
        set_config(pc, MCH, 0x60, base | 1)
        tables = linked(fw)
        assert struct.unpack_from("<Q", tables["MCFG"], 44)[0] == base
        assert struct.pack("<II", base, 256 << 20) in tables["DSDT"]
    # Where no table can say it, and where it is nowhere, they stay as they were.
    for low, high in ((1, 0xf), (0xe0000003, 0), (0, 0)):
        set_config(pc, MCH, 0x60, 0)
        set_config(pc, MCH, 0x64, high)
        set_config(pc, MCH, 0x60, low)
        assert struct.unpack_from("<Q", linked(fw)["MCFG"], 44)[0] == 0x80000000
    assert {name: size for name, (_, size) in fw.files().items()} == sizes
    pc.qmp("system_reset")
    assert struct.unpack_from("<Q", linked(fw)["MCFG"], 44)[0] == 0xb0000000


def test_a_cpu_that_came_is_in_the_tables_of_the_next_boot(firmware):
    pc, fw = firmware

    def enabled():
        madt = linked(fw)["APIC"]
        return [struct.unpack_from("<I", madt, at + 4)[0] for at in range(44, 44 + 3 * 8, 8)]

    assert enabled() == [1, 1, 2] and fw.read(5, 2) == b"\2\0" and fw.read(0xf, 2) == b"\3\0"
    pc.qmp("device_add", driver="host-x86_64-cpu")
    pc.qmp("system_reset")
    assert enabled() == [1, 1, 1] and fw.read(5, 2) == b"\3\0"
