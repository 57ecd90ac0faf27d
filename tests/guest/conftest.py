# SPDX-License-Identifier: Apache-2.0
"""The guest ring: needs a KVM of any kind, the VMM, and the guest."""

import os
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import vmm  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def kvm():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as e:
        pytest.skip(f"/dev/kvm cannot be opened: {e.strerror}")
    if not vmm.QEMU and not os.access(vmm.STRATOVIRT, os.X_OK):
        pytest.exit(f"{vmm.STRATOVIRT} is missing: run make first", returncode=1)
    if not os.path.exists(vmm.GUEST_ELF):
        pytest.exit(f"{vmm.GUEST_ELF} is missing: run make guests first", returncode=1)


@pytest.fixture
def disk(tmp_path):
    """A factory of images whose sectors hold their numbers."""

    def make(sectors=32768):
        path = str(tmp_path / f"disk{len(list(tmp_path.iterdir()))}.img")
        vmm.write_image(path, sectors)
        return path

    return make
