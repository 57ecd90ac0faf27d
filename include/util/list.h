/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive doubly linked list. The owner of the head says which lock guards it. */
#ifndef UTIL_LIST_H
#define UTIL_LIST_H

#include "util/macros.h"

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(head)          \
	{                        \
		&(head), &(head) \
	}

static inline void list_init(struct list *head)
{
	head->next = head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_add_tail(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

/* Removes @node and leaves it an empty list of its own: removing it again is harmless. */
static inline void list_del(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* Appends all nodes of @from to @to. */
static inline void list_move_all(struct list *from, struct list *to)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	from->prev->next = to;
	to->prev->next = from->next;
	to->prev = from->prev;
	list_init(from);
}

/* The first node, or NULL. */
static inline struct list *list_first(const struct list *head)
{
	return list_empty(head) ? NULL : head->next;
}

#define list_entry(node, type, member) container_of(node, type, member)

#define list_for_each(pos, head, member)                                              \
	for (pos = list_entry((head)->next, __typeof__(*pos), member);                \
	     &pos->member != (head);                                                  \
	     pos = list_entry(pos->member.next, __typeof__(*pos), member))

/* As list_for_each(), but @pos may be removed and freed in the body. */
#define list_for_each_safe(pos, tmp, head, member)                                    \
	for (pos = list_entry((head)->next, __typeof__(*pos), member),                \
	     tmp = list_entry(pos->member.next, __typeof__(*pos), member);            \
	     &pos->member != (head);                                                  \
	     pos = tmp, tmp = list_entry(tmp->member.next, __typeof__(*tmp), member))

#endif
