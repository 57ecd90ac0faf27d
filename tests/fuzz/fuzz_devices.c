// SPDX-License-Identifier: Apache-2.0
/*
 * All devices of a machine under the test accelerator, in this process. The input is a program: accesses of registers and
 * ports, set-up of queues, chains of any kind, time. A hook at guest_slice(), the only way from a guest address to a
 * pointer, feeds fresh bytes of the input to what devices read. The machine is built once and reset between inputs.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <unistd.h>

#include "config/vm_config.h"
#include "machine/machine.h"
#include "memory/space.h"
#include "util/endian.h"
#include "util/log.h"
#include "virtio/virtio.h"

#define OPS_MAX 400	  /* of one input */
#define ARENA 0x100000	  /* what drivers use of RAM: rings, tables, buffers */
#define RING_STEP 0x4000  /* a queue's rings */
#define BUFFERS 0x180000  /* behind them */
#define ARENA_END 0x200000
#define QUEUE_SIZE 16

void *__real_guest_slice(const struct mem_space *space, gpa_t gpa, uint64_t len);
void *__wrap_guest_slice(const struct mem_space *space, gpa_t gpa, uint64_t len);

static struct machine *machine;
static struct loop *loop;
static struct mem_space *space;
static struct loop_call rest;
static char folder[] = "/tmp/fuzz-devices-XXXXXX";

/* --- The input --- */

static const uint8_t *input;
static size_t left;
static bool feeding; /* devices' reads get fresh bytes */

static uint8_t byte(void)
{
	if (!left)
		return 0;
	left--;
	return *input++;
}

static uint64_t number(unsigned int bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes; i++)
		value |= (uint64_t)byte() << 8 * i;
	return value;
}

static void bytes(void *to, size_t len)
{
	size_t n = MIN(len, left);

	memcpy(to, input, n);
	input += n;
	left -= n;
}

void *__wrap_guest_slice(const struct mem_space *of, gpa_t gpa, uint64_t len)
{
	void *host = __real_guest_slice(of, gpa, len);

	if (host && feeding && gpa >= BUFFERS && gpa + len <= ARENA_END)
		bytes(host, MIN(len, (uint64_t)64));
	return host;
}

/* --- The machine --- */

static void run_to_rest_handler(struct loop_call *call)
{
	loop_stop(call->loop);
}

