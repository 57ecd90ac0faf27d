# SPDX-License-Identifier: Apache-2.0
"""q35's functions beside those of QEMU's machine: `lspci -vv` of both, from configuration space after power-on, and the sizes
of BARs. QEMU, with the same devices, is stopped before its first instruction. What differs is listed, with the reason."""

import difflib
import re
import shutil
import socket
import subprocess

import pytest

import guest
import pci

QEMU = "qemu-system-x86_64"
MACHINE = "q35"
ECAM = 0xb0000000
ADDRESSES = [(0, slot << 3) for slot in (0, 2, 3, 4, 5, 6, 7, 8)] + [(0, 0x1f << 3), (1, 0)]

DEVICES = ("-device", "pcie-root-port,id=rp0,chassis=1,slot=3,addr=8",
           "-device", "virtio-blk-pci,drive=d0,addr=2,num-queues=1,disable-legacy=on",
           "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:12:34:56,addr=3,disable-legacy=on",
           "-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r0,addr=4,disable-legacy=on",
           "-device", "virtio-balloon-pci,addr=5,disable-legacy=on", "-device", "virtio-serial-pci,addr=6,disable-legacy=on",
           "-device", "pvpanic-pci,addr=7",
           "-drive", "id=d1,file=$D1,format=raw,if=none", "-device", "virtio-blk-pci,drive=d1,bus=rp0,num-queues=1")
OURS = ("-drive", "id=d0,file=$DISK,format=raw,if=none", "-netdev", "tap,id=n0,fd=$TAP")
THEIRS = ("-drive", "id=d0,file=$D0,format=raw,if=none", "-netdev", "hubport,id=n0,hubid=0")

# What may differ, as patterns of "FUNCTION SIDE CAPABILITY| LINE" with "+" for what only we have and "-" for what only QEMU has. A
# pattern that nothing matches any more has to go.
ALLOWED = (
    # A function on the root bus says that it is PCI Express and can be reset; QEMU's is a conventional one there.
    r"00:0[2-6]\.0 \+ Express \(v2\) Root Complex Integrated Endpoint, MSI 00\| ",
    # A balloon has a vector a queue; QEMU's interrupts by its pin.
    r"00:05\.0 \+ (MSI-X\| (MSI-X: Enable- Count=\d+ Masked-|PBA: BAR=1 .*|Vector table: BAR=1 .*)|BAR 1: 0x1000 0x0)$",
    # So has a console: 31 ports and control are 64 queues, which share two vectors in QEMU.
    r"00:06\.0 - MSI-X\| MSI-X: Enable- Count=2 Masked-$",
    r"00:06\.0 \+ MSI-X\| MSI-X: Enable- Count=65 Masked-$",
    # QEMU's BAR of two bytes shows bits of the address where flags are.
    r"00:07\.0 [-+] BAR 0: 0x10 0x[0e]$",
    # A root port reports no errors (AER), needs no access control (ACS), and has no end-to-end prefixes, ARI or ASPM.
    r"00:08\.0 - (Access Control Services|Advanced Error Reporting)\| ",
    r"(00:08|01:00)\.0 [-+] Express .*\| 10BitTagComp- .* ExtFmt[-+] ",
    r"00:08\.0 [-+] Express .*\| (FRS- LN System CLS Not Supported|LnkCap: Port #0, Speed 16GT/s, Width x32, )",
    r"01:00\.0 [-+] Express .*\| LnkCap: Port #0, Speed 2.5GT/s, Width x1, ",
    r"00:08\.0 [-+] Express .*\| ClockPM- Surprise- LLActRep\+ BwNot[-+] ASPMOptComp-$",
    # There is no electromechanical interlock; the link is up, at the speed it can do, since something is in the slot from the start.
    r"00:08\.0 [-+] Express .*\| Slot #3, PowerLimit 0W; Interlock[-+] NoCompl-$",
    r"00:08\.0 [-+] Express .*\| (LnkSta: Speed|SltSta: Status: .* PresDet[-+]|TrErr- Train- SlotClk- DLActive[-+]) ?",
)


