# SPDX-License-Identifier: Apache-2.0
"""What no driver should do. Each test carries the key of a bug of another VMM; README.md has the whole table.

A broken rule ends in DEVICE_NEEDS_RESET with a configuration interrupt, or in no harm; the other device goes on, and the
victim works again after a reset.
"""

import multiprocessing
import os
import random
import statistics
import struct
import subprocess
import time

import pytest

import guest
import kinds
import layout
import virtio as v
from test_virtio_blk import drive

END = guest.MEMORY
OUTSIDE = (END, END - 1, v.MMIO_BASE, v.MMIO_BASE + v.QUEUE_NOTIFY, v.MMIO_BASE + v.MMIO_STEP, *layout.ELSEWHERE, 1 << 52, 1 << 63,
           (1 << 64) - 1, (1 << 64) - 4096)


class Victim:
    def __init__(self, start, kind, bus="mmio"):
        self.kind = kind
        self.vm = start(*kind.options, "disk" if kind.id == v.ID_RNG else "rng", bus=bus)
        self.device = v.find(self.vm, kind.id)
        self.other = v.find(self.vm, v.ID_BLK if kind.id == v.ID_RNG else v.ID_RNG)
        self.other_queue = self.other.start(at=0x800000)
        self.works()

    def prepare(self, features=0, size=16):
        """A live device and a good request in descriptors 0 to 2."""
        self.queue = self.device.start(size, features | self.kind.features, index=self.kind.index)
        self.buffers = self.kind.request(self.vm.ram)
        self.queue.chain(self.buffers)
        return self.queue

    def works(self):
        queue = self.prepare()
        queue.publish(0)
        queue.kick()
        assert queue.take() == (0, self.kind.used)
        assert not self.device.broken()

    def other_works(self):
        if self.other.id == v.ID_RNG:
            assert self.other_queue.send([(0x900000, 16, True)]) == 16
        else:
            assert v.blk_do(self.other_queue, v.BLK_GET_ID, 0, 20) == (v.BLK_OK, 21)

    def judge(self, what, broken=True):
        """@broken None: whatever it is."""
        if broken is None:
            pass
        elif broken:
            self.vm.until(self.device.broken, f"{what}: DEVICE_NEEDS_RESET")
            self.vm.until(lambda: self.device.get(v.INTERRUPT_STATUS) & 2, f"{what}: a configuration interrupt")
        else:
            self.queue.take()
            assert not self.device.broken(), what
        self.other_works()
        self.works()

    def send(self, what, broken=True, head=0):
        self.queue.publish(head)
        self.queue.kick()
        self.judge(what, broken)


# An iothread is none of a transport's business.
PLACES = [(kind, "mmio") for kind in kinds.ALL] + [(kind, "pci") for kind in kinds.ALL if "iothread" not in str(kind)]


@pytest.fixture(params=PLACES, ids=lambda place: f"{place[0]}-{place[1]}")
def victim(start, request):
    return Victim(start, *request.param)


def test_late_queue_size(victim):
    """Every register written in a live device; the queue goes on as it was set up."""
    device = victim.device
    for register in [one for one in device.registers() if not device.governs(one)]:
        for value in (0, 1, 3, 0x8000, 0xffffffff):
            queue = victim.prepare()
            device.set(v.QUEUE_SEL, queue.index)
            device.set(register, value)
            queue.publish(0)
            queue.kick()
            queue.take()
            assert not device.broken(), f"{register} = {value:#x}"
    victim.other_works()


