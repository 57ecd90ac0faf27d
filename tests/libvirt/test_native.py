# SPDX-License-Identifier: Apache-2.0
"""virsh and the documented XML, with a guest that any KVM can run."""

import json
import os
import re
import signal
import subprocess
import threading

from libvirt_vm import (Domain, GUEST_ELF, LIMIT, STRATOVIRT, TOP, documented_xml, members, replaced, restart_libvirtd, virsh, wait_for,
                        without_firmware)


# ---- what there is ----

def test_the_example_of_the_documentation_starts(tmp_path, bridge):
    """Without what the build machines lack: huge pages, the vhost devices, and a KVM that runs firmware."""
    domain = Domain(tmp_path, bridge, name="vm")
    xml = replaced(
        documented_xml(), ("/var/lib/libvirt/images/vmlinuz", GUEST_ELF), ("/var/lib/libvirt/images/root.img", f"{tmp_path}/rootfs.raw"),
        ("/var/lib/libvirt/images/initrd.img", GUEST_ELF), ("/usr/bin/stratovirt", STRATOVIRT), ("'br0'", f"'{bridge}'"),
        ("root=/dev/vda", "test=spin"), ("<driver name='vhost'/>", ""), ("<hugepages><page size='2' unit='MiB'/></hugepages>", ""))
    domain.xml = re.sub("<vsock.*</vsock>", "", without_firmware(xml), flags=re.S)
    domain.define()
    try:
        virsh("start", "vm")
        assert domain.state() == "running"
    finally:
        domain.remove()


MICROVM = """<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>small</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='microvm'>hvm</type><kernel>{kernel}</kernel><cmdline>test=spin</cmdline></os>
  <features><acpi/></features>
  <devices><emulator>{emulator}</emulator><controller type='usb' model='none'/><memballoon model='none'/>{device}</devices>
  <qemu:commandline>
    <qemu:arg value='-drive'/><qemu:arg value='id=d0,file={image},format=raw'/>
    <qemu:arg value='-device'/><qemu:arg value='virtio-blk-device,id=disk0,drive=d0'/>
  </qemu:commandline>
</domain>
"""


def test_microvm_as_far_as_libvirt_can_describe_it(tmp_path):
    """A serial console is no matter; virtio devices have to be named past libvirt, which has no place for them."""
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))

    def described(device):
        xml = tmp_path / "small.xml"
        xml.write_text(MICROVM.format(kernel=GUEST_ELF, emulator=STRATOVIRT, image=image, device=device))
        return xml

    disk = f"<disk type='file' device='disk'><source file='{image}'/><target dev='vda' bus='virtio'/>%s</disk>"
    assert "cannot have an address of type 'virtio-mmio'" in virsh("define", described(disk % "<address type='virtio-mmio'/>"), status=1)
    assert "No PCI buses available" in virsh("define", described(disk % ""), status=1)
    try:
        virsh("create", described("<serial type='pty'/>"))
        assert virsh("domstate", "small") == "running"
        assert virsh("ttyconsole", "small").startswith("/dev/pts/")
        there = json.loads(virsh("qemu-monitor-command", "small", json.dumps({"execute": "qom-list", "arguments": {"path": "/machine/peripheral"}})))
        assert "disk0" in [entry["name"] for entry in there["return"]]
        virsh("suspend", "small")
        assert virsh("domstate", "small") == "paused"
    finally:
        subprocess.run(["virsh", "-q", "destroy", "small"], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT)


def test_an_alias_of_the_connection(domain):
    with open("/etc/libvirt/libvirt.conf", "w") as f:
        f.write('uri_aliases = [ "stratovirt=qemu:///system" ]\n')
    assert domain.name in virsh("-c", "stratovirt", "list")


def test_autostart(domain):
    """Once since the host has booted, which libvirt knows by a file."""
    virsh("autostart", domain.name)
    assert re.search(r"Autostart:\s+enable", virsh("dominfo", domain.name))
    virsh("destroy", domain.name)
    restart_libvirtd(between=lambda: os.unlink("/run/libvirt/qemu/autostarted"))
    wait_for(lambda: domain.state() == "running", "the domain to be started")
    virsh("autostart", "--disable", domain.name)
    assert re.search(r"Autostart:\s+disable", virsh("dominfo", domain.name))


