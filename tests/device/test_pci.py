# SPDX-License-Identifier: Apache-2.0
"""PCI: the bus, every byte of configuration space, BARs, INTx and MSI-X, as guests should not use them (PCI 3.0, PCIe 5.0)."""

import subprocess

import pytest

import guest
import layout
import pci
import virtio as v

OPTIONS = ("-drive", "id=d0,file=$DISK,format=raw,direct=off", "-device", "virtio-blk-pci,drive=d0,id=disk,addr=2",
           "-object", "rng-random,id=r0,filename=/dev/urandom",
           "-device", "virtio-rng-pci,rng=r0,id=rng,addr=3.0,multifunction=on",
           "-device", "virtio-balloon-pci,id=balloon,addr=0x3.0x1",
           "-device", "virtio-serial-pci,id=serial,addr=1f,max_ports=2",
           "-device", "pcie-root-port,id=rp0,addr=4", "-device", "pcie-root-port,id=rp1,addr=5,hotplug=off")
WHERE = {"host": 0, "disk": 0x10, "rng": 0x18, "balloon": 0x19, "port": 0x20, "fixed port": 0x28, "serial": 0xf8}


@pytest.fixture
def vm(start):
    return start(*OPTIONS, machine=pci.MACHINE)


@pytest.fixture(params=WHERE)
def function(vm, request):
    return pci.Function(vm, WHERE[request.param])


@pytest.fixture
def card(vm):
    """The disk, with its BARs in place."""
    return pci.Device(vm, pci.Function(vm, WHERE["disk"]))


# --- The bus ---


def test_the_bus_walk_finds_every_function(vm):
    assert [fn.devfn for fn in pci.walk(vm)] == sorted(WHERE.values())
    assert pci.Function(vm, 0).ids() == (0x1b36, 0x0008)
    assert pci.Function(vm, 0x20).ids() == (0x1b36, 0x000c)


def test_what_is_not_there_reads_as_ones(vm):
    for bus, where in ((0, 8), (0, 0x11), (1, 0), (255, 255)):
        fn = pci.Function(vm, where, bus)
        for width in 1, 2, 4, 8:
            assert fn.get(0, width) == (1 << 8 * width) - 1
            fn.set(0, 0, width)
    assert len(pci.walk(vm)) == len(WHERE)


def test_extended_space_ends_the_list_of_capabilities(function):
    for offset in (0x100, 0x104, 0xffc):
        function.set(offset, 0xffffffff)
        assert function.get(offset) == 0


def refused(*devices):
    """What the VMM says instead of starting."""
    done = subprocess.run([guest.STRATOVIRT, "-machine", pci.MACHINE, "-accel", "test", "-object",
                           "rng-random,id=r0,filename=/dev/urandom", *devices], text=True, stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=guest.LIMIT, check=False)
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("first, second, why", (
    ("addr=3", "addr=3", "is taken by virtio-rng-pci 'a'"),
    ("addr=3.0", "addr=3.1", "needs multifunction=on"),
    ("addr=3.1", "addr=3.0", "needs multifunction=on"),
    ("addr=3", "addr=20", "out of range [0, 0x1f]"),
    ("addr=3", "addr=4.8", "in hexadecimal"),
    ("addr=3", "addr=x", "in hexadecimal"),
    ("addr=3", "addr=4.", "in hexadecimal"),
    ("addr=3", "addr=4.-1", "in hexadecimal"),
    ("addr=3", "addr=4.1.1", "in hexadecimal"),
    ("addr=3", "addr=-1", "in hexadecimal"),
    ("addr=3", "addr=0", "is taken by gpex-root 'gpex-root'"),
    ("addr=3", "bus=pcie.1", "Bus 'pcie.1' not found; did you mean 'pcie.0'?"),
    ("addr=3", "disable-legacy=off", "only modern devices"),
    ("addr=3", "disable-modern=on", "only modern devices"),
    ("addr=3", "vectors=2049", "out of range [0, 2048]"),
    ("addr=3", "packed=on", "only split ones"),
    ("addr=3", "iommu_platform=on", "no IOMMU"),
    ("addr=3", "ats=on", "no IOMMU"),
    ("addr=3", "page-per-vq=on", "in one page"),
    ("addr=3", "ioeventfd=maybe", "not one of on, off"),
))
def test_places_that_are_refused(first, second, why):
    text = refused("-device", f"virtio-rng-pci,rng=r0,id=a,{first}", "-device", f"virtio-rng-pci,rng=r0,id=b,{second}")
    assert why in text and "-device virtio-rng-pci" in text


