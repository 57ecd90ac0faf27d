// SPDX-License-Identifier: Apache-2.0
/*
 * Kernel images of aarch64, plain, gzipped and as EFI zboot programs: refused with a reason, or loaded with a device tree and
 * entered inside RAM, with an initrd behind the kernel that overlaps nothing. Unless the input is gzipped itself, its first byte says
 * whether this does it, so that more than checksums is reached.
 */
#include "shared.h"

#include <libfdt.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "boot/arm64.h"

#define RAM_BYTES (32 * MIB)
#define INITRD_BYTES 5000

static size_t gzip(const uint8_t *data, size_t len, uint8_t *out, size_t room)
{
	z_stream z = { .next_in = (void *)(uintptr_t)data, .avail_in = (unsigned int)len, .next_out = out,
		       .avail_out = (unsigned int)room };

	MUST(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	MUST(deflate(&z, Z_FINISH) == Z_STREAM_END);
	deflateEnd(&z);
	return room - z.avail_out;
}

static int file_of(const uint8_t *data, size_t size, char *path, size_t room)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, room, "/proc/self/fd/%d", fd);
	return fd;
}

static void check_loaded(const struct mem_space *space, const struct vcpu_entry *entry)
{
	const void *fdt = guest_slice(space, BOOT_ARM64_FDT, BOOT_ARM64_FDT_MAX), *start;
	uint64_t initrd;
	int len;

	MUST(entry->mode == VCPU_ENTRY_ARM64 && entry->arg == BOOT_ARM64_FDT);
	MUST(entry->pc >= BOOT_ARM64_KERNEL && guest_slice(space, entry->pc, 64));
	MUST(fdt && !fdt_check_full(fdt, BOOT_ARM64_FDT_MAX));
	start = fdt_getprop(fdt, fdt_path_offset(fdt, "/chosen"), "linux,initrd-start", &len);
	MUST(start && len == 8);
	initrd = fdt64_ld(start);
	MUST(initrd >= entry->pc && guest_slice(space, initrd, INITRD_BYTES));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vcpu_topology one = { .cpus = 1, .threads = 1, .cores = 1, .clusters = 1, .dies = 1, .sockets = 1, .maxcpus = 1 };
	static const uint8_t initrd[INITRD_BYTES];
	static uint8_t packed[0x10000];
	struct ram_config config = { .kind = RAM_ANONYMOUS, .size = RAM_BYTES };
	struct mem_space *space = mem_space_new();
	struct fdt_machine machine = { .topology = &one, .space = space, .cmdline = "quiet" };
	struct vcpu_entry entry = { .mode = VCPU_ENTRY_RESET };
	struct boot_source *source = NULL;
	struct ram_backend *ram = NULL;
	struct error *err = NULL;
	char path[32], initrd_path[32];
	int fd, initrd_fd, ret;

	MUST(!ram_backend_new(&config, &ram, NULL));
	MUST(!mem_space_add_ram(space, BOOT_ARM64_RAM_BASE, ram, 0, RAM_BYTES, NULL));
	if (size > 1 && size < sizeof(packed) / 2 && data[0] == 'z') {
		size = gzip(data + 1, size - 1, packed, sizeof(packed));
		data = packed;
	}
	fd = file_of(data, size, path, sizeof(path));
	initrd_fd = file_of(initrd, sizeof(initrd), initrd_path, sizeof(initrd_path));

	ret = boot_source_open(path, initrd_path, &source, &err);
	if (!ret)
		ret = boot_load_arm64(source, space, &machine, NULL, NULL, &entry, &err);
	fuzz_outcome(ret, err);
	if (!ret)
		check_loaded(space, &entry);
	boot_source_free(source);
	close(fd);
	close(initrd_fd);
	mem_space_free(space);
	ram_backend_free(ram);
	return 0;
}
