# SPDX-License-Identifier: Apache-2.0
"""What a monitor promises to each client, and to the others beside a bad one."""

import json
import os
import socket
import time

import pytest

from client import Client, QmpError, wait_for

# ---- the first words ----


def test_greeting_tells_a_version_that_clients_accept_and_the_real_name(vm):
    with vm.connect(negotiate=False) as c:
        version = c.greeting["QMP"]["version"]
        assert version["qemu"]["major"] >= 7 and set(version["qemu"]) == {"major", "minor", "micro"}
        assert version["package"].startswith("StratoVirt-")
        assert c.greeting["QMP"]["capabilities"] == []
        c.run("qmp_capabilities")
        assert c.run("query-version") == version


def test_nothing_but_qmp_capabilities_before_negotiation(vm):
    with vm.connect(negotiate=False) as c:
        with pytest.raises(QmpError, match="CommandNotFound: Expecting capabilities negotiation"):
            c.run("query-status")
        c.run("qmp_capabilities")
        assert c.run("query-status")["status"] == "prelaunch"
        with pytest.raises(QmpError, match="CommandNotFound: Capabilities negotiation is already complete"):
            c.run("qmp_capabilities")


def test_each_client_negotiates_for_itself(vm):
    with vm.connect(), vm.connect(negotiate=False) as other:
        with pytest.raises(QmpError, match="Expecting"):
            other.run("query-status")


def test_no_event_comes_before_negotiation(vm):
    with vm.connect(negotiate=False) as mute, vm.connect() as c:
        c.run("cont")
        c.run("stop")
        assert mute.silent()
        mute.run("qmp_capabilities")
        assert not mute.events
        c.run("cont")
        mute.event("RESUME")


# ---- how messages may come ----

def test_pipelined_commands_run_in_order(qmp):
    qmp.send("".join(json.dumps({"execute": "query-status", "id": i}) for i in range(1000)))
    assert [qmp.reply()["id"] for _ in range(1000)] == list(range(1000))


def test_one_byte_at_a_time(qmp):
    for byte in b' {"execute": "query-status", "arguments": {}, "id": "a}\\"{"}':
        qmp.send(bytes([byte]))
    assert qmp.reply()["id"] == 'a}"{'
    assert qmp.silent(0.05)


def test_bytes_after_a_pause_complete_the_message(qmp):
    qmp.send('{"execute":"query-')
    assert qmp.silent()
    qmp.send('status"}{"execute"')
    assert qmp.result()["status"] == "prelaunch"
    qmp.send(':"query-kvm"}')
    assert qmp.result()["present"]


@pytest.mark.parametrize("value", [0, -1, "x", None, True, 1.5, [], {"a": [None]}, 2**64])
def test_any_id_comes_back(qmp, value):
    qmp.send(json.dumps({"execute": "query-status", "id": value}))
    assert qmp.reply()["id"] == value
    qmp.send(json.dumps({"id": value, "execute": "no-such"}))
    reply = qmp.reply()
    assert reply["id"] == value and reply["error"]["class"] == "CommandNotFound"


def test_without_id_there_is_none(qmp):
    qmp.execute("query-kvm")
    assert list(qmp.reply()) == ["return"]


@pytest.mark.parametrize("text", [
    "hello\n", "}\n", "{]", "{'execute':'quit'}", '{"execute":"quit",}', '{"execute":"quit","execute":"quit"}',
    '{"execute":"quit\n', '{"id":NaN,"execute":"quit"}', '{"id":1e999,"execute":"quit"}',
    '{"id":"\\ud800","execute":"quit"}', b'{"id":"\xff","execute":"quit"}', '{"id":"\\u0000","execute":"quit"}',
    '{"id":' + "[" * 100 + "]" * 100 + ',"execute":"quit"}', b"\x16\x03\x01\n"])
def test_json_depth_what_is_no_json_is_one_error_and_no_command(qmp, text):
    qmp.send(text)
    with pytest.raises(QmpError, match="GenericError: JSON parse error"):
        qmp.result()
    assert qmp.run("query-status")["status"] == "prelaunch"
    assert qmp.silent(0.05)