def test_state_machine_walk(victim):
    """Every register, in every status a driver can bring about, with values that hurt."""
    device = victim.device

    def broken():
        queue = victim.prepare()
        queue.put(0, 0, 0)
        queue.publish(0)
        queue.kick()
        victim.vm.until(device.broken, "DEVICE_NEEDS_RESET")

    def status(value):
        def bring():
            device.reset()
            device.driver_features(v.F_VERSION_1 | v.F_RING_RESET)
            for bits in (1, 3, 11, value):
                if bits & ~value == 0:
                    device.set(v.STATUS, bits)
        return bring

    states = [status(value) for value in (0, 1, 2, 3, 11, 15, 128, 131, 139, 143)] + [victim.prepare, broken]
    for bring in states:
        for i, register in enumerate(device.registers()):
            for value in (0, 1, 0xffff, 0x80000000, 0xffffffff):
                if not device.governs(register) or value & 0xff:  # a reset would end the state
                    device.set(register, value)
            if i % 8 == 0:
                bring()
        bring()
        for register in device.registers():
            if not device.governs(register):
                device.set(register, 0x00100000)
        device.set(v.QUEUE_SEL, victim.kind.index)
        device.set(v.QUEUE_NUM, 8)
        device.set(v.QUEUE_READY, 1)
        device.set(v.STATUS, v.LIVE)
        device.set(v.QUEUE_NOTIFY, victim.kind.index)
        victim.other_works()
        victim.works()


def test_notify_index(victim):
    for index in (victim.kind.queues, 64, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff):
        queue = victim.prepare()
        victim.device.set(v.QUEUE_NOTIFY, index)
        assert not queue.answered()
        victim.send(f"notify {index:#x}", broken=False)
    for prepare in (victim.device.reset, victim.device.negotiate):
        prepare()
        for index in (0, 1, victim.kind.index, 0xffffffff):
            victim.device.set(v.QUEUE_NOTIFY, index)
        assert not victim.device.broken()
    victim.works()


