# SPDX-License-Identifier: Apache-2.0
"""virtio-net's data path over a tap: frames both ways, headers, the control queue and the filter, several queues."""

import os
import re
import struct
import subprocess

import pytest

import guest
import kinds
import virtio as v
from test_virtio_console import pattern

AT, CONTROL = kinds.AT, 0x380000
F_CSUM, F_MRG, F_CTRL, F_CTRL_RX, F_CTRL_VLAN, F_EXTRA, F_MQ, F_CTRL_MAC = (1 << bit for bit in (0, 15, 17, 18, 19, 20, 22, 23))
F_CTRL_GUEST_OFFLOADS = 1 << 2
CONTROL_FEATURES = F_CTRL | F_CTRL_RX | F_CTRL_VLAN | F_EXTRA | F_CTRL_MAC
MAC, OTHER, BROADCAST = bytes.fromhex("525400000001"), bytes.fromhex("525400000002"), b"\xff" * 6
GROUP = bytes.fromhex("01005e000001")
KINDS = {"main": kinds.NET, "iothread": kinds.with_iothread(kinds.NET), "rx-and-tx-iothreads": kinds.with_iothreads(kinds.NET)}


def frame(data, to=BROADCAST, kind=0x88b5):
    return to + OTHER + struct.pack(">H", kind) + data


class Driver:
    def __init__(self, vm, pairs=1):
        self.vm, self.tap, self.device, self.pairs = vm, vm.tap, v.find(vm, v.ID_NET), pairs
        self.start()

    def start(self, features=0, size=16, buffer=4096, count=None):
        last = 2 * self.pairs if features & F_MQ else 2
        self.queues = self.device.start_all(size, features | v.F_RING_RESET, indices=range(last + 1 if features & F_CTRL else last))
        self.rx, self.tx = v.Inbox(self.queues[0], buffer, count), self.queues[1]
        self.control = self.queues.get(last)
        return self

    def send(self, data, header=bytes(12), cut=12, queue=None):
        """A frame, with its buffers cut at one place."""
        packet = header + data
        self.vm.ram[AT:AT + len(packet)] = packet
        pieces = [(AT, cut, False), (AT + cut, len(packet) - cut, False)]
        assert (queue or self.tx).send([piece for piece in pieces if piece[1]]) == 0

    def receive(self):
        data = self.rx.take()
        assert struct.unpack("<BBHHHHH", data[:12])[6] == 1
        return data[12:]

    def command(self, kind, command, data=b""):
        """Whether the device took it."""
        self.vm.ram[CONTROL:CONTROL + 2 + len(data)] = bytes((kind, command)) + data
        self.vm.ram[CONTROL - 1] = 0xff
        chain = [(CONTROL, 2, False)] + ([(CONTROL + 2, len(data), False)] if data else [])
        assert self.control.send(chain + [(CONTROL - 1, 1, True)]) == 1
        assert self.vm.ram[CONTROL - 1] in (0, 1)
        return self.vm.ram[CONTROL - 1] == 0

    def passes(self, *frames):
        """Which of the frames arrive: a broadcast behind them, which does, tells that none is to come."""
        for one in frames:
            self.tap.send(one)
        mark = frame(b"MARK".ljust(46))
        self.tap.send(mark)
        got = []
        while mark not in got:
            got.append(self.receive())
        return [one in got for one in frames]


@pytest.fixture(params=KINDS)
def driver(start, request):
    return Driver(start(*KINDS[request.param]))


def test_net_config(driver):
    device = driver.device
    assert bytes(device.get(v.CONFIG + i, 1) for i in range(6)) == MAC
    assert device.get(v.CONFIG + 6, 2) == 1  # link up
    assert device.get(v.CONFIG + 8, 2) == 1  # pairs


def test_frames_out_and_in(driver):
    for length in (46, 47, 1000, 1500):
        driver.send(frame(pattern(length)))
        assert driver.tap.frame() == frame(pattern(length))
        driver.tap.send(frame(pattern(length, 1)))
        assert driver.receive() == frame(pattern(length, 1))


