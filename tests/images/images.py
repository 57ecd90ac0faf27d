#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Kernels, initramfs and disk images that the tests and the demo boot.

    tests/images/images.py NAME...      make what is missing, print one path a line
    tests/images/images.py --list       the names
    tests/images/images.py --with-script INITRD NAME FILE
                                        write INITRD: the initramfs with FILE as script NAME

Everything is made from Debian's packages and from this folder, without root, and kept under
build/images (or $IMAGES). A thing is built in a temporary place and renamed, under a lock, so
runs side by side share the work and an interrupted run leaves nothing half made. Kernels are
downloaded once and then kept: remove build/images to get newer ones.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import zlib
import lzma

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
OUT = os.environ.get("IMAGES") or os.path.join(TOP, "build", "images")
# Whose images: of this machine, or of the one that tests/rig/run --arch names.
ARCH = os.environ.get("SV_ARCH") or platform.machine()
BUSYBOX = "/bin/busybox"
# util-linux and kmod live in sbin, which is not in every user's PATH.
os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"

# The drivers that a guest may need; those of them that a kernel has built in are skipped.
GUEST_MODULES = """virtio_mmio virtio_pci virtio_blk virtio_rng virtio_net virtio_console
    virtio_balloon virtio_scsi sd_mod virtiofs vmw_vsock_virtio_transport ext4
    pvpanic pvpanic_mmio pvpanic_pci button evdev gpio_keys qemu_fw_cfg""".split()


class ImageError(Exception):
    """What could not be made and why, for a person."""


def run(*argv, cwd=None):
    """Runs a tool; its output is shown only when it fails."""
    try:
        done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600)
    except FileNotFoundError:
        raise ImageError(f"no {argv[0]} here; run tests/tools/install-deps demo") from None
    if done.returncode:
        raise ImageError(f"{' '.join(argv)} failed with status {done.returncode}:\n"
                         f"{done.stderr}{done.stdout}")
    return done.stdout


@contextlib.contextmanager
def locked(name):
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, f".lock-{name}"), "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def cached(name, key, make):
    """Returns OUT/name, a file or folder; make(temp_path) is called when it is missing or was
    made from another key."""
    path = os.path.join(OUT, name)
    key_path = os.path.join(OUT, f".key-{name}")

    def fresh():
        try:
            with open(key_path) as f:
                return f.read() == key and os.path.exists(path)
        except FileNotFoundError:
            return False

    if fresh():
        return path
    with locked(name):
        if fresh():
            return path
        work = tempfile.mkdtemp(prefix=f".{name}-", dir=OUT)
        try:
            temp = os.path.join(work, name)
            make(temp)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(key_path)
            if os.path.isdir(path):
                shutil.rmtree(path)
            os.rename(temp, path)
            with open(os.path.join(work, "key"), "w") as f:
                f.write(key)
            os.rename(os.path.join(work, "key"), key_path)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return path


def source_key(*paths):
    digest = hashlib.sha256()
    for path in (os.path.realpath(__file__), *paths):
        with open(path, "rb") as f:
            digest.update(f.read())
    return digest.hexdigest()


# Kernels ---------------------------------------------------------------------------------------

def _kernel(name, package):
    """Folder of a Debian kernel, taken from the package that `package` stands for today:
    vmlinuz, config, version, lib/modules/<version> with modules.dep."""

    def make(folder):
        work = os.path.dirname(folder)
        depends = run("apt-cache", "depends", "--no-recommends", "--no-suggests", package)
        real = [word for line in depends.splitlines() if "Depends:" in line
                for word in line.split() if word.startswith("linux-image-")]
        if not real:
            raise ImageError(f"apt does not know {package}; run apt-get update")
        # Downloading as root, apt would rather be _apt, which cannot write into this folder.
        run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", real[0], cwd=work)
        deb = [f for f in os.listdir(work) if f.endswith(".deb")]
        run("dpkg-deb", "-x", os.path.join(work, deb[0]), os.path.join(work, "x"))
        os.mkdir(folder)
        boot = os.path.join(work, "x", "boot")
        version = next(f for f in os.listdir(boot) if f.startswith("vmlinuz-"))[len("vmlinuz-"):]
        for what in ("vmlinuz", "config"):
            os.rename(os.path.join(boot, f"{what}-{version}"), os.path.join(folder, what))
        # bookworm has /lib in the package, later releases /usr/lib.
        lib = next(d for d in (os.path.join(work, "x", p) for p in ("lib", "usr/lib"))
                   if os.path.isdir(os.path.join(d, "modules")))
        os.mkdir(os.path.join(folder, "lib"))
        os.rename(os.path.join(lib, "modules"), os.path.join(folder, "lib", "modules"))
        run("depmod", "-b", folder, version)
        with open(os.path.join(folder, "version"), "w") as f:
            f.write(version + "\n")

    return cached(name, package, make)


