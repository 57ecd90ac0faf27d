// SPDX-License-Identifier: Apache-2.0
/* Only this file includes the kernel's header: it has numbers of features where ours has masks, under the same names. */
#include "vhost.h"

#include <errno.h>
#undef VIRTIO_F_VERSION_1
#undef VIRTIO_F_RING_RESET
#include <linux/vhost.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "util/fd.h"

#define LOG_MODULE "vhost"
#include "util/log.h"

int vhost_open(int fd, uint64_t *features)
{
	if (ioctl(fd, VHOST_SET_OWNER) < 0 || ioctl(fd, VHOST_GET_FEATURES, features) < 0)
		return -errno;
	return 0;
}

void vhost_close(int fd)
{
	if (ioctl(fd, VHOST_RESET_OWNER) < 0)
		log_debug("the kernel keeps a vhost device: %s", strerror(errno));
}

/* Edge-triggered, as kicks are. */
static void called(struct loop_fd *lfd, uint32_t events)
{
	struct virtio_queue *queue = container_of(lfd, struct vhost_vring, call)->queue;

	(void)events;
	atomic_fetch_or(&queue->vdev->isr, VIRTIO_ISR_QUEUE);
	queue->vdev->transport_ops->notify_queue(queue->vdev, queue);
}

int vhost_vring_init(struct vhost_vring *vring, int fd, unsigned int index, struct virtio_queue *queue)
{
	int call = eventfd_new();

	if (call < 0)
		return call;
	*vring = (struct vhost_vring){
		.fd = fd, .index = index, .queue = queue,
		.call = { .fd = call, .events = EPOLLIN | EPOLLET, .handler = called },
	};
	list_init(&vring->call.node);
	return 0;
}

void vhost_vring_release(struct vhost_vring *vring)
{
	if (vring->queue)
		fd_close(&vring->call.fd);
}

static int set_memory(int fd, const struct mem_space *space)
{
	unsigned int count = mem_space_ram_count(space);
	struct vhost_memory *memory = calloc(1, sizeof(*memory) + count * sizeof(memory->regions[0]));
	int ret;

	if (!memory)
		return -ENOMEM;
	memory->nregions = count;
	for (unsigned int i = 0; i < count; i++) {
		const struct ram_region *region = mem_space_ram(space, i);

		memory->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = region->base,
			.memory_size = region->size,
			.userspace_addr = (uintptr_t)region->host,
		};
	}
	ret = ioctl(fd, VHOST_SET_MEM_TABLE, memory) < 0 ? -errno : 0;
	free(memory);
	return ret;
}

int vhost_start(int fd, uint64_t features, const struct mem_space *space)
{
	if (ioctl(fd, VHOST_SET_FEATURES, &features) < 0)
		return -errno;
	return set_memory(fd, space);
}

int vhost_vring_listen(struct vhost_vring *vring)
{
	struct virtio_queue *queue = vring->queue;
	int ret = virtio_queue_call_begin(queue, &vring->call);

	if (ret)
		return ret;
	/* From now on somebody else listens to the kicks, and this process need not wake up for them. */
	loop_fd_del(&queue->kick);
	vring->running = true;
	return 0;
}

void vhost_vring_unlisten(struct vhost_vring *vring, uint16_t index)
{
	struct virtqueue *vq = &vring->queue->vq;

	vq->last_avail = vq->used_idx = index; /* he finishes what he takes */
	vring->running = false;
	virtio_queue_call_end(vring->queue, &vring->call);
	/* There may have been a call since the last look, so there may be one interrupt too many. */
	called(&vring->call, EPOLLIN);
}

int vhost_vring_set_up(struct vhost_vring *vring)
{
	struct virtio_queue *queue = vring->queue;
	const struct virtqueue *vq = &queue->vq;
	struct vhost_vring_state num = { vring->index, vq->size }, base = { vring->index, vq->last_avail };
	struct vhost_vring_addr addr = {
		.index = vring->index,
		.desc_user_addr = (uintptr_t)vq->desc,
		.avail_user_addr = (uintptr_t)vq->avail,
		.used_user_addr = (uintptr_t)vq->used,
	};
	struct vhost_vring_file kick = { vring->index, queue->kick.fd }, call = { vring->index, vring->call.fd };
	int ret;

	ret = vhost_vring_listen(vring);
	if (ret)
		return ret;
	if (ioctl(vring->fd, VHOST_SET_VRING_NUM, &num) < 0 || ioctl(vring->fd, VHOST_SET_VRING_BASE, &base) < 0 ||
	    ioctl(vring->fd, VHOST_SET_VRING_ADDR, &addr) < 0 || ioctl(vring->fd, VHOST_SET_VRING_CALL, &call) < 0 ||
	    ioctl(vring->fd, VHOST_SET_VRING_KICK, &kick) < 0) {
		ret = -errno;
		vhost_vring_unlisten(vring, vq->last_avail);
	}
	return ret;
}

int vhost_vring_set_tap(const struct vhost_vring *vring, int fd)
{
	struct vhost_vring_file file = { vring->index, fd };

	return ioctl(vring->fd, VHOST_NET_SET_BACKEND, &file) < 0 ? -errno : 0;
}

int vhost_vsock_set_cid(int fd, uint64_t cid)
{
	return ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &cid) < 0 ? -errno : 0;
}

int vhost_vsock_set_running(int fd, bool on)
{
	int value = on;

	return ioctl(fd, VHOST_VSOCK_SET_RUNNING, &value) < 0 ? -errno : 0;
}

void vhost_vring_take_back(struct vhost_vring *vring)
{
	struct vhost_vring_file none = { vring->index, -1 };
	struct vhost_vring_state base = { vring->index, 0 };
	uint16_t index = vring->queue->vq.last_avail;

	if (!vring->running)
		return;
	if (ioctl(vring->fd, VHOST_SET_VRING_KICK, &none) < 0 || ioctl(vring->fd, VHOST_GET_VRING_BASE, &base) < 0)
		log_warn("%s: queue %u: the kernel does not say where it was: %s", vring->queue->vdev->dev.id,
			 vring->queue->index, strerror(errno));
	else
		index = (uint16_t)base.num;
	vhost_vring_unlisten(vring, index);
}