def test_split_header(driver):
    """Header and frame cut at every place, both ways (CVE-2019-18960)."""
    for cut in range(1, 30):
        driver.send(frame(pattern(50, cut)), cut=cut)
        assert driver.tap.frame() == frame(pattern(50, cut))
    driver.start(count=0)
    queue = driver.queues[0]
    for cut in range(1, 30):
        driver.vm.ram[AT:AT + 2048] = b"\xa5" * 2048
        queue.publish(queue.chain([(AT, cut, True), (AT + cut, 2000 - cut, True)]))
        queue.kick()
        driver.tap.send(frame(pattern(50, cut)))
        assert queue.take() == (0, 12 + 64)
        assert driver.vm.ram[AT:AT + 12] == bytes(10) + b"\1\0"
        assert driver.vm.ram[AT + 12:AT + 76] == frame(pattern(50, cut))
        assert driver.vm.ram[AT + 76:AT + 2048] == b"\xa5" * (2048 - 76)


def test_merged_buffers(driver):
    """A frame over several buffers, whose number stands in the first; the last may be filled in part."""
    for buffer in (64, 100, 1000):
        driver.start(F_MRG, size=256, buffer=buffer)
        for length in (46, 500, 1486):
            want = frame(pattern(length))
            driver.tap.send(want)
            data = driver.rx.take()
            count = struct.unpack_from("<H", data, 10)[0]
            assert count == -(-(12 + len(want)) // buffer)
            for _ in range(count - 1):
                data += driver.rx.take()
            assert data[12:] == want


def test_a_frame_that_is_longer_than_the_buffers(driver):
    """Without merging it is lost and the next one arrives; with it, it waits for buffers."""
    driver.start(buffer=256)
    driver.tap.send(frame(pattern(1000)))
    driver.tap.send(frame(pattern(100)))
    assert driver.receive() == frame(pattern(100))
    driver.start(F_MRG, buffer=256, count=2)
    queue, want = driver.queues[0], frame(pattern(1400))
    driver.tap.send(want)
    for _ in range(5):
        driver.vm.settle()
    assert not queue.answered()
    for i in range(2, 8):
        queue.put(i, driver.rx.at + 256 * i, 256, v.WRITE)
        driver.rx.give(i)
    data = driver.rx.take()
    for _ in range(struct.unpack_from("<H", data, 10)[0] - 1):
        data += driver.rx.take()
    assert data[12:] == want


def test_rx_stall(driver):
    """A flood while there are no buffers; then buffers, and frames arrive again (CVE-2020-16843)."""
    for features in (0, F_MRG):
        driver.start(features, size=8, count=0)
        for i in range(2000):
            try:
                driver.tap.send(frame(pattern(1000, i)))
            except OSError:
                break  # the cable is full
        for _ in range(5):
            driver.vm.settle()
        queue = driver.queues[0]
        assert not queue.answered()
        driver.rx = v.Inbox(queue, 2048)
        mark, got = frame(b"MARK".ljust(46)), None
        for _ in range(10):
            driver.receive()
        driver.tap.send(mark)
        for _ in range(3000):
            got = driver.receive()
            if got == mark:
                break
        assert got == mark


def test_net_reset_under_traffic(driver):
    """Resets of the device and of its queues while frames come: no buffer of before is written, and it goes on."""
    for turn in range(20):
        for i in range(20):
            driver.tap.send(frame(pattern(200, i)))
        driver.receive()
        if turn % 2:
            driver.device.set(v.QUEUE_SEL, 0)
            driver.device.set(v.QUEUE_RESET, 1)
        else:
            driver.device.reset()
        region = slice(driver.rx.at, driver.rx.at + 16 * 4096)
        driver.vm.ram[region] = b"\xa5" * (16 * 4096)
        for i in range(5):
            driver.tap.send(frame(pattern(200, i)))
            driver.vm.settle()
        assert driver.vm.ram[region] == b"\xa5" * (16 * 4096)
        driver.start()
        assert driver.passes(frame(pattern(100, turn))) == [True]
        driver.send(frame(b"alive".ljust(46)))
        assert driver.tap.frames()[-1] == frame(b"alive".ljust(46))


def test_receive_filter(driver):
    driver.start(CONTROL_FEATURES, size=64)
    frames = [frame(bytes(46), to) for to in (MAC, OTHER, GROUP)]
    assert driver.passes(*frames) == [True, True, True], "until the driver says what it wants"
    assert driver.command(0, 0, b"\0")  # PROMISC off
    assert driver.passes(*frames) == [True, False, False]
    assert driver.command(0, 1, b"\1") and driver.passes(*frames) == [True, False, True]  # ALLMULTI
    assert driver.command(0, 3, b"\1") and driver.passes(*frames) == [True, False, False]  # NOMULTI
    assert driver.command(0, 3, b"\0") and driver.command(0, 1, b"\0")
    assert driver.command(0, 2, b"\1") and driver.passes(*frames) == [True, True, False]  # ALLUNI
    assert driver.command(0, 2, b"\0")
    table = struct.pack("<I", 1) + OTHER + struct.pack("<I", 1) + GROUP
    assert driver.command(1, 0, table) and driver.passes(*frames) == [True, True, True]
    assert driver.command(1, 0, bytes(8)) and driver.passes(*frames) == [True, False, False]
    assert driver.command(1, 1, OTHER) and driver.passes(*frames) == [False, True, False]
    assert bytes(driver.device.get(v.CONFIG + i, 1) for i in range(6)) == OTHER
    tagged = [BROADCAST + OTHER + struct.pack(">HHH", 0x8100, vlan, 0x88b5) + bytes(46) for vlan in (0, 5, 0xfff)]
    assert driver.passes(*tagged) == [False, False, False]
    assert driver.command(2, 0, struct.pack("<H", 5)) and driver.passes(*tagged) == [False, True, False]
    assert driver.command(2, 1, struct.pack("<H", 5)) and driver.passes(*tagged) == [False, False, False]
    driver.device.reset()
    assert bytes(driver.device.get(v.CONFIG + i, 1) for i in range(6)) == MAC
    driver.start()
    assert driver.passes(*frames, *tagged) == [True] * 6


def test_commands_that_are_none(driver):
    """Every class and command with arguments of every length: refused unless they are right, and nothing breaks."""
    driver.start(CONTROL_FEATURES)
    huge = struct.pack("<I", 0xffffffff)
    for kind in (*range(8), 0x7f, 0xff):
        for command in (*range(7), 0xff):
            for data in (b"", b"\0", b"\0\0", b"\1", b"\xff" * 4, bytes(6), bytes(8), huge + bytes(4), bytes(4) + huge,
                         struct.pack("<I", 0x2aaaaaab) + bytes(6), b"\xff" * 100):
                took = driver.command(kind, command, data)
                assert not (took and kind > 4)
    assert not driver.device.broken()
    for data in (struct.pack("<H", 4096), b"\0\x10", b"\xff\xff"):
        assert not driver.command(2, 0, data)
    many = struct.pack("<I", 1000) + OTHER * 1000 + bytes(4)
    driver.start(CONTROL_FEATURES)
    assert driver.command(0, 0, b"\0") and driver.command(1, 0, many)  # more than the table holds: all pass
    assert driver.passes(frame(bytes(46), bytes.fromhex("525400009999"))) == [True]
    driver.start(F_CTRL)  # a control queue, and nothing that it could be used for
    for kind, command, data in ((0, 0, b"\0"), (0, 2, b"\0"), (1, 1, MAC), (2, 0, b"\5\0"), (3, 0, b""), (4, 0, b"\1\0")):
        assert not driver.command(kind, command, data)


def test_link(driver):
    driver.start(1 << 16)
    driver.vm.qmp("set_link", name="n0", up=False)
    assert driver.device.get(v.CONFIG + 6, 2) == 0 and driver.device.get(v.INTERRUPT_STATUS) & 2
    driver.tap.frames()
    driver.send(frame(b"lost".ljust(46)))
    driver.tap.send(frame(b"lost, too".ljust(46)))
    for _ in range(5):
        driver.vm.settle()
    assert driver.tap.frames() == [] and driver.rx.empty()
    driver.vm.qmp("set_link", name="n0", up=True)
    assert driver.device.get(v.CONFIG + 6, 2) == 1
    assert driver.passes(frame(bytes(46))) == [True]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pairs", (2, 16))
def test_several_pairs(start, pairs, kind):
    options = [option.replace("fd=$TAP", "fds=$TAP").replace("netdev=n0", "netdev=n0,mq=on") for option in KINDS[kind]]
    driver = Driver(start(*options, pairs=pairs), pairs)
    assert driver.device.get(v.CONFIG + 8, 2) == pairs
    driver.start(F_MQ | F_CTRL)
    for count in (0, pairs + 1, 0x8000, 0xffff):
        assert not driver.command(4, 0, struct.pack("<H", count))
    inboxes = [driver.rx] + [v.Inbox(driver.queues[2 * i], at=0x1000000 + 0x100000 * i) for i in range(1, pairs)]
    for count in (pairs, 1, pairs):
        assert driver.command(4, 0, struct.pack("<H", count))
        for i in range(count):
            driver.send(frame(b"by pair %d" % i + bytes(46)), queue=driver.queues[2 * i + 1])
            assert driver.tap.frame() == frame(b"by pair %d" % i + bytes(46))
        got = set()
        for i in range(64):  # the host chooses a queue by what it takes for a flow
            packet = bytes.fromhex("4500002000000000401100000a0000010a000002") + struct.pack(">HHHH", 1000 + i, 2000, 12, 0)
            driver.tap.send(frame(packet + b"%04d" % i + bytes(20), MAC, 0x0800))

        def all_came():
            for one in inboxes:
                while not one.empty():
                    got.add(one.take()[12 + 14 + 28:][:4])
            return len(got) == 64

        driver.vm.until(all_came, f"64 frames on {count} pairs")


F_GUEST_CSUM, F_GUEST_TSO4, F_HOST_TSO4, F_GUEST_USO, F_HOST_USO = 1 << 1, 1 << 7, 1 << 11, 3 << 54, 1 << 56
PACKET_VNET_HDR = 15
# gso_type, the number of the protocol, its header, where the checksum is in it, what both sides must have for it
SEGMENTED = {
    "tcp": (1, 6, struct.pack(">HHIIBBHHH", 1000, 2000, 1, 0, 0x50, 0x10, 0x1000, 0, 0), 16, F_HOST_TSO4, F_GUEST_TSO4),
    "udp": (5, 17, struct.pack(">HHHH", 1000, 2000, 0, 0), 6, F_HOST_USO, F_GUEST_USO),
}


@pytest.mark.parametrize("protocol", SEGMENTED)
def test_segmentation_is_left_to_who_receives(start, protocol):
    """One frame of many segments passes the tap in one piece both ways; to a driver that did not ask for it, or has switched it
    off, it comes in pieces."""
    gso, number, header, at, host, own = SEGMENTED[protocol]
    driver = Driver(start(*KINDS["rx-and-tx-iothreads"]))
    kernel = tuple(int(word) for word in re.findall(r"\d+", os.uname().release)[:2])
    offered = driver.device.offered()
    if protocol == "udp" and kernel < (6, 2):
        assert not offered & (F_HOST_USO | F_GUEST_USO)
        return
    assert offered & host and offered & own == own
    payload = pattern(8000)
    if protocol == "udp":
        header = struct.pack(">HHHH", 1000, 2000, 8 + len(payload), 0)
    packet = frame(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(header) + len(payload), 1, 0, 64, number, 0, bytes((10, 0, 0, 1)),
                               bytes((10, 0, 0, 2))) + header + payload, MAC, 0x0800)
    prefix = struct.pack("<BBHHHH", 1, gso, 34 + len(header), 1000, 34, at)
    driver.tap.cable.setsockopt(263, PACKET_VNET_HDR, 1)
    common = F_CSUM | F_GUEST_CSUM | F_MRG | F_CTRL | F_CTRL_GUEST_OFFLOADS
    driver.start(common | host | own, size=64)
    driver.send(packet, prefix + bytes(2))
    got = driver.tap.frame()
    assert got[1] == gso and struct.unpack_from("<H", got, 4)[0] == 1000 and got[10 + 34 + len(header):] == payload

    def pieces():
        driver.tap.send(prefix + packet)
        found, rest = [], payload
        while rest:
            data = driver.rx.take()
            for _ in range(struct.unpack_from("<H", data, 10)[0] - 1):
                data += driver.rx.take()
            part = data[12 + 34 + len(header):]
            assert rest.startswith(part)
            found.append((data[1], len(part)))
            rest = rest[len(part):]
        return found

    assert pieces() == [(gso, 8000)]
    assert driver.command(5, 0, struct.pack("<Q", F_GUEST_CSUM))
    assert pieces() == [(0, 1000)] * 8
    assert driver.command(5, 0, struct.pack("<Q", F_GUEST_CSUM | own))
    assert pieces() == [(gso, 8000)]
    driver.start(common | host, size=64)
    assert pieces() == [(0, 1000)] * 8


