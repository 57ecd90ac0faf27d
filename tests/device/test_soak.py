# SPDX-License-Identifier: Apache-2.0
"""Everything at once, again and again: I/O on all devices, plug and unplug, resets, stop and cont, the balloon, iothreads
and back ends that come and go. Memory, descriptors and threads are as many at the end as before. SOAK_SECONDS is the time,
an hour in "make soak"; DEVICE_SEED repeats a run's choices."""

import os
import random
import struct
import time

import guest
import kinds
import layout
import test_virtio_console as console
import test_virtio_net as net
import test_virtio_vsock as vsock
import virtio as v
from kinds import VSOCK_RESPONSE, VSOCK_RST, VSOCK_RW

SANITIZED = "san" in guest.STRATOVIRT
SECONDS = float(os.environ.get("SOAK_SECONDS") or 20)
ROUND = 60  # choices between two looks at what the process holds
MEMORY_SLACK = 2 << 20  # malloc's own
AT = kinds.AT


class Soak:
    def __init__(self, vm, disk, seed):
        self.vm, self.image, self.rng = vm, str(disk), random.Random(seed)
        self.counts, self.plugged = {}, 0
        self.choices = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("do_")]
        self.start()

    def start(self):
        """Drivers of all devices, from reset on, at places of their own."""
        vm = self.vm
        self.blk = next(device for device in v.walk(vm) if device.id == v.ID_BLK and device.full())
        self.disk = self.blk.start(size=128, at=0x200000)
        self.console = v.find(vm, v.ID_CONSOLE)
        queues = self.console.start_all(indices=(0, 1), at=0x220000)
        self.console_rx, self.console_tx = v.Inbox(queues[0], 1024, at=0x1000000), queues[1]
        self.balloon = v.find(vm, v.ID_BALLOON)
        self.inflate, self.deflate = self.balloon.start_all(indices=(0, 1), at=0x240000).values()
        queues = v.find(vm, v.ID_VSOCK).start_all(indices=(0, 1, 2), at=0x260000)
        self.vsock_rx, self.vsock_tx = v.Inbox(queues[0], at=0x1100000), queues[1]
        queues = v.find(vm, v.ID_NET).start_all(indices=(0, 1), at=0x280000)
        self.net_rx, self.net_tx = v.Inbox(queues[0], at=0x1200000), queues[1]
        vm.tap.frames()

    # --- What is done ---

    def reads(self, queue, count, at=0x1400000):
        for i in range(count):
            struct.pack_into("<IIQ", self.vm.ram, 0x400000 + 16 * i, v.BLK_IN, 0, self.rng.randrange(1024))
            queue.chain([(0x400000 + 16 * i, 16, False), (at + 0x1000 * i, 4096, True), (0x410000 + i, 1, True)], first=3 * i)
            queue.publish(3 * i)

    def do_disk_io(self):
        self.reads(self.disk, 32)
        self.disk.kick()
        for _ in range(32):
            self.disk.take()

    def do_disk_reset_under_io(self):
        self.reads(self.disk, 32)
        self.vm.send(f"writel {self.blk.base + v.QUEUE_NOTIFY:#x} 0\nwritel {self.blk.base + v.STATUS:#x} 0\n".encode())
        assert [self.vm.reply(), self.vm.reply()] == ["OK", "OK"]
        self.disk = self.blk.start(size=128, at=0x200000)

    def do_plug_and_unplug(self):
        self.plugged += 1
        name = f"hot{self.plugged}"
        self.vm.qmp("blockdev-add", **{"node-name": name, "driver": "raw",
                                       "file": {"driver": "file", "filename": self.image + "2"}})
        slot = self.rng.randrange(1, 4)
        self.vm.qmp("device_add", driver="virtio-blk-mmio", id=name, addr=hex(slot), drive=name)
        device = v.Device(self.vm, v.MMIO_BASE + slot * v.MMIO_STEP, v.MMIO_GSI[slot])
        queue = device.start(size=128, at=0x2a0000)
        self.reads(queue, 32, 0x1600000)
        self.vm.send(f"writel {device.base + v.QUEUE_NOTIFY:#x} 0")
        self.vm.qmp("device_del", id=name)
        assert self.vm.reply() == "OK"
        self.vm.qmp("blockdev-del", **{"node-name": name})
        device.reset()

    def do_stop_and_cont(self):
        self.reads(self.disk, 32)
        self.vm.send(f"writel {self.blk.base + v.QUEUE_NOTIFY:#x} 0")
        self.vm.qmp("stop")
        assert self.vm.reply() == "OK"
        self.vm.qmp("cont")
        for _ in range(32):
            self.disk.take()

    def do_balloon(self):
        numbers = struct.pack("<256I", *((layout.RAM >> 12) + 0x4000 + self.rng.randrange(0x1000) for _ in range(256)))
        self.vm.ram[AT:AT + 1024] = numbers
        for queue in (self.inflate, self.deflate):
            assert queue.send([(AT, 1024, False)]) == 0
        self.vm.qmp("balloon", value=self.rng.randrange(64, 128) << 20)
        self.balloon.set(v.CONFIG + 4, self.rng.randrange(0x4000))
        self.vm.qmp("query-balloon")

    def do_console(self):
        with console.peer(self.vm, "port") as client:
            client.sendall(b"?")  # output before we are accepted would go nowhere
            assert self.console_rx.take() == b"?"
            data = console.pattern(self.rng.randrange(1, 20000))
            assert console.out(self.console_tx, data) == 0
            assert console.receive(client, len(data)) == data
            client.sendall(data[:3000])
            got = b""
            while len(got) < len(data[:3000]):
                got += self.console_rx.take()
            assert got == data[:3000]

    def packet(self, *arguments, data=b""):
        packet = kinds.vsock_header(*arguments, length=len(data)) + data
        self.vm.ram[AT:AT + len(packet)] = packet
        assert self.vsock_tx.send([(AT, len(packet), False)]) == 0

    def do_vsock(self):
        with vsock.connect(self.vm, 7) as client:
            host_port = struct.unpack_from("<I", self.vsock_rx.take(), 16)[0]
            self.packet(7, host_port, VSOCK_RESPONSE)
            assert client.recv(32).startswith(b"OK ")
            self.packet(7, host_port, VSOCK_RW, data=console.pattern(10000))
            assert console.receive(client, 10000) == console.pattern(10000)
            self.packet(7, host_port, VSOCK_RST)
            assert client.recv(1) == b""

    def do_net(self):
        for i in range(10):
            frame = net.frame(console.pattern(100 + i))
            self.vm.ram[AT:AT + 12 + len(frame)] = bytes(12) + frame
            assert self.net_tx.send([(AT, 12 + len(frame), False)]) == 0
            assert self.vm.tap.frame() == frame
            self.vm.tap.send(frame)
            assert self.net_rx.take()[12:] == frame

    def do_back_ends(self):
        self.vm.qmp("object-add", **{"qom-type": "iothread", "id": "new"})
        self.vm.qmp("chardev-add", id="cnew", backend={"type": "null", "data": {}})
        self.vm.qmp("query-iothreads")
        self.vm.qmp("chardev-remove", id="cnew")
        self.vm.qmp("object-del", id="new")

    def do_machine_reset(self):
        self.reads(self.disk, 32)
        self.vm.send(f"writel {self.blk.base + v.QUEUE_NOTIFY:#x} 0")
        self.vm.qmp("system_reset")
        assert self.vm.reply() == "OK"
        self.start()

    def do_time(self):
        self.vm.step(self.rng.randrange(2 * 10**9))

    # --- What must stay as it was ---

    def held(self):
        """(descriptors, threads, bytes of anonymous memory), when nothing is under way. Guest memory is a file here."""
        self.vm.qmp("system_reset")
        self.start()
        self.vm.step(60 * 10**9)  # what only waits for its time has an end
        self.vm.events.clear()
        process = f"/proc/{self.vm.process.pid}"
        with open(process + "/status", encoding="ascii") as f:
            memory = [int(line.split()[1]) << 10 for line in f if line.startswith("RssAnon:")][0]
        return len(os.listdir(process + "/fd")), len(os.listdir(process + "/task")), memory

    def round(self):
        for _ in range(ROUND):
            do = self.rng.choice(self.choices)
            do()
            self.counts[do.__name__[3:]] = self.counts.get(do.__name__[3:], 0) + 1
        return self.held()


