/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines to the text of -dump-config, so that front ends can be compared. */
#ifndef TESTS_CONFIG_TEXT_H
#define TESTS_CONFIG_TEXT_H

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "config/vm_config.h"
#include "unit.h"

#define CONFIG_TEXT_WORDS 96

/* These words, the last is NULL, parsed and dumped; NULL with an error. Caller frees. */
static inline char *config_text_of(struct error **errp, ...)
{
	char *argv[CONFIG_TEXT_WORDS] = { (char *)(uintptr_t) "stratovirt" }, *topic = NULL;
	enum cmdline_action action = CMDLINE_RUN;
	struct vm_config config;
	char *text = NULL;
	size_t size = 0;
	int argc = 1, ret;
	va_list ap;
	FILE *out;

	va_start(ap, errp);
	while ((argv[argc] = va_arg(ap, char *)))
		ck_assert_int_lt(++argc, CONFIG_TEXT_WORDS - 1);
	va_end(ap);
	vm_config_init(&config);
	ret = cmdline_parse(argc, argv, &config, &action, &topic, errp);
	if (!ret) {
		out = open_memstream(&text, &size);
		ck_assert_ptr_nonnull(out);
		ret = vm_config_dump(&config, out, errp);
		fclose(out);
	}
	if (ret) {
		free(text);
		text = NULL;
	}
	vm_config_release(&config);
	free(topic);
	return text;
}

/* They must be right. */
#define config_text(...)                                                                           \
	({                                                                                         \
		struct error *_err = NULL;                                                         \
		char *_text = config_text_of(&_err, ##__VA_ARGS__, NULL);                          \
                                                                                                   \
		ck_assert_no_error(_err);                                                          \
		ck_assert_ptr_nonnull(_text);                                                      \
		_text;                                                                             \
	})

/* They must be wrong, with this message. */
#define config_refused(message, ...)                                                               \
	do {                                                                                       \
		struct error *_err = NULL;                                                         \
		char *_text = config_text_of(&_err, __VA_ARGS__, NULL);                            \
                                                                                                   \
		ck_assert_msg(!_text, "accepted: %s", _text ? _text : "");                         \
		ck_assert_error(_err, message);                                                    \
	} while (0)

/* Both command lines, in parentheses, describe the same VM. */
#define config_same(one, other)                                                                    \
	do {                                                                                       \
		char *_one = config_text one, *_other = config_text other;                         \
                                                                                                   \
		ck_assert_str_eq(_one, _other);                                                    \
		free(_one);                                                                        \
		free(_other);                                                                      \
	} while (0)

/* A file with this text, in the working directory of the test; to be removed by unlink(). */
static inline void config_file(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

/* Files of tests have short names that messages show: they live in a directory of their own. */
static inline void config_enter_directory(char path[32])
{
	strcpy(path, "./unit-config-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(path));
	ck_assert_int_eq(chdir(path), 0);
}

static inline void config_leave_directory(const char *path)
{
	ck_assert_int_eq(chdir(".."), 0);
	ck_assert_int_eq(rmdir(path), 0);
}

#endif
