# SPDX-License-Identifier: Apache-2.0
"""Every command line of docs/devices.md does what it says there: the VM comes up and answers. Without its kernel, which the
test accelerator does not need; files that it names are made, sockets and taps are in a folder and a network of the test's own."""

import json
import os
import pathlib
import platform
import re
import shlex
import socket
import subprocess
import tempfile
import time

import guest
import pytest

DOCS = os.path.join(guest.TOP, "docs", "devices.md")
AARCH64 = os.path.join(guest.TOP, "build", "aarch64", "stratovirt")
NOT_HERE = ("-kernel", "-initrd", "-append")  # of the guest's own


def command_lines():
    """[(section, [words], the line before if it is a command as well)]"""
    found, section, lines = [], None, open(DOCS, encoding="utf-8").read().splitlines()
    for i, line in enumerate(lines):
        if line.startswith("## "):
            section = line[3:]
        if not line.startswith("    stratovirt "):
            continue
        text = line.strip()
        while text.endswith("\\"):
            i += 1
            text = text[:-1] + lines[i].strip()
        before = next((previous.strip() for previous in lines[lines.index(line) - 1:lines.index(line)]
                       if previous.startswith("    cp ")), None)
        found.append((section, shlex.split(text), before))
    return found


LINES = command_lines()


def test_each_section_has_one():
    sections = re.findall("^## (.*)$", open(DOCS, encoding="utf-8").read(), re.M)
    assert set(sections) == {section for section, _, _ in LINES} and len(LINES) > 12


def prepare(words, folder):
    """The command, whose files are there."""
    kept, skip = [], False
    for word in words[1:]:
        if skip or word in NOT_HERE:
            skip = not skip
            continue
        kept.append(word.replace("/run/vm1/", f"{folder}/").replace("/run/user/1000/", f"{folder}/")
                    .replace("/run/", f"{folder}/"))
    for name in re.findall(r"file(?:name)?=([\w.-]+\.img)", " ".join(kept)):
        (folder / name).write_bytes(bytes(1 << 20))
    return kept


def peers(kept):
    """Who must listen before the VM starts."""
    listeners = []
    for path in re.findall(r"server=off,\S*addr\.path=([^,\s]+)", " ".join(kept)):
        listeners.append(socket.socket(socket.AF_UNIX))
        listeners[-1].bind(path)
        listeners[-1].listen(1)
    return listeners


@pytest.fixture
def folder():
    """With a name that leaves room for those of sockets."""
    with tempfile.TemporaryDirectory(prefix="sv-") as path:
        yield pathlib.Path(path)


def stratovirt(words):
    """Another machine's binary runs under qemu-user, where a filter for its system calls would end the emulator."""
    if "virt" not in words or platform.machine() == "aarch64":
        return [guest.STRATOVIRT]
    subprocess.run(["make", "--no-print-directory", "-j2", "ARCH=aarch64", "CROSS_COMPILE=aarch64-linux-gnu-", AARCH64[len(guest.TOP) + 1:]],
                   cwd=guest.TOP, check=True, stdout=subprocess.DEVNULL)
    return ["qemu-aarch64-static", AARCH64, "-disable-seccomp"]


def answer(path, process):
    """To query-status."""
    end = time.monotonic() + guest.LIMIT
    while True:
        try:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(path))
            break
        except OSError:
            sock.close()
            if process.poll() is not None:
                return None
            assert time.monotonic() < end, "no monitor"
            time.sleep(0.02)
    sock.settimeout(guest.LIMIT)
    with sock, sock.makefile("rw", encoding="utf-8") as monitor:
        for command in ("qmp_capabilities", "query-status", "quit"):
            monitor.write(json.dumps({"execute": command, "id": command}) + "\n")
            monitor.flush()
            if command == "quit":
                return status
            while (message := json.loads(monitor.readline())).get("id") != command:
                pass
            status = message["return"]


@pytest.mark.parametrize("section, words, before", LINES, ids=[f"{section}-{n}" for n, (section, *_) in enumerate(LINES)])
def test_a_command_line_works(section, words, before, folder):
    if before:
        subprocess.run(before, shell=True, cwd=folder, check=True)
    kept = prepare(words, folder)
    listeners = peers(kept)
    namespace = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])] if "tap" in " ".join(kept) else []
    command = [*namespace, *stratovirt(words), *kept, "-accel", "test", "-qtest", f"unix:{folder}/qtest,server",
               "-qmp", f"unix:{folder}/monitor,server,nowait"]
    with open(folder / "errors", "w+b") as errors:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                                   preexec_fn=guest.die_with_parent)
        try:
            status = answer(folder / "monitor", process)
            assert process.wait(guest.LIMIT) == (0 if status else 1)
        finally:
            process.kill()
            process.wait()
            for listener in listeners:
                listener.close()
        errors.seek(0)
        said = errors.read().decode()
    # What the host does not have is said; the ring with a kernel that has it goes on from there.
    if not status and section == "vsock" and not os.path.exists("/dev/vhost-vsock"):
        assert "/dev/vhost-vsock" in said
        return
    assert status and status["status"] in ("running", "prelaunch"), said
