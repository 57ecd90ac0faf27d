# SPDX-License-Identifier: Apache-2.0
"""virtio-mmio, every register of every device (virtio 1.2 4.2.2): reset values, who may write what when, widths, straddles."""

import itertools

import pytest

import kinds
import virtio as v

RO = {v.MAGIC: 0x74726976, v.VERSION: 2, v.VENDOR_ID: 0, v.INTERRUPT_STATUS: 0, v.STATUS: 0, v.QUEUE_READY: 0,
      v.SHM_LEN: 0xffffffff, v.SHM_LEN + 4: 0xffffffff, v.SHM_BASE: 0xffffffff, v.SHM_BASE + 4: 0xffffffff,
      v.QUEUE_RESET: 0}


@pytest.fixture(params=kinds.DEVICES)
def kind(request):
    return kinds.DEVICES[request.param]


@pytest.fixture
def device(start, kind):
    return v.find(start(*kind.options), kind.id)


def test_the_bus_walk_finds_the_devices(vm):
    devices = v.walk(vm)
    assert sorted(device.id for device in devices if device.full()) == [v.ID_BLK, v.ID_RNG]
    assert len({device.gsi for device in devices}) == len(devices)


def test_reset_values_of_every_register(device, kind):
    def registers():
        return {offset: device.get(offset) for offset in range(0, 0x100, 4) if offset != v.CONFIG_GENERATION}

    first = registers()
    for offset, value in first.items():
        if offset in RO:
            assert value == RO[offset], f"{offset:#x}"
        elif offset not in (v.DEVICE_ID, v.DEVICE_FEATURES, v.QUEUE_NUM_MAX):
            assert value == 0, f"{offset:#x}: registers that are only written, or not there, read as zero"
    assert first[v.DEVICE_ID] == kind.id and first[v.QUEUE_NUM_MAX] == kind_max(kind, 0)
    device.start()
    device.reset()
    assert registers() == first


def kind_max(kind, index):
    """Entries that a queue may have: a serial device's control queues are short."""
    return kind.max_size if kind.name != "serial" or index in (2, 3) else 128


def test_features(device, kind):
    common = v.F_INDIRECT | v.F_EVENT_IDX | v.F_VERSION_1 | v.F_RING_RESET
    offered = device.offered()
    assert offered & common == common
    assert offered & kind.offers == kind.offers
    assert offered >> 41 == 0 or kind.id == v.ID_NET  # the network card has features up there
    assert not offered & (0xf << 24) and not offered & (0xff << 32) & ~(1 << 32)
    for selector in 2, 3, 0x80000000, 0xffffffff:
        device.set(v.DEVICE_FEATURES_SEL, selector)
        assert device.get(v.DEVICE_FEATURES) == 0
    for bit in range(64):
        taken = device.negotiate(1 << bit)
        assert taken == bool((offered | v.F_VERSION_1) >> bit & 1), f"feature {bit}"
    assert device.negotiate(offered)
    # Without VERSION_1, or nothing at all.
    for features in (0, offered & ~v.F_VERSION_1):
        device.reset()
        device.set(v.STATUS, v.ACKNOWLEDGE | v.DRIVER)
        device.driver_features(features)
        device.set(v.STATUS, v.ACKNOWLEDGE | v.DRIVER | v.FEATURES_OK)
        assert device.status() == v.ACKNOWLEDGE | v.DRIVER


def test_features_beyond_64_bits_are_ignored(device):
    assert device.negotiate()
    device.reset()
    device.set(v.STATUS, 3)
    device.driver_features(v.F_VERSION_1)
    for selector in 2, 0xffffffff:
        device.set(v.DRIVER_FEATURES_SEL, selector)
        device.set(v.DRIVER_FEATURES, 0xffffffff)
    device.set(v.STATUS, 11)
    assert device.status() == 11


def allowed(old, value):
    """What the status becomes (2.1.1, 3.1.1); the driver has written good features."""
    if value == 0:
        return 0
    new = old | value & 0x8f
    if not old & v.FEATURES_OK and new & v.FEATURES_OK and new & 3 != 3:
        new &= ~v.FEATURES_OK
    if not old & v.DRIVER_OK and new & v.DRIVER_OK and not new & v.FEATURES_OK:
        new &= ~v.DRIVER_OK
    return new


def test_every_status_after_every_status(device):
    for first, second in itertools.product(range(16), range(0, 256)):
        if second & 0x70 and second & 0x8f not in (0, 1, 15):
            continue
        device.reset()
        if first:
            device.driver_features(v.F_VERSION_1)
            device.set(v.STATUS, first)
        else:
            device.driver_features(v.F_VERSION_1)
        old = device.status()
        assert old == allowed(0, first), f"{first:#x}"
        device.set(v.STATUS, second)
        assert device.status() == allowed(old, second), f"{first:#x}, {second:#x}"


@pytest.mark.parametrize("width", (1, 2, 8))
def test_registers_take_32_bits_only(device, kind, width):
    for offset in range(0, 0x100, width):
        value = device.get(offset, width)
        if width == 8:  # an access the bus splits in two
            assert value == device.get(offset) | device.get(offset + 4) << 32
        else:
            assert value == 0
    if width == 8:
        return
    for offset in range(0, 0x100, width):
        device.set(offset, 0xff, width)
    assert device.status() == 0 and device.get(v.QUEUE_NUM_MAX) == kind_max(kind, 0)
    for offset in (1, 2, 3, 5, 0x6f, 0x71, 0x73):
        device.set(offset, 0xffffffff)
        assert device.status() == 0
        assert device.get(offset) == 0 or offset % 4 == 0