def test_what_is_dumped_defines_the_same(domain):
    before = virsh("dumpxml", "--inactive", domain.name)
    virsh("undefine", domain.name)  # it goes on as a transient one
    virsh("define", domain.file("again.xml", before + "\n"))
    assert virsh("dumpxml", "--inactive", domain.name) == before
    assert domain.state() == "running" and re.search(r"Persistent:\s+yes", virsh("dominfo", domain.name))


def test_detaching_waits_for_the_guest(domain):
    """This guest never answers: the device stays, and the VM goes on."""
    card = re.search(r"((?:[0-9a-f]{2}:){5}[0-9a-f]{2})", virsh("domiflist", domain.name)).group(1)
    virsh("detach-interface", domain.name, "bridge", "--mac", card, "--live")
    assert card in virsh("domiflist", domain.name) and domain.state() == "running"


def test_virsh_knows_what_runs(domain):
    assert "running" in virsh("list", "--all")
    assert domain.state() == "running"
    info = virsh("dominfo", domain.name)
    assert re.search(r"CPU\(s\):\s+2\n", info) and re.search(r"Max memory:\s+262144 KiB", info)
    assert len(re.findall(r"^VCPU:", virsh("vcpuinfo", domain.name), re.M)) == 2
    assert re.search(r"^\s*1\s", virsh("iothreadinfo", domain.name), re.M)
    xml = virsh("dumpxml", domain.name)
    assert "tty='/dev/pts/" in xml and "<target dev='vnet" in xml and "<alias name='virtio-disk0'/>" in xml


# ---- its life ----

def test_suspend_and_resume(domain):
    virsh("suspend", domain.name)
    assert domain.state() == "paused"
    virsh("resume", domain.name)
    assert domain.state() == "running"


