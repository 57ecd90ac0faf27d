/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses, unix paths and TCP over IPv4 and IPv6, and listening on them. Main thread. */
#ifndef UTIL_ADDRESS_H
#define UTIL_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <netinet/in.h>

#include "util/error.h"

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	};
	socklen_t len;
};

int __must_check address_unix(const char *path, struct address *address, struct error **errp);
/*
 * @host: an IPv4 or IPv6 address, "localhost", or empty (all addresses of a server, the loopback of a client). Names
 * are not looked up: that would stop the main loop.
 */
int __must_check address_tcp(const char *host, uint16_t port, bool server, struct address *address,
			     struct error **errp);
/* "unix:/run/x" or "tcp:[::1]:4555". Caller frees. */
char *address_text(const struct address *address);

/* The socket file a server made: whether it is still ours is seen by these. */
struct socket_file {
	dev_t dev;
	ino_t ino;
};

/*
 * A listening socket, non-blocking. A socket file that nobody listens on is replaced; a new one has mode 0600. @file is
 * set for unix sockets; of a TCP address, port 0 becomes the one that was free. Returns the descriptor or -errno.
 */
int address_listen(struct address *address, struct socket_file *file, int backlog, struct error **errp);
/* Of an inherited socket: does it wait for connections, and under which name? -errno, and nothing set, if it is none. */
int __must_check socket_inspect(int fd, bool *listens, struct address *name);
/* Removes the socket file if it is the one that was made. */
void socket_file_remove(const struct address *address, const struct socket_file *file);

#endif
