# SPDX-License-Identifier: Apache-2.0
"""A virtio driver that does what it is told, sense or nonsense: the MMIO transport and the split virtqueue."""

import struct

from layout import MMIO_BASE, MMIO_GSI, MMIO_STEP, gpa

# Registers (virtio 1.2 4.2.2)
MAGIC, VERSION, DEVICE_ID, VENDOR_ID = 0x000, 0x004, 0x008, 0x00c
DEVICE_FEATURES, DEVICE_FEATURES_SEL, DRIVER_FEATURES, DRIVER_FEATURES_SEL = 0x010, 0x014, 0x020, 0x024
QUEUE_SEL, QUEUE_NUM_MAX, QUEUE_NUM, QUEUE_READY, QUEUE_NOTIFY = 0x030, 0x034, 0x038, 0x044, 0x050
INTERRUPT_STATUS, INTERRUPT_ACK, STATUS = 0x060, 0x064, 0x070
QUEUE_DESC, QUEUE_DRIVER, QUEUE_DEVICE = 0x080, 0x090, 0x0a0
SHM_SEL, SHM_LEN, SHM_BASE, QUEUE_RESET, CONFIG_GENERATION, CONFIG = 0x0ac, 0x0b0, 0x0b8, 0x0c0, 0x0fc, 0x100

ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED = 1, 2, 4, 8, 64, 128
LIVE = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK

F_INDIRECT, F_EVENT_IDX, F_VERSION_1, F_RING_RESET = 1 << 28, 1 << 29, 1 << 32, 1 << 40
NEXT, WRITE, INDIRECT = 1, 2, 4

ID_NET, ID_BLK, ID_CONSOLE, ID_RNG, ID_BALLOON, ID_VSOCK = 1, 2, 3, 4, 5, 19


def walk(vm):
    """Every slot with a device in it; on a machine with PCI, every virtio device there."""
    if vm.transport == "pci":
        import pci  # which stands on this module
        return pci.virtio_devices(vm)
    found = []
    for slot, gsi in enumerate(MMIO_GSI):
        base = MMIO_BASE + slot * MMIO_STEP
        if vm.read(4, base) == 0x74726976 and vm.read(4, base + DEVICE_ID):
            found.append(Device(vm, base, gsi))
    return found


def find(vm, kind, index=0):
    """A device of that kind; cards of slots that nothing is plugged into are not looked at."""
    return [device for device in walk(vm) if device.id == kind and (kind != ID_NET or device.full())][index]


class Device:
    def __init__(self, vm, base, gsi):
        self.vm, self.base, self.gsi = vm, base, gsi
        self.id = self.get(DEVICE_ID)

    def get(self, register, width=4):
        return self.vm.read(width, self.base + register)

    def set(self, register, value, width=4):
        self.vm.write(width, self.base + register, value)

    def registers(self):
        """Everything that a driver may write to."""
        return range(0, MMIO_STEP, 4)

    def anywhere(self, rng, width):
        """One of them, or a place between them."""
        return rng.randrange(0, MMIO_STEP - width)

    def governs(self, register):
        """Does a write there change status, the selected queue, or reset a queue?"""
        return register in (STATUS, QUEUE_SEL, QUEUE_RESET)

    def set64(self, register, value):
        """An address: of RAM by its offset there."""
        value = gpa(value)
        self.set(register, value & 0xffffffff)
        self.set(register + 4, value >> 32)

    def status(self):
        return self.get(STATUS)

    def full(self):
        """Not a replaceable slot that nothing is plugged into: a disk without sectors, or a card without a cable."""
        if self.id == ID_NET:
            return bool(self.get(CONFIG + 6, 2) & 1)
        return self.id != ID_BLK or bool(self.get(CONFIG) | self.get(CONFIG + 4))

    def broken(self):
        return bool(self.status() & NEEDS_RESET)

    def reset(self):
        self.set(STATUS, 0)

    def offered(self):
        features = 0
        for word in range(2):
            self.set(DEVICE_FEATURES_SEL, word)
            features |= self.get(DEVICE_FEATURES) << 32 * word
        return features

    def driver_features(self, features):
        for word in range(2):
            self.set(DRIVER_FEATURES_SEL, word)
            self.set(DRIVER_FEATURES, features >> 32 * word & 0xffffffff)

    def negotiate(self, features=0):
        """From reset to FEATURES_OK. Whether the device took it."""
        self.reset()
        self.set(STATUS, ACKNOWLEDGE)
        self.set(STATUS, ACKNOWLEDGE | DRIVER)
        self.driver_features(features | F_VERSION_1)
        self.set(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK)
        return bool(self.status() & FEATURES_OK)

    def start(self, size=16, features=0, at=0x100000, index=0):
        """A live device with one queue."""
        return self.start_all(size, features, at, (index,))[index]

    def start_all(self, size=16, features=0, at=0x100000, indices=(0,)):
        """A live device with these queues, which are 0x4000 bytes apart: by their index."""
        assert self.negotiate(features)
        queues = {index: Queue(self, index, size, at + 0x4000 * i, features) for i, index in enumerate(indices)}
        for queue in queues.values():
            queue.enable()
        self.set(STATUS, LIVE)
        assert self.status() == LIVE
        return queues