def traffic(vm, tid):
    """How many bytes a thread has read and written."""
    with open(f"/proc/{vm.process.pid}/task/{tid}/io", encoding="ascii") as f:
        found = dict(line.split(": ") for line in f)
    return int(found["rchar"]), int(found["wchar"])


def test_rx_and_tx_iothreads_do_what_they_are_for(start):
    """One thread reads what comes, the other one writes what goes; the rest is the main thread's."""
    driver = Driver(start(*kinds.with_iothreads(kinds.NET)))
    vm = driver.vm
    tids = {one["id"]: one["thread-id"] for one in vm.qmp("query-iothreads")}
    before = {name: traffic(vm, tid) for name, tid in tids.items()}
    for i in range(200):
        driver.send(frame(pattern(100, i)))
        assert vm.tap.frame() == frame(pattern(100, i))
    sent = {name: traffic(vm, tid) for name, tid in tids.items()}
    for i in range(200):
        vm.tap.send(frame(pattern(100, i)))
        assert driver.receive() == frame(pattern(100, i))
    received = {name: traffic(vm, tid) for name, tid in tids.items()}
    assert sent["i1"][1] - before["i1"][1] >= 20000 and received["i0"][0] - sent["i0"][0] >= 20000
    assert sent["i0"][1] - before["i0"][1] < 10000 and received["i1"][0] - sent["i1"][0] < 10000  # but for wake-ups
    for name in tids:
        assert "in use" in vm.qmp_raw("object-del", id=name)["error"]["desc"]


