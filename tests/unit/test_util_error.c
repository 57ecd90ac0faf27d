// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

START_TEST(set_and_prefix)
{
	struct error *err = NULL;

	ck_assert_int_eq(error_set(&err, -EINVAL, "x=%d is bad", 7), -EINVAL);
	ck_assert_int_eq(error_code(err), -EINVAL);
	error_prefix(&err, "-device %s: ", "blk");
	ck_assert_int_eq(error_code(err), -EINVAL);
	ck_assert_error(err, "-device blk: x=7 is bad");

	ck_assert_int_eq(error_set_errno(&err, -ENOENT, "file '%s'", "a"), -ENOENT);
	ck_assert_error(err, "file 'a': No such file or directory");
}
END_TEST

START_TEST(nobody_wants_it)
{
	struct error *err = NULL;

	ck_assert_int_eq(error_set(NULL, -EIO, "x"), -EIO);
	ck_assert_int_eq(error_set_errno(NULL, -EIO, "x"), -EIO);
	error_prefix(NULL, "p");
	error_prefix(&err, "p");
	ck_assert_ptr_null(err);
	error_free(NULL);
	error_report(NULL);
}
END_TEST

START_TEST(first_error_stays)
{
	struct error *err = NULL;

	error_set(&err, -EINVAL, "the cause");
	ck_assert_int_eq(error_set(&err, -EIO, "what followed"), -EIO);
	ck_assert_int_eq(error_code(err), -EINVAL);
	ck_assert_error(err, "the cause");
}
END_TEST

START_TEST(report)
{
	struct error *err = NULL;
	char text[128] = "";
	int fds[2], saved;

	ck_assert_int_eq(pipe(fds), 0);
	saved = dup(STDERR_FILENO);
	dup2(fds[1], STDERR_FILENO);
	error_set(&err, -EINVAL, "100%% %s", "%s%n");
	error_report(err);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(fds[1]);
	ck_assert_int_gt(read(fds[0], text, sizeof(text) - 1), 0);
	close(fds[0]);
	ck_assert_str_eq(text, "stratovirt: 100% %s%n\n");
}
END_TEST

UNIT_SUITE(suite, "util error", set_and_prefix, nobody_wants_it, first_error_stays, report)
UNIT_MAIN(suite)
