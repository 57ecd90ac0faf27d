# SPDX-License-Identifier: Apache-2.0
"""What is done when the guest reboots, ends or panics (-action), and a log file that is moved away."""

import ctypes
import fcntl
import mmap
import os
import re
import resource
import signal
import socket
import subprocess

import pytest

from client import LIMIT, VM, wait_for
from test_hotplug import Guest

PANIC = ["-device", "pvpanic"]


def panicking(folder, *options):
    """A VM that waits for cont, and then panics at once."""
    guest = Guest(folder, "-S", *PANIC, *options, append="test=panic")
    return guest


def test_a_panic_ends_the_vm(tmp_path):
    with panicking(tmp_path) as vm, vm.connect() as q:
        q.run("cont")
        q.event("RESUME")
        assert q.event("GUEST_PANICKED")["data"] == {"action": "poweroff"}
        assert q.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-panic"}
        vm.end(0)


@pytest.mark.parametrize("options,shutdown", [(["-action", "panic=pause"], False), (["-no-shutdown"], True),
                                              (["-action", "panic=none,shutdown=pause", "-action", "panic=shutdown"], True)])
def test_a_panic_can_stop_the_vm(tmp_path, options, shutdown):
    with panicking(tmp_path, *options) as vm, vm.connect() as q:
        q.run("cont")
        q.event("RESUME")
        assert q.event("GUEST_PANICKED")["data"] == {"action": "pause"}
        if shutdown:
            q.event("SHUTDOWN")
        q.event("STOP")
        assert q.run("query-status") == {"running": False, "singlestep": False, "status": "guest-panicked"}
        q.run("quit")
        vm.end(0)


def test_a_panic_can_be_a_failure(tmp_path):
    with panicking(tmp_path, "-action", "panic=exit-failure") as vm, vm.connect() as q:
        q.run("cont")
        q.event("RESUME")
        assert q.event("GUEST_PANICKED")["data"] == {"action": "poweroff"}
        assert q.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-panic"}
        vm.end(1)


def test_a_panic_can_be_ignored(tmp_path):
    with panicking(tmp_path, "-action", "panic=none") as vm, vm.connect() as q:
        q.run("cont")
        q.event("RESUME")
        assert q.event("GUEST_PANICKED")["data"] == {"action": "run"}
        wait_for(lambda: "went on" in vm.console())
        assert q.run("query-status")["running"] is True


@pytest.mark.parametrize("option,reason", [("reboot=shutdown", "guest-reset"), ("reboot=shutdown,shutdown=pause", "guest-reset")])
def test_a_reboot_can_be_an_end(tmp_path, option, reason):
    with Guest(tmp_path, "-S", "-action", option, append="test=triple") as vm, vm.connect() as q:
        q.run("cont")
        q.event("RESUME")
        assert q.event("SHUTDOWN")["data"] == {"guest": True, "reason": reason}
        if "pause" not in option:
            vm.end(0)
            return
        q.event("STOP")
        assert q.run("query-status")["status"] == "shutdown"


def test_the_last_word_about_reboots_counts(tmp_path):
    with Guest(tmp_path, "-S", "-no-reboot", "-action", "reboot=reset", append="test=triple") as vm, vm.connect() as q:
        q.run("cont")
        q.event("RESUME")
        for _ in range(3):
            assert q.event("RESET")["data"] == {"guest": True, "reason": "guest-reset"}


@pytest.mark.parametrize("value,text", [("reboot=no", "reboot=no"), ("panic=reboot", "panic=reboot"), ("x=y", "'x'"), ("", "empty")])
def test_actions_that_are_refused(tmp_path, value, text):
    with VM(tmp_path, "-action", value) as vm:
        assert vm.process.wait(10) == 1
        error = vm.process.stderr.read()
        assert error.startswith("stratovirt: -action") and text in error


def test_a_log_that_was_moved_is_opened_again(tmp_path):
    log, old = tmp_path / "log", tmp_path / "log.1"
    with VM(tmp_path, "-D", "log", cwd=tmp_path) as vm, vm.connect() as q:
        os.rename(log, old)
        vm.signal(signal.SIGHUP)
        wait_for(log.exists)
        wait_for(lambda: "log opened again" in log.read_text())
        before = vm.descriptors()
        for _ in range(20):
            vm.signal(signal.SIGHUP)
        wait_for(lambda: log.read_text().count("opened again") > 1)
        assert vm.descriptors() == before
        assert "opened again" not in old.read_text()
        assert q.run("query-status")["status"] == "prelaunch"
        vm.signal(signal.SIGTERM)
        assert q.event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-signal"}
        vm.end(0)
    assert "signal 15" in log.read_text()


def test_without_a_log_file_a_hangup_ends_the_vm(vm):
    with vm.connect() as q:
        vm.signal(signal.SIGHUP)
        assert q.event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-signal"}
        vm.end(0)


def ignoring(number):
    return {"preexec_fn": lambda: signal.signal(number, signal.SIG_IGN)}


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_was_ignored_at_the_start_ends_nothing(tmp_path, number):
    """nohup(1), and a shell that starts something in the background."""
    with VM(tmp_path, **ignoring(number)) as vm, vm.connect() as q:
        for _ in range(3):
            vm.signal(number)
            assert q.run("query-status")["status"] == "prelaunch"
        vm.signal(signal.SIGTERM)
        assert q.event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-signal"}
        vm.end(0)


