// SPDX-License-Identifier: Apache-2.0
/* The command line over a file: who wins, and where what wins stands. */
#include <stdlib.h>
#include <string.h>

#include "description.h"

static void take_text(char **over, char **base)
{
	if (*over)
		return;
	*over = *base;
	*base = NULL;
}

static void take_opts(struct opts **over, struct opts **base)
{
	if (*over)
		return;
	*over = *base;
	*base = NULL;
}

/* All of @from to the end of @to. */
static void move_all(struct list *to, struct list *from)
{
	struct opts *opts, *next;

	list_for_each_safe(opts, next, from, node) {
		list_del(&opts->node);
		list_add_tail(to, &opts->node);
	}
}

/* Removes the entry with this id. NULL: there is none. */
static struct opts *take_by_id(struct list *from, const char *id)
{
	struct opts *opts;

	list_for_each(opts, from, node) {
		const char *found = opts_get(opts, "id");

		if (!found || !id || strcmp(found, id))
			continue;
		list_del(&opts->node);
		return opts;
	}
	return NULL;
}

/*
 * The file's entries in their order, each replaced by the command line's of the same id, then the
 * rest of the command line: the order decides which disk is the first.
 */
static void merge_by_id(struct list *over, struct list *base)
{
	struct list merged = LIST_INIT(merged);
	struct opts *opts, *next, *winner;

	list_for_each_safe(opts, next, base, node) {
		winner = take_by_id(over, opts_get(opts, "id"));
		if (!winner)
			list_del(&opts->node);
		list_add_tail(&merged, winner ? &winner->node : &opts->node);
	}
	move_all(&merged, over);
	move_all(over, &merged);
}

static void merge_machine(struct vm_config *over, struct vm_config *base)
{
	struct opts *machine = base->machine;
	struct opt *opt;

	/* The file's list stays, for its origin; only what differs in the command line is the
	 * command line's. */
	list_for_each(opt, &over->machine->pairs, node)
		opts_set(machine, opt->key, opt->value);
	base->machine = over->machine;
	over->machine = machine;
}

static void merge_field(const struct description_field *field, struct vm_config *over,
			struct vm_config *base)
{
	void *to = (char *)over + field->offset, *from = (char *)base + field->offset;

	switch (field->kind) {
	case DESCRIPTION_TEXT:
		take_text(to, from);
		break;
	case DESCRIPTION_FLAG:
		*(bool *)to |= *(bool *)from;
		break;
	case DESCRIPTION_MEMORY:
		if (!over->memory_size)
			over->memory_size = base->memory_size;
		break;
	case DESCRIPTION_SMP:
		if (!over->smp.cpus)
			over->smp = base->smp;
		break;
	case DESCRIPTION_UUID:
		if (over->has_uuid)
			break;
		over->has_uuid = base->has_uuid;
		memcpy(to, from, sizeof(over->uuid));
		break;
	case DESCRIPTION_LOG:
		if (over->log_to_file)
			break;
		over->log_to_file = base->log_to_file;
		take_text(to, from);
		break;
	case DESCRIPTION_OPTS:
		if (field->offset == offsetof(struct vm_config, machine))
			merge_machine(over, base);
		else
			take_opts(to, from);
		break;
	case DESCRIPTION_LIST:
		merge_by_id(to, from);
		break;
	case DESCRIPTION_WHOLE_LIST:
		if (list_empty(to))
			move_all(to, from);
		break;
	}
}

void vm_config_overlay(struct vm_config *over, struct vm_config *base)
{
	for (const struct description_field *field = description_fields; field->key; field++)
		merge_field(field, over, base);
}
