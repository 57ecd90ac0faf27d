"""q35 for a guest without ACPI: libvirt's acpi=off (no <acpi/> in the domain). Debian's kernels have no MP tables, so there is
one CPU and the PIC, to which the $PIR table leads INTx; messages work all the same. It ends by a reboot: nothing can switch
the power off."""

SCRIPT = """
echo "== tables"; ls /sys/firmware/acpi 2>/dev/null
echo "== disk"; dd if=/dev/vda bs=1M count=1 iflag=direct 2>/dev/null | tr -d '\\245' | wc -c
echo "== behind"; dd if=/dev/vdb bs=1M count=1 iflag=direct 2>/dev/null | tr -d '\\245' | wc -c
echo "== by-pin"; dd if=/dev/vdc bs=1M count=1 iflag=direct 2>/dev/null | tr -d '\\245' | wc -c
echo "== interrupts"; cat /proc/interrupts
echo "== complaints"; dmesg | grep -iE 'no GSI|transform failed|can.t (assign|claim|find IRQ)|nobody cared|IRQ routing conflict'
"""


def test_a_stock_kernel_boots(new_guest):
    guest = new_guest()
    for name in ("d0.img", "d1.img", "d2.img"):
        guest.plain_image(name, 1 << 20)
    guest.run("-drive", "id=d0,file=d0.img,readonly=on", "-device", "virtio-blk-pci,drive=d0,addr=3",
              "-device", "pcie-root-port,id=rp,chassis=1,slot=1,addr=4",
              "-drive", "id=d1,file=d1.img,readonly=on", "-device", "virtio-blk-pci,drive=d1,bus=rp",
              "-drive", "id=d2,file=d2.img,readonly=on", "-device", "virtio-blk-pci,drive=d2,vectors=0,addr=1d", "-no-reboot",
              machine="q35,acpi=off", smp=2, append="sv.end=reboot", script=SCRIPT).check_finished()
    assert guest.section("tables") == ""
    assert [guest.section(name) for name in ("disk", "behind", "by-pin")] == ["0"] * 3
    assert guest.section("complaints") == ""
    text = guest.section("interrupts")
    assert "PCI-MSI" in text and "IO-APIC" not in text, text
    line = next(line for line in text.splitlines() if "XT-PIC" in line and "virtio" in line)
    assert int(line.split()[1]) >= 2, line
