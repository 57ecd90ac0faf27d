# SPDX-License-Identifier: Apache-2.0
"""q35 for a kernel without ACPI: libvirt's acpi=off (no <acpi/> in the domain), or the kernel's own. There is no firmware either, so the
kernel places BARs where the memory map has nothing. Debian's cloud kernel does not read MP tables: it has one CPU and the PIC, to
which the $PIR table leads INTx. Its ordinary one reads them. Both end by a reboot: nothing can switch the power off."""

import os

import vm

SCRIPT = """
echo "== tables"; ls /sys/firmware/acpi 2>/dev/null
echo "== disk"; dd if=/dev/vda bs=1M count=1 iflag=direct 2>/dev/null | tr -d '\\245' | wc -c
echo "== by-pin"; dd if=/dev/vdb bs=1M count=1 iflag=direct 2>/dev/null | tr -d '\\245' | wc -c
echo "== behind"; dd if=/dev/vdc bs=1M count=1 iflag=direct 2>/dev/null | tr -d '\\245' | wc -c
echo "== interrupts"; cat /proc/interrupts
echo "== complaints"; dmesg | grep -iE 'no GSI|can.t (assign|claim|find IRQ)|nobody cared|IRQ routing conflict'
echo "== end"
"""
OPTIONS = ("-drive", "id=d0,file=d0.img,readonly=on", "-device", "virtio-blk-pci,drive=d0,addr=3",
           "-drive", "id=d1,file=d1.img,readonly=on", "-device", "virtio-blk-pci,drive=d1,vectors=0,addr=1d",
           "-device", "pcie-root-port,id=rp,chassis=1,slot=1,addr=1c",
           "-drive", "id=d2,file=d2.img,readonly=on", "-device", "virtio-blk-pci,drive=d2,bus=rp", "-no-reboot")


def boot(guest, **options):
    for name in ("d0.img", "d1.img", "d2.img"):
        guest.plain_image(name, 1 << 20)
    guest.run(*OPTIONS, script=SCRIPT, smp=2, **options).check_finished()
    assert guest.section("tables") == ""
    assert [guest.section(name) for name in ("disk", "by-pin", "behind")] == ["0"] * 3
    assert guest.section("complaints") == "" and guest.errors == ""
    return guest.section("interrupts").splitlines()


def test_a_kernel_that_reads_no_mp_table(new_guest):
    lines = boot(new_guest(), machine="q35,acpi=off", append="sv.end=reboot")
    assert not any("IO-APIC" in line for line in lines), lines
    assert any("PCI-MSI" in line and "virtio" in line for line in lines), lines
    pin = next(line for line in lines if "XT-PIC" in line and "virtio" in line)
    assert int(pin.split()[1]) >= 2, pin


def test_a_kernel_with_the_mp_table(new_guest):
    folder = vm.images.generic()
    lines = boot(new_guest(), machine="q35", append="acpi=off sv.end=reboot", kernel=os.path.join(folder, "vmlinuz"), modules=folder)
    assert lines[0].split() == ["CPU0", "CPU1"]
    assert any("PCI-MSI" in line and "virtio" in line for line in lines), lines
    pin = next(line for line in lines if "fasteoi" in line and "virtio" in line)
    assert int(pin.split()[1]) + int(pin.split()[2]) >= 2, pin
