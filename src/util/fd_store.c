// SPDX-License-Identifier: Apache-2.0
#include "util/fd_store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/list.h"
#include "util/parse.h"

#define SET_PREFIX "/dev/fdset/"

/* A descriptor by name or in a set. */
struct stored {
	struct list node;
	int fd;
	char *name; /* NULL: in a set */
	const void *owner;
	int64_t set;
	char *opaque;
};

static pthread_mutex_t lock =
	PTHREAD_MUTEX_INITIALIZER;	     /* guards both: fd_open() is for any thread */
static struct list store = LIST_INIT(store); /* sets in ascending order */
static unsigned int count;

static void drop_locked(struct stored *stored)
{
	list_del(&stored->node);
	close(stored->fd);
	free(stored->name);
	free(stored->opaque);
	free(stored);
	count--;
}

static int room_locked(struct error **errp)
{
	if (count < FD_STORE_MAX)
		return 0;
	return error_set(errp, -EMFILE, "%d descriptors are held already, which is the limit",
			 FD_STORE_MAX);
}

static struct stored *find_locked(const char *name)
{
	struct stored *stored;

	list_for_each(stored, &store, node) {
		if (stored->name && !strcmp(stored->name, name))
			return stored;
	}
	return NULL;
}

int fd_store_put(const char *name, int fd, const void *owner, struct error **errp)
{
	struct stored *stored;
	int ret;

	pthread_mutex_lock(&lock);
	stored = find_locked(name);
	if (stored)
		drop_locked(stored);
	ret = room_locked(errp);
	if (!ret) {
		stored = xcalloc(1, sizeof(*stored));
		stored->fd = fd;
		stored->name = xstrdup(name);
		stored->owner = owner;
		list_add_tail(&store, &stored->node);
		count++;
	}
	pthread_mutex_unlock(&lock);
	return ret;
}

int fd_store_take(const char *name)
{
	struct stored *stored;
	int fd = -ENOENT;

	pthread_mutex_lock(&lock);
	stored = find_locked(name);
	if (stored) {
		fd = stored->fd;
		stored->fd = -1; /* close(-1) below is harmless */
		drop_locked(stored);
	}
	pthread_mutex_unlock(&lock);
	return fd;
}

void fd_store_drop(const void *owner)
{
	struct stored *stored, *next;

	pthread_mutex_lock(&lock);
	list_for_each_safe(stored, next, &store, node) {
		if (stored->name && stored->owner == owner)
			drop_locked(stored);
	}
	pthread_mutex_unlock(&lock);
}

/* The first number that is free, and where a member of @set belongs: before the node returned. */
static struct list *place_locked(int64_t *set)
{
	struct stored *stored;
	int64_t number = 0;

	if (*set < 0) {
		list_for_each(stored, &store, node) {
			if (!stored->name && stored->set == number)
				number++;
			else if (!stored->name && stored->set > number)
				break;
		}
		*set = number;
	}
	list_for_each(stored, &store, node) {
		if (!stored->name && stored->set > *set)
			return &stored->node;
	}
	return &store;
}

int fd_set_add(int64_t *set, int fd, const char *opaque, struct error **errp)
{
	struct stored *stored;
	int ret;

	pthread_mutex_lock(&lock);
	ret = room_locked(errp);
	if (!ret) {
		stored = xcalloc(1, sizeof(*stored));
		list_add_tail(place_locked(set), &stored->node);
		stored->fd = fd;
		stored->set = *set;
		stored->opaque = opaque ? xstrdup(opaque) : NULL;
		count++;
	}
	pthread_mutex_unlock(&lock);
	return ret;
}

int fd_set_remove(int64_t set, int fd)
{
	struct stored *stored, *next;
	int ret = -ENOENT;

	pthread_mutex_lock(&lock);
	list_for_each_safe(stored, next, &store, node) {
		if (stored->name || stored->set != set || (fd >= 0 && stored->fd != fd))
			continue;
		drop_locked(stored);
		ret = 0;
	}
	pthread_mutex_unlock(&lock);
	return ret;
}

void fd_set_each(void (*fn)(void *arg, int64_t set, int fd, const char *opaque), void *arg)
{
	struct stored *stored;

	list_for_each(stored, &store, node) {
		if (!stored->name)
			fn(arg, stored->set, stored->fd, stored->opaque);
	}
}

static int open_from_set(uint64_t set, int flags)
{
	struct stored *stored;
	int fd = -ENOENT;

	pthread_mutex_lock(&lock);
	list_for_each(stored, &store, node) {
		int have;

		if (stored->name || (uint64_t)stored->set != set)
			continue;
		have = fcntl(stored->fd, F_GETFL);
		if (have < 0 || (have & O_ACCMODE) != (flags & O_ACCMODE)) {
			fd = -EACCES;
			continue;
		}
		fd = fcntl(stored->fd, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			fd = -errno;
		break;
	}
	pthread_mutex_unlock(&lock);
	return fd;
}

int fd_open(const char *path, int flags, mode_t mode)
{
	uint64_t set;
	int fd;

	if (!strncmp(path, SET_PREFIX, strlen(SET_PREFIX)) &&
	    !parse_u64(path + strlen(SET_PREFIX), &set))
		return open_from_set(set, flags);
	fd = open(path, flags | O_CLOEXEC, mode);
	return fd < 0 ? -errno : fd;
}

void fd_store_clear(void)
{
	struct stored *stored, *next;

	pthread_mutex_lock(&lock);
	list_for_each_safe(stored, next, &store, node)
		drop_locked(stored);
	pthread_mutex_unlock(&lock);
}