def test_a_log_is_opened_again_under_nohup(tmp_path):
    with VM(tmp_path, "-D", "log", cwd=tmp_path, **ignoring(signal.SIGHUP)) as vm, vm.connect() as q:
        os.rename(tmp_path / "log", tmp_path / "old")
        vm.signal(signal.SIGHUP)
        wait_for(lambda: (tmp_path / "log").exists() and "opened again" in (tmp_path / "log").read_text())
        assert q.run("query-status")["status"] == "prelaunch"


def test_a_limit_of_file_size_loses_lines_and_ends_nothing(tmp_path):
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))}
    with VM(tmp_path, "-D", f"{tmp_path}/log", **limit) as vm, vm.connect() as q:
        assert q.run("query-status")["status"] == "prelaunch"
        q.run("quit")
        vm.end(0)
    assert (tmp_path / "log").stat().st_size == 4


def test_a_log_cannot_hold_the_vm_up(tmp_path):
    """A pipe: one that nobody has opened is refused, one that nobody reads loses lines."""
    os.mkfifo(tmp_path / "log")
    with VM(tmp_path, "-D", f"{tmp_path}/log", qmp=False) as vm:
        vm.end(1)
        assert "No such device or address" in vm.process.stderr.read()
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        with VM(tmp_path, "-D", f"{tmp_path}/log", env={**os.environ, "STRATOVIRT_LOG_LEVEL": "trace"}) as vm, \
                vm.connect() as q:
            for _ in range(100):
                vm.signal(signal.SIGHUP)
                q.run("query-kvm")
            os.close(reader)
            reader = -1
            vm.signal(signal.SIGHUP)
            assert q.run("query-status")["status"] == "prelaunch"
            q.run("quit")
            vm.end(0)
    finally:
        if reader >= 0:
            os.close(reader)


def test_a_log_that_cannot_be_opened_again_ends_nothing(tmp_path):
    (tmp_path / "logs").mkdir()
    with VM(tmp_path, "-D", "logs/log", cwd=tmp_path) as vm, vm.connect() as q:
        os.rename(tmp_path / "logs", tmp_path / "gone")
        vm.signal(signal.SIGHUP)
        wait_for(lambda: "cannot" in (tmp_path / "gone/log").read_text() or "log file" in (tmp_path / "gone/log").read_text())
        assert q.run("query-status")["status"] == "prelaunch"


def test_ten_resets_in_a_row_leave_memory_as_it_was(tmp_path):
    with Guest(tmp_path, "-smp", "2") as vm, vm.connect() as q:
        vm.ready()

        def private():
            """KiB of the process that no file is behind."""
            with open(f"/proc/{vm.process.pid}/status") as f:
                return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1))

        def reset():
            booted = vm.console().count("ready\n")
            q.run("system_reset")
            assert q.event("RESET")["data"]["guest"] is False
            wait_for(lambda: vm.console().count("ready\n") > booted)

        reset()
        before = private(), vm.descriptors(), len(os.listdir(f"/proc/{vm.process.pid}/task"))
        for _ in range(10):
            reset()
        assert private() - before[0] < 1024, "KiB that stay"
        assert (vm.descriptors(), len(os.listdir(f"/proc/{vm.process.pid}/task"))) == before[1:]


def test_a_serial_port_on_a_socket(tmp_path):
    """What a guest writes is sent by the vCPU's own thread, whose filter must know."""
    vm = VM(tmp_path, "-chardev", f"socket,id=c0,path={tmp_path}/console,server=on,wait=off", "-device", "isa-debug-exit",
            append="test=hello")
    vm.command[vm.command.index("null")] = "chardev:c0"
    with vm, vm.connect() as q, socket.socket(socket.AF_UNIX) as console:
        console.settimeout(LIMIT)
        console.connect(f"{tmp_path}/console")
        q.run("cont")
        text = b""
        while data := console.recv(4096):
            text += data
        assert b"hello from ring 3" in text
        vm.end(0x10 << 1 | 1)


def locked_bytes(vm):
    with open(f"/proc/{vm.process.pid}/status") as status:
        return int(re.search(r"VmLck:\s+(\d+) kB", status.read())[1]) << 10


def may_lock(size):
    """Whether this process, and so a VM of it, may lock that much."""
    libc, memory = ctypes.CDLL(None, use_errno=True), mmap.mmap(-1, size)
    return libc.mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory))), ctypes.c_size_t(size)) == 0


def test_memory_is_locked(tmp_path):
    if may_lock(256 << 20):
        with VM(tmp_path, "-overcommit", "mem-lock=on") as vm, vm.connect():
            assert locked_bytes(vm) >= 128 << 20
    with VM(tmp_path, "-overcommit", "mem-lock=off") as vm, vm.connect():
        assert locked_bytes(vm) < 64 << 20


def test_memory_that_may_not_be_locked_is_an_error(tmp_path):
    drop = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"]
    if os.geteuid() or subprocess.run([*drop, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        drop = []  # there is nothing that could be dropped
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))}
    vm = VM(tmp_path, "-overcommit", "mem-lock=on", **limit)
    vm.command = drop + vm.command
    with vm:
        vm.end(1)
        assert "-overcommit mem-lock=on" in vm.process.stderr.read()
