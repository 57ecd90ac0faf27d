# SPDX-License-Identifier: Apache-2.0
"""virt with Debian's AAVMF: a kernel by fw_cfg, its ACPI tables judged by iasl, and a disk's system partition by the shell."""

import base64
import os
import re
import shutil
import subprocess

import host_caches
import numa
import pytest
import two_nodes
import vm

AAVMF = "/usr/share/AAVMF"
LIMIT = 2 * vm.BOOT_TIMEOUT

SCRIPT = """
echo "== efi"; ls /sys/firmware/efi
echo "== cmdline"; cat /proc/cmdline
echo "== cpus"; grep -c ^processor /proc/cpuinfo
echo "== pci"; for f in /sys/bus/pci/devices/*; do echo "$(basename $f) $(basename "$(readlink $f/driver)")"; done
echo "== disks"; ls /sys/block
@CACHES@
@NODES@
echo "== interrupts"; grep virtio /proc/interrupts
echo "== acpi"; for f in /sys/firmware/acpi/tables/[A-Z]*; do [ -f $f ] && echo "$(basename $f) $(base64 -w 0 $f)"; done
echo "== log"; dmesg | grep -i -e 'ACPI.*error' -e 'ACPI BIOS' -e 'BUG:' -e 'WARNING:' -e 'can.t claim' | sed "s/^/: /"
echo "== psci"; dmesg | grep -i psci | sed "s/^/: /"
echo "== end"
""".replace("@CACHES@", host_caches.SCRIPT).replace("@NODES@", numa.SCRIPT)


def flash(guest):
    """The firmware itself, read-only, and variables of the guest's own."""
    variables = guest.path("variables")
    if not os.path.exists(variables):
        shutil.copyfile(f"{AAVMF}/AAVMF_VARS.fd", variables)
    return ("-drive", f"if=pflash,unit=0,readonly=on,format=raw,file={AAVMF}/AAVMF_CODE.fd",
            "-drive", f"if=pflash,unit=1,format=raw,file={variables}")


def initrd_of(guest):
    return vm.images.with_scripts(vm.images.initramfs(), guest.path("initrd"), {"script": SCRIPT})


@pytest.fixture(scope="module")
def by_fw_cfg(new_guest):  # noqa: F811
    guest = new_guest()
    guest.plain_image("disk", 1 << 20)
    with host_caches.host_caches():
        guest.run_firmware(
            *flash(guest), "-kernel", vm.images.vmlinuz(), "-initrd", initrd_of(guest), "-append",
            f"{vm.COMMAND_LINE} sv.run=script from-fw-cfg", "-drive", "id=d0,file=disk,format=raw",
            "-device", "virtio-blk-pci,drive=d0,id=blk0", *two_nodes.OPTIONS, "-no-reboot", smp=two_nodes.SMP, timeout=LIMIT, machine="virt")
    return guest.check_finished()


def test_a_kernel_by_fw_cfg_runs_under_uefi_with_acpi(by_fw_cfg):
    assert "runtime" in by_fw_cfg.section("efi") or "systab" in by_fw_cfg.section("efi")
    assert "from-fw-cfg" in by_fw_cfg.section("cmdline")
    assert by_fw_cfg.section("cpus") == "2"
    assert "probing for conduit method from ACPI" in by_fw_cfg.section("psci")


def test_msis_come_through_the_its(by_fw_cfg):
    lines = [line for line in by_fw_cfg.section("interrupts").splitlines() if "virtio" in line]
    assert lines and all(re.search(r"ITS-(PCI-)?MSI", line) for line in lines)


def test_caches_are_the_hosts(by_fw_cfg):
    assert by_fw_cfg.section("caches").splitlines() == host_caches.expected(1, "0-1")


def test_memory_and_processors_are_in_their_nodes(by_fw_cfg):
    two_nodes.check(by_fw_cfg)
    base, size = 1 << 30, 320 << 20
    found = [(int(node), *(int(end, 16) for end in where.split("-")))
             for node, where in (line.split() for line in by_fw_cfg.section("srat").splitlines())]
    # The last one is the flash bank that AAVMF makes look like memory.
    assert found == [(0, base, base + size - 1), (1, base + size, base + (512 << 20) - 1), (0, 64 << 20, (128 << 20) - 1)]


def test_kernel_takes_the_tables(by_fw_cfg):
    assert by_fw_cfg.section("log") == ""


def test_acpi_tables_please_iasl(by_fw_cfg, tmp_path):
    tables = dict(line.split() for line in by_fw_cfg.section("acpi").splitlines())
    names = ("APIC", "DSDT", "FACP", "GTDT", "IORT", "MCFG", "PPTT", "SLIT", "SPCR", "SRAT")
    assert set(names) <= set(tables)
    for name in names:
        (tmp_path / f"{name}.dat").write_bytes(base64.b64decode(tables[name]))
        for command in (["iasl", "-d", f"{name}.dat"], ["iasl", f"{name}.dsl"]):
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
            text = done.stdout + done.stderr
            assert done.returncode == 0, f"{name}: {text}"
            assert "Invalid" not in text and "Could not" not in text, f"{name}: {text}"
            if command[1] != "-d":
                assert re.search(r"\b0 Errors, 0 Warnings", text), f"{name}: {text}"


def test_the_shell_boots_a_kernel_from_a_system_partition(new_guest):  # noqa: F811
    guest = new_guest()
    with open(guest.path("startup.nsh"), "w") as f:
        f.write(f"fs0:\\vmlinuz.efi initrd=\\initrd {vm.COMMAND_LINE} sv.run=script from-disk\r\n")
    image = guest.path("esp")
    subprocess.run(["mkfs.vfat", "-C", image, str(64 << 10)], check=True, stdout=subprocess.DEVNULL)
    for source, name in ((vm.images.vmlinuz(), "vmlinuz.efi"), (initrd_of(guest), "initrd"),
                         (guest.path("startup.nsh"), "startup.nsh")):
        subprocess.run(["mcopy", "-i", image, source, f"::/{name}"], check=True)
    guest.run_firmware(*flash(guest), "-drive", "id=d0,file=esp,format=raw",
                       "-device", "virtio-blk-pci,drive=d0,id=blk0,bootindex=1", "-no-reboot", timeout=LIMIT,
                       machine="virt").check_finished()
    assert "from-disk" in guest.section("cmdline") and "vda" in guest.section("disks").split()


def shell(guest, *lines):
    """What the firmware's shell prints for these lines; the last one has to end the VM."""
    guest.run_firmware(*flash(guest), machine="virt", timeout=LIMIT, answers={
        "in 5 seconds": b"\x1b", "Shell> ": "".join(line + "\r" for line in lines).encode()})
    assert guest.status == 0, guest.report()
    return re.sub("\x1b\\[[0-9;=]*[A-Za-z]", "", guest.console)


def test_variables_survive_a_restart(new_guest):  # noqa: F811
    guest = new_guest()
    name = "kept -guid 5a0c1ed4-9b2f-4c0e-8d6b-f1e2d3c4b5a6"
    first = shell(guest, f"setvar {name} -nv -bs =0x12345678", "reset -s")
    second = shell(guest, f"setvar {name}", "reset -s")
    assert re.search("12 34 56 78|78 56 34 12", second), first + second