def test_mmio_straddle(start):
    """Accesses across each end of each device's registers (CVE-2024-41928)."""
    vm = start("disk", "rng", *kinds.SERIAL, *kinds.BALLOON, *kinds.VSOCK, *kinds.NET)
    devices = v.walk(vm)
    assert {device.id for device in devices} == {kind.id for kind in kinds.ALL}
    first, last = devices[0], devices[-1]
    for device in devices:
        for width, below in ((2, 1), (4, 1), (4, 2), (4, 3), (8, 1), (8, 4), (8, 7)):
            for base in (device.base, device.base + v.MMIO_STEP):
                before = [d.get(v.MAGIC) for d in devices]
                vm.read(width, base - below)
                vm.write(width, base - below, (1 << 8 * width) - 1)
                assert [d.get(v.MAGIC) for d in devices] == before and not any(d.status() for d in devices)
    assert first.get(v.MAGIC - 4, 8) >> 32 == 0x74726976
    assert last.get(v.MMIO_STEP - 4, 8) & 0xffffffff == 0
    assert vm.read(4, v.MMIO_BASE - 4) == 0xffffffff


def test_config_mask(device, kind):
    """All ones into every byte of the configuration space, in every state: only a driver's own fields change (as
    CVE-2024-26327), and what is behind the fields reads as zero."""
    def config():
        return [device.get(v.CONFIG + i, 1) for i in range(0x100)]

    def others(values):
        return [value for i, value in enumerate(values) if i not in kind.writable]

    first = config()
    assert not any(first[kind.config_size:]) and not any(first[i] for i in kind.silent)
    for prepare in (device.reset, device.negotiate, device.start):
        prepare()
        for width in 1, 2, 4, 8:
            for offset in range(0, 0x100, width):
                device.set(v.CONFIG + offset, (1 << 8 * width) - 1, width)
        assert others(config()) == others(first)
    first = config()
    for width in 2, 4, 8:
        for offset in range(0, 0x100, width):
            want = int.from_bytes(bytes(first[offset:offset + width]), "little")
            assert device.get(v.CONFIG + offset, width) == want
        for offset in range(0x101 - width):  # unaligned as well
            want = int.from_bytes(bytes(first[offset:offset + width]), "little")
            assert device.get(v.CONFIG + offset, width) == want


def test_blk_config(vm):
    disk = v.find(vm, v.ID_BLK)
    assert disk.get(v.CONFIG) | disk.get(v.CONFIG + 4) << 32 == 2048
    assert disk.get(v.CONFIG + 12) == 254  # seg_max
    assert disk.get(v.CONFIG + 20) == 512
    assert disk.get(v.CONFIG + 34, 2) == 1


def test_queue_registers(device, kind):
    assert device.negotiate()
    for index in range(kind.queues):
        device.set(v.QUEUE_SEL, index)
        assert device.get(v.QUEUE_NUM_MAX) == kind_max(kind, index)
    for selector in (kind.queues, kind.queues + 1, 0xffff, 0x10000, 0xffffffff):
        device.set(v.QUEUE_SEL, selector)
        assert device.get(v.QUEUE_NUM_MAX) == 0 and device.get(v.QUEUE_READY) == 0
        device.set(v.QUEUE_NUM, 16)
        device.set(v.QUEUE_READY, 1)
        assert device.get(v.QUEUE_READY) == 0 and not device.broken()
    for index in {0, kind.index, kind.queues - 1}:
        queue = v.Queue(device, index, 16, 0x100000)
        queue.enable()
        assert device.get(v.QUEUE_READY) == 1
        device.set(v.QUEUE_READY, 0)
        assert device.get(v.QUEUE_READY) == 0
        queue.enable()
        assert device.get(v.QUEUE_READY) == 1


def test_interrupt_status_and_acknowledge(device, kind):
    queue = device.start(features=kind.features, index=kind.index)
    assert device.get(v.INTERRUPT_STATUS) == 0
    assert queue.send(kind.request(device.vm.ram)) == kind.used
    assert device.get(v.INTERRUPT_STATUS) == 1
    device.set(v.INTERRUPT_ACK, 0xfffffffe)
    assert device.get(v.INTERRUPT_STATUS) == 1
    device.set(v.INTERRUPT_ACK, 1)
    assert device.get(v.INTERRUPT_STATUS) == 0


def test_ring_reset(device, kind):
    """A queue that was reset can be set up anew, elsewhere and smaller (2.6.1), and without the feature it is not."""
    device.start(features=kind.features | v.F_RING_RESET, index=kind.index)
    device.set(v.QUEUE_SEL, kind.index)
    device.set(v.QUEUE_RESET, 1)
    assert device.get(v.QUEUE_RESET) == 0 and device.get(v.QUEUE_READY) == 0
    queue = v.Queue(device, kind.index, 8, 0x180000)
    queue.enable()
    assert device.get(v.QUEUE_READY) == 1
    assert queue.send(kind.request(device.vm.ram)) == kind.used
    queue = device.start(features=kind.features, index=kind.index)
    device.set(v.QUEUE_SEL, kind.index)
    device.set(v.QUEUE_RESET, 1)
    assert device.get(v.QUEUE_READY) == 1
    assert queue.send(kind.request(device.vm.ram)) == kind.used


def test_a_machine_reset_resets_the_device(device):
    device.start()
    device.vm.qmp("system_reset")
    assert device.status() == 0 and device.get(v.QUEUE_READY) == 0
    device.start()
