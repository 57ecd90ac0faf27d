/* SPDX-License-Identifier: Apache-2.0 */
/* What a fw_cfg device has to say: items by number, files by name, the directory of the files, and -fw_cfg. */
#define LOG_MODULE "fw-cfg"

#include "fw_cfg_items.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/endian.h"
#include "util/fd.h"
#include "util/fd_store.h"
#include "util/log.h"

#define KEY_WRITE 0x4000 /* of a selector: without meaning since QEMU 2.4 */

struct directory_entry { /* after a be32 with their number */
	be32_t size;
	be16_t key;
	be16_t reserved;
	char name[FW_CFG_NAME_MAX + 1];
};

static void item_release(struct fw_cfg_item *item)
{
	if (item->map)
		munmap(item->map, item->map_size);
	else
		free(item->data);
}

void fw_cfg_items_release(struct fw_cfg_items *items)
{
	for (unsigned int i = 0; i < items->count; i++)
		item_release(&items->items[i]);
	free(items->items);
	*items = (struct fw_cfg_items){ 0 };
}

const struct fw_cfg_item *fw_cfg_item_find(const struct fw_cfg_items *items, uint16_t key)
{
	key &= (uint16_t)~KEY_WRITE;
	for (unsigned int i = 0; i < items->count; i++)
		if (items->items[i].key == key)
			return &items->items[i];
	return NULL;
}

static struct fw_cfg_item *find_file(const struct fw_cfg_items *items, const char *name)
{
	for (unsigned int i = 0; i < items->count; i++)
		if (*items->items[i].name && !strcmp(items->items[i].name, name))
			return &items->items[i];
	return NULL;
}

/* A place for an item without data: the one that is there with @key or @name, emptied, or a new one. */
static struct fw_cfg_item *place(struct fw_cfg_items *items, uint16_t key, const char *name)
{
	struct fw_cfg_item *item = name ? find_file(items, name) :
					  (struct fw_cfg_item *)fw_cfg_item_find(items, key);

	if (item) {
		item_release(item);
	} else {
		items->items = xrealloc(items->items, (items->count + 1) * sizeof(*items->items));
		item = &items->items[items->count++];
		items->files += name ? 1 : 0;
	}
	*item = (struct fw_cfg_item){ .key = key };
	if (name)
		strcpy(item->name, name);
	return item;
}

static void fill(struct fw_cfg_item *item, const void *data, uint32_t size)
{
	item->size = size;
	item->data = xcalloc(1, MAX(size, 1u));
	if (size)
		memcpy(item->data, data, size);
}

int fw_cfg_items_rewrite(struct fw_cfg_items *items, const char *name, const void *data,
			 uint32_t size)
{
	struct fw_cfg_item *item = find_file(items, name);

	if (!item)
		return -ENOENT;
	if (item->map || item->size != size)
		return -EINVAL;
	memcpy(item->data, data, size);
	return 0;
}

/* Pages of the page cache, which virtual machines share; a file that cannot be mapped is read. */
static int map_fd(struct fw_cfg_item *item, int fd, uint64_t offset, uint32_t size)
{
	uint64_t skip = offset % (uint64_t)sysconf(_SC_PAGESIZE);
	void *map;
	int ret;

	*item = (struct fw_cfg_item){ .size = size };
	if (!size) {
		item->data = xcalloc(1, 1);
		return 0;
	}
	map = mmap(NULL, size + skip, PROT_READ, MAP_PRIVATE, fd, (off_t)(offset - skip));
	if (map != MAP_FAILED) {
		item->map = map;
		item->map_size = size + skip;
		item->data = (uint8_t *)map + skip;
		return 0;
	}
	item->data = xcalloc(1, size);
	ret = fd_pread_full(fd, item->data, size, (off_t)offset);
	if (ret)
		free(item->data);
	return ret;
}

static void fill_mapped(struct fw_cfg_item *item, const struct fw_cfg_item *mapped)
{
	item->size = mapped->size;
	item->data = mapped->data;
	item->map = mapped->map;
	item->map_size = mapped->map_size;
}

static int by_name(const void *a, const void *b)
{
	const struct fw_cfg_item *left = a, *right = b;

	return strcmp(left->name, right->name); /* what has no name comes first */
}

void fw_cfg_items_update(struct fw_cfg_items *items)
{
	struct directory {
		be32_t count;
		struct directory_entry entries[FW_CFG_FILES_MAX];
	} *directory = xcalloc(1, sizeof(*directory));
	unsigned int file = 0;

	place(items, FW_CFG_FILE_DIR, NULL);
	qsort(items->items, items->count, sizeof(*items->items), by_name);
	for (unsigned int i = 0; i < items->count; i++) {
		struct fw_cfg_item *item = &items->items[i];
		struct directory_entry *entry = &directory->entries[file];

		if (!*item->name)
			continue;
		item->key = FW_CFG_FILE_FIRST + file++;
		entry->size = cpu_to_be32(item->size);
		entry->key = cpu_to_be16(item->key);
		strcpy(entry->name, item->name);
	}
	directory->count = cpu_to_be32(file);
	fill(place(items, FW_CFG_FILE_DIR, NULL), directory,
	     sizeof(directory->count) + file * sizeof(directory->entries[0]));
	free(directory);
}

/* --- items ---------------------------------------------------------------------------------- */

void fw_cfg_set(struct fw_cfg *cfg, uint16_t key, const void *data, uint32_t size)
{
	fill(place(fw_cfg_items_of(cfg), key, NULL), data, size);
}

