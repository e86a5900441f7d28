/* SPDX-License-Identifier: MIT */
/* test_virtio_blk.c - the block device through its registers, as a driver sees it */
#include <check.h>
#include <glib.h>
#include <string.h>

#include "tests/lib/fake_machine.h"
#include "tests/lib/mmio_driver.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "vmm/virtio_blk.h"

#define HOST   4096
#define NPAGES 2048
#define ARENA  512
#define FILES  300u
#define SWAP   40u
#define HEADER 0x20000ull
#define STATUS 0x20100ull
#define DATA   (600ull << PAGE_SHIFT)

#define FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES)

static struct frames *fr;
static struct fake_machine *fm;
static struct gmem *g;
static struct counters c;
static struct disk_image *image;
static struct virtio_blk *b;
static struct virtio_mmio m;
static unsigned interrupts, npending, pending[VIRTQUEUE_MAX];
static uint64_t begun_first, begun_pages;
static bool begun_write;

static void interrupt(void *ctx)
{
	(void)ctx;
	interrupts++;
}

static void begin(void *ctx, unsigned id, bool write, uint64_t first, uint64_t npages)
{
	(void)ctx;
	pending[npending++] = id;
	begun_write = write;
	begun_first = first;
	begun_pages = npages;
}

static void cancel(void *ctx)
{
	(void)ctx;
	npending = 0;
}

static const struct virtio_blk_host host = { begin, NULL, cancel, NULL };

static void setup(void)
{
	const struct gmem_config cfg = { .vm = 1, .npages = NPAGES, .arena_pages = ARENA, .level = 1 };
	const struct disk_image_config disk = { FILES, SWAP, PATTERN_BASE(PATTERN_TEXT, 0), 1 };

	c = (struct counters){ 0 };
	fr = frames_new(HOST, 1);
	fm = fake_machine_new(HOST);
	g = gmem_new(&cfg, fr, &fm->base, &c, NULL);
	image = disk_image_new(&disk);
	npending = interrupts = 0;
	b = virtio_blk_new(g, image, &host, "a-disk-with-a-long-name");
	virtio_blk_virtio(b)->interrupt = interrupt;
	virtio_mmio_init(&m, virtio_blk_virtio(b));
}

static void teardown(void)
{
	virtio_blk_free(b);
	disk_image_free(image);
	gmem_free(g);
	frames_free(fr);
	fake_machine_free(fm);
}

static void set_up(uint64_t features)
{
	mmio_negotiate(&m, features);
	memset(gmem_arena(g) + MMIO_QUEUE(0), 0, PAGE_SIZE);
	mmio_set_queue(&m, 0, MMIO_NUM, MMIO_QUEUE(0));
	mmio_start(&m);
	must_eq(mmio_get(&m, VIRTIO_MMIO_STATUS), MMIO_READY | VIRTIO_DRIVER_OK);
}

static struct vring_desc *desc(unsigned i)
{
	return mmio_desc(g, 0) + i;
}

static struct vring_used *used(void)
{
	return mmio_used(g, 0);
}

static uint8_t *status(void)
{
	return gmem_arena(g) + STATUS;
}

/* The chain that begins with descriptor @head. */
static void send_head(uint16_t head)
{
	*status() = 0xee;
	mmio_send_head(&m, g, 0, head);
}

static void header(uint32_t type, uint64_t sector)
{
	const struct virtio_blk_header h = { type, 0, sector };

	memcpy(gmem_arena(g) + HEADER, &h, sizeof(h));
}

/* Header, one buffer, status, in descriptors 0 to 2. @flags: of the buffer. */
static void send(uint32_t type, uint64_t sector, gpa_t data, uint32_t len, uint16_t flags)
{
	header(type, sector);
	*desc(0) = (struct vring_desc){ HEADER, 16, VRING_DESC_NEXT, len ? 1 : 2 };
	*desc(1) = (struct vring_desc){ data, len, VRING_DESC_NEXT | flags, 2 };
	*desc(2) = (struct vring_desc){ STATUS, 1, VRING_DESC_WRITE, 0 };
	send_head(0);
}

