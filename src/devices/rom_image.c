/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "rom"

#include "rom_image.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "util/endian.h"
#include "util/log.h"

int rom_image_init(struct rom_image *rom, struct accel *accel, gpa_t base, uint64_t size,
		   struct error **errp)
{
	void *data;

	if (!size || !IS_ALIGNED(base | size, 4 * KIB))
		return error_set(errp, -EINVAL,
				 "0x%" PRIx64 " bytes at 0x%" PRIx64
				 ": address and size must be multiples of 4 KiB",
				 size, base);
	data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (data == MAP_FAILED)
		return error_set_errno(errp, -errno, "no room for 0x%" PRIx64 " bytes", size);
	*rom = (struct rom_image){ .data = data, .size = size, .base = base, .accel = accel };
	return 0;
}

void rom_image_release(struct rom_image *rom)
{
	if (!rom->data)
		return;
	rom_image_map(rom, false);
	munmap(rom->data, rom->size);
	rom->data = NULL;
}

void rom_image_map(struct rom_image *rom, bool on)
{
	int ret;

	if (rom->mapped == on || !rom->accel->ops->map_rom)
		return;
	ret = rom->accel->ops->map_rom(rom->accel, rom->base, rom->size, on ? rom->data : NULL);
	if (ret)
		log_warn("ROM at 0x%" PRIx64 ": %s; each access leaves the guest", rom->base,
			 strerror(-ret));
	rom->mapped = on && !ret;
}

uint64_t rom_image_read(const struct rom_image *rom, uint64_t offset, unsigned int size)
{
	le64_t bytes = { 0 };

	memcpy(&bytes, rom->data + offset, size);
	return le64_to_cpu(bytes);
}
