# SPDX-License-Identifier: Apache-2.0
"""isa-serial, every register (PC16550D), at ports 0x3f8 to 0x3fe; 0x3ff belongs to the boot timer."""

import socket

import pytest

import guest

RBR, IER, IIR, LCR, MCR, LSR, MSR = range(0x3f8, 0x3ff)
IRQ = 4


@pytest.fixture
def vm(start):
    return start("-serial", "unix:$DIR/serial,server,nowait")


@pytest.fixture
def line(vm):
    """The other end of the cable."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(guest.LIMIT)
        sock.connect(vm.path("serial"))
        yield sock


def divisor(vm):
    vm.out(LCR, vm.inp(LCR) | 0x80)
    value = vm.inp(RBR) | vm.inp(IER) << 8
    vm.out(LCR, vm.inp(LCR) & 0x7f)
    return value


def test_reset_values(vm):
    want = {RBR: 0, IER: 0, IIR: 0x01, LCR: 0, MCR: 0, LSR: 0x60, MSR: 0xb0}
    for _ in range(2):
        assert {port: vm.inp(port) for port in want} == want
        assert divisor(vm) == 12
        for port in (IER, IIR, LCR, MCR):
            vm.out(port, 0xff)
        vm.qmp("system_reset")


@pytest.mark.parametrize("port, mask", ((IER, 0x0f), (LCR, 0xff), (MCR, 0x1f)), ids=("IER", "LCR", "MCR"))
def test_masks(vm, port, mask):
    for value in [1 << bit for bit in range(8)] + [0xff, 0x55, 0xaa, 0]:
        vm.out(port, value)
        assert vm.inp(port) == value & mask
        if port == LCR:
            vm.out(LCR, 0)


def test_line_and_modem_status_are_read_only(vm):
    for value in range(256):
        vm.out(LSR, value)
        vm.out(MSR, value)
        assert vm.inp(LSR) == 0x60 and vm.inp(MSR) == 0xb0


def test_fifo_bits_show_in_iir(vm):
    for value in range(256):
        vm.out(IIR, value)
        assert vm.inp(IIR) == (0xc1 if value & 1 else 0x01)


def test_divisor_latch(vm):
    vm.out(LCR, 0x80)
    for value in 0, 1, 0x1234, 0xffff:
        vm.out(RBR, value & 0xff)
        vm.out(IER, value >> 8)
        assert vm.inp(RBR) | vm.inp(IER) << 8 == value
    vm.out(LCR, 0)
    assert vm.inp(IER) == 0


def test_wide_and_straddling_accesses(vm):
    vm.out(LCR, 0x1b)
    vm.out(0x3ff, 0x77)
    assert vm.inp(LCR, 2) == 0x001b  # LCR, MCR
    assert vm.inp(LCR, 4) == 0xb060001b
    assert vm.inp(MCR, 4) == 0x77b06000
    assert vm.inp(0x3f7, 2) == 0x00ff  # nothing below
    assert vm.inp(0x3f6, 4) == 0x0000ffff
    vm.out(LCR, 0x0803, 2)
    assert vm.inp(LCR) == 0x03 and vm.inp(MCR) == 0x08
    vm.out(0x3f6, 0x0f00ffff, 4)  # the last two bytes: nothing sent but a zero, IER
    assert vm.inp(IER) == 0x0f


def test_transmit(vm, line):
    text = bytes(range(256)) * 4
    for byte in text:
        vm.until(lambda: vm.inp(LSR) & 0x20, "room in the transmitter")
        vm.out(RBR, byte)
    got = b""
    while len(got) < len(text):
        got += line.recv(4096)
    assert got == text


def test_receive_by_interrupt(vm, line):
    vm.out(IIR, 0x01)
    vm.out(IER, 0x01)
    assert not vm.pending(IRQ)
    text = bytes(range(200))
    line.sendall(text)
    got = b""
    while len(got) < len(text):
        vm.until(lambda: vm.pending(IRQ), "an interrupt")
        assert vm.inp(IIR) == 0xc4
        while vm.inp(LSR) & 1:
            got += bytes((vm.inp(RBR),))
    assert got == text
    assert not vm.pending(IRQ) and vm.inp(IIR) == 0xc1


def test_transmitter_empty_interrupt(vm):
    vm.out(IER, 0x02)
    assert vm.pending(IRQ)
    assert vm.inp(IIR) == 0x02  # which takes it back
    assert not vm.pending(IRQ) and vm.inp(IIR) == 0x01
    vm.out(RBR, 0x41)
    assert vm.pending(IRQ)
    vm.out(IER, 0)
    assert not vm.pending(IRQ)


def test_character_timeout_is_four_characters(vm):
    vm.out(LCR, 0x03)
    vm.out(MCR, 0x10)
    vm.out(IIR, 0xc1)
    vm.out(IER, 0x01)
    vm.out(RBR, 0x41)
    assert not vm.pending(IRQ)
    limit = 4 * 10 * 12 * 10**9 // 115200
    vm.step(limit - 1)
    assert not vm.pending(IRQ)
    vm.step(1)
    assert vm.pending(IRQ) and vm.inp(IIR) == 0xcc
    assert vm.inp(RBR) == 0x41 and not vm.pending(IRQ)


def test_overrun_in_loopback(vm):
    vm.out(MCR, 0x10)
    vm.out(IER, 0x04)
    vm.out(RBR, 1)
    vm.out(RBR, 2)
    assert vm.pending(IRQ) and vm.inp(IIR) == 0x06
    assert vm.inp(LSR) & 0x03 == 0x03 and vm.inp(LSR) & 0x03 == 0x01
    assert not vm.pending(IRQ) and vm.inp(RBR) == 2


def test_modem_lines_in_loopback(vm):
    for lines in range(16):
        vm.out(MCR, 0x10 | lines)
        status = vm.inp(MSR) >> 4
        # CTS is RTS, DSR is DTR, RI is OUT1, DCD is OUT2
        assert status == (lines >> 1 & 1) | (lines & 1) << 1 | (lines & 4) | (lines & 8)
    vm.out(IER, 0x08)
    vm.out(MCR, 0x10)
    assert vm.pending(IRQ) and vm.inp(IIR) == 0x00
    vm.inp(MSR)
    assert not vm.pending(IRQ)


def test_serial_growth(vm, line):
    """Input that the guest does not read stays with the sender (CVE-2020-27174)."""
    line.setblocking(False)
    sent = 0
    try:
        while sent < 64 << 20:
            sent += line.send(b"x" * 65536)
            vm.inp(LSR)
    except BlockingIOError:
        pass
    assert sent < 4 << 20
    assert vm.inp(RBR) == ord("x")


def test_fifo_index(vm):
    """Every sequence of FIFO control and data leaves the FIFO within its bounds (as CVE-2015-3456 did not)."""
    vm.out(MCR, 0x10)
    for control in range(0, 256, 5):
        vm.out(IIR, control)
        for count in 1, 16, 17, 40:
            for i in range(count):
                vm.out(RBR, i)
            got = []
            while vm.inp(LSR) & 1:
                got.append(vm.inp(RBR))
                assert len(got) <= 16
            assert got == (list(range(min(count, 16))) if control & 1 else [count - 1])
