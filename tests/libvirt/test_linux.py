# SPDX-License-Identifier: Apache-2.0
"""virsh and a stock Debian kernel in the domain of docs/libvirt.md: what takes a guest's answer, and devices of the host that the
build machines lack. Runs in the rig: tests/libvirt/run --linux.

The cases share one VM and leave it running; those at the end end it or start it again. Each stands alone, too."""

import json
import os
import re
import socket
import subprocess
import threading

import pytest

import libvirt_vm
from libvirt_vm import members, replaced, virsh, wait_for, without_firmware
from linux_vm import BOOT, Console, LinuxDomain, images

MIB = 1 << 20
GUEST, HOST, GUEST2, HOST2 = "10.79.0.2", "10.79.0.1", "10.79.1.2", "10.79.1.1"
PORT = 2000


class Events:
    """What virsh event --all has told."""

    def __init__(self):
        self.lines = []
        self.process = subprocess.Popen(["virsh", "event", "--all", "--loop"], stdout=subprocess.PIPE, text=True, bufsize=1)
        threading.Thread(target=self._follow, args=(self.process.stdout,), daemon=True).start()

    def _follow(self, stream):
        for line in iter(stream.readline, ""):
            self.lines.append(line.strip())
        stream.close()

    def wait(self, since, pattern):
        """Until a line that came after the first @since ones has @pattern."""
        wait_for(lambda: any(re.search(pattern, line) for line in self.lines[since:]), f"the event {pattern!r} in {self.lines[since:]}")

    def close(self):
        self.process.kill()
        self.process.wait()


def start(domain, limit=BOOT):
    """The console with somebody logged in. A guest that is lost in its boot is started once more, see tests/rig/README.md."""
    for last in (False, True):
        virsh("start", domain.name)
        console = Console(domain)
        try:
            console.log_in(limit)
            return console
        except AssertionError as error:
            console.close()
            if last:
                raise
            print(f"lost in its boot, once more: {error}")
            virsh("destroy", domain.name)


class Shared:
    """The one domain, its console and the events."""

    def __init__(self, domain):
        self.domain, self.name, self.virsh = domain, domain.name, domain.virsh
        self.console = self.events = None

    def up(self):
        """Running, with somebody logged in."""
        if self.events is None or self.events.process.poll() is not None:
            self.events = Events()
            # It tells nothing until it listens.
            def heard():
                virsh("define", f"{self.domain.folder}/domain.xml")
                return "'lifecycle'" in " ".join(self.events.lines)
            wait_for(heard, "the first event")
        if self.console is None or not self.domain.running() or not self.console.answers():
            self.down()
            self.console = start(self.domain)
        return self

    def down(self):
        if self.console:
            self.console.close()
            self.console = None
        if self.domain.state() != "shut off":
            virsh("destroy", self.name)

    def guest(self, command):
        return self.console.run(command)

    def until(self, command, wanted):
        """Until @command in the guest prints @wanted."""
        said = self.console.run(f"tries=0; while said=$({{ {command}; }} 2>&1); [ \"$said\" != '{wanted}' ] && [ $tries -lt 1200 ]; do "
                                "tries=$((tries+1)); usleep 50000; done; echo \"$said\"")
        assert said == wanted, f"{command}: {said}"

    def cards(self):
        return re.findall(r"^\s*(vnet\d+)", virsh("domiflist", self.name), re.M)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, bridge):
    for address in (HOST, HOST2):
        subprocess.run(["ip", "addr", "add", f"{address}/24", "dev", bridge], check=True)
    folder = tmp_path_factory.mktemp("vm")
    tool = folder / "vsock_tool"
    subprocess.run(["gcc", "-static", "-O2", "-o", tool, f"{libvirt_vm.TOP}/tests/linux/vsock_tool.c"], check=True)
    # Without firmware it starts sooner, and the balloon cannot take huge pages. Of three CPUs there are two.
    shared = Shared(LinuxDomain(folder, bridge, programs={"vsock_tool": tool.read_bytes()},
                                change=lambda xml: re.sub("<hugepages>.*</hugepages>", "", without_firmware(
                                    replaced(xml, ("<vcpu>2<", "<vcpu current='2'>3<"))))))
    shared.domain.define()
    try:
        yield shared
    finally:
        if shared.events:
            shared.events.close()
        if shared.console:
            shared.console.close()
        shared.domain.remove()


