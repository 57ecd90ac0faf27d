# SPDX-License-Identifier: Apache-2.0
"""virtio-net with a stock kernel: frames both ways through a tap, large transfers hashed at both ends."""

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

import vm

MIB = 1 << 20
SIZE = 4 * MIB
HOST, GUEST = "10.77.{}.1", "10.77.{}.2"

SCRIPT = """
cd /tmp
ip link set eth0 up
ip addr add {guest}/24 dev eth0
echo "== address"; cat /sys/class/net/eth0/address
echo "== mtu"; cat /sys/class/net/eth0/mtu
echo "== carrier"; cat /sys/class/net/eth0/carrier
echo "== queues"; ls /sys/class/net/eth0/queues
echo "== features"; cat /sys/class/net/eth0/device/features
echo "== ping"; ping -c 3 -W 5 {host}
echo "== ping-large"; ping -c 3 -s 20000 -W 5 {host}
echo "== download"; wget -q -O - http://{host}:8080/file | md5sum
echo "== upload"; dd if=/dev/urandom of=up bs=1M count=4 2>/dev/null; md5sum up; nc {host} 8081 <up && echo SENT
echo "== statistics"; cat /sys/class/net/eth0/statistics/rx_errors /sys/class/net/eth0/statistics/tx_errors
echo "== end"
"""


def ip(*words):
    subprocess.run(["ip", *words], check=True)


@pytest.fixture(scope="module")
def new_tap():
    """Makes a tap with an address; removes it at the end."""
    names = []

    def make(number, *flags):
        name = f"svt{number}"
        ip("tuntap", "add", "dev", name, "mode", "tap", "vnet_hdr", *flags)
        names.append(name)
        ip("addr", "add", HOST.format(number) + "/24", "dev", name)
        ip("link", "set", name, "up")
        return name

    yield make
    for name in names:
        ip("link", "del", name)


class Servers:
    """On the host's side, while the context lasts: busybox's httpd, and somebody who takes one upload."""

    def __init__(self, folder, address, size=SIZE):
        self.size = size
        self.www = os.path.join(folder, "www")
        self.address = address
        self.uploaded = None

    def __enter__(self):
        os.mkdir(self.www)
        self.content = os.urandom(self.size)
        with open(os.path.join(self.www, "file"), "wb") as f:
            f.write(self.content)
        self.httpd = subprocess.Popen(["busybox", "httpd", "-f", "-p", f"{self.address}:8080", "-h", self.www])
        self.listener = socket.create_server((self.address, 8081))
        self.listener.settimeout(2 * vm.BOOT_TIMEOUT)
        self.thread = threading.Thread(target=self._take_upload, daemon=True)
        self.thread.start()
        return self

    def _take_upload(self):
        digest = hashlib.md5()
        with self.listener, self.listener.accept()[0] as stream:
            stream.settimeout(vm.BOOT_TIMEOUT)
            while data := stream.recv(1 << 20):
                digest.update(data)
        self.uploaded = digest.hexdigest()

    def __exit__(self, *_):
        self.httpd.kill()
        self.httpd.wait()
        self.thread.join(10)


def boot(guest, number, netdev, device, smp=1, *options):
    host, own = HOST.format(number), GUEST.format(number)
    with Servers(guest.folder, host) as servers:
        guest.run("-netdev", netdev, "-device", device, *options, smp=smp,
                  append="sv.modules=virtio_net", script=SCRIPT.format(host=host, guest=own),
                  timeout=2 * vm.BOOT_TIMEOUT)
        guest.check_finished()
    guest.servers = servers
    return guest


@pytest.fixture(scope="module")
def tap(new_guest, new_tap):
    return boot(new_guest(), 1, f"tap,id=n0,ifname={new_tap(1)},script=no,downscript=no",
                "virtio-net-device,netdev=n0,id=net0,mac=52:54:00:aa:bb:01,mtu=1400")


