# SPDX-License-Identifier: Apache-2.0
"""A stock kernel on q35 without firmware: every virtio device on PCI, ACPI tables judged by iasl, disks that are plugged
into a PCI Express slot, a CPU that comes, goes and comes again, a reboot by the ACPI reset register, and the power button of fixed ACPI hardware."""

import glob
import io
import os
import re
import shutil
import subprocess
import tarfile

import pytest

import test_qmp
import vm

MIB = 1 << 20
ROUNDS = 2
TABLES_AT = 4  # MiB, in the state image

# vda holds the state over the reboot and what the guest has to say; vdb is what is plugged in.
SCRIPT = f"""
await() {{ tries=0; while ! eval "$1" && [ $tries -lt 600 ]; do tries=$((tries + 1)); usleep 50000; done; eval "$1"; }}
modprobe button; modprobe evdev
if [ "$(head -c 6 /dev/vda)" = second ]; then
	echo "== cpus-again"; nproc
	echo "== second"; ls /sys/bus/pci/devices | wc -l
	ls /dev/input/event0 >/dev/null || exit 1
	(head -c 24 /dev/input/event0 >/dev/null; touch /pressed) &
	usleep 200000
	echo "#sv-op-powerdown"
	echo "== pressed"; await '[ -e /pressed ]' && echo yes
	exit 0
fi
for module in virtio_net virtio_console virtio_balloon vmw_vsock_virtio_transport; do modprobe $module; done
echo "== pci"
for d in /sys/bus/pci/devices/*; do
	driver=none; [ -e $d/driver ] && driver=$(basename $(readlink $d/driver))
	echo "$(basename $d) $(cat $d/vendor) $(cat $d/device) $(cat $d/class) $driver"
done
echo "== virtio"
for d in /sys/bus/virtio/devices/*; do
	driver=none; [ -e $d/driver ] && driver=$(basename $(readlink $d/driver))
	echo "$(cat $d/device) $driver"
done
echo "== vectors"; ls -d /sys/bus/pci/devices/*/msi_irqs | wc -l
echo "== mcfg"; dmesg | grep -c 'PCI: MMCONFIG at .* reserved in'
echo "== complaints"; dmesg | grep -iE 'ACPI (BIOS )?(error|warning)|AE_|can.t (assign|claim)|no compatible bridge window|not claimed'
echo "== interrupts"; cat /proc/interrupts
echo "#sv-op-net"; read -r line
ifconfig eth0 10.79.0.2 netmask 255.255.255.0 up
echo "== net"; cat /sys/class/net/eth0/address; ping -c 3 -W 10 10.79.0.1 | grep received
echo "== net-interrupts"; grep -c -- '-input.0' /proc/interrupts
echo "== dmi"; cat /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_name
echo "== random"; cat /sys/class/misc/hw_random/rng_current
tar -cf - -C /sys/firmware/acpi tables | dd of=/dev/vda bs=1M seek={TABLES_AT} conv=notrunc,fsync 2>/dev/null
for round in $(seq {ROUNDS}); do
	echo "#sv-op-plug$round"
	echo "== plugged$round"; await '[ -b /dev/vdb ]' && dd if=/dev/vdb bs=1M count=1 2>/dev/null | tr -d '\\245' | wc -c
	echo hot-plugged | dd of=/dev/vdb bs=512 seek=2048 conv=sync,fsync 2>/dev/null && echo written
	echo "#sv-op-unplug$round"
	echo "== unplugged$round"; await '[ ! -b /dev/vdb ]' && echo gone
done
for round in $(seq {ROUNDS}); do
	[ $round = 1 ] || {{ echo "#sv-op-cpu-go$round"; echo "== cpu-gone$round"; await '[ ! -d /sys/devices/system/cpu/cpu2 ]' && echo gone; }}
	echo "#sv-op-cpu$round"
	echo "== cpu$round"; cat /sys/devices/system/cpu/possible
	await '[ -e /sys/devices/system/cpu/cpu2/online ]' && echo came
	echo 1 >/sys/devices/system/cpu/cpu2/online
	cat /sys/devices/system/cpu/online
	taskset -c 2 sh -c 'read -r line </proc/self/stat; set -- $line; shift 38; echo on $1'
done
echo "== cpu-complaints"; dmesg | grep -iE 'eject|offline failed|ACPI (BIOS )?(error|warning)|AE_|Cannot set up'
printf second | dd of=/dev/vda conv=notrunc,fsync 2>/dev/null
reboot -f
sleep 30
"""

