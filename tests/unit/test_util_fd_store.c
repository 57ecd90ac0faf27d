// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"
#include "util/fd_store.h"

static int open_null(int flags)
{
	int fd = open("/dev/null", flags | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

START_TEST(a_name_is_taken_once)
{
	struct error *err = NULL;
	int fd = open_null(O_RDONLY);

	ck_assert_int_eq(fd_store_put("tap", fd, &err, &err), 0);
	ck_assert_int_eq(fd_store_take("other"), -ENOENT);
	ck_assert_int_eq(fd_store_take("tap"), fd);
	ck_assert(is_open(fd));
	ck_assert_int_eq(fd_store_take("tap"), -ENOENT);
	close(fd);
}
END_TEST

START_TEST(a_name_given_again_closes_the_first)
{
	struct error *err = NULL;
	int first = open_null(O_RDONLY), second = open_null(O_RDONLY);

	ck_assert_int_eq(fd_store_put("tap", first, &err, &err), 0);
	ck_assert_int_eq(fd_store_put("tap", second, &err, &err), 0);
	ck_assert(!is_open(first));
	ck_assert_int_eq(fd_store_take("tap"), second);
	close(second);
}
END_TEST

START_TEST(what_an_owner_left_is_closed)
{
	struct error *err = NULL;
	int one, two, mine = open_null(O_RDONLY), theirs = open_null(O_RDONLY);

	ck_assert_int_eq(fd_store_put("mine", mine, &one, &err), 0);
	ck_assert_int_eq(fd_store_put("theirs", theirs, &two, &err), 0);
	fd_store_drop(&one);
	ck_assert(!is_open(mine));
	ck_assert(is_open(theirs));
	fd_store_clear();
	ck_assert(!is_open(theirs));
}
END_TEST

START_TEST(the_number_held_is_bounded)
{
	struct error *err = NULL;
	char name[16];
	int64_t set = -1;
	int fd;

	for (int i = 0; i < FD_STORE_MAX; i++) {
		snprintf(name, sizeof(name), "fd%d", i);
		ck_assert_int_eq(fd_store_put(name, open_null(O_RDONLY), NULL, &err), 0);
	}
	fd = open_null(O_RDONLY);
	ck_assert_int_eq(fd_store_put("one more", fd, NULL, &err), -EMFILE);
	ck_assert_error(err, "256 descriptors are held already, which is the limit");
	ck_assert_int_eq(fd_set_add(&set, fd, NULL, &err), -EMFILE);
	error_free(err);
	ck_assert(is_open(fd));
	fd_store_clear();
	close(fd);
}
END_TEST

static void note(void *arg, int64_t set, int fd, const char *opaque)
{
	char *text = arg;

	(void)fd;
	sprintf(text + strlen(text), "%lld:%s ", (long long)set, opaque ? opaque : "-");
}

START_TEST(new_sets_get_the_first_free_number)
{
	int64_t set;
	char text[128] = "";
	struct error *err = NULL;
	static const int64_t asked[] = { 1, -1, 1, -1, 0 }, got[] = { 1, 0, 1, 2, 0 };

	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		set = asked[i];
		ck_assert_int_eq(fd_set_add(&set, open_null(O_RDONLY), i ? NULL : "note", &err), 0);
		ck_assert_int_eq(set, got[i]);
	}
	fd_set_each(note, text);
	ck_assert_str_eq(text, "0:- 0:- 1:note 1:- 2:- ");
	ck_assert_int_eq(fd_set_remove(1, -1), 0);
	ck_assert_int_eq(fd_set_remove(1, -1), -ENOENT);
	ck_assert_int_eq(fd_set_remove(0, 999), -ENOENT);
	text[0] = '\0';
	fd_set_each(note, text);
	ck_assert_str_eq(text, "0:- 0:- 2:- ");
	fd_store_clear();
}
END_TEST

START_TEST(a_set_opens_by_access_mode)
{
	int64_t set = 7;
	struct error *err = NULL;
	int fd;

	ck_assert_int_eq(fd_open("/dev/fdset/7", O_RDONLY, 0), -ENOENT);
	ck_assert_int_eq(fd_set_add(&set, open_null(O_RDONLY), NULL, &err), 0);
	ck_assert_int_eq(fd_open("/dev/fdset/7", O_RDWR, 0), -EACCES);
	ck_assert_int_eq(fd_set_add(&set, open_null(O_RDWR), NULL, &err), 0);
	fd = fd_open("/dev/fdset/7", O_RDWR, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	fd_store_clear();
	ck_assert(is_open(fd)); /* a duplicate outlives the set */
	close(fd);
	ck_assert_int_eq(fd_open("/dev/fdset/x", O_RDONLY, 0), -ENOENT);
	fd = fd_open("/dev/null", O_RDONLY, 0);
	ck_assert_int_ge(fd, 0);
	close(fd);
}
END_TEST

UNIT_SUITE(suite, "util/fd_store", a_name_is_taken_once, a_name_given_again_closes_the_first,
	   what_an_owner_left_is_closed, the_number_held_is_bounded,
	   new_sets_get_the_first_free_number, a_set_opens_by_access_mode)
UNIT_MAIN(suite)
