# SPDX-License-Identifier: Apache-2.0
"""A vsock stream by a driver that runs at native speed (tests/guest/vsock_bench.c). Ours ends in a unix socket; QEMU has the host
kernel's only, so that there are two columns where the machine has /dev/vhost-vsock: then both by vhost, too."""

import contextlib
import os
import re
import socket
import threading

import peers

VHOST = "/dev/vhost-vsock"
PORT = 5000
CID = 4242  # of the whole host where the kernel carries it


def drain(peer):
    while peer.recv(1 << 20):
        pass


def flood(peer):
    piece = bytes(1 << 20)
    with contextlib.suppress(OSError):  # the guest has had enough
        while True:
            peer.sendall(piece)


def echo(peer):
    with contextlib.suppress(OSError):
        while piece := peer.recv(1 << 20):
            peer.sendall(piece)


def serve(server, does):
    with server, server.accept()[0] as peer:
        does(peer)


def stream(how, does, pattern, vhost=False):
    def measure(peer, folder):
        path = os.path.join(folder, "vsock")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}_{PORT}")
        if vhost:
            server = socket.socket(socket.AF_VSOCK)
            server.bind((socket.VMADDR_CID_ANY, PORT))
            device = ["-device", f"vhost-vsock-device,guest-cid={CID}"]
        else:
            server = socket.socket(socket.AF_UNIX)
            server.bind(f"{path}_{PORT}")
            device = ["-object", "iothread,id=io0", "-device", f"virtio-vsock-device,guest-cid={CID},uds-path={path},iothread=io0"]
        server.listen()
        host = threading.Thread(target=serve, args=(server, does), daemon=True)
        host.start()
        output = peers.run_to_end(peers.command(peer, f"test=vsock-bench cid={CID} port={PORT} {how}", *device))
        host.join(peers.LIMIT)
        return int(re.search(rf"BENCH vsock-.* {pattern}=(\d+)", output)[1])

    return measure


def kinds(suffix, said, vhost, who):
    return {
        f"vsock-tx-4k{suffix}": (f"packets of 4 KiB sent{said}", "MB/s", True, stream("how=tx bs=4096", drain, "MBps", vhost), who),
        f"vsock-tx-64k{suffix}": (f"packets of 64 KiB sent{said}", "MB/s", True, stream("how=tx", drain, "MBps", vhost), who),
        f"vsock-rx{suffix}": (f"received{said}", "MB/s", True, stream("how=rx", flood, "MBps", vhost), who),
        f"vsock-ping{suffix}": (f"64 bytes there and back{said}", "ns", False,
                                stream("how=ping bs=64", echo, "round-ns", vhost), who),
    }


MEASURES = {
    **kinds("", ", to a unix socket", False, (peers.OURS,)),
    **(kinds("-vhost", ", vhost", True, (peers.OURS, peers.PEER)) if os.path.exists(VHOST) else {}),
}