void fw_cfg_set_u16(struct fw_cfg *cfg, uint16_t key, uint16_t value)
{
	le16_t bytes = cpu_to_le16(value);

	fw_cfg_set(cfg, key, &bytes, sizeof(bytes));
}

void fw_cfg_set_u32(struct fw_cfg *cfg, uint16_t key, uint32_t value)
{
	le32_t bytes = cpu_to_le32(value);

	fw_cfg_set(cfg, key, &bytes, sizeof(bytes));
}

void fw_cfg_set_u64(struct fw_cfg *cfg, uint16_t key, uint64_t value)
{
	le64_t bytes = cpu_to_le64(value);

	fw_cfg_set(cfg, key, &bytes, sizeof(bytes));
}

int fw_cfg_set_fd(struct fw_cfg *cfg, uint16_t key, int fd, uint64_t offset, uint32_t size)
{
	struct fw_cfg_item mapped;
	int ret = map_fd(&mapped, fd, offset, size);

	if (!ret)
		fill_mapped(place(fw_cfg_items_of(cfg), key, NULL), &mapped);
	return ret;
}

/* --- files ---------------------------------------------------------------------------------- */

bool fw_cfg_has_file(const struct fw_cfg *cfg, const char *name)
{
	return find_file(fw_cfg_items_of((struct fw_cfg *)cfg), name);
}

static int check_file(const struct fw_cfg_items *items, const char *name, struct error **errp)
{
	if (!*name || strlen(name) > FW_CFG_NAME_MAX)
		return error_set(errp, -EINVAL, "name=%s has %zu characters, not 1 to %d", name,
				 strlen(name), FW_CFG_NAME_MAX);
	if (items->files == FW_CFG_FILES_MAX && !find_file(items, name))
		return error_set(errp, -ENOSPC, "no room for file %s: there are %d already", name,
				 FW_CFG_FILES_MAX);
	return 0;
}

int fw_cfg_set_file(struct fw_cfg *cfg, const char *name, const void *data, uint32_t size,
		    struct error **errp)
{
	struct fw_cfg_items *items = fw_cfg_items_of(cfg);
	int ret = check_file(items, name, errp);

	if (ret)
		return ret;
	fill(place(items, 0, name), data, size);
	fw_cfg_items_update(items);
	return 0;
}

/* --- -fw_cfg ---------------------------------------------------------------------------------- */

struct fw_cfg_option {
	char *name, *string, *file;
};

const struct property fw_cfg_option_props[] = {
	{ .name = "name", .help = "what the guest finds it by, \"opt/...\"", .type = PROPERTY_STRING,
	  .flags = PROPERTY_REQUIRED, .offset = offsetof(struct fw_cfg_option, name), .min = 1,
	  .max = FW_CFG_NAME_MAX },
	PROP_STRING("string", struct fw_cfg_option, string, 0, 4095, NULL, "the contents"),
	PROP_STRING("file", struct fw_cfg_option, file, 1, 4095, NULL, "a file with the contents"),
	PROP_END,
};

static int open_file(struct fw_cfg_item *item, const char *path, struct error **errp)
{
	struct stat st;
	int fd, ret = 0;

	fd = fd_open(path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return error_set_errno(errp, fd, "cannot open file '%s'", path);
	if (fd_stat(fd, &st))
		ret = error_set_errno(errp, -errno, "cannot look at file '%s'", path);
	else if (!S_ISREG(st.st_mode))
		ret = error_set(errp, -EINVAL, "'%s' is not a regular file", path);
	else if ((uint64_t)st.st_size > UINT32_MAX)
		ret = error_set(errp, -EFBIG, "file '%s' is larger than 4 GiB", path);
	if (!ret) {
		ret = map_fd(item, fd, 0, (uint32_t)st.st_size);
		if (ret)
			error_set_errno(errp, ret, "file '%s' cannot be read", path);
	}
	fd_close(&fd);
	return ret;
}

static int add_option(struct fw_cfg_items *items, const struct fw_cfg_option *option,
		      struct error **errp)
{
	struct fw_cfg_item opened = { 0 };
	struct fw_cfg_item *item;
	int ret;

	if (!option->string == !option->file)
		return error_set(errp, -EINVAL, "either string= or file= is needed");
	ret = check_file(items, option->name, errp);
	if (ret)
		return ret;
	if (find_file(items, option->name))
		return error_set(errp, -EEXIST, "there is a file of that name already");
	if (strncmp(option->name, "opt/", 4))
		log_warn("-fw_cfg name=%s: names of users' own should begin with \"opt/\"", option->name);
	if (option->file) {
		ret = open_file(&opened, option->file, errp);
		if (ret)
			return ret;
	}
	item = place(items, 0, option->name);
	if (option->file)
		fill_mapped(item, &opened);
	else
		fill(item, option->string, (uint32_t)strlen(option->string));
	fw_cfg_items_update(items);
	return 0;
}

int fw_cfg_add_option(struct fw_cfg *cfg, const struct opts *opts, struct error **errp)
{
	struct fw_cfg_option option = { 0 };
	int ret;

	ret = property_apply(fw_cfg_option_props, &option, opts, NULL, NULL, errp);
	if (ret)
		return ret;
	ret = add_option(fw_cfg_items_of(cfg), &option, errp);
	if (ret) {
		char *which = opts_describe(opts);

		error_prefix(errp, "%s: ", which);
		free(which);
	}
	property_release(fw_cfg_option_props, &option);
	return ret;
}
