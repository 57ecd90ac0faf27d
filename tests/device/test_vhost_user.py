# SPDX-License-Identifier: Apache-2.0
"""Frames that another process moves: -netdev vhost-user, with a back end of ours that is honest, dies, or is hostile."""

import os
import socket
import struct
import subprocess
import sys
import threading

import pytest

import guest
import virtio as v

sys.path.insert(0, os.path.join(guest.TOP, "tests", "tools"))
import vhost_user  # noqa: E402
from vhost_user import BackEnd  # noqa: E402

ID_NET = 1
RX, TX = 0x300000, 0x310000
FRAME = bytes(range(60))


class Listener:
    """Where the VMM connects to. Each connection is answered by make(socket) in a thread of its own."""

    def __init__(self, path, make):
        self.make, self.ends, self.errors = make, [], []
        self.changed = threading.Condition()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(path))
        self.sock.listen(1)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while True:
            try:
                sock = self.sock.accept()[0]
            except OSError:
                return
            end = self.make(sock)
            with self.changed:
                self.ends.append(end)
                self.changed.notify_all()
            threading.Thread(target=self._serve, args=(end,), daemon=True).start()

    def _serve(self, end):
        try:
            while end.handle():
                with self.changed:
                    self.changed.notify_all()
        except (OSError, struct.error):
            pass  # the front end closed it, or the test did
        except Exception as e:
            self.errors.append(repr(e))

    def wait(self, condition, what):
        with self.changed:
            assert self.changed.wait_for(condition, guest.LIMIT), f"waited in vain for {what}"

    def end(self, index=0):
        self.wait(lambda: len(self.ends) > index, "a connection")
        return self.ends[index]

    def live(self, index=0):
        """The back end, with both rings."""
        end = self.end(index)
        self.wait(lambda: end.live(0) and end.live(1), "rings")
        return end

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.thread.join(5)
        for end in self.ends:
            end.sock.close()
        assert not self.errors


def find_card(vm):
    """Behind the replaceable slots, which it does not fit into."""
    return [device for device in v.walk(vm) if device.id == ID_NET][-1]


class Card:
    """The guest's driver."""

    def __init__(self, vm, features=0):
        self.device = find_card(vm)
        self.vm = vm
        self.start(features)

    def start(self, features=0):
        assert self.device.negotiate(features)
        self.rx = v.Queue(self.device, 0, 16, 0x100000)
        self.tx = v.Queue(self.device, 1, 16, 0x110000)
        self.rx.enable()
        self.tx.enable()
        self.device.set(v.STATUS, v.LIVE)

    def link(self):
        return self.device.get(v.CONFIG + 6, 2) & 1

    def post(self, index=0):
        self.rx.put(index, RX + 2048 * index, 2048, v.WRITE)
        self.rx.publish(index)
        self.rx.kick()

    def received(self):
        head, length = self.rx.take()
        return self.vm.ram[RX + 2048 * head:RX + 2048 * head + length][12:]

    def send(self, frame):
        self.vm.ram[TX:TX + 12 + len(frame)] = bytes(12) + frame
        self.tx.publish(self.tx.chain([(TX, 12, False), (TX + 12, len(frame), False)]))
        self.tx.kick()


@pytest.fixture
def listen(tmp_path):
    made = []

    def make(kind=BackEnd):
        made.append(Listener(tmp_path / "socket", kind))
        return made[-1]

    yield make
    for listener in made:
        listener.close()


@pytest.fixture
def run(start, tmp_path):
    def do(more="", device="", **kw):
        return start("-chardev", f"socket,id=c0,path={tmp_path / 'socket'}{more}",
                     "-netdev", "vhost-user,id=n0,chardev=c0,vhostforce=on",
                     "-device", f"virtio-net-device,netdev=n0,id=net0{device}", **kw)
    return do