def test_a_full_bus_is_refused():
    devices = [word for _ in range(32) for word in ("-device", "virtio-rng-pci,rng=r0")]
    assert "all 32 slots of bus 'pcie.0' are taken" in refused(*devices)


@pytest.mark.parametrize("machine, driver", (("microvm", "device"), (pci.MACHINE, "pci")))
def test_short_names_mean_the_machines_own_bus(start, machine, driver):
    vm = start("-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng,rng=r0,id=x", machine=machine)
    types = {entry["name"]: entry["type"] for entry in vm.qmp("qom-list", path="/machine/peripheral")}
    assert types["x"] == f"child<virtio-rng-{driver}>"


# --- Configuration space ---


def image(fn):
    return [fn.get(offset, 1) for offset in range(256)]


def test_config_mask(function):
    """All ones, then zeroes, into every byte, in every width: only what the specification lets change has changed."""
    before = image(function)
    bridge = before[pci.HEADER_TYPE] & 0x7f == 1
    header = {0x04: 0x47, 0x05: 0x05, 0x0c: 0xff, 0x3c: 0xff}
    if bridge:
        header |= {offset: 0xff for offset in (0x18, 0x19, 0x1a, 0x1b, 0x21, 0x23, 0x25, 0x27, *range(0x28, 0x30))}
        header |= {offset: 0xf0 for offset in (0x1c, 0x1d, 0x20, 0x22, 0x24, 0x26)} | {0x3e: 0x43}
    for index, (size, _) in function.bars().items():
        for i in range(8 if function.get(pci.BAR0 + 4 * index) & 7 == 4 else 4):
            header[0x10 + 4 * index + i] = -size >> 8 * i & 0xff
    allowed = [header.get(offset, 0) for offset in range(64)] + [0] * 192
    for kind, at in function.capabilities():
        if kind == pci.CAP_MSIX:
            allowed[at + 3] = 0xc0
        elif kind == pci.CAP_EXPRESS:
            allowed[at + 8], allowed[at + 9] = 0xff, 0x78
            if bridge:
                allowed[at + 0x10], allowed[at + 0x1c], allowed[at + 0x30] = 0xeb, 0x0f, 0x0f
                if function.devfn == WHERE["port"]:
                    allowed[at + 0x18], allowed[at + 0x19] = 0xf9, 0x17
        elif kind == pci.CAP_VENDOR and function.get(at + 3, 1) == pci.CFG_PCI:
            allowed[at + 4] = 0xff
            for i in range(8, 20):
                allowed[at + i] = 0xff
    status = [at + i for kind, at in function.capabilities() if kind == pci.CAP_EXPRESS for i in (0x1a, 0x1b)]
    for width in 1, 2, 4:
        for value in (1 << 8 * width) - 1, 0:
            for offset in range(0, 256, width):
                if any(at <= offset < at + 4 or offset <= at < offset + width for at in _flr(function)):
                    continue  # starts a function level reset: below
                function.set(offset, value, width)
                for i in range(offset, offset + width):
                    if i not in status:  # slot status: command completed comes and goes
                        changed = function.get(i, 1) ^ before[i]
                        assert not changed & ~allowed[i], f"byte {i:#x} changed in {changed:#x} by {value:#x}/{width}"
    assert function.ids() == (before[1] << 8 | before[0], before[3] << 8 | before[2])


