# SPDX-License-Identifier: Apache-2.0
"""Starting a VM from a file, from older command lines, and as the documents say."""

import json
import os
import pathlib
import re
import struct
import subprocess

import pytest

import client

DOCS = pathlib.Path(client.TOP) / "docs"
PASSED = 0x10 << 1 | 1  # what the guest writes to the debug exit when all was right
SECTORS = 32768


def stratovirt(*words, status=0, stdin="", cwd=None):
    """Standard output, or standard error when a failure is expected."""
    done = subprocess.run([client.STRATOVIRT, *map(str, words)], input=stdin, capture_output=True, text=True,
                          timeout=60, cwd=cwd)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr if status == 1 else done.stdout


def json_blocks(name):
    return re.findall(r"```json\n(.*?)```", (DOCS / name).read_text(), re.S)


@pytest.fixture
def image(tmp_path):
    """A disk whose sectors hold their numbers."""
    path = tmp_path / "root.img"
    path.write_bytes(b"".join(struct.pack("<Q", i) * 64 for i in range(SECTORS)))
    return path


def front_ends(image, tmp_path):
    append = "test=blk-ro"
    old = {
        "boot-source": {"kernel_image_path": client.GUEST_ELF, "boot_args": append},
        "machine-config": {"vcpu_count": 1, "mem_size": 134217728},
        "drive": [{"drive_id": "rootfs", "path_on_host": str(image), "read_only": True, "direct": False,
                   "serial_num": "SER-123", "iothread": "io0", "iops": 100000}],
        "iothread": [{"id": "io0"}],
        "serial": {"stdio": True},
    }
    (tmp_path / "old.json").write_text(json.dumps(old))
    common = ["-kernel", client.GUEST_ELF, "-append", *append.split()]
    return {
        "current": [*common, "-m", "128", "-object", "iothread,id=io0", "-serial", "stdio",
                    "-drive", f"id=rootfs,file={image},readonly=on,direct=off,throttling.iops-total=100000",
                    "-device", "virtio-blk-device,id=rootfs,drive=rootfs,serial=SER-123,iothread=io0"],
        "old": [*common, "-m", "134217728", "-iothread", "id=io0", "-serial", "stdio", "-machine", "type=MicroVm",
                "-drive", f"id=rootfs,file={image},readonly=true,direct=false,serial=SER-123,iothread=io0,iops=100000"],
        "json": ["-config", tmp_path / "old.json"],
    }


# The bare-metal guest reads the devices from its command line, and ends the VM by the debug exit.
FOR_THE_GUEST = ["-machine", "acpi=off", "-device", "isa-debug-exit", "-no-reboot"]


def test_all_front_ends_dump_the_same(image, tmp_path):
    dumps = {stratovirt(*words, "-dump-config") for words in front_ends(image, tmp_path).values()}
    assert len(dumps) == 1


@pytest.mark.parametrize("which", ["current", "old", "json", "dumped"])
def test_each_front_end_boots(which, image, tmp_path):
    words = front_ends(image, tmp_path)["old" if which == "dumped" else which]
    if which == "dumped":
        (tmp_path / "dumped.json").write_text(stratovirt(*words, "-dump-config"))
        words = ["-config", tmp_path / "dumped.json"]
    out = stratovirt(*words, *FOR_THE_GUEST, status=PASSED)
    assert "TEST blk-ro" in out and "RESULT passed" in out


def test_a_file_comes_through_a_pipe():
    dump = stratovirt("-kernel", "k", "-dump-config")
    assert stratovirt("-config", "/dev/stdin", "-dump-config", stdin=dump) == dump


def test_a_wrong_file_is_said_with_its_path(tmp_path):
    (tmp_path / "vm.json").write_text('{"drive": [{"drive_id": "a"}]}')
    assert stratovirt("-config", "vm.json", status=1, cwd=tmp_path) == \
        "stratovirt: vm.json: drive[0].path_on_host: missing, it is required\n"


@pytest.mark.parametrize("option, words", [("-netdev", ("tap: ", "vhost-user: ", "ifname=<string>")),
                                           ("-blockdev", ("driver=<raw|throttle|", "cache.direct=<on|off>"))])
def test_back_ends_tell_their_keys(option, words):
    text = stratovirt(option, "help")
    assert all(word in text for word in words) and "default \n" not in text
    wrong = stratovirt("-accel", "test", option, "nonsense,id=n", status=1)
    assert f"{option} nonsense" in wrong and "of , " not in wrong


@pytest.mark.parametrize("words", [["-dump-config"], ["-help"], ["-device", "help"]])
def test_an_answer_that_cannot_be_written_is_a_failure(words):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([client.STRATOVIRT, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr == "stratovirt: standard output: No space left on device\n"


def test_a_serial_port_needs_its_back_end():
    assert "-serial chardev: 'chardev' is required" in stratovirt("-accel", "test", "-serial", "chardev", status=1)


def test_errors_of_devices_name_the_file_as_well(image, tmp_path):
    (tmp_path / "vm.json").write_text(json.dumps({
        "machine": {"type": "microvm"}, "kernel": client.GUEST_ELF,
        "device": [{"driver": "virtio-rng-device", "id": "r", "rng": "nobody"}]}))
    text = stratovirt("-config", "vm.json", status=1, cwd=tmp_path)
    assert text.startswith("stratovirt: vm.json: device[0] virtio-rng-device,id=r: rng=nobody: ")
    text = stratovirt("-kernel", client.GUEST_ELF, "-drive", f"id=d,file={image},serial={'x' * 21}", status=1)
    assert text.startswith("stratovirt: -drive as -device virtio-blk-device,id=d: serial=")


# ---- what the documents show ----

@pytest.mark.parametrize("text", json_blocks("config.md"), ids=["description", "old"])
def test_documented_files_boot(text, image, tmp_path):
    os.symlink(client.GUEST_ELF, tmp_path / "vmlinux")
    (tmp_path / "vm.json").write_text(text)
    dump = stratovirt("-config", "vm.json", "-dump-config", cwd=tmp_path)
    (tmp_path / "dump.json").write_text(dump)
    assert stratovirt("-config", "dump.json", "-dump-config", cwd=tmp_path) == dump
    out = stratovirt("-config", "vm.json", "-append", "test=hello", f"status={0x10}", *FOR_THE_GUEST,
                     status=PASSED, cwd=tmp_path)
    assert "hello from ring 3" in out
