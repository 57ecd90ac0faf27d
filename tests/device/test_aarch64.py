# SPDX-License-Identifier: Apache-2.0
"""What the machines of aarch64 have alone, or in another place than those of x86_64: the rest of this folder runs there as well.
ARCH=aarch64 pytest tests/device, with the VMM built for it (under qemu-user where this machine is another one)."""

import re
import struct
import subprocess

import pytest

import guest
import virtio as v
from layout import ECAM, FW_CFG, RAM, RTC, SERIAL
from layout import MMIO_BASE as MMIO

GPIO = 0x9030000
SERIAL_GSI, RTC_GSI, GPIO_GSI, MMIO_GSI = 7, 5, 8, 32


@pytest.fixture
def start():
    return guest.VM


def test_serial_port_and_clock_are_where_guests_know_them(start):
    for machine in ("microvm", "virt"):
        with start("-serial", "file:$DIR/serial", machine=machine) as vm:
            assert vm.read(4, SERIAL + 0xfe0) == 0x11 and vm.read(4, SERIAL + 0x18) & 0x80
            vm.write(4, SERIAL + 0x38, 0x20)
            for byte in b"hello":
                vm.write(4, SERIAL, byte)
            assert vm.pending(SERIAL_GSI)
            with open(vm.path("serial"), "rb") as f:
                assert f.read() == b"hello"
            assert vm.read(4, RTC + 0xfe0) == 0x31
            now = vm.read(4, RTC)
            vm.write(4, RTC + 0x10, 1)
            vm.write(4, RTC + 4, now + 3)
            vm.step(2_000_000_000)
            assert not vm.pending(RTC_GSI)
            vm.step(2_000_000_000)
            assert vm.pending(RTC_GSI) and vm.read(4, RTC) == now + 4
            vm.write(4, RTC + 0x1c, 1)
            assert not vm.pending(RTC_GSI)


def test_boot_time_word_is_in_the_serial_ports_page(start):
    with start("-serial", "file:$DIR/serial", machine="microvm", env={"STRATOVIRT_LOG_LEVEL": "info"}) as vm:
        assert vm.read(4, SERIAL + 0xf00) == 0
        vm.write(4, SERIAL + 0xf00, 1)
        vm.write(1, SERIAL + 0xf00, 2)
        assert vm.read(4, SERIAL + 0xf00) == 2
        for mark, what in ((1, "kernel starts"), (2, "guest has booted")):
            assert re.search(rf"mark {mark} \({what}\) at \d+ ns", vm.stderr())
        # The serial port goes on around it.
        assert [vm.read(4, SERIAL + at) for at in range(0xfe0, 0x1000, 4)] == [0x11, 0x10, 0x14, 0, 0x0d, 0xf0, 0x05, 0xb1]
        assert vm.read(4, SERIAL + 0xefc) == 0 and vm.read(4, SERIAL + 0xf04) == 0xffffffff
        vm.qmp("system_reset")
        vm.event("RESET")
        assert vm.read(4, SERIAL + 0xf00) == 0
    with start("-serial", "file:$DIR/serial", machine="virt") as vm:
        vm.write(4, SERIAL + 0xf00, 1)
        assert vm.read(4, SERIAL + 0xf00) == 0


# PL061 (DDI 0190, 3.2)
DATA, DIR, IS, IBE, IEV, IE, RIS, MIS, IC, AFSEL = 0x3fc, 0x400, 0x404, 0x408, 0x40c, 0x410, 0x414, 0x418, 0x41c, 0x420
BUTTON = 1 << 3
MSEC = 1_000_000


@pytest.fixture
def gpio(start):
    with start(machine="microvm") as vm:
        vm.get = lambda at: vm.read(4, GPIO + at)
        vm.put = lambda at, value: vm.write(4, GPIO + at, value)
        yield vm


def test_gpio_registers_after_reset(gpio):
    assert [gpio.get(at) for at in range(0xfe0, 0x1000, 4)] == [0x61, 0x10, 0x04, 0, 0x0d, 0xf0, 0x05, 0xb1]
    stored = (DIR, IS, IBE, IEV, IE, AFSEL)
    for _ in range(2):
        assert [gpio.get(at) for at in (DATA, RIS, MIS, IC, 0x424, 0xfdc, *stored)] == [0] * (6 + len(stored))
        for n, at in enumerate(stored):
            gpio.put(at, 0x1a5 + n)
        assert [gpio.get(at) for at in stored] == [0xa5 + n for n in range(len(stored))]
        for at in (RIS, MIS, 0x424, 0xfe0, 0xffc):
            gpio.put(at, 0xff)
        assert gpio.get(0xfe0) == 0x61 and gpio.get(0xffc) == 0xb1
        gpio.qmp("system_reset")
        gpio.event("RESET")


