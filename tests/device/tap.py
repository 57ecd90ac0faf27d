# SPDX-License-Identifier: Apache-2.0
"""A tap in a network namespace of its own. Both live as long as the descriptors do, and leave nothing behind."""

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import time

import pytest

TUNSETIFF = 0x400454ca
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x2, 0x1000, 0x4000, 0x100
SIOCSIFFLAGS, IFF_UP, SIOCSIFMTU = 0x8914, 0x1, 0x8922
CLONE_NEWNET = 0x40000000
PACKET_IGNORE_OUTGOING = 23
ETH_P_ALL = 3


def tun_device(folder):
    """Where there is a kernel with tun and a /dev without it, a node of our own."""
    if os.path.exists("/dev/net/tun"):
        return "/dev/net/tun"
    path = os.path.join(folder, "tun")
    os.mknod(path, 0o600 | 0o20000, os.makedev(10, 200))
    return path


def make(queues, folder):
    """Runs in a child: the descriptors of the tap's queues, and of a socket on the cable."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w", encoding="ascii") as f:
        f.write("1")  # so that nobody but the test sends
    flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (IFF_MULTI_QUEUE if queues > 1 else 0)
    path, taps = tun_device(folder), []
    for _ in range(queues):
        taps.append(os.open(path, os.O_RDWR | os.O_NONBLOCK))
        fcntl.ioctl(taps[-1], TUNSETIFF, struct.pack("16sH22x", b"tap0", flags))
    cable = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    request = struct.pack("16sh22x", b"tap0", IFF_UP)
    fcntl.ioctl(cable, SIOCSIFFLAGS, request)
    fcntl.ioctl(cable, SIOCSIFMTU, struct.pack("16si20x", b"tap0", 9000))
    cable.setsockopt(263, PACKET_IGNORE_OUTGOING, 1)  # SOL_PACKET
    cable.bind(("tap0", 0))
    return taps + [cable.detach()]


class Tap:
    def __init__(self, folder, queues=1):
        ours, theirs = socket.socketpair()
        child = os.fork()
        if not child:
            try:
                socket.send_fds(theirs, [b"\0\0"], make(queues, folder))
            except OSError as error:
                theirs.send(struct.pack("<H", error.errno or errno.EIO))
            finally:
                os._exit(0)
        theirs.close()
        data, fds, _, _ = socket.recv_fds(ours, 2, queues + 1)
        os.waitpid(child, 0)
        ours.close()
        if len(fds) != queues + 1:
            pytest.skip(f"no tap can be made here: {os.strerror(struct.unpack('<H', data)[0])}")
        self.fds = list(fds[:queues])
        self.cable = socket.socket(fileno=fds[queues])
        self.cable.setblocking(False)

    def send(self, frame):
        """A frame for the guest."""
        self.cable.send(frame)

    def frames(self):
        """What the guest has sent so far."""
        found = []
        while select.select([self.cable], [], [], 0)[0]:
            found.append(self.cable.recv(1 << 17))
        return found

    def frame(self, limit=30):
        """The next frame that the guest sends."""
        end = time.monotonic() + limit
        while not select.select([self.cable], [], [], 0.01)[0]:
            assert time.monotonic() < end, "waited in vain for a frame"
        return self.cable.recv(1 << 17)

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.cable.close()
