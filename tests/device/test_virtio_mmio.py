# SPDX-License-Identifier: Apache-2.0
"""virtio-mmio, every register of every device (virtio 1.2 4.2.2): reset values, who may write what when, widths, straddles."""

import itertools

import pytest

import virtio as v

KINDS = {"blk": v.ID_BLK, "rng": v.ID_RNG}
RO = {v.MAGIC: 0x74726976, v.VERSION: 2, v.VENDOR_ID: 0, v.INTERRUPT_STATUS: 0, v.STATUS: 0, v.QUEUE_READY: 0,
      v.SHM_LEN: 0xffffffff, v.SHM_LEN + 4: 0xffffffff, v.SHM_BASE: 0xffffffff, v.SHM_BASE + 4: 0xffffffff,
      v.QUEUE_RESET: 0}


@pytest.fixture(params=KINDS)
def device(vm, request):
    return v.find(vm, KINDS[request.param])


def test_the_bus_walk_finds_the_devices(vm):
    devices = v.walk(vm)
    # Replaceable slots that nothing is plugged into are disks without sectors.
    full = [device for device in devices if device.id != v.ID_BLK or device.get(v.CONFIG)]
    assert sorted(device.id for device in full) == [v.ID_BLK, v.ID_RNG]
    assert len({device.gsi for device in devices}) == len(devices)


def test_reset_values_of_every_register(device):
    def registers():
        return {offset: device.get(offset) for offset in range(0, 0x100, 4)}

    first = registers()
    for offset, value in first.items():
        if offset in RO:
            assert value == RO[offset], f"{offset:#x}"
        elif offset not in (v.DEVICE_ID, v.DEVICE_FEATURES, v.QUEUE_NUM_MAX, v.CONFIG_GENERATION):
            assert value == 0, f"{offset:#x}: registers that are only written, or not there, read as zero"
    assert first[v.QUEUE_NUM_MAX] == 256
    device.start()
    device.reset()
    assert registers() == first


def test_features(device):
    common = v.F_INDIRECT | v.F_EVENT_IDX | v.F_VERSION_1 | v.F_RING_RESET
    offered = device.offered()
    assert offered & common == common
    assert offered >> 41 == 0 and not offered & (0xf << 24) and not offered & (0xff << 32) & ~(1 << 32)
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
def test_registers_take_32_bits_only(device, width):
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
    assert device.status() == 0 and device.get(v.QUEUE_NUM_MAX) == 256
    for offset in (1, 2, 3, 5, 0x6f, 0x71, 0x73):
        device.set(offset, 0xffffffff)
        assert device.status() == 0
        assert device.get(offset) == 0 or offset % 4 == 0


def test_mmio_straddle(vm):
    """Accesses across each end of each device's registers (CVE-2024-41928)."""
    devices = v.walk(vm)
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


def test_config_mask(device):
    """All ones into every byte of the configuration space, in every state: nothing changes (as CVE-2024-26327)."""
    def config():
        return [device.get(v.CONFIG + i, 1) for i in range(0x100)]

    first = config()
    for prepare in (device.reset, device.negotiate, device.start):
        prepare()
        for width in 1, 2, 4, 8:
            for offset in range(0, 0x100, width):
                device.set(v.CONFIG + offset, (1 << 8 * width) - 1, width)
        assert config() == first
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


def test_queue_registers(device):
    assert device.negotiate()
    for selector in (1, 2, 0xffff, 0x10000, 0xffffffff):
        device.set(v.QUEUE_SEL, selector)
        assert device.get(v.QUEUE_NUM_MAX) == 0 and device.get(v.QUEUE_READY) == 0
        device.set(v.QUEUE_NUM, 16)
        device.set(v.QUEUE_READY, 1)
        assert device.get(v.QUEUE_READY) == 0 and not device.broken()
    queue = v.Queue(device, 0, 16, 0x100000)
    queue.enable()
    assert device.get(v.QUEUE_READY) == 1
    device.set(v.QUEUE_READY, 0)
    assert device.get(v.QUEUE_READY) == 0
    queue.enable()
    assert device.get(v.QUEUE_READY) == 1


def test_interrupt_status_and_acknowledge(device):
    queue = device.start()
    assert device.get(v.INTERRUPT_STATUS) == 0
    if device.id == v.ID_RNG:
        queue.send([(0x300000, 8, True)])
    else:
        v.blk_do(queue, v.BLK_GET_ID, 0, 20)
    assert device.get(v.INTERRUPT_STATUS) == 1
    device.set(v.INTERRUPT_ACK, 0xfffffffe)
    assert device.get(v.INTERRUPT_STATUS) == 1
    device.set(v.INTERRUPT_ACK, 1)
    assert device.get(v.INTERRUPT_STATUS) == 0


def test_ring_reset(device):
    queue = device.start(features=v.F_RING_RESET)
    device.set(v.QUEUE_SEL, 0)
    device.set(v.QUEUE_RESET, 1)
    assert device.get(v.QUEUE_RESET) == 0 and device.get(v.QUEUE_READY) == 0
    queue = v.Queue(device, 0, 8, 0x180000)
    queue.enable()
    assert device.get(v.QUEUE_READY) == 1
    if device.id == v.ID_RNG:
        assert queue.send([(0x300000, 8, True)]) == 8
    else:
        assert v.blk_do(queue, v.BLK_GET_ID, 0, 20) == (v.BLK_OK, 21)


def test_a_machine_reset_resets_the_device(device):
    device.start()
    device.vm.qmp("system_reset")
    assert device.status() == 0 and device.get(v.QUEUE_READY) == 0
    device.start()
