// SPDX-License-Identifier: Apache-2.0
/*
 * net_tool rings INTERFACE RX TX: sets the sizes of its rings, as "ethtool -G" does; the virtio driver resets one queue
 * after the other for it (RING_RESET). Prints the sizes that it then has.
 */
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct ethtool_ringparam ring = { .cmd = ETHTOOL_GRINGPARAM };
	struct ifreq ifr = { .ifr_data = (void *)&ring };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (argc != 5 || strcmp(argv[1], "rings") || strlen(argv[2]) >= sizeof(ifr.ifr_name)) {
		fprintf(stderr, "usage: net_tool rings INTERFACE RX TX\n");
		return 2;
	}
	strcpy(ifr.ifr_name, argv[2]);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &ifr)) {
		perror("ETHTOOL_GRINGPARAM");
		return 1;
	}
	ring.cmd = ETHTOOL_SRINGPARAM;
	ring.rx_pending = (unsigned int)atoi(argv[3]);
	ring.tx_pending = (unsigned int)atoi(argv[4]);
	if (ioctl(fd, SIOCETHTOOL, &ifr)) {
		perror("ETHTOOL_SRINGPARAM");
		return 1;
	}
	ring.cmd = ETHTOOL_GRINGPARAM;
	if (ioctl(fd, SIOCETHTOOL, &ifr)) {
		perror("ETHTOOL_GRINGPARAM");
		return 1;
	}
	printf("%u %u\n", ring.rx_pending, ring.tx_pending);
	return 0;
}