def exchange(card, end):
    """A frame each way."""
    card.post()
    assert end.give(FRAME)
    assert card.received() == FRAME
    card.send(FRAME[::-1])
    card.vm.until(lambda: end.live(1).next != end.load("<H", end.live(1).address[1] + 2), "a frame in the ring")
    assert end.sent()[12:] == FRAME[::-1]
    assert card.tx.take() == (0, 0)


def test_frames_go_both_ways(listen, run):
    listener = listen()
    vm = run()
    card = Card(vm, 1 << 15)
    end = listener.live()
    assert card.link() and end.owned
    assert end.features == vhost_user.F_MRG_RXBUF | vhost_user.F_PROTOCOL | vhost_user.F_VERSION_1
    for _ in range(20):
        exchange(card, end)
    card.device.reset()
    assert end.requests[-2:] == [vhost_user.SET_VRING_ENABLE, vhost_user.GET_VRING_BASE]
    card.start()
    listener.live()
    exchange(card, end)


def test_only_what_the_back_end_can_do_is_offered(listen, run):
    listen(lambda sock: BackEnd(sock, offer=1 << 0 | 1 << 29))
    offered = find_card(run()).offered()
    assert offered & (1 << 0 | 1 << 29) == 1 << 0 | 1 << 29
    assert not offered & (1 << 15 | 1 << 28 | 1 << 2)  # MRG_RXBUF, INDIRECT, CTRL_GUEST_OFFLOADS


@pytest.mark.parametrize("iothread", [False, True])
def test_a_pause_takes_the_rings_back(listen, start, tmp_path, iothread):
    listener = listen()
    vm = start("-object", "iothread,id=io0", "-chardev", f"socket,id=c0,path={tmp_path / 'socket'}",
               "-netdev", "vhost-user,id=n0,chardev=c0",
               "-device", "virtio-net-device,netdev=n0,id=net0" + (",iothread=io0" if iothread else ""))
    card = Card(vm)
    end = listener.live()
    for turn in range(3):
        exchange(card, end)
        vm.qmp("stop")
        assert not end.live(0) and not end.live(1)
        vm.qmp("cont")
        listener.live()
        assert end.live(0).next == end.live(1).next == turn + 1
    vm.qmp("set_link", name="net0", up=False)
    assert not card.link() and not end.live(0)
    vm.qmp("set_link", name="net0", up=True)
    listener.live()
    exchange(card, end)


def test_a_back_end_that_dies_is_replaced(listen, run):
    """The guest sees a cable that is out, and goes on with the same rings when the next one comes."""
    listener = listen()
    vm = run(",reconnect=1")
    card = Card(vm)
    for turn in range(3):
        end = listener.live(turn)
        exchange(card, end)
        end.sock.shutdown(socket.SHUT_RDWR)
        vm.until(lambda: not card.link(), "the link to go down")
        card.send(FRAME)  # it waits for the next back end
        vm.step(10**9)
        end = listener.live(turn + 1)
        vm.until(card.link, "the link to come up")
        listener.wait(lambda: end.rings[1].next != end.load("<H", end.rings[1].address[1] + 2), "the frame")
        assert end.sent()[12:] == FRAME
        card.tx.take()
    assert "the vhost-user back end is dropped: it closed the connection" in vm.stderr()


def test_a_back_end_that_comes_late(run, listen, start, tmp_path):
    vm = start("-chardev", f"socket,id=c0,path={tmp_path / 'socket'},reconnect=1",
               "-netdev", "vhost-user,id=n0,chardev=c0", "-device", "virtio-net-device,netdev=n0")
    assert "no vhost-user back end is there yet" in vm.stderr()
    card = Card(vm)
    assert not card.link()
    listener = listen()
    vm.step(10**9)
    end = listener.live()
    vm.until(card.link, "the link to come up")
    exchange(card, end)
    assert not card.device.offered() & 1 << 15
    card.start()  # a driver that begins anew finds what the back end can do
    assert card.device.offered() & 1 << 15


