# SPDX-License-Identifier: Apache-2.0
"""How people make a VM without writing XML: virt-install, and what virt-manager's assistant for new VMs describes, by the library of both.

docs/libvirt.md says which of their defaults for a PC have to be taken back, and what libvirt says as long as they are not."""

import os
import re
import shlex
import subprocess
import sys

import libvirt
import pytest

from libvirt_vm import GUEST_ELF, LIMIT, STRATOVIRT, TOP, replaced, virsh

sys.path.insert(0, "/usr/share/virt-manager")
import virtinst  # noqa: E402

GENERIC = "--osinfo detect=off,require=off"


def documentation():
    with open(os.path.join(TOP, "docs", "libvirt.md")) as f:
        return f.read()


def remove():
    for words in (["destroy", "vm"], ["undefine", "vm"]):
        subprocess.run(["virsh", "-q", *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT)


@pytest.mark.parametrize("system", [GENERIC, "--os-variant debian11", "--os-variant fedora36", "--os-variant ubuntu22.04"])
def test_virt_install(tmp_path, bridge, system):
    """The command of docs/libvirt.md, for the guests whose defaults virtinst knows."""
    text = re.search(r"    (virt-install --import (?:.*\\\n)*.*)", documentation()).group(1)
    (tmp_path / "root.img").write_bytes(bytes(1 << 20))
    command = replaced(text.replace("\\\n", " "), ("/var/lib/libvirt/images/root.img", f"{tmp_path}/root.img"),
                       ("/var/lib/libvirt/images/vmlinuz", GUEST_ELF), ("/usr/bin/stratovirt", STRATOVIRT), ("bridge=br0", f"bridge={bridge}"),
                       ("console=ttyS0 root=/dev/vda rw", "test=spin"), (GENERIC, system))
    try:
        # Its own daemon of the session keeps nothing here.
        done = subprocess.run(shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * LIMIT,
                              env={**os.environ, "HOME": str(tmp_path)})
        assert done.returncode == 0, done.stdout + done.stderr
        assert virsh("domstate", "vm") == "running"
        assert re.search(r"Persistent:\s+yes", virsh("dominfo", "vm"))
    finally:
        remove()


def without(*kinds):
    def take_back(guest):
        for kind in kinds:
            for device in list(getattr(guest.devices, kind)):
                guest.remove_device(device)
    return take_back


def without_usb(guest):
    usb, = [controller for controller in guest.devices.controller if controller.type == "usb"]
    usb.model, usb.ports = "none", None


def with_the_cpu_of_the_host(guest):
    guest.cpu.set_special_mode(guest, "host-passthrough")


# What is said of a default when the others have been taken back, and what takes it back.
STEPS = [("does not support video model", without("graphics", "video", "sound")), ("Can't add USB input device", without("input")),
         ("USB controller model 'qemu-xhci' not supported", without_usb), ("(?i)cpu", with_the_cpu_of_the_host)]


@pytest.fixture
def connection():
    libvirt.registerErrorHandler(lambda *_: None, None)
    made = virtinst.VirtinstConnection(os.environ["LIBVIRT_DEFAULT_URI"])
    made.open(None, None)
    yield made
    made.close()
    remove()


def described(connection, *steps):
    """As the assistant describes it, after these steps."""
    guest = virtinst.Guest(connection)
    guest.name, guest.type, guest.emulator, guest.memory, guest.vcpus = "vm", "kvm", STRATOVIRT, 256 << 10, 2
    guest.os.os_type, guest.os.machine, guest.os.kernel, guest.os.kernel_args = "hvm", "q35", GUEST_ELF, "test=spin"
    guest.set_os_name("debian11")
    guest.set_defaults(None)
    for step in steps:
        step(guest)
    return guest.get_xml()


@pytest.mark.parametrize("text, step", STEPS)
def test_what_the_assistant_of_virt_manager_adds_is_named(connection, text, step):
    with pytest.raises(libvirt.libvirtError, match=text):
        connection.createXML(described(connection, *(other for _, other in STEPS if other is not step)), 0)


def test_the_assistant_of_virt_manager(connection):
    """With what its "Customize configuration" takes back."""
    vm = connection.createXML(described(connection, *(step for _, step in STEPS)), 0)
    assert vm.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    # The rest of its profile is there: no sleep states, a channel for an agent, clocks.
    xml = vm.XMLDesc(0)
    assert "<suspend-to-mem enabled='no'/>" in xml and "org.qemu.guest_agent.0" in xml and "<timer name='hpet' present='no'/>" in xml


def test_the_documentation_names_what_is_refused():
    text = documentation()
    for words in ("video model 'vga'", "USB controller model 'qemu-xhci'", "--graphics none", "--controller type=usb,model=none", "--cpu host-passthrough"):
        assert words in text, words
