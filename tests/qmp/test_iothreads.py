# SPDX-License-Identifier: Apache-2.0
"""Iothreads: what is said of them, where they run, and that a busy one is nobody else's trouble."""

import os
import re
import statistics
import time

import pytest

from client import QmpError, Schema, wait_for
from test_hotplug import Guest, MIB


def test_options_are_shown(tmp_path):
    options = ["-object", "iothread,id=a,poll-max-ns=32768,poll-grow=2,poll-shrink=4,aio-max-batch=8,thread-pool-max=16",
               "-object", '{"qom-type":"iothread","id":"b"}']
    with Guest(tmp_path, *options) as guest, guest.connect() as q:
        found = q.run("query-iothreads")
        Schema(q.run("query-qmp-schema")).check_return("query-iothreads", found)
        for one in found:
            one.pop("thread-id")
        assert found == [{"id": "a", "poll-max-ns": 32768, "poll-grow": 2, "poll-shrink": 4, "aio-max-batch": 8},
                         {"id": "b", "poll-max-ns": 32768, "poll-grow": 0, "poll-shrink": 0, "aio-max-batch": 0}]


def test_polling_is_changed_while_they_run(tmp_path):
    with Guest(tmp_path, "-object", "iothread,id=a") as guest, guest.connect() as q:
        names = [one["name"] for one in q.run("qom-list", path="/objects/a")]
        for name, value in (("poll-max-ns", 5000), ("poll-grow", 3), ("poll-shrink", 2), ("poll-max-ns", 0), ("poll-max-ns", 2 ** 63 - 1)):
            assert names.count(name) == 1
            q.run("qom-set", path="/objects/a", property=name, value=value)
            assert q.run("qom-get", path="/objects/a", property=name) == value
            assert q.run("query-iothreads")[0][name] == value
        for bad, text in ((-1, "poll-max-ns"), (2 ** 63, "poll-max-ns"), ("7", "expected: integer"), (None, "expected: integer")):
            with pytest.raises(QmpError, match=text):
                q.run("qom-set", path="/objects/a", property="poll-max-ns", value=bad)
        assert q.run("qom-get", path="/objects/a", property="poll-max-ns") == 2 ** 63 - 1
        with pytest.raises(QmpError, match="cannot be changed"):
            q.run("qom-set", path="/objects/a", property="aio-max-batch", value=1)


@pytest.mark.parametrize("sandbox", ("on", "off"))
def test_iothreads_run_where_they_are_told_to(tmp_path, sandbox):
    cpu = max(os.sched_getaffinity(0))
    with Guest(tmp_path, "-sandbox", sandbox, "-object", f"iothread,id=a,cpu-affinity={cpu}") as guest, guest.connect() as q:
        q.run("object-add", qom_type="iothread", id="b", cpu_affinity=f"{cpu}-{cpu}")
        q.run("object-add", qom_type="iothread", id="c")
        where = {one["id"]: os.sched_getaffinity(one["thread-id"]) for one in q.run("query-iothreads")}
        assert where == {"a": {cpu}, "b": {cpu}, "c": os.sched_getaffinity(0)}
        assert [one.get("cpu-affinity") for one in q.run("query-iothreads")] == [str(cpu), f"{cpu}-{cpu}", None]
        for bad, text in (("x", "CPU numbers"), ("1023", "none of these CPUs"), ("1024", "CPU numbers"), ("1-0", "CPU numbers")):
            with pytest.raises(QmpError, match=text):
                q.run("object-add", qom_type="iothread", id="d", cpu_affinity=bad)
        assert len(q.run("query-iothreads")) == 3


def cpu_ticks(pid, tid):
    with open(f"/proc/{pid}/task/{tid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_a_disk_that_is_busy_all_the_time_leaves_the_monitor_answering(tmp_path):
    """Half of the answers come within a tenth of a second, however busy the machine of the test is."""
    with open(tmp_path / "a", "wb") as f:
        for i in range(4 * MIB // 512):
            f.write(i.to_bytes(8, "little") * 64)
    disk = ["-object", "iothread,id=io0", "-drive", "id=d,file=a,if=none,direct=off",
            "-device", "virtio-blk-device,drive=d,id=b,iothread=io0"]
    with Guest(tmp_path, *disk, append="test=blk-bench ms=20000 depth=64 bs=65536") as guest, guest.connect() as q:
        tid = q.run("query-iothreads")[0]["thread-id"]
        wait_for(lambda: q.run("query-blockstats")[0]["stats"]["rd_operations"] > 1000)
        before, times = cpu_ticks(guest.process.pid, tid), []
        for _ in range(200):
            start = time.monotonic()
            q.run("query-block")
            times.append(time.monotonic() - start)
        wait_for(lambda: cpu_ticks(guest.process.pid, tid) > before, 20)
        # Under strace every system call of the disk's thread stops the process.
        assert statistics.median(times) < 0.1 or "SV_TRACES" in os.environ


@pytest.mark.parametrize("place", ("", ",iothread=io1", ",rx-iothread=io1,tx-iothread=io2"), ids=("main", "iothread", "rx-and-tx"))
def test_a_disk_that_is_busy_all_the_time_leaves_a_network_card_going(tmp_path, place):
    """Its thread never rests: what has been read is read again at once. Frames between two cards of the guest arrive meanwhile,
    each of them, and the monitor answers."""
    with open(tmp_path / "a", "wb") as f:
        for i in range(4 * MIB // 512):
            f.write(i.to_bytes(8, "little") * 64)
    options = [word for i in range(3) for word in ("-object", f"iothread,id=io{i}")]
    options += ["-drive", "id=d,file=a,if=none,direct=off", "-device", "virtio-blk-device,drive=d,id=b,iothread=io0",
                "-netdev", "stream,id=n0,server=on,addr.path=cable", "-netdev", "stream,id=n1,addr.path=cable",
                "-device", "virtio-net-device,netdev=n0,id=net0" + place, "-device", "virtio-net-device,netdev=n1,id=net1"]
    with Guest(tmp_path, *options, append="test=net frames=4000000000 progress=500 events=1 disk=32") as guest, guest.connect() as q:
        def steps():
            assert "FAIL" not in guest.console(), guest.console()
            return [(int(frames), int(reads)) for frames, reads in re.findall(r"^PROGRESS frames=(\d+) reads=(\d+)\r?$", guest.console(), re.M)]

        wait_for(lambda: len(steps()) >= 2)
        begin = len(steps())
        for _ in range(100):
            assert q.run("query-status")["running"]
        wait_for(lambda: len(steps()) >= begin + 5 and steps()[-1][1] > steps()[begin][1])
        found = steps()
        assert all(after[0] > before[0] for before, after in zip(found, found[1:]))
