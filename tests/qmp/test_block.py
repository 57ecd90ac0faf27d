# SPDX-License-Identifier: Apache-2.0
"""Drives and block nodes of a running VM: what is told of them, limits, sizes, errors of the host."""

import json
import os
import re
import subprocess
import time

import pytest

from client import STRATOVIRT, QmpError, Schema, wait_for
from test_hotplug import Guest, MIB, node, plug, refused, unplug

NO_LIMITS = dict.fromkeys(["bps", "bps_rd", "bps_wr", "iops_rd", "iops_wr"], 0)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").write_bytes(bytes(MIB))
    (tmp_path / "b").write_bytes(bytes(MIB))
    return tmp_path


def throttle(q, **arguments):
    """As libvirt does it; the client would make dashes of the underscores."""
    q.send(json.dumps({"execute": "block_set_io_throttle", "arguments": {**NO_LIMITS, **arguments}}))
    return q.result()


def stats(q, node_name):
    return next(s["stats"] for s in q.run("query-blockstats") if s["node-name"] == node_name)


# ---- nodes ----

def test_the_three_forms_of_a_node(folder):
    with Guest(folder) as guest, guest.connect() as q:
        schema = Schema(q.run("query-qmp-schema"))
        q.run("blockdev-add", **{"driver": "file", "filename": "a", "node-name": "libvirt-1-storage",
                                 "auto-read-only": True, "discard": "unmap", "cache": {"direct": True, "no-flush": False}})
        q.run("blockdev-add", **{"node-name": "libvirt-1-format", "read-only": False, "driver": "raw",
                                 "file": "libvirt-1-storage", "detect-zeroes": "on"})
        q.run("blockdev-add", **{"driver": "raw", "node-name": "both",
                                 "file": {"driver": "file", "filename": "b", "aio": "iouring", "node-name": "below"}})
        nodes = q.run("query-named-block-nodes")
        schema.check_return("query-named-block-nodes", nodes)
        assert {n["node-name"]: n["drv"] for n in nodes} == {"libvirt-1-storage": "file", "libvirt-1-format": "raw",
                                                             "both": "raw", "below": "file"}
        assert {n["detect_zeroes"] for n in nodes if n["file"] == "a"} == {"on"}
        assert q.run("query-block") == []
        for bad, text in [("libvirt-1-storage", "used as 'file' of 'libvirt-1-format'"), ("below", "used as 'file' of 'both'"),
                          ("none", "Failed to find node")]:
            assert refused(q, text, "blockdev-del", node_name=bad) == "GenericError"
        guest.ready()
        plug(q, "libvirt-1-format", id="d")
        guest.sees(0, f"{MIB // 512} sectors", "works")
        block, = q.run("query-block")
        schema.check_return("query-block", [block])
        assert (block["device"], block["qdev"]) == ("", "/machine/peripheral/d")
        assert {k: block["inserted"][k] for k in NO_LIMITS} == NO_LIMITS and block["inserted"]["iops"] == 0
        assert block["inserted"]["image"]["virtual-size"] == MIB
        unplug(q, "d")
        before = guest.descriptors()
        for name in ("libvirt-1-format", "libvirt-1-storage", "both"):
            q.run("blockdev-del", node_name=name)
        assert q.run("query-named-block-nodes") == []
        assert len(guest.descriptors()) == len(before) - 4  # image and lock of each
        # Nothing of the format's word has stuck.
        q.run("blockdev-add", driver="file", filename="a", node_name="x")
        q.run("blockdev-add", driver="raw", file="x", node_name="y", read_only=True)
        assert [n["ro"] for n in q.run("query-named-block-nodes")] == [True, True]
        q.run("blockdev-del", node_name="y")
        assert [(n["node-name"], n["ro"]) for n in q.run("query-named-block-nodes")] == [("x", False)]


