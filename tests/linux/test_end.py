# SPDX-License-Identifier: Apache-2.0
"""How a guest ends: power-off, reboot, panic; with ACPI and without."""

import re

import pytest

# How a kernel may reset the machine: the ACPI reset register, the keyboard controller, a triple
# fault. Left to itself, a kernel on reduced-hardware ACPI takes none of these: it looks for EFI
# and, finding none, jumps to the reset vector in real mode.
RESETS = ["reboot=a", "reboot=k", "reboot=t", ""]


@pytest.mark.parametrize("how", RESETS)
def test_reboot_ends_the_vm_with_no_reboot(new_guest, how):
    guest = new_guest().run("-no-reboot", append=f"sv.end=reboot {how}",
                            script="echo '== up'; echo 1")
    guest.check_finished()
    assert guest.console.count("#sv-begin") == 1


def test_reboot_starts_the_guest_again(new_guest):
    script = """
if [ -e /second ]; then
	echo "== boots"
	echo 2
else
	touch /second
	sync
	reboot -f
	sleep 60
fi
"""
    guest = new_guest()
    guest.root_image()
    guest.run("-drive", "id=d0,file=root.img,format=raw", "-device",
              "virtio-blk-device,drive=d0,id=blk0", append="root=/dev/vda rw reboot=a",
              script=script)
    guest.check_finished()
    assert guest.section("boots") == "2"


def test_panic_ends_the_vm(new_guest):
    guest = new_guest().run("-no-reboot", append="panic=-1 sv.end=panic reboot=a",
                            script="echo '== up'; echo 1")
    assert guest.finished(), guest.report()
    assert "Kernel panic" in guest.console
    assert "#sv-still-running" not in guest.console


NO_ACPI_SCRIPT = """
echo "== cmdline"; cat /proc/cmdline
echo "== tables"; ls /sys/firmware/acpi/tables 2>/dev/null || true
"""


@pytest.fixture(scope="module", params=["machine", "kernel"])
def without_acpi(request, new_guest):
    guest = new_guest()
    guest.plain_image("disk.img", 1 << 20)
    by_machine = request.param == "machine"
    guest.run("-drive", "id=d0,file=disk.img,format=raw", "-device",
              "virtio-blk-device,drive=d0,id=blk0", "-object",
              "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-device,rng=r0",
              "-no-reboot", machine="microvm,acpi=off" if by_machine else "microvm",
              # There is no power-off without ACPI.
              append=("" if by_machine else "acpi=off ") + "sv.end=reboot reboot=k",
              script=NO_ACPI_SCRIPT)
    return guest.check_finished()


def test_devices_are_on_the_command_line_without_acpi(without_acpi):
    # Debian's kernels have no VIRTIO_MMIO_CMDLINE_DEVICES, so only the announcement can be seen.
    found = re.findall(r"virtio_mmio\.device=(\w+)@(0x[0-9a-f]+):(\d+)",
                       without_acpi.section("cmdline"))
    assert len(found) == 2
    assert len({base for _, base, _ in found}) == 2
    assert len({irq for _, _, irq in found}) == 2


def test_the_kernel_sees_no_acpi_tables(without_acpi):
    assert without_acpi.section("tables") == ""


def test_devices_are_not_on_the_command_line_with_acpi(new_guest):
    guest = new_guest()
    guest.plain_image("disk.img", 1 << 20)
    guest.run("-drive", "id=d0,file=disk.img,format=raw", "-device",
              "virtio-blk-device,drive=d0,id=blk0", "-no-reboot", script=NO_ACPI_SCRIPT)
    guest.check_finished()
    assert "virtio_mmio.device" not in guest.section("cmdline")
    assert {"APIC", "DSDT", "FACP"} <= set(guest.section("tables").split())
