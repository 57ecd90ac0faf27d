/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices whose queues the kernel handles (/dev/vhost-*). The kernel is kicked by the queue's own eventfd, that is, by
 * the guest's write, without this process. The other way, with MSI-X, its call eventfd sends the queue's message. Without, it goes
 * through the home loop: on virtio-mmio an interrupt must be preceded by its cause in InterruptStatus (virtio 1.2 §4.2.2),
 * which a bare irqfd cannot set.
 */
#ifndef VIRTIO_VHOST_H
#define VIRTIO_VHOST_H

#include "virtio/virtio.h"

struct vhost_vring {
	int fd;             /* the vhost device */
	unsigned int index; /* of the vring there */
	struct virtio_queue *queue;
	struct loop_fd call;
	bool running;
};

/* Main thread. Takes the device for this process; *features are what the kernel offers. */
int __must_check vhost_open(int fd, uint64_t *features);
void vhost_close(int fd); /* the device, which stays open, forgets everything */
/* The eventfd; -errno. */
int __must_check vhost_vring_init(struct vhost_vring *vring, int fd, unsigned int index, struct virtio_queue *queue);
void vhost_vring_release(struct vhost_vring *vring);

/* Home loop: before vrings are started. Gives the kernel guest memory and the negotiated features. */
int __must_check vhost_start(int fd, uint64_t features, const struct mem_space *space);
/* Home loop. Rings and eventfds of a queue that runs. What makes the kernel begin differs by device and comes next. */
int __must_check vhost_vring_set_up(struct vhost_vring *vring);
/* vhost-net only: frames come from and go to the tap @fd; -1: the kernel ends. */
int __must_check vhost_vring_set_tap(const struct vhost_vring *vring, int fd);
/* vhost-vsock only. -EADDRINUSE: another VM has it. Any thread. */
int __must_check vhost_vsock_set_cid(int fd, uint64_t cid);
/* vhost-vsock only, home loop: both vrings begin, or end. */
int __must_check vhost_vsock_set_running(int fd, bool on);
/* Home loop, after the kernel was told to end: the queue is ours again, as the kernel left it. */
void vhost_vring_take_back(struct vhost_vring *vring);

/* --- For rings that another process handles (vhost_user.h) as well. Home loop. --- */

/* The calls of whoever has the ring are heard, and kicks are for him. */
int __must_check vhost_vring_listen(struct vhost_vring *vring);
/* Not any more. @index: the next entry of the available ring that he would have taken. */
void vhost_vring_unlisten(struct vhost_vring *vring, uint16_t index);

#endif
