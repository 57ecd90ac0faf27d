# SPDX-License-Identifier: Apache-2.0
"""Elements of a domain's XML beyond the example's: those that work, and those that are refused before there is a VM."""

import json
import os
import re
import socket
import stat
import subprocess
import sys

import pytest

from libvirt_vm import LIMIT, TOP, Domain, replaced, virsh, wait_for

END = "</devices>"
DISK = "<driver name='qemu' type='raw' iothread='1'/>"
CARD = "<model type='virtio'/>"
CARD_DRIVER = f"{CARD}\n      <driver name='qemu'/>"
CONSOLE = "<console type='pty'>"
TUNE = "<total_iops_sec>1000</total_iops_sec>"
BEFORE = "<iothreads>"
CELLS = """<cpu mode='host-passthrough'><numa>
  <cell id='0' cpus='0' memory='128' unit='MiB'><distances><sibling id='0' value='10'/><sibling id='1' value='31'/></distances></cell>
  <cell id='1' cpus='1' memory='128' unit='MiB' memAccess='shared'/></numa></cpu>"""
SYSINFO = """<sysinfo type='smbios'><bios><entry name='vendor'>A</entry></bios><system><entry name='serial'>9</entry></system>
<baseBoard><entry name='asset'>b</entry></baseBoard><oemStrings><entry>o</entry></oemStrings></sysinfo>"""
FWCFG = "<sysinfo type='fwcfg'><entry name='opt/com.example/name'>value</entry></sysinfo>"
CLOCK = """<clock offset='utc'><timer name='rtc' tickpolicy='catchup'/><timer name='pit' tickpolicy='delay'/>
<timer name='hpet' present='no'/></clock>"""

