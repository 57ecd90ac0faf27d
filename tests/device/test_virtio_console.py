# SPDX-License-Identifier: Apache-2.0
"""virtio-console's data path: a single console, several ports, the control queues, and what happens to bytes in between."""

import fcntl
import os
import signal
import socket
import struct
import termios

import pytest

import guest
import kinds
import virtio as v

OUT, AT = 0x400000, kinds.AT
F_SIZE, F_MULTIPORT, F_EMERG = 1, 2, 4
READY, ADD, REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, OPEN, NAME = range(8)
SINGLE = ("-device", "virtio-serial-device,max_ports=1", "-chardev", "socket,id=c0,path=$DIR/port,server=on,wait=off",
          "-device", "virtconsole,chardev=c0")
COUNT = 3  # of the ports in SERIAL that may be spoken of


def peer(vm, name="port"):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(guest.LIMIT)
    sock.connect(vm.path(name))
    return sock


def out(queue, data, at=OUT):
    queue.ram[at:at + len(data)] = data
    return queue.send([(at, len(data), False)])


def receive(sock, length):
    data = b""
    while len(data) < length:
        got = sock.recv(length - len(data))
        assert got, "the other end has gone"
        data += got
    return data


def pattern(length, seed=0):
    return bytes((i * 7 + i // 251 + seed) & 0xff for i in range(length))


class Single:
    """A device with one console, its driver, and a client of the console."""

    def __init__(self, vm, count=None):
        self.vm, self.device, self.count = vm, v.find(vm, v.ID_CONSOLE), count
        self.start()
        self.peer = peer(vm)

    def start(self):
        queues = self.device.start_all(indices=(0, 1))
        self.tx, self.rx = queues[1], v.Inbox(queues[0], 1024, self.count)


class Ports:
    """A driver of several ports that has said hello."""

    def __init__(self, vm):
        self.vm, self.device = vm, v.find(vm, v.ID_CONSOLE)
        self.start()

    def start(self, features=F_MULTIPORT):
        queues = self.device.start_all(features=features, indices=(0, 1, 2, 3, 4, 5))
        self.inbox = {0: v.Inbox(queues[0], at=0x1000000), 1: v.Inbox(queues[4], at=0x1100000)}
        self.control = v.Inbox(queues[2], 512, at=0x1200000)
        self.tx, self.commands = {0: queues[1], 1: queues[5]}, queues[3]

    def say(self, port, event, value):
        assert out(self.commands, struct.pack("<IHH", port, event, value)) == 0

    def hear(self):
        data = self.control.take()
        return (*struct.unpack("<IHH", data[:8]), data[8:])

    def hello(self):
        self.say(0, READY, 1)
        added = [self.hear(), self.hear()]
        assert added == [(0, ADD, 1, b""), (1, ADD, 1, b"")]
        self.say(0, PORT_READY, 1)
        assert [self.hear() for _ in range(2)] == [(0, CONSOLE_PORT, 1, b""), (0, OPEN, 1, b"")]
        self.say(1, PORT_READY, 1)
        assert self.hear() == (1, NAME, 1, b"org.test.1")
        return self.hear()


@pytest.fixture
def single(start):
    one = Single(start(*SINGLE))
    yield one
    one.peer.close()


@pytest.fixture
def ports(start):
    return Ports(start(*kinds.SERIAL))


def test_console_out_and_in(single):
    for length in (1, 2, 511, 4096, 60000):
        data = pattern(length, length)
        assert out(single.tx, data) == 0
        assert receive(single.peer, length) == data
    # In several pieces, one of them a single byte.
    single.vm.ram[OUT:OUT + 100] = pattern(100)
    assert single.tx.send([(OUT, 1, False), (OUT + 1, 98, False), (OUT + 99, 1, False)]) == 0
    assert receive(single.peer, 100) == pattern(100)
    for length in (1, 100, 1024, 1025, 3000):
        data, got = pattern(length, 3), b""
        single.peer.sendall(data)
        while len(got) < length:
            got += single.rx.take()
        assert got == data


def test_console_without_a_client_drops_output(start):
    vm = start(*SINGLE)
    queue = v.find(vm, v.ID_CONSOLE).start_all(indices=(0, 1))[1]
    for _ in range(20):
        assert out(queue, pattern(60000)) == 0


def test_console_rx_stall(start):
    """Input for a guest without buffers is bounded, and goes on when there are buffers (CVE-2020-16843, CVE-2020-27174)."""
    single = Single(start(*SINGLE), count=0)
    single.peer.setblocking(False)
    data, sent = pattern(4 << 20), 0
    while True:
        try:
            sent += single.peer.send(data[sent:])
        except BlockingIOError:
            break
        single.vm.settle()
    assert sent < 2 << 20, "the VMM takes what nobody reads"
    single.rx = v.Inbox(single.rx.queue, 1024)
    got = b""
    while len(got) < sent:
        got += single.rx.take()
    assert got == data[:sent]
    single.peer.close()


def test_console_whose_client_reads_nothing_stalls_for_a_second(single):
    """A client that is there and does not read must not stop the guest: after a second of the clock output is dropped."""
    data = pattern(60000)
    single.vm.ram[OUT:OUT + len(data)] = data
    single.tx.chain([(OUT, len(data), False)])
    single.tx.publish(*[0] * 16)
    single.tx.kick()
    while single.tx.used_idx() < 16:
        before = single.vm.step(0)
        assert single.vm.step() > before, "nothing would ever happen"
        single.tx.publish(index=single.tx.avail_idx)
    assert single.vm.step(0) >= 10**9


def test_console_reset_under_traffic(single):
    """Resets while input arrives: nothing is written to buffers of before, and nothing is lost from the next start on."""
    for turn in range(20):
        single.peer.sendall(pattern(20000, turn))
        single.rx.take()
        single.device.reset()
        region = slice(single.rx.at, single.rx.at + 16 * 1024)
        single.vm.ram[region] = b"\xa5" * (16 * 1024)
        single.peer.sendall(pattern(5000, turn))
        for _ in range(5):
            single.vm.settle()
        assert single.vm.ram[region] == b"\xa5" * (16 * 1024)
        single.start()
        mark = b"THE END OF TURN %2d" % turn
        single.peer.sendall(mark)
        got = b""
        while mark not in got:
            got += single.rx.take()


def test_console_emergency_write(start):
    """Characters without queues, in every status; each is one byte (5.3.4)."""
    vm = start(*kinds.CONSOLE)
    device = v.find(vm, v.ID_CONSOLE)
    assert device.offered() & F_EMERG
    for prepare, text in ((device.reset, b"AB"), (device.negotiate, b"CD"), (device.start, b"EF")):
        prepare()
        device.set(v.CONFIG + 8, text[0])
        device.set(v.CONFIG + 8, 0xffffff00 | text[1])
        for offset in (0, 4, 7, 9, 12, 0xfc):
            device.set(v.CONFIG + offset, ord("x"), 1)

    def printed():
        with open(vm.path("console"), "rb") as f:
            return f.read() == b"ABCDEF"

    vm.until(printed, "six characters")


def test_ports_say_hello(ports):
    assert ports.hello() == (1, OPEN, 0, b"")  # no client yet
    client = peer(ports.vm)
    assert ports.hear() == (1, OPEN, 1, b"")
    client.close()
    assert ports.hear() == (1, OPEN, 0, b"")
    # From the beginning again, without a client and with one.
    client = peer(ports.vm)
    ports.start()
    assert ports.hello() == (1, OPEN, 1, b"")
    client.close()


def test_a_client_that_leaves_unread_words_makes_room_for_the_next(ports):
    """The guest reads them before what the next one says; until then it is not told that the first has gone."""
    first = peer(ports.vm)
    assert ports.hello() == (1, OPEN, 1, b"")
    first.sendall(b"last words")
    first.close()
    for _ in range(5):
        ports.vm.settle()
    assert ports.control.empty()
    ports.say(1, OPEN, 1)
    assert ports.inbox[1].take() == b"last words"
    assert ports.hear() == (1, OPEN, 0, b"")
    second = peer(ports.vm)
    assert ports.hear() == (1, OPEN, 1, b"")
    second.sendall(b"hello")
    assert ports.inbox[1].take() == b"hello"
    second.close()


def test_port_opens_are_told_on_qmp(ports):
    """Of several within a second of the clock the last one."""
    vm = ports.vm
    vm.qmp("query-status")
    ports.hello()
    ports.say(1, OPEN, 1)
    assert vm.event("VSERPORT_CHANGE")["data"]["open"] is True
    ports.say(1, OPEN, 0)
    vm.step(10**9)
    assert vm.event("VSERPORT_CHANGE")["data"]["open"] is False
    vm.step(10**9)
    ports.say(1, OPEN, 1)
    assert vm.event("VSERPORT_CHANGE")["data"]["open"] is True
    vm.step(10**9)
    ports.device.reset()
    assert vm.event("VSERPORT_CHANGE")["data"]["open"] is False


def test_query_chardev_tells_a_port_that_is_open(ports):
    """By which libvirt knows whether an agent listens. The terminal always is."""
    vm = ports.vm

    def opened():
        return {chardev["label"]: chardev["frontend-open"] for chardev in vm.qmp("query-chardev")}

    assert opened() == {"c0": True, "c1": False}
    ports.hello()
    assert opened() == {"c0": True, "c1": False}
    ports.say(1, OPEN, 1)
    assert opened() == {"c0": True, "c1": True}
    ports.say(1, OPEN, 0)
    assert opened() == {"c0": True, "c1": False}
    ports.say(1, OPEN, 1)
    ports.device.reset()
    assert opened() == {"c0": True, "c1": False}


def test_port_data_flows_while_it_is_open(ports):
    client = peer(ports.vm)
    ports.hello()
    client.sendall(b"too early")
    for _ in range(5):
        ports.vm.settle()
    assert ports.inbox[1].empty(), "a port that is not open gets nothing"
    ports.say(1, OPEN, 1)
    assert ports.inbox[1].take() == b"too early"
    data = pattern(30000)
    assert out(ports.tx[1], data) == 0
    assert receive(client, len(data)) == data
    client.sendall(data)
    got = b""
    while len(got) < len(data):
        got += ports.inbox[1].take()
    assert got == data
    client.close()


def test_port_waits_for_a_slow_reader_and_loses_nothing(ports):
    client = peer(ports.vm)
    ports.hello()
    ports.say(1, OPEN, 1)
    queue, data = ports.tx[1], pattern(32768)
    ports.vm.ram[OUT:OUT + len(data)] = data
    queue.chain([(OUT, len(data), False)])
    sent = 0
    for _ in range(40):  # until the client's socket and our buffer are full
        queue.publish(0)
        queue.kick()
        sent += 1
        if not queue.answered():
            break
        queue.take()
    assert 1 < sent < 40
    ports.vm.step(5 * 10**9)  # a port waits however long it takes
    assert not queue.answered()
    assert receive(client, sent * len(data)) == data * sent
    queue.take()
    client.close()


def test_control_messages_cut_anywhere(ports):
    """split-header (CVE-2019-18960), both ways: what the driver says and what it hears, cut at every byte."""
    for pieces in v.cuts(AT, 8):
        ports.start()
        ports.vm.ram[AT:AT + 8] = struct.pack("<IHH", 0, READY, 1)
        assert ports.commands.send([(addr, length, False) for addr, length in pieces]) == 0
        assert [ports.hear(), ports.hear()] == [(0, ADD, 1, b""), (1, ADD, 1, b"")]
    for cut in range(1, 18):
        queues = ports.device.start_all(features=F_MULTIPORT, indices=(2, 3))
        for message in ((0, READY, 1), (1, PORT_READY, 1)):
            out(queues[3], struct.pack("<IHH", *message))
        for want in ((0, ADD, 1, b""), (1, ADD, 1, b""), (1, NAME, 1, b"org.test.1"), (1, OPEN, 0, b"")):
            queue = queues[2]
            ports.vm.ram[AT:AT + 64] = b"\xa5" * 64
            length = queue.send([(AT, cut, True), (AT + cut, 32 - cut, True)])
            data = bytes(ports.vm.ram[AT:AT + length])
            assert (*struct.unpack("<IHH", data[:8]), data[8:]) == want
            assert ports.vm.ram[AT + length:AT + 64] == b"\xa5" * (64 - length)
            if want[1:2] == (ADD,) and want[0] == 1:
                out(queues[3], struct.pack("<IHH", 1, PORT_READY, 1))


def test_control_messages_about_ports_that_are_not_there(ports):
    ports.hello()
    for port in (2, 30, 31, 32, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff):
        for event in (PORT_READY, OPEN, REMOVE, ADD, NAME, 8, 0xffff):
            for value in (0, 1, 0xffff):
                ports.say(port, event, value)
    for event in (ADD, REMOVE, CONSOLE_PORT, RESIZE, NAME, 8, 0xffff):
        ports.say(1, event, 1)
    assert ports.control.empty() and not ports.device.broken()
    ports.say(1, OPEN, 1)
    assert out(ports.tx[1], b"x") == 0


def test_queues_of_ports_that_are_not_there(start):
    """Output there is dropped, input never comes, and without MULTIPORT there is port 0 alone."""
    vm = start(*kinds.SERIAL)
    device = v.find(vm, v.ID_CONSOLE)
    queues = device.start_all(features=F_MULTIPORT, indices=(6, 7, 62, 63))
    for index in 7, 63:
        assert out(queues[index], pattern(1000)) == 0
    for index in 6, 62:
        queues[index].publish(queues[index].chain([(AT, 64, True)]))
        queues[index].kick()
        assert not queues[index].answered()
    queues = device.start_all(indices=(0, 1, 2, 3))
    assert out(queues[1], b"x") == 0
    for index in 2, 3:
        queues[index].publish(queues[index].chain([(AT, 64, index == 2)]))
        queues[index].kick()
        assert not queues[index].answered()
    assert not device.broken()


def test_a_terminal_that_changes_its_size(start):
    """SIGWINCH: the configuration space at once, and a message to a driver of ports."""
    master, terminal = os.openpty()
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        vm = start("-chardev", "stdio,id=c0", "-device", "virtio-serial-device,id=vs0",
                   "-device", "virtconsole,chardev=c0", terminal=terminal)
        device = v.find(vm, v.ID_CONSOLE)
        queues = device.start_all(features=F_SIZE | F_MULTIPORT, indices=(0, 1, 2, 3))
        control = v.Inbox(queues[2], 512, at=0x1200000)

        def hear():
            return struct.unpack("<IHH", (data := control.take())[:8])[:2], data[8:]

        for event, value in ((READY, 1), (PORT_READY, 1)):
            out(queues[3], struct.pack("<IHH", 0, event, value))
        assert [hear()[0] for _ in range(3)] == [(0, ADD), (0, CONSOLE_PORT), (0, OPEN)]
        assert hear() == ((0, RESIZE), struct.pack("<HH", 24, 80))
        for rows, columns in ((50, 132), (10, 20)):
            generation = device.get(v.CONFIG_GENERATION)
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            vm.process.send_signal(signal.SIGWINCH)
            assert hear() == ((0, RESIZE), struct.pack("<HH", rows, columns))
            assert (device.get(v.CONFIG, 2), device.get(v.CONFIG + 2, 2)) == (columns, rows)
            assert device.get(v.CONFIG_GENERATION) != generation
        vm.process.send_signal(signal.SIGWINCH)  # nothing has changed: nothing is said
        assert vm.qmp("query-status")["status"] == "running"
        assert not control.queue.answered()
    finally:
        os.close(master)
        os.close(terminal)
