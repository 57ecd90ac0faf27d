// SPDX-License-Identifier: Apache-2.0
/*
 * Errors of the host on demand: a library for LD_PRELOAD that stands between the VMM and its system calls. So the VMM under
 * test is the one that is installed, without a line for tests in it, and every room meets faults where real ones come from.
 * io_uring is met at liburing's border: what a completion says is changed on its way.
 *
 * FAULT_RULES names a file of struct rule, which the test writes while the VMM runs. With FAULT_JOURNAL a file keeps what each
 * pwritev() overwrote and which writes fdatasync() has made last, so that a test can take back what a power failure might.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define RULES 8

enum op { OP_NONE, OP_READ, OP_WRITE, OP_SYNC, OP_ALLOCATE, OP_MAP, OP_SIZE };

/* 64 bytes; see faults.py. */
struct rule {
	uint32_t tag;	/* enum op in the low byte, above it the version: the test changes rules under running threads */
	int32_t error;	/* errno; 0: half of what was asked for is done; -1: nothing happens, it is counted */
	uint32_t every; /* of the calls that match */
	uint32_t limit; /* so often at most; 0: always */
	uint32_t seen, hits;
	char match[40]; /* part of the file's name; of rings: of nothing */
};

static struct rule *rules;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void open_rules(void)
{
	const char *path = getenv("FAULT_RULES");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	rules = mmap(NULL, RULES * sizeof(*rules), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (rules == MAP_FAILED)
		rules = NULL;
}

static void file_name(int fd, char *name, size_t size)
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, size - 1);
	name[n < 0 ? 0 : n] = '\0';
}

/*
 * The rule that strikes now, as it was then. @fd: -1 for memory and rings, which match every name. A rule that changes while
 * it is read does not strike.
 */
static const struct rule *strike(enum op op, int fd)
{
	static _Thread_local struct rule now;
	char name[512] = "";

	for (unsigned int i = 0; rules && i < RULES; i++) {
		struct rule *rule = &rules[i];
		uint32_t tag = __atomic_load_n(&rule->tag, __ATOMIC_ACQUIRE);

		if ((tag & 0xff) != op)
			continue;
		now = *rule;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (__atomic_load_n(&rule->tag, __ATOMIC_RELAXED) != tag)
			continue;
		if (fd >= 0 && !name[0])
			file_name(fd, name, sizeof(name));
		if (fd >= 0 && !strstr(name, now.match))
			continue;
		if (now.limit && __atomic_load_n(&rule->hits, __ATOMIC_RELAXED) >= now.limit)
			continue;
		if ((__atomic_add_fetch(&rule->seen, 1, __ATOMIC_RELAXED) - 1) % now.every)
			continue;
		__atomic_add_fetch(&rule->hits, 1, __ATOMIC_RELEASE);
		if (now.error != -1)
			return &now;
	}
	return NULL;
}

/* --- The journal --- */

enum { JOURNAL_WRITE, JOURNAL_SYNCED };

struct record {
	uint32_t kind, length; /* WRITE: of the old data that follow; SYNCED: of the numbers of writes */
	uint64_t offset, number;
};

static pthread_mutex_t journal_lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -2;
static uint64_t numbers;
static uint64_t in_flight[64];
static unsigned int in_flight_count;

static int journal_fd(void)
{
	if (journal == -2) {
		const char *path = getenv("FAULT_JOURNAL");

		journal = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
	}
	return journal;
}

static void append(const struct record *record, const void *data)
{
	struct iovec iov[] = { { (void *)record, sizeof(*record) }, { (void *)data, record->length } };

	if (REAL(writev)(journal, iov, 2) != (ssize_t)(sizeof(*record) + record->length))
		abort();
}

