# SPDX-License-Identifier: Apache-2.0
"""Ten megabytes through each back end of a console, both ways where it has two: a host program that writes and reads all the
time, and a guest that sends back what it gets. Not a byte is lost, changed or out of place."""

import os
import re
import select
import socket
import threading
import time

import pytest

import guest
import virtio as v

SIZE = 10 << 20
PIECE = 32768
OUT = 0x400000
PATTERN = bytes(range(256)) * 16 + b"the quick brown fox"
DATA = (PATTERN * (SIZE // len(PATTERN) + 1))[:SIZE]


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Host(threading.Thread):
    """Writes DATA to a descriptor and reads as much of it, as both go."""

    def __init__(self, descriptor):
        super().__init__(daemon=True)
        self.descriptor, self.back, self.sent = descriptor, bytearray(), 0
        os.set_blocking(descriptor, False)
        self.start()

    def run(self):
        end = time.monotonic() + 5 * guest.LIMIT
        while len(self.back) < SIZE and time.monotonic() < end:
            readable, writable, _ = select.select([self.descriptor], [self.descriptor] if self.sent < SIZE else [], [], 1)
            try:
                if readable:
                    got = os.read(self.descriptor, 65536)
                    if not got:
                        return
                    self.back += got
                if writable:
                    self.sent += os.write(self.descriptor, DATA[self.sent:self.sent + 65536])
            except BlockingIOError:
                pass


def connect_tcp(vm):
    port = int(re.search(r"port=(\d+)", " ".join(vm.process.args))[1])
    return socket.create_connection(("127.0.0.1", port), guest.LIMIT)


def connect_unix(vm):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(vm.path("port"))
    return sock


class Terminal:
    """Of a pty's; nobody has changed its modes."""

    def __init__(self, vm):
        name, = (c["filename"] for c in vm.qmp("query-chardev") if c["label"] == "c0")
        self.descriptor = os.open(name.removeprefix("pty:"), os.O_RDWR | os.O_NOCTTY)

    def fileno(self):
        return self.descriptor

    def close(self):
        os.close(self.descriptor)


def device_with(start, chardev, **more):
    vm = start("-device", "virtio-serial-device,max_ports=1", "-chardev", chardev, "-device", "virtconsole,chardev=c0", **more)
    queues = v.find(vm, v.ID_CONSOLE).start_all(indices=(0, 1))
    return vm, queues[1], v.Inbox(queues[0], PIECE)


def out(queue, data):
    queue.ram[OUT:OUT + len(data)] = data
    queue.send([(OUT, len(data), False)])


def echo(descriptor, tx, rx):
    """What went in and what came back."""
    host, got = Host(descriptor), bytearray()
    while len(got) < SIZE:
        data = rx.take()
        assert data, "an empty buffer"
        got += data
        out(tx, data)
    host.join(5 * guest.LIMIT)
    return bytes(got), bytes(host.back)


@pytest.mark.parametrize("chardev, connect", (("socket,id=c0,path=$DIR/port,server=on,wait=off", connect_unix),
                                             ("socket,id=c0,host=127.0.0.1,port=$PORT,server=on,wait=off", connect_tcp),
                                             ("pty,id=c0", Terminal)), ids=("unix", "tcp", "pty"))
def test_ten_megabytes_come_back(start, chardev, connect):
    vm, tx, rx = device_with(start, chardev.replace("$PORT", str(free_port())))
    peer = connect(vm)
    try:
        got, back = echo(peer.fileno(), tx, rx)
    finally:
        peer.close()
    assert got == DATA
    assert back == DATA


def test_ten_megabytes_come_back_through_stdio(start):
    """Not a terminal, which has an escape key, and loses what nobody reads as a line does."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        _, tx, rx = device_with(start, "stdio,id=c0", terminal=theirs.fileno())
        got, back = echo(ours.fileno(), tx, rx)
    assert got == DATA
    assert back == DATA


def test_ten_megabytes_reach_a_file(start, tmp_path):
    _, tx, _ = device_with(start, f"file,id=c0,path={tmp_path}/out")
    for at in range(0, SIZE, PIECE):
        out(tx, DATA[at:at + PIECE])
    end = time.monotonic() + guest.LIMIT
    while os.path.getsize(tmp_path / "out") < SIZE:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert (tmp_path / "out").read_bytes() == DATA
