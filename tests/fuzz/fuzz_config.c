// SPDX-License-Identifier: Apache-2.0
/* -config files of both forms. What is accepted is printed by -dump-config, and that is accepted with the same result. */
#include "config/json_config.h"
#include "fuzz.h"

static char *dump(const struct vm_config *config, size_t *len)
{
	struct error *err = NULL;
	char *text = NULL;
	FILE *out = open_memstream(&text, len);
	int ret;

	MUST(out);
	ret = vm_config_dump(config, out, &err);
	fclose(out);
	fuzz_outcome(ret, err);
	if (!ret)
		return text;
	free(text);
	return NULL;
}

/* The description that @text makes, printed; NULL when it is refused. */
static char *round_trip(const char *text, size_t len, size_t *ret_len)
{
	struct vm_config config;
	struct error *err = NULL;
	char *printed = NULL;
	int ret;

	vm_config_init(&config);
	ret = json_config_parse("vm.json", text, len, &config, &err);
	if (!ret)
		ret = vm_config_finish(&config, &err);
	fuzz_outcome(ret, err);
	if (!ret)
		printed = dump(&config, ret_len);
	vm_config_release(&config);
	return printed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t first_len = 0, second_len = 0;
	char *text = malloc(size + 1), *first, *second;

	MUST(text);
	memcpy(text, data, size);
	text[size] = '\0';
	first = round_trip(text, size, &first_len);
	if (first) {
		second = round_trip(first, first_len, &second_len);
		MUST(second && second_len == first_len && !memcmp(first, second, first_len));
		free(second);
	}
	free(first);
	free(text);
	return 0;
}
