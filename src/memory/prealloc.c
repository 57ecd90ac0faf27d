/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preallocation. MADV_POPULATE_WRITE (Linux 5.14) reports a lack of pages as an errno. Before that
 * kernel a page can only be touched, and a touch that finds no page is a SIGBUS; so the file behind
 * the mapping is allocated with fallocate() first, which does report, and the touch afterwards
 * cannot fail.
 */
#include "util/fd.h"
#include "prealloc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/parse.h"
#include "util/thread.h"

#define LOG_MODULE "memory"
#include "util/log.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define THREADS_MAX 16
/* Below this much a second thread costs more than it saves. */
#define CHUNK_MIN (64 * MIB)

struct prealloc_job {
	pthread_t thread;
	uint8_t *start;
	uint64_t len, page_size;
	bool populate; /* the kernel knows MADV_POPULATE_WRITE */
	int result;
};

int64_t ram_hugepages_free(uint64_t page_size)
{
	char path[96], text[32];
	int64_t pages = -1;

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/free_hugepages",
		 page_size / 1024);
	if (file_read_text(path, text, sizeof(text)) || sscanf(text, "%" SCNd64, &pages) != 1)
		return -1;
	return pages;
}

static void prealloc_touch(struct prealloc_job *job)
{
	/* Adding nothing keeps the byte and still is a write, also when another process shares it.
	 */
	for (uint64_t at = 0; at < job->len; at += job->page_size)
		__atomic_fetch_add(job->start + at, 0, __ATOMIC_RELAXED);
}

static void *prealloc_work(void *opaque)
{
	struct prealloc_job *job = opaque;

	if (!job->populate) {
		prealloc_touch(job);
		return NULL;
	}
	while (madvise(job->start, job->len, MADV_POPULATE_WRITE)) {
		if (errno == EINTR || errno == EAGAIN)
			continue;
		job->result = -errno;
		break;
	}
	return NULL;
}

static unsigned int prealloc_thread_count(const struct ram_backend *ram, uint32_t threads)
{
	uint64_t chunk = MAX(CHUNK_MIN, ram->page_size);
	uint64_t useful = (ram->size + chunk - 1) / chunk;
	uint64_t want = threads;
	cpu_set_t cpus;

	if (!want)
		want = sched_getaffinity(0, sizeof(cpus), &cpus) ? 1 : CPU_COUNT(&cpus);
	want = MIN(MIN(want, (uint64_t)THREADS_MAX), useful);
	return want ? (unsigned int)want : 1;
}

/* The fallback's first half, see above. Private mappings of files copy into anonymous memory. */
static int prealloc_reserve(const struct ram_backend *ram)
{
	if (ram->fd < 0 || !ram->shared)
		return 0;
	while (fallocate(ram->fd, 0, 0, (off_t)ram->size)) {
		if (errno == EINTR)
			continue;
		/* A file system without allocation (NFS): a touch is all there is. */
		return errno == EOPNOTSUPP ? 0 : -errno;
	}
	return 0;
}

int ram_no_room(const struct ram_backend *ram, int code, const char *verb, const char *what,
		struct error **errp)
{
	char size[24], page[24];
	int64_t free_pages;

	format_size(ram->size, size);
	if ((uint64_t)sysconf(_SC_PAGESIZE) == ram->page_size)
		return error_set_errno(errp, code, "cannot %s %s of %s", verb, size, what);

	free_pages = ram_hugepages_free(ram->page_size);
	return error_set_errno(errp, code,
			       "cannot %s %s of %s: %" PRId64
			       " huge pages of %s are free, %" PRIu64 " needed",
			       verb, size, what, MAX(free_pages, (int64_t)0),
			       format_size(ram->page_size, page), ram->size / ram->page_size);
}

int ram_prealloc(const struct ram_backend *ram, uint32_t threads, const char *what,
		 struct error **errp)
{
	struct prealloc_job jobs[THREADS_MAX] = { 0 };
	unsigned int count = prealloc_thread_count(ram, threads), started = 0;
	uint64_t pages = ram->size / ram->page_size, done = 0;
	bool populate;
	int ret = 0;

	/* One page tells whether the kernel knows the call (EINVAL) and whether there are pages at
	 * all. */
	populate = !madvise(ram->host, ram->page_size, MADV_POPULATE_WRITE) || errno != EINVAL;
	if (!populate) {
		ret = prealloc_reserve(ram);
		if (ret)
			return ram_no_room(ram, ret, "preallocate", what, errp);
	}

	for (unsigned int i = 0; i < count; i++) {
		uint64_t share = pages / count + (i < pages % count);

		jobs[i] = (struct prealloc_job){
			.start = ram->host + done * ram->page_size,
			.len = share * ram->page_size,
			.page_size = ram->page_size,
			.populate = populate,
		};
		done += share;
	}
	/* The last share is this thread's own; a thread that does not start leaves its share to it
	 * too. */
	for (; started + 1 < count; started++)
		if (thread_start(&jobs[started].thread, THREAD_STARTUP, "mem-prealloc", prealloc_work,
				 &jobs[started], NULL))
			break;
	for (unsigned int i = started; i < count; i++)
		prealloc_work(&jobs[i]);
	for (unsigned int i = 0; i < started; i++)
		pthread_join(jobs[i].thread, NULL);

	for (unsigned int i = 0; i < count && !ret; i++)
		ret = jobs[i].result;
	/* EFAULT is how MADV_POPULATE_WRITE tells of what would have been a SIGBUS: no page to be
	 * had. */
	if (ret == -EFAULT)
		ret = -ENOMEM;
	return ret ? ram_no_room(ram, ret, "preallocate", what, errp) : 0;
}
