# SPDX-License-Identifier: Apache-2.0
"""From exec to init of a stock Debian kernel. Only where KVM runs Linux: on other machines tests/rig/run -- tests/bench/run."""

import os
import sys

import peers

sys.path.insert(0, os.path.join(peers.TOP, "tests", "images"))
import images  # noqa: E402

MACHINES = {
    "microvm": {peers.OURS: ["-machine", "microvm"], peers.PEER: ["-M", "microvm,rtc=on"]},
    "q35": {peers.OURS: ["-machine", "q35"], peers.PEER: ["-M", "q35"]},
}
PROGRAM = {peers.OURS: [peers.STRATOVIRT],
           peers.PEER: [peers.QEMU, "-accel", "kvm", "-cpu", "host", "-nodefaults", "-no-user-config", "-display", "none"]}


def to_init(machine):
    def measure(peer, folder):
        words = [*PROGRAM[peer], *MACHINES[machine][peer], "-smp", "1", "-m", "256", "-kernel", images.vmlinuz(), "-initrd",
                 images.initramfs(None), "-append", "console=ttyS0 quiet mitigations=off sv.run=nothing", "-serial", "stdio"]
        with peers.running(words, b"#sv-begin") as process:
            return 1000 * process.seconds

    return measure


PAIR = (peers.OURS, peers.PEER)
MEASURES = {f"linux-{name}": (f"exec to init of a Debian kernel on {name}", "ms", False, to_init(name), PAIR) for name in MACHINES}