@pytest.mark.parametrize("arguments,text", [
    ({"driver": "file", "filename": "a"}, "'node-name' must be specified"),
    ({"driver": "file", "node-name": "n"}, "'filename' is missing"),
    ({"driver": "raw", "node-name": "n", "filename": "a"}, "'filename' needs driver file or host_device"),
    ({"driver": "file", "node-name": "n", "file": "x"}, "takes 'filename', not 'file'"),
    ({"driver": "raw", "node-name": "n", "file": "none"}, "node-name='none'"),
    ({"driver": "raw", "node-name": "n", "file": "taken"}, "in use or no file node"),
    ({"driver": "raw", "node-name": "n", "file": {"driver": "raw", "filename": "a"}}, "'file.driver' must be"),
    ({"driver": "raw", "node-name": "n", "file": {"driver": "file", "filename": "a", "node-name": "n"}}, "Duplicate"),
    ({"driver": "raw", "node-name": "n", "file": {"driver": "file", "filename": "a", "node-name": "taken"}}, "already used"),
    ({"driver": "file", "node-name": "taken", "filename": "a"}, "Duplicate nodes with node-name='taken'"),
    ({"driver": "file", "node-name": "n", "filename": "none"}, "'none' cannot be opened"),
    ({"driver": "file", "node-name": "n", "filename": "a", "read-olny": True}, "did you mean 'read-only'"),
    ({"driver": "file", "node-name": "n", "filename": "a", "cache": {"direct": 1}}, "cache.direct=1"),
    ({"driver": "nbd", "node-name": "n", "filename": "a"}, "driver=nbd"),
    ({"driver": "qcow2", "node-name": "n", "file": {"driver": "file", "filename": "a"}}, "qcow2 is not supported"),
    ({"driver": "file", "node-name": "n", "filename": "a", "discard": ["unmap"]}, "is a list"),
])
def test_nodes_that_are_refused(folder, arguments, text):
    with Guest(folder) as guest, guest.connect() as q:
        node(q, "taken", "b")
        before = guest.descriptors(), q.run("query-named-block-nodes")
        assert refused(q, text, "blockdev-add", **arguments) == "GenericError"
        assert (guest.descriptors(), q.run("query-named-block-nodes")) == before


@pytest.mark.skipif(os.geteuid() == 0 and not os.path.exists("/usr/bin/chattr"), reason="root may write anything")
def test_auto_read_only(folder):
    if os.geteuid() == 0:
        if subprocess.run(["chattr", "+i", folder / "a"], stderr=subprocess.DEVNULL, check=False).returncode:
            pytest.skip("no immutable files here")
    else:
        os.chmod(folder / "a", 0o444)
    try:
        with Guest(folder) as guest, guest.connect() as q:
            assert "cannot be opened for writing" in str(refused_text(q, driver="file", filename="a", node_name="n"))
            q.run("blockdev-add", driver="file", filename="a", node_name="n", auto_read_only=True)
            assert q.run("query-named-block-nodes")[0]["ro"] is True
            refused(q, "node 'n' is read-only", "blockdev-add", driver="raw", file="n", node_name="m", read_only=False)
    finally:
        if os.geteuid() == 0:
            subprocess.run(["chattr", "-i", folder / "a"], check=False)


def refused_text(q, **arguments):
    with pytest.raises(QmpError) as caught:
        q.run("blockdev-add", **arguments)
    return caught.value