@pytest.mark.parametrize("features", (0, F_MQ))
def test_the_control_queue_is_the_cards_own_threads(start, features):
    """Wherever it is: a driver without MQ has it where others have the second pair's frames."""
    options = [option.replace("fd=$TAP", "fds=$TAP").replace("netdev=n0", "netdev=n0,mq=on")
               for option in KINDS["rx-and-tx-iothreads"]]
    driver = Driver(start(*options, pairs=2), 2)
    vm = driver.vm
    tids = [one["thread-id"] for one in vm.qmp("query-iothreads")]
    for _ in range(2):
        driver.start(CONTROL_FEATURES | features)
        before = [traffic(vm, tid)[1] for tid in tids]
        for i in range(200):
            assert driver.command(0, 0, bytes((i & 1,)))
        after = [traffic(vm, tid)[1] for tid in tids]
        assert max(now - then for now, then in zip(after, before)) < 800  # each answer is an interrupt, written by somebody
        vm.qmp("stop")
        vm.qmp("cont")
        assert driver.command(0, 0, b"\0") and driver.passes(frame(bytes(46))) == [True]


@pytest.mark.parametrize("kind", KINDS)
def test_stop_and_cont_under_traffic(start, kind):
    """Frames that come while the VM is stopped wait in the tap, and nothing is written for them."""
    driver = Driver(start(*KINDS[kind]))
    vm = driver.vm
    region = slice(driver.rx.at, driver.rx.at + 16 * 4096)
    for turn in range(20):
        vm.qmp("stop")
        before = bytes(vm.ram[region])
        for i in range(5):
            vm.tap.send(frame(pattern(200, 5 * turn + i)))
        driver.queues[1].publish(driver.queues[1].chain([(AT, 12 + 60, False)]))
        driver.queues[1].kick()
        for _ in range(3):
            vm.settle()
        assert vm.ram[region] == before and not driver.queues[1].answered() and driver.rx.empty()
        vm.qmp("cont")
        for i in range(5):
            assert driver.receive() == frame(pattern(200, 5 * turn + i))
        driver.queues[1].take()
        vm.tap.frame()


