# SPDX-License-Identifier: Apache-2.0
"""A stock kernel under an operator with QMP: disks and a network card that come and go, stop and cont under load and for
long, a reset, the power button. Two boots in one run: the reset's is the second."""

import os
import re
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "qmp"))
from client import Client  # noqa: E402

MIB = 1 << 20
LIMIT = float(os.environ.get("STRATOVIRT_BOOT_TIMEOUT", "90"))

# vda holds the state over the reset, vdb is what is plugged in.
SCRIPT = """
until_size() { tries=0; while [ "$(cat /sys/block/vdb/size)" != $1 ] && [ $tries -lt 600 ]; do
	tries=$((tries + 1)); usleep 50000; done; cat /sys/block/vdb/size; }
modprobe button; modprobe evdev
if [ "$(head -c 6 /dev/vda)" = second ]; then
	echo "== second"; cat /sys/block/vda/size
	ls /dev/input/event0 >/dev/null || exit 1
	(head -c 24 /dev/input/event0 >/dev/null; touch /pressed) &
	usleep 200000
	echo "#sv-op-powerdown"
	tries=0
	while [ ! -e /pressed ] && [ $tries -lt 600 ]; do tries=$((tries + 1)); usleep 50000; done
	echo "== pressed"; [ -e /pressed ] && echo yes
	exit 0
fi
until_carrier() { tries=0; while [ "$(cat /sys/class/net/eth0/carrier)" != $1 ] && [ $tries -lt 600 ]; do
	tries=$((tries + 1)); usleep 50000; done; cat /sys/class/net/eth0/carrier; }
told_time() { echo "#sv-op-clock$1"; read line; echo "#sv-clock$1 $(date +%s)"; }
echo 2 >/proc/sys/kernel/watchdog_thresh
told_time 1
echo "#sv-op-pause"
told_time 2
echo "== lockups"; dmesg | grep -ci lockup
echo 10 >/proc/sys/kernel/watchdog_thresh
ip link set eth0 up; ip addr add 10.77.7.2/24 dev eth0
echo "== cards"; ls /sys/class/net; until_carrier 0
for round in 1 2; do
	echo "#sv-op-card$round"
	echo "== card$round"; until_carrier 1; ping -c 3 -W 5 10.77.7.1
	echo "#sv-op-uncard$round"
	until_carrier 0
done
echo "== empty"; cat /sys/block/vd[bcd]/size
echo "#sv-op-plug"
echo "== plugged"; until_size 4096
dd if=/dev/vdb bs=1M count=1 2>/dev/null | tr -d '\\245' | wc -c
echo hot-plugged | dd of=/dev/vdb bs=512 seek=2048 conv=sync,fsync 2>/dev/null && echo written
echo "#sv-op-unplug"
echo "== unplugged"; until_size 0
dd if=/dev/vdb bs=512 count=1 2>/dev/null | wc -c
echo "#sv-op-again"
echo "== again"; until_size 2048
dd if=/dev/vdb bs=512 count=1 2>/dev/null | tr -d '\\132' | wc -c
printf second | dd of=/dev/vda conv=notrunc,fsync 2>/dev/null
(while :; do dd if=/dev/zero of=/dev/vda bs=64k seek=16 count=64 oflag=direct conv=notrunc 2>/dev/null; done) &
echo "#sv-op-write"
sleep 120
echo "== never"
"""

PAUSE = 6  # seconds: longer than the guest's watchdog allows
TAPS = ["svt71", "svt72"]


