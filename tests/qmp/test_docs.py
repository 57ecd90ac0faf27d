# SPDX-License-Identifier: Apache-2.0
"""Every command line of README and docs is run: with files in place of those it names, paused, and ended by QMP."""

import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import subprocess

import pytest

from client import Client, GUEST_ELF, LIMIT, STRATOVIRT, VM, listens, wait_for

TOP = pathlib.Path(__file__).resolve().parents[2]
CTL = os.environ.get("STRATOVIRT_CTL") or os.path.join(os.path.dirname(STRATOVIRT), "stratovirt-ctl")
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]

# What a host may lack, and what is then to be said about it.
MAY_LACK = {
    "/dev/hugepages": r"huge ?pages|hugetlbfs|/dev/hugepages", "hugetlb=on": r"\d+M pages|\d+G pages|huge", "vhost-vsock-": r"/dev/vhost-vsock",
    "vhost=on": r"/dev/vhost-net", "/usr/share/OVMF": r"/usr/share/OVMF", "tap": r"/dev/net/tun|not permitted",
}
# Another architecture's, and what is no VM of ours.
ELSEWHERE = re.compile(r"-machine (type=)?virt\b|qemu-system|\bvirsh\b")


def code_lines(page):
    """The indented lines of a page, those that end in a backslash joined."""
    held = ""
    for line in re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M).splitlines():
        if not line.startswith("    ") or line.lstrip().startswith("|"):
            held = ""
            continue
        held += line.strip()
        if held.endswith("\\"):
            held = held[:-1]
            continue
        yield held
        held = ""


def examples(pattern):
    for page in PAGES:
        for line in code_lines(page):
            # What follows two blanks, or a number sign, is said about it.
            line = re.split(r"\s{2,}(?=[A-Za-z#])|\s+#", line)[0] if not line.startswith("{") else line
            if re.match(pattern, line) and not ELSEWHERE.search(line):
                yield pytest.param(line, id=f"{page.name}: {line[:60]}")


class Folder:
    """Files of the names that examples use, and their paths put there."""

    def __init__(self, path):
        self.path = path
        for name in ("vmlinuz", "vmlinux", "vmlinux.bin"):
            shutil.copy(GUEST_ELF, path / name)
        for name in ("initrd", "initrd.img", "root.img", "data.img", "disk.img", "disk2.img"):
            (path / name).write_bytes(bytes(8 << 20))
        (path / "vars.fd").write_bytes(bytes(64 << 10))
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path / "passt.socket"))
        self.listener.listen()
        # A namespace of its own, so that taps of examples meet nobody's.
        tun = os.access("/dev/net/tun", os.R_OK | os.W_OK)
        self.prefix = ["unshare", "--net"] if tun and os.geteuid() == 0 and shutil.which("unshare") else []

    def here(self, line):
        line = re.sub(r"/(run|var/log|srv|tmp)/[\w./-]*?([\w.-]+)(?=[\s,\"']|$)", rf"{self.path}/\2", line)
        return re.sub(r"\b4G\b", "1G" if "1G" in line else "256M", line)

    def start(self, words):
        command = [*self.prefix, STRATOVIRT, *words]
        return subprocess.Popen(command, cwd=self.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True)

    def run(self, words, line):
        """Starts the VM and ends it again, or finds that the host lacks what it needs."""
        sock = str(self.path / "example.qmp")
        process = self.start([*words, "-S", "-qmp", f"unix:{sock},server,nowait"])
        try:
            wait_for(lambda: process.poll() is not None or listens(sock))
            if process.poll() is None:
                with Client(sock) as q:
                    assert q.run("query-status")["status"] == "prelaunch"
                    q.run("quit")
                assert process.wait(LIMIT) == 0, process.stderr.read()
                return
            error = process.stderr.read()
            lacks = [text for what, text in MAY_LACK.items() if what in line]
            assert process.returncode == 1 and any(re.search(text, error) for text in lacks), error
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()


@pytest.fixture
def folder(tmp_path):
    found = Folder(tmp_path)
    yield found
    found.listener.close()


@pytest.mark.parametrize("line", examples(r"(build/)?stratovirt -(?!accel test|help|h\b)(?!config vm.json)"))
def test_a_command_line(folder, line):
    words = shlex.split(folder.here(line))[1:]
    if ">" not in words:
        return folder.run(words, line)
    # A description, and what the next line of the page does with it.
    process = folder.start(words[:words.index(">")])
    out, error = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, error
    (folder.path / words[-1]).write_text(out)
    folder.run(["-config", words[-1]], line)


@pytest.mark.parametrize("line", examples(r"-[a-z]"))
def test_an_option(folder, line):
    words = shlex.split(folder.here(line))
    folder.run([*([] if "-machine" in words else ["-machine", "microvm"]), *([] if "-m" in words else ["-m", "128"]),
                *([] if "-kernel" in words else ["-kernel", "vmlinux"]), *words], line)


def test_what_the_small_client_is_given(tmp_path):
    """In the order of the page, to one VM."""
    here = Folder(tmp_path)
    lines = [e.values[0] for e in examples(r"stratovirt-ctl (?!\[)")]
    assert len(lines) > 8
    env = {**os.environ, "STRATOVIRT_LOG_LEVEL": "debug"}
    with VM(tmp_path, "-D", "vm.log", cwd=tmp_path, env=env) as vm:
        def clients():
            return (tmp_path / "vm.log").read_text().count(": qmp_capabilities\n")

        vm.wait_for(vm.path)
        for line in lines:
            words = [vm.path if re.search(r"/(vm\.)?sock$|\.sock$", w) else w for w in shlex.split(here.here(line))]
            if "SHUTDOWN" in words:
                continue  # the last of them below
            done = subprocess.run([CTL, *words[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT)
            assert done.returncode == 0, (line, done.stderr)
        before = clients()
        watcher = subprocess.Popen([CTL, "--events", "--count", "1", "--timeout", "60", vm.path, "SHUTDOWN"],
                                   stdout=subprocess.PIPE, text=True)
        wait_for(lambda: clients() > before)
        with vm.connect() as q:
            q.run("quit")
        assert watcher.communicate(timeout=LIMIT)[0].count("SHUTDOWN") == 1 and watcher.returncode == 0
        vm.end(0)


@pytest.mark.parametrize("line", examples(r'\{"execute"'))
def test_a_qmp_message(line):
    """It is JSON, a command of ours, and its arguments are those that the command knows."""
    message = json.JSONDecoder().raw_decode(line)[0]
    text = (TOP / "docs/qmp.md").read_text()
    section = re.search(rf"^### {re.escape(message['execute'])}$(.*?)^###? ", text + "\n## ", re.M | re.S)
    assert section, message["execute"]
    known = set(re.findall(r"^\| `([^`]+)`", section.group(1), re.M))
    # These take the keys of the option beside those of the table.
    if message["execute"] not in ("device_add", "blockdev-add", "netdev_add", "object-add"):
        assert set(message.get("arguments", {})) <= known
