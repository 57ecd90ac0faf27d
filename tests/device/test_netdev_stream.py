# SPDX-License-Identifier: Apache-2.0
"""-netdev stream: frames over a socket, a peer that comes and goes, a peer that is hostile, and passt as it is."""

import ctypes
import os
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

import guest
import kinds
import tap
import virtio as v
from test_virtio_console import pattern
from test_virtio_net import AT, F_MRG, KINDS as TAPS, MAC, Driver, frame

LONGEST = 65535 + 14 + 8
KINDS = list(TAPS)


class Cable:
    """The other side, as the tests of a tap see one."""

    def __init__(self, sock):
        self.sock, self.data = sock, b""
        sock.settimeout(guest.LIMIT)

    def send(self, data):
        self.sock.sendall(struct.pack(">I", len(data)) + data)

    def frame(self):
        """The next frame that the guest sends."""
        while len(self.data) < 4 or len(self.data) < 4 + struct.unpack(">I", self.data[:4])[0]:
            got = self.sock.recv(1 << 17)
            assert got, "the VMM hung up"
            self.data += got
        end = 4 + struct.unpack(">I", self.data[:4])[0]
        found, self.data = self.data[4:end], self.data[end:]
        return found

    def frames(self):
        found = []
        while self.data or select.select([self.sock], [], [], 0)[0]:
            found.append(self.frame())
        return found

    def gone(self):
        """The VMM has hung up, whatever was still on its way."""
        try:
            while self.sock.recv(1 << 17):
                pass
        except ConnectionError:
            pass
        self.sock.close()


