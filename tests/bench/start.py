# SPDX-License-Identifier: Apache-2.0
"""From exec to the guest's first instruction, beside QEMU's microvm and beside the bare system calls (floor.c)."""

import os

import mark
import peers

MIB = 1 << 20


def file_of(folder, name, size):
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        with open(path, "wb") as f:
            for i in range(size // MIB):
                f.write(bytes([i % 255 + 1]) * MIB)
    return path


def kernel_of(folder, size):
    path = os.path.join(folder, f"kernel-{size}")
    return path if os.path.exists(path) else mark.write_kernel(path, size * MIB)


def first_instruction(kernel, memory=256, initrd=0, what="seconds", cpus=1):
    """Milliseconds from exec to the character that the guest's third instruction writes, or of processor time until then."""

    def measure(peer, folder):
        options = ["-initrd", file_of(folder, f"initrd-{initrd}", initrd * MIB)] if initrd else []
        words = peers.command(peer, "", *options, kernel=kernel_of(folder, kernel), memory=memory, cpus=cpus)
        with peers.running(words, mark.MARK) as process:
            return 1000 * (process.seconds if what == "seconds" else process.cpu())

    return measure


def whole_run(peer, folder):
    """Milliseconds from exec to the end of a process whose guest prints a few lines and ends."""
    with peers.running(peers.command(peer, "test=hello"), b"RESULT passed") as process:
        return 1000 * process.seconds


ALL = (peers.OURS, peers.PEER, peers.BARE, *peers.OTHERS)
VMMS = (peers.OURS, peers.PEER, *peers.OTHERS)
# name: (what it measures, unit, is more better?, function, peers)
MEASURES = {
    "start-5m": ("exec to first instruction, kernel of 5 MiB", "ms", False, first_instruction(5), ALL),
    "start-50m": ("exec to first instruction, kernel of 50 MiB", "ms", False, first_instruction(50), ALL),
    "start-50m-cpu": ("processor time until then", "ms", False, first_instruction(50, what="cpu"), ALL),
    "start-128": ("the same with 128 MiB of memory", "ms", False, first_instruction(50, memory=128), ALL),
    "start-4g": ("the same with 4 GiB of memory", "ms", False, first_instruction(50, memory=3072 + 1024), VMMS),
    "start-initrd": ("the same with an initrd of 16 MiB", "ms", False, first_instruction(50, initrd=16), VMMS),
    **{f"start-{n}-vcpus": (f"kernel of 5 MiB, {n} vCPUs", "ms", False, first_instruction(5, cpus=n), VMMS)
       for n in (4, 16, 64)},
    "whole-run": ("exec to the last line of a short guest", "ms", False, whole_run, ALL[:2]),
}