def _flr(function):
    """Device control of endpoints, whose highest bit is a command."""
    return [at + 8 for kind, at in function.capabilities()
            if kind == pci.CAP_EXPRESS and not function.get(pci.HEADER_TYPE, 1) & 1]


def test_every_width_and_straddle_reads_the_same_bytes(function):
    whole = image(function)
    for width in 2, 4, 8:
        for offset in range(0, 257 - width):
            assert function.get(offset, width) == int.from_bytes(bytes(whole[offset:offset + width]), "little"), \
                f"{width} bytes at {offset:#x}"


def test_straddles_between_functions(vm):
    """The last bytes of one function and the first of the next (the multifunction pair)."""
    rng = pci.Function(vm, WHERE["rng"])
    for width, below in ((2, 1), (4, 1), (4, 3), (8, 4), (8, 7)):
        at = rng.base + 0x1000 - below
        want = (0).to_bytes(below, "little") + bytes((0xf4, 0x1a, 0x45, 0x10, 0, 0, 0x10, 0))
        assert vm.read(width, at) == int.from_bytes(want[:width], "little")
        vm.write(width, at, (1 << 8 * width) - 1)
    assert pci.Function(vm, WHERE["balloon"]).ids() == (0x1af4, 0x1045)
    assert vm.read(8, pci.ECAM - 4) == 0x81b36 << 32 | 0xffffffff


def test_capability_lists_are_sound(function):
    spans = []
    for kind, at in function.capabilities():
        size = {pci.CAP_MSIX: 12, pci.CAP_EXPRESS: 0x3c, 0x0d: 8}.get(kind) or function.get(at + 2, 1)
        spans.append((at, at + size))
    assert all(end <= 256 for _, end in spans)
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:]))
    assert bool(function.get(pci.STATUS, 2) & 0x10) == bool(spans)


def test_function_level_reset(card):
    device = card
    queue = device.start()
    assert v.blk_do(queue, v.BLK_GET_ID, 0, 20)[0] == v.BLK_OK
    device.fn.msix_set(0, pci.MESSAGE, 7)
    express = device.fn.capability(pci.CAP_EXPRESS)
    device.fn.set(express + 9, 0x80, 1)
    assert device.fn.get(pci.COMMAND, 2) == 0 and device.fn.bar(4) == 0
    assert not device.vm.pending(device.gsi)
    again = pci.Device(device.vm, device.fn)
    assert again.status() == 0
    assert device.vm.read(4, device.fn.msix()[2]) == 0 and device.vm.read(4, device.fn.msix()[2] + 12) == 1
    assert v.blk_do(again.start(), v.BLK_GET_ID, 0, 20)[0] == v.BLK_OK


def test_a_machine_reset_clears_everything(vm, card):
    before = {where: None for where in WHERE.values()}
    vm.qmp("system_reset")
    for where in before:
        before[where] = image(pci.Function(vm, where))
    device = pci.Device(vm, card.fn)
    device.start()
    vm.qmp("system_reset")
    assert {where: image(pci.Function(vm, where)) for where in before} == before
    assert vm.read(4, device.base) == 0xffffffff


# --- BARs ---


def status_at(vm, base):
    return vm.read(1, base + 0x14)


def test_decoding_follows_command_and_address(vm, card):
    device, fn = card, card.fn
    device.set(v.STATUS, v.ACKNOWLEDGE)
    fn.decode(0)
    assert vm.read(4, device.base) == 0xffffffff
    fn.decode(pci.MEMORY)
    assert status_at(vm, device.base) == v.ACKNOWLEDGE
    for address in (pci.MEM32 + (128 << 20), pci.MEM64, pci.MEM64 + (32 << 30)):
        fn.set_bar(4, address)  # with decoding on, half by half
        assert status_at(vm, address) == v.ACKNOWLEDGE
        assert vm.read(4, device.base) == 0xffffffff
    fn.set_bar(4, device.base)
    assert status_at(vm, device.base) == v.ACKNOWLEDGE


