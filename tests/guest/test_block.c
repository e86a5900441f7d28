/* SPDX-License-Identifier: MIT */
/*
 * test_block.c - the guest's disk driver against the device, without a kernel
 *
 * This program is the driver's world: the few things it asks of the kernel, and registers that lead to a device whose
 * requests end in any order, fail, or never end because the device wants a reset.
 */
#include <check.h>
#include <glib.h>
#include <string.h>

#include "mm/gmem.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "vmm/virtio_blk.h"
#include "vmm/virtio_mmio.h"
#include "workloads/guest/block.h"
#include "workloads/guest/internal.h"
#include "workloads/rng.h"

#define HOST	  4096
#define NPAGES	  2048
#define ARENA	  512
#define FILES	  1000u
#define SWAP	  500u
#define REGISTERS (1ull << 40)
#define MOST	  64 /* requests under way, at most */

struct hal {
	uint64_t heap;
	unsigned interrupts;
};

static struct hal hal;
static struct kernel kernel, *k = &kernel;
static struct boot_info info;
static struct frames *fr;
static struct fake_machine *fm;
static struct gmem *g;
static struct counters c;
static struct disk_image *image;
static struct virtio_blk *b;
static struct virtio_mmio m;
static unsigned npending, pending[VIRTQUEUE_MAX];
static uint64_t told[10000], ndone, nfailed; /* told[cookie]: how often */
static bool chain; /* block_done() submits another */

void *hal_arena(struct hal *h, uint64_t gpa)
{
	(void)h;
	must(gpa < ARENA * PAGE_SIZE);
	return gmem_arena(g) + gpa;
}

uint32_t hal_mmio_read(struct hal *h, uint64_t gpa)
{
	(void)h;
	must(gpa - REGISTERS < VIRTIO_MMIO_SIZE);
	return (uint32_t)virtio_mmio_read(&m, gpa - REGISTERS, 4);
}

void hal_mmio_write(struct hal *h, uint64_t gpa, uint32_t value)
{
	(void)h;
	must(gpa - REGISTERS < VIRTIO_MMIO_SIZE);
	virtio_mmio_write(&m, gpa - REGISTERS, value, 4);
}

void hal_panic(struct hal *h, const char *file, unsigned line)
{
	(void)h;
	g_error("%s:%u", file, line);
}

uint64_t heap_alloc(struct kernel *kern, enum heap_use use)
{
	must(kern == k && use == HEAP_BLOCK);
	hal.heap += PAGE_SIZE;
	return hal.heap;
}

void bytes_zero(void *p, uint64_t nbytes)
{
	memset(p, 0, nbytes);
}

void block_done(struct kernel *kern, uint64_t cookie, bool ok)
{
	must(kern == k);
	told[cookie]++;
	ndone++;
	nfailed += !ok;
	if (chain)
		must(block_submit(k, false, cookie % FILES, ARENA + cookie % 100, 1, cookie + 5000));
	chain = false;
}

static void interrupt(void *ctx)
{
	(void)ctx;
	hal.interrupts++;
}

static void begin(void *ctx, unsigned id, bool write, uint64_t first, uint64_t npages)
{
	(void)ctx, (void)write, (void)first, (void)npages;
	pending[npending++] = id;
}

static void cancel(void *ctx)
{
	(void)ctx;
	npending = 0;
}

static void setup(void)
{
	const struct gmem_config cfg = { .vm = 1, .npages = NPAGES, .arena_pages = ARENA, .level = 1 };
	const struct disk_image_config disk = { FILES, SWAP, PATTERN_BASE(PATTERN_TEXT, 0), 1 };
	const struct virtio_blk_host host = { begin, NULL, cancel, NULL };

	c = (struct counters){ 0 };
	fr = frames_new(HOST, 1);
	fm = fake_machine_new(HOST);
	g = gmem_new(&cfg, fr, &fm->base, &c, NULL);
	image = disk_image_new(&disk);
	b = virtio_blk_new(g, image, &host, "d");
	virtio_blk_virtio(b)->interrupt = interrupt;
	virtio_mmio_init(&m, virtio_blk_virtio(b));
	hal = (struct hal){ .heap = 0x100000 };
	info = (struct boot_info){ .disk = { REGISTERS, FILES, SWAP } };
	kernel = (struct kernel){ .hal = &hal, .info = &info };
	memset(gmem_arena(g), 0xa5, ARENA * PAGE_SIZE);
	memset(told, 0, sizeof(told));
	npending = 0;
	ndone = nfailed = 0;
	chain = false;
}

