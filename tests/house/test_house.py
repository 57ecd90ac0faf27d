# SPDX-License-Identifier: Apache-2.0
"""The promises of the source tree itself: rooms, headers, file sizes, and every way to build."""

import os
import pathlib
import re
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]

# Floors of the house (docs/architecture.md). A room includes headers of lower floors, of its own room, and,
# on one floor, of rooms named before it.
FLOORS = ["util", "config", "memory", "cpu", "interrupt", "chardev", "block", "net", "devices", "pci", "virtio",
          "boot", "machine", "qmp", "seccomp"]


def sources(*suffixes):
    for folder in ("src", "include"):
        for path in sorted((TOP / folder).rglob("*")):
            if path.suffix in suffixes:
                yield path


def room_of(path):
    parts = path.relative_to(TOP).parts
    return parts[1] if len(parts) > 2 else None  # src/main.c stands above all rooms


def test_every_folder_is_a_room():
    for folder in ("src", "include"):
        rooms = {path.name for path in (TOP / folder).iterdir() if path.is_dir()}
        assert rooms <= set(FLOORS)


def test_rooms_include_only_lower_floors():
    wrong = []
    for path in sources(".c", ".h"):
        room = room_of(path)
        if room is None:
            continue
        for name in re.findall(r'^\s*#\s*include\s+"([a-z_]+)/', path.read_text(), re.M):
            if name in FLOORS and FLOORS.index(name) > FLOORS.index(room):
                wrong.append(f"{path.relative_to(TOP)} includes {name}/")
    assert not wrong, "\n".join(wrong)


def test_no_file_grew_a_second_concept():
    long = [f"{path.relative_to(TOP)}" for path in sources(".c", ".h")
            if len(path.read_text().splitlines()) > 1000]
    assert not long


def test_nothing_is_left_unfinished():
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    left = [f"{path.relative_to(TOP)}" for path in sources(".c", ".h") if marks.search(path.read_text())]
    assert not left


def test_every_file_names_its_licence():
    listed = subprocess.run(["git", "ls-files"], cwd=TOP, capture_output=True, text=True, check=True).stdout.split()
    wrong = []
    for path in [TOP / name for name in listed]:
        with open(path, "rb") as f:
            head = b"".join(f.readline() for _ in range(3)).decode(errors="replace")
        program = path.suffix in (".c", ".h", ".S", ".py", ".mk", ".ld") or head.startswith("#!")
        # A module of the kernel names the kernel's licence as well.
        if program and not re.search(r"SPDX-License-Identifier: Apache-2\.0( OR GPL-2\.0)?( \*/)?$", head, re.M):
            wrong.append(str(path.relative_to(TOP)))
    assert not wrong


# The kernel has several calls for each of these; filters know the one that src/util/fd.c makes. Signals: src/util/thread.c.
SPELLINGS = ("read write pread pwrite pread64 pwrite64 recv recvfrom send sendto poll select stat fstat lstat access raise "
             "pthread_kill usleep nanosleep pthread_cond_timedwait sem_timedwait").split()


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.S)


def test_one_system_call_for_one_thing():
    """A thread that makes the other one is ended by its filter, maybe only with another libc."""
    call = re.compile(r"(?<![\w.>\"])(" + "|".join(SPELLINGS) + r")\(")
    found = []
    for path in sources(".c"):
        if path.relative_to(TOP).as_posix() in ("src/util/fd.c", "src/util/thread.c"):
            continue
        for number, line in enumerate(without_comments(path.read_text()).split("\n"), 1):
            if call.search(line) and not line.lstrip().startswith("raise(sig)"):
                found.append(f"{path.relative_to(TOP)}: {line.strip()}")
    assert not found, "\n".join(found)


def test_what_shows_a_defence_is_there():
    """docs/security.md names a test for each row of its table of defences."""
    rows = re.findall(r"^\| (?!defence|---)([^|]+) \| ([^|]+) \|$",
                      (TOP / "docs/security.md").read_text().split("## The sandbox")[0], re.M)
    assert len(rows) > 10
    for defence, shown in rows:
        words = re.findall(r"`([^`]+)`", shown)
        paths = [word for word in words if word.startswith("tests/")]
        assert paths, defence
        files = [path for word in paths for path in TOP.glob(word)]
        assert all(list(TOP.glob(word)) for word in paths), shown
        text = "".join(path.read_text(errors="replace") for top in files
                       for path in ([top] if top.is_file() else top.rglob("*.*")) if path.suffix in (".c", ".py", ".md"))
        for word in words:
            if word not in paths:
                assert word.rstrip("*") in text, f"{shown}: no {word}"


def test_every_key_of_a_description_is_in_the_manual():
    keys = set(re.findall(r'^\t\{ "([a-z_-]+)", DESCRIPTION_', (TOP / "src/config/description.c").read_text(), re.M))
    assert {"machine", "drive", "numa"} <= keys
    manual = (TOP / "docs/config.md").read_text().split("### The description")[1].split("### ")[0]
    assert keys <= set(re.findall(r"`([a-z_-]+)`", manual)), keys - set(re.findall(r"`([a-z_-]+)`", manual))


