// SPDX-License-Identifier: Apache-2.0
/* -netdev tap: what is refused and why, and whose descriptors are closed then. That frames pass is for rings with a kernel. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/netdev.h"
#include "unit.h"
#include "util/fd_store.h"

static struct link_scope *scope;
static struct netdev *netdev;
static struct error *err;

static void setup(void)
{
	scope = link_scope_new();
}

static void teardown(void)
{
	link_scope_free(scope);
	fd_store_clear();
}

static int make(const char *text)
{
	struct opts *opts;
	int ret;

	ck_assert_int_eq(opts_parse("-netdev", text, "type", &opts, &err), 0);
	ret = netdev_new(opts, NULL, scope, &netdev, &err);
	opts_free(opts);
	return ret;
}

static void check_refused(const char *text, const char *part)
{
	ck_assert_int_lt(make(text), 0);
	ck_assert_ptr_nonnull(err);
	ck_assert_msg(strstr(error_text(err), part) && !strncmp(error_text(err), "-netdev", 7), "%s: %s", text,
		      error_text(err));
	error_free(err);
	err = NULL;
}

START_TEST(bad_options)
{
	static const struct { const char *text, *part; } bad[] = {
		{ "user,id=n0", "unknown type" },
		{ "tap,ifname=x", "an id of 1 to 255 characters" },
		{ "tap,id=n0", "one of ifname, path and fd is required" },
		{ "tap,id=n0,ifname=sixteen-letters-", "ifname" },
		{ "tap,id=n0,ifname=x,queues=0", "queues=0 is out of range [1, 16]" },
		{ "tap,id=n0,ifname=x,queues=17", "queues=17 is out of range [1, 16]" },
		{ "tap,id=n0,ifname=x,queue=2", "queues" },
		{ "tap,id=n0,fd=7,fds=8:9", "fd and fds exclude each other" },
		{ "stream,id=n0", "addr.path is missing" },
		{ "stream,id=n0,addr.type=inet,addr.host=::1", "addr.port is missing" },
		{ "stream,id=n0,addr.type=fd", "addr.str is missing" },
		{ "stream,id=n0,addr.type=fd,addr.path=/x", "addr.path is not for addr.type=fd" },
		{ "stream,id=n0,addr.type=unix,addr.path=/x,addr.port=1", "addr.port is not for addr.type=unix" },
		{ "stream,id=n0,addr.type=vsock", "addr.type=vsock" },
		{ "stream,id=n0,addr.type=inet,addr.host=example.org,addr.port=1", "example.org" },
		{ "tap,id=n0,ifname=x,vhost=on,vhostfd=7,vhostfds=8:9", "vhostfd and vhostfds exclude each other" },
		{ "tap,id=n0,ifname=x,vhostfd=7", "vhostfd needs vhost=on" },
		{ "tap,id=n0,ifname=x,vhost=maybe", "vhost=maybe" },
		{ "tap,id=n0,ifname=x,script=/etc/ifup", "only 'no' is accepted" },
		{ "tap,id=n0,ifname=x,downscript=/etc/ifdown", "only 'no' is accepted" },
		{ "tap,id=n0,fd=1000", "descriptor 1000 is not open" },
		{ "tap,id=n0,fd=99999999999999999999", "99999999999999999999" },
		{ "tap,id=n0,fds=", "fds" },
		{ "tap,id=n0,fd=mytap", "no descriptor was given the name 'mytap'" },
		{ "tap,id=n0,path=/dev/absent", "path=/dev/absent" },
		{ "tap,id=n0,path=/dev/null", "path=/dev/null" },
	};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		check_refused(bad[i].text, bad[i].part);
		ck_assert_ptr_null(link_scope_find(scope, LINK_NETDEV, "n0"));
	}
}
END_TEST

START_TEST(descriptors_of_others_stay_open)
{
	int fd = open("/dev/null", O_RDWR);
	char text[64];

	ck_assert_int_ge(fd, 0);
	snprintf(text, sizeof(text), "tap,id=n0,fd=%d", fd);
	check_refused(text, "is no tap device");
	snprintf(text, sizeof(text), "tap,id=n0,fds=%d:%d", fd, fd);
	check_refused(text, "is given twice");
	snprintf(text, sizeof(text), "tap,id=n0,fd=%d,queues=2", fd);
	check_refused(text, "1 descriptors are given");
	snprintf(text, sizeof(text), "tap,id=n0,fds=%d:", fd);
	check_refused(text, "no descriptor was given the name ''");
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
	close(fd);
}
END_TEST

/* Nobody else could close them. */
START_TEST(named_descriptors_are_closed)
{
	int fd = open("/dev/null", O_RDWR);

	ck_assert_int_eq(fd_store_put("mytap", fd, NULL, NULL), 0);
	check_refused("tap,id=n0,fd=mytap", "is no tap device");
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	ck_assert_int_eq(fd_store_take("mytap"), -ENOENT);
}
END_TEST

START_TEST(too_many_descriptors)
{
	char text[128] = "tap,id=n0,fds=";

	for (int i = 0; i < 17; i++) {
		int fd = open("/dev/null", O_RDWR);

		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%d", i ? ":" : "", fd);
	}
	check_refused(text, "more than 16 descriptors");
}
END_TEST

START_TEST(one_user)
{
	struct netdev dev = { .id = (char *)(uintptr_t)"n0", .link_up = true };
	struct netdev_user first = { 0 }, second = { 0 };

	ck_assert_int_eq(netdev_attach(&dev, &first, NULL), 0);
	ck_assert_int_eq(netdev_attach(&dev, &second, &err), -EBUSY);
	ck_assert_error(err, "netdev 'n0' is in use by another device");
	netdev_detach(&dev);
	ck_assert(!netdev_in_use(&dev));
	netdev_set_link(&dev, false); /* remembered for the device that comes */
	ck_assert(!dev.link_up);
	netdev_announce(&dev);
	ck_assert_int_eq(netdev_attach(&dev, &second, NULL), 0);
}
END_TEST

static Suite *netdev_suite(void)
{
	const TTest *tests[] = { bad_options, descriptors_of_others_stay_open, named_descriptors_are_closed,
				 too_many_descriptors, one_user };
	Suite *suite = suite_create("net_netdev");
	TCase *tcase = tcase_create("netdev");

	tcase_add_checked_fixture(tcase, setup, teardown);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(netdev_suite)
