// SPDX-License-Identifier: Apache-2.0
/* The control queue (virtio 1.2 §5.1.6.5) and the receive filter that it sets. */
#include <string.h>

#include "net.h"

enum { CLASS_RX, CLASS_MAC, CLASS_VLAN, CLASS_ANNOUNCE, CLASS_MQ, CLASS_GUEST_OFFLOADS };
enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST };
enum { MAC_TABLE_SET, MAC_ADDR_SET };
enum { VLAN_ADD, VLAN_DEL };
enum { ANNOUNCE_ACK };
enum { MQ_PAIRS_SET };
enum { GUEST_OFFLOADS_SET };

/* Commands in one turn on the home loop. */
#define COMMANDS_A_TURN 64

/* --- The filter --- */

void net_filter_reset(struct net_filter *filter)
{
	/* Everything passes until the driver says what it wants. */
	*filter = (struct net_filter){ .promisc = true };
}

static bool in_table(const struct net_filter *filter, unsigned int from, unsigned int count,
		     const uint8_t *mac)
{
	for (unsigned int i = from; i < from + count; i++)
		if (!memcmp(filter->table[i], mac, ETHER_ADDR))
			return true;
	return false;
}

bool net_filter_pass(const struct net_filter *filter, const uint8_t *mac, const uint8_t frame[18])
{
	static const uint8_t broadcast[ETHER_ADDR] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (filter->promisc)
		return true;
	if (!filter->vlan_off && frame[12] == 0x81 && frame[13] == 0x00) {
		unsigned int vlan = (frame[14] << 8 | frame[15]) & 0xfff;

		if (!(filter->vlans[vlan / 64] >> (vlan % 64) & 1))
			return false;
	}
	if (!memcmp(frame, broadcast, ETHER_ADDR))
		return !filter->nobcast;
	if (frame[0] & 1) {
		if (filter->nomulti)
			return false;
		return filter->allmulti || filter->multicast_overflow ||
		       in_table(filter, filter->unicast, filter->multicast, frame);
	}
	if (filter->nouni)
		return false;
	return filter->alluni || filter->unicast_overflow || !memcmp(frame, mac, ETHER_ADDR) ||
	       in_table(filter, 0, filter->unicast, frame);
}

/* --- Commands: what follows class and command, at @offset of the chain --- */

struct command {
	struct virtio_net *net;
	const struct virtq_chain *chain;
	size_t offset, len;
};

static bool argument(const struct command *cmd, void *buf, size_t len)
{
	return cmd->len == len &&
	       net_gather(cmd->chain->iov, cmd->chain->out_count, cmd->offset, buf, len);
}

static bool rx_mode(const struct command *cmd, uint8_t what)
{
	struct net_filter *filter = &cmd->net->filter;
	bool *const modes[] = { &filter->promisc, &filter->allmulti, &filter->alluni,
				&filter->nomulti, &filter->nouni,    &filter->nobcast };
	uint64_t feature = what <= RX_ALLMULTI ? NET_F_CTRL_RX : NET_F_CTRL_RX_EXTRA;
	uint8_t on;

	if (what >= ARRAY_SIZE(modes) || !virtio_has_feature(&cmd->net->vdev, feature) ||
	    !argument(cmd, &on, 1))
		return false;
	pthread_mutex_lock(&cmd->net->filter_lock);
	*modes[what] = on;
	pthread_mutex_unlock(&cmd->net->filter_lock);
	return true;
}

/* One of the two tables: its length, then addresses. Advances *offset and *left. */
static bool read_table(const struct command *cmd, size_t *offset, size_t *left,
		       struct net_filter *filter, unsigned int first, unsigned int *count,
		       bool *overflow)
{
	const struct virtq_chain *chain = cmd->chain;
	le32_t entries;
	uint64_t bytes;
	uint32_t n;

	if (*left < sizeof(entries) ||
	    !net_gather(chain->iov, chain->out_count, *offset, &entries, sizeof(entries)))
		return false;
	n = le32_to_cpu(entries);
	bytes = (uint64_t)n * ETHER_ADDR;
	*offset += sizeof(entries);
	*left -= sizeof(entries);
	if (bytes > *left)
		return false;
	*overflow = n > NET_MAC_TABLE - first;
	*count = *overflow ? 0 : n;
	if (*count &&
	    !net_gather(chain->iov, chain->out_count, *offset, filter->table[first], bytes))
		return false;
	*offset += bytes;
	*left -= bytes;
	return true;
}

