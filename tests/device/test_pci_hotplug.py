# SPDX-License-Identifier: Apache-2.0
"""The hot-plug slot of a root port (PCIe 5.0 6.7), by a driver that does what a good one does, and by others."""

import contextlib
import os

import pytest

import guest
import layout
import pci
import virtio as v

PORT = ("-device", "pcie-root-port,id=rp0,chassis=1,slot=5,port=3,addr=4")
SLTCAP, SLTCTL, SLTSTA, LNKSTA = 0x14, 0x18, 0x1a, 0x12
ABP, PDC, CC, PDS, DLLSC = 1, 8, 0x10, 0x40, 0x100
ABPE, PDCE, CCIE, HPIE, PCC, DLLSCE = 1, 8, 0x10, 0x20, 0x400, 0x1000
PIC_ON, PIC_OFF, AIC_OFF = 0x100, 0x300, 0xc0
DLLLA = 0x2000
WINDOW = pci.MEM32 + (256 << 20)


class Slot:
    """A root port, set up by a guest: bus 1 is below it, with 2 MiB of addresses."""

    def __init__(self, vm, slot=4):
        self.vm, self.fn = vm, pci.Function(vm, pci.devfn(slot))
        pci.assign(vm, self.fn)
        self.fn.set(pci.PRIMARY_BUS, 0x010100, 4)
        self.fn.set(pci.MEMORY_BASE, WINDOW >> 16, 2)
        self.fn.set(pci.MEMORY_LIMIT, (WINDOW + (2 << 20) - 1) >> 16, 2)
        self.cap = self.fn.capability(pci.CAP_EXPRESS)
        self.card = pci.Function(vm, 0, bus=1)

    def status(self):
        return self.fn.get(self.cap + SLTSTA, 2)

    def clear(self, bits=0xffff):
        self.fn.set(self.cap + SLTSTA, bits, 2)

    def link(self):
        return bool(self.fn.get(self.cap + LNKSTA, 2) & DLLLA)

    def control(self, value=None):
        if value is None:
            return self.fn.get(self.cap + SLTCTL, 2)
        self.fn.set(self.cap + SLTCTL, value, 2)
        return None

    def take(self):
        """The card, set up as a virtio device in the port's window."""
        self.vm.next_bar, before = WINDOW, getattr(self.vm, "next_bar", pci.MEM32)
        device = pci.Device(self.vm, self.card)
        self.vm.next_bar = before
        return device


@pytest.fixture
def vm(start):
    return start("-object", "rng-random,id=r0,filename=/dev/urandom", *PORT, machine=pci.MACHINE)


@pytest.fixture
def slot(vm):
    return Slot(vm)


def plug(vm, name="d0", **more):
    vm.qmp("device_add", driver="virtio-rng-pci", rng="r0", id=name, bus="rp0", **more)


def deleted(vm, name):
    """Reads events until the device is gone."""
    while True:
        event = vm.event()
        if event["event"] == "DEVICE_DELETED" and event["data"].get("device") == name:
            return


def test_an_empty_slot(vm, slot):
    capabilities = slot.fn.get(slot.cap + SLTCAP)
    assert capabilities & 0x7f == 0x7b  # button, power, indicators, surprise, hot-plug; no MRL sensor
    assert capabilities >> 19 == 5
    assert slot.fn.get(slot.cap + 0x0c) >> 24 == 3  # LNKCAP: the port's number
    assert slot.status() == 0 and not slot.link()
    assert slot.control() == PCC | PIC_OFF | AIC_OFF
    assert not slot.card.there()


def test_a_card_is_plugged_in_and_works(vm, slot):
    plug(vm)
    assert slot.status() == PDS | PDC | DLLSC and slot.link()
    slot.clear(PDC)
    assert slot.status() == PDS | DLLSC
    slot.clear()
    assert slot.status() == PDS
    slot.control(PIC_ON | AIC_OFF)
    assert slot.status() & CC
    device = slot.take()
    assert device.fn.get(device.fn.capability(pci.CAP_EXPRESS) + 2, 2) >> 4 & 0xf == 0  # an endpoint
    assert device.start().send([(0x300000, 32, True)]) == 32


