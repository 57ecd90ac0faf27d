# SPDX-License-Identifier: Apache-2.0
"""The VMM under the test accelerator, and a client that plays its guest.

Guest memory is a file that both sides map, so tests write descriptors with slices of vm.ram. A request is answered when
the VMM has come to rest; what depends on the host (a disk's completion, input on a serial port) is waited for with
vm.until(), which wakes up when an interrupt comes. Nothing here sleeps.
"""

import ctypes
import json
import mmap
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from layout import ARCH, HOST, MEMORY, MIB

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
LIMIT = 30  # seconds that anything may take


def emulated(program):
    """A command that runs a program of another architecture. A filter for one machine's system calls would end the emulator of
    another."""
    path = program + "-emulated"
    text = f'#!/bin/sh\nexec qemu-{ARCH}-static {program} "$@" -disable-seccomp\n'
    with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(path), delete=False) as f:
        f.write(text)
    os.chmod(f.name, 0o755)
    os.rename(f.name, path)
    return path


def binary():
    if os.environ.get("STRATOVIRT"):
        return os.environ["STRATOVIRT"]
    if ARCH == HOST:
        return os.path.join(TOP, "build", "stratovirt")
    path = os.path.join(TOP, "build", ARCH, "stratovirt")
    return emulated(path) if os.access(path, os.X_OK) else path


STRATOVIRT = binary()


class Refused(Exception):
    """The VMM did not answer OK."""