static bool set_mac(const struct command *cmd, uint8_t what)
{
	struct virtio_net *net = cmd->net;
	struct net_filter filter = net->filter;
	size_t offset = cmd->offset, left = cmd->len;
	uint8_t mac[ETHER_ADDR];

	if (what == MAC_ADDR_SET) {
		if (!virtio_has_feature(&net->vdev, NET_F_CTRL_MAC_ADDR) || !argument(cmd, mac, ETHER_ADDR))
			return false;
		pthread_mutex_lock(&net->filter_lock);
		memcpy(net->mac, mac, ETHER_ADDR);
		pthread_mutex_unlock(&net->filter_lock);
		net_update_config(net);
		return true;
	}
	if (what != MAC_TABLE_SET || !virtio_has_feature(&net->vdev, NET_F_CTRL_RX))
		return false;
	if (!read_table(cmd, &offset, &left, &filter, 0, &filter.unicast,
			&filter.unicast_overflow) ||
	    !read_table(cmd, &offset, &left, &filter, filter.unicast, &filter.multicast,
			&filter.multicast_overflow) ||
	    left)
		return false;
	pthread_mutex_lock(&net->filter_lock);
	net->filter = filter;
	pthread_mutex_unlock(&net->filter_lock);
	return true;
}

static bool set_vlan(const struct command *cmd, uint8_t what)
{
	struct virtio_net *net = cmd->net;
	uint16_t vlan;
	le16_t arg;

	if (what > VLAN_DEL || !virtio_has_feature(&net->vdev, NET_F_CTRL_VLAN) ||
	    !argument(cmd, &arg, sizeof(arg)))
		return false;
	vlan = le16_to_cpu(arg);
	if (vlan >= 4096)
		return false;
	pthread_mutex_lock(&net->filter_lock);
	if (what == VLAN_ADD)
		net->filter.vlans[vlan / 64] |= 1ULL << (vlan % 64);
	else
		net->filter.vlans[vlan / 64] &= ~(1ULL << (vlan % 64));
	pthread_mutex_unlock(&net->filter_lock);
	return true;
}

static bool announced(const struct command *cmd, uint8_t what)
{
	struct virtio_net *net = cmd->net;

	if (what != ANNOUNCE_ACK || cmd->len ||
	    !virtio_has_feature(&net->vdev, NET_F_GUEST_ANNOUNCE) ||
	    !(net->status & NET_S_ANNOUNCE))
		return false;
	net->status &= ~NET_S_ANNOUNCE;
	net_update_config(net);
	return true;
}

static bool set_pairs(const struct command *cmd, uint8_t what)
{
	struct virtio_net *net = cmd->net;
	uint16_t pairs;
	le16_t arg;

	if (what != MQ_PAIRS_SET || !virtio_has_feature(&net->vdev, NET_F_MQ) ||
	    !argument(cmd, &arg, sizeof(arg)))
		return false;
	pairs = le16_to_cpu(arg);
	return pairs >= 1 && pairs <= net->pair_count && !net_set_pairs(net, pairs);
}

/* §5.1.6.5.6: only what was negotiated can be switched on again. */
static bool set_offloads(const struct command *cmd, uint8_t what)
{
	struct virtio_net *net = cmd->net;
	uint64_t wanted;
	le64_t arg;

	if (what != GUEST_OFFLOADS_SET ||
	    !virtio_has_feature(&net->vdev, NET_F_CTRL_GUEST_OFFLOADS) ||
	    !argument(cmd, &arg, sizeof(arg)))
		return false;
	wanted = le64_to_cpu(arg);
	return !(wanted & ~(net->vdev.features & NET_GUEST_OFFLOADS)) &&
	       !net_set_offloads(net, wanted);
}

static bool carry_out(const struct command *cmd, uint8_t class, uint8_t what)
{
	switch (class) {
	case CLASS_RX:
		return rx_mode(cmd, what);
	case CLASS_MAC:
		return set_mac(cmd, what);
	case CLASS_VLAN:
		return set_vlan(cmd, what);
	case CLASS_ANNOUNCE:
		return announced(cmd, what);
	case CLASS_MQ:
		return set_pairs(cmd, what);
	case CLASS_GUEST_OFFLOADS:
		return set_offloads(cmd, what);
	default:
		return false;
	}
}

void net_ctrl_handle(struct virtio_queue *queue)
{
	struct virtio_net *net = to_net(queue->vdev);
	unsigned int budget = COMMANDS_A_TURN;
	struct virtq_chain chain;

	virtqueue_notify_off(&queue->vq);
	do {
		while (virtio_queue_pop(queue, &chain)) {
			struct command cmd = { net, &chain, 2, chain.out_len - 2 };
			uint8_t head[2], ack;

			if (!chain.in_len ||
			    !net_gather(chain.iov, chain.out_count, 0, head, sizeof(head))) {
				virtqueue_unpop(&queue->vq, chain.head);
				virtio_device_error(queue->vdev,
						    "a control request without command or answer");
				goto out;
			}
			if (!budget--) {
				virtqueue_unpop(&queue->vq, chain.head);
				virtio_queue_kick(queue);
				goto out;
			}
			ack = carry_out(&cmd, head[0], head[1]) ? 0 : 1;
			*(uint8_t *)chain.iov[chain.out_count].iov_base = ack;
			virtqueue_push(&queue->vq, chain.head, 1);
		}
	} while (virtio_queue_live(queue) && virtqueue_notify_on(&queue->vq));
out:
	virtio_queue_flush(queue);
}
