# SPDX-License-Identifier: Apache-2.0
"""A VM as libvirt makes it when nobody has changed its qemu.conf: an ordinary user, with a /dev of the VM's own, gets descriptors
for what it may not open. Run under tests/libvirt/private; test_elements.py does. Of Debian's defaults there are no control groups,
which a namespace cannot bring along, and no AppArmor."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from libvirt_vm import Domain, members, restart_libvirtd, virsh, wait_for  # noqa: E402

# A /dev as udev makes it: that of a container may be one of bind mounts, and /dev/kvm nobody's but root's.
DEV = """set -e
mount -t tmpfs -o mode=755 dev "$1"
for node in null zero full random urandom tty; do mknod -m 666 "$1/$node" c $((0x$(stat -c %t /dev/$node))) $((0x$(stat -c %T /dev/$node))); done
mknod -m 666 "$1/ptmx" c 5 2
mknod -m 660 "$1/kvm" c 10 232
chgrp kvm "$1/kvm"
mkdir "$1/pts" "$1/shm" "$1/net"
mknod -m 600 "$1/net/tun" c 10 200
ln -s /proc/self/fd "$1/fd"
mount --bind /dev/pts "$1/pts"
mount -t tmpfs shm "$1/shm"
for place in $(cut -d ' ' -f 2 /proc/mounts | grep ^/dev/ | sort -r); do umount -l "$place"; done
mount --rbind "$1" /dev
umount -l -R "$1"
ip link add svbr1 type bridge
ip link set svbr1 up
"""


def owner(path):
    return pathlib.Path(path).owner()


def main():
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o755)
    with tempfile.TemporaryDirectory() as dev:
        subprocess.run(["sh", "-c", DEV, "sh", dev], check=True)
    with open("/etc/libvirt/qemu.conf", "w") as f:
        f.write("cgroup_controllers = []\nsecurity_driver = \"none\"\n")
    restart_libvirtd()
    domain = Domain(folder, "svbr1", name="ordinary")
    domain.define()
    virsh("start", domain.name)
    assert domain.state() == "running"
    with open(f"/proc/{domain.pid()}/status") as f:
        status = f.read()
    assert re.search(r"^CapEff:\s0+$", status, re.M) and owner(f"/proc/{domain.pid()}") == "libvirt-qemu", status
    assert owner(f"{folder}/rootfs.raw") == "libvirt-qemu"
    assert "tun" not in os.listdir(f"/proc/{domain.pid()}/root/dev"), "libvirt made no /dev of its own"
    # What comes later has to come into that /dev, and to that user, as well.
    path = domain.file("hot.raw", "")
    os.truncate(path, 1 << 20)
    virsh("attach-disk", domain.name, path, "vdb", "--live")
    virsh("attach-interface", domain.name, "bridge", "svbr1", "--model", "virtio", "--live")
    assert members(virsh("domstats", "--block", domain.name))["block.1.capacity"] == str(1 << 20)
    virsh("blkdeviotune", domain.name, "hda", "--total-iops-sec", "500")
    virsh("setmem", domain.name, "200M", "--live")
    pid = domain.pid()
    restart_libvirtd()
    wait_for(lambda: domain.state() == "running", "the domain to be found")
    assert domain.pid() == pid
    virsh("suspend", domain.name)
    virsh("resume", domain.name)
    virsh("destroy", domain.name)
    assert owner(f"{folder}/rootfs.raw") == "root"
    virsh("undefine", domain.name)
    for name in os.listdir(folder):
        os.unlink(f"{folder}/{name}")
    os.rmdir(folder)


main()
