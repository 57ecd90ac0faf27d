# SPDX-License-Identifier: Apache-2.0
"""What comes of errors of the host: the guest is told, or the VM stops until it is seen to; nothing ends, nothing is lost."""

import errno
import os
import random
import struct
import subprocess

import pytest

import faults as f
import guest
import kinds
import virtio as v
from test_virtio_net import Driver, frame, pattern

ENGINES = ("threads", "io_uring")
FLUSH, CONFIG_WCE = 1 << 9, 1 << 11


@pytest.fixture
def faults(tmp_path):
    return f.Faults(tmp_path)


def drive(aio="threads", device="", **keys):
    extra = "".join(f",{key}={value}" for key, value in keys.items())
    return ["-drive", f"id=d0,file=$DISK,format=raw,direct=off,aio={aio}{extra}",
            "-device", f"virtio-blk-device,id=b0,drive=d0{device}"]


@pytest.fixture
def disk_queue(start, faults):
    """disk_queue(...): queue 0 of a disk with these options."""

    def make(*args, features=FLUSH, **keys):
        vm = start(*drive(*args, **keys), env=faults.env)
        vm.qmp("query-status")  # so that events are heard
        return v.find(vm, v.ID_BLK).start(size=64, features=features)

    return make


def read(queue, sector=0, length=4096):
    return v.blk_do(queue, v.BLK_IN, sector, length)[0]


def write(queue, sector=0, data=b"w" * 4096):
    queue.ram[v.DATA:v.DATA + len(data)] = data
    return v.blk_do(queue, v.BLK_OUT, sector, len(data), write=False)[0]


def flush(queue):
    return v.blk_do(queue, v.BLK_FLUSH, 0)[0]


def put(queue, kind, sector, slot, data=b"", length=0):
    """Hands over a request whose buffers are the slot's own; it is not waited for. Where its status will be."""
    header, status, at = 0x400000 + 64 * slot, 0x410000 + slot, 0x420000 + 4096 * slot
    struct.pack_into("<IIQ", queue.ram, header, kind, 0, sector)
    queue.ram[status] = 0xff
    queue.ram[at:at + len(data)] = data
    size = len(data) or length
    middle = [(at, size, not data)] if size else []
    queue.publish(queue.chain([(header, 16, False), *middle, (status, 1, True)], first=3 * slot))
    return status


def status_of(vm):
    return vm.qmp("query-status")["status"]


def io_status(vm):
    return vm.qmp("query-block")[0]["io-status"]


# --- Disks: the guest is told ---

@pytest.mark.parametrize("aio", ENGINES)
def test_errors_are_told_and_the_next_request_works(disk_queue, faults, disk, aio):
    queue = disk_queue(aio, werror="report")
    vm = queue.vm
    for op, do in ((f.READ, read), (f.WRITE, write)):
        for error in (errno.EIO, errno.ENOSPC, errno.ENOMEM):
            faults.set(op, error, limit=1)
            assert do(queue) == v.BLK_IOERR
            assert faults.hits() == 1
            assert do(queue) == v.BLK_OK
    data = vm.event("BLOCK_IO_ERROR")["data"]  # one a second is told
    assert (data["operation"], data["action"], data["nospace"]) == ("read", "report", False)
    assert status_of(vm) == "running" and io_status(vm) == "ok"
    assert disk.read_bytes()[:4096] == b"w" * 4096


@pytest.mark.parametrize("aio", ENGINES)
def test_a_flush_that_failed_is_not_forgotten(disk_queue, faults, aio):
    """What the page cache could not write it may have dropped: no later flush may say that all is well."""
    queue = disk_queue(aio, werror="report")
    assert write(queue) == flush(queue) == v.BLK_OK
    faults.set(f.SYNC, errno.EIO, limit=1)
    assert flush(queue) == v.BLK_IOERR
    assert flush(queue) == v.BLK_IOERR
    assert read(queue) == write(queue) == v.BLK_OK