@pytest.mark.parametrize("address", (0, 0x100000, 0xf0000000, 0xf0100000, pci.ECAM, 0xfee00000, 0xffffc000, 1 << 40,
                                     (1 << 64) - 0x4000))
def test_a_bar_elsewhere_is_nowhere(vm, card, address):
    """On RAM, on other devices, outside of the windows: what lies there stays, and the BAR comes back."""
    fn = card.fn
    before = [vm.read(4, address + i) for i in (0, 0x14)]
    fn.set_bar(4, address)
    assert [vm.read(4, address + i) for i in (0, 0x14)] == before
    assert len(pci.walk(vm)) == len(WHERE)
    fn.set_bar(4, card.base)
    assert v.blk_do(card.start(), v.BLK_GET_ID, 0, 20)[0] == v.BLK_OK


def test_two_bars_at_one_place(vm, card):
    rng = pci.Device(vm, pci.Function(vm, WHERE["rng"]))
    home = card.base
    rng.set(v.STATUS, v.ACKNOWLEDGE)
    rng.fn.set_bar(4, home)
    assert status_at(vm, home) == 0, "the disk was there first"
    card.fn.set_bar(4, pci.MEM64)
    assert status_at(vm, home) == v.ACKNOWLEDGE, "its place is free now"
    assert status_at(vm, pci.MEM64) == 0
    card.fn.set_bar(4, home)
    assert status_at(vm, home) == v.ACKNOWLEDGE and vm.read(4, pci.MEM64) == 0xffffffff
    rng.fn.decode(0)
    assert status_at(vm, home) == 0
    assert v.blk_do(card.start(), v.BLK_GET_ID, 0, 20)[0] == v.BLK_OK


def test_windows_of_a_bridge(vm, start):
    other = start("-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "pcie-root-port,id=rp0,addr=4",
                  "-device", "virtio-rng-pci,rng=r0,bus=rp0", machine=pci.MACHINE)
    port, card = pci.Function(other, 0x20), pci.Function(other, 0, bus=1)
    window = pci.MEM32 + (64 << 20)
    assert not card.there()
    port.set(pci.PRIMARY_BUS, 0x010100)
    assert card.there() and not pci.Function(other, 8, bus=1).there()
    card.decode(0)
    card.set_bar(4, window)
    card.decode()
    assert other.read(4, window) == 0xffffffff, "the bridge passes nothing on yet"
    port.set(pci.MEMORY_BASE, window >> 16, 2)
    port.set(pci.MEMORY_LIMIT, window >> 16, 2)
    assert other.read(4, window) == 0xffffffff
    port.decode()
    assert other.read(2, window + 0x12) == 1  # num_queues
    port.set(pci.MEMORY_BASE, (window >> 16) + 0x10, 2)
    assert other.read(4, window) == 0xffffffff
    port.set(0x28, window >> 32)
    port.set(0x24, window >> 16, 2)
    port.set(0x26, window >> 16, 2)
    assert other.read(2, window + 0x12) == 1, "the prefetchable window does as well"
    for secondary, subordinate in ((2, 2), (1, 0), (0, 0), (3, 255), (255, 255)):
        port.set(pci.PRIMARY_BUS, subordinate << 16 | secondary << 8)
        assert pci.Function(other, 0, bus=secondary or 1).there() == bool(secondary)
    port.set(pci.PRIMARY_BUS, 0x010100)
    port.set(0x3e, 0x40, 2)  # secondary bus reset
    assert card.get(pci.COMMAND, 2) == 0 and other.read(4, window) == 0xffffffff


# --- Power management ---

D0, D1, D2, D3HOT = range(4)