def test_ring_out_of_ram(victim):
    device, vm = victim.device, victim.vm
    for ring, align in ((v.QUEUE_DESC, 16), (v.QUEUE_DRIVER, 2), (v.QUEUE_DEVICE, 4)):
        places = [place & ~(align - 1) for place in OUTSIDE] + [END - align, 0x100000 + align // 2, 0x100001]
        for place in places:
            assert device.negotiate()
            queue = v.Queue(device, victim.kind.index, 16, 0x100000)
            device.set(v.QUEUE_SEL, queue.index)
            device.set(v.QUEUE_NUM, 16)
            device.set64(v.QUEUE_DESC, queue.desc)
            device.set64(v.QUEUE_DRIVER, queue.avail)
            device.set64(v.QUEUE_DEVICE, queue.used)
            device.set64(ring, place)
            device.set(v.QUEUE_READY, 1)
            device.set(v.STATUS, v.LIVE)
            assert device.get(v.QUEUE_READY) == 0 and device.broken(), f"{ring:#x} at {place:#x}"
            vm.until(lambda: device.get(v.INTERRUPT_STATUS) & 2, "a configuration interrupt")
            device.set(v.QUEUE_NOTIFY, queue.index)
    victim.other_works()
    victim.works()
    # The last place that is good.
    assert device.negotiate()
    queue = v.Queue(device, victim.kind.index, 16, 0x100000)
    queue.used = END - 136  # 6 + 8 * 16, and aligned
    queue.enable()
    assert device.get(v.QUEUE_READY) == 1


def test_zero_queue(victim):
    """Queues that were never set up, and sizes that are none."""
    device = victim.device
    largest = victim.kind.max_size
    for size in (0, 3, 6, 15, largest - 1, largest + 1, 2 * largest, 0x8000, 0x10000, 0x10010, 0xffffffff):
        if size > 0xffff and victim.vm.transport == "pci":
            continue  # where the register has 16 bits
        assert device.negotiate()
        queue = v.Queue(device, victim.kind.index, 16, 0x100000)
        queue.size = size
        queue.enable()
        device.set(v.STATUS, v.LIVE)
        assert device.get(v.QUEUE_READY) == 0 and device.broken(), f"size {size:#x}"
        device.set(v.QUEUE_NOTIFY, queue.index)
    assert device.negotiate()
    device.set(v.STATUS, v.LIVE)  # no queue at all
    for index in range(victim.kind.queues):
        device.set(v.QUEUE_NOTIFY, index)
    assert device.status() == v.LIVE
    device.reset()
    device.set(v.QUEUE_SEL, victim.kind.index)
    device.set(v.QUEUE_READY, 1)
    assert device.get(v.QUEUE_READY) == 0
    victim.other_works()
    victim.works()


def test_inflight_cap(victim):
    for index in (17, 18, 0x100, 0x7fff, 0x8000, 0xffff):
        victim.prepare()
        victim.queue.publish(index=index)
        victim.queue.kick()
        victim.judge(f"available index {index:#x}")
    for head in (16, 17, 0x8000, 0xffff):
        victim.prepare()
        victim.send(f"head {head:#x}", head=head)
    victim.prepare()
    victim.queue.publish(*[0] * 16)  # one head sixteen times
    victim.queue.kick()
    victim.judge("duplicate heads", broken=None)
    victim.prepare()
    victim.queue.publish(0)
    victim.queue.kick()
    victim.queue.take()
    victim.queue.publish(index=0)
    victim.queue.kick()
    victim.judge("an index that goes back")


def test_zero_len(victim):
    for i in range(3):
        victim.prepare()
        addr, _, write = victim.buffers[i]
        victim.buffers[i] = (addr, 0, write)
        victim.queue.chain(victim.buffers)
        victim.send(f"zero length at {i}")


def test_huge_len(victim):
    for i in range(3):
        for length in (0x7fffffff, 0x80000000, 0xffffffff, 0xfffff000, END):
            victim.prepare()
            addr, _, write = victim.buffers[i]
            victim.buffers[i] = (addr, length, write)
            victim.queue.chain(victim.buffers)
            victim.send(f"length {length:#x} at {i}")
        for addr, length in ((END - 1, 2), (END - 4096, 4097), ((1 << 64) - 1, 2), ((1 << 64) - 512, 0xffffffff)):
            victim.prepare()
            victim.buffers[i] = (addr, length, victim.buffers[i][2])
            victim.queue.chain(victim.buffers)
            victim.send(f"{length} bytes at {addr:#x}")


def test_reentrant_dma(victim):
    """Buffers in the device's own registers, in others', and everywhere else that is not RAM."""
    own = victim.device.base
    for addr in OUTSIDE + (own, own + v.QUEUE_NOTIFY, own + v.STATUS, victim.other.base + v.STATUS):
        for i in range(3):
            victim.prepare()
            if addr == END - 1 and victim.buffers[i][1] == 1:
                continue
            victim.buffers[i] = (addr, *victim.buffers[i][1:])
            victim.queue.chain(victim.buffers)
            victim.send(f"buffer {i} at {addr:#x}")


def test_desc_loop(victim):
    for last, following in ((0, 0), (1, 1), (2, 2), (2, 1), (2, 0), (1, 0)):
        queue = victim.prepare()
        addr, length, write = victim.buffers[last]
        queue.put(last, addr, length, v.NEXT | (v.WRITE if write else 0), following)
        victim.send(f"{last} leads to {following}")
    for following in (16, 17, 0x8000, 0xffff):
        queue = victim.prepare()
        addr, length, write = victim.buffers[1]
        queue.put(1, addr, length, v.NEXT | v.WRITE, following)
        victim.send(f"next is {following:#x}")
    for last, following in ((2, 0), (2, 1), (1, 1), (1, 3), (1, 0xffff)):
        queue = victim.prepare(v.F_INDIRECT)
        queue.chain(victim.buffers, table=0x500000)
        addr, length, write = victim.buffers[last]
        queue.put(last, addr, length, v.NEXT | (v.WRITE if write else 0), following, table=0x500000)
        queue.put(0, 0x500000, 48, v.INDIRECT)
        victim.send(f"indirect: {last} leads to {following}")


def test_nested_indirect(victim):
    for i in range(3):
        queue = victim.prepare(v.F_INDIRECT)
        queue.chain(victim.buffers, table=0x500000)
        queue.chain(victim.buffers, table=0x600000)
        queue.put(i, 0x600000, 48, v.INDIRECT, 0, table=0x500000)
        queue.put(0, 0x500000, 48, v.INDIRECT)
        victim.send(f"nested at {i}")
    for addr, length in ((0x500000, 0), (0x500000, 1), (0x500000, 15), (0x500000, 40), (0x500000, 0xfffffff0),
                         (0x500000, 0x200000), (END - 16, 32), (END, 16), (v.MMIO_BASE, 48), ((1 << 64) - 16, 48)):
        queue = victim.prepare(v.F_INDIRECT)
        queue.chain(victim.buffers, table=0x500000)
        queue.put(0, addr, length, v.INDIRECT)
        victim.send(f"a table of {length:#x} bytes at {addr:#x}")
    queue = victim.prepare(v.F_INDIRECT)
    queue.chain(victim.buffers, table=0x500000)
    queue.put(0, 0x500000, 48, v.INDIRECT | v.NEXT, 1)
    victim.send("indirect with next")
    queue = victim.prepare()
    queue.chain(victim.buffers, table=0x500000)
    queue.put(0, 0x500000, 48, v.INDIRECT)
    victim.send("indirect that was not negotiated")
    queue = victim.prepare(v.F_INDIRECT)
    middle = [victim.buffers[1][:1] + (1, True)] * 600
    queue.chain([victim.buffers[0], *middle, victim.buffers[2]], table=0x500000)
    queue.put(0, 0x500000, 16 * 602, v.INDIRECT)
    victim.send("an indirect chain longer than any queue of the device")
    queue = victim.prepare(v.F_INDIRECT)
    queue.chain(victim.buffers, table=0x500000)
    queue.put(0, 0x500000, 48, v.INDIRECT | v.WRITE)  # WRITE means nothing there
    victim.send("a good table", broken=False)


def test_chain_error(victim):
    """Chains of the wrong shape for their device."""
    for shape in victim.kind.shapes():
        queue = victim.prepare()
        queue.chain(shape)
        victim.send(f"{shape}")


# --- Time ---


def rewrite(ram, queue_desc, table, seed):
    """The other CPU of a guest: changes descriptors as fast as it can, until it is ended."""
    rng = random.Random(seed)
    good = [bytes(ram[queue_desc + 16 * i:queue_desc + 16 * i + 16]) for i in range(4)]
    bad = [struct.pack("<QIHH", layout.gpa(addr), length, flags, following)
           for addr in (v.DATA, END - 8, layout.ELSEWHERE[0], v.MMIO_BASE) for length in (1, 512, 0xffffffff)
           for flags in (0, v.NEXT, v.NEXT | v.WRITE, v.WRITE, v.INDIRECT) for following in (0, 1, 3, 0xffff)]
    while True:
        for _ in range(1000):
            i = rng.randrange(4)
            at = rng.choice((queue_desc, table)) + 16 * i
            ram[at:at + 16] = rng.choice(bad)
            ram[at:at + 16] = good[i]
        if os.getppid() == 1:
            return


def test_double_fetch(victim):
    """Descriptors, direct and indirect, that change while the device reads them."""
    seed = int(os.environ.get("DEVICE_SEED") or random.randrange(1 << 32))
    print(f"DEVICE_SEED={seed}")
    queue = victim.prepare(v.F_INDIRECT)
    queue.chain(victim.buffers, table=0x500000)
    process = multiprocessing.get_context("fork").Process(target=rewrite, args=(victim.vm.ram, queue.desc, 0x500000, seed))
    process.start()
    outcomes = {"answered": 0, "broken": 0}
    try:
        begin = time.monotonic()
        # A second, and longer where the two have not met yet.
        while time.monotonic() < begin + 1 or (not all(outcomes.values()) and time.monotonic() < begin + guest.LIMIT):
            if victim.device.broken():
                victim.device.negotiate(v.F_INDIRECT | victim.kind.features)
                fresh = v.Queue.__new__(v.Queue)
                fresh.__dict__.update(queue.__dict__, avail_idx=0, last_used=0)
                queue = fresh
                for at in queue.avail, queue.used:
                    queue.ram[at:at + 4] = bytes(4)
                queue.enable()
                victim.device.set(v.STATUS, v.LIVE)
                outcomes["broken"] += 1
            queue.publish(0)
            queue.kick()
            victim.vm.until(lambda: queue.answered() or victim.device.broken(), "an answer or an end")
            if queue.answered():
                queue.take()
                outcomes["answered"] += 1
    finally:
        process.kill()
        process.join()
    print(outcomes)
    assert outcomes["answered"] and outcomes["broken"], "the race was never run"
    victim.other_works()
    victim.works()


READS = slice(0x1000000, 0x1000000 + 32 * 0x10000)


def many_reads(queue):
    """32 reads of 64 KiB each, published."""
    for i in range(32):
        struct.pack_into("<IIQ", queue.ram, 0x400000 + 16 * i, v.BLK_IN, 0, 0)
        queue.chain([(0x400000 + 16 * i, 16, False), (READS.start + 0x10000 * i, 0x10000, True),
                     (0x410000 + i, 1, True)], first=3 * i)
        queue.publish(3 * i)


def nothing_comes(queue):
    vm, used = queue.vm, queue.used_idx()
    vm.ram[READS] = b"\xa5" * (READS.stop - READS.start)
    vm.ram[0x410000:0x410020] = b"\xa5" * 32
    for _ in range(20):
        vm.settle()
    assert queue.used_idx() == used
    assert vm.ram[0x410000:0x410020] == b"\xa5" * 32
    assert vm.ram[READS].count(b"\xa5") == READS.stop - READS.start


@pytest.mark.parametrize("aio", ("io_uring", "threads"))
@pytest.mark.parametrize("how", ("transport", "ring", "machine"))
def test_completion_after_free(start, aio, how):
    """Resets with requests in flight: afterwards nothing is written to the guest's memory."""
    vm = start(*drive(iothread=True, aio=aio))
    device = v.find(vm, v.ID_BLK)
    for _ in range(20):
        queue = device.start(size=128, features=v.F_RING_RESET)
        many_reads(queue)
        device.set(v.QUEUE_SEL, 0)
        notify = f"writel {device.base + v.QUEUE_NOTIFY:#x} 0\n".encode()
        if how == "machine":
            vm.send(notify)
            vm.qmp("system_reset")
            assert vm.reply() == "OK"
        else:
            register = v.STATUS if how == "transport" else v.QUEUE_RESET
            vm.send(notify + f"writel {device.base + register:#x} {0 if how == 'transport' else 1}\n".encode())
            assert [vm.reply(), vm.reply()] == ["OK", "OK"]
        nothing_comes(queue)
    queue = device.start()
    assert v.blk_do(queue, v.BLK_GET_ID, 0, 20) == (v.BLK_OK, 21)


def test_completion_after_free_by_unplug(start, disk):
    """A disk that is taken away with requests in flight (CVE-2026-45782)."""
    vm = start("rng")
    for turn in range(10):
        name = f"hot{turn}"
        vm.qmp("blockdev-add", **{"node-name": name, "driver": "raw", "file": {"driver": "file", "filename": str(disk)}})
        vm.qmp("device_add", driver="virtio-blk-mmio", id=name, addr="0x0", drive=name)
        device = next(device for device in v.walk(vm) if device.id == v.ID_BLK and device.get(v.CONFIG))
        queue = device.start(size=128)
        many_reads(queue)
        vm.send(f"writel {device.base + v.QUEUE_NOTIFY:#x} 0")
        vm.qmp("device_del", id=name)
        assert vm.reply() == "OK"
        nothing_comes(queue)
        assert device.get(v.CONFIG) == 0
        vm.qmp("blockdev-del", **{"node-name": name})


def test_io_hijack(start):
    """A ring that is refilled for ever leaves QMP answering."""
    vm = start("rng")
    device = v.find(vm, v.ID_RNG)
    queue = device.start(size=256)
    for i in range(256):
        queue.put(i, 0x300000, 65536, v.WRITE)
        struct.pack_into("<H", vm.ram, queue.avail + 4 + 2 * i, i)

    def refill(words):
        while os.getppid() != 1:
            words[(queue.avail + 2) // 2] = words[(queue.used + 2) // 2] + 256 & 0xffff

    process = multiprocessing.get_context("fork").Process(target=refill, args=(vm.words,))
    process.start()
    try:
        vm.until(lambda: any(vm.ram[queue.avail + 2:queue.avail + 4]), "the other CPU")
        vm.send(f"writel {device.base + v.QUEUE_NOTIFY:#x} 0")
        vm.until(queue.answered, "the first buffer")
        first, took = queue.used_idx(), []
        for _ in range(30):
            begin = time.monotonic()
            vm.qmp("query-status")
            took.append(time.monotonic() - begin)
        assert queue.used_idx() != first, "the ring does not move"
        assert statistics.median(took) < 0.1 and max(took) < 1, took
    finally:
        process.kill()
        process.join()
    assert vm.reply() == "OK"
    assert not device.broken()


# --- What is not in memory ---


def test_format_probe(start, disk):
    """A raw disk on which the guest writes the magic of another format stays a raw disk (CVE-2026-27211)."""
    vm = start("disk")
    queue = v.find(vm, v.ID_BLK).start()
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 0, 0, 16, 1 << 40, 0, 1, 0, 0, 0, 0, 0).ljust(512, b"\0")
    vm.ram[v.DATA:v.DATA + 512] = header
    assert v.blk_do(queue, v.BLK_OUT, 0, 512, write=False)[0] == v.BLK_OK
    assert v.blk_do(queue, v.BLK_FLUSH, 0)[0] == v.BLK_OK
    vm.process.terminate()
    vm.end(0)
    again = v.find(start("disk"), v.ID_BLK)
    assert again.get(v.CONFIG) | again.get(v.CONFIG + 4) << 32 == 2048
    queue = again.start()
    assert v.blk_do(queue, v.BLK_IN, 0, 512) == (v.BLK_OK, 513)
    assert bytes(queue.ram[v.DATA:v.DATA + 512]) == header


def test_elf_loop(tmp_path):
    """Kernels whose headers loop, wrap or promise too much are refused, soon, and do not end in a crash."""
    phdr = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0x100000, 0x1000, 0x1000, 0x1000)

    def elf(**fields):
        f = dict(phoff=64, phentsize=56, phnum=1, entry=0x100000) | fields
        return struct.pack("<4sBBBB8xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 2, 62, 1, f["entry"], f["phoff"], 0, 0, 64,
                           f["phentsize"], f["phnum"], 64, 0, 0)

    cases = [elf(), elf(phnum=0xffff) + phdr, elf(phoff=(1 << 64) - 8) + phdr, elf(phentsize=0) + phdr,
             elf() + struct.pack("<IIQQQQQQ", 1, 5, (1 << 64) - 4096, 0, 0x100000, 8192, 8192, 0),
             elf() + struct.pack("<IIQQQQQQ", 1, 5, 0, 0, (1 << 64) - 4096, 64, 1 << 63, 0),
             elf() + struct.pack("<IIQQQQQQ", 4, 4, 0, 0, 0, (1 << 64) - 1, (1 << 64) - 1, 4), b"\x7fELF", b"",
             bytes(0x1f1) + b"\xff" * 0x200, bytes(0x1fe) + b"\x55\xaa\xeb\x66HdrS" + b"\xff" * 0x400]
    for i, image in enumerate(cases):
        path = tmp_path / f"kernel{i}"
        path.write_bytes(image)
        done = subprocess.run([guest.STRATOVIRT, "-accel", "test", "-m", "128", "-kernel", str(path)],
                              stdin=subprocess.DEVNULL, text=True, stderr=subprocess.PIPE, timeout=guest.LIMIT)
        assert done.returncode == 1 and "kernel" in done.stderr, f"case {i}: {done.returncode} {done.stderr}"
