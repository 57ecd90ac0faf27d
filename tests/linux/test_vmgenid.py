# SPDX-License-Identifier: Apache-2.0
"""The VM generation ID with a stock kernel that has its driver (the generic one; the cloud kernel has not): bound, and its
random numbers are seeded anew when the id changes."""

import os
import re
import sys
import threading
import time

import pytest
import vm

sys.path.insert(0, os.path.join(vm.TOP, "tests", "qmp"))
from client import Client  # noqa: E402

SCRIPT = """
echo "== bound"; ls /sys/bus/acpi/drivers/vmgenid
echo "== before"; dmesg | grep -c "virtual machine fork"
echo "#change-it"
n=0
while ! dmesg | grep -q "virtual machine fork" && [ $n -lt 300 ]; do n=$((n + 1)); usleep 100000; done
echo "== after"; dmesg | grep "virtual machine fork"
"""


def change(guest, errors):
    try:
        end = time.monotonic() + vm.BOOT_TIMEOUT
        while "#change-it" not in guest.console:
            assert time.monotonic() < end
            time.sleep(0.05)
        with Client(guest.path("qmp")) as qmp:
            qmp.run("qom-set", path="/machine/peripheral/vmgenid0", property="generation", value="auto")
    except Exception as e:
        errors.append(repr(e))


@pytest.mark.parametrize("machine", ["microvm", "q35"])
def test_the_kernel_seeds_its_random_numbers_anew(new_guest, machine):
    guest, errors = new_guest(), []
    operator = threading.Thread(target=change, args=(guest, errors), daemon=True)
    operator.start()
    guest.run("-device", "vmgenid,id=vmgenid0", "-qmp", f"unix:{guest.path('qmp')},server,nowait",
              machine=machine, kernel=os.path.join(vm.images.generic(), "vmlinuz"), script=SCRIPT).check_finished()
    operator.join(10)
    assert not errors
    assert "STRV0001:00" in guest.section("bound")
    assert guest.section("before").split()[0] == "0"
    assert re.search(r"crng reseeded due to virtual machine fork", guest.console)
    assert guest.errors == ""
