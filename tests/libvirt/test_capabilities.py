# SPDX-License-Identifier: Apache-2.0
"""What libvirt concludes from asking the binary, before there is a VM: our machines, devices and limits, and nothing else."""

import os
import re
import subprocess

import pytest

from libvirt_vm import Domain, STRATOVIRT, restart_libvirtd, virsh


def domain_capabilities(machine, status=0, kind="kvm"):
    return virsh("domcapabilities", "--emulatorbin", STRATOVIRT, "--virttype", kind, "--arch", "x86_64", "--machine", machine, status=status)


def values(text, element, name):
    """Of an <enum> inside an element."""
    inside = re.search(f"<{element} .*?</{element}>", text, re.S).group()
    return re.findall("<value>(.*?)</value>", re.search(f"<enum name='{name}'(/>|>.*?</enum>)", inside, re.S).group())


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_capabilities_of_our_machines(machine):
    text = domain_capabilities(machine)
    assert f"<machine>{machine}</machine>" in text and "<vcpu max='254'/>" in text and "<domain>kvm</domain>" in text
    assert "<iothreads supported='yes'/>" in text and "<mode name='host-passthrough' supported='yes'>" in text
    assert "<loader supported='yes'>" in text and {"rom", "pflash"} == set(values(text, "loader", "type"))
    assert "random" in values(text, "rng", "backendModel") and "virtio" in values(text, "rng", "model")
    assert "virtio" in values(text, "disk", "bus")
    assert values(text, "memoryBacking", "sourceType") == ["file", "anonymous", "memfd"]


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_what_is_not_offered_is_not_advertised(machine):
    text = domain_capabilities(machine)
    for mode in ("host-model", "maximum", "custom"):
        assert f"<mode name='{mode}' supported='no'/>" in text
    assert values(text, "graphics", "type") == [] and values(text, "video", "modelType") == ["none"]
    for element in ("tpm", "redirdev", "sev", "sgx", "backup", "vmcoreinfo", "gic"):
        assert f"<{element} supported='no'/>" in text
    # fdc and scsi are libvirt's own constants.
    assert not {"usb", "sata", "ide"} & set(values(text, "disk", "bus"))


@pytest.mark.parametrize("machine, kind", [("none", "kvm"), ("pc", "kvm"), ("virt", "kvm"), ("q35", "qemu")])
def test_there_are_no_other_machines_and_only_kvm(machine, kind):
    error = domain_capabilities(machine, status=1, kind=kind)
    assert f"the machine '{machine}' is not supported by emulator" in error


def test_a_machine_that_is_not_ours_is_refused(tmp_path, bridge):
    domain = Domain(tmp_path, bridge, machine="pc-q35-9.9")
    error = virsh("define", domain.file("domain.xml", domain.xml), status=1)
    assert "does not support machine type 'pc-q35-9.9'" in error


def test_where_it_is_the_emulator_of_the_host(tmp_path):
    """virsh capabilities knows emulators by the names of QEMU's programs."""
    os.symlink(STRATOVIRT, tmp_path / "qemu-system-x86_64")
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{tmp_path}:{path}"
    try:
        restart_libvirtd()
        text = virsh("capabilities")
        ours = virsh("domcapabilities")
    finally:
        os.environ["PATH"] = path
        restart_libvirtd()
    guest = next(guest for guest in re.findall("<guest>.*?</guest>", text, re.S) if f"<emulator>{tmp_path}/" in guest)
    assert "<os_type>hvm</os_type>" in guest and "<arch name='x86_64'>" in guest
    assert re.findall(r"<machine maxCpus='(\d+)'>(.*?)</machine>", guest) == [("254", "microvm"), ("254", "q35")]
    assert re.findall("<domain type='(.*?)'", guest) == ["kvm"]
    assert "<acpi default='on' toggle='yes'/>" in guest and "<deviceboot/>" in guest
    # i686 is QEMU's program's affair still.
    assert "<arch name='i686'>" not in guest
    assert f"<path>{tmp_path}/qemu-system-x86_64</path>" in ours


def test_the_version_for_openeulers_libvirt():
    """Its driver for stratovirt:///system reads "StratoVirt X.Y.Z" from -V; the rest is the code for QEMU."""
    said = subprocess.run([STRATOVIRT, "-V"], capture_output=True, text=True, check=True)
    assert re.match(r"StratoVirt \d+\.\d+\.\d+(\s|$)", said.stdout) and said.stderr == ""
    long = subprocess.run([STRATOVIRT, "--version"], capture_output=True, text=True, check=True)
    assert long.stdout == said.stdout