@pytest.fixture(scope="module")
def many(new_guest, new_tap):
    """Two pairs on iothreads: one receives, one sends, a third one has the control queue."""
    return boot(new_guest(), 2, f"tap,id=n0,ifname={new_tap(2, 'multi_queue')},queues=2",
                "virtio-net-device,netdev=n0,mq=on,iothread=io0,rx-iothread=io1,tx-iothread=io2", 2,
                *(word for i in range(3) for word in ("-object", f"iothread,id=io{i}")))


@pytest.fixture(scope="module")
def vhost(new_guest, new_tap):
    return boot(new_guest(), 3, f"tap,id=n0,ifname={new_tap(3, 'multi_queue')},queues=2,vhost=on",
                "virtio-net-device,netdev=n0,mq=on", 2)


@pytest.fixture(params=["tap", "many", "vhost"])
def guest(request):
    return request.getfixturevalue(request.param)


def test_nothing_is_written_to_stderr(guest):
    assert guest.errors == ""


def test_ping(guest):
    assert "3 packets received" in guest.section("ping")


def test_ping_in_fragments(guest):
    assert "3 packets received" in guest.section("ping-large")


def test_download_arrives_intact(guest):
    assert guest.section("download").split()[0] == hashlib.md5(guest.servers.content).hexdigest()


def test_upload_arrives_intact(guest):
    assert "SENT" in guest.section("upload")
    assert guest.section("upload").split()[0] == guest.servers.uploaded


def test_no_frame_was_bad(guest):
    assert guest.section("statistics").split() == ["0", "0"]


def test_link_is_up(guest):
    assert guest.section("carrier") == "1"


def test_driver_takes_the_offloads(guest):
    features = guest.section("features")
    for bit in (0, 1, 5, 7, 11, 15, 16, 17, 18, 29, 32):  # CSUM … VERSION_1
        assert features[bit] == "1", f"bit {bit} of {features}"


def test_address_and_mtu_reach_the_guest(tap):
    assert tap.section("address") == "52:54:00:aa:bb:01"
    assert tap.section("mtu") == "1400"


def test_default_address(many):
    assert many.section("address") == "52:54:00:12:34:56"


def test_one_pair_without_mq(tap):
    assert tap.section("queues").split() == ["rx-0", "tx-0"]


@pytest.mark.parametrize("name", ["many", "vhost"])
def test_pairs_are_visible(request, name):
    guest = request.getfixturevalue(name)
    assert guest.section("queues").split() == ["rx-0", "rx-1", "tx-0", "tx-1"]


# The cable, by QMP, while the guest looks on.

LINK_SCRIPT = """
ip link set eth0 up
ip addr add {guest}/24 dev eth0
wait_for() {{
	n=0
	while [ "$(cat /sys/class/net/eth0/carrier)" != $1 ]; do
		n=$((n + 1)); [ $n -gt 300 ] && return 1
		usleep 100000
	done
}}
wait_for 1 && ping -c 1 -W 5 {host} >/dev/null && echo "#link-was-up"
wait_for 0 && echo "#link-is-down"
wait_for 1 && echo "#link-is-up"
echo "== after"; ping -c 3 -W 5 {host}
"""


class Cable(threading.Thread):
    """Cuts and connects it again, as the guest's console tells that it has seen the change before."""

    def __init__(self, guest, path):
        super().__init__(daemon=True)
        self.guest = guest
        self.path = path
        self.answers = []

    def _wait(self, text):
        end = time.monotonic() + vm.BOOT_TIMEOUT
        while text not in self.guest.console and time.monotonic() < end:
            time.sleep(0.05)

    def run(self):
        self._wait("#link-was-up")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(self.path)
            lines = sock.makefile("r")
            lines.readline()
            for what in ({"execute": "qmp_capabilities"},
                         {"execute": "set_link", "arguments": {"name": "net0", "up": False}},
                         {"execute": "netlink_set", "arguments": {"id": "n0", "up": True}},
                         {"execute": "set_link", "arguments": {"name": "nobody", "up": True}}):
                if what["execute"] == "netlink_set":
                    self._wait("#link-is-down")
                sock.sendall(json.dumps(what).encode())
                self.answers.append(json.loads(lines.readline()))


