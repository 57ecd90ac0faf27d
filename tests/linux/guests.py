# SPDX-License-Identifier: Apache-2.0
"""The fixture of every case that boots guests."""

import pytest

import vm


@pytest.fixture(scope="module")
def new_guest():
    """A factory of guests that live until the module's tests are done."""
    guests = []

    def make():
        guests.append(vm.Guest())
        return guests[-1]

    yield make
    for guest in guests:
        guest.__exit__()
