# SPDX-License-Identifier: Apache-2.0
"""A console and named ports on a virtio-serial device, each with another back end; a stock kernel sends
megabytes both ways, and nothing is lost or changed."""

import contextlib
import hashlib
import os
import re
import select
import socket
import threading
import time

import pytest

MIB = 1 << 20
ECHO = 10 * MIB
SLOW = 2 * MIB
CONSOLE = 16 * 1024
TCP_PORT = 5555  # in the network of the machine that runs this
PATTERN = bytes(range(256)) * 16 + b"the quick brown fox"

SCRIPT = f"""
names() {{ cat /sys/class/virtio-ports/*/name 2>/dev/null; }}
tries=0
while [ "$(names | grep -c org.test)" -lt 5 ] && [ $tries -lt 100 ]; do
	tries=$((tries + 1)); usleep 100000
done
# What udev would do.
mkdir -p /dev/virtio-ports
for d in /sys/class/virtio-ports/*; do
	name=$(cat "$d/name" 2>/dev/null)
	[ -n "$name" ] && ln -s "../$(basename "$d")" "/dev/virtio-ports/$name"
done
echo "== names"; ls /dev/virtio-ports
echo "== ports"; ls /sys/class/virtio-ports
echo "== hvc"; ls /sys/class/tty | grep hvc
echo "== console"
# Closing it would undo the raw mode.
(exec 4<>/dev/hvc0; stty raw -echo <&4; echo console-is-up >&4
head -c {CONSOLE} <&4 >/tmp/console; cat /tmp/console >&4); md5sum </tmp/console
echo "== echo-socket"
(exec 3<>/dev/virtio-ports/org.test.socket; head -c {ECHO} <&3 >&3) && echo done
echo "== echo-tcp"
(exec 3<>/dev/virtio-ports/org.test.tcp; head -c {ECHO} <&3 >&3) && echo done
echo "== echo-pty"
(exec 3<>/dev/virtio-ports/org.test.pty; head -c {ECHO} <&3 >&3) && echo done
dd if=/dev/urandom of=/tmp/data bs=1M count=4 2>/dev/null
echo "== file"
cat /tmp/data >/dev/virtio-ports/org.test.file; md5sum </tmp/data
echo "== slow"
head -c {SLOW} /tmp/data >/dev/virtio-ports/org.test.slow; head -c {SLOW} /tmp/data | md5sum
"""


def pattern(size):
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def connect(path, limit=60):
    end = time.monotonic() + limit
    while True:
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(path)
            return s
        except OSError:
            s.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def echo(fd, size, limit=300):
    """Sends `size` bytes and returns what comes back, both at once."""
    data, sent, back = pattern(size), 0, bytearray()
    end = time.monotonic() + limit
    os.set_blocking(fd, False)
    while len(back) < size and time.monotonic() < end:
        readable, writable, _ = select.select([fd], [fd] if sent < size else [], [], 1)
        if readable:
            got = os.read(fd, 65536)
            if not got:
                break
            back += got
        if writable:
            with contextlib.suppress(BlockingIOError):
                sent += os.write(fd, data[sent:sent + 65536])
    return back


class Peers:
    """The host's side of every back end, a thread each; results by name."""

    def __init__(self, guest):
        self.guest = guest
        self.results = {}
        self.errors = []
        self.threads = [threading.Thread(target=self._run, args=(f,), daemon=True)
                        for f in (self.socket, self.tcp, self.pty, self.slow, self.console, self.events)]
        for thread in self.threads:
            thread.start()

    def _run(self, function):
        try:
            function()
        except Exception as e:
            self.errors.append(f"{function.__name__}: {e!r}")

    def join(self):
        for thread in self.threads:
            thread.join(30)
        assert not self.errors

    def socket(self):
        with connect(self.guest.path("echo.sock")) as s:
            self.results["socket"] = echo(s.fileno(), ECHO)

    def tcp(self):
        end = time.monotonic() + 60
        while True:
            try:
                s = socket.create_connection(("127.0.0.1", TCP_PORT))
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.1)
        with s:
            self.results["tcp"] = echo(s.fileno(), ECHO)

    def pty(self):
        end = time.monotonic() + 60
        name = None
        while not name and time.monotonic() < end:
            with contextlib.suppress(FileNotFoundError):
                with open(self.guest.path("stderr"), errors="replace") as f:
                    name = re.search(r"chardev 'pty0' is (\S+)", f.read())
            time.sleep(0.1)
        fd = os.open(name.group(1), os.O_RDWR | os.O_NOCTTY)
        try:
            self.results["pty"] = echo(fd, ECHO)
        finally:
            os.close(fd)

    def slow(self):
        """Waits until nothing fits any more, then reads in small pieces."""
        data = b""
        with connect(self.guest.path("slow.sock")) as s:
            select.select([s], [], [], 300)
            time.sleep(2)
            s.settimeout(30)
            while len(data) < SLOW:
                got = s.recv(4096)
                if not got:
                    break
                data += got
                if len(data) % (256 * 1024) < 4096:
                    time.sleep(0.05)
        self.results["slow"] = data

    def console(self):
        with connect(self.guest.path("console.sock")) as s:
            s.settimeout(120)
            greeting = b""
            while b"console-is-up" not in greeting:
                greeting += s.recv(4096)
            s.sendall(pattern(CONSOLE))
            back = greeting.split(b"console-is-up", 1)[1].lstrip(b"\r\n")
            while len(back) < CONSOLE:
                back += s.recv(4096)
            self.results["console"] = back

    def events(self):
        """Everything that QMP says until the VM ends."""
        text = b""
        with connect(self.guest.path("qmp.sock")) as s:
            s.sendall(b'{"execute":"qmp_capabilities"}')
            s.settimeout(300)
            while True:
                got = s.recv(65536)
                if not got:
                    break
                text += got
        self.results["events"] = text.decode()


