// SPDX-License-Identifier: Apache-2.0
/*
 * Making a ring: disabled at first, told what it may do for good (IORING_REGISTER_RESTRICTIONS, io_uring_register(2)), then
 * enabled. Nothing can be registered with it any more, and no further file be reached through it.
 */
#include "ring.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOG_MODULE "block"
#include "util/errand.h"
#include "util/log.h"

#define ENTRIES_MIN 32U
#define ENTRIES_MAX 1024U

static const uint8_t operations[] = { IORING_OP_READ,  IORING_OP_READV, IORING_OP_WRITE, IORING_OP_WRITEV,
				      IORING_OP_FSYNC, IORING_OP_FALLOCATE };

static int check_operations(struct io_uring *ring)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	bool all = true;

	if (!probe)
		return -ENOSYS;
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
		all = all && io_uring_opcode_supported(probe, operations[i]);
	io_uring_free_probe(probe);
	return all ? 0 : -ENOSYS;
}

/* Not every build of liburing exports its names for these two. */
static int ring_register(const struct block_ring *ring, unsigned int what, const void *arg, unsigned int count)
{
	return syscall(SYS_io_uring_register, ring->ring.ring_fd, what, arg, count) < 0 ? -errno : 0;
}

static int restrict_ring(struct block_ring *ring)
{
	struct io_uring_restriction rules[ARRAY_SIZE(operations) + 1] = { 0 };
	unsigned int count = 0;
	int ret;

	for (; count < ARRAY_SIZE(operations); count++) {
		rules[count].opcode = IORING_RESTRICTION_SQE_OP;
		rules[count].sqe_op = operations[count];
	}
	if (ring->fixed) {
		rules[count].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
		rules[count++].sqe_flags = IOSQE_FIXED_FILE;
	}
	ret = ring_register(ring, IORING_REGISTER_RESTRICTIONS, rules, count);
	ring->restricted = !ret;
	if (ret)
		log_warn("io_uring: a ring cannot be restricted to a disk's operations: %s", strerror(-ret));
	return ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

struct ring_call {
	struct block_ring *ring;
	unsigned int depth;
	int fd;
};

static int open_ring(void *opaque)
{
	/*
	 * The home loop returns to the kernel soon by itself: no need to interrupt it for each completion, but a flag while it
	 * polls instead. Linux knows these two from 5.19 on, restrictions from 5.10 on.
	 */
	static const unsigned int flags[] = { IORING_SETUP_R_DISABLED | IORING_SETUP_COOP_TASKRUN |
					      IORING_SETUP_TASKRUN_FLAG,
					      IORING_SETUP_R_DISABLED, 0 };
	const struct ring_call *call = opaque;
	struct block_ring *ring = call->ring;
	unsigned int entries = ENTRIES_MIN;
	int ret = -EINVAL;

	*ring = (struct block_ring){ .fixed = false };
	while (entries < call->depth && entries < ENTRIES_MAX)
		entries *= 2;
	for (size_t i = 0; i < ARRAY_SIZE(flags) && ret == -EINVAL; i++)
		ret = io_uring_queue_init(entries, &ring->ring, flags[i]);
	if (ret)
		return ret;
	ret = check_operations(&ring->ring);
	if (!ret)
		ring->fixed = !io_uring_register_files(&ring->ring, &call->fd, 1);
	if (!ret && ring->ring.flags & IORING_SETUP_R_DISABLED)
		ret = restrict_ring(ring);
	else if (!ret)
		log_info("io_uring: this kernel cannot restrict rings; Linux 5.10 can");
	if (ret)
		io_uring_queue_exit(&ring->ring);
	return ret;
}

int block_ring_open(struct block_ring *ring, unsigned int depth, int fd)
{
	return errand_run(open_ring, &(struct ring_call){ ring, depth, fd });
}
