// SPDX-License-Identifier: Apache-2.0
/*
 * Placing kernel, initrd and FDT. The FDT has the first 2 MiB of RAM for itself, the kernel follows it, and the initrd lies
 * at the end of RAM, at most 32 GiB from the kernel (booting.rst 3 and 4).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source.h"
#include "util/fd.h"

#define PAGE 4096
#define INITRD_WINDOW (32 * GIB)

static int place_initrd(const struct boot_source *source, struct mem_space *space, gpa_t kernel_end,
			struct boot_initrd *initrd, struct error **errp)
{
	const struct ram_region *ram = mem_space_ram(space, 0);
	gpa_t end = MIN(ram->base + ram->size, BOOT_ARM64_RAM_BASE + INITRD_WINDOW);
	uint64_t size = source->initrd.size;

	if (kernel_end > end || size > ALIGN_DOWN(end - kernel_end, PAGE))
		return error_set(errp, -ENOMEM,
				 "initrd '%s' (%" PRIu64 " KiB) does not fit: kernel '%s' uses %" PRIu64
				 " MiB of the guest's %" PRIu64 " MiB",
				 source->initrd.path, (uint64_t)(ALIGN_UP(size, KIB) / KIB), source->kernel.path,
				 (uint64_t)((kernel_end - BOOT_ARM64_RAM_BASE) / MIB),
				 (uint64_t)(mem_space_ram_total(space) / MIB));
	*initrd = (struct boot_initrd){ ALIGN_DOWN(end - size, PAGE), size };
	return boot_file_load(&source->initrd, 0, size, space, initrd->start, errp);
}

static int load_kernel(const struct boot_source *source, struct mem_space *space, struct vcpu_entry *entry,
		       struct boot_initrd *initrd, struct error **errp)
{
	gpa_t start = BOOT_ARM64_KERNEL + source->text_offset;
	gpa_t end = ALIGN_UP(start + source->image_size, PAGE);
	const struct ram_region *ram = mem_space_ram(space, 0);
	int ret;

	if (end > ram->base + ram->size)
		return error_set(errp, -ENOMEM, "kernel '%s' needs %" PRIu64 " MiB, the guest has %" PRIu64 " MiB",
				 source->kernel.path, (uint64_t)((end - BOOT_ARM64_RAM_BASE + MIB - 1) / MIB),
				 (uint64_t)(mem_space_ram_total(space) / MIB));
	ret = boot_file_load(&source->kernel, 0, source->kernel.size, space, start, errp);
	if (!ret && source->has_initrd)
		ret = place_initrd(source, space, end, initrd, errp);
	if (ret)
		return ret;
	*entry = (struct vcpu_entry){ .mode = VCPU_ENTRY_ARM64, .pc = start, .arg = BOOT_ARM64_FDT };
	return 0;
}

static int dump_fdt(const char *path, const void *fdt, size_t size, struct error **errp)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ssize_t done;

	if (fd < 0)
		return error_set_errno(errp, -errno, "-machine dumpdtb=%s", path);
	done = fd_write(fd, fdt, size);
	if (close(fd) || done != (ssize_t)size)
		return error_set(errp, -EIO, "-machine dumpdtb=%s: the file is incomplete", path);
	return 0;
}

int boot_load_arm64(const struct boot_source *source, struct mem_space *space, const struct fdt_machine *machine,
		    const void *dtb, const char *dump, struct vcpu_entry *entry, struct error **errp)
{
	struct boot_initrd initrd = { 0 };
	void *fdt = NULL;
	size_t size;
	int ret = 0;

	if (source)
		ret = load_kernel(source, space, entry, &initrd, errp);
	if (ret)
		return ret;
	ret = dtb ? fdt_change(dtb, machine->cmdline, &initrd, &fdt, &size, errp) :
		    fdt_build(machine, &initrd, &fdt, &size, errp);
	if (ret)
		return ret;
	if (dump)
		ret = dump_fdt(dump, fdt, size, errp);
	if (!ret && guest_write(space, BOOT_ARM64_FDT, fdt, size))
		ret = error_set(errp, -ENOMEM, "no guest memory for the device tree");
	free(fdt);
	return ret;
}
