#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The promises of the VMM to a guest, checked from inside of one. Each guest test is a C file beside this one."""

import calendar
import contextlib
import os
import re
import select
import signal
import socket
import struct
import subprocess
import time

import pytest

import vmm
from vmm import run

ours_only = pytest.mark.skipif(vmm.QEMU, reason="only promised by our own VMM")

RNG = ["-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-device,rng=r0,id=rng0"]
SECTORS = 32768


def blk(image, drive="", device=""):
    return ["-drive", f"id=d0,file={image},if=none,format=raw" + drive,
            "-device", "virtio-blk-device,drive=d0,id=b0" + device]


def sectors(image, first, count):
    """The 64-bit words that the given sectors begin with."""
    with open(image, "rb") as f:
        f.seek(first * vmm.SECTOR)
        return [struct.unpack("<Q", f.read(vmm.SECTOR)[:8])[0] for _ in range(count)]


# ---- start and end ----

@pytest.mark.parametrize("value,wide", [(0, ""), (5, ""), (0x20, ""), (5, " wide=1")])
def test_debug_exit_value_becomes_the_exit_status(value, wide):
    vm = run(f"test=hello status={value}" + wide, status=value << 1 | 1)
    assert "hello from ring 3\n" in vm.output.replace("\r", ""), vm.transcript


def test_command_line_reaches_the_guest_whole():
    words = "test=hello " + " ".join(f"word{i}=value{i}" for i in range(100))
    assert "cmdline: " + words in run(words).output


@pytest.mark.parametrize("mebibytes", [128, 1024, 5120])
def test_memory_map_adds_up_to_the_size_asked_for(mebibytes):
    vm = run("test=hello", memory=str(mebibytes))
    ram = [(int(a, 16), int(n, 16)) for a, n in re.findall(r"memmap: (\w+) \+(\w+) type 1\n", vm.output)]
    total = sum(n for _, n in ram)
    # A little of the first mebibyte belongs to tables.
    assert (mebibytes - 1) << 20 < total <= mebibytes << 20, vm.transcript
    below = 1 << 32
    assert all(a + n <= below or a >= below for a, n in ram), vm.transcript


@ours_only
def test_memory_below_a_mapped_kernel_is_used_page_by_page():
    """And not as part of a huge page, which a table written before the kernel was mapped would have got."""
    with vmm.Run("test=spin") as vm:
        vm.wait_for_line("spinning")
        with open(f"/proc/{vm.process.pid}/smaps", encoding="utf-8") as f:
            mappings = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", f.read(), flags=re.M)[1:]
    at = next(i for i, text in enumerate(mappings) if text.splitlines()[0].endswith("/guest.elf"))
    assert mappings[at - 1].split("-")[1].split()[0] == mappings[at].split("-")[0]
    assert 0 < int(re.search(r"Private_Dirty:\s+(\d+)", mappings[at - 1])[1]) <= 256


def test_triple_fault_with_no_reboot_ends_with_status_0_and_says_so():
    vm = run("test=triple", status=0)
    if not vmm.QEMU:
        assert re.search("triple fault|shutdown", vm.errors, re.I), vm.transcript


@pytest.mark.parametrize("how", ["triple", pytest.param("i8042", marks=ours_only)])
def test_reset_boots_again_from_a_clean_machine(disk, how):
    image = disk(4097)
    with open(image, "r+b") as f:
        f.truncate(4096 * vmm.SECTOR)
        f.truncate(4097 * vmm.SECTOR)  # the last sector, the boot counter, is zero
    vm = run(f"test=reset how={how} boots=4", *blk(image), reboot=True)
    assert re.findall(r"boot number (\d)", vm.output) == ["1", "2", "3", "4"], vm.transcript


@ours_only
def test_reset_with_no_reboot_ends_with_status_0(disk):
    image = disk(4096)
    with open(image, "r+b") as f:
        f.truncate(4095 * vmm.SECTOR)
        f.truncate(4096 * vmm.SECTOR)
    vm = run("test=reset how=i8042", *blk(image), status=0)
    assert "boot number 1" in vm.output, vm.transcript


