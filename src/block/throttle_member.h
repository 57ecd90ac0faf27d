/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A drive's engine in a throttle group. Of all requests that wait in a group, one read and one write have reserved their
 * time; it is their member's turn, and its timer tells when that time has come. Whoever then looks moves every request
 * that is due to its owner's list, and wakes that owner.
 *
 * Functions and handlers run on the member's home loop.
 */
#ifndef BLOCK_THROTTLE_MEMBER_H
#define BLOCK_THROTTLE_MEMBER_H

#include "block/engine.h"
#include "block/throttle_group.h"

struct throttle_member {
	struct throttle_group *group; /* NULL: in none, nothing is held back */
	/* Requests of this member may begin: throttle_member_due() has them. */
	void (*ready)(struct throttle_member *member);
	struct loop_timer timer;
	struct loop_call wake; /* scheduled by any thread under the group's lock */

	/* Under the group's lock. */
	struct list node;    /* in group->members */
	struct list held[2]; /* reads, writes: struct block_request by node, in the order in which they came */
	struct list due;     /* may begin */
};

void throttle_member_init(struct throttle_member *member, struct loop *home,
			  void (*ready)(struct throttle_member *member));
/* @member is in no group, or in one that holds nothing of it. The group must stay until it has left. */
void throttle_member_join(struct throttle_member *member, struct throttle_group *group);
void throttle_member_leave(struct throttle_member *member);

/* True: the request (a read or something that writes) is held back, and the member's from now on. */
bool throttle_member_hold(struct throttle_member *member, struct block_request *request, int64_t now_ns);
/* Moves what may begin to the end of @ret, in order, and sees to it that the rest will. */
void throttle_member_due(struct throttle_member *member, int64_t now_ns, struct list *ret);
/* Moves all that is held back to the end of @ret: what was due, reads, writes. It has used up nothing. */
void throttle_member_take_back(struct throttle_member *member, struct list *ret);

#endif
