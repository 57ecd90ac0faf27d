# SPDX-License-Identifier: Apache-2.0
"""virtio-blk's data path: each request, each error, cut anywhere; with and without an iothread, both I/O engines."""

import struct

import pytest

import conftest
import guest
import virtio as v

pytestmark = pytest.mark.parametrize("transport", ("mmio", "pci"))
SECTORS = conftest.SECTORS
FIRST = struct.pack("<Q", 0) * 64


def drive(*options, iothread=False, **keys):
    extra = "".join(f",{key}={value}" for key, value in keys.items())
    words = ["-drive", f"id=d0,file=$DISK,format=raw,direct=off{extra}"]
    if iothread:
        words += ["-object", "iothread,id=i0"]
    words += ["-device", "virtio-blk-device,drive=d0,serial=disk-0" + (",iothread=i0" if iothread else "") +
              "".join("," + option for option in options)]
    return words


@pytest.fixture(params=("main", "iothread", "io_uring", "threads"))
def queue(start, request):
    words = {"main": drive(), "iothread": drive(iothread=True), "io_uring": drive(aio="io_uring"),
             "threads": drive(aio="threads")}[request.param]
    return v.find(start(*words), v.ID_BLK).start(size=64, features=0x200)


def test_read(queue):
    for sector, count in ((0, 1), (1, 1), (SECTORS - 1, 1), (0, 256), (7, 9)):
        assert v.blk_do(queue, v.BLK_IN, sector, 512 * count) == (v.BLK_OK, 512 * count + 1)
        want = b"".join(struct.pack("<Q", sector + i) * 64 for i in range(count))
        assert queue.ram[v.DATA:v.DATA + len(want)] == want


def test_write_and_flush(queue, disk):
    data = bytes(range(256)) * 8
    queue.ram[v.DATA:v.DATA + len(data)] = data
    assert v.blk_do(queue, v.BLK_OUT, 5, len(data), write=False) == (v.BLK_OK, 1)
    assert v.blk_do(queue, v.BLK_FLUSH, 0) == (v.BLK_OK, 1)
    assert disk.read_bytes()[5 * 512:5 * 512 + len(data)] == data


@pytest.mark.parametrize("direct", ("on", "off"))
@pytest.mark.parametrize("readonly", (False, True))
def test_an_image_that_somebody_else_opened(start, disk, direct, readonly):
    """Descriptors in sets open where paths are asked for."""
    with open(disk, "rb" if readonly else "r+b") as image, open("/dev/zero", "rb") as zeroes:
        sets = [word for n, f in enumerate((image, zeroes)) for word in ("-add-fd", f"set={n},fd={f.fileno()}")]
        words = [word.replace("$DISK", "/dev/fdset/0").replace("direct=off", f"direct={direct},readonly={'on' if readonly else 'off'}")
                 for word in drive()]
        vm = start(*sets, *words, "-object", "rng-random,id=r0,filename=/dev/fdset/1", "-device", "virtio-rng-device,rng=r0",
                   fds=(image.fileno(), zeroes.fileno()))
        queue = v.find(vm, v.ID_BLK).start()
        assert v.blk_do(queue, v.BLK_IN, 3, 512) == (v.BLK_OK, 513)
        assert queue.ram[v.DATA:v.DATA + 512] == struct.pack("<Q", 3) * 64
        assert v.blk_do(queue, v.BLK_OUT, 5, 512, write=False)[0] == (v.BLK_IOERR if readonly else v.BLK_OK)


def test_get_id(queue):
    assert v.blk_do(queue, v.BLK_GET_ID, 0, 20) == (v.BLK_OK, 21)
    assert queue.ram[v.DATA:v.DATA + 20] == b"disk-0".ljust(20, b"\0")