def test_the_vmm_as_server(start, tmp_path):
    vm = start("-chardev", f"socket,id=c0,path={tmp_path / 'socket'},server=on,wait=off",
               "-netdev", "vhost-user,id=n0,chardev=c0", "-device", "virtio-net-device,netdev=n0")
    card = Card(vm)
    for _ in range(2):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(tmp_path / "socket"))
        end = BackEnd(sock)
        while not (end.live(0) and end.live(1)):
            assert end.handle()
        vm.until(card.link, "the link to come up")
        exchange(card, end)
        end.close()
        vm.until(lambda: not card.link(), "the link to go down")


def test_queue_pairs(listen, start, tmp_path):
    listener = listen()
    vm = start("-chardev", f"socket,id=c0,path={tmp_path / 'socket'}",
               "-netdev", "vhost-user,id=n0,chardev=c0,queues=2", "-device", "virtio-net-device,netdev=n0,mq=on")
    device = find_card(vm)
    assert device.negotiate(1 << 22 | 1 << 17)
    queues = [v.Queue(device, i, 16, 0x100000 + 0x10000 * i) for i in range(5)]
    for queue in queues:
        queue.enable()
    device.set(v.STATUS, v.LIVE)
    end = listener.live()
    listener.wait(lambda: end.rings.get(3) and end.rings[3].kick is not None, "four rings")
    assert not end.live(2) and not end.live(3)
    vm.ram[TX:TX + 5] = b"\4\0\2\0\xff"  # MQ, VQ_PAIRS_SET, 2
    assert queues[4].send([(TX, 4, False), (TX + 4, 1, True)]) == 1 and vm.ram[TX + 4] == 0
    listener.wait(lambda: end.live(2) and end.live(3), "the second pair")


def test_too_few_queues(listen, start, tmp_path):
    listen(lambda sock: BackEnd(sock, queues=1))
    vm = start("-chardev", f"socket,id=c0,path={tmp_path / 'socket'}",
               "-netdev", "vhost-user,id=n0,chardev=c0,queues=2", "-device", "virtio-net-device,netdev=n0,mq=on")
    assert "it has too few queues" in vm.stderr()