@pytest.fixture
def vm(shared):
    return shared.up()


# ---- while it runs ----

def test_the_console_has_a_login(vm):
    assert vm.guest("uname -r") == images.kernel_version(images.cloud())
    assert vm.guest("nproc; tty") == "2\n/dev/hvc0"


def test_the_console_is_left_and_found_again(vm):
    vm.console.type("echo first-''session\r")
    vm.console.expect("first-session")
    vm.console.close()
    vm.console = Console(vm.domain)
    vm.console.type("\r")
    assert vm.guest("echo second") == "second"


def test_every_device_of_the_documentation_has_its_driver(vm):
    found = vm.guest("for d in /sys/bus/virtio/devices/*; do echo $(cat $d/device) $(basename $(readlink $d/driver)); done | sort")
    assert found.splitlines() == ["0x0001 virtio_net", "0x0001 virtio_net", "0x0002 virtio_blk", "0x0003 virtio_console",
                                  "0x0004 virtio_rng", "0x0005 virtio_balloon", "0x0013 vmw_vsock_virtio_transport"]
    # Each on a port of its own.
    assert vm.guest("ls -d /sys/bus/pci/devices/0000:0[1-7]:00.0 | wc -l") == "7"


def test_random_numbers(vm):
    assert vm.guest("cat /sys/class/misc/hw_random/rng_current; dd if=/dev/hwrng bs=16 count=1 2>/dev/null | wc -c") == "virtio_rng.0\n16"


def test_the_guest_reaches_the_host_by_both_cards(vm):
    """One with the VMM in between, one by vhost-net."""
    before = {card: int(re.search(r"rx_packets (\d+)", virsh("domifstat", vm.name, card)).group(1)) for card in vm.cards()}
    assert len(before) == 2
    for address in (HOST, HOST2):
        assert vm.guest(f"ping -c 3 -W 20 {address} >/dev/null && echo answered") == "answered"
    for card in vm.cards():
        assert int(re.search(r"rx_packets (\d+)", virsh("domifstat", vm.name, card)).group(1)) >= before[card] + 3
    # The kernel's thread works for the second one only.
    assert any(os.readlink(f"/proc/{vm.domain.pid()}/fd/{fd}") == "/dev/vhost-net" for fd in os.listdir(f"/proc/{vm.domain.pid()}/fd"))


def test_the_guest_sees_the_cable(vm):
    card = vm.cards()[0]
    virsh("domif-setlink", vm.name, card, "down")
    vm.until("cat /sys/class/net/eth0/carrier", "0")
    virsh("domif-setlink", vm.name, card, "up")
    vm.until("cat /sys/class/net/eth0/carrier", "1")


def test_a_stream_over_vsock(vm):
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as listener:
        listener.settimeout(BOOT)
        listener.bind((socket.VMADDR_CID_ANY, PORT))
        listener.listen(1)
        said = []
        taker = threading.Thread(target=lambda: said.append(take(listener)), daemon=True)
        taker.start()
        vm.guest(f"/run/sv/vsock_tool send 2 {PORT} {MIB}")
        taker.join(BOOT)
        assert said == [(3, MIB)]


def take(listener):
    """The caller's CID and how much it sent."""
    stream, (cid, _) = listener.accept()
    stream.settimeout(BOOT)
    size = 0
    with stream:
        while True:
            got = stream.recv(65536)
            if not got:
                return cid, size
            size += len(got)
            if size >= MIB:
                return cid, size


def test_suspended_it_says_nothing(vm):
    since = len(vm.events.lines)
    virsh("suspend", vm.name)
    assert virsh("domstate", "--reason", vm.name) == "paused (user)"
    seen = len(vm.console.text)
    vm.console.type("echo still-''here\r")
    vm.events.wait(since, "Suspended")
    vm.console.listen(1)
    assert "still" not in vm.console.text[seen:]  # nor what was typed
    virsh("resume", vm.name)
    vm.console.expect("still-here")
    vm.events.wait(since, "Resumed")


