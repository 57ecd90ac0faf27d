// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-balloon, the traditional memory balloon (virtio 1.2 §5.5). All queues run on the main
 * loop: a driver sends few and large requests, and a turn is bounded.
 */
#include "virtio/balloon.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "balloon.h"
#include "mmio.h"
#include "pci.h"
#include "util/parse.h"
#include "virtio/classes.h"

#define LOG_MODULE "virtio-balloon"
#include "util/log.h"

#define F_STATS_VQ (1ULL << 1)
#define F_DEFLATE_ON_OOM (1ULL << 2)
#define F_PAGE_REPORTING (1ULL << 5)

#define QUEUE_SIZE 128
#define CHAINS_A_TURN 32
#define STATS_PER_BUFFER_MAX 64 /* what a driver may send beyond that is not looked at */

/* §5.5.4; the fields of features that are not offered are not there. */
struct balloon_config {
	le32_t num_pages; /* what the balloon shall hold */
	le32_t actual;	  /* what it holds; written by the driver */
} __packed;

/* §5.5.6.4 */
struct balloon_stat {
	le16_t tag;
	le64_t value;
} __packed;

/* By tag; QEMU's names, which libvirt reads. */
static const char *const stat_names[] = {
	"stat-swap-in",	     "stat-swap-out",	  "stat-major-faults",	   "stat-minor-faults",
	"stat-free-memory",  "stat-total-memory", "stat-available-memory", "stat-disk-caches",
	"stat-htlb-pgalloc", "stat-htlb-pgfail",
};
#define STAT_COUNT ARRAY_SIZE(stat_names)
#define STAT_UNKNOWN UINT64_MAX

/* What a queue is depends on the features in use: those that are not there leave no gap in the
 * numbers. */
enum balloon_role { ROLE_INFLATE, ROLE_DEFLATE, ROLE_STATS, ROLE_REPORTING, ROLE_NONE };

struct virtio_balloon {
	struct virtio_device vdev;
	bool deflate_on_oom, free_page_reporting;
	uint32_t stats_interval; /* seconds, 0 = never */

	_Atomic uint32_t actual; /* pages in the balloon, as the driver says. Any thread */

	/* main loop */
	uint32_t target; /* pages */
	uint64_t told;	 /* bytes: what the operator knows of balloon_actual() */
	struct loop_call changed;
	uint64_t inflated; /* bytes of the inflate queue's next chain that were worked on */
	struct balloon_counts counts;
	uint64_t ignored_before;
	struct log_limit pages_limit;

	bool holds; /* a buffer of the statistics queue; pushing it back asks for new figures */
	uint16_t held_head;
	struct loop_timer poll;
	uint64_t stats[STAT_COUNT];
	int64_t stats_time; /* seconds since 1970, 0 = none came */
};

static const struct virtio_device_ops balloon_ops;

static struct virtio_balloon *to_balloon(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_balloon, vdev);
}

static struct virtio_balloon *from_device(const struct device *dev)
{
	return container_of(dev, struct virtio_balloon, vdev.dev);
}

static enum balloon_role role(const struct virtio_queue *queue)
{
	unsigned int next = 2;

	if (queue->index < next)
		return queue->index == 0 ? ROLE_INFLATE : ROLE_DEFLATE;
	if (virtio_has_feature(queue->vdev, F_STATS_VQ) && queue->index == next++)
		return ROLE_STATS;
	if (virtio_has_feature(queue->vdev, F_PAGE_REPORTING) && queue->index == next)
		return ROLE_REPORTING;
	return ROLE_NONE;
}

/* --- pages --- */

/* Up to BALLOON_BATCH page numbers from @offset of the chain on; how many. A number may lie across
 * buffers. */
