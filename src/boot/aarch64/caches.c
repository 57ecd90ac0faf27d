// SPDX-License-Identifier: Apache-2.0
/* The caches of the host's CPUs, by sysfs (Documentation/ABI/testing/sysfs-devices-system-cpu). */
#include <stdio.h>
#include <string.h>

#include "boot/arm64.h"
#include "util/fd.h"
#include "util/parse.h"

#define LEVEL_MAX 7 /* of CLIDR_EL1 */

/* The one line of a file, without its end. False: it cannot be read. */
static bool read_line(const char *folder, const char *name, char *text, size_t size)
{
	char path[256];

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path) ||
	    file_read_text(path, text, size) || !*text)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return true;
}

static bool read_number(const char *folder, const char *name, uint32_t *ret)
{
	uint64_t value;
	char text[32];

	if (!read_line(folder, name, text, sizeof(text)) || parse_size(text, 1, &value) || value > UINT32_MAX)
		return false;
	*ret = (uint32_t)value;
	return true;
}

static bool read_kind(const char *folder, enum cpu_cache_kind *ret)
{
	static const char *const names[] = { "Data", "Instruction", "Unified" };
	char text[32];

	if (!read_line(folder, "type", text, sizeof(text)))
		return false;
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(text, names[i])) {
			*ret = (enum cpu_cache_kind)i;
			return true;
		}
	}
	return false;
}

static bool read_cache(const char *folder, const char *core, struct cpu_cache *cache)
{
	char sharers[1024];

	if (!read_number(folder, "level", &cache->level) || !cache->level || cache->level > LEVEL_MAX ||
	    !read_kind(folder, &cache->kind) || !read_number(folder, "size", &cache->size) || !cache->size ||
	    !read_number(folder, "coherency_line_size", &cache->line) || !cache->line ||
	    !read_number(folder, "number_of_sets", &cache->sets) || !cache->sets)
		return false;
	if (!read_number(folder, "ways_of_associativity", &cache->ways) || cache->ways > UINT8_MAX)
		cache->ways = 0;
	cache->shared = cache->level > 1 && read_line(folder, "shared_cpu_list", sharers, sizeof(sharers)) &&
			strcmp(sharers, core) != 0;
	/* Levels above the first are one cache each, as CPUs with this architecture have them. */
	return (cache->level == 1) == (cache->kind != CPU_CACHE_UNIFIED);
}

void cpu_caches_read(const char *cpu, struct cpu_caches *caches)
{
	char folder[192], core[1024] = "";
	unsigned int level = 0;
	bool shared = false;
	struct stat st;

	*caches = (struct cpu_caches){ 0 };
	read_line(cpu, "topology/thread_siblings_list", core, sizeof(core));
	for (unsigned int i = 0; i < CPU_CACHES_MAX; i++) {
		struct cpu_cache *cache = &caches->cache[caches->count];

		if (snprintf(folder, sizeof(folder), "%s/cache/index%u", cpu, i) >= (int)sizeof(folder) ||
		    path_stat(folder, &st))
			break;
		/* In order, without a gap, and never nearer to a core behind one that is shared. */
		if (!read_cache(folder, core, cache) || cache->level < level || cache->level > level + 1 ||
		    (shared && !cache->shared)) {
			caches->count = 0;
			return;
		}
		level = cache->level;
		shared = cache->shared;
		caches->count++;
	}
}