def test_a_message_of_a_mebibyte_passes_and_a_larger_one_does_not(qmp):
    frame = len(json.dumps({"execute": "query-kvm", "id": ""}))
    qmp.send(json.dumps({"execute": "query-kvm", "id": "x" * ((1 << 20) - frame)}))
    assert len(qmp.reply()["id"]) == (1 << 20) - frame
    qmp.send(json.dumps({"execute": "query-kvm", "id": "x" * (3 << 20)}))
    with pytest.raises(QmpError, match="more than 1048576 bytes"):
        qmp.result()
    assert qmp.run("query-kvm")["enabled"]


def test_a_client_that_only_sent_gets_its_replies(vm):
    with vm.connect() as c:
        c.send('{"execute":"query-kvm","id":1}{"execute":"query-kvm","id":2}')
        c.sock.shutdown(socket.SHUT_WR)
        assert [c.reply()["id"], c.reply()["id"]] == [1, 2]
        assert c.message() is None


# ---- many clients ----

def test_several_clients_at_once_each_get_their_replies_and_all_get_events(vm):
    clients = [vm.connect() for _ in range(8)]
    for i, c in enumerate(clients):
        c.send(json.dumps({"execute": "query-status", "id": i}))
    assert [c.reply()["id"] for c in clients] == list(range(8))
    clients[3].run("cont")
    for c in clients:
        c.event("RESUME")
        c.close()


def test_connect_act_leave_200_times(vm):
    with vm.connect() as c:
        before = vm.descriptors()
        for i in range(200):
            with Client(vm.path, negotiate=i % 2) as other:
                if i % 4 == 1:
                    assert other.run("query-status")["status"] == "prelaunch"
                elif i % 4 == 3:
                    other.send('{"execute": "que')
        c.run("query-status")
        wait_for(lambda: vm.descriptors() == before)


def test_a_monitor_has_a_limit_of_clients_and_says_so(vm):
    clients = [vm.connect() for _ in range(32)]
    with socket.socket(socket.AF_UNIX) as more:
        more.settimeout(10)
        more.connect(vm.path)
        assert "32 clients" in json.loads(more.recv(4096))["error"]["desc"]
        assert more.recv(1) == b""
    clients.pop().close()
    wait_for(lambda: can_connect(vm.path))
    assert clients[0].run("query-status")["status"] == "prelaunch"
    for c in clients:
        c.close()


