/* SPDX-License-Identifier: Apache-2.0 */
/* RAM back ends: each kind, and what is said when the host cannot give it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/property.h"
#include "memory/ram.h"
#include "unit.h"

static struct ram_backend *ram_new(const struct ram_config *config)
{
	struct ram_backend *ram = NULL;
	struct error *err = NULL;
	int ret = ram_backend_new(config, &ram, &err);

	ck_assert_no_error(err);
	ck_assert_int_eq(ret, 0);
	return ram;
}

/* Pages of @ram the kernel has given memory to. */
static unsigned int resident(const struct ram_backend *ram)
{
	static unsigned char map[4096];
	unsigned int count = 0;

	ck_assert_uint_le(ram->size / 4096, sizeof(map));
	ck_assert_int_eq(mincore(ram->host, ram->size, map), 0);
	for (unsigned int i = 0; i < ram->size / 4096; i++)
		count += map[i] & 1;
	return count;
}

START_TEST(anonymous)
{
	struct ram_config config = { .kind = RAM_ANONYMOUS, .size = 8 * MIB, .dump = true };
	struct ram_backend *ram = ram_new(&config);

	ck_assert_int_eq(ram->fd, -1);
	ck_assert_uint_eq(ram->size, 8 * MIB);
	ck_assert_uint_eq(ram->page_size, 4096);
	ck_assert(!ram->shared);
	ck_assert_uint_eq((uintptr_t)ram->host % (2 * MIB), 0);
	ck_assert_uint_eq(resident(ram), 0); /* nothing is touched at start */
	ram->host[ram->size - 1] = 1;
	ram_backend_free(ram);
}
END_TEST

START_TEST(small_ones_are_page_aligned)
{
	struct ram_config config = { .kind = RAM_ANONYMOUS, .size = 12 * KIB };
	struct ram_backend *ram = ram_new(&config);

	ck_assert_uint_eq((uintptr_t)ram->host % 4096, 0);
	memset(ram->host, 1, ram->size);
	ram_backend_free(ram);
	ram_backend_free(NULL);
}
END_TEST

START_TEST(memfd_is_shared_and_sealed)
{
	struct ram_config config = { .kind = RAM_MEMFD, .size = 4 * MIB, .share = true };
	struct ram_backend *ram = ram_new(&config);
	char byte = 0;

	ck_assert_int_ge(ram->fd, 0);
	ram->host[12345] = 'x';
	ck_assert_int_eq(pread(ram->fd, &byte, 1, 12345), 1);
	ck_assert_int_eq(byte, 'x');
	/* A peer that holds the descriptor cannot cut the memory short under us. */
	ck_assert_int_eq(ftruncate(ram->fd, 0), -1);
	ck_assert_int_eq(errno, EPERM);
	ram_backend_free(ram);
}
END_TEST

START_TEST(file_is_created_and_kept)
{
	char dir[] = "./unit-ram-XXXXXX", path[64];
	struct ram_config config = {
		.kind = RAM_FILE, .size = 1 * MIB, .share = true, .path = path
	};
	struct ram_backend *ram;
	struct error *err = NULL;
	char text[160];
	struct stat st;
	char byte = 0;
	int fd;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ram", dir);
	ram = ram_new(&config);
	ram->host[4097] = 'y';
	ram_backend_free(ram);
	fd = open(path, O_RDONLY);
	ck_assert_int_eq(pread(fd, &byte, 1, 4097), 1);
	ck_assert_int_eq(byte, 'y');
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, MIB);
	ck_assert_int_eq(st.st_mode & 0777, 0600);

	/* A longer one keeps its length and its contents. */
	config.size = 64 * KIB;
	ram = ram_new(&config);
	ck_assert_int_eq(ram->host[4097], 'y');
	ram_backend_free(ram);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, MIB);

	/* A shorter one is somebody's. */
	config.size = 2 * MIB;
	ck_assert_int_eq(ram_backend_new(&config, &ram, &err), -EINVAL);
	snprintf(text, sizeof(text), "memory file '%s' holds 1M, less than the 2M of memory; an empty file would grow", path);
	ck_assert_error(err, text);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, MIB);
	close(fd);
	unlink(path);
	rmdir(dir);
}
END_TEST

