# SPDX-License-Identifier: Apache-2.0
"""Disks that come and go in the replaceable slots, back ends with them, with a guest that uses them all the time; CPUs on q35."""

import os
import platform
import re
import time

import pytest

from client import QmpError, VM, wait_for

MIB = 1 << 20


class Guest(VM):
    """A running VM whose guest says what it sees of its disks; images lie in its folder."""

    def __init__(self, folder, *options, append="test=hotplug", **more):
        super().__init__(folder, *options, paused=False, append=append, cwd=folder, **more)
        self.command[self.command.index("null")] = "file:console"

    def console(self):
        with open(os.path.join(self.folder, "console"), errors="replace") as f:
            return f.read()

    def lines(self, disk):
        return re.findall(rf"^disk {disk}: (.*)\n", self.console(), re.M)

    def sees(self, disk, *lines):
        """Waits until these are the last lines about the disk."""
        try:
            wait_for(lambda: self.lines(disk)[-len(lines):] == list(lines) or "FAIL" in self.console())
        except AssertionError:
            raise AssertionError(f"{lines} never came: {self.lines(disk)[-20:]}") from None
        assert "FAIL" not in self.console(), self.console()

    def ready(self):
        wait_for(lambda: os.path.exists(os.path.join(self.folder, "console")) and "ready\n" in self.console())
        return self

    def image(self, name, size=MIB):
        with open(os.path.join(self.folder, name), "wb") as f:
            f.truncate(size)
        return name


@pytest.fixture
def guest(tmp_path):
    with Guest(tmp_path) as made:
        yield made


@pytest.fixture
def q(guest):
    with guest.connect() as c:
        guest.ready()
        yield c


def node(q, name, file, **more):
    q.run("blockdev-add", driver="raw", node_name=name, file={"driver": "file", "filename": file, "aio": "native"}, **more)


def plug(q, name, **more):
    q.run("device_add", **{"driver": "virtio-blk-mmio", "id": name, "drive": name, **more})


def refused(q, text, command, **arguments):
    with pytest.raises(QmpError, match=text) as caught:
        q.run(command, **arguments)
    return caught.value.kind


def unplug(q, name):
    q.run("device_del", id=name)
    event = q.event("DEVICE_DELETED")
    assert event["data"] == {"device": name, "path": f"/machine/peripheral/{name}"}


# ---- the slots ----

def test_empty_slots_are_disks_without_capacity(guest, q):
    for disk in range(4):
        assert guest.lines(disk) == ["0 sectors"]
    assert "blk-slot3" in [e["name"] for e in q.run("qom-list", path="/machine/unattached")]
    assert q.run("query-block") == []


def test_a_disk_comes_works_and_goes(guest, q):
    guest.image("a")
    node(q, "a", "a", read_only=False)
    plug(q, "a", addr="2")
    guest.sees(2, f"{MIB // 512} sectors", "works")
    assert [e["name"] for e in q.run("qom-list", path="/machine/peripheral")].count("a") == 1
    assert q.run("qom-get", path="/machine/peripheral/a", property="drive") == "a"
    info, = q.run("query-block")
    assert info["qdev"] == "/machine/peripheral/a" and info["inserted"]["node-name"] == "a"
    assert refused(q, "Node 'a' is busy: device 'a' uses it", "blockdev-del", node_name="a") == "GenericError"
    unplug(q, "a")
    guest.sees(2, "0 sectors")
    assert "a" not in [e["name"] for e in q.run("qom-list", path="/machine/peripheral")]
    assert refused(q, "Device 'a' not found", "device_del", id="a") == "DeviceNotFound"
    q.run("blockdev-del", node_name="a")
    assert q.run("query-named-block-nodes") == []
    with open(os.path.join(guest.folder, "a"), "rb") as f:
        assert f.read(4096) == b"\x5a" * 4096
    assert [guest.lines(d) for d in (0, 1, 3)] == [["0 sectors"]] * 3


def test_slots_are_chosen_as_stratovirts_clients_do(guest, q):
    for name in "abcd":
        guest.image(name)
        node(q, name, name)
    plug(q, "a", addr="0x3")
    plug(q, "b", lun=0)
    plug(q, "c")  # the first that is free
    for disk in (0, 1, 3):
        guest.sees(disk, f"{MIB // 512} sectors", "works")
    assert refused(q, "The slot 3 is occupied already", "device_add", driver="virtio-blk-mmio", id="d", drive="d", addr=3)
    assert refused(q, r"slot 4 is out of range \[0, 3\]", "device_add", driver="virtio-blk-mmio", id="d", drive="d", lun=3)
    assert refused(q, r"slot \d+ is out of range \[0, 3\]", "device_add", driver="virtio-blk-mmio", id="d", drive="d", lun=(1 << 64) - 1)
    assert refused(q, "addr=x is not a number", "device_add", driver="virtio-blk-mmio", id="d", drive="d", addr="x")
    plug(q, "d")
    guest.sees(2, f"{MIB // 512} sectors", "works")
    assert refused(q, "all 4 replaceable slots are occupied", "device_add", driver="virtio-blk-mmio", id="e", drive="d")


