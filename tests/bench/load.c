// SPDX-License-Identifier: Apache-2.0
/*
 * What tests/bench/linux has its Linux guests do, and the host's end of it; static, so that it runs in the initramfs:
 *
 *   load disk DEVICE BYTES DEPTH JOBS rand|seq SECONDS   O_DIRECT reads by io_uring; JOBS threads, DEPTH in flight each
 *   load send|receive|ping WHERE SECONDS                 a stream to where "serve" is; ping: 16 bytes there and back
 *   load serve WHERE                                     until it is killed; prints "serving" when it may be connected to
 *
 * WHERE: tcp:ADDRESS:PORT, vsock:CID:PORT, unix:PATH, or, not for serve, file:PATH (a port of a virtio console). Prints
 * "<count> <bytes> <nanoseconds>"; count is requests, round trips, or pieces of a stream.
 *
 * On a stream each message is a struct order, behind which its payload lies. The end that serves obeys, so one
 * connection does for any number of measurements, and a console, which cannot be closed halfway, is like a socket.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <linux/vm_sockets.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PIECE (1u << 20) /* bytes of a stream that are asked for, or announced, at a time */
#define BLOCK (1u << 16) /* bytes of a system call */
#define JOBS_MAX 64

enum { ORDER_TAKE = 1, ORDER_GIVE, ORDER_ANSWER };

struct order {
	uint64_t what;
	uint64_t bytes; /* behind it for TAKE, wanted for GIVE */
};

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void report(uint64_t count, uint64_t bytes, int64_t ns)
{
	printf("%llu %llu %lld\n", (unsigned long long)count, (unsigned long long)bytes, (long long)ns);
}

/* --- disks --- */

struct job {
	const char *device;
	uint64_t first, blocks; /* its part of the disk, in requests */
	uint32_t bytes, depth, cpu;
	int random;
	int64_t end_ns;
	uint64_t done;
	pthread_t thread;
};

static uint64_t next_block(struct job *job, uint64_t *state)
{
	if (!job->random)
		return job->first + (*state)++ % job->blocks;
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return job->first + *state % job->blocks;
}

static void queue_read(struct io_uring *ring, int fd, struct job *job, uint64_t *state, void *buffer)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_read(sqe, fd, buffer, job->bytes, next_block(job, state) * job->bytes);
	io_uring_sqe_set_data(sqe, buffer);
}

static void *job_run(void *opaque)
{
	struct job *job = opaque;
	uint64_t state = job->random ? 88172645463325252ULL + job->first : 0;
	uint32_t in_flight = 0;
	struct io_uring ring;
	cpu_set_t cpus;
	uint8_t *memory;
	int fd, ret;

	CPU_ZERO(&cpus);
	CPU_SET(job->cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		err(1, "sched_setaffinity");
	fd = open(job->device, O_RDONLY | O_DIRECT);
	if (fd < 0)
		err(1, "%s", job->device);
	if (posix_memalign((void **)&memory, 4096, (size_t)job->bytes * job->depth))
		errx(1, "no memory");
	ret = io_uring_queue_init(job->depth, &ring, 0);
	if (ret)
		errx(1, "io_uring: %s", strerror(-ret));
	for (uint32_t i = 0; i < job->depth; i++, in_flight++)
		queue_read(&ring, fd, job, &state, memory + (size_t)i * job->bytes);
	while (in_flight) {
		struct io_uring_cqe *cqes[64];
		unsigned int count;
		int more;

		ret = io_uring_submit_and_wait(&ring, 1);
		if (ret < 0 && ret != -EINTR)
			errx(1, "io_uring: %s", strerror(-ret));
		more = now_ns() < job->end_ns;
		count = io_uring_peek_batch_cqe(&ring, cqes, 64);
		for (unsigned int i = 0; i < count; i++) {
			if (cqes[i]->res != (int)job->bytes)
				errx(1, "%s: a read returned %d", job->device, cqes[i]->res);
			job->done++;
			in_flight--;
			if (more) {
				queue_read(&ring, fd, job, &state, io_uring_cqe_get_data(cqes[i]));
				in_flight++;
			}
		}
		io_uring_cq_advance(&ring, count);
	}
	io_uring_queue_exit(&ring);
	close(fd);
	free(memory);
	return NULL;
}

static void disk(const char *device, uint32_t bytes, uint32_t depth, uint32_t count, int random, double seconds)
{
	static struct job jobs[JOBS_MAX];
	uint64_t size, done = 0;
	int64_t begin;
	int fd = open(device, O_RDONLY);

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size))
		err(1, "%s", device);
	close(fd);
	if (!bytes || !depth || !count || count > JOBS_MAX || size < (uint64_t)bytes * count)
		errx(2, "not that many, or not that large");
	begin = now_ns();
	for (uint32_t i = 0; i < count; i++) {
		uint64_t blocks = size / bytes / count;

		jobs[i] = (struct job){ .device = device, .first = blocks * i, .blocks = blocks, .bytes = bytes, .depth = depth,
					.cpu = i % (uint32_t)sysconf(_SC_NPROCESSORS_ONLN), .random = random,
					.end_ns = begin + (int64_t)(seconds * 1e9) };
		if (pthread_create(&jobs[i].thread, NULL, job_run, &jobs[i]))
			errx(1, "no thread");
	}
	for (uint32_t i = 0; i < count; i++) {
		pthread_join(jobs[i].thread, NULL);
		done += jobs[i].done;
	}
	report(done, done * bytes, now_ns() - begin);
}

