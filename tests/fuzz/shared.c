// SPDX-License-Identifier: Apache-2.0
#include "shared.h"

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <unistd.h>

#include "cpu/test_private.h"

/* --- The input --- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const uint8_t *input; /* with what is left of it: under the lock */
static size_t left;

void input_begin(const uint8_t *data, size_t size)
{
	pthread_mutex_lock(&lock);
	input = data;
	left = size;
	pthread_mutex_unlock(&lock);
}

size_t input_left(void)
{
	size_t n;

	pthread_mutex_lock(&lock);
	n = left;
	pthread_mutex_unlock(&lock);
	return n;
}

size_t bytes(void *to, size_t len)
{
	size_t n;

	pthread_mutex_lock(&lock);
	n = MIN(len, left);
	memcpy(to, input, n);
	input += n;
	left -= n;
	pthread_mutex_unlock(&lock);
	return n;
}

uint8_t byte(void)
{
	uint8_t value = 0;

	(void)bytes(&value, 1);
	return value;
}

uint64_t number(unsigned int count)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < count; i++)
		value |= (uint64_t)byte() << 8 * i;
	return value;
}

/* A level of the topology that keeps the product within the limit. */
static uint32_t level(uint32_t max, uint32_t *product)
{
	uint32_t count = 1 + byte() % MIN(max / *product, 32u);

	*product *= count;
	return count;
}

struct vcpu_topology topology(uint32_t max)
{
	uint32_t product = 1;
	struct vcpu_topology t = { .threads = level(max, &product) };

	t.cores = level(max, &product);
	t.clusters = level(max, &product);
	t.dies = level(max, &product);
	t.sockets = level(max, &product);
	t.maxcpus = product;
	t.cpus = 1 + (uint32_t)number(2) % product;
	return t;
}

/* --- Machines --- */

static char place[4096];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void clean_up(void)
{
	nftw(place, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *folder(void)
{
	const char *tmp = getenv("TMPDIR");

	if (!*place) {
		snprintf(place, sizeof(place), "%s/fuzz-XXXXXX", tmp ? tmp : "/tmp");
		MUST(mkdtemp(place));
		atexit(clean_up);
	}
	return place;
}

static int make_file(const char *name, char *path, size_t room)
{
	int fd;

	snprintf(path, room, "%s/%s", folder(), name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	MUST(fd >= 0);
	return fd;
}

void make_disk(const char *name)
{
	char path[sizeof(place) + 64];
	int fd = make_file(name, path, sizeof(path));

	MUST(!ftruncate(fd, 1 << 20));
	close(fd);
}

/* @text with every $DIR replaced; free(). */
static char *in_folder(const char *text)
{
	char *ret = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&ret, &len);
	const char *at;

	MUST(out);
	while ((at = strstr(text, "$DIR"))) {
		fprintf(out, "%.*s%s", (int)(at - text), text, folder());
		text = at + strlen("$DIR");
	}
	fputs(text, out);
	MUST(!fclose(out));
	return ret;
}

struct machine *make_machine(const char *options, struct loop *loop, struct vm_config *config)
{
	static char program[] = "stratovirt";
	enum cmdline_action action = CMDLINE_RUN;
	char *text = in_folder(options), *argv[128] = { program }, *topic = NULL, *rest = NULL;
	struct machine *machine = NULL;
	struct error *err = NULL;
	int argc = 1;

	for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		MUST(argc < (int)ARRAY_SIZE(argv));
		argv[argc++] = word;
	}
	vm_config_init(config);
	if (cmdline_parse(argc, argv, config, &action, &topic, &err) || machine_new(config, loop, &machine, &err)) {
		error_report(err);
		abort();
	}
	free(text);
	return machine;
}

static struct loop *resting;

static void at_rest(struct test_settle *settle)
{
	(void)settle;
	loop_stop(resting);
}

void run_to_rest(struct loop *loop)
{
	struct test_settle settle;

	resting = loop;
	test_settle_init(&settle, loop, at_rest);
	test_settle_start(&settle);
	loop_run(loop);
	test_settle_cancel(&settle); /* something else may have stopped the loop */
}

/* --- The slow mode --- */

bool slow(void)
{
	return getenv("SLOW");
}

void must_run(const char *command, const void *data, size_t len)
{
	char path[sizeof(place) + 64], *whole = NULL;
	int fd = make_file("data", path, sizeof(path));

	MUST(write(fd, data, len) == (ssize_t)len);
	close(fd);
	MUST(!setenv("FILE", path, 1));
	MUST(asprintf(&whole, "{ %s; } >\"$FILE.log\" 2>&1 || { cat \"$FILE.log\" >&2; false; }", command) > 0);
	MUST(!system(whole));
	free(whole);
}
