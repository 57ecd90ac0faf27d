# SPDX-License-Identifier: Apache-2.0
"""Domains of the tests and what virsh says about them."""

import os
import re
import signal
import subprocess
import time
import uuid

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
STRATOVIRT = os.environ.get("STRATOVIRT") or os.path.join(
    TOP, "build", "aarch64" if os.environ.get("SV_ARCH") == "aarch64" else "", "stratovirt")
GUEST_ELF = os.environ.get("GUEST_ELF") or os.path.join(TOP, "build", "guest", "guest.elf")
# Seconds that anything may take; in the rig, with two emulators below, it takes longer.
LIMIT = 240 if os.path.exists("/run/rig/job") else 60

# The example of the documentation: every device on a root port of its own, and two free ones.
XML = """<domain type='kvm'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>256</memory>
  <vcpu>2</vcpu>
  <iothreads>1</iothreads>
  <os>
    <type arch='x86_64' machine='{machine}'>hvm</type>
    <kernel>{kernel}</kernel>
    <cmdline>{cmdline}</cmdline>
  </os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>{emulator}</emulator>
    <controller type='pci' index='0' model='pcie-root'/>
    {ports}
    <controller type='usb' model='none'/>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' iothread='1'/>
      <source file='{folder}/rootfs.raw'/>
      <target dev='hda' bus='virtio'/>
      <iotune><total_iops_sec>1000</total_iops_sec></iotune>
      <address type='pci' domain='0x000' bus='0x01' slot='0x00' function='0x0'/>
    </disk>
    <interface type='bridge'>
      <source bridge='{bridge}'/>
      <mac address='de:ad:be:ef:00:01'/>
      <model type='virtio'/>
      <driver name='qemu'/>
      <address type='pci' domain='0x000' bus='0x02' slot='0x00' function='0x0'/>
    </interface>
    <controller type='virtio-serial' index='0'>
      <alias name='virt-serial0'/>
      <address type='pci' domain='0x000' bus='0x03' slot='0x00' function='0x0'/>
    </controller>
    <console type='pty'>
      <target type='virtio' port='0'/>
      <alias name='console0'/>
    </console>
    <memballoon model='virtio' autodeflate='on'>
      <address type='pci' domain='0x000' bus='0x04' slot='0x00' function='0x0'/>
    </memballoon>
    <rng model='virtio'>
      <rate period='1000' bytes='1234'/>
      <backend model='random'>/dev/urandom</backend>
      <address type='pci' domain='0x000' bus='0x05' slot='0x00' function='0x0'/>
    </rng>
  </devices>
</domain>
"""


def documented_xml(arch="x86_64"):
    """The example of docs/libvirt.md, as it stands there."""
    with open(os.path.join(TOP, "docs", "libvirt.md")) as f:
        return next(xml for xml in re.findall(r"```xml\n(.*?)```", f.read(), re.S) if f"arch='{arch}'" in xml)


def replaced(text, *pairs):
    """@text with the second of each pair in the place of the first, which must be there."""
    for there, here in pairs:
        assert there in text, there
        text = text.replace(there, here)
    return text


def without_firmware(xml):
    return re.sub(r" *<(loader|nvram) .*\n", "", xml)


def virsh(*words, status=0):
    """What virsh prints; it must end as expected."""
    done = subprocess.run(["virsh", "-q", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == status, f"virsh {' '.join(words)}: {done.stdout}{done.stderr}"
    return (done.stdout if not status else done.stderr).strip()


def wait_for(condition, what):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)


def restart_libvirtd(between=None):
    """Ends the daemon of tests/libvirt/private and starts it anew; @between is called while there is none."""
    folder = os.environ["LIBVIRT_PRIVATE"]
    with open(f"{folder}/libvirtd.pid") as f:
        os.kill(int(f.read()), signal.SIGTERM)
    wait_for(lambda: not os.path.exists(f"{folder}/libvirtd.pid"), "libvirtd to end")
    if between:
        between()
    subprocess.run(["libvirtd", "--daemon", "--config", "/etc/libvirt/libvirtd.conf", "--pid-file", f"{folder}/libvirtd.pid"],
                   check=True, timeout=LIMIT)


def members(text):
    """A domain's statistics: name=value lines."""
    return dict(re.findall(r"^\s*([\w.-]+)=(.*)$", text, re.M))


class Domain:
    def __init__(self, folder, bridge, kernel=GUEST_ELF, cmdline="test=spin", machine="q35", name="StratoVirt", change=None):
        self.name, self.folder = name, str(folder)
        with open(f"{folder}/rootfs.raw", "wb") as f:
            f.truncate(8 << 20)
        ports = "\n    ".join(f"<controller type='pci' index='{i}' model='pcie-root-port'/>" for i in range(1, 9))
        self.xml = XML.format(name=name, uuid=uuid.uuid4(), kernel=kernel, cmdline=cmdline, machine=machine, folder=folder,
                              emulator=STRATOVIRT, ports=ports, bridge=bridge)
        if change:
            self.xml = change(self.xml)

    def virsh(self, *words, status=0):
        return virsh(*words, status=status)

    def file(self, name, text):
        path = f"{self.folder}/{name}"
        with open(path, "w") as f:
            f.write(text)
        return path

    def define(self):
        virsh("define", self.file("domain.xml", self.xml))

    def state(self):
        return virsh("domstate", self.name)

    def pid(self):
        """Of the VMM."""
        with open(f"/run/libvirt/qemu/{self.name}.pid") as f:
            return int(f.read())

    def remove(self):
        for words in (["destroy", self.name], ["undefine", "--nvram", self.name]):
            subprocess.run(["virsh", "-q", *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT)
