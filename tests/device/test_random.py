# SPDX-License-Identifier: Apache-2.0
"""Random chains and registers for each device. DEVICE_SEED repeats a run; DEVICE_SECONDS is the time for each device."""

import os
import random
import struct
import time

import pytest

import guest
import kinds
import layout
import virtio as v
from test_hostile import OUTSIDE, Victim

SECONDS = float(os.environ.get("DEVICE_SECONDS") or (6 if "san" in guest.STRATOVIRT else 2))
END = guest.MEMORY


class Chaos:
    def __init__(self, victim, seed):
        self.victim, self.kind, self.device, self.ram = victim, victim.kind, victim.device, victim.vm.ram
        self.rng = random.Random(seed)
        self.kicks = self.broken = self.answers = 0

    def address(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.75:
            return rng.choice((v.HEADER, v.DATA, v.STATUS_BYTE, kinds.AT, 0x500000, rng.randrange(0x200000, 0x700000)))
        if kind < 0.85:
            return END - rng.choice((0, 1, 2, 15, 16, 512, 4096))
        if kind < 0.95:
            return rng.choice(OUTSIDE)
        return rng.getrandbits(64)

    def length(self):
        return self.rng.choice((0, 1, 1, 8, 15, 16, 16, 17, 32, 511, 512, 512, 513, 4096, 65536, 1 << 20, 0x7fffffff,
                                0xffffffff, self.rng.getrandbits(32), self.rng.randrange(1, 4096)))

    def descriptors(self, at, count):
        rng = self.rng
        for i in range(count):
            flags = rng.choice((0, 0, v.WRITE, v.WRITE, v.NEXT, v.NEXT | v.WRITE, v.NEXT, v.NEXT | v.WRITE, v.INDIRECT,
                                rng.getrandbits(16)))
            following = rng.choice((i + 1, i + 1, i + 1, rng.randrange(count), rng.getrandbits(16)))
            struct.pack_into("<QIHH", self.ram, at + 16 * i, layout.gpa(self.address()), self.length(), flags, following & 0xffff)

    def request(self, queue):
        """A request that is nearly good: one or two fields of it are changed."""
        rng = self.rng
        buffers = self.kind.request(self.ram)
        if rng.random() < 0.7:
            self.kind.spoil(self.ram, rng)
        for _ in range(rng.randrange(3)):
            i = rng.randrange(len(buffers))
            addr, length, write = buffers[i]
            buffers[i] = rng.choice(((self.address(), length, write), (addr, self.length(), write),
                                     (addr, length, not write)))
        if rng.random() < 0.3:
            buffers.insert(rng.randrange(len(buffers) + 1), (self.address(), self.length(), rng.random() < 0.5))
        if rng.random() < 0.3 and queue.features & v.F_INDIRECT:
            queue.chain(buffers, table=0x500000)
            queue.put(0, 0x500000, 16 * len(buffers) + rng.choice((0, 0, 0, 0, -16, 16, 1)), v.INDIRECT)
            return 0
        return queue.chain(buffers)

    def registers(self):
        rng = self.rng
        for _ in range(rng.randrange(1, 6)):
            width = rng.choice((1, 2, 4, 4, 4, 4, 4, 8))
            self.device.set(self.device.anywhere(rng, width), rng.getrandbits(rng.choice((1, 4, 8, 8 * width))) &
                            (1 << 8 * width) - 1, width)

    def life(self):
        """From one reset to the next."""
        rng, device = self.rng, self.device
        features = rng.choice((0, v.F_INDIRECT, v.F_EVENT_IDX, v.F_INDIRECT | v.F_EVENT_IDX | v.F_RING_RESET))
        queue = device.start(rng.choice((4, 8, 16, 16)), features | self.kind.features, index=self.kind.index)
        for _ in range(rng.randrange(1, 8)):
            what = rng.random()
            if what < 0.6:
                queue.publish(self.request(queue))
            elif what < 0.85:
                self.descriptors(queue.desc, queue.size)
                self.descriptors(0x500000, 32)
                queue.publish(*[rng.randrange(queue.size) for _ in range(rng.randrange(1, 4))])
            elif what < 0.92:
                queue.publish(rng.getrandbits(16), index=rng.getrandbits(16))
            else:
                self.registers()
            device.set(v.QUEUE_NOTIFY, rng.choice((*[queue.index] * 5, 0, rng.getrandbits(32))))
            self.kicks += 1
            if device.broken():
                self.broken += 1
                break
        self.answers += queue.answered()


# The transport has little part in it: two cards stand for those on PCI.
CARDS = [(kinds.BY_NAME[name], "pci") for name in ("blk", "net")]


@pytest.mark.parametrize("kind, bus", [(kind, "mmio") for kind in kinds.ALL] + CARDS, ids=str)
def test_random_chains(start, kind, bus):
    seed = int(os.environ.get("DEVICE_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"DEVICE_SEED={seed}")
    victim = Victim(start, kind, bus)
    chaos = Chaos(victim, seed)
    end, lives = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        chaos.life()
        lives += 1
        if lives % 50 == 0:
            victim.other_works()
            victim.works()
    print(f"{lives} lives, {chaos.kicks} kicks, {chaos.broken} broken, {chaos.answers} answered")
    victim.other_works()
    victim.works()
    assert chaos.broken and chaos.answers, "the generator has lost its bite"
