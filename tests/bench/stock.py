# SPDX-License-Identifier: Apache-2.0
"""A stock Debian kernel with our initramfs on StratoVirt or on QEMU: what tests/bench/boot and tests/bench/linux have in common."""

import contextlib
import math
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
import peers  # noqa: E402

sys.path.append(os.path.join(peers.TOP, "tests", "images"))
import images  # noqa: E402

OURS, PEER = peers.OURS, peers.PEER
BEGUN, ENDED = "#sv-begin", "#sv-end script 0"
QEMU = [peers.QEMU, "-accel", "kvm", "-nodefaults", "-no-user-config", "-display", "none", "-cpu", "host", "-global",
        "virtio-mmio.force-legacy=false"]
MACHINES = {
    (OURS, "microvm"): [peers.STRATOVIRT, "-machine", "microvm"],
    (PEER, "microvm"): [*QEMU, "-M", "microvm,acpi=on,rtc=on"],
    (OURS, "q35"): [peers.STRATOVIRT, "-machine", "q35"],
    (PEER, "q35"): [*QEMU, "-M", "q35"],
}


def initrd(folder, script, programs=None):
    return images.with_scripts(images.initramfs(), os.path.join(folder, "initrd"), {"script": script, **(programs or {})})


def command(peer, machine, archive, *options, cpus=1, memory=256, append=""):
    """The guest runs the script in @archive, as initrd() makes it, and powers off."""
    return [*MACHINES[peer, machine], "-smp", str(cpus), "-m", str(memory), "-kernel", images.vmlinuz(), "-initrd", archive, "-append",
            f"console=ttyS0 quiet mitigations=off sv.run=script {append}", "-serial", "stdio", "-no-reboot", *options]


class Run:
    """A VM that has been started. lines() are its console's, each with the seconds since the exec."""

    def __init__(self, words, limit):
        self.begin = time.monotonic()
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.pid = self.process.pid
        self.watchdog = threading.Timer(limit, self.process.kill)
        self.watchdog.start()

    def lines(self):
        for line in self.process.stdout:
            yield time.monotonic() - self.begin, line.decode(errors="replace").strip()

    def end(self):
        """What it said on standard error."""
        self.process.kill()
        self.watchdog.cancel()
        errors = self.process.communicate()[1].decode(errors="replace")
        self.process.wait()
        return errors


@contextlib.contextmanager
def running(words, limit=peers.LIMIT):
    run = Run(words, limit)
    try:
        yield run
    finally:
        errors = run.end()
        if errors:
            print(errors, end="", file=sys.stderr)


def in_turns(names, rounds, measure, limit=math.inf):
    """{name: [what measure(name) returned in each round]}; each name comes first in turn: what one leaves behind, the next one meets.
    A round that would probably end after @limit seconds does not begin."""
    if not shutil.which(peers.QEMU):
        sys.exit(f"bench: no {peers.QEMU} here: figures without a peer say little")
    results = {name: [] for name in names}
    begin = time.monotonic()
    for done in range(rounds):
        if done and (time.monotonic() - begin) * (done + 1) / done > limit:
            print(f"bench: {done} rounds: there is no time for more", file=sys.stderr)
            break
        for name in names if done % 2 == 0 else reversed(names):
            results[name].append(measure(name))
    return results


def median(values):
    """Of those that there are; a guest that did not get there has none."""
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def better(more, ours, theirs):
    if not ours or not theirs:
        return ""
    return f"{(ours / theirs if more else theirs / ours):.2f}×"