static unsigned int read_pfns(const struct virtq_chain *chain, uint64_t offset, uint32_t *pfns)
{
	uint8_t *to = (uint8_t *)pfns;
	size_t want = BALLOON_BATCH * sizeof(*pfns), done = 0;

	for (unsigned int i = 0; i < chain->out_count && done < want; i++) {
		const struct iovec *iov = &chain->iov[i];
		size_t n;

		if (offset >= iov->iov_len) {
			offset -= iov->iov_len;
			continue;
		}
		n = MIN(want - done, iov->iov_len - offset);
		memcpy(to + done, (const uint8_t *)iov->iov_base + offset, n);
		done += n;
		offset = 0;
	}
	for (unsigned int i = 0; i < done / sizeof(*pfns); i++)
		pfns[i] = le32toh(pfns[i]);
	return (unsigned int)(done / sizeof(*pfns));
}

static void warn_of_ignored(struct virtio_balloon *balloon)
{
	if (balloon->counts.ignored == balloon->ignored_before)
		return;
	balloon->ignored_before = balloon->counts.ignored;
	log_warn_limited(&balloon->pages_limit, "%s: %llu pages of the balloon were no memory",
			 balloon->vdev.dev.id, (unsigned long long)balloon->counts.ignored);
}

/* One batch of the chain. True: it was the last. */
static bool inflate(struct virtio_balloon *balloon, const struct virtq_chain *chain)
{
	uint32_t pfns[BALLOON_BATCH];
	unsigned int count = read_pfns(chain, balloon->inflated, pfns);

	balloon_discard_pages(balloon->vdev.dev.platform->space, pfns, count, &balloon->counts);
	warn_of_ignored(balloon);
	balloon->inflated += count * sizeof(*pfns);
	if (count == BALLOON_BATCH && balloon->inflated < chain->out_len)
		return false;
	balloon->inflated = 0;
	return true;
}

/* §5.5.6.7: pages that the guest does not use now, and may use again without a word. */
static void report(struct virtio_balloon *balloon, const struct virtq_chain *chain)
{
	for (unsigned int i = 0; i < chain->in_count; i++)
		balloon_discard_slice(balloon->vdev.dev.platform->space, chain->iov[i].iov_base,
				      chain->iov[i].iov_len, &balloon->counts);
}

/* --- statistics --- */

static void forget_stats(struct virtio_balloon *balloon)
{
	for (unsigned int i = 0; i < STAT_COUNT; i++)
		balloon->stats[i] = STAT_UNKNOWN;
	balloon->stats_time = 0;
}

static void read_stats(struct virtio_balloon *balloon, const struct virtq_chain *chain)
{
	struct balloon_stat stats[STATS_PER_BUFFER_MAX];
	size_t done = 0;

	for (unsigned int i = 0; i < chain->out_count && done < sizeof(stats); i++) {
		size_t n = MIN(sizeof(stats) - done, chain->iov[i].iov_len);

		memcpy((uint8_t *)stats + done, chain->iov[i].iov_base, n);
		done += n;
	}
	for (unsigned int i = 0; i < done / sizeof(stats[0]); i++) {
		uint16_t tag = le16_to_cpu(stats[i].tag);

		if (tag < STAT_COUNT)
			balloon->stats[tag] = le64_to_cpu(stats[i].value);
	}
	balloon->stats_time = time(NULL);
}

static void poll_arm(struct virtio_balloon *balloon)
{
	if (balloon->stats_interval)
		loop_timer_set(&balloon->poll,
			       clock_now_ns() + balloon->stats_interval * NSEC_PER_SEC);
	else
		loop_timer_cancel(&balloon->poll);
}

static struct virtio_queue *stats_queue(struct virtio_balloon *balloon)
{
	struct virtio_queue *queue = &balloon->vdev.queues[2];

	return queue->running && role(queue) == ROLE_STATS ? queue : NULL;
}

/* Gives the buffer back, which the driver fills anew. */
static void ask_for_stats(struct virtio_balloon *balloon, struct virtio_queue *queue)
{
	if (!balloon->holds)
		return;
	balloon->holds = false;
	virtqueue_push(&queue->vq, balloon->held_head, 0);
	virtio_queue_flush(queue);
}

static void poll_expired(struct loop_timer *timer)
{
	struct virtio_balloon *balloon = container_of(timer, struct virtio_balloon, poll);
	struct virtio_queue *queue = stats_queue(balloon);

	if (queue)
		ask_for_stats(balloon, queue);
	poll_arm(balloon);
}