@ours_only
def test_error_inside_kvm_ends_with_registers_and_status_1():
    vm = run("test=error how=hole", status=1)
    assert re.search(r"internal error", vm.errors, re.I), vm.transcript
    # The guest jumped there, so the instruction pointer has to say so.
    assert re.search(r"\brip\b\W*(0x)?0*e0000000\b", vm.errors, re.I), vm.transcript


@ours_only
def test_exception_at_cpl0_is_delivered_or_ends_with_registers_and_status_1():
    """Back ends that emulate CPL0 cannot deliver it and report an error; the others deliver it to the guest."""
    with vmm.Run("test=error how=int3") as vm:
        status = vm.finish()
        if status == 1:
            assert re.search(r"internal error", vm.errors, re.I), vm.transcript
            assert re.search(r"\brip\b", vm.errors, re.I), vm.transcript
        else:
            assert status == vmm.EXCEPTION, vm.transcript
            assert "vector 0000000000000003" in vm.output, vm.transcript


@pytest.mark.parametrize("how,cpus", [("spin", "1"), ("halt", "1"), ("spin", "2")])
def test_sigterm_ends_a_running_guest_with_status_0(how, cpus):
    with vmm.Run(f"test=spin how={how}", cpus=cpus) as vm:
        vm.wait_for_line("spinning")
        vm.process.send_signal(signal.SIGTERM)
        status = vm.finish(timeout=10)
        assert status == 0, vm.transcript


# ---- registers ----

def test_port_exits_of_every_width():
    run("test=ports")


@ours_only
def test_boot_time_port_leaves_time_stamps_in_the_log():
    vm = run("test=ports")
    assert re.search(r"mark 1\b.* at \d+ ns", vm.errors), vm.transcript


def test_clock_shows_the_hosts_time():
    before = int(time.time())
    vm = run("test=rtc")
    after = time.time()
    shown = re.search(r"rtc (\d+-\d+-\d+ \d+:\d+:\d+)", vm.output)
    assert shown, vm.transcript
    told = calendar.timegm(time.strptime(shown[1], "%Y-%m-%d %H:%M:%S"))
    assert before - 1 <= told <= after + 1, vm.transcript


def test_mmio_exits_of_every_width(disk):
    run("test=mmio", *blk(disk()), *RNG)


def test_floating_point_state_is_as_after_reset():
    run("test=fpu")


# ---- interrupts, time, CPUs ----

def test_interrupts_by_ioapic_and_irqfd():
    run("test=irq", *RNG)


def test_serial_input_arrives_whole_by_interrupt():
    count = 4096
    with vmm.Run(f"test=serial-input count={count}", stdin=subprocess.PIPE) as vm:
        vm.wait_for_line("ready for input")
        # All at once: what does not fit into the UART has to wait outside.
        vm.process.stdin.write(bytes((i * 7 + (i >> 8)) & 0xff for i in range(count)))
        vm.process.stdin.flush()
        status = vm.finish()
        assert status == vmm.PASSED, vm.transcript


@ours_only
def test_serial_input_nobody_reads_does_not_pile_up():
    """serial-growth: the VMM stops reading, so the writer is stopped by the pipe."""

    def private_kib(pid):
        with open(f"/proc/{pid}/smaps_rollup") as f:
            return int(re.search(r"^Private_Dirty:\s+(\d+) kB", f.read(), re.M)[1])

    with vmm.Run("test=spin", stdin=subprocess.PIPE) as vm:
        vm.wait_for_line("spinning")
        before = private_kib(vm.process.pid)
        fd = vm.process.stdin.fileno()
        os.set_blocking(fd, False)
        written, deadline = 0, time.monotonic() + 10
        while written < 8 << 20:
            try:
                written += os.write(fd, bytes(65536))
            except BlockingIOError:
                # Full; nobody empties it within a second, so it stays so.
                if not select.select([], [fd], [], 1)[1]:
                    break
            assert time.monotonic() < deadline, f"took {written} bytes in 10 s" + vm.transcript
        assert written < 1 << 20, f"the VMM took {written} bytes that the guest did not read" + vm.transcript
        assert private_kib(vm.process.pid) - before < 1024, vm.transcript
        vm.process.send_signal(signal.SIGTERM)
        assert vm.finish(timeout=10) == 0, vm.transcript


