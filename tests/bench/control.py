# SPDX-License-Identifier: Apache-2.0
"""What the monitor costs a management program."""

import contextlib
import json
import os
import socket
import time

import block
import peers

COMMANDS = 2000


class Monitor:
    def __init__(self, path):
        end = time.monotonic() + peers.LIMIT
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(path)
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > end:
                    raise
                time.sleep(0.001)
        self.lines = self.socket.makefile("rb")
        self.events = []
        self.lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, name, **arguments):
        request = {"execute": name, **({"arguments": arguments} if arguments else {})}
        self.socket.sendall(json.dumps(request).encode())
        while True:
            reply = json.loads(self.lines.readline())
            if "error" in reply:
                raise RuntimeError(f"{name}: {reply['error']['desc']}")
            if "return" in reply:
                return reply["return"]
            self.events.append(reply["event"])

    def wait(self, event):
        while event not in self.events:
            self.events.append(json.loads(self.lines.readline())["event"])
        self.events.remove(event)

    def close(self):
        self.lines.close()
        self.socket.close()


@contextlib.contextmanager
def monitored(peer, folder, append="test=spin", *options, until=b"spinning"):
    path = os.path.join(folder, "qmp")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with peers.running(peers.command(peer, append, "-qmp", f"unix:{path},server=on,wait=off", *options), until):
        monitor = Monitor(path)
        try:
            yield monitor
        finally:
            monitor.close()


def commands(append):
    def measure(peer, folder):
        with monitored(peer, folder, append) as monitor:
            begin = time.monotonic()
            for _ in range(COMMANDS):
                monitor.ask("query-status")
            return COMMANDS / (time.monotonic() - begin)

    return measure


def commands_beside_a_disk(peer, folder):
    """While the guest reads at depth 32, in an iothread."""
    options = peers.disk(peer, block.image_of(folder))
    with monitored(peer, folder, "test=blk-bench ms=60000", *options, until=b"TEST blk-bench") as monitor:
        begin = time.monotonic()
        for _ in range(COMMANDS // 4):
            monitor.ask("query-status")
        return (time.monotonic() - begin) * 1e6 / (COMMANDS // 4)


def stop_and_cont(peer, folder):
    with monitored(peer, folder) as monitor:
        begin = time.monotonic()
        for _ in range(100):
            monitor.ask("stop")
            monitor.ask("cont")
        return (time.monotonic() - begin) * 1e6 / 100


def plug_and_unplug(peer, folder):
    """A disk of microvm, by a guest that does not look: there is no driver to wait for."""
    image = os.path.join(folder, "plugged")
    with open(image, "wb") as f:
        f.truncate(1 << 20)
    with monitored(peer, folder) as monitor:
        begin = time.monotonic()
        for _ in range(50):
            monitor.ask("blockdev-add", **{"node-name": "hot", "driver": "raw", "file": {"driver": "file", "filename": image}})
            monitor.ask("device_add", driver="virtio-blk-mmio", id="hot", drive="hot", addr="0x2")
            monitor.ask("device_del", id="hot")
            monitor.wait("DEVICE_DELETED")
            monitor.ask("blockdev-del", **{"node-name": "hot"})
        return (time.monotonic() - begin) * 1e6 / 50


Q35 = {
    peers.OURS: [peers.STRATOVIRT, "-machine", "q35"],
    peers.PEER: [peers.QEMU, "-accel", "kvm", "-cpu", "host,arch-capabilities=off", "-M", "q35", "-nodefaults", "-no-user-config",
                 "-display", "none"],
}
PORTS = 8


def plug_in_ports(peer, folder):
    """Microseconds until a disk is in a free root port of q35, one port after the other. The guest has not begun (-S): what it
    would do about the attention button is not measured."""
    path = os.path.join(folder, "qmp")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    images = [os.path.join(folder, f"plugged-{n}") for n in range(PORTS)]
    for image in images:
        with open(image, "wb") as f:
            f.truncate(1 << 20)
    words = [*Q35[peer], "-smp", "1", "-m", "256", "-kernel", peers.GUEST, "-S", "-qmp", f"unix:{path},server=on,wait=off"]
    for n in range(PORTS):
        words += ["-device", f"pcie-root-port,id=rp{n},chassis={n + 1},slot={n + 1}"]
    with peers.running(words, b""):
        monitor = Monitor(path)
        try:
            begin = time.monotonic()
            for n, image in enumerate(images):
                file = {"driver": "file", "filename": image}
                monitor.ask("blockdev-add", **{"node-name": f"hot{n}", "driver": "raw", "file": file})
                monitor.ask("device_add", driver="virtio-blk-pci", id=f"disk{n}", drive=f"hot{n}", bus=f"rp{n}")
            return (time.monotonic() - begin) * 1e6 / PORTS
        finally:
            monitor.close()


PAIR = (peers.OURS, peers.PEER)
MEASURES = {
    "qmp": ("QMP commands a second, one after the other", "1/s", True, commands("test=spin"), PAIR),
    "qmp-exits": ("the same while the guest leaves for MMIO all the time", "1/s", True, commands("test=spin how=exits"), PAIR),
    "qmp-disk": ("a command while a disk is busy", "µs", False, commands_beside_a_disk, PAIR),
    "stop-cont": ("stop and cont", "µs", False, stop_and_cont, PAIR),
    "hotplug": ("blockdev-add, device_add, device_del, blockdev-del", "µs", False, plug_and_unplug, (peers.OURS,)),
    "hotplug-q35": ("q35: a disk into a free root port: blockdev-add, device_add", "µs", False, plug_in_ports, PAIR),
}