def test_a_flush_that_failed_keeps_the_vm_stopped(disk_queue, faults):
    queue = disk_queue(werror="stop")
    faults.set(f.SYNC, errno.EIO, limit=1)
    put(queue, v.BLK_FLUSH, 0, 0)
    queue.kick()
    for _ in range(3):
        queue.vm.event("STOP")
        assert not queue.answered()
        queue.vm.qmp("cont")


@pytest.mark.parametrize("aio", ENGINES)
def test_short_transfers_are_continued(disk_queue, faults, disk, aio):
    queue = disk_queue(aio)
    faults.set(f.READ, f.SHORT).set(f.WRITE, f.SHORT, index=1)
    data = random.Random(1).randbytes(65536)
    assert write(queue, 8, data) == v.BLK_OK
    queue.ram[v.DATA:v.DATA + 65536] = bytes(65536)
    assert read(queue, 8, 65536) == v.BLK_OK
    assert queue.ram[v.DATA:v.DATA + 65536] == data == disk.read_bytes()[4096:4096 + 65536]
    assert faults.hits() > 5 and faults.hits(1) > 5


@pytest.mark.parametrize("aio", ENGINES)
def test_a_storm_of_eagain_passes(disk_queue, faults, disk, aio):
    queue = disk_queue(aio)
    vm = queue.vm
    for op, kind, data in ((f.READ, v.BLK_IN, b""), (f.WRITE, v.BLK_OUT, b"z" * 4096), (f.SYNC, v.BLK_FLUSH, b"")):
        faults.set(op, errno.EAGAIN, limit=100)
        statuses = [put(queue, kind, 8 * slot, slot, data, 0 if data or kind == v.BLK_FLUSH else 4096) for slot in range(8)]
        queue.kick()
        done = 0
        while done < 8:  # the pauses between attempts go by the guest's clock
            vm.step(2 * 10**6)
            while queue.answered():
                queue.take()
                done += 1
        assert [vm.ram[s] for s in statuses] == [v.BLK_OK] * 8
        assert faults.hits() == 100
    # One that never ends is an error in the end.
    faults.set(f.READ, errno.EAGAIN)
    status = put(queue, v.BLK_IN, 0, 0, length=512)
    queue.kick()
    for _ in range(20000):
        vm.step(2 * 10**6)
        if queue.answered():
            break
    queue.take()
    assert vm.ram[status] == v.BLK_IOERR and faults.hits() > 100
    faults.clear()
    assert read(queue) == v.BLK_OK
    assert disk.read_bytes()[:4096] == b"z" * 4096


def test_the_host_cannot_release_space(disk_queue, faults, disk):
    """A discard or write-zeroes that the file system refuses is done in another way, or not at all."""
    before = disk.read_bytes()
    queue = disk_queue(discard="unmap", features=FLUSH | 1 << 13 | 1 << 14)
    faults.set(f.ALLOCATE, errno.EOPNOTSUPP)
    queue.ram[v.DATA:v.DATA + 16] = struct.pack("<QII", 8, 8, 0)
    assert v.blk_do(queue, v.BLK_DISCARD, 0, 16, write=False)[0] == v.BLK_OK
    assert disk.read_bytes() == before
    queue.ram[v.DATA:v.DATA + 16] = struct.pack("<QII", 8, 8, 1)
    assert v.blk_do(queue, v.BLK_WRITE_ZEROES, 0, 16, write=False)[0] == v.BLK_OK
    assert disk.read_bytes() == before[:4096] + bytes(4096) + before[8192:]
    faults.set(f.ALLOCATE, errno.EIO)
    assert v.blk_do(queue, v.BLK_WRITE_ZEROES, 0, 16, write=False)[0] == v.BLK_IOERR


# --- Disks: the VM stops ---