class Peer:
    """Listens; each connection of the VMM is a cable."""

    def __init__(self, path):
        self.path = str(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(4)
        self.listener.settimeout(guest.LIMIT)

    def accept(self):
        return Cable(self.listener.accept()[0])


@pytest.fixture
def peer(tmp_path):
    return Peer(tmp_path / "peer")


def options(kind, netdev):
    """Those of a card on a tap, with another netdev."""
    return [f"stream,id=n0,{netdev}" if option.startswith("tap,") else option for option in TAPS[kind][:-1]] + \
        [TAPS[kind][-1] + ",id=net0"]


def connect(start, peer, kind="main", more=",reconnect=1"):
    vm = start(*options(kind, f"addr.type=unix,addr.path={peer.path}{more}"))
    vm.qmp("query-status")  # whoever wants to see events must be there
    vm.tap = peer.accept()
    return Driver(vm)


def link(driver):
    return driver.device.get(v.CONFIG + 6, 2)


def again(driver, peer):
    """The VMM has lost its peer: the link goes, it connects once more, the link is back."""
    assert driver.vm.event("NETDEV_STREAM_DISCONNECTED")["data"] == {"netdev-id": "n0"}
    assert link(driver) == 0
    driver.vm.step()  # its clock stands still
    driver.vm.tap = driver.tap = peer.accept()
    assert driver.vm.event("NETDEV_STREAM_CONNECTED")["data"] == {
        "netdev-id": "n0", "addr": {"type": "unix", "path": peer.path}}
    assert link(driver) == 1


def alive(driver):
    driver.send(frame(b"alive".ljust(46)))
    while driver.tap.frame() != frame(b"alive".ljust(46)):
        pass
    assert driver.passes(frame(b"and back".ljust(46))) == [True]


@pytest.mark.parametrize("kind", KINDS)
def test_frames_out_and_in(start, peer, kind):
    driver = connect(start, peer, kind)
    offered = driver.device.offered()
    assert not offered & 1 and not offered & 2, "nobody can make checksums on the way"
    for length in (0, 46, 47, 1000, 1500):
        driver.send(frame(pattern(length)))
        assert driver.tap.frame() == frame(pattern(length))
        driver.tap.send(frame(pattern(length, 1)))
        assert driver.receive() == frame(pattern(length, 1))
    driver.start(F_MRG, size=64)
    for length in (10000, LONGEST - 14):
        driver.send(frame(pattern(length)))
        assert driver.tap.frame() == frame(pattern(length))
        driver.tap.send(frame(pattern(length)))
        data = driver.rx.take()
        for _ in range(struct.unpack_from("<H", data, 10)[0] - 1):
            data += driver.rx.take()
        assert data[:10] == bytes(10) and data[12:] == frame(pattern(length))


def test_frames_in_pieces(start, peer):
    """Cut at every place, and many in one piece."""
    driver = connect(start, peer)
    one = frame(pattern(50))
    whole = struct.pack(">I", len(one)) + one
    for cut in range(1, len(whole)):
        driver.tap.sock.sendall(whole[:cut])
        driver.vm.settle()
        assert driver.rx.empty()
        driver.tap.sock.sendall(whole[cut:])
        assert driver.receive() == one
    rng = random.Random(1)
    sent = [frame(rng.randbytes(rng.randrange(46, 3000))) for _ in range(500)]
    stream = b"".join(struct.pack(">I", len(one)) + one for one in sent)

    def pieces():
        at = 0
        while at < len(stream):
            part = rng.randrange(1, 5000)
            driver.tap.sock.sendall(stream[at:at + part])
            at += part

    sender = threading.Thread(target=pieces)
    sender.start()
    assert [driver.receive() for _ in sent] == sent
    sender.join()


@pytest.mark.parametrize("kind", KINDS)
def test_the_peer_comes_and_goes(start, peer, kind):
    driver = connect(start, peer, kind)
    for _ in range(10):
        alive(driver)
        driver.tap.sock.close()
        again(driver, peer)
    driver.tap.sock.close()
    driver.vm.event("NETDEV_STREAM_DISCONNECTED")
    for _ in range(50):
        driver.send(frame(b"nobody is there".ljust(46)))  # lost, and the queue goes on
    driver.start()  # the driver may come anew meanwhile
    driver.vm.step()
    driver.vm.tap = driver.tap = peer.accept()
    driver.vm.event("NETDEV_STREAM_CONNECTED")
    alive(driver)


def test_without_reconnect_it_stays_away(start, peer):
    driver = connect(start, peer, more="")
    driver.tap.sock.close()
    driver.vm.event("NETDEV_STREAM_DISCONNECTED")
    assert link(driver) == 0
    driver.send(frame(bytes(46)))
    driver.vm.qmp("device_del", id="net0")
    driver.vm.qmp("netdev_del", id="n0")
    driver.vm.qmp("netdev_add", type="stream", id="n0", addr={"type": "unix", "path": peer.path}, server=False)
    driver.vm.qmp("device_add", driver="virtio-net-mmio", id="net1", netdev="n0")
    driver.tap = driver.vm.tap = peer.accept()
    assert driver.vm.event("NETDEV_STREAM_CONNECTED")["data"]["addr"]["path"] == peer.path
    alive(driver)


@pytest.mark.parametrize("family", ("unix", "inet"))
def test_server(start, tmp_path, family):
    """One client at a time; the next one waits for its turn. Two VMs may be each other's cable."""
    pid = os.getpid()
    host = f"127.{pid >> 16 & 63 | 64}.{pid >> 8 & 255}.{pid & 255}"  # nobody else's
    where = f"addr.type=unix,addr.path={tmp_path}/server" if family == "unix" else f"addr.type=inet,addr.host={host},addr.port=7777"
    vm = start(*options("main", f"server=on,{where}"))
    vm.qmp("query-status")
    driver = None
    for _ in range(3):
        client = socket.socket(socket.AF_UNIX if family == "unix" else socket.AF_INET)
        client.connect(f"{tmp_path}/server" if family == "unix" else (host, 7777))
        vm.tap = Cable(client)
        assert vm.event("NETDEV_STREAM_CONNECTED")["data"]["addr"]["type"] == family
        driver = driver or Driver(vm)
        driver.tap = vm.tap
        assert link(driver) == 1
        alive(driver)
        client.close()
        vm.event("NETDEV_STREAM_DISCONNECTED")
        assert link(driver) == 0
    other = start(*options("main", where))
    driver.vm.event("NETDEV_STREAM_CONNECTED")
    other.tap = None
    second = Driver(other)
    for i in range(100):
        driver.send(frame(pattern(500, i)))
        assert second.receive() == frame(pattern(500, i))
        second.send(frame(pattern(400, i)))
        assert driver.receive() == frame(pattern(400, i))


@pytest.mark.parametrize("kind", KINDS)
def test_a_peer_that_does_not_read(start, peer, kind):
    """The guest's frames wait, each of them, and nothing else does. A reset while half a frame is on its way leaves the
    frames behind it whole."""
    driver = connect(start, peer, kind)
    queue, size = driver.queues[1], driver.queues[1].size
    driver.tap.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sent = 0
    for turn in range(2):
        for _ in range(2000):  # until the socket is full
            if queue.avail_idx - queue.used_idx() & 0xffff == size:
                break
            slot = sent % size
            data = bytes(12) + frame(struct.pack("<I", sent).ljust(9000, b"."))
            driver.vm.ram[AT + 0x4000 * slot:AT + 0x4000 * slot + len(data)] = data
            queue.put(slot, AT + 0x4000 * slot, len(data))
            queue.publish(slot)
            queue.kick()
            sent += 1
        else:
            raise AssertionError("the socket is never full")
        assert driver.vm.qmp("query-status")["running"]
        driver.tap.send(frame(b"other way".ljust(46)))
        assert driver.receive() == frame(b"other way".ljust(46))
        if not turn:
            given = queue.used_idx()
            driver.start(size=size)
            queue, driver.tx = driver.queues[1], driver.queues[1]
            sent, taken = 0, given
    got, last = 0, -1
    while last < sent - 1 or got < taken + sent:
        one = driver.tap.frame()
        assert len(one) == 9014 and one[14 + 4:] == b"." * 8996
        number = struct.unpack_from("<I", one, 14)[0]
        assert number == (got if got < taken or number == got else got - taken), "in order, none lost"
        if got >= taken and number == 0 and got != 0:
            taken = got  # what was half sent at the reset had been taken
        got, last = got + 1, number
    alive(driver)


def hostile_lengths():
    return [struct.pack(">I", length) for length in (LONGEST + 1, 0x10000 + 4096, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_peer(start, peer, kind):
    """What is no frame ends the connection and nothing else; half a frame is forgotten with its connection."""
    driver = connect(start, peer, kind)
    for begin in hostile_lengths():
        driver.tap.sock.sendall(begin + b"x" * 100)
        driver.tap.gone()
        again(driver, peer)
        alive(driver)
    for half in (b"\0", b"\0\0\0", struct.pack(">I", 60), struct.pack(">I", LONGEST) + b"x" * 60000):
        driver.tap.sock.sendall(half)
        driver.vm.settle()
        driver.tap.sock.close()
        again(driver, peer)
        alive(driver)
    for length in range(14):  # too short for a frame
        driver.tap.sock.sendall((struct.pack(">I", length) + bytes(length)) * 1000)
    alive(driver)
    assert "longer than any" in driver.vm.stderr()


def resident(vm):
    with open(f"/proc/{vm.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon:"))


def test_floods(start, peer):
    """A guest without buffers makes the peer wait, and costs no memory; a flood of empty frames leaves the monitor answering."""
    driver = connect(start, peer)
    driver.start(size=8, count=0)
    before = resident(driver.vm)
    driver.tap.sock.setblocking(False)
    sent, data = 0, (struct.pack(">I", 1014) + frame(bytes(1000))) * 64
    while select.select([], [driver.tap.sock], [], 0.5)[1] and sent < 64 << 20:
        try:
            sent += driver.tap.sock.send(data[sent % len(data):])
        except BlockingIOError:
            break
    assert sent < 64 << 20
    assert resident(driver.vm) - before < 4096
    driver.tap.sock.setblocking(True)
    driver.tap.sock.close()
    again(driver, peer)
    driver.start()
    driver.tap.sock.setblocking(False)
    answers, empty = 0, bytes(1 << 16)
    while answers < 50:
        for _ in range(20):
            try:
                driver.tap.sock.send(empty)
            except BlockingIOError:
                pass
        assert driver.vm.qmp("query-status")["running"]
        answers += 1
    driver.tap.sock.close()
    again(driver, peer)
    alive(driver)


@pytest.mark.parametrize("kind", KINDS)
def test_a_peer_that_dies_under_traffic(start, peer, kind):
    """Again and again, with frames on their way in both directions, and resets, stops and pulled cables between them."""
    driver = connect(start, peer, kind)
    rng = random.Random(7)
    for turn in range(30):
        for i in range(rng.randrange(20)):
            driver.tap.send(frame(pattern(rng.randrange(46, 3000), i)))
        queue = driver.queues[1]
        for i in range(rng.randrange(queue.size)):
            queue.put(i, AT, 12 + 60 + i)
            queue.publish(i)
        driver.vm.send(f"writel {driver.device.base + v.QUEUE_NOTIFY:#x} 1")
        driver.tap.sock.close()
        assert driver.vm.reply() == "OK"
        what = turn % 4
        if what == 1:
            driver.device.reset()
        elif what == 2:
            driver.vm.qmp("stop")
        elif what == 3:
            driver.vm.qmp("set_link", name="n0", up=False)
        driver.vm.event("NETDEV_STREAM_DISCONNECTED")
        driver.vm.step()
        driver.vm.tap = driver.tap = peer.accept()
        driver.vm.event("NETDEV_STREAM_CONNECTED")
        if what == 2:
            driver.vm.qmp("cont")
        elif what == 3:
            assert link(driver) == 0
            driver.vm.qmp("set_link", name="n0", up=True)
        driver.start()
        assert link(driver) == 1
        alive(driver)


def test_unplugged_with_half_a_frame(start, peer):
    """What the next card gets goes on where the last one's stream was."""
    driver = connect(start, peer)
    one = frame(pattern(100))
    whole = struct.pack(">I", len(one)) + one
    for turn in range(5):
        driver.tap.sock.sendall(whole[:50])
        driver.vm.settle()
        driver.vm.qmp("device_del", id=f"net{turn}")
        assert link(driver) == 0
        driver.tap.sock.sendall(whole[50:])
        driver.vm.qmp("device_add", driver="virtio-net-mmio", id=f"net{turn + 1}", netdev="n0")
        assert link(driver) == 1
        assert driver.receive() == one
        alive(driver)


def test_start_says_what_is_wrong(tmp_path):
    for text, part in ((f"stream,id=n,addr.type=unix,addr.path={tmp_path}/none", "cannot connect to unix:"),
                       (f"stream,id=n,server=on,addr.type=unix,addr.path={tmp_path}/no/dir", "cannot listen on unix:")):
        done = subprocess.run([guest.STRATOVIRT, "-accel", "test", "-m", "128", "-netdev", text, "-device",
                               "virtio-net-device,netdev=n"], stdin=subprocess.DEVNULL, text=True, stderr=subprocess.PIPE,
                              timeout=guest.LIMIT)
        assert done.returncode == 1 and "-netdev stream,id=n: " in done.stderr and part in done.stderr, done.stderr


# --- passt ---

GATEWAY, HOST, OWN, NAMESERVER = "10.9.8.1", "10.9.8.76", "10.9.8.77", "10.9.8.53"
GATEWAY_MAC = "9a:55:9a:55:9a:55"


def in_a_network(command, log):
    """Starts passt in a network of its own, whose interface it copies to the guest."""
    def enter():
        guest.die_with_parent()
        if ctypes.CDLL(None).unshare(tap.CLONE_NEWNET):
            os._exit(77)
        for line in ("ip link set lo up", "ip tuntap add dev up0 mode tap", f"ip addr add {HOST}/24 dev up0", "ip link set up0 up",
                     f"ip route add default via {GATEWAY} dev up0"):
            if subprocess.call(line.split()):
                os._exit(78)
        with open("/proc/sys/net/ipv4/ping_group_range", "w", encoding="ascii") as f:
            f.write("0 2147483647")

    return subprocess.Popen(command, preexec_fn=enter, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


@pytest.fixture
def passt():
    """Debian's own, in the foreground; passt(): its socket, when it listens."""
    program, running = shutil.which("passt"), []
    assert program, "passt is missing: tests/tools/install-deps check"
    # passt changes its user, who must reach its socket; and its name says what AppArmor is to think.
    folder = f"/tmp/sv-passt-{os.getpid()}"
    os.mkdir(folder)
    os.chmod(folder, 0o777)

    def run():
        path = f"{folder}/socket"
        with open(f"{folder}/log", "wb") as log:
            running.append(in_a_network([program, "--foreground", "--socket", path, "--ipv4-only", "--gateway", GATEWAY,
                                         "--address", OWN, "--netmask", "24", "--dns", NAMESERVER, "--mac-addr", GATEWAY_MAC,
                                         "--tcp-ports", "none", "--udp-ports", "none"], log))
        end = time.monotonic() + guest.LIMIT
        while not listens(running[-1].pid, path):
            with open(f"{folder}/log", encoding="utf-8", errors="replace") as f:
                assert running[-1].poll() is None and time.monotonic() < end, f.read()
            time.sleep(0.02)
        os.chmod(path, 0o777)  # of another user, and a VMM that runs has no right to override that
        return path

    run.running = running
    yield run
    for one in running:
        one.kill()
        one.wait()
    shutil.rmtree(folder)


def listens(pid, path):
    """In its own network, without being taken for a guest."""
    with open(f"/proc/{pid}/net/unix", encoding="ascii") as f:
        return any(line.split()[3] == "00010000" and line.split()[-1] == path for line in f.readlines()[1:])


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data[:len(data) // 2 * 2])) + (data[-1] << 8 if len(data) % 2 else 0)
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip(kind, source, to, payload):
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, kind, 0, socket.inet_aton(source), socket.inet_aton(to))
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + payload


def dhcp_discover():
    message = struct.pack(">BBBBIHH16s16s192xI", 1, 1, 6, 0, 0x1234, 0, 0, bytes(16), MAC.ljust(16, b"\0"), 0x63825363) + \
        bytes((53, 1, 1, 55, 3, 1, 3, 6, 255))
    return b"\xff" * 6 + MAC + b"\x08\0" + ip(17, "0.0.0.0", "255.255.255.255",
                                              struct.pack(">HHHH", 68, 67, 8 + len(message), 0) + message)


def arp_request():
    return b"\xff" * 6 + MAC + b"\x08\x06" + struct.pack(">HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, MAC, socket.inet_aton(OWN), bytes(6),
                                                         socket.inet_aton(GATEWAY))


def echo_request(number):
    body = struct.pack(">HH", 77, number) + pattern(56, number)
    return mac(GATEWAY_MAC) + MAC + b"\x08\0" + ip(1, OWN, HOST, b"\x08\0" + struct.pack(">H", checksum(b"\x08\0\0\0" + body)) + body)


def answer(driver, wanted):
    """The first frame from passt that is it; others may come between."""
    while True:
        data = driver.receive()
        if wanted(data):
            return data


@pytest.mark.parametrize("kind", KINDS)
def test_passt(start, passt, kind):
    """DHCP, ARP and an answer to a ping; passt is killed, and the next one serves the guest as well."""
    driver = None
    for turn in range(2):
        path = passt()
        if not driver:
            vm = start(*options(kind, f"addr.type=unix,addr.path={path},reconnect=1"))
            vm.qmp("query-status")
            driver = Driver(vm)
        else:
            vm.step()
            vm.event("NETDEV_STREAM_CONNECTED")
        assert link(driver) == 1
        driver.send(dhcp_discover())
        offer = answer(driver, lambda data: data[12:14] == b"\x08\0" and data[23] == 17 and data[34:38] == b"\0\x43\0\x44")
        assert offer[42 + 16:42 + 20] == socket.inet_aton(OWN) and socket.inet_aton(GATEWAY) in offer[42 + 240:]
        driver.send(arp_request())
        reply = answer(driver, lambda data: data[12:14] == b"\x08\x06" and data[20:22] == b"\0\2")
        assert reply[22:32] == mac(GATEWAY_MAC) + socket.inet_aton(GATEWAY)
        for number in range(5):
            driver.send(echo_request(number))
            reply = answer(driver, lambda data: data[12:14] == b"\x08\0" and data[23] == 1 and data[34] == 0)
            assert reply[40:42] == struct.pack(">H", number) and reply[42:98] == pattern(56, number)
        if not turn:
            passt.running[0].send_signal(signal.SIGKILL)
            passt.running[0].wait()
            os.unlink(path)
            vm.event("NETDEV_STREAM_DISCONNECTED")
            assert link(driver) == 0