# name: what of the example is replaced by what, and a pattern that the VMM's command line then has; FOLDER is the domain's own.
WORKS = {
    "two serial ports": ([(END, "<serial type='pty'/><serial type='null'/>" + END)], "isa-serial.*index.*isa-serial.*index.*1"),
    "a channel": ([(END, "<channel type='pty'><target type='virtio' name='org.example.0'/></channel>" + END)],
                  "virtserialport,.*name=org.example.0"),
    "a console by TCP": ([(CONSOLE, "<console type='tcp'><source mode='bind' host='127.0.0.1' service='0'/>")], "-chardev socket,.*host=127.0.0.1"),
    "NUMA cells": ([(BEFORE, CELLS + BEFORE)], "-numa node,nodeid=1,cpus=1,memdev=ram-node1.*-numa dist,src=0,dst=1,val=31"),
    "prealloc": ([(BEFORE, "<memoryBacking><source type='memfd'/><allocation mode='immediate'/></memoryBacking>" + BEFORE)], "prealloc"),
    "a file as memory": ([(BEFORE, "<memoryBacking><source type='file'/><access mode='shared'/></memoryBacking>" + BEFORE)],
                         "memory-backend-file,.*share=on"),
    "memory that is not merged": ([(BEFORE, "<memoryBacking><nosharepages/></memoryBacking>" + BEFORE)], "mem-merge=off"),
    "a CPU that may come": ([("<vcpu>2", "<vcpu current='1'>2")], "-smp 1,maxcpus=2"),
    "a topology": ([(BEFORE, "<cpu mode='host-passthrough'><topology sockets='1' cores='1' threads='2'/></cpu>" + BEFORE)],
                   "-cpu host .*-smp 2,sockets=1,(dies=1,)?cores=1,threads=2"),
    "processors of the host": ([(BEFORE, "<cputune><vcpupin vcpu='0' cpuset='0'/><emulatorpin cpuset='0'/>"
                                         "<iothreadpin iothread='1' cpuset='0'/></cputune>" + BEFORE)], "-smp 2"),
    "SMBIOS": ([("<os>", SYSINFO + "<os><smbios mode='sysinfo'/>")], "-smbios type=0,vendor=A .*-smbios type=1,serial=9 .*type=2,.*asset=b .*type=11,value=o"),
    "fw_cfg": ([("<os>", FWCFG + "<os>")], "-fw_cfg name=opt/com.example/name,string=value"),
    "a generation": ([(BEFORE, "<genid/>" + BEFORE)], "-device vmgenid,guid="),
    "timers": ([("<on_poweroff>", CLOCK + "<on_poweroff>")], "-rtc base=utc,driftfix=slew "),
    "local time": ([("<on_poweroff>", "<clock offset='localtime'/><on_poweroff>")], "-rtc base=localtime"),
    "another time": ([("<on_poweroff>", "<clock offset='absolute' start='1000000000'/><on_poweroff>")], "-rtc base=2001-09-09T01:46:40"),
    "no cache, queues": ([(DISK, "<driver name='qemu' type='raw' cache='none' io='native' discard='unmap' detect_zeroes='unmap' queues='2'/>")],
                         "num-queues=2.*write-cache=on"),
    "a write-through cache": ([(DISK, "<driver name='qemu' type='raw' cache='writethrough'/>")], "write-cache=off"),
    "errors of a disk": ([(DISK, "<driver name='qemu' type='raw' error_policy='stop' rerror_policy='report'/>")], "werror=stop,rerror=report"),
    "a disk that is not written": ([("<target dev='hda'", "<readonly/><serial>abc</serial><target dev='hda'")], '"read-only":true.*serial=abc'),
    "sectors of 4 KiB": ([("<target dev='hda'", "<blockio logical_block_size='4096' physical_block_size='4096'/><target dev='hda'")],
                         "logical_block_size=4096"),
    "an alias": ([("<target dev='hda'", "<alias name='ua-mine'/><target dev='hda'")], "virtio-blk-pci,.*id=ua-mine"),
    "bursts": ([(TUNE, TUNE + "<total_iops_sec_max>2000</total_iops_sec_max><total_iops_sec_max_length>5</total_iops_sec_max_length>")],
               "virtio-blk-pci"),
    "a card of two queues": ([(CARD_DRIVER, CARD + "<driver name='qemu' queues='2'/>")], "-netdev tap,fds=.*virtio-net-pci,mq=on"),
    "a card without its cable": ([(CARD, CARD + "<link state='down'/>")], "virtio-net-pci"),
    "a card that nobody bridges": ([("<interface type='bridge'>", "<interface type='ethernet'>"), ("<source bridge='svbr0'/>", "<target dev='sv-tap'/>")],
                                   "-netdev tap,fd="),
    "macvtap": ([("<interface type='bridge'>", "<interface type='direct'>"), ("<source bridge='svbr0'/>", "<source dev='svbr0' mode='bridge'/>")],
                "-netdev tap,fd="),
    "a source of our own": ([("<backend model='random'>/dev/urandom</backend>", "<backend model='builtin'/>")], "rng-builtin"),
    "reports of free pages": ([(" autodeflate='on'>", " autodeflate='on' freePageReporting='on'>")], "free-page-reporting=on"),
    "an MTU": ([(CARD, CARD + "<mtu size='1400'/>")], "host_mtu=1400"),
    "queues of two sizes": ([(CARD_DRIVER, CARD + "<driver name='qemu' rx_queue_size='1024' tx_queue_size='512'/>")],
                            "rx_queue_size=1024,tx_queue_size=512"),
    "a disk that others write to": ([("<target dev='hda'", "<shareable/><target dev='hda'")], "share-rw=on"),
    "a disk with less": ([(DISK, "<driver name='qemu' type='raw' ioeventfd='off' event_idx='off'/>")], "ioeventfd=off,event_idx=off"),
    "a disk by default": ([(DISK, "<driver name='qemu' type='raw' ioeventfd='on' event_idx='on' iommu='off' ats='off' packed='off' page_per_vq='off'/>")],
                          "iommu_platform=off,ats=off,packed=off,page-per-vq=off,ioeventfd=on,event_idx=on"),
    "a card with less": ([(CARD_DRIVER, CARD + "<driver name='qemu' txmode='iothread' ioeventfd='off' event_idx='off'/>")],
                         "tx=bh,ioeventfd=off,event_idx=off"),
    "a controller by default": ([("<controller type='virtio-serial' index='0'>",
                                  "<controller type='virtio-serial' index='0'><driver iommu='off' ats='off' packed='off' page_per_vq='off'/>")],
                                "virtio-serial-pci,.*iommu_platform=off"),
    "no sleep states": ([("<on_poweroff>", "<pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm><on_poweroff>")],
                        "ICH9-LPC.disable_s3=1 -global ICH9-LPC.disable_s4=1"),
    "a video card that is none": ([(END, "<video><model type='none'/></video><audio id='1' type='none'/>" + END)], "q35"),
    "keyboard and mouse": ([(END, "<input type='keyboard' bus='ps2'/><input type='mouse' bus='ps2'/>" + END)], "q35"),
}

