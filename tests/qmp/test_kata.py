# SPDX-License-Identifier: Apache-2.0
"""As the Kata runtime's StratoVirt driver starts a sandbox and plugs a disk into it."""

import os
import re
import subprocess

import pytest

from client import Client, GUEST_ELF, LIMIT, STRATOVIRT, listens, wait_for

# In the runtime's order; vsock and network come as descriptors of the host's kernel and have tests of their own.
LAUNCH = """-name sandbox-1 -uuid 12345678-1234-1234-1234-123456789abc -smp 2 -m 256 -kernel KERNEL -append APPEND
    -qmp unix:qmp.sock,server,nowait -D -disable-seccomp -machine type=microvm,dump-guest-core=off,mem-share=MEM
    -initrd initrd -object rng-random,id=objrng0,filename=/dev/urandom -device virtio-rng-device,id=rng0,rng=objrng0
    -device virtio-serial-device,id=virtio-serial0 -chardev socket,id=charconsole0,path=console.sock,server,nowait
    -device virtconsole,chardev=charconsole0,id=console0,nr=0
    -drive id=rootfs,file=rootfs,readonly=on,direct=off -device virtio-blk-device,id=blk0,drive=rootfs"""


@pytest.mark.parametrize("shared", ["off", "on"])
def test_a_sandbox_runs_and_takes_a_disk(tmp_path, shared):
    for name in ("rootfs", "hot", "initrd"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
    words = [{"KERNEL": GUEST_ELF, "APPEND": "tsc=reliable test=spin"}.get(w, w) for w in LAUNCH.replace("MEM", shared).split()]
    process = subprocess.Popen([STRATOVIRT, *words], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, env={**os.environ, "STRATOVIRT_LOG_LEVEL": "info"})
    try:
        path = str(tmp_path / "qmp.sock")
        wait_for(lambda: process.poll() is not None or listens(path))
        assert process.poll() is None, process.stdout.read()
        with Client(path) as q:
            assert q.run("query-status")["status"] == "running"
            threads = {cpu["CPU"]: cpu["thread_id"] for cpu in q.run("query-cpus")}
            for number, thread in threads.items():
                with open(f"/proc/{process.pid}/task/{thread}/comm") as f:
                    assert f.read() == f"CPU {number}/KVM\n"
            for slot in "123":  # vdb to vdd
                drive = f"drive-{slot}"
                q.run("blockdev-add", driver="raw", read_only=False, node_name=drive,
                      file={"driver": "file", "filename": "hot", "aio": "native"})
                q.run("device_add", id=drive, driver="virtio-blk-mmio", drive=drive, addr=slot)
                q.run("device_del", id=drive)
                assert q.event("DEVICE_DELETED")["data"]["device"] == drive
                q.run("blockdev-del", node_name=drive)
            q.run("quit")
        out = process.communicate(timeout=LIMIT)[0]
        assert process.returncode == 0
        # The runtime's log parser looks for these.
        assert re.search(r":INFO: ", out)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
