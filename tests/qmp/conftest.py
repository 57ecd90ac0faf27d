# SPDX-License-Identifier: Apache-2.0
"""The qmp ring: monitors over real sockets. Needs a KVM of any kind, the VMM, and the guest."""

import os
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import client  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def kvm():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as e:
        pytest.skip(f"/dev/kvm cannot be opened: {e.strerror}")
    assert os.access(client.STRATOVIRT, os.X_OK), f"{client.STRATOVIRT} is missing: run make first"
    assert os.path.exists(client.GUEST_ELF), f"{client.GUEST_ELF} is missing: run make guests first"


@pytest.fixture
def vm(tmp_path):
    """A stopped VM with -qmp."""
    with client.VM(tmp_path) as made:
        yield made


@pytest.fixture
def qmp(vm):
    """A client of it that has negotiated."""
    with vm.connect() as connected:
        yield connected
