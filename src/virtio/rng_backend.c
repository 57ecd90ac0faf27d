// SPDX-License-Identifier: Apache-2.0
#include "virtio/rng_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/fd_store.h"

struct rng_backend {
	char *filename;
	bool builtin;
	int fd; /* not of the builtin one */
};

const struct property rng_random_props[] = {
	PROP_STRING("filename", struct rng_backend, filename, 1, 4095, "/dev/urandom",
		    "character device, FIFO or file that random bytes come from"),
	PROP_END,
};

static const struct property no_props[] = { PROP_END };

static int open_device(struct rng_backend *rng, struct error **errp)
{
	struct stat st;
	int ret = 0;

	/* A FIFO without a writer opens all the same, and gives bytes when there is one. */
	rng->fd = fd_open(rng->filename, O_RDONLY | O_NONBLOCK, 0);
	if (rng->fd < 0)
		return error_set_errno(errp, rng->fd, "filename=%s cannot be opened", rng->filename);
	if (fd_stat(rng->fd, &st) < 0)
		return error_set_errno(errp, -errno, "filename=%s", rng->filename);
	if (!S_ISCHR(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISREG(st.st_mode))
		return error_set(errp, -EINVAL, "filename=%s is no character device, FIFO or file",
				 rng->filename);
	/* Somebody else may have opened it. Files, which have no such mode, never block. */
	if (!S_ISREG(st.st_mode))
		ret = fd_set_nonblock(rng->fd, true);
	return ret ? error_set_errno(errp, ret, "filename=%s", rng->filename) : 0;
}

int rng_backend_new(const struct opts *opts, struct link_scope *scope, struct rng_backend **ret,
		    struct error **errp)
{
	static const char *const skip[] = { "qom-type", "id", NULL };
	struct rng_backend *rng = xcalloc(1, sizeof(*rng));
	const char *id = opts_get(opts, "id"), *type = opts_get(opts, "qom-type");
	char *what;
	int err;

	rng->fd = -1;
	rng->builtin = type && !strcmp(type, "rng-builtin");
	err = property_apply(rng->builtin ? no_props : rng_random_props, rng, opts, skip, scope, errp);
	if (err) {
		free(rng);
		return err;
	}
	err = rng->builtin ? 0 : open_device(rng, errp);
	if (!err)
		err = id ? link_scope_add(scope, LINK_RNG, id, rng, errp) :
			   error_set(errp, -EINVAL, "an id is required");
	if (err) {
		what = opts_describe(opts);
		error_prefix(errp, "%s: ", what);
		free(what);
		rng_backend_free(rng);
		return err;
	}
	*ret = rng;
	return 0;
}

void rng_backend_free(struct rng_backend *rng)
{
	if (!rng)
		return;
	fd_close(&rng->fd);
	property_release(rng_random_props, rng);
	free(rng);
}

int rng_backend_open(const struct rng_backend *rng, int *ret)
{
	int fd = rng->builtin ? -1 : fcntl(rng->fd, F_DUPFD_CLOEXEC, 3);

	if (fd < 0 && !rng->builtin)
		return -errno;
	*ret = fd;
	return 0;
}

static ssize_t fill_builtin(const struct iovec *iov, unsigned int count)
{
	ssize_t total = 0;

	for (unsigned int i = 0; i < count; i++) {
		ssize_t n = getrandom(iov[i].iov_base, iov[i].iov_len, GRND_NONBLOCK);

		if (n < 0)
			return total ? total : -errno;
		total += n;
		if ((size_t)n < iov[i].iov_len)
			break;
	}
	return total;
}

ssize_t rng_backend_read(const struct rng_backend *rng, int fd, const struct iovec *iov, unsigned int count)
{
	ssize_t n;

	if (rng->builtin)
		return fill_builtin(iov, count);
	n = readv(fd, iov, (int)MIN(count, (unsigned int)IOV_MAX));
	return n < 0 ? -errno : n;
}

const char *rng_backend_filename(const struct rng_backend *rng)
{
	return rng->builtin ? "getrandom" : rng->filename;
}