def test_write_zeroes(start, disk):
    device = v.find(start(*drive()), v.ID_BLK)
    queue = device.start(features=1 << 14)
    queue.ram[v.DATA:v.DATA + 16] = struct.pack("<QII", 1, 3, 0)
    assert v.blk_do(queue, v.BLK_WRITE_ZEROES, 0, 16, write=False) == (v.BLK_OK, 1)
    data = disk.read_bytes()
    assert data[:512] == FIRST and not any(data[512:2048]) and data[2048:2056] == struct.pack("<Q", 4)
    for sector, sectors, flags, status in ((SECTORS, 1, 0, v.BLK_IOERR), (0, 0xffffffff, 0, v.BLK_IOERR),
                                           (0, 1, 2, v.BLK_UNSUPP), ((1 << 64) - 1, 1, 0, v.BLK_IOERR)):
        queue.ram[v.DATA:v.DATA + 16] = struct.pack("<QII", sector, sectors, flags)
        assert v.blk_do(queue, v.BLK_WRITE_ZEROES, 0, 16, write=False)[0] == status
    for length in (1, 15, 17, 32):
        assert v.blk_do(queue, v.BLK_WRITE_ZEROES, 0, length, write=False)[0] == v.BLK_IOERR


@pytest.mark.parametrize("sector, length", ((SECTORS, 512), (SECTORS - 1, 1024), ((1 << 64) - 1, 512), (1 << 55, 512),
                                            (0, 511), (0, 1), (1 << 63, 512)))
def test_requests_outside_the_disk_are_errors(vm, disk, sector, length):
    queue = v.find(vm, v.ID_BLK).start()
    before = disk.read_bytes()
    assert v.blk_do(queue, v.BLK_IN, sector, length) == (v.BLK_IOERR, 1)
    assert v.blk_do(queue, v.BLK_OUT, sector, length, write=False) == (v.BLK_IOERR, 1)
    assert disk.read_bytes() == before


def test_unknown_requests_are_unsupported(vm):
    queue = v.find(vm, v.ID_BLK).start()
    for kind in (2, 3, 5, 6, 7, 9, 10, 12, 14, 0x80000000, 0xffffffff):
        assert v.blk_do(queue, kind, 0, 512) == (v.BLK_UNSUPP, 1)


def test_a_read_only_disk_stays_as_it_is(start, disk):
    device = v.find(start(*drive(readonly="on")), v.ID_BLK)
    assert device.offered() & (1 << 5)
    queue = device.start()
    before = disk.read_bytes()
    for kind, length in ((v.BLK_OUT, 512), (v.BLK_WRITE_ZEROES, 16), (v.BLK_DISCARD, 16)):
        assert v.blk_do(queue, kind, 0, length, write=False)[0] == v.BLK_IOERR
    assert v.blk_do(queue, v.BLK_IN, 0, 512)[0] == v.BLK_OK
    assert disk.read_bytes() == before


def test_split_header(vm):
    """The header and the status byte cut at every place (CVE-2019-18960)."""
    queue = v.find(vm, v.ID_BLK).start()
    for pieces in v.cuts(v.HEADER, 16):
        v.blk_request(queue, v.BLK_IN, 3, 512)
        queue.ram[v.DATA:v.DATA + 512] = bytes(512)
        chain = [(addr, length, False) for addr, length in pieces]
        assert queue.send(chain + [(v.DATA, 512, True), (v.STATUS_BYTE, 1, True)]) == 513
        assert queue.ram[v.STATUS_BYTE] == v.BLK_OK
        assert queue.ram[v.DATA:v.DATA + 512] == struct.pack("<Q", 3) * 64
    # Header and data of a write in one buffer, cut anywhere; data and status of a read in one.
    for cut in list(range(1, 20)) + [100, 511, 527]:
        struct.pack_into("<IIQ", queue.ram, v.DATA, v.BLK_OUT, 0, 9)
        queue.ram[v.DATA + 16:v.DATA + 528] = bytes([cut & 0xff]) * 512
        queue.ram[v.STATUS_BYTE] = 0xff
        assert queue.send([(v.DATA, cut, False), (v.DATA + cut, 528 - cut, False), (v.STATUS_BYTE, 1, True)]) == 1
        assert queue.ram[v.STATUS_BYTE] == v.BLK_OK
    for cut in list(range(1, 20)) + [100, 511, 512]:
        v.blk_request(queue, v.BLK_IN, 3, 512)
        queue.ram[v.DATA:v.DATA + 513] = b"\xff" * 513
        assert queue.send([(v.HEADER, 16, False), (v.DATA, cut, True), (v.DATA + cut, 513 - cut, True)]) == 513
        assert queue.ram[v.DATA:v.DATA + 513] == struct.pack("<Q", 3) * 64 + b"\0"