@pytest.mark.parametrize("number, vhost", [(4, "off"), (5, "on")])
def test_cable_is_cut_and_connected(new_guest, new_tap, number, vhost):
    guest = new_guest()
    cable = Cable(guest, guest.path("qmp"))
    cable.start()
    guest.run("-netdev", f"tap,id=n0,ifname={new_tap(number)},vhost={vhost}",
              "-device", "virtio-net-device,netdev=n0,id=net0", "-qmp", f"unix:{guest.path('qmp')},server,nowait",
              append="sv.modules=virtio_net", machine="microvm,replaceable-slots=off",
              script=LINK_SCRIPT.format(host=HOST.format(number), guest=GUEST.format(number)))
    guest.check_finished()
    cable.join(10)
    assert [list(a)[0] for a in cable.answers] == ["return", "return", "return", "error"]
    assert "#link-is-down" in guest.console and "#link-is-up" in guest.console
    assert "3 packets received" in guest.section("after")


def test_tap_is_created_and_gone_afterwards(new_guest):
    guest = new_guest()
    guest.run("-netdev", "tap,id=n0,ifname=svt9", "-device", "virtio-net-device,netdev=n0",
              append="sv.modules=virtio_net", script="echo '== queues'; ls /sys/class/net/eth0/queues")
    assert guest.check_finished().section("queues").split() == ["rx-0", "tx-0"]
    assert not os.path.exists("/sys/class/net/svt9")


def test_macvtap_by_its_device(new_guest):
    """A macvtap on a dummy interface: the guest sees its address and a driver that works with it."""
    ip("link", "add", "svd0", "type", "dummy")
    try:
        ip("link", "set", "svd0", "up")
        ip("link", "add", "link", "svd0", "name", "svm0", "address", "52:54:00:aa:bb:06", "type", "macvtap",
           "mode", "bridge")
        ip("link", "set", "svm0", "up")
        with open("/sys/class/net/svm0/ifindex") as f:
            path = f"/dev/tap{f.read().strip()}"
        guest = new_guest()
        guest.run("-netdev", f"tap,id=n0,path={path}",
                  "-device", "virtio-net-device,netdev=n0,mac=52:54:00:aa:bb:06", append="sv.modules=virtio_net",
                  script="ip link set eth0 up\nip addr add 10.99.0.2/24 dev eth0\nping -c 3 -W 1 10.99.0.1\n"
                         "echo '== sent'; cat /sys/class/net/eth0/statistics/tx_packets")
        assert int(guest.check_finished().section("sent")) > 0
        with open("/sys/class/net/svd0/statistics/tx_packets") as f:
            assert int(f.read()) > 0
    finally:
        ip("link", "del", "svd0")


# --- Pauses and rings of another size, under traffic ---

PAUSE_SCRIPT = """
cd /tmp
ip link set eth0 up
ip addr add {guest}/24 dev eth0
ping -c 1 -W 5 {host} >/dev/null
echo "#traffic"
echo "== download"; wget -q -O - http://{host}:8080/file | md5sum
echo "== upload"; dd if=/dev/urandom of=up bs=1M count=4 2>/dev/null; md5sum up; nc {host} 8081 <up && echo SENT
echo "#quiet"
(wget -q -O - http://{host}:8080/file | md5sum >again; touch done) &
n=0
echo "== rings"
while [ $n -lt 6 ]; do n=$((n + 1)); /run/sv/net_tool rings eth0 $((32 << n % 4)) $((32 << n % 3)) || break; usleep 100000; done
wait
echo "== again"; cat again
"""


