# SPDX-License-Identifier: Apache-2.0
"""Starts the VMM with a stock kernel and collects what the guest and the host say about it."""

import collections
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "images"))
import images  # noqa: E402

AARCH64 = images.ARCH == "aarch64"
STRATOVIRT = os.environ.get("STRATOVIRT") or os.path.join(
    TOP, "build", "" if images.ARCH == "x86_64" else images.ARCH, "stratovirt")
# Inside the machine that tests/rig/run makes where the host's KVM cannot boot Linux.
NESTED = os.path.exists("/run/rig/job")
# A boot takes some 6 s under TCG; the machine may be busy with other things.
BOOT_TIMEOUT = float(os.environ.get("STRATOVIRT_BOOT_TIMEOUT", "90"))
# mitigations=off: under TCG, nested guests hang at their RETBleed line without it.
COMMAND_LINE = f"console={'ttyAMA0' if AARCH64 else 'ttyS0'} quiet mitigations=off"

Thread = collections.namedtuple("Thread", "name run_ns")


class GuestFailed(Exception):
    """The guest did not do as asked; the text holds its console."""


def read_threads(pid):
    """{tid: Thread} of a process, with the processor time that each has had."""
    threads = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{tid}/comm") as f:
                name = f.read().strip()
            with open(f"/proc/{pid}/task/{tid}/schedstat") as f:
                threads[int(tid)] = Thread(name, int(f.read().split()[0]))
        except FileNotFoundError:
            continue
    return threads


def huge_pages():
    """(all, free) huge pages of the default size."""
    with open("/proc/meminfo") as f:
        found = dict(re.findall(r"^HugePages_(Total|Free):\s+(\d+)", f.read(), re.M))
    return int(found["Total"]), int(found["Free"])