static uint64_t journal_begin(int fd, const struct iovec *iov, int count, off_t offset)
{
	struct record record = { .kind = JOURNAL_WRITE, .offset = offset };
	void *old;

	for (int i = 0; i < count; i++)
		record.length += iov[i].iov_len;
	old = malloc(record.length);
	pthread_mutex_lock(&journal_lock);
	if (!old || in_flight_count == 64 || pread(fd, old, record.length, offset) != record.length)
		abort();
	record.number = ++numbers;
	in_flight[in_flight_count++] = record.number;
	append(&record, old);
	pthread_mutex_unlock(&journal_lock);
	free(old);
	return record.number;
}

static void journal_end(uint64_t number)
{
	pthread_mutex_lock(&journal_lock);
	for (unsigned int i = 0; i < in_flight_count; i++)
		if (in_flight[i] == number)
			in_flight[i] = in_flight[--in_flight_count];
	pthread_mutex_unlock(&journal_lock);
}

/* --- System calls --- */

/* Half of it, in whole sectors where that is possible. */
static size_t half(size_t len)
{
	size_t n = len / 2 / 512 * 512;

	return n ? n : len;
}

#define FAIL(rule)                                                                                 \
	do {                                                                                       \
		errno = (rule)->error;                                                             \
		return -1;                                                                         \
	} while (0)

ssize_t preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
	const struct rule *rule = strike(OP_READ, fd);
	struct iovec first = { iov->iov_base, half(iov->iov_len) };

	if (rule && rule->error)
		FAIL(rule);
	return rule ? REAL(preadv)(fd, &first, 1, offset) : REAL(preadv)(fd, iov, count, offset);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	const struct rule *rule = strike(OP_WRITE, fd);
	struct iovec first = { iov->iov_base, half(iov->iov_len) };
	uint64_t number = 0;
	ssize_t ret;

	if (rule && rule->error)
		FAIL(rule);
	if (rule) {
		iov = &first;
		count = 1;
	}
	if (journal_fd() >= 0)
		number = journal_begin(fd, iov, count, offset);
	ret = REAL(pwritev)(fd, iov, count, offset);
	if (number)
		journal_end(number);
	return ret;
}

int fdatasync(int fd)
{
	const struct rule *rule = strike(OP_SYNC, fd);
	struct record record = { .kind = JOURNAL_SYNCED };
	uint64_t open[64];
	int ret;

	if (rule)
		FAIL(rule);
	if (journal_fd() < 0)
		return REAL(fdatasync)(fd);
	/* What was done when it began. */
	pthread_mutex_lock(&journal_lock);
	record.number = numbers;
	record.length = in_flight_count * sizeof(open[0]);
	memcpy(open, in_flight, record.length);
	pthread_mutex_unlock(&journal_lock);
	ret = REAL(fdatasync)(fd);
	if (!ret) {
		pthread_mutex_lock(&journal_lock);
		append(&record, open);
		pthread_mutex_unlock(&journal_lock);
	}
	return ret;
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	const struct rule *rule = strike(OP_ALLOCATE, fd);

	if (rule)
		FAIL(rule);
	return REAL(fallocate)(fd, mode, offset, len);
}

int ftruncate(int fd, off_t len)
{
	const struct rule *rule = strike(OP_SIZE, fd);

	if (rule)
		FAIL(rule);
	return REAL(ftruncate)(fd, len);
}

#define SHORT(len) ((len) > 1 ? (len) / 2 : (len))

#define READER(name, params, args, fd, len)                                                        \
	ssize_t name params                                                                        \
	{                                                                                          \
		const struct rule *rule = strike(OP_READ, fd);                                     \
                                                                                                   \
		if (rule && rule->error)                                                           \
			FAIL(rule);                                                                \
		if (rule)                                                                          \
			len = SHORT(len);                                                          \
		return REAL(name) args;                                                            \
	}
#define WRITER(name, params, args, fd, len)                                                        \
	ssize_t name params                                                                        \
	{                                                                                          \
		const struct rule *rule = strike(OP_WRITE, fd);                                    \
                                                                                                   \
		if (rule && rule->error)                                                           \
			FAIL(rule);                                                                \
		if (rule)                                                                          \
			len = SHORT(len);                                                          \
		return REAL(name) args;                                                            \
	}

