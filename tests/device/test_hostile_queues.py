# SPDX-License-Identifier: Apache-2.0
"""chain-error (CVE-2021-29631): a bad chain to each queue of each device, those included that the device fills by itself."""

import struct

import pytest

import guest
import kinds
import test_virtio_console as console
import test_virtio_net as net
import test_virtio_vsock as vsock
import virtio as v

AT, OUTSIDE = kinds.AT, guest.MEMORY - 8
# Chains by what is wrong with them, for a queue that the device reads (False) or writes (True).
BAD = {
    "outside": lambda write: [(OUTSIDE, 64, write)],
    "empty": lambda write: [(AT, 0, write)],
    "direction": lambda write: [(AT, 64, not write)],
    "order": lambda write: [(AT, 64, True), (AT + 64, 64, False)],
}


class Case:
    """A queue, and what makes the device look into it."""

    def __init__(self, name, options, kind, index, queues=(), features=0, writes=False, prepare=None, poke=None):
        self.name, self.options, self.kind, self.index, self.features = name, options, kind, index, features
        self.queues = sorted({index, *queues})
        self.writes, self.prepare, self.poke = writes, prepare, poke

    def __repr__(self):
        return self.name


def say(queues, *messages):
    for message in messages:
        console.out(queues[3], struct.pack("<IHH", *message))


def open_port(vm, queues):
    queues["control"] = v.Inbox(queues[2], 512, at=0x1200000)
    say(queues, (0, console.READY, 1), (1, console.PORT_READY, 1), (1, console.OPEN, 1))


def type_something(vm, queues):
    client = console.peer(vm)
    client.sendall(b"hello")
    queues["client"] = client  # it stays until the test has ended


def refuse(vm, queues):
    """What the guest asks for is refused, and the refusal needs a buffer."""
    header = vsock.vsock_header(1, 2, kinds.VSOCK_REQUEST)
    vm.ram[AT + 0x1000:AT + 0x1000 + len(header)] = header
    queues[1].send([(AT + 0x1000, len(header), False)])


def reset_ring(vm, queues):
    queues[1].device.set(v.QUEUE_SEL, 1)
    queues[1].device.set(v.QUEUE_RESET, 1)


def frame_comes(vm, queues):
    vm.tap.send(net.frame(bytes(46)))


CASES = (
    Case("blk", kinds.BY_NAME["blk"].options, v.ID_BLK, 0),
    Case("rng", ("rng",), v.ID_RNG, 0, writes=True),
    Case("console-receive", console.SINGLE, v.ID_CONSOLE, 0, (1,), writes=True, poke=type_something),
    Case("console-transmit", console.SINGLE, v.ID_CONSOLE, 1),
    Case("serial-receive", kinds.SERIAL, v.ID_CONSOLE, 4, (2, 3), console.F_MULTIPORT, True, open_port, type_something),
    Case("serial-transmit", kinds.SERIAL, v.ID_CONSOLE, 5, (2, 3), console.F_MULTIPORT),
    Case("serial-unused-transmit", kinds.SERIAL, v.ID_CONSOLE, 63, (2, 3), console.F_MULTIPORT),
    Case("serial-control-receive", kinds.SERIAL, v.ID_CONSOLE, 2, (3,), console.F_MULTIPORT, True,
         poke=lambda vm, queues: say(queues, (0, console.READY, 1))),
    Case("serial-control-transmit", kinds.SERIAL, v.ID_CONSOLE, 3, (2,), console.F_MULTIPORT),
    Case("balloon-inflate", kinds.BALLOON, v.ID_BALLOON, 0),
    Case("balloon-deflate", kinds.BALLOON, v.ID_BALLOON, 1),
    Case("balloon-statistics", kinds.BALLOON, v.ID_BALLOON, 2, features=2),
    Case("balloon-reporting", kinds.BALLOON, v.ID_BALLOON, 3, features=2 | 32, writes=True),
    Case("vsock-receive", kinds.VSOCK, v.ID_VSOCK, 0, (1,), writes=True, poke=refuse),
    Case("vsock-transmit", kinds.VSOCK, v.ID_VSOCK, 1),
    Case("vsock-event", kinds.VSOCK, v.ID_VSOCK, 2, (0, 1), v.F_RING_RESET, True, poke=reset_ring),
    Case("net-receive", kinds.NET, v.ID_NET, 0, writes=True, poke=frame_comes),
    Case("net-receive-merged", kinds.NET, v.ID_NET, 0, features=net.F_MRG, writes=True, poke=frame_comes),
    Case("net-transmit", kinds.NET, v.ID_NET, 1),
    Case("net-control", kinds.NET, v.ID_NET, 2, features=net.F_CTRL | net.F_CTRL_RX),
)


def test_every_queue_is_here():
    """The first two ports of a serial device stand for all that are alike, the first pair of a network card, too."""
    for kind in kinds.DEVICES.values():
        here = {case.index for case in CASES if case.kind == kind.id}
        assert here >= set(range(min(kind.queues, 6))), kind


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_chain_error(start, case, bad):
    vm = start(*case.options)
    device = v.find(vm, case.kind)
    for turn in range(2):  # and again after a reset
        queues = device.start_all(features=case.features, indices=case.queues)
        if case.prepare:
            case.prepare(vm, queues)
        queue = queues[case.index]
        queue.publish(queue.chain(BAD[bad](case.writes)))
        queue.kick()
        if case.poke:
            case.poke(vm, queues)
        vm.until(device.broken, "DEVICE_NEEDS_RESET")
        vm.until(lambda: device.get(v.INTERRUPT_STATUS) & 2, "a configuration interrupt")
        if "client" in queues:
            queues["client"].close()
    device.start_all(features=case.features, indices=case.queues)
    assert not device.broken()
