# SPDX-License-Identifier: Apache-2.0
"""The rules of src/seccomp/rules.c against what a VMM needs: the guest and qmp rings, whose clients plug and unplug, and what of the
device ring has iothreads or peers run once more, watched by strace, with forbidden calls let through. No thread may leave its rules,
and no rule may be there for nothing. (In the linux ring every VM runs with the sandbox on: a call outside the rules ends it.)
"""

import os
import re
import subprocess
import sys

import pytest

import collect
import elsewhere

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.path.join(TOP, "build")

# Rules that these runs do not reach, and why they are there. (kind, call or ioctl) -> reason.
EVERYWHERE = {
    "clock_gettime": "the vDSO answers on this host",
    "exit": "the last call of a thread, which strace may not see in a process that ends",
    "exit_group": "another thread may have ended the process",
    "mmap": "depends on what malloc has left",
    "munmap": "depends on what malloc has left",
    "readv": "depends on who is first",
    "writev": "depends on who is first",
    "rt_sigprocmask": "depends on when a thread begins",
    "rt_sigreturn": "depends on when a signal arrives",
    "futex": "depends on who is first",
}


KINDS = ("main", "vcpu", "iothread", "worker", "setup")

EXAMPLES = {}  # of each call a line of a trace

# How many must pass at least, and pytest's arguments. Of the device ring what has an iothread or a peer on the host.
RUNS = (
    (300, "-k", "not ten_seconds and not bench and not nobody_named",
     "--ignore=tests/qmp/test_probe.py",  # strace holds pipes open
     "tests/guest", "tests/qmp"),
    (30, "-k", "(iothread or a_pause or replaced or silent or would_block or test_server or balloon or threads-mmio) and not "
               "does_not_read and not many_connections and not dies_under_traffic",
     "tests/device/test_virtio_vsock.py", "tests/device/test_vhost_user.py", "tests/device/test_netdev_stream.py",
     "tests/device/test_virtio_balloon.py"),
    (4, "-k", "threads and mmio and not iothread", "tests/device/test_virtio_blk.py"),
    (1, "-k", "writes_through", "tests/device/test_firmware.py"),
)


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """{kind: {call: set of details}} of all confined threads."""
    home = tmp_path_factory.mktemp("traces")
    (home / "bin").mkdir()
    (home / "traces").mkdir()
    os.symlink(os.path.join(TOP, "tests/seccomp/traced"), home / "bin/stratovirt")
    os.symlink(os.path.join(BUILD, "stratovirt-ctl"), home / "bin/stratovirt-ctl")
    env = {**os.environ, "SV_TRACES": str(home / "traces"), "SV_TRACED": os.path.join(BUILD, "stratovirt"),
           "STRATOVIRT": str(home / "bin/stratovirt")}
    for expected, *which in RUNS:
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *which], cwd=TOP, env=env,
                              timeout=900, stdin=subprocess.DEVNULL, text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        # Whether they pass is judged in their own rings: some have limits of time, which strace does not keep.
        passed = re.search(r"(\d+) passed", done.stdout)
        assert passed and int(passed.group(1)) >= expected, done.stdout[-4000:]
    calls = {}
    for name in os.listdir(home / "traces"):
        for kind, call, detail, line in collect.used(home / "traces" / name):
            calls.setdefault(kind, {}).setdefault(call, set()).add(detail)
            EXAMPLES.setdefault(call, f"{kind}, {name}: {line}")
    # Threads that the setup thread starts have its filter, too: whatever they do must pass there.
    for kind in "vcpu", "iothread", "worker":
        for call, details in calls[kind].items():
            calls["setup"].setdefault(call, set()).update(details)
    assert set(KINDS) == set(calls) - {"startup"}
    return calls


@pytest.fixture(scope="module")
def rules():
    """{kind: {call: permitted}}; a call answered with an error is not permitted."""
    lines = subprocess.run([os.path.join(BUILD, "seccomp-compile"), os.uname().machine, "list"], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.splitlines()
    table = {}
    for line in lines:
        kind, call, *rest = line.split()
        table.setdefault(kind, {})[call] = not any(word.startswith("errno=") for word in rest)
    return table


@pytest.fixture(scope="module")
def rows():
    """[(kind, call, value of the argument, its name)] of the rules that look at one whole argument."""
    lines = subprocess.run([os.path.join(BUILD, "seccomp-compile"), os.uname().machine, "list"], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.splitlines()
    words = [line.split() for line in lines]
    return [(w[0], w[1], int(w[4], 16), w[5]) for w in words if len(w) > 5 and int(w[3], 16) == 0xffffffff]


@pytest.mark.parametrize("kind", KINDS)
def test_no_call_is_outside_the_rules(used, rules, kind):
    outside = set(used[kind]) - set(rules[kind])
    assert not outside, [EXAMPLES[call] for call in outside]


def test_no_row_is_there_for_nothing(used, rows):
    """A request of ioctl(), a family of sockets ... that no thread uses which may."""
    unused = {}
    for kind, call, value, meaning in rows:
        if value not in used[kind].get(call, ()):
            unused.setdefault(meaning, set()).add(kind)
    # A row that several kinds of thread share must be used by one of them.
    for kind, call, value, meaning in rows:
        if meaning in unused and value in used[kind].get(call, ()):
            del unused[meaning]
    assert set(unused) - set(elsewhere.BY_LINUX_GUESTS) - set(elsewhere.OTHERS) == set()


# What chance decides, by kind of thread.
RARE = {
    "main": {},
    "vcpu": dict.fromkeys(("ppoll", "epoll_ctl", "eventfd2", "close"), "it runs what is the main loop's, while that waits for a pause"),
    "iothread": {},
    "worker": {"ioctl": "the terminal, when the sandbox ends the thread"},
    "setup": {},
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_rule_is_there_for_nothing(used, rules, kind):
    permitted = {call for call, yes in rules[kind].items() if yes}
    assert permitted - set(used[kind]) - set(EVERYWHERE) - set(RARE[kind]) == set()


def test_threads_that_start_later_have_all_of_their_rules():
    """The setup thread starts them, and its filter goes with them."""
    for arch in "x86_64", "aarch64":
        table = {}
        for line in subprocess.run([os.path.join(BUILD, "seccomp-compile"), arch, "list"], check=True, text=True,
                                   stdout=subprocess.PIPE).stdout.splitlines():
            kind, rule = line.split(" ", 1)
            table.setdefault(kind, set()).add(rule)
        calls = {rule.split()[0] for rule in table["setup"]}
        for kind in "vcpu", "iothread", "worker":
            missing = {rule for rule in table[kind] - table["setup"] if " errno=" not in rule or rule.split()[0] not in calls}
            assert not missing, (arch, kind, missing)


def test_a_thread_may_do_little(rules):
    """The bars: system calls that a thread which serves guests may make after the start."""
    def count(kind):
        return sum(rules[kind].values())

    assert count("main") <= 40 and count("vcpu") <= 20 and count("worker") <= 20 and count("iothread") <= 20