class Operator(threading.Thread):
    """Speaks QMP when the guest's console asks for it."""

    def __init__(self, guest):
        super().__init__()
        self.guest, self.seen, self.error = guest, {}, None
        self.q = None

    def wait_for(self, word):
        end = time.monotonic() + LIMIT
        while f"#sv-op-{word}" not in self.guest.console:
            ended = self.guest.process and self.guest.process.poll() is not None
            assert time.monotonic() < end and not ended, f"the guest never came to '{word}'"
            time.sleep(0.02)

    def event(self, name):
        while True:
            event = self.q.event()
            if event["event"] == name:
                return event

    def plug(self, name):
        self.q.run("blockdev-add", driver="raw", node_name=name, file={"driver": "file", "filename": self.guest.path(name)})
        self.q.run("device_add", driver="virtio-blk-mmio", id=name, drive=name, addr="1")

    def unplug(self, name):
        self.q.run("device_del", id=name)
        self.seen["deleted"] = self.event("DEVICE_DELETED")["data"]["device"]
        self.q.run("blockdev-del", node_name=name)

    def card(self, tap):
        """Both taps have the address that the guest asks for, one after the other."""
        subprocess.run(["ip", "addr", "add", "10.77.7.1/24", "dev", tap], check=True)
        subprocess.run(["ip", "link", "set", tap, "up"], check=True)
        self.q.run("netdev_add", type="tap", id="n0", ifname=tap)
        self.q.run("device_add", driver="virtio-net-mmio", id="card", netdev="n0")

    def uncard(self, tap):
        self.q.run("device_del", id="card")
        assert self.event("DEVICE_DELETED")["data"]["device"] == "card"
        self.q.run("netdev_del", id="n0")
        subprocess.run(["ip", "addr", "flush", "dev", tap], check=True)

    def time(self, number):
        """The guest's clock less the host's: (at least, at most). However slow all this is, it lies between."""
        self.wait_for(f"clock{number}")
        before = time.time()
        self.guest.process.stdin.write(b"\n")
        self.guest.process.stdin.flush()
        end = time.monotonic() + LIMIT
        while not (found := re.search(rf"#sv-clock{number} (\d+)\n", self.guest.console)):
            assert time.monotonic() < end, "the guest does not tell the time"
            time.sleep(0.02)
        shown = int(found.group(1))
        return shown - time.time(), shown + 1 - before

    def written(self, seconds):
        """Was the image written to in this time?"""
        before = os.stat(self.guest.path("state.img")).st_mtime_ns
        time.sleep(seconds)
        return os.stat(self.guest.path("state.img")).st_mtime_ns != before

    def work(self):
        before = self.time(1)
        self.q = Client(self.guest.path("qmp.sock"))
        self.wait_for("pause")
        self.q.run("stop")
        self.event("STOP")
        time.sleep(PAUSE)
        self.q.run("cont")
        self.event("RESUME")
        self.seen["clock"] = before, self.time(2)
        for round in "12":
            self.wait_for(f"card{round}")
            self.card(TAPS[int(round) - 1])
            self.wait_for(f"uncard{round}")
            self.uncard(TAPS[int(round) - 1])
        self.wait_for("plug")
        self.plug("hot.img")
        self.wait_for("unplug")
        self.unplug("hot.img")
        self.wait_for("again")
        self.plug("other.img")
        self.wait_for("write")
        self.seen["writes"] = self.written(1)
        for _ in range(3):
            self.q.run("stop")
            self.seen["stopped"] = self.seen.get("stopped", False) or self.written(0.5)
            self.event("STOP")
            self.q.run("cont")
            self.event("RESUME")
            time.sleep(0.2)
        self.seen["goes on"] = self.written(1)
        self.unplug("other.img")
        self.q.run("system_reset")
        self.seen["reset"] = self.event("RESET")["data"]
        self.wait_for("powerdown")
        self.q.run("system_powerdown")
        self.event("POWERDOWN")
        self.seen["shutdown"] = self.event("SHUTDOWN")["data"]

    def run(self):
        try:
            self.work()
        except BaseException as e:  # told by the test
            self.error = e
            if self.guest.process:
                self.guest.process.kill()


@pytest.fixture(scope="module")
def run(new_guest):
    guest = new_guest()
    guest.plain_image("state.img", 8 * MIB, b"\0")
    guest.plain_image("hot.img", 2 * MIB)
    guest.plain_image("other.img", MIB, b"\x5a")
    for name in TAPS:
        subprocess.run(["ip", "tuntap", "add", "dev", name, "mode", "tap", "vnet_hdr"], check=True)
    operator = Operator(guest)
    operator.daemon = True
    operator.start()
    try:
        guest.run("-drive", "id=d0,file=state.img", "-device", "virtio-blk-device,drive=d0,id=blk0",
                  "-qmp", "unix:qmp.sock,server,nowait", append="sv.modules=virtio_net", script=SCRIPT,
                  timeout=3 * LIMIT)
    finally:
        operator.join(10)
        for name in TAPS:
            subprocess.run(["ip", "link", "del", name], check=True)
        assert operator.error is None, f"{operator.error!r}: {guest.report()}"
    guest.check_finished()
    return guest, operator.seen


def test_the_clock_is_right_after_a_pause(run):
    """And nothing in the guest takes the gap for a CPU that hangs."""
    before, after = run[1]["clock"]
    assert after[0] <= before[1] + 1 and after[1] >= before[0] - 1, f"{before}, then {after} seconds ahead of the host"
    assert run[0].section("lockups") == "0"


def test_empty_slots_are_cards_without_carrier(run):
    assert run[0].section("cards").split() == ["eth0", "eth1", "lo", "0"]


@pytest.mark.parametrize("name", ["card1", "card2"])
def test_a_card_is_plugged_and_pings(run, name):
    assert run[0].section(name).startswith("1\n")
    assert "3 packets received" in run[0].section(name)


def test_empty_slots_are_disks_without_capacity(run):
    assert run[0].section("empty").split() == ["0", "0", "0"]


def test_a_disk_is_seen_read_and_written(run):
    size, strange, written = run[0].section("plugged").split()
    assert (size, strange, written) == ("4096", "0", "written")
    with open(run[0].path("hot.img"), "rb") as f:
        f.seek(MIB)
        assert f.read(12) == b"hot-plugged\n"


def test_a_disk_is_removed(run):
    assert run[0].section("unplugged").split() == ["0", "0"]
    assert run[1]["deleted"] == "other.img"


def test_another_disk_takes_its_place(run):
    assert run[0].section("again").split() == ["2048", "0"]


def test_no_write_after_stop(run):
    assert run[1]["writes"], "the guest did not write"
    assert not run[1]["stopped"], "the image was written to while the VM was stopped"
    assert run[1]["goes on"], "the guest did not go on after cont"


def test_reset_boots_again(run):
    assert run[1]["reset"] == {"guest": False, "reason": "host-qmp-system-reset"}
    assert run[0].console.count("#sv-begin script") == 2
    assert run[0].section("second") == str(8 * MIB // 512)
    assert "never" not in run[0].sections


def test_the_power_button_is_heeded(run):
    assert run[0].section("pressed") == "yes"
    assert run[1]["shutdown"] == {"guest": True, "reason": "guest-shutdown"}