OPTIONS = ("-drive", "id=d0,file=state.img",
           "-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r0,id=rng0",
           "-device", "virtio-balloon-pci,id=balloon0",
           "-device", "virtio-serial-pci,id=vs0", "-chardev", "null,id=c0", "-device", "virtconsole,chardev=c0,id=con0",
           "-device", "vhost-vsock-pci,guest-cid=78,id=vsock0",
           "-device", "pcie-root-port,id=rp0,chassis=1,slot=1", "-device", "pcie-root-port,id=rp1,chassis=2,slot=2",
           "-netdev", "tap,id=n0,ifname=svq350,script=no,downscript=no",
           "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:79:00:02,id=net0",
           "-device", "pvpanic", "-smbios", "type=1,manufacturer=Example,product=Q35 test")


class Operator(test_qmp.Operator):
    def plug(self, name):
        self.q.run("blockdev-add", driver="raw", node_name=name, file={"driver": "file", "filename": self.guest.path(name)})
        self.q.run("device_add", driver="virtio-blk-pci", id="hot", drive=name, bus="rp0")

    def unplug(self, name):
        self.q.run("device_del", id="hot")
        self.seen["deleted"] = self.seen.get("deleted", 0) + (self.event("DEVICE_DELETED")["data"]["device"] == "hot")
        self.q.run("blockdev-del", node_name=name)

    def work(self):
        self.wait_for("net")
        subprocess.run(["ip", "addr", "add", "10.79.0.1/24", "dev", "svq350"], check=True)
        subprocess.run(["ip", "link", "set", "svq350", "up"], check=True)
        self.guest.process.stdin.write(b"\n")
        self.guest.process.stdin.flush()
        self.wait_for("plug1")
        self.q = test_qmp.Client(self.guest.path("qmp.sock"))
        for number in range(1, ROUNDS + 1):
            self.wait_for(f"plug{number}")
            self.plug("hot.img")
            self.wait_for(f"unplug{number}")
            self.unplug("hot.img")
        for number in range(1, ROUNDS + 1):
            if number > 1:
                self.wait_for(f"cpu-go{number}")
                self.q.run("device_del", id="cpu2")
                self.seen["ejected"] = self.event("DEVICE_DELETED")["data"]["device"]
            self.wait_for(f"cpu{number}")
            free = [place for place in self.q.run("query-hotpluggable-cpus") if "qom-path" not in place]
            self.seen["free"] = len(free)
            self.q.run("device_add", driver=free[0]["type"], id="cpu2", **free[0]["props"])
        self.seen["paths"] = [cpu["qom-path"] for cpu in self.q.run("query-cpus-fast")]
        self.seen["reset"] = self.event("RESET")["data"]
        self.wait_for("powerdown")
        self.q.run("system_powerdown")
        self.event("POWERDOWN")
        self.seen["shutdown"] = self.event("SHUTDOWN")["data"]


@pytest.fixture(scope="module")
def run(new_guest):
    guest = new_guest()
    guest.plain_image("state.img", 8 * MIB, b"\0")
    guest.plain_image("hot.img", 2 * MIB)
    operator = Operator(guest)
    operator.daemon = True
    operator.start()
    try:
        guest.run(*OPTIONS, "-qmp", "unix:qmp.sock,server,nowait", machine="q35", smp="2,maxcpus=4", script=SCRIPT,
                  timeout=3 * test_qmp.LIMIT)
    finally:
        operator.join(10)
        assert operator.error is None, f"{operator.error!r}: {guest.report()}"
    guest.check_finished()
    return guest, operator.seen


def test_functions_and_their_drivers(run):
    found = dict(line.split(" ", 1) for line in run[0].section("pci").splitlines())
    assert found.pop("0000:00:00.0") == "0x8086 0x29c0 0x060000 none"
    assert found.pop("0000:00:1f.0").startswith("0x8086 0x2918 0x060100 ")
    kinds = sorted(line.split()[1] + " " + line.split()[-1] for line in found.values())
    assert kinds == ["0x000c pcieport"] * 2 + [f"{device} virtio-pci" for device in (
        "0x1041", "0x1042", "0x1043", "0x1044", "0x1045", "0x1053")]


def test_every_virtio_driver_is_bound(run):
    drivers = sorted(run[0].section("virtio").splitlines())
    assert drivers == ["0x0001 virtio_net", "0x0002 virtio_blk", "0x0003 virtio_console", "0x0004 virtio_rng", "0x0005 virtio_balloon",
                       "0x0013 vmw_vsock_virtio_transport"]
    assert run[0].section("random") == "virtio_rng.0"


def test_the_network_card_carries_frames(run):
    mac, summary = run[0].section("net").splitlines()
    assert mac == "52:54:00:79:00:02" and "3 packets received" in summary
    assert run[0].section("net-interrupts") == "1"


