// SPDX-License-Identifier: Apache-2.0
#include "block/throttle_group.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "throttle.h"
#include "throttle_member.h"
#include "util/alloc.h"

/* Requests that may begin soon after each other begin together: what a wake-up costs would limit them, too. */
#define TOGETHER_NS (NSEC_PER_MSEC / 10)

struct throttle_group {
	char *name;
	struct link_scope *scope;
	unsigned int refs;
	struct block_limits limits;

	_Atomic bool limited; /* any thread */
	pthread_mutex_t lock; /* for all below; a member's home loop calls nothing of its engine under it */
	struct throttle throttle;
	struct list members;
	struct throttle_member *turn[2]; /* of reads, writes: who has the request that comes next; NULL: none waits */
	int64_t start_ns[2];             /* when that request may begin */
};

const struct property throttle_group_props[] = {
	BLOCK_LIMIT_PROPS_NAMED("limits.", struct throttle_group_config, limits),
	BLOCK_LIMIT_PROPS_NAMED("x-", struct throttle_group_config, limits),
	PROP_END,
};

/* --- The group --- */

static struct throttle_group *group_new(const char *name, struct link_scope *scope, const struct block_limits *limits)
{
	struct throttle_group *group = xcalloc(1, sizeof(*group));

	group->name = xstrdup(name);
	group->scope = scope;
	group->refs = 1;
	group->limits = *limits;
	pthread_mutex_init(&group->lock, NULL);
	list_init(&group->members);
	throttle_init(&group->throttle, limits);
	atomic_store(&group->limited, group->throttle.limited);
	return group;
}

static void group_free(struct throttle_group *group)
{
	pthread_mutex_destroy(&group->lock);
	free(group->name);
	free(group);
}

int throttle_group_new(const char *name, const struct block_limits *limits, struct link_scope *scope,
		       struct throttle_group **ret, struct error **errp)
{
	struct throttle_group *group;
	int err = block_limits_check(limits, errp);

	if (err)
		return err;
	group = group_new(name, scope, limits);
	err = link_scope_add(scope, LINK_THROTTLE_GROUP, name, group, errp);
	if (err) {
		group_free(group);
		return err;
	}
	*ret = group;
	return 0;
}

struct throttle_group *throttle_group_get(const char *name, struct link_scope *scope)
{
	struct throttle_group *group = link_scope_find(scope, LINK_THROTTLE_GROUP, name);
	int err;

	if (group) {
		group->refs++;
		return group;
	}
	group = group_new(name, scope, &block_no_limits);
	err = link_scope_add(scope, LINK_THROTTLE_GROUP, name, group, NULL);
	(void)err; /* it was not there */
	return group;
}

void throttle_group_put(struct throttle_group *group)
{
	if (!group || --group->refs)
		return;
	link_scope_del(group->scope, LINK_THROTTLE_GROUP, group->name);
	group_free(group);
}

bool throttle_group_is_shared(const struct throttle_group *group)
{
	return group->refs > 1;
}

const char *throttle_group_name(const struct throttle_group *group)
{
	return group->name;
}

const struct block_limits *throttle_group_limits(const struct throttle_group *group)
{
	return &group->limits;
}

/* --- Turns. All under the lock --- */

static struct block_request *first_of(struct throttle_member *member, bool write)
{
	return list_entry(list_first(&member->held[write]), struct block_request, node);
}

static uint64_t bytes_of(const struct block_request *request)
{
	return request->op == BLOCK_DISCARD ? 0 : request->length - request->completed;
}

static void wake(struct throttle_member *member)
{
	loop_call_schedule(&member->wake);
}

/* Whoever waits, beginning with the one behind @member, which comes last. */
static struct throttle_member *next_waiting(struct throttle_group *group, struct throttle_member *member, bool write)
{
	struct list *node = &member->node;

	do {
		struct throttle_member *next;

		node = node->next;
		if (node == &group->members)
			continue;
		next = list_entry(node, struct throttle_member, node);
		if (!list_empty(&next->held[write]))
			return next;
	} while (node != &member->node);
	return NULL;
}

/* The turn is the one of @member's, if there is any; its first request reserves. */
static void give_turn(struct throttle_group *group, struct throttle_member *member, bool write, int64_t now_ns)
{
	int64_t start_ns;

	group->turn[write] = member;
	if (!member)
		return;
	start_ns = throttle_reserve(&group->throttle, write, bytes_of(first_of(member, write)), now_ns);
	group->start_ns[write] = MAX(start_ns, now_ns);
}

/* Moves the first one to its owner's list if it is time. */
static bool advance_one(struct throttle_group *group, bool write, int64_t now_ns, struct throttle_member *self)
{
	struct throttle_member *member = group->turn[write];
	struct list *node;

	if (!member || group->start_ns[write] > now_ns)
		return false;
	node = list_first(&member->held[write]);
	list_del(node);
	list_add_tail(&member->due, node);
	if (member != self)
		wake(member);
	/* As of the time that was meant: that we are late is not the guest's loss. */
	give_turn(group, next_waiting(group, member, write), write, group->start_ns[write]);
	if (group->turn[write] && group->turn[write] != self)
		wake(group->turn[write]); /* sets its timer */
	return true;
}

