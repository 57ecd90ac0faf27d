# SPDX-License-Identifier: Apache-2.0
"""arm64's virsh and the Arm example of docs/libvirt.md: virt with AAVMF, variables of its own, a stock Debian kernel. Runs in the rig:
tests/libvirt/run --aarch64."""

import os
import re

import pytest

from libvirt_vm import STRATOVIRT, virsh, wait_for
from linux_vm import BOOT, Console, LinuxDomain, images


def test_capabilities():
    text = virsh("domcapabilities", "--emulatorbin", STRATOVIRT, "--virttype", "kvm", "--arch", "aarch64", "--machine", "virt")
    assert "<machine>virt</machine>" in text and "<arch>aarch64</arch>" in text
    assert re.search(r"<gic supported='yes'>\s*<enum name='version'>\s*<value>3</value>\s*</enum>", text)
    assert "<mode name='host-passthrough' supported='yes'>" in text


@pytest.fixture(scope="module")
def running(tmp_path_factory, bridge):
    domain = LinuxDomain(tmp_path_factory.mktemp("vm"), bridge, change=str)
    domain.define()
    console = None
    try:
        virsh("start", domain.name)
        console = Console(domain)
        console.log_in(limit=3 * BOOT)
        yield domain, console
    finally:
        if console:
            console.close()
        domain.remove()


def test_the_example_boots_by_its_firmware(running):
    domain, console = running
    assert console.run("uname -rm") == images.kernel_version(images.cloud()) + " aarch64"
    assert console.run("ls -d /sys/firmware/efi/efivars; nproc; grep -c GICv3 /proc/interrupts >/dev/null && echo gic") == \
        "/sys/firmware/efi/efivars\n2\ngic"
    assert os.path.getsize(domain.nvram) == os.path.getsize("/usr/share/AAVMF/AAVMF_VARS.fd")
    found = console.run("for d in /sys/bus/virtio/devices/*; do echo $(cat $d/device) $(basename $(readlink $d/driver)); done | sort")
    assert found.splitlines() == ["0x0001 virtio_net", "0x0002 virtio_blk", "0x0003 virtio_console", "0x0004 virtio_rng",
                                  "0x0005 virtio_balloon"]


def test_suspend_and_resume(running):
    domain, console = running
    virsh("suspend", domain.name)
    assert domain.state() == "paused"
    virsh("resume", domain.name)
    assert console.run("echo here") == "here"


def test_the_guest_heeds_the_power_button_and_all_of_it_goes(running):
    domain, _ = running
    virsh("shutdown", domain.name)
    wait_for(lambda: domain.state() == "shut off", "the guest to shut down")
    assert virsh("domstate", "--reason", domain.name) == "shut off (shutdown)"
    virsh("undefine", "--nvram", domain.name)
    assert not os.path.exists(domain.nvram)