REFUSED = {
    "qcow2": [("type='raw'", "type='qcow2'")],
    "a CPU model": [(BEFORE, "<cpu mode='custom'><model>Nehalem</model></cpu>" + BEFORE)],
    "the largest CPU": [(BEFORE, "<cpu mode='maximum'/>" + BEFORE)],
    "memory by DIMM": [(END, "<memory model='dimm'><target><size unit='MiB'>128</size></target></memory>" + END)],
    "sleep states": [("<on_poweroff>", "<pm><suspend-to-mem enabled='yes'/></pm><on_poweroff>")],
    "SMM": [("<acpi/>", "<acpi/><smm state='on'/>")],
    "an I/O APIC of ours": [("<acpi/>", "<acpi/><ioapic driver='qemu'/>")],
    "an e1000": [(CARD, "<model type='e1000'/>")],
    "a user's network": [("<interface type='bridge'>", "<interface type='user'>"), ("<source bridge='svbr0'/>", "")],
    "SCSI": [(END, "<controller type='scsi' model='virtio-scsi'/>" + END)],
    "USB": [("<controller type='usb' model='none'/>", "<controller type='usb' model='qemu-xhci'/>")],
    "a tablet": [(END, "<input type='tablet' bus='usb'/>" + END)],
    "a keyboard by virtio": [(END, "<input type='keyboard' bus='virtio'/>" + END)],
    "VNC": [(END, "<graphics type='vnc' port='-1'/>" + END)],
    "a video card": [(END, "<video><model type='virtio'/></video>" + END)],
    "sound": [(END, "<sound model='ich9'/>" + END)],
    "a TPM": [(END, "<tpm model='tpm-crb'><backend type='emulator'/></tpm>" + END)],
    "virtiofs": [(BEFORE, "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>" + BEFORE),
                 (END, "<filesystem type='mount'><driver type='virtiofs'/><source dir='/tmp'/><target dir='x'/></filesystem>" + END)],
    "9p": [(END, "<filesystem type='mount'><source dir='/tmp'/><target dir='x'/></filesystem>" + END)],
    "a watchdog": [(END, "<watchdog model='i6300esb' action='reset'/>" + END)],
    "an IOMMU": [(END, "<iommu model='intel'/>" + END)],
    "random numbers by EGD": [("<backend model='random'>/dev/urandom</backend>",
                               "<backend model='egd' type='tcp'><source mode='connect' host='127.0.0.1' service='1'/></backend>")],
    "packed queues": [(DISK, "<driver name='qemu' type='raw' packed='on'/>")],
    "addresses behind an IOMMU": [(CARD_DRIVER, CARD + "<driver name='qemu' iommu='on'/>")],
    "translations": [(CARD_DRIVER, CARD + "<driver name='qemu' ats='on'/>")],
    "frames that wait for a timer": [(CARD_DRIVER, CARD + "<driver name='qemu' txmode='timer'/>")],
    "a page for each queue": [(DISK, "<driver name='qemu' type='raw' page_per_vq='on'/>")],
    "SEV": [(END, END + "<launchSecurity type='sev'><policy>0x3</policy></launchSecurity>")],
}


@pytest.fixture
def made(tmp_path, bridge):
    """Makes domains that are described so."""
    domains = []

    def make(pairs):
        domains.append(Domain(tmp_path, bridge, name="element",
                              change=lambda xml: replaced(xml, *[(there, here.replace("FOLDER", str(tmp_path))) for there, here in pairs])))
        domains[-1].file("domain.xml", domains[-1].xml)
        return domains[-1]

    yield make
    for domain in domains:
        domain.remove()


def create(domain, status=0):
    return virsh("create", f"{domain.folder}/domain.xml", status=status)


def words(domain):
    with open(f"/proc/{domain.pid()}/cmdline") as f:
        return f.read().replace("\0", " ")


