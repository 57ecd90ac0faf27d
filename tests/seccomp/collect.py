#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What each kind of thread asked of the kernel after it was confined, from traces that tests/seccomp/traced made (numbers raw).

    collect.py DIRECTORY        prints "kind call [detail]" with a count, a line each
"""

import collections
import os
import re
import sys

LINE = re.compile(r"^(\d+) +(\w+)\((.*)")
DETAIL = {"ioctl": 1, "prctl": 0, "socket": 0, "seccomp": 0, "prlimit64": 0}  # which argument rules look at
PR_SET_NAME, SECCOMP_SET_MODE_FILTER = 0xf, 0x1


def detail(call, arguments):
    """The number that rules of this call look at; None: they look at none."""
    if call not in DETAIL:
        return None
    number = re.match(r"0x[0-9a-f]+|\d+", arguments.split(", ")[DETAIL[call]])
    return int(number.group(), 0) & 0xffffffff


NAMED = re.compile(rf'{PR_SET_NAME:#x}, "([^"]*)"')
KINDS = ((r"CPU \d+/KVM", "vcpu"), (r"block-worker", "worker"), (r"setup", "setup"), (r"mem-prealloc", "startup"),
         (r".*", "iothread"))


def used(path):
    """Yields (kind, call, detail, line) for each system call of a confined thread. A thread that never got a name is main's. One that began
    when main was confined has the setup thread's filter until it gets its own."""
    kinds, confined, first, before = {}, set(), None, set()
    with open(path, errors="replace") as trace:
        for line in trace:
            match = LINE.match(line)
            if not match:
                continue
            tid, call, arguments = match.groups()
            name = NAMED.match(arguments) if call == "prctl" else None
            if name:
                kinds[tid] = next(kind for pattern, kind in KINDS if re.fullmatch(pattern, name.group(1)))
            first = first or tid
            if first not in confined:
                before.add(tid)
            if tid in confined:
                yield kinds.get(tid, "main"), call, detail(call, arguments), line
            elif tid not in before:
                yield "setup", call, detail(call, arguments), line
            if call == "seccomp" and detail(call, arguments) == SECCOMP_SET_MODE_FILTER:
                confined.add(tid)


def main():
    counts = collections.Counter()
    for name in os.listdir(sys.argv[1]):
        for key in used(os.path.join(sys.argv[1], name)):
            counts[key[:3]] += 1
    for key, count in sorted(counts.items()):
        print(*key, count)


if __name__ == "__main__":
    main()
