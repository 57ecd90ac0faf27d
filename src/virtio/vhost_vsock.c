// SPDX-License-Identifier: Apache-2.0
/*
 * The vsock device (virtio 1.2 §5.10) whose streams are sockets of the host's kernel: host programs use AF_VSOCK. The kernel
 * handles the receive and the transmit queue; the event queue stays here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mmio.h"
#include "pci.h"
#include "util/fd.h"
#include "util/fd_store.h"
#include "util/parse.h"
#include "vhost.h"
#include "virtio/classes.h"
#include "vsock_common.h"

#define LOG_MODULE "vhost-vsock"
#include "util/log.h"

#define VHOST_DEVICE "/dev/vhost-vsock"
/* What the kernel must know of the negotiation, and must be able to do. */
#define RING_FEATURES (VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1)

struct vhost_vsock {
	struct virtio_device vdev;
	uint32_t guest_cid;
	char *vhostfd;

	int fd;
	bool numbered; /* whoever gave the descriptor's number keeps it when there will be no device */
	uint64_t kernel_features;
	struct vhost_vring vrings[2]; /* of the queues to and from the guest */

	/* home loop */
	bool running; /* the kernel handles both */
	struct vsock_events events;
	struct log_limit host_limit;
};

#define VHOST_VSOCK_PROPS \
	{ .name = "guest-cid", .help = "context id of the guest, of its own on this host", .type = PROPERTY_UINT32, \
	  .flags = PROPERTY_REQUIRED, .offset = offsetof(struct vhost_vsock, guest_cid), .min = VSOCK_CID_MIN, \
	  .max = VSOCK_CID_MAX }, \
	PROP_STRING("vhostfd", struct vhost_vsock, vhostfd, 1, 255, NULL, \
		    "an open " VHOST_DEVICE ": number, or name given with getfd"), \
	VIRTIO_FEATURE_PROPS(struct vhost_vsock)

static const struct property vhost_vsock_props[] = { VHOST_VSOCK_PROPS, PROP_END };
static const struct property vhost_vsock_pci_props[] = { VHOST_VSOCK_PROPS, VIRTIO_PCI_PROPS(struct vhost_vsock), PROP_END };

static struct vhost_vsock *to_vhost_vsock(struct virtio_device *vdev)
{
	return container_of(vdev, struct vhost_vsock, vdev);
}

/* --- Queues --- */

static void kernel_end(struct vhost_vsock *vsock)
{
	int ret;

	if (!vsock->running)
		return;
	vsock->running = false;
	ret = vhost_vsock_set_running(vsock->fd, false);
	if (ret)
		log_warn("%s: the kernel keeps the queues: %s", vsock->vdev.dev.id, strerror(-ret));
	for (unsigned int i = 0; i < 2; i++)
		vhost_vring_take_back(&vsock->vrings[i]);
}

/* The kernel begins with both queues or not at all. */
static void kernel_begin(struct vhost_vsock *vsock)
{
	struct virtio_device *vdev = &vsock->vdev;
	int ret;

	if (vsock->running || !vdev->queues[0].running || !vdev->queues[1].running)
		return;
	ret = vhost_start(vsock->fd, vdev->features & vsock->kernel_features, vdev->dev.platform->space);
	for (unsigned int i = 0; !ret && i < 2; i++)
		ret = vhost_vring_set_up(&vsock->vrings[i]);
	if (!ret)
		ret = vhost_vsock_set_running(vsock->fd, true);
	if (!ret) {
		vsock->running = true;
		return;
	}
	for (unsigned int i = 0; i < 2; i++)
		vhost_vring_take_back(&vsock->vrings[i]);
	log_warn_limited(&vsock->host_limit, "%s: %s: %s", vdev->dev.id, VHOST_DEVICE, strerror(-ret));
	virtio_device_error(vdev, "vhost-vsock does not take its queues");
}

static void vhost_vsock_handle_queue(struct virtio_queue *queue)
{
	struct vhost_vsock *vsock = to_vhost_vsock(queue->vdev);

	if (queue->index == VSOCK_QUEUE_EVENT)
		vsock_events_send(&vsock->events, queue);
	else
		kernel_begin(vsock);
}

static void vhost_vsock_stop(struct virtio_device *vdev, struct virtio_queue *queue)
{
	struct vhost_vsock *vsock = to_vhost_vsock(vdev);

	if (queue && queue->index == VSOCK_QUEUE_EVENT)
		return;
	kernel_end(vsock);
	/* Nobody knows which packets of one queue the driver threw away. */
	if (queue)
		vsock_events_reset(&vsock->events, &vdev->queues[VSOCK_QUEUE_EVENT]);
}

