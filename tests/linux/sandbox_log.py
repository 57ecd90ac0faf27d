# SPDX-License-Identifier: Apache-2.0
"""System calls outside the rules, as the kernel logs them (audit records of type 1326) for a process with -sandbox log."""

import ctypes
import os
import re
import struct
import subprocess

import vm

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
RET_LOG = struct.pack("=HBBI", 0x06, 0, 0, 0x7ffc0000)  # seccomp(2): BPF_RET | BPF_K, SECCOMP_RET_LOG
RECORD = re.compile(r"type=1326 .*?pid=(\d+) comm=(\S+) .* syscall=(\d+) ")


def thread_name(text):
    """Names with blanks in them, as those of vCPUs, are written in hexadecimal."""
    return text[1:-1] if text.startswith('"') else bytes.fromhex(text).decode(errors="replace")


def everything():
    """Of each record in the kernel's log its process, thread name and system call. The log is read once more from its beginning."""
    found = []
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            try:
                record = os.read(fd, 8192).decode(errors="replace")
            except BrokenPipeError:  # overwritten while it was read
                continue
            except BlockingIOError:
                return found
            match = RECORD.search(record)
            if match:
                found.append((int(match.group(1)), thread_name(match.group(2)), int(match.group(3))))
    finally:
        os.close(fd)


def prove():
    """Every record must come: the limits of the log are lifted, and one of our own is looked for."""
    with open("/proc/sys/kernel/printk_ratelimit", "w", encoding="ascii") as knob:
        knob.write("0")
    pid = os.fork()
    if not pid:
        libc = ctypes.CDLL(None)
        code = ctypes.create_string_buffer(RET_LOG)
        program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 1, ctypes.addressof(code)))
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        os._exit(1 if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) else 0)
    assert os.waitpid(pid, 0)[1] == 0, "no filter could be installed"
    assert pid in [record[0] for record in everything()], "the kernel does not log what filters refuse"
    return pid


# --- which requests of ioctl() a VMM made, counted by the kernel's event tracing (Documentation/trace/histogram.rst) ---

TRACING = "/sys/kernel/tracing"
EVENT = TRACING + "/events/syscalls/sys_enter_ioctl"
KVM_RUN = 0xae80


def count_requests():
    if not os.path.exists(EVENT):
        subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACING], check=True)
    with open(EVENT + "/trigger", "w", encoding="ascii") as trigger:
        trigger.write(f"hist:keys=cmd.hex:size=4096 if cmd != {KVM_RUN:#x}")


def requests():
    with open(EVENT + "/hist", encoding="ascii", errors="replace") as hist:
        return {int(number, 16) for number in re.findall(r"cmd: *([0-9a-f]+) *}", hist.read())}


def request_numbers(names):
    """{name: number}, as the rules have them."""
    lines = subprocess.run([os.path.join(vm.TOP, "build", "seccomp-compile"), "x86_64", "list"], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.splitlines()
    return {words[5]: int(words[4], 16) for words in map(str.split, lines) if len(words) > 5 and words[5] in names}