@pytest.mark.parametrize("kind", KINDS)
def test_unplug_under_traffic(start, kind):
    """The back end of a slot goes while frames come and go; what is sent then is lost; the next one's frames arrive."""
    driver = Driver(start(*KINDS[kind][:-1], KINDS[kind][-1] + ",id=net0"))
    vm = driver.vm
    for turn in range(10):
        for i in range(20):
            vm.tap.send(frame(pattern(200, i)))
        vm.qmp("device_del", id=f"net{turn}")
        driver.send(frame(b"nobody is there".ljust(46)))
        vm.qmp("device_add", driver="virtio-net-mmio", id=f"net{turn + 1}", netdev="n0")
        assert driver.passes(frame(pattern(100, turn))) == [True]
        driver.send(frame(b"alive".ljust(46)))
        assert vm.tap.frames()[-1] == frame(b"alive".ljust(46))


@pytest.mark.parametrize("queue", (0, 1, 2))
def test_a_driver_that_breaks_one_of_the_iothreads_loses_all(start, queue):
    """What one thread finds out stops the queues of the others, and a reset mends it."""
    driver = Driver(start(*kinds.with_iothreads(kinds.NET)))
    for _ in range(5):
        driver.start(F_CTRL, count=0)
        vm, bad = driver.vm, driver.queues[queue]
        bad.put(0, 1 << 40, 64, v.WRITE if queue == 0 else 0)
        bad.publish(0)
        bad.kick()
        if queue == 0:
            vm.tap.send(frame(bytes(46)))
        vm.until(driver.device.broken, "the device to break")
        good = driver.queues[1 if queue != 1 else 2]
        good.publish(good.chain([(AT, 64, False)]))
        good.kick()
        assert not good.answered()
        driver.device.reset()
        driver.start()
        assert driver.passes(frame(bytes(46))) == [True]
        driver.send(frame(b"alive".ljust(46)))
        assert vm.tap.frames()[-1] == frame(b"alive".ljust(46))


