// SPDX-License-Identifier: Apache-2.0
/*
 * hostile-guests: elf-loop. Thousands of damaged images: each is refused with an error that names
 * the file, or loads within the guest's RAM; none crashes or takes long. Meant to run under ASan
 * and UBSan. STRATOVIRT_TEST_SEED and STRATOVIRT_TEST_ROUNDS in the environment change seed and
 * number.
 */
#include <inttypes.h>

#include "boot_images.h"
#include "util/loop.h"

#define SEED 20240229u
#define ROUNDS 3000u /* of each kind of image */
#define GUEST_MIB 48
#define ROUND_LIMIT_NS (2 * NSEC_PER_SEC) /* for one image, on the slowest of machines */

static uint64_t state;

static uint32_t random32(void)
{
	/* splitmix64 */
	uint64_t z = state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return (uint32_t)((z ^ (z >> 31)) >> 32);
}

static uint32_t environment(const char *name, uint32_t def)
{
	const char *text = getenv(name);

	return text ? (uint32_t)strtoul(text, NULL, 0) : def;
}

/* The places where a change means something: headers, and a little of everything else. */
static size_t pick_place(const struct image *image, const size_t *hot, size_t hot_count)
{
	size_t at = hot[2 * (random32() % hot_count)], len = hot[2 * (random32() % hot_count) + 1];

	if (random32() % 16 == 0)
		return random32() % image->size;
	return (at + random32() % len) % image->size;
}

static void mutate(struct image *image, const size_t *hot, size_t hot_count)
{
	static const uint64_t interesting[] = {
		0,
		1,
		2,
		3,
		0x7f,
		0x80,
		0xff,
		0x100,
		0xfff,
		0x1000,
		0x7fff,
		0xffff,
		0x9fc00,
		0xfffff,
		0x100000,
		0x1000000,
		0x2000000,
		0x3000000,
		0x7fffffff,
		0x80000000,
		0xfffff000,
		0xffffffff,
		0x100000000,
		0x7fffffffffffffff,
		0x8000000000000000,
		0xfffffffffffff000,
		0xffffffffffffffff,
	};
	unsigned int changes = 1 + random32() % 4;

	while (changes--) {
		size_t at = pick_place(image, hot, hot_count);
		uint64_t value = interesting[random32() % ARRAY_SIZE(interesting)];
		size_t width = (size_t)1 << (random32() % 4);

		switch (random32() % 4) {
		case 0:
			image->data[at] ^= (uint8_t)(1u << (random32() % 8));
			break;
		case 1:
			image->data[at] = (uint8_t)random32();
			break;
		default: /* a whole field, where fields lie */
			at &= ~(width - 1);
			if (at + width <= image->size)
				memcpy(image->data + at, &value, width);
		}
	}
	if (random32() % 8 == 0)
		image->size = random32() % (image->size + 1);
}

struct tally {
	unsigned int refused, too_big, loaded;
};

static void try_image(const struct image *image, struct guest *guest, struct tally *tally)
{
	struct boot_x86_params params = { .cmdline = "quiet", .rsdp = BOOT_X86_ACPI };
	struct boot_source *source = NULL;
	struct vcpu_entry entry = { 0 };
	struct error *err = NULL;
	struct image_file file;
	int ret;

	image_open(image, &file);
	ret = boot_source_open(file.path, NULL, &source, &err);
	if (ret) {
		tally->refused++;
	} else {
		ret = boot_place_x86(source, guest->space, &params, &err);
		if (!ret)
			ret = boot_enter_x86(source, guest->space, &params, &entry, &err);
		if (ret)
			tally->too_big++;
	}
	if (ret) {
		ck_assert_int_lt(ret, 0);
		ck_assert_ptr_nonnull(err);
		ck_assert_msg(strstr(error_text(err), file.path), "'%s' does not name the file",
			      error_text(err));
		error_free(err);
	} else {
		tally->loaded++;
		ck_assert_ptr_null(err);
		ck_assert_uint_ge(entry.pc, MIB);
		ck_assert_ptr_nonnull(guest_slice(guest->space, entry.pc, 1));
	}
	/* The area of the tables, which others fill, belongs to no kernel. */
	ck_assert_uint_eq(*(uint64_t *)guest_at(guest, BOOT_X86_ACPI, 8), 0x5a5a5a5a5a5a5a5a);
	ck_assert_uint_eq(*(uint64_t *)guest_at(guest, BOOT_X86_ACPI_END - 8, 8),
			  0x5a5a5a5a5a5a5a5a);
	boot_source_free(source);
	close(file.fd);
}