def test_unplug_waits_for_the_guest(vm, slot):
    plug(vm)
    slot.control(PIC_ON | AIC_OFF)
    slot.clear()
    queue = slot.take().start()
    vm.qmp("device_del", id="d0")
    assert slot.status() == PDS | ABP
    assert queue.send([(0x300000, 32, True)]) == 32, "it works until the guest lets go"
    reply = vm.qmp_raw("device_del", id="d0")
    assert "already in the process of unplug" in reply["error"]["desc"]
    slot.clear()
    slot.control(PIC_ON | PCC | AIC_OFF)  # power first, as Linux does: the card does not answer, but is there
    assert slot.status() & PDS and not slot.link() and not slot.card.there()
    slot.control(PIC_OFF | PCC | AIC_OFF)
    deleted(vm, "d0")
    assert not slot.status() & PDS and slot.status() & PDC
    assert not slot.card.there()
    assert vm.qmp_raw("device_del", id="d0")["error"]["class"] == "DeviceNotFound"
    slot.clear()
    plug(vm)  # the same name again
    assert slot.status() & PDS and slot.card.there()


def test_a_fast_unplug_looks_like_a_change_of_presence(start):
    vm = start("-object", "rng-random,id=r0,filename=/dev/urandom", PORT[0], PORT[1] + ",fast-unplug=on", machine=pci.MACHINE)
    slot = Slot(vm)
    plug(vm)
    slot.control(PIC_ON)
    slot.clear()
    vm.qmp("device_del", id="d0")
    assert slot.status() == PDS | ABP | PDC and slot.card.there()
    slot.clear()
    slot.control(PIC_OFF | PCC)
    slot.control(PIC_ON)  # a guest that looks again at once finds the slot empty
    assert not slot.status() & PDS and not slot.card.there()
    deleted(vm, "d0")


def test_each_enabled_event_sends_a_message(vm, slot):
    slot.fn.msix_set(0, pci.MESSAGE, 0x51)
    slot.fn.msix_control(pci.MSIX_ENABLE)
    slot.clear()
    slot.control(HPIE | PDCE | PCC | PIC_OFF)
    slot.clear()
    assert not pci.took_message(vm, pci.MESSAGE, 0x51)
    plug(vm)
    assert pci.took_message(vm, pci.MESSAGE, 0x51)
    slot.control(HPIE | PDCE | PIC_ON)
    vm.qmp("device_del", id="d0")
    assert not pci.took_message(vm, pci.MESSAGE, 0x51), "one is pending, and the button's is not enabled"
    slot.clear()
    slot.control(HPIE | CCIE | PIC_ON)
    assert pci.took_message(vm, pci.MESSAGE, 0x51), "command completed"


def test_intx_is_a_level(vm, slot):
    gsi = slot.fn.gsi()
    slot.control(HPIE | PDCE | PCC | PIC_OFF)
    slot.clear()
    assert not vm.pending(gsi)
    plug(vm)
    assert vm.pending(gsi)
    slot.fn.decode(pci.MEMORY | pci.MASTER | pci.INTX_DISABLE)
    assert not vm.pending(gsi) and slot.fn.get(pci.STATUS, 2) & 8
    slot.fn.decode()
    assert vm.pending(gsi)
    slot.clear()
    assert not vm.pending(gsi) and not slot.fn.get(pci.STATUS, 2) & 8


def test_power_off_without_an_unplug_keeps_the_card(vm, slot):
    plug(vm)
    slot.control(PIC_ON | AIC_OFF)
    device = slot.take()
    device.start()
    slot.control(PIC_OFF | PCC | AIC_OFF)
    assert not slot.card.there() and slot.status() & PDS
    assert vm.read(4, device.base) == 0xffffffff, "its BARs do not answer"
    slot.control(PIC_ON | AIC_OFF)
    assert slot.card.there() and slot.link()
    assert slot.card.get(pci.COMMAND, 2) == 0, "it has forgotten everything"
    assert slot.take().status() == 0
    slot.control(PIC_OFF | PCC | AIC_OFF)
    vm.qmp("device_del", id="d0")  # it was switched off before
    deleted(vm, "d0")


def test_a_card_that_the_guest_never_switched_on_goes_at_once(vm, slot):
    plug(vm)
    vm.qmp("device_del", id="d0")
    deleted(vm, "d0")
    assert not slot.status() & PDS and not slot.card.there()


def test_a_reset_completes_an_unplug(vm, slot):
    plug(vm)
    slot.control(PIC_ON)
    slot.take().start()
    vm.qmp("device_del", id="d0")
    vm.qmp("system_reset")
    deleted(vm, "d0")
    again = Slot(vm)
    assert not again.status() & PDS and not again.card.there()
    plug(vm, "d1")
    vm.qmp("system_reset")
    again = Slot(vm)
    assert again.status() == PDS and again.card.there() and again.control() == PIC_ON | AIC_OFF


