# SPDX-License-Identifier: Apache-2.0
"""Kata's runtime with its StratoVirt driver, every method of it: the command line as it writes it, the messages that its library (govmm)
sends, to the letter, and what the driver takes for granted of the answers."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from client import Client, GUEST_ELF, LIMIT, QmpError, STRATOVIRT, TOP, listens, wait_for

sys.path.append(os.path.join(TOP, "tests", "device"))
import tap  # noqa: E402

MIB = 1 << 20
ROOT = "root=/dev/vda1 rootflags=data=ordered,errors=remount-ro ro rootfstype=ext4"
DEFAULTS = "reboot=k panic=1 net.ifnames=0 ramdom.trust_cpu=on pci=off iommu=off acpi=off"
QUIET = "quiet 8250.nr_uarts=0 agent.log_vport=1025"
DEBUG = "debug console=hvc0"


class Sandbox:
    """The driver's struct. Its names for ids and files; @kernel_params is what the configuration file adds."""

    def __init__(self, folder, kernel_params="test=hotplug", image=True, debug=False, shared=False, taps=(), cpus=1):
        self.folder, self.debug = folder, debug
        self.socket = str(folder / "qmp.socket")
        self.drives = {}
        for name, size in (("image", 8 * MIB), ("initrd", MIB)):
            (folder / name).write_bytes(bytes(size))
        append = [kernel_params, *([ROOT] if image else []), DEFAULTS, DEBUG if debug else QUIET]
        self.words = ["-name", "sandbox-c0ffee", "-uuid", "12345678-1234-1234-1234-123456789abc", "-smp", str(cpus), "-m", "256",
                      "-kernel", GUEST_ELF, "-append", " ".join(append), "-qmp", f"unix:{self.socket},server,nowait", "-D",
                      "-disable-seccomp", "-machine", "type=microvm,dump-guest-core=off" + ",mem-share=on" * shared]
        if not image:
            self.words += ["-initrd", str(folder / "initrd")]
        self.words += ["-object", "rng-random,id=objrng0,filename=/dev/urandom", "-device", "virtio-rng-device,rng=objrng0,id=virtio-rng0"]
        if debug:
            self.words += ["-device", "virtio-serial-device,id=virtio-serial0",
                           "-chardev", f"socket,id=charconsole0,path={folder}/console.socket,server,nowait",
                           "-device", "virtconsole,chardev=charconsole0,id=virtio-console0,nr=0"]
        if image:
            self.words += ["-drive", f"id=rootfs,file={folder}/image,readonly=on,direct=off",
                           "-device", "virtio-blk-device,drive=rootfs,id=virtio-blk0"]
        self.slots = [image, False, False, False]
        if taps:
            self.words += ["-netdev", f"tap,id=eth0,fds={':'.join(map(str, taps))}",
                           "-device", "virtio-net-device,netdev=eth0,id=eth0,mac=52:54:00:12:34:56"]
        self.taps = taps
        self.process = self.monitor = None

    def __enter__(self):
        return self.start_vm()

    def __exit__(self, *exc):
        if self.monitor:
            self.monitor.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def start_vm(self):
        """StartVM, waitVM. The serial port is the test's, to see what the guest says."""
        self.process = subprocess.Popen(
            [STRATOVIRT, *self.words, "-serial", f"file:{self.folder}/serial"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, pass_fds=self.taps, env={"STRATOVIRT_LOG_LEVEL": "info"} if self.debug else {})
        wait_for(lambda: self.process.poll() is not None or listens(self.socket))
        assert self.process.poll() is None
        self.qmp().close()
        self.monitor = None
        return self

    def qmp(self):
        """qmpSetup, which Check is as well: one connection, made when it is needed."""
        if not self.monitor:
            self.monitor = Client(self.socket, negotiate=False)
            assert self.monitor.greeting["QMP"]["version"]["qemu"]["major"] >= 5  # it refuses others
            self.execute("qmp_capabilities")
        return self.monitor

    def execute(self, command, arguments=None):
        """As Go writes JSON: keys in alphabetical order, no blanks, a line."""
        request = {"execute": command} if arguments is None else {"arguments": arguments, "execute": command}
        self.monitor.send(json.dumps(request, sort_keys=True, separators=(",", ":")) + "\n")
        return self.monitor.result()

    def hotplug(self, drive, file, path):
        """HotplugAddDevice: the slot is that of the name which the disk shall have in the guest."""
        self.qmp()
        try:
            self.execute("blockdev-add", {"driver": "raw", "read-only": False, "node-name": drive,
                                          "file": {"driver": "file", "filename": str(file), "aio": "native"}})
            slot = ord(path[len("/dev/vd")]) - ord("a")
            assert not self.slots[slot]
            # No option ROM, said of every device: the library takes all of them for PCI's.
            self.execute("device_add", {"id": drive, "driver": "virtio-blk-mmio", "drive": drive, "addr": str(slot), "romfile": ""})
        except QmpError:
            self.execute("blockdev-del", {"node-name": drive})
            raise
        self.slots[slot] = True
        self.drives[drive] = slot

    def unplug(self, drive):
        """HotplugRemoveDevice: nothing but device_del, which is done when the event has come."""
        self.slots[self.drives.pop(drive)] = False
        self.qmp()
        self.execute("device_del", {"id": drive})
        while self.monitor.event("DEVICE_DELETED")["data"]["device"] != drive:
            pass

    def thread_ids(self):
        """GetThreadIDs"""
        self.qmp()
        return {cpu["CPU"]: cpu["thread_id"] for cpu in self.execute("query-cpus") if cpu["thread_id"] > 0}

    def stop_vm(self, wait_only=False):
        self.qmp()
        if wait_only:
            self.execute("quit")  # in the runtime's stead the agent ends the guest
        else:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(LIMIT)

    def serial(self, text):
        """What the guest has said so far."""
        file = self.folder / "serial"
        return re.findall(text, file.read_text(errors="replace"), re.M) if file.exists() else []

    def descriptors(self):
        return sorted(os.readlink(f"/proc/{self.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{self.process.pid}/fd"))


def disk(folder, name):
    (folder / name).write_bytes(bytes(MIB))
    return folder / name


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_a_sandbox_starts_and_stops(tmp_path, debug, shared):
    with Sandbox(tmp_path, debug=debug, shared=shared, image=debug, cpus=2) as sandbox:
        threads = sandbox.thread_ids()
        assert sorted(threads) == [0, 1]
        for number, thread in threads.items():
            with open(f"/proc/{sandbox.process.pid}/task/{thread}/comm", encoding="ascii") as f:
                assert f.read() == f"CPU {number}/KVM\n"
        assert sandbox.execute("query-status")["status"] == "running"
        if debug:
            wait_for(lambda: listens(str(tmp_path / "console.socket")))  # GetVMConsole
        sandbox.monitor.close()  # Disconnect, and Check afterwards
        sandbox.monitor = None
        sandbox.qmp()
        sandbox.stop_vm(wait_only=True)
        assert sandbox.process.returncode == 0
        # The driver's log parser, which reads the standard output, looks for these words and takes other lines for errors. The log
        # has gone to the standard error since StratoVirt 2.
        assert sandbox.process.stdout.read() == ""
        log = sandbox.process.stderr.read()
        assert all(re.search(r"[^:]:(INFO|WARN): ", line) for line in log.splitlines()), log
        assert bool(log) == debug


def test_disks_come_and_go_by_device_del_alone(tmp_path):
    """Afterwards their images are nobody's: the runtime detaches volumes from the host then, or gives them to the next container."""
    volumes = [disk(tmp_path, f"volume{i}") for i in range(3)]
    with Sandbox(tmp_path) as sandbox:
        wait_for(lambda: sandbox.serial("^ready$"))
        sandbox.qmp()
        before = sandbox.descriptors()
        for turn in range(3):
            for i, path in enumerate(("/dev/vdb", "/dev/vdc", "/dev/vdd")):
                sandbox.hotplug(f"drive-{turn}{i:07x}", volumes[(i + turn) % 3], path)
                assert str(volumes[(i + turn) % 3]) in sandbox.descriptors()
            for number in (1, 2, 3):
                wait_for(lambda: sandbox.serial(rf"^disk {number}: (.*)\n")[-1] == "works")
            for i in range(3):
                sandbox.unplug(f"drive-{turn}{i:07x}")
                wait_for(lambda: sandbox.serial(rf"^disk {i + 1}: (.*)\n")[-1] in ("0 sectors", "fails"))
            assert sandbox.descriptors() == before
            assert [node["node-name"] for node in sandbox.execute("query-named-block-nodes") if node["node-name"].startswith("drive")] == []
        assert not sandbox.serial("FAIL")
        sandbox.stop_vm()


def test_a_node_that_went_with_its_disk_can_be_deleted_once(tmp_path):
    """As QEMU's clients do, and ours."""
    volume = disk(tmp_path, "volume")
    with Sandbox(tmp_path) as sandbox:
        sandbox.hotplug("drive-1", volume, "/dev/vdb")
        with pytest.raises(QmpError, match="busy"):
            sandbox.execute("blockdev-del", {"node-name": "drive-1"})
        sandbox.unplug("drive-1")
        sandbox.execute("blockdev-del", {"node-name": "drive-1"})
        with pytest.raises(QmpError, match="drive-1"):
            sandbox.execute("blockdev-del", {"node-name": "drive-1"})
        # A new one of that name is not taken for the old one.
        sandbox.hotplug("drive-1", volume, "/dev/vdb")
        sandbox.unplug("drive-1")
        sandbox.execute("blockdev-add", {"driver": "file", "node-name": "drive-1", "filename": str(volume)})
        sandbox.execute("blockdev-del", {"node-name": "drive-1"})
        with pytest.raises(QmpError, match="drive-1"):
            sandbox.execute("blockdev-del", {"node-name": "drive-1"})
        # A node of another name stays.
        sandbox.execute("blockdev-add", {"driver": "file", "node-name": "data", "filename": str(volume)})
        sandbox.execute("device_add", {"id": "drive-2", "driver": "virtio-blk-mmio", "drive": "data", "addr": "1"})
        sandbox.execute("device_del", {"id": "drive-2"})
        assert sandbox.monitor.event("DEVICE_DELETED")["data"]["device"] == "drive-2"
        assert "data" in [node["node-name"] for node in sandbox.execute("query-named-block-nodes")]
        sandbox.stop_vm(wait_only=True)


def test_a_disk_that_cannot_be_plugged_leaves_nothing(tmp_path):
    volume = disk(tmp_path, "volume")
    with Sandbox(tmp_path) as sandbox:
        sandbox.qmp()
        before = sandbox.descriptors()
        sandbox.slots[0] = False  # as if the runtime had forgotten the root disk
        with pytest.raises(QmpError, match="slot 0 is occupied"):
            sandbox.hotplug("drive-1", volume, "/dev/vda")
        assert sandbox.descriptors() == before
        sandbox.hotplug("drive-1", volume, "/dev/vdb")
        sandbox.stop_vm()


@pytest.mark.parametrize("queues", [1, 2])
def test_a_network_by_descriptors(tmp_path, queues):
    """One for each vCPU, as the runtime opens them; the netdev and its card have one name."""
    network = tap.Tap(str(tmp_path), queues)
    with Sandbox(tmp_path, taps=tuple(network.fds), cpus=queues) as sandbox:
        wait_for(lambda: sandbox.serial("^ready$"))
        sandbox.qmp()
        assert sandbox.execute("qom-get", {"path": "/machine/peripheral/eth0", "property": "netdev"}) == "eth0"
        sandbox.stop_vm(wait_only=True)
        assert sandbox.process.returncode == 0


def test_after_a_kill_the_same_folder_serves_again(tmp_path):
    with Sandbox(tmp_path, debug=True) as sandbox:
        sandbox.stop_vm()
        assert sorted(p.name for p in tmp_path.glob("*.socket")) == ["console.socket", "qmp.socket"]
    with Sandbox(tmp_path, debug=True) as sandbox:
        assert len(sandbox.thread_ids()) == 1
        sandbox.stop_vm(wait_only=True)
