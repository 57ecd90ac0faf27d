# SPDX-License-Identifier: Apache-2.0
"""The device ring: real devices without a guest. Needs the VMM and nothing else."""

import os
import re
import struct
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import guest  # noqa: E402
import layout  # noqa: E402
import pci  # noqa: E402
import tap  # noqa: E402

SECTORS = 2048
DISK = ("-drive", "id=d0,file=$DISK,format=raw,direct=off", "-device", "virtio-blk-device,drive=d0,serial=disk-0")
RNG = ("-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-device,rng=r0")

# Devices and machines that one architecture has alone; a test of another file says so itself: @pytest.mark.arch(…).
ONLY = {
    "x86_64": ("test_platform.py", "test_serial.py", "test_q35.py", "test_q35_like_qemu.py", "test_vmgenid.py",
               "test_firmware.py", "test_protocol.py", "test_faults.py", "test_crash.py", "test_documented.py"),
    "aarch64": ("test_aarch64.py", "test_flash_wide.py"),
}
collect_ignore = [name for arch, names in ONLY.items() if arch != layout.ARCH for name in names]


def pytest_configure(config):
    config.addinivalue_line("markers", "arch(name): for the machines of this architecture alone")


def pytest_collection_modifyitems(config, items):
    other = [item for item in items if any(mark.args[0] != layout.ARCH for mark in item.iter_markers("arch"))]
    config.hook.pytest_deselected(items=other)
    items[:] = [item for item in items if item not in other]


@pytest.fixture(scope="session", autouse=True)
def vmm():
    assert os.access(guest.STRATOVIRT, os.X_OK), f"{guest.STRATOVIRT} is missing: run make first"


@pytest.fixture
def disk(tmp_path):
    """An image in which each sector holds its number, 64 times."""
    path = tmp_path / "disk"
    path.write_bytes(b"".join(struct.pack("<Q", i) * 64 for i in range(SECTORS)))
    return path


@pytest.fixture
def transport():
    """Of virtio devices. A module or a test whose promises hold for both overrides it: parametrize("transport", …)."""
    return "mmio"


@pytest.fixture
def start(disk, transport):
    """start(*options): a VMM that ends with the test. Words of options name the usual devices. $TAP is the descriptor
    of a tap, the other end of whose cable is vm.tap."""
    running, taps = [], []

    def run(*options, pairs=1, bus=transport, **more):
        words = []
        for option in options:
            words += {"disk": DISK, "rng": RNG}.get(option, (option,))
        if bus == "pci":
            words = [re.sub("^(virtio-[a-z]+|vhost-vsock)-device", r"\1-pci", word) for word in words]
            more.setdefault("machine", pci.MACHINE)
        cable = None
        if any("$TAP" in word for word in words):
            cable = tap.Tap(disk.parent, pairs)
            taps.append(cable)
            more["fds"] = cable.fds
            words = [word.replace("$TAP", ":".join(map(str, cable.fds))) for word in words]
        vm = guest.VM(*[word.replace("$DISK", str(disk)) for word in words], **more)
        vm.tap = cable
        vm.transport = bus
        running.append(vm)
        return vm

    yield run
    try:
        for vm in running:
            vm.__exit__(None)
    finally:
        for cable in taps:
            cable.close()


@pytest.fixture
def vm(start):
    """A disk and a random number generator."""
    return start("disk", "rng")
