# SPDX-License-Identifier: Apache-2.0
"""Every kind of virtio device, as the tests that are the same for all of them see it.

A kind has one queue that such a test uses, and a good request for it in three buffers, so that each can be spoiled in turn.
"""

import struct

import layout
import virtio as v
from test_virtio_blk import drive

# Where requests lie; v.HEADER and v.DATA are the disk's.
AT = 0x300000
# Of the guest, that a balloon may take: their numbers.
PAGES = layout.gpa(0x7000000) >> 12


class Kind:
    index, queues, max_size = 0, 1, 256  # the queue that is used, how many there are, entries it may have
    features = 0                         # without which the request would not be good
    offers = 0                           # of the device's own, at least
    used = 0                             # what a good request's used length is
    config_size, writable, silent = 0, (), ()  # bytes of configuration, those a driver may write, those that read as 0
    answers = True                       # that queue's buffers come back at once

    def __init__(self, name, device_id, *options):
        self.name, self.id, self.options = name, device_id, options

    def __repr__(self):
        return self.name

    def request(self, ram):
        """Writes a good request; its buffers."""
        raise NotImplementedError

    def shapes(self):
        """Requests that no driver makes, each as buffers: the device must see them as broken."""
        raise NotImplementedError

    def spoil(self, ram, rng):
        """Writes what the fields of a request say at random, over the good ones."""
        first = self.request(ram)[0][0]
        ram[first:first + 64] = rng.randbytes(64)


class Disk(Kind):
    used, config_size = 513, 60

    def request(self, ram):
        struct.pack_into("<IIQ", ram, v.HEADER, v.BLK_IN, 0, 3)
        ram[v.STATUS_BYTE] = 0xff
        return [(v.HEADER, 16, False), (v.DATA, 512, True), (v.STATUS_BYTE, 1, True)]

    def shapes(self):
        header, data, status = (v.HEADER, 16, False), (v.DATA, 512, True), (v.STATUS_BYTE, 1, True)
        return [[header], [status], [data], [header, (v.DATA, 512, False)], [(v.HEADER, 15, False), data, status],
                [status, header], [header, status, (v.DATA, 512, False)], [(v.HEADER, 16, True), data, status]]

    def spoil(self, ram, rng):
        struct.pack_into("<IIQ", ram, v.HEADER, rng.choice((0, 1, 4, 8, 11, 13, rng.getrandbits(32))), 0,
                         rng.choice((0, 1, 2047, 2048, rng.getrandbits(64))))


class Entropy(Kind):
    used = 192

    def request(self, ram):
        return [(AT + 0x1000 * i, 64, True) for i in range(3)]

    def shapes(self):
        return [[(AT, 8, False)], [(AT, 8, True), (AT + 0x1000, 8, False)], [(AT, 8, False), (AT + 0x1000, 8, True)]]


class Out(Kind):
    """Devices that read all of a request."""

    sizes = (32, 32, 32)

    def content(self):
        return bytes(sum(self.sizes))

    def request(self, ram):
        content, buffers = self.content(), []
        for i, size in enumerate(self.sizes):
            ram[AT + 0x1000 * i:AT + 0x1000 * i + size], content = content[:size], content[size:]
            buffers.append((AT + 0x1000 * i, size, False))
        return buffers

    def shapes(self):
        return [[(AT, 64, True)], [(AT, 64, False), (AT + 0x1000, 64, True)]]


class Console(Out):
    index, queues, max_size, offers = 1, 2, 128, 0b101
    config_size, writable, silent = 12, (), range(8, 12)

    def content(self):
        return b"The quick brown fox jumps over the lazy dog".ljust(96, b".")


class Serial(Out):
    """The control queue of a virtio-serial device with several ports."""

    index, queues, max_size, offers, features = 3, 64, 32, 0b111, 0b10
    config_size, silent = 12, range(8, 12)
    sizes = (4, 2, 2)

    def content(self):
        return struct.pack("<IHH", 0, 0, 1)  # DEVICE_READY

    def shapes(self):
        return super().shapes() + [[(AT, 7, False)]]

    def spoil(self, ram, rng):
        request = struct.pack("<IHH", rng.choice((0, 1, 2, 30, 31, rng.getrandbits(32))), rng.choice((0, 3, 6, rng.getrandbits(16))),
                              rng.choice((0, 1, 1, rng.getrandbits(16))))
        ram[AT:AT + 4], ram[AT + 0x1000:AT + 0x1002], ram[AT + 0x2000:AT + 0x2002] = request[:4], request[4:6], request[6:]


class Balloon(Out):
    """Inflating: page numbers."""

    queues, max_size, offers = 4, 128, 0b100010
    config_size, writable = 8, range(4, 8)
    sizes = (16, 18, 14)  # a number lies in two buffers

    def content(self):
        return struct.pack("<12I", *range(PAGES, PAGES + 12))

    def spoil(self, ram, rng):
        for i in range(3):
            ram[AT + 0x1000 * i:AT + 0x1000 * i + 16] = struct.pack(
                "<4I", *(rng.choice((PAGES + rng.randrange(16), rng.randrange(PAGES + 0x1000, 1 << 20), rng.getrandbits(32)))
                         for _ in range(4)))


