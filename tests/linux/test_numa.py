# SPDX-License-Identifier: Apache-2.0
"""-numa with real kernels, on machines that boot directly; test_uefi.py has it under firmware."""

import pytest

import numa

GIB = 1 << 30
HALF = 3 * GIB // 2
# Where the guest's memory is: low RAM, then the rest from 4 GiB on. microvm has all of it below.
RANGES = {"q35": [(0, 0, HALF - 1), (1, HALF, 2 * GIB - 1), (1, 4 * GIB, 5 * GIB - 1)],
          "microvm": [(0, 0, HALF - 1), (1, HALF, 3 * GIB - 1)]}


@pytest.mark.parametrize("machine", RANGES)
def test_two_nodes(new_guest, machine):
    guest = new_guest()
    disk = ("virtio-blk-pci" if machine == "q35" else "virtio-blk-device") + ",drive=d0"
    guest.plain_image("d0.img", numa.MIB)
    # Memory of both nodes, so that the disk's data comes from either.
    guest.run(*numa.OPTIONS, "-drive", "id=d0,file=d0.img,readonly=on", "-device", disk, machine=machine, smp=numa.SMP,
              memory=str(sum(numa.NODES)), script=numa.SCRIPT + """
for cpu in 0 1; do echo "== data$cpu"; taskset -c $cpu dd if=/dev/vda bs=1M count=1 iflag=direct 2>/dev/null | tr -d '\\245' | wc -c; done
""").check_finished()
    numa.check(guest, RANGES[machine])
    assert guest.section("data0") == guest.section("data1") == "0"
