/* SPDX-License-Identifier: Apache-2.0 */
/* "rom": a file that the guest reads and runs at one address, as -bios gives it. Writes are dropped. */
#define LOG_MODULE "rom"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/classes.h"
#include "rom_image.h"
#include "util/fd.h"
#include "util/fd_store.h"

struct rom {
	struct device dev;
	uint64_t base;
	char *file;

	struct io_region region;
	struct rom_image image;
};

static uint64_t rom_read(void *opaque, uint64_t offset, unsigned int size)
{
	const struct rom *rom = opaque;

	return rom_image_read(&rom->image, offset, size);
}

static const struct io_ops rom_ops = {
	.read = rom_read,
	.min_size = 1,
	.max_size = 8,
};

static int load_file(struct rom *rom, int fd, struct error **errp)
{
	struct stat st;
	int ret;

	if (fd_stat(fd, &st))
		return error_set_errno(errp, -errno, "file '%s'", rom->file);
	if (!S_ISREG(st.st_mode))
		return error_set(errp, -EINVAL, "'%s' is not a regular file", rom->file);
	ret = rom_image_init(&rom->image, rom->dev.platform->accel, rom->base, (uint64_t)st.st_size, errp);
	if (ret)
		return ret;
	if (mmap(rom->image.data, rom->image.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) !=
	    MAP_FAILED)
		return 0;
	ret = fd_pread_full(fd, rom->image.data, rom->image.size, 0);
	if (!ret)
		return 0;
	rom_image_release(&rom->image);
	return error_set_errno(errp, ret, "file '%s' cannot be read", rom->file);
}

static int rom_realize(struct device *dev, struct error **errp)
{
	struct rom *rom = container_of(dev, struct rom, dev);
	int fd, ret;

	fd = fd_open(rom->file, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return error_set_errno(errp, fd, "file '%s' cannot be opened", rom->file);
	ret = load_file(rom, fd, errp);
	fd_close(&fd);
	if (ret)
		return ret;
	rom->region = (struct io_region){
		.name = "rom",
		.kind = IO_MMIO,
		.base = rom->base,
		.size = rom->image.size,
		.ops = &rom_ops,
		.opaque = rom,
	};
	ret = mem_space_add_io(dev->platform->space, &rom->region, errp);
	if (ret)
		rom_image_release(&rom->image);
	else
		rom_image_map(&rom->image, true);
	return ret;
}

static void rom_unrealize(struct device *dev)
{
	struct rom *rom = container_of(dev, struct rom, dev);

	mem_space_del_io(dev->platform->space, &rom->region);
	rom_image_release(&rom->image);
}

static const struct property rom_props[] = {
	{ .name = "file", .help = "the contents", .type = PROPERTY_STRING, .flags = PROPERTY_REQUIRED,
	  .offset = offsetof(struct rom, file), .min = 1, .max = 4095 },
	PROP_UINT(64, "base", struct rom, base, 0, UINT64_MAX, 0, "guest address"),
	PROP_END,
};

const struct device_class rom_class = {
	.name = "rom",
	.summary = "firmware in read-only memory",
	.bus = DEVICE_BUS_SYSTEM,
	.internal = true,
	.instance_size = sizeof(struct rom),
	.props = rom_props,
	.realize = rom_realize,
	.unrealize = rom_unrealize,
};
