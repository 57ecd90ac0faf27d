# SPDX-License-Identifier: Apache-2.0
"""Slots of PCI Express root ports on virt, and the power button: a stock kernel told by a device tree, and one told by ACPI
tables, which came by AAVMF. Disks and a card come and go in use, by the kernel's native hot-plug; then the button is pressed."""

import os
import re
import subprocess
import sys
import threading
import time

import pytest
import test_uefi
import vm

sys.path.insert(0, os.path.join(vm.TOP, "tests", "qmp"))
from client import Client  # noqa: E402

MIB = 1 << 20
LIMIT = 2 * vm.BOOT_TIMEOUT
TAP = "armtap1"

PRESSED = """
echo "== button"
for driver in evdev gpio_keys; do modprobe $driver 2>/dev/null; done
grep -l . /sys/class/input/event*/device/name | while read -r file; do
	read -r name <$file; event=${file%/device/name}; echo "$(basename $event) $name"
done
event=$(grep -l -i power /sys/class/input/event*/device/name /sys/class/input/event*/device/uevent | head -n 1)
[ -z "$event" ] && event=$(grep -l gpio-keys /sys/class/input/event*/device/name | head -n 1)
event=${event%/device/*}
(dd if=/dev/input/$(basename $event) bs=24 count=1 2>/dev/null | hexdump -v -e '/2 "%u "' >/pressed.tmp; mv /pressed.tmp /pressed) &
# The reader has the device open when it sleeps there; before that nothing would be kept for it.
tries=0
while ! ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q /dev/input/event && [ $tries -lt 600 ]; do tries=$((tries + 1)); usleep 50000; done
echo "#sv-op-powerdown"
tries=0
while [ ! -e /pressed ] && [ $tries -lt 1200 ]; do tries=$((tries + 1)); usleep 50000; done
echo "== pressed"; cat /pressed; echo
"""

SCRIPT = f"""
late() {{ echo "#sv-late $1"; exit 1; }}
there() {{ tries=0; while [ ! -e $1 ]; do tries=$((tries + 1)); [ $tries -gt 1200 ] && late "with $1"; usleep 50000; done; }}
gone() {{ tries=0; while [ -e $1 ]; do tries=$((tries + 1)); [ $tries -gt 1200 ] && late "without $1"; usleep 50000; done; }}
modprobe virtio_net
echo "== firmware"; ls /sys/firmware
echo "== slots"; ls /sys/bus/pci/slots
echo "== dmi"; cat /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_name /sys/class/dmi/id/board_name 2>/dev/null
echo "== oem"; strings /sys/firmware/dmi/tables/DMI 2>/dev/null | grep ^oem-
for n in $(seq @ROUNDS@); do
	echo "#sv-op-plug$n"
	there /dev/vdb
	echo round-$n | dd of=/dev/vdb bs=512 seek=$n conv=sync,fsync 2>/dev/null && echo "#sv-wrote $n"
	[ $n = 1 ] && echo "== hot" && grep -c . /sys/block/vdb/size && grep 'virtio.*-req' /proc/interrupts
	(while dd if=/dev/vdb of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null; do :; done) &
	echo "#sv-op-unplug$n"
	# The button's way takes a guest 5 s, in which a user may change his mind; by the slot's power file it is done at once.
	if [ $n != 1 ]; then read -r line; echo 0 >/sys/bus/pci/slots/9/power; fi
	gone /dev/vdb
	wait
done
echo "#sv-op-card"
there /sys/class/net/eth0 && echo "== card" && cat /sys/class/net/eth0/address
ifconfig eth0 10.79.1.2 netmask 255.255.255.0 up; ping -c 3 -W 20 10.79.1.1 >/dev/null && echo "== ping" && echo answered
echo "== card-interrupts"; grep virtio /proc/interrupts
echo "#sv-op-uncard"; read -r line; echo 0 >/sys/bus/pci/slots/9/power
gone /sys/class/net/eth0 && echo "== no-card" && echo gone
echo "== log"; dmesg | grep -i -e 'BUG:' -e 'WARNING:' -e 'pcie.*error' -e 'pciehp.*fail' -e 'Timeout on hotplug' | sed 's/^/: /'
{PRESSED}
echo "== end"
"""