/* The driver has one buffer; were there more, the last one counts. */
static void hold_stats(struct virtio_balloon *balloon, struct virtio_queue *queue,
		       const struct virtq_chain *chain)
{
	ask_for_stats(balloon, queue);
	read_stats(balloon, chain);
	balloon->holds = true;
	balloon->held_head = chain->head;
}

/* --- queues --- */

static bool chain_fits(enum balloon_role what, const struct virtq_chain *chain)
{
	if (what == ROLE_REPORTING)
		return chain->in_count && !chain->out_count;
	return chain->out_count && !chain->in_count;
}

/* True: done with the chain. False: there is more of it, for another turn. */
static bool handle_chain(struct virtio_balloon *balloon, struct virtio_queue *queue,
			 enum balloon_role what, const struct virtq_chain *chain)
{
	switch (what) {
	case ROLE_INFLATE:
		if (!inflate(balloon, chain))
			return false;
		break;
	case ROLE_REPORTING:
		report(balloon, chain);
		break;
	case ROLE_STATS:
		hold_stats(balloon, queue, chain);
		return true; /* it stays here */
	case ROLE_DEFLATE:   /* the memory comes when the guest touches it */
	case ROLE_NONE:
		break;
	}
	virtqueue_push(&queue->vq, chain->head, 0);
	return true;
}

static void balloon_handle_queue(struct virtio_queue *queue)
{
	struct virtio_balloon *balloon = to_balloon(queue->vdev);
	enum balloon_role what = role(queue);
	unsigned int budget = CHAINS_A_TURN;
	struct virtq_chain chain;

	if (what == ROLE_NONE)
		return;
	virtqueue_notify_off(&queue->vq);
	do {
		while (virtio_queue_pop(queue, &chain)) {
			if (!chain_fits(what, &chain)) {
				virtio_device_error(
					queue->vdev,
					"a buffer of the balloon has the wrong direction");
				return;
			}
			if (!budget-- || !handle_chain(balloon, queue, what, &chain)) {
				virtqueue_unpop(&queue->vq, chain.head);
				virtio_queue_kick(queue);
				goto out;
			}
		}
	} while (queue->running && virtqueue_notify_on(&queue->vq));
out:
	virtio_queue_flush(queue);
}

/* --- size --- */

struct device *balloon_find(const struct platform *platform)
{
	struct device *dev;

	list_for_each(dev, &platform->devices, node)
		if (dev->class->data == &balloon_ops)
			return dev;
	return NULL;
}

uint64_t balloon_actual(const struct device *dev)
{
	const struct virtio_balloon *balloon = from_device(dev);
	uint64_t total = mem_space_ram_total(dev->platform->space);

	/* The driver may say what it likes. */
	return total - MIN(total, (uint64_t)atomic_load(&balloon->actual) << BALLOON_PAGE_SHIFT);
}

/* The size of guest memory's huge pages, which 4 KiB pages cannot be taken out of; 0: none. */
static uint64_t huge_pages(const struct mem_space *space)
{
	for (unsigned int i = 0; i < mem_space_ram_count(space); i++) {
		uint64_t page_size = mem_space_ram(space, i)->page_size;

		if (page_size > 64 * KIB) /* larger than any host's smallest pages */
			return page_size;
	}
	return 0;
}

static int refuse_huge_pages(uint64_t page_size, struct error **errp)
{
	char size[24];

	return error_set(errp, -ENOTSUP,
			 "guest memory is made of huge pages of %s, and a balloon gives "
			 "back pages of 4K, "
			 "which would free none of them; use memory without huge pages",
			 format_size(page_size, size));
}

int balloon_set_target(struct device *dev, uint64_t bytes, struct error **errp)
{
	struct virtio_balloon *balloon = from_device(dev);
	uint64_t total = mem_space_ram_total(dev->platform->space);
	uint64_t pages = (total - MIN(total, bytes)) >> BALLOON_PAGE_SHIFT;
	uint64_t page_size = huge_pages(dev->platform->space);
	le32_t field;

	if (pages && page_size)
		return refuse_huge_pages(page_size, errp);

	balloon->target = (uint32_t)MIN(pages, (uint64_t)UINT32_MAX);
	field = cpu_to_le32(balloon->target);
	virtio_device_update_config(&balloon->vdev, offsetof(struct balloon_config, num_pages),
				    &field, sizeof(field), true);
	return 0;
}