static void end_all(void)
{
	for (unsigned i = 0; i < npending; i++)
		virtio_blk_end(b, pending[i]);
	npending = 0;
}

/* Send and wait; what the device answered. */
static uint8_t request(uint32_t type, uint64_t sector, gpa_t data, uint32_t len, uint16_t flags)
{
	uint16_t before = used()->idx;

	send(type, sector, data, len, flags);
	end_all();
	must_eq((uint16_t)(used()->idx - before), 1);
	return *status();
}

static void disk_bytes(uint64_t offset, void *buf, uint64_t len)
{
	disk_image_read_bytes(image, offset, buf, len);
}

static void memory_bytes(gpa_t gpa, void *buf, size_t len)
{
	must(!gmem_read(g, gpa, buf, len));
}

START_TEST(registers)
{
	must_eq(mmio_get(&m, VIRTIO_MMIO_DEVICE_ID), 2);
	must_eq(mmio_get(&m, VIRTIO_MMIO_DEVICE_FEATURES),
		(uint32_t)(FEATURES | VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE));
	must_eq(virtio_mmio_read(&m, VIRTIO_MMIO_CONFIG, 8), (FILES + SWAP) * 8);
	must_eq(mmio_get(&m, VIRTIO_MMIO_CONFIG + 20), 4096);
	must_eq(mmio_get(&m, VIRTIO_MMIO_CONFIG + 12), VIRTQUEUE_MAX - 2);
	must_eq(mmio_get(&m, VIRTIO_MMIO_CONFIG + 64), 0);
	must_eq(c.blk_errors, 0);
	mmio_put(&m, VIRTIO_MMIO_CONFIG, 1);
	must_eq(c.blk_errors, 4);
	must_eq(virtio_mmio_read(&m, VIRTIO_MMIO_CONFIG, 8), (FILES + SWAP) * 8);
}
END_TEST

