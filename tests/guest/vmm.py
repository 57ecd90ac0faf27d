# SPDX-License-Identifier: Apache-2.0
"""Starts the VMM with the bare-metal guest and collects what it said.

STRATOVIRT names the VMM (build/stratovirt); GUEST_ELF the guest (build/guest/guest.elf). With VMM=qemu the same
guest runs on QEMU's microvm, for comparison: there only what both promise is asserted (see Run.strict).
"""

import os
import signal
import struct
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
STRATOVIRT = os.environ.get("STRATOVIRT") or os.path.join(TOP, "build", "stratovirt")
GUEST_ELF = os.environ.get("GUEST_ELF") or os.path.join(TOP, "build", "guest", "guest.elf")
QEMU = os.environ.get("VMM") == "qemu"

# Exit statuses by way of the debug-exit device: (value << 1) | 1.
PASSED = 0x10 << 1 | 1
EXCEPTION = 0x12 << 1 | 1

SECTOR = 512


def write_image(path, sectors):
    """An image in which each sector holds its own number, 64 times."""
    with open(path, "wb") as f:
        for i in range(sectors):
            f.write(struct.pack("<Q", i) * (SECTOR // 8))


class Run:
    """One run of the VMM, used as a context: leaving it ends the process."""

    def __init__(self, append, *options, cpus="1", memory="128", reboot=False, stdin=subprocess.DEVNULL, fds=()):
        self.process = None
        self.stdin = stdin
        self.fds = fds
        self.output = self.errors = ""
        if QEMU:
            append += " strict=0"
            command = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host,arch-capabilities=off",
                       "-M", "microvm,acpi=off,rtc=on", "-nodefaults", "-no-user-config", "-display", "none",
                       "-global", "virtio-mmio.force-legacy=false"]
        else:
            command = [STRATOVIRT, "-machine", "microvm,acpi=off"]
        command += ["-smp", cpus, "-m", memory, "-kernel", GUEST_ELF, "-append", append,
                    "-serial", "stdio", "-device", "isa-debug-exit"]
        if not reboot:
            command.append("-no-reboot")
        self.command = command + list(options)

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=self.stdin, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, start_new_session=True, pass_fds=self.fds,
                                        env={"STRATOVIRT_LOG_LEVEL": "info", **os.environ})
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()

    @property
    def transcript(self):
        return (f"\n$ {' '.join(self.command)}\n--- serial line:\n{self.output}\n--- standard error:\n{self.errors}"
                f"\n--- exit status: {self.process.returncode}\n")

    def wait_for_line(self, text, timeout=60):
        """Reads the serial line until a line holds the text."""
        signal.signal(signal.SIGALRM, _alarm)
        signal.alarm(timeout)
        try:
            while text not in self.output:
                line = self.process.stdout.readline()
                if not line:
                    raise AssertionError(f"the VMM ended before {text!r} came" + self.transcript)
                self.output += line.decode(errors="replace")
        except TimeoutError:
            raise AssertionError(f"no {text!r} within {timeout} s" + self.transcript) from None
        finally:
            signal.alarm(0)

    def finish(self, timeout=60):
        """Waits for the end; returns the exit status."""
        try:
            output, errors = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            output, errors = self.process.communicate()
            self.output += output.decode(errors="replace")
            self.errors += errors.decode(errors="replace")
            raise AssertionError(f"the guest did not end within {timeout} s" + self.transcript) from None
        self.output += output.decode(errors="replace")
        self.errors += errors.decode(errors="replace")
        return self.process.returncode


def _alarm(signum, frame):
    raise TimeoutError


def run(append, *options, status=PASSED, timeout=60, **more):
    """Runs a guest to its end; its exit status has to be this one. Returns the finished Run."""
    with Run(append, *options, **more) as vm:
        have = vm.finish(timeout)
        assert have == status, f"exit status {have}, not {status}" + vm.transcript
        if status == PASSED:
            assert "RESULT passed" in vm.output, "the guest did not say that it passed" + vm.transcript
        print(vm.output)
        return vm