def _arch_name(name):
    return name if ARCH == "x86_64" else f"{name}-{ARCH}"


def cloud():
    if ARCH == "aarch64":
        return _kernel("cloud-aarch64", "linux-image-cloud-arm64:arm64")
    return _kernel("cloud", "linux-image-cloud-amd64")


def generic():
    if ARCH == "aarch64":
        return _kernel("generic-aarch64", "linux-image-arm64:arm64")
    return _kernel("generic", "linux-image-amd64")


# What tests/linux, the VMM and the rig's own scripts need of user space.
FOREIGN_PACKAGES = """busybox-static python3 python3-pytest libjson-c5 liburing2 zlib1g libseccomp2
    libcap-ng0 coreutils bash dash util-linux mount kmod procps iproute2 socat e2fsprogs grep sed strace dosfstools mtools acpica-tools device-tree-compiler
    libc-bin base-files qemu-efi-aarch64
    libvirt-daemon-system libvirt-clients libvirt-daemon-driver-qemu""".split()


def foreign_root():
    """A folder with Debian for aarch64, for a machine of another kind: packages as they are, nothing configured."""
    def make(folder):
        work = os.path.dirname(folder)
        archives = os.path.join(work, "archives")
        os.makedirs(os.path.join(archives, "partial"))
        empty = os.path.join(work, "status")
        open(empty, "w").close()
        run("apt-get", "-q", "-y", "-d", "--no-install-recommends", "-o", "APT::Sandbox::User=root",
            "-o", f"Dir::Cache::archives={archives}", "-o", f"Dir::State::status={empty}",
            "-o", "Debug::NoLocking=1", "-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64",
            "install", *FOREIGN_PACKAGES)
        for name in ("bin", "lib", "sbin"):
            os.makedirs(os.path.join(folder, "usr", name))
            os.symlink(f"usr/{name}", os.path.join(folder, name))
        # Else a package would make a folder of it, and what speaks of /var/run is not found in /run.
        os.mkdir(os.path.join(folder, "var"))
        os.symlink("../run", os.path.join(folder, "var", "run"))
        for deb in sorted(os.listdir(archives)):
            if deb.endswith(".deb"):
                run("sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"', "-",
                    os.path.join(archives, deb), folder)
        for name in ("dev", "proc", "sys", "run", "tmp", "root", "etc"):
            os.makedirs(os.path.join(folder, name), exist_ok=True)
        # Locks of a machine that was ended are none of the next one's.
        shutil.rmtree(os.path.join(folder, "var", "lock"), ignore_errors=True)
        os.symlink("../run/lock", os.path.join(folder, "var", "lock"))
        # What the packages' scripts would make: libvirtd does not start without its user.
        with open(os.path.join(folder, "etc/passwd"), "w") as f:
            f.write("root:x:0:0:root:/root:/bin/sh\nlibvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n")
        with open(os.path.join(folder, "etc/group"), "w") as f:
            f.write("root:x:0:\nlibvirt-qemu:x:64055:\n")

    return cached("root-aarch64", " ".join(FOREIGN_PACKAGES) + " with /run/lock", make)


def vmlinuz():
    return os.path.join(cloud(), "vmlinuz")


def kernel_version(folder):
    with open(os.path.join(folder, "version")) as f:
        return f.read().strip()