@pytest.mark.parametrize("arguments,text", [
    ({"driver": "virtio-blk-mmio", "id": "x"}, "drive"),
    ({"driver": "virtio-blk-mmio", "id": "x", "drive": "none"}, "none"),
    ({"driver": "virtio-blk-mmio", "id": "x", "drive": "b", "num-queues": 2}, "num-queues"),
    ({"driver": "virtio-blk-mmio", "id": "x", "drive": "a", "serial": "x" * 21}, "serial"),
    ({"driver": "virtio-blk-mmio", "id": "", "drive": "b"}, "an id of 1 to 255 characters is required"),
    ({"driver": "virtio-blk-mmio", "id": "a", "drive": "b"}, "device id 'a' is already used"),
    ({"driver": "virtio-blk-mmio", "id": "blk-slot3", "drive": "b"}, "'blk-slot3' is already used"),
    ({"driver": "virtio-blk-mmio", "id": "x", "drive": "a"}, "drive 'a' is in use by another device"),
    ({"driver": "virtio-rng-device", "id": "x"}, "does not support hotplugging"),
    ({"driver": "ide-hd", "id": "x"}, "'ide-hd' is not a valid device model name"),
    ({"driver": "virtio-blk-mmio", "id": "x", "drive": ["a"]}, "drive"),
])
def test_what_is_refused_leaves_nothing(guest, q, arguments, text):
    for name in "ab":
        guest.image(name)
        node(q, name, name)
    plug(q, "a")
    guest.sees(0, f"{MIB // 512} sectors", "works")
    before = guest.descriptors()
    assert refused(q, text, "device_add", **arguments) == "GenericError"
    assert guest.descriptors() == before
    assert guest.lines(1) == ["0 sectors"]
    assert [e["name"] for e in q.run("qom-list", path="/machine/peripheral")] == ["type", "serial0", "a"]
    plug(q, "b", serial="S1")
    guest.sees(1, f"{MIB // 512} sectors", "works")
    assert q.run("qom-get", path="/machine/peripheral/b", property="serial") == "S1"


def test_requests_without_a_drive_fail(tmp_path):
    with Guest(tmp_path, append="test=hotplug empty=1") as guest, guest.connect() as q:
        guest.ready()
        for disk in range(4):
            guest.sees(disk, "0 sectors", "fails")
        guest.image("a")
        node(q, "a", "a")
        plug(q, "a", addr=1)
        guest.sees(1, f"{MIB // 512} sectors", "works")
        unplug(q, "a")
        guest.sees(1, "0 sectors", "fails")


def test_a_read_only_disk_takes_no_writes(guest, q):
    guest.image("a")
    node(q, "a", "a", read_only=True)
    plug(q, "a")
    guest.sees(0, f"{MIB // 512} sectors", "fails")
    with open(os.path.join(guest.folder, "a"), "rb") as f:
        assert f.read() == bytes(MIB)


def test_disks_of_the_command_line_sit_in_the_first_slots(tmp_path):
    disks = []
    for i in range(5):
        (tmp_path / f"d{i}").write_bytes(bytes(MIB + 4096 * i))
        disks += ["-drive", f"id=d{i},file=d{i},if=none", "-device", f"virtio-blk-device,drive=d{i},id=b{i}"]
    with Guest(tmp_path, *disks[4:], "-object", "iothread,id=io0", *disks[:2], "-device",
               "virtio-blk-device,drive=d0,id=b0,iothread=io0") as guest, guest.connect() as q:
        guest.ready()
        # d1 to d4 come first on the command line.
        for disk in range(4):
            guest.sees(disk, f"{(MIB + 4096 * (disk + 1)) // 512} sectors", "works")
        assert refused(q, "Device 'b0' cannot be unplugged: it is not in a replaceable slot", "device_del", id="b0")
        assert refused(q, "object 'io0' is in use", "object-del", id="io0")
        unplug(q, "b2")
        guest.sees(1, "0 sectors")
        q.run("blockdev-del", node_name="d2")
        node(q, "d2", "d2")
        plug(q, "d2", addr=1)
        guest.sees(1, f"{(MIB + 8192) // 512} sectors", "works")


