# SPDX-License-Identifier: Apache-2.0
"""A vhost-user back end for tests: the other half of the conversation in src/virtio/vhost_user.c, and its rings.

    vhost_user.py SOCKET TAP        connects frames with a tap, as a server that takes one front end after the other

As a module it answers one connection, honestly or as a test would have it.
"""

import array
import fcntl
import mmap
import os
import select
import socket
import struct
import sys

GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL = 12, 13
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE = 15, 16, 17, 18

F_MRG_RXBUF, F_PROTOCOL, F_VERSION_1 = 1 << 15, 1 << 30, 1 << 32
PROTOCOL_MQ, PROTOCOL_REPLY_ACK = 1, 1 << 3
NEXT = 1
HEADER = 12


class Ring:
    def __init__(self):
        self.size = self.next = 0
        self.address = None
        self.kick = self.call = None
        self.enabled = False

    def close(self):
        for fd in (self.kick, self.call):
            if fd is not None:
                os.close(fd)
        self.kick = self.call = None


class BackEnd:
    """One connection. `offer` are device features beside the usual ones."""

    def __init__(self, sock, offer=F_MRG_RXBUF, protocol=PROTOCOL_MQ | PROTOCOL_REPLY_ACK, queues=4):
        self.sock, self.queues = sock, queues
        self.offer = offer | F_PROTOCOL | F_VERSION_1
        self.protocol = protocol
        self.features = None
        self.regions = []  # (guest address, user address, size, memory, offset of the region in it)
        self.rings = {}
        self.requests = []  # as they came
        self.owned = False

    def close(self):
        for ring in self.rings.values():
            ring.close()
        for _, _, _, memory, _ in self.regions:
            memory.close()
        self.regions = []
        self.sock.close()

    # --- The conversation ---

    def receive(self):
        """One message: (request, flags, payload, descriptors). None: the front end has gone."""
        fds = array.array("i")
        header, ancillary, _, _ = self.sock.recvmsg(12, socket.CMSG_SPACE(8 * 4))
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(data[:len(data) - len(data) % 4])
        if not header:
            return None
        request, flags, size = struct.unpack("=III", header)
        assert flags & 3 == 1 and size < 1000, (request, flags, size)
        payload = b""
        while len(payload) < size:
            payload += self.sock.recv(size - len(payload))
        return request, flags, payload, list(fds)

    def answer(self, request, value):
        self.sock.sendall(struct.pack("=IIIQ", request, 5, 8, value))

    def handle(self):
        """One message. False: the front end has gone."""
        message = self.receive()
        if message is None:
            return False
        request, flags, payload, fds = message
        self.requests.append(request)
        value = self.take(request, payload, fds)
        if value is not None:
            self.answer(request, value)
        elif flags & 8:
            self.answer(request, 0)
        return True

    def take(self, request, payload, fds):
        """Does what is asked; the answer of those that have one."""
        if request == GET_FEATURES:
            return self.offer
        if request == GET_PROTOCOL_FEATURES:
            return self.protocol
        if request == GET_QUEUE_NUM:
            return self.queues
        if request == SET_OWNER:
            self.owned = True
        elif request == SET_FEATURES:
            self.features = struct.unpack("=Q", payload)[0]
            assert not self.features & ~self.offer
        elif request == SET_PROTOCOL_FEATURES:
            assert not struct.unpack("=Q", payload)[0] & ~self.protocol
        elif request == SET_MEM_TABLE:
            self.map(payload, fds)
        elif request in (SET_VRING_KICK, SET_VRING_CALL):
            ring = self.ring(struct.unpack("=Q", payload)[0] & 0xff)
            name = "kick" if request == SET_VRING_KICK else "call"
            if getattr(ring, name) is not None:
                os.close(getattr(ring, name))
            setattr(ring, name, fds[0])
        elif request == SET_VRING_ADDR:
            index, _, desc, used, avail, _ = struct.unpack("=IIQQQQ", payload)
            self.ring(index).address = desc, avail, used
        else:
            index, number = struct.unpack("=II", payload)
            ring = self.ring(index)
            if request == SET_VRING_NUM:
                ring.size = number
            elif request == SET_VRING_BASE:
                ring.next = number
            elif request == SET_VRING_ENABLE:
                ring.enabled = bool(number)
            elif request == GET_VRING_BASE:
                ring.close()
                return index | ring.next << 32
            else:
                raise AssertionError(f"request {request}")
        return None

    def ring(self, index):
        return self.rings.setdefault(index, Ring())

    def map(self, payload, fds):
        for _, _, _, memory, _ in self.regions:
            memory.close()
        count = struct.unpack_from("=I", payload)[0]
        assert count == len(fds)
        self.regions = []
        for i, fd in enumerate(fds):
            base, size, user, offset = struct.unpack_from("=QQQQ", payload, 8 + 32 * i)
            self.regions.append((base, user, size, mmap.mmap(fd, offset + size), offset))
            os.close(fd)

    # --- The rings ---

    def find(self, address, user=False):
        """(memory, offset) of an address of the guest's or of the front end's. All tests have memory in one piece."""
        base, start, size, memory, offset = self.regions[0]
        where = address - (start if user else base)
        assert 0 <= where < size
        return memory, offset + where

    def load(self, form, address, user=True):
        memory, offset = self.find(address, user)
        return struct.unpack_from(form, memory, offset)[0]

    def live(self, index):
        ring = self.rings.get(index)
        return ring if ring and ring.kick is not None and ring.enabled and ring.address else None

    def pop(self, ring):
        """(head, [(guest address, length)]) of the next chain, or None."""
        desc, avail, _ = ring.address
        if self.load("<H", avail + 2) == ring.next:
            return None
        head = index = self.load("<H", avail + 4 + 2 * (ring.next % ring.size))
        ring.next = ring.next + 1 & 0xffff
        pieces = []
        while True:
            memory, offset = self.find(desc + 16 * index, True)
            address, length, flags, following = struct.unpack_from("<QIHH", memory, offset)
            pieces.append((address, length))
            if not flags & NEXT:
                return head, pieces
            index = following

    def push(self, ring, head, length):
        used = ring.address[2]
        memory, offset = self.find(used, True)
        index = struct.unpack_from("<H", memory, offset + 2)[0]
        struct.pack_into("<II", memory, offset + 4 + 8 * (index % ring.size), head, length)
        struct.pack_into("<H", memory, offset + 2, index + 1 & 0xffff)
        os.write(ring.call, struct.pack("=Q", 1))

    def sent(self, index=1):
        """The next frame that the guest sends, with its header, or None."""
        ring = self.live(index)
        chain = self.pop(ring) if ring else None
        if not chain:
            return None
        frame = b""
        for address, length in chain[1]:
            memory, offset = self.find(address)
            frame += memory[offset:offset + length]
        self.push(ring, chain[0], 0)
        return frame

    def give(self, frame, index=0):
        """A frame for the guest, without a header. False: it has no buffer for it."""
        ring = self.live(index)
        chain = self.pop(ring) if ring else None
        if not chain:
            return False
        data = bytes(10) + b"\1\0" + frame
        length = len(data)
        for address, size in chain[1]:
            memory, offset = self.find(address)
            part, data = data[:size], data[size:]
            memory[offset:offset + len(part)] = part
        assert not data
        self.push(ring, chain[0], length)
        return True

    def serve(self, tap):
        """Frames between the guest and a tap, until the front end goes."""
        while True:
            kicks = [ring.kick for ring in self.rings.values() if ring.kick is not None]
            ready, _, _ = select.select([self.sock, tap, *kicks], [], [])
            if self.sock in ready and not self.handle():
                return
            for kick in kicks:
                if kick in ready:
                    try:
                        os.read(kick, 8)
                    except OSError:
                        pass  # closed by what was handled just now
            while frame := self.sent():
                os.write(tap, frame[HEADER:])
            if tap in ready:
                self.give(os.read(tap, 65536))  # or it is lost, as on any network


def open_tap(name):
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH", name.encode(), 0x1002))  # TUNSETIFF: IFF_TAP | IFF_NO_PI
    return tap


def main(path, name):
    tap = open_tap(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        while True:
            end = BackEnd(listener.accept()[0])
            try:
                end.serve(tap)
            finally:
                end.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
