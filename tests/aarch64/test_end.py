# SPDX-License-Identifier: Apache-2.0
"""How a guest ends, and begins again in the same process."""

import pytest

SCRIPT = """
echo "== interrupts"; grep -c virtio /proc/interrupts
if [ -e /second ]; then
	echo "== boots"; echo 2
else
	touch /second
	sync
	reboot -f
	sleep 60
fi
"""


@pytest.mark.parametrize("machine,end", [("microvm", "device"), ("virt", "pci")])
def test_reboot_starts_the_guest_again(new_guest, machine, end):  # noqa: F811
    guest = new_guest()
    guest.root_image()
    guest.run("-drive", "id=d0,file=root.img,format=raw", "-device", f"virtio-blk-{end},drive=d0,id=blk0",
              append="root=/dev/vda rw", machine=machine, smp=2, script=SCRIPT)
    guest.check_finished()
    assert guest.console.count("#sv-begin") == 2
    assert guest.section("boots") == "2"


def test_reboot_ends_the_vm_with_no_reboot(new_guest):  # noqa: F811
    guest = new_guest().run("-no-reboot", append="sv.end=reboot", script="echo '== up'; echo 1")
    guest.check_finished()
    assert guest.console.count("#sv-begin") == 1
