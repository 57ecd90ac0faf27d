# SPDX-License-Identifier: Apache-2.0
"""Throttle groups: disks on threads of their own that share limits, in stepped time; and how they are told, changed and left."""

import json
import struct

import pytest

import virtio as v

IDS = ("d0", "d1")
NONE = {"bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}
SLOTS = 40


@pytest.fixture
def images(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
    return tmp_path / "a", tmp_path / "b"


def disks(*drives):
    """Each on an iothread of its own."""
    words = []
    for i in range(2):
        words += ["-object", f"iothread,id=i{i}", "-device", f"virtio-blk-device,id=b{i},drive={drives[i]},iothread=i{i}"]
    return words


def as_options(images):
    return [word for i in range(2) for word in ("-drive", f"id={IDS[i]},if=none,format=raw,direct=off,file={images[i]},"
                                                "throttling.iops-total=20,throttling.group=g")] + disks(*IDS)


def as_old_options(images):
    """StratoVirt's and QEMU's words of before 2.0; only the last one that is limited says how much."""
    return ["-drive", f"id=d0,if=none,file={images[0]},direct=false,throttling.iops-total=9,group=g",
            "-drive", f"id=d1,if=none,file={images[1]},direct=false,iops=20,group=g"] + disks(*IDS)


def as_nodes(images):
    """What libvirt 11.2 makes of <throttlegroups> and <throttlefilters>."""
    words = ["-object", json.dumps({"qom-type": "throttle-group", "id": "g", "limits": {"iops-total": 20}})]
    for i in range(2):
        words += ["-blockdev", json.dumps({"driver": "file", "filename": str(images[i]), "node-name": f"storage{i}",
                                           "cache": {"direct": False}}),
                  "-blockdev", json.dumps({"node-name": f"format{i}", "driver": "raw", "file": f"storage{i}"}),
                  "-blockdev", json.dumps({"driver": "throttle", "node-name": IDS[i], "throttle-group": "g",
                                           "file": f"format{i}"})]
    return words + disks(*IDS)


def as_qemu_wrote_it(images):
    return ["-object", "throttle-group,id=g,x-iops-total=20"] + [
        word for i in range(2) for word in ("-blockdev", f"driver=throttle,node-name={IDS[i]},throttle-group=g,file.driver=file,"
                                            f"file.filename={images[i]},cache.direct=off")] + disks(*IDS)


def ready(vm):
    """Both disks' queues, with SLOTS reads in each that nobody has been told of."""
    queues = [v.find(vm, v.ID_BLK, i).start(size=128, at=0x100000 + 0x10000 * i) for i in range(2)]
    for n, queue in enumerate(queues):
        for slot in range(SLOTS):
            fill(queue, n, slot)
    return queues


def fill(queue, n, slot, kind=v.BLK_IN):
    header, data = 0x400000 + 0x10000 * n + 32 * slot, 0x500000 + 0x40000 * n + 1024 * slot
    struct.pack_into("<IIQ", queue.ram, header, kind, 0, slot)
    middle = [(data + 1, 512, kind == v.BLK_IN)] if kind != v.BLK_FLUSH else []
    queue.publish(queue.chain([(header, 16, False), *middle, (data, 1, True)], first=3 * slot))


def done(queues):
    return [queue.used_idx() for queue in queues]


def expect(vm, queues, total):
    vm.until(lambda: sum(done(queues)) >= total, f"{total} requests")
    vm.settle()  # every loop has come to rest
    assert sum(done(queues)) == total


@pytest.mark.parametrize("form", (as_options, as_old_options, as_nodes, as_qemu_wrote_it))
def test_two_disks_on_two_threads_share_a_limit(start, images, form):
    vm = start(*form(images))
    queues = ready(vm)
    for queue in queues:
        queue.kick()
    expect(vm, queues, 2)  # a tenth of a second's worth, all at once
    before = done(queues)
    for n in range(40):
        vm.step(50 * 10**6)
        expect(vm, queues, 3 + n)
        one, other = (now - was for now, was in zip(done(queues), before))
        assert abs(one - other) <= 1, "they do not take turns"
    # Flushes do not wait.
    fill(queues[0], 0, SLOTS, v.BLK_FLUSH)
    queues[0].kick()
    expect(vm, queues, 43)
    # Who rests leaves all of it to the other.
    queues[0].device.set(v.STATUS, 0)
    before = queues[1].used_idx()
    for n in range(10):
        vm.step(50 * 10**6)
        expect(vm, queues[1:], before + 1 + n)


def shown(vm):
    return {b["qdev"].split("/")[3]: b["inserted"] for b in vm.qmp("query-block")}


def throttle(vm, disk, **limits):
    return vm.qmp("block_set_io_throttle", id=f"/machine/peripheral/{disk}", **{**NONE, **limits})


def test_drives_join_and_leave_as_in_qemu(start, images):
    """What libvirt's blkdeviotune does, with and without --group-name."""
    drives = [word for i in range(2) for word in ("-drive", f"id={IDS[i]},if=none,format=raw,direct=off,file={images[i]}")]
    vm = start(*drives, *disks(*IDS))
    queues = ready(vm)
    assert all("group" not in info for info in shown(vm).values())
    throttle(vm, "b0", iops=1)
    assert shown(vm)["b0"]["group"] == "/machine/peripheral/b0" and "group" not in shown(vm)["b1"]
    for i in range(2):
        throttle(vm, f"b{i}", iops=20, group="g")
    assert [(info["group"], info["iops"]) for info in shown(vm).values()] == [("g", 20)] * 2
    for queue in queues:
        queue.kick()
    expect(vm, queues, 2)
    for n in range(10):
        vm.step(50 * 10**6)
        expect(vm, queues, 3 + n)
    # The limits of one are the limits of all.
    throttle(vm, "b1", iops=10, group="g")
    assert [info["iops"] for info in shown(vm).values()] == [10, 10]
    expect(vm, queues, 13)  # the bucket of 10 a second, full again
    for n in range(5):
        vm.step(100 * 10**6)
        expect(vm, queues, 14 + n)
    # Without limits a drive is in no group, and what waited goes on. The others' group stays.
    throttle(vm, "b0")
    vm.until(lambda: queues[0].used_idx() == SLOTS, "all of the first disk's requests")
    assert "group" not in shown(vm)["b0"] and shown(vm)["b0"]["iops"] == 0
    assert (shown(vm)["b1"]["group"], shown(vm)["b1"]["iops"]) == ("g", 10)
    # Into another one with requests waiting: they wait there.
    throttle(vm, "b1", iops=1, group="h")
    before = queues[1].used_idx()
    vm.step(10**9)
    vm.until(lambda: queues[1].used_idx() > before, "a request that the other group lets pass")
    throttle(vm, "b1")
    vm.until(lambda: queues[1].used_idx() == SLOTS, "all requests")


def test_objects_come_change_and_go(start, images):
    vm = start("-drive", f"id=d0,if=none,format=raw,direct=off,file={images[0]}", "-device", "virtio-blk-device,id=b0,drive=d0")
    vm.qmp("object-add", **{"qom-type": "throttle-group", "id": "g", "limits": {"iops-total": 100, "iops-total-max": 2000,
                                                                               "iops-total-max-length": 60}})
    limits = vm.qmp("qom-get", path="/objects/g", property="limits")
    assert len(limits) == 19 and limits["iops-total"] == 100 and limits["iops-total-max-length"] == 60
    assert limits["bps-read"] == 0 and limits["bps-read-max-length"] == 1 and limits["iops-size"] == 0
    assert vm.qmp("qom-get", path="/objects/g", property="x-iops-total-max") == 2000
    vm.qmp("qom-set", path="/objects/g", property="limits", value={"iops-total": 200, "bps-write": 7})
    limits = vm.qmp("qom-get", path="/objects/g", property="limits")
    assert (limits["iops-total"], limits["iops-total-max"], limits["bps-write"]) == (200, 2000, 7)
    listed = {entry["name"]: entry["type"] for entry in vm.qmp("qom-list", path="/objects/g")}
    assert listed["limits"] == "ThrottleLimits" and listed["x-bps-total"] == "uint64" and "limits.bps-total" not in listed
    for value, text in (({"iops-total": 3000}, "iops-total-max is less than"), ({"iops": 1}, "'iops' is unexpected"),
                        ({"iops-total": "1"}, "expected: integer"), (5, "expected: object"), ({"iops-total": -1}, "iops-total")):
        assert text in vm.qmp_raw("qom-set", path="/objects/g", property="limits", value=value)["error"]["desc"]
        assert vm.qmp("qom-get", path="/objects/g", property="limits") == limits
    assert "cannot be changed" in vm.qmp_raw("qom-set", path="/objects/g", property="x-iops-total", value=1)["error"]["desc"]
    node = {"driver": "throttle", "node-name": "t", "throttle-group": "g",
            "file": {"driver": "file", "filename": str(images[1]), "node-name": "f"}}
    vm.qmp("blockdev-add", **node)
    assert {n["node-name"]: n["drv"] for n in vm.qmp("query-named-block-nodes")} == {"d0": "raw", "t": "throttle", "f": "file"}
    assert "in use" in vm.qmp_raw("object-del", id="g")["error"]["desc"]
    for _ in range(3):  # groups above one another
        vm.qmp("blockdev-add", **{"driver": "throttle", "node-name": f"t{_}", "throttle-group": "g", "file": f"t{_ - 1}" if _ else "t"})
    assert "below 4 throttle nodes" in vm.qmp_raw("blockdev-add", **{"driver": "throttle", "node-name": "t9", "file": "t2",
                                                                      "throttle-group": "g"})["error"]["desc"]
    assert "used as 'file' of 't2'" in vm.qmp_raw("blockdev-del", **{"node-name": "t1"})["error"]["desc"]
    for name in ("t2", "t1", "t0", "t"):
        vm.qmp("blockdev-del", **{"node-name": name})
    assert [n["node-name"] for n in vm.qmp("query-named-block-nodes")] == ["d0"]
    # A drive that names it is in it.
    vm.qmp("block_set_io_throttle", device="d0", group="g", **{**NONE, "iops": 5})
    assert vm.qmp("qom-get", path="/objects/g", property="limits")["iops-total"] == 5
    assert "in use" in vm.qmp_raw("object-del", id="g")["error"]["desc"]
    vm.qmp("block_set_io_throttle", device="d0", **NONE)
    assert vm.qmp("qom-get", path="/objects/g", property="limits")["iops-total"] == 5
    vm.qmp("object-del", id="g")
    for changes, text in (({"throttle-group": "g"}, "throttle-group 'g' not found"), ({"throttle-group": None}, "needs 'throttle-group'"),
                          ({"driver": "raw"}, "needs driver throttle"), ({"filename": "x", "file": None}, "'filename' needs driver")):
        arguments = {key: value for key, value in {**node, **changes}.items() if value is not None}
        assert text in vm.qmp_raw("blockdev-add", **arguments)["error"]["desc"]


def test_threads_that_race_for_a_group(start, images):
    """Members begin, rest and come back on two threads while the third changes limits."""
    vm = start(*as_options(images))
    queues = ready(vm)
    for turn in range(15):
        for queue in queues:
            queue.kick()
        throttle(vm, f"b{turn & 1}", iops=10**6, group=f"g{turn % 3}")
        vm.step(10**6)
        if turn % 5 == 4:
            vm.qmp("stop")
            vm.qmp("cont")
        if turn % 5 == 2:
            throttle(vm, "b0")
        throttle(vm, "b0", iops=1000, group="g")
        throttle(vm, "b1", iops=1000, group="g")
        for n, queue in enumerate(queues):
            while queue.answered():
                slot = queue.take()[0] // 3
                fill(queue, n, slot)
        vm.step(10**6)
    for disk in ("b0", "b1"):
        throttle(vm, disk)
    for queue in queues:
        queue.kick()
        vm.until(lambda: queue.used_idx() == queue.avail_idx, "all requests")  # pylint: disable=cell-var-from-loop