def test_soak(start, disk):
    seed = int(os.environ.get("DEVICE_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"DEVICE_SEED={seed}")
    with open(str(disk) + "2", "wb") as f:
        f.write(disk.read_bytes())
    # The card's threads are the seed's choice as well; one of them is the disk's.
    card = (*kinds.NET[:-1], kinds.NET[-1] + ("", ",rx-iothread=i0,tx-iothread=i1")[seed & 1])
    vm = start(*kinds.BY_NAME["blk-iothread"].options, "-object", "iothread,id=i1", *console.SINGLE, *kinds.BALLOON, *kinds.VSOCK,
               *card)
    vm.qmp("query-status")
    soak = Soak(vm, disk, seed)
    end, seen = time.monotonic() + SECONDS, []
    while time.monotonic() < end or len(seen) < 4:
        seen.append(soak.round())
    print(f"{len(seen)} rounds: {soak.counts}")
    print("held first, then, and last (descriptors, threads, memory):", seen[0], seen[len(seen) // 2], seen[-1])
    assert set(soak.counts) == {do.__name__[3:] for do in soak.choices}, "not everything was done"
    half = seen[len(seen) // 2:]
    # Workers of the I/O engine come when they are needed and stay: by the half of the time all are there.
    assert {one[0] for one in half} == {seen[-1][0]}, f"descriptors: {[one[0] for one in seen]}"
    assert max(one[1] for one in half) <= max(one[1] for one in seen[:-1]), f"threads: {[one[1] for one in seen]}"
    if not SANITIZED and layout.ARCH == layout.HOST:  # shadow and quarantine grow, and so does what an emulator keeps
        grown = half[-1][2] - min(one[2] for one in seen[len(seen) // 4:])
        assert grown <= MEMORY_SLACK, f"memory grew by {grown} bytes: {[one[2] for one in seen]}"