def test_gpio_address_bits_mask_the_data_pins(gpio):
    gpio.put(DIR, 0xf0)
    gpio.put(DATA, 0xff)
    assert gpio.get(DATA) == 0xf0  # inputs stay what they are
    gpio.put(0x5a << 2, 0)
    assert gpio.get(DATA) == 0xa0 and gpio.get(0x81 << 2) == 0x80 and gpio.get(0) == 0
    gpio.put(DIR, 0xff)
    assert gpio.get(DATA) == 0xa0
    gpio.put(DIR, 0)
    assert gpio.get(DATA) == 0


def test_power_button_is_a_pin_that_stays_down_until_it_was_looked_at(gpio):
    gpio.put(IBE, BUTTON)
    gpio.put(IE, BUTTON)
    gpio.qmp("system_powerdown")
    gpio.event("POWERDOWN")
    assert gpio.pending(GPIO_GSI) and gpio.get(RIS) == BUTTON and gpio.get(MIS) == BUTTON
    gpio.put(IC, BUTTON)
    assert not gpio.pending(GPIO_GSI)
    gpio.step(3000 * MSEC)
    assert gpio.get((0xff & ~BUTTON) << 2) == 0  # who looks at other pins has not seen it
    gpio.step(200 * MSEC)
    assert gpio.get(BUTTON << 2) == BUTTON and gpio.get(RIS) == 0
    gpio.step(50 * MSEC)
    assert gpio.get(DATA) == BUTTON
    gpio.step(100 * MSEC)
    assert gpio.get(DATA) == 0 and gpio.get(RIS) == BUTTON and gpio.pending(GPIO_GSI)
    gpio.put(IC, 0xff)
    assert not gpio.pending(GPIO_GSI)


def test_power_button_comes_up_where_nobody_looks(gpio):
    gpio.qmp("system_powerdown")
    gpio.step(10_500 * MSEC)
    assert gpio.get(DATA) == 0
    gpio.qmp("stop")
    gpio.qmp("system_powerdown")
    gpio.step(60_000 * MSEC)
    gpio.qmp("cont")
    gpio.step(5_000 * MSEC)
    assert gpio.get(DATA) == BUTTON
    gpio.qmp("system_reset")
    gpio.event("RESET")
    assert gpio.get(DATA) == 0


def test_gpio_edges_and_levels(gpio):
    def press():
        gpio.qmp("system_powerdown")
        raised = gpio.get(RIS)
        gpio.get(DATA)
        gpio.put(IC, 0xff)
        cleared = gpio.get(RIS)
        gpio.step(100 * MSEC)
        return raised, cleared, gpio.get(RIS), gpio.pending(GPIO_GSI)

    # GPIOIS, GPIOIBE, GPIOIEV: pressed, cleared, released
    for sense, both, event, expected in (
            (0, 0, 0, (0, 0, BUTTON)), (0, 0, BUTTON, (BUTTON, 0, 0)), (0, BUTTON, 0, (BUTTON, 0, BUTTON)),
            (BUTTON, 0, BUTTON, (BUTTON, BUTTON, 0)), (BUTTON, 0, 0, (0, 0, BUTTON))):
        gpio.put(IS, sense)
        gpio.put(IBE, both)
        gpio.put(IEV, event)
        gpio.put(IC, 0xff)
        assert press() == (*expected, False)
    # As an output the pin sees nothing; masked it tells nobody, and tells when it is no longer.
    gpio.put(IS, 0)
    gpio.put(IBE, BUTTON)
    gpio.put(IC, 0xff)
    gpio.put(DIR, BUTTON)
    assert press() == (0, 0, 0, False)
    gpio.put(DIR, 0)
    gpio.qmp("system_powerdown")
    assert not gpio.pending(GPIO_GSI)
    gpio.put(IE, BUTTON)
    assert gpio.pending(GPIO_GSI)


def test_power_button_pressed_again_is_noticed(gpio):
    gpio.put(IEV, BUTTON)
    for _ in range(2):
        gpio.qmp("system_powerdown")
        assert gpio.get(RIS) == BUTTON
        gpio.put(IC, BUTTON)
        assert gpio.get(RIS) == 0