def test_the_balloon_takes_memory_and_gives_it_back(vm):
    """With autodeflate, Linux does not take the balloon off MemTotal; it counts pages."""
    since = len(vm.events.lines)

    def pages(way):
        return int(vm.guest(f"awk '$1 == \"balloon_{way}\" {{print $2}}' /proc/vmstat"))

    taken, given = pages("inflate"), pages("deflate")
    virsh("setmem", vm.name, "192M", "--live")
    wait_for(lambda: "actual 196608" in virsh("dommemstat", vm.name), "the balloon")
    assert pages("inflate") >= taken + (64 << 20) // 4096
    vm.events.wait(since, "'balloon-change'.*196608")
    virsh("setmem", vm.name, "256M", "--live")
    wait_for(lambda: "actual 262144" in virsh("dommemstat", vm.name), "the balloon")
    assert pages("deflate") >= given + (64 << 20) // 4096


def test_statistics_of_the_guests_memory(vm):
    total = int(vm.guest("awk '/MemTotal/ {print $2}' /proc/meminfo"))

    def stats():
        return dict(re.findall(r"^(\w+) (\d+)$", virsh("dommemstat", vm.name), re.M))

    wait_for(lambda: int(stats().get("last_update", 0)), "statistics of the guest's driver")
    seen = stats()
    assert int(seen["available"]) == total and 0 < int(seen["unused"]) <= int(seen["usable"]) + (64 << 10) < 2 * total
    assert int(seen["minor_fault"]) > 0 and int(seen["rss"]) > 0
    assert int(members(virsh("domstats", "--balloon", vm.name))["balloon.available"]) == total


def test_block_statistics_count_what_the_guest_does(vm):
    def stats():
        return {name: int(value) for name, value in re.findall(r"^vda (\w+) (\d+)$", virsh("domblkstat", vm.name, "vda"), re.M)}

    before = stats()
    vm.guest("dd if=/dev/vda of=/dev/null bs=64k count=32 iflag=direct 2>/dev/null")
    vm.guest("dd if=/dev/zero of=/root/file bs=4k count=16 conv=fsync 2>/dev/null")
    after = stats()
    assert after["rd_bytes"] >= before["rd_bytes"] + (2 << 20) and after["rd_req"] >= before["rd_req"] + 16
    assert after["wr_bytes"] >= before["wr_bytes"] + (64 << 10) and after["flush_operations"] > before["flush_operations"]


def test_a_disk_comes_and_grows_and_goes(vm):
    since = len(vm.events.lines)
    path = vm.domain.file("hot.raw", "")
    os.truncate(path, 4 * MIB)
    virsh("attach-disk", vm.name, path, "vdb", "--live")
    vm.until("cat /sys/block/vdb/size", "8192")
    vm.events.wait(since, "'device-added'.*virtio-disk1")
    virsh("blockresize", vm.name, "vdb", "8M")
    vm.until("cat /sys/block/vdb/size", "16384")
    vm.until("[ -b /dev/vdb ] && echo there", "there")
    vm.guest("echo written by the guest | dd of=/dev/vdb conv=sync,fsync 2>/dev/null")
    with open(path, "rb") as f:
        assert f.read(20) == b"written by the guest"
    virsh("detach-disk", vm.name, "vdb", "--live")
    vm.until("[ -b /dev/vdb ] || echo gone", "gone")
    vm.events.wait(since, "'device-removed'.*virtio-disk1")
    assert "vdb" not in virsh("domblklist", vm.name)


def test_a_card_comes_and_goes(vm, bridge):
    since = len(vm.events.lines)
    card = "52:54:00:00:00:77"
    virsh("attach-interface", vm.name, "bridge", bridge, "--model", "virtio", "--mac", card, "--live")
    vm.until("cat /sys/class/net/eth2/address", card)
    vm.guest("ifconfig eth2 up")
    vm.until("cat /sys/class/net/eth2/carrier", "1")
    virsh("detach-interface", vm.name, "bridge", "--mac", card, "--live")
    vm.until("[ -e /sys/class/net/eth2 ] || echo gone", "gone")
    wait_for(lambda: card not in virsh("domiflist", vm.name), "the card's end")
    vm.events.wait(since, "'device-removed'.*net2")


DISK_WITH_LESS = """<disk type='file' device='disk'><driver name='qemu' type='raw' ioeventfd='off' event_idx='off'/><source file='{}'/>
<target dev='vdb' bus='virtio'/><shareable/></disk>
"""
CARD_WITH_MORE = """<interface type='bridge'><source bridge='{}'/><mac address='52:54:00:00:00:78'/><model type='virtio'/>
<driver name='qemu' rx_queue_size='1024' tx_queue_size='512'/><mtu size='1400'/></interface>
"""


