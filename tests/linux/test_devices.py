# SPDX-License-Identifier: Apache-2.0
"""One microvm with an ext4 root, a read-only disk, a disk to discard from and an entropy source,
each disk on an iothread of its own; what a stock kernel makes of them."""

import hashlib
import os
import subprocess

import pytest

MIB = 1 << 20
DATA_SIZE = 64 * MIB
DISCARDED = 32 * MIB
TOKEN = "written-by-the-guest"

SCRIPT = f"""
echo "== uname"; uname -r
echo "== mounts"; cat /proc/mounts
echo "== serial"; cat /sys/block/vda/serial; echo
echo "== root"; echo {TOKEN} >/file && sync && cat /file
echo "== readonly"; cat /sys/block/vdb/ro
dd if=/dev/zero of=/dev/vdb bs=4096 count=1 conv=fsync 2>&1 && echo WRITTEN
echo "== readonly-content"; dd if=/dev/vdb bs=1M count=1 2>/dev/null | md5sum
echo "== sizes"; cat /sys/block/vda/size /sys/block/vdb/size /sys/block/vdc/size
echo "== discard"; cat /sys/block/vdc/queue/discard_max_bytes
blkdiscard -o 0 -l {DISCARDED} /dev/vdc && echo DISCARDED
dd if=/dev/vdc bs=1M count=1 2>/dev/null | md5sum
echo "== parallel"
dd if=/dev/zero of=/big bs=1M count=8 conv=fsync 2>/dev/null &
dd if=/dev/vda of=/dev/vdc bs=1M count=8 seek=48 oflag=direct iflag=direct 2>/dev/null &
wait
echo done
echo "== trim"; rm /big; sync; fstrim -v /
echo "== entropy-source"; cat /sys/class/misc/hw_random/rng_current
echo "== entropy"
dd if=/dev/hwrng bs=32 count=1 2>/dev/null | md5sum
dd if=/dev/hwrng bs=32 count=1 2>/dev/null | md5sum
echo "== virtio"
for d in /sys/bus/virtio/devices/*; do
	echo "$(basename "$(readlink -f "$d/driver")") $(cat "$d/device")"
done
echo "== transports"; cd /sys/bus/platform/drivers/virtio-mmio
ls -d LNRO* virtio-mmio* 2>/dev/null; cd /
echo "== interrupts"; cat /proc/interrupts
echo "== clocksource"; cat /sys/devices/system/clocksource/clocksource0/current_clocksource
echo "== cmdline"; cat /proc/cmdline
echo "== dmi"; cat /sys/class/dmi/id/product_serial /sys/class/dmi/id/board_name
echo "== input"
echo "#sv-ready"
read -r -t 30 line
echo "== typed"
echo "$line"
"""


@pytest.fixture(scope="module")
def guest(new_guest):
    guest = new_guest()
    guest.root_image()
    guest.plain_image("readonly.img", 8 * MIB)
    guest.plain_image("data.img", DATA_SIZE)
    guest.readonly_before = digest(guest.path("readonly.img"))
    guest.blocks_before = os.stat(guest.path("data.img")).st_blocks
    return guest.run(
        "-object", "iothread,id=io0", "-object", "iothread,id=io1",
        "-drive", "id=d0,file=root.img,format=raw,aio=io_uring,discard=unmap",
        "-device", "virtio-blk-device,drive=d0,id=blk0,iothread=io0,serial=ROOT-1",
        "-drive", "id=d1,file=readonly.img,format=raw,readonly=on",
        "-device", "virtio-blk-device,drive=d1,id=blk1",
        "-drive", "id=d2,file=data.img,format=raw,aio=threads,discard=unmap",
        "-device", "virtio-blk-device,drive=d2,id=blk2,iothread=io1",
        "-object", "rng-random,id=r0,filename=/dev/urandom",
        "-device", "virtio-rng-device,rng=r0,id=rng0", "-no-reboot",
        "-smbios", "type=1,serial=S-1", "-smbios", "type=2,product=Board",
        smp=2, append="root=/dev/vda rw", script=SCRIPT,
        answers={"#sv-ready": b"hello guest\n"}).check_finished()


def digest(path):
    with open(path, "rb") as f:
        return hashlib.md5(f.read()).hexdigest()


def test_power_off_ends_with_status_0(guest):
    assert guest.status == 0


