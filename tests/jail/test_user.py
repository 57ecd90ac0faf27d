# SPDX-License-Identifier: Apache-2.0
"""An ordinary user whose only privilege is the group of /dev/kvm runs a whole VM: a kernel, a disk, a console and a monitor on sockets in
$XDG_RUNTIME_DIR, the network by that user's own passt. Nothing here is done by root but what a login does: a user, a group, a directory.
"""

import contextlib
import ctypes
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
UID, GID = 23458, 23459
PASSED = 0x10 << 1 | 1
SECTORS = 32768
LIMIT = 60

for folder in "qmp", "guest":
    sys.path.insert(0, os.path.join(TOP, "tests", folder))
from client import Client, QmpError  # noqa: E402
from vmm import SECTOR, write_image  # noqa: E402

# The network of the host, as passt looks at it; in a namespace of its own, so that any machine will do.
NETWORK = ("ip link set lo up", "ip tuntap add dev up0 mode tap", "ip addr add 10.9.8.76/24 dev up0", "ip link set up0 up",
           "ip route add default via 10.9.8.1 dev up0")
CLONE_NEWNET = 0x40000000


@pytest.fixture
def home():
    """What a login gives: $XDG_RUNTIME_DIR, here with copies of the programs, which may lie where others cannot reach."""
    node = os.stat("/dev/kvm")
    if not node.st_mode & 0o060 == 0o060:
        os.chmod("/dev/kvm", node.st_mode | 0o060)
    path = tempfile.mkdtemp(prefix="user-", dir="/tmp")  # sockets have short paths
    for name in "build/stratovirt", "build/static/stratovirt", "build/guest/guest.elf":
        shutil.copy(os.path.join(TOP, name), os.path.join(path, name.replace("/", "-")))
    for name in "disk", "more":
        write_image(f"{path}/{name}", SECTORS)
    for name in ".", "disk", "more":
        os.chown(f"{path}/{name}", UID, GID)
    try:
        yield path
    finally:
        os.chmod("/dev/kvm", node.st_mode)
        shutil.rmtree(path)


@contextlib.contextmanager
def as_user(home, *command, before=None):
    """A process of that user, without a capability that it could ever get back but by a program that gives some."""
    user = ["setpriv", f"--reuid={UID}", f"--regid={GID}", f"--groups={os.stat('/dev/kvm').st_gid}", "--inh-caps=-all",
            "--pdeathsig=KILL"]
    with open(f"{home}/{os.path.basename(command[0])}.log", "w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen([*user, *command], cwd=home, env={"XDG_RUNTIME_DIR": home, "HOME": home, "PATH": os.environ["PATH"]},
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=before)
        try:
            yield process
        except Exception:
            log.seek(0)
            print(log.read())
            raise
        finally:
            process.kill()
            process.wait()


def in_a_network():
    if ctypes.CDLL(None).unshare(CLONE_NEWNET) or any(subprocess.call(line.split()) for line in NETWORK):
        os._exit(77)


def wait_for(what, process):
    end = time.monotonic() + LIMIT
    while not what():
        assert process.poll() is None, f"exit status {process.returncode}"
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def event(monitor, name):
    while True:
        message = monitor.event()
        if message["event"] == name:
            return message["data"]


def check_privileges(pid, home):
    kvm = os.stat("/dev/kvm").st_gid
    for tid in os.listdir(f"/proc/{pid}/task"):
        status = status_of(f"{pid}/task/{tid}")
        assert status["Uid"].split() == [str(UID)] * 4 and status["Groups"].split() == [str(kvm)]
        for name in "CapInh", "CapPrm", "CapEff", "CapAmb":
            assert int(status[name], 16) == 0
        if status["Name"] == "stratovirt":
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    for name in "monitor", "console":
        entry = os.stat(f"{home}/{name}")
        assert stat.S_ISSOCK(entry.st_mode) and (stat.S_IMODE(entry.st_mode), entry.st_uid) == (0o600, UID)


@pytest.mark.parametrize("program", ["build-stratovirt", "build-static-stratovirt"])
def test_an_ordinary_user_runs_a_whole_vm(home, program):
    passt = shutil.which("passt")
    assert passt, "passt is missing: tests/tools/install-deps check"
    options = ["-machine", "microvm,acpi=off", "-smp", "2", "-m", "128", "-S", "-no-reboot", "-kernel", f"{home}/build-guest-guest.elf",
               "-append", f"test=blk capacity={SECTORS} serial=SER-123 queues=2 queue-size=256",
               "-device", "isa-debug-exit", "-qmp", f"unix:{home}/monitor,server,nowait",
               "-chardev", f"socket,id=c0,path={home}/console,server=on,wait=off", "-serial", "chardev:c0",
               "-object", "iothread,id=io0", "-drive", f"id=d0,file={home}/disk,format=raw,if=none,discard=unmap",
               "-device", "virtio-blk-device,drive=d0,id=b0,serial=SER-123,num-queues=2,queue-size=256,iothread=io0",
               "-netdev", f"stream,id=n0,server=off,addr.type=unix,addr.path={home}/passt.sock,reconnect=1",
               "-device", "virtio-net-device,netdev=n0,id=net0"]
    with as_user(home, f"{home}/{program}", *options) as vm:
        wait_for(lambda: os.path.exists(f"{home}/monitor"), vm)
        with Client(f"{home}/monitor") as monitor, socket.socket(socket.AF_UNIX) as console:
            check_privileges(vm.pid, home)
            with as_user(home, passt, "--foreground", "--ipv4-only", "--socket", f"{home}/passt.sock", before=in_a_network):
                assert event(monitor, "NETDEV_STREAM_CONNECTED")["netdev-id"] == "n0"
            event(monitor, "NETDEV_STREAM_DISCONNECTED")  # the user ended it
            # What a monitor asks for is opened as the user, too.
            monitor.run("blockdev-add", driver="file", node_name="more", filename=f"{home}/more")
            monitor.run("device_add", driver="virtio-blk-mmio", id="more", drive="more")
            with pytest.raises(QmpError, match="Permission denied"):
                monitor.run("blockdev-add", driver="file", node_name="secret", filename="/etc/shadow")
            console.settimeout(LIMIT)
            console.connect(f"{home}/console")
            monitor.run("cont")
            text = b""
            while data := console.recv(4096):
                text += data
        assert vm.wait(LIMIT) == PASSED, text
    with open(f"{home}/disk", "rb") as image:  # the guest wrote there, numbers inverted
        image.seek(1024 * SECTOR)
        assert struct.unpack("<Q", image.read(8))[0] == ~1024 & (1 << 64) - 1
