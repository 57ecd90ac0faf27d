# SPDX-License-Identifier: Apache-2.0
"""The test accelerator itself: its requests, what it does with nonsense, its clock, its interrupts, its two dialects."""

import os
import socket
import subprocess

import pytest

import guest


def test_ram_is_read_and_written_in_every_width(start):
    vm = start(share=False)
    for width in 1, 2, 4, 8:
        value = int.from_bytes(bytes(range(0x81, 0x81 + width)), "little")
        vm.write(width, 0x1003, value)
        assert vm.read(width, 0x1003) == value
    vm.ask("write 0x2000 5 0x0102030405")
    assert vm.ask("read 0x2000 6") == "0x010203040500"
    assert vm.ask("b64read 0x2000 5") == "AQIDBAU="
    vm.ask("b64write 0x3000 5 AQIDBAU=")
    assert vm.ask("read 0x3000 5") == "0x0102030405"
    vm.ask("memset 0x4fff 0x3000 0x5a")
    assert vm.ask("read 0x4ffe 3") == "0x005a5a"
    assert vm.ask("read 0x7ffe 3") == "0x5a0000"
    assert vm.ask("endianness") == "little"


def test_the_end_of_ram_and_holes_read_as_ones(start):
    vm = start()
    end = guest.MEMORY
    vm.ask(f"write {end - 8:#x} 8 0x0102030405060708")
    assert vm.read(8, end - 4) == 0xffffffff08070605
    assert vm.ask(f"read {end - 2:#x} 4") == "0x0708ffff"
    vm.write(8, end - 2, 0x1122334455667788)
    assert vm.ask(f"read {end - 4:#x} 4") == "0x05068877"
    for addr in 0xe0000000, 1 << 52, (1 << 64) - 8:
        assert vm.read(8, addr) == (1 << 64) - 1
        vm.write(8, addr, 0)
    assert vm.read(8, (1 << 64) - 4) == (1 << 64) - 1


def test_bulk_accesses_reach_registers(start):
    vm = start("rng")
    base = next(0xf0100000 + 0x200 * i for i in range(18) if vm.read(4, 0xf0100008 + 0x200 * i) == 4)
    assert vm.ask(f"read {base:#x} 12") == "0x766972740200000004000000"
    assert vm.ask(f"read {base + 2:#x} 4") == "0x00000000"  # registers take 32 bits only
    vm.ask(f"memset {base:#x} 0x200 0")
    assert vm.read(4, base) == 0x74726976


NONSENSE = [b"", b" ", b"readl", b"readl 1 2", b"readl x", b"readl 0x", b"readl -1", b"readl 99999999999999999999",
            b"writel 0x1000", b"read 0 0", b"read 0 99999999999", b"read 0xffffffffffffffff 2", b"write 0 4 0x01",
            b"write 0 1 0xzz", b"write 0 2 0x010203", b"b64write 0 3 AQI", b"b64write 0 3 AQ!=", b"b64write 0 1 ====",
            b"memset 0 0x2000000 0", b"outb 0x10000 0", b"inb 99999", b"outb 0x3f8", b"clock_set", b"clock_set x",
            b"clock_step 9223372036854775807", b"query_intx", b"eoi_intx x", b"query_msix 1", b"unknown_command 1",
            b"\x00\x01\x02", b"\xff" * 100, b"readl " + b"9" * 100000, b"a " * 1000, b"READL 0", b"%s%n%x"]


@pytest.mark.parametrize("dialect", ("qtest", "mod-test"))
def test_nonsense_is_answered_and_changes_nothing(start, dialect):
    vm = start(dialect=dialect)
    before = vm.ram[:0x1000]
    for line in NONSENSE:
        vm.send(line + b"\n")
        reply = vm.reply()
        assert reply.startswith(("FAIL ", "Unsupported command: ")), f"{line[:50]}: {reply}"
        assert len(reply) < 300 and reply.isprintable()
    assert vm.ram[:0x1000] == before
    assert vm.ask("clock_step 0") == "0"