static void teardown(void)
{
	virtio_blk_free(b);
	disk_image_free(image);
	gmem_free(g);
	frames_free(fr);
	fake_machine_free(fm);
}

static void end_one(unsigned i)
{
	unsigned id = pending[i];

	pending[i] = pending[--npending];
	virtio_blk_end(b, id);
}

static void must_hold(gfn_t gfn, uint64_t disk_page)
{
	uint8_t x[PAGE_SIZE], y[PAGE_SIZE];

	must(!gmem_read(g, gfn << PAGE_SHIFT, x, PAGE_SIZE));
	disk_image_read_bytes(image, disk_page * PAGE_SIZE, y, PAGE_SIZE);
	must(!memcmp(x, y, PAGE_SIZE));
}

START_TEST(no_disk)
{
	info.disk.registers = 0;
	block_start(k);
	must(!k->block && !block_present(k));
	must_eq(block_file_pages(k), 0);
	must(!block_submit(k, false, 0, ARENA, 1, 0));
	block_interrupt(k);
	/* A disk that is smaller than it should be is not used. */
	info.disk = (struct disk_info){ REGISTERS, FILES, SWAP + 1 };
	block_start(k);
	must(k->block && !block_present(k));
	must_eq(block_swap_pages(k), 0);
	must(!block_submit(k, false, 0, ARENA, 1, 0));
}
END_TEST

START_TEST(transfers)
{
	block_start(k);
	must(block_present(k));
	must_eq(block_file_pages(k), FILES);
	must_eq(block_swap_pages(k), SWAP);
	must(block_submit(k, false, 10, ARENA + 3, 7, 1));
	must_eq(ndone, 0);
	block_interrupt(k);
	must_eq(ndone, 0);
	end_one(0);
	must_eq(hal.interrupts, 1);
	chain = true;
	block_interrupt(k);
	must_eq(told[1], 1);
	for (unsigned i = 0; i < 7; i++)
		must_hold(ARENA + 3 + i, 10 + i);
	must_eq(npending, 1); /* by block_done() */
	end_one(0);
	block_interrupt(k);
	must_eq(told[5001], 1);
	must(block_submit(k, true, FILES + SWAP - 7, ARENA + 3, 7, 2));
	must(block_submit(k, true, FILES + SWAP - 6, ARENA + 3, 7, 3)); /* beyond the end: fails at once */
	block_interrupt(k);
	must_eq(told[3], 1);
	must_eq(nfailed, 1);
	end_one(0);
	block_interrupt(k);
	must_eq(told[2], 1);
	for (unsigned i = 0; i < 7; i++)
		must_hold(ARENA + 3 + i, FILES + SWAP - 7 + i);
	must_eq(nfailed, 1);
	must_eq(c.blk_errors, 1);
}
END_TEST

/* Random requests ended in random order, with resets that the device asks for in between. */
START_TEST(random_order)
{
	uint64_t cookie = 0, full = 0, resets = 0;
	struct rng rng;

	rng_seed(&rng, 3);
	block_start(k);
	while (cookie < 5000) {
		uint32_t n = 1 + (uint32_t)rng_below(&rng, 4);

		if (rng_below(&rng, 5)) {
			if (block_submit(k, rng_below(&rng, 2), rng_below(&rng, FILES + SWAP - n),
					 ARENA + rng_below(&rng, NPAGES - ARENA - n), n, cookie))
				cookie++;
			else
				full++;
			must(npending <= MOST);
		} else {
			for (uint64_t i = rng_below(&rng, 12); i && npending; i--)
				end_one((unsigned)rng_below(&rng, npending));
			if (!rng_below(&rng, 50)) {
				virtio_needs_reset(virtio_blk_virtio(b));
				resets++;
			}
			block_interrupt(k);
			must(block_present(k));
		}
	}
	while (npending)
		end_one(0);
	block_interrupt(k);
	for (uint64_t i = 0; i < cookie; i++)
		must_eq(told[i], 1);
	must(full && resets > 10 && nfailed >= resets);
	must_eq(c.blk_errors, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("block");
	TCase *tc = tcase_create("driver");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, no_disk);
	tcase_add_test(tc, transfers);
	tcase_add_test(tc, random_order);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
