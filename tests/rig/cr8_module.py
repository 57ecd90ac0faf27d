# SPDX-License-Identifier: Apache-2.0
"""Builds cr8.c for the rig's kernel, with the headers of Debian's package of the same version, downloaded and unpacked."""

import os
import shutil

import images

SOURCE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "cr8.c")


def _headers(version, work):
    """Unpacks what a module of this kernel is built with; returns the folder for make -C."""
    release, flavour = version.rsplit("-", 1)
    kbuild = "linux-kbuild-" + ".".join(version.split(".")[:2])
    if "+" in version or not release.split("-")[0].count(".") == 2:
        raise images.ImageError(f"no headers are known for kernel {version}")
    images.run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", f"linux-headers-{version}",
               f"linux-headers-{release}-common", kbuild, cwd=work)
    root = os.path.join(work, "x")
    for name in sorted(os.listdir(work)):
        if name.endswith(".deb"):
            images.run("dpkg-deb", "-x", os.path.join(work, name), root)
    folder = os.path.join(root, "usr", "src", f"linux-headers-{version}")
    makefile = os.path.join(folder, "Makefile")
    with open(makefile) as f:
        text = f.read()
    with open(makefile, "w") as f:
        f.write(text.replace("/usr/src/", os.path.join(root, "usr", "src", "")))
    return folder


def path():
    """The module, built once for each kernel."""
    version = images.kernel_version(images.generic())

    def make(target):
        work = os.path.dirname(target)
        headers = _headers(version, work)
        folder = os.path.join(work, "module")
        os.mkdir(folder)
        shutil.copy(SOURCE, os.path.join(folder, "rig_cr8.c"))
        with open(os.path.join(folder, "Kbuild"), "w") as f:
            f.write("obj-m := rig_cr8.o\n")
        # "make check" and its caller have variables of their own.
        clean = [word for name in ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "ARCH", "CROSS_COMPILE", "O")
                 for word in ("-u", name)]
        images.run("env", *clean, "make", "-C", headers, f"M={folder}", "modules")
        os.rename(os.path.join(folder, "rig_cr8.ko"), target)

    return images.cached("rig-cr8.ko", images.source_key(SOURCE, __file__) + version, make)
