# SPDX-License-Identifier: Apache-2.0
"""Errors of the host on demand, by way of tests/fault/shim.c: rules that a test changes while the VMM runs."""

import errno
import mmap
import os
import struct
import subprocess

import guest

LIBRARY = os.environ.get("FAULT_LIB") or os.path.join(guest.TOP, "build", "fault.so")
READ, WRITE, SYNC, ALLOCATE, MAP, SIZE = 1, 2, 3, 4, 5, 6
SHORT, COUNT = 0, -1
RULE, RULES = 64, 8


class Faults:
    def __init__(self, folder):
        subprocess.run(["make", "-s", "faults"], cwd=guest.TOP, check=True)
        path = os.path.join(folder, "rules")
        with open(path, "w+b") as f:
            f.truncate(RULE * RULES)
            self.rules = mmap.mmap(f.fileno(), RULE * RULES)
        self.version = 0
        self.env = {"LD_PRELOAD": LIBRARY, "FAULT_RULES": path,
                    "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}

    def set(self, op, error=errno.EIO, every=1, limit=0, match="disk", index=0):
        """From now on each @every-th call fails, @limit times. @match: part of the file's name; requests of io_uring and memory have none."""
        self.clear(index)
        struct.pack_into("<iIIII40s", self.rules, RULE * index + 4, error, every, limit, 0, 0, match.encode())
        self._tag(index, op)
        return self

    def clear(self, index=0):
        self._tag(index, 0)

    def _tag(self, index, op):
        """A thread of the VMM may be reading the rule: each change has a version of its own, by which it notices."""
        self.version += 1
        struct.pack_into("<I", self.rules, RULE * index, op | self.version % 0xffffff << 8)

    def hits(self, index=0):
        return struct.unpack_from("<I", self.rules, RULE * index + 20)[0]
