"""q35 for a guest without ACPI: libvirt's acpi=off (no <acpi/> in the domain), and a kernel that is told not to look."""

import re

import pytest

SCRIPT = """
echo "== tables"; ls /sys/firmware/acpi 2>/dev/null
echo "== cpus"; nproc
echo "== pci"; for d in /sys/bus/pci/devices/*; do echo "$(basename $d) $(cat $d/vendor) $(cat $d/device) $(cat $d/irq)"; done
echo "== disk"; dd if=/dev/vda bs=1M count=1 iflag=direct 2>/dev/null | tr -d '\\245' | wc -c
echo "== behind"; dd if=/dev/vdb bs=1M count=1 iflag=direct 2>/dev/null | tr -d '\\245' | wc -c
echo "== interrupts"; cat /proc/interrupts
echo "== complaints"; dmesg | grep -iE 'no GSI|transform failed|can.t (assign|claim|find IRQ)|MP-BIOS bug|nobody cared'
echo "== timer"; dmesg | grep -c 'MP-BIOS bug'
"""


@pytest.mark.parametrize("machine, append", (("q35,acpi=off", ""), ("q35", "acpi=off")))
@pytest.mark.parametrize("msi", ("", "pci=nomsi"))
def test_a_stock_kernel_boots(new_guest, machine, append, msi):
    guest = new_guest()
    for name in ("d0.img", "d1.img"):
        guest.plain_image(name, 1 << 20)
    guest.run("-drive", "id=d0,file=d0.img,readonly=on", "-device", "virtio-blk-pci,drive=d0,addr=3",
              "-device", "pcie-root-port,id=rp,chassis=1,slot=1,addr=4",
              "-drive", "id=d1,file=d1.img,readonly=on", "-device", "virtio-blk-pci,drive=d1,bus=rp", "-no-reboot",
              machine=machine, smp=2, append=f"{append} {msi} sv.end=reboot", script=SCRIPT).check_finished()
    assert guest.section("tables") == "" and guest.section("cpus") == "2"
    assert guest.section("disk") == guest.section("behind") == "0"
    assert guest.section("complaints") == ""
    text = guest.section("interrupts")
    assert ("PCI-MSI" in text) == (not msi), text
