/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "fake_machine.h"

struct toy {
	struct device dev;
	uint32_t size;
	char *label;
};

static char journal[256];
static bool realize_fails;

static void note(const char *what, const struct device *dev)
{
	size_t len = strlen(journal);

	snprintf(journal + len, sizeof(journal) - len, "%s:%s ", what, dev->id);
}

static int toy_realize(struct device *dev, struct error **errp)
{
	if (realize_fails)
		return error_set(errp, -EIO, "the toy is broken");
	note("realize", dev);
	return 0;
}

static void toy_unrealize(struct device *dev)
{
	note("unrealize", dev);
}

static void toy_reset(struct device *dev)
{
	note("reset", dev);
}

static void toy_quiesce(struct device *dev)
{
	note("quiesce", dev);
}

static void toy_resume(struct device *dev)
{
	note("resume", dev);
}

static const struct property toy_props[] = {
	PROP_UINT(32, "size", struct toy, size, 1, 32, 4, "how big"),
	PROP_STRING("label", struct toy, label, 0, 16, "none", "what it says"),
	PROP_END,
};

static const struct device_class toy_class = {
	.name = "toy",
	.summary = "a device for this test",
	.bus = DEVICE_BUS_MMIO,
	.instance_size = sizeof(struct toy),
	.props = toy_props,
	.realize = toy_realize,
	.unrealize = toy_unrealize,
	.reset = toy_reset,
	.quiesce = toy_quiesce,
	.resume = toy_resume,
};

static const struct device_class hidden_class = {
	.name = "hidden",
	.summary = "part of the machine",
	.internal = true,
	.instance_size = sizeof(struct device),
};

static const struct device_class *const classes[] = { &toy_class, &hidden_class, NULL };

static int create(struct fake_machine *m, const char *text, struct device **dev,
		  struct error **errp)
{
	struct opts *opts = NULL;
	int ret;

	ck_assert_int_eq(opts_parse("-device", text, "driver", &opts, errp), 0);
	ret = device_create(&m->platform, opts, true, dev, errp);
	opts_free(opts);
	return ret;
}

START_TEST(properties_ids_and_defaults)
{
	struct device *first = NULL, *second = NULL, *third = NULL;
	struct error *err = NULL;
	struct fake_machine m;
	struct toy *toy;

	fake_machine_init(&m, classes);
	ck_assert_int_eq(create(&m, "toy,size=7,label=x,id=t", &first, &err), 0);
	toy = container_of(first, struct toy, dev);
	ck_assert_uint_eq(toy->size, 7);
	ck_assert_str_eq(toy->label, "x");
	ck_assert_str_eq(first->id, "t");
	ck_assert_int_eq(create(&m, "toy", &second, &err), 0);
	ck_assert_str_eq(second->id, "toy-0");
	ck_assert_uint_eq(container_of(second, struct toy, dev)->size, 4);
	ck_assert_int_eq(create(&m, "toy", &third, &err), 0);
	ck_assert_str_eq(third->id, "toy-1");
	ck_assert_ptr_eq(device_find(&m.platform, "toy-0"), second);
	ck_assert_ptr_null(device_find(&m.platform, "toy-7"));
	/* An automatic id that somebody else took already is passed over, one that is free again is
	 * reused. */
	device_destroy(second);
	ck_assert_ptr_null(device_find(&m.platform, "toy-0"));
	ck_assert_int_eq(create(&m, "toy", &second, &err), 0);
	ck_assert_str_eq(second->id, "toy-0");
	ck_assert_no_error(err);
	fake_machine_release(&m);
}
END_TEST