class Guest:
    """One run of the VMM, used as a context: leaving it ends the process and removes the files.

    The guest's script prints "== NAME" lines; what follows each is in sections[NAME].
    """

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="linux-ring-")
        self.process = None
        self.console = ""
        self.errors = ""
        self.status = None
        self.threads = {}
        self.sections = {}
        self.seconds = None
        self.huge_pages_in_use = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()
        try:
            with open(self.path("stderr"), errors="replace") as f:
                refused = [line for line in f if "is not allowed; -sandbox log" in line]
        except FileNotFoundError:
            refused = []
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not refused, refused

    def path(self, name):
        return os.path.join(self.folder, name)

    def root_image(self, name="root.img"):
        return shutil.copy(images.rootfs(), self.path(name))

    def plain_image(self, name, size, fill=b"\xa5"):
        """An image whose every block is there, filled with one byte."""
        with open(self.path(name), "wb") as f:
            for _ in range(size >> 20):
                f.write(fill * (1 << 20))
        return self.path(name)

    def run(self, *options, script=None, append="", kernel=None, machine="microvm", smp=1,
            memory="256", answers=None, timeout=BOOT_TIMEOUT, programs=None, modules=None,
            describe=None):
        """Runs one VM from start to its own end. `modules` is the folder of a kernel other than the cloud one,
        whose drivers the initramfs then has. `answers` maps a line of the console to what is then typed; `programs` {name: bytes} are in /run/sv for the script. Raises GuestFailed when
        it does not end in time. `describe`, given kernel, initrd and command line, makes the file for -config that
        then says all this instead of options."""
        if script is not None:
            append = f"{append} sv.run=script"
        initrd = images.with_scripts(images.initramfs(modules), self.path("initrd"),
                                     {**({"script": script} if script else {}),
                                      **(programs or {})})
        command = [STRATOVIRT, "-machine", machine, "-cpu", "host", "-smp", str(smp),
                   "-m", memory, "-kernel", kernel or images.vmlinuz(), "-initrd", initrd,
                   "-append", f"{COMMAND_LINE} {append}", "-serial", "stdio", *options]
        if describe:
            with open(self.path("vm.json"), "w") as f:
                json.dump(describe(kernel or images.vmlinuz(), initrd, f"{COMMAND_LINE} {append}"), f)
            command = [STRATOVIRT, "-config", "vm.json", *options]
        self.command = command
        self._run_once(command, answers, timeout)
        if NESTED and "triple fault" in self.errors and "#sv-begin" not in self.console:
            # What TCG does now and then to a guest of several CPUs (tests/rig/README.md), here before the
            # guest has touched anything. Said aloud, and done once: a fault of ours would come again.
            print("the rig lost the guest while it booted; once more", file=sys.stderr)
            self._run_once(command, answers, timeout)
        return self

    def run_firmware(self, *options, answers=None, timeout=BOOT_TIMEOUT, memory="512", smp=1,
                     machine="q35"):
        """Runs @machine from its firmware, which @options name, to the VM's own end."""
        self.command = [STRATOVIRT, "-machine", machine, "-cpu", "host", "-smp", str(smp), "-m", memory,
                        "-serial", "stdio", *options]
        self.sections = {}
        self._run_once(self.command, answers, timeout)
        return self

    def _run_once(self, command, answers, timeout):
        begin = time.monotonic()
        with open(self.path("stderr"), "wb") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors,
                                            stdout=subprocess.PIPE, cwd=self.folder)
        try:
            self._follow(answers or {}, begin + timeout)
        finally:
            with open(self.path("stderr"), errors="replace") as f:
                self.errors = f.read()
        self.seconds = time.monotonic() - begin
        self.status = self.process.returncode
        self._parse()

    def _follow(self, answers, deadline):
        answers = dict(answers)
        fd = self.process.stdout.fileno()
        seen = b""
        looked_at_begin = looked_at_end = False
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                self.console = seen.decode(errors="replace").replace("\r", "")
                raise GuestFailed(f"no end in time: {self.report()}")
            data = os.read(fd, 65536)
            seen += data
            self.console = seen.decode(errors="replace").replace("\r", "")
            if not looked_at_begin and "#sv-begin" in self.console:
                looked_at_begin = True
                total, free = huge_pages()
                self.huge_pages_in_use = total - free
            # The guest waits for an answer here, so the process is sure to be there still.
            if not looked_at_end and "#sv-ready" in self.console:
                looked_at_end = True
                self.threads = read_threads(self.process.pid)
            for line in [a for a in answers if a in self.console]:
                self.process.stdin.write(answers.pop(line))
                self.process.stdin.flush()
            if not data:
                break
        try:
            self.process.wait(max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise GuestFailed(f"closed its output and did not exit: {self.report()}") from None

    def _parse(self):
        """Sorts the console's lines into sections, without what the kernel says in between."""
        name = None
        for line in self.console.split("\n"):
            if line.startswith("== "):
                name = line[3:].strip()
                self.sections[name] = ""
            elif line.startswith("#sv-"):
                name = None
            elif name is not None and not re.match(r"\[ *\d+\.\d+\] ", line):
                self.sections[name] += line + "\n"

    def section(self, name):
        if name not in self.sections:
            raise GuestFailed(f"the guest printed nothing about {name}: {self.report()}")
        return self.sections[name].strip()

    def finished(self):
        """True when the guest's script ran to its end."""
        return "#sv-end script 0" in self.console

    def check_finished(self):
        if not self.finished() or self.status != 0:
            raise GuestFailed(self.report())
        return self

    def report(self):
        return (f"{' '.join(self.command)}\nexit status {self.process.poll()}\n"
                f"stderr: {self.errors[-3000:]}\nconsole: {self.console[-4000:]}")


def compile_tool(guest, name):
    """A static program of this folder for the guest's script: {name: bytes}."""
    path = guest.path(name)
    subprocess.run(["gcc", "-static", "-O2", "-o", path,
                    os.path.join(os.path.dirname(os.path.realpath(__file__)), name + ".c")], check=True)
    with open(path, "rb") as f:
        return {name: f.read()}


class Pauser(threading.Thread):
    """Stops a VM and lets it go on, by QMP, over and over between two lines of its console."""

    def __init__(self, guest, begin, end):
        super().__init__(daemon=True)
        self.guest, self.begin_text, self.end_text = guest, begin, end
        self.options = ("-qmp", f"unix:{guest.path('pauser')},server,nowait")
        self.count = 0
        self.error = None
        self.start()

    def _until(self, text):
        limit = time.monotonic() + 2 * BOOT_TIMEOUT
        while text not in self.guest.console:
            if time.monotonic() > limit:
                raise GuestFailed(f"waited in vain for {text}")
            time.sleep(0.05)

    def run(self):
        try:
            self._until(self.begin_text)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(BOOT_TIMEOUT)
                sock.connect(self.guest.path("pauser"))
                lines = sock.makefile("r")
                lines.readline()
                self._ask(sock, lines, "qmp_capabilities")
                while self.end_text not in self.guest.console:
                    self._ask(sock, lines, "stop")
                    self._ask(sock, lines, "cont")
                    self.count += 1
                    time.sleep(0.1)  # the guest gets somewhere in between
        except Exception as e:
            self.error = repr(e)

    def _ask(self, sock, lines, command):
        sock.sendall(json.dumps({"execute": command}).encode())
        while "event" in (answer := json.loads(lines.readline())):
            pass
        if "return" not in answer:
            raise GuestFailed(str(answer))

    def check(self):
        self.join(10)
        assert self.error is None
        assert self.count >= 3, f"{self.count} pauses"