def test_many_at_once_and_indirect(queue):
    vm, device = queue.vm, queue.device
    queue = device.start(size=64, features=v.F_INDIRECT | v.F_EVENT_IDX)
    for turn in range(5):
        heads = []
        for i in range(64):
            header, status, data, table = 0x400000 + 32 * i, 0x410000 + i, 0x420000 + 512 * i, 0x450000 + 64 * i
            struct.pack_into("<IIQ", vm.ram, header, v.BLK_IN, 0, i + turn)
            vm.ram[status] = 0xff
            queue.chain([(header, 16, False), (data, 512, True), (status, 1, True)], table=table)
            queue.put(i, table, 48, v.INDIRECT)
            heads.append(i)
        queue.publish(*heads)
        queue.kick()
        assert sorted(queue.take()[0] for _ in heads) == heads
        for i in heads:
            assert vm.ram[0x410000 + i] == v.BLK_OK
            assert vm.ram[0x420000 + 512 * i:0x420000 + 512 * i + 8] == struct.pack("<Q", i + turn)


def test_throttling_follows_the_clock(start):
    vm = start(*drive(**{"throttling.iops-total": 10}))
    queue = v.find(vm, v.ID_BLK).start(size=64)
    for i in range(20):
        struct.pack_into("<IIQ", vm.ram, 0x400000 + 32 * i, v.BLK_IN, 0, i)
        queue.chain([(0x400000 + 32 * i, 16, False), (0x410000 + 1024 * i, 513, True)], first=2 * i)
        queue.publish(2 * i)
    queue.kick()
    vm.until(queue.answered, "the first one, which goes through at once")
    end = 0
    while queue.used_idx() < 20:
        seen = queue.used_idx()
        end = vm.step()
        vm.until(lambda: queue.used_idx() > seen, "the next one")
    assert 10**9 * 19 / 10 * 0.8 <= end <= 10**9 * 19 / 10 * 1.2


def put(queue, slot, kind, sector=0, length=512):
    """Hands over a request whose buffers are the slot's own; it is not waited for."""
    vm, header, at = queue.vm, 0x400000 + 32 * slot, 0x410000 + 1024 * slot
    struct.pack_into("<IIQ", vm.ram, header, kind, 0, sector)
    data = [(at + 1, length, kind == v.BLK_IN)] if length else []
    queue.publish(queue.chain([(header, 16, False), *data, (at, 1, True)], first=3 * slot))