START_TEST(directory_gets_a_nameless_file)
{
	char dir[] = "./unit-ram-XXXXXX";
	struct ram_config config = {
		.kind = RAM_FILE, .size = 64 * KIB, .share = true, .path = dir
	};
	struct ram_backend *ram;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ram = ram_new(&config);
	ram->host[0] = 1;
	ck_assert_int_ge(ram->fd, 0);
	/* Nothing is left in it, even while the memory is in use. */
	ck_assert_int_eq(rmdir(dir), 0);
	ram_backend_free(ram);
}
END_TEST

START_TEST(failure_removes_what_was_created)
{
	char dir[] = "./unit-ram-XXXXXX", path[64];
	struct ram_config config = { .kind = RAM_FILE, .size = 1234, .path = path };
	struct ram_backend *ram = NULL;
	struct error *err = NULL;
	char text[160];

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ram", dir);
	ck_assert_int_eq(ram_backend_new(&config, &ram, &err), -EINVAL);
	ck_assert_ptr_null(ram);
	snprintf(text, sizeof(text),
		 "memory file '%s': size 1234 is not a multiple of its page size 4K", path);
	ck_assert_error(err, text);
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

START_TEST(bad_paths)
{
	char missing[] = "/nonexistent/ram", device[] = "/dev/null";
	struct ram_config config = { .kind = RAM_FILE, .size = 4096, .path = missing };
	struct ram_backend *ram = NULL;
	struct error *err = NULL;

	ck_assert_int_eq(ram_backend_new(&config, &ram, &err), -ENOENT);
	ck_assert_error(err,
			"cannot open memory file '/nonexistent/ram': No such file or directory");
	config.path = device;
	ck_assert_int_eq(ram_backend_new(&config, &ram, &err), -EINVAL);
	ck_assert_error(err, "memory file '/dev/null' is neither a regular file nor a directory");
	config.path = NULL;
	ck_assert_int_eq(ram_backend_new(&config, &ram, &err), -EINVAL);
	ck_assert_error(err, "mem-path is missing");
}
END_TEST

START_TEST(too_much)
{
	struct ram_config config = { .kind = RAM_ANONYMOUS, .size = 1ULL << 60 };
	struct ram_backend *ram = NULL;
	struct error *err = NULL;

	ck_assert_int_eq(ram_backend_new(&config, &ram, &err), -ENOMEM);
	ck_assert_error(err, "cannot map 1048576T of anonymous memory: Cannot allocate memory");
	config.size = UINT64_MAX - 0xfff;
	ck_assert_int_eq(ram_backend_new(&config, &ram, NULL), -ENOMEM);
	config.size = 0;
	ck_assert_int_eq(ram_backend_new(&config, &ram, NULL), -EINVAL);
}
END_TEST

START_TEST(preallocation_touches_every_page)
{
	static const uint32_t threads[] = { 0, 1, 3, 16 };

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		/* Not a multiple of any share. */
		struct ram_config config = { .kind = RAM_MEMFD,
					     .size = 3 * MIB + 20 * KIB,
					     .share = true,
					     .prealloc = true,
					     .prealloc_threads = threads[i] };
		struct ram_backend *ram = ram_new(&config);

		ck_assert_uint_eq(resident(ram), ram->size / 4096);
		ram_backend_free(ram);
	}
}
END_TEST

