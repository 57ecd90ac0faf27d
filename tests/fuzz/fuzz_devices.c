// SPDX-License-Identifier: Apache-2.0
/*
 * All devices of two machines under the test accelerator, in this process: on virtio-mmio and on PCI, at home on the main
 * loop and on an iothread. The input is a program: accesses of registers and ports, set-up of queues, chains of any kind, time,
 * frames and clients of the host. A hook at guest_slice(), the only way from a guest address to a pointer, feeds fresh bytes of the
 * input to what devices read. The machines are built once and reset between inputs.
 */
#include "shared.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "memory/space.h"
#include "net/internal.h"
#include "util/endian.h"
#include "util/log.h"
#include "virtio/virtio.h"

#define OPS_MAX 400	  /* of one input */
#define ARENA 0x100000	  /* what drivers use of RAM: rings, tables, buffers */
#define RING_STEP 0x4000  /* a queue's rings */
#define BUFFERS 0x180000  /* behind them */
#define ARENA_END 0x200000
#define QUEUE_SIZE 16
#define TAPS 4

void *__real_guest_slice(const struct mem_space *space, gpa_t gpa, uint64_t len);
void *__wrap_guest_slice(const struct mem_space *space, gpa_t gpa, uint64_t len);
int __wrap_tap_take(struct netdev_tap *tap, struct error **errp);

static struct machine *machine; /* that the input is for */
static struct mem_space *space; /* its memory */
static struct loop *loop;
static _Atomic bool feeding; /* devices' reads get fresh bytes */

void *__wrap_guest_slice(const struct mem_space *of, gpa_t gpa, uint64_t len)
{
	void *host = __real_guest_slice(of, gpa, len);

	if (host && feeding && gpa >= BUFFERS && gpa + len <= ARENA_END)
		(void)bytes(host, MIN(len, (uint64_t)64));
	return host;
}

/* --- The host: cables, and clients of sockets --- */

static int cables[TAPS]; /* the other ends of the taps */

static int no_offloads(struct netdev *netdev, unsigned int offloads)
{
	(void)netdev;
	(void)offloads;
	return 0;
}

static int no_queue(struct netdev *netdev, unsigned int queue, bool on)
{
	(void)netdev;
	(void)queue;
	(void)on;
	return 0;
}

/* The descriptor is one of a pair of sockets: a read takes a frame, a write gives one, as with a tap. */
int __wrap_tap_take(struct netdev_tap *tap, struct error **errp)
{
	static const struct netdev_ops ops = { .set_offloads = no_offloads, .set_queue = no_queue };

	(void)errp;
	tap->netdev.ops = &ops;
	tap->netdev.offloads = NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_ECN | NETDEV_UFO | NETDEV_USO;
	return 0;
}

/* Pairs whose ends for the machine have numbers that command lines can say. */
#define TAP_FD 200

static void make_taps(void)
{
	int pair[2];

	for (int i = 0; i < TAPS; i++) {
		MUST(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
		MUST(dup2(pair[0], TAP_FD + i) == TAP_FD + i);
		close(pair[0]);
		cables[i] = pair[1];
	}
}

/* Sockets that the machine listens on, and a port of the host that a guest may connect to. */
static const char *const places[] = { "port", "vsock" };
static int clients[ARRAY_SIZE(places)] = { -1, -1 }, listeners[2];

static struct sockaddr_un address_of(const char *name, unsigned int which, const char *suffix)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%.70s/%.16s%u%.16s", folder(), name, which, suffix);
	return address;
}

static void make_listeners(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(listeners); i++) {
		struct sockaddr_un address = address_of("vsock", i, "_1024");

		listeners[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		MUST(listeners[i] >= 0 && !bind(listeners[i], (struct sockaddr *)&address, sizeof(address)));
		MUST(!listen(listeners[i], 8));
	}
}

static void hang_up(unsigned int i)
{
	if (clients[i] >= 0)
		close(clients[i]);
	clients[i] = -1;
}

static void drain(int fd)
{
	static char sink[0x10000];

	while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
}