/* What if whole pages go to memory and back to another place of the disk? */
START_TEST(pages)
{
	uint8_t a[5 * PAGE_SIZE], e[5 * PAGE_SIZE];

	set_up(FEATURES);
	send(VIRTIO_BLK_T_IN, 80, DATA, 5 * PAGE_SIZE, VRING_DESC_WRITE);
	must_eq(npending, 1);
	must_eq(begun_first, 10);
	must_eq(begun_pages, 5);
	must(!begun_write);
	must_eq(used()->idx, 0);
	must_eq(interrupts, 0);
	end_all();
	must_eq(used()->idx, 1);
	must_eq(used()->ring[0].len, 5 * PAGE_SIZE + 1);
	must_eq(interrupts, 1);
	must_eq(mmio_get(&m, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INT_USED);
	must_eq(*status(), VIRTIO_BLK_OK);
	disk_bytes(10 * PAGE_SIZE, a, sizeof(a));
	memory_bytes(DATA, e, sizeof(e));
	must(!memcmp(a, e, sizeof(a)));
	must_eq(request(VIRTIO_BLK_T_OUT, FILES * 8, DATA, 5 * PAGE_SIZE, 0), VIRTIO_BLK_OK);
	must(begun_write);
	disk_bytes(FILES * PAGE_SIZE, e, sizeof(e));
	must(!memcmp(a, e, sizeof(a)));
	must_eq(c.blk_reads, 1);
	must_eq(c.blk_writes, 1);
	must_eq(c.blk_read_pages, 5);
	must_eq(c.blk_write_pages, 5);
	must_eq(c.blk_errors, 0);
}
END_TEST

/* What if sectors and addresses are aligned to nothing but what they must be? */
START_TEST(unaligned)
{
	uint8_t a[3 * PAGE_SIZE], e[3 * PAGE_SIZE], before[6 * PAGE_SIZE];

	set_up(FEATURES);
	must_eq(request(VIRTIO_BLK_T_IN, 83, DATA + 333, 9 * 512, VRING_DESC_WRITE), VIRTIO_BLK_OK);
	disk_bytes(83 * 512, a, 9 * 512);
	memory_bytes(DATA + 333, e, 9 * 512);
	must(!memcmp(a, e, 9 * 512));
	disk_bytes(40 * 512, before, sizeof(before));
	must_eq(request(VIRTIO_BLK_T_OUT, 45, DATA + 333, 9 * 512, 0), VIRTIO_BLK_OK);
	must_eq(begun_first, 5);
	must_eq(begun_pages, 2);
	memcpy(before + 5 * 512, a, 9 * 512);
	disk_bytes(40 * 512, e, sizeof(e));
	must(!memcmp(before, e, sizeof(e)));
	must_eq(c.blk_errors, 0);
}
END_TEST

/* What if header, data and status are cut into pieces anywhere, as VERSION_1 allows? */
START_TEST(framing)
{
	uint8_t a[1024], e[1024];

	set_up(FEATURES);
	header(VIRTIO_BLK_T_IN, 8);
	*desc(0) = (struct vring_desc){ HEADER, 3, VRING_DESC_NEXT, 1 };
	*desc(1) = (struct vring_desc){ HEADER + 3, 13, VRING_DESC_NEXT, 2 };
	*desc(2) = (struct vring_desc){ DATA, 1000, VRING_DESC_WRITE | VRING_DESC_NEXT, 3 };
	*desc(3) = (struct vring_desc){ DATA + 5000, 0, VRING_DESC_WRITE | VRING_DESC_NEXT, 4 };
	*desc(4) = (struct vring_desc){ DATA + 1000, 25, VRING_DESC_WRITE, 0 };
	send_head(0);
	end_all();
	disk_bytes(PAGE_SIZE, a, sizeof(a));
	memory_bytes(DATA, e, sizeof(e));
	must(!memcmp(a, e, sizeof(a)));
	memory_bytes(DATA + 1024, e, 1);
	must_eq(e[0], VIRTIO_BLK_OK);
	/* A write whose data begins in the header's buffer; then an empty buffer behind the status. */
	header(VIRTIO_BLK_T_OUT, 16);
	memset(gmem_arena(g) + HEADER + 16, 0x5a, 512);
	*desc(0) = (struct vring_desc){ HEADER, 16 + 512, VRING_DESC_NEXT, 1 };
	*desc(1) = (struct vring_desc){ HEADER + 3000, 1, VRING_DESC_NEXT | VRING_DESC_WRITE, 2 };
	*desc(2) = (struct vring_desc){ HEADER, 0, VRING_DESC_WRITE, 0 };
	send_head(0);
	end_all();
	disk_bytes(2 * PAGE_SIZE, a, 512);
	must(a[0] == 0x5a && a[511] == 0x5a);
	must_eq(gmem_arena(g)[HEADER + 3000], VIRTIO_BLK_OK);
	must_eq(c.blk_errors, 0);
}
END_TEST

START_TEST(other_requests)
{
	struct virtio_blk_range r[2] = { { 8, 16, 0 }, { FILES * 8 + 1, 3, VIRTIO_BLK_UNMAP } };
	uint8_t bytes[2 * PAGE_SIZE], zero[2 * PAGE_SIZE] = { 0 };

	set_up(FEATURES);
	must_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0, 0), VIRTIO_BLK_OK);
	must_eq(c.blk_flushes, 1);
	must_eq(begun_pages, 0);
	must_eq(request(VIRTIO_BLK_T_GET_ID, 0, DATA, 20, VRING_DESC_WRITE), VIRTIO_BLK_OK);
	memory_bytes(DATA, bytes, 21);
	must(!memcmp(bytes, "a-disk-with-a-long-n", 20));
	must_eq(bytes[20], 0);
	memcpy(gmem_arena(g) + 0x30000, r, sizeof(r));
	must_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 0x30000, sizeof(r), 0), VIRTIO_BLK_OK);
	disk_bytes(PAGE_SIZE, bytes, sizeof(bytes));
	must(!memcmp(bytes, zero, sizeof(zero)));
	must_eq(request(VIRTIO_BLK_T_DISCARD, 0, 0x30000, sizeof(r), 0), VIRTIO_BLK_UNSUPP);
	must_eq(request(VIRTIO_BLK_T_DISCARD, 0, 0x30000, sizeof(r[0]), 0), VIRTIO_BLK_OK);
	must_eq(request(VIRTIO_BLK_T_DISCARD, 0, 0x30000, 24, 0), VIRTIO_BLK_IOERR);
	must_eq(c.blk_discards, 2);
	must_eq(request(99, 0, 0, 0, 0), VIRTIO_BLK_UNSUPP);
	must_eq(c.blk_errors, 3);
	set_up(VIRTIO_F_VERSION_1);
	must_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0, 0), VIRTIO_BLK_UNSUPP);
	must_eq(request(VIRTIO_BLK_T_DISCARD, 0, 0x30000, sizeof(r[0]), 0), VIRTIO_BLK_UNSUPP);
	must_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 0x30000, sizeof(r[0]), 0), VIRTIO_BLK_UNSUPP);
}
END_TEST