def test_a_disk_and_a_card_with_words_of_their_own(vm, bridge):
    """A disk without EVENT_IDX and ioeventfds, whose notifications are then a vCPU thread's writes; a card whose guest is told the MTU."""
    path = vm.domain.file("less.raw", "")
    os.truncate(path, MIB)
    disk, card = vm.domain.file("less.xml", DISK_WITH_LESS.format(path)), vm.domain.file("card.xml", CARD_WITH_MORE.format(bridge))
    virsh("attach-device", vm.name, disk, "--live")
    virsh("attach-device", vm.name, card, "--live")
    vm.until("cat /sys/block/vdb/size; cat /sys/class/net/eth2/mtu", "2048\n1400")
    vm.until("[ -b /dev/vdb ] && echo there", "there")
    # Bits 28 (INDIRECT_DESC), 29 (EVENT_IDX).
    features = "cut -c29,30 /sys/block/{}/device/features"
    assert vm.guest(f"{features.format('vda')}; {features.format('vdb')}") == "11\n10"
    assert vm.guest("cut -c4 /sys/class/net/eth2/device/features") == "1"  # MTU

    def written():
        folder = f"/proc/{vm.domain.pid()}/task"
        total = 0
        for tid in os.listdir(folder):
            with open(f"{folder}/{tid}/comm") as name, open(f"{folder}/{tid}/io") as io:
                total += int(re.search(r"syscw: (\d+)", io.read()).group(1)) if name.read().startswith("CPU ") else 0
        return total

    def writes(device):
        before = written()
        assert "64+0 records in" in vm.guest(f"dd if=/dev/{device} of=/dev/null bs=4k count=64 iflag=direct 2>&1")
        return written() - before

    # One a request, but those that come while the device looks anyhow.
    vda, vdb = writes("vda"), writes("vdb")
    assert vdb - vda >= 16
    virsh("detach-device", vm.name, disk, "--live")
    virsh("detach-device", vm.name, card, "--live")
    vm.until("[ -b /dev/vdb -o -e /sys/class/net/eth2 ] || echo gone", "gone")
    wait_for(lambda: "vdb" not in virsh("domblklist", vm.name) and len(vm.cards()) == 2, "the end of both")


def test_a_device_described_in_a_file_comes_and_goes(vm):
    xml = vm.domain.file("rng.xml", "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\n")
    virsh("attach-device", vm.name, xml, "--live")
    vm.until("grep -c virtio_rng /sys/class/misc/hw_random/rng_available; grep -o virtio_rng.1 /sys/class/misc/hw_random/rng_available",
             "1\nvirtio_rng.1")
    virsh("detach-device", vm.name, xml, "--live")
    vm.until("grep -o virtio_rng.1 /sys/class/misc/hw_random/rng_available || echo gone", "gone")
    wait_for(lambda: virsh("dumpxml", vm.name).count("<rng ") == 1, "the device's end")


def test_a_cpu_comes_and_goes(vm):
    """libvirt waits 5 s for the guest's eject, and hears of a later one by its event."""
    def cpus(command, member="qom-path"):
        reply = json.loads(virsh("qemu-monitor-command", vm.name, json.dumps({"execute": command})))
        return sum(member in cpu for cpu in reply["return"])

    def live():
        return int(virsh("vcpucount", vm.name, "--live", "--active"))

    for _ in range(2):
        virsh("setvcpus", vm.name, "3", "--live")
        assert (live(), cpus("query-cpus-fast")) == (3, 3)
        vm.until("[ -e /sys/devices/system/cpu/cpu2/online ] && echo there", "there")
        # A distribution's udev rules do that.
        vm.guest("[ $(cat /sys/devices/system/cpu/cpu2/online) = 1 ] || echo 1 >/sys/devices/system/cpu/cpu2/online")
        vm.until("nproc", "3")
        done = subprocess.run(["virsh", "-q", "setvcpus", vm.name, "2", "--live"], capture_output=True, text=True, timeout=libvirt_vm.LIMIT)
        assert done.returncode == 0 or "vcpu unplug request timed out" in done.stderr, done.stderr
        wait_for(lambda: live() == 2, "the CPU's end")
        assert cpus("query-cpus-fast") == 2 and cpus("query-hotpluggable-cpus") == 2
        assert cpus("query-hotpluggable-cpus", "type") == 3
        assert vm.guest("nproc; ls -d /sys/devices/system/cpu/cpu2 2>/dev/null || echo gone") == "2\ngone"