START_TEST(huge_pages_tell_how_many_are_free)
{
	/* 64 TiB of them no host has free. */
	struct ram_config config = { .kind = RAM_MEMFD,
				     .size = 64 * TIB,
				     .share = true,
				     .hugetlb = true,
				     .hugetlbsize = 2 * MIB };
	struct ram_backend *ram = NULL;
	struct error *err = NULL;
	int ret = ram_backend_new(&config, &ram, &err);

	ck_assert_int_lt(ret, 0);
	ck_assert_ptr_null(ram);
	/* A host without huge pages of 2 MiB at all says so at once. */
	if (ret == -ENOMEM)
		ck_assert_ptr_nonnull(
			strstr(error_text(err), "huge pages of 2M are free, 33554432 needed"));
	else
		ck_assert_ptr_nonnull(strstr(error_text(err), "cannot make a memfd of 2M pages"));
	error_free(err);

	err = NULL;
	config = (struct ram_config){ .kind = RAM_MEMFD, .size = 2 * MIB, .hugetlbsize = 2 * MIB };
	ck_assert_int_eq(ram_backend_new(&config, &ram, &err), -EINVAL);
	ck_assert_error(err, "hugetlbsize needs hugetlb=on");
}
END_TEST

/* Parses as -object does. */
static int apply(const struct property *table, const char *text, struct ram_config *config,
		 struct error **errp)
{
	static const char *const skip[] = { "qom-type", "id", NULL };
	struct opts *opts = NULL;
	int ret;

	memset(config, 0, sizeof(*config));
	ck_assert_int_eq(opts_parse("-object", text, "qom-type", &opts, errp), 0);
	ret = property_apply(table, config, opts, skip, NULL, errp);
	opts_free(opts);
	return ret;
}

START_TEST(host_nodes)
{
	static const struct {
		const char *nodes, *part;
		int policy;
	} bad[] = {
		{ NULL, "policy=bind needs host-nodes", RAM_POLICY_BIND },
		{ "0", "needs a policy", RAM_POLICY_DEFAULT },
		{ "x", "not of the form", RAM_POLICY_BIND },
		{ "128", "node 128 is out of range [0, 127]", RAM_POLICY_BIND },
		{ "127", "host-nodes=127,policy=bind", RAM_POLICY_BIND }, /* this host has not so many */
	};
	struct ram_config config = { .kind = RAM_MEMFD, .size = 4 * MIB, .share = true };
	struct ram_backend *ram;
	struct error *err = NULL;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		config.host_nodes = (char *)(uintptr_t)bad[i].nodes;
		config.policy = bad[i].policy;
		ck_assert_int_lt(ram_backend_new(&config, &ram, &err), 0);
		ck_assert_msg(strstr(error_text(err), bad[i].part), "%s", error_text(err));
		error_free(err);
		err = NULL;
	}
	for (int policy = RAM_POLICY_PREFERRED; policy <= RAM_POLICY_INTERLEAVE; policy++) {
		int mode = -1;

		config.host_nodes = (char *)(uintptr_t)"0";
		config.policy = policy;
		if (ram_backend_new(&config, &ram, &err)) {
			/* A kernel without NUMA says so. */
			ck_assert_msg(strstr(error_text(err), "not implemented"), "%s", error_text(err));
			error_free(err);
			return;
		}
		ck_assert_int_eq(syscall(SYS_get_mempolicy, &mode, NULL, 0UL, ram->host, 2UL /* MPOL_F_ADDR */), 0);
		ck_assert_int_eq(mode, policy); /* MPOL_PREFERRED 1, MPOL_BIND 2, MPOL_INTERLEAVE 3 */
		ram_backend_free(ram);
	}
}
END_TEST