@pytest.mark.parametrize("machine,monitor,slots", [
    ("microvm", True, 4), ("microvm", False, 0), ("microvm,replaceable-slots=off", True, 0),
    ("microvm,replaceable-slots=on", False, 4)])
def test_when_there_are_slots(tmp_path, machine, monitor, slots):
    guest = Guest(tmp_path, "-machine", machine, qmp=monitor)
    with guest:
        guest.ready()
        assert guest.console().count("0 sectors") == slots
        if monitor and not slots:
            with guest.connect() as q:
                guest.image("a")
                node(q, "a", "a")
                refused(q, "this VM has no replaceable slots", "device_add", driver="virtio-blk-mmio", drive="a")


def test_while_stopped_and_over_resets(tmp_path):
    with Guest(tmp_path, "-object", "iothread,id=io0") as guest, guest.connect() as q:
        guest.ready()
        guest.image("a")
        q.run("stop")
        q.event("STOP")
        node(q, "a", "a")
        plug(q, "a")
        time.sleep(0.1)
        assert guest.lines(0) == ["0 sectors"]
        q.run("cont")
        q.event("RESUME")
        guest.sees(0, f"{MIB // 512} sectors", "works")
        for _ in range(3):
            q.run("system_reset")
            q.event("RESET")
            guest.sees(0, f"{MIB // 512} sectors", "works")
        q.run("stop")
        q.event("STOP")
        unplug(q, "a")
        q.run("cont")
        q.event("RESUME")
        guest.sees(0, "0 sectors")


@pytest.mark.parametrize("aio", ["native", "threads"])
def test_two_hundred_rounds_leak_nothing(guest, q, aio):
    guest.image("a")

    def memory():
        with open(f"/proc/{guest.process.pid}/status") as f:
            return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1))

    for i in range(200):
        q.run("blockdev-add", driver="raw", node_name="a", file={"driver": "file", "filename": "a", "aio": aio})
        plug(q, "a", addr=str(i % 4))
        unplug(q, "a")
        q.run("blockdev-del", node_name="a")
        if i == 19:
            before, used = guest.descriptors(), memory()
            threads = len(os.listdir(f"/proc/{guest.process.pid}/task"))
    wait_for(lambda: len(os.listdir(f"/proc/{guest.process.pid}/task")) <= threads, 10)
    assert guest.descriptors() == before
    with open(f"/proc/{guest.process.pid}/maps") as f:
        if "asan" not in f.read():  # which keeps what is freed for a while
            assert memory() - used < 512, "KiB that stay"
    time.sleep(0.2)  # the last change must not be one of many that the guest never saw
    node(q, "a", "a")
    plug(q, "a", addr=0)
    guest.sees(0, f"{MIB // 512} sectors", "works")
    q.run("quit")
    guest.end(0)


# ---- objects and character devices ----

def test_objects_come_and_go(qmp, vm):
    before = vm.descriptors()
    for i in range(8):
        qmp.run("object-add", qom_type="iothread", id=f"io{i}")
    refused(qmp, "at most 8 iothreads", "object-add", qom_type="iothread", id="io8")
    assert [i["id"] for i in qmp.run("query-iothreads")] == [f"io{i}" for i in range(8)]
    for i in range(8):
        qmp.run("object-del", id=f"io{i}")
    assert qmp.run("query-iothreads") == []
    refused(qmp, "object 'io0' not found", "object-del", id="io0")
    qmp.run("object-add", qom_type="rng-random", id="r", props={"filename": "/dev/urandom"})
    refused(qmp, "the id is already used by a rng-random", "object-add", qom_type="iothread", id="r")
    refused(qmp, "filename=/etc is no character device, FIFO or file", "object-add", qom_type="rng-random", id="s",
            filename="/etc")
    for bad in (5, "x", [], True):
        refused(qmp, "'props', expected: object", "object-add", qom_type="rng-random", id="s", props=bad)
    refused(qmp, "did you mean 'iothread'", "object-add", qom_type="iothraed", id="s")
    assert [e["name"] for e in qmp.run("qom-list", path="/objects")] == ["type", "r"]
    qmp.run("object-del", id="r")
    qmp.run("object-add", qom_type="memory-backend-memfd", id="m", size=1 << 20)
    qmp.run("object-del", id="m")
    qmp.run("object-add", qom_type="memory-backend-file", id="m", size=1 << 20, mem_path="/dev/shm", prealloc=True)
    qmp.run("object-del", id="m")
    refused(qmp, "host-nodes is for memory that is made at start", "object-add", qom_type="memory-backend-ram", id="m",
            size=1 << 20, host_nodes="0", policy="bind")
    assert vm.descriptors() == before