def unpack_bzimage(data):
    """The ELF kernel inside a bzImage. The setup header (Documentation/arch/x86/boot.rst) says
    where the payload lies: payload_offset at 0x248 counts from the protected-mode code."""
    if data[0x202:0x206] != b"HdrS":
        raise ImageError("not a bzImage: no HdrS at 0x202")
    setup_sects = data[0x1F1] or 4
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (setup_sects + 1) * 512 + offset
    # The build appends the unpacked size, which is not part of the compressed stream.
    payload = data[start:start + length - 4]
    (size,) = struct.unpack_from("<I", data, start + length - 4)

    def tool(*argv):
        return subprocess.run(argv, input=payload, stdout=subprocess.PIPE, check=True).stdout

    if payload.startswith(b"\xfd7zXZ\0"):
        elf = lzma.decompress(payload)
    elif payload.startswith(b"\x1f\x8b"):
        elf = zlib.decompress(payload, wbits=31)
    elif payload.startswith(b"\x28\xb5\x2f\xfd"):
        elf = tool("zstd", "-dc")
    elif payload.startswith(b"\x02\x21\x4c\x18"):
        elf = tool("lz4", "-dc")
    else:
        raise ImageError(f"bzImage payload of an unknown kind: {payload[:8].hex()}")
    if len(elf) != size or not elf.startswith(b"\x7fELF"):
        raise ImageError("bzImage payload did not unpack to the ELF file it promises")
    return elf


def vmlinux():
    """The cloud kernel as an ELF file."""
    def make(path):
        with open(vmlinuz(), "rb") as f:
            elf = unpack_bzimage(f.read())
        with open(path, "wb") as f:
            f.write(elf)
    return cached("vmlinux", kernel_version(cloud()) + source_key(), make)


def vmlinux_bin():
    """The cloud kernel as StratoVirt's users make it: objcopy -O binary vmlinux vmlinux.bin."""
    def make(path):
        run("objcopy", "-O", "binary", vmlinux(), path)
    return cached("vmlinux.bin", kernel_version(cloud()) + source_key(), make)


# Archives --------------------------------------------------------------------------------------

class Cpio:
    """Writes a newc archive, the format of initramfs; device nodes need no root this way.
    Archives may be concatenated: a later one adds to, or replaces in, the earlier."""

    def __init__(self, path):
        self._file = open(path, "wb")
        self._inode = 0
        self._folders = set()

    def _entry(self, name, mode, data=b""):
        self._inode += 1
        encoded = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        head = b"070701" + b"".join(b"%08x" % f for f in fields) + encoded
        for part in (head, data):
            self._file.write(part + b"\0" * (-len(part) % 4))

    def folder(self, name):
        if name and name not in self._folders:
            self.folder(os.path.dirname(name))
            self._folders.add(name)
            self._entry(name, stat.S_IFDIR | 0o755)

    def data(self, name, data, mode=0o644):
        self.folder(os.path.dirname(name))
        self._entry(name, stat.S_IFREG | mode, data)

    def copy(self, name, source, mode=0o644):
        with open(source, "rb") as f:
            self.data(name, f.read(), mode)

    def link(self, name, target):
        self.folder(os.path.dirname(name))
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def close(self):
        self._entry("TRAILER!!!", 0)
        # The kernel looks for the next archive at a multiple of four; 512 is what cpio writes.
        self._file.write(b"\0" * (-self._file.tell() % 512))
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def module_files(kernel, names):
    """Paths, relative to the kernel's module folder, of the named modules and of what they
    need, dependencies first. Names that the kernel has built in, or has not, are left out."""
    version = kernel_version(kernel)
    base = os.path.join(kernel, "lib", "modules", version)
    needs, by_name = {}, {}
    with open(os.path.join(base, "modules.dep")) as f:
        for line in f:
            path, _, rest = line.partition(":")
            needs[path] = rest.split()
            by_name[os.path.basename(path).split(".")[0].replace("-", "_")] = path
    ordered = []
    for name in names:
        path = by_name.get(name)
        if path:
            # modules.dep lists what must be loaded first last.
            ordered += [p for p in [*reversed(needs[path]), path] if p not in ordered]
    return base, ordered


def busybox():
    """A static busybox of the images' architecture."""
    if ARCH != platform.machine():
        return os.path.join(foreign_root(), "usr/bin/busybox")
    if not os.path.exists(BUSYBOX):
        raise ImageError(f"no {BUSYBOX}; run tests/tools/install-deps demo")
    # A dynamic busybox would find no C library in an initramfs.
    with open(BUSYBOX, "rb") as f:
        if b"ld-linux" in f.read(4096):
            raise ImageError(f"{BUSYBOX} is not static; install busybox-static")
    return BUSYBOX


def applets():
    # The list of this machine's busybox, which can run here.
    return [os.path.basename(a) for a in run(BUSYBOX, "--list").split()
            if os.path.basename(a) != "busybox"]


