# SPDX-License-Identifier: Apache-2.0
"""What the cases of the linux ring share; tests/linux/run runs them."""

import os
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import vm  # noqa: E402
from guests import new_guest  # noqa: E402,F401


@pytest.fixture(scope="session")
def reserve_huge_pages():
    """Makes sure that so many huge pages are free; gives them back at the end."""
    knob = "/proc/sys/vm/nr_hugepages"
    before = vm.huge_pages()[0]

    def reserve(count):
        total, free = vm.huge_pages()
        if free < count:
            with open(knob, "w") as f:
                f.write(str(total + count - free))
        total, free = vm.huge_pages()
        if free < count:
            pytest.fail(f"this host has {free} free huge pages of {count} needed")

    yield reserve
    if vm.huge_pages()[0] != before:
        with open(knob, "w") as f:
            f.write(str(before))