class Ended(Exception):
    """The VMM is gone."""


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class VM:
    """One VMM; used as a context. Leaving it ends the VMM, whose exit status and standard error are checked."""

    def __init__(self, *options, machine="microvm", qmp=True, dialect="qtest", share=True, fds=(), terminal=None,
                 memory=MEMORY // MIB, env=None):
        self.folder = tempfile.mkdtemp(prefix="sv-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.irqs = []  # ("raise" or "lower", line), as they were told
        self.data = b""
        self.transport = "mmio"  # of virtio devices: virtio.walk()
        self.events = []  # of QMP, that nobody has asked for yet
        self.status = None
        self.sock = self.ram = self.words = self.monitor = self.orders = None
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path("guest"))
        listener.listen(1)
        listener.settimeout(LIMIT)
        drive = f"unix:{self.path('guest')}" if dialect == "qtest" else self.path("guest")
        command = [STRATOVIRT, "-machine", machine + (",memory-backend=ram" if share else ""), "-accel", "test",
                   "-m", str(memory), f"-{dialect}", drive]
        if share:
            command += ["-object", f"memory-backend-file,id=ram,size={MEMORY // MIB}M,share=on,"
                        f"mem-path={self.path('ram')}"]
        if qmp:
            command += ["-qmp", f"unix:{self.path('qmp')},server,nowait"]
        self.command = command + [option.replace("$DIR", self.folder) for option in options]
        if "LD_PRELOAD" in (env or {}):
            self.command.append("-disable-seccomp")  # a library that makes faults makes system calls of its own
        self.errors = open(self.path("stderr"), "w+b")
        self.process = subprocess.Popen(self.command, stdin=terminal or subprocess.DEVNULL, stdout=terminal or subprocess.DEVNULL,
                                        stderr=self.errors, preexec_fn=die_with_parent, pass_fds=fds,
                                        env={**os.environ, **(env or {})})
        try:
            self._connect(listener)
            if share:
                with open(self.path("ram"), "r+b") as f:
                    self.ram = mmap.mmap(f.fileno(), MEMORY)
                # What the device looks at meanwhile is written in one piece, which struct.pack_into() does not promise.
                self.words = memoryview(self.ram).cast("H")
            self.ask("irq_intercept_in")
        except BaseException:
            self._kill()
            raise
        finally:
            listener.close()

    def _connect(self, listener):
        end = time.monotonic() + LIMIT
        while not select.select([listener], [], [], 0.05)[0]:
            assert self.process.poll() is None, f"the VMM did not start: {self.stderr()}"
            assert time.monotonic() < end, "the VMM does not connect"
        self.sock, _ = listener.accept()
        self.sock.settimeout(LIMIT)

    def path(self, name):
        return os.path.join(self.folder, name)

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, kind, *exc):
        try:
            if self.process.poll() is None and self.status is None:
                self.process.terminate()
                self.end(0)
            assert self.process.returncode == (self.status or 0), \
                f"exit status {self.process.returncode}\n{self.stderr()}"
        finally:
            self._kill()

    def _kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.words:
            self.words.release()
        for thing in (self.sock, self.monitor, self.orders, self.errors, self.ram):
            if thing:
                thing.close()
        shutil.rmtree(self.folder)

    def end(self, status):
        """The VMM must end by itself, or has been told to."""
        self.status = status
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise AssertionError("the VMM does not end") from None
        assert self.process.returncode == status, f"exit status {self.process.returncode}\n{self.stderr()}"

    # --- The protocol ---

    def _line(self):
        while b"\n" not in self.data:
            try:
                got = self.sock.recv(1 << 20)
            except ConnectionError:
                got = b""
            if not got:
                raise Ended(self.stderr())
            self.data += got
        line, self.data = self.data.split(b"\n", 1)
        return line.decode().rstrip("\r")

    def _irq(self, line):
        if not line.startswith("IRQ "):
            return False
        _, change, number = line.split()
        self.irqs.append((change, int(number)))
        return True

    def send(self, line):
        try:
            self.sock.sendall(line if isinstance(line, bytes) else line.encode() + b"\n")
        except ConnectionError:
            raise Ended(self.stderr()) from None

    def reply(self):
        while True:
            line = self._line()
            if not self._irq(line):
                return line

    def ask(self, line):
        """One request; what follows OK."""
        self.send(line)
        reply = self.reply()
        if reply.split(" ", 1)[0] != "OK":
            raise Refused(reply)
        return reply[3:]

    def read(self, width, addr):
        return int(self.ask(f"read{'_bw_l___q'[width]} {addr:#x}"), 16)

    def write(self, width, addr, value):
        self.ask(f"write{'_bw_l___q'[width]} {addr:#x} {value:#x}")

    def inp(self, port, width=1):
        return int(self.ask(f"in{'_bw_l'[width]} {port:#x}"), 16)

    def out(self, port, value, width=1):
        self.ask(f"out{'_bw_l'[width]} {port:#x} {value:#x}")

    def settle(self):
        """Everything that is under way in the VMM, and not the host's to do, is done afterwards."""
        self.step(0)

    def step(self, ns=None):
        return int(self.ask("clock_step" if ns is None else f"clock_step {ns}"))

    def pending(self, irq):
        return self.ask(f"query_intx {irq}") == "TRUE"

    def eoi(self, irq):
        return self.ask(f"eoi_intx {irq}") == "TRUE"

    def until(self, condition, what, limit=LIMIT):
        """Waits for a condition. Interrupts that are told wake it up at once, and now and then it looks by itself."""
        end = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what}"
            if b"\n" in self.data or select.select([self.sock], [], [], 0.002)[0]:
                assert self._irq(self._line())

    # --- QMP ---

    def qmp(self, command, **arguments):
        message = self.qmp_raw(command, **arguments)
        assert "error" not in message, message
        return message["return"]

    def event(self, name=None):
        """The next event, or the next of that name, before which others are dropped. It must come."""
        while True:
            while not self.events:
                self.events.append(json.loads(self.monitor.readline()))
            event = self.events.pop(0)
            if name in (None, event["event"]):
                return event

    def qmp_raw(self, command, **arguments):
        """The whole answer, which may be an error."""
        if not self.monitor:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(LIMIT)
            sock.connect(self.path("qmp"))
            # Two files: one for both would forget what it has read ahead when it is written to.
            self.monitor, self.orders = sock.makefile("r", encoding="utf-8"), sock.makefile("w", encoding="utf-8")
            sock.close()
            json.loads(self.monitor.readline())
            self.qmp("qmp_capabilities")
        request = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        self.orders.write(json.dumps(request) + "\n")
        self.orders.flush()
        while True:
            message = json.loads(self.monitor.readline())
            if "event" not in message:
                return message
            self.events.append(message)
