# SPDX-License-Identifier: Apache-2.0
"""What virt-manager asks of libvirt to list VMs, to show one and to draw its graphs, by the library it asks with (virtinst), and the
calls that it makes beside that."""

import os
import sys

import libvirt
import pytest

from libvirt_vm import STRATOVIRT, virsh, wait_for, without_firmware, documented_xml

sys.path.insert(0, "/usr/share/virt-manager")
import virtinst  # noqa: E402


@pytest.fixture
def manager():
    libvirt.registerErrorHandler(lambda *_: None, None)
    connection = virtinst.VirtinstConnection(os.environ["LIBVIRT_DEFAULT_URI"])
    connection.open(None, None)
    yield connection
    connection.close()


def test_the_list_of_vms(manager, domain):
    guest, = [guest for guest in manager.fetch_all_domains() if guest.name == domain.name]
    assert (guest.os.machine, guest.os.arch, guest.type, guest.emulator) == ("q35", "x86_64", "kvm", STRATOVIRT)
    assert guest.vcpus == 2 and guest.memory == 256 << 10 and guest.devices.graphics == [] and guest.devices.video == []
    assert [disk.bus for disk in guest.devices.disk] == ["virtio"] and [card.model for card in guest.devices.interface] == ["virtio"]
    assert guest.devices.console[0].source.path.startswith("/dev/pts/")


def test_what_may_be_added(manager, domain):
    """Which decides what its windows offer."""
    can = manager.fetch_all_domains()[0].lookup_domcaps()
    assert can.supports_memorybacking_memfd() and can.supports_uefi_loader()
    for absent in (can.supports_video_virtio, can.supports_video_qxl, can.supports_graphics_spice, can.supports_filesystem_virtiofs,
                   can.supports_tpm_emulator, can.supports_safe_host_model, can.supports_sev_launch_security):
        assert not absent(), absent


def test_an_example_of_the_documentation_stays_as_it_is(manager):
    """Parsed and written again, as when a setting is changed."""
    xml = without_firmware(documented_xml())
    guest = virtinst.Guest(manager, parsexml=xml)
    assert guest.get_xml().strip() == xml.replace("'", '"').strip()
    guest.title = "a title"
    assert guest.get_xml().replace("  <title>a title</title>\n", "").strip() == xml.replace("'", '"').strip()


def test_the_calls_about_a_vm(manager, domain):
    vm = manager.lookupByName(domain.name)
    assert vm.state()[0] == libvirt.VIR_DOMAIN_RUNNING and vm.isActive() and vm.isPersistent() and not vm.isUpdated()
    assert vm.info()[1:4] == [256 << 10, 256 << 10, 2] and vm.maxVcpus() == vm.vcpusFlags() == 2
    assert not vm.hasManagedSaveImage() and vm.listAllSnapshots() == [] and vm.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE
    assert not vm.autostart() and vm.OSType() == "hvm"
    for flags in (0, libvirt.VIR_DOMAIN_XML_SECURE, libvirt.VIR_DOMAIN_XML_INACTIVE, libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE,
                  libvirt.VIR_DOMAIN_XML_MIGRATABLE):
        assert f"<name>{domain.name}</name>" in vm.XMLDesc(flags), flags
    with pytest.raises(libvirt.libvirtError, match="no screens to take screenshot from"):
        vm.screenshot(manager.newStream(), 0)


def test_its_graphs(manager, domain):
    """All by one call, and each by its own where that is refused."""
    (_, stats), = manager.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL | libvirt.VIR_DOMAIN_STATS_VCPU |
                                            libvirt.VIR_DOMAIN_STATS_BALLOON | libvirt.VIR_DOMAIN_STATS_BLOCK | libvirt.VIR_DOMAIN_STATS_INTERFACE, 0)
    assert stats["balloon.current"] == 256 << 10
    assert {"cpu.time", "block.0.rd.bytes", "block.0.wr.bytes", "net.0.rx.bytes", "net.0.tx.bytes", "vcpu.1.time"} <= set(stats)
    vm = manager.lookupByName(domain.name)
    assert vm.blockStats("hda")[0] == 0 and len(vm.interfaceStats(stats["net.0.name"])) == 8
    vm.setMemoryStatsPeriod(5)
    assert vm.memoryStats()["rss"] > 0


def test_it_is_told_what_happens(manager, domain):
    """A loop of its own thread in virt-manager; here it turns while we wait."""
    libvirt.virEventRegisterDefaultImpl()
    said = []
    with libvirt_connection() as connection:
        connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lambda *event: said.append(event[2]), None)

        def told(what):
            libvirt.virEventAddTimeout(10, lambda timer, _: libvirt.virEventRemoveTimeout(timer), None)
            libvirt.virEventRunDefaultImpl()
            return what in said

        virsh("suspend", domain.name)
        wait_for(lambda: told(libvirt.VIR_DOMAIN_EVENT_SUSPENDED), "the event of the pause")
        connection.lookupByName(domain.name).resume()
        wait_for(lambda: told(libvirt.VIR_DOMAIN_EVENT_RESUMED), "the event of its end")
        virsh("destroy", domain.name)
        wait_for(lambda: told(libvirt.VIR_DOMAIN_EVENT_STOPPED), "the event of the end")


class libvirt_connection:
    """A connection that is registered with the event loop, which has to exist first."""

    def __enter__(self):
        self.connection = libvirt.open(os.environ["LIBVIRT_DEFAULT_URI"])
        return self.connection

    def __exit__(self, *_):
        self.connection.close()
