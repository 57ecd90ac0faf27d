# SPDX-License-Identifier: Apache-2.0
"""Every virtio device, on virtio-mmio of microvm and on PCI Express of virt with MSI-X through the ITS."""

import os
import re
import socket

import pytest
import test_hotplug

MIB = 1 << 20
TOKEN = "written-by-the-guest"

SCRIPT = f"""
echo "== root"; echo {TOKEN} >/file && sync && cat /file
echo "== second"; dd if=/dev/vdb bs=1M count=8 iflag=direct 2>/dev/null | tr -d '\\245' | wc -c
echo "== entropy"; cat /sys/class/misc/hw_random/rng_current; dd if=/dev/hwrng bs=32 count=1 2>/dev/null | wc -c
echo "== card"; cat /sys/class/net/eth0/address
ifconfig eth0 10.79.0.2 netmask 255.255.255.0 up; ping -c 2 -W 5 10.79.0.1 >/dev/null && echo answered
echo "== port"; for p in /sys/class/virtio-ports/*; do cat $p/name; done 2>/dev/null; echo from-the-guest >/dev/hvc0
echo "== virtio"
for d in /sys/bus/virtio/devices/*; do
	echo "$(basename "$(readlink -f "$d/driver")") $(basename "$d")"
done
# Nothing in the guest gives these two something to do; the host does.
quiet() {{
	name=$(for d in /sys/bus/virtio/devices/*; do readlink -f "$d/driver" | grep -q "$1" && basename "$d"; done)
	awk -v n="^$name(-|$)" '$NF ~ n {{ sum += $2 + $3 }} END {{ exit sum > 0 }}' /proc/interrupts
}}
echo "#sv-op-traffic"
tries=0
while (quiet balloon || quiet vsock) && [ $tries -lt 1200 ]; do tries=$((tries + 1)); usleep 50000; done
echo "== interrupts"; grep virtio /proc/interrupts
echo "== log"; dmesg | grep -i -e 'BUG:' -e 'WARNING:' -e 'virtio.*fail' | sed "s/^/: /"
echo "== end"
"""

# Loaded by the initramfs: the root disk has none.
MODULES = "sv.modules=virtio_net,virtio_console,virtio_balloon,vmw_vsock_virtio_transport"
DRIVERS = {"virtio_blk", "virtio_rng", "virtio_net", "virtio_console", "virtio_balloon", "vmw_vsock_virtio_transport"}


class Traffic(test_hotplug.Operator):
    """Has pages ballooned, and knocks at a port of vsock where nobody listens."""

    def work(self):
        self.wait_for("traffic")
        self.connect()
        self.q.run("balloon", value=200 * MIB)
        with socket.socket(socket.AF_UNIX) as knock:
            knock.settimeout(test_hotplug.LIMIT)
            knock.connect(self.guest.path("vsock"))
            knock.sendall(b"CONNECT 99\n")
            assert knock.recv(16) == b""


@pytest.fixture(scope="module", params=["microvm", "virt"])
def guest(request, new_guest):  # noqa: F811
    end = "device" if request.param == "microvm" else "pci"
    tap = "armtap0"
    os.system(f"ip tuntap del {tap} mode tap 2>/dev/null; ip tuntap add {tap} mode tap && "
              f"ip addr add 10.79.0.1/24 dev {tap} && ip link set {tap} up")
    guest = new_guest()
    guest.root_image()
    guest.plain_image("data.img", 8 * MIB)
    traffic = Traffic(guest, 0)
    try:
        guest.run(
            "-object", "iothread,id=io0",
            "-drive", "id=d0,file=root.img,format=raw", "-device", f"virtio-blk-{end},drive=d0,id=blk0,iothread=io0",
            "-drive", "id=d1,file=data.img,format=raw,readonly=on,aio=threads",
            "-device", f"virtio-blk-{end},drive=d1,id=blk1",
            "-object", "rng-random,id=r0,filename=/dev/urandom", "-device", f"virtio-rng-{end},rng=r0,id=rng0",
            "-netdev", f"tap,id=n0,ifname={tap}", "-device", f"virtio-net-{end},netdev=n0,id=net0",
            "-device", f"virtio-balloon-{end},id=balloon0",
            "-device", f"virtio-serial-{end},id=serial1", "-chardev", f"file,id=c0,path={guest.path('port')}",
            "-device", "virtconsole,chardev=c0,id=console0",
            "-device", f"virtio-vsock-{end},id=vsock0,guest-cid=5,uds-path={guest.path('vsock')}",
            "-qmp", "unix:qmp.sock,server,nowait", "-no-reboot",
            machine=request.param + (",replaceable-slots=off" if end == "device" else ""), smp=2, append=f"root=/dev/vda rw {MODULES}",
            script=SCRIPT, timeout=test_hotplug.LIMIT)
    finally:
        os.system(f"ip tuntap del {tap} mode tap")
    traffic.check()
    return guest.check_finished(), request.param


def test_every_driver_is_bound(guest):
    bound = {line.split()[0].replace("-", "_") for line in guest[0].section("virtio").splitlines()}
    assert DRIVERS <= bound


def test_disks(guest):
    assert guest[0].section("root") == TOKEN
    assert guest[0].section("second") == "0"


def test_entropy(guest):
    lines = guest[0].section("entropy").split()
    assert lines[0].startswith("virtio_rng") and lines[1] == "32"


def test_network_card_answers(guest):
    assert guest[0].section("card").split()[-1] == "answered"


def test_console_port_reaches_the_host(guest):
    with open(guest[0].path("port")) as f:
        assert "from-the-guest" in f.read()


def test_interrupts_come_the_right_way(guest):
    text = guest[0].section("interrupts")
    virtio = [line for line in text.splitlines() if "virtio" in line]
    if guest[1] == "virt":
        used = [line for line in virtio if re.search(r"ITS-(PCI-)?MSI", line)]
        assert len(used) >= 10 and used == virtio
    else:
        used = [line for line in virtio if "GICv3" in line and "Edge" in line]
        assert len(used) >= 7 and used == virtio


def test_every_device_interrupts(guest):
    counts = {}
    for line in guest[0].section("interrupts").splitlines():
        words = line.split()
        name = re.match(r"virtio\d+", words[-1]).group()
        counts[name] = counts.get(name, 0) + int(words[1]) + int(words[2])
    for line in guest[0].section("virtio").splitlines():
        driver, name = line.split()
        assert counts[name] > 0, f"{driver}: {counts}"


def test_kernel_has_nothing_to_complain_of(guest):
    assert guest[0].section("log") == ""