static void run_to_rest(void)
{
	loop_call_schedule_idle(&rest);
	loop_run(loop);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void clean_up(void)
{
	nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* %s: the folder. */
#define OPTIONS \
	"stratovirt -machine microvm,pcie=on,replaceable-slots=off -accel test -m 128 -no-shutdown -serial null" \
	" -device pvpanic" \
	" -drive id=d0,file=%1$s/disk,format=raw,direct=off -device virtio-blk-device,drive=d0" \
	" -drive id=d1,file=%1$s/disk2,format=raw,direct=off,aio=threads" \
	" -device virtio-blk-pci,drive=d1,num-queues=4" \
	" -object rng-random,id=r0,filename=/dev/urandom -device virtio-rng-pci,rng=r0,max-bytes=1024,period=1000" \
	" -chardev null,id=c0 -chardev null,id=c1 -chardev null,id=c2 -device virtio-serial-device,id=s0" \
	" -device virtconsole,chardev=c0 -device virtserialport,chardev=c1,name=one" \
	" -device virtserialport,chardev=c2,name=two,nr=5 -device virtio-balloon-device,free-page-reporting=on" \
	" -device virtio-vsock-pci,guest-cid=3,uds-path=%1$s/vsock"

static void make_machine(void)
{
	static struct vm_config config;
	enum cmdline_action action = CMDLINE_RUN;
	struct error *err = NULL;
	char *topic = NULL;
	static char text[2048];
	char path[64], *argv[64], *rest_of_text;
	int fd, argc = 0;

	MUST(mkdtemp(folder));
	atexit(clean_up);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/disk%s", folder, i ? "2" : "");
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		MUST(fd >= 0 && !ftruncate(fd, 1 << 20));
		close(fd);
	}
	snprintf(text, sizeof(text), OPTIONS, folder);
	for (char *word = strtok_r(text, " ", &rest_of_text); word; word = strtok_r(NULL, " ", &rest_of_text)) {
		MUST(argc < (int)ARRAY_SIZE(argv));
		argv[argc++] = word;
	}
	vm_config_init(&config);
	if (cmdline_parse(argc, argv, &config, &action, &topic, &err) ||
	    !(loop = loop_new("main", &err)) || machine_new(&config, loop, &machine, &err) ||
	    machine_cont(machine, &err)) {
		error_report(err);
		abort();
	}
	space = machine_platform(machine)->space;
	loop_call_init(&rest, loop, run_to_rest_handler);
}

/* --- Operations --- */

#define ECAM 0xe0000000ULL
#define WINDOW 0xc0000000ULL

static void store(uint64_t addr, uint64_t value, unsigned int len)
{
	le64_t data = cpu_to_le64(value);

	mem_space_io_write(space, IO_MMIO, addr, &data, len);
}

static uint64_t load(uint64_t addr, unsigned int len)
{
	le64_t data = cpu_to_le64(0);

	mem_space_io_read(space, IO_MMIO, addr, &data, len);
	return le64_to_cpu(data);
}

/* As firmware does: an address for every BAR of bus 0. */
static void assign_bars(void)
{
	uint64_t next = WINDOW;

	for (unsigned int slot = 0; slot < 8; slot++) {
		uint64_t config = ECAM + (slot << 15);

		for (unsigned int bar = 0; bar < 6 && load(config, 2) != 0xffff; bar++) {
			uint32_t mask;

			store(config + 0x10 + 4 * bar, 0xffffffff, 4);
			mask = (uint32_t)load(config + 0x10 + 4 * bar, 4) & ~15u;
			if (!mask || mask == 0xfffffff0) { /* none, or the upper half of one */
				store(config + 0x10 + 4 * bar, 0, 4);
				continue;
			}
			next = ALIGN_UP(next, (uint64_t)(~mask + 1));
			store(config + 0x10 + 4 * bar, next, 4);
			next += ~mask + 1;
		}
		store(config + 4, 6, 2);
	}
}

/* Registers of either transport: virtio-mmio's, or the common configuration of a card. */
struct place {
	uint16_t mmio, pci;
	uint8_t pci_len;
};

static const struct place STATUS = { 0x70, 0x14, 1 }, FEATURES_SEL = { 0x24, 0x08, 4 }, FEATURES = { 0x20, 0x0c, 4 },
			  OFFERED_SEL = { 0x14, 0x00, 4 }, OFFERED = { 0x10, 0x04, 4 }, QUEUE_SEL = { 0x30, 0x16, 2 },
			  QUEUE_NUM = { 0x38, 0x18, 2 }, QUEUE_READY = { 0x44, 0x1c, 2 }, DESC = { 0x80, 0x20, 4 },
			  DRIVER = { 0x90, 0x28, 4 }, DEVICE = { 0xa0, 0x30, 4 };

/* A virtio device, chosen among those whose registers are there; false: none. */
static bool choose(unsigned int which, const struct io_region **ret)
{
	const struct io_region *found[32], *region;
	unsigned int count = 0;

	for (unsigned int i = 0; (region = mem_space_io(space, IO_MMIO, i)) && count < 32; i++)
		if (region->size == 0x200 || region->size == 0x4000)
			found[count++] = region;
	if (count)
		*ret = found[which % count];
	return count > 0;
}

static void set(const struct io_region *device, const struct place *place, uint32_t value)
{
	if (device->size == 0x200)
		store(device->base + place->mmio, value, 4);
	else
		store(device->base + place->pci, value, place->pci_len);
}

static uint32_t get(const struct io_region *device, const struct place *place)
{
	return (uint32_t)(device->size == 0x200 ? load(device->base + place->mmio, 4)
						: load(device->base + place->pci, place->pci_len));
}

static uint64_t rings_of(unsigned int queue)
{
	return ARENA + (uint64_t)(queue % 16) * RING_STEP;
}

static void op_start(void)
{
	uint8_t which = byte(), mask = byte();
	const struct io_region *device;

	if (!choose(which, &device))
		return;
	set(device, &STATUS, 0);
	set(device, &STATUS, 3);
	for (unsigned int word = 0; word < 2; word++) {
		set(device, &OFFERED_SEL, word);
		set(device, &FEATURES_SEL, word);
		/* Everything, or less of the device's own. */
		set(device, &FEATURES, get(device, &OFFERED) & (word ? 0x1 : mask & 0x80 ? 0xffffff00 | byte() : 0xffffffff));
	}
	set(device, &STATUS, 11);
	for (unsigned int queue = 0; queue < 6; queue++) {
		uint64_t at = rings_of(queue);

		set(device, &QUEUE_SEL, queue);
		set(device, &QUEUE_NUM, QUEUE_SIZE);
		set(device, &DESC, (uint32_t)at);
		set(device, &DRIVER, (uint32_t)(at + 0x1000));
		set(device, &DEVICE, (uint32_t)(at + 0x2000));
		if (!(mask & 1u << queue))
			set(device, &QUEUE_READY, 1);
	}
	set(device, &STATUS, 15);
}

static void notify(const struct io_region *device, unsigned int queue)
{
	if (device->size == 0x200)
		store(device->base + 0x50, queue, 4);
	else
		store(device->base + 0x3000 + 4 * queue, queue, 2);
}

static uint64_t address(void)
{
	static const uint64_t odd[] = { 0, 0x7fffff8, 0x8000000, 0xf0100000, WINDOW, 0xfee00000, UINT64_MAX - 7, ARENA };
	uint8_t kind = byte();

	if (kind < 200)
		return BUFFERS + (uint64_t)kind * 256;
	return kind < 240 ? odd[kind % ARRAY_SIZE(odd)] : number(8);
}

static void descriptor(uint64_t at, unsigned int i, bool last)
{
	static const uint32_t lens[] = { 1, 4, 8, 12, 16, 44, 64, 512, 4096, 0, 0xffffffff };
	struct { le64_t addr; le32_t len; le16_t flags, next; } desc;
	uint8_t what = byte();

	desc.addr = cpu_to_le64(address());
	desc.len = cpu_to_le32(what & 0x80 ? (uint32_t)number(2) : lens[what % ARRAY_SIZE(lens)]);
	what = byte();
	desc.flags = cpu_to_le16((last ? 0 : 1) | (what & 1 ? 2 : 0) | (what >= 0xf0 ? 4 : 0));
	desc.next = cpu_to_le16(what >= 0xe0 && what < 0xf0 ? byte() : i + 1);
	(void)!guest_write(space, at + 16 * i, &desc, sizeof(desc));
}

/* A chain of 1 to 8 descriptors, published and told of. */
static void op_chain(void)
{
	const struct io_region *device;
	uint8_t which = byte(), what = byte();
	unsigned int queue = what & 7, count = 1 + (what >> 3 & 7), first = what >> 6 ? 8 : 0;
	uint64_t at = rings_of(queue);
	le16_t idx, head = cpu_to_le16(first);
	bool backwards;

	if (!choose(which, &device))
		return;
	for (unsigned int i = first; i < first + count; i++)
		descriptor(at, i, i + 1 == first + count);
	MUST(!guest_read(space, at + 0x1002, &idx, sizeof(idx)));
	(void)!guest_write(space, at + 0x1004 + 2 * (le16_to_cpu(idx) % QUEUE_SIZE), &head, sizeof(head));
	backwards = what == 0xff;
	idx = cpu_to_le16(le16_to_cpu(idx) + (backwards ? -1 : 1));
	(void)!guest_write(space, at + 0x1002, &idx, sizeof(idx));
	feeding = true;
	notify(device, queue);
	run_to_rest();
	feeding = false;
}

static void op_memory(void)
{
	uint64_t at = ARENA + number(3) % (ARENA_END - ARENA - 64);
	uint8_t data[64] = { 0 }, len = byte() % 64;

	bytes(data, len);
	(void)!guest_write(space, at, data, len);
}

static void op_register(bool write)
{
	static const unsigned int widths[] = { 1, 2, 4, 4, 4, 8 };
	const struct io_region *region;
	unsigned int count = 0, width = widths[byte() % ARRAY_SIZE(widths)];
	uint64_t offset;

	while (mem_space_io(space, IO_MMIO, count))
		count++;
	region = mem_space_io(space, IO_MMIO, byte() % count);
	offset = number(2) % (region->size + 8);
	if (write)
		store(region->base + offset, number(width), width);
	else
		(void)load(region->base + offset, width);
}

static void op_port(bool write)
{
	static const unsigned int widths[] = { 1, 2, 4 };
	unsigned int width = widths[byte() % 3], count = 0;
	const struct io_region *region;
	le64_t data;
	uint64_t port;

	while (mem_space_io(space, IO_PORT, count))
		count++;
	region = mem_space_io(space, IO_PORT, byte() % count);
	port = region->base + byte() % (region->size + 1);
	if (write) {
		data = cpu_to_le64(number(width));
		mem_space_io_write(space, IO_PORT, port, &data, width);
	} else {
		mem_space_io_read(space, IO_PORT, port, &data, width);
	}
}

static void op_time(void)
{
	clock_step_to(clock_now_ns() + (int64_t)number(4) * 1000);
	run_to_rest();
}

static void op_ecam(void)
{
	uint64_t at = ECAM + ((uint64_t)(byte() & 7) << 15) + number(2) % 0x1000;

	store(at & ~3ULL, number(4), 4);
}

static void one(uint8_t op)
{
	switch (op % 12) {
	case 0:
	case 1:
		op_register(true);
		break;
	case 2:
		op_register(false);
		break;
	case 3:
		op_start();
		break;
	case 4:
	case 5:
	case 6:
		op_chain();
		break;
	case 7:
		op_memory();
		break;
	case 8:
		op_port(true);
		break;
	case 9:
		op_port(false);
		break;
	case 10:
		op_time();
		break;
	case 11:
		op_ecam();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t zeroes[ARENA_END - ARENA];
	struct error *err = NULL;
	bool power_off;

	if (!machine)
		make_machine();
	input = data;
	left = size;
	assign_bars();
	for (unsigned int ops = 0; left && ops < OPS_MAX; ops++)
		one(byte());
	run_to_rest();
	power_off = machine_run_state(machine) != RUN_STATE_RUNNING;
	MUST(!machine_reset(machine, &err));
	if (power_off && machine_run_state(machine) != RUN_STATE_RUNNING)
		MUST(!machine_cont(machine, &err));
	MUST(machine_run_state(machine) == RUN_STATE_RUNNING);
	run_to_rest();
	MUST(!guest_write(space, ARENA, zeroes, sizeof(zeroes)));
	return 0;
}