@pytest.fixture
def sleeper(start):
    """A device behind a port; only those have the capability, as QEMU's."""
    vm = start("-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "pcie-root-port,id=rp0,addr=4",
               "-device", "virtio-rng-pci,rng=r0,bus=rp0", machine=pci.MACHINE)
    port = pci.Function(vm, 0x20)
    port.set(pci.PRIMARY_BUS, 0x010100)
    port.set(pci.MEMORY_BASE, pci.MEM32 >> 16, 2)
    port.set(pci.MEMORY_LIMIT, (pci.MEM32 + (16 << 20)) >> 16, 2)
    port.decode()
    assert not [at for kind, at in port.capabilities() if kind == pci.CAP_PM]
    device = pci.Device(vm, pci.Function(vm, 0, bus=1))
    return vm, device, device.fn.capability(pci.CAP_PM)


def test_a_function_sleeps_and_forgets(sleeper):
    vm, device, cap = sleeper
    fn, home = device.fn, device.base
    assert fn.get(cap + 2, 2) == 3 and fn.get(cap + 4) == D0  # version 3, no D1, no D2, no wake-up
    device.start().send([(0x300000, 8, True)])
    assert vm.pending(pci.GSI + (0x20 // 8) % 4)
    for state in (D1, D2):
        fn.set(cap + 4, state, 1)
        assert fn.get(cap + 4) == D0 and vm.read(2, home + 0x12) == 1
    fn.set(cap + 4, D3HOT, 1)
    assert fn.get(cap + 4) == D3HOT and fn.get(pci.COMMAND, 2) == pci.MEMORY | pci.MASTER and fn.there()
    assert vm.read(4, home + 0x12) == 0xffffffff, "no BAR is decoded"
    assert not any(vm.pending(gsi) for gsi in range(pci.GSI, pci.GSI + 4)), "the pin is down"
    fn.decode(0)
    fn.decode()
    for state in (D1, D2):
        fn.set(cap + 4, state, 1)
        assert fn.get(cap + 4) == D3HOT and vm.read(4, home + 0x12) == 0xffffffff
    fn.set(cap + 4, D0)
    assert fn.get(cap + 4) == D0 and fn.get(pci.COMMAND, 2) == 0 and fn.bar(4) == 0
    fn.set_bar(4, home)
    fn.decode()
    assert device.get(v.STATUS) == 0, "it was reset"
    device.start().send([(0x300000, 8, True)])
    assert device.get(v.INTERRUPT_STATUS) == 1


def test_a_sleeping_function_does_no_work(sleeper):
    """What is in the ring without a word is done after a pause, but not by a function that sleeps."""
    vm, device, cap = sleeper
    queue = device.start()
    for state, done in ((D0, 1), (D3HOT, 1)):
        device.fn.set(cap + 4, state, 1)
        queue.publish(queue.chain([(0x300000, 8, True)]))
        vm.qmp("stop")
        vm.qmp("cont")
        vm.settle()
        assert queue.used_idx() == done


def test_power_states_over_and_over(sleeper):
    """A guest that changes its mind all the time, and writes everything to the register."""
    vm, device, cap = sleeper
    for value in (*range(256), 0xffff, 0xffff0003, 0xffffffff, 0):
        device.fn.set(cap + 4, value)
        assert device.fn.get(cap + 4) in (D0, D3HOT)
        device.fn.set(0x3e, 0x40, 2)
        device.fn.decode()
    device.fn.set(device.fn.capability(pci.CAP_EXPRESS) + 8, 0x8000, 2)  # function level reset
    assert device.fn.get(cap + 4) == D0


# --- INTx ---


def test_intx_follows_isr_and_disable(vm, card):
    device = card
    queue = device.start()
    v.blk_do(queue, v.BLK_GET_ID, 0, 20)
    assert vm.pending(device.gsi) and device.fn.get(pci.STATUS, 2) & 8
    device.fn.decode(pci.MEMORY | pci.MASTER | pci.INTX_DISABLE)
    assert not vm.pending(device.gsi) and device.fn.get(pci.STATUS, 2) & 8
    device.fn.decode()
    assert vm.pending(device.gsi)
    assert device.get(v.INTERRUPT_STATUS) == 1 and device.get(v.INTERRUPT_STATUS) == 0
    assert not vm.pending(device.gsi) and not device.fn.get(pci.STATUS, 2) & 8


def test_a_shared_line_stays_up_for_the_other(start):
    vm = start("-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r0,addr=2",
               "-device", "virtio-rng-pci,rng=r0,addr=6", machine=pci.MACHINE)
    first, second = pci.virtio_devices(vm)
    assert first.gsi == second.gsi
    for i, device in enumerate((first, second)):
        device.start(at=0x100000 + i * 0x10000).send([(0x300000, 8, True)])
    assert first.get(v.INTERRUPT_STATUS) == 1
    assert vm.pending(first.gsi)
    assert second.get(v.INTERRUPT_STATUS) == 1
    assert not vm.pending(first.gsi)


# --- MSI-X ---


def with_vector(device, vector=1, queue=0):
    device.fn.msix_set(vector, pci.MESSAGE, 0x40 + vector)
    device.fn.msix_control(pci.MSIX_ENABLE)
    device.set(v.QUEUE_SEL, queue)
    device.set(pci.QUEUE_VECTOR, vector)
    return 0x40 + vector


def request(device, queue):
    assert v.blk_do(queue, v.BLK_GET_ID, 0, 20)[0] == v.BLK_OK


def test_messages_masks_and_pending_bits(vm, card):
    device = card
    queue = device.start()
    data = with_vector(device)
    entry, pba = device.fn.msix()[2] + 16, device.fn.msix()[3]
    request(device, queue)
    assert pci.took_message(vm, pci.MESSAGE, data) and not vm.pending(device.gsi)
    for mask, unmask in ((lambda: vm.write(4, entry + 12, 1), lambda: vm.write(4, entry + 12, 0)),
                         (lambda: device.fn.msix_control(pci.MSIX_ENABLE | pci.MSIX_MASK),
                          lambda: device.fn.msix_control(pci.MSIX_ENABLE))):
        mask()
        for _ in range(3):
            request(device, queue)
        assert not pci.took_message(vm, pci.MESSAGE, data) and vm.read(8, pba) == 2
        unmask()
        assert pci.took_message(vm, pci.MESSAGE, data) and vm.read(8, pba) == 0
    vm.write(4, entry + 12, 1)
    request(device, queue)
    vm.write(4, entry + 8, 0x99)  # what is pending goes where the entry says when it goes
    vm.write(4, entry + 12, 0)
    assert pci.took_message(vm, pci.MESSAGE, 0x99) and not pci.took_message(vm, pci.MESSAGE, data)


def test_without_bus_mastering_nothing_moves(vm, card):
    """No request is taken and no message sent until it is on again; what waited is done then."""
    device = card
    queue = device.start()
    data = with_vector(device)
    device.fn.decode(pci.MEMORY)
    queue.publish(queue.chain(v.blk_request(queue, v.BLK_GET_ID, 0, 20)))
    queue.kick()
    assert not queue.answered() and not pci.took_message(vm, pci.MESSAGE, data)
    vm.qmp("stop")
    vm.qmp("cont")
    assert not queue.answered()
    device.fn.decode()
    assert queue.take() == (0, 21) and pci.took_message(vm, pci.MESSAGE, data)
    device.fn.decode(pci.MEMORY)
    queue = device.start()  # a driver that goes live without
    queue.publish(queue.chain(v.blk_request(queue, v.BLK_GET_ID, 0, 20)))
    queue.kick()
    assert not queue.answered()
    device.fn.decode()
    assert queue.take() == (0, 21)


def test_vectors_that_do_not_exist(vm, card):
    device = card
    count = device.fn.msix()[1]
    assert count == 2
    queue = device.start()
    for register in (pci.CONFIG_VECTOR, pci.QUEUE_VECTOR):
        for vector in (count, 0x7fff, 0xfffe, 0xffff):
            device.set(register, vector)
            assert device.get(register) == 0xffff
        device.set(register, count - 1)
        assert device.get(register) == count - 1
    device.set(v.QUEUE_SEL, 9)
    device.set(pci.QUEUE_VECTOR, 0)
    assert device.get(pci.QUEUE_VECTOR) == 0xffff
    device.set(v.QUEUE_SEL, 0)
    device.set(pci.QUEUE_VECTOR, 0xffff)
    device.fn.msix_set(0, pci.MESSAGE, 1)
    device.fn.msix_control(pci.MSIX_ENABLE)
    request(device, queue)
    assert not pci.took_message(vm, pci.MESSAGE, 1) and not vm.pending(device.gsi)


@pytest.mark.parametrize("function", [where for where in WHERE if where != "host"], indirect=True)
def test_msix_straddle(vm, function):
    """CVE-2020-13754: every width, unaligned and over every end of table, pending bits and BAR."""
    pci.assign(vm, function)
    _, count, table, pba = function.msix()
    end = table + 4096
    assert pba + (count + 63) // 64 * 8 <= end
    edges = (table, table + 16 * count, pba, pba + (count + 63) // 64 * 8, end)
    for edge in edges:
        for width in 1, 2, 4, 8:
            for at in range(edge - 9, edge + 9):
                vm.read(width, at)
                vm.write(width, at, (1 << 8 * width) - 1)
    for vector in range(count):
        assert vm.read(4, table + 16 * vector) in (0, 0xfffffffc)
        assert vm.read(4, table + 16 * vector + 12) & ~1 == 0
    assert all(vm.read(4, at) == 0 for at in range(table + 16 * count, end, 4)), "pending bits and gaps are not written"
    # Narrow writes are dropped, narrow reads are a part of the word.
    vm.write(4, table, 0xfee01000)
    for width, at in ((1, 0), (1, 3), (2, 0), (2, 2)):
        vm.write(width, table + at, 0)
    assert vm.read(4, table) == 0xfee01000 and vm.read(1, table + 3) == 0xfe and vm.read(2, table + 2) == 0xfee0
    vm.write(8, table + 8, 0x1_0000_0042)
    assert vm.read(4, table + 8) == 0x42 and vm.read(4, table + 12) == 1


def test_without_msix_there_is_only_intx(start):
    vm = start("-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r0,vectors=0",
               machine=pci.MACHINE)
    device = pci.virtio_devices(vm)[0]
    assert not any(kind == pci.CAP_MSIX for kind, _ in device.fn.capabilities())
    device.set(pci.CONFIG_VECTOR, 0)
    assert device.get(pci.CONFIG_VECTOR) == 0xffff
    device.start().send([(0x300000, 8, True)])
    assert vm.pending(device.gsi)


def test_without_ioeventfd_and_features_it_works_all_the_same(start):
    vm = start("-object", "rng-random,id=r0,filename=/dev/urandom", "-device",
               "virtio-rng-pci,rng=r0,ioeventfd=off,event_idx=off,indirect_desc=off,packed=off,iommu_platform=off,ats=off,page-per-vq=off",
               machine=pci.MACHINE)
    device = pci.virtio_devices(vm)[0]
    assert not device.offered() & 3 << 28 and device.offered() & 1 << 32
    device.start().send([(0x300000, 8, True)])
    assert vm.pending(device.gsi)


# --- virtio's own registers on PCI (virtio 1.2 4.1.4) ---


def test_common_configuration_takes_its_own_widths(vm, card):
    base = card.base
    widths = {0: 4, 4: 4, 8: 4, 0xc: 4, 0x10: 2, 0x12: 2, 0x14: 1, 0x15: 1, 0x16: 2, 0x18: 2, 0x1a: 2, 0x1c: 2, 0x1e: 2,
              **{offset: 4 for offset in range(0x20, 0x38, 4)}, 0x38: 2, 0x3a: 2}
    fields = {offset: vm.read(width, base + offset) for offset, width in widths.items()}
    for width in 1, 2, 4:
        for offset in range(0, 0x80, width):
            if widths.get(offset) != width:
                vm.write(width, base + offset, (1 << 8 * width) - 1)
                assert vm.read(width, base + offset) == 0
    assert {offset: vm.read(width, base + offset) for offset, width in widths.items()} == fields
    assert fields[0x12] == 1 and fields[0x18] == 256 and fields[0x10] == fields[0x1a] == 0xffff


def test_late_queue_size(card):
    """CVE-2026-5747: size and addresses are fixed once the queue is enabled, and all of them once the driver is live."""
    device = card
    queue = device.start(size=16)

    def registers():
        return [device.get(offset) for offset in (v.QUEUE_NUM, v.QUEUE_DESC, v.QUEUE_DESC + 4, v.QUEUE_DRIVER,
                                                  v.QUEUE_DRIVER + 4, v.QUEUE_DEVICE, v.QUEUE_DEVICE + 4, v.QUEUE_READY)]
    device.set(v.QUEUE_SEL, 0)
    before = registers()
    assert before[0] == 16 and before[1] == layout.gpa(queue.desc)
    for value in (0, 8, 256, 0xffff):
        for register in (v.QUEUE_NUM, v.QUEUE_DESC, v.QUEUE_DESC + 4, v.QUEUE_DRIVER, v.QUEUE_DEVICE, v.QUEUE_READY):
            device.set(register, value)
        assert registers() == before
    request(device, queue)


def test_a_driver_may_keep_the_largest_queue(card):
    device = card
    assert device.negotiate()
    device.set(v.QUEUE_SEL, 0)
    queue = v.Queue(device, 0, device.get(v.QUEUE_NUM), 0x100000)
    device.set64(v.QUEUE_DESC, queue.desc)
    device.set64(v.QUEUE_DRIVER, queue.avail)
    device.set64(v.QUEUE_DEVICE, queue.used)
    device.set(v.QUEUE_READY, 1)
    device.set(v.STATUS, v.LIVE)
    request(device, queue)


@pytest.mark.parametrize("size", (0, 3, 257, 512, 0xffff))
def test_a_queue_of_a_wrong_size_breaks_the_device(card, size):
    assert card.negotiate()
    queue = v.Queue(card, 0, 16, 0x100000)
    queue.size = size
    queue.enable()
    assert card.broken() and not card.get(v.QUEUE_READY)
    request(card, card.start())


def test_notify_index(vm, card):
    """Notifications of queues that are not there, over the whole region, in every width."""
    queue = card.start()
    notify = card.structures[pci.CFG_NOTIFY]
    for width in 1, 2, 4, 8:
        for at in (*range(1, 33), 0x800, 0xff8, 0x1000 - width):
            vm.write(width, notify + at, 0)
            vm.write(width, notify + at, (1 << 8 * width) - 1)
    assert not card.broken()
    request(card, queue)


def test_the_window_in_configuration_space(vm, card):
    """4.1.4.9: registers reached without any BAR being decoded."""
    fn = card.fn
    cap = [at for kind, at in fn.capabilities() if kind == pci.CAP_VENDOR and fn.get(at + 3, 1) == pci.CFG_PCI][0]
    fn.decode(0)

    def through(offset, length, value=None, bar=4):
        fn.set(cap + 4, bar, 1)
        fn.set(cap + 8, offset)
        fn.set(cap + 12, length)
        if value is not None:
            fn.set(cap + 16, value)
        return fn.get(cap + 16)

    assert through(0x12, 2) & 0xffff == 1
    through(0x14, 1, v.ACKNOWLEDGE)
    assert through(0x14, 1) & 0xff == v.ACKNOWLEDGE
    assert through(0x2000, 4) == 2048
    through(0x14, 1, 0)
    for bar, offset, length in ((0, 0, 4), (1, 0, 4), (5, 0, 4), (255, 0, 4), (4, 0x4000, 4), (4, 0xfffffffc, 4), (4, 0, 0),
                                (4, 0, 3), (4, 0, 8), (4, 0, 0xffffffff), (4, 1, 4), (4, 0x3ffe, 4), (4, 0x13, 2)):
        through(offset, length, 0xffffffff, bar)
    fn.decode()
    assert card.status() == 0
    request(card, card.start())
