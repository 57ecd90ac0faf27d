# SPDX-License-Identifier: Apache-2.0
"""q35 with stock OVMF, its 2 MiB and 4 MiB builds: variables survive, a disk's EFI system partition boots, and so does a
kernel that is handed over by fw_cfg."""

import os
import re
import shutil
import struct
import subprocess

import numa
import pytest
import vm

OVMF = "/usr/share/OVMF"
MIB = 1 << 20
STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
VARIABLE = "kept -guid 5a0c1ed4-9b2f-4c0e-8d6b-f1e2d3c4b5a6"
# An EFI program waits for the stub's and the kernel's own decompression under two emulators.
LIMIT = 3 * vm.BOOT_TIMEOUT

SCRIPT = """
echo "== efi"; ls /sys/firmware/efi
echo "== cmdline"; cat /proc/cmdline
echo "== cpus"; grep -c ^processor /proc/cpuinfo
echo "== memory"; grep MemTotal /proc/meminfo
echo "== dmi"; cat /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_name /sys/class/dmi/id/product_serial /sys/class/dmi/id/product_uuid
echo "== fw_cfg"; modprobe qemu_fw_cfg; cat /sys/firmware/qemu_fw_cfg/by_name/opt/greeting/raw; echo
echo "== pci"; for f in /sys/bus/pci/devices/*; do echo "$(basename $f) $(cat $f/vendor) $(cat $f/device) $(basename "$(readlink $f/driver)")"; done
echo "== disks"; ls /sys/block
echo "== interrupts"; cat /proc/interrupts
echo "== log"; dmesg | grep -i -e 'ACPI.*error' -e 'ACPI BIOS' -e 'BUG:' -e 'can.t claim' -e 'no compatible bridge window' | sed 's/^/: /'
""" + numa.SCRIPT + """
echo "== end"
"""


def flash(guest, suffix="_4M"):
    """The firmware itself, read-only, and variables of the guest's own."""
    variables = guest.path("variables")
    if not os.path.exists(variables):
        shutil.copyfile(f"{OVMF}/OVMF_VARS{suffix}.fd", variables)
    return ("-drive", f"if=pflash,unit=0,readonly=on,format=raw,file={OVMF}/OVMF_CODE{suffix}.fd",
            "-drive", f"if=pflash,unit=1,format=raw,file={variables}")


def shell(guest, *lines):
    """What the firmware's shell prints for these lines; the last one has to end the VM."""
    guest.run_firmware(*flash(guest), answers={
        "in 5 seconds": b"\x1b", "Shell> ": "".join(line + "\r" for line in lines).encode()}, timeout=LIMIT)
    assert guest.status == 0, guest.report()
    return re.sub("\x1b\\[[0-9;=]*[A-Za-z]", "", guest.console)


def test_variables_survive_a_restart(new_guest):
    guest = new_guest()
    before = open(f"{OVMF}/OVMF_CODE_4M.fd", "rb").read(4096)
    first = shell(guest, f"setvar {VARIABLE} -nv -bs =0x12345678", "reset -s")
    assert "UEFI Interactive Shell" in first
    second = shell(guest, f"setvar {VARIABLE}", "reset -s")
    assert re.search("12 34 56 78|78 56 34 12", second), first + second
    assert open(f"{OVMF}/OVMF_CODE_4M.fd", "rb").read(4096) == before


@pytest.fixture(scope="module")
def by_fw_cfg(new_guest):
    guest = new_guest()
    initrd = vm.images.with_scripts(vm.images.initramfs(), guest.path("initrd"), {"script": SCRIPT})
    guest.run_firmware(
        *flash(guest, ""), "-kernel", vm.images.vmlinuz(), "-initrd", initrd, "-append",
        f"{vm.COMMAND_LINE} sv.run=script from-fw-cfg", "-fw_cfg", "name=opt/greeting,string=good morning",
        "-smbios", "type=1,manufacturer=Example,serial=S-1",
        "-uuid", "11223344-5566-7788-99aa-bbccddeeff00", *numa.OPTIONS, smp=numa.SMP,
        memory="3072", timeout=LIMIT)
    return guest.check_finished()