/* --- streams --- */

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_vm vm;
	struct sockaddr_un un;
};

/* A socket of the family that @where is of; its address in @address, the size of that in @len. */
static int new_socket(char *where, union address *address, socklen_t *len)
{
	char *kind = strtok(where, ":"), *name = strtok(NULL, ":"), *port = strtok(NULL, ":");
	int one = 1, fd;

	memset(address, 0, sizeof(*address));
	if (kind && name && !strcmp(kind, "unix") && strlen(name) < sizeof(address->un.sun_path)) {
		address->un.sun_family = AF_UNIX;
		strcpy(address->un.sun_path, name);
		*len = sizeof(address->un);
	} else if (kind && name && port && !strcmp(kind, "vsock")) {
		address->vm.svm_family = AF_VSOCK;
		address->vm.svm_cid = (unsigned int)strtoul(name, NULL, 10);
		address->vm.svm_port = (unsigned int)strtoul(port, NULL, 10);
		*len = sizeof(address->vm);
	} else if (kind && name && port && !strcmp(kind, "tcp") && inet_aton(name, &address->in.sin_addr)) {
		address->in.sin_family = AF_INET;
		address->in.sin_port = htons((uint16_t)atoi(port));
		*len = sizeof(address->in);
	} else {
		errx(2, "not a place to connect to");
	}
	fd = socket(address->any.sa_family, SOCK_STREAM, 0);
	if (fd < 0)
		err(1, "socket");
	if (address->any.sa_family == AF_INET && (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
						  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))))
		err(1, "setsockopt");
	return fd;
}

static int dial(char *where)
{
	union address address;
	socklen_t len;
	int fd;

	if (!strncmp(where, "file:", 5)) {
		fd = open(where + 5, O_RDWR);
		if (fd < 0)
			err(1, "%s", where + 5);
		return fd;
	}
	fd = new_socket(where, &address, &len);
	if (connect(fd, &address.any, len))
		err(1, "connect");
	return fd;
}

static void put(int fd, const void *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0)
			err(1, "write");
		data = (const uint8_t *)data + n;
		len -= (size_t)n;
	}
}

/* False at the end of the stream, which must not come in the middle of something. */
static int get(int fd, void *data, size_t len)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = read(fd, (uint8_t *)data + have, len - have);

		if (n < 0)
			err(1, "read");
		if (!n && !have)
			return 0;
		if (!n)
			errx(1, "the stream ended too early");
		have += (size_t)n;
	}
	return 1;
}

