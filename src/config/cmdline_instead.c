// SPDX-License-Identifier: Apache-2.0
/* Options of QEMU that people's command lines have and that are none here: what does the same, or that nothing does. */
#include <string.h>

#include "cmdline_private.h"
#include "util/macros.h"

#define DISK "-drive file=FILE,if=virtio is a disk"
#define CARD "-netdev tap or -netdev stream (passt) with -device virtio-net-pci is a network card"
#define NO_DISPLAY "there is no display; -serial and virtconsole are terminals"
#define NO_SHARE "no folders are shared; a disk or the network carries files"
#define NO_SAVE "a VM cannot be saved or migrated"
#define NO_DEBUGGER "there is no debugger's port"

static const struct {
	const char *name, *instead;
} options[] = {
	{ "hda", DISK }, { "hdb", DISK }, { "hdc", DISK }, { "hdd", DISK },
	{ "sd", DISK }, { "pflash", "-drive if=pflash,unit=0,file=FILE is a bank of flash" },
	{ "cdrom", "there are no CD drives; -drive file=FILE,if=virtio,readonly=on is a disk that cannot be written" },
	{ "fda", "there are no floppy drives" }, { "fdb", "there are no floppy drives" },
	{ "snapshot", "images are written; work on a copy" },
	{ "nic", CARD }, { "net", CARD },
	{ "vnc", NO_DISPLAY }, { "spice", NO_DISPLAY }, { "curses", NO_DISPLAY }, { "sdl", NO_DISPLAY }, { "full-screen", NO_DISPLAY },
	{ "g", NO_DISPLAY }, { "k", NO_DISPLAY },
	{ "soundhw", "there is no sound" }, { "audio", "there is no sound" },
	{ "usbdevice", "there is no USB" },
	{ "virtfs", NO_SHARE }, { "fsdev", NO_SHARE },
	{ "tpmdev", "there is no TPM" },
	{ "watchdog", "there is no watchdog" }, { "watchdog-action", "there is no watchdog" },
	{ "incoming", NO_SAVE }, { "loadvm", NO_SAVE }, { "only-migratable", NO_SAVE },
	{ "gdb", NO_DEBUGGER }, { "s", NO_DEBUGGER },
	{ "d", "STRATOVIRT_LOG_LEVEL in the environment says how much is logged, -D FILE where to" },
	{ "trace", "STRATOVIRT_LOG_LEVEL in the environment says how much is logged, -D FILE where to" },
	{ "readconfig", "-config FILE takes a VM's description as JSON" },
	{ "writeconfig", "-dump-config prints a VM's description as JSON" },
	{ "qmp-pretty", "-qmp is the monitor; stratovirt-ctl prints its answers for people" },
	{ "L", "firmware is named by its path: -bios FILE or -drive if=pflash" },
	{ "option-rom", "there are no option ROMs" },
	{ "run-with", "-runas USER, -chroot DIR" },
	{ "set", "-device DRIVER,KEY=VALUE or -global DRIVER.KEY=VALUE" },
	{ "acpitable", "tables of the user's own are not offered" },
	{ "mem-lock", "-overcommit mem-lock=on" },
};

const char *cmdline_instead_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (!strcmp(name, options[i].name))
			return options[i].instead;
	return NULL;
}
