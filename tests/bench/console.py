# SPDX-License-Identifier: Apache-2.0
"""Bytes through a virtio console to whoever reads its socket (tests/guest/console_bench.c). What arrives is what counts: QEMU's
console drops what its socket does not take at once."""

import contextlib
import os
import re
import socket
import threading

import peers


def read_all(server, lengths):
    with server, server.accept()[0] as reader:
        while piece := reader.recv(1 << 20):
            lengths.append(len(piece))


def out(size):
    def measure(peer, folder):
        path = os.path.join(folder, "console")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen()
        lengths = []
        reader = threading.Thread(target=read_all, args=(server, lengths), daemon=True)
        reader.start()
        words = ["-chardev", f"socket,id=c0,path={path}", "-device", "virtio-serial-device", "-device", "virtconsole,chardev=c0"]
        output = peers.run_to_end(peers.command(peer, f"test=console-bench bs={size}", *words))
        reader.join(peers.LIMIT)
        rate, buffers = map(int, re.search(r"BENCH console .*MBps=(\d+) buffers=(\d+)", output).groups())
        return rate * sum(lengths) / (buffers * size)

    return measure


PAIR = (peers.OURS, peers.PEER)
MEASURES = {
    "console-4k": ("4 KiB buffers out of the guest, to a socket", "MB/s", True, out(4096), PAIR),
    "console-64k": ("64 KiB buffers", "MB/s", True, out(65536), PAIR),
}