static void put_bytes(int fd, uint64_t bytes)
{
	static const uint8_t block[BLOCK];

	for (; bytes; bytes -= bytes < BLOCK ? bytes : BLOCK)
		put(fd, block, bytes < BLOCK ? bytes : BLOCK);
}

/* Takes what there is: a large read would otherwise wait for more than a small one. */
static void get_bytes(int fd, uint64_t bytes)
{
	uint8_t block[BLOCK];

	while (bytes) {
		ssize_t n = read(fd, block, bytes < BLOCK ? bytes : BLOCK);

		if (n <= 0)
			err(1, "read");
		bytes -= (uint64_t)n;
	}
}

static void *obey(void *opaque)
{
	int fd = (int)(intptr_t)opaque;
	struct order order;

	while (get(fd, &order, sizeof(order))) {
		if (order.what == ORDER_TAKE)
			get_bytes(fd, order.bytes);
		else if (order.what == ORDER_GIVE)
			put_bytes(fd, order.bytes);
		else
			put(fd, &order, sizeof(order));
	}
	close(fd);
	return NULL;
}

static void serve(char *where)
{
	union address address;
	socklen_t len;
	int fd = new_socket(where, &address, &len);

	if (address.any.sa_family == AF_UNIX)
		unlink(address.un.sun_path);
	if (bind(fd, &address.any, len) || listen(fd, 16))
		err(1, "listen");
	puts("serving");
	for (;;) {
		int one = 1, peer = accept(fd, NULL, NULL);
		pthread_t thread;

		if (peer < 0)
			err(1, "accept");
		if (address.any.sa_family == AF_INET)
			setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (pthread_create(&thread, NULL, obey, (void *)(intptr_t)peer))
			errx(1, "no thread");
		pthread_detach(thread);
	}
}

static void order(int fd, uint64_t what, uint64_t bytes)
{
	struct order order = { what, bytes };

	put(fd, &order, sizeof(order));
}

static void measure(const char *what, char *where, double seconds)
{
	int fd = dial(where);
	uint64_t count = 0, bytes = 0;
	struct order answer;
	int64_t begin, end_ns;

	order(fd, ORDER_ANSWER, 0); /* what is done once is done before the clock starts */
	get(fd, &answer, sizeof(answer));
	begin = now_ns();
	end_ns = begin + (int64_t)(seconds * 1e9);
	if (!strcmp(what, "send")) {
		for (; now_ns() < end_ns; count++) {
			order(fd, ORDER_TAKE, PIECE);
			put_bytes(fd, PIECE);
		}
		order(fd, ORDER_ANSWER, 0);
		get(fd, &answer, sizeof(answer));
		bytes = count * PIECE;
	} else if (!strcmp(what, "receive")) {
		/* The next piece is ordered before this one is read, so that the sender never waits. */
		for (order(fd, ORDER_GIVE, PIECE); now_ns() < end_ns; count++) {
			order(fd, ORDER_GIVE, PIECE);
			get_bytes(fd, PIECE);
		}
		get_bytes(fd, PIECE);
		bytes = ++count * PIECE;
	} else {
		for (; now_ns() < end_ns; count++) {
			order(fd, ORDER_ANSWER, count);
			if (!get(fd, &answer, sizeof(answer)) || answer.bytes != count)
				errx(1, "not the answer to this");
		}
		bytes = count * sizeof(answer);
	}
	report(count, bytes, now_ns() - begin);
	close(fd);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 8 && !strcmp(argv[1], "disk"))
		disk(argv[2], (uint32_t)atoi(argv[3]), (uint32_t)atoi(argv[4]), (uint32_t)atoi(argv[5]), !strcmp(argv[6], "rand"),
		     atof(argv[7]));
	else if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(argv[2]);
	else if (argc == 4 && (!strcmp(argv[1], "send") || !strcmp(argv[1], "receive") || !strcmp(argv[1], "ping")))
		measure(argv[1], argv[2], atof(argv[3]));
	else
		errx(2, "see the top of tests/bench/load.c");
	return 0;
}