/* A read and a write in turns, as far as the time has come. */
static void advance(struct throttle_group *group, int64_t now_ns, struct throttle_member *self)
{
	bool more = true;

	while (more) {
		more = false;
		for (unsigned int i = 0; i < 2; i++)
			more |= advance_one(group, i, now_ns, self);
	}
}

static void set_timer(struct throttle_member *member, int64_t now_ns)
{
	const struct throttle_group *group = member->group;
	int64_t first_ns = INT64_MAX;

	for (unsigned int i = 0; i < 2; i++)
		if (group->turn[i] == member)
			first_ns = MIN(first_ns, group->start_ns[i]);
	if (first_ns == INT64_MAX)
		loop_timer_cancel(&member->timer);
	else
		loop_timer_set(&member->timer, MAX(first_ns, now_ns + TOGETHER_NS));
}

int throttle_group_set_limits(struct throttle_group *group, const struct block_limits *limits,
			      struct error **errp)
{
	int ret = block_limits_check(limits, errp);

	if (ret)
		return ret;
	group->limits = *limits;
	pthread_mutex_lock(&group->lock);
	throttle_init(&group->throttle, limits);
	atomic_store(&group->limited, group->throttle.limited);
	for (unsigned int i = 0; i < 2; i++) {
		if (!group->turn[i])
			continue;
		give_turn(group, group->turn[i], i, clock_now_ns());
		wake(group->turn[i]);
	}
	pthread_mutex_unlock(&group->lock);
	return 0;
}

/* --- A member --- */

static void timer_over(struct loop_timer *timer)
{
	struct throttle_member *member = container_of(timer, struct throttle_member, timer);

	member->ready(member);
}

static void woken(struct loop_call *call)
{
	struct throttle_member *member = container_of(call, struct throttle_member, wake);

	member->ready(member);
}

void throttle_member_init(struct throttle_member *member, struct loop *home,
			  void (*ready)(struct throttle_member *member))
{
	member->group = NULL;
	member->ready = ready;
	loop_timer_init(&member->timer, home, timer_over);
	loop_call_init(&member->wake, home, woken);
	list_init(&member->node);
	for (unsigned int i = 0; i < 2; i++)
		list_init(&member->held[i]);
	list_init(&member->due);
}

void throttle_member_join(struct throttle_member *member, struct throttle_group *group)
{
	throttle_member_leave(member);
	if (!group)
		return;
	pthread_mutex_lock(&group->lock);
	list_add_tail(&group->members, &member->node);
	member->group = group;
	pthread_mutex_unlock(&group->lock);
}

void throttle_member_leave(struct throttle_member *member)
{
	struct throttle_group *group = member->group;

	if (!group)
		return;
	pthread_mutex_lock(&group->lock);
	list_del(&member->node);
	member->group = NULL;
	pthread_mutex_unlock(&group->lock);
	/* From now on nobody wakes it. */
	loop_call_cancel(&member->wake);
	loop_timer_cancel(&member->timer);
}

bool throttle_member_hold(struct throttle_member *member, struct block_request *request, int64_t now_ns)
{
	struct throttle_group *group = member->group;
	bool write = request->op != BLOCK_READ, held = true;
	int64_t start_ns;

	if (!group || !atomic_load_explicit(&group->limited, memory_order_relaxed))
		return false;
	pthread_mutex_lock(&group->lock);
	if (group->turn[write]) {
		list_add_tail(&member->held[write], &request->node);
	} else {
		start_ns = throttle_reserve(&group->throttle, write, bytes_of(request), now_ns);
		held = start_ns > now_ns;
		if (held) {
			list_add_tail(&member->held[write], &request->node);
			group->turn[write] = member;
			group->start_ns[write] = start_ns;
			set_timer(member, now_ns);
		}
	}
	pthread_mutex_unlock(&group->lock);
	return held;
}

void throttle_member_due(struct throttle_member *member, int64_t now_ns, struct list *ret)
{
	struct throttle_group *group = member->group;

	if (!group)
		return;
	pthread_mutex_lock(&group->lock);
	advance(group, now_ns, member);
	list_move_all(&member->due, ret);
	set_timer(member, now_ns);
	pthread_mutex_unlock(&group->lock);
}

static void return_all(struct throttle_group *group, const struct list *requests)
{
	const struct block_request *request;

	list_for_each(request, requests, node)
		throttle_return(&group->throttle, request->op != BLOCK_READ, bytes_of(request));
}

/* The others go on without it. */
static void pass_turn(struct throttle_group *group, struct throttle_member *member, bool write, struct list *ret)
{
	bool had_turn = group->turn[write] == member;

	if (had_turn)
		throttle_return(&group->throttle, write, bytes_of(first_of(member, write)));
	list_move_all(&member->held[write], ret);
	if (!had_turn)
		return;
	give_turn(group, next_waiting(group, member, write), write, clock_now_ns());
	if (group->turn[write])
		wake(group->turn[write]);
}

void throttle_member_take_back(struct throttle_member *member, struct list *ret)
{
	struct throttle_group *group = member->group;

	if (!group)
		return;
	loop_timer_cancel(&member->timer);
	pthread_mutex_lock(&group->lock);
	return_all(group, &member->due);
	list_move_all(&member->due, ret);
	for (unsigned int i = 0; i < 2; i++)
		pass_turn(group, member, i, ret);
	pthread_mutex_unlock(&group->lock);
}
