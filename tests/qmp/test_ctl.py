# SPDX-License-Identifier: Apache-2.0
"""stratovirt-ctl against a VM, and against monitors that misbehave."""

import contextlib
import json
import os
import select
import socket
import subprocess
import threading

import pytest

import client

CTL = os.environ.get("STRATOVIRT_CTL") or os.path.join(os.path.dirname(client.STRATOVIRT), "stratovirt-ctl")
GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": "x"}, "capabilities": []}}


def ctl(*words, status=0):
    """Standard output; standard error when a failure is expected."""
    done = subprocess.run([CTL, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=client.LIMIT)
    assert done.returncode == status, done.stdout + done.stderr
    if status:
        assert not done.stdout
        return done.stderr
    assert not done.stderr
    return done.stdout


@pytest.fixture
def path(vm):
    vm.wait_for(vm.path)
    return vm.path


def test_a_result_is_readable(path):
    lines = ctl(path, "query-status").splitlines()
    assert "status:     prelaunch" in lines and "running:    false" in lines


def test_a_list_is_a_table(path):
    head, *rows = ctl(path, "query-cpus-fast").splitlines()
    assert "cpu-index" in head and "props.socket-id" in head
    assert len(rows) == 1 and rows[0].startswith("0 ")


def test_nothing_is_printed_for_nothing(path):
    assert ctl(path, "stop") == ""


def test_json_is_one_line(path):
    out = ctl("--json", path, "query-status")
    assert out.endswith("\n") and out.count("\n") == 1
    assert json.loads(out)["status"] == "prelaunch"


def test_text_for_people_is_printed_as_it_is(path):
    out = ctl(path, "human-monitor-command", "command-line=info status")
    assert out == "VM status: paused (prelaunch)\n"


def test_errors_have_class_and_text_and_status_1(path):
    assert ctl(path, "no-such", status=1) == \
        "stratovirt-ctl: CommandNotFound: The command no-such has not been found\n"


def test_commands_of_a_life(vm, path):
    ctl(f"unix:{path}", "cont")
    assert json.loads(ctl(path, "query-status", "--json"))["running"] is True
    ctl(path, "quit")
    vm.end()


def test_events_are_watched(vm, path):
    watch = subprocess.Popen([CTL, "--events", path, "STOP", "SHUTDOWN"], stdout=subprocess.PIPE, text=True)
    wanted = subprocess.Popen([CTL, "--events", "--json", "--count", "1", path], stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(100):  # until both have negotiated and seen something
            ctl(path, "cont")
            ctl(path, "stop")
            if wanted.poll() is not None and select.select([watch.stdout], [], [], 0.1)[0]:
                break
        ctl(path, "quit")
        assert wanted.wait(client.LIMIT) == 0
        assert json.loads(wanted.stdout.read())["event"] in ("RESUME", "STOP")
        assert watch.wait(client.LIMIT) == 0
        *stops, shutdown = watch.stdout.read().splitlines()
        assert stops and {stop.split(" ", 2)[2] for stop in stops} == {"STOP"}
        assert shutdown.split(" ", 2)[2] == "SHUTDOWN guest=false reason=host-qmp-quit"
    finally:
        for process in (watch, wanted):
            process.kill()
            process.wait()
            process.stdout.close()
    vm.end()


def test_no_event_in_time_is_a_failure(path):
    assert ctl("--events", "--timeout", 1, path, "RESET", status=1) == "stratovirt-ctl: 0 events came in 1 s\n"


class Monitor:
    """Answers as @serve, called with each connection, does."""

    def __init__(self, folder, serve):
        self.path = os.path.join(str(folder), "fake.sock")
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(self.path)
        self.sock.listen()
        self.serve = serve
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with contextlib.suppress(OSError):
            connection, _ = self.sock.accept()
            with connection:
                connection.settimeout(client.LIMIT)
                self.serve(connection)

    def __enter__(self):
        self.thread.start()
        return self.path

    def __exit__(self, *exc):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.sock.close()


def send(connection, message, slow=False):
    data = json.dumps(message).encode() + b"\r\n"
    for part in ([data[i:i + 1] for i in range(len(data))] if slow else [data]):
        connection.sendall(part)


def answering(*answers, slow=False, asked=None):
    def serve(connection):
        lines = connection.makefile("rb")
        send(connection, GREETING, slow)
        lines.readline()
        send(connection, {"return": {}}, slow)
        line = lines.readline()
        if asked is not None:
            asked.append(json.loads(line))
        for answer in answers:
            send(connection, answer, slow)
        lines.read()
    return serve


def test_words_become_json(tmp_path):
    asked = []
    with Monitor(tmp_path, answering({"return": {}}, asked=asked)) as path:
        ctl(path, "x", "yes=true", "no=false", "nil=null", "n=-5", "big=18446744073709551615", "hex=0x10", "text=a=b c",
            "empty=", 'quoted="5"', "list=[1, 2]", "file.driver=file", "file.cache.direct=true", "zero=007",
            '{"more": {"a": 1}}')
    assert asked == [{"execute": "x", "arguments": {
        "yes": True, "no": False, "nil": None, "n": -5, "big": 18446744073709551615, "hex": "0x10", "text": "a=b c",
        "empty": "", "quoted": "5", "list": [1, 2], "file": {"driver": "file", "cache": {"direct": True}}, "zero": "007",
        "more": {"a": 1}}}]


@pytest.mark.parametrize("words, text", [
    (["a=1", "a=2"], "a=2: 'a' is given twice"),
    (["a=1", "a.b=2"], "a.b=2: 'a' is given as a value as well"),
    (["a.b=1", "a=2"], "a=2: 'a' is given twice"),
    (["a"], "a: KEY=VALUE is needed"),
    (["=1"], "=1: a key is missing"),
    (["a..b=1"], "a..b=1: a key is missing"),
    (["a={"], "a={: character 2: the key of an object must be a string"),
    (["a=1", '{"a": 2}'], "{\"a\": 2}: 'a' is given twice"),
])
def test_words_that_are_wrong(tmp_path, words, text):
    # Nobody listens there: it is said before anything happens.
    assert ctl(tmp_path / "nobody", "x", *words, status=1) == f"stratovirt-ctl: {text}\n"


def test_a_monitor_that_sends_byte_by_byte(tmp_path):
    with Monitor(tmp_path, answering({"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}},
                                     {"return": {"a": 1}}, slow=True)) as path:
        assert ctl(path, "x") == "a: 1\n"


def test_a_monitor_that_never_answers(tmp_path):
    with Monitor(tmp_path, lambda connection: connection.recv(1)) as path:
        assert ctl("--timeout", 1, path, "x", status=1) == f"stratovirt-ctl: {path}: the monitor does not answer\n"


def test_a_monitor_that_goes(tmp_path):
    with Monitor(tmp_path, lambda connection: send(connection, GREETING)) as path:
        assert ctl(path, "x", status=1) == f"stratovirt-ctl: {path}: the monitor closed the connection\n"


@pytest.mark.parametrize("data, text", [
    (b"220 mail.example\r\n", "the monitor sent no JSON"), (b"[]\r\n", "the monitor sent no object"),
    (b"{}\r\n", "it is no QMP monitor"), (b"\r\n", "the monitor sent no JSON"),
])
def test_something_else_listens(tmp_path, data, text):
    def serve(connection):
        connection.sendall(data)
        connection.recv(1)
    with Monitor(tmp_path, serve) as path:
        assert text in ctl(path, "x", status=1)


def test_no_control_characters_reach_the_terminal(tmp_path):
    answer = {"error": {"class": "GenericError", "desc": "\x1b[2Jbad\n"}}
    with Monitor(tmp_path, answering(answer)) as path:
        assert ctl(path, "x", status=1) == "stratovirt-ctl: GenericError: \\x1b[2Jbad\\x0a\n"
    os.unlink(path)
    with Monitor(tmp_path, answering({"return": [{"na\x07me": "\x1b]0;x\x07"}]})) as path:
        assert ctl(path, "x") == "na\\x07me\n\\x1b]0;x\\x07\n"


def test_nested_lists_and_objects(tmp_path):
    value = {"name": "d0", "flags": ["a", "b"], "none": {}, "inner": {"list": [{"x": [{"y": 1}]}, {"x": []}]}}
    with Monitor(tmp_path, answering({"return": value})) as path:
        assert ctl(path, "x") == ("name:  d0\nflags: a, b\nnone:  -\ninner:\n  list:\n    - x:\n        y\n"
                                  "        1\n    - x: -\n")


def test_wrong_words():
    assert "Usage:" in ctl(status=1)
    assert "Usage:" in ctl("socket", status=1)
    assert "--timeout x: not in [0, 86400] seconds" in ctl("--timeout", "x", "s", "c", status=1)
    assert "--count 0: not a number from 1 on" in ctl("--count", "0", "s", status=1)
    assert "No such file or directory" in ctl("/nowhere/socket", "query-status", status=1)
    assert "tcp:HOST:PORT is needed" in ctl("tcp:localhost", "query-status", status=1)
    assert ctl("--help").startswith("Usage: stratovirt-ctl")
    assert ctl("--version").startswith("StratoVirt ")
