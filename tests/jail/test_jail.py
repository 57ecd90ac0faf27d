# SPDX-License-Identifier: Apache-2.0
"""stratovirt-jail: what a program sees in there. busybox, a static program, looks around; a VMM runs a bare-metal guest."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
JAIL = os.path.join(TOP, "build", "stratovirt-jail")
VMM = os.path.join(TOP, "build", "static", "stratovirt")
GUEST = os.path.join(TOP, "build", "guest", "guest.elf")
BUSYBOX = os.path.realpath("/bin/busybox")
UID, GID = 23456, 23457
PASSED = 0x10 << 1 | 1

sys.path.insert(0, os.path.join(TOP, "tests", "qmp"))
from client import Client  # noqa: E402


@pytest.fixture
def base():
    """A directory on the way to which nobody but root may write; mount points in it end with their namespace."""
    with tempfile.TemporaryDirectory(prefix="jail-", dir="/var/lib") as path:
        os.chmod(path, 0o755)
        yield path


@contextlib.contextmanager
def netns():
    name = f"jail-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def run(base, *options, name="vm1", shell=None, exec_file=BUSYBOX, ids=("-uid", str(UID), "-gid", str(GID)), args=(), **kwargs):
    args = ("sh", "-c", shell) if shell else args
    return subprocess.run([JAIL, "-name", name, "-exec-file", exec_file, "-base", base, *ids, *options, "--", *args],
                          stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=60, **kwargs)


PROC = ("-source", "ro:/proc")  # busybox finds most of its own commands there only


def look(base, shell, *options, **kwargs):
    done = run(base, *options, shell=shell, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refuse(base, *options, **kwargs):
    done = run(base, *options, shell="echo inside", **kwargs)
    assert done.returncode == 1 and "inside" not in done.stdout
    assert done.stderr.startswith("stratovirt-jail: ")
    return done.stderr[len("stratovirt-jail: "):].rstrip("\n")


def test_there_is_nothing_but_what_was_named(base, tmp_path):
    secret, folder = tmp_path / "image", tmp_path / "folder"
    secret.write_text("content\n")
    folder.mkdir()
    (folder / "file").write_text("deep\n")
    seen = look(base, "cd /; ls -a; ls dev; read a < image; read b < folder/file; echo $a $b; cd ..; ls; "
                "(echo x > image) 2>/dev/null || echo read-only",
                "-source", f"ro:{secret}", "-source", str(folder))
    lines = seen.split("\n")
    assert lines[:5] == [".", "..", "dev", "folder", "image"]
    end = lines.index("content deep")
    assert {"kvm", "net", "null", "urandom"} <= set(lines[5:end]) <= {"kvm", "net", "null", "urandom", "vhost-net",
                                                                   "vhost-vsock"}
    assert lines[end + 1:] == ["dev", "folder", "image", "read-only", ""]
    assert secret.read_text() == "content\n"


def test_devices_belong_to_the_vmm_and_more_can_be_named(base):
    assert look(base, "stat -c '%u:%g %a %t:%T' /dev/kvm /dev/zero", *PROC, "-device", "zero").split("\n")[:2] == \
        [f"{UID}:{GID} 600 a:e8", f"{UID}:{GID} 600 1:5"]


def test_a_device_that_is_none(base):
    assert refuse(base, "-device", "no-such-device") == "-device no-such-device: No such file or directory"


def test_devices_lie_below_dev(base):
    assert refuse(base, "-device", "../etc/passwd") == "-device ../etc/passwd: a path below /dev is needed"


def test_user_and_capabilities(base):
    status = look(base, "id; cat /proc/self/status", *PROC)
    assert status.startswith(f"uid={UID} gid={GID}\n") or f"uid={UID} gid={GID} groups={GID}" in status.split("\n")[0]
    for line in ("CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
                 "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"):
        assert line in status


def test_named_capabilities_stay(base):
    status = look(base, "cat /proc/self/status", *PROC, "-capability", "CAP_NET_ADMIN,net_raw")
    for line in ("CapPrm:\t0000000000003000", "CapEff:\t0000000000003000", "CapBnd:\t0000000000000000",
                 "NoNewPrivs:\t1"):
        assert line in status, status


def test_a_capability_that_is_none(base):
    assert refuse(base, "-capability", "net_admin,colour") == "-capability colour: no such capability"


def test_limits(base):
    assert look(base, "ulimit -n; ulimit -Hn; ulimit -c", "-rlimit", "nofile=33:44", "-rlimit", "core=0").split() == \
        ["33", "44", "0"]


@pytest.mark.parametrize("text, message", [
    ("nofile", "-rlimit nofile: NAME=SOFT[:HARD] is needed"),
    ("nofile=x", "-rlimit nofile=x: a number or 'unlimited' is needed"),
    ("colour=3", "-rlimit colour=3: no such limit; nofile, memlock, fsize, nproc, core, as ... are there"),
])
def test_limits_that_are_none(base, text, message):
    assert refuse(base, "-rlimit", text) == message


def test_descriptors_are_closed_but_for_the_named(base):
    read, write = os.pipe()
    other, keep = os.dup(write), os.dup(write)
    shell = f"echo kept >&{keep}; (echo leaked >&{other}) 2>/dev/null || echo closed"
    try:
        assert look(base, shell, "-fd", str(keep), pass_fds=(other, keep)) == "closed\n"
        assert os.read(read, 100) == b"kept\n"
    finally:
        for fd in read, write, other, keep:
            os.close(fd)
    assert refuse(base, "-fd", "99") == "-fd 99: an open descriptor from 3 on is needed"


def test_namespaces_of_its_own(base):
    """Mounts, host name and System V objects; what the VMM does there is not seen outside."""
    inside = look(base, "hostname; for n in mnt uts ipc net; do readlink /proc/self/ns/$n; done", *PROC).split()
    outside = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "uts", "ipc", "net")]
    assert inside[0] == "jail"
    assert not set(inside[1:4]) & set(outside[:3]) and inside[4] == outside[3]
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        assert base not in mounts.read()


def test_each_step_is_reported(base, tmp_path):
    (tmp_path / "image").write_text("x")
    done = run(base, "-verbose", "-new-pid", "-netns", "new", "-rlimit", "nofile=64", "-source", f"ro:{tmp_path}/image",
               shell="echo inside")
    assert (done.returncode, done.stdout) == (0, "inside\n")
    said = done.stderr.splitlines()
    assert all(line.startswith("stratovirt-jail: ") for line in said)
    for step in ("limit nofile=64", "namespaces: mount, uts, ipc, pid", "image", f"user {UID}, group {GID}, 0 capabilities",
                 "exec busybox"):
        assert any(step in line for line in said), (step, said)
    assert run(base, name="vm2", shell="true").stderr == "", "nothing is said unless asked for"


def test_network_of_its_own(base):
    links = look(base, "ip -o link", *PROC, "-netns", "new").splitlines()
    assert links and all(link.split()[1] in ("lo:", "sit0@NONE:", "tunl0@NONE:") or "NOARP" in link for link in links)


def test_a_network_that_somebody_made(base):
    with netns() as name:
        subprocess.run(["ip", "-n", name, "tuntap", "add", "mark0", "mode", "tap"], check=True)
        assert "mark0" in look(base, "ip -o link", *PROC, "-netns", f"/run/netns/{name}")


def test_a_network_that_is_none(base):
    assert refuse(base, "-netns", "/run/netns/jail-none") == "-netns /run/netns/jail-none: No such file or directory"


def test_first_process_of_its_namespace(base):
    assert look(base, "echo $$; exit 0", "-new-pid") == "1\n"


def test_status_and_signals_pass_through_the_process_outside(base):
    assert run(base, "-new-pid", shell="exit 7").returncode == 7
    assert run(base, "-clean-resource").returncode == 0
    process = subprocess.Popen([JAIL, "-name", "vm1", "-exec-file", BUSYBOX, "-base", base, "-uid", str(UID), "-gid",
                                str(GID), "-new-pid", "--", "sh", "-c",
                                "trap 'echo told; exit 9' TERM; echo ready; while :; do read -t 1 x; done"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "told\n"
        assert process.wait(20) == 9
    finally:
        process.kill()
        process.wait()


def test_the_vmm_goes_with_the_process_outside(base):
    process = subprocess.Popen([JAIL, "-name", "vm1", "-exec-file", BUSYBOX, "-base", base, "-uid", str(UID), "-gid",
                                str(GID), "-new-pid", "--", "sh", "-c", "echo ready; while :; do read -t 1 x; done"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    assert select.select([process.stdout], [], [], 20)[0], "who is inside lives on"
    assert process.stdout.read() == ""
    process.stdout.close()


def test_a_name_is_used_once_until_it_is_cleaned(base):
    look(base, "echo left > file; mkdir d; ln -s /etc d/link; true")
    assert refuse(base) == f"-name vm1: {base}/busybox/vm1 is there already; -clean-resource removes it"
    assert sorted(os.listdir(f"{base}/busybox/vm1")) == ["d", "dev", "file"]
    done = run(base, "-clean-resource")
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(base) == [] and os.path.isdir("/etc")
    assert run(base, "-clean-resource").returncode == 0  # nothing there is no error
    assert look(base, "echo again") == "again\n"


@pytest.mark.parametrize("name", ["../up", "a/b", "..", ".hidden", "x" * 256, "a b"])
def test_names_that_lead_elsewhere(base, name):
    assert "letters, digits" in refuse(base, name=name)
    assert os.listdir(base) == []


def test_symbolic_links_are_refused(base, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_text("x")
    os.symlink(tmp_path / "real", tmp_path / "link")
    os.symlink(BUSYBOX, tmp_path / "busybox")
    os.symlink(base, tmp_path / "base")
    tail = ": there is a symbolic link on the way; name the real path"
    assert refuse(base, "-source", f"{tmp_path}/link/file") == f"-source {tmp_path}/link/file" + tail
    assert refuse(base, exec_file=f"{tmp_path}/busybox") == f"-exec-file {tmp_path}/busybox" + tail
    assert refuse(f"{tmp_path}/base") == f"-base {tmp_path}/base" + tail
    os.mkdir(f"{base}/elsewhere")
    os.symlink("elsewhere", f"{base}/busybox")
    assert refuse(base) == f"-base {base}" + tail
    assert os.listdir(f"{base}/elsewhere") == []


def test_a_base_that_others_may_write_to_is_refused(base):
    os.chmod(base, 0o777)
    assert refuse(base) == f"-base {base}: it must belong to root or to you, and nobody else may write to it"


def test_programs_that_cannot_run_in_there(base, tmp_path):
    assert refuse(base, exec_file="/usr/bin/true") == \
        "-exec-file /usr/bin/true needs shared libraries, which the jail does not have: make STATIC=1"
    (tmp_path / "text").write_text("#!/bin/sh\n")
    assert refuse(base, exec_file=str(tmp_path / "text")).endswith("/text is no executable file")
    os.chmod(tmp_path / "text", 0o755)
    assert refuse(base, exec_file=str(tmp_path / "text")).endswith("/text is no program of this machine")


@pytest.mark.parametrize("options, message", [
    ((), "-name is missing; -help shows all options"),
    (("-name", "a"), "-exec-file is missing; -help shows all options"),
    (("-name", "a", "-exec-file", BUSYBOX), "-uid is missing: root must say whose the VMM shall be"),
    (("-name", "a", "-exec-file", BUSYBOX, "-uid", "1"), "-gid is missing: root must say whose the VMM shall be"),
    (("-name", "a", "-name", "b"), "-name is given twice"),
    (("-uid", "-1"), "-uid -1 is out of range [0, 4294967294]"),
    (("-uid", "4294967295"), "-uid 4294967295 is out of range [0, 4294967294]"),
    (("-colour", "red"), "-colour: unknown option; -help lists them, the VMM's own come after --"),
    (("-netns",), "-netns: FILE|new is missing"),
])
def test_words_that_are_wrong(options, message):
    done = subprocess.run([JAIL, *options], text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"stratovirt-jail: {message}\n")


def test_a_guest_runs_and_its_monitor_is_reached_from_outside(base):
    args = ["-machine", "microvm,acpi=off", "-kernel", "guest.elf", "-append", "test=spin", "-S", "-device",
            "isa-debug-exit", "-serial", "null", "-qmp", "unix:qmp.sock,server,nowait"]
    process = subprocess.Popen([JAIL, "-name", "vm1", "-exec-file", VMM, "-base", base, "-uid", str(UID), "-gid", str(GID),
                                "-source", f"ro:{GUEST}", "-rlimit", "core=0", "--", *args], stdin=subprocess.DEVNULL)
    path = f"{base}/stratovirt/vm1/qmp.sock"
    try:
        end = time.monotonic() + 20
        while not os.path.exists(path):
            assert process.poll() is None and time.monotonic() < end, "the monitor does not come up"
            time.sleep(0.01)
        assert os.stat(path).st_uid == UID
        monitor = Client(path)  # answers when the sandbox is closed
        with open(f"/proc/{process.pid}/status") as status:
            text = status.read()
        assert f"Uid:\t{UID}\t{UID}" in text and "CapEff:\t0000000000000000" in text and "Seccomp:\t2" in text
        assert set(os.listdir(f"/proc/{process.pid}/root")) == {"dev", "guest.elf", "qmp.sock"}
        monitor.run("quit")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_an_ordinary_user_jails_a_vm(base):
    """In a user namespace of its own; the group of /dev/kvm is what it takes."""
    node = os.stat("/dev/kvm")
    if not node.st_mode & 0o060 == 0o060:
        os.chmod("/dev/kvm", node.st_mode | 0o060)
    home = os.path.join(base, "home")
    os.mkdir(home, 0o700)
    os.chown(home, UID, GID)
    user = ["setpriv", f"--reuid={UID}", f"--regid={GID}", f"--groups={node.st_gid}"]
    try:
        for shell, expected in (("id -u", f"{UID}\n"), ("ls /", "dev\n")):
            done = subprocess.run([*user, JAIL, "-name", "user", "-exec-file", BUSYBOX, "--", "sh", "-c", shell],
                                  env={"XDG_RUNTIME_DIR": home, "PATH": os.environ["PATH"]}, text=True,
                                  capture_output=True, stdin=subprocess.DEVNULL, timeout=30, check=False)
            assert (done.stdout, done.stderr, done.returncode) == (expected, "", 0)
            subprocess.run([*user, JAIL, "-name", "user", "-exec-file", BUSYBOX, "-clean-resource"], check=True,
                           env={"XDG_RUNTIME_DIR": home, "PATH": os.environ["PATH"]}, timeout=30)
        done = subprocess.run([*user, JAIL, "-name", "user", "-exec-file", VMM, "-source", f"ro:{GUEST}", "--",
                               "-machine", "microvm,acpi=off", "-kernel", "guest.elf", "-append", "test=hello",
                               "-serial", "stdio", "-device", "isa-debug-exit", "-no-reboot"],
                              env={"XDG_RUNTIME_DIR": home, "PATH": os.environ["PATH"]}, text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=30, check=False)
        assert done.returncode == PASSED and "hello from ring 3" in done.stdout, done.stderr
    finally:
        os.chmod("/dev/kvm", node.st_mode)


def test_the_template_unit_is_what_systemd_takes(tmp_path):
    with open(os.path.join(TOP, "tools/jail/stratovirt@.service"), encoding="utf-8") as unit:
        text = unit.read().replace("/usr/local/bin/", os.path.join(TOP, "build") + "/")
    for wrong, good in (("TimeoutStopSec=", "TimeoutStopSec="), ("TimoutStopSec=", "TimeoutStopSec=")):
        path = tmp_path / "stratovirt@.service"
        path.write_text(text.replace(good, wrong))
        done = subprocess.run(["systemd-analyze", "verify", str(path)], text=True, capture_output=True, timeout=60, check=False)
        if wrong == good:
            assert (done.returncode, done.stderr) == (0, "")
        else:
            assert "TimoutStopSec" in done.stderr