def test_a_kernel_by_fw_cfg_runs_under_uefi(by_fw_cfg):
    assert "systab" in by_fw_cfg.section("efi") or "runtime" in by_fw_cfg.section("efi")
    assert "from-fw-cfg" in by_fw_cfg.section("cmdline")
    assert by_fw_cfg.section("cpus") == "3"
    kib = int(re.search(r"\d+", by_fw_cfg.section("memory")).group())
    assert 2900 << 10 < kib < 3072 << 10  # on both sides of the hole


def test_smbios_and_fw_cfg_files_reach_the_guest(by_fw_cfg):
    assert by_fw_cfg.section("dmi").split("\n") == [
        "Example", "Virtual Machine", "S-1", "11223344-5566-7788-99aa-bbccddeeff00"]
    assert by_fw_cfg.section("fw_cfg") == "good morning"


def test_the_tables_that_firmware_placed_are_good(by_fw_cfg):
    assert by_fw_cfg.section("log") == ""


def test_firmware_hands_the_nodes_on(by_fw_cfg):
    gib = 1 << 30
    numa.check(by_fw_cfg, [(0, 0, 3 * gib // 2 - 1), (1, 3 * gib // 2, 2 * gib - 1), (1, 4 * gib, 5 * gib - 1)])


@pytest.fixture(scope="module")
def disk(new_guest):
    """A disk whose EFI system partition has kernel, initramfs and command line in one file, EFI/BOOT/BOOTX64.EFI."""
    guest = new_guest()
    initrd = vm.images.with_scripts(vm.images.initramfs(), guest.path("initrd"), {"script": SCRIPT})
    with open(guest.path("cmdline"), "w") as f:
        f.write(f"{vm.COMMAND_LINE} sv.run=script from-disk")
    sections = []
    for name, path, address in ((".cmdline", guest.path("cmdline"), 0x30000),
                                (".linux", vm.images.vmlinuz(), 0x2000000), (".initrd", initrd, 0x4000000)):
        sections += ["--add-section", f"{name}={path}", "--change-section-vma", f"{name}={address:#x}"]
    subprocess.run(["objcopy", *sections, STUB, guest.path("bootx64.efi")], check=True)
    image = guest.path("esp")
    with open(image, "wb") as f:
        f.write(bytes(0x1b8) + struct.pack("<IHB3xB3xII", 0x5356, 0, 0, 0xef, 2048, 131072))  # MBR: one EFI partition
        f.seek(510)
        f.write(b"\x55\xaa")
        f.truncate(66 * MIB)
    partition = f"{image}@@{MIB}"
    subprocess.run(["mkfs.vfat", "--offset", "2048", image, str(64 << 10)], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run(["mmd", "-i", partition, "::/EFI", "::/EFI/BOOT"], check=True)
    subprocess.run(["mcopy", "-i", partition, guest.path("bootx64.efi"), "::/EFI/BOOT/BOOTX64.EFI"], check=True)
    return guest


def test_the_system_partition_of_a_disk_boots(disk):
    """The disk with bootindex=1 is tried before the empty one, which is found first; it is behind a root port."""
    disk.plain_image("empty", 1 << 20)
    disk.run_firmware(
        *flash(disk), "-device", "pcie-root-port,id=port,bus=pcie.0,addr=5,chassis=1,slot=1",
        "-drive", "id=d0,file=empty,format=raw", "-device", "virtio-blk-pci,drive=d0,bus=pcie.0,addr=2",
        "-drive", "id=d1,file=esp,format=raw", "-device", "virtio-blk-pci,drive=d1,bus=port,addr=0,bootindex=1",
        "-fw_cfg", "name=opt/greeting,string=x", timeout=LIMIT).check_finished()
    assert "from-disk" in disk.section("cmdline") and "systab" in disk.section("efi")
    assert disk.section("disks").split() == ["vda", "vdb"] and disk.section("log") == ""
    assert disk.section("pci").count("virtio-pci") == 2
