# SPDX-License-Identifier: Apache-2.0
"""arm64's libvirtd and virsh, as they are, and the Arm example of docs/libvirt.md whole: virt, AAVMF with variables of its own, a stock
Debian kernel, every device on a root port of its own. Runs in the rig: tests/libvirt/run --aarch64.

The guest says all there is to say when somebody is at the console, once before and once after a pause, and then waits for the power
button."""

import os
import re
import socket
import subprocess

import pytest

from libvirt_vm import LIMIT, STRATOVIRT, virsh, wait_for
from linux_vm import BOOT, Console, LinuxDomain, images

HOST, CID = "10.79.0.1", 3
TOKEN = "written-under-virsh-on-arm"
SCRIPT = f"""
tries=0; while [ ! -e /dev/input/event0 -o ! -e /dev/hvc0 ] && [ $tries -lt 1200 ]; do tries=$((tries + 1)); usleep 50000; done
exec </dev/hvc0 >/dev/hvc0 2>&1
stty -echo
ask() {{ echo "at $1" >/dev/ttyAMA0; while echo "#sv-at $1"; do read -t 1 -r line && break; echo . >/dev/ttyAMA0; done; }}
say() {{ echo "== $1"; echo "at $1" >/dev/ttyAMA0; }}
ask begin
say kernel; uname -rm
say firmware; ls -d /sys/firmware/efi/efivars; ls /sys/firmware/acpi/tables | grep -x -e APIC -e GTDT -e IORT -e MCFG
say processors; nproc
say controller; dmesg | grep -o -m 1 'GICv3: .* SPIs implemented'
say drivers; for d in /sys/bus/virtio/devices/*; do echo $(cat $d/device) $(basename $(readlink $d/driver)); done | sort
say messages; grep virtio /proc/interrupts
say slots; ls /sys/bus/pci/slots
echo {TOKEN} >/file; sync; say disk; cat /file
ifconfig eth0 10.79.0.2 netmask 255.255.255.0 up
say card; cat /sys/class/net/eth0/address; ping -c 1 -W 60 {HOST} >/dev/null && echo answered
say entropy; cat /sys/class/misc/hw_random/rng_current; dd if=/dev/hwrng bs=32 count=1 2>/dev/null | wc -c
say log; dmesg | grep -i -e 'ACPI.*error' -e 'BUG:' -e 'WARNING:' -e 'virtio.*fail' -e 'can.t claim'
say end
ask pause
echo "#sv-awake"
head -c 24 /dev/input/event0 >/dev/null
poweroff -f
"""


class Guest:
    """The domain and what its guest said."""

    def __init__(self, domain):
        self.domain, self.name = domain, domain.name
        self.console = Console(domain)
        text = self.answer("begin", "== end\n")
        self.said = {name: lines.strip() for name, lines in re.findall(r"== (.*)\n((?:(?!== ).*\n)*)", text)}

    def answer(self, prompt, last):
        """What the guest says to a line typed at @prompt, until @last."""
        self.console.expect(f"#sv-at {prompt}\n", 3 * BOOT)
        self.console.type("\r")
        return self.console.expect(f"(?s:.*?){last}").group()


@pytest.fixture(scope="module")
def guest(tmp_path_factory, bridge):
    subprocess.run(["ip", "addr", "add", f"{HOST}/24", "dev", bridge], check=True)
    domain = LinuxDomain(tmp_path_factory.mktemp("vm"), bridge, change=str, script=SCRIPT)
    domain.define()
    guest = None
    try:
        virsh("start", domain.name)
        guest = Guest(domain)
        yield guest
    finally:
        if guest:
            guest.console.close()
        domain.remove()


def test_capabilities():
    text = virsh("domcapabilities", "--emulatorbin", STRATOVIRT, "--virttype", "kvm", "--arch", "aarch64", "--machine", "virt")
    assert "<machine>virt</machine>" in text and "<arch>aarch64</arch>" in text
    assert re.search(r"<gic supported='yes'>\s*<enum name='version'>\s*<value>3</value>\s*</enum>", text)
    assert "<mode name='host-passthrough' supported='yes'>" in text


def test_the_example_boots_by_its_firmware(guest):
    assert guest.said["kernel"] == images.kernel_version(images.cloud()) + " aarch64"
    assert guest.said["firmware"].split() == ["/sys/firmware/efi/efivars", "APIC", "GTDT", "IORT", "MCFG"]
    assert guest.said["processors"] == "2"
    assert guest.said["controller"].startswith("GICv3: ")
    assert os.path.getsize(guest.domain.nvram) == os.path.getsize("/usr/share/AAVMF/AAVMF_VARS.fd")
    assert guest.said["log"] == ""


def test_every_device_has_its_driver(guest):
    assert guest.said["drivers"].splitlines() == [
        "0x0001 virtio_net", "0x0002 virtio_blk", "0x0003 virtio_console", "0x0004 virtio_rng", "0x0005 virtio_balloon",
        "0x0013 vmw_vsock_virtio_transport"]
    lines = guest.said["messages"].splitlines()
    assert len(lines) > 10 and all(re.search(r"ITS-(PCI-)?MSI", line) for line in lines)
    assert len(guest.said["slots"].split()) == 8


def test_the_devices_carry_data(guest):
    assert guest.said["disk"] == TOKEN
    assert guest.said["card"].split() == ["52:54:00:00:00:01", "answered"]
    assert re.fullmatch(r"virtio_rng\.\d+ 32", " ".join(guest.said["entropy"].split()))
    wait_for(lambda: re.search(r"^unused [1-9]", virsh("dommemstat", guest.name), re.M), "the balloon's statistics")
    with socket.socket(socket.AF_VSOCK) as knock:  # the guest's own refusal: nobody listens there
        knock.settimeout(LIMIT)
        with pytest.raises(ConnectionResetError):
            knock.connect((CID, 99))


def test_suspend_and_resume(guest):
    virsh("suspend", guest.name)
    assert guest.domain.state() == "paused"
    virsh("resume", guest.name)
    guest.answer("pause", "#sv-awake\n")


def test_the_guest_heeds_the_power_button_and_all_of_it_goes(guest):
    if "#sv-awake\n" not in guest.console.text:
        guest.answer("pause", "#sv-awake\n")
    virsh("shutdown", guest.name)
    wait_for(lambda: guest.domain.state() == "shut off", "the guest to shut down")
    assert virsh("domstate", "--reason", guest.name) == "shut off (shutdown)"
    with open(f"{guest.domain.folder}/root.img", "rb") as f:
        assert TOKEN.encode() in f.read()
    virsh("undefine", "--nvram", guest.name)
    assert not os.path.exists(guest.domain.nvram)
