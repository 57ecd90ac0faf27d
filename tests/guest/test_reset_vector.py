# SPDX-License-Identifier: Apache-2.0
"""Firmware in flash: a guest that begins at the reset vector (firmware/)."""

import os
import subprocess

import pytest

import vmm

pytestmark = pytest.mark.skipif(vmm.QEMU, reason="QEMU's microvm has no flash")

FIRMWARE = os.path.join(os.path.dirname(vmm.GUEST_ELF), "firmware.bin")
VARS = 64 << 10


@pytest.fixture
def variables(tmp_path):
    path = tmp_path / "variables"
    path.write_bytes(b"\xff" * VARS)
    return path


def start(variables, *more):
    done = subprocess.run(
        [vmm.STRATOVIRT, "-machine", "microvm", "-m", "128", "-serial", "stdio", "-device", "isa-debug-exit",
         "-drive", f"if=pflash,unit=0,readonly=on,format=raw,file={FIRMWARE}",
         "-drive", f"if=pflash,unit=1,format=raw,file={variables}",
         "-fw_cfg", "name=opt/greeting,string=good morning", *more],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == vmm.PASSED, done.stdout + done.stderr
    return done.stdout


def test_firmware_runs_from_the_reset_vector_and_keeps_its_variables(variables):
    before = open(FIRMWARE, "rb").read()
    for number in range(3):
        output = start(variables)
        assert "file: good morning\n" in output and f"start {number:08x}\n" in output
    data = variables.read_bytes()
    assert data == bytes(range(3)) + b"\xff" * (VARS - 3)
    assert open(FIRMWARE, "rb").read() == before
