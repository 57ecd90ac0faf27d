# SPDX-License-Identifier: Apache-2.0
"""Control groups of the launcher: version 2 is mounted where real guests run."""

import os
import subprocess
import tempfile

import pytest

import vm

JAIL = os.path.join(vm.TOP, "build", "stratovirt-jail")
BUSYBOX = os.path.realpath("/bin/busybox")
GROUP = "/sys/fs/cgroup/stratovirt/busybox-vm1"


@pytest.fixture(autouse=True)
def cgroup2():
    if not os.path.exists("/sys/fs/cgroup/cgroup.procs"):
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], check=True)


def jail(base, *options, args=()):
    return subprocess.run([JAIL, "-name", "vm1", "-exec-file", BUSYBOX, "-base", base, "-uid", "23456", "-gid", "23456",
                           *options, "--", *args], stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=60,
                          check=False)


def test_limits_of_the_control_group():
    with tempfile.TemporaryDirectory(dir="/run") as base:
        os.chmod(base, 0o755)
        limits = ("-cgroup", "pids.max=7", "-cgroup", "memory.limit_in_bytes=64M", "-cgroup", "cpu.max=50000 100000")
        done = jail(base, *limits, args=("sh", "-c", "exit 3"))
        assert (done.returncode, done.stderr) == (3, "")
        for name, value in (("pids.max", "7"), ("memory.max", str(64 << 20)), ("cpu.max", "50000 100000")):
            with open(f"{GROUP}/{name}") as limit:
                assert limit.read().strip() == value
        done = jail(base, "-clean-resource")
        assert (done.returncode, done.stderr) == (0, "") and not os.path.exists(GROUP)


def test_processors_and_disks_are_limited():
    """cpuset and io: the processors as the VMM itself sees them, and a rate for a block device."""
    with tempfile.TemporaryDirectory(dir="/run") as base, open("/dev/loop0", "rb") as disk:
        os.chmod(base, 0o755)
        number = os.fstat(disk.fileno()).st_rdev
        device = f"{os.major(number)}:{os.minor(number)}"
        done = jail(base, "-cgroup", "cpuset.cpus=1", "-cgroup", f"io.max={device} rbps=1048576 wiops=100", "-source", "ro:/proc",
                    args=("sh", "-c", "grep Cpus_allowed_list /proc/self/status"))
        assert (done.stdout.split(), done.stderr, done.returncode) == (["Cpus_allowed_list:", "1"], "", 0)
        with open(f"{GROUP}/io.max") as limit:
            assert limit.read().strip() == f"{device} rbps=1048576 wbps=max riops=max wiops=100"
        assert jail(base, "-clean-resource").returncode == 0 and not os.path.exists(GROUP)


def test_the_limit_holds():
    with tempfile.TemporaryDirectory(dir="/run") as base:
        os.chmod(base, 0o755)
        done = jail(base, "-cgroup", "pids.max=1", args=("sh", "-c", "(exit 0); echo $?"))
        assert "can't fork" in done.stderr
        assert jail(base, "-clean-resource").returncode == 0


def test_limits_that_are_none():
    with tempfile.TemporaryDirectory(dir="/run") as base:
        os.chmod(base, 0o755)
        for text, message in (("memory.max", "FILE=VALUE is needed, as in memory.max=512M"),
                              ("../x=1", "'../x' is no file of a cgroup, as memory.max is"),
                              ("colour.max=1", "controller 'colour' cannot be enabled: Invalid argument"),
                              ("pids.colour=1", "No such file or directory"), ("pids.max=x", "Invalid argument")):
            done = jail(base, "-cgroup", text, args=("sh", "-c", "echo inside"))
            assert done.stderr.strip() == f"stratovirt-jail: -cgroup {text}: {message}" and not done.stdout
        assert jail(base, "-clean-resource").returncode == 0 and not os.path.exists(GROUP)
