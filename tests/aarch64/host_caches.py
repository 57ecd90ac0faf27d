# SPDX-License-Identifier: Apache-2.0
"""Caches that the machine of the rig does not tell of, as a host's kernel does that knows them. Two CPUs share the last level."""

import contextlib
import os
import shutil
import subprocess
import tempfile

SYSFS = "/sys/devices/system/cpu/cpu0/cache"
# level, type, size, sets, who has it besides; in a guest the last level is shared by a socket.
CACHES = ((1, "Data", "32K", 256, "0"), (1, "Instruction", "48K", 256, "0"), (2, "Unified", "1024K", 2048, "0"),
          (3, "Unified", "8192K", 16384, "0-1"))


@contextlib.contextmanager
def host_caches():
    folder = tempfile.mkdtemp(prefix="caches-")
    for index, (level, kind, size, sets, sharers) in enumerate(CACHES):
        os.mkdir(os.path.join(folder, f"index{index}"))
        for name, value in (("level", level), ("type", kind), ("size", size), ("number_of_sets", sets),
                            ("coherency_line_size", 64), ("ways_of_associativity", 8), ("shared_cpu_list", sharers)):
            with open(os.path.join(folder, f"index{index}", name), "w") as f:
                f.write(f"{value}\n")
    subprocess.run(["mount", "--bind", folder, SYSFS], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", SYSFS], check=True)
        shutil.rmtree(folder)


# For a guest's script, of its last CPU; and what it should say.
SCRIPT = """
echo "== caches"; for i in $(ls -d /sys/devices/system/cpu/cpu[0-9]* | tail -n 1)/cache/index*; do
	echo "$(cat $i/level) $(cat $i/type) $(cat $i/size) $(cat $i/shared_cpu_list)"
done
"""


def expected(last, socket):
    return [f"{level} {kind} {size} {socket if level == 3 else last}" for level, kind, size, _, _ in CACHES]
