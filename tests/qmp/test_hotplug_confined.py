# SPDX-License-Identifier: Apache-2.0
"""Every device that can be plugged, and sockets of every kind, while the process is confined: what they ask of the kernel is what its
filters allow. A VMM that asks for more ends, and its monitor with it."""

import contextlib
import os
import re
import socket
import subprocess

import pytest

from client import STRATOVIRT, VM

LIMIT = 60
# What a device cannot do without; @ is a folder.
NEEDS = {
    "virtio-blk-pci": {"drive": "d0"},
    "virtio-rng-pci": {"rng": "rng0"},
    "virtio-net-pci": {"netdev": "n0"},
    "virtio-vsock-pci": {"uds-path": "@/vsock", "guest-cid": 5},
    "vhost-vsock-pci": {"guest-cid": 6},
    "pcie-root-port": None,  # these come at start only
    "pvpanic-pci": None,
}


def pluggable():
    text = subprocess.run([STRATOVIRT, "-device", "help"], text=True, capture_output=True, check=True).stdout
    names = re.findall(r"^  (\S+)", text.split("PCI devices:\n")[1].split("\nPorts")[0], re.M)
    return [name for name in names if NEEDS.get(name, {}) is not None and
            (name != "vhost-vsock-pci" or os.path.exists("/dev/vhost-vsock"))]


@pytest.fixture
def qmp(tmp_path):
    with VM(tmp_path, "-machine", "q35", "-device", "pcie-root-port,id=slot,bus=pcie.0,addr=5") as vm, vm.connect() as client:
        yield client
        client.run("quit")
        vm.end()


def test_every_device_comes_and_goes(qmp, tmp_path):
    (tmp_path / "image").write_bytes(bytes(1 << 20))
    names = pluggable()
    assert {"virtio-blk-pci", "virtio-net-pci", "virtio-vsock-pci", "virtio-serial-pci"} <= set(names)
    for engine in "io_uring", "threads":
        for iothread in False, True:
            if iothread:
                qmp.run("object-add", qom_type="iothread", id="io0")
                qmp.run("object-add", qom_type="rng-random", id="rng0", filename="/dev/urandom")
            else:
                qmp.run("object-add", qom_type="rng-builtin", id="rng0")
            qmp.run("blockdev-add", driver="file", node_name="d0", filename=str(tmp_path / "image"), aio=engine)
            qmp.run("netdev_add", type="stream", id="n0", server=True, addr={"type": "unix", "path": str(tmp_path / "net")})
            for name in names:
                more = {key: value.replace("@", str(tmp_path)) if isinstance(value, str) else value
                        for key, value in NEEDS.get(name, {}).items()}
                if iothread and name in ("virtio-blk-pci", "virtio-net-pci", "virtio-vsock-pci"):
                    more["iothread"] = "io0"
                qmp.run("device_add", driver=name, id="one", bus="slot", **more)
                qmp.run("device_del", id="one")
                while qmp.event()["event"] != "DEVICE_DELETED":
                    pass
            qmp.run("netdev_del", id="n0")
            qmp.run("blockdev-del", node_name="d0")
            qmp.run("object-del", id="rng0")
            if iothread:
                qmp.run("object-del", id="io0")


def test_processors_come(tmp_path):
    """A vCPU is made by the main thread, its thread by the setup thread, whose filter must let through what vCPUs ask for."""
    with VM(tmp_path, "-machine", "q35", "-smp", "1,maxcpus=3") as vm, vm.connect() as q:
        for number, cpu in enumerate(cpu for cpu in q.run("query-hotpluggable-cpus") if "qom-path" not in cpu):
            q.run("device_add", driver=cpu["type"], id=f"cpu{number}", **cpu["props"])
        assert len(q.run("query-cpus-fast")) == 3
        q.run("cont")
        q.run("stop")  # each of them is looked for in its KVM_RUN
        assert q.run("query-status")["status"] == "paused"
        q.run("quit")
        vm.end()


def addresses():
    """Loopback addresses of this host, which may be without IPv6."""
    for host, family in ("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6):
        with socket.socket(family) as probe, contextlib.suppress(OSError):
            probe.bind((host, 0))
            yield host, family


HOSTS = list(addresses())


def tcp(host, port, **more):
    return {"type": "socket", "data": {"addr": {"type": "inet", "data": {"host": host, "port": str(port)}}, **more}}


@pytest.mark.parametrize("host,family", HOSTS, ids=str)
@pytest.mark.parametrize("listens", (True, False), ids=("at-once", "refused-first"))
def test_a_client_over_tcp(qmp, listens, host, family):
    """A connection by TCP is never made at once: it is asked for, and looked at again when the kernel has the answer."""
    with socket.socket(family) as server:
        server.bind((host, 0))
        server.settimeout(LIMIT)
        if listens:
            server.listen(1)
        qmp.run("chardev-add", id="c0", backend=tcp(host, server.getsockname()[1], server=False, reconnect=1))
        if not listens:
            assert {c["label"]: c["frontend-open"] for c in qmp.run("query-chardev")}["c0"] is False
            server.listen(1)
        with server.accept()[0]:
            qmp.run("query-chardev")
        qmp.run("chardev-remove", id="c0")


@pytest.mark.parametrize("host", [host for host, _ in HOSTS])
def test_a_server_over_tcp_tells_its_port(qmp, host):
    qmp.run("chardev-add", id="c0", backend=tcp(host, 0, server=True, wait=False))
    name = {c["label"]: c["filename"] for c in qmp.run("query-chardev")}["c0"]
    assert host in name
    port = int(re.search(r":(\d+),server", name).group(1))
    with socket.create_connection((host, port), LIMIT):
        qmp.run("query-chardev")
    qmp.run("chardev-remove", id="c0")


def test_the_socket_of_one_that_was_killed_is_replaced(qmp, tmp_path):
    path = str(tmp_path / "stale")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
    qmp.run("chardev-add", id="c0", backend={"type": "socket", "data": {
        "addr": {"type": "unix", "data": {"path": path}}, "server": True, "wait": False}})
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    qmp.run("chardev-remove", id="c0")
    assert not os.path.exists(path)


@pytest.mark.parametrize("listens", (True, False), ids=("listening", "connected"))
def test_a_socket_that_a_client_passes(qmp, tmp_path, listens):
    path = str(tmp_path / "passed")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen(1)
        if not listens:
            client.connect(path)
        passed = server if listens else client
        qmp.send('{"execute": "getfd", "arguments": {"fdname": "passed"}}', [passed.fileno()])
        qmp.result()
        qmp.run("chardev-add", id="c0", backend={"type": "socket", "data": {
            "addr": {"type": "fd", "data": {"str": "passed"}}, "server": listens, **({"wait": False} if listens else {})}})
        assert "passed" in {c["label"]: c["filename"] for c in qmp.run("query-chardev")}["c0"] or not listens
        qmp.run("chardev-remove", id="c0")