static void run(const char *name, struct image whole, const size_t *hot, size_t hot_count)
{
	uint32_t rounds = environment("STRATOVIRT_TEST_ROUNDS", ROUNDS);
	uint32_t seed = environment("STRATOVIRT_TEST_SEED", SEED);
	struct guest guest = guest_new(GUEST_MIB);
	struct image image = { malloc(whole.size), 0 };
	struct tally tally = { 0 };

	state = seed;
	ck_assert_ptr_nonnull(image.data);
	memset(guest_at(&guest, BOOT_X86_ACPI, 0x20000), 0x5a, 0x20000);
	for (uint32_t i = 0; i < rounds; i++) {
		int64_t start = clock_now_ns();

		memcpy(image.data, whole.data, whole.size);
		image.size = whole.size;
		if (i)
			mutate(&image, hot, hot_count);
		try_image(&image, &guest, &tally);
		ck_assert_msg(clock_now_ns() - start < ROUND_LIMIT_NS,
			      "%s, seed %u: image %u took too long", name, seed, i);
	}
	printf("%s: seed %u, %u images: %u refused, %u did not fit, %u loaded\n", name, seed,
	       rounds, tally.refused, tally.too_big, tally.loaded);
	fflush(stdout);
	/* Neither all nor none: the mutations reach past the first check. */
	ck_assert_uint_gt(tally.refused, rounds / 10);
	ck_assert_uint_gt(tally.loaded, rounds / 100);
	guest_free(&guest);
	free(image.data);
	free(whole.data);
}

START_TEST(elf_loop_mutated_bzimage)
{
	static const size_t hot[] = { 0x1f1, 0x80, 0x1f1, 0x80, 0x230, 0x40, BZ_VERSION_TEXT, 32 };

	run("bzImage", image_bzimage(), hot, ARRAY_SIZE(hot) / 2);
}
END_TEST

START_TEST(elf_loop_mutated_elf)
{
	static const size_t hot[] = { 0, 64, 64, 3 * 56, 64, 2 * 56, ELF_NOTE_OFFSET, 48 };

	run("ELF", image_elf(false), hot, ARRAY_SIZE(hot) / 2);
}
END_TEST

START_TEST(elf_loop_mutated_pvh)
{
	static const size_t hot[] = { 0, 64, 64, 3 * 56, ELF_NOTE_OFFSET, 48, ELF_NOTE_OFFSET, 48 };

	run("PVH", image_elf(true), hot, ARRAY_SIZE(hot) / 2);
}
END_TEST

/* Every length a small image can be cut to. */
START_TEST(elf_loop_every_truncation)
{
	struct guest guest = guest_new(GUEST_MIB);
	struct tally tally = { 0 };
	struct image images[] = { image_bzimage(), image_elf(true) };

	memset(guest_at(&guest, BOOT_X86_ACPI, 0x20000), 0x5a, 0x20000);
	for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
		size_t size = images[i].size;

		for (size_t cut = 1; cut <= 0x400; cut++) {
			images[i].size = cut;
			try_image(&images[i], &guest, &tally);
		}
		images[i].size = size - (i ? ELF_FILE_SIZE - ELF_NOTE_OFFSET : 1);
		try_image(&images[i], &guest, &tally);
		free(images[i].data);
	}
	guest_free(&guest);
	ck_assert_uint_eq(tally.refused, 2 * 0x401);
}
END_TEST

UNIT_SUITE(mutation_suite, "boot: mutated images", elf_loop_mutated_bzimage, elf_loop_mutated_elf,
	   elf_loop_mutated_pvh, elf_loop_every_truncation)
UNIT_MAIN(mutation_suite)