def answers(queue):
    """The slots that are answered, in order; nothing is waited for but for the host."""
    queue.vm.settle()
    found = []
    while queue.answered():
        found.append(queue.take()[0] // 3)
    return found


def exhaust(queue, kind):
    """A long request that the bucket, once full, lets pass; from then on it is empty for hours."""
    assert v.blk_do(queue, kind, 0, 1 << 16, write=kind == v.BLK_IN)[0] == v.BLK_OK


@pytest.mark.parametrize("limit,slow,fast", (("throttling.bps-total", (v.BLK_IN, v.BLK_OUT), ()),
                                             ("throttling.bps-read", (v.BLK_IN,), (v.BLK_OUT,)),
                                             ("throttling.bps-write", (v.BLK_OUT,), (v.BLK_IN,))))
def test_who_waits_for_a_limit(start, limit, slow, fast):
    """Flushes never do, nor does what another limit is for."""
    queue = v.find(start(*drive(aio="threads", **{limit: 1})), v.ID_BLK).start(size=64, features=0x200)
    exhaust(queue, slow[0])
    for slot in range(10):
        put(queue, slot, slow[slot % len(slow)])
    queue.kick()
    for slot, kind in enumerate((v.BLK_FLUSH, v.BLK_GET_ID, *fast), 10):
        put(queue, slot, kind, length={v.BLK_FLUSH: 0, v.BLK_GET_ID: 20}.get(kind, 512))
        queue.kick()
        assert queue.take()[0] == 3 * slot
    queue.vm.step(3600 * 10**9)
    assert answers(queue) == []
    # Lifted, and all of them are done.
    queue.vm.qmp("block_set_io_throttle", device="d0", bps=0, bps_rd=0, bps_wr=0, iops=0, iops_rd=0, iops_wr=0)
    assert sorted(queue.take()[0] // 3 for _ in range(10)) == list(range(10))


def test_reads_and_writes_take_turns(start):
    queue = v.find(start(*drive(aio="threads", **{"throttling.iops-total": 10})), v.ID_BLK).start(size=128)
    for slot in range(40):  # all the writes come first
        put(queue, slot, v.BLK_OUT if slot < 20 else v.BLK_IN)
    queue.kick()
    order = [queue.take()[0] >= 60]
    while len(order) < 40:
        queue.vm.step(10**8)
        order.append(queue.take()[0] >= 60)
    for i in range(2, 36, 2):
        assert abs(sum(order[:i]) - i / 2) <= 2, order


def test_what_is_held_back_survives_stop_and_cont(start, disk):
    vm = start(*drive(aio="threads", **{"throttling.bps-total": 1}))
    queue = v.find(vm, v.ID_BLK).start(size=64)
    exhaust(queue, v.BLK_OUT)
    for slot in range(10):
        put(queue, slot, v.BLK_OUT, sector=slot)
        vm.ram[0x410001 + 1024 * slot:0x410201 + 1024 * slot] = bytes([slot + 1]) * 512
    queue.kick()
    for _ in range(3):
        vm.qmp("stop")
        vm.step(3600 * 10**9)
        assert answers(queue) == []
        vm.qmp("cont")
        vm.step(3600 * 10**9)
        assert answers(queue) == []
    vm.qmp("block_set_io_throttle", device="d0", bps=0, bps_rd=0, bps_wr=0, iops=0, iops_rd=0, iops_wr=0)
    assert sorted(queue.take()[0] // 3 for _ in range(10)) == list(range(10))
    assert disk.read_bytes()[:5120] == b"".join(bytes([slot + 1]) * 512 for slot in range(10))


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_Dirty"))


def test_inflight_memory(start):
    """Thousands of requests of hundreds of pieces each, none of which may go on, take no memory without end."""
    vm = start(*drive("num-queues=4", "queue-size=1024", aio="threads", **{"throttling.bps-total": 1}))
    device = v.find(vm, v.ID_BLK)
    assert device.negotiate(1 << 12 | v.F_INDIRECT)
    queues = {i: v.Queue(device, i, 1024, 0x1000000 + 0x10000 * i) for i in range(4)}
    for queue in queues.values():
        queue.enable()
    device.set(v.STATUS, v.LIVE)
    exhaust(queues[0], v.BLK_IN)
    table, pieces = 0x700000, 896
    struct.pack_into("<IIQ", vm.ram, 0x400000, v.BLK_IN, 0, 0)
    queues[0].chain([(0x400000, 16, False), *[(0x410000 + 4 * i, 4, True) for i in range(pieces)], (0x401000, 1, True)],
                    table=table)
    before = private_kib(vm.process.pid)
    for queue in queues.values():
        for head in range(1024):
            queue.put(head, table, 16 * (pieces + 2), v.INDIRECT)
        queue.publish(*range(1024))
        queue.kick()
    vm.step(1)
    assert [queue.used_idx() for queue in queues.values()] == [1, 0, 0, 0]
    grown = private_kib(vm.process.pid) - before
    assert grown < 16 << 10 or "asan" in guest.STRATOVIRT, f"{grown} KiB"
    vm.qmp("block_set_io_throttle", device="d0", bps=0, bps_rd=0, bps_wr=0, iops=0, iops_rd=0, iops_wr=0)
    for queue in queues.values():
        assert sorted(queue.take()[0] for _ in range(1024)) == list(range(1024))
