/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every unit test program shares. A program is one C file about one concept: tests with
 * Check's START_TEST, gathered by UNIT_SUITE() and run by UNIT_MAIN(). Check forks for each test,
 * so a crash or a test that hangs fails alone; CK_FORK=no in the environment keeps it in one
 * process for a debugger.
 *
 * A program runs in a folder of its own, which goes at the end with all that is left in it: tests make their files by
 * relative names ("./unit-x-XXXXXX"), and one that fails half-way leaves nothing behind.
 */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/error.h"

/* Defines a suite function @fn with these tests; @before and @after (or NULL) run around each of them in its process. */
#define UNIT_SUITE_WITH(fn, name, before, after, ...)                                              \
	static Suite *fn(void)                                                                     \
	{                                                                                          \
		const TTest *tests[] = { __VA_ARGS__ };                                            \
		Suite *suite = suite_create(name);                                                 \
		TCase *tcase = tcase_create(name);                                                 \
                                                                                                   \
		tcase_set_timeout(tcase, 60); /* nested emulation and sanitizers are slow */       \
		tcase_add_checked_fixture(tcase, before, after);                                   \
		for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)                      \
			tcase_add_test(tcase, tests[i]);                                           \
		suite_add_tcase(suite, tcase);                                                     \
		return suite;                                                                      \
	}

#define UNIT_SUITE(fn, name, ...) UNIT_SUITE_WITH(fn, name, NULL, NULL, __VA_ARGS__)

static char unit_folder[] = "/var/tmp/unit-XXXXXX"; /* a disk's file system, where there may be a tmpfs under /tmp */

static inline int unit_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void unit_folder_enter(void)
{
	if (!mkdtemp(unit_folder) || chdir(unit_folder)) {
		perror(unit_folder);
		exit(EXIT_FAILURE);
	}
}

static inline void unit_folder_leave(void)
{
	if (chdir("/") || nftw(unit_folder, unit_remove, 8, FTW_DEPTH | FTW_PHYS))
		perror(unit_folder);
}

/* Runs these suites and prints Check's summary; the status is 0 when every test passed. */
#define UNIT_MAIN(...)                                                                             \
	int main(void)                                                                             \
	{                                                                                          \
		Suite *(*const suites[])(void) = { __VA_ARGS__ };                                  \
		SRunner *runner = srunner_create(suites[0]());                                     \
		int failed;                                                                        \
                                                                                                   \
		for (size_t i = 1; i < sizeof(suites) / sizeof(suites[0]); i++)                    \
			srunner_add_suite(runner, suites[i]());                                    \
		unit_folder_enter();                                                               \
		srunner_run_all(runner, CK_ENV);                                                   \
		failed = srunner_ntests_failed(runner);                                            \
		srunner_free(runner);                                                              \
		unit_folder_leave();                                                               \
		return failed ? EXIT_FAILURE : EXIT_SUCCESS;                                       \
	}

/* The error must be there with exactly this text. Frees it. */
#define ck_assert_error(err, text)                                                                 \
	do {                                                                                       \
		ck_assert_msg((err) != NULL, "no error, expected '%s'", text);                     \
		ck_assert_str_eq(error_text(err), text);                                           \
		error_free(err);                                                                   \
		(err) = NULL;                                                                      \
	} while (0)

/* There must be none: a failure shows its text. */
#define ck_assert_no_error(err)                                                                    \
	ck_assert_msg((err) == NULL, "unexpected error: %s", (err) ? error_text(err) : "")

#endif
