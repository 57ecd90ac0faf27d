# SPDX-License-Identifier: Apache-2.0
"""A block device of the host as a disk: a loop device, which gets what the guest writes, flushes and discards."""

import os
import subprocess

import pytest

MIB = 1 << 20
SIZE = 32 * MIB

SCRIPT = """
echo "== size"; cat /sys/block/vda/size
echo "== cache"; cat /sys/block/vda/cache_type
echo "write through" >/sys/block/vda/cache_type; cat /sys/block/vda/cache_type
echo "== read"; dd if=/dev/vda bs=1M count=1 skip=31 2>/dev/null | md5sum
echo "== write"; yes written | dd of=/dev/vda bs=4096 count=256 iflag=fullblock conv=fsync 2>/dev/null && echo done
echo "write back" >/sys/block/vda/cache_type; cat /sys/block/vda/cache_type
echo "== discard"; blkdiscard -o 16777216 -l 8388608 /dev/vda && echo done
dd if=/dev/vda bs=1M skip=16 count=8 2>/dev/null | md5sum
"""


@pytest.fixture(scope="module")
def guest(new_guest):
    guest = new_guest()
    guest.plain_image("backing.img", SIZE)
    guest.blocks_before = os.stat(guest.path("backing.img")).st_blocks
    loop = subprocess.run(["losetup", "--find", "--show", guest.path("backing.img")], check=True, capture_output=True,
                          text=True).stdout.strip()
    try:
        guest.run("-drive", f"id=d0,file={loop},format=raw,cache=none,discard=unmap",
                  "-device", "virtio-blk-device,drive=d0,id=blk0", "-no-reboot", script=SCRIPT)
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)
    return guest.check_finished()


def test_its_size_is_the_disks(guest):
    assert guest.section("size") == str(SIZE // 512)


def test_what_is_on_it_is_read(guest):
    expected = subprocess.run(["md5sum"], input=b"\xa5" * MIB, capture_output=True, check=True).stdout.split()[0].decode()
    assert guest.section("read").split()[0] == expected


def test_what_is_written_is_on_it(guest):
    assert guest.section("write").splitlines()[0] == "done"
    with open(guest.path("backing.img"), "rb") as f:
        assert f.read(MIB) == (b"written\n" * (MIB // 8))[:MIB]
        assert f.read(MIB) == b"\xa5" * MIB


def test_discarded_blocks_are_released(guest):
    assert guest.section("discard").splitlines()[0] == "done"
    zeroes = subprocess.run(["md5sum"], input=bytes(8 * MIB), capture_output=True, check=True).stdout.split()[0].decode()
    assert guest.section("discard").splitlines()[1].split()[0] == zeroes
    assert os.stat(guest.path("backing.img")).st_blocks <= guest.blocks_before - 7 * MIB // 512


def test_the_guest_switches_the_write_cache(guest):
    assert guest.section("cache").splitlines() == ["write back", "write through"]
    assert guest.section("write").splitlines()[1] == "write back"
