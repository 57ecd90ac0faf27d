# SPDX-License-Identifier: Apache-2.0
"""Guest memory from hugetlbfs."""

import os

import pytest

import vm

MIB = 256
PAGES = MIB // 2


@pytest.fixture(scope="module")
def guest(new_guest, reserve_huge_pages):
    if not os.path.isdir("/dev/hugepages"):
        pytest.fail("no hugetlbfs is mounted on /dev/hugepages")
    reserve_huge_pages(PAGES)
    free = vm.huge_pages()[1]
    guest = new_guest()
    guest.free_before = free
    guest.files_before = os.listdir("/dev/hugepages")
    return guest.run("-mem-path", "/dev/hugepages", "-mem-prealloc", "-no-reboot",
                     memory=str(MIB), script="echo '== memory'; grep MemTotal /proc/meminfo")


def test_guest_runs_on_huge_pages(guest):
    guest.check_finished()
    assert int(guest.section("memory").split()[1]) > MIB * 1024 * 0.8


def test_all_memory_is_huge_pages(guest):
    assert guest.huge_pages_in_use >= PAGES


def test_huge_pages_are_given_back(guest):
    assert vm.huge_pages()[1] == guest.free_before
    assert os.listdir("/dev/hugepages") == guest.files_before