def test_an_image_that_a_device_has_is_its_own(folder):
    """Unless it says that it shares: then another VM may have it that says so, too."""
    (folder / "other").mkdir()

    def disk(more=""):
        return ["-drive", f"id=d,file={folder}/a,if=none", "-device", f"virtio-blk-device,drive=d,id=b{more}"]

    def other(more=""):
        return subprocess.run([STRATOVIRT, "-accel", "test", *disk(more)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    with Guest(folder, *disk()) as guest, guest.connect() as q:
        refused(q, "is in use by another drive", "blockdev-add", driver="file", node_name="n", filename="a")
        for more in "", ",share-rw=on", ",share-rw=off":
            done = other(more)
            assert done.returncode == 1 and "/a' is in use by another drive" in done.stderr
    with Guest(folder, *disk(",share-rw=on")) as guest, Guest(folder / "other", *disk(",share-rw=on")) as second:
        for vm in guest, second:
            with vm.connect() as q:
                assert q.run("qom-get", path="/machine/peripheral/b", property="share-rw") is True
        done = other()
        assert done.returncode == 1 and "devices that all have share-rw=on" in done.stderr


# ---- statistics ----

def test_statistics_count_what_the_guest_does(folder):
    disk = ["-drive", "id=d,file=a,if=none", "-device", "virtio-blk-device,drive=d,id=b"]
    with Guest(folder, *disk) as guest, guest.connect() as q:
        schema = Schema(q.run("query-qmp-schema"))
        guest.ready()
        guest.sees(0, f"{MIB // 512} sectors", "works")
        wait_for(lambda: stats(q, "d")["wr_operations"] > 256)  # all of it, once
        q.run("stop")
        got = q.run("query-blockstats")
        schema.check_return("query-blockstats", got)
        entry, = got
        s = entry["stats"]
        assert (entry["device"], entry["qdev"]) == ("d", "/machine/peripheral/b")
        assert s["wr_bytes"] == 4096 * s["wr_operations"] and s["wr_highest_offset"] == MIB
        assert s["rd_operations"] == s["flush_operations"] == s["failed_wr_operations"] == 0
        assert 0 < s["wr_total_time_ns"] < 60e9 * 4
        # Nothing moves while it is stopped.
        time.sleep(0.2)
        assert stats(q, "d") == s
        nodes = q.run("query-blockstats", query_nodes=True)
        assert [(n["node-name"], n["stats"]) for n in nodes] == [("d", s)]


# ---- limits ----

def test_all_limits_are_told_as_they_were_set(folder):
    limits = {"bps": 0, "bps_rd": 1000000, "bps_wr": 2000000, "iops": 100, "iops_rd": 0, "iops_wr": 0, "bps_rd_max": 3000000,
              "bps_wr_max": 2000000, "iops_max": 500, "bps_rd_max_length": 60, "iops_size": 4096}
    drive = ["-drive", "id=d,file=a,if=none,throttling.bps-write=5,throttling.bps-write-max=7,throttling.iops-total=9",
             "-device", "virtio-blk-device,drive=d,id=b"]
    with Guest(folder, *drive) as guest, guest.connect() as q:
        schema = Schema(q.run("query-qmp-schema"))

        def shown():
            blocks = q.run("query-block")
            schema.check_return("query-block", blocks)
            return {k: v for k, v in blocks[0]["inserted"].items() if k.startswith(("bps", "iops"))}

        none = {"bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}
        assert shown() == {**none, "bps_wr": 5, "bps_wr_max": 7, "bps_wr_max_length": 1, "iops": 9}
        throttle(q, id="b", **limits)
        assert shown() == {**limits, "bps_wr_max_length": 1, "iops_max_length": 1}
        throttle(q, id="b", iops=0)
        assert shown() == none


def rate(q, node_name, seconds):
    before, start = stats(q, node_name)["wr_operations"], time.monotonic()
    time.sleep(seconds)
    return (stats(q, node_name)["wr_operations"] - before) / (time.monotonic() - start)


def test_the_limit_can_be_changed_under_load(folder):
    with Guest(folder) as guest, guest.connect() as q:
        guest.ready()
        node(q, "n", "a")
        plug(q, "n", id="d")
        guest.sees(0, f"{MIB // 512} sectors", "works")
        throttle(q, id="/machine/peripheral/d/virtio-backend", iops=50)
        assert q.run("query-block")[0]["inserted"]["iops"] == 50
        time.sleep(0.2)
        assert 20 < rate(q, "n", 1) < 80
        throttle(q, device="n", iops=1)  # so few that the next is a second away
        time.sleep(0.5)
        before = stats(q, "n")["wr_operations"]
        throttle(q, id="d", iops=0)
        wait_for(lambda: stats(q, "n")["wr_operations"] > before + 100, 20)  # what was held back goes on, and more
        throttle(q, id="d", iops=1)
        started = time.monotonic()
        unplug(q, "d")
        assert time.monotonic() - started < 1
        guest.sees(0, "0 sectors")


@pytest.mark.parametrize("arguments,kind,text", [
    ({"id": "d", "iops": 1, "iops_rd": 1}, "GenericError", "exclude each other"),
    ({"id": "d", "iops": 0, "bps": 1, "bps_wr": 1}, "GenericError", "exclude each other"),
    ({"id": "d", "iops": 6, "iops_max": 5}, "GenericError", "less than"),
    ({"id": "d", "iops": 0, "bps_rd_max": 5}, "GenericError", "needs throttling.bps-read"),
    ({"id": "d", "iops": 6, "iops_max_length": 5}, "GenericError", "needs throttling.iops-total-max"),
    ({"id": "d", "iops": 6, "iops_max": 9, "iops_max_length": 0}, "GenericError", "out of range"),
    ({"id": "d", "iops": 0, "iops_size": 5}, "GenericError", "needs a limit of requests"),
    ({"id": "d", "iops": 10**15 + 1}, "GenericError", r"out of range \[0, 1000000000000000\]"),
    ({"id": "d", "iops": -1}, "GenericError", "out of range"),
    ({"iops": 1}, "GenericError", "exactly one of 'device' and 'id'"),
    ({"id": "d", "device": "n", "iops": 1}, "GenericError", "exactly one"),
    ({"id": "/machine/peripheral/none", "iops": 1}, "DeviceNotFound", "'/machine/peripheral/none' not found"),
    ({"device": "none", "iops": 1}, "DeviceNotFound", "Device 'none' not found"),
])
def test_limits_that_are_refused(folder, arguments, kind, text):
    with Guest(folder) as guest, guest.connect() as q:
        node(q, "n", "a")
        plug(q, "n", id="d")
        with pytest.raises(QmpError, match=text) as caught:
            throttle(q, **arguments)
        assert caught.value.kind == kind
        assert q.run("query-block")[0]["inserted"]["iops"] == 0


# ---- sizes ----

def resize(q, size, **which):
    q.send(json.dumps({"execute": "block_resize", "arguments": {"size": size, **which}}))
    return q.result()


def test_a_disk_grows_and_shrinks_in_use(folder):
    disk = ["-drive", "id=d,file=a,if=none", "-device", "virtio-blk-device,drive=d,id=b"]
    with Guest(folder, *disk) as guest, guest.connect() as q:
        guest.ready()
        guest.sees(0, "2048 sectors", "works")
        resize(q, 2 * MIB, device="d")
        guest.sees(0, "4096 sectors", "works")
        wait_for(lambda: stats(q, "d")["wr_highest_offset"] == 2 * MIB)
        for _ in range(20):
            resize(q, MIB // 2, **{"node-name": "d"})
            assert os.path.getsize(folder / "a") == MIB // 2
            resize(q, 2 * MIB, device="d")
        resize(q, MIB // 2, device="d")
        wait_for(lambda: guest.lines(0)[-2:-1] == ["1024 sectors"] and "works" in guest.lines(0)[-1])
        time.sleep(0.2)
        assert os.path.getsize(folder / "a") == MIB // 2, "a write beyond the new end has made it longer again"
        assert q.run("query-block")[0]["inserted"]["image"]["virtual-size"] == MIB // 2
        with pytest.raises(QmpError, match="not a multiple of 512"):
            resize(q, 1000, device="d")
        with pytest.raises(QmpError, match="not a multiple of 512"):
            resize(q, 0, device="d")
        with pytest.raises(QmpError, match="cannot be resized"):
            resize(q, 1 << 62, device="d")
        with pytest.raises(QmpError, match="Cannot find device='' nor node-name='x'"):
            resize(q, MIB, **{"node-name": "x"})
        with pytest.raises(QmpError, match="Need exactly one"):
            resize(q, MIB)
        assert os.path.getsize(folder / "a") == MIB // 2
        node(q, "ro", "b", read_only=True)
        with pytest.raises(QmpError, match="'ro' is read-only"):
            resize(q, MIB, **{"node-name": "ro"})


def test_a_block_device_is_measured_again(folder):
    made = subprocess.run(["losetup", "--find", "--show", folder / "a"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop devices: {made.stderr.strip()}")
    loop = made.stdout.strip()
    try:
        with Guest(folder) as guest, guest.connect() as q:
            guest.ready()
            q.run("blockdev-add", driver="host_device", filename=loop, node_name="n")
            plug(q, "n", id="d")
            guest.sees(0, "2048 sectors", "works")
            with pytest.raises(QmpError, match=f"'{loop}' has {MIB} bytes"):
                resize(q, 2 * MIB, **{"node-name": "n"})
            os.truncate(folder / "a", 2 * MIB)
            subprocess.run(["losetup", "--set-capacity", loop], check=True)
            resize(q, 2 * MIB, **{"node-name": "n"})
            guest.sees(0, "4096 sectors", "works")
    finally:
        subprocess.run(["losetup", "--detach", loop], check=False)


# ---- errors of the host ----

def test_an_error_of_the_host_is_an_event(folder):
    with Guest(folder, append="test=hotplug read=1") as guest, guest.connect() as q:
        schema = Schema(q.run("query-qmp-schema"))
        guest.ready()
        node(q, "n", "a")
        plug(q, "n", id="d")
        guest.sees(0, "2048 sectors", "works")
        os.truncate(folder / "a", 65536)  # behind our back: reads behind the end fail
        guest.sees(0, "works", "fails")
        event = q.event("BLOCK_IO_ERROR")
        schema.check_event(event)
        assert event["data"] == {"qom-path": "/machine/peripheral/d", "device": "", "node-name": "n", "operation": "read",
                                 "action": "report", "nospace": False, "reason": "Input/output error"}
        # Thousands of errors a second are a handful of events.
        start = time.monotonic()
        q.event("BLOCK_IO_ERROR")
        q.event("BLOCK_IO_ERROR")
        assert 0.8 < time.monotonic() - start < 10
        failed = stats(q, "n")["failed_rd_operations"]
        assert failed > 100
        os.truncate(folder / "a", MIB)
        wait_for(lambda: q.silent(2.5) or q.event("BLOCK_IO_ERROR") is None, 20)
        unplug(q, "d")


@pytest.mark.parametrize("action", ["stop", "report"])
def test_a_full_disk_stops_the_vm_or_is_told(folder, tmp_path_factory, action):
    if os.geteuid():
        pytest.skip("needs a file system of its own")
    small = tmp_path_factory.mktemp("small")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small], check=False).returncode:
        pytest.skip("cannot mount")
    try:
        with Guest(folder) as guest, guest.connect() as q:
            guest.ready()
            with open(small / "image", "wb") as f:
                f.truncate(MIB)
            q.run("blockdev-add", driver="file", node_name="n", filename=str(small / "image"))
            plug(q, "n", id="d", **({"werror": action} if action == "report" else {}))
            data = q.event("BLOCK_IO_ERROR")["data"]
            assert (data["operation"], data["nospace"], data["action"]) == ("write", True, action)
            assert re.search("space", data["reason"])
            if action == "report":
                guest.sees(0, "works", "fails")
                assert q.run("query-block")[0]["io-status"] == "ok"
                return
            # The guest knows nothing of it, and after "cont" with room on the host's disk there is nothing to know.
            wait_for(lambda: q.run("query-status")["status"] == "io-error")
            assert q.run("query-block")[0]["io-status"] == "nospace"
            q.event("STOP")
            q.run("cont")
            q.event("RESUME")
            assert q.event("BLOCK_IO_ERROR")["data"]["action"] == "stop", "full as before"
            q.event("STOP")
            wait_for(lambda: q.run("query-status")["status"] == "io-error")
            before = stats(q, "n")["wr_operations"]
            subprocess.run(["mount", "-o", "remount,size=2m", small], check=True)
            q.run("cont")
            wait_for(lambda: stats(q, "n")["wr_operations"] > before + 512)
            assert (q.run("query-block")[0]["io-status"], q.run("query-status")["status"]) == ("ok", "running")
            assert "fails" not in guest.lines(0)
    finally:
        wait_for(lambda: not subprocess.run(["umount", small], check=False, stderr=subprocess.DEVNULL).returncode, 10)
