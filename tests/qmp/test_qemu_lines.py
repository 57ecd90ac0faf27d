# SPDX-License-Identifier: Apache-2.0
"""Command lines as QEMU's manual and its users have them, from "-M" on: each starts a VM, or is refused by one line that names the option
and its value and says what would be right."""

import platform
import re
import shlex
import shutil
import subprocess

import pytest

from client import Client, GUEST_ELF, LIMIT, STRATOVIRT, listens, wait_for

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="q35 and QEMU's microvm are x86_64's")

MICROVM = "-M microvm -m 256 -kernel vmlinux"
Q35 = "-M q35 -m 256 -kernel vmlinux"
DISK = "-drive id=d0,file=disk.img,if=none,format=raw"

STARTS = [
    "-M microvm -enable-kvm -cpu host -m 512m -smp 2 -kernel vmlinux -append 'console=ttyS0 root=/dev/vda' -nodefaults -no-user-config"
    " -nographic -serial stdio -drive id=test,file=disk.img,format=raw,if=none -device virtio-blk-device,drive=test",
    "-M microvm,x-option-roms=off,pit=off,pic=off,isa-serial=off,rtc=off -enable-kvm -cpu host -m 512m -smp 2 -kernel vmlinux"
    " -append 'console=hvc0 root=/dev/vda' -nodefaults -no-user-config -nographic -chardev stdio,id=virtiocon0"
    " -device virtio-serial-device -device virtconsole,chardev=virtiocon0 -drive id=test,file=disk.img,format=raw,if=none"
    " -device virtio-blk-device,drive=test",
    "-M microvm,accel=kvm,acpi=on,rtc=on,pcie=on,usb=off -m 256 -kernel vmlinux",
    "-M microvm,ioapic2=off,acpi=off,auto-kernel-cmdline=off -m 512 -kernel vmlinux",
    f"{MICROVM} -drive file=disk.img,if=virtio",
    f"{Q35} -smp 4 -drive file=disk.img,if=virtio,format=raw",
    f"{Q35} -drive file=disk.img,if=virtio,format=raw -drive file=disk2.img,if=virtio,format=raw,readonly=on",
    f"{Q35} -vga none -display none -monitor none -parallel none -serial null",
    f"{Q35} -nographic",
    "-M q35,accel=kvm:tcg -m 256 -kernel vmlinux -cpu max",
    f"{Q35} -object memory-backend-memfd,id=mem,size=256M,share=on -numa node,memdev=mem",
    f"{Q35} -object memory-backend-file,id=mem,size=256M,mem-path=/dev/shm,share=on -machine memory-backend=mem",
    f"{Q35} -object rng-random,filename=/dev/urandom,id=rng0 -device virtio-rng-pci,rng=rng0,max-bytes=1024,period=1000",
    f"{Q35} -device virtio-rng-pci",
    f"{MICROVM} -device virtio-rng-device",
    f"{Q35} -device virtio-balloon",
    f"{Q35} -device virtio-serial -chardev socket,path=qga.sock,server=on,wait=off,id=qga0"
    " -device virtserialport,chardev=qga0,name=org.qemu.guest_agent.0",
    f"{Q35} -serial mon:stdio",
    f"{Q35} -device pcie-root-port,id=rp0,bus=pcie.0,chassis=1,slot=1 -device virtio-blk-pci,drive=d0,bus=rp0"
    " -blockdev node-name=d0,driver=raw,file.driver=file,file.filename=disk.img",
    f"{Q35} -rtc base=localtime,clock=host",
    "-M q35,smm=off,vmport=off,hpet=off -m 256 -kernel vmlinux",
    "-M q35 -smp 4,sockets=2,cores=2,threads=1,maxcpus=4 -m 256 -kernel vmlinux",
]

