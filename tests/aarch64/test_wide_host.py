# SPDX-License-Identifier: Apache-2.0
"""A host whose CPUs have vectors (SVE) and pointer authentication, which the rig's other one lacks: tests/rig/run with
RIG_CPU=max,pauth-impdef=on."""

import re

import pytest
import test_bare_metal

SCRIPT = """
echo "== features"; grep -m 1 Features /proc/cpuinfo
echo "== length"; cat /proc/sys/abi/sve_default_vector_length
echo "== log"; dmesg | grep -e 'WARNING:' -e 'BUG:' -e 'SVE: maximum' | sed "s/^/: /"
"""


def features(text):
    return set(text.split(":")[1].split())


@pytest.fixture(scope="module")
def host():
    with open("/proc/cpuinfo") as f:
        found = features(next(line for line in f if line.startswith("Features")))
    assert {"sve", "paca", "pacg"} <= found, "not the rig that this is for"
    return found


def test_a_stock_kernel_has_the_hosts_vectors_and_keys(host, new_guest):  # noqa: F811
    guest = new_guest().run("-no-reboot", machine="virt", smp=2, script=SCRIPT, timeout=test_bare_metal.LIMIT).check_finished()
    seen = features(guest.section("features"))
    assert {"sve", "paca", "pacg"} <= seen and {name for name in host if name.startswith("sve")} <= seen
    assert guest.section("length") == "64"
    assert re.fullmatch(r": \[.*\] SVE: maximum available vector length \d+ bytes per vector", guest.section("log"))


def test_vectors_can_be_left_out(host):
    assert re.search(r"SVE [1-9]", test_bare_metal.run("pmu")[0])
    assert "SVE 0" in test_bare_metal.run("pmu", cpu="host,sve=off")[0]
    assert re.search(r"SVE [1-9]", test_bare_metal.run("pmu", cpu="host,sve=on")[0])


def test_reset_leaves_them(host, tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(4 << 20))
    output, _ = test_bare_metal.run("reset boots=3", *test_bare_metal.blk(disk), cpus=2, reboot=True)
    assert re.findall(r"boot number (\d)", output) == ["1", "2", "3"]
