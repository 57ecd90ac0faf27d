# SPDX-License-Identifier: Apache-2.0
"""A QMP client that others wrote: the one of Ganeti, from Debian's package (downloaded and extracted, not installed)."""

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import types

import pytest

from client import TOP

FOLDER = os.path.join(TOP, "build", "qmp", "ganeti")


def fetch():
    """The folder of the package's Python modules."""
    if not os.path.isdir(FOLDER):
        work = FOLDER + ".part"
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work)
        names = subprocess.run(["apt-cache", "pkgnames", "ganeti-"], check=True, text=True, stdout=subprocess.PIPE).stdout
        package = max(n for n in names.split() if re.fullmatch(r"ganeti-\d\.\d+", n))
        subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], cwd=work, check=True,
                       timeout=300)
        deb = next(n for n in os.listdir(work) if n.endswith(".deb"))
        subprocess.run(["dpkg-deb", "-x", deb, "."], cwd=work, check=True)
        os.rename(work, FOLDER)
    return FOLDER


def stand_in(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


@pytest.fixture(scope="module")
def ganeti():
    """The module with QmpConnection. What it uses of the rest of Ganeti, some one-liners, is stood in for."""
    class Error(Exception):
        pass

    stand_in("bitarray", bitarray=object)
    stand_in("ganeti",
             errors=stand_in("ganeti.errors", HypervisorError=Error, ProgrammerError=Error, HotplugError=Error),
             utils=stand_in("ganeti.utils", ErrnoOrStr=str,
                            SendFds=lambda sock, data, fds: socket.send_fds(sock, [data], fds)),
             constants=stand_in("ganeti.constants", QEMU_PCI_SLOTS=32),
             serializer=stand_in("ganeti.serializer", LoadJson=json.loads, DumpJson=lambda v: json.dumps(v).encode()))
    path = next(os.path.join(d, "monitor.py") for d, _, files in os.walk(fetch())
                if d.endswith("hypervisor/hv_kvm") and "monitor.py" in files)
    spec = importlib.util.spec_from_file_location("ganeti_monitor", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.Error = Error
    return module


def test_ganeti_drives_a_vm(vm, ganeti):
    vm.wait_for(vm.path)
    with ganeti.QmpConnection(vm.path) as q:
        assert q.version >= (7, 2, 0) and q.package.startswith("StratoVirt-")
        assert {"stop", "cont", "quit", "query-status"} <= q.supported_commands
        assert q.Execute("query-status")["status"] == "prelaunch"
        q.Execute("cont")
        assert q.Execute("query-status")["running"]
        assert q.Execute("query-qmp-schema")
        with pytest.raises(ganeti.Error, match="DeviceNotFound"):
            q.Execute("qom-list", {"path": "/none"})
        with pytest.raises(ganeti.QmpCommandNotSupported):
            q.Execute("query-pci")
        ganeti.QmpConnection(vm.path).StopGuestEmulation()  # a connection of its own
        assert q.Execute("query-status")["status"] == "paused"


def test_ganeti_passes_descriptors(vm, ganeti):
    vm.wait_for(vm.path)
    with open("/dev/null", "rb") as null, ganeti.QmpConnection(vm.path) as q:
        before = vm.descriptors()
        q._GetFd(null.fileno(), "tap0")
        fdset = q._AddFd(null.fileno())
        assert [s["fdset-id"] for s in q.Execute("query-fdsets")] == [fdset]
        q._RemoveFdset(fdset)
        q.Execute("closefd", {"fdname": "tap0"})
        assert vm.descriptors() == before


def test_ganeti_comes_and_goes(vm, ganeti):
    vm.wait_for(vm.path)
    for _ in range(50):
        with ganeti.QmpConnection(vm.path) as q:
            assert q.Execute("query-name") == {}
    with ganeti.QmpConnection(vm.path) as q:
        q.Execute("quit")
    vm.end()


def socat(path, text):
    return subprocess.run(["socat", "-t", "5", "-", f"UNIX-CONNECT:{path}"], input=text, text=True, timeout=30,
                          stdout=subprocess.PIPE, check=True).stdout


def test_a_shell_script_with_socat(vm):
    vm.wait_for(vm.path)
    lines = socat(vm.path, '{"execute":"qmp_capabilities"}\n{"execute":"query-status"}\n{"execute":"quit"}\n')
    assert [next(iter(json.loads(line))) for line in lines.splitlines()] == ["QMP", "return", "return", "return",
                                                                           "timestamp"]
    vm.end()
