# SPDX-License-Identifier: Apache-2.0
"""virtio-rng's data path."""

import pytest

import virtio as v

pytestmark = pytest.mark.parametrize("transport", ("mmio", "pci"))


def test_buffers_are_filled(vm):
    queue = v.find(vm, v.ID_RNG).start()
    seen = set()
    for length in (1, 2, 16, 4096, 65536):
        vm.ram[0x300000:0x300000 + length + 8] = bytes(length + 8)
        assert queue.send([(0x300000, length, True)]) == length
        data = vm.ram[0x300000:0x300000 + length]
        assert length < 16 or data.count(0) < length / 2
        assert not any(vm.ram[0x300000 + length:0x300000 + length + 8])
        seen.add(bytes(data))
    assert len(seen) == 5


def test_a_buffer_in_pieces(vm):
    queue = v.find(vm, v.ID_RNG).start()
    assert queue.send([(0x300000 + 0x1000 * i, 7, True) for i in range(16)]) == 16 * 7


def test_a_large_buffer_is_filled_in_part(vm):
    queue = v.find(vm, v.ID_RNG).start()
    assert queue.send([(0x300000, 1 << 20, True)]) == 65536


def test_a_readable_buffer_breaks_the_device(vm):
    device = v.find(vm, v.ID_RNG)
    for chain in ([(0x300000, 8, False)], [(0x300000, 8, False), (0x301000, 8, True)]):
        queue = device.start()
        queue.publish(queue.chain(chain))
        queue.kick()
        assert device.broken() and device.get(v.INTERRUPT_STATUS) == 2
    device.start().send([(0x300000, 8, True)])


@pytest.mark.parametrize("source", ("rng-builtin", "rng-random,filename=/dev/random", "rng-random,filename=/dev/urandom",
                                    "rng-random,filename=$DISK"))
def test_the_rate_follows_the_clock(start, source):
    """The average of a minute is within 2 % of what max-bytes and period say, whatever the source and however large the
    buffers."""
    for max_bytes, period, buffer in ((64, 1000, 16), (5000, 100, 4096), (700, 10, 65536)):
        vm = start("-object", source.replace(",", ",id=r0,", 1) if "," in source else source + ",id=r0",
                   "-device", f"virtio-rng-device,rng=r0,max-bytes={max_bytes},period={period}")
        queue = v.find(vm, v.ID_RNG).start()
        seconds = 60 if max_bytes == 64 else 10
        total = 0
        while True:
            queue.publish(queue.chain([(0x300000, buffer, True)]))
            queue.kick()
            while not queue.answered():
                before = vm.step(0)
                assert vm.step() > before
            if vm.step(0) >= seconds * 10**9:
                break
            total += queue.take()[1]
        assert abs(total - seconds * max_bytes * 1000 / period) <= 0.02 * seconds * max_bytes * 1000 / period


def test_rx_stall(vm):
    """A ring that was full, and then empty, goes on when buffers come (CVE-2020-16843)."""
    queue = v.find(vm, v.ID_RNG).start(size=8)
    for turn in range(20):
        for _ in range(5):
            queue.kick()
        for i in range(8):
            queue.put(i, 0x300000 + 64 * i, 64, v.WRITE)
        queue.publish(*range(8))
        queue.kick()
        assert sorted(queue.take()[0] for _ in range(8)) == list(range(8))