def test_memory_of_the_guest_stays(tmp_path):
    with VM(tmp_path, "-machine", "microvm,memory-backend=m", "-object", "memory-backend-memfd,id=m,size=128M") as vm:
        with vm.connect() as q:
            refused(q, "object 'm' is in use, can not be deleted", "object-del", id="m")


def test_chardevs_come_and_go(qmp, vm, tmp_path):
    before = vm.descriptors()
    path = str(tmp_path / "c.sock")
    unix = {"type": "socket", "data": {"addr": {"type": "unix", "data": {"path": path}}, "server": True}}
    assert qmp.run("chardev-add", id="c", backend=unix) == {}
    assert os.path.exists(path)
    refused(qmp, "chardev id 'c' is already used", "chardev-add", id="c", backend=unix)
    pty = qmp.run("chardev-add", id="p", backend={"type": "pty", "data": {}})["pty"]
    assert os.path.exists(pty)
    assert {c["label"]: c["filename"] for c in qmp.run("query-chardev") if c["label"] == "p"} == {"p": f"pty:{pty}"}
    qmp.run("chardev-add", id="f", backend={"type": "file", "data": {"out": str(tmp_path / "out")}})
    qmp.run("chardev-add", id="i", backend={"type": "socket", "data": {
        "addr": {"type": "inet", "data": {"host": "127.0.0.1", "port": "0"}}, "nodelay": False}})
    for bad, text in [({"type": "socket", "data": {"addr": {"type": "unix", "data": {}}}}, "'path' is missing"),
                      ({"type": "socket"}, "'addr' is missing"), ({"type": "file", "data": 3}, "'data'"),
                      ({"type": "vc"}, "does not accept value 'vc'"),
                      ({"type": "null", "data": {"x": 1}}, "'x' is unexpected"),
                      ({**unix, "data": {**unix["data"], "wait": True}}, "wait")]:
        assert refused(qmp, text, "chardev-add", id="x", backend=bad) == "GenericError"
    refused(qmp, "Chardev 'x' not found", "chardev-remove", id="x")
    refused(qmp, "Chardev 'serial0' is busy", "chardev-remove", id="serial0")
    for name in "cpfi":
        qmp.run("chardev-remove", id=name)
    assert not os.path.exists(path)
    assert vm.descriptors() == before


def test_network_back_ends_come_and_go(qmp, vm):
    refused(qmp, "netdev none: unknown type", "netdev_add", type="none", id="n0")
    refused(qmp, "one of ifname, path and fd is required", "netdev_add", type="tap", id="n0")
    assert refused(qmp, "Device 'n0' not found", "netdev_del", id="n0") == "DeviceNotFound"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK) or os.geteuid():
        pytest.skip("no taps for us here")
    before = vm.descriptors()
    for _ in range(5):
        qmp.run("netdev_add", type="tap", id="n0", ifname="unit-hotplug")
        refused(qmp, "netdev id 'n0' is already used", "netdev_add", type="tap", id="n0", ifname="unit-hotplug")
        assert os.path.exists("/sys/class/net/unit-hotplug")
        qmp.run("netdev_del", id="n0")
        assert not os.path.exists("/sys/class/net/unit-hotplug")
    assert vm.descriptors() == before