def test_the_cpus_of_the_start_stay(vm):
    assert "failed to find appropriate hotpluggable vcpus" in virsh("setvcpus", vm.name, "1", "--live", status=1)
    assert vm.guest("nproc") == "2"


def test_it_is_found_again_with_a_console_and_devices(vm):
    pid = vm.domain.pid()
    vm.console.close()
    vm.events.close()
    vm.events = None
    libvirt_vm.restart_libvirtd()
    wait_for(lambda: vm.domain.state() == "running", "the domain to be found")
    assert vm.domain.pid() == pid
    vm.console = Console(vm.domain)
    vm.console.type("\r")
    assert vm.guest("echo the same") == "the same"
    path = vm.domain.file("after.raw", "")
    os.truncate(path, MIB)
    virsh("attach-disk", vm.name, path, "vdc", "--live")
    vm.until("cat /sys/block/vdb/size", "2048")
    virsh("detach-disk", vm.name, "vdc", "--live")
    wait_for(lambda: "vdc" not in virsh("domblklist", vm.name), "the disk's end")


# ---- ends and beginnings ----

@pytest.mark.parametrize("how", ["reboot", "reset", "by the guest itself"])
def test_it_starts_again(vm, how):
    """reboot: the guest heeds the power button, and libvirt starts it again. The VM stays the same process."""
    pid, since = vm.domain.pid(), len(vm.events.lines)
    vm.guest("touch /run/mark")
    if how == "by the guest itself":
        vm.console.type("reboot -f\r")
    else:
        virsh(how, vm.name)
    vm.console.log_in()
    assert vm.guest("ls /run/mark 2>/dev/null || echo new") == "new"
    vm.events.wait(since, "'reboot'")
    assert vm.domain.state() == "running" and vm.domain.pid() == pid


def test_the_guest_heeds_the_power_button(vm):
    since = len(vm.events.lines)
    virsh("shutdown", vm.name)
    wait_for(lambda: vm.domain.state() == "shut off", "the guest to shut down")
    assert virsh("domstate", "--reason", vm.name) == "shut off (shutdown)"
    vm.events.wait(since, "Shutdown Finished")
    vm.events.wait(since, "Stopped Shutdown")


def test_a_panic_is_a_crash(vm):
    since = len(vm.events.lines)
    vm.console.type("echo c >/proc/sysrq-trigger\r")
    wait_for(lambda: vm.domain.state() != "running", "libvirt to see the panic")
    vm.events.wait(since, "Crashed Panicked")
    wait_for(lambda: virsh("domstate", "--reason", vm.name) == "shut off (crashed)", "the end")
    assert "Kernel panic" in vm.domain.kernel_log()


def huge_pages_of(pid):
    with open(f"/proc/{pid}/smaps") as f:
        return re.findall(r"/dev/hugepages/libvirt/qemu/\S*.*\n(?:.*kB\n)*?KernelPageSize:\s+(\d+) kB", f.read())


def test_the_whole_example(shared, tmp_path, bridge):
    """OVMF with variables of its own takes the kernel by fw_cfg, memory is huge pages. The guest powers itself off."""
    shared.down()
    domain = LinuxDomain(tmp_path, bridge, name="whole", change=str)
    domain.define()
    console = None
    try:
        console = start(domain, limit=3 * BOOT)
        assert os.path.exists(domain.nvram) and "2048" in huge_pages_of(domain.pid())
        assert console.run("ls -d /sys/firmware/efi/efivars") == "/sys/firmware/efi/efivars"
        # A balloon cannot take these pages; libvirt shows our reason.
        assert "huge pages of 2M" in virsh("setmem", domain.name, "192M", "--live", status=1)
        wait_for(lambda: "last_update 0" not in virsh("dommemstat", domain.name), "statistics of the guest's driver")
        console.type("poweroff -f\r")
        wait_for(lambda: domain.state() == "shut off", "the guest to power off")
        assert virsh("domstate", "--reason", domain.name) == "shut off (shutdown)"
        virsh("undefine", "--nvram", domain.name)
        assert not os.path.exists(domain.nvram)
    finally:
        if console:
            console.close()
        domain.remove()