@pytest.fixture(scope="module")
def guest(new_guest):
    guest = new_guest()
    guest.peers = Peers(guest)
    guest.run(
        "-qmp", "unix:qmp.sock,server=on,wait=off",
        "-device", "virtio-serial-device,id=vs0",
        "-chardev", "socket,id=con0,path=console.sock,server=on,wait=off",
        "-device", "virtconsole,chardev=con0,id=console0",
        "-chardev", "socket,id=s0,path=echo.sock,server=on,wait=off",
        "-device", "virtserialport,chardev=s0,name=org.test.socket,id=port0",
        "-chardev", f"socket,id=t0,host=127.0.0.1,port={TCP_PORT},server=on,wait=off",
        "-device", "virtserialport,chardev=t0,name=org.test.tcp,id=port3",
        "-chardev", "pty,id=pty0",
        "-device", "virtserialport,chardev=pty0,name=org.test.pty,id=port1",
        "-chardev", "file,id=f0,path=out.bin",
        "-device", "virtserialport,chardev=f0,name=org.test.file,id=port2",
        "-chardev", "socket,id=s1,path=slow.sock,server=on,wait=off",
        "-device", "virtserialport,chardev=s1,name=org.test.slow,nr=7,id=port7", "-no-reboot",
        append="sv.modules=virtio_console", script=SCRIPT, timeout=300).check_finished()
    guest.peers.join()
    return guest


def digest(data):
    return hashlib.md5(data).hexdigest()


def test_ports_have_their_names(guest):
    assert sorted(guest.section("names").split()) == [f"org.test.{n}" for n in ("file", "pty", "slow", "socket", "tcp")]


def test_ports_have_their_numbers(guest):
    numbers = sorted(int(re.fullmatch(r"vport\d+p(\d+)", name).group(1))
                     for name in guest.section("ports").split())
    assert numbers == [0, 1, 2, 3, 4, 7]


def test_console_is_hvc0(guest):
    assert "hvc0" in guest.section("hvc").split()


def test_console_carries_both_ways(guest):
    assert guest.section("console").split()[0] == digest(pattern(CONSOLE))
    assert digest(guest.peers.results["console"]) == digest(pattern(CONSOLE))


def test_echo_through_a_socket_is_intact(guest):
    assert guest.section("echo-socket") == "done"
    assert digest(guest.peers.results["socket"]) == digest(pattern(ECHO))


def test_echo_through_tcp_is_intact(guest):
    assert guest.section("echo-tcp") == "done"
    assert digest(guest.peers.results["tcp"]) == digest(pattern(ECHO))


def test_echo_through_a_pty_is_intact(guest):
    assert guest.section("echo-pty") == "done"
    assert digest(guest.peers.results["pty"]) == digest(pattern(ECHO))


def test_output_to_a_file_is_intact(guest):
    with open(guest.path("out.bin"), "rb") as f:
        assert digest(f.read()) == guest.section("file").split()[0]


def test_slow_reader_loses_nothing(guest):
    assert len(guest.peers.results["slow"]) == SLOW
    assert digest(guest.peers.results["slow"]) == guest.section("slow").split()[0]


def test_open_and_close_are_events(guest):
    events = re.findall(r'"VSERPORT_CHANGE".*?\}', guest.peers.results["events"])
    for port in ("console0", "port0", "port7"):
        assert any(f'"{port}"' in e and re.search(r'"open": ?true', e) for e in events), events
