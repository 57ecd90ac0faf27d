// SPDX-License-Identifier: Apache-2.0
/*
 * The netdev's descriptors in the loops of a card's queues, and what happens when they fail. Receiving and sending may have loops
 * of their own; then each watches the descriptor for itself, and else both share one look at it.
 */
#include <errno.h>
#include <string.h>

#include "net.h"

#define LOG_MODULE "virtio-net"
#include "util/log.h"

#define RETRY_NS NSEC_PER_SEC

/* --- On the loop of the watch --- */

static int apply(struct net_watch *watch)
{
	uint32_t events = (watch->want_in ? EPOLLIN : 0) | (watch->want_out ? EPOLLOUT : 0);

	if (!events) {
		loop_fd_del(&watch->fd);
		return 0;
	}
	if (watch->fd.loop)
		return loop_fd_set_events(&watch->fd, events);
	watch->fd.events = events;
	return loop_fd_add(watch->loop, &watch->fd);
}

void net_watch_in(struct net_pair *pair, bool on)
{
	struct net_watch *watch = pair->rx_watch;
	int ret;

	if (on == watch->want_in)
		return;
	watch->want_in = on;
	ret = apply(watch);
	if (ret) {
		watch->want_in = false;
		net_host_error(&pair->rx_retry, "watching", ret);
	}
}

void net_watch_out(struct net_pair *pair, bool on)
{
	struct net_watch *watch = pair->tx_watch;
	int ret;

	if (on == watch->want_out)
		return;
	watch->want_out = on;
	ret = apply(watch);
	if (ret) {
		watch->want_out = false;
		net_host_error(&pair->tx_retry, "watching", ret);
	}
}

static void fd_ready(struct loop_fd *lfd, uint32_t events)
{
	struct net_watch *watch = container_of(lfd, struct net_watch, fd);
	bool error = events & (EPOLLERR | EPOLLHUP);

	if (watch->want_out && (error || events & EPOLLOUT)) {
		net_watch_out(watch->pair, false);
		net_tx_handle(watch->pair);
	}
	if (watch->want_in && (error || events & EPOLLIN))
		net_rx_handle(watch->pair);
}

static void try_again(struct loop_timer *timer)
{
	struct net_retry *retry = container_of(timer, struct net_retry, timer);

	retry->failed = false;
	if (virtio_queue_live(retry->queue))
		virtio_queue_kick(retry->queue);
}

void net_host_error(struct net_retry *retry, const char *what, int error)
{
	struct virtio_net *net = to_net(retry->queue->vdev);

	log_warn_limited(&net->host_limit, "%s: netdev '%s': %s: %s; tried again in a second",
			 net->vdev.dev.id, net->netdev->id, what, strerror(-error));
	retry->failed = true;
	loop_timer_set(&retry->timer, clock_now_ns() + RETRY_NS);
}

void net_retry_cancel(struct net_retry *retry)
{
	loop_timer_cancel(&retry->timer);
	retry->failed = false;
}

/* --- Main thread --- */

static void init_watch(struct net_watch *watch, struct net_pair *pair, struct loop *loop, int fd)
{
	*watch = (struct net_watch){ .pair = pair, .loop = loop };
	watch->fd = (struct loop_fd){ .fd = fd, .handler = fd_ready };
	list_init(&watch->fd.node);
}

void net_watch_init(struct net_pair *pair)
{
	struct netdev *netdev = pair->net->netdev;
	int fd = netdev ? netdev->fds[pair->index] : -1;
	bool shared = pair->rx->home == pair->tx->home;

	init_watch(&pair->watches[0], pair, pair->rx->home, fd);
	init_watch(&pair->watches[1], pair, pair->tx->home, shared ? -1 : fd);
	pair->rx_watch = &pair->watches[0];
	pair->tx_watch = shared ? &pair->watches[0] : &pair->watches[1];
	pair->rx_retry.queue = pair->rx;
	pair->tx_retry.queue = pair->tx;
	loop_timer_init(&pair->rx_retry.timer, pair->rx->home, try_again);
	loop_timer_init(&pair->tx_retry.timer, pair->tx->home, try_again);
}

static void rx_connect(void *opaque)
{
	struct virtio_net *net = opaque;

	for (unsigned int i = 0; i < net->pair_count; i++)
		net->pairs[i].rx_watch->fd.fd = net->netdev->fds[i];
}

static void tx_connect(void *opaque)
{
	struct virtio_net *net = opaque;

	for (unsigned int i = 0; i < net->pair_count; i++)
		net->pairs[i].tx_watch->fd.fd = net->netdev->fds[i];
}

void net_connect(struct virtio_net *net)
{
	loop_run_sync(net->pairs[0].rx->home, rx_connect, net);
	loop_run_sync(net->pairs[0].tx->home, tx_connect, net);
}

static void rx_disconnect(void *opaque)
{
	struct virtio_net *net = opaque;

	for (unsigned int i = 0; i < net->pair_count; i++) {
		struct net_pair *pair = &net->pairs[i];

		net_retry_cancel(&pair->rx_retry);
		net_watch_in(pair, false);
		net_rx_stop(pair);
		pair->rx_watch->fd.fd = -1;
	}
}

static void tx_disconnect(void *opaque)
{
	struct virtio_net *net = opaque;

	for (unsigned int i = 0; i < net->pair_count; i++) {
		struct net_pair *pair = &net->pairs[i];

		net_retry_cancel(&pair->tx_retry);
		net_watch_out(pair, false);
		if (pair->tx_watch != pair->rx_watch) /* else rx_disconnect() follows at once */
			pair->tx_watch->fd.fd = -1;
		if (virtio_queue_live(pair->tx)) /* what waited is dropped now */
			virtio_queue_kick(pair->tx);
	}
}

static void both_disconnect(void *opaque)
{
	tx_disconnect(opaque);
	rx_disconnect(opaque);
}

void net_disconnect(struct virtio_net *net)
{
	struct net_pair *pair = &net->pairs[0];

	if (pair->tx_watch == pair->rx_watch) { /* between the two a driver could have it watched again */
		loop_run_sync(pair->rx->home, both_disconnect, net);
		return;
	}
	loop_run_sync(pair->tx->home, tx_disconnect, net);
	loop_run_sync(pair->rx->home, rx_disconnect, net);
}