class Qemu(guest.VM):
    """QEMU's side of the same protocol."""

    def __init__(self, path, *options):  # pylint: disable=super-init-not-called
        self.irqs, self.data, self.status = [], b"", None
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path / "qtest"))
        listener.listen(1)
        listener.settimeout(guest.LIMIT)
        self.errors = open(path / "qemu-errors", "w+b")
        self.process = subprocess.Popen(
            [QEMU, "-machine", f"{MACHINE},sata=off,smbus=off,usb=off,hpet=off,vmport=off", "-accel", "tcg", "-S", "-nodefaults",
             "-display", "none", "-vga", "none", "-m", "128", "-qtest", f"unix:{path / 'qtest'}", "-qtest-log", "none", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.errors, preexec_fn=guest.die_with_parent)
        try:
            self._connect(listener)
        except BaseException:
            self.close()
            raise
        finally:
            listener.close()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.errors.close()


class Function(pci.Function):
    def __init__(self, vm, bus, devfn):
        super().__init__(vm, devfn, bus)
        self.base = ECAM + (bus << 20) + (devfn << 12)


def open_ecam(vm):
    """What firmware does first: PCIEXBAR, and bus 1 behind the port."""
    vm.out(0xcf8, 0x80000064, 4)
    vm.out(0xcfc, 0, 4)
    vm.out(0xcf8, 0x80000060, 4)
    vm.out(0xcfc, ECAM | 1, 4)
    Function(vm, 0, 8 << 3).set(0x18, 0x010100)


def lspci(vm):
    """{function: lines}, sizes of BARs at the end of each."""
    text, bars = "", {}
    for bus, devfn in ADDRESSES:
        function = Function(vm, bus, devfn)
        assert function.there(), f"{bus:02x}:{devfn >> 3:02x} is not there"
        text += f"{bus:02x}:{devfn >> 3:02x}.{devfn & 7} Function\n"
        for line in range(0, 4096, 16):
            words = b"".join(function.get(line + at).to_bytes(4, "little") for at in range(0, 16, 4))
            text += f"{line:02x}: {words.hex(' ')}\n"
        text += "\n"
        bars[f"{bus:02x}:{devfn >> 3:02x}.{devfn & 7}"] = [
            f"BAR {index}: {size:#x} {flags:#x}" for index, (size, flags) in function.bars().items()]
    found, name, capability = {}, None, ""
    done = subprocess.run(["lspci", "-F", "/dev/stdin", "-n", "-vv"], input=text, capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        if re.match("[0-9a-f]{2}:[0-9a-f]{2}", line):
            name, line = line.split(" ", 1)
            found[name], capability = bars[name], ""
        line = line.strip().replace("\t", " ")
        # Where a capability is and in which order they come is the function's own business.
        if line.startswith("Capabilities: ["):
            capability = line = re.sub(r".*?\] (Vendor Specific Information: VirtIO|[^,:]*)", r"\1", line)
            capability = capability.split(":")[0] if "VirtIO" not in line else line.split(": ")[2]
        if line:
            found[name].append(f"{capability}| {line}" if capability else line)
    return {name: sorted(lines) for name, lines in found.items()}


@pytest.fixture
def both(start, disk, tmp_path):
    if not shutil.which(QEMU) or not shutil.which("lspci"):
        pytest.skip(f"{QEMU} or lspci is not installed (packages qemu-system-x86, pciutils)")
    for name in ("d1", "q0", "q1"):
        shutil.copy(disk, tmp_path / name)
    ours = start(*OURS, *(word.replace("$D1", str(tmp_path / "d1")) for word in DEVICES), machine=MACHINE)
    open_ecam(ours)
    mine = lspci(ours)
    qemu = Qemu(tmp_path, *(word.replace("$D1", str(tmp_path / "q1")).replace("$D0", str(tmp_path / "q0")) for word in (*THEIRS, *DEVICES)),
                "-drive", "if=pflash,unit=0,readonly=on,driver=null-co,size=2M")
    try:
        open_ecam(qemu)
        return mine, lspci(qemu)
    finally:
        qemu.close()


def test_lspci_says_the_same(both):
    mine, theirs = both
    assert mine.keys() == theirs.keys()
    found = [f"{name} {line[0]} {line[2:]}" for name in mine for line in difflib.ndiff(theirs[name], mine[name])
             if line[0] in "+-"]
    unknown = [line for line in found if not any(re.match(pattern, line) for pattern in ALLOWED)]
    assert not unknown, "\n".join(unknown)
    idle = [pattern for pattern in ALLOWED if not any(re.match(pattern, line) for line in found)]
    assert not idle, f"nothing differs so any more: {idle}"