def test_memory_must_be_shared(tmp_path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        sock.listen(1)
        done = subprocess.run([guest.STRATOVIRT, "-machine", "microvm", "-accel", "test", "-chardev",
                               f"socket,id=c0,path={tmp_path / 'socket'}", "-netdev", "vhost-user,id=n0,chardev=c0",
                               "-device", "virtio-net-device,netdev=n0", "-qtest", f"unix:{tmp_path / 'q'},server"],
                              capture_output=True, text=True, timeout=guest.LIMIT)
    assert done.returncode == 1
    assert "vhost-user needs guest memory that is shared" in done.stderr and "mem-share=on" in done.stderr


def test_the_chardev_must_be_a_unix_socket(tmp_path):
    for chardev in ("null,id=c0", f"file,id=c0,path={tmp_path / 'f'}"):
        done = subprocess.run([guest.STRATOVIRT, "-machine", "microvm", "-accel", "test", "-chardev", chardev,
                               "-netdev", "vhost-user,id=n0,chardev=c0", "-qtest", f"unix:{tmp_path / 'q'},server"],
                              capture_output=True, text=True, timeout=guest.LIMIT)
        assert done.returncode == 1 and "chardev=c0 is no unix socket" in done.stderr


# --- Back ends that mean no good ---

class Hostile(BackEnd):
    """Answers `at` as `data` says: bytes to send, or None to close."""
    at = data = None

    def answer(self, request, value):
        if request != self.at:
            super().answer(request, value)
        elif self.data is None:
            self.sock.shutdown(socket.SHUT_RDWR)
        else:
            self.sock.sendall(self.data)


def reply(request, size=8, flags=5, payload=bytes(8)):
    return struct.pack("=III", request, flags, size) + payload


LIES = {
    "closes": None,
    "another-request": reply(99),
    "huge": reply(0, 0xffffffff, payload=bytes(4096)),
    "empty": reply(0, 0, payload=b""),
    "wrong-version": reply(0, flags=6),
    "no-reply": reply(0, flags=1),
    "garbage": bytes(range(256)) * 256,
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("at", [vhost_user.GET_FEATURES, vhost_user.GET_PROTOCOL_FEATURES, vhost_user.GET_QUEUE_NUM,
                                vhost_user.SET_MEM_TABLE, vhost_user.SET_VRING_ADDR, vhost_user.GET_VRING_BASE])
def test_hostile_answers(listen, run, at, lie):
    """The connection is dropped and said to be; the guest goes on, and the next back end is served."""
    data = LIES[lie]
    if data and data[:4] == bytes(4):
        data = struct.pack("=I", at) + data[4:]
    kinds = iter([type("It", (Hostile,), {"at": at, "data": data}), BackEnd, BackEnd])
    listener = listen(lambda sock: next(kinds)(sock))
    vm = run(",reconnect=1")
    card = Card(vm)
    listener.end()
    if at == vhost_user.GET_VRING_BASE:
        listener.live()
        vm.qmp("stop")
        vm.qmp("cont")
    vm.until(lambda: "back end is dropped" in vm.stderr(), "its end")
    assert not card.device.broken()
    vm.step(10**9)  # the next attempt
    end = listener.live(1)
    vm.until(card.link, "the link to come up")
    exchange(card, end)


@pytest.mark.parametrize("value", [0, 1 | 1 << 32, 1 << 48])
def test_a_strange_base_is_refused(listen, run, value):
    """Of another ring, or more than 16 bits: ring 0's answer."""
    class Strange(BackEnd):
        def answer(self, request, answer):
            if request == vhost_user.GET_VRING_BASE:
                answer = value if value else answer | 1
            super().answer(request, answer)
    listener = listen(Strange)
    vm = run()
    card = Card(vm)
    listener.live()
    vm.qmp("stop")
    assert "it does not say where it was" in vm.stderr()
    vm.qmp("cont")
    assert not card.link() and not card.device.broken()


def test_a_refused_request(listen, run):
    class Refuses(BackEnd):
        def answer(self, request, answer):
            super().answer(request, 1 if request == vhost_user.SET_MEM_TABLE else answer)
    listen(Refuses)
    vm = run()
    card = Card(vm)
    vm.until(lambda: not card.link(), "the link to go down")
    assert "it refuses a request" in vm.stderr()


def test_a_back_end_that_says_more_than_asked(listen, run):
    listener = listen()
    vm = run()
    card = Card(vm)
    listener.live().sock.sendall(reply(vhost_user.GET_FEATURES))
    vm.until(lambda: not card.link(), "the link to go down")


def test_a_silent_back_end(listen, run):
    """It lets the VM start, stop and end; one wait, with a limit."""
    class Silent(BackEnd):
        def answer(self, request, answer):
            if request != vhost_user.GET_VRING_BASE:
                super().answer(request, answer)
    listener = listen(Silent)
    vm = run()
    card = Card(vm)
    listener.live()
    vm.qmp("stop")
    assert "it does not answer" in vm.stderr()
    vm.qmp("cont")
    assert not card.link()
    assert vm.qmp("query-status")["status"] == "running"


def test_a_kick_that_would_block(listen, run):
    """A back end fills the kick's counter and makes it blocking: nobody in the VMM waits for it."""
    listener = listen()
    vm = run()
    card = Card(vm)
    end = listener.live()
    for index in (0, 1):
        fd = end.rings[index].kick
        os.set_blocking(fd, False)
        try:
            os.read(fd, 8)
        except BlockingIOError:
            pass
        os.write(fd, struct.pack("=Q", 0xfffffffffffffffe))
        os.set_blocking(fd, True)
    card.post()
    card.send(FRAME)
    vm.qmp("stop")
    vm.qmp("cont")
    assert vm.qmp("query-status")["status"] == "running"
