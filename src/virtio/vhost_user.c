// SPDX-License-Identifier: Apache-2.0
#include "vhost_user.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fd.h"

#define LOG_MODULE "vhost-user"
#include "util/log.h"

enum {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
};

/* A bit of GET_FEATURES that is no feature of the device's. */
#define F_PROTOCOL_FEATURES (1ULL << 30)

#define PROTOCOL_F_MQ (1ULL << 0)
#define PROTOCOL_F_REPLY_ACK (1ULL << 3)

#define FLAG_VERSION 1u
#define FLAG_VERSION_MASK 3u
#define FLAG_REPLY (1u << 2)
#define FLAG_NEED_REPLY (1u << 3)

#define REGIONS_MAX 8
#define SEND_PATIENCE_MS 1000

struct header {
	uint32_t request, flags, size;
};

struct memory_region {
	uint64_t gpa, size, user_addr, offset;
};

struct message {
	struct header header;
	union {
		uint64_t u64;
		struct {
			uint32_t index, num;
		} state;
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail, log;
		} addr;
		struct {
			uint32_t count, padding;
			struct memory_region regions[REGIONS_MAX];
		} memory;
	};
} __packed;

struct answer {
	struct header header;
	union {
		uint64_t u64;
		struct {
			uint32_t index, num;
		} state;
	};
} __packed;
_Static_assert(sizeof(struct answer) == sizeof(((struct vhost_user *)0)->in), "an answer's size");

/* --- The connection --- */

/* The entry after the last that the back end gave back: what it had taken besides is taken again. The ring is guest
 * memory, as everything the guest may write there is at its own risk. */
static uint16_t used_index(const struct virtqueue *vq)
{
	const void *idx = &vq->used->idx;

	return le16toh(__atomic_load_n((const uint16_t *)idx, __ATOMIC_ACQUIRE));
}

void vhost_user_drop(struct vhost_user *vu, const char *why)
{
	bool was_ready = vu->state == VHOST_USER_READY;

	if (vu->socket.fd < 0)
		return;
	if (why)
		log_warn_limited(&vu->limit, "%s: the vhost-user back end is dropped: %s", vu->name, why);
	loop_fd_del(&vu->socket);
	/* Whoever else watches the connection sees its end now. */
	(void)shutdown(vu->socket.fd, SHUT_RDWR);
	fd_close(&vu->socket.fd);
	loop_timer_cancel(&vu->patience);
	vu->state = VHOST_USER_GONE;
	vu->expected_count = vu->in_len = 0;
	for (unsigned int i = 0; i < vu->ring_count; i++)
		if (vu->rings[i].running)
			vhost_vring_unlisten(&vu->rings[i], used_index(&vu->rings[i].queue->vq));
	if (was_ready)
		vu->ops->gone(vu);
}

static void impatient(struct loop_timer *timer)
{
	vhost_user_drop(container_of(timer, struct vhost_user, patience), "it does not answer");
}

static void expect(struct vhost_user *vu, uint32_t request)
{
	if (vu->expected_count == VHOST_USER_ANSWERS_MAX) {
		vhost_user_drop(vu, "it does not answer");
		return;
	}
	vu->expected[(vu->expected_first + vu->expected_count++) % VHOST_USER_ANSWERS_MAX] = (uint8_t)request;
	if (!vu->patience.deadline_ns)
		loop_timer_set(&vu->patience, clock_now_ns() + VHOST_USER_PATIENCE_NS);
}