@pytest.mark.parametrize("pieces", (40, 1))
def test_a_request_that_never_ends_is_refused_once(start, pieces):
    """The server may see its end together with its beginning, however long it is."""
    vm = start()
    for _ in range(pieces):
        vm.send(b"x" * (40 // pieces << 20))
    vm.send(b"\n")
    assert vm.reply() == "FAIL the request is too long"
    assert vm.ask("clock_step 0") == "0"


def test_pipelined_and_split_requests(start):
    vm = start()
    vm.send(b"clock_set 5\n" * 1000)
    assert [vm.reply() for _ in range(1000)] == ["OK 5"] * 1000
    for byte in b"endianness\r\n":
        vm.send(bytes((byte,)))
    assert vm.reply() == "OK little"


def test_the_stratovirt_dialect(start):
    vm = start(dialect="mod-test")
    vm.write(4, 0x1000, 0x12345678)
    vm.send(b"readl 1000\n")
    assert vm.reply() == "OK 0x0000000012345678"
    vm.send(b"readw 1000")  # without a line's end
    assert vm.reply() == "OK 0x0000000000005678"
    vm.send(b"memset 2000 6 0xabc\n")
    assert vm.reply() == "OK"
    assert vm.ask("read 2000 6") == "0x0abc0abc0abc"
    vm.send(b"nothing\n")
    assert vm.reply() == "Unsupported command: nothing"
    vm.send(b"query_intx 5\n")
    while b"\n" not in vm.data:
        vm.data += vm.sock.recv(4096)
    assert vm.data == b"OK FALSE\r\n"
    vm.data = b""


def test_the_clock_stands_still_and_is_stepped(start):
    vm = start()
    assert vm.step() == 0  # no timer
    assert vm.step(1000) == 1000
    assert vm.step(-5) == 1000
    assert vm.ask("clock_set 500") == "1000"
    assert vm.ask("clock_set 5000") == "5000"
    assert vm.step(0) == 5000


def test_step_goes_to_the_next_timer(start):
    vm = start("-serial", "null")
    vm.out(0x3fa, 0xc1)  # FIFO on, trigger level 14
    vm.out(0x3fc, 0x10)  # loopback
    vm.out(0x3f9, 0x01)
    vm.out(0x3f8, 0x41)
    deadline = vm.step()
    assert deadline > 0 and vm.step() == deadline


def test_a_server_takes_one_client_after_the_other():
    folder = guest.tempfile.mkdtemp(prefix="sv-")
    path = os.path.join(folder, "q")
    process = subprocess.Popen([guest.STRATOVIRT, "-machine", "microvm,accel=qtest", "-qtest", f"unix:{path},server=on,wait=off"],
                               stderr=subprocess.PIPE, preexec_fn=guest.die_with_parent)
    try:
        end = guest.time.monotonic() + guest.LIMIT
        while not os.path.exists(path):
            assert process.poll() is None and guest.time.monotonic() < end
            guest.time.sleep(0.01)
        for i in range(20):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(guest.LIMIT)
                sock.connect(path)
                sock.sendall(b"clock_step 1\n")
                assert sock.recv(100) == b"OK %d\n" % (i + 1)
                sock.sendall(b"read 0 16777216\n")  # and does not read the answer
        process.terminate()
        assert process.wait(guest.LIMIT) == 0, process.stderr.read()
        assert not os.path.exists(path)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        guest.shutil.rmtree(folder)


@pytest.mark.parametrize("options, message", (
    (("-qtest", "unix:/nonexistent/x"), "-qtest: cannot connect to '/nonexistent/x'"),
    (("-mod-test", "/nonexistent/x"), "-mod-test: cannot connect to '/nonexistent/x'"),
    (("-accel", "kvm", "-qtest", "unix:/x"), "-qtest: only -accel test is driven from outside, not accel=kvm"),
    (("-mod-test", ""), "-mod-test"),
), ids=("qtest", "mod-test", "kvm", "empty"))
def test_what_cannot_be_driven_does_not_start(options, message):
    accel = () if "-accel" in options else ("-accel", "test")
    done = subprocess.run([guest.STRATOVIRT, *accel, *options], stdin=subprocess.DEVNULL, text=True,
                          stderr=subprocess.PIPE, timeout=guest.LIMIT)
    assert done.returncode == 1 and message in done.stderr


def test_interrupts_are_told_and_counted(vm):
    import virtio
    rng = virtio.find(vm, virtio.ID_RNG)
    queue = rng.start()
    del vm.irqs[:]
    for _ in range(3):
        queue.send([(0x300000, 16, True)])
    assert vm.irqs == [("raise", rng.gsi), ("lower", rng.gsi)] * 3
    assert vm.pending(rng.gsi) and not vm.pending(rng.gsi + 1)
    assert [vm.eoi(rng.gsi) for _ in range(4)] == [True, True, True, False]
    assert not vm.pending(rng.gsi) and not vm.pending(4000000000)
    assert vm.ask("query_msix 4276092928 1") == "FALSE"


def test_vcpus_are_there_and_do_nothing(start):
    vm = start("-smp", "3")
    assert [cpu["cpu-index"] for cpu in vm.qmp("query-cpus-fast")] == [0, 1, 2]
    assert vm.qmp("query-status")["running"]
    vm.qmp("stop")
    assert vm.qmp("query-status")["status"] == "paused"
    assert vm.ask("endianness") == "little"
    vm.qmp("cont")
    vm.qmp("system_reset")
    assert vm.qmp("query-status")["running"]
    assert vm.qmp("query-kvm")["enabled"] is False


def test_tables_are_in_memory_without_a_kernel(vm):
    assert vm.ram[0xe0000:0xe0008] == b"RSD PTR "
    assert vm.ram[0x9fc00:0x9fc04] == b"_MP_"
