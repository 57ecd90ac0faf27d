# SPDX-License-Identifier: Apache-2.0
"""The filters of aarch64, which the kernel applies only where system calls are those of that machine."""

import os
import subprocess

import vm

PROGRAM = os.path.join(os.path.dirname(vm.STRATOVIRT), "static", "unit", "test_seccomp_sandbox")


def test_forbidden_calls_are_refused_and_named():
    done = subprocess.run([PROGRAM], text=True, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0 and "100%: Checks: " in done.stdout, done.stdout + done.stderr
    assert "SKIP" not in done.stdout, done.stdout
