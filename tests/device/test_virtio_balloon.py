# SPDX-License-Identifier: Apache-2.0
"""virtio-balloon's data path: pages that go, sizes, statistics, reporting, and drivers that lie."""

import struct

import pytest

import guest
import kinds
import virtio as v
from layout import ELSEWHERE, gpa

AT, PAGES = kinds.AT, 0x2000000
F_STATS, F_OOM, F_REPORTING = 2, 4, 32
TOTAL = guest.MEMORY


@pytest.fixture
def vm(start):
    return start(*kinds.BALLOON)


@pytest.fixture
def balloon(vm):
    return v.find(vm, v.ID_BALLOON)


def fill(vm, pages):
    vm.ram[PAGES:PAGES + 4096 * pages] = b"\xa5" * (4096 * pages)


def gone(vm, page):
    return not any(vm.ram[PAGES + 4096 * page:PAGES + 4096 * (page + 1)])


def inflate(queue, pfns, pieces=1):
    """The numbers, in buffers of equal size; the used length."""
    data = struct.pack(f"<{len(pfns)}I", *pfns)
    queue.ram[AT:AT + len(data)] = data
    step = -(-len(data) // pieces)
    return queue.send([(AT + at, min(step, len(data) - at), False) for at in range(0, len(data), step)])


def test_pages_of_the_balloon_go_back_to_the_host(vm, balloon):
    queues = balloon.start_all(size=64, indices=(0, 1))
    fill(vm, 1024)
    first = gpa(PAGES) >> 12
    chosen = list(range(first, first + 1000, 2))
    assert inflate(queues[0], chosen) == 0
    assert [gone(vm, page) for page in range(1002)] == [page % 2 == 0 and page < 1000 for page in range(1002)]
    assert inflate(queues[1], chosen) == 0
    vm.ram[PAGES:PAGES + 4] = b"back"
    assert vm.ram[PAGES:PAGES + 8] == b"back\0\0\0\0"


def test_page_numbers_cut_anywhere(vm, balloon):
    """split-header: numbers that lie in two buffers, a last one that is not whole, many buffers."""
    queue = balloon.start(size=64)
    numbers = [(gpa(PAGES) >> 12) + i for i in range(10)]
    for pieces in range(1, 41):
        fill(vm, 11)
        assert inflate(queue, numbers, pieces) == 0
        assert [gone(vm, page) for page in range(11)] == [True] * 10 + [False], f"{pieces} pieces"
    fill(vm, 2)
    vm.ram[AT:AT + 7] = struct.pack("<II", *numbers[:2])[:7]
    assert queue.send([(AT, 7, False)]) == 0
    assert gone(vm, 0) and not gone(vm, 1)


def test_pages_that_are_no_memory(vm, balloon):
    """Outside of RAM, the queues' own, the same ones again: nothing is harmed but what the guest gave away."""
    queue = balloon.start(size=64)
    outside = [gpa(TOTAL) >> 12, (gpa(TOTAL) >> 12) + 1, *(place >> 12 for place in (v.MMIO_BASE, *ELSEWHERE)), 0xfffff, 0x100000, 0x7fffffff, 0x80000000, 0xffffffff]
    fill(vm, 4)
    for _ in range(3):
        assert inflate(queue, outside + [(gpa(PAGES) >> 12) + 1] * 5 + outside) == 0
    assert [gone(vm, page) for page in range(4)] == [False, True, False, False]
    assert not balloon.broken()
    inflate_own = struct.pack("<I", gpa(queue.desc) >> 12)
    vm.ram[AT:AT + 4] = inflate_own
    queue.publish(queue.chain([(AT, 4, False)]))
    queue.kick()
    balloon.status()  # whatever became of the rings, the device answers
    queue = balloon.start(size=64)
    fill(vm, 1)
    assert inflate(queue, [gpa(PAGES) >> 12]) == 0 and gone(vm, 0)


def test_size_is_asked_for_and_told(vm, balloon):
    queue = balloon.start()
    assert vm.qmp("query-balloon") == {"actual": TOTAL}
    vm.qmp("balloon", value=TOTAL // 2)
    assert balloon.get(v.CONFIG) == TOTAL // 2 >> 12
    assert balloon.get(v.INTERRUPT_STATUS) & 2
    assert inflate(queue, [gpa(PAGES) >> 12]) == 0
    for pages, actual in ((1, TOTAL - 4096), (0x4000, TOTAL // 2), (0, TOTAL), (TOTAL >> 12, 0), (0xffffffff, 0)):
        balloon.set(v.CONFIG + 4, pages)
        assert balloon.get(v.CONFIG + 4) == pages
        assert vm.qmp("query-balloon") == {"actual": actual}
    for offset, width in ((0, 4), (4, 1), (4, 2), (5, 2), (6, 2), (8, 4)):
        balloon.set(v.CONFIG + offset, 0x55, width)
    assert balloon.get(v.CONFIG + 4) == 0xffffffff and balloon.get(v.CONFIG) == TOTAL // 2 >> 12
    balloon.reset()
    assert vm.qmp("query-balloon") == {"actual": TOTAL}


def statistics(vm):
    return vm.qmp("qom-get", path="/machine/peripheral/b0", property="guest-stats")["stats"]


def test_statistics(vm, balloon):
    queue = balloon.start(features=F_STATS, index=2)
    unknown = set(statistics(vm).values())
    assert len(unknown) == 1, "nothing was told yet"
    stats = struct.pack("<HQHQHQ", 4, 12345 << 12, 5, TOTAL, 0xffff, 7)  # the last is none that there is
    vm.ram[AT:AT + len(stats)] = stats
    for turn, cut in enumerate((1, 2, 9, 10, 11, 25, 29)):
        queue.publish(queue.chain([(AT, cut, False), (AT + cut, len(stats) - cut, False)], first=turn % 2 * 2))
        queue.kick()
        if turn:
            assert queue.take() == ((turn + 1) % 2 * 2, 0)
        got = statistics(vm)
        assert got["stat-free-memory"] == 12345 << 12 and got["stat-total-memory"] == TOTAL
    # The device keeps the buffer until it wants new figures, every two seconds of the clock.
    vm.qmp("qom-set", path="/machine/peripheral/b0", property="guest-stats-polling-interval", value=2)
    assert queue.take() == (0, 0)
    for i in range(3):
        vm.ram[AT + 2:AT + 10] = struct.pack("<Q", i)
        queue.publish(queue.chain([(AT, 30, False)]))
        queue.kick()
        assert not queue.answered() and statistics(vm)["stat-free-memory"] == i
        vm.step(2 * 10**9)
        assert queue.take() == (0, 0)
    balloon.reset()
    assert set(statistics(vm).values()) == unknown


def test_statistics_that_never_end(vm, balloon):
    """A buffer of a mebibyte, and sixteen buffers instead of one: bounded work, and the last buffer counts."""
    queue = balloon.start(features=F_STATS, index=2)
    vm.ram[PAGES:PAGES + (1 << 20)] = struct.pack("<HQ", 4, 99) * 104857 + bytes(6)
    queue.publish(queue.chain([(PAGES, 1 << 20, False)]))
    queue.kick()
    assert statistics(vm)["stat-free-memory"] == 99
    for i in range(16):
        queue.put(i, AT + 10 * i, 10)
        vm.ram[AT + 10 * i:AT + 10 * i + 10] = struct.pack("<HQ", 4, i)
    balloon.reset()
    queue = balloon.start(features=F_STATS, index=2)
    for i in range(16):
        queue.put(i, AT + 10 * i, 10)
    queue.publish(*range(16))
    queue.kick()
    assert statistics(vm)["stat-free-memory"] == 15
    assert sorted(queue.take()[0] for _ in range(15)) == list(range(15)) and not queue.answered()


def test_reported_pages_go_back_to_the_host(vm, balloon):
    for features, index in ((F_STATS | F_REPORTING, 3), (F_REPORTING, 2)):  # queues that are not there leave no gap
        queue = balloon.start(features=features, index=index)
        fill(vm, 8)
        assert queue.send([(PAGES, 4096, True), (PAGES + 2 * 4096, 2 * 4096, True), (PAGES + 5 * 4096 + 1, 4096, True)]) == 0
        assert [gone(vm, page) for page in range(8)] == [True, False, True, True, False, False, False, False]
    queue = balloon.start(features=F_REPORTING, index=3)
    queue.publish(queue.chain([(PAGES, 4096, True)]))
    queue.kick()
    assert not queue.answered(), "no queue 3 without statistics"


def test_balloon_reset_under_traffic(vm, balloon):
    """Resets while a long list is worked on: no more pages go afterwards, and the next start begins anew."""
    pages = 4096
    data = struct.pack(f"<{pages}I", *range(gpa(PAGES) >> 12, (gpa(PAGES) >> 12) + pages))
    for _ in range(10):
        queue = balloon.start()
        fill(vm, pages)
        vm.ram[AT:AT + len(data)] = data
        queue.publish(queue.chain([(AT, len(data), False)]))
        vm.send(f"writel {balloon.base + v.QUEUE_NOTIFY:#x} 0\nwritel {balloon.base + v.STATUS:#x} 0\n".encode())
        assert [vm.reply(), vm.reply()] == ["OK", "OK"]
        fill(vm, pages)
        for _ in range(5):
            vm.settle()
        assert not any(gone(vm, page) for page in range(pages))
        queue = balloon.start()
        assert inflate(queue, [gpa(PAGES) >> 12]) == 0 and gone(vm, 0) and not gone(vm, 1)