@pytest.mark.parametrize("aio", ENGINES)
@pytest.mark.parametrize("op,policy,error", [
    ("read", {"rerror": "stop"}, errno.EIO), ("write", {"werror": "stop"}, errno.EIO),
    ("write", {}, errno.ENOSPC), ("write", {"werror": "enospc"}, errno.ENOSPC),
    ("write", {"werror": "report", "device": ",werror=stop"}, errno.EIO),
    ("write", {"werror": "stop", "device": ",werror=auto"}, errno.EIO),
    ("read", {"rerror": "report", "device": ",rerror=enospc"}, errno.ENOSPC),
])
def test_stop_and_go_on(disk_queue, faults, disk, aio, op, policy, error):
    queue = disk_queue(aio, **policy)
    vm = queue.vm
    kind, fault = {"read": (v.BLK_IN, f.READ), "write": (v.BLK_OUT, f.WRITE)}[op]
    faults.set(fault, error, limit=2)
    status = put(queue, kind, 16, 0, b"stopped!" * 512 if op == "write" else b"", 4096 if op == "read" else 0)
    queue.kick()
    for hit in (1, 2):
        event = vm.event("BLOCK_IO_ERROR")["data"]
        assert (event["action"], event["nospace"]) == ("stop", error == errno.ENOSPC)
        assert event["operation"] == ("read" if op == "read" else "write")
        vm.event("STOP")
        assert status_of(vm) == "io-error" and faults.hits() == hit
        assert io_status(vm) == ("nospace" if error == errno.ENOSPC else "failed")
        assert not queue.answered() and vm.ram[status] == 0xff
        vm.qmp("cont")
        vm.event("RESUME")
    queue.take()
    assert vm.ram[status] == v.BLK_OK
    assert status_of(vm) == "running" and io_status(vm) == "ok"
    if op == "write":
        assert disk.read_bytes()[8192:12288] == b"stopped!" * 512
    else:
        assert vm.ram[0x420000:0x420008] == struct.pack("<Q", 16)
    assert read(queue) == v.BLK_OK


@pytest.mark.parametrize("policy,error,want", [
    ({"werror": "ignore"}, errno.EIO, v.BLK_OK), ({"werror": "report"}, errno.ENOSPC, v.BLK_IOERR),
    ({}, errno.EIO, v.BLK_IOERR), ({"werror": "enospc"}, errno.EIO, v.BLK_IOERR),
    ({"werror": "stop", "device": ",werror=ignore"}, errno.ENOSPC, v.BLK_OK),
])
def test_policies_that_go_on(disk_queue, faults, policy, error, want):
    queue = disk_queue(**policy)
    faults.set(f.WRITE, error, limit=1)
    assert write(queue) == want
    action = queue.vm.event("BLOCK_IO_ERROR")["data"]["action"]
    assert action == ("ignore" if want == v.BLK_OK else "report")
    assert status_of(queue.vm) == "running"


@pytest.mark.parametrize("aio", ENGINES)
@pytest.mark.parametrize("iothread", (False, True))
def test_nothing_is_lost_over_many_stops(start, faults, disk, aio, iothread):
    """Sixteen writes at a time, each fifth system call fails: after as many "cont" as it takes all of them are on disk."""
    options = drive(aio, ",iothread=i0" if iothread else "", werror="stop", rerror="stop")
    vm = start(*(["-object", "iothread,id=i0"] if iothread else []), *options, env=faults.env)
    queue = v.find(vm, v.ID_BLK).start(size=64, features=FLUSH)
    model = bytearray(disk.read_bytes())
    rng = random.Random(7)
    stops = 0
    faults.set(f.WRITE, errno.EIO, every=5)
    for turn in range(8):
        statuses = []
        for slot in range(16):
            sector, data = 8 * rng.randrange(8) + 64 * slot, rng.randbytes(4096)
            model[512 * sector:512 * sector + 4096] = data
            statuses.append(put(queue, v.BLK_OUT, sector, slot, data))
        queue.kick()
        done = 0
        while done < 16:
            if queue.answered():
                queue.take()
                done += 1
            elif status_of(vm) == "io-error":
                stops += 1
                vm.qmp("cont")
        assert [vm.ram[s] for s in statuses] == [v.BLK_OK] * 16
    assert stops >= 8
    assert disk.read_bytes() == model
    # A "cont" that came too late for an error finds nothing to do.
    vm.qmp("cont")