def test_virtio_mmio_slots_and_their_lines(start):
    with start("-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-device,rng=r0",
               machine="microvm,replaceable-slots=off") as vm:
        assert vm.read(4, MMIO) == 0x74726976 and vm.read(4, MMIO + v.DEVICE_ID) == v.ID_RNG
        device = v.Device(vm, MMIO, MMIO_GSI)
        device.set(v.STATUS, 0)
        device.set(v.STATUS, v.ACKNOWLEDGE | v.DRIVER)
        device.set(v.DRIVER_FEATURES_SEL, 1)
        device.set(v.DRIVER_FEATURES, 1)
        device.set(v.STATUS, v.ACKNOWLEDGE | v.DRIVER | v.FEATURES_OK)
        desc, avail, used, data = 0x10000, 0x11000, 0x12000, 0x20000
        device.set(v.QUEUE_SEL, 0)
        device.set(v.QUEUE_NUM, 8)
        for register, at in ((v.QUEUE_DESC, desc), (v.QUEUE_DRIVER, avail), (v.QUEUE_DEVICE, used)):
            device.set(register, RAM + at)
            device.set(register + 4, 0)
        device.set(v.QUEUE_READY, 1)
        device.set(v.STATUS, v.LIVE)
        struct.pack_into("<QIHH", vm.ram, desc, RAM + data, 64, v.WRITE, 0)
        struct.pack_into("<HHH", vm.ram, avail, 0, 1, 0)
        device.set(v.QUEUE_NOTIFY, 0)
        vm.until(lambda: struct.unpack_from("<H", vm.ram, used + 2)[0] == 1, "a used buffer")
        assert struct.unpack_from("<II", vm.ram, used + 4) == (0, 64) and any(vm.ram[data:data + 64])
        assert vm.pending(MMIO_GSI)
        # Flash and the GIC are no memory for devices.
        struct.pack_into("<QIHH", vm.ram, desc, 0x8000000, 64, v.WRITE, 0)
        struct.pack_into("<HHH", vm.ram, avail, 0, 2, 0)
        device.set(v.QUEUE_NOTIFY, 0)
        vm.until(lambda: device.get(v.STATUS) & v.NEEDS_RESET, "the device's complaint")


def test_pci_express_of_virt(start):
    with start("-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r0",
               machine="virt") as vm:
        assert vm.read(4, ECAM) == 0x00081b36
        function = ECAM + (1 << 15)
        assert vm.read(4, function) == 0x10441af4
        # A BAR anywhere in the window below RAM, and in that beyond 512 GiB.
        bars = [(at, vm.read(4, function + at)) for at in range(0x10, 0x28, 4)]
        at, kind = next((at, value) for at, value in bars if value & 6 == 4)
        for base in (0x10000000, 0x8000000000):
            vm.write(4, function + at, base & 0xffffffff)
            vm.write(4, function + at + 4, base >> 32)
            vm.write(2, function + 4, 2)
            assert vm.read(4, base) != 0xffffffff
            vm.write(2, function + 4, 0)
            assert vm.read(4, base) == 0xffffffff
        vm.write(2, FW_CFG + 8, 0)
        assert bytes(vm.read(1, FW_CFG) for _ in range(4)) == b"QEMU"


def test_device_tree_is_at_the_beginning_of_ram(start):
    for machine in ("microvm", "virt"):
        with start("-smp", "3", machine=f"{machine},dumpdtb=/dev/null") as vm:
            magic, size = struct.unpack_from(">II", vm.ram, 0)
            assert magic == 0xd00dfeed
            done = subprocess.run(["dtc", "-I", "dtb", "-O", "dts"], input=vm.ram[:size], capture_output=True, check=True)
            assert done.stderr == b"" and done.stdout.count(b'device_type = "cpu"') == 3
            assert (b"pci-host-ecam-generic" in done.stdout) == (machine == "virt")


def test_vm_generation_id(start, tmp_path):
    """The page, the line that the tree tells of, and with firmware the event of ACPI's, too."""
    page, line, ged, ged_line = 0x90c0000, 9, 0x9080000, 6
    (tmp_path / "rom").write_bytes(bytes(65536))
    for machine, options in (("microvm", ()), ("virt", ()), ("virt", ("-bios", str(tmp_path / "rom")))):
        with start("-device", "vmgenid,id=g,guid=00112233-4455-6677-8899-aabbccddeeff", *options, machine=machine) as vm:
            if not options:
                size = struct.unpack_from(">I", vm.ram, 4)[0]
                done = subprocess.run(["dtc", "-I", "dtb", "-O", "dts"], input=vm.ram[:size], capture_output=True, check=True)
                assert done.stderr == b"" and b'compatible = "microsoft,vmgenid"' in done.stdout
            assert vm.read(8, page) == 0x6677445500112233 and vm.read(8, page + 8) == 0xffeeddccbbaa9988
            assert not vm.pending(line)
            vm.qmp("qom-set", path="/machine/peripheral/g", property="generation", value="ffffffff-0000-0000-0000-000000000001")
            assert vm.read(8, page) == 0xffffffff and vm.read(8, page + 8) == 1 << 56
            assert vm.pending(line)
            if options:
                assert vm.pending(ged_line) and vm.read(4, ged) == 2


@pytest.mark.parametrize("options,complaint", [
    (("-machine", "microvm,gic-version=2"), "gic-version=2 is not 3"),
    (("-machine", "q35"), "q35"),
    (("-machine", "microvm", "-dtb", "/dev/null"), "not a regular file"),
    (("-machine", "virt", "-cpu", "host,pmu=perhaps"), "pmu=perhaps is not one of auto, on, off"),
])
def test_what_is_wrong_is_said(start, options, complaint):
    done = subprocess.run([guest.STRATOVIRT, *options, "-accel", "test", "-m", "128"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and complaint in done.stderr
