# SPDX-License-Identifier: Apache-2.0
"""The balloon of a stock kernel: blown up to half of the memory and back, once for each kind of memory, with the
resident size of the VMM measured on the host."""

import contextlib
import os
import re
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "qmp"))
from client import Client  # noqa: E402

MIB = 1 << 20
TOTAL = 384
HALF = TOTAL // 2
TOUCHED = 240
SLACK = 24  # the VMM itself, and what the kernel hands out in between

SCRIPT = f"""
total() {{ awk '/MemTotal/ {{ print $2 }}' /proc/meminfo; }}
wait_for() {{
	tries=0
	while ! eval "$1"; do
		tries=$((tries + 1)); [ $tries -gt 600 ] && echo "gave up" && break
		usleep 100000
	done
}}
mkdir -p /tmp/fill && mount -t tmpfs -o size={TOUCHED + 20}m none /tmp/fill
dd if=/dev/zero of=/tmp/fill/a bs=1M count={TOUCHED} 2>/dev/null; rm /tmp/fill/a
before=$(total)
echo "#sv-touched"
wait_for '[ $(total) -le $((before - {HALF - 1} * 1024)) ]'
echo "== during"; total
wait_for '[ $(total) -ge $before ]'
echo "== after"; total; echo $before
read -r -t 60 line # the operator is done
"""

KINDS = {
    "anonymous": ((), "microvm"),
    "memfd": (("-object", f"memory-backend-memfd,id=m,size={TOTAL}M,share=on"), "microvm,memory-backend=m"),
    "file": (("-object", f"memory-backend-file,id=m,size={TOTAL}M,mem-path=ram.img,share=on"),
             "microvm,memory-backend=m"),
}


def resident(pid):
    """What the process has in memory, in MiB."""
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024


def wait_until(what, limit=60):
    end = time.monotonic() + limit
    while not what():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.1)


class Operator(threading.Thread):
    """Asks for half of the memory when the guest has touched most of it, and gives it back."""

    def __init__(self, guest):
        super().__init__(daemon=True)
        self.guest = guest
        self.error = None
        self.start()

    def run(self):
        try:
            self.work()
        except Exception as e:
            self.error = repr(e)
        with contextlib.suppress(OSError):
            self.guest.process.stdin.write(b"\n")
            self.guest.process.stdin.flush()

    def work(self):
        guest = self.guest
        wait_until(lambda: "#sv-touched" in guest.console, 120)
        with Client(guest.path("qmp.sock")) as qmp:
            path = "/machine/peripheral/balloon0"
            qmp.run("qom-set", path=path, property="guest-stats-polling-interval", value=1)
            self.before = resident(guest.process.pid)
            qmp.run("balloon", value=HALF * MIB)
            wait_until(lambda: qmp.run("query-balloon")["actual"] == HALF * MIB)
            self.during = resident(guest.process.pid)
            begin = qmp.run("qom-get", path=path, property="guest-stats")["last-update"]

            def fresh():
                self.stats = qmp.run("qom-get", path=path, property="guest-stats")
                return self.stats["last-update"] > begin
            wait_until(fresh)
            if self.guest.on_disk:
                self.on_disk = os.stat(guest.path("ram.img")).st_blocks * 512 / MIB
            qmp.run("balloon", value=TOTAL * MIB)
            wait_until(lambda: qmp.run("query-balloon")["actual"] == TOTAL * MIB)
            time.sleep(1.1)  # events come once a second
            qmp.run("query-status")
            self.events = list(qmp.events)


@pytest.fixture(scope="module", params=list(KINDS))
def guest(request, new_guest):
    options, machine = KINDS[request.param]
    guest = new_guest()
    guest.on_disk = request.param == "file"
    guest.operator = Operator(guest)
    guest.run("-qmp", "unix:qmp.sock,server=on,wait=off", *options,
              "-device", "virtio-balloon-device,id=balloon0", "-no-reboot", machine=machine, memory=str(TOTAL),
              append="sv.modules=virtio_balloon", script=SCRIPT, timeout=120).check_finished()
    guest.operator.join(10)
    assert guest.operator.error is None
    with contextlib.suppress(FileNotFoundError):
        os.unlink(guest.path("ram.img"))
    return guest


def test_guest_has_less_and_then_all_again(guest):
    during = int(guest.section("during"))
    after, before = map(int, guest.section("after").split())
    assert after == before
    assert during <= before - (HALF - 1) * 1024


def test_host_memory_really_falls(guest):
    operator = guest.operator
    print(f"resident: {operator.before:.0f} MiB before, {operator.during:.0f} MiB with the balloon")
    assert operator.before > TOUCHED
    assert operator.during <= HALF + SLACK
    if guest.on_disk:
        assert operator.on_disk <= HALF + SLACK


def test_statistics_are_the_guests(guest):
    stats = guest.operator.stats["stats"]
    total = int(guest.section("during")) * 1024
    assert abs(stats["stat-total-memory"] - total) < 4 * MIB
    assert 0 < stats["stat-free-memory"] < total
    assert 0 < stats["stat-available-memory"] <= total
    assert stats["stat-minor-faults"] > 0


def test_changes_are_events(guest):
    sizes = [e["data"]["actual"] for e in guest.operator.events if e["event"] == "BALLOON_CHANGE"]
    assert sizes and sizes[-1] == TOTAL * MIB
    assert min(sizes) < TOTAL * MIB
    assert any(e["event"] == "BALLOON_CHANGED" for e in guest.operator.events)
