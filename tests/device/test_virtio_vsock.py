# SPDX-License-Identifier: Apache-2.0
"""virtio-vsock by unix sockets: connections both ways, credit, ends, and guests that break the protocol."""

import os
import socket
import struct
import subprocess

import pytest

import guest
import kinds
import virtio as v
from kinds import (VSOCK_ASK_CREDIT, VSOCK_CREDIT, VSOCK_REQUEST, VSOCK_RESPONSE, VSOCK_RST, VSOCK_RW, VSOCK_SHUTDOWN,
                   vsock_header)
from test_virtio_console import pattern, receive

AT, HEADER = kinds.AT, 44
KINDS = {"main": kinds.VSOCK, "iothread": kinds.with_iothread(kinds.VSOCK)}


class Driver:
    def __init__(self, vm):
        self.vm, self.device = vm, v.find(vm, v.ID_VSOCK)
        self.start()

    def start(self, size=16, count=None, buffer=4096):
        self.queues = self.device.start_all(size=size, indices=(0, 1, 2), features=v.F_RING_RESET)
        self.rx, self.tx = v.Inbox(self.queues[0], buffer, count), self.queues[1]

    def send(self, guest_port, host_port, op, data=b"", cut=None, **more):
        packet = vsock_header(guest_port, host_port, op, len(data), **more) + data
        self.vm.ram[AT:AT + len(packet)] = packet
        cut = len(packet) if cut is None else cut
        buffers = [(AT, cut, False)] + ([(AT + cut, len(packet) - cut, False)] if cut < len(packet) else [])
        assert self.tx.send(buffers) == 0

    def receive(self):
        """The next packet: (operation, guest's port, host's port, data, flags, credit consumed)."""
        data = self.rx.take()
        src, dst, host_port, guest_port, length, kind, op, flags, alloc, consumed = struct.unpack("<QQIIIHHIII", data[:HEADER])
        assert (src, dst, kind) == (2, kinds.CID, 1) and length == len(data) - HEADER
        assert alloc or op == VSOCK_RST
        return op, guest_port, host_port, data[HEADER:], flags, consumed

    def settle(self):
        for _ in range(5):
            self.vm.settle()


def listen(vm, port):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(guest.LIMIT)
    sock.bind(vm.path(f"vsock_{port}"))
    sock.listen(16)
    return sock


def connect(vm, port=None):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(guest.LIMIT)
    sock.connect(vm.path("vsock"))
    if port is not None:
        sock.sendall(b"CONNECT %d\n" % port)
    return sock


@pytest.fixture(params=KINDS)
def driver(start, request):
    return Driver(start(*KINDS[request.param]))


def call_host(driver, guest_port=1024, port=5000, **more):
    """The guest connects; the host's end."""
    with listen(driver.vm, port) as listener:
        driver.send(guest_port, port, VSOCK_REQUEST, **more)
        assert driver.receive()[:3] == (VSOCK_RESPONSE, guest_port, port)
        sock, _ = listener.accept()
    os.unlink(driver.vm.path(f"vsock_{port}"))
    sock.settimeout(guest.LIMIT)
    return sock


def test_vsock_config(driver):
    assert driver.device.get(v.CONFIG) == kinds.CID and driver.device.get(v.CONFIG + 4) == 0


def test_guest_connects_and_both_sides_talk(driver):
    sock = call_host(driver)
    for length in (1, 44, 1000, 30000):
        data = pattern(length)
        driver.send(1024, 5000, VSOCK_RW, data)
        assert receive(sock, length) == data
    data, got = pattern(30000, 1), b""
    sock.sendall(data)
    consumed = 0
    while len(got) < len(data):
        op, _, _, piece, _, consumed = driver.receive()
        if op == VSOCK_RW:
            got += piece
    assert got == data and consumed == 1 + 44 + 1000 + 30000
    sock.close()


def test_host_connects(driver):
    sock = connect(driver.vm, 7)
    op, guest_port, host_port, *_ = driver.receive()
    assert (op, guest_port) == (VSOCK_REQUEST, 7)
    driver.send(7, host_port, VSOCK_RESPONSE)
    assert receive(sock, len(f"OK {host_port}\n")) == f"OK {host_port}\n".encode()
    sock.sendall(b"hello")
    assert driver.receive()[3] == b"hello"
    driver.send(7, host_port, VSOCK_RW, b"world")
    assert receive(sock, 5) == b"world"
    driver.send(7, host_port, VSOCK_RST)
    assert sock.recv(1) == b""
    sock.close()


