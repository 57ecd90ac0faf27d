// SPDX-License-Identifier: Apache-2.0
/* Kernel images of every format: refused with a reason, or loaded and entered inside RAM. */
#include <sys/mman.h>
#include <unistd.h>

#include "boot/boot.h"
#include "fuzz.h"

#define RAM_BYTES (32 * MIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct boot_x86_params params = { .cmdline = "quiet", .rsdp = BOOT_X86_ACPI };
	struct ram_config config = { .kind = RAM_ANONYMOUS, .size = RAM_BYTES };
	struct vcpu_entry entry = { .mode = VCPU_ENTRY_RESET };
	struct mem_space *space = mem_space_new();
	struct boot_source *source = NULL;
	struct ram_backend *ram = NULL;
	struct error *err = NULL;
	char path[32];
	int fd, ret;

	MUST(!ram_backend_new(&config, &ram, NULL));
	MUST(!mem_space_add_ram(space, 0, ram, 0, RAM_BYTES, NULL));
	fd = memfd_create("kernel", MFD_CLOEXEC);
	MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

	ret = boot_source_open(path, NULL, &source, &err);
	if (!ret)
		ret = boot_place_x86(source, space, &params, &err);
	if (!ret)
		ret = boot_enter_x86(source, space, &params, &entry, &err);
	fuzz_outcome(ret, err);
	if (!ret)
		MUST(entry.pc >= MIB && guest_slice(space, entry.pc, 1));
	boot_source_free(source);
	close(fd);
	mem_space_free(space);
	ram_backend_free(ram);
	return 0;
}