/* On the main loop, because the driver writes on a vCPU's thread. */
static void size_changed(struct loop_call *call)
{
	struct virtio_balloon *balloon = container_of(call, struct virtio_balloon, changed);
	struct platform *platform = balloon->vdev.dev.platform;
	struct device_event_info info = {
		.dev = &balloon->vdev.dev,
		.actual = balloon_actual(&balloon->vdev.dev),
	};

	if (info.actual == balloon->told)
		return;
	balloon->told = info.actual;
	if (platform->event)
		platform->event(platform, DEVICE_EVENT_BALLOON, &info);
}

static void set_actual(struct virtio_balloon *balloon, uint32_t pages)
{
	le32_t field = cpu_to_le32(pages);

	atomic_store(&balloon->actual, pages);
	/* The driver's own field: it need not be told. */
	virtio_device_update_config(&balloon->vdev, offsetof(struct balloon_config, actual), &field,
				    sizeof(field), false);
	loop_call_schedule(&balloon->changed);
}

static void balloon_write_config(struct virtio_device *vdev, uint32_t offset, uint32_t value,
				 unsigned int size)
{
	if (offset == offsetof(struct balloon_config, actual) && size == sizeof(le32_t))
		set_actual(to_balloon(vdev), value);
}

/* --- values for the operator --- */

static struct json_object *get_stats(struct device *dev)
{
	struct virtio_balloon *balloon = from_device(dev);
	struct json_object *all = json_object_new_object(), *stats = json_object_new_object();

	for (unsigned int i = 0; i < STAT_COUNT; i++)
		json_object_object_add(stats, stat_names[i],
				       json_object_new_uint64(balloon->stats[i]));
	json_object_object_add(all, "stats", stats);
	json_object_object_add(all, "last-update", json_object_new_int64(balloon->stats_time));
	return all;
}

static struct json_object *get_interval(struct device *dev)
{
	return json_object_new_int64(from_device(dev)->stats_interval);
}

static int set_interval(struct device *dev, struct json_object *value, struct error **errp)
{
	struct virtio_balloon *balloon = from_device(dev);
	int64_t seconds;

	if (!json_object_is_type(value, json_type_int))
		return error_set(errp, -EINVAL,
				 "guest-stats-polling-interval takes a number of seconds");
	seconds = json_object_get_int64(value);
	if (seconds < 0 || seconds > INT32_MAX)
		return error_set(errp, -ERANGE,
				 "guest-stats-polling-interval=%lld is out of range [0, %d]",
				 (long long)seconds, INT32_MAX);
	balloon->stats_interval = (uint32_t)seconds;
	if (seconds && stats_queue(balloon))
		ask_for_stats(balloon, stats_queue(balloon)); /* the first ones at once */
	poll_arm(balloon);
	return 0;
}

static const struct device_value balloon_values[] = {
	{ .name = "guest-stats", .type = "guest statistics", .get = get_stats },
	{ .name = "guest-stats-polling-interval",
	  .type = "int",
	  .get = get_interval,
	  .set = set_interval },
	{ .name = NULL },
};

/* --- life --- */

static void balloon_stop(struct virtio_device *vdev, struct virtio_queue *queue)
{
	struct virtio_balloon *balloon = to_balloon(vdev);
	struct virtio_queue *stats = &vdev->queues[2];

	if ((!queue || queue == stats) && balloon->holds) {
		balloon->holds = false;
		virtqueue_unpop(&stats->vq, balloon->held_head);
	}
	if (queue == &vdev->queues[0]) /* what comes next is another chain */
		balloon->inflated = 0;
}