class Queue:
    """A split virtqueue. The fields that are written are what the tests please."""

    def __init__(self, device, index, size, at, features=0):
        self.device, self.vm, self.ram = device, device.vm, device.vm.ram
        self.index, self.size, self.features = index, size, features
        self.desc, self.avail = at, at + 16 * size
        self.used = (self.avail + 6 + 2 * size + 3) & ~3
        self.avail_idx = self.last_used = 0
        self.ram[at:self.used + 6 + 8 * size] = bytes(self.used + 6 + 8 * size - at)

    def enable(self):
        device = self.device
        device.set(QUEUE_SEL, self.index)
        device.set(QUEUE_NUM, self.size)
        device.set64(QUEUE_DESC, self.desc)
        device.set64(QUEUE_DRIVER, self.avail)
        device.set64(QUEUE_DEVICE, self.used)
        device.set(QUEUE_READY, 1)

    def put(self, index, addr, length, flags=0, following=0, table=None):
        """One descriptor."""
        struct.pack_into("<QIHH", self.ram, (self.desc if table is None else table) + 16 * index,
                         gpa(addr) & (1 << 64) - 1, length, flags, following)

    def chain(self, buffers, first=0, table=None):
        """Descriptors of (address, length, is written by the device), one after the other."""
        for i, (addr, length, write) in enumerate(buffers):
            last = i == len(buffers) - 1
            self.put(first + i, addr, length, (WRITE if write else 0) | (0 if last else NEXT),
                     0 if last else first + i + 1, table)
        return first

    def publish(self, *heads, index=None):
        for head in heads:
            struct.pack_into("<H", self.ram, self.avail + 4 + 2 * (self.avail_idx % self.size), head)
            self.avail_idx = self.avail_idx + 1 & 0xffff
        self.vm.words[(self.avail + 2) // 2] = self.avail_idx if index is None else index

    def kick(self):
        self.device.set(QUEUE_NOTIFY, self.index)

    def used_idx(self):
        return self.vm.words[(self.used + 2) // 2]

    def answered(self):
        return self.used_idx() != self.last_used

    def take(self):
        """The next used element: (id, length). It must come."""
        self.vm.until(self.answered, "a used buffer")
        element = struct.unpack_from("<II", self.ram, self.used + 4 + 8 * (self.last_used % self.size))
        self.last_used = self.last_used + 1 & 0xffff
        return element

    def send(self, buffers):
        """A chain from descriptor 0 on; its used length."""
        self.publish(self.chain(buffers))
        self.kick()
        head, length = self.take()
        assert head == 0
        return length


class Inbox:
    """A queue that the device fills: buffers of one size are always there, unless the test holds them back."""

    def __init__(self, queue, size=4096, count=None, at=0x1000000):
        self.queue, self.size, self.at = queue, size, at
        count = queue.size if count is None else count
        for i in range(count):
            queue.put(i, at + i * size, size, WRITE)
        queue.publish(*range(count))
        queue.kick()

    def take(self, again=True):
        """What the device wrote into the next buffer, which is given to it once more."""
        head, length = self.queue.take()
        data = bytes(self.queue.ram[self.at + head * self.size:self.at + head * self.size + length])
        if again:
            self.give(head)
        return data

    def give(self, *heads):
        self.queue.publish(*heads)
        self.queue.kick()

    def empty(self):
        return not self.queue.answered()


def cuts(start, length):
    """A buffer as two, at every place."""
    return [[(start, cut), (start + cut, length - cut)] for cut in range(1, length)]


# --- Disks ---

BLK_IN, BLK_OUT, BLK_FLUSH, BLK_GET_ID, BLK_DISCARD, BLK_WRITE_ZEROES = 0, 1, 4, 8, 11, 13
BLK_OK, BLK_IOERR, BLK_UNSUPP = 0, 1, 2
HEADER, STATUS_BYTE, DATA = 0x200000, 0x200100, 0x201000


def blk_request(queue, kind, sector, length=0, write=True, status=0xff):
    """The buffers of a request whose data is at DATA."""
    struct.pack_into("<IIQ", queue.ram, HEADER, kind, 0, sector)
    queue.ram[STATUS_BYTE] = status
    data = [(DATA, length, write)] if length else []
    return [(HEADER, 16, False), *data, (STATUS_BYTE, 1, True)]


def blk_do(queue, kind, sector, length=0, write=True):
    """A whole request: (status, used length)."""
    used = queue.send(blk_request(queue, kind, sector, length, write))
    return queue.ram[STATUS_BYTE], used
