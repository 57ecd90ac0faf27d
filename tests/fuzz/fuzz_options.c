// SPDX-License-Identifier: Apache-2.0
/* Command lines: each line of the input is a word. Files are not read: -config is left to fuzz_config. */
#include "config/vm_config.h"
#include "fuzz.h"

#define WORDS 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum cmdline_action action = CMDLINE_RUN;
	char *argv[WORDS + 2], *text, *rest = NULL, *topic = NULL;
	struct vm_config config;
	struct error *err = NULL;
	int argc = 0, ret;

	text = malloc(size + 1);
	MUST(text);
	memcpy(text, data, size);
	text[size] = '\0';
	argv[argc++] = strdup("stratovirt");
	for (char *word = strtok_r(text, "\n", &rest); word && argc <= WORDS;
	     word = strtok_r(NULL, "\n", &rest)) {
		const char *name = word + strspn(word, "-");

		if (!strncmp(name, "config", 6))
			break;
		argv[argc++] = strdup(word); /* in its exact size */
	}
	argv[argc] = NULL;
	free(text);

	vm_config_init(&config);
	ret = cmdline_parse(argc, argv, &config, &action, &topic, &err);
	fuzz_outcome(ret, err);
	if (!ret && action == CMDLINE_RUN) {
		MUST(config.smp.cpus >= 1 && config.smp.cpus <= config.smp.maxcpus &&
		     config.smp.maxcpus <= VM_CPUS_MAX);
		MUST(config.memory_size >= VM_MEMORY_MIN && config.memory_size <= VM_MEMORY_MAX);
	}
	vm_config_release(&config);
	free(topic);
	while (argc)
		free(argv[--argc]);
	return 0;
}