def test_nobody_listens(driver):
    driver.send(1024, 5001, VSOCK_REQUEST)
    assert driver.receive()[:3] == (VSOCK_RST, 1024, 5001)
    sock = connect(driver.vm, 7)
    _, guest_port, host_port, *_ = driver.receive()
    driver.send(guest_port, host_port, VSOCK_RST)
    assert sock.recv(1) == b""
    sock.close()
    for line in (b"CONNECT x\n", b"CONNECT 4294967295\n", b"CONNECT \n", b"HELLO\n", b"CONNECT -1\n", b"x" * 64):
        sock = connect(driver.vm)
        sock.sendall(line)
        try:
            assert sock.recv(1) == b""
        except ConnectionResetError:
            pass
        sock.close()
    assert driver.rx.empty()


def test_half_close_both_ways(driver):
    sock = call_host(driver)
    driver.send(1024, 5000, VSOCK_RW, b"last words")
    driver.send(1024, 5000, VSOCK_SHUTDOWN, flags=2)
    assert receive(sock, 10) == b"last words" and sock.recv(1) == b""
    sock.sendall(b"answer")
    assert driver.receive()[3] == b"answer"
    sock.shutdown(socket.SHUT_WR)
    op, *_ = driver.receive()
    assert op in (VSOCK_SHUTDOWN, VSOCK_RST)
    sock.close()


def test_split_header(driver):
    """The packet cut at every place of its header, both ways (CVE-2019-18960)."""
    sock = call_host(driver)
    for cut in range(1, HEADER + 4):
        driver.send(1024, 5000, VSOCK_RW, b"abcd%02d" % cut, cut=cut)
        assert receive(sock, 6) == b"abcd%02d" % cut
    sock.close()
    for cut in range(1, HEADER + 4):
        driver.start(count=0)
        driver.vm.ram[AT:AT + 80] = b"\xa5" * 80
        driver.tx.publish()
        queue = driver.queues[0]
        queue.publish(queue.chain([(AT + 0x1000, cut, True), (AT + 0x1000 + cut, 80 - cut, True)]))
        queue.kick()
        driver.send(9, 9, VSOCK_REQUEST)
        assert queue.take() == (0, HEADER)
        data = bytes(driver.vm.ram[AT + 0x1000:AT + 0x1000 + HEADER])
        assert struct.unpack("<QQIIIHHIII", data)[5:7] == (1, VSOCK_RST)


def test_packets_with_wrong_lengths(driver):
    """A length beyond the buffers ends the connection; one within them is what counts."""
    ram = driver.vm.ram
    sock = call_host(driver)
    ram[AT:AT + 60] = vsock_header(1024, 5000, VSOCK_RW, 6) + b"abcdefghijklmnop"
    assert driver.tx.send([(AT, 60, False)]) == 0
    assert receive(sock, 6) == b"abcdef"
    for length in (17, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff):
        ram[AT:AT + 60] = vsock_header(1024, 5000, VSOCK_RW, length) + b"abcdefghijklmnop"
        assert driver.tx.send([(AT, 60, False)]) == 0
        assert driver.receive()[0] == VSOCK_RST
        assert sock.recv(1) == b""
        sock.close()
        sock = call_host(driver)
    assert not driver.device.broken()
    sock.close()


def test_operations_out_of_place(driver):
    """Every operation, known or not, in every state, on both kinds of socket: an RST at most, and the next connection works."""
    for op in (*range(9), 0x7fff, 0xffff):
        for kind, to in ((1, 2), (2, 2), (0xffff, 2), (1, 0), (1, (1 << 64) - 1), (1, kinds.CID)):
            driver.send(77, 88, op, kind=kind, to=to)
            driver.settle()
            while not driver.rx.empty():
                driver.rx.take()
    for op in (*range(9), 0xffff):
        sock = call_host(driver)
        driver.send(1024, 5000, op, data=b"" if op != VSOCK_RW else b"x")
        driver.settle()
        while not driver.rx.empty():
            driver.rx.take()
        driver.send(1024, 5000, VSOCK_RST)
        sock.close()
    sock = call_host(driver)
    driver.send(1024, 5000, VSOCK_ASK_CREDIT)
    assert driver.receive()[0] == VSOCK_CREDIT
    sock.close()


def test_credit_of_the_guest_is_kept(driver):
    """The device sends no more than the guest has room for, and goes on when it says that there is room."""
    sock = call_host(driver, credit=1000)
    sock.sendall(pattern(5000))
    got = b""
    for _ in range(20):
        driver.settle()
        while not driver.rx.empty():
            op, _, _, data, _, _ = driver.receive()
            got += data
            assert op in (VSOCK_RW, VSOCK_ASK_CREDIT) and len(got) <= 1000
    assert got == pattern(5000)[:1000]
    consumed = 1000
    while len(got) < 5000:
        driver.send(1024, 5000, VSOCK_CREDIT, credit=1000, consumed=consumed)
        while len(got) < min(consumed + 1000, 5000):
            got += driver.receive()[3]
        consumed = len(got)
    assert got == pattern(5000)
    driver.settle()
    while not driver.rx.empty():
        assert driver.receive()[0] == VSOCK_ASK_CREDIT
    # A guest that has consumed more than it was sent.
    driver.send(1024, 5000, VSOCK_CREDIT, credit=1000, consumed=consumed + 1)
    assert driver.receive()[0] == VSOCK_RST
    sock.close()