static void vhost_vsock_reset(struct virtio_device *vdev)
{
	to_vhost_vsock(vdev)->events.pending = false;
}

/* --- Life --- */

static int open_kernel(struct vhost_vsock *vsock, struct error **errp)
{
	const char *word = vsock->vhostfd;
	uint64_t number;
	int fd;

	if (!word) {
		fd = open(VHOST_DEVICE, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return error_set_errno(errp, -errno, "%s (virtio-vsock-device,uds-path= needs none)",
					       VHOST_DEVICE);
		return fd;
	}
	fd = fd_store_take(word);
	if (fd < 0) {
		if (parse_u64(word, &number) || number > INT32_MAX || fcntl((int)number, F_GETFD) < 0)
			return error_set(errp, -EBADF, "vhostfd=%s is neither an open descriptor nor the name of one",
					 word);
		fd = (int)number;
		vsock->numbered = true;
	}
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		log_debug("descriptor %d stays open in child processes", fd);
	return fd;
}

static int set_up_kernel(struct vhost_vsock *vsock, struct error **errp)
{
	const char *name = vsock->vhostfd ? vsock->vhostfd : VHOST_DEVICE;
	int ret = vhost_open(vsock->fd, &vsock->kernel_features);

	if (ret)
		return error_set_errno(errp, ret, "%s is not usable as vhost-vsock", name);
	if (~vsock->kernel_features & RING_FEATURES)
		return error_set(errp, -ENOTSUP, "%s has features %#llx of %#llx", name,
				 (unsigned long long)vsock->kernel_features, (unsigned long long)RING_FEATURES);
	vsock->kernel_features &= RING_FEATURES | VSOCK_F_STREAM | VSOCK_F_SEQPACKET;
	ret = vhost_vsock_set_cid(vsock->fd, vsock->guest_cid);
	if (ret == -EADDRINUSE)
		return error_set(errp, ret, "guest-cid=%u is used by another VM of this host", vsock->guest_cid);
	if (ret)
		return error_set_errno(errp, ret, "%s: guest-cid=%u", name, vsock->guest_cid);
	for (unsigned int i = 0; i < 2; i++) {
		ret = vhost_vring_init(&vsock->vrings[i], vsock->fd, i, &vsock->vdev.queues[i]);
		if (ret)
			return error_set_errno(errp, ret, "eventfd");
	}
	return 0;
}

static void release(struct vhost_vsock *vsock)
{
	for (unsigned int i = 0; i < 2; i++)
		vhost_vring_release(&vsock->vrings[i]);
	fd_close(&vsock->fd);
}

static int vhost_vsock_realize(struct virtio_device *vdev, struct error **errp)
{
	struct vhost_vsock *vsock = to_vhost_vsock(vdev);
	int ret;

	ret = vsock_check_single(&vdev->dev, errp);
	if (ret)
		return ret;
	vdev->home = vdev->dev.platform->main_loop;
	ret = virtio_device_add_queues(vdev, VSOCK_QUEUES, VSOCK_QUEUE_SIZE, errp);
	if (ret)
		return ret;
	ret = open_kernel(vsock, errp);
	if (ret < 0)
		return ret;
	vsock->fd = ret;
	ret = set_up_kernel(vsock, errp);
	if (ret) {
		if (vsock->numbered)
			vsock->fd = -1;
		release(vsock);
		return ret;
	}
	vdev->features_offered = vsock->kernel_features & (VSOCK_F_STREAM | VSOCK_F_SEQPACKET);
	vsock_set_config(vdev, vsock->guest_cid);
	return 0;
}

static void vhost_vsock_unrealize(struct virtio_device *vdev)
{
	release(to_vhost_vsock(vdev));
}

static const struct virtio_device_ops vhost_vsock_ops = {
	.device_id = VSOCK_DEVICE_ID,
	.realize = vhost_vsock_realize,
	.unrealize = vhost_vsock_unrealize,
	.stop = vhost_vsock_stop,
	.reset = vhost_vsock_reset,
	.handle_queue = vhost_vsock_handle_queue,
};

const struct device_class vhost_vsock_mmio_class = {
	.name = "vhost-vsock-device",
	.summary = "vsock by the host's kernel",
	.instance_size = sizeof(struct vhost_vsock),
	.props = vhost_vsock_props,
	.data = &vhost_vsock_ops,
	VIRTIO_MMIO_CLASS,
};

const struct device_class vhost_vsock_pci_class = {
	.name = "vhost-vsock-pci",
	.summary = "vsock by the host's kernel",
	.instance_size = sizeof(struct vhost_vsock),
	.props = vhost_vsock_pci_props,
	.data = &vhost_vsock_ops,
	VIRTIO_PCI_CLASS,
};
