# SPDX-License-Identifier: Apache-2.0
"""The libvirt ring: virsh and libvirtd of the distribution, as they are, with our binary as <emulator>."""

import glob
import os
import subprocess
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import libvirt_vm  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def daemon():
    assert os.environ.get("LIBVIRT_PRIVATE"), "run this by tests/libvirt/run"
    assert os.access(libvirt_vm.STRATOVIRT, os.X_OK), f"{libvirt_vm.STRATOVIRT} is missing: run make first"


def end_of(path, size=4000):
    with open(path, errors="replace") as f:
        return f.read()[-size:]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failure shows what libvirtd has logged, and what each VMM has said to libvirt."""
    report = (yield).get_result()
    if report.failed:
        logs = [f"{os.environ['LIBVIRT_PRIVATE']}/libvirtd.log", *sorted(glob.glob("/var/log/libvirt/qemu/*.log"))]
        report.sections += [(f"the end of {log}", end_of(log)) for log in logs if os.path.exists(log)]


@pytest.fixture(scope="session")
def bridge():
    subprocess.run(["ip", "link", "add", "svbr0", "type", "bridge"], check=True)
    subprocess.run(["ip", "link", "set", "svbr0", "up"], check=True)
    yield "svbr0"
    subprocess.run(["ip", "link", "del", "svbr0"], check=True)


@pytest.fixture
def domain(tmp_path, bridge):
    """Defined and running; gone at the end, whatever became of it."""
    made = libvirt_vm.Domain(tmp_path, bridge)
    made.define()
    try:
        made.virsh("start", made.name)
        yield made
    finally:
        made.remove()