class Operator(threading.Thread):
    """Speaks QMP when the guest's console asks for it."""

    def __init__(self, guest, rounds):
        super().__init__(daemon=True)
        self.guest, self.rounds, self.error, self.held, self.deleted = guest, rounds, None, [], 0
        self.q = None
        self.start()

    def wait_for(self, word):
        end = time.monotonic() + LIMIT
        while f"#sv-op-{word}\n" not in self.guest.console:
            ended = self.guest.process and self.guest.process.poll() is not None
            assert time.monotonic() < end and not ended, f"the guest never came to '{word}'"
            time.sleep(0.02)

    def line(self):
        self.guest.process.stdin.write(b"\n")
        self.guest.process.stdin.flush()

    def event(self, name, device=None):
        while True:
            event = self.q.event()
            if event["event"] == name and device in (None, event.get("data", {}).get("device")):
                return event

    def connect(self):
        self.q = Client(self.guest.path("qmp.sock"))

    def work(self):
        self.wait_for("plug1")
        self.connect()
        for n in range(1, self.rounds + 1):
            self.wait_for(f"plug{n}")
            self.held.append(len(os.listdir(f"/proc/{self.guest.process.pid}/fd")))
            self.q.run("blockdev-add", driver="raw", node_name="hot", file={"driver": "file", "filename": self.guest.path("hot.img")})
            self.q.run("device_add", driver="virtio-blk-pci", id="hot", drive="hot", bus="rp0")
            self.wait_for(f"unplug{n}")
            self.q.run("device_del", id="hot")
            if n != 1:
                self.line()
            self.event("DEVICE_DELETED", "hot")
            self.deleted += 1
            self.q.run("blockdev-del", node_name="hot")
        self.wait_for("card")
        self.q.run("netdev_add", type="tap", id="n0", ifname=TAP, script="no", downscript="no")
        self.q.run("device_add", driver="virtio-net-pci", id="card", netdev="n0", bus="rp0", mac="52:54:00:77:00:01")
        self.wait_for("uncard")
        self.q.run("device_del", id="card")
        self.line()
        self.event("DEVICE_DELETED", "card")
        self.deleted += 1
        self.q.run("netdev_del", id="n0")
        self.press()

    def press(self):
        self.wait_for("powerdown")
        self.q.run("system_powerdown")
        self.event("POWERDOWN")

    def run(self):
        try:
            self.work()
        except Exception as error:  # told by the fixture
            self.error = error
            if self.guest.process:
                self.guest.process.kill()

    def check(self):
        self.join(10)
        assert self.error is None, f"{self.error!r}\n{self.guest.report()}"


class Presser(Operator):
    def work(self):
        self.wait_for("powerdown")
        self.connect()
        self.press()


OPTIONS = ("-qmp", "unix:qmp.sock,server,nowait", "-drive", "id=d0,file=disk.img,format=raw",
           "-device", "virtio-blk-pci,drive=d0,id=blk0", "-device", "pcie-root-port,id=rp0,chassis=1,slot=9", "-no-reboot")
SMBIOS = ("-smbios", "type=1,manufacturer=Example,product=Virt test", "-smbios", "type=2,product=Board",
          "-smbios", "type=11,value=oem-one,value=oem-two")
ROUNDS = {"fdt": 10, "acpi": 4}