def test_cold_cards_are_there_without_events(start):
    vm = start("-object", "rng-random,id=r0,filename=/dev/urandom", *PORT, "-device",
               "virtio-rng-pci,rng=r0,bus=rp0,id=d0", machine=pci.MACHINE)
    slot = Slot(vm)
    assert slot.status() == PDS and slot.link() and slot.control() == PIC_ON | AIC_OFF
    assert slot.take().start().send([(0x300000, 32, True)]) == 32
    vm.qmp("device_del", id="d0")
    slot.control(PIC_OFF | PCC)
    deleted(vm, "d0")


@pytest.mark.parametrize("line, why", (
    (dict(driver="virtio-rng-pci", rng="r0", id="x"), "Bus 'pcie.0' does not support hotplugging"),
    (dict(driver="virtio-rng-pci", rng="r0", id="x", bus="rp1"), "Bus 'rp1' not found; did you mean 'rp0'?"),
    (dict(driver="virtio-rng-pci", rng="r0", id="x", bus="rp0", addr="1"), "bus 'rp0' has slot 0 only"),
    (dict(driver="virtio-rng-pci", rng="r9", id="x", bus="rp0"), "r9"),
    (dict(driver="pcie-root-port", id="x", bus="pcie.0"), "does not support hotplugging"),
))
def test_what_cannot_be_plugged(vm, slot, line, why):
    slot.clear()
    error = vm.qmp_raw("device_add", **line)["error"]
    assert why in error["desc"]
    assert slot.status() == 0 and not slot.card.there()


def test_a_taken_slot(vm, slot):
    plug(vm)
    error = vm.qmp_raw("device_add", driver="virtio-rng-pci", rng="r0", id="x", bus="rp0")["error"]
    assert "taken by virtio-rng-pci 'd0'" in error["desc"]
    assert "cannot be unplugged" in vm.qmp_raw("device_del", id="rp0")["error"]["desc"]


def test_surprise(vm, slot):
    """A guest that switches power at every moment, while the card works and while it leaves."""
    for turn in range(20):
        plug(vm, f"d{turn}")
        slot.control(PIC_ON)
        queue = slot.take().start()
        queue.publish(queue.chain([(0x300000, 4096, True)]))
        queue.kick()
        vm.qmp("device_del", id=f"d{turn}")
        for value in (PCC | PIC_ON, PIC_OFF, PCC | PIC_OFF, 0xffff, 0):
            slot.control(value)
        deleted(vm, f"d{turn}")
        assert not slot.card.there()


def own_threads(folder):
    """How many there are, without those that the drive's requests may or may not need: a pool's, or the kernel's for io_uring."""
    count = 0
    for thread in os.listdir(f"{folder}/task"):
        with contextlib.suppress(FileNotFoundError), open(f"{folder}/task/{thread}/comm", encoding="ascii") as f:
            count += not f.read().startswith(("block-worker", "iou-wrk"))
    return count


@pytest.mark.parametrize("thread", ("", ",iothread=i0"), ids=("main", "iothread"))
def test_rounds_leak_nothing(start, thread):
    """Descriptors, threads and memory after 200 rounds of a disk with requests under way are what they were."""
    vm = start("-object", "iothread,id=i0", "-drive", "if=none,id=d0,file=$DISK,format=raw,direct=off", *PORT,
               machine=pci.MACHINE, env={"ASAN_OPTIONS": "quarantine_size_mb=1"})  # what it holds back is no leak
    slot = Slot(vm)

    def held():
        folder = f"/proc/{vm.process.pid}"
        with open(f"{folder}/status", encoding="ascii") as f:
            status = dict(line.split(":", 1) for line in f)
        return (len(os.listdir(f"{folder}/fd")), own_threads(folder)), int(status["VmData"].split()[0])

    def round_(turn):
        vm.qmp("device_add", driver="virtio-blk-pci", drive="d0", id=f"d{turn}", bus="rp0",
               **({"iothread": "i0"} if thread else {}))
        slot.control(PIC_ON)
        queue = slot.take().start(size=64)
        for i in range(20):
            queue.chain(v.blk_request(queue, v.BLK_IN, 0, 4096), first=3 * i)
        vm.qmp("device_del", id=f"d{turn}")
        queue.publish(*range(0, 60, 3))
        queue.kick()
        slot.control(PIC_OFF | PCC)
        deleted(vm, f"d{turn}")

    for turn in range(20):
        round_(turn)
    before, memory = held()
    for turn in range(200 if layout.ARCH == layout.HOST else 50):
        round_(turn)
    after, grown = held()
    limit = 4096 if "asan" in guest.STRATOVIRT else 512  # KiB; what a sanitizer keeps for itself is not flat
    assert after == before
    if layout.ARCH == layout.HOST:  # an emulator has memory of its own
        assert grown - memory < limit, f"{grown - memory} KiB more"