START_TEST(beyond)
{
	const struct virtio_blk_range r = { (FILES + SWAP) * 8 - 1, 2, 0 };
	const uint64_t end = (FILES + SWAP) * 8;

	set_up(FEATURES);
	must_eq(request(VIRTIO_BLK_T_IN, end - 8, DATA, PAGE_SIZE, VRING_DESC_WRITE), VIRTIO_BLK_OK);
	must_eq(request(VIRTIO_BLK_T_IN, end - 7, DATA, PAGE_SIZE, VRING_DESC_WRITE), VIRTIO_BLK_IOERR);
	must_eq(request(VIRTIO_BLK_T_OUT, UINT64_MAX, DATA, 512, 0), VIRTIO_BLK_IOERR);
	must_eq(request(VIRTIO_BLK_T_OUT, UINT64_MAX / 512, DATA, 512, 0), VIRTIO_BLK_IOERR);
	must_eq(request(VIRTIO_BLK_T_OUT, 0, DATA, 100, 0), VIRTIO_BLK_IOERR);
	must_eq(request(VIRTIO_BLK_T_IN, 0, 0, 0, 0), VIRTIO_BLK_IOERR);
	memcpy(gmem_arena(g) + 0x30000, &r, sizeof(r));
	must_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 0x30000, sizeof(r), 0), VIRTIO_BLK_IOERR);
	must_eq(c.blk_errors, 6);
	must_eq(disk_image_next_written(image, 0), UINT64_MAX);
	must_eq(mmio_get(&m, VIRTIO_MMIO_STATUS), MMIO_READY | VIRTIO_DRIVER_OK);
	/* Memory that it gave up, and may not use again before it says so. */
	gmem_balloon_strict(g, true);
	must(!gmem_balloon(g, DATA >> PAGE_SHIFT));
	must_eq(request(VIRTIO_BLK_T_IN, 0, DATA, PAGE_SIZE, VRING_DESC_WRITE), VIRTIO_BLK_IOERR);
	must_eq(request(VIRTIO_BLK_T_OUT, 0, DATA, PAGE_SIZE, 0), VIRTIO_BLK_IOERR);
	must_eq(c.blk_errors, 8);
}
END_TEST

/* Is the device out of order after this chain, and in order after a reset? */
static void must_break(void)
{
	must(mmio_get(&m, VIRTIO_MMIO_STATUS) & VIRTIO_NEEDS_RESET);
	must(interrupts > 0);
	set_up(FEATURES);
	must_eq(request(VIRTIO_BLK_T_IN, 0, DATA, PAGE_SIZE, VRING_DESC_WRITE), VIRTIO_BLK_OK);
}