START_TEST(errors_name_the_option)
{
	struct device *dev = NULL, *kept;
	struct error *err = NULL;
	struct fake_machine m;

	fake_machine_init(&m, classes);
	ck_assert_int_eq(create(&m, "toi,id=a", &dev, &err), -ENOENT);
	ck_assert_error(err, "-device toi,id=a: unknown device 'toi'; did you mean 'toy'?");
	/* What a user cannot create is not suggested. */
	ck_assert_int_eq(create(&m, "hiden", &dev, &err), -ENOENT);
	ck_assert_error(err, "-device hiden: unknown device 'hiden'; -device help lists them");
	ck_assert_int_eq(create(&m, "hidden", &dev, &err), -EPERM);
	ck_assert_error(err,
			"-device hidden: device 'hidden' is part of a machine and cannot be added");
	ck_assert_int_eq(create(&m, "toy,id=a", &dev, &err), 0);
	kept = dev;
	ck_assert_int_eq(create(&m, "toy,id=a", &dev, &err), -EEXIST);
	ck_assert_error(err, "-device toy,id=a: device id 'a' is already used by another toy");
	ck_assert_int_eq(create(&m, "toy,id=", &dev, &err), -EINVAL);
	error_free(err);
	err = NULL;
	ck_assert_int_ne(create(&m, "toy,id=b,size=33", &dev, &err), 0);
	ck_assert_error(err, "-device toy,id=b: size=33 is out of range [1, 32]");
	ck_assert_int_ne(create(&m, "toy,id=b,colour=1", &dev, &err), 0);
	ck_assert_ptr_nonnull(err);
	error_free(err);
	err = NULL;
	/* A class without properties takes none. */
	ck_assert_int_ne(device_create_internal(&m.platform, "hidden", "h", "size=1", &dev, &err),
			 0);
	ck_assert_ptr_nonnull(err);
	error_free(err);
	ck_assert_ptr_eq(dev, kept);
	fake_machine_release(&m);
}
END_TEST

START_TEST(a_failed_realize_leaves_nothing)
{
	struct device *dev = NULL;
	struct error *err = NULL;
	struct fake_machine m;

	fake_machine_init(&m, classes);
	realize_fails = true;
	ck_assert_int_eq(create(&m, "toy,id=a", &dev, &err), -EIO);
	ck_assert_error(err, "-device toy,id=a: the toy is broken");
	ck_assert_ptr_null(dev);
	ck_assert_ptr_null(device_find(&m.platform, "a"));
	ck_assert(list_empty(&m.platform.devices));
	ck_assert_str_eq(journal, "");
	realize_fails = false;
	ck_assert_int_eq(create(&m, "toy,id=a", &dev, &err), 0);
	fake_machine_release(&m);
}
END_TEST

START_TEST(all_devices_in_order)
{
	struct fake_machine m;

	fake_machine_init(&m, classes);
	fake_device(&m, "toy", "a", NULL);
	fake_device(&m, "hidden", "h", NULL); /* has no handlers at all */
	fake_device(&m, "toy", "b", "size=2,label=x");
	ck_assert_str_eq(journal, "realize:a reset:a realize:b reset:b ");
	journal[0] = 0;
	devices_reset(&m.platform);
	devices_quiesce(&m.platform);
	devices_resume(&m.platform);
	ck_assert_str_eq(journal, "reset:a reset:b quiesce:a quiesce:b resume:a resume:b ");
	journal[0] = 0;
	devices_destroy(&m.platform);
	ck_assert_str_eq(journal, "unrealize:b unrealize:a ");
	fake_machine_release(&m);
}
END_TEST

START_TEST(help_lists_what_users_can_create)
{
	struct error *err = NULL;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	device_help(classes, out);
	fflush(out);
	ck_assert_ptr_nonnull(strstr(text, "toy "));
	ck_assert_ptr_nonnull(strstr(text, "a device for this test"));
	ck_assert_ptr_null(strstr(text, "hidden"));
	rewind(out);
	ck_assert_int_eq(device_class_help(classes, "toy", out, &err), 0);
	fflush(out);
	ck_assert_ptr_nonnull(strstr(text, "size=<uint32>"));
	ck_assert_ptr_nonnull(strstr(text, "[1, 32]"));
	ck_assert_int_eq(device_class_help(classes, "tox", out, &err), -ENOENT);
	ck_assert_error(err, "unknown device 'tox'; did you mean 'toy'?");
	fclose(out);
	free(text);
}
END_TEST

UNIT_SUITE(core_suite, "device core", properties_ids_and_defaults, errors_name_the_option,
	   a_failed_realize_leaves_nothing, all_devices_in_order, help_lists_what_users_can_create)
UNIT_MAIN(core_suite)