def test_timer_and_announced_tsc_rate_agree():
    run("test=timer")


@pytest.mark.parametrize("cpus", [2, 4, 8])
def test_cpus_start_and_interrupt_each_other(cpus):
    run(f"test=smp cpus={cpus}", cpus=str(cpus))


@pytest.mark.parametrize("sockets,cores,threads", [(1, 1, 1), (1, 4, 1), (2, 2, 1), (1, 2, 2), (1, 3, 1), (2, 1, 2)])
def test_cpuid_shows_kvm_and_the_topology(sockets, cores, threads):
    n = sockets * cores * threads
    run(f"test=cpuid cores={cores} threads={threads}" + ("" if vmm.QEMU else " tsc-leaf=1"),
        cpus=f"{n},sockets={sockets},cores={cores},threads={threads}")


# ---- virtio ----

def test_rng_gives_random_bytes():
    run("test=rng", *RNG)


VARIANTS = {
    "default": ([], "", ""),
    "io_uring": ([], ",aio=io_uring", ""),
    "threads": ([], ",aio=threads", ""),
    "direct": ([], ",aio=io_uring,direct=on", ""),
    "iothread": (["-object", "iothread,id=io0"], "", ",iothread=io0"),
}


@pytest.mark.parametrize("variant", ["default"] if vmm.QEMU else VARIANTS)
def test_disk_does_every_request_in_every_layout(disk, variant):
    image = disk(SECTORS)
    blocks = os.stat(image).st_blocks
    options, drive, device = VARIANTS[variant]
    run(f"test=blk capacity={SECTORS} serial=SER-123 queues=2" + ("" if vmm.QEMU else " queue-size=256"),
        *options, *blk(image, ",discard=unmap" + drive, ",serial=SER-123,num-queues=2,queue-size=256" + device))
    # Four rounds wrote 64 sectors each, with their numbers inverted.
    assert sectors(image, 1024, 256) == [~i & (1 << 64) - 1 for i in range(1024, 1280)]
    assert sectors(image, 1536, 32) == [0 if 1539 <= i < 1556 else i for i in range(1536, 1568)]
    assert sectors(image, 2047, 1) == [2047] and sectors(image, 3072, 1) == [3072]
    assert os.stat(image).st_blocks <= blocks - 1000, "discarded sectors still take room"
    assert os.stat(image).st_size == SECTORS * vmm.SECTOR


def test_read_only_disk_refuses_writes(disk):
    image = disk(SECTORS)
    with open(image, "rb") as f:
        before = f.read()
    run("test=blk-ro", *blk(image, ",readonly=on"))
    with open(image, "rb") as f:
        assert f.read() == before


@pytest.mark.parametrize("queues", [1, 2, 4])
def test_each_queue_of_a_disk_answers_its_own_requests(disk, queues):
    run(f"test=blk-mq queues={queues}", *blk(disk(), device=f",num-queues={queues}"))


def test_disk_reaches_memory_above_4_gib(disk):
    run("test=blk-high", *blk(disk()), memory="5120")


@ours_only
def test_one_queue_resets_while_the_device_goes_on(disk):
    run("test=blk-ring-reset", *blk(disk(), device=",num-queues=2"))


@pytest.mark.parametrize("irq", [0, 1])
def test_random_reads_at_depth_32_return_the_right_sectors(disk, irq):
    vm = run(f"test=blk-bench ms=300 irq={irq}", *blk(disk()))
    assert re.search(r"BENCH blk-randread .*iops=[1-9]", vm.output), vm.transcript