@pytest.mark.parametrize("name", WORKS)
def test_an_element_that_works(made, name):
    pairs, wanted = WORKS[name]
    domain = made(pairs)
    create(domain)
    assert domain.state() == "running"
    assert re.search(wanted, words(domain)), words(domain)


@pytest.mark.parametrize("name", REFUSED)
def test_an_element_that_is_refused(made, name):
    assert "error:" in create(made(REFUSED[name]), status=1)
    assert virsh("list", "--all", "--name") == ""


def test_a_serial_port_in_a_file(made):
    """libvirt opens the file, and passes it by -add-fd."""
    domain = made([(END, "<serial type='file'><source path='FOLDER/serial.log'/></serial>" + END)])
    create(domain)

    def said():
        with open(f"{domain.folder}/serial.log") as f:
            return f.read()

    wait_for(lambda: "spinning" in said(), "what the guest says")
    assert "-add-fd set=" in words(domain)


def test_a_serial_port_on_a_socket_of_libvirts(made):
    domain = made([(END, "<serial type='unix'><source mode='bind' path='FOLDER/serial.sock'/></serial>" + END)])
    virsh("create", "--paused", f"{domain.folder}/domain.xml")
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(LIMIT)
        peer.connect(f"{domain.folder}/serial.sock")
        wait_for(lambda: json.loads(virsh("qemu-monitor-command", domain.name, '{"execute": "query-chardev"}')), "the monitor")
        virsh("resume", domain.name)
        said = b""
        while b"spinning" not in said:
            got = peer.recv(4096)
            assert got, said
            said += got


def test_a_channel_for_an_agent(made):
    """libvirt connects to it by itself, and is told whether somebody in the guest has opened it."""
    domain = made([(END, "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>" + END)])
    create(domain)
    assert "<target type='virtio' name='org.qemu.guest_agent.0' state='disconnected'/>" in virsh("dumpxml", domain.name)


def test_a_console_in_a_file_and_one_on_a_socket(made):
    domain = made([(CONSOLE, "<console type='file'><source path='FOLDER/console.log'/>")])
    create(domain)
    assert os.path.exists(f"{domain.folder}/console.log") and "-add-fd set=" in words(domain)
    virsh("destroy", domain.name)
    domain = made([(CONSOLE, "<console type='unix'><source mode='bind' path='FOLDER/console.sock'/>")])
    create(domain)
    assert stat.S_ISSOCK(os.stat(f"{domain.folder}/console.sock").st_mode)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(f"{domain.folder}/console.sock")


SHARE = ("<target dev='hda'", "<shareable/><target dev='hda'")


def test_a_disk_of_two_domains(made):
    """Both have to say so."""
    first = made([SHARE])
    create(first)
    image = f"{first.folder}/rootfs.raw"
    one = [("<source bridge='svbr0'/>\n      <mac address='de:ad:be:ef:00:01'/>", "<source bridge='svbr0'/>\n      <mac address='de:ad:be:ef:00:02'/>"),
           ("<name>element</name>", "<name>other</name>")]
    other = made([SHARE, *one])
    assert image in other.xml  # its folder is that of the first
    create(other)
    assert (first.state(), virsh("domstate", "other")) == ("running", "running")
    virsh("destroy", "other")
    other = made(one)
    assert "error:" in create(other, status=1)
    assert first.state() == "running" and virsh("list", "--all", "--name") == "element"


def test_autodestroy(made):
    """The VM ends with the connection that made it."""
    domain = made([])
    done = subprocess.run(["virsh", "-q"], input=f"create --autodestroy {domain.folder}/domain.xml\ndomstate {domain.name}\n", text=True,
                          capture_output=True, timeout=LIMIT)
    assert "running" in done.stdout, done.stdout + done.stderr
    wait_for(lambda: virsh("list", "--all", "--name") == "", "the end")


def test_as_libvirt_is_installed():
    """The user libvirt-qemu, a /dev of the VM's own, files that get their owner: see tests/libvirt/as_installed.py."""
    done = subprocess.run([f"{TOP}/tests/libvirt/private", sys.executable, f"{TOP}/tests/libvirt/as_installed.py"], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=4 * LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr
