# SPDX-License-Identifier: Apache-2.0
"""What the cases of the linux ring share; tests/linux/run runs them."""

import os
import sys

import pytest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "seccomp")]
import elsewhere  # noqa: E402
import sandbox_log  # noqa: E402
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


@pytest.fixture(scope="session", autouse=True)
def no_call_is_outside_the_rules():
    """With tests/linux/logged in the VMM's place: at the end the kernel must not have logged any system call of a VMM."""
    if os.path.basename(vm.STRATOVIRT) != "logged":
        yield  # a call outside the rules ends the VM, and vm.Guest says so
        return
    own = sandbox_log.prove()
    sandbox_log.count_requests()
    yield
    outside = sorted({(name, call) for pid, name, call in sandbox_log.everything() if pid != own})
    print(f"sandbox log: calls outside the rules: {outside}", file=sys.stderr)
    assert not outside
    if "SV_WHOLE_RING" in os.environ:
        made, numbers = sandbox_log.requests(), sandbox_log.request_numbers(elsewhere.BY_LINUX_GUESTS)
        unused = [name for name in elsewhere.BY_LINUX_GUESTS if numbers[name] not in made]
        print(f"sandbox log: requests that only rules make: {unused}", file=sys.stderr)
        assert not unused