/* The guest has all its memory again: nothing says so to the host, and it touches what it needs. */
static void balloon_reset(struct virtio_device *vdev)
{
	struct virtio_balloon *balloon = to_balloon(vdev);

	balloon->inflated = 0;
	forget_stats(balloon);
	set_actual(balloon, 0);
}

/* A balloon that could do nothing is refused. One on PCI has its statistics still, for which
 * libvirt gives every VM one; what would take memory is refused when it is asked for. */
static int check_memory(const struct virtio_balloon *balloon, struct error **errp)
{
	const struct device *dev = &balloon->vdev.dev;
	uint64_t page_size = huge_pages(dev->platform->space);

	if (page_size && (dev->class == &virtio_balloon_mmio_class || balloon->free_page_reporting))
		return refuse_huge_pages(page_size, errp);
	return 0;
}

static int balloon_realize(struct virtio_device *vdev, struct error **errp)
{
	struct virtio_balloon *balloon = to_balloon(vdev);
	struct device *other = balloon_find(vdev->dev.platform);
	int ret;

	if (other)
		return error_set(errp, -EEXIST, "the VM has a balloon already: '%s'", other->id);
	ret = check_memory(balloon, errp);
	if (ret)
		return ret;
	vdev->home = vdev->dev.platform->main_loop;
	vdev->features_offered = F_STATS_VQ | (balloon->deflate_on_oom ? F_DEFLATE_ON_OOM : 0) |
				 (balloon->free_page_reporting ? F_PAGE_REPORTING : 0);
	ret = virtio_device_add_queues(vdev, balloon->free_page_reporting ? 4 : 3, QUEUE_SIZE,
				       errp);
	if (ret)
		return ret;
	virtio_device_set_config(vdev, &(struct balloon_config){ 0 },
				 sizeof(struct balloon_config));
	balloon->told = mem_space_ram_total(vdev->dev.platform->space);
	loop_call_init(&balloon->changed, vdev->home, size_changed);
	loop_timer_init(&balloon->poll, vdev->home, poll_expired);
	forget_stats(balloon);
	poll_arm(balloon);
	return 0;
}

static void balloon_unrealize(struct virtio_device *vdev)
{
	struct virtio_balloon *balloon = to_balloon(vdev);

	loop_timer_cancel(&balloon->poll);
	loop_call_cancel(&balloon->changed);
}

#define BALLOON_PROPS \
	PROP_BOOL("deflate-on-oom", struct virtio_balloon, deflate_on_oom, 0, \
		  "the guest takes memory back by itself before it runs out"), \
	PROP_BOOL("free-page-reporting", struct virtio_balloon, free_page_reporting, 0, \
		  "the guest tells which memory it does not use, and the host takes it back"), \
	PROP_UINT(32, "guest-stats-polling-interval", struct virtio_balloon, stats_interval, 0, \
		  INT32_MAX, 0, \
		  "seconds between two questions for the guest's statistics, 0: never"), \
	VIRTIO_FEATURE_PROPS(struct virtio_balloon)

static const struct property balloon_props[] = { BALLOON_PROPS, PROP_END };
static const struct property balloon_pci_props[] = { BALLOON_PROPS, VIRTIO_PCI_PROPS(struct virtio_balloon), PROP_END };

static const struct virtio_device_ops balloon_ops = {
	.device_id = 5,
	.realize = balloon_realize,
	.unrealize = balloon_unrealize,
	.stop = balloon_stop,
	.reset = balloon_reset,
	.handle_queue = balloon_handle_queue,
	.write_config = balloon_write_config,
};

const struct device_class virtio_balloon_mmio_class = {
	.name = "virtio-balloon-device",
	.summary = "virtio memory balloon",
	.instance_size = sizeof(struct virtio_balloon),
	.props = balloon_props,
	.values = balloon_values,
	.data = &balloon_ops,
	VIRTIO_MMIO_CLASS,
};

const struct device_class virtio_balloon_pci_class = {
	.name = "virtio-balloon-pci",
	.summary = "virtio memory balloon",
	.instance_size = sizeof(struct virtio_balloon),
	.props = balloon_pci_props,
	.values = balloon_values,
	.data = &balloon_ops,
	VIRTIO_PCI_CLASS,
};
