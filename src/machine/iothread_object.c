// SPDX-License-Identifier: Apache-2.0
#include "iothread_object.h"

#include <errno.h>
#include <json-c/json.h>

const struct property iothread_object_props[] = {
	PROP_STRING("cpu-affinity", struct iothread_config, cpu_affinity, 1, 4095, NULL,
		    "host CPUs that the thread may run on: numbers and ranges, \"0-3:8\""),
	PROP_UINT(64, "poll-max-ns", struct iothread_config, polling.max_ns, 0, INT64_MAX, IOTHREAD_POLL_MAX_NS,
		  "nanoseconds for which it looks for work at most before it sleeps; 0: not at all"),
	PROP_UINT(64, "poll-grow", struct iothread_config, polling.grow, 0, INT64_MAX, 0,
		  "times as long the next time, when a little longer would have done; 0: 2"),
	PROP_UINT(64, "poll-shrink", struct iothread_config, polling.shrink, 0, INT64_MAX, 0,
		  "part of the time for which it looks the next time, when the most would not have done; 0: none"),
	PROP_UINT(64, "aio-max-batch", struct iothread_config, aio_max_batch, 0, INT64_MAX, 0,
		  "accepted for QEMU's clients: a batch is as large as the queue"),
	PROP_UINT(64, "thread-pool-min", struct iothread_config, thread_pool_min, 0, INT64_MAX, 0,
		  "accepted for QEMU's clients: each disk has its own workers"),
	PROP_UINT(64, "thread-pool-max", struct iothread_config, thread_pool_max, 0, INT64_MAX, 64,
		  "as thread-pool-min"),
	PROP_END,
};

int iothread_object_new(const struct opts *opts, const char *id, struct iothread **ret, struct error **errp)
{
	static const char *const skip[] = { "qom-type", "id", NULL };
	struct iothread_config config = { 0 };
	struct iothread *iothread;
	int err;

	err = property_apply(iothread_object_props, &config, opts, skip, NULL, errp);
	if (err)
		return err;
	iothread = iothread_new(id, errp);
	err = iothread ? iothread_configure(iothread, &config, errp) : -ENOMEM;
	if (err) {
		error_prefix(errp, "-object iothread,id=%s: ", id);
		property_release(iothread_object_props, &config);
		iothread_free(iothread);
		return err;
	}
	*ret = iothread;
	return 0;
}

/* --- Polling can be changed while the thread runs --- */

static int set_polling(struct iothread *iothread, const char *name, struct json_object *value, struct error **errp)
{
	struct iothread_config config = *iothread_config(iothread);
	int ret;

	if (!json_object_is_type(value, json_type_int))
		return error_set(errp, -EINVAL, "Invalid parameter type for '%s', expected: integer", name);
	ret = property_set(property_find(iothread_object_props, name), &config, json_object_get_string(value), NULL, errp);
	if (!ret)
		iothread_set_polling(iothread, &config.polling);
	return ret;
}

#define POLLING_VALUE(fn, word, member)                                                     \
	static struct json_object *get_##fn(const void *object)                             \
	{                                                                                   \
		return json_object_new_uint64(iothread_config(object)->polling.member);     \
	}                                                                                   \
	static int set_##fn(void *object, struct json_object *value, struct error **errp)   \
	{                                                                                   \
		return set_polling(object, word, value, errp);                              \
	}

POLLING_VALUE(max_ns, "poll-max-ns", max_ns)
POLLING_VALUE(grow, "poll-grow", grow)
POLLING_VALUE(shrink, "poll-shrink", shrink)

const struct object_value iothread_object_values[] = {
	{ "poll-max-ns", "int", get_max_ns, set_max_ns },
	{ "poll-grow", "int", get_grow, set_grow },
	{ "poll-shrink", "int", get_shrink, set_shrink },
	{ .name = NULL },
};