def test_events_are_told(domain):
    watcher = subprocess.Popen(["virsh", "event", domain.name, "--all", "--loop"], stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        said = []
        reader = threading.Thread(target=lambda: said.extend(iter(watcher.stdout.readline, "")), daemon=True)
        reader.start()
        # Until it listens, what happens is not told: it is made to happen again.

        def heard(word):
            virsh("suspend", domain.name)
            virsh("resume", domain.name)
            return any(word in line for line in said)

        wait_for(lambda: heard("Resumed"), "the event of a resume")
        virsh("reset", domain.name)
        wait_for(lambda: any("'reboot'" in line for line in said), "the event of a reset")
        virsh("destroy", domain.name)
        wait_for(lambda: any("Stopped Destroyed" in line for line in said), "the event of the end")
    finally:
        watcher.kill()
        watcher.wait()
        watcher.stdout.close()


def test_reset_keeps_it_running(domain):
    pid = domain.pid()
    for _ in range(3):
        virsh("reset", domain.name)
    assert domain.state() == "running" and domain.pid() == pid


def test_destroy_ends_the_process_at_once(domain):
    pid = domain.pid()
    virsh("destroy", domain.name)
    assert domain.state() == "shut off" and not os.path.exists(f"/proc/{pid}")
    virsh("start", domain.name)
    assert domain.state() == "running"


def test_create_and_undefine(tmp_path, bridge):
    domain = Domain(tmp_path, bridge, name="transient")
    try:
        virsh("create", domain.file("domain.xml", domain.xml))
        assert domain.state() == "running"
        virsh("destroy", "transient")
        assert "transient" not in virsh("list", "--all")
    finally:
        domain.remove()


def test_a_process_that_dies_is_a_crash(domain):
    os.kill(domain.pid(), signal.SIGKILL)
    wait_for(lambda: domain.state() != "running", "libvirt to see the end")
    assert "crashed" in virsh("domstate", "--reason", domain.name)


def test_a_guest_that_resets_runs_on(tmp_path, bridge):
    domain = Domain(tmp_path, bridge, cmdline="test=triple")
    domain.define()
    try:
        virsh("start", domain.name)
        pid = domain.pid()
        assert domain.state() == "running" and os.path.exists(f"/proc/{pid}")
    finally:
        domain.remove()


def test_it_is_found_again_after_libvirtd_was_restarted(domain):
    pid = domain.pid()
    restart_libvirtd()
    wait_for(lambda: domain.state() == "running", "the domain to be found")
    assert domain.pid() == pid
    virsh("suspend", domain.name)
    assert domain.state() == "paused"
    assert "total_iops_sec : 1000" in virsh("blkdeviotune", domain.name, "hda")


# ---- firmware, memory ----

LOADER = "/usr/share/OVMF/OVMF_CODE_4M.fd"


def test_flash_with_variables_of_its_own(tmp_path, bridge):
    """Taken and started, paused: this KVM may not be able to run firmware."""
    def firmware(xml):
        flash = f"""<loader readonly='yes' type='pflash'>{LOADER}</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>{tmp_path}/vars.fd</nvram>"""
        return re.sub(r"<kernel>.*?</cmdline>", flash, xml, flags=re.S)

    domain = Domain(tmp_path, bridge, change=firmware)
    domain.define()
    try:
        virsh("start", "--paused", domain.name)
        assert domain.state() == "paused"
        assert os.path.getsize(tmp_path / "vars.fd") == os.path.getsize("/usr/share/OVMF/OVMF_VARS_4M.fd")
        virsh("destroy", domain.name)
        virsh("undefine", "--nvram", domain.name)
        assert not os.path.exists(tmp_path / "vars.fd")
    finally:
        domain.remove()


def test_shared_memory_and_the_cpu_of_the_host(tmp_path, bridge):
    def memory(xml):
        return xml.replace("<iothreads>", "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
                                          "<cpu mode='host-passthrough'/><iothreads>")

    domain = Domain(tmp_path, bridge, change=memory)
    domain.define()
    try:
        virsh("start", domain.name)
        assert domain.state() == "running"
        with open(f"/proc/{domain.pid()}/maps") as f:
            assert re.search(r"rw-s .*memfd:", f.read())
    finally:
        domain.remove()


# ---- its devices ----

def test_throttling(domain):
    assert "total_iops_sec : 1000" in virsh("blkdeviotune", domain.name, "hda")
    virsh("blkdeviotune", domain.name, "hda", "--total-iops-sec", "500")
    assert "total_iops_sec : 500" in virsh("blkdeviotune", domain.name, "hda")


def limits_of_groups(domain):
    """What the VMM says of them: {group: iops}, each for all of its drives."""
    answer = json.loads(virsh("qemu-monitor-command", domain.name, '{"execute": "query-block"}'))
    return [(b["inserted"].get("group"), b["inserted"]["iops"]) for b in answer["return"]]


def test_throttle_groups(tmp_path, bridge):
    """<group_name>, at start and when a disk comes, and blkdeviotune, which changes it for all in the group."""
    tune = "<iotune><total_iops_sec>900</total_iops_sec><group_name>drives</group_name></iotune>"
    domain = Domain(tmp_path, bridge, change=lambda xml: re.sub("<iotune>.*</iotune>", tune, xml))
    path = domain.file("more.raw", "\0" * 512)
    os.truncate(path, 4 << 20)
    disk = domain.file("more.xml", f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{path}'/>"
                       f"<target dev='vdb' bus='virtio'/>{tune}</disk>")
    domain.define()
    try:
        virsh("start", domain.name)
        assert limits_of_groups(domain) == [("drives", 900)]
        virsh("attach-device", domain.name, disk, "--live")
        assert limits_of_groups(domain) == [("drives", 900)] * 2
        assert re.search(r"group_name\s*: drives", virsh("blkdeviotune", domain.name, "vdb"))
        virsh("blkdeviotune", domain.name, "vdb", "--total-iops-sec", "500")
        assert limits_of_groups(domain) == [("drives", 500)] * 2
        assert "total_iops_sec : 500" in virsh("blkdeviotune", domain.name, "hda")
        virsh("blkdeviotune", domain.name, "vdb", "--total-iops-sec", "70", "--group-name", "other")
        assert limits_of_groups(domain) == [("drives", 500), ("other", 70)]
        virsh("blkdeviotune", domain.name, "vdb", "--total-iops-sec", "0")
        assert limits_of_groups(domain) == [("drives", 500), (None, 0)]
    finally:
        domain.remove()


def test_statistics(domain):
    stats = members(virsh("domstats", domain.name))
    assert stats["state.state"] == "1" and stats["vcpu.current"] == "2" and stats["balloon.maximum"] == "262144"
    assert stats["block.0.capacity"] == str(8 << 20) and stats["block.0.rd.reqs"] == "0" and stats["iothread.count"] == "1"
    assert "hda rd_req" in virsh("domblkstat", domain.name, "hda")
    card = re.search(r"^\s*(vnet\d+)", virsh("domiflist", domain.name), re.M).group(1)
    assert f"{card} rx_bytes" in virsh("domifstat", domain.name, card)
    assert "actual 262144" in virsh("dommemstat", domain.name)
    assert re.search(r"Capacity:\s+8388608", virsh("domblkinfo", domain.name, "hda"))


def test_memory_balloon_is_asked(domain):
    virsh("setmem", domain.name, "200M", "--live")
    virsh("dommemstat", domain.name, "--period", "2", "--live")


def test_a_disk_comes_and_its_going_waits_for_the_guest(domain):
    path = domain.file("hot.raw", "\0" * 512)
    os.truncate(path, 4 << 20)
    virsh("attach-disk", domain.name, path, "vdb", "--live")
    assert path in virsh("domblklist", domain.name)
    assert members(virsh("domstats", "--block", domain.name))["block.1.capacity"] == str(4 << 20)
    virsh("blockresize", domain.name, "vdb", "8M")
    assert members(virsh("domstats", "--block", domain.name))["block.1.capacity"] == str(8 << 20)


def test_a_card_comes(domain, bridge):
    virsh("attach-interface", domain.name, "bridge", bridge, "--model", "virtio", "--live")
    assert len(virsh("domiflist", domain.name).splitlines()) == 2


def test_the_cable(domain):
    card = re.search(r"^\s*(vnet\d+)", virsh("domiflist", domain.name), re.M).group(1)
    virsh("domif-setlink", domain.name, card, "down")
    assert "down" in virsh("domif-getlink", domain.name, card)
    virsh("domif-setlink", domain.name, card, "up")


def test_iothreads_come_and_go(domain):
    virsh("iothreadadd", domain.name, "2", "--live")
    assert re.search(r"^\s*2\s", virsh("iothreadinfo", domain.name), re.M)
    virsh("iothreaddel", domain.name, "2", "--live")
    assert not re.search(r"^\s*2\s", virsh("iothreadinfo", domain.name), re.M)


def test_the_monitor_is_ours(domain):
    assert "StratoVirt-" in virsh("qemu-monitor-command", domain.name, '{"execute":"query-version"}')
    assert "VM status: running" in virsh("qemu-monitor-command", domain.name, "--hmp", "info status")


USB = "<controller type='usb' model='qemu-xhci'/>"
SCSI = "<controller type='scsi' model='virtio-scsi'/>"
SATA = "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"
TPM = "<tpm model='tpm-tis'><backend type='emulator'/></tpm>"
SCREEN = "<graphics type='vnc' port='-1'/>"


def test_what_we_do_not_have_fails_with_libvirts_own_error(domain):
    for words in (["save", domain.name, f"{domain.folder}/saved"], ["managedsave", domain.name],
                  ["snapshot-create-as", domain.name, "s1"], ["screenshot", domain.name, f"{domain.folder}/picture"],
                  ["setvcpus", domain.name, "1", "--live"], ["migrate", domain.name, "qemu+tcp://192.0.2.1/system"],
                  ["dump", "--memory-only", domain.name, f"{domain.folder}/core"]):
        assert "error:" in virsh(*words, status=1), words
        assert domain.state() == "running", words
    for device in (USB, SCSI, SATA, TPM, SCREEN):
        assert "error:" in virsh("attach-device", domain.name, domain.file("device.xml", device), "--live", status=1), device
        assert domain.state() == "running", device


def test_a_cpu_model_is_refused_by_libvirt(tmp_path, bridge):
    domain = Domain(tmp_path, bridge, change=lambda xml: replaced(xml, ("<vcpu>", "<cpu mode='host-model'/><vcpu>")))
    domain.define()
    try:
        assert "error:" in virsh("start", domain.name, status=1)
        assert domain.state() == "shut off"
    finally:
        domain.remove()

