# SPDX-License-Identifier: Apache-2.0
"""The process is killed in the middle of writes and flushes, at a random moment: what was acknowledged is in the image.

With a power failure on top - writes that no fdatasync() has covered are taken back, each or not as dice fall - what was flushed
is. CRASHES says how often; the seed of each is its number.
"""

import os
import random
import struct
import threading

import pytest

import conftest
import faults
import guest
import virtio as v

CRASHES = int(os.environ.get("CRASHES", "10"))  # of each kind
SECTOR, SLOTS, LONGEST = 512, 12, 8
HEADERS, STATUSES, BUFFERS = 0x400000, 0x410000, 0x420000
CONFIG_WCE = 1 << 11


def content(number):
    return struct.pack("<Q", number) * (SECTOR // 8)


class Workload:
    """Writes of up to eight sectors and flushes, several at a time; those under way do not overlap."""

    def __init__(self, queue, rng, flushes=True):
        self.queue, self.rng, self.flushes = queue, rng, flushes
        self.number = 1 << 32
        self.free = list(range(SLOTS))
        self.under_way = {}  # slot: ("write", first sector, numbers) or ("flush", what it covers)
        # Of each sector: all that was written since it was last known to be stable, in order, and how many are acknowledged.
        self.versions = {s: [[s], 1] for s in range(conftest.SECTORS)}
        self.stable = {s: 0 for s in range(conftest.SECTORS)}  # index of the version that the last flush covers

    def submit(self):
        rng, slot = self.rng, self.free.pop()
        header, status, at = HEADERS + 64 * slot, STATUSES + slot, BUFFERS + 8192 * slot
        if self.flushes and rng.random() < 0.15:
            covers = {s: acked - 1 for s, (_, acked) in self.versions.items() if acked > 1}
            self.under_way[slot] = ("flush", covers, None)
            kind, sector, buffers = v.BLK_FLUSH, 0, []
        else:
            busy = {first + i for what, first, numbers in self.under_way.values() if what == "write" for i in range(len(numbers))}
            while True:
                count = rng.randint(1, LONGEST)
                sector = rng.randrange(64)  # few, so that they are written again and again
                if not busy & set(range(sector, sector + count)):
                    break
            numbers = [self.number + i for i in range(count)]
            self.number += count
            for i, number in enumerate(numbers):
                self.versions[sector + i][0].append(number)
            self.queue.ram[at:at + SECTOR * count] = b"".join(map(content, numbers))
            self.under_way[slot] = ("write", sector, numbers)
            kind, buffers = v.BLK_OUT, [(at, SECTOR * count, False)]
        struct.pack_into("<IIQ", self.queue.ram, header, kind, 0, sector)
        self.queue.ram[status] = 0xff
        self.queue.publish(self.queue.chain([(header, 16, False), *buffers, (status, 1, True)], first=3 * slot))

    def collect(self):
        """What is answered so far; also when the VMM is dead."""
        while self.queue.answered():
            slot = self.queue.take()[0] // 3
            assert self.queue.ram[STATUSES + slot] == v.BLK_OK
            what, first, numbers = self.under_way.pop(slot)
            self.free.append(slot)
            if what == "flush":
                for sector, index in first.items():
                    self.stable[sector] = max(self.stable[sector], index)
                continue
            for i, number in enumerate(numbers):
                numbers_so_far, _ = self.versions[first + i]
                self.versions[first + i][1] = numbers_so_far.index(number) + 1

    def run(self):
        """Until the VMM is gone."""
        vm = self.queue.vm
        try:
            while True:
                for _ in range(self.rng.randint(1, 4)):
                    if self.free:
                        self.submit()
                self.queue.kick()
                if not self.free:
                    vm.until(self.queue.answered, "a request")
                self.collect()
        except (guest.Ended, OSError):
            vm.end(-9)
        self.collect()

    def check(self, image, only_flushed):
        for sector, (numbers, acked) in self.versions.items():
            first = self.stable[sector] if only_flushed else acked - 1
            have = image[SECTOR * sector:SECTOR * (sector + 1)]
            assert have in [content(number) for number in numbers[first:]], \
                f"sector {sector}: {struct.unpack_from('<Q', have)[0]:#x} is none of {[hex(n) for n in numbers[first:]]}"


def power_failure(image, journal, rng):
    """Takes back, sector by sector, some of the writes that were not synced when the power failed."""
    pending = []  # (number, offset, old data), in order
    at = 0
    while at + 24 <= len(journal):
        kind, length, offset, number = struct.unpack_from("<IIQQ", journal, at)
        data = journal[at + 24:at + 24 + length]
        at += 24 + length
        if at > len(journal):
            break  # the process ended in the middle: the write itself had not begun
        if kind == 0:
            pending.append((number, offset, data))
        else:
            under_way = struct.unpack(f"<{length // 8}Q", data)
            pending = [p for p in pending if p[0] > number or p[0] in under_way]
    image = bytearray(image)
    lost = {}
    for number, offset, data in pending:
        for i in range(0, len(data), SECTOR):
            lost.setdefault(offset + i, []).append(data[i:i + SECTOR])
    for offset, olds in lost.items():
        back = rng.randint(0, len(olds))
        if back < len(olds):
            image[offset:offset + SECTOR] = olds[back]
    return bytes(image), len(lost)


KINDS = {
    "threads": ("threads", {}, True), "io_uring": ("io_uring", {}, True),
    "iothread": ("io_uring", {"iothread": True}, True),
    "unsafe": ("threads", {"cache": "unsafe"}, True),
    "write-through": ("threads", {"cache": "writethrough"}, False),
}


def crash(start, disk, folder, kind, seed):
    """One run until it is killed. (sectors acknowledged, sectors that a power failure took back)"""
    aio, more, flushes = KINDS[kind]
    rng = random.Random(seed)
    disk.write_bytes(b"".join(map(content, range(conftest.SECTORS))))
    journal = folder / f"journal-{kind}-{seed}"
    env = {**faults.Faults(folder).env, "FAULT_JOURNAL": str(journal)} if aio == "threads" else {}
    cache = f"cache={more['cache']}" if "cache" in more else "direct=off"
    vm = start("-object", "iothread,id=i0", "-drive", f"id=d0,file={disk},format=raw,aio={aio},{cache}",
               "-device", "virtio-blk-device,drive=d0" + (",iothread=i0" if "iothread" in more else ""), env=env, qmp=False)
    work = Workload(v.find(vm, v.ID_BLK).start(size=64, features=1 << 9), rng, flushes)
    timer = threading.Timer(rng.uniform(0, 0.1), vm.process.kill)
    timer.start()
    work.run()
    timer.join()
    image, lost = disk.read_bytes(), 0
    work.check(image, only_flushed=False)
    if aio == "threads":
        image, lost = power_failure(image, journal.read_bytes(), rng)
        work.check(image, only_flushed=flushes)
    return sum(acked - 1 for _, acked in work.versions.values()), lost


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "unsafe"])
def test_kill_9(start, disk, tmp_path, kind):
    results = [crash(start, disk, tmp_path, kind, seed) for seed in range(CRASHES)]
    assert sum(acknowledged for acknowledged, _ in results) > 0
    assert KINDS[kind][0] != "threads" or sum(lost for _, lost in results) > 0, "the journal is of no use"


def test_the_check_would_notice(start, disk, tmp_path):
    """Flushes that are ignored lose data in a power failure."""
    with pytest.raises(AssertionError, match="is none of"):
        for seed in range(100):
            crash(start, disk, tmp_path, "unsafe", seed)
