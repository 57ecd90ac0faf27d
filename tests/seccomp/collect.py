#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What each kind of thread asked of the kernel after it was confined, from traces that tests/seccomp/traced made.

    collect.py DIRECTORY        prints "kind call [detail]" with a count, a line each
"""

import collections
import os
import re
import sys

LINE = re.compile(r"^(\d+) +(\w+)\((.*)")
DETAIL = {"ioctl": 1, "prctl": 0, "fcntl": 1, "socket": 0, "clone": None}


def detail(call, arguments):
    if call not in DETAIL or DETAIL[call] is None:
        return ""
    parts = arguments.split(", ")
    return parts[DETAIL[call]].split(" ")[0].rstrip(")") if len(parts) > DETAIL[call] else "?"


NAMED = re.compile(r'PR_SET_NAME, "([^"]*)"')
KINDS = ((r"CPU \d+/KVM", "vcpu"), (r"block-worker", "worker"), (r"setup", "setup"), (r"mem-prealloc", "startup"),
         (r".*", "iothread"))


def used(path):
    """Yields (kind, call, detail) for each system call of a confined thread. A thread that never got a name is main's; so is,
    until it has a filter of its own, one that began when main had one: it has main's."""
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
                yield kinds.get(tid, "main"), call, detail(call, arguments)
            elif tid not in before:
                yield "main", call, detail(call, arguments)
            if call == "seccomp" and arguments.startswith("SECCOMP_SET_MODE_FILTER"):
                confined.add(tid)


def main():
    counts = collections.Counter()
    for name in os.listdir(sys.argv[1]):
        for key in used(os.path.join(sys.argv[1], name)):
            counts[key] += 1
    for key, count in sorted(counts.items()):
        print(*key, count)


if __name__ == "__main__":
    main()
