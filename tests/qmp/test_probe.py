# SPDX-License-Identifier: Apache-2.0
"""What libvirt asks of a binary before it starts a VM, and the options that it then passes."""

import json
import os
import signal
import subprocess

import pytest

from client import Client, QmpError, STRATOVIRT, VM, wait_for


@pytest.fixture
def probe(tmp_path):
    """Started as libvirt 9.0 does, argument for argument."""
    sock, pidfile = tmp_path / "qmp.monitor", tmp_path / "qmp.pid"
    done = subprocess.run([STRATOVIRT, "-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=kvm:tcg",
                           "-qmp", f"unix:{sock},server=on,wait=off", "-pidfile", pidfile, "-daemonize"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid = int(pidfile.read_text())
    try:
        with Client(str(sock)) as client:
            yield client
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not os.path.exists(f"/proc/{pid}"))
    assert not pidfile.exists() and not sock.exists()


def test_it_answers_honestly(probe):
    assert probe.run("query-kvm") == {"enabled": True, "present": True}
    machines = {m["name"]: m for m in probe.run("query-machines")}
    assert {"microvm", "q35", "none"} <= set(machines)
    assert machines["q35"]["cpu-max"] == 254 and machines["q35"]["default-ram-id"] == "pc.ram"
    assert [c["name"] for c in probe.run("query-cpu-definitions")] == ["host"]
    types = {t["name"] for t in probe.run("qom-list-types")}
    assert {"pcie-root-port", "virtio-net-pci", "virtio-rng-pci", "rng-random", "iothread", "vhost-vsock-device", "secret",
            "virtio-blk-pci-non-transitional", "memory-backend-file"} <= types
    # What is not offered is not advertised.
    assert not {"tcg-accel", "qemu-xhci", "VGA", "scsi-hd", "virtio-scsi-pci", "vfio-pci", "intel-iommu"} & types
    names = {p["name"] for p in probe.run("device-list-properties", typename="virtio-balloon-pci")}
    assert "deflate-on-oom" in names
    for absent in ("scsi-hd", "ide-hd", "usb-host", "virtio-balloon-ccw"):
        with pytest.raises(QmpError) as caught:
            probe.run("device-list-properties", typename=absent)
        assert caught.value.kind == "DeviceNotFound"
    # An error of the class DeviceNotFound would end libvirtd here.
    for name in ("memory-backend-file", "none-machine", "max-x86_64-cpu"):
        assert isinstance(probe.run("qom-list-properties", typename=name), list)
    with pytest.raises(QmpError) as caught:
        probe.run("query-tpm-models")
    assert caught.value.kind == "CommandNotFound"
    assert probe.run("query-jobs") == []


def test_every_device_of_the_list_can_be_asked_for(probe):
    for entry in probe.run("qom-list-types", implements="device"):
        if "-cpu" not in entry["name"]:
            probe.run("device-list-properties", typename=entry["name"])


def test_no_machine_runs_nothing(probe):
    assert probe.run("query-status")["status"] == "prelaunch"
    probe.run("cont")
    probe.run("stop")
    probe.run("system_reset")
    with pytest.raises(QmpError):
        probe.run("system_powerdown")
    assert "machine: none" in probe.run("human-monitor-command", **{"command-line": "info qtree"})


def test_migration_has_events_and_no_more(qmp):
    assert qmp.run("query-migrate-capabilities") == [{"capability": "events", "state": False}]
    qmp.run("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
    assert qmp.run("query-migrate-capabilities") == [{"capability": "events", "state": True}]
    with pytest.raises(QmpError):
        qmp.run("migrate-set-capabilities", capabilities=[{"capability": "xbzrle", "state": True}])


@pytest.mark.parametrize("action,ends", [({"reboot": "shutdown"}, True), ({"reboot": "reset"}, False)])
def test_what_a_reboot_does_changes_at_run_time(tmp_path, action, ends):
    options = ["-no-reboot"] if not ends else []
    with VM(tmp_path, *options, append="test=triple") as vm, vm.connect() as q:
        q.run("set-action", **action)
        q.run("set-action", panic="pause", watchdog="none")
        q.run("cont")
        q.event("RESUME")
        if ends:
            assert q.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-reset"}
            vm.end(0)
        else:
            assert q.event("RESET")["data"] == {"guest": True, "reason": "guest-reset"}


def options_run(tmp_path, *options, **more):
    """Starts a VM with these options and gives what it is made of."""
    with VM(tmp_path, *options, cwd=tmp_path, **more) as vm, vm.connect() as q:
        tree = q.run("human-monitor-command", **{"command-line": "info qtree"})
        disk = {p: q.run("qom-get", path="/machine/peripheral/virtio-disk0", property=p) for p in ("serial", "drive")
                } if "virtio-disk0" in tree else {}
        blocks = q.run("query-named-block-nodes")
        sets = q.run("query-fdsets")
        q.run("quit")
        vm.end(0)
    return tree, disk, blocks, sets


def test_options_of_a_vm_of_libvirt(tmp_path):
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    with open(tmp_path / "log", "wb") as log:
        tree, disk, blocks, sets = options_run(
            tmp_path, "-name", "guest=x,debug-threads=on", "-object", "secret,id=masterKey0,format=raw,file=/nowhere",
            "-blockdev", json.dumps({"driver": "file", "filename": "disk", "node-name": "libvirt-1-storage",
                                     "auto-read-only": True, "discard": "unmap"}),
            "-blockdev", '{"node-name":"libvirt-1-format","read-only":false,"driver":"raw","file":"libvirt-1-storage"}',
            "-device", '{"driver":"virtio-blk-device","drive":"libvirt-1-format","id":"virtio-disk0","bootindex":1}',
            "-machine", "usb=off,dump-guest-core=off,memory-backend=microvm.ram", "-accel", "kvm",
            "-object", '{"qom-type":"memory-backend-ram","id":"microvm.ram","size":134217728}',
            "-overcommit", "mem-lock=off", "-display", "none", "-no-user-config", "-nodefaults", "-rtc", "base=utc",
            "-boot", "strict=on", "-audiodev", '{"id":"audio1","driver":"none"}', "-msg", "timestamp=on",
            "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", "-no-hpet",
            "-global", "ICH9-LPC.disable_s3=1", "-global", "driver=virtio-blk-device,property=serial,value=S1",
            "-add-fd", f"set=3,fd={log.fileno()},opaque=console0-source",
            "-chardev", "file,id=charconsole0,path=/dev/fdset/3,append=on",
            "-device", "virtio-serial-device", "-device", "virtconsole,chardev=charconsole0,id=console0",
            pass_fds=[log.fileno()])
    assert disk == {"serial": "S1", "drive": "libvirt-1-format"} and "console0" in tree
    assert {b["node-name"] for b in blocks} == {"libvirt-1-storage", "libvirt-1-format"}
    assert [(s["fdset-id"], s["fds"][0]["opaque"]) for s in sets] == [(3, "console0-source")]


@pytest.mark.parametrize("options,text", [
    (["-add-fd", "set=1,fd=999"], "descriptor 999 is not open"),
    (["-add-fd", "set=1,fd=0"], "standard input or output"),
    (["-add-fd", "set=1"], "'fd' is required"),
    (["-global", "virtio-blk-device.colour=red"], "no such property"),
    (["-global", "ide-hd.serial=x"], "unknown device 'ide-hd'"),
    (["-global", "nothing"], "unknown key 'nothing'"),
    (["-machine", "q35", "-global", "ICH9-LPC.disable_s3=0"], "no suspend to memory"),
    (["-machine", "q35", "-global", "ICH9-LPC.disable_s4=0"], "no suspend to disk"),
    (["-global", "driver=x"], "driver, property and value are required"),
    (["-global", ".x=1"], "DRIVER.PROPERTY=VALUE is needed"),
    (["-global", "driver=virtio-blk-device,property=serial,value=1,more=2"], "unknown key 'more'"),
    (["-blockdev", "driver=file,filename=/nowhere,node-name=n"], "/nowhere"),
    (["-blockdev", "driver=qcow2,file=x,node-name=n"], "qcow2"),
    (["-object", "secret,id=s,colour=red"], "colour"),
])
def test_options_that_are_wrong(options, text):
    done = subprocess.run([STRATOVIRT, "-machine", "none", *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=20)
    assert done.returncode == 1 and text in done.stderr, done.stderr


def test_a_kernel_that_somebody_else_opened(tmp_path):
    (tmp_path / "kernel").write_bytes(b"none")
    with open(tmp_path / "kernel", "rb") as kernel:
        done = subprocess.run([STRATOVIRT, "-accel", "test", "-m", "128", "-add-fd", f"set=4,fd={kernel.fileno()}",
                               "-kernel", "/dev/fdset/4"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=20, pass_fds=[kernel.fileno()])
    assert done.returncode == 1 and "/dev/fdset/4" in done.stderr and "cannot open" not in done.stderr


def test_no_acpi(tmp_path):
    tree = options_run(tmp_path, "-no-acpi")[0]
    assert "acpi-ged" not in tree