@pytest.fixture(scope="module", params=ROUNDS)
def run(request, new_guest):  # noqa: F811
    subprocess.run(["ip", "tuntap", "add", TAP, "mode", "tap"], check=True)
    subprocess.run(["ip", "addr", "add", "10.79.1.1/24", "dev", TAP], check=True)
    subprocess.run(["ip", "link", "set", TAP, "up"], check=True)
    guest = new_guest()
    guest.plain_image("disk.img", MIB)
    guest.plain_image("hot.img", 8 * MIB)
    script = SCRIPT.replace("@ROUNDS@", str(ROUNDS[request.param]))
    operator = Operator(guest, ROUNDS[request.param])
    kernel = vm.images.generic()
    try:
        if request.param == "fdt":  # the cloud kernel has no gpio-keys
            guest.run(*OPTIONS, machine="virt", smp=2, memory="512", script=script, timeout=LIMIT, modules=kernel,
                      kernel=os.path.join(kernel, "vmlinuz"))
        else:
            initrd = vm.images.with_scripts(vm.images.initramfs(), guest.path("initrd"), {"script": script})
            guest.run_firmware(*test_uefi.flash(guest), "-kernel", vm.images.vmlinuz(), "-initrd", initrd, "-append",
                               f"{vm.COMMAND_LINE} sv.run=script", *OPTIONS, *SMBIOS, smp=2, timeout=LIMIT, machine="virt")
    finally:
        if guest.process.poll() is None:  # else the tap is in use
            guest.process.kill()
            guest.process.wait()
        subprocess.run(["ip", "tuntap", "del", TAP, "mode", "tap"], check=True)
    operator.check()
    guest.operator, guest.kind = operator, request.param
    return guest.check_finished()


def pressed(guest):
    """What came of the input device: (type, code, value) of struct input_event behind its 16 bytes of time."""
    words = [int(word) for word in guest.section("pressed").split()]
    return words[8], words[9], words[10]


def test_the_guest_was_told_in_this_way(run):
    assert ("acpi" in run.section("firmware").split()) == (run.kind == "acpi")
    assert run.section("slots") == "9"


def test_disks_come_and_go_in_use(run):
    rounds = ROUNDS[run.kind]
    with open(run.path("hot.img"), "rb") as f:
        for n in range(1, rounds + 1):
            assert f"#sv-wrote {n}\n" in run.console
            f.seek(n * 512)
            assert f.read(9).rstrip(b"\n\0") == f"round-{n}".encode()
        rest = f.seek((rounds + 1) * 512)
        assert f.read() == b"\xa5" * (8 * MIB - rest)
    assert run.operator.deleted == rounds + 1
    assert len(set(run.operator.held)) == 1, "descriptors that stayed"


def test_a_card_comes_and_goes(run):
    assert run.section("card") == "52:54:00:77:00:01"
    assert run.section("ping") == "answered"
    assert run.section("no-card") == "gone"


def test_messages_of_what_was_plugged_come_through_the_its(run):
    for section, name in (("hot", "-req"), ("card-interrupts", "-input")):
        lines = [line for line in run.section(section).splitlines() if name in line]
        assert lines and all(re.search(r"ITS-(PCI-)?MSI", line) for line in lines)
        assert any(int(word) for line in lines[-1:] for word in line.split()[1:3])


def test_the_kernel_has_nothing_to_complain_of(run):
    assert run.section("log") == ""


def test_the_power_button_is_heeded(run):
    assert pressed(run) == (1, 116, 1)  # EV_KEY, KEY_POWER, down


def test_smbios_comes_by_the_firmware(run):
    if run.kind == "fdt":
        assert run.section("dmi") == ""
    else:
        assert run.section("dmi").splitlines() == ["Example", "Virt test", "Board"]
        assert run.section("oem").split() == ["oem-one", "oem-two"]


def test_the_power_button_of_microvm(new_guest):  # noqa: F811
    guest = new_guest()
    presser = Presser(guest, 0)
    kernel = vm.images.generic()
    guest.run("-qmp", "unix:qmp.sock,server,nowait", "-no-reboot", machine="microvm", script=PRESSED, modules=kernel,
              kernel=os.path.join(kernel, "vmlinuz"), timeout=LIMIT)
    presser.check()
    assert pressed(guest.check_finished()) == (1, 116, 1)
