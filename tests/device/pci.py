# SPDX-License-Identifier: Apache-2.0
"""A PCI bus driver (ECAM) and the PCI transport of virtio (virtio 1.2 4.1), on the machine that has one."""

import virtio as v
from layout import ECAM, MEM32, MEM64, MESSAGE
from layout import PCI_GSI as GSI
from layout import PCI_MACHINE as MACHINE

VENDOR_ID, DEVICE_ID, COMMAND, STATUS, HEADER_TYPE, BAR0 = 0x00, 0x02, 0x04, 0x06, 0x0e, 0x10
CAPABILITIES, INTERRUPT_PIN = 0x34, 0x3d
PRIMARY_BUS, SECONDARY_BUS, SUBORDINATE_BUS, MEMORY_BASE, MEMORY_LIMIT = 0x18, 0x19, 0x1a, 0x20, 0x22
IO, MEMORY, MASTER, INTX_DISABLE = 1, 2, 4, 0x400
CAP_PM, CAP_VENDOR, CAP_EXPRESS, CAP_MSIX = 0x01, 0x09, 0x10, 0x11
MSIX_ENABLE, MSIX_MASK = 0x8000, 0x4000


def devfn(slot, function=0):
    return slot << 3 | function


class Function:
    def __init__(self, vm, where, bus=0):
        self.vm, self.bus, self.devfn = vm, bus, where
        self.base = ECAM + (bus << 20) + (where << 12)

    def get(self, offset, width=4):
        return self.vm.read(width, self.base + offset)

    def set(self, offset, value, width=4):
        self.vm.write(width, self.base + offset, value)

    def there(self):
        return self.get(VENDOR_ID, 2) != 0xffff

    def ids(self):
        return self.get(VENDOR_ID, 2), self.get(DEVICE_ID, 2)

    def capabilities(self):
        """(id, offset) of each, in the guest's order. A list that does not end fails."""
        found, at = [], self.get(CAPABILITIES, 1)
        while at:
            assert at >= 0x40 and at % 4 == 0 and len(found) < 48, "the capability list is broken"
            found.append((self.get(at, 1), at))
            at = self.get(at + 1, 1)
        return found

    def capability(self, kind):
        return [at for known, at in self.capabilities() if known == kind][0]

    def bars(self):
        """{index: (size, flags)}, by the method of PCI 3.0 6.2.5.1. Decoding must be off."""
        found, index = {}, 0
        count = 2 if self.get(HEADER_TYPE, 1) & 0x7f else 6
        while index < count:
            at = BAR0 + 4 * index
            old = self.get(at)
            self.set(at, 0xffffffff)
            mask = self.get(at)
            self.set(at, old)
            flags = mask & (0x3 if mask & 1 else 0xf)
            mask &= ~flags & 0xffffffff
            step = 1
            if flags & 7 == 4:
                old = self.get(at + 4)
                self.set(at + 4, 0xffffffff)
                mask |= self.get(at + 4) << 32
                self.set(at + 4, old)
                step = 2
            elif mask:
                mask |= 0xffffffff << 32
            if mask:
                found[index] = ((~mask & (1 << 64) - 1) + 1, flags)
            index += step
        return found

    def set_bar(self, index, address):
        self.set(BAR0 + 4 * index, address & 0xffffffff)
        if self.get(BAR0 + 4 * index) & 7 == 4:
            self.set(BAR0 + 4 * index + 4, address >> 32)

    def bar(self, index):
        low = self.get(BAR0 + 4 * index)
        return low & ~0xf | (self.get(BAR0 + 4 * index + 4) << 32 if low & 7 == 4 else 0)

    def decode(self, flags=MEMORY | MASTER):
        self.set(COMMAND, flags, 2)

    def gsi(self):
        return GSI + (self.devfn // 8 + self.get(INTERRUPT_PIN, 1) - 1) % 4

    # --- MSI-X ---

    def msix(self):
        """(capability, vectors, address of the table, address of the pending bits)"""
        cap = self.capability(CAP_MSIX)
        table, pba = self.get(cap + 4), self.get(cap + 8)
        return (cap, (self.get(cap + 2, 2) & 0x7ff) + 1, self.bar(table & 7) + (table & ~7), self.bar(pba & 7) + (pba & ~7))

    def msix_set(self, vector, address, data, masked=False):
        entry = self.msix()[2] + 16 * vector
        self.vm.write(4, entry, address & 0xffffffff)
        self.vm.write(4, entry + 4, address >> 32)
        self.vm.write(4, entry + 8, data)
        self.vm.write(4, entry + 12, int(masked))

    def msix_control(self, flags):
        self.set(self.capability(CAP_MSIX) + 2, flags, 2)


def took_message(vm, address, data):
    """Was this message sent since it was asked for last?"""
    return vm.ask(f"query_msix {address:#x} {data:#x}") == "TRUE"


def walk(vm, bus=0):
    found = []
    for slot in range(32):
        if Function(vm, devfn(slot), bus).there():
            many = Function(vm, devfn(slot), bus).get(HEADER_TYPE, 1) & 0x80
            found += [fn for fn in (Function(vm, devfn(slot, f), bus) for f in range(8 if many else 1)) if fn.there()]
    return found


def assign(vm, fn):
    """Gives every BAR of a function that has none an address of its own, and lets it be decoded."""
    fn.decode(0)
    for index, (size, flags) in fn.bars().items():
        if flags & 1 or fn.bar(index):
            continue
        at = (getattr(vm, "next_bar", MEM32) + size - 1) & -size
        vm.next_bar = at + size
        fn.set_bar(index, at)
    fn.decode()


# Common configuration: the registers of virtio-mmio, where they are here, and how wide.
COMMON = {
    v.DEVICE_FEATURES_SEL: (0x00, 4), v.DEVICE_FEATURES: (0x04, 4), v.DRIVER_FEATURES_SEL: (0x08, 4),
    v.DRIVER_FEATURES: (0x0c, 4), v.STATUS: (0x14, 1), v.CONFIG_GENERATION: (0x15, 1), v.QUEUE_SEL: (0x16, 2),
    v.QUEUE_NUM_MAX: (0x18, 2), v.QUEUE_NUM: (0x18, 2), v.QUEUE_READY: (0x1c, 2), v.QUEUE_RESET: (0x3a, 2),
    v.QUEUE_DESC: (0x20, 4), v.QUEUE_DESC + 4: (0x24, 4), v.QUEUE_DRIVER: (0x28, 4), v.QUEUE_DRIVER + 4: (0x2c, 4),
    v.QUEUE_DEVICE: (0x30, 4), v.QUEUE_DEVICE + 4: (0x34, 4),
}
CONFIG_VECTOR, NUM_QUEUES, QUEUE_VECTOR, QUEUE_NOTIFY_OFF = (0x10, 2), (0x12, 2), (0x1a, 2), (0x1e, 2)
CFG_COMMON, CFG_NOTIFY, CFG_ISR, CFG_DEVICE, CFG_PCI = 1, 2, 3, 4, 5


class Device(v.Device):
    """A virtio device on PCI behind the registers of virtio-mmio, so that tests need not know."""

    def __init__(self, vm, fn):
        self.vm, self.fn = vm, fn
        assign(vm, fn)
        self.gsi = fn.gsi()
        self.id = fn.get(DEVICE_ID, 2) - 0x1040
        self.structures = {}
        for cap, at in fn.capabilities():
            if cap == CAP_VENDOR:
                self.structures[fn.get(at + 3, 1)] = fn.bar(fn.get(at + 4, 1)) + fn.get(at + 8)
                if fn.get(at + 3, 1) == CFG_NOTIFY:
                    self.multiplier = fn.get(at + 16)
        self.base = self.structures[CFG_COMMON]

    def _place(self, register, width):
        if isinstance(register, tuple):
            return self.base + register[0], register[1]
        if register >= v.CONFIG:
            return self.structures[CFG_DEVICE] + register - v.CONFIG, width
        if register == v.INTERRUPT_STATUS:
            return self.structures[CFG_ISR], 1
        if register not in COMMON:  # not there on PCI
            return None, 0
        offset, width = COMMON[register]
        return self.base + offset, width

    def get(self, register, width=4):
        if register == v.DEVICE_ID:
            return self.id
        at, width = self._place(register, width)
        return self.vm.read(width, at) if at else 0

    def set(self, register, value, width=4):
        if register == v.QUEUE_NOTIFY:
            if value < 0x400:
                self.vm.write(2, self.structures[CFG_NOTIFY] + value * self.multiplier, value)
        elif register == v.INTERRUPT_ACK:
            self.get(v.INTERRUPT_STATUS)
        else:
            at, width = self._place(register, width)
            if at:
                self.vm.write(width, at, value & (1 << 8 * width) - 1)

    def registers(self):
        """Common configuration in every width, and some of the device's own."""
        return [(offset, width) for width in (1, 2, 4) for offset in range(0, 0x40, width)] + \
            [v.INTERRUPT_STATUS, *range(v.CONFIG, v.CONFIG + 0x40, 4)]

    def anywhere(self, rng, width):
        return rng.choice(((rng.randrange(0, 0x1000 - width), width), v.CONFIG + rng.randrange(0x40)))

    def governs(self, register):
        return isinstance(register, tuple) and any(at in range(register[0], sum(register)) for at in (0x14, 0x16, 0x17, 0x3a))


def virtio_devices(vm):
    return [Device(vm, fn) for fn in walk(vm) if fn.get(VENDOR_ID, 2) == 0x1af4]