@pytest.fixture
def taps():
    """Names for taps that netdev_add creates and that are gone at the end."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK) or os.geteuid():
        pytest.skip("no taps for us here")
    names = [f"qmpslot{i}" for i in range(3)]
    yield names
    assert not [n for n in names if os.path.exists(f"/sys/class/net/{n}")]


def card(q, name, **more):
    q.run("device_add", **{"driver": "virtio-net-mmio", "id": name, "netdev": name, **more})


def test_a_card_comes_and_goes(guest, q, taps):
    unattached = [e["name"] for e in q.run("qom-list", path="/machine/unattached")]
    assert {"net-slot0", "net-slot1"} <= set(unattached)
    before = guest.descriptors()
    for i, name in enumerate(taps[:2] * 3):
        q.run("netdev_add", type="tap", id=name, ifname=name)
        card(q, name, addr=str(i % 2), mac="52:54:00:00:00:01")
        assert q.run("qom-get", path=f"/machine/peripheral/{name}", property="netdev") == name
        assert refused(q, "is in use", "netdev_del", id=name) == "GenericError"
        q.run("set_link", name=name, up=False)
        unplug(q, name)
        q.run("netdev_del", id=name)
        assert guest.descriptors() == before
    assert refused(q, "not found", "device_del", id=taps[0]) == "DeviceNotFound"


def test_card_slots_are_chosen_as_stratovirts_clients_do(guest, q, taps):
    for name in taps:
        q.run("netdev_add", type="tap", id=name, ifname=name)
    q.run("device_add", driver="virtio-net-mmio", id="a", chardev=taps[0], addr="0x1")  # StratoVirt 2
    q.run("device_add", driver="virtio-net-mmio", id=taps[1])  # its releases before that
    assert refused(q, "all 2 replaceable slots are occupied", "device_add", driver="virtio-net-mmio", id="c",
                   netdev=taps[2]) == "GenericError"
    assert refused(q, "The slot 1 is occupied already", "device_add", driver="virtio-net-mmio", id="c", netdev=taps[2],
                   addr=1)
    assert refused(q, r"slot 2 is out of range \[0, 1\]", "device_add", driver="virtio-net-mmio", netdev=taps[2], lun=1)
    unplug(q, "a")
    for bad, text in [({"netdev": taps[1]}, "in use by another device"), ({"netdev": "x"}, "x"), ({}, "netdev"),
                      ({"netdev": taps[2], "mac": "01:00:00:00:00:00"}, "multicast"),
                      ({"netdev": taps[2], "queue-size": 512}, "queue-size")]:
        assert refused(q, text, "device_add", driver="virtio-net-mmio", id="c", **bad) == "GenericError"
    card(q, taps[2])
    q.run("quit")
    guest.end(0)


def test_cards_of_the_command_line_sit_in_the_first_slots(tmp_path, taps):
    nets = []
    for i, name in enumerate(taps):
        more = ",queues=2" if i == 1 else ""
        nets += ["-netdev", f"tap,id={name},ifname={name}{more}", "-device",
                 f"virtio-net-device,netdev={name},id=c{i}" + (",mq=on" if i == 1 else "")]
    with Guest(tmp_path, *nets) as guest, guest.connect() as q:
        guest.ready()
        assert refused(q, "Device 'c1' cannot be unplugged", "device_del", id="c1") == "GenericError"
        assert "net-slot0" not in [e["name"] for e in q.run("qom-list", path="/machine/unattached")]
        for name in ("c0", "c2"):
            unplug(q, name)
        q.run("quit")
        guest.end(0)


def test_without_a_balloon(qmp):
    assert refused(qmp, "No balloon device has been activated", "balloon", value=1 << 27) == "DeviceNotActive"
    assert refused(qmp, "No balloon device has been activated", "query-balloon") == "DeviceNotActive"


def test_a_word_of_guest_memory(qmp):
    # The bare-metal guest is an ELF file, loaded at 1 MiB or above; low memory starts empty.
    assert re.fullmatch("[0-9A-F]{1,8}", qmp.run("query-mem-gpa", gpa="100000"))
    assert qmp.run("query-mem-gpa", gpa="0x1000000") == qmp.run("query-mem-gpa", gpa="1000000")
    refused(qmp, "address not in hexadecimal", "query-mem-gpa", gpa="xyz")
    for gpa in ("f0100000", "7fffffe", "ffffffffffffffff"):
        refused(qmp, "this gpa does not support query", "query-mem-gpa", gpa=gpa)


# --- CPUs, with KVM's vCPUs: the guest of this ring ejects nothing, but one that starts anew has let go, too ---


def until(client, name):
    while client.event()["event"] != name:
        pass


@pytest.mark.skipif(platform.machine() != "x86_64", reason="q35 is for x86_64")
def test_vcpus_go_and_are_used_again(tmp_path):
    with VM(tmp_path, "-machine", "q35", "-smp", "1,maxcpus=3", paused=False) as vm, vm.connect() as c:
        for number in range(6):
            for name in ("c1", "c2"):
                c.run("device_add", driver="host-x86_64-cpu", id=name)
            assert [cpu["qom-path"][-2:] for cpu in c.run("query-cpus-fast")][1:] == ["c1", "c2"]
            threads = [cpu["thread-id"] for cpu in c.run("query-cpus-fast")]
            assert number == 0 or threads == known, "there are no more threads than places"
            known = threads
            if number % 2:
                c.run("stop")
            for name in ("c2", "c1"):
                c.run("device_del", id=name)
                c.run("system_reset")
                until(c, "DEVICE_DELETED")
            assert len(c.run("query-cpus-fast")) == 1
            if number % 2:
                c.run("cont")
        ticks = vm.cpu_time()
        wait_for(lambda: vm.cpu_time() > ticks)  # the one that is left runs
        c.run("quit")
        vm.end()
