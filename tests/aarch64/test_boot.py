# SPDX-License-Identifier: Apache-2.0
"""Both machines, several processor counts, the packings of a kernel: what a stock Debian kernel makes of them."""

import gzip
import re
import struct

import pytest

import host_caches
import images
import numa
import two_nodes

SCRIPT = """
echo "== uname"; uname -rm
echo "== processors"; nproc; cat /sys/devices/system/cpu/online
echo "== packages"; cat /sys/devices/system/cpu/cpu*/topology/physical_package_id
echo "== clusters"; cat /sys/devices/system/cpu/cpu*/topology/cluster_cpus_list
echo "== siblings"; cat /sys/devices/system/cpu/cpu*/topology/package_cpus_list
echo "== memory"; grep MemTotal /proc/meminfo
echo "== log"; dmesg | grep -E -e GICv3: -e psci: -e PMU -e KASLR -e stolen -e "WARNING:|BUG:|OF:|FDT" | sed "s/^/: /"
echo "== interrupts"; grep arch_timer /proc/interrupts
echo "== clock"; cat /sys/class/rtc/rtc0/name /sys/class/rtc/rtc0/since_epoch; date +%s
echo "== clocksource"; cat /sys/devices/system/clocksource/clocksource0/current_clocksource
echo "== seeds"; wc -c </proc/device-tree/chosen/rng-seed; ls /proc/device-tree/chosen
@CACHES@
@NODES@
echo "== offline"
for cpu in $(seq 1 $(($(nproc --all) - 1))); do
	[ $cpu -gt 2 ] && break
	echo 0 >/sys/devices/system/cpu/cpu$cpu/online && cat /sys/devices/system/cpu/online
	echo 1 >/sys/devices/system/cpu/cpu$cpu/online && cat /sys/devices/system/cpu/online
done
echo "== work"
for cpu in $(seq 0 $(($(nproc) - 1))); do
	taskset -c $cpu sh -c 'read -r line </proc/self/stat; set -- $line; shift 38; echo $1'
done
""".replace("@CACHES@", host_caches.SCRIPT).replace("@NODES@", numa.SCRIPT)


def packed(path, how):
    """The kernel as it is, gzipped, or in an EFI zboot program, whose header tells where the packed image is."""
    with open(images.vmlinuz(), "rb") as f:
        image = f.read()
    if how == "Image":
        return images.vmlinuz()
    data = gzip.compress(image, 1)
    if how == "zboot":
        header = b"MZ\0\0zimg" + struct.pack("<II", 64, len(data)) + b"\0" * 8 + b"gzip".ljust(32, b"\0")
        data = header.ljust(64, b"\0") + data
    with open(path, "wb") as f:
        f.write(data)
    return path


# machine, -smp, MiB, packing: every value of each meets a boot. virt with one CPU is in test_uefi, microvm with two in test_devices.
EIGHT = "8,sockets=2,clusters=2,cores=2,threads=1"
BOOTS = {"microvm-1": ("microvm", "1", 256, "Image.gz"),
         "virt-2": ("virt", two_nodes.SMP, 512, "zboot"),
         "microvm-8": ("microvm", EIGHT, 1024, "Image"),
         "virt-8": ("virt", EIGHT, 1024, "Image")}


@pytest.fixture(scope="module", params=BOOTS)
def booted(request, new_guest):  # noqa: F811
    machine, smp, mib, how = BOOTS[request.param]
    guest = new_guest()
    with host_caches.host_caches():
        guest.run("-no-reboot", *(two_nodes.OPTIONS if smp == two_nodes.SMP else ()), machine=machine, smp=smp, memory=str(mib),
                  script=SCRIPT, timeout=240, kernel=packed(guest.path("kernel"), how))
    return guest.check_finished(), int(smp.split(",")[0]), mib


def test_kernel_is_the_stock_one(booted):
    assert booted[0].section("uname") == f"{images.kernel_version(images.cloud())} aarch64"


def test_all_processors_are_online_and_run_programs(booted):
    guest, processors, _ = booted
    assert guest.section("processors").split() == [str(processors), "0" if processors == 1 else f"0-{processors - 1}"]
    assert guest.section("work").split() == [str(n) for n in range(processors)]


def test_topology_is_the_one_asked_for(booted):
    guest, processors, _ = booted
    assert len(set(guest.section("packages").split())) == (2 if processors == 8 else 1)
    if processors == 8:
        assert guest.section("siblings").split() == ["0-3"] * 4 + ["4-7"] * 4
        assert guest.section("clusters").split() == [f"{n}-{n + 1}" for n in (0, 2, 4, 6) for _ in range(2)]


def test_caches_are_the_hosts(booted):
    guest, processors, _ = booted
    socket = {1: "0", 2: "0-1", 8: "4-7"}[processors]
    assert guest.section("caches").splitlines() == host_caches.expected(processors - 1, socket)


def test_memory_and_processors_are_in_their_nodes(booted):
    guest, processors, _ = booted
    if processors == 2:
        two_nodes.check(guest)
    else:
        assert guest.section("nodes") == f"node0 cpus {'0' if processors == 1 else '0-7'} distance 10"


def test_processors_go_off_and_come_back_by_psci(booted):
    guest, processors, _ = booted
    everything = f"0-{processors - 1}"
    expected = {1: [], 2: ["0", "0-1"], 8: ["0,2-7", everything, "0-1,3-7", everything]}[processors]
    assert guest.section("offline").split() == expected


def test_memory_is_all_there(booted):
    guest, _, mib = booted
    total = int(guest.section("memory").split()[1])
    assert mib * 1024 * 0.955 - 40 * 1024 < total <= mib * 1024


def test_interrupt_controller_and_psci_are_known(booted):
    log = booted[0].section("log")
    assert re.search(r"GICv3: 160 SPIs implemented", log)
    assert re.search(r"psci: PSCIv1\.\d+ detected", log)


def test_timer_ticks_on_every_processor(booted):
    guest, processors, _ = booted
    timer = next(line for line in guest.section("interrupts").splitlines() if "arch_timer" in line)
    counts = [int(n) for n in timer.split(":")[1].split()[:processors]]
    assert len(counts) == processors and all(n > 0 for n in counts)
    assert guest.section("clocksource") == "arch_sys_counter"


def test_pmu_is_there(booted):
    assert "armv8_pmuv3 PMU driver" in booted[0].section("log")


def test_stolen_time_is_known(booted):
    assert "using stolen time PV" in booted[0].section("log")


def test_clock_shows_the_hosts_time(booted):
    name, shown, system = booted[0].section("clock").rsplit(None, 2)
    assert "pl031" in name
    assert abs(int(shown) - int(system)) <= 5


def test_seeds_come_from_the_host(booted):
    text = booted[0].section("seeds").split()
    assert text[0] == "32" or "rng-seed" not in text  # later kernels wipe it after use
    assert "KASLR enabled" in booted[0].section("log")


def test_kernel_has_nothing_to_complain_of(booted):
    bad = [line for line in booted[0].section("log").splitlines()
           if re.search(r"WARNING:|BUG:|OF: .*(bad|error|fail)|FDT.*error", line)]
    assert bad == []