def test_every_hostile_guest_has_a_test():
    """tests/house/hostile_guests.txt: each key is part of a test's name, unless it says what it waits for."""
    names = set()
    for path in sorted((TOP / "tests").rglob("*")):
        if path.suffix in (".py", ".c", ".h") and path != pathlib.Path(__file__):
            names |= set(re.findall(r"(?:\bdef test_|\bSTART_TEST\()(\w+)", path.read_text()))
    wrong, keys = [], set()
    for line in (TOP / "tests/house/hostile_guests.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        key, _, waits_for = line.partition(": ")
        keys.add(key)
        found = any(key.replace("-", "_") in name for name in names)
        if found == bool(waits_for):
            wrong.append(f"{key}: " + ("has a test; its line need not wait any more" if found else "no test carries it"))
    table = (TOP / "tests/device/README.md").read_text()
    wrong += [f"{key}: not in the table of tests/device/README.md" for key in keys if f"| {key} |" not in table]
    assert len(keys) >= 31 and not wrong, "\n".join(wrong)


@pytest.mark.parametrize("header", sorted((TOP / "include").rglob("*.h")),
                         ids=lambda path: str(path.relative_to(TOP / "include")))
def test_header_compiles_alone(header):
    subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-Iinclude", '-DLOG_MODULE="x"', "-Wall", "-Wextra", "-Werror",
                    "-fsyntax-only", "-x", "c", str(header)], cwd=TOP, check=True)


def make(*args):
    return subprocess.run(["make", f"-j{os.cpu_count()}", *args], cwd=TOP, check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def test_second_make_does_nothing():
    make()
    assert make() == ""


def test_clang_builds():
    make("CC=clang", "O=build/clang")


def test_aarch64_builds_from_the_same_sources():
    for binary, options in (("build/aarch64/stratovirt", ()), ("build/aarch64/static/stratovirt", ("STATIC=1",))):
        make("ARCH=aarch64", "CROSS_COMPILE=aarch64-linux-gnu-", *options)
        header = subprocess.run(["readelf", "-h", binary], cwd=TOP, check=True, text=True,
                                stdout=subprocess.PIPE).stdout
        assert "AArch64" in header
    subprocess.run(["qemu-aarch64-static", "build/aarch64/static/stratovirt", "-V"], cwd=TOP, check=True)


def test_static_build_needs_no_library():
    make("STATIC=1")
    headers = subprocess.run(["readelf", "-d", "build/static/stratovirt"], cwd=TOP, check=True, text=True,
                             stdout=subprocess.PIPE).stdout
    assert "NEEDED" not in headers
    subprocess.run(["build/static/stratovirt", "-V"], cwd=TOP, check=True)


def test_binary_is_hardened():
    make()
    dynamic = subprocess.run(["readelf", "-dlW", "build/stratovirt"], cwd=TOP, check=True, text=True,
                             stdout=subprocess.PIPE).stdout
    assert "GNU_RELRO" in dynamic and "BIND_NOW" in dynamic and "PIE" in dynamic
    symbols = subprocess.run(["nm", "-D", "build/stratovirt"], cwd=TOP, check=True, text=True,
                             stdout=subprocess.PIPE).stdout
    assert "__stack_chk_fail" in symbols
    assert re.search(r"__\w+_chk\b", symbols)


def test_stripped_binary_is_at_most_one_mebibyte(tmp_path):
    make()
    stripped = tmp_path / "stratovirt"
    subprocess.run(["strip", "-o", str(stripped), "build/stratovirt"], cwd=TOP, check=True)
    assert stripped.stat().st_size <= 1 << 20


def test_install_puts_the_binary_under_destdir_and_prefix(tmp_path):
    make("install", f"DESTDIR={tmp_path}", "PREFIX=/opt/sv")
    done = subprocess.run([tmp_path / "opt/sv/bin/stratovirt", "-V"], check=True, text=True, stdout=subprocess.PIPE)
    assert done.stdout.startswith("StratoVirt ")


def test_install_puts_the_client_beside_it(tmp_path):
    make("install", f"DESTDIR={tmp_path}", "PREFIX=/usr")
    client = tmp_path / "usr/bin/stratovirt-ctl"
    done = subprocess.run([client, "-V"], check=True, text=True, stdout=subprocess.PIPE)
    assert done.stdout.startswith("StratoVirt ")
    # It says what it is for, and fails with a reason where no monitor is.
    done = subprocess.run([client, "-h"], check=True, text=True, stdout=subprocess.PIPE)
    assert "SOCKET COMMAND" in done.stdout
    done = subprocess.run([client, tmp_path / "none", "query-status"], text=True, stderr=subprocess.PIPE)
    assert done.returncode == 1 and "none" in done.stderr
