// SPDX-License-Identifier: Apache-2.0
/* -global: what it may say. The device core applies it. */
#define LOG_MODULE "machine"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "internal.h"
#include "util/log.h"

/* Parts of QEMU's machines that ours have not, of which management programs speak all the same. */
static const char *const absent[] = {
	"ICH9-LPC.*", "PIIX4_PM.*", "kvm-pit.*", "kvm-apic.*", "mch.*", "mc146818rtc.*", "cfi.pflash01.secure",
};

static bool is_absent(const char *driver, const char *property)
{
	char name[128];

	snprintf(name, sizeof(name), "%s.%s", driver, property);
	for (unsigned int i = 0; i < ARRAY_SIZE(absent); i++)
		if (!fnmatch(absent[i], name, 0))
			return true;
	return false;
}

static int check(const struct machine *machine, const struct opts *opts, struct error **errp)
{
	const char *driver = opts_get(opts, "driver"), *property = opts_get(opts, "property");
	const struct device_class *class;
	const struct opt *opt;

	list_for_each(opt, &opts->pairs, node)
		if (strcmp(opt->key, "driver") && strcmp(opt->key, "property") && strcmp(opt->key, "value"))
			return error_set(errp, -EINVAL, "-global: unknown key '%s'; there are driver, property and value",
					 opt->key);
	if (!driver || !property || !opts_get(opts, "value"))
		return error_set(errp, -EINVAL, "-global: driver, property and value are required");
	class = device_class_find(&machine->platform, driver);
	for (const struct property *p = class ? class->props : NULL; p && p->name; p++)
		if (!strcmp(p->name, property))
			return 0;
	if (is_absent(driver, property)) {
		log_debug("-global %s.%s has no effect", driver, property);
		return 0;
	}
	return error_set(errp, -ENOENT, class ? "-global %s.%s: no such property; -device %s,help lists them" :
						"-global %s.%s: unknown device '%s'; -device help lists them",
			 driver, property, driver);
}

int globals_check(const struct machine *machine, struct error **errp)
{
	const struct opts *opts;
	int ret;

	list_for_each(opts, &machine->config->globals, node) {
		ret = check(machine, opts, errp);
		if (ret)
			return ret;
	}
	return 0;
}