def test_a_reset_forgets_what_waits(disk_queue, faults, disk):
    """A request of a driver that is gone is not done, though "cont" comes."""
    before = disk.read_bytes()
    queue = disk_queue(werror="stop")
    vm = queue.vm
    faults.set(f.WRITE, errno.EIO, limit=1)
    put(queue, v.BLK_OUT, 0, 0, b"gone" * 1024)
    queue.kick()
    vm.event("STOP")
    queue.device.reset()
    vm.qmp("cont")
    queue = queue.device.start(size=64, features=FLUSH)
    assert read(queue, 8) == v.BLK_OK
    assert disk.read_bytes() == before and faults.hits() == 1
    # And by a reset of the machine.
    faults.set(f.WRITE, errno.EIO, limit=1)
    put(queue, v.BLK_OUT, 0, 0, b"gone" * 1024)
    queue.kick()
    vm.event("STOP")
    vm.qmp("system_reset")
    vm.qmp("cont")
    queue = queue.device.start(size=64, features=FLUSH)
    assert read(queue, 8) == v.BLK_OK
    assert disk.read_bytes() == before


# --- Write caches: when is a write on stable storage? ---

def syncs(queue, faults, do):
    """How many times a request makes the host sync."""
    before = faults.hits()
    assert do(queue) == v.BLK_OK
    return faults.hits() - before


@pytest.mark.parametrize("aio", ENGINES)
def test_the_guest_switches_the_write_cache(disk_queue, faults, aio):
    queue = disk_queue(aio, features=FLUSH | CONFIG_WCE)
    device, writeback = queue.device, v.CONFIG + 32
    faults.set(f.SYNC, f.COUNT)
    assert device.get(writeback, 1) == 1
    assert syncs(queue, faults, write) == 0 and syncs(queue, faults, flush) == 1
    device.set(writeback, 0, 1)
    assert device.get(writeback, 1) == 0
    assert syncs(queue, faults, write) == 1 and syncs(queue, faults, read) == 0
    for value in (2, 255):
        device.set(writeback, value, 1)
        assert device.get(writeback, 1) == 0
    device.set(writeback, 1, 1)
    assert device.get(writeback, 1) == 1 and syncs(queue, faults, write) == 0
    # It is this driver's choice, not the next one's.
    device.set(writeback, 0, 1)
    queue = device.start(size=64, features=FLUSH | CONFIG_WCE)
    assert device.get(writeback, 1) == 1 and syncs(queue, faults, write) == 0
    # One that cannot flush gets every write onto stable storage.
    queue = device.start(size=64)
    assert syncs(queue, faults, write) == 1


@pytest.mark.parametrize("device,keys", ((",write-cache=off", {}), ("", {"cache": "writethrough"})))
def test_a_cache_that_the_host_switched_off_stays_off(start, faults, device, keys):
    options = drive(device=device, **keys)
    if keys:
        options[1] = options[1].replace(",direct=off", "")
    vm = start(*options, env=faults.env)
    faults.set(f.SYNC, f.COUNT)
    for features in (FLUSH | CONFIG_WCE, FLUSH, 0):
        queue = v.find(vm, v.ID_BLK).start(size=64, features=features)
        assert queue.device.get(v.CONFIG + 32, 1) == 0
        queue.device.set(v.CONFIG + 32, 1, 1)
        assert queue.device.get(v.CONFIG + 32, 1) == 0
        assert syncs(queue, faults, write) == 1


def test_the_guest_may_be_kept_from_the_write_cache(disk_queue):
    queue = disk_queue(device=",config-wce=off")
    assert not queue.device.offered() & CONFIG_WCE
    queue.device.set(v.CONFIG + 32, 0, 1)
    assert queue.device.get(v.CONFIG + 32, 1) == 1


# --- Memory ---