START_TEST(properties)
{
	struct ram_config config;
	struct error *err = NULL;

	ck_assert_int_eq(
		apply(ram_memory_backend_ram_props,
		      "memory-backend-ram,id=m,size=1G,prealloc=on,prealloc-threads=4,dump=off,"
		      "x-use-canonical-path-for-ramblock-id=off",
		      &config, &err),
		0);
	ck_assert_no_error(err);
	ck_assert_uint_eq(config.size, GIB);
	ck_assert(config.prealloc);
	ck_assert_uint_eq(config.prealloc_threads, 4);
	ck_assert(!config.dump);
	ck_assert(!config.share);

	ck_assert_int_eq(apply(ram_memory_backend_memfd_props,
			       "memory-backend-memfd,id=m,size=512M,hugetlb=on,hugetlbsize=2M",
			       &config, &err),
			 0);
	ck_assert(config.share); /* what a memfd is for */
	ck_assert(config.dump);
	ck_assert(config.hugetlb);
	ck_assert_uint_eq(config.hugetlbsize, 2 * MIB);

	ck_assert_int_eq(apply(ram_memory_backend_file_props,
			       "memory-backend-file,id=m,size=512M,mem-path=/dev/shm,share=on",
			       &config, &err),
			 0);
	ck_assert_str_eq(config.path, "/dev/shm");
	property_release(ram_memory_backend_file_props, &config);

	ck_assert_int_lt(apply(ram_memory_backend_file_props, "memory-backend-file,id=m,size=512M",
			       &config, &err),
			 0);
	ck_assert_ptr_nonnull(strstr(error_text(err), "mem-path"));
	error_free(err);
	err = NULL;
	ck_assert_int_lt(
		apply(ram_memory_backend_ram_props, "memory-backend-ram,id=m", &config, &err), 0);
	ck_assert_ptr_nonnull(strstr(error_text(err), "size"));
	error_free(err);
}
END_TEST

START_TEST(back_ends_stand_side_by_side)
{
	struct ram_config configs[] = {
		{ .kind = RAM_ANONYMOUS, .size = 2 * MIB + 12 * KIB, .dump = true },
		{ .kind = RAM_MEMFD, .size = 4 * MIB, .share = true, .prealloc = true },
		{ .kind = RAM_MEMFD, .size = 8 * KIB },
	};
	struct ram_backend *rams[ARRAY_SIZE(configs)];
	struct ram_area *area = NULL;
	struct error *err = NULL;

	for (unsigned int i = 0; i < ARRAY_SIZE(configs); i++) {
		rams[i] = ram_new(&configs[i]);
		memset(rams[i]->host + rams[i]->size - 1, (int)i + 1, 1);
	}
	ck_assert_int_eq(ram_join(rams, ARRAY_SIZE(rams), &area, &err), 0);
	ck_assert_no_error(err);
	ck_assert_uint_eq((uintptr_t)rams[0]->host % (2 * MIB), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(rams); i++) {
		if (i)
			ck_assert_ptr_eq(rams[i]->host, rams[i - 1]->host + rams[i - 1]->size);
		ck_assert_uint_eq(rams[i]->host[rams[i]->size - 1], i + 1); /* what was in it came along */
	}
	ck_assert_uint_eq(resident(rams[1]), 1024);
	/* One that goes leaves a place that nobody else gets, and the others alone. */
	for (unsigned int i = 0; i < ARRAY_SIZE(rams); i++) {
		uint8_t *host = rams[i]->host;
		uint64_t size = rams[i]->size;

		ram_backend_free(rams[i]);
		ck_assert_int_eq(mprotect(host, size, PROT_NONE), 0);
		if (i + 1 < ARRAY_SIZE(rams))
			ck_assert_uint_eq(rams[i + 1]->host[rams[i + 1]->size - 1], i + 2);
	}
	ram_area_free(area);
}
END_TEST

UNIT_SUITE(suite, "memory ram", anonymous, small_ones_are_page_aligned, memfd_is_shared_and_sealed,
	   file_is_created_and_kept, directory_gets_a_nameless_file,
	   failure_removes_what_was_created, bad_paths, too_much, preallocation_touches_every_page,
	   huge_pages_tell_how_many_are_free, host_nodes, properties, back_ends_stand_side_by_side)
UNIT_MAIN(suite)