/* Nobody waits for the host. */
static void drain_all(void)
{
	int fd;

	for (int i = 0; i < TAPS; i++)
		drain(cables[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(clients); i++)
		if (clients[i] >= 0)
			drain(clients[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(listeners); i++)
		while ((fd = accept(listeners[i], NULL, NULL)) >= 0)
			close(fd);
}

/* --- The machines --- */

/* Files, sockets and descriptors are named after the machine's number. */
#define COMMON(number)                                                                                                  \
	" -accel test -m 128 -no-shutdown -serial null -object iothread,id=i0 -object iothread,id=i1"                  \
	" -object rng-random,id=r0,filename=/dev/urandom -chardev null,id=c0 -chardev null,id=c1"                      \
	" -chardev socket,id=c2,path=$DIR/port" number ",server=on,wait=off"                                           \
	" -drive id=d0,file=$DIR/disk" number ",format=raw,direct=off"                                                 \
	" -drive id=d1,file=$DIR/second" number ",format=raw,direct=off,aio=threads"

static const char *const machines[] = {
	"-machine microvm,replaceable-slots=off" COMMON("0") " -device pvpanic"
	" -netdev tap,id=n0,fd=200 -netdev tap,id=n1,fd=201"
	" -device virtio-blk-device,drive=d0 -device virtio-rng-device,rng=r0,max-bytes=1024,period=1000"
	" -device virtio-serial-device,id=s0 -device virtconsole,chardev=c0 -device virtserialport,chardev=c2,name=one"
	" -device virtserialport,chardev=c1,name=two,nr=5 -device virtio-balloon-device,free-page-reporting=on"
	" -device virtio-vsock-device,guest-cid=3,uds-path=$DIR/vsock0 -device virtio-net-device,netdev=n0"
	" -device virtio-blk-device,drive=d1,iothread=i0 -device virtio-net-device,netdev=n1,rx-iothread=i0,tx-iothread=i1",

	"-machine microvm,pcie=on,replaceable-slots=off" COMMON("1")
	" -netdev tap,id=n0,fds=202:203"
	" -device virtio-blk-pci,drive=d0,num-queues=4 -device virtio-rng-pci,rng=r0,max-bytes=1024,period=1000"
	" -device virtio-serial-pci,id=s0 -device virtconsole,chardev=c0 -device virtserialport,chardev=c2,name=one"
	" -device virtserialport,chardev=c1,name=two,nr=5 -device virtio-balloon-pci,free-page-reporting=on"
	" -device virtio-vsock-pci,guest-cid=4,uds-path=$DIR/vsock1,iothread=i0"
	" -device virtio-net-pci,netdev=n0,mq=on,iothread=i0 -device virtio-blk-pci,drive=d1,iothread=i0",
};

static struct machine *made[ARRAY_SIZE(machines)];

static void make_machines(void)
{
	static struct vm_config config[ARRAY_SIZE(machines)];
	static const char *const disks[] = { "disk0", "disk1", "second0", "second1" };
	struct error *err = NULL;

	for (unsigned int i = 0; i < ARRAY_SIZE(disks); i++)
		make_disk(disks[i]);
	make_taps();
	make_listeners();
	loop = loop_new("main", &err);
	MUST(loop);
	for (unsigned int i = 0; i < ARRAY_SIZE(machines); i++) {
		made[i] = make_machine(machines[i], loop, &config[i]);
		MUST(!machine_cont(made[i], &err));
	}
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

	if (machine != made[1])
		return;
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
static bool choose(unsigned int which, struct io_region *ret)
{
	struct io_region found[32], region;
	unsigned int count = 0;

	for (unsigned int i = 0; mem_space_io(space, IO_MMIO, i, &region) && count < 32; i++)
		if (region.size == 0x200 || region.size == 0x4000)
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
	struct io_region device;

	if (!choose(which, &device))
		return;
	set(&device, &STATUS, 0);
	set(&device, &STATUS, 3);
	for (unsigned int word = 0; word < 2; word++) {
		set(&device, &OFFERED_SEL, word);
		set(&device, &FEATURES_SEL, word);
		/* Everything, or less of the device's own. */
		set(&device, &FEATURES, get(&device, &OFFERED) & (word ? 0x1 : mask & 0x80 ? 0xffffff00 | byte() : 0xffffffff));
	}
	set(&device, &STATUS, 11);
	for (unsigned int queue = 0; queue < 6; queue++) {
		uint64_t at = rings_of(queue);

		set(&device, &QUEUE_SEL, queue);
		set(&device, &QUEUE_NUM, QUEUE_SIZE);
		set(&device, &DESC, (uint32_t)at);
		set(&device, &DRIVER, (uint32_t)(at + 0x1000));
		set(&device, &DEVICE, (uint32_t)(at + 0x2000));
		if (!(mask & 1u << queue))
			set(&device, &QUEUE_READY, 1);
	}
	set(&device, &STATUS, 15);
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
	struct io_region device;
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
	notify(&device, queue);
	run_to_rest(loop);
	feeding = false;
	drain_all();
}

static void op_memory(void)
{
	uint64_t at = ARENA + number(3) % (ARENA_END - ARENA - 64);
	uint8_t data[64] = { 0 }, len = byte() % 64;

	(void)bytes(data, len);
	(void)!guest_write(space, at, data, len);
}

static void access_register(bool write)
{
	static const unsigned int widths[] = { 1, 2, 4, 4, 4, 8 };
	struct io_region region;
	unsigned int count = 0, width = widths[byte() % ARRAY_SIZE(widths)];
	uint64_t offset;

	while (mem_space_io(space, IO_MMIO, count, &region))
		count++;
	if (!mem_space_io(space, IO_MMIO, byte() % count, &region))
		return;
	offset = number(2) % (region.size + 8);
	if (write)
		store(region.base + offset, number(width), width);
	else
		(void)load(region.base + offset, width);
}

static void op_write(void)
{
	access_register(true);
}

static void op_read(void)
{
	access_register(false);
}

static void access_port(bool write)
{
	static const unsigned int widths[] = { 1, 2, 4 };
	unsigned int width = widths[byte() % 3], count = 0;
	struct io_region region;
	le64_t data;
	uint64_t port;

	while (mem_space_io(space, IO_PORT, count, &region))
		count++;
	if (!mem_space_io(space, IO_PORT, byte() % count, &region))
		return;
	port = region.base + byte() % (region.size + 1);
	if (write) {
		data = cpu_to_le64(number(width));
		mem_space_io_write(space, IO_PORT, port, &data, width);
	} else {
		mem_space_io_read(space, IO_PORT, port, &data, width);
	}
}

static void op_port_write(void)
{
	access_port(true);
}

static void op_port_read(void)
{
	access_port(false);
}

static void op_time(void)
{
	clock_step_to(clock_now_ns() + (int64_t)number(4) * 1000);
	run_to_rest(loop);
}

static void op_ecam(void)
{
	uint64_t at = ECAM + ((uint64_t)(byte() & 7) << 15) + number(2) % 0x1000;

	store(at & ~3ULL, number(4), 4);
}

/* A frame arrives; somebody connects, sends, or hangs up. */
static void op_host(void)
{
	static const char hello[] = "CONNECT 1024\n";
	unsigned int what = byte(), i = what & 1, which = machine == made[1];
	uint8_t data[2048] = { 0 };
	struct sockaddr_un address;
	size_t len;

	if (what & 0x80) {
		len = number(2) % sizeof(data);
		(void)bytes(data, MIN(len, 128u));
		(void)!send(cables[2 * which + i], data, len, MSG_DONTWAIT);
	} else if (what & 0x40) {
		hang_up(i);
	} else if (clients[i] < 0) {
		address = address_of(places[i], which, "");
		clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (connect(clients[i], (struct sockaddr *)&address, sizeof(address)))
			hang_up(i);
		else if (i)
			(void)!send(clients[i], hello, strlen(hello), MSG_DONTWAIT | MSG_NOSIGNAL);
	} else {
		len = number(2) % sizeof(data);
		(void)bytes(data, MIN(len, 64u));
		(void)!send(clients[i], data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	feeding = true;
	run_to_rest(loop);
	feeding = false;
	drain_all();
}

/* Often a register, often a chain. */
static void one(uint8_t op)
{
	static void (*const ops[])(void) = {
		op_write, op_write, op_read, op_start, op_chain, op_chain, op_chain, op_memory,
		op_port_write, op_port_read, op_time, op_ecam, op_host,
	};

	ops[op % ARRAY_SIZE(ops)]();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t zeroes[ARENA_END - ARENA];
	struct error *err = NULL;
	bool power_off;

	if (!machine)
		make_machines();
	input_begin(data, size);
	machine = made[byte() % ARRAY_SIZE(made)];
	space = machine_platform(machine)->space;
	assign_bars();
	for (unsigned int ops = 0; input_left() && ops < OPS_MAX; ops++)
		one(byte());
	for (unsigned int i = 0; i < ARRAY_SIZE(clients); i++)
		hang_up(i);
	run_to_rest(loop);
	power_off = machine_run_state(machine) != RUN_STATE_RUNNING;
	MUST(!machine_reset(machine, &err));
	if (power_off && machine_run_state(machine) != RUN_STATE_RUNNING)
		MUST(!machine_cont(machine, &err));
	MUST(machine_run_state(machine) == RUN_STATE_RUNNING);
	run_to_rest(loop);
	drain_all();
	MUST(!guest_write(space, ARENA, zeroes, sizeof(zeroes)));
	return 0;
}
