# SPDX-License-Identifier: Apache-2.0
"""-qmp, -mon and -api-channel: where they listen, and what they leave behind."""

import os
import select
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

from client import Client, QmpError, VM, STRATOVIRT, TOP, wait_for


def refused(tmp_path, *options, **kwargs):
    """The VM must not start; returns its message."""
    with VM(tmp_path, *options, qmp=False, **kwargs) as vm:
        vm.end(1)
        return vm.process.stderr.read()


# ---- listening ----

def test_unix_socket_is_for_its_owner_and_is_removed_at_the_end(vm):
    with vm.connect() as c:
        assert stat.S_IMODE(os.stat(vm.path).st_mode) == 0o600
        c.run("quit")
    vm.end()
    assert not os.path.exists(vm.path)


def test_tcp(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with VM(tmp_path, "-qmp", f"tcp:127.0.0.1:{port},server,nowait") as vm:
        vm.connect().close()
        with Client(("127.0.0.1", port)) as c:
            assert c.run("query-status")["status"] == "prelaunch"
            c.run("quit")
        vm.end()


@pytest.mark.parametrize("words", ["server=on,wait=off", "server,wait=off", "server=on,nowait"])
def test_spellings(tmp_path, words):
    path = str(tmp_path / "q")
    with VM(tmp_path, "-qmp", f"unix:{path},{words}", qmp=False) as vm:
        vm.connect(path).run("quit")
        vm.end()


def test_several_monitors_at_once(tmp_path):
    second = str(tmp_path / "second")
    with VM(tmp_path, "-qmp", f"unix:{second},server,nowait") as vm:
        with vm.connect() as one, vm.connect(second) as two:
            one.run("cont")
            two.event("RESUME")
            two.run("quit")
            one.event("RESUME")
            one.event("SHUTDOWN")
            assert one.message() is None
        vm.end()
    assert os.listdir(tmp_path) == []


def test_stale_socket_is_replaced(tmp_path):
    with VM(tmp_path) as vm:
        vm.connect().close()
        vm.signal(signal.SIGKILL)
        vm.end(-signal.SIGKILL)
        assert os.path.exists(vm.path)
    with VM(tmp_path) as vm:
        wait_for(lambda: listens(vm.path))
        vm.connect().run("quit")
        vm.end()


def listens(path):
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(path) == 0


def test_socket_of_a_living_vm_is_not_taken(vm):
    with vm.connect() as c:
        assert "listens on" in refused(vm.folder, "-qmp", f"unix:{vm.path},server,nowait")
        assert c.run("query-status")["status"] == "prelaunch"
        vm.connect().close()


def test_file_that_is_no_socket_is_not_touched(tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    assert "is not a socket" in refused(tmp_path, "-qmp", f"unix:{path},server,nowait")
    assert path.read_text() == "precious"


def test_socket_of_somebody_else_is_left_at_the_end(vm):
    with vm.connect() as c, socket.socket(socket.AF_UNIX) as other:
        os.unlink(vm.path)
        other.bind(vm.path)
        c.run("quit")
    vm.end()
    assert os.path.exists(vm.path)


def test_inherited_listening_socket(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        path = str(tmp_path / "inherited")
        listener.bind(path)
        listener.listen(1)
        fd = listener.fileno()
        with VM(tmp_path, "-qmp", f"unix:fd={fd},server=on,wait=off", qmp=False, pass_fds=[fd]) as vm:
            with Client(path) as c:
                assert c.run("query-status")["status"] == "prelaunch"
            with Client(path) as c:
                c.run("quit")
            vm.end()
        assert os.path.exists(path)  # it was not ours to remove


@pytest.mark.parametrize("sandbox", ("on", "off"))
def test_inherited_descriptors_that_nobody_named_are_closed(tmp_path, sandbox):
    mine, inherited = os.pipe()
    with socket.socket(socket.AF_UNIX) as listener:
        path = str(tmp_path / "inherited")
        listener.bind(path)
        listener.listen(1)
        fd = listener.fileno()
        with VM(tmp_path, "-sandbox", sandbox, "-qmp", f"unix:fd={fd},server=on,wait=off", qmp=False,
                pass_fds=[fd, inherited]) as vm:
            os.close(inherited)
            with Client(path) as c:  # the named one is open still
                assert c.run("query-status")["status"] == "prelaunch"
                assert select.select([mine], [], [], 60)[0] and os.read(mine, 1) == b"", "somebody has the other end"
                c.run("quit")
            vm.end()
    os.close(mine)


# ---- waiting ----

def test_without_nowait_the_vm_waits_for_its_first_client(tmp_path):
    path = str(tmp_path / "q")
    with VM(tmp_path, "-qmp", f"unix:{path},server", qmp=False, paused=False) as vm:
        wait_for(lambda: os.path.exists(path))
        before = vm.cpu_time()
        time.sleep(0.5)
        assert vm.cpu_time() - before <= 2, "the guest, which never rests, ran"
        with Client(path) as c:
            wait_for(lambda: c.run("query-status")["status"] == "running")
            c.run("quit")
        vm.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait(tmp_path, number):
    path = str(tmp_path / "q")
    with VM(tmp_path, "-qmp", f"unix:{path},server", qmp=False) as vm:
        wait_for(lambda: os.path.exists(path))
        vm.signal(number)
        vm.end()
    assert not os.path.exists(path)


def test_daemonize_returns_when_the_monitor_is_up(tmp_path):
    path, pidfile = str(tmp_path / "q"), tmp_path / "pid"
    with VM(tmp_path, "-qmp", f"unix:{path},server,nowait", "-daemonize", "-pidfile", str(pidfile), qmp=False) as vm:
        vm.end()
    with Client(path) as c:
        c.run("quit")
    wait_for(lambda: not os.path.exists(path) and not pidfile.exists())


def test_a_daemon_without_a_monitor_lets_go_of_its_caller(tmp_path):
    """Its sandbox knows no /dev/null. A caller that reads to the end, as libvirt does, would wait for ever."""
    pidfile = tmp_path / "pid"
    try:
        done = subprocess.run([STRATOVIRT, "-accel", "test", "-daemonize", "-pidfile", pidfile], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        pid = int(pidfile.read_text())
        assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}
    finally:
        os.kill(int(pidfile.read_text()), signal.SIGTERM)
        wait_for(lambda: not pidfile.exists())


def test_closed_standard_streams_are_nobody_elses(tmp_path):
    """Else messages would go into what was opened first."""
    path = str(tmp_path / "q")
    with VM(tmp_path, "-qmp", f"unix:{path},server,nowait", qmp=False,
            preexec_fn=lambda: os.closerange(0, 3)) as closed:
        with closed.connect(path) as c:
            paths = {os.readlink(f"/proc/{closed.process.pid}/fd/{fd}") for fd in range(3)}
            assert paths == {"/dev/null"}
            c.run("quit")
        closed.end()


# ---- -mon and -api-channel ----

def chardev(path, words="server=on,wait=off"):
    return ["-chardev", f"socket,id=m0,path={path},{words}", "-mon", "chardev=m0,mode=control"]


def test_mon_over_a_chardev_socket(tmp_path):
    path = str(tmp_path / "m")
    with VM(tmp_path, *chardev(path), qmp=False) as vm:
        with vm.connect(path, negotiate=False) as c:
            with pytest.raises(QmpError, match="Expecting capabilities negotiation"):
                c.run("query-status")
            c.run("qmp_capabilities")
            info = {i["label"]: i for i in c.run("query-chardev")}
            assert info["m0"]["frontend-open"] and info["m0"]["filename"] == f"unix:{path},server=on"
            c.send(b'{"execute":"query-status"}' * 100)
            assert all(c.result()["status"] == "prelaunch" for _ in range(100))
        # A restarted management program comes back: greeting and negotiation anew.
        for _ in range(20):
            with Client(path) as c:
                c.run("cont")
                c.event("RESUME")
                c.run("stop")
                c.event("STOP")
        with Client(path) as c:
            c.run("quit")
            c.event("SHUTDOWN")
        vm.end()


def test_mon_takes_descriptors(tmp_path):
    path = str(tmp_path / "m")
    with VM(tmp_path, *chardev(path), qmp=False) as vm, open("/dev/null", "rb") as null:
        with vm.connect(path) as c:
            before = vm.descriptors()
            c.send('{"execute":"getfd","arguments":{"fdname":"a"}}', [null.fileno()])
            assert c.result() == {}
            assert len(vm.descriptors()) == len(before) + 1
            for _ in range(50):
                c.send(" ", [null.fileno()] * 200)
            c.run("query-status")
            assert len(vm.descriptors()) == len(before) + 1
        with Client(path) as c:
            with pytest.raises(QmpError, match="not found"):
                c.run("closefd", fdname="a")  # it went with the client that sent it
            wait_for(lambda: len(vm.descriptors()) <= len(before))


def test_mon_slow_reader_does_not_block_the_vm(tmp_path):
    path = str(tmp_path / "m")
    with VM(tmp_path, *chardev(path)) as vm:
        mute = vm.connect(path)
        with vm.connect() as c:
            for _ in range(12000):
                c.send('{"execute":"cont"}{"execute":"stop"}')
                c.result(), c.result()
            assert c.run("query-status")["status"] == "paused"
        with pytest.raises((ConnectionResetError, BrokenPipeError)):  # it was given up
            for _ in range(100000):
                mute.send('{"execute":"query-status"}')
        mute.close()
        with Client(path) as c:
            assert c.run("query-status")["status"] == "paused"


def test_mon_over_an_inherited_listening_socket(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        path = str(tmp_path / "inherited")
        listener.bind(path)
        listener.listen(1)
        fd = listener.fileno()
        with VM(tmp_path, "-chardev", f"socket,id=charmonitor,fd={fd},server=on,wait=off",
                "-mon", "chardev=charmonitor,id=monitor,mode=control", qmp=False, pass_fds=[fd]) as vm:
            for _ in range(3):
                with Client(path) as c:
                    assert c.run("query-status")["status"] == "prelaunch"
            with Client(path) as c:
                c.run("quit")
            vm.end()


def test_api_channel_works_without_negotiation(tmp_path):
    path = str(tmp_path / "api")
    with VM(tmp_path, "-api-channel", f"unix:{path}", qmp=False) as vm:
        with vm.connect(path, negotiate=False) as c:
            assert c.run("query-status")["status"] == "prelaunch"
            c.run("cont")
            c.event("RESUME")
            assert c.run("qmp_capabilities") == {}
            c.run("quit")
            c.event("SHUTDOWN")
        vm.end()
    assert not os.path.exists(path)


def test_strict_off_is_a_switch_of_any_monitor(tmp_path):
    path = str(tmp_path / "q")
    with VM(tmp_path, "-qmp", f"unix:{path},server,nowait,strict=off", qmp=False) as vm:
        with vm.connect(path, negotiate=False) as c:
            assert c.run("query-status")["status"] == "prelaunch"


# ---- what is refused ----

@pytest.mark.parametrize("options,message", [
    (["-qmp", "unix:/nowhere/q,server,nowait"], "cannot listen on unix:/nowhere/q"),
    (["-qmp", "unix:q"], 'add "server"'),
    (["-qmp", "unix:" + "x" * 108 + ",server,nowait"], "at most 107"),
    (["-qmp", "stdio"], "unix:PATH or tcp:HOST:PORT"),
    (["-qmp", "unix:q,server,nowait,color=red"], "color"),
    (["-qmp", "tcp:127.0.0.1:99999,server,nowait"], "99999"),
    (["-qmp", "tcp:host.example:1,server,nowait"], "host.example"),
    (["-qmp", "unix:fd=77,server,nowait"], "fd=77 is not an open socket"),
    (["-mon", "chardev=none,mode=control"], "no chardev with this id"),
    (["-chardev", "null,id=n", "-mon", "chardev=n"], "mode=control"),
    (["-chardev", "null,id=n", "-mon", "chardev=n,mode=readline"], "mode=control"),
    (["-chardev", "null,id=n", "-mon", "n,mode=control", "-mon", "n,mode=control"], "already in use"),
    (["-monitor", "stdio"], "no monitor for people"),
])
def test_refused_with_a_reason(tmp_path, options, message):
    assert message in refused(tmp_path, *options, cwd=tmp_path)
    assert os.listdir(tmp_path) == []


def test_docs_are_those_of_the_binary():
    docs = subprocess.run([STRATOVIRT, "-dump-docs", "qmp"], check=True, text=True, stdout=subprocess.PIPE).stdout
    with open(os.path.join(TOP, "docs", "qmp.md")) as f:
        assert f.read() == docs, "run make docs"
