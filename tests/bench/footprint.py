# SPDX-License-Identifier: Apache-2.0
"""What a VM that runs costs its host beside guest memory."""

import os
import re
import shutil
import signal
import subprocess
import time

import block
import mark
import network
import peers
import start

RAM = 128 << 20  # what is as large is the guest's

DEVICES = {
    "rng": ["-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-device,rng=r0"],
    "balloon": ["-device", "virtio-balloon-device"],
    "console": ["-device", "virtio-serial-device", "-chardev", "null,id=c0", "-device", "virtconsole,chardev=c0"],
}


def spinning(peer, folder, *options):
    """A guest that uses no device. For those that do not run our own it is one that halts."""
    if peer in peers.OTHERS:
        return peers.running(peers.command(peer, "", kernel=start.kernel_of(folder, 5)), mark.MARK)
    return peers.running(peers.command(peer, "test=spin", *options), b"spinning")


def private_beside_ram(pid):
    """KiB of private dirty memory without the guest's, with the process's page tables. Guest memory is the one large run of
    writable mappings; a kernel mapped from its file stands in the middle of it."""
    with open(f"/proc/{pid}/smaps", encoding="ascii") as f:
        smaps = f.read()
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        total = int(re.search(r"^VmPTE:\s+(\d+)", f.read(), re.M)[1])
    runs = []  # [end, size, dirty]
    for text in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps, flags=re.M)[1:]:
        begin, end, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", text).groups()
        begin, end = int(begin, 16), int(end, 16)
        dirty = int(re.search(r"^Private_Dirty:\s+(\d+)", text, re.M)[1])
        if runs and runs[-1][0] == begin and rights.startswith("rw"):
            runs[-1] = [end, runs[-1][1] + end - begin, runs[-1][2] + dirty]
        else:
            runs.append([end, end - begin, dirty])
    return total + sum(dirty for _, size, dirty in runs if size < RAM)


def memory(*options):
    def measure(peer, folder):
        with spinning(peer, folder, *options) as process:
            return private_beside_ram(process.pid)

    return measure


def memory_with_disk(peer, folder):
    image = os.path.join(folder, "small-disk")
    with open(image, "wb") as f:
        f.truncate(1 << 20)
    with spinning(peer, folder, *peers.disk(peer, image)) as process:
        return private_beside_ram(process.pid)


def entries(name):
    def measure(peer, folder):
        with spinning(peer, folder) as process:
            return len(os.listdir(f"/proc/{process.pid}/{name}"))

    return measure


def after_io(peer, folder):
    """A disk in an iothread was read from for a while, by 32 requests at a time."""
    return peers.running(peers.command(peer, "test=blk-bench ms=500 spin=1", *peers.disk(peer, block.image_of(folder))), b"spinning")


def memory_after_io(peer, folder):
    with after_io(peer, folder) as process:
        return private_beside_ram(process.pid)


def wake_ups(process):
    """Times that a thread which is no vCPU slept and woke up in a second."""
    begin = switches(process.pid)
    time.sleep(1)
    return sum(now - begin.get(thread, 0) for thread, now in switches(process.pid).items())


def idle(peer, folder):
    with spinning(peer, folder) as process:
        return wake_ups(process)


def idle_after_io(peer, folder):
    with after_io(peer, folder) as process:
        return wake_ups(process)


def system_calls(process, folder):
    """System calls of all threads, vCPUs too, that began within a second. strace stops each thread once to attach, which makes it
    begin its call again: the second begins when none has begun one for a tenth of a second, or after two that were never so quiet."""
    path = os.path.join(folder, "strace")
    with open(path, "wb"):
        pass
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-ttt", "-o", path, "-p", str(process.pid)], stdin=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        while not all(traced_by(process.pid, thread) == tracer.pid for thread in os.listdir(f"/proc/{process.pid}/task")):
            if tracer.poll() is not None:
                raise RuntimeError(f"strace ended with status {tracer.returncode}")
            time.sleep(0.01)
        end, size = time.monotonic() + 2, -1
        while time.monotonic() < end and size != os.path.getsize(path):
            size = os.path.getsize(path)
            time.sleep(0.1)
        begin = time.time()
        time.sleep(1.1)
    finally:
        tracer.send_signal(signal.SIGINT)  # it lets go of all
        tracer.wait()
    with open(path, encoding="utf-8", errors="replace") as f:
        calls = re.findall(r"^\d+ +(\d+\.\d+) \w+\(", f.read(), re.M)
    return sum(begin <= float(at) < begin + 1 for at in calls)


def traced_by(pid, thread):
    with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as f:
        return int(re.search(r"^TracerPid:\s+(\d+)", f.read(), re.M)[1])


def calls_idle(peer, folder):
    with spinning(peer, folder) as process:
        return system_calls(process, folder)


def calls_after_io(peer, folder):
    """With a disk, which was read from, a card and a console, which sent for a while, and a balloon."""
    cable = network.tap.Tap(folder)
    try:
        cable.cable.close()
        devices = [*peers.disk(peer, block.image_of(folder)), *network.card(peer, cable.fds[0], False, False), *DEVICES["console"],
                   *DEVICES["balloon"]]
        words = peers.command(peer, "test=blk-bench+net-bench+console-bench+spin ms=300 how=tx", *devices)
        with peers.running(words, b"spinning", fds=[cable.fds[0]]) as process:
            return system_calls(process, folder)
    finally:
        cable.close()


def switches(pid):
    """Voluntary context switches of each thread but the vCPUs, whose guest spins."""
    count = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as f:
            text = f.read()
        if "CPU" not in text.splitlines()[0]:
            count[thread] = int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M)[1])
    return count


def binary(peer, folder):
    """KiB of the program itself, stripped."""
    path = os.path.join(folder, f"stripped-{peer}")
    source = subprocess.run(["which", peers.program(peer)], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["strip", "-o", path, source], check=True)
    return os.path.getsize(path) >> 10


PAIR = (peers.OURS, peers.PEER)
VMMS = (*PAIR, *peers.OTHERS)
MEASURES = {
    "memory": ("private memory and page tables beside the guest's memory", "KiB", False, memory(), VMMS),
    "memory-disk": ("with a disk in an iothread", "KiB", False, memory_with_disk, PAIR),
    **{f"memory-{name}": (f"with virtio-{name}", "KiB", False, memory(*options), PAIR) for name, options in DEVICES.items()},
    "memory-after-io": ("with a disk in an iothread, after I/O", "KiB", False, memory_after_io, PAIR),
    "threads": ("threads", "", False, entries("task"), VMMS),
    "descriptors": ("descriptors", "", False, entries("fd"), VMMS),
    "idle": ("wake-ups a second of threads that are no vCPUs, idle", "", False, idle, PAIR),
    "idle-after-io": ("the same with a disk in an iothread, after I/O", "", False, idle_after_io, PAIR),
    **({
        "idle-calls": ("system calls a second of all threads, idle", "", False, calls_idle, PAIR),
        "idle-calls-after-io": ("the same with disk, network, console and balloon, after I/O", "", False, calls_after_io, PAIR),
    } if shutil.which("strace") else {}),
    "binary": ("the program, stripped", "KiB", False, binary, VMMS),
}
