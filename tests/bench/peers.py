# SPDX-License-Identifier: Apache-2.0
"""What is compared: how each VMM is told to run the same bare-metal guest on its microvm, and what is asked of its process."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

import mark

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
STRATOVIRT = os.environ.get("STRATOVIRT") or os.path.join(TOP, "build", "stratovirt")
GUEST = os.environ.get("GUEST_ELF") or os.path.join(TOP, "build", "guest", "guest.elf")
QEMU = os.environ.get("QEMU") or "qemu-system-x86_64"
FLOOR = os.path.join(TOP, "build", "bench", "floor")
LIMIT = 120  # seconds that one run may take

OURS, PEER, BARE = "stratovirt", "qemu", "floor"
# Those of whom only the start, the footprint and the scale are measured, with what tests/bench/mark.py makes in the place of a kernel:
# where their programs are, by environment.
OTHERS = {"rust-stratovirt": "RUST_STRATOVIRT", "firecracker": "FIRECRACKER", "cloud-hypervisor": "CLOUD_HYPERVISOR",
          "kvmtool": "KVMTOOL"}
START = {
    OURS: [STRATOVIRT, "-machine", "microvm,acpi=off"],
    # Without ACPI tables, as ours: a bare-metal guest would leave them alone. No other device than is asked for.
    PEER: [QEMU, "-accel", "kvm", "-cpu", "host,arch-capabilities=off", "-M", "microvm,acpi=off,rtc=on", "-nodefaults",
           "-no-user-config", "-display", "none", "-global", "virtio-mmio.force-legacy=false"],
}


def found():
    return [OURS] + ([PEER] if shutil.which(QEMU) else []) + [peer for peer, name in OTHERS.items() if os.environ.get(name)]


def program(peer):
    return os.environ[OTHERS[peer]] if peer in OTHERS else START[peer][0]


def other_command(peer, kernel, memory, cpus, initrd=None):
    """How one of OTHERS is told to run a kernel of mark.py, its serial port on standard output, with its sandbox as it is by default."""
    if peer == "firecracker":
        source = {"kernel_image_path": kernel, "boot_args": "", **({"initrd_path": initrd} if initrd else {})}
        config = f"{kernel}-{memory}-{cpus}-{bool(initrd)}.json"
        with open(config, "w", encoding="ascii") as f:
            json.dump({"boot-source": source, "drives": [], "machine-config": {"vcpu_count": cpus, "mem_size_mib": memory}}, f)
        return [program(peer), "--no-api", "--config-file", config]
    if peer == "cloud-hypervisor":
        return [program(peer), "--kernel", kernel, "--cpus", f"boot={cpus}", "--memory", f"size={memory}M", "--serial", "tty",
                "--console", "off", *(["--initramfs", initrd] if initrd else [])]
    if peer == "kvmtool":
        return [program(peer), "run", "--kernel", mark.variant(kernel, "bzimage"), "--cpus", str(cpus), "--mem", str(memory),
                "--console", "serial", "--network", "mode=none", *(["--initrd", initrd] if initrd else [])]
    return [program(peer), "-machine", "microvm", "-smp", str(cpus), "-m", str(memory), "-kernel", mark.variant(kernel, "raw"),
            "-append", "none", "-serial", "stdio", *(["-initrd", initrd] if initrd else [])]


def command(peer, append, *options, kernel=GUEST, memory=256, cpus=1):
    if peer == BARE:
        return [FLOOR, str(memory), kernel]
    if peer in OTHERS:
        return other_command(peer, kernel, memory, cpus, *options[1:])  # what may be asked of them is an -initrd
    append += " strict=0" if peer == PEER else ""
    return START[peer] + ["-smp", str(cpus), "-m", str(memory), "-kernel", kernel, "-append", append, "-serial", "stdio",
                          "-device", "isa-debug-exit", "-no-reboot", *options]


def disk(peer, image, *, cache="writeback", aio="io_uring", queues=1):
    return ["-object", "iothread,id=io0", "-drive", f"id=d0,file={image},if=none,format=raw,aio={aio},cache={cache}",
            "-device", f"virtio-blk-device,drive=d0,iothread=io0,num-queues={queues}"]


def run_to_end(words, fds=()):
    """What a guest printed that ended by itself, and as it should."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False, pass_fds=fds)
    if "RESULT passed" not in done.stdout:
        sys.exit(f"bench: {' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


class Running:
    """A process whose guest has printed what was waited for. `seconds` from exec to there, `cpu` that it then had used."""

    def __init__(self, words, until, fds=()):
        begin = time.monotonic()
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                        pass_fds=fds)
        self.pid = self.process.pid
        seen = b""
        while until not in seen:
            piece = self.process.stdout.read1(4096)
            if not piece:
                self.process.wait()
                sys.exit(f"bench: {' '.join(words)}: ended with status {self.process.returncode} before {until}")
            seen += piece
        self.seconds = time.monotonic() - begin

    def cpu(self):
        """Seconds of processor time of all its threads, to the nanosecond."""
        total = 0
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{thread}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
        return total / 1e9

    def end(self):
        self.process.kill()
        self.process.stdout.close()
        self.process.wait()


@contextlib.contextmanager
def running(words, until, fds=()):
    process = Running(words, until, fds)
    try:
        yield process
    finally:
        process.end()
