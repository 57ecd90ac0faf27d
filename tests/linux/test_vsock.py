# SPDX-License-Identifier: Apache-2.0
"""Streams over vsock in both directions, a kernel's driver on one side and host programs on the
other: several MiB summed at both ends, hundreds of connections at once, half close."""

import os
import socket
import threading
import time
import zlib

import pytest

import vm

BIG = 4 * (1 << 20) + 12345
MANY = 300
CID = 77
HOST_PORT, MANY_PORT, GUEST_PORT, DEAD_PORT = 2000, 2001, 1000, 2999
LIMIT = 80

SCRIPT = f"""
modprobe vmw_vsock_virtio_transport
cd /run/sv
./vsock_tool serve {GUEST_PORT} {MANY + 1} >/run/served &
server=$!
echo "== to-host"; ./vsock_tool send 2 {HOST_PORT} {BIG}
echo "== many-to-host"; ./vsock_tool many 2 {MANY_PORT} {MANY}
echo "== refused"; ./vsock_tool send 2 {DEAD_PORT} 1
wait $server
echo "== served"; cat /run/served
"""


class UnixHost:
    """Host programs of the user-space vsock."""

    def __init__(self, guest):
        self.path = guest.path("vsock")

    def options(self):
        return f"virtio-vsock-device,id=vsock0,guest-cid={CID},uds-path={self.path},iothread=io0"

    def listen(self, port):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{self.path}_{port}")
        listener.listen(16)
        return listener

    def dial(self, port):
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(LIMIT)
        try:
            stream.connect(self.path)
        except OSError as e:  # the VMM has only begun
            raise ConnectionRefusedError(port) from e
        stream.sendall(b"CONNECT %d\n" % port)
        line = b""
        while not line.endswith(b"\n"):
            byte = stream.recv(1)
            if not byte:
                stream.close()
                raise ConnectionRefusedError(port)
            line += byte
        assert line.startswith(b"OK "), line
        return stream


class KernelHost:
    """Host programs of vhost-vsock: AF_VSOCK."""

    def __init__(self, _):
        pass

    def options(self):
        return f"vhost-vsock-device,id=vsock0,guest-cid={CID}"

    def listen(self, port):
        listener = socket.socket(socket.AF_VSOCK)
        listener.bind((socket.VMADDR_CID_ANY, port))
        listener.listen(512)
        return listener

    def dial(self, port):
        stream = socket.socket(socket.AF_VSOCK)
        stream.settimeout(LIMIT)
        try:
            stream.connect((CID, port))
        except OSError as e:
            stream.close()
            raise ConnectionRefusedError(port) from e
        return stream


def answer(stream):
    """Reads to the end of the stream, tells its length and sum, and closes."""
    size = crc = 0
    stream.settimeout(LIMIT)
    with stream:
        while data := stream.recv(1 << 16):
            size += len(data)
            crc = zlib.crc32(data, crc)
        stream.sendall(b"%d %08x\n" % (size, crc))
    return size


def ask(stream, data):
    """Sends, closes that direction, and compares the answer."""
    stream.sendall(data)
    stream.shutdown(socket.SHUT_WR)


def check(stream, data):
    got = b""
    with stream:
        while part := stream.recv(100):
            got += part
    assert got == b"%d %08x\n" % (len(data), zlib.crc32(data))


class Programs:
    """What runs on the host beside the guest, each in a thread; results by name."""

    def __init__(self, host):
        self.host = host
        self.results = {}
        self.end = time.monotonic() + LIMIT
        self.listeners = [host.listen(HOST_PORT), host.listen(MANY_PORT)]
        self.threads = [threading.Thread(target=self._run, args=args, daemon=True) for args in (
            ("received", self._serve_one), ("received-many", self._serve_many),
            ("sent", self._send))]
        for thread in self.threads:
            thread.start()

    def _run(self, name, fn):
        try:
            self.results[name] = fn()
        except Exception as e:  # seen by the test that asks for the result
            self.results[name] = e

    def _accept(self, listener):
        listener.settimeout(LIMIT)
        return listener.accept()[0]

    def _serve_one(self):
        return answer(self._accept(self.listeners[0]))

    def _serve_many(self):
        # All are open before the first is answered: that is what the guest waits for.
        streams = [self._accept(self.listeners[1]) for _ in range(MANY)]
        return [answer(stream) for stream in streams]

    def _dial(self, port):
        while True:
            try:
                return self.host.dial(port)
            except ConnectionRefusedError:
                if time.monotonic() > self.end:
                    raise
                time.sleep(0.1)

    def _send(self):
        data = os.urandom(BIG)
        stream = self._dial(GUEST_PORT)
        ask(stream, data)
        check(stream, data)
        texts = [b"from the host %d" % i for i in range(MANY)]
        streams = [self._dial(GUEST_PORT) for _ in texts]
        for stream, text in zip(streams, texts):
            ask(stream, text)
        for stream, text in zip(streams, texts):
            check(stream, text)
        return len(streams)

    def close(self):
        for thread in self.threads:
            thread.join(5)
        for listener in self.listeners:
            listener.close()


@pytest.fixture(scope="module", params=["user", "vhost"])
def guest(request, new_guest):
    guest = new_guest()
    if request.param == "vhost" and not os.path.exists("/dev/vhost-vsock"):
        pytest.skip("this host has no /dev/vhost-vsock")
    host = UnixHost(guest) if request.param == "user" else KernelHost(guest)
    guest.programs = Programs(host)
    guest.pauser = vm.Pauser(guest, "== to-host", "== served")
    try:
        guest.run("-object", "iothread,id=io0", "-device", host.options(), "-no-reboot", *guest.pauser.options,
                  smp=2, script=SCRIPT, programs=vm.compile_tool(guest, "vsock_tool")).check_finished()
    finally:
        guest.programs.close()
    return guest


def result(guest, name):
    value = guest.programs.results.get(name)
    if isinstance(value, Exception):
        raise value
    return value


def test_guest_sends_megabytes(guest):
    assert guest.section("to-host") == f"ok {BIG}"
    assert result(guest, "received") == BIG


def test_guest_opens_hundreds(guest):
    assert guest.section("many-to-host") == f"ok {MANY}"
    assert result(guest, "received-many") == [len(f"connection {i}") for i in range(MANY)]


def test_guest_is_refused_where_nobody_listens(guest):
    assert guest.section("refused") == "connect: Connection reset by peer"


def test_host_sends_megabytes_and_opens_hundreds(guest):
    assert result(guest, "sent") == MANY
    assert guest.section("served") == f"served {MANY + 1}"


def test_nothing_is_written_to_stderr(guest):
    assert guest.errors == ""


def test_pauses_lose_nothing(guest):
    """The VM was stopped and continued all the while; what the other tests see came through that."""
    guest.pauser.check()
