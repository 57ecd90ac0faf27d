// SPDX-License-Identifier: Apache-2.0
/* tap and macvtap, Linux Documentation/networking/tuntap.rst. A macvtap takes the same ioctls on a
 * descriptor of its own device. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"
#include "util/fd.h"

#define LOG_MODULE "net"
#include "util/log.h"

#define TUN_DEVICE "/dev/net/tun"

/* Linux 6.2; older headers lack them. */
#define OFFLOAD_USO4 0x20
#define OFFLOAD_USO6 0x40

static unsigned long kernel_offloads(unsigned int offloads)
{
	unsigned long flags = 0;

	if (!offloads)
		return 0;
	flags = TUN_F_CSUM;
	if (offloads & NETDEV_TSO4)
		flags |= TUN_F_TSO4;
	if (offloads & NETDEV_TSO6)
		flags |= TUN_F_TSO6;
	if (offloads & NETDEV_ECN && offloads & (NETDEV_TSO4 | NETDEV_TSO6))
		flags |= TUN_F_TSO_ECN;
	if (offloads & NETDEV_UFO)
		flags |= TUN_F_UFO;
	if (offloads & NETDEV_USO)
		flags |= OFFLOAD_USO4 | OFFLOAD_USO6;
	return flags;
}

static int tap_set_offloads(struct netdev *netdev, unsigned int offloads)
{
	/* They are the interface's, whichever queue is asked. */
	return ioctl(netdev->fds[0], TUNSETOFFLOAD, kernel_offloads(offloads)) < 0 ? -errno : 0;
}

static int tap_set_queue(struct netdev *netdev, unsigned int queue, bool on)
{
	struct ifreq ifr = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	if (netdev->queue_count == 1)
		return 0;
	if (!ioctl(netdev->fds[queue], TUNSETQUEUE, &ifr))
		return 0;
	/* So it says when the queue is as asked already. */
	return errno == EINVAL ? 0 : -errno;
}

const struct netdev_ops tap_ops = {
	.set_offloads = tap_set_offloads,
	.set_queue = tap_set_queue,
};

static bool can(struct netdev *netdev, unsigned int offloads)
{
	return !tap_set_offloads(netdev, offloads);
}

static void probe_offloads(struct netdev *netdev)
{
	netdev->offloads = 0;
	if (!can(netdev, NETDEV_CSUM))
		return;
	netdev->offloads = NETDEV_CSUM;
	if (can(netdev, NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_ECN))
		netdev->offloads |= NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_ECN;
	if (can(netdev, NETDEV_CSUM | NETDEV_UFO))
		netdev->offloads |= NETDEV_UFO;
	if (can(netdev, NETDEV_CSUM | NETDEV_USO))
		netdev->offloads |= NETDEV_USO;
	(void)tap_set_offloads(netdev, 0);
}

static int take_fd(struct netdev *netdev, int fd, struct error **errp)
{
	struct ifreq ifr = { 0 };
	int header = NETDEV_HEADER, ret;

	if (ioctl(fd, TUNGETIFF, &ifr) < 0)
		return error_set_errno(errp, -errno, "descriptor %d is no tap device", fd);
	if (!(ifr.ifr_flags & IFF_TAP))
		return error_set(errp, -EINVAL,
				 "descriptor %d: '%.15s' is a tun interface, not a tap", fd,
				 ifr.ifr_name);
	if (!(ifr.ifr_flags & IFF_VNET_HDR))
		return error_set(errp, -EINVAL,
				 "descriptor %d: '%.15s' was opened without IFF_VNET_HDR", fd,
				 ifr.ifr_name);
	if (!(ifr.ifr_flags & IFF_NO_PI))
		return error_set(errp, -EINVAL,
				 "descriptor %d: '%.15s' was opened without IFF_NO_PI", fd,
				 ifr.ifr_name);
	if (netdev->name[0] && strncmp(netdev->name, ifr.ifr_name, sizeof(netdev->name) - 1))
		return error_set(errp, -EINVAL,
				 "descriptor %d belongs to '%.15s', another one to '%s'", fd,
				 ifr.ifr_name, netdev->name);
	memcpy(netdev->name, ifr.ifr_name, sizeof(netdev->name) - 1);
	if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0)
		return error_set_errno(errp, -errno, "'%s' takes no header of %d bytes",
				       netdev->name, header);
	ret = fd_set_nonblock(fd, true);
	return ret ? error_set_errno(errp, ret, "descriptor %d", fd) : 0;
}

int tap_take(struct netdev_tap *tap, struct error **errp)
{
	struct netdev *netdev = &tap->netdev;

	for (unsigned int i = 0; i < netdev->queue_count; i++) {
		int ret = take_fd(netdev, netdev->fds[i], errp);

		if (ret)
			return ret;
	}
	probe_offloads(netdev);
	return 0;
}

static int explain(const char *ifname, unsigned int queues, int error, struct error **errp)
{
	const char *multi = queues > 1 ? " multi_queue" : "";

	switch (error) {
	case -EPERM:
		return error_set(errp, error,
				 "ifname=%s: not permitted; have it made for this user: "
				 "ip tuntap add dev %s mode tap vnet_hdr%s user NAME",
				 ifname, ifname, multi);
	case -EBUSY:
		return error_set(errp, error,
				 "ifname=%s: the interface is in use by another process", ifname);
	case -EINVAL:
		return error_set(errp, error,
				 "ifname=%s: there is an interface of that name which is no tap%s",
				 ifname, queues > 1 ? ", or one made without multi_queue" : "");
	default:
		return error_set_errno(errp, error, "ifname=%s", ifname);
	}
}

static int open_device(const struct netdev_tap *tap, struct error **errp)
{
	const char *device = tap->path ? tap->path : TUN_DEVICE;
	int fd = open(device, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 ? error_set_errno(errp, -errno, "%s%s", tap->path ? "path=" : "", device) : fd;
}

static int attach_queue(const struct netdev_tap *tap, int fd, bool multi)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

	if (multi)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	if (tap->ifname)
		memcpy(ifr.ifr_name, tap->ifname, strlen(tap->ifname)); /* 15 bytes at most */
	return ioctl(fd, TUNSETIFF, &ifr) < 0 ? -errno : 0;
}

int tap_open(struct netdev_tap *tap, struct error **errp)
{
	struct netdev *netdev = &tap->netdev;
	bool multi = tap->queues > 1;

	for (unsigned int i = 0; i < tap->queues; i++) {
		int fd = open_device(tap, errp), ret;

		if (fd < 0)
			return fd;
		ret = attach_queue(tap, fd, multi);
		/* An interface that was made for several queues is opened as such, even for one. */
		if (ret == -EINVAL && !multi) {
			ret = attach_queue(tap, fd, true);
			multi = !ret;
		}
		netdev->fds[i] = fd;
		if (ret)
			fd_close(&netdev->fds[i]);
		if (ret)
			return tap->ifname ? explain(tap->ifname, tap->queues, ret, errp)
					   : error_set_errno(errp, ret, "path=%s", tap->path);
		netdev->queue_count = i + 1;
	}
	return tap_take(tap, errp);
}
