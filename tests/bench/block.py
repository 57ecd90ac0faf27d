# SPDX-License-Identifier: Apache-2.0
"""virtio-blk by a driver that runs at native speed (tests/guest/blk_bench.c), its disk in an iothread."""

import os
import re

import peers

SIZE = 64 << 20


def image_of(folder):
    """Each sector begins and ends with its own number, which the guest checks."""
    path = os.path.join(folder, "disk")
    if not os.path.exists(path):
        with open(path, "wb") as f:
            for i in range(SIZE // 512):
                f.write(i.to_bytes(8, "little") * 64)
    with open(path, "rb") as f:
        os.fsync(f.fileno())  # what the run before has written is not this one's to wait for
    return path


def block(append, *, cpus=1, **keys):
    def measure(peer, folder):
        words = peers.disk(peer, image_of(folder), **keys)
        output = peers.run_to_end(peers.command(peer, f"test=blk-bench ms=1000 {append}", *words, cpus=cpus))
        return int(re.search(r"BENCH blk-\S+ .*iops=(\d+)", output)[1])

    return measure


def per_request(append, what):
    """Of a guest that sleeps meanwhile: microseconds of processor time a request, the guest's own included; or interrupts."""

    def measure(peer, folder):
        begin = os.times()
        output = peers.run_to_end(peers.command(peer, f"test=blk-bench ms=1000 irq=1 {append}", *peers.disk(peer, image_of(folder))))
        end = os.times()
        iops, interrupts = re.search(r"BENCH blk-\S+ .*iops=(\d+) .*interrupts=(\d+)", output).groups()
        if what == "interrupts":
            return 1000 * int(interrupts) / int(iops)
        return 1e6 * (end.children_user + end.children_system - begin.children_user - begin.children_system) / int(iops)

    return measure


PAIR = (peers.OURS, peers.PEER)
MEASURES = {
    "blk-4k": ("4 KiB random reads, depth 32, page cache, io_uring", "IOPS", True, block(""), PAIR),
    "blk-4k-d1": ("the same, depth 1", "IOPS", True, block("depth=1"), PAIR),
    "blk-4k-d128": ("the same, depth 128", "IOPS", True, block("depth=128"), PAIR),
    "blk-4k-irq": ("depth 32, the guest sleeps for interrupts", "IOPS", True, block("irq=1"), PAIR),
    "blk-4k-irq-d1": ("depth 1, the guest sleeps for interrupts", "IOPS", True, block("irq=1 depth=1"), PAIR),
    "blk-4k-cpu": ("depth 32, asleep: processor time a request", "µs", False, per_request("", "cpu"), PAIR),
    "blk-4k-interrupts": ("depth 32, asleep: interrupts of 1000 requests", "", False, per_request("", "interrupts"), PAIR),
    "blk-4k-4q": ("four queues, depth 8 in each, one CPU", "IOPS", True, block("queues=4 depth=8", queues=4), PAIR),
    "blk-4k-4q-d32": ("four queues, depth 32 in each, one CPU", "IOPS", True, block("queues=4", queues=4), PAIR),
    "blk-4k-4q-irq": ("four queues, depth 8 in each, one CPU that sleeps for interrupts", "IOPS", True,
                      block("queues=4 depth=8 irq=1", queues=4), PAIR),
    "blk-4k-4q-cpus": ("four queues, depth 8 in each, a CPU for each", "IOPS", True,
                       block("queues=4 depth=8 cpus=4", queues=4, cpus=4), PAIR),
    "blk-4k-threads": ("depth 32, a pool of threads", "IOPS", True, block("", aio="threads"), PAIR),
    "blk-4k-threads-d1": ("depth 1, a pool of threads", "IOPS", True, block("depth=1", aio="threads"), PAIR),
    "blk-4k-direct": ("depth 32, direct I/O", "IOPS", True, block("", cache="none"), PAIR),
    "blk-4k-direct-d1": ("depth 1, direct I/O", "IOPS", True, block("depth=1", cache="none"), PAIR),
    "blk-4k-write": ("4 KiB random writes, depth 32", "IOPS", True, block("write=1"), PAIR),
    "blk-4k-write-d1": ("4 KiB random writes, depth 1", "IOPS", True, block("write=1 depth=1"), PAIR),
    "blk-64k": ("64 KiB random reads, depth 16", "IOPS", True, block("bs=65536 depth=16"), PAIR),
    "blk-128k-seq": ("128 KiB sequential reads, depth 8", "IOPS", True, block("bs=131072 depth=8 seq=1"), PAIR),
    "blk-128k-seq-d1": ("the same, depth 1", "IOPS", True, block("bs=131072 depth=1 seq=1"), PAIR),
    "blk-128k-seq-d32": ("the same, depth 32", "IOPS", True, block("bs=131072 depth=32 seq=1"), PAIR),
}