READER(read, (int fd, void *buf, size_t len), (fd, buf, len), fd, len)
READER(recv, (int fd, void *buf, size_t len, int flags), (fd, buf, len, flags), fd, len)
READER(readv, (int fd, const struct iovec *iov, int len), (fd, iov, len), fd, len)
WRITER(write, (int fd, const void *buf, size_t len), (fd, buf, len), fd, len)
WRITER(send, (int fd, const void *buf, size_t len, int flags), (fd, buf, len, flags), fd, len)
WRITER(writev, (int fd, const struct iovec *iov, int len), (fd, iov, len), fd, len)

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	const struct rule *rule = strike(OP_READ, fd);

	if (rule && rule->error)
		FAIL(rule);
	return REAL(recvmsg)(fd, msg, flags);
}

/* What _FORTIFY_SOURCE makes of read(). */
ssize_t __read_chk(int fd, void *buf, size_t len, size_t size);
ssize_t __read_chk(int fd, void *buf, size_t len, size_t size)
{
	if (len > size)
		abort();
	return read(fd, buf, len);
}

ssize_t __recv_chk(int fd, void *buf, size_t len, size_t size, int flags);
ssize_t __recv_chk(int fd, void *buf, size_t len, size_t size, int flags)
{
	if (len > size)
		abort();
	return recv(fd, buf, len, flags);
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	/* The loader and malloc() map, too: only what is as large as a guest's memory. */
	const struct rule *rule = len >= 64 << 20 ? strike(OP_MAP, -1) : NULL;

	if (rule) {
		errno = rule->error;
		return MAP_FAILED;
	}
	return REAL(mmap)(addr, len, prot, flags, fd, offset);
}

/* --- io_uring --- */

/* What each request that is under way asked for; an old one in the same place is forgotten. */
#define UNDER_WAY 4096
static struct {
	uint64_t data;
	uint8_t opcode;
} under_way[UNDER_WAY];

static unsigned int place_of(uint64_t data)
{
	return (data >> 4) * 2654435761u % UNDER_WAY;
}

static void note_requests(struct io_uring *ring)
{
	for (unsigned int i = ring->sq.sqe_head; i != ring->sq.sqe_tail; i++) {
		const struct io_uring_sqe *sqe = &ring->sq.sqes[i & *ring->sq.kring_mask];
		unsigned int place = place_of(sqe->user_data);

		under_way[place].data = sqe->user_data;
		under_way[place].opcode = sqe->opcode;
	}
}

int io_uring_submit(struct io_uring *ring)
{
	note_requests(ring);
	return REAL(io_uring_submit)(ring);
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned int count)
{
	note_requests(ring);
	return REAL(io_uring_submit_and_wait)(ring, count);
}

static enum op op_of(uint64_t data)
{
	unsigned int place = place_of(data);

	if (under_way[place].data != data)
		return OP_NONE;
	switch (under_way[place].opcode) {
	case IORING_OP_READ:
	case IORING_OP_READV:
		return OP_READ;
	case IORING_OP_WRITE:
	case IORING_OP_WRITEV:
		return OP_WRITE;
	case IORING_OP_FSYNC:
		return OP_SYNC;
	case IORING_OP_FALLOCATE:
		return OP_ALLOCATE;
	}
	return OP_NONE;
}

unsigned int io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes, unsigned int count)
{
	unsigned int n = REAL(io_uring_peek_batch_cqe)(ring, cqes, count);

	for (unsigned int i = 0; i < n; i++) {
		enum op op = op_of(cqes[i]->user_data);
		const struct rule *rule = op && cqes[i]->res >= 0 ? strike(op, -1) : NULL;

		if (rule)
			cqes[i]->res = rule->error ? -rule->error : (int)half(cqes[i]->res);
	}
	return n;
}