def can_connect(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(path)
        return b"QMP" in sock.recv(4096)


def test_slow_reader_blocks_neither_the_vm_nor_the_others(vm):
    mute = vm.connect()
    mute.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with vm.connect() as c:
        for _ in range(12000):
            start = time.monotonic()
            c.send('{"execute":"cont"}{"execute":"stop"}')
            c.result(), c.result()
            assert time.monotonic() - start < 2
        # It was given up at last: 24000 events are more than are kept.
        wait_for(lambda: c.run("query-status") and is_gone(mute), 20)
    mute.close()


def is_gone(c):
    """Reads all that is there; True at the end of the stream."""
    c.sock.setblocking(False)
    try:
        while True:
            if not c.sock.recv(1 << 20):
                return True
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_slow_reader_that_floods_is_held_up_and_loses_no_reply(vm):
    count = 3000
    with vm.connect() as flood, vm.connect() as c:
        requests = b"".join(b'{"execute":"qom-list-types","id":%d}' % i for i in range(count))
        flood.sock.setblocking(False)
        sent = 0
        while sent < len(requests):
            try:
                sent += flood.sock.send(requests[sent:])
            except BlockingIOError:
                break
        assert c.run("query-status")["status"] == "prelaunch"
        flood.sock.settimeout(30)
        seen = 0
        while sent < len(requests) or seen < count:
            if sent < len(requests):
                sent += flood.sock.send(requests[sent:sent + 256])
            assert flood.reply()["id"] == seen
            seen += 1


def test_flood_of_one_client_does_not_starve_another(vm):
    with vm.connect() as flood, vm.connect() as c:
        flood.send(b'{"execute":"query-commands"}' * 400)
        flood.sock.setblocking(False)
        for _ in range(50):
            start = time.monotonic()
            c.run("query-status")
            assert time.monotonic() - start < 0.1
            try:
                flood.sock.recv(1 << 20)
                flood.sock.send(b'{"execute":"query-commands"}' * 100)
            except BlockingIOError:
                pass


# ---- descriptors ----

def test_getfd_takes_the_descriptor_of_its_message(qmp):
    fd = os.open("/dev/null", os.O_RDONLY)
    qmp.send('{"execute":"getfd","arguments":{"fdname":"a"}}', [fd])
    os.close(fd)
    assert qmp.result() == {}
    assert qmp.run("closefd", fdname="a") == {}
    with pytest.raises(QmpError, match="File descriptor named 'a' not found"):
        qmp.run("closefd", fdname="a")
    with pytest.raises(QmpError, match="No file descriptor supplied via SCM_RIGHTS"):
        qmp.run("getfd", fdname="a")


def test_a_descriptor_may_come_with_any_byte_of_its_message(qmp):
    text = b'{"execute":"getfd","arguments":{"fdname":"a"}}'
    with open("/dev/null", "rb") as null:
        for i in range(len(text)):
            if i:
                qmp.send(text[:i])
            qmp.send(text[i:i + 1], [null.fileno()])
            if text[i + 1:]:
                qmp.send(text[i + 1:])
            assert qmp.result() == {}


def test_a_descriptor_that_the_message_does_not_use_is_closed(vm, qmp):
    before = vm.descriptors()
    with open("/dev/null", "rb") as null:
        qmp.send('{"execute":"query-status"}', [null.fileno()])
    qmp.result()
    with pytest.raises(QmpError, match="No file descriptor supplied"):
        qmp.run("getfd", fdname="a")
    assert vm.descriptors() == before


def test_fd_flood_leaves_the_descriptor_count_stable(vm, qmp):
    before = len(vm.descriptors())
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(253)]
    with vm.connect() as c:
        for _ in range(50):
            c.send(" ", fds)
            assert len(vm.descriptors()) <= before + 40
        c.run("query-status")
        with pytest.raises(QmpError):
            for i in range(1000):
                c.send(json.dumps({"execute": "getfd", "arguments": {"fdname": f"f{i}"}}), fds[:3])
                c.result()
        assert len(vm.descriptors()) <= before + 300
        assert c.run("query-status")["status"] == "prelaunch"
        c.send('{"execute":', fds[:16])
    wait_for(lambda: qmp.run("query-status") and len(vm.descriptors()) == before)
    for fd in fds:
        os.close(fd)


def test_fd_sets(vm, qmp):
    before = vm.descriptors()
    with open("/dev/null", "rb") as null:
        qmp.send('{"execute":"add-fd","arguments":{"opaque":"null"}}', [null.fileno()])
        first = qmp.result()
        qmp.send('{"execute":"add-fd","arguments":{"fdset-id":5}}', [null.fileno()])
        second = qmp.result()
        qmp.send('{"execute":"add-fd","arguments":{"fdset-id":5}}', [null.fileno()])
        third = qmp.result()
    assert (first["fdset-id"], second["fdset-id"], third["fdset-id"]) == (0, 5, 5)
    assert qmp.run("query-fdsets") == [
        {"fds": [{"fd": first["fd"], "opaque": "null"}], "fdset-id": 0},
        {"fds": [{"fd": second["fd"]}, {"fd": third["fd"]}], "fdset-id": 5}]
    qmp.run("remove-fd", fdset_id=5, fd=second["fd"])
    with pytest.raises(QmpError, match=f"File descriptor named 'fdset-id:5, fd:{second['fd']}' not found"):
        qmp.run("remove-fd", fdset_id=5, fd=second["fd"])
    qmp.run("remove-fd", fdset_id=5)
    qmp.run("remove-fd", fdset_id=0)
    assert qmp.run("query-fdsets") == []
    assert vm.descriptors() == before