def test_interrupts_are_messages(run):
    assert int(run[0].section("vectors")) >= 5
    text = run[0].section("interrupts")
    assert "PCI-MSI" in text and re.search(r"virtio\d+-req", text)
    assert any(line.split()[-1] == "acpi" and "fasteoi" in line for line in text.splitlines()), "the SCI is level-triggered"


def test_the_kernel_complains_of_nothing(run):
    assert run[0].section("mcfg") == "1"
    assert run[0].section("complaints") == ""


def test_smbios_is_placed_beside_acpi(run):
    assert run[0].section("dmi").splitlines() == ["Example", "Q35 test"]


def test_acpi_tables_please_iasl(run, tmp_path):
    if not shutil.which("iasl"):
        pytest.skip("iasl is not installed (package acpica-tools)")
    with open(run[0].path("state.img"), "rb") as f:
        f.seek(TABLES_AT * MIB)
        with tarfile.open(fileobj=io.BytesIO(f.read()), mode="r:") as tar:
            for member in tar.getmembers():
                if member.isfile() and member.name.count("/") == 1:
                    (tmp_path / os.path.basename(member.name)).with_suffix(".dat").write_bytes(
                        tar.extractfile(member).read())
    names = sorted(os.path.basename(path)[:-4] for path in glob.glob(str(tmp_path / "*.dat")))
    assert {"APIC", "DSDT", "FACP", "FACS", "MCFG"} <= set(names)
    for name in names:
        for command in (["iasl", "-d", f"{name}.dat"], ["iasl", f"{name}.dsl"]):
            done = subprocess.run(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert done.returncode == 0, done.stdout
            assert not any(word in done.stdout for word in ("Warning  ", "Error  ", "Remark  ")), done.stdout


@pytest.mark.parametrize("number", range(1, ROUNDS + 1))
def test_disks_come_and_go(run, number):
    # What the image is filled with, and nothing else in its first MiB.
    assert run[0].section(f"plugged{number}").split() == ["0", "written"]
    assert run[0].section(f"unplugged{number}") == "gone"


def test_every_unplug_was_told(run):
    assert run[1]["deleted"] == ROUNDS


def test_a_cpu_comes_and_goes(run):
    for number in range(1, ROUNDS + 1):
        assert run[0].section(f"cpu{number}").split() == ["0-3", "came", "0-2", "on", "2"]
        assert number == 1 or run[0].section(f"cpu-gone{number}") == "gone"
    assert run[0].section("cpu-complaints") == "" and run[1]["ejected"] == "cpu2"


def test_a_cpu_that_came_is_there_after_a_reboot(run):
    assert run[1]["free"] == 2
    assert run[1]["paths"][2] == "/machine/peripheral/cpu2"
    assert run[0].section("cpus-again") == "3"


def test_reboot_by_the_reset_register(run):
    assert run[1]["reset"] == {"guest": True, "reason": "guest-reset"}
    assert run[0].console.count("#sv-begin script") == 2
    assert run[0].section("second") == "10"


def test_the_power_button_is_heeded(run):
    assert run[0].section("pressed") == "yes"
    assert run[1]["shutdown"] == {"guest": True, "reason": "guest-shutdown"}


# --- Debian's other kernel, and memory on both sides of the hole ---

GENERIC = """
echo "== uname"; uname -r
echo "== ram"; grep 'System RAM' /proc/iomem
echo "== memory"; grep MemTotal /proc/meminfo
echo "== block"; dd if=/dev/vda bs=1M count=1 2>/dev/null | tr -d '\\245' | wc -c
echo "== above"; grep -i virtio-pci-modern /proc/iomem
"""


@pytest.fixture(scope="module")
def generic(new_guest):
    guest = new_guest()
    guest.plain_image("d0.img", MIB)
    kernel = vm.images.generic()
    return guest.run("-drive", "id=d0,file=d0.img,readonly=on", machine="q35", memory="3072", script=GENERIC,
                     kernel=os.path.join(kernel, "vmlinuz"), modules=kernel).check_finished()


def test_generic_kernel(generic):
    assert generic.section("uname") == vm.images.kernel_version(vm.images.generic())
    assert generic.section("block") == "0"


def test_memory_on_both_sides_of_the_hole(generic):
    assert int(generic.section("memory").split()[1]) > 3072 * 1024 * 0.9
    ends = [int(line.split()[0].split("-")[1], 16) for line in generic.section("ram").splitlines()]
    assert 0x7fffffff in ends and 0x13fffffff in ends
    # Prefetchable BARs are above all RAM.
    assert all(int(line.split("-")[0], 16) >= 32 << 30 for line in generic.section("above").splitlines())
    assert generic.section("above")
