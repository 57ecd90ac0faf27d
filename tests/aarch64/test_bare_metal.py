# SPDX-License-Identifier: Apache-2.0
"""A bare-metal guest (tests/guest/aarch64): how a CPU is entered, PSCI, timers, interrupts between CPUs and of devices, registers,
virtio, resets; with as many CPUs as take two regions of redistributors."""

import os
import re
import subprocess

import pytest
import vm

GUEST = os.path.join(os.path.dirname(vm.STRATOVIRT), "guest", "guest.bin")
LIMIT = 2 * vm.BOOT_TIMEOUT
SECTOR = 512
RNG = ("-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-device,rng=r0,id=rng0")


def run(test, *options, machine="microvm", cpus=1, reboot=False, vmm=vm.STRATOVIRT, memory=128,
        cpu="host"):
    """Runs one test of the guest to its end; what it printed, and what the VMM said."""
    command = [vmm, "-machine", machine, "-cpu", cpu, "-smp", str(cpus), "-m", str(memory), "-kernel", GUEST,
               "-append", f"test={test}", "-serial", "stdio", *options, *([] if reboot else ["-no-reboot"])]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=LIMIT)
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"{' '.join(command)}\nno end in {LIMIT} s\n{late.stdout}\n{late.stderr}") from None
    text = f"{' '.join(command)}\n{done.stdout}\n{done.stderr}\nexit status {done.returncode}"
    assert done.returncode == 0 and "RESULT passed" in done.stdout and "FAIL" not in done.stdout, text
    return done.stdout.replace("\r", ""), done.stderr


@pytest.fixture
def disk(tmp_path):
    path = str(tmp_path / "disk.img")
    with open(path, "wb") as f:
        f.write(b"".join(i.to_bytes(8, "little") * (SECTOR // 8) for i in range(8192)))
    return path


def blk(image, more=""):
    return "-drive", f"id=d0,file={image},format=raw", "-device", f"virtio-blk-device,drive=d0,id=b0{more}"


@pytest.mark.parametrize("machine", ["microvm", "virt"])
def test_entry_is_as_the_boot_protocol_says(machine):
    words = " ".join(f"word{i}=value{i}" for i in range(100))
    output, _ = run(f"hello memory=200 {words}", machine=machine, memory=200)
    assert f"cmdline: test=hello memory=200 {words} earlycon=" in output


def test_psci_turns_cpus_on_and_off_and_suspends():
    assert re.search(r"PSCI 1\.\d", run("psci", cpus=2)[0])


@pytest.mark.parametrize("machine,cpus", [("microvm", 2), ("virt", 20), ("microvm", 254)])
def test_every_cpu_answers_its_interrupt(machine, cpus):
    last = (cpus - 1) % 16 | (cpus - 1) // 16 << 8
    assert f"{cpus} CPUs, the last one {last:#x}\n" in run(f"smp cpus={cpus}", machine=machine, cpus=cpus)[0]


def test_pmu_interrupts_and_can_be_left_out():
    assert re.search(r"PMU version [1-9]", run("pmu")[0])
    assert "PMU version 0, " in run("pmu", cpu="host,pmu=off")[0]


def test_stolen_time_is_counted_and_can_be_left_out():
    """Twelve busy CPUs on at most four."""
    assert "stolen time at 0x90a0000\n" in run("steal cpus=12", machine="virt", cpus=12)[0]
    assert "no stolen time\n" in run("steal", cpu="host,kvm-steal-time=off", cpus=2)[0]


def test_what_the_host_lacks_is_refused_when_it_is_asked_for():
    with open("/proc/cpuinfo") as f:
        has_sve = " sve" in f.read()
    if has_sve:
        assert re.search(r"SVE [1-9]", run("pmu", cpu="host,sve=on")[0])
    else:
        done = subprocess.run([vm.STRATOVIRT, "-machine", "virt", "-cpu", "host,sve=on", "-kernel", GUEST], text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT)
        assert done.returncode == 1 and "sve=on: the CPUs of this host, or its KVM, have none" in done.stderr


def test_a_device_tree_comes_out_and_goes_in(tmp_path):
    """dumpdtb writes what the guest finds; as -dtb it is what another one finds, but for the command line."""
    tree = str(tmp_path / "virt.dtb")
    run("hello memory=128 one", machine=f"virt,dumpdtb={tree}")
    done = subprocess.run(["dtc", "-I", "dtb", "-O", "dts", tree], capture_output=True, text=True, check=True)
    assert done.stderr == "" and 'bootargs = "test=hello memory=128 one' in done.stdout
    # 128 MiB says the tree, and the guest believes it.
    output, _ = run("hello memory=128 two", "-dtb", tree, machine="virt", memory=256)
    assert "cmdline: test=hello memory=128 two" in output


def test_timers_come_and_not_before_their_time():
    run("timer")


@pytest.mark.parametrize("machine", ["microvm", "virt"])
def test_interrupts_by_level_and_by_edge(machine):
    run("irq", *RNG, machine=machine)


def test_registers_by_every_kind_of_access(disk):
    run("mmio", *blk(disk), *RNG)


def test_random_numbers():
    run("rng", *RNG)


def test_disk(disk):
    run("blk serial=S-1 capacity=8192", "-drive", f"id=d0,file={disk},format=raw,aio=io_uring,discard=unmap", "-device",
        "virtio-blk-device,drive=d0,id=b0,serial=S-1", machine="virt")


def test_disk_with_queues_in_an_iothread(disk):
    run("blk-mq queues=4", "-object", "iothread,id=io0", *blk(disk, ",num-queues=4,iothread=io0"), cpus=2)


@pytest.mark.parametrize("machine", ["microvm", "virt"])
def test_reset_leaves_nothing_behind(disk, machine):
    with open(disk, "r+b") as f:  # the last sector, the boot counter, is zero
        f.seek(-SECTOR, os.SEEK_END)
        f.write(bytes(SECTOR))
    output, _ = run("reset boots=4", *blk(disk), machine=machine, cpus=2, reboot=True)
    assert re.findall(r"boot number (\d)", output) == ["1", "2", "3", "4"]


def test_the_static_program_runs_the_same_guest():
    static = os.path.join(os.path.dirname(vm.STRATOVIRT), "static", "stratovirt")
    with open(static, "rb") as f:
        assert b"/lib/ld-linux-aarch64.so.1" not in f.read()
    for machine in ("microvm", "virt"):
        run("irq", *RNG, machine=machine, vmm=static)
