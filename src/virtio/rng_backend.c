// SPDX-License-Identifier: Apache-2.0
#include "virtio/rng_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "util/alloc.h"
#include "util/fd.h"

struct rng_backend {
	char *filename;
	int fd;
};

const struct property rng_random_props[] = {
	PROP_STRING("filename", struct rng_backend, filename, 1, 4095, "/dev/urandom",
		    "character device that random bytes come from"),
	PROP_END,
};

static int open_device(struct rng_backend *rng, struct error **errp)
{
	struct stat st;

	rng->fd = open(rng->filename, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (rng->fd < 0)
		return error_set_errno(errp, -errno, "filename=%s cannot be opened", rng->filename);
	if (fstat(rng->fd, &st) < 0)
		return error_set_errno(errp, -errno, "filename=%s", rng->filename);
	if (!S_ISCHR(st.st_mode))
		return error_set(errp, -EINVAL, "filename=%s is not a character device", rng->filename);
	return 0;
}

int rng_backend_new(const struct opts *opts, struct link_scope *scope, struct rng_backend **ret,
		    struct error **errp)
{
	static const char *const skip[] = { "qom-type", "id", NULL };
	struct rng_backend *rng = xcalloc(1, sizeof(*rng));
	const char *id = opts_get(opts, "id");
	char *what;
	int err;

	rng->fd = -1;
	err = property_apply(rng_random_props, rng, opts, skip, scope, errp);
	if (err) {
		free(rng);
		return err;
	}
	err = open_device(rng, errp);
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

int rng_backend_open(const struct rng_backend *rng)
{
	int fd = fcntl(rng->fd, F_DUPFD_CLOEXEC, 3);

	return fd < 0 ? -errno : fd;
}

const char *rng_backend_filename(const struct rng_backend *rng)
{
	return rng->filename;
}