def test_nothing_is_written_to_stderr(guest):
    assert guest.errors == ""


def test_ext4_root_is_mounted_read_write(guest):
    root = [line.split() for line in guest.section("mounts").splitlines()
            if line.split()[1] == "/" and line.split()[2] == "ext4"]
    assert root and root[0][0] == "/dev/vda"
    assert "rw" in root[0][3].split(",")


def test_synced_file_is_in_the_image(guest):
    assert guest.section("root") == TOKEN
    image = guest.path("root.img")
    # The guest synced and was switched off with its root mounted: what counts is in the journal.
    check = subprocess.run(["/sbin/e2fsck", "-fp", image], capture_output=True, text=True)
    assert check.returncode in (0, 1), check.stdout + check.stderr
    found = subprocess.run(["/sbin/debugfs", "-R", "cat /file", image],
                           capture_output=True, text=True, check=True)
    assert found.stdout.strip() == TOKEN


def test_serial_number_reaches_the_guest(guest):
    assert guest.section("serial") == "ROOT-1"


def test_disk_sizes(guest):
    sizes = [int(s) * 512 for s in guest.section("sizes").split()]
    assert sizes == [os.stat(guest.path(name)).st_size
                     for name in ("root.img", "readonly.img", "data.img")]


def test_read_only_disk_says_so(guest):
    assert guest.section("readonly").split()[0] == "1"


def test_read_only_disk_refuses_writes(guest):
    assert "WRITTEN" not in guest.section("readonly")
    assert digest(guest.path("readonly.img")) == guest.readonly_before


def test_read_only_disk_can_be_read(guest):
    expected = hashlib.md5(b"\xa5" * MIB).hexdigest()
    assert guest.section("readonly-content").split()[0] == expected


def test_discard_is_offered(guest):
    assert int(guest.section("discard").split()[0]) > 0


def test_discard_shrinks_the_image(guest):
    assert "DISCARDED" in guest.section("discard")
    now = os.stat(guest.path("data.img"))
    assert now.st_size == DATA_SIZE
    freed = (guest.blocks_before - now.st_blocks) * 512
    assert freed >= DISCARDED * 9 // 10


def test_discarded_blocks_read_as_zeroes(guest):
    assert hashlib.md5(b"\0" * MIB).hexdigest() in guest.section("discard")


def test_bytes_outside_the_discarded_range_stay(guest):
    with open(guest.path("data.img"), "rb") as f:
        f.seek(DISCARDED)
        assert f.read(MIB) == b"\xa5" * MIB


def test_fstrim_of_the_root_works(guest):
    assert "trimmed" in guest.section("trim")


def test_each_iothread_serves_its_disk(guest):
    assert guest.section("parallel") == "done"
    for name in ("io0", "io1"):
        served = [t.run_ns for t in guest.threads.values() if name in t.name]
        assert served, f"no thread is called {name}: {guest.threads}"
        # Writing 8 MiB takes far more than a thread needs to start and wait.
        assert max(served) > 1_000_000, f"{name} did nothing: {guest.threads}"


def test_rng_is_the_entropy_source(guest):
    assert guest.section("entropy-source").startswith("virtio_rng")


def test_rng_gives_different_bytes(guest):
    first, second = guest.section("entropy").splitlines()
    empty = hashlib.md5(b"").hexdigest()
    assert empty not in (first.split()[0], second.split()[0])
    assert first != second


def test_each_device_is_bound_exactly_once(guest):
    assert sorted(guest.section("virtio").splitlines()) == \
        ["virtio_blk 0x0002"] * 3 + ["virtio_rng 0x0004"]


def test_each_transport_holds_one_device(guest):
    assert len(guest.section("transports").split()) == 4


def test_devices_interrupt(guest):
    lines = [line for line in guest.section("interrupts").splitlines() if "virtio" in line]
    assert len(lines) == 4
    for line in lines:
        counts = [int(word) for word in line.split(":")[1].split()[:2]]
        assert sum(counts) > 0, line


def test_clock_is_paravirtual(guest):
    assert guest.section("clocksource") == "kvm-clock"


def test_console_takes_input(guest):
    assert guest.section("typed") == "hello guest"


def test_smbios(guest):
    assert guest.section("dmi") == "S-1\nBoard"
