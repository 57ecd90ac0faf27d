# SPDX-License-Identifier: Apache-2.0
"""The machines of aarch64 under the test accelerator: what lies where, with the VMM built for aarch64 under qemu-user
where this machine is another one."""

import os
import platform
import struct
import subprocess

import guest
import pytest
import virtio as v

NATIVE = platform.machine() == "aarch64"
BINARY = os.path.join(guest.TOP, "build", "" if NATIVE else "aarch64", "stratovirt")
RAM = 0x40000000
SERIAL, RTC, FW_CFG, MMIO, ECAM = 0x9000000, 0x9010000, 0x9020000, 0xa000000, 511 << 30
SERIAL_GSI, RTC_GSI, MMIO_GSI, PCI_GSI = 7, 5, 32, 16


@pytest.fixture
def start(tmp_path, monkeypatch):
    # A filter for one machine's system calls ends the emulator of another.
    wrapper = tmp_path / "stratovirt"
    wrapper.write_text(f'#!/bin/sh\nexec {"" if NATIVE else "qemu-aarch64-static "}{BINARY} "$@" {"" if NATIVE else "-disable-seccomp"}\n')
    wrapper.chmod(0o755)
    subprocess.run(["make", "--no-print-directory", "-j2", *([] if NATIVE else ["ARCH=aarch64", "CROSS_COMPILE=aarch64-linux-gnu-"]),
                    BINARY[len(guest.TOP) + 1:]], cwd=guest.TOP, check=True, stdout=subprocess.DEVNULL)
    monkeypatch.setattr(guest, "STRATOVIRT", str(wrapper))
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


@pytest.mark.parametrize("options,complaint", [
    (("-machine", "microvm,gic-version=2"), "gic-version=2 is not 3"),
    (("-machine", "q35"), "q35"),
    (("-machine", "microvm", "-dtb", "/dev/null"), "not a regular file"),
    (("-machine", "virt", "-cpu", "host,pmu=perhaps"), "pmu=perhaps is not one of auto, on, off"),
])
def test_what_is_wrong_is_said(start, options, complaint):
    done = subprocess.run([guest.STRATOVIRT, *options, "-accel", "test", "-m", "128"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and complaint in done.stderr