START_TEST(malformed)
{
	set_up(FEATURES);
	/* No place for a status; a header that is too short; a buffer outside memory; a loop. */
	header(VIRTIO_BLK_T_IN, 0);
	*desc(0) = (struct vring_desc){ HEADER, 16, 0, 0 };
	send_head(0);
	must_break();
	*desc(0) = (struct vring_desc){ HEADER, 15, VRING_DESC_NEXT, 1 };
	*desc(1) = (struct vring_desc){ STATUS, 1, VRING_DESC_WRITE, 0 };
	send_head(0);
	must_break();
	*desc(0) = (struct vring_desc){ HEADER, 16, VRING_DESC_NEXT, 1 };
	*desc(1) = (struct vring_desc){ NPAGES * PAGE_SIZE - 8, 512, VRING_DESC_WRITE, 0 };
	send_head(0);
	must_break();
	*desc(1) = (struct vring_desc){ DATA, 512, VRING_DESC_WRITE | VRING_DESC_NEXT, 1 };
	send_head(0);
	must_break();
	/* A head that is under way already. */
	send(VIRTIO_BLK_T_IN, 0, DATA, PAGE_SIZE, VRING_DESC_WRITE);
	send(VIRTIO_BLK_T_IN, 0, DATA, PAGE_SIZE, VRING_DESC_WRITE);
	must_eq(npending, 1);
	end_all();
	must_break();
	must_eq(c.blk_errors, 5);
}
END_TEST

/* Twice around the ring, three at a time, ended in another order than begun. */
START_TEST(wrap)
{
	set_up(FEATURES);
	header(VIRTIO_BLK_T_IN, 24);
	for (unsigned round = 0; round < 3 * MMIO_NUM; round++) {
		uint16_t before = used()->idx;

		for (uint16_t i = 0; i < 3; i++) {
			*desc(i * 3u) = (struct vring_desc){ HEADER, 16, VRING_DESC_NEXT, (uint16_t)(i * 3 + 1) };
			*desc(i * 3u + 1) = (struct vring_desc){ DATA + i * PAGE_SIZE, 512,
								 VRING_DESC_NEXT | VRING_DESC_WRITE,
								 (uint16_t)(i * 3 + 2) };
			*desc(i * 3u + 2) = (struct vring_desc){ STATUS + i, 1, VRING_DESC_WRITE, 0 };
			send_head((uint16_t)(i * 3));
		}
		must_eq(npending, 3);
		for (unsigned i = 3; i-- > 0;)
			virtio_blk_end(b, pending[i]);
		npending = 0;
		must_eq((uint16_t)(used()->idx - before), 3);
		must_eq(used()->ring[before % MMIO_NUM].id, 6);
		must_eq(used()->ring[(uint16_t)(before + 2) % MMIO_NUM].id, 0);
	}
	must_eq(c.blk_errors, 0);
}
END_TEST

/* What if the driver resets the device, or stops its queue, while requests are under way? */
START_TEST(reset_under_way)
{
	set_up(FEATURES);
	send(VIRTIO_BLK_T_OUT, 0, DATA, PAGE_SIZE, 0);
	must_eq(npending, 1);
	set_up(FEATURES);
	must_eq(npending, 0);
	must_eq(used()->idx, 0);
	must_eq(request(VIRTIO_BLK_T_IN, 0, DATA, PAGE_SIZE, VRING_DESC_WRITE), VIRTIO_BLK_OK);
	send(VIRTIO_BLK_T_IN, 0, DATA, PAGE_SIZE, VRING_DESC_WRITE);
	mmio_put(&m, VIRTIO_MMIO_QUEUE_READY, 0);
	end_all();
	must_eq(*status(), 0xee);
	must_eq(used()->idx, 1);
	/* A driver that wants no interrupts gets none. */
	set_up(FEATURES);
	interrupts = 0;
	*(uint16_t *)(gmem_arena(g) + MMIO_QUEUE(0) + 0x400) = VRING_NO_INTERRUPT;
	must_eq(request(VIRTIO_BLK_T_IN, 0, DATA, PAGE_SIZE, VRING_DESC_WRITE), VIRTIO_BLK_OK);
	must_eq(interrupts, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_blk");
	TCase *tc = tcase_create("device");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, registers);
	tcase_add_test(tc, pages);
	tcase_add_test(tc, unaligned);
	tcase_add_test(tc, framing);
	tcase_add_test(tc, other_requests);
	tcase_add_test(tc, beyond);
	tcase_add_test(tc, malformed);
	tcase_add_test(tc, wrap);
	tcase_add_test(tc, reset_under_way);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
