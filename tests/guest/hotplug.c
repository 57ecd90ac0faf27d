// SPDX-License-Identifier: Apache-2.0
/*
 * Disks that come, go and change their size while they are in use. Runs until it is ended from outside, keeps
 * some writes in flight on every disk that has a capacity, and says what it sees:
 *
 *   disk N: C sectors		the capacity is another one; "untold" behind it when no interrupt cause says so
 *   disk N: works		a write that began since then went well
 *   disk N: fails		one failed; each of these lines comes once a change
 *
 * On the command line: read=1 reads instead, depth= requests in flight (4), empty=1 asks disks without capacity, too.
 */
#include "tests.h"
#include "lib/virtio.h"

#define DISKS 4
#define DEPTH_MAX 16
#define BLOCK 4096
#define ISR_CONFIG 2

struct disk {
	struct virtio_dev *dev;
	struct virtq vq;
	u64 sectors, next;
	bool worked, failed;
	u32 in_flight, changes;
	struct blk_req reqs[DEPTH_MAX];
	u16 req_of_head[VIRTQ_MAX];
	bool busy[DEPTH_MAX];
	u32 began[DEPTH_MAX]; /* changes at that time */
	u64 deadline;
};

static struct disk disks[DISKS];
static u8 data[BLOCK] __attribute__((aligned(4096)));

/* Was a change announced since the last time? */
static bool take_announcement(struct disk *disk)
{
	u64 base = disk->dev->base;
	u32 isr = read32(base + VM_INTERRUPT_STATUS);

	if (isr)
		write32(base + VM_INTERRUPT_ACK, isr);
	return isr & ISR_CONFIG;
}

static void look(u32 n, struct disk *disk)
{
	/* In this order, or the announcement of a later change would be taken for this one's. */
	bool told = take_announcement(disk);
	u64 sectors = blk_capacity(disk->dev);

	if (sectors == disk->sectors)
		return;
	/* A change is there before its announcement is. */
	for (u64 deadline = deadline_ms(1000); !told && !deadline_passed(deadline);) {
		told = take_announcement(disk);
		sectors = blk_capacity(disk->dev);
	}
	if (sectors == disk->sectors)
		return;
	disk->sectors = sectors;
	disk->worked = disk->failed = false;
	disk->changes++;
	print("disk %u: %lu sectors%s\n", n, sectors, told ? "" : " untold");
}

static void fill(struct disk *disk, u32 depth, u32 type, bool empty)
{
	u64 blocks = disk->sectors / (BLOCK / 512);

	if (!blocks && !empty)
		return;
	for (u32 i = 0; i < depth; i++) {
		struct blk_req *req = &disk->reqs[i];
		struct seg segs[] = { { &req->header, 16 }, { data, BLOCK }, { (void *)&req->status, 1 } };
		bool out = type == BLK_T_OUT;

		if (disk->busy[i])
			continue;
		req->header = (struct blk_header){ type, 0, blocks ? disk->next++ % blocks * (BLOCK / 512) : 0 };
		req->status = BLK_S_NONE;
		disk->req_of_head[virtq_add(&disk->vq, segs, out ? 2 : 1, out ? 1 : 2, 0)] = i;
		disk->busy[i] = true;
		disk->began[i] = disk->changes;
		if (!disk->in_flight++)
			disk->deadline = deadline_ms(20000);
	}
	virtq_kick(&disk->vq);
}

static void take(u32 n, struct disk *disk)
{
	struct virtq_used_elem elem;

	while (virtq_take(&disk->vq, &elem)) {
		u32 i = disk->req_of_head[elem.id];
		u8 status = disk->reqs[i].status;

		REQUIRE(disk->busy[i], "disk %u completes what it was not given", n);
		REQUIRE(status == BLK_S_OK || status == BLK_S_IOERR, "disk %u: status %u", n, status);
		disk->busy[i] = false;
		disk->in_flight--;
		disk->deadline = deadline_ms(20000);
		if (disk->began[i] != disk->changes)
			continue;
		if (status == BLK_S_OK && !disk->worked) {
			disk->worked = true;
			print("disk %u: works\n", n);
		} else if (status == BLK_S_IOERR && !disk->failed) {
			disk->failed = true;
			print("disk %u: fails\n", n);
		}
	}
	REQUIRE(!disk->in_flight || !deadline_passed(disk->deadline), "disk %u has lost a request", n);
}

void test_hotplug(void)
{
	u32 depth = cmdline_get_u64("depth", 4), count = 0;
	u32 type = cmdline_get_u64("read", 0) ? BLK_T_IN : BLK_T_OUT;
	bool empty = cmdline_get_u64("empty", 0);

	REQUIRE(depth && depth <= DEPTH_MAX, "bad depth=");
	memset(data, 0x5a, sizeof(data));
	while (count < DISKS && virtio_find(VIRTIO_ID_BLK, count)) {
		struct disk *disk = &disks[count];

		disk->dev = virtio_get(VIRTIO_ID_BLK, count);
		blk_start(disk->dev, &disk->vq, BLK_F_FLUSH, 64);
		disk->sectors = blk_capacity(disk->dev);
		print("disk %u: %lu sectors\n", count++, disk->sectors);
	}
	print("ready\n");
	for (;;) {
		for (u32 i = 0; i < count; i++) {
			look(i, &disks[i]);
			fill(&disks[i], depth, type, empty);
			take(i, &disks[i]);
			REQUIRE(!(virtio_status(disks[i].dev) & STATUS_NEEDS_RESET), "disk %u is broken", i);
		}
	}
}
