# SPDX-License-Identifier: Apache-2.0
"""A stock Debian kernel in the domain of docs/libvirt.md, and its console as virsh shows it."""

import os
import pty
import re
import select
import shutil
import signal
import sys
import termios
import time
import uuid

import libvirt_vm
from libvirt_vm import STRATOVIRT, TOP, documented_xml, replaced, without_firmware

sys.path.insert(0, os.path.join(TOP, "tests", "images"))
import images  # noqa: E402

# What a distribution's own start-up would do: heed the power button, addresses, a login on the console of the documentation. It never ends.
SCRIPT = """
echo root::0:0:root:/root:/bin/sh >/etc/passwd
echo root:x:0: >/etc/group
mkdir -p /root
tries=0; while [ ! -e /dev/input/event0 -o ! -e /dev/hvc0 ] && [ $tries -lt 600 ]; do tries=$((tries + 1)); usleep 50000; done
# Opened before anybody can log in: what was pressed earlier nobody is told.
if [ -e /dev/input/event0 ]; then exec 3</dev/input/event0; (head -c 24 <&3 >/dev/null; poweroff -f) & fi
ifconfig eth0 10.79.0.2 netmask 255.255.255.0 up
ifconfig eth1 10.79.1.2 netmask 255.255.255.0 up
while :; do getty -L 115200 hvc0 vt100; done
"""
MODULES = "virtio_net,virtio_console,virtio_balloon,vmw_vsock_virtio_transport,button,evdev,pvpanic_mmio,qemu_fw_cfg"
CONSOLE = "ttyAMA0" if images.ARCH == "aarch64" else "ttyS0"
BOOT = float(os.environ.get("STRATOVIRT_BOOT_TIMEOUT", "120"))


class LinuxDomain(libvirt_vm.Domain):
    """As Domain, but the XML is the documentation's, with what is here in the places of what it names."""

    def __init__(self, folder, bridge, name="vm", change=without_firmware, programs=None, script=SCRIPT):
        self.name, self.folder = name, str(folder)
        shutil.copy(images.rootfs(), f"{folder}/root.img")
        initrd = images.with_scripts(images.initramfs(), f"{folder}/initrd", {"script": script, **(programs or {})})
        self.nvram = f"{folder}/vars.fd"
        self.xml = change(replaced(
            documented_xml(images.ARCH), ("/var/lib/libvirt/images/vmlinuz", images.vmlinuz()), ("/var/lib/libvirt/images/initrd.img", initrd),
            ("/var/lib/libvirt/images/root.img", f"{folder}/root.img"), ("/var/lib/libvirt/qemu/nvram/vm_VARS.fd", self.nvram),
            ("/usr/bin/stratovirt", STRATOVIRT), ("'br0'", f"'{bridge}'"), ("<name>vm</name>", f"<name>{name}</name>\n  <uuid>{uuid.uuid4()}</uuid>"),
            # mitigations=off: under TCG, nested guests hang at their RETBleed line without it. As much memory as the rig has
            # huge pages. A serial port that libvirt does not know, for what the kernel says and a failed test shows.
            ("console=hvc0 ", f"console={CONSOLE} quiet mitigations=off sv.modules={MODULES} sv.run=script "), (">512<", ">256<"),
            ("<domain type='kvm'>", "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"),
            ("</domain>", f"<qemu:commandline><qemu:arg value='-serial'/><qemu:arg value='file:{folder}/kernel.log'/>"
                          "</qemu:commandline></domain>")))

    def running(self):
        """As libvirt notes it, which is sooner said than by another virsh."""
        return os.path.exists(f"/run/libvirt/qemu/{self.name}.pid")

    def kernel_log(self):
        with open(f"{self.folder}/kernel.log", errors="replace") as f:
            return f.read()


class Console:
    """virsh console on a terminal of its own; what it showed is in text."""

    def __init__(self, domain):
        self.domain, self.text, self.seen = domain, "", 0
        self.process, self.fd = None, -1
        child, self.fd = pty.fork()
        if not child:
            try:
                os.execvp("virsh", ["virsh", "console", domain.name, "--force"])
            finally:
                os._exit(127)
        self.process = child
        self.expect("Escape character")
        # virsh says that first, and drops what was typed when it then makes the terminal raw.
        libvirt_vm.wait_for(lambda: not termios.tcgetattr(self.fd)[3] & termios.ICANON, "virsh to take what is typed")

    def _read(self, seconds):
        """Takes what there is; False when the console has ended."""
        if select.select([self.fd], [], [], max(0, seconds))[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:  # EIO: virsh has gone
                data = b""
            self.text += data.decode(errors="replace").replace("\r", "")
            return bool(data)
        return True

    def expect(self, pattern, limit=BOOT):
        """The match of @pattern behind what was expected before."""
        end = time.monotonic() + limit
        while True:
            found = re.search(pattern, self.text[self.seen:])
            if found:
                self.seen += found.end()
                return found
            alive = time.monotonic() < end and self._read(end - time.monotonic())
            assert alive or re.search(pattern, self.text[self.seen:]), self.report(f"no {pattern!r} on the console")

    def listen(self, seconds):
        """Takes what comes in that time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._read(end - time.monotonic()):
            pass

    def type(self, text):
        os.write(self.fd, text.encode())

    def run(self, command, limit=BOOT):
        """What @command prints in the guest's shell."""
        # The word in two parts, so that the echo of the line is not taken for its output.
        self.type(f"{command}; echo sv-''done\r")
        # The line may be echoed twice: by the terminal, and by a shell that began to read only then.
        return self.expect(r"(?s:.*)sv-''done\n(?s:(.*?))sv-done\n", limit).group(1).strip()

    def log_in(self, limit=BOOT):
        self.expect(r"login: ", limit)
        self.type("root\r")
        self.expect(r"# ")
        self.type("PS1=; stty cols 2000\r")  # the shell would break what it echoes

    def answers(self):
        """Whether the guest's shell is still there."""
        try:
            return self.run("echo here") == "here"
        except AssertionError as error:
            print(error)
            return False

    def report(self, what):
        return f"{what}; {self.domain.name} is {self.domain.state()}\nconsole: {self.text[-3000:]}\nkernel: {self.domain.kernel_log()[-3000:]}"

    def close(self):
        """As the user leaves it, by ^]."""
        if self.process is None:
            return
        try:
            os.write(self.fd, b"\x1d")
            self.listen(10)
        except OSError:
            pass
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self.fd)
        self.process = None