REFUSED = [
    (f"{Q35} -hda disk.img", "'-hda' here: -drive file=FILE,if=virtio is a disk"),
    (f"{Q35} -cdrom disk.img -boot d", "'-cdrom' here: .*readonly=on"),
    ("disk.img", "unexpected argument 'disk.img'"),
    (f"{Q35} -drive file=disk.img,if=ide", "file=disk.img: if=ide is not one of none, pflash, virtio"),
    (f"{Q35} -drive file=disk.img,index=0,media=disk", "file=disk.img: unknown property 'index'"),
    (f"{Q35} -drive file=disk.img,format=raw", "file=disk.img: an id of 1 to 255 characters is required; or if=virtio"),
    (f"{Q35} -drive file=disk.img,if=virtio,format=qcow2", "format=qcow2 is not supported; convert the image: qemu-img convert"),
    (f"{Q35} -blockdev qcow2,node-name=d0,file.driver=file,file.filename=disk.img", "driver qcow2 is not supported; convert"),
    (f"{Q35} -nic user,model=virtio", "'-nic' here: -netdev tap or -netdev stream"),
    (f"{Q35} -net nic -net user", "'-net' here: -netdev tap or -netdev stream"),
    (f"{Q35} -netdev user,id=net0,hostfwd=tcp::2222-:22 -device virtio-net-pci,netdev=net0", "-netdev user: .*'tap', 'stream' and 'vhost-user'"),
    (f"{Q35} -netdev bridge,id=n0,br=br0", "-netdev bridge: .*'tap'"),
    (f"{Q35} -netdev tap,id=n0,script=no,downscript=no", "-netdev tap,id=n0: one of ifname, path and fd is required"),
    (f"{Q35} -netdev tap,id=n0,ifname=t0,script=/etc/qemu-ifup", "-netdev tap,id=n0: script=/etc/qemu-ifup: .*only 'no'"),
    (f"{Q35} -device e1000", "unknown device 'e1000'; -device help"),
    (f"{Q35} -device virtio-scsi-pci,id=scsi0", "unknown device 'virtio-scsi-pci'"),
    (f"{Q35} -device virtio-gpu-pci", "unknown device 'virtio-gpu-pci'"),
    (f"{Q35} -device nvme,drive=d0,serial=x {DISK}", "unknown device 'nvme'; -device help"),
    (f"{Q35} -usb -device usb-tablet", "unknown device 'usb-tablet'; -device help"),
    (f"{Q35} -device vfio-pci,host=01:00.0", "unknown device 'vfio-pci'; -device help"),
    (f"{Q35} -device intel-iommu", "unknown device 'intel-iommu'; -device help"),
    (f"{Q35} -device virtio-blk-device,drive=d0 {DISK}", "no virtio-mmio slots; for its PCI bus there is virtio-blk-pci"),
    (f"{MICROVM} -device virtio-blk-pci,drive=d0 {DISK}", "no PCI bus; for virtio-mmio there is virtio-blk-device"),
    (f"{Q35} -device virtio-blk-pci,drive=d0,packed=on {DISK}", "packed=on: there are no packed virtqueues"),
    (f"{Q35} -device virtio-blk-pci,drive=none {DISK}", "drive=none: there is no drive with this id"),
    (f"{Q35} -device virtio-net-pci", "-device virtio-net-pci: netdev is required"),
    (f"{Q35} -vga std", "-vga std: there is no display; -vga none"),
    (f"{Q35} -vnc :0", "'-vnc' here: there is no display; -serial"),
    (f"{Q35} -spice port=5900", "'-spice' here: there is no display"),
    (f"{Q35} -monitor stdio", "-monitor stdio: .*-qmp"),
    (f"{Q35} -serial telnet:localhost:4321,server,nowait", "telnet.* is not one of file, unix, tcp, chardev"),
    (f"{Q35} -serial vc", "-serial vc.*-chardev help"),
    (f"{Q35} -chardev stdio,mux=on,id=char0", "-chardev stdio,id=char0: unknown property 'mux'"),
    ("-M q35 -accel tcg -m 256 -kernel vmlinux", "accel=tcg is not one of kvm,"),
    ("-M q35,kernel-irqchip=split -m 256 -kernel vmlinux", r"kernel-irqchip=split: .*\(kernel-irqchip=on\)"),
    (f"{Q35} -cpu Haswell", "-cpu Haswell: model=Haswell is not one of host, max"),
    (f"{Q35} -cpu host,-vmx", "-cpu host: unknown property '-vmx'"),
    ("-M q35 -m 2G,slots=2,maxmem=4G -kernel vmlinux", "maxmem is not offered"),
    ("-M pc -m 256 -kernel vmlinux", "-machine pc: unknown machine; -machine help"),
    (f"{Q35} -virtfs local,path=/tmp,mount_tag=host0,security_model=none", "'-virtfs' here: no folders are shared"),
    (f"{Q35} -watchdog i6300esb", "'-watchdog' here"),
    (f"{Q35} -gdb tcp::1234", "'-gdb' here"),
    (f"{Q35} -snapshot", "'-snapshot' here: .*copy"),
    (f"{Q35} -incoming tcp:0:4444", "'-incoming' here"),
    (f"{Q35} -readconfig x.cfg", "'-readconfig' here: -config FILE"),
    ("-M q35,smm=on -m 256 -kernel vmlinux", "smm=on: this machine has none"),
    ("-M q35 -smp 4,sockets=2,cores=2,threads=1,maxcpus=8 -m 256 -kernel vmlinux", "make 4 CPUs, but maxcpus=8"),
    ("-M q35 -smp 300 -m 256 -kernel vmlinux", r"cpus=300 is out of range \[1, 254\]"),
    ("-M q35 -m 64 -kernel vmlinux", r"size=64 is out of range \[128M, 512G\]"),
    ("-M q35 -m 256 -kernel none", "kernel 'none': No such file"),
    (f"{Q35} -kernal x", "'-kernal'; did you mean '-kernel'"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("qemu")
    shutil.copy(GUEST_ELF, path / "vmlinux")
    for name in ("disk.img", "disk2.img"):
        (path / name).write_bytes(bytes(1 << 20))
    return path


def start(folder, line, *more, **popen):
    return subprocess.Popen([STRATOVIRT, *shlex.split(line), *more], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **popen)


@pytest.mark.parametrize("line", STARTS)
def test_it_starts(folder, line):
    path = str(folder / "qmp.sock")
    process = start(folder, line, "-S", "-qmp", f"unix:{path},server,nowait")
    try:
        wait_for(lambda: process.poll() is not None or listens(path))
        assert process.poll() is None, process.communicate()[1]
        with Client(path) as q:
            q.run("quit")
        assert process.communicate(timeout=LIMIT)[1] == "" and process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("line, says", REFUSED, ids=[says[:40] for _, says in REFUSED])
def test_it_is_refused(folder, line, says):
    process = start(folder, line)
    try:
        out, error = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    assert process.returncode == 1 and out == "" and error.count("\n") == 1
    assert re.search(says, error), error


@pytest.mark.parametrize("word, named", [("on", True), ("off", False)])
def test_devices_on_the_kernel_command_line(folder, word, named):
    line = f"-M microvm,acpi=off,auto-kernel-cmdline={word} -m 256 -kernel vmlinux -append quiet -drive file=disk.img,if=virtio -D log-{word}"
    process = start(folder, line, "-S", "-qmp", f"unix:{folder}/qmp.sock,server,nowait", env={"STRATOVIRT_LOG_LEVEL": "debug"})
    wait_for(lambda: process.poll() is not None or listens(str(folder / "qmp.sock")))
    with Client(str(folder / "qmp.sock")) as q:
        q.run("quit")
    assert process.communicate(timeout=LIMIT)[1] == "" and process.returncode == 0
    found, = re.findall("kernel command line: (.*)", (folder / f"log-{word}").read_text())
    assert found.startswith("quiet") and ("virtio_mmio.device=" in found) == named