class Vsock(Out):
    index, queues, offers = 1, 3, 1
    config_size = 8
    sizes = (16, 28, 20)

    def content(self):
        return vsock_header(1, 2, op=VSOCK_RST, length=20) + bytes(20)

    def shapes(self):
        return super().shapes() + [[(AT, 43, False)], [(AT, 1, False)]]

    def spoil(self, ram, rng):
        header = vsock_header(rng.randrange(4), rng.choice((0, 1024, 5000, rng.getrandbits(32))), op=rng.randrange(9),
                              cid=rng.choice((3, 3, 3, 3, 4)), to=rng.choice((2, 2, 2, 2, 1)),
                              length=rng.choice((0, 20, 20, 64, rng.getrandbits(32))), kind=rng.choice((1, 1, 1, 2)),
                              flags=rng.choice((0, 1, 2, 3, rng.getrandbits(32))), credit=rng.getrandbits(32))
        ram[AT:AT + 16], ram[AT + 0x1000:AT + 0x101c] = header[:16], header[16:]


class Net(Out):
    index, queues, offers = 1, 3, 1 << 5 | 1 << 15 | 1 << 16 | 1 << 17
    config_size = 12
    sizes = (12, 14, 50)

    def content(self):
        return bytes(12) + b"\xff" * 6 + bytes(6) + b"\x88\xb5" + bytes(50)

    def shapes(self):
        return [[(AT, 12, True)], [(AT, 11, False)], [(AT, 1, False)], [(AT, 4, False), (AT + 4, 7, False)]]

    def spoil(self, ram, rng):
        ram[AT:AT + 12] = struct.pack("<BBHHHHH", rng.choice((0, 1, 1, 7, 255)), rng.choice((0, 1, 3, 4, 5, 0x81, 255)),
                                      *(rng.choice((0, 1, 14, 34, 62, 64, 1500, 0xffff, rng.getrandbits(16)))
                                        for _ in range(4)), 0)


class NetControl(Net):
    index, used = 2, 1
    features = 1 << 17 | 1 << 18

    def request(self, ram):
        ram[AT:AT + 2], ram[AT + 0x1000] = b"\0\0", 1  # RX, PROMISC: on
        ram[AT + 0x2000] = 0xff
        return [(AT, 2, False), (AT + 0x1000, 1, False), (AT + 0x2000, 1, True)]

    def shapes(self):
        return [[(AT, 2, False)], [(AT, 1, False), (AT + 1, 1, True)], [(AT, 2, True)],
                [(AT + 0x2000, 1, True), (AT, 2, False)]]

    def spoil(self, ram, rng):
        ram[AT:AT + 2] = bytes((rng.choice((0, 1, 2, 3, 4, 255)), rng.choice((0, 0, 1, 1, 2, 3, 4, 5, 255))))
        ram[AT + 0x1000:AT + 0x1040] = rng.randbytes(64)


VSOCK_REQUEST, VSOCK_RESPONSE, VSOCK_RST, VSOCK_SHUTDOWN, VSOCK_RW, VSOCK_CREDIT, VSOCK_ASK_CREDIT = range(1, 8)
CID = 3


def vsock_header(guest_port, host_port, op, length=0, flags=0, cid=CID, to=2, kind=1, credit=0x10000, consumed=0):
    """A packet from the guest (virtio 1.2 5.10.6)."""
    return struct.pack("<QQIIIHHIII", cid, to, guest_port, host_port, length, kind, op, flags, credit, consumed)


CONSOLE = ("-device", "virtio-serial-device,max_ports=1", "-chardev", "file,id=c0,path=$DIR/console", "-device",
           "virtconsole,chardev=c0")
SERIAL = ("-device", "virtio-serial-device,id=s0", "-chardev", "file,id=c0,path=$DIR/console", "-device",
          "virtconsole,chardev=c0", "-chardev", "socket,id=c1,path=$DIR/port,server=on,wait=off", "-device",
          "virtserialport,chardev=c1,name=org.test.1")
BALLOON = ("-device", "virtio-balloon-device,id=b0,free-page-reporting=on")
VSOCK = ("-device", f"virtio-vsock-device,guest-cid={CID},uds-path=$DIR/vsock")
NET = ("-netdev", "tap,id=n0,fd=$TAP", "-device", "virtio-net-device,netdev=n0,mac=52:54:00:00:00:01")
IOTHREAD = ("-object", "iothread,id=i0")


def with_iothread(options):
    return (*IOTHREAD, *options[:-1], options[-1] + ",iothread=i0")


def with_iothreads(options):
    """A card whose receiving and sending are two threads' work."""
    return (*IOTHREAD, "-object", "iothread,id=i1", *options[:-1], options[-1] + ",rx-iothread=i0,tx-iothread=i1")


ALL = (
    Disk("blk", v.ID_BLK, *drive()),
    Disk("blk-iothread", v.ID_BLK, *drive(iothread=True)),
    Entropy("rng", v.ID_RNG, "rng"),
    Console("console", v.ID_CONSOLE, *CONSOLE),
    Serial("serial", v.ID_CONSOLE, *SERIAL),
    Balloon("balloon", v.ID_BALLOON, *BALLOON),
    Vsock("vsock", v.ID_VSOCK, *VSOCK),
    Vsock("vsock-iothread", v.ID_VSOCK, *with_iothread(VSOCK)),
    Net("net", v.ID_NET, *NET),
    Net("net-iothread", v.ID_NET, *with_iothread(NET)),
    Net("net-rx-and-tx-iothreads", v.ID_NET, *with_iothreads(NET)),
    NetControl("net-control", v.ID_NET, *NET),
)
BY_NAME = {kind.name: kind for kind in ALL}
# One for each device, for what does not depend on threads or queues.
DEVICES = {name: BY_NAME[name] for name in ("blk", "rng", "console", "serial", "balloon", "vsock", "net")}
