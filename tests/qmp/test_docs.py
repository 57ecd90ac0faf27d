# SPDX-License-Identifier: Apache-2.0
"""Every command line of README and docs is run: with files in place of those it names, paused, and ended by QMP; every description in
JSON is started, every message that is quoted provoked. What no test knows how to run may not stand there."""

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
VIRT = re.compile(r"-machine (type=)?virt\b")
ELSEWHERE = re.compile(VIRT.pattern + r"|qemu-system|\bvirsh\b")
# Programs of the host: tests/libvirt has what is said to libvirt, test_make what is said to make.
HOST = ("apt install ", "make", "sudo make ", "virsh ", "virt-install ", "passt --socket ", "cp /usr/share/OVMF/")


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


def examples(pattern, elsewhere=ELSEWHERE):
    for page in PAGES:
        for line in code_lines(page):
            # What follows two blanks, or a number sign, is said about it.
            line = re.split(r"\s{2,}(?=[A-Za-z#])|\s+#", line)[0] if not line.startswith("{") else line
            if re.match(pattern, line) and not (elsewhere and elsewhere.search(line)):
                yield pytest.param(line, id=f"{page.name}: {line[:60]}")


def fences(language):
    """[(page, text)] of the blocks between fences."""
    return [(page.name, text) for page in PAGES
            for found, text in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), flags=re.S | re.M) if found == language]


class Folder:
    """Files of the names that examples use, and their paths put there."""

    def __init__(self, path):
        self.path = path
        for name in ("vmlinuz", "vmlinux", "vmlinux.bin"):
            shutil.copy(GUEST_ELF, path / name)
        for name in ("initrd", "initrd.img", "root.img", "data.img", "disk.img", "disk2.img", "web.img"):
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


@pytest.mark.parametrize("text", [pytest.param(text, id=f"{page} {n}") for n, (page, text) in enumerate(fences("json"))])
def test_a_description(folder, text):
    (folder.path / "vm.json").write_text(text)
    folder.run(["-config", "vm.json"], text)


def test_messages_about_descriptions(folder):
    """As docs/config.md quotes them."""
    bad = {"drive[0].path_on_host": {"boot-source": {"kernel_image_path": "vmlinux"}, "drive": [{"drive_id": "d", "read_only": False, "direct": False}]},
           "smp.cpus": {"machine": {"type": "microvm"}, "smp": {"cpus": 255}, "kernel": "vmlinux"}}
    quoted = [e.values[0] for e in examples("stratovirt: ")]
    assert len(quoted) == len(bad)
    for message in quoted:
        description, = [value for key, value in bad.items() if f" {key}" in message]
        (folder.path / "vm.json").write_text(json.dumps(description))
        process = folder.start(["-config", "vm.json"])
        assert process.communicate(timeout=LIMIT)[1] == message + "\n" and process.returncode == 1


@pytest.mark.parametrize("line", examples(r"stratovirt .*-machine (type=)?virt\b", elsewhere=None))
def test_a_command_line_for_the_other_architecture(folder, line):
    """Parsed here; tests/device/test_documented.py and tests/aarch64 run the like."""
    process = folder.start([*shlex.split(line)[1:], "-dump-config"])
    out, error = process.communicate(timeout=LIMIT)
    assert process.returncode == 0 and json.loads(out)["machine"]["type"] == "virt", error


@pytest.mark.parametrize("line", examples(r"stratovirt -accel test"))
def test_a_command_line_of_the_test_accelerator(folder, line):
    """With a client that listens, or one that comes."""
    path, here = f"{folder.path}/client", line.replace("PATH", f"{folder.path}/client")
    assert here != line
    with socket.socket(socket.AF_UNIX) as client:
        if ",server" not in line:
            client.bind(path)
            client.listen()
            client.settimeout(LIMIT)
        process = folder.start(shlex.split(here)[1:])
        try:
            if ",server" in line:
                wait_for(lambda: listens(path))
            else:
                client.accept()[0].close()
        finally:
            process.kill()
            process.communicate()


def test_a_jail(folder):
    """The launcher knows the options before "--"; what is behind them starts. tests/jail shows what they do."""
    (page, text), = fences("")
    words = shlex.split(text.replace("\\\n", " "))
    split = words.index("--")
    program = os.path.join(os.path.dirname(CTL), words[0])
    known = subprocess.run([program, "-help"], capture_output=True, text=True, check=True).stdout
    for option in words[1:split]:
        assert not option.startswith("-") or re.search(rf"^  {option}\b", known, re.M), option
    inside = words[split + 1:]
    at = inside.index("-qmp")
    assert page == "security.md" and inside[at + 1] == "unix:qmp.sock,server,nowait"
    folder.run(inside[:at] + inside[at + 2:], text)


@pytest.mark.parametrize("words", sorted({tuple(words.split()) for words in re.findall(
    r"`(?:stratovirt )?(-[a-z]+ help|-help)`", "".join(page.read_text() for page in PAGES))} | {("-device", "virtio-blk-pci,help")}))
def test_an_answer(folder, words):
    out, error = folder.start(words).communicate(timeout=LIMIT)
    assert len(out.splitlines()) > 1 and error == ""


@pytest.mark.parametrize("line", sorted(set(re.findall(r"(?:`|^    (?:sudo )?)(make(?: [\w=/,.+-]+)*)", "".join(
    page.read_text() for page in PAGES if page.name in ("README.md", "libvirt.md")), re.M))))
def test_make(tmp_path, line):
    """It knows what to do. Nothing is done."""
    done = subprocess.run([*line.split(), "-n", f"O={tmp_path}/build"] if " O=" not in line else [*line.split(), "-n"], cwd=TOP,
                          capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr


def test_nothing_stands_there_untested():
    ours = re.compile(r'(build/)?stratovirt[: ]|stratovirt-ctl |-[a-z]|\{"execute"', re.I)
    unknown = [f"{page.name}: {line}" for page in PAGES for line in code_lines(page)
               if not ours.match(line) and not line.startswith(HOST)]
    assert unknown == []
    assert {language for page in PAGES for language in re.findall(r"^```(\w+)$", page.read_text(), re.M)} == {"json", "xml"}


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