@pytest.mark.parametrize("number, vhost", [(10, "off"), (11, "on")])
def test_pauses_and_resized_rings_lose_nothing(new_guest, new_tap, number, vhost):
    """stop and cont over and over in the middle of transfers; then one queue after the other is reset (RING_RESET)."""
    guest = new_guest()
    tap = new_tap(number)
    pauser = vm.Pauser(guest, "#traffic", "#quiet")
    with Servers(guest.folder, HOST.format(number)) as servers:
        guest.run("-netdev", f"tap,id=n0,ifname={tap},vhost={vhost}",
                  "-device", "virtio-net-pci,netdev=n0,id=net0", *pauser.options, append="sv.modules=virtio_net",
                  # Linux resets single queues of PCI devices only.
                  machine="microvm,pcie=on,replaceable-slots=off",
                  programs=vm.compile_tool(guest, "net_tool"),
                  script=PAUSE_SCRIPT.format(host=HOST.format(number), guest=GUEST.format(number)),
                  timeout=2 * vm.BOOT_TIMEOUT)
    guest.check_finished()
    pauser.check()
    digest = hashlib.md5(servers.content).hexdigest()
    assert guest.section("download").split()[0] == digest
    assert guest.section("upload").split()[0] == servers.uploaded
    assert guest.section("rings").split("\n") == [f"{32 << n % 4} {32 << n % 3}" for n in range(1, 7)]
    assert guest.section("again").split()[0] == digest
    assert guest.errors == ""


# --- vhost-user: frames that another process moves ---

VHOST_USER_SCRIPT = """
ip link set eth0 up
ip addr add {guest}/24 dev eth0
wait_for() {{
	n=0
	while [ "$(cat /sys/class/net/eth0/carrier)" != $1 ]; do
		n=$((n + 1)); [ $n -gt 300 ] && return 1
		usleep 100000
	done
}}
echo "== ping"; ping -c 3 -W 5 {host}
echo "== download"; wget -q -O - http://{host}:8080/file | md5sum
echo "== upload"; dd if=/dev/urandom of=up bs=100k count=4 2>/dev/null; md5sum up; nc {host} 8081 <up && echo SENT
echo "#first-is-done"
wait_for 0 && echo "#link-is-down"
wait_for 1
echo "== again"; ping -c 3 -W 5 {host}
"""


class BackEndProcess:
    """tests/tools/vhost_user.py, which is killed and started again as the guest's console says."""

    def __init__(self, guest, tap):
        self.command = [sys.executable, os.path.join(vm.TOP, "tests", "tools", "vhost_user.py"),
                        guest.path("vhost.sock"), tap]
        self.guest, self.process = guest, None
        self.start()
        self.thread = threading.Thread(target=self._replace, daemon=True)
        self.thread.start()

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.command[2])
        self.process = subprocess.Popen(self.command)
        end = time.monotonic() + 30
        while not os.path.exists(self.command[2]):
            assert time.monotonic() < end and self.process.poll() is None
            time.sleep(0.05)

    def end(self):
        self.process.kill()
        self.process.wait()

    def _wait(self, text):
        end = time.monotonic() + 2 * vm.BOOT_TIMEOUT
        while text not in self.guest.console and time.monotonic() < end:
            time.sleep(0.05)

    def _replace(self):
        self._wait("#first-is-done")
        self.end()
        self._wait("#link-is-down")
        self.start()


def test_vhost_user_and_its_death(new_guest, new_tap):
    """A stock driver, a back end that is killed, and the next one."""
    guest = new_guest()
    tap = new_tap(7)
    back_end = BackEndProcess(guest, tap)
    try:
        with Servers(guest.folder, HOST.format(7), MIB) as servers:
            guest.run("-chardev", f"socket,id=c0,path={guest.path('vhost.sock')},reconnect=1",
                      "-netdev", "vhost-user,id=n0,chardev=c0", "-device", "virtio-net-device,netdev=n0,id=net0",
                      machine="microvm,mem-share=on", append="sv.modules=virtio_net",
                      script=VHOST_USER_SCRIPT.format(host=HOST.format(7), guest=GUEST.format(7)),
                      timeout=2 * vm.BOOT_TIMEOUT)
    finally:
        back_end.end()
    guest.check_finished()
    assert "3 packets received" in guest.section("ping") and "3 packets received" in guest.section("again")
    assert guest.section("download").split()[0] == hashlib.md5(servers.content).hexdigest()
    assert guest.section("upload").split()[0] == servers.uploaded
    assert "the vhost-user back end is dropped" in guest.errors
