# SPDX-License-Identifier: Apache-2.0
"""fw_cfg's registers: ports 0x510 to 0x51b of a PC, in memory on aarch64's virt. Numbers that are wider than a byte are little-endian
there and big-endian here, but for the DMA address, which is big-endian on both."""

import struct

import layout

READ, SKIP, SELECT, WRITE = 2, 4, 8, 16
DESCRIPTOR = 0x1000


class Ports:
    def __init__(self, vm):
        self.vm = vm

    def select(self, key):
        self.vm.out(0x510, key, 2)

    def data(self):
        return self.vm.inp(0x511)

    def set_data(self, value):
        self.vm.out(0x511, value)

    def dma_read(self, offset, width):
        return self.vm.inp(0x514 + offset, width)

    def dma_write(self, offset, value):
        self.vm.out(0x514 + offset, value, 4)


class Memory:
    def __init__(self, vm):
        self.vm = vm

    def select(self, key):
        self.vm.write(2, layout.FW_CFG + 8, int.from_bytes(key.to_bytes(2, "big"), "little"))

    def data(self):
        return self.vm.read(1, layout.FW_CFG)

    def set_data(self, value):
        self.vm.write(1, layout.FW_CFG, value)

    def dma_read(self, offset, width):
        return self.vm.read(width, layout.FW_CFG + 16 + offset)

    def dma_write(self, offset, value):
        self.vm.write(4, layout.FW_CFG + 16 + offset, value)


class FwCfg:
    def __init__(self, vm):
        self.vm = vm
        self.registers = (Memory if layout.ARCH == "aarch64" else Ports)(vm)

    def select(self, key):
        self.registers.select(key)

    def bytes(self, size):
        """The next ones of the item."""
        return bytes(self.registers.data() for _ in range(size))

    def read(self, key, size):
        self.select(key)
        return self.bytes(size)

    def start_dma(self, descriptor):
        """Where a descriptor is: the write of the lower half does it."""
        for offset, half in (0, descriptor >> 32), (4, descriptor & 0xffffffff):
            self.registers.dma_write(offset, int.from_bytes(struct.pack(">I", half), "little"))

    def dma(self, control, size, addr, descriptor=DESCRIPTOR):
        """One transfer; its control word afterwards. Addresses: of RAM by offset."""
        ram = self.vm.ram
        ram[descriptor:descriptor + 16] = struct.pack(">IIQ", control, size, layout.gpa(addr))
        self.start_dma(layout.gpa(descriptor))
        return struct.unpack_from(">I", ram, descriptor)[0]

    def item(self, key, size):
        assert self.dma(key << 16 | SELECT | READ, size, 0x2000) == 0
        return bytes(self.vm.ram[0x2000:0x2000 + size])

    def files(self):
        count, = struct.unpack(">I", self.item(0x19, 4))
        data = self.item(0x19, 4 + 64 * count)[4:]
        entries = [struct.unpack_from(">IHH56s", data, 64 * i) for i in range(count)]
        return {name.rstrip(b"\0").decode(): (key, size) for size, key, _, name in entries}

    def file(self, name):
        return self.item(*self.files()[name])
