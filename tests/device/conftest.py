# SPDX-License-Identifier: Apache-2.0
"""The device ring: real devices without a guest. Needs the VMM and nothing else."""

import os
import struct
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import guest  # noqa: E402

SECTORS = 2048
DISK = ("-drive", "id=d0,file=$DISK,format=raw,direct=off", "-device", "virtio-blk-device,drive=d0,serial=disk-0")
RNG = ("-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-device,rng=r0")


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
def start(disk):
    """start(*options): a VMM that ends with the test. Words of options name the usual devices."""
    running = []

    def run(*options, **more):
        words = []
        for option in options:
            words += {"disk": DISK, "rng": RNG}.get(option, (option,))
        vm = guest.VM(*[word.replace("$DISK", str(disk)) for word in words], **more)
        running.append(vm)
        return vm

    yield run
    for vm in running:
        vm.__exit__(None)


@pytest.fixture
def vm(start):
    """A disk and a random number generator."""
    return start("disk", "rng")