/* @answer: the request has an answer of its own, or shall be acknowledged if the back end can do that. */
static void send_message(struct vhost_user *vu, struct message *message, uint32_t request, size_t size, bool answer,
			 const int *fds, unsigned int fd_count)
{
	union {
		char bytes[CMSG_SPACE(REGIONS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { message, sizeof(message->header) + size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	bool own_answer = request == GET_FEATURES || request == GET_PROTOCOL_FEATURES || request == GET_QUEUE_NUM ||
			  request == GET_VRING_BASE;
	ssize_t n;

	if (vu->socket.fd < 0)
		return;
	answer = own_answer || (answer && vu->protocol_features & PROTOCOL_F_REPLY_ACK);
	message->header = (struct header){ request, FLAG_VERSION, (uint32_t)size };
	if (answer && !own_answer)
		message->header.flags |= FLAG_NEED_REPLY;
	if (fd_count) {
		struct cmsghdr *cmsg;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, fd_count * sizeof(int));
	}
	n = sendmsg(vu->socket.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN && fd_poll(vu->socket.fd, POLLOUT, SEND_PATIENCE_MS) > 0)
		n = sendmsg(vu->socket.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n != (ssize_t)iov.iov_len)
		vhost_user_drop(vu, "it takes no messages");
	else if (answer)
		expect(vu, request);
}

static void send_u64(struct vhost_user *vu, uint32_t request, uint64_t value, bool answer)
{
	struct message message = { .u64 = value };

	send_message(vu, &message, request, sizeof(message.u64), answer, NULL, 0);
}

static void send_empty(struct vhost_user *vu, uint32_t request)
{
	struct message message = { .u64 = 0 };

	send_message(vu, &message, request, 0, false, NULL, 0);
}

static void send_state(struct vhost_user *vu, uint32_t request, unsigned int index, uint32_t num, bool answer)
{
	struct message message = { .state = { index, num } };

	send_message(vu, &message, request, sizeof(message.state), answer, NULL, 0);
}

static void send_eventfd(struct vhost_user *vu, uint32_t request, unsigned int index, int fd)
{
	struct message message = { .u64 = index };

	send_message(vu, &message, request, sizeof(message.u64), false, &fd, 1);
}

/* --- Answers --- */

static void greeted(struct vhost_user *vu)
{
	send_empty(vu, SET_OWNER);
	if (vu->socket.fd < 0)
		return;
	vu->state = VHOST_USER_READY;
	vu->ops->ready(vu);
}

static void take_protocol_features(struct vhost_user *vu, uint64_t offered)
{
	vu->protocol_features = offered & (PROTOCOL_F_MQ | PROTOCOL_F_REPLY_ACK);
	send_u64(vu, SET_PROTOCOL_FEATURES, vu->protocol_features, false);
	if (vu->protocol_features & PROTOCOL_F_MQ)
		send_empty(vu, GET_QUEUE_NUM);
	else if (vu->queues_wanted > 1)
		vhost_user_drop(vu, "it has one queue only");
	else
		greeted(vu);
}

static void take_features(struct vhost_user *vu, uint64_t features)
{
	vu->features = features;
	if (!(features & VIRTIO_F_VERSION_1))
		vhost_user_drop(vu, "it knows nothing of virtio 1");
	else if (features & F_PROTOCOL_FEATURES)
		send_empty(vu, GET_PROTOCOL_FEATURES);
	else if (vu->queues_wanted > 1)
		vhost_user_drop(vu, "it has one queue only");
	else
		greeted(vu);
}

static void take_answer(struct vhost_user *vu, const struct answer *answer, uint32_t request)
{
	switch (request) {
	case GET_FEATURES:
		take_features(vu, answer->u64);
		break;
	case GET_PROTOCOL_FEATURES:
		take_protocol_features(vu, answer->u64);
		break;
	case GET_QUEUE_NUM:
		if (answer->u64 < vu->queues_wanted)
			vhost_user_drop(vu, "it has too few queues");
		else
			greeted(vu);
		break;
	case GET_VRING_BASE:
		vu->base_index = answer->state.index;
		vu->base = answer->state.num;
		break;
	default: /* an acknowledgement */
		if (answer->u64)
			vhost_user_drop(vu, "it refuses a request");
	}
}

/* As many answers as are there. */
static void receive(struct vhost_user *vu)
{
	while (vu->socket.fd >= 0) {
		ssize_t n = fd_read(vu->socket.fd, vu->in + vu->in_len, sizeof(vu->in) - vu->in_len);
		struct answer answer;
		uint32_t request;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			vhost_user_drop(vu, "it closed the connection");
			return;
		}
		vu->in_len += (unsigned int)n;
		memcpy(&answer, vu->in, sizeof(answer));
		if (vu->in_len >= sizeof(answer.header) &&
		    (!vu->expected_count || answer.header.request != vu->expected[vu->expected_first] ||
		     (answer.header.flags & (FLAG_VERSION_MASK | FLAG_REPLY)) != (FLAG_VERSION | FLAG_REPLY) ||
		     answer.header.size != sizeof(answer.u64))) {
			vhost_user_drop(vu, "it says what it was not asked");
			return;
		}
		if (vu->in_len < sizeof(answer))
			continue;
		request = vu->expected[vu->expected_first];
		vu->expected_first = (vu->expected_first + 1) % VHOST_USER_ANSWERS_MAX;
		vu->expected_count--;
		vu->in_len = 0;
		loop_timer_cancel(&vu->patience);
		if (vu->expected_count)
			loop_timer_set(&vu->patience, clock_now_ns() + VHOST_USER_PATIENCE_NS);
		take_answer(vu, &answer, request);
	}
}

static void socket_ready(struct loop_fd *lfd, uint32_t events)
{
	(void)events;
	receive(container_of(lfd, struct vhost_user, socket));
}

/* All answers are there, or the back end is gone. */
static void wait_for_answers(struct vhost_user *vu)
{
	int64_t begin = clock_host_ns(), end = begin + vu->wait_left_ns;

	while (vu->socket.fd >= 0 && vu->expected_count) {
		int64_t left = end - clock_host_ns();
		int n = left > 0 ? fd_poll(vu->socket.fd, POLLIN, (int)(left / NSEC_PER_MSEC) + 1) : 0;

		if (!n)
			vhost_user_drop(vu, "it does not answer");
		else if (n > 0)
			receive(vu);
	}
	vu->wait_left_ns -= clock_host_ns() - begin;
}

/* --- What the device asks for --- */

int vhost_user_init(struct vhost_user *vu, struct virtio_device *vdev, unsigned int ring_count,
		    const struct vhost_user_ops *ops, const char *name)
{
	*vu = (struct vhost_user){ .ops = ops, .vdev = vdev, .name = name, .queues_wanted = 1 };
	vu->socket = (struct loop_fd){ .fd = -1, .events = EPOLLIN, .handler = socket_ready };
	list_init(&vu->socket.node);
	loop_timer_init(&vu->patience, vdev->home, impatient);
	vu->rings = calloc(ring_count, sizeof(*vu->rings));
	if (!vu->rings)
		return -ENOMEM;
	vu->ring_count = ring_count;
	for (unsigned int i = 0; i < ring_count; i++) {
		int ret = vhost_vring_init(&vu->rings[i], -1, i, &vdev->queues[i]);

		if (ret)
			return ret;
	}
	return 0;
}

void vhost_user_release(struct vhost_user *vu)
{
	for (unsigned int i = 0; i < vu->ring_count; i++)
		vhost_vring_release(&vu->rings[i]);
	free(vu->rings);
	vu->rings = NULL;
	vu->ring_count = 0;
}

int vhost_user_check_memory(const struct mem_space *space, struct error **errp)
{
	unsigned int count = mem_space_ram_count(space);

	for (unsigned int i = 0; i < count; i++) {
		const struct ram_region *region = mem_space_ram(space, i);

		if (region->fd < 0 || !region->shared)
			return error_set(errp, -EINVAL,
					 "vhost-user needs guest memory that is shared: -machine …,mem-share=on, or "
					 "-object memory-backend-memfd,id=m,share=on,size=… with -machine "
					 "…,memory-backend=m");
	}
	if (count > REGIONS_MAX)
		return error_set(errp, -E2BIG, "guest memory has %u pieces, vhost-user can pass on %d", count,
				 REGIONS_MAX);
	return 0;
}

void vhost_user_connect(struct vhost_user *vu, int fd)
{
	vhost_user_drop(vu, NULL);
	vu->socket.fd = fd;
	vu->protocol_features = 0;
	vu->wait_left_ns = VHOST_USER_PATIENCE_NS;
	vu->state = VHOST_USER_GREETING;
	if (fd_set_nonblock(fd, true) || loop_fd_add(vu->vdev->home, &vu->socket)) {
		vhost_user_drop(vu, "its connection cannot be watched");
		return;
	}
	send_empty(vu, GET_FEATURES);
}

void vhost_user_wait(struct vhost_user *vu)
{
	wait_for_answers(vu);
}

static void send_memory(struct vhost_user *vu)
{
	const struct mem_space *space = vu->vdev->dev.platform->space;
	unsigned int count = mem_space_ram_count(space);
	struct message message = { .memory = { .count = count } };
	int fds[REGIONS_MAX];

	for (unsigned int i = 0; i < count && i < REGIONS_MAX; i++) {
		const struct ram_region *region = mem_space_ram(space, i);

		fds[i] = region->fd;
		message.memory.regions[i] = (struct memory_region){
			.gpa = region->base,
			.size = region->size,
			.user_addr = (uintptr_t)region->host,
			.offset = region->fd_offset,
		};
	}
	send_message(vu, &message, SET_MEM_TABLE, 8 + count * sizeof(struct memory_region), true, fds, count);
}

void vhost_user_start(struct vhost_user *vu, uint64_t features)
{
	if (vu->state != VHOST_USER_READY)
		return;
	if (features & ~vu->features) {
		vhost_user_drop(vu, "it lacks features that the guest's driver uses");
		return;
	}
	send_u64(vu, SET_FEATURES, features | (vu->features & F_PROTOCOL_FEATURES), true);
	send_memory(vu);
}

void vhost_user_ring_enable(struct vhost_user *vu, unsigned int index, bool on)
{
	/* Without protocol features a ring is on from its first kick to its end. */
	if (vu->state == VHOST_USER_READY && vu->features & F_PROTOCOL_FEATURES && vu->rings[index].running)
		send_state(vu, SET_VRING_ENABLE, index, on, true);
}

void vhost_user_ring_start(struct vhost_user *vu, unsigned int index, bool on)
{
	struct vhost_vring *ring = &vu->rings[index];
	struct virtio_queue *queue = ring->queue;
	const struct virtqueue *vq = &queue->vq;
	struct message addr = { .addr = {
		.index = index,
		.desc = (uintptr_t)vq->desc,
		.used = (uintptr_t)vq->used,
		.avail = (uintptr_t)vq->avail,
	} };
	int call;

	if (vu->state != VHOST_USER_READY || ring->running)
		return;
	/* Whoever had the one before may have left it in any state. */
	call = eventfd_new();
	if (call >= 0) {
		fd_close(&ring->call.fd);
		ring->call.fd = call;
	}
	if (call < 0 || vhost_vring_listen(ring)) {
		vhost_user_drop(vu, "no eventfd for it");
		return;
	}
	vu->wait_left_ns = VHOST_USER_PATIENCE_NS;
	queue->kick_shared = true;
	send_state(vu, SET_VRING_NUM, index, vq->size, false);
	send_state(vu, SET_VRING_BASE, index, vq->last_avail, false);
	send_message(vu, &addr, SET_VRING_ADDR, sizeof(addr.addr), true, NULL, 0);
	send_eventfd(vu, SET_VRING_CALL, index, ring->call.fd);
	send_eventfd(vu, SET_VRING_KICK, index, queue->kick.fd);
	vhost_user_ring_enable(vu, index, on);
	/* Chains may be there already, and the driver told somebody else of them. */
	if (ring->running)
		virtio_queue_kick(queue);
}

void vhost_user_ring_stop(struct vhost_user *vu, unsigned int index)
{
	struct vhost_vring *ring = &vu->rings[index];

	if (!ring->running)
		return;
	vhost_user_ring_enable(vu, index, false);
	send_state(vu, GET_VRING_BASE, index, 0, true);
	wait_for_answers(vu);
	if (ring->running && (vu->base_index != index || vu->base > UINT16_MAX))
		vhost_user_drop(vu, "it does not say where it was");
	if (ring->running)
		vhost_vring_unlisten(ring, (uint16_t)vu->base);
}