@pytest.mark.parametrize("how,cpus", [("irq=1", "1"), ("irq=0", "1"), ("cpus=4", "4")])
def test_random_reads_spread_over_four_queues_return_the_right_sectors(disk, how, cpus):
    vm = run(f"test=blk-bench ms=300 queues=4 depth=8 {how}", "-object", "iothread,id=io0",
             *blk(disk(), device=",num-queues=4,iothread=io0"), cpus=cpus)
    assert re.search(r"BENCH blk-randread queues=4 .*iops=[1-9]", vm.output), vm.transcript


@ours_only
@pytest.mark.parametrize("thread", ["", ",iothread=io0"])
@pytest.mark.parametrize("how", ["tx", "rx", "ping bs=64"])
def test_what_a_vsock_stream_carries_arrives(tmp_path, how, thread):
    """To and from a unix socket: what the guest has sent, or sent and got back, is what the host saw."""
    path, seen = str(tmp_path / "vsock"), 0
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{path}_5000")
    server.listen()
    server.settimeout(60)
    device = ["-object", "iothread,id=io0", "-device", f"virtio-vsock-device,guest-cid=3,uds-path={path}{thread}"]
    with server, vmm.Run(f"test=vsock-bench ms=200 how={how}", *device) as vm, server.accept()[0] as end:
        end.settimeout(60)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while how == "rx":
                end.sendall(bytes(1 << 16))
                seen += 1 << 16
            while piece := end.recv(1 << 16):
                seen += len(piece)
                if how != "tx":
                    end.sendall(piece)
        assert vm.finish() == vmm.PASSED, vm.transcript
    told = int(re.search(r"BENCH vsock-.* bytes=(\d+)", vm.output)[1])
    assert 0 < told <= seen if how == "rx" else told == seen, vm.transcript


def reads_a_second(disk, limit, ms):
    vm = run(f"test=blk-bench ms={ms}", "-object", "iothread,id=io0",
             *blk(disk(), f",direct=off,throttling.iops-total={limit}", ",iothread=io0"))
    return int(re.search(r"BENCH blk-randread .*iops=(\d+)", vm.output)[1])


@ours_only
@pytest.mark.parametrize("limit", [200, 50000])
def test_ten_seconds_of_reads_keep_within_two_percent_of_the_limit(disk, limit):
    """Never more, as the guest counts; and as much where the machine could do several times that just now. A VMM that is
    watched or instrumented could not."""
    slowed = "SV_TRACES" in os.environ or "tsan" in vmm.STRATOVIRT
    for _ in range(1 if slowed else 3):
        rate = reads_a_second(disk, limit, 10000)
        assert rate <= limit * 1.02
        if rate >= limit * 0.98 or slowed or reads_a_second(disk, 0, 1000) < 4 * limit:
            return
    raise AssertionError(f"{rate} a second at the most")


# ---- hostile drivers ----

@ours_only
@pytest.mark.parametrize("victim", ["blk", "rng"])
def test_malformed_chains_break_only_their_device(disk, victim):
    run(f"test=hostile-chains victim={victim}", *blk(disk()), *RNG, timeout=180)


@pytest.mark.parametrize("victim", ["blk", "rng"])
def test_misplaced_rings_break_only_their_device(disk, victim):
    run(f"test=hostile-rings victim={victim}", *blk(disk()), *RNG, timeout=180)


@pytest.mark.parametrize("victim", ["blk", "rng"])
def test_register_writes_out_of_order_do_no_harm(disk, victim):
    run(f"test=hostile-registers victim={victim}", *blk(disk()), *RNG, timeout=180)


def test_descriptors_changed_while_read_do_no_harm(disk):
    run("test=hostile-race", *blk(disk()), *RNG, cpus="2", timeout=180)


@pytest.mark.parametrize("variant", ["default"] if vmm.QEMU else ["iothread", "threads"])
def test_hostile_driver_on_other_loops_and_engines(disk, variant):
    options, drive, device = VARIANTS[variant]
    run("test=hostile-rings", *options, *blk(disk(), drive, device), *RNG, timeout=180)
