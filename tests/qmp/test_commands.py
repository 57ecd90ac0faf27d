# SPDX-License-Identifier: Apache-2.0
"""What the commands answer and which events they cause."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from client import QmpError, Schema, VM, STRATOVIRT, wait_for

RICH = ["-name", "guest=web1", "-uuid", "12345678-9ABC-def0-1234-56789abcdef0", "-smp", "3,maxcpus=4",
        "-object", "iothread,id=io0", "-object", "iothread,id=io1",
        "-object", "rng-random,id=r0,filename=/dev/urandom",
        "-device", "virtio-rng-device,rng=r0,id=rng0", "-chardev", "null,id=c0",
        "-drive", "id=d0,file=disk0,if=none", "-drive", "id=d1,file=disk1", "-device", "virtio-blk-device,drive=d1,id=b1",
        "-device", "vmgenid,guid=auto"]


@pytest.fixture
def rich(tmp_path):
    for i in range(3):
        with open(tmp_path / f"disk{i}", "wb") as f:
            f.truncate(1 << 20)
    with VM(tmp_path, *RICH, cwd=tmp_path) as vm:
        yield vm


@pytest.fixture
def q(rich):
    with rich.connect() as c:
        yield c


# ---- introspection ----

# Every command with arguments for it; commands that change something have tests of their own besides.
ARGUMENTS = {
    "query-command-line-options": [{}, {"option": "smp"}],
    "qom-list-types": [{}, {"implements": "device"}, {"abstract": False}],
    "device-list-properties": [{"typename": "virtio-rng-device"}, {"typename": "virtio-blk-device"}],
    "qom-list-properties": [{"typename": "none-machine"}],
    "qom-list": [{"path": p} for p in ("/", "/machine", "/machine/peripheral", "/machine/unattached", "/objects",
                                       "/machine/peripheral/rng0", "/machine/unattached/device[0]", "/objects/io0")],
    "qom-get": [{"path": "/machine/peripheral/rng0", "property": "type"},
                {"path": "/machine/peripheral/rng0", "property": "rng"}],
    "human-monitor-command": [{"command-line": "info " + what} for what in (
        "balloon", "block", "chardev", "cpus", "iothreads", "kvm", "memory_size_summary", "mtree", "name", "network", "numa", "qtree",
        "registers", "status", "uuid", "version")],
    "getfd": [{"fdname": "x"}],
    "closefd": [{"fdname": "x"}],
    "add-fd": [{"fdset-id": 3}],
    "remove-fd": [{"fdset-id": 3}],
    "migrate-set-capabilities": [{"capabilities": [{"capability": "events", "state": True}]}],
    "set-action": [{}, {"reboot": "reset", "panic": "shutdown", "watchdog": "none"}],
    "qom-set": [{"path": "/machine/peripheral/rng0", "property": "rng", "value": 1}],
    "query-blockstats": [{}, {"query-nodes": True}],
    "blockdev-add": [{"driver": "file", "node-name": "n0", "filename": "disk2"},
                     {"driver": "raw", "node-name": "n1", "file": "n0"}],
    "blockdev-del": [{"node-name": "n1"}],
    "block_set_io_throttle": [{"id": "b1", "iops": 10, "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops_rd": 0, "iops_wr": 0}],
    "block_resize": [{"device": "d0", "size": 1 << 21}, {"node-name": "d1", "size": 1 << 19}],
    "device_add": [{"driver": "virtio-blk-mmio", "id": "h0", "drive": "d0", "addr": "1"}],
    "device_del": [{"id": "h0"}],
    "netdev_add": [{"type": "none", "id": "x"}],
    "netdev_del": [{"id": "x"}],
    "set_link": [{"name": "x", "up": False}],
    "netlink_set": [{"id": "x", "up": True}],
    "object-add": [{"qom-type": "iothread", "id": "x"}],
    "object-del": [{"id": "x"}],
    "chardev-add": [{"id": "x", "backend": {"type": "pty"}}, {"id": "y", "backend": {"type": "null", "data": {}}}],
    "chardev-remove": [{"id": "x"}],
    "balloon": [{"value": 1 << 27}],
    "query-mem-gpa": [{"gpa": "100000"}],
}
# What this VM cannot do.
REFUSED = ["qom-set", "netdev_add", "netdev_del", "set_link", "netlink_set", "balloon", "query-balloon"]
LAST = ["quit"]
NOT_TWICE = ["qmp_capabilities"]
WITH_FD = ["getfd", "add-fd"]


def test_every_reply_is_what_the_schema_says(rich, q):
    schema = Schema(q.run("query-qmp-schema"))
    commands = [c["name"] for c in q.run("query-commands")]
    assert schema.names("command") == set(commands)
    assert schema.names("event") == {e["name"] for e in q.run("query-events")}
    assert set(ARGUMENTS) <= set(commands)
    for command in [c for c in commands if c not in LAST + NOT_TWICE] + LAST:
        for arguments in ARGUMENTS.get(command, [{}]):
            schema.check(schema.entries[command]["arg-type"], arguments, command)
            request = {"execute": command, "arguments": arguments}
            with open("/dev/null", "rb") as null:
                q.send(json.dumps(request), [null.fileno()] if command in WITH_FD else [])
            if command in REFUSED:
                assert set(q.reply()["error"]) == {"class", "desc"}
            else:
                schema.check_return(command, q.result())
    while q.events or (message := q.message()):
        schema.check_event(q.events.pop(0) if q.events else message)
    rich.end()


@pytest.mark.parametrize("command,arguments,kind,desc", [
    ("no-such", {}, "CommandNotFound", "The command no-such has not been found"),
    ("query-tpm-models", {}, "CommandNotFound", "The command query-tpm-models has not been found"),
    ("qom-list", {}, "GenericError", "Parameter 'path' is missing"),
    ("qom-list", {"path": 1}, "GenericError", "Invalid parameter type for 'path', expected: string"),
    ("stop", {"x": 1}, "GenericError", "Parameter 'x' is unexpected"),
    ("qom-list", {"path": "/machine/peripheral/none"}, "DeviceNotFound",
     "Device '/machine/peripheral/none' not found"),
    ("qom-list", {"path": "/machine/rng0"}, "DeviceNotFound", "Device '/machine/rng0' not found"),
    ("qom-list", {"path": ""}, "DeviceNotFound", "Device '' not found"),
    ("qom-get", {"path": "/machine/peripheral/rng0", "property": "none"}, "GenericError",
     "Property 'virtio-rng-device.none' not found"),
    ("device-list-properties", {"typename": "ide-hd"}, "DeviceNotFound", "Device 'ide-hd' not found"),
    ("query-command-line-options", {"option": "none"}, "GenericError", "invalid option name: none"),
])
def test_errors_have_qemus_words(q, command, arguments, kind, desc):
    with pytest.raises(QmpError) as caught:
        q.run(command, **arguments)
    assert (caught.value.kind, caught.value.desc) == (kind, desc)


def test_human_monitor_knows_four_words_and_no_others(q):
    assert "paused (prelaunch)" in q.run("human-monitor-command", command_line="info status")
    # qmp-shell names a CPU each time.
    assert "paused" in q.run("human-monitor-command", command_line="info status", cpu_index=2)
    for wrong in (-1, 3, 1 << 40):
        with pytest.raises(QmpError, match="Parameter 'cpu-index' expects a CPU number"):
            q.run("human-monitor-command", command_line="info status", cpu_index=wrong)
    assert len(re.findall("CPU #", q.run("human-monitor-command", command_line="info cpus"))) == 3
    assert "ram" in q.run("human-monitor-command", command_line="info mtree")
    assert 'dev: virtio-rng-device, id "rng0"' in q.run("human-monitor-command", command_line="info qtree")
    def info(what):
        return q.run("human-monitor-command", command_line="info " + what)

    block = info("block")
    assert "d0: disk0 (raw)" in block and "Attached to:      /machine/peripheral/b1" in block and "iops=0" in block
    assert "1048576 bytes" in block and "I/O status:       ok" in block
    assert re.search(r"^io0: thread_id=\d+\r\nio1: thread_id=\d+\r\n$", info("iothreads"))
    assert "c0: filename=null" in info("chardev")
    assert info("network") == "" and info("name") == "web1\r\n" and info("kvm") == "KVM enabled: true\r\n"
    assert info("uuid") == "12345678-9abc-def0-1234-56789abcdef0\r\n"
    assert info("balloon") == "none\r\n" and info("memory_size_summary") == "base memory: 134217728\r\n"
    assert info("version").startswith("StratoVirt ") and "RIP=" in info("registers")
    with pytest.raises(QmpError, match="Unsupported command"):
        q.run("human-monitor-command", command_line="drive_add 0 x")


# ---- information ----

def test_name_uuid_target_kvm_memory(q):
    assert q.run("query-name") == {"name": "web1"}
    assert q.run("query-uuid") == {"UUID": "12345678-9abc-def0-1234-56789abcdef0"}
    assert q.run("query-target") == {"arch": os.uname().machine}
    assert q.run("query-kvm") == {"enabled": True, "present": True}
    assert q.run("query-memory-size-summary") == {"base-memory": 128 << 20}


def test_a_name_that_is_no_utf8_does_not_spoil_the_stream(tmp_path):
    with VM(tmp_path, "-name", b"a\xff\xc3\xa4") as vm, vm.connect() as c:
        assert c.run("query-name") == {"name": "a?\u00e4"}


def test_without_name_and_uuid(qmp):
    assert qmp.run("query-name") == {}
    assert qmp.run("query-uuid") == {"UUID": "00000000-0000-0000-0000-000000000000"}


def test_vcpus_and_iothreads_have_their_real_threads(rich, q):
    names = {int(t): open(f"/proc/{rich.process.pid}/task/{t}/comm").read().strip()
             for t in os.listdir(f"/proc/{rich.process.pid}/task")}
    fast = q.run("query-cpus-fast")
    assert [names[c["thread-id"]] for c in fast] == ["CPU 0/KVM", "CPU 1/KVM", "CPU 2/KVM"]
    assert [c["thread_id"] for c in q.run("query-cpus")] == [c["thread-id"] for c in fast]
    assert [c["CPU"] for c in q.run("query-cpus")] == [0, 1, 2]
    iothreads = q.run("query-iothreads")
    assert [(i["id"], names[i["thread-id"]]) for i in iothreads] == [("io0", "io0"), ("io1", "io1")]
    for cpu in fast:
        entries = q.run("qom-list", path=cpu["qom-path"])
        assert entries[0]["name"] == "type"


def test_topology_is_told(tmp_path):
    with VM(tmp_path, "-smp", "8,sockets=2,cores=2,threads=2") as vm, vm.connect() as c:
        props = [cpu["props"] for cpu in c.run("query-cpus-fast")]
        assert [p["socket-id"] for p in props] == [0, 0, 0, 0, 1, 1, 1, 1]
        assert [p["core-id"] for p in props] == [0, 0, 1, 1, 0, 0, 1, 1]
        assert [p["thread-id"] for p in props] == [0, 1] * 4


def test_hotpluggable_cpus_tell_which_places_are_taken(q):
    assert ["qom-path" in c for c in q.run("query-hotpluggable-cpus")] == [True, True, True, False]


def test_machines_are_those_of_the_command_line(q):
    assert [m["name"] for m in q.run("query-machines") if m.get("is-default")] == ["microvm"]


def test_command_line_options_are_those_of_the_command_line(q):
    options = {o["option"]: [p["name"] for p in o["parameters"]] for o in q.run("query-command-line-options")}
    assert {"machine", "smp", "m", "device", "qmp"} <= set(options)
    assert {"cpus", "sockets", "cores", "threads"} <= set(options["smp"])
    assert "sandbox" in options
    assert [o["option"] for o in q.run("query-command-line-options", option="smp")] == ["smp"]


def test_object_tree(q):
    def children(path):
        return {e["name"]: e["type"] for e in q.run("qom-list", path=path) if e["type"].startswith("child<")}

    assert children("/") == {"machine": "child<microvm-machine>", "objects": "child<container>"}
    assert children("/machine/peripheral")["rng0"] == "child<virtio-rng-device>"
    assert children("/objects") == {"io0": "child<iothread>", "io1": "child<iothread>", "r0": "child<rng-random>"}
    assert q.run("qom-get", path="/machine/peripheral/rng0", property="rng") == "r0"
    assert q.run("qom-get", path="/objects/io0", property="type") == "iothread"
    types = {t["name"] for t in q.run("qom-list-types")}
    assert {"virtio-rng-device", "iothread", "rng-random", "microvm-machine"} <= types
    devices = {t["name"] for t in q.run("qom-list-types", implements="device")}
    assert "virtio-rng-device" in devices and "iothread" not in devices


def test_chardevs(q):
    assert {"label": "c0", "filename": "null", "frontend-open": False} in q.run("query-chardev")


def test_pty_has_its_path(tmp_path):
    with VM(tmp_path, "-chardev", "pty,id=p0") as vm, vm.connect() as c:
        names = {i["label"]: i["filename"] for i in c.run("query-chardev")}
        assert re.fullmatch(r"pty:/dev/pts/\d+", names["p0"]) and os.path.exists(names["p0"][4:])


# ---- the VM's life ----

def status(c):
    info = c.run("query-status")
    assert info["running"] == (info["status"] == "running")
    return info["status"]


def test_stop_and_cont(qmp):
    assert status(qmp) == "prelaunch"
    qmp.run("cont")
    qmp.event("RESUME")
    assert status(qmp) == "running"
    qmp.run("cont")
    qmp.run("stop")
    qmp.event("STOP")
    assert status(qmp) == "paused"
    qmp.run("stop")
    assert qmp.silent() and not qmp.events


def test_stop_rests_the_vcpus_and_cont_lets_them_go_on(tmp_path):
    with VM(tmp_path, paused=False) as vm, vm.connect() as c:
        start = vm.cpu_time()
        wait_for(lambda: vm.cpu_time() > start + 20)  # the guest never rests
        c.run("stop")
        rest = vm.cpu_time()
        time.sleep(0.5)
        assert vm.cpu_time() - rest <= 2
        c.run("cont")
        wait_for(lambda: vm.cpu_time() > rest + 20)


def test_reset_keeps_the_run_state_and_tells_its_reason(qmp):
    data = {"guest": False, "reason": "host-qmp-system-reset"}
    qmp.run("system_reset")
    assert qmp.event("RESET")["data"] == data
    assert status(qmp) == "prelaunch"
    qmp.run("cont")
    qmp.event("RESUME")
    for _ in range(10):
        qmp.run("system_reset")
        assert qmp.event("RESET")["data"] == data
        assert status(qmp) == "running"
    qmp.run("stop")
    qmp.event("STOP")
    qmp.run("system_reset")
    qmp.event("RESET")
    assert status(qmp) == "paused"
    assert qmp.silent() and not qmp.events


def test_powerdown_presses_the_button(qmp):
    qmp.run("system_powerdown")
    qmp.event("POWERDOWN")
    assert status(qmp) == "prelaunch"


def test_powerdown_without_button_is_an_error(tmp_path):
    with VM(tmp_path, "-machine", "microvm,acpi=off") as vm, vm.connect() as c:
        with pytest.raises(QmpError, match="GenericError: .*no power button"):
            c.run("system_powerdown")
        assert c.silent() and not c.events


def test_clients_that_do_not_read_do_not_hold_up_the_end(vm, qmp):
    mute = [vm.connect() for _ in range(20)]
    for c in mute:
        c.send(b'{"execute":"query-qmp-schema"}' * 100)
    for _ in range(50):  # turns of the loop, until all of them are stuck
        qmp.run("query-status")
    qmp.run("quit")
    start = time.monotonic()
    vm.end()
    assert time.monotonic() - start < 2
    for c in mute:
        c.close()


def test_quit_replies_then_tells_then_ends(vm, qmp):
    with vm.connect() as other:
        qmp.send('{"execute":"quit","id":1}{"execute":"cont","id":2}')
        assert qmp.message() == {"return": {}, "id": 1}
        for c in (qmp, other):
            assert c.event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-qmp-quit"}
            assert c.message() is None
    vm.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_tells_and_ends(vm, qmp, number):
    vm.signal(number)
    assert qmp.event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-signal"}
    assert qmp.message() is None
    vm.end()


def test_guest_that_ends_is_told_as_the_guests_doing(tmp_path):
    with VM(tmp_path, "-device", "isa-debug-exit", append="test=hello status=5") as vm, vm.connect() as c:
        c.run("cont")
        c.event("RESUME")
        assert c.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-shutdown"}
        assert c.message() is None
        vm.end(11)


def test_guest_reset_is_told_as_the_guests_doing(tmp_path):
    with VM(tmp_path, append="test=triple") as vm, vm.connect() as c:
        c.run("cont")
        c.event("RESUME")
        for _ in range(3):
            assert c.event("RESET")["data"] == {"guest": True, "reason": "guest-reset"}


def test_no_reboot_makes_a_reset_an_end(tmp_path):
    with VM(tmp_path, "-no-reboot", append="test=triple") as vm, vm.connect() as c:
        c.run("cont")
        c.event("RESUME")
        assert c.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-reset"}
        assert c.message() is None
        vm.end()


def test_no_shutdown_keeps_the_process_for_a_reset_and_another_life(tmp_path):
    with VM(tmp_path, "-no-reboot", "-no-shutdown", append="test=triple") as vm, vm.connect() as c:
        c.run("cont")
        c.event("RESUME")
        for _ in range(2):
            assert c.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-reset"}
            c.event("STOP")
            assert status(c) == "shutdown"
            with pytest.raises(QmpError, match="needs a reset"):
                c.run("cont")
            c.run("system_reset")
            c.event("RESET")
            assert status(c) == "paused"
            c.run("cont")
            c.event("RESUME")


def test_spinning_guest_does_not_delay_answers(tmp_path):
    """io-hijack: a guest that leaves KVM_RUN all the time leaves QMP answering within 100 ms."""
    with VM(tmp_path, "-smp", "2", paused=False, append="test=spin how=exits") as vm, vm.connect() as c:
        start = vm.cpu_time()
        wait_for(lambda: vm.cpu_time() > start + 20)
        worst = 0
        for _ in range(100):
            start = time.monotonic()
            assert status(c) == "running"
            worst = max(worst, time.monotonic() - start)
        assert worst < 0.1, f"{worst * 1000:.0f} ms"


def test_version_of_the_binary_is_in_the_package(qmp):
    text = subprocess.run([STRATOVIRT, "-V"], check=True, text=True, stdout=subprocess.PIPE).stdout
    assert qmp.run("query-version")["package"] == "StratoVirt-" + text.split()[1]


# ---- ids ----

@pytest.mark.parametrize("bad", ["a,b", "a/b", "#a", "a b"])
@pytest.mark.parametrize("command,arguments,key", [
    ("object-add", {"qom-type": "iothread"}, "id"),
    ("chardev-add", {"backend": {"type": "null", "data": {}}}, "id"),
    ("netdev_add", {"type": "tap", "ifname": "none"}, "id"),
    ("blockdev-add", {"driver": "file", "filename": "disk2"}, "node-name"),
    ("device_add", {"driver": "virtio-blk-mmio", "drive": "d0", "addr": "1"}, "id"),
])
def test_ids_that_are_none(q, command, arguments, key, bad):
    with pytest.raises(QmpError, match=re.escape(f"id '{bad}': ids are of letters")):
        q.run(command, **{**arguments, key: bad})
