# SPDX-License-Identifier: Apache-2.0
"""Many VMs at once: how fast they start, how long each of them takes, what each costs its host. One CPU, 128 MiB, a kernel of 5 MiB
each, the same file for all; where memory is looked at, a kernel that has read all of its pages."""

import contextlib
import os
import re
import select
import subprocess
import threading
import time

import mark
import peers
import start


class Burst:
    """VMs that are started as fast as processes can be made. `seconds` until the guest of the last one has run, `latencies` of each
    from the making of its process. One thread makes them, another sees them run."""

    def __init__(self, words, count):
        self.processes, self.begun, self.latencies = {}, {}, []
        self.poll = select.epoll()
        watcher = threading.Thread(target=self.watch, args=(count,), daemon=True)
        begin = time.monotonic()
        watcher.start()
        for _ in range(count):
            now = time.monotonic()
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            fd = process.stdout.fileno()
            self.processes[fd], self.begun[fd] = process, now
            self.poll.register(fd, select.EPOLLIN)
        watcher.join(peers.LIMIT)
        self.seconds = time.monotonic() - begin
        if len(self.latencies) < count:
            self.end()
            raise RuntimeError(f"{count - len(self.latencies)} of {count} did not start")

    def watch(self, count):
        while len(self.latencies) < count:
            for fd, _ in self.poll.poll(1):
                piece = os.read(fd, 4096)
                if mark.MARK in piece:  # some VMMs print words of their own before it
                    self.latencies.append(time.monotonic() - self.begun[fd])
                if not piece:
                    return
                if mark.MARK in piece:
                    self.poll.unregister(fd)

    def part(self, part):
        """Milliseconds in which this part of them has started."""
        ranked = sorted(self.latencies)
        return 1000 * ranked[min(int(part * len(ranked)), len(ranked) - 1)]

    def mean(self, look):
        return sum(look(process.pid) for process in self.processes.values()) / len(self.processes)

    def end(self):
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.stdout.close()
            process.wait()
        self.poll.close()


def pages(pid, kind):
    """KiB of a process. Pss: its own pages, and its part of those that it shares with others; Rss: those as if they were its own."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return int(re.search(rf"^{kind}:\s+(\d+)", f.read(), re.M)[1])


def kernel_pages(pid, kernel):
    """KiB of the kernel that are the page cache's and not the process's own."""
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as f:
        mappings = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", f.read(), flags=re.M)[1:]
    return sum(int(re.search(r"^Shared_Clean:\s+(\d+)", text, re.M)[1]) for text in mappings
               if text.splitlines()[0].endswith(kernel))


def look_at_time(peer, folder, count):
    with burst(peer, start.kernel_of(folder, 5), count) as vms:
        return {"rate": count / vms.seconds, "p50": vms.part(0.5), "p99": vms.part(0.99)}


def look_at_memory(peer, folder, count):
    kernel = os.path.join(folder, "kernel-5-read")
    if not os.path.exists(kernel):
        mark.write_kernel(kernel, 5 << 20, read=True)
    with burst(peer, kernel, count) as vms:
        return {"Pss": vms.mean(lambda pid: pages(pid, "Pss")), "Rss": vms.mean(lambda pid: pages(pid, "Rss")),
                "kernel": vms.mean(lambda pid: kernel_pages(pid, kernel))}


@contextlib.contextmanager
def burst(peer, kernel, count):
    vms = Burst(peers.command(peer, "", kernel=kernel, memory=128), count)
    try:
        yield vms
    finally:
        vms.end()


had = {}  # what one burst told, each figure until it is asked for: they are from the same VMs


def many(look, count, what):
    def measure(peer, folder):
        key = (look, count, peer)
        if what not in had.get(key, {}):
            had[key] = look(peer, folder, count)
        return had[key].pop(what)

    return measure


COUNTS = (1, 10, 100, 500)
PAIR = (peers.OURS, peers.PEER)
VMMS = (*PAIR, *peers.OTHERS)


def row(name, what, unit, more, look, figure, who):
    """The same for each number of VMs; QEMU takes too long with the most of them."""
    return {f"scale-{n}{name}": (what.format(n), unit, more, many(look, n, figure), who if n <= 100 else (peers.OURS,)) for n in COUNTS}


MEASURES = {
    **row("", "VMs started a second, {} of them", "1/s", True, look_at_time, "rate", VMMS),
    **row("-p50", "the start of one among {}: half are faster", "ms", False, look_at_time, "p50", VMMS),
    **row("-p99", "the start of one among {}: 99 of 100 are faster", "ms", False, look_at_time, "p99", VMMS),
    **row("-memory", "memory of each of {}, shared pages in part (Pss)", "KiB", False, look_at_memory, "Pss", VMMS),
    **row("-rss", "memory of each of {}, shared pages in full (Rss)", "KiB", False, look_at_memory, "Rss", VMMS),
    **row("-kernel", "pages of the kernel that each of {} shares", "KiB", True, look_at_memory, "kernel", PAIR),
}
