# SPDX-License-Identifier: Apache-2.0
"""Iothreads that look for work before they sleep. The clock stands still but for step(), so a thread that has begun to look does
so until it is stepped on."""

import struct

import pytest

import virtio as v

EVENT_IDX = 1 << 29
SOON, LATE = 2000, 100_000  # nanoseconds: within the 32768 that are looked for at most, and beyond


def drive(*options, thread="iothread,id=i0", aio="io_uring"):
    return ["-object", thread, "-drive", f"id=d0,file=$DISK,if=none,format=raw,direct=off,aio={aio}", *options,
            "-device", "virtio-blk-device,drive=d0" + (",iothread=i0" if "id=i0" in thread else "")]


def publish(queue):
    """A read that nobody is told of."""
    header, data = 0x400000, 0x500000
    struct.pack_into("<IIQ", queue.ram, header, v.BLK_IN, 0, 3)
    queue.publish(queue.chain([(header, 16, False), (data, 512, True), (data + 512, 1, True)]))


def asks(queue):
    """Does the ring ask for notifications (virtio 1.2 2.7.10)?"""
    if queue.features & EVENT_IDX:
        return struct.unpack_from("<H", queue.ram, queue.used + 4 + 8 * queue.size)[0] == queue.avail_idx
    return not struct.unpack_from("<H", queue.ram, queue.used)[0] & 1


def step(queue, ns):
    """Not before the thread waits: what it has answered it may not have come back from yet, and it counts from there."""
    queue.device.status()
    queue.vm.step(ns)


def looks(queue):
    """The thread waited so long for this, and would rather have looked."""
    step(queue, SOON)
    assert unseen(queue)
    queue.vm.until(lambda: not asks(queue), "a thread that looks")
    return True


def rests(queue, after=LATE):
    step(queue, after)
    queue.vm.until(lambda: asks(queue), "a thread that sleeps")
    return True


def seen(queue):
    publish(queue)
    queue.take()
    return True


def unseen(queue):
    publish(queue)
    before = queue.used_idx()
    for _ in range(3):
        queue.device.status()  # answered when all that can happen has happened
    assert queue.used_idx() == before
    queue.kick()
    queue.take()
    return True


@pytest.mark.parametrize("aio", ("io_uring", "threads"))
@pytest.mark.parametrize("features", (0, EVENT_IDX), ids=("flag", "event-idx"))
def test_a_thread_looks_while_it_is_worth_it(start, aio, features):
    vm = start(*drive(aio=aio))
    queue = v.find(vm, v.ID_BLK).start(features=features)
    assert asks(queue) and unseen(queue) and asks(queue)
    for _ in range(3):
        assert looks(queue)
        for _ in range(20):
            assert seen(queue)
        assert not asks(queue)
        assert rests(queue) and unseen(queue) and asks(queue)


def test_the_time_grows_and_shrinks_as_told(start):
    vm = start(*drive(thread="iothread,id=i0,poll-max-ns=100000,poll-grow=10,poll-shrink=1000"))
    queue = v.find(vm, v.ID_BLK).start()
    assert looks(queue) and rests(queue, 5000)  # beyond the first 4000
    assert unseen(queue)
    queue.vm.until(lambda: not asks(queue), "a thread that looks")
    for _ in range(20):
        step(queue, 39_000)  # 40000 are enough for that
        assert not asks(queue) and seen(queue)
    assert rests(queue, 200_000) and unseen(queue)
    assert rests(queue, 41)  # 40 are left


@pytest.mark.parametrize("thread", ("iothread,id=i0,poll-max-ns=0", "iothread,id=other"), ids=("told-not-to", "main"))
def test_some_never_look(start, thread):
    vm = start(*drive(thread=thread))
    queue = v.find(vm, v.ID_BLK).start()
    for _ in range(10):
        vm.step(SOON)
        assert asks(queue) and unseen(queue)


def test_told_while_it_runs(start):
    vm = start(*drive(thread="iothread,id=i0,poll-max-ns=0"))
    queue = v.find(vm, v.ID_BLK).start(features=EVENT_IDX)
    for _ in range(3):
        vm.qmp("qom-set", path="/objects/i0", property="poll-max-ns", value=50_000)
        assert looks(queue) and seen(queue)
        vm.qmp("qom-set", path="/objects/i0", property="poll-max-ns", value=0)
        assert rests(queue, SOON) and unseen(queue)


@pytest.mark.parametrize("how", ("reset", "stop", "ring"))
def test_a_queue_that_rests_is_not_looked_at(start, how):
    vm = start(*drive())
    device = v.find(vm, v.ID_BLK)
    queue = device.start(features=v.F_RING_RESET)
    assert looks(queue) and seen(queue)
    if how == "reset":
        device.reset()
    elif how == "ring":
        device.set(v.QUEUE_SEL, 0)
        device.set(v.QUEUE_RESET, 1)
    else:
        vm.qmp("stop")
        assert asks(queue)  # the driver would be right to notify
    publish(queue)
    before = queue.used_idx()
    for _ in range(3):
        device.status()
    assert queue.used_idx() == before
    if how == "stop":
        vm.qmp("cont")
        queue.take()


@pytest.mark.parametrize("jump", (0x8000, 0xffff, 17))
def test_a_ring_of_nonsense_breaks_the_device(start, jump):
    vm = start(*drive())
    device = v.find(vm, v.ID_BLK)
    queue = device.start()
    assert looks(queue) and seen(queue)
    queue.publish(index=queue.avail_idx + jump & 0xffff)
    vm.until(device.broken, "DEVICE_NEEDS_RESET")
    assert vm.qmp("query-status")["running"]
    queue = device.start()
    assert v.blk_do(queue, v.BLK_IN, 0, 512) == (v.BLK_OK, 513)