def start_fails(faults, *options):
    """Its last words. It must end by itself, with status 1."""
    done = subprocess.run([guest.STRATOVIRT, "-machine", "microvm", "-accel", "test", "-qtest", f"unix:{faults.env['FAULT_RULES']}.sock,server=on", "-disable-seccomp",
                           *options], env={**os.environ, **faults.env}, capture_output=True, text=True, timeout=guest.LIMIT,
                          check=False)
    assert done.returncode == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("options", (["-m", "256"],
                                     ["-machine", "microvm,memory-backend=m", "-object", "memory-backend-ram,id=m,size=256M"],
                                     ["-machine", "microvm,memory-backend=m", "-object", "memory-backend-memfd,id=m,size=256M"]))
def test_no_address_space_for_guest_memory(faults, options):
    faults.set(f.MAP, errno.ENOMEM)
    assert "Cannot allocate memory" in start_fails(faults, *options)
    assert faults.hits() == 1


def test_no_room_for_a_memory_file(faults, tmp_path):
    faults.set(f.SIZE, errno.ENOSPC, match="ram")
    backend = f"memory-backend-file,id=m,size=256M,mem-path={tmp_path}/ram,share=on,prealloc=on"
    text = start_fails(faults, "-m", "256", "-machine", "microvm,memory-backend=m", "-object", backend)
    assert "No space left on device" in text and faults.hits() == 1


# --- Character devices ---

def serial_text(vm, pty, text):
    """What arrives of a text that the guest prints."""
    got = b""
    for byte in text:
        vm.out(0x3f8, byte)
        while not vm.inp(0x3fd) & 0x20:
            got += os.read(pty, 65536)
    while len(got) < len(text):
        got += os.read(pty, 65536)
    return got


@pytest.fixture
def terminal(start, faults):
    vm = start("-chardev", "pty,id=c0", "-serial", "chardev:c0", env=faults.env)
    name = next(c["filename"] for c in vm.qmp("query-chardev") if c["label"] == "c0")
    fd = os.open(name.removeprefix("pty:"), os.O_RDWR | os.O_NOCTTY)
    os.set_blocking(fd, True)
    yield vm, fd
    os.close(fd)


@pytest.mark.parametrize("error,every", ((f.SHORT, 1), (errno.EAGAIN, 2), (errno.EINTR, 3)))
def test_a_terminal_loses_nothing(terminal, faults, error, every):
    vm, fd = terminal
    faults.set(f.WRITE, error, every=every, match="ptmx").set(f.READ, error, every=every, match="ptmx", index=1)
    text = bytes(random.Random(3).choices(range(32, 127), k=500))
    assert serial_text(vm, fd, text) == text
    os.write(fd, text)
    got = b""
    while len(got) < len(text):
        vm.until(lambda: vm.inp(0x3fd) & 1, "input")
        got += bytes([vm.inp(0x3f8)])
    assert got == text
    assert faults.hits(1) > 0 and (error == f.SHORT or faults.hits() > 100)


def test_a_terminal_that_fails_does_no_harm(terminal, faults):
    vm, _ = terminal
    faults.set(f.WRITE, errno.EIO, match="ptmx")
    for byte in b"into the void":
        vm.out(0x3f8, byte)
    assert faults.hits() > 0
    assert status_of(vm) == "running"


# --- Network ---

def test_a_tap_that_fails_for_a_while(start, faults):
    vm = start(*kinds.NET, env=faults.env)
    driver = Driver(vm)
    for op in (f.READ, f.WRITE):
        for error in (errno.EAGAIN, errno.EIO, errno.ENOMEM, errno.EINTR):
            faults.set(op, error, limit=20, match="tun")
            for i in range(30):
                driver.send(frame(pattern(60, i)))
            for i in range(5):
                driver.tap.send(frame(pattern(60, 100 + i)))
            vm.until(faults.hits, "a fault")
            faults.clear()
            vm.step(2 * 10**9)  # an error is tried again in a second
            # It works as before; what was lost meanwhile is a network's right to lose.
            driver.tap.frames()
            driver.send(frame(pattern(90, op)))
            while driver.tap.frame() != frame(pattern(90, op)):
                pass
            driver.tap.send(frame(pattern(91, op)))
            while driver.receive() != frame(pattern(91, op)):
                pass