def initramfs(kernel=None):
    """Guest initramfs for a kernel, cloud() if none is given: busybox, its drivers with modules.dep, guest-init."""
    kernel = kernel or cloud()
    init = os.path.join(HERE, "guest-init")
    name = "initramfs" if kernel == cloud() else f"initramfs-for-{os.path.basename(kernel)}"

    def make(path):
        version = kernel_version(kernel)
        base, files = module_files(kernel, GUEST_MODULES)
        stage = os.path.join(os.path.dirname(path), "stage")
        target = os.path.join(stage, "lib", "modules", version)
        for name in files:
            os.makedirs(os.path.dirname(os.path.join(target, name)), exist_ok=True)
            shutil.copy(os.path.join(base, name), os.path.join(target, name))
        for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            shutil.copy(os.path.join(base, name), target)
        run("depmod", "-b", stage, version)
        with Cpio(path) as cpio:
            for name in ("dev", "proc", "sys", "run", "tmp", "newroot"):
                cpio.folder(name)
            cpio.copy("init", init, 0o755)
            cpio.copy("bin/busybox", busybox(), 0o755)
            for name in applets():
                cpio.link(f"bin/{name}", "busybox")
            prefix = f"lib/modules/{version}"
            for name in [*files, "modules.dep", "modules.alias"]:
                cpio.copy(f"{prefix}/{name}", os.path.join(target, name))

    return cached(_arch_name(name), source_key(init, busybox()) + kernel_version(kernel), make)


def with_scripts(base, path, scripts):
    """Writes `path`: the initramfs `base` plus shell scripts {name: text}, which guest-init runs
    when the kernel command line has sv.run=name, and programs {name: bytes} for them."""
    tail = path + ".scripts"
    with Cpio(tail) as cpio:
        for name, text in scripts.items():
            data = text if isinstance(text, bytes) else text.encode()
            cpio.data(f"run/sv/{name}", data, 0o755)
    with open(path, "wb") as out:
        for part in (base, tail):
            with open(part, "rb") as f:
                shutil.copyfileobj(f, out)
    os.unlink(tail)
    return path


# Disks -----------------------------------------------------------------------------------------

def make_ext4(path, folder, size):
    """An ext4 image of `size` bytes with the content of `folder`; needs neither root nor loop
    devices. The journal and inode tables are written now, not lazily by the guest."""
    with open(path, "wb") as f:
        f.truncate(size)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-d", folder,
        "-E", "root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0", path)


def rootfs():
    """A small ext4 root disk: busybox and guest-init as /sbin/init."""
    init = os.path.join(HERE, "guest-init")

    def make(path):
        tree = os.path.join(os.path.dirname(path), "tree")
        for name in ("bin", "sbin", "dev", "proc", "sys", "run", "tmp", "root", "etc", "mnt"):
            os.makedirs(os.path.join(tree, name))
        shutil.copy(busybox(), os.path.join(tree, "bin/busybox"))
        for name in applets():
            os.symlink("busybox", os.path.join(tree, "bin", name))
        shutil.copy(init, os.path.join(tree, "sbin/init"))
        os.chmod(os.path.join(tree, "sbin/init"), 0o755)
        os.chmod(os.path.join(tree, "bin/busybox"), 0o755)
        make_ext4(path, tree, 64 << 20)

    return cached(_arch_name("rootfs"), source_key(init, busybox()), make)


def every_guest_image():
    """What guests boot, in one go."""
    if ARCH == "aarch64":
        return "\n".join((vmlinuz(), initramfs(), rootfs()))
    return "\n".join((vmlinuz(), vmlinux(), vmlinux_bin(), initramfs(), initramfs(generic()), rootfs()))


NAMES = {"all": every_guest_image, "cloud": cloud, "generic": generic, "vmlinuz": vmlinuz,
         "vmlinux": vmlinux, "vmlinux.bin": vmlinux_bin, "initramfs": initramfs, "rootfs": rootfs}


def main():
    names = sys.argv[1:]
    if not names or names[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if names else 2
    if names == ["--list"]:
        print("\n".join(NAMES))
        return 0
    if names[0] == "--with-script" and len(names) == 4:
        with open(names[3]) as f:
            with_scripts(initramfs(), names[1], {names[2]: f.read()})
        return 0
    for name in names:
        if name not in NAMES:
            print(f"images: no image is called '{name}'; see --list", file=sys.stderr)
            return 2
    try:
        for name in names:
            print(NAMES[name]())
    except (ImageError, OSError) as e:
        print(f"images: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