def test_credit_of_the_host_is_kept(driver):
    """A host program that does not read: 256 KiB are kept and no more, and a guest that sends all the same loses its connection."""
    sock = call_host(driver)
    data, sent = pattern(4096), 0
    while sent < 64 << 20:
        driver.send(1024, 5000, VSOCK_RW, data)
        sent += len(data)
        while not driver.rx.empty():
            if driver.receive()[0] == VSOCK_RST:
                break
        else:
            continue
        break
    assert sent < 4 << 20, "what nobody reads is kept without bound"
    sock.close()


def test_rx_stall(driver):
    """Without buffers nothing is sent to the guest and nothing kept; with buffers it goes on (CVE-2020-16843)."""
    sock = call_host(driver)
    driver.start(count=0)
    sock.close()
    data = pattern(20000)
    with listen(driver.vm, 6000) as listener:
        driver.send(1, 6000, VSOCK_REQUEST)
        sock, _ = listener.accept()
    sock.sendall(data)
    for i in range(63):  # as many refusals as the device remembers, and it waits for buffers
        driver.send(2, 100 + i, VSOCK_REQUEST)
    driver.settle()
    driver.rx = v.Inbox(driver.queues[0])
    got, refused = b"", 0
    while len(got) < len(data) or refused < 63:
        op, _, _, piece, _, _ = driver.receive()
        got += piece
        refused += op == VSOCK_RST
    assert got == data
    sock.close()


def test_vsock_reset_under_traffic(driver):
    """Resets with connections open both ways: the host's programs see the end, no buffer of before is written."""
    for turn in range(10):
        sock = call_host(driver)
        sock.sendall(pattern(60000, turn))
        driver.send(1024, 5000, VSOCK_RW, b"bye")
        driver.device.reset()
        region = slice(driver.rx.at, driver.rx.at + 16 * 4096)
        driver.vm.ram[region] = b"\xa5" * (16 * 4096)
        assert receive(sock, 3) == b"bye"
        try:
            assert sock.recv(1) == b""
        except ConnectionResetError:
            pass  # it had not read all that we sent
        sock.close()
        assert driver.vm.ram[region] == b"\xa5" * (16 * 4096)
        driver.start()


def test_ring_reset_ends_the_connections_and_says_so(driver):
    sock = call_host(driver)
    events = v.Inbox(driver.queues[2], 64, at=0x1800000)
    driver.device.set(v.QUEUE_SEL, 1)
    driver.device.set(v.QUEUE_RESET, 1)
    assert events.take() == bytes(4)  # TRANSPORT_RESET
    assert sock.recv(1) == b""
    sock.close()


def test_many_connections(driver):
    """A thousand at once; those beyond the limit are refused, and the device works when they have gone."""
    driver.start(size=256)
    socks = []
    with listen(driver.vm, 5000) as listener:
        for port in range(1030):
            driver.send(10000 + port, 5000, VSOCK_REQUEST)
            op = driver.receive()[0]
            if op == VSOCK_RST:
                break
            socks.append(listener.accept()[0])
            socks[-1].settimeout(guest.LIMIT)
    os.unlink(driver.vm.path("vsock_5000"))
    assert len(socks) == 1024 and op == VSOCK_RST
    for port in (0, 511, 1023):
        driver.send(10000 + port, 5000, VSOCK_RW, b"%d" % port)
        assert socks[port].recv(10) == b"%d" % port
    driver.device.reset()
    for sock in socks:
        assert sock.recv(1) == b""
        sock.close()
    driver.start()
    call_host(driver).close()


def test_the_kernels_vsock_says_what_it_lacks():
    """No /dev/vhost-vsock: refused, and named. Where it is there, it works without a guest's CPU, too."""
    if os.path.exists("/dev/vhost-vsock"):
        with guest.VM("-device", "vhost-vsock-device,guest-cid=3333") as vm:
            assert v.find(vm, v.ID_VSOCK).get(v.CONFIG) == 3333
        return
    done = subprocess.run([guest.STRATOVIRT, "-accel", "test", "-m", "128", "-device", "vhost-vsock-device,guest-cid=3"],
                          stdin=subprocess.DEVNULL, text=True, stderr=subprocess.PIPE, timeout=guest.LIMIT)
    assert done.returncode == 1 and "/dev/vhost-vsock" in done.stderr
