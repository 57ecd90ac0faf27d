/* SPDX-License-Identifier: Apache-2.0 */
#include "util/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/errand.h"
#include "util/fd.h"

int address_unix(const char *path, struct address *address, struct error **errp)
{
	size_t len = strlen(path);

	if (!len || len >= sizeof(address->un.sun_path))
		return error_set(errp, -EINVAL, "path '%s' has %zu bytes, allowed are 1 to %zu", path,
				 len, sizeof(address->un.sun_path) - 1);
	memset(address, 0, sizeof(*address));
	address->un.sun_family = AF_UNIX;
	memcpy(address->un.sun_path, path, len + 1);
	address->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	return 0;
}

int address_tcp(const char *host, uint16_t port, bool server, struct address *address,
		struct error **errp)
{
	struct address a = { .len = 0 };

	if (!host || !*host)
		host = server ? "0.0.0.0" : "127.0.0.1";
	else if (!strcmp(host, "localhost"))
		host = "127.0.0.1";
	if (inet_pton(AF_INET, host, &a.in4.sin_addr) == 1) {
		a.in4.sin_family = AF_INET;
		a.in4.sin_port = htons(port);
		a.len = sizeof(a.in4);
	} else if (inet_pton(AF_INET6, host, &a.in6.sin6_addr) == 1) {
		a.in6.sin6_family = AF_INET6;
		a.in6.sin6_port = htons(port);
		a.len = sizeof(a.in6);
	} else {
		return error_set(errp, -EINVAL,
				 "host=%s is not an IPv4 or IPv6 address or localhost", host);
	}
	*address = a;
	return 0;
}

char *address_text(const struct address *address)
{
	char host[INET6_ADDRSTRLEN] = "?";

	switch (address->any.sa_family) {
	case AF_UNIX:
		/* The socket of the other end mostly has no name. */
		if (address->len <= offsetof(struct sockaddr_un, sun_path))
			return xstrdup("unix:");
		return xasprintf("unix:%.*s", (int)sizeof(address->un.sun_path),
				 address->un.sun_path);
	case AF_INET:
		inet_ntop(AF_INET, &address->in4.sin_addr, host, sizeof(host));
		return xasprintf("tcp:%s:%u", host, ntohs(address->in4.sin_port));
	case AF_INET6:
		inet_ntop(AF_INET6, &address->in6.sin6_addr, host, sizeof(host));
		return xasprintf("tcp:[%s]:%u", host, ntohs(address->in6.sin6_port));
	default:
		return xstrdup("socket");
	}
}

/* --- listening ------------------------------------------------------------------------------- */

/* Only a refused connection proves that nobody listens: not a full backlog, not a missing permission. */
static bool is_stale(const struct address *address)
{
	struct stat st;
	bool refused;
	int fd;

	if (path_lstat(address->un.sun_path, &st) || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	refused = connect(fd, &address->any, address->len) < 0 && errno == ECONNREFUSED;
	close(fd);
	return refused;
}

static int bind_address(int fd, const struct address *address)
{
	int one = 1;

	if (address->any.sa_family == AF_UNIX) {
		/* The file gets the mode of the socket (less the umask), from its first moment on; unlike a
		 * change of the umask this concerns no other thread. */
		if (fchmod(fd, 0600))
			return -errno;
	} else if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))) {
		return -errno;
	}
	if (!bind(fd, &address->any, address->len))
		return 0;
	if (errno != EADDRINUSE || address->any.sa_family != AF_UNIX || !is_stale(address))
		return -errno;
	if (unlink(address->un.sun_path) && errno != ENOENT)
		return -errno;
	return bind(fd, &address->any, address->len) ? -errno : 0;
}

struct listen_call {
	struct address *address;
	struct socket_file *file;
	int backlog;
	struct error **errp;
};

static int make_listener(void *opaque)
{
	const struct listen_call *call = opaque;
	struct address *address = call->address;
	struct error **errp = call->errp;
	bool is_unix = address->any.sa_family == AF_UNIX, bound = false;
	struct stat st = { .st_ino = 0 };
	char *text;
	int fd, ret;

	fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ret = fd < 0 ? -errno : bind_address(fd, address);
	bound = !ret;
	if (!ret && listen(fd, call->backlog))
		ret = -errno;
	if (!ret && !is_unix && getsockname(fd, &address->any, &address->len))
		ret = -errno;
	if (!ret && is_unix && path_lstat(address->un.sun_path, &st))
		ret = -errno;
	if (ret) {
		text = address_text(address);
		if (bound && is_unix)
			unlink(address->un.sun_path);
		fd_close(&fd);
		if (ret == -EADDRINUSE && is_unix && !path_lstat(address->un.sun_path, &st) &&
		    !S_ISSOCK(st.st_mode))
			error_set(errp, ret, "'%s' is there already and is not a socket",
				  address->un.sun_path);
		else if (ret == -EADDRINUSE)
			error_set(errp, ret, "somebody listens on %s already", text);
		else
			error_set_errno(errp, ret, "cannot listen on %s", text);
		free(text);
		return ret;
	}
	call->file->dev = st.st_dev;
	call->file->ino = st.st_ino;
	return fd;
}

int address_listen(struct address *address, struct socket_file *file, int backlog, struct error **errp)
{
	return errand_run(make_listener, &(struct listen_call){ address, file, backlog, errp });
}

struct inspect_call {
	int fd;
	bool listens;
	struct address *name;
};

static int inspect(void *opaque)
{
	struct inspect_call *call = opaque;
	socklen_t len = sizeof(int);
	int listens = 0;

	if (getsockopt(call->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) ||
	    getsockname(call->fd, &call->name->any, &call->name->len))
		return -errno;
	call->listens = listens;
	return 0;
}

int socket_inspect(int fd, bool *listens, struct address *name)
{
	struct address address = { .len = sizeof(struct sockaddr_un) };
	struct inspect_call call = { .fd = fd, .name = &address };
	int ret = errand_run(inspect, &call);

	if (ret)
		return ret;
	*listens = call.listens;
	*name = address;
	return 0;
}

void socket_file_remove(const struct address *address, const struct socket_file *file)
{
	struct stat st;

	if (address->any.sa_family != AF_UNIX || path_lstat(address->un.sun_path, &st))
		return;
	if (st.st_dev == file->dev && st.st_ino == file->ino)
		unlink(address->un.sun_path);
}
