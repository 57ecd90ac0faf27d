# SPDX-License-Identifier: Apache-2.0
"""Kernel formats, processor counts and memory sizes, several of them in each boot."""

import re

import pytest

import images

SCRIPT = """
echo "== uname"; uname -r
echo "== processors"; nproc; cat /sys/devices/system/cpu/online
echo "== cpuinfo"; grep -E '^(processor|apicid)' /proc/cpuinfo
echo "== packages"; cat /sys/devices/system/cpu/cpu*/topology/physical_package_id
echo "== memory"; grep MemTotal /proc/meminfo
echo "== ram"; grep 'System RAM' /proc/iomem
echo "== fw_cfg"; modprobe qemu_fw_cfg; cat /sys/firmware/qemu_fw_cfg/rev /sys/firmware/qemu_fw_cfg/by_name/opt/greeting/raw; echo
echo "== work"
for cpu in $(seq 0 $(($(nproc) - 1))); do
	taskset -c $cpu sh -c 'read -r line </proc/self/stat; set -- $line; shift 38; echo $1'
done
"""

KERNELS = {"bzImage": images.vmlinuz, "ELF": images.vmlinux, "raw": images.vmlinux_bin}
# Kernel, -smp, MiB: every value of each meets a boot, not every value each other.
BOOTS = {"1-cpu": ("ELF", "1", 128), "2-cpus": ("raw", "2", 256),
         "8-cpus": ("bzImage", "8,sockets=2,cores=4,threads=1", 4608)}


@pytest.fixture(scope="module", params=BOOTS)
def booted(request, new_guest):
    kernel, smp, mib = BOOTS[request.param]
    processors = int(smp.split(",")[0])
    guest = new_guest().run("-no-reboot", "-fw_cfg", "name=opt/greeting,string=good morning", kernel=KERNELS[kernel](), smp=smp,
                            memory=str(mib), script=SCRIPT, timeout=150)
    return guest.check_finished(), processors, mib


def test_kernel_is_the_stock_one(booted):
    guest, _, _ = booted
    assert guest.section("uname") == images.kernel_version(images.cloud())


def test_all_processors_are_online(booted):
    guest, processors, _ = booted
    count, online = guest.section("processors").split()
    assert int(count) == processors
    assert online == ("0" if processors == 1 else f"0-{processors - 1}")


def test_processor_ids_are_distinct(booted):
    guest, processors, _ = booted
    ids = re.findall(r"^apicid\s*: (\d+)", guest.section("cpuinfo"), re.M)
    assert len(set(ids)) == processors


def test_sockets_are_packages(booted):
    guest, processors, _ = booted
    # Without "sockets=" all processors are cores of one.
    expected = 2 if processors == 8 else 1
    assert len(set(guest.section("packages").split())) == expected


def test_every_processor_runs_programs(booted):
    guest, processors, _ = booted
    assert guest.section("work").split() == [str(n) for n in range(processors)]


def test_memory_is_all_there(booted):
    guest, _, mib = booted
    total = int(guest.section("memory").split()[1])
    # The kernel keeps its image, its page descriptors (1/64) and its bounce buffers to itself.
    assert mib * 1024 * 0.955 - 40 * 1024 < total <= mib * 1024


def test_memory_leaves_the_hole_below_4_gib(booted):
    guest, _, mib = booted
    ranges = [[int(part, 16) for part in line.split(" :")[0].strip().split("-")]
              for line in guest.section("ram").splitlines() if not line.startswith(" ")]
    hole, four_gib = 0xFEC00000, 1 << 32
    assert all(last < hole or first >= four_gib for first, last in ranges)
    # Two low regions (below 640 KiB and from 1 MiB), and one more for what lies above 4 GiB.
    assert any(first >= four_gib for first, _ in ranges) == (mib > 4096)


def test_a_file_for_the_guest_is_in_sysfs(booted):
    guest, _, _ = booted
    assert guest.section("fw_cfg") == "3\ngood morning"