def test_a_netdev_closes_what_is_its_own(start):
    """netdev_del gives back the descriptors of the tap, and none of anybody else's."""
    vm = start(*kinds.NET[:-1], kinds.NET[-1] + ",id=net0")
    vm.qmp("device_del", id="net0")

    def descriptors():
        folder = f"/proc/{vm.process.pid}/fd"
        return {int(fd): os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)}

    before = descriptors()
    taps = {fd for fd, what in before.items() if what.endswith("/tun")}
    assert len(taps) == 1 and 0 in before
    vm.qmp("netdev_del", id="n0")
    assert set(before) - set(descriptors()) == taps


def test_iothreads_of_frames_that_are_moved_elsewhere(tmp_path):
    done = subprocess.run([guest.STRATOVIRT, "-accel", "test", "-m", "128", "-object", "iothread,id=i0",
                           "-chardev", f"socket,id=c0,path={tmp_path}/s,server=on,wait=off", "-netdev", "vhost-user,id=n,chardev=c0",
                           "-device", "virtio-net-device,netdev=n,rx-iothread=i0"],
                          stdin=subprocess.DEVNULL, text=True, stderr=subprocess.PIPE, timeout=guest.LIMIT)
    assert done.returncode == 1 and "do not pass through this process" in done.stderr


def test_vhost_says_what_it_lacks():
    done = subprocess.run([guest.STRATOVIRT, "-accel", "test", "-m", "128", "-netdev", "tap,id=n,ifname=none0,vhost=on",
                           "-device", "virtio-net-device,netdev=n"],
                          stdin=subprocess.DEVNULL, text=True, stderr=subprocess.PIPE, timeout=guest.LIMIT)
    assert done.returncode == 1 and ("/dev/vhost-net" in done.stderr or "none0" in done.stderr)
