// SPDX-License-Identifier: Apache-2.0
/* A VM has at most some dozens of named back ends and looks them up only when a device is made: a
 * list will do. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "links_private.h"
#include "util/alloc.h"
#include "util/parse.h"

struct link {
	struct list node;
	const char *kind; /* one of LINK_*, static */
	char *id;
	void *object;
};

struct link_scope {
	struct list links;
};

static struct link *find(const struct link_scope *scope, const char *kind, const char *id)
{
	struct link *link;

	list_for_each(link, &scope->links, node) {
		if (strcmp(link->kind, kind) == 0 && strcmp(link->id, id) == 0)
			return link;
	}
	return NULL;
}

static void link_free(struct link *link)
{
	list_del(&link->node);
	free(link->id);
	free(link);
}

struct link_scope *link_scope_new(void)
{
	struct link_scope *scope = xcalloc(1, sizeof(*scope));

	list_init(&scope->links);
	return scope;
}

void link_scope_free(struct link_scope *scope)
{
	struct link *link, *next;

	if (!scope)
		return;
	list_for_each_safe(link, next, &scope->links, node)
		link_free(link);
	free(scope);
}

int link_scope_add(struct link_scope *scope, const char *kind, const char *id, void *object,
		   struct error **errp)
{
	struct link *link;

	if (find(scope, kind, id))
		return error_set(errp, -EEXIST, "%s id '%s' is already used", kind, id);
	link = xcalloc(1, sizeof(*link));
	link->kind = kind;
	link->id = xstrdup(id);
	link->object = object;
	list_add_tail(&scope->links, &link->node);
	return 0;
}

void *link_scope_find(const struct link_scope *scope, const char *kind, const char *id)
{
	struct link *link = find(scope, kind, id);

	return link ? link->object : NULL;
}

void link_scope_del(struct link_scope *scope, const char *kind, const char *id)
{
	struct link *link = find(scope, kind, id);

	if (link)
		link_free(link);
}

void link_scope_each(const struct link_scope *scope, const char *kind,
		     void (*fn)(void *opaque, const char *id, void *object), void *opaque)
{
	struct link *link;

	list_for_each(link, &scope->links, node) {
		if (strcmp(link->kind, kind) == 0)
			fn(opaque, link->id, link->object);
	}
}

const char *link_scope_nearest(const struct link_scope *scope, const char *kind, const char *id)
{
	const char **ids, *nearest;
	struct link *link;
	size_t count = 0;

	list_for_each(link, &scope->links, node)
		count++;
	ids = xcalloc(count + 1, sizeof(*ids));
	count = 0;
	list_for_each(link, &scope->links, node) {
		if (strcmp(link->kind, kind) == 0)
			ids[count++] = link->id;
	}
	nearest = nearest_name(id, ids);
	free(ids);
	return nearest;
}
