# SPDX-License-Identifier: Apache-2.0
"""Many VMs at once: how fast they start, what each costs its host. One CPU, 128 MiB, a kernel of 5 MiB each."""

import re
import subprocess
import time

import mark
import peers
import start


def wait_for_mark(process, count):
    """Some VMMs print words of their own before it."""
    byte = None
    while byte != mark.MARK:
        byte = process.stdout.read(1)
        if not byte:
            raise RuntimeError(f"one of {count} did not start")


def many(count, what):
    """Starts @count VMs as fast as processes can be made, and waits until the guest of each has run."""

    def measure(peer, folder):
        words = peers.command(peer, "", kernel=start.kernel_of(folder, 5), memory=128)
        begin = time.monotonic()
        processes = []
        try:
            for _ in range(count):
                processes.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                                  stderr=subprocess.DEVNULL))
            for process in processes:
                wait_for_mark(process, count)
            taken = time.monotonic() - begin
            return count / taken if what == "rate" else sum(pages(p.pid, what) for p in processes) / count
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.stdout.close()
                process.wait()

    return measure


def pages(pid, kind):
    """KiB of a process. Pss: its own pages, and its part of those that it shares with others."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return int(re.search(rf"^{kind}:\s+(\d+)", f.read(), re.M)[1])


VMMS = (peers.OURS, peers.PEER, *peers.OTHERS)
MEASURES = {
    **{f"scale-{n}": (f"VMs started a second, {n} of them", "1/s", True, many(n, "rate"), VMMS) for n in (1, 10, 100)},
    "scale-500": ("VMs started a second, 500 of them", "1/s", True, many(500, "rate"), (peers.OURS,)),
    **{f"scale-{n}-memory": (f"memory of each of {n}, shared pages in part", "KiB", False, many(n, "Pss"), VMMS)
       for n in (1, 10, 100)},
    "scale-500-memory": ("memory of each of 500", "KiB", False, many(500, "Pss"), (peers.OURS,)),
}
