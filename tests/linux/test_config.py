# SPDX-License-Identifier: Apache-2.0
"""A stock kernel from a file of the old format, with every section that it has."""

import json
import os
import re
import subprocess

import pytest

import vm

README = os.path.join(vm.TOP, "docs", "config.md")
TAP = "svc0"

SCRIPT = """
echo "== disks"; for d in vda vdb; do cat /sys/block/$d/size /sys/block/$d/ro /sys/block/$d/serial; echo; done
echo "== read"; head -c 4 /dev/vdb; echo
ip link set eth0 up; ip addr add 10.88.0.2/24 dev eth0
echo "== address"; cat /sys/class/net/eth0/address
echo "== ping"; ping -c 2 -W 5 10.88.0.1
echo "== console"; ls /sys/class/virtio-ports
echo "== random"; cat /sys/class/misc/hw_random/rng_available
echo "== drivers"; for d in /sys/bus/virtio/devices/*; do [ -e $d/driver ] && basename $(readlink $d/driver); done | sort | uniq -c
echo "== cpus"; grep -c ^processor /proc/cpuinfo
echo "== memory"; awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo
"""


@pytest.fixture(scope="module")
def guest(new_guest):
    guest = new_guest()
    guest.plain_image("root.img", 2 << 20)
    guest.plain_image("data.img", 1 << 20, b"DATA"[:1])

    def describe(kernel, initrd, append):
        return {
            "boot-source": {"kernel_image_path": kernel, "boot_args": append, "initrd_fs_path": initrd},
            "machine-config": {"type": "MicroVm", "vcpu_count": 2, "mem_size": 268435456, "mem_share": True,
                               "dump_guest_core": False},
            "drive": [{"drive_id": "rootfs", "path_on_host": "root.img", "direct": False, "read_only": False,
                       "serial_num": "11111111", "iothread": "iothread1", "iops": 100000},
                      {"drive_id": "data", "path_on_host": "data.img", "direct": False, "read_only": True}],
            "net": [{"iface_id": "net0", "host_dev_name": TAP, "mac": "52:54:00:aa:bb:09", "iothread": "iothread1"}],
            "console": [{"console_id": "console0", "socket_path": guest.path("console.sock")}],
            "vsock": {"vsock_id": "vsock0", "guest_cid": 4711},
            "serial": {"stdio": True},
            "iothread": [{"id": "iothread1"}],
            "balloon": {"deflate_on_oom": True},
            "rng": {"random_file": "/dev/urandom", "bytes_per_sec": 1000000},
        }

    subprocess.run(["ip", "tuntap", "add", "dev", TAP, "mode", "tap", "vnet_hdr"], check=True)
    try:
        subprocess.run(["ip", "addr", "add", "10.88.0.1/24", "dev", TAP], check=True)
        subprocess.run(["ip", "link", "set", TAP, "up"], check=True)
        guest.run(describe=describe, script=SCRIPT, append="sv.modules=virtio_net,virtio_console,virtio_balloon,virtio_rng")
    finally:
        subprocess.run(["ip", "link", "del", TAP], check=True)
    return guest.check_finished()


def test_nothing_is_written_to_stderr(guest):
    assert guest.errors == ""


def test_disks(guest):
    assert guest.section("disks").split() == ["4096", "0", "11111111", "2048", "1"]
    assert guest.section("read") == "DDDD"


def test_network(guest):
    assert guest.section("address") == "52:54:00:aa:bb:09"
    assert "2 packets received" in guest.section("ping")


def test_every_device_has_its_driver(guest):
    found = {name: int(count) for count, name in re.findall(r"(\d+) (\S+)", guest.section("drivers"))}
    assert found["virtio_blk"] == 2 and found["virtio_net"] == 1 and found["virtio_rng"] == 1
    assert found["virtio_balloon"] == 1 and found["virtio_console"] == 1
    assert guest.section("console") and "virtio_rng" in guest.section("random")


def test_size(guest):
    assert guest.section("cpus") == "2"
    assert 200 < int(guest.section("memory")) <= 256


def test_the_example_of_the_documentation_boots(new_guest):
    """As printed, with real files in the places of those it names."""
    guest = new_guest()
    guest.root_image()
    with open(README) as f:
        example = next(e for e in map(json.loads, re.findall(r"```json\n(.*?)```", f.read(), re.S)) if "boot-source" in e)

    def describe(kernel, initrd, append):
        boot = example["boot-source"]
        boot.update(kernel_image_path=kernel, initrd_fs_path=initrd, boot_args=f"{boot['boot_args']} {append}")
        assert example["drive"][0]["path_on_host"] == "root.img"
        return example

    guest.run(describe=describe, script="echo '== root'; grep ' / ' /proc/mounts")
    assert "ext4" in guest.check_finished().section("root")
